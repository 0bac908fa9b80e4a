#include "relay/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "relay/front.h"
#include "relay/logs.h"
#include "relay/pass.h"

/* Between two tries, in ms, on connections that could not be passed on. */
#define AGAIN_MS 50
/* Passed connections taken before others have their turn. */
#define FRONTS_A_TURN 16

static void stop_listening(struct worker *worker)
{
    for (size_t i = 0; i < worker->nlisteners; i++)
        listener_stop(&worker->listeners[i]);
}

/*
 * Connections that come and go find a worker that has nothing to do. Those that stay are dealt out in turn,
 * or the first worker would take nearly all that come while there is little to do.
 */
static void on_kept(struct relay *relay)
{
    struct worker *worker = relay->owner;
    for (size_t i = 0; i < worker->nlisteners; i++)
        listener_step_back(&worker->listeners[i]);
}

/* ---- stopping ---- */

static void stop_if_done(struct worker *worker)
{
    /* Who handed over to us may still have connections that are to go on, behind us. */
    if (worker->draining && worker->passed.fd >= 0)
        return;
    if (worker->relay.stopping && !worker->relay.fronts && destinations_count_lives(&worker->relay) == 0)
        worker->relay.ended = true;
}

static void on_shutdown_timeout(uv_timer_t *timer);

static void on_emptied(struct relay *relay)
{
    struct worker *worker = relay->owner;
    /* Requests may take their time while draining, but who has none left may not. */
    if (worker->draining && !uv_is_active((uv_handle_t *)&worker->shutdown))
        uv_timer_start(&worker->shutdown, on_shutdown_timeout, relay->config->shutdown_timeout_ms, 0);
    destinations_terminate(relay);
    stop_if_done(worker);
}

static void on_terminated(struct relay *relay)
{
    stop_if_done(relay->owner);
}

/* The application is told as soon as it is not needed: who told us may not wait for long. */
static void on_calm(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    if (relay_is_calm(&worker->relay))
        destinations_terminate(&worker->relay);
}

/* A request has ended, but its front still looks as if it had not. */
static void on_calmed(struct relay *relay)
{
    struct worker *worker = relay->owner;
    uv_timer_start(&worker->calm, on_calm, 0, 0);
}

/* The rest is the application's, to end what it has begun. */
static void on_half_time(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    destinations_terminate(&worker->relay);
}

static void on_shutdown_timeout(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    struct relay *relay = &worker->relay;
    log_write(&relay->log, LOG_WARNING, "shutdown_timeout is over: ending %zu requests", relay->requests);
    for (const struct destination *d = relay->destinations; d; d = d->next) {
        if (d->application.lives > 0)
            log_write(&relay->log, LOG_WARNING, "killing %zu processes of %s", d->application.lives,
                      d->target.name);
    }
    relay->ended = true;
}

static void on_quit(uv_signal_t *handle, int number)
{
    struct worker *worker = handle->data;
    (void)number;
    log_write(&worker->relay.log, LOG_INFO, "QUIT: ending at once");
    worker->relay.ended = true;
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct worker *worker = handle->data;
    const char *name = number == SIGTERM ? "TERM" : "INT";
    if (worker->relay.stopping && !worker->draining) {
        if (worker->charge)
            return; /* it may come from the master as well as from whoever signals all processes of the
                       service */
        log_write(&worker->relay.log, LOG_INFO, "%s again: ending at once", name);
        worker->relay.ended = true;
        return;
    }
    log_write(&worker->relay.log, LOG_INFO, "%s: no new requests, %zu running", name, worker->relay.requests);
    worker->draining = false;
    uv_timer_stop(&worker->again);
    upgrade_cancel(&worker->upgrade);
    upgrade_close(&worker->upgrade);
    stop_listening(worker);
    if (worker->service)
        service_say_stopping(worker->service);
    uint64_t timeout = worker->relay.config->shutdown_timeout_ms;
    uv_timer_start(&worker->shutdown, on_shutdown_timeout, timeout, 0);
    uv_timer_start(&worker->half, on_half_time, timeout / 2, 0);
    relay_stop(&worker->relay);
    on_calm(&worker->calm);
}

/* ---- another process takes over ---- */

static void on_again(uv_timer_t *timer)
{
    struct worker *worker = timer->data;
    relay_drain(&worker->relay, worker->upgrade.fronts);
}

static void drain(struct worker *worker)
{
    log_write(&worker->relay.log, LOG_INFO, "no new connections; requests that run: %zu",
              worker->relay.requests);
    for (size_t i = 0; i < worker->nlisteners; i++)
        listen_disown(&worker->listeners[i].socket);
    stop_listening(worker);
    worker->draining = true;
    uv_timer_start(&worker->again, on_again, AGAIN_MS, AGAIN_MS);
    relay_drain(&worker->relay, worker->upgrade.fronts);
}

/* The master's successor serves: with the channel to it. */
static void on_order(struct watch *watch)
{
    struct worker *worker = (struct worker *)((char *)watch - offsetof(struct worker, orders));
    int rc = pass_receive(watch->fd, &worker->upgrade.fronts);
    if (rc == -EAGAIN)
        return;
    poller_close_fd(&worker->relay.poller, watch);
    if (rc != 0 && !worker->relay.stopping)
        drain(worker);
}

/* A process that hands over to us passes its idle connections. */
static void on_passed(struct watch *watch)
{
    struct worker *worker = (struct worker *)((char *)watch - offsetof(struct worker, passed));
    int fd;
    int rc = 1;
    for (int i = 0; i < FRONTS_A_TURN && rc == 1; i++) {
        rc = pass_receive(watch->fd, &fd);
        if (rc == 1)
            front_accept(&worker->relay, fd);
    }
    if (rc != 0)
        return;
    poller_close_fd(&worker->relay.poller, watch);
    if (worker->draining && !worker->relay.fronts)
        on_emptied(&worker->relay);
}

static void on_word(struct watch *watch)
{
    struct worker *worker = (struct worker *)((char *)watch - offsetof(struct worker, successor));
    poller_remove(&worker->relay.poller, watch);
    enum upgrade_word word = upgrade_read(&worker->upgrade, worker->service);
    if (word == UPGRADE_PENDING)
        poller_add(&worker->relay.poller, watch);
    else if (word == UPGRADE_SERVES && !worker->relay.stopping)
        drain(worker);
}

static void begin_upgrade(struct worker *worker)
{
    struct sockets sockets = {.own = worker->own};
    sockets.list = calloc(worker->nlisteners, sizeof(*sockets.list));
    for (; sockets.list && sockets.count < worker->nlisteners; sockets.count++)
        sockets.list[sockets.count] = worker->listeners[sockets.count].socket;
    if (sockets.list && upgrade_begin(&worker->upgrade, worker->service, &sockets)) {
        worker->successor = (struct watch){.fd = worker->upgrade.ready, .level = true, .ready = on_word};
        poller_add(&worker->relay.poller, &worker->successor);
    }
    free(sockets.list); /* the sockets are the listeners' */
}

static void on_user2(uv_signal_t *handle, int number)
{
    struct worker *worker = handle->data;
    (void)number;
    if (worker->relay.stopping)
        return;
    if (!worker->service)
        return; /* the master's affair */
    if (worker->upgrade.ready < 0)
        begin_upgrade(worker);
    else
        log_write(&worker->relay.log, LOG_INFO, "USR2: process %ld is already starting",
                  (long)worker->upgrade.pid);
}

/* Whoever looks after us hears of us: the service manager, or the master. */
static void on_beat(uv_timer_t *timer)
{
    const struct worker *worker = timer->data;
    if (worker->service)
        service_beat(worker->service);
    else
        worker->relay.counts->turned = uv_now(&worker->loop);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    struct worker *worker = handle->data;
    const struct config *config = worker->relay.config;
    (void)number;
    if (worker->relay.stopping)
        return;
    /* The master has said so already. */
    log_write(&worker->relay.log, worker->charge ? LOG_DEBUG : LOG_INFO, "HUP: reading %s again",
              config->path);
    upgrade_note_reload(&worker->upgrade);
    reload_begin(&worker->reload, LOAD_ALL);
}

static void on_reopen(uv_signal_t *handle, int number)
{
    struct worker *worker = handle->data;
    (void)number;
    logs_reopen(&worker->relay);
}

/* ---- starting ---- */

static void open_handles(struct worker *worker)
{
    uv_signal_init(&worker->loop, &worker->term);
    uv_signal_init(&worker->loop, &worker->interrupt);
    uv_signal_init(&worker->loop, &worker->quit);
    uv_signal_init(&worker->loop, &worker->hangup);
    uv_signal_init(&worker->loop, &worker->reopen);
    uv_signal_init(&worker->loop, &worker->user2);
    uv_timer_init(&worker->loop, &worker->shutdown);
    uv_timer_init(&worker->loop, &worker->half);
    uv_timer_init(&worker->loop, &worker->calm);
    uv_timer_init(&worker->loop, &worker->beat);
    uv_timer_init(&worker->loop, &worker->again);
    worker->term.data = worker->interrupt.data = worker->quit.data = worker->hangup.data = worker;
    worker->reopen.data = worker->user2.data = worker;
    worker->shutdown.data = worker->half.data = worker->calm.data = worker->beat.data = worker;
    worker->again.data = worker;
    uv_signal_start(&worker->term, on_signal, SIGTERM);
    uv_signal_start(&worker->interrupt, on_signal, SIGINT);
    uv_signal_start(&worker->hangup, on_hangup, SIGHUP);
    uv_signal_start(&worker->reopen, on_reopen, SIGUSR1);
    uv_signal_start(&worker->user2, on_user2, SIGUSR2);
}

int worker_open(struct worker *worker, struct config *config, const struct share *share,
                struct metrics *metrics, const struct charge *charge)
{
    *worker = (struct worker){
        .charge = charge, .upgrade = {.ready = -1, .fronts = -1}, .orders = {.fd = -1}, .passed = {.fd = -1}};
    int rc = metrics ? uv_loop_init(&worker->loop) : UV_ENOMEM;
    if (rc < 0) {
        fprintf(stderr, "fcgi-realip: error: cannot make an event loop: %s\n", uv_strerror(rc));
        config_free(config);
        return -1;
    }
    worker->opened = true;
    open_handles(worker);
    rc = relay_open(&worker->relay, &worker->loop, config, share, metrics);
    if (charge)
        uv_signal_start(&worker->quit, on_quit, SIGQUIT);
    if (share->count > 1)
        worker->relay.kept = on_kept;
    int rc_reload = reload_open(&worker->reload, &worker->relay, config, charge ? charge->sandbox : NULL);
    rc = rc < 0 ? rc : rc_reload;
    worker->relay.owner = worker;
    worker->relay.emptied = on_emptied;
    worker->relay.calmed = on_calmed;
    worker->relay.terminated = on_terminated;
    if (rc < 0)
        log_write(&worker->relay.log, LOG_ERROR, "cannot start: %s", uv_strerror(rc));
    return rc < 0 ? -1 : 0;
}

/* The sockets are the listeners' from now on, also when this fails. */
static int start_listening(struct worker *worker, struct sockets *sockets)
{
    int rc = 0;
    worker->listeners = calloc(sockets->count, sizeof(*worker->listeners));
    if (!worker->listeners)
        rc = UV_ENOMEM;
    for (size_t i = 0; rc == 0 && i < sockets->count; i++) {
        worker->listeners[i].socket = sockets->list[i];
        sockets->list[i] = (struct listen_socket){.fd = -1};
        worker->nlisteners++;
        rc = listener_start(&worker->listeners[i], &worker->relay);
    }
    worker->own = sockets->own;
    if (rc == 0 && sockets->fronts >= 0) {
        bool shared = worker->relay.config->workers > 1;
        worker->passed =
            (struct watch){.fd = sockets->fronts, .level = true, .shared = shared, .ready = on_passed};
        sockets->fronts = -1;
        rc = poller_add(&worker->relay.poller, &worker->passed);
    }
    if (rc < 0)
        log_write(&worker->relay.log, LOG_ERROR, "cannot wait for connections: %s", uv_strerror(rc));
    return rc;
}

/* The master hears that we serve, and may have an order for us later. */
static int say_ready(struct worker *worker)
{
    ssize_t n;
    if (worker->charge->beat_ms > 0)
        uv_timer_start(&worker->beat, on_beat, 0, worker->charge->beat_ms);
    on_beat(&worker->beat);
    worker->orders = (struct watch){.fd = worker->charge->master, .level = true, .ready = on_order};
    do
        n = write(worker->charge->master, "r", 1);
    while (n < 0 && errno == EINTR);
    return poller_add(&worker->relay.poller, &worker->orders);
}

/* From here on the service is ours, whoever had it before. */
static void begin_service(struct worker *worker, struct sockets *sockets)
{
    uint64_t beat = service_beat_ms(worker->service);
    if (beat > 0)
        uv_timer_start(&worker->beat, on_beat, beat, beat);
    worker->service->log = &worker->relay.log;
    service_say_ready(worker->service);
    for (size_t i = 0; i < worker->nlisteners; i++)
        listen_keep(&worker->listeners[i].socket);
    sockets_keep(sockets);
}

/* They have waited until now: see serve_hold_signals. */
static void release_signals(void)
{
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGHUP);
    sigaddset(&held, SIGUSR1);
    sigaddset(&held, SIGUSR2);
    sigprocmask(SIG_UNBLOCK, &held, NULL);
}

/* Before there is a sandbox: in one nobody can make a ring. */
static void open_ring(struct relay *relay)
{
    int rc = ring_open(&relay->outbox.ring);
    if (rc < 0)
        log_write(&relay->log, LOG_INFO,
                  "no io_uring here (%s): what goes to several connections takes a system call for each",
                  strerror(-rc));
}

int worker_run(struct worker *worker, struct sockets *sockets, struct service *service)
{
    struct relay *relay = &worker->relay;
    worker->service = service;
    if (logs_open(relay) < 0 || start_listening(worker, sockets) < 0 ||
        destination_start(relay->destination, &relay->config->upstream) < 0)
        return 1;
    if (relay->config->process.io_uring)
        open_ring(relay);
    log_write(&relay->log, LOG_INFO, "ready: requests go to %s", relay->destination->target.name);
    if (worker->charge && worker->charge->sandbox->used &&
        sandbox_enter(worker->charge->sandbox, &relay->log) < 0)
        return 1;
    if (worker->charge && say_ready(worker) < 0)
        return 1;
    if (service)
        begin_service(worker, sockets);
    sockets_close(sockets);
    release_signals();
    relay_run(relay);
    return 0;
}

/* ---- the end ---- */

void worker_close(struct worker *worker)
{
    if (!worker->opened)
        return;
    upgrade_cancel(&worker->upgrade);
    upgrade_close(&worker->upgrade);
    poller_close_fd(&worker->relay.poller, &worker->orders);
    poller_close_fd(&worker->relay.poller, &worker->passed);
    stop_listening(worker);
    reload_close(&worker->reload);
    relay_close(&worker->relay);
    uv_close((uv_handle_t *)&worker->term, NULL);
    uv_close((uv_handle_t *)&worker->interrupt, NULL);
    uv_close((uv_handle_t *)&worker->quit, NULL);
    uv_close((uv_handle_t *)&worker->hangup, NULL);
    uv_close((uv_handle_t *)&worker->reopen, NULL);
    uv_close((uv_handle_t *)&worker->user2, NULL);
    uv_close((uv_handle_t *)&worker->shutdown, NULL);
    uv_close((uv_handle_t *)&worker->half, NULL);
    uv_close((uv_handle_t *)&worker->calm, NULL);
    uv_close((uv_handle_t *)&worker->beat, NULL);
    uv_close((uv_handle_t *)&worker->again, NULL);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    uv_loop_close(&worker->loop);
    relay_free(&worker->relay);
    reload_free(&worker->reload);
    free(worker->listeners);
}
