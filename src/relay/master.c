#include "relay/master.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "relay/logs.h"
#include "relay/pass.h"
#include "relay/renewal.h"
#include "relay/sandbox.h"
#include "relay/worker.h"

/* Who ends sooner, in ms, may do so again and again. */
#define WORTHWHILE_MS    1000
#define FIRST_PAUSE_MS   100
#define LONGEST_PAUSE_MS 5000
/* What a worker may take to end once its time is over, in ms: to kill and reap what it has started. */
#define GRACE_MS 1000
/* Between two tries to write what the log did not take, in ms. */
#define LOG_PAUSE_MS 1000

/* Of one worker, and of those that come after it. */
struct place {
    pid_t pid;      /* 0: nobody is there */
    int channel;    /* the worker's word comes here (relay/pass.h), and its order goes; -1: there is none */
    bool serves;    /* the word has come */
    uint64_t since; /* when the worker was started */
    uint64_t due;   /* when the next one is to be; 0: not at all. Both in ms of a steady clock */
    unsigned pause; /* behind the last end, in ms */
};

struct master {
    struct renewal renewal; /* of the configuration; while a load is under way no worker is started */
    struct service *service;
    struct sockets sockets;
    struct sandbox sandbox;  /* of the workers */
    struct metrics *metrics; /* each worker's slot is that of its place */
    struct log log;
    sigset_t handled; /* signals, blocked here */
    sigset_t before;  /* the mask that was found */
    int signals;      /* signalfd(2) of those */
    struct place *places;
    struct pollfd *polled; /* the signals, the renewal, `upgrade`, and the places' channels */
    struct upgrade upgrade;
    bool draining;   /* another process has taken over, and requests end here as they like */
    unsigned living; /* workers */
    bool begun;      /* one of them has come to serve, and the others are started */
    bool complete;   /* all of them have */
    bool stopping;
    uint64_t kill_at; /* 0: never, or done */
    uint64_t beat_at; /* the service manager is to hear of us; 0: never */
    int status;       /* to exit with */
};

static uint64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void close_channel(struct place *place)
{
    if (place->channel >= 0)
        close(place->channel);
    place->channel = -1;
}

/* ---- the start of a worker ---- */

/* Lets go of what is the master's alone. */
static void leave_master(struct master *m)
{
    close(m->signals);
    close(m->renewal.done);
    log_disown(&m->log);
    if (m->upgrade.ready >= 0) {
        close(m->upgrade.ready);
        close(m->upgrade.fronts);
    }
    for (unsigned i = 0; i < m->renewal.config->workers; i++)
        close_channel(&m->places[i]);
    sockets_disown(&m->sockets);
    service_disown(m->service);
}

/* In the child. Signals are blocked where nothing of ours handles them: they come from the master as well as
 * from whoever signals all processes of the service. */
static int be_worker(struct master *m, unsigned number, pid_t master, int channel)
{
    struct worker worker;
    const struct share share = share_make(m->renewal.config, m->renewal.config->workers, number);
    int status = 1;
    leave_master(m);
    /* Should the master die: as if it had said so. It may have died before this took effect. */
    if (prctl(PR_SET_PDEATHSIG, SIGQUIT) < 0 || getppid() != master)
        return status;
    const struct charge charge = {
        .master = channel, .sandbox = &m->sandbox, .beat_ms = (service_beat_ms(m->service) + 1) / 2};
    if (worker_open(&worker, m->renewal.config, &share, m->metrics, &charge) == 0) {
        worker.relay.generation = m->renewal.generation;
        sigprocmask(SIG_SETMASK, &m->before, NULL);
        status = worker_run(&worker, &m->sockets, NULL);
        sigprocmask(SIG_BLOCK, &m->handled, NULL);
    }
    sockets_close(&m->sockets);
    worker_close(&worker);
    return status;
}

/* 0 or a negative errno. */
static int start_worker(struct master *m, unsigned number)
{
    struct place *place = &m->places[number];
    int ends[2];
    int rc = pass_open(ends);
    if (rc < 0)
        return rc;
    pid_t master = getpid();
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        exit(be_worker(m, number, master, ends[1]));
    }
    int error = errno;
    close(ends[1]);
    if (pid < 0) {
        close(ends[0]);
        return -error;
    }
    place->pid = pid;
    place->channel = ends[0];
    place->serves = false;
    place->since = now_ms();
    m->living++;
    log_write(&m->log, LOG_INFO, "started worker[%ld]", (long)pid);
    return 0;
}

/* ---- stopping ---- */

static void tell_workers(const struct master *m, int number)
{
    for (unsigned i = 0; i < m->renewal.config->workers; i++) {
        if (m->places[i].pid > 0)
            kill(m->places[i].pid, number);
    }
}

static void stop(struct master *m, bool at_once)
{
    uint64_t left = at_once ? 0 : m->renewal.config->shutdown_timeout_ms;
    if (!m->stopping)
        service_say_stopping(m->service);
    m->stopping = true;
    m->draining = false;
    m->kill_at = now_ms() + left + GRACE_MS;
    for (unsigned i = 0; i < m->renewal.config->workers; i++)
        m->places[i].due = 0;
    upgrade_cancel(&m->upgrade);
    sockets_close(&m->sockets);
    tell_workers(m, at_once ? SIGQUIT : SIGTERM);
}

static void kill_late(struct master *m)
{
    if (m->kill_at == 0 || now_ms() < m->kill_at)
        return;
    m->kill_at = 0;
    log_write(&m->log, LOG_WARNING, "killing workers that have not ended: %u", m->living);
    tell_workers(m, SIGKILL);
}

static void on_stop_signal(struct master *m, unsigned number)
{
    const char *name = number == SIGTERM ? "TERM" : number == SIGINT ? "INT" : "QUIT";
    bool again = m->stopping && !m->draining;
    bool at_once = again || number == SIGQUIT;
    if (at_once)
        log_write(&m->log, LOG_INFO, "%s%s: ending at once", name, again ? " again" : "");
    else
        log_write(&m->log, LOG_INFO, "%s: telling %u worker%s to end", name, m->living,
                  m->living == 1 ? "" : "s");
    stop(m, at_once);
}

/* ---- another process takes over ---- */

static void begin_upgrade(struct master *m)
{
    if (m->stopping)
        return;
    if (m->upgrade.ready >= 0)
        log_write(&m->log, LOG_INFO, "USR2: process %ld is already starting", (long)m->upgrade.pid);
    else
        upgrade_begin(&m->upgrade, m->service, &m->sockets);
}

/* Whoever cannot be told ends as at a signal. */
static void order(const struct master *m, unsigned number)
{
    const struct place *place = &m->places[number];
    if (place->pid > 0 && pass_send(place->channel, m->upgrade.fronts) < 0)
        kill(place->pid, SIGTERM);
}

/* Workers end what they have begun, and nobody takes their place. */
static void finish_upgrade(struct master *m)
{
    if (upgrade_read(&m->upgrade, m->service) != UPGRADE_SERVES)
        return;
    m->stopping = m->draining = true;
    for (unsigned i = 0; i < m->renewal.config->workers; i++)
        m->places[i].due = 0;
    sockets_disown(&m->sockets);
    sockets_close(&m->sockets);
    for (unsigned i = 0; i < m->renewal.config->workers; i++)
        order(m, i);
    upgrade_close(&m->upgrade);
}

/* ---- another configuration ---- */

static void on_hangup(struct master *m)
{
    if (m->stopping)
        return;
    log_write(&m->log, LOG_INFO, "HUP: reading %s again", m->renewal.config->path);
    renewal_begin(&m->renewal, &m->log);
    upgrade_note_reload(&m->upgrade);
}

static void on_reopen(struct master *m)
{
    logs_reopen_error(&m->log, m->renewal.config);
    tell_workers(m, SIGUSR1);
}

/* Workers that are started from now on begin with it; the others read it for themselves. */
static void finish_load(struct master *m)
{
    if (!renewal_finish(&m->renewal, &m->log, !m->stopping))
        return;
    tell_workers(m, SIGHUP);
}

/* ---- the end of a worker ---- */

static void pause_place(struct place *place)
{
    place->pause = place->pause == 0 ? FIRST_PAUSE_MS : 2 * place->pause;
    if (place->pause > LONGEST_PAUSE_MS)
        place->pause = LONGEST_PAUSE_MS;
    place->due = now_ms() + place->pause;
}

static void fail(struct master *m)
{
    m->status = 1;
    stop(m, true);
}

static void replace(struct master *m, struct place *place, const char *end, enum log_level level,
                    uint64_t lived)
{
    if (lived >= WORTHWHILE_MS) {
        place->pause = 0;
        place->due = now_ms();
        log_write(&m->log, level, "%s; starting another", end);
    } else {
        pause_place(place);
        log_write(&m->log, level, "%s; next start in %u ms", end, place->pause);
    }
}

static void on_ended(struct master *m, struct place *place, int status)
{
    uint64_t lived = now_ms() - place->since;
    enum log_level level = status == 0 ? LOG_INFO : LOG_WARNING;
    char how[128];
    char end[256];
    snprintf(end, sizeof(end), "worker[%ld] %s after %llu ms", (long)place->pid,
             process_describe(status, how, sizeof(how)), (unsigned long long)lived);
    place->pid = 0;
    m->living--;
    metrics_leave(&m->metrics->slots[place - m->places]);
    close_channel(place);
    if (m->stopping) {
        log_write(&m->log, level, "%s", end);
    } else if (!m->complete && !place->serves) {
        log_write(&m->log, LOG_ERROR, "cannot start: %s", end);
        fail(m);
    } else {
        replace(m, place, end, level, lived);
    }
}

static void reap(struct master *m)
{
    int status;
    if (m->upgrade.ready >= 0)
        finish_upgrade(m); /* its end is told there */
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        for (unsigned i = 0; i < m->renewal.config->workers; i++) {
            if (m->places[i].pid == pid)
                on_ended(m, &m->places[i], status);
        }
    }
}

/* ---- a turn ---- */

static void read_signals(struct master *m)
{
    struct signalfd_siginfo info;
    while (read(m->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGCHLD)
            reap(m);
        else if (info.ssi_signo == SIGHUP)
            on_hangup(m);
        else if (info.ssi_signo == SIGUSR1)
            on_reopen(m);
        else if (info.ssi_signo == SIGUSR2)
            begin_upgrade(m);
        else
            on_stop_signal(m, info.ssi_signo);
    }
}

/* The first worker serves: what it needed is there for the others, too. */
static void start_others(struct master *m)
{
    m->begun = true;
    uint64_t now = now_ms();
    for (unsigned i = 1; i < m->renewal.config->workers; i++)
        m->places[i].due = now;
}

static void on_serving(struct master *m, unsigned number)
{
    m->places[number].serves = true;
    if (m->complete || m->stopping)
        return;
    unsigned serving = 0;
    for (unsigned i = 0; i < m->renewal.config->workers; i++)
        serving += m->places[i].serves;
    if (!m->begun)
        start_others(m);
    if (serving < m->renewal.config->workers)
        return;
    m->complete = true;
    log_write(&m->log, LOG_INFO, "ready: %u worker%s", serving, serving == 1 ? "" : "s");
    service_say_ready(m->service);
    sockets_keep(&m->sockets);
}

static void read_word(struct master *m, unsigned number)
{
    struct place *place = &m->places[number];
    char word;
    ssize_t n = read(place->channel, &word, 1);
    if (n == 1)
        on_serving(m, number);
    else if (n == 0)
        close_channel(place);
}

/* Not while there is another thread: a child would inherit what that holds locked. */
static void start_due(struct master *m)
{
    for (unsigned i = 0; i < m->renewal.config->workers && !m->renewal.load; i++) {
        struct place *place = &m->places[i];
        if (place->due == 0 || now_ms() < place->due)
            continue;
        place->due = 0;
        int rc = start_worker(m, i);
        if (rc == 0)
            continue;
        log_write(&m->log, LOG_ERROR, "cannot start a worker: %s", strerror(-rc));
        if (!m->complete) {
            fail(m);
            return;
        }
        pause_place(place);
    }
}

/* Workers whose loops do not turn are no service. */
static bool all_turn(const struct master *m, uint64_t now)
{
    for (unsigned i = 0; i < m->renewal.config->workers; i++) {
        if (m->places[i].pid > 0 && m->places[i].serves &&
            m->metrics->slots[i].turned + service_beat_ms(m->service) < now)
            return false;
    }
    return true;
}

static void beat(struct master *m)
{
    uint64_t now = now_ms();
    if (m->beat_at == 0 || now < m->beat_at)
        return;
    m->beat_at = now + service_beat_ms(m->service);
    if (all_turn(m, now))
        service_beat(m->service);
}

/* For poll(2). */
static int find_timeout(const struct master *m)
{
    uint64_t first = m->kill_at > 0 ? m->kill_at : UINT64_MAX;
    if (log_waits(&m->log) && now_ms() + LOG_PAUSE_MS < first)
        first = now_ms() + LOG_PAUSE_MS;
    if (m->beat_at > 0 && m->beat_at < first)
        first = m->beat_at;
    for (unsigned i = 0; i < m->renewal.config->workers && !m->renewal.load; i++) {
        if (m->places[i].due > 0 && m->places[i].due < first)
            first = m->places[i].due;
    }
    uint64_t now = now_ms();
    if (first == UINT64_MAX)
        return -1;
    return first <= now ? 0 : first - now > LONGEST_PAUSE_MS ? LONGEST_PAUSE_MS : (int)(first - now);
}

static void turn(struct master *m)
{
    m->polled[0] = (struct pollfd){.fd = m->signals, .events = POLLIN};
    m->polled[1] = (struct pollfd){.fd = m->renewal.done, .events = POLLIN};
    for (unsigned i = 0; i < m->renewal.config->workers; i++)
        m->polled[i + 3] =
            (struct pollfd){.fd = m->places[i].serves ? -1 : m->places[i].channel, .events = POLLIN};
    m->polled[2] = (struct pollfd){.fd = m->upgrade.ready, .events = POLLIN};
    if (poll(m->polled, m->renewal.config->workers + 3, find_timeout(m)) < 0)
        return;
    for (unsigned i = 0; i < m->renewal.config->workers; i++) {
        if (m->polled[i + 3].revents)
            read_word(m, i);
    }
    if (m->polled[2].revents)
        finish_upgrade(m);
    finish_load(m);
    read_signals(m);
    start_due(m);
    kill_late(m);
    beat(m);
    if (log_waits(&m->log))
        log_flush(&m->log);
}

/* ---- all of it ---- */

/* 0 or a negative errno. */
static int open_signals(struct master *m)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD};
    sigemptyset(&m->handled);
    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        sigaddset(&m->handled, numbers[i]);
    signal(SIGCHLD, SIG_DFL); /* of who ignores it, children end without a word */
    sigprocmask(SIG_BLOCK, &m->handled, &m->before);
    m->signals = signalfd(-1, &m->handled, SFD_CLOEXEC | SFD_NONBLOCK);
    return m->signals < 0 ? -errno : 0;
}

/* 0 or a negative errno. */
static int open_places(struct master *m)
{
    m->places = calloc(m->renewal.config->workers, sizeof(*m->places));
    m->polled = calloc(m->renewal.config->workers + 3, sizeof(*m->polled));
    m->metrics = metrics_new(m->renewal.config->workers, (uint64_t)time(NULL));
    if (!m->places || !m->polled || !m->metrics)
        return -ENOMEM;
    for (unsigned i = 0; i < m->renewal.config->workers; i++)
        m->places[i].channel = -1;
    return 0;
}

static int run(struct master *m)
{
    m->places[0].due = now_ms();
    if (service_beat_ms(m->service) > 0)
        m->beat_at = m->places[0].due + service_beat_ms(m->service);
    do
        turn(m);
    while (!m->stopping || m->living > 0);
    return m->status;
}

int master_run(struct config *config, const struct inherited *inherited, struct service *service)
{
    struct master m = {.service = service, .signals = -1, .upgrade = {.ready = -1, .fronts = -1}};
    int status = 1;
    log_open(&m.log, (enum log_level)config->log_level, NULL);
    int rc = renewal_open(&m.renewal, config);
    if (rc == 0 && sandbox_wanted(config))
        rc = sandbox_make(&m.sandbox, config);
    m.renewal.sandbox = &m.sandbox;
    if (rc == 0)
        rc = open_signals(&m);
    if (rc == 0)
        rc = open_places(&m);
    if (rc < 0)
        log_write(&m.log, LOG_ERROR, "cannot start: %s", strerror(-rc));
    else if (sockets_open(&m.sockets, config, inherited, &m.log) == 0 && service_enter(service) == 0 &&
             logs_move(service->log = &m.log, config) == 0)
        status = run(&m);
    sockets_close(&m.sockets);
    if (m.signals >= 0)
        close(m.signals);
    renewal_close(&m.renewal);
    sandbox_free(&m.sandbox);
    free(m.places);
    free(m.polled);
    metrics_free(m.metrics);
    log_close(&m.log);
    return status;
}
