#include "relay/application.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config/command.h"
#include "relay/variables.h"

/* Who ends of itself before this, in ms, and has answered nothing, does not work. */
#define WORTHWHILE_MS 1000
/* Between two starts in one place, in ms: who ends sooner, though normally, must not keep us busy. */
#define SPACING_MS 20
/* Who has lived for so long started well: its end has nothing to do with the failures before. */
#define SETTLED_MS       10000
#define FIRST_PAUSE_MS   100
#define LONGEST_PAUSE_MS 10000

static void start_member(struct member *m);

static uint64_t now_ms(void)
{
    return uv_hrtime() / 1000000;
}

static struct log *log_of(const struct member *m)
{
    return &m->application->relay->log;
}

/* Some process of the application has answered since this one was started. Which one it was does not show. */
static bool has_answered(const struct member *m)
{
    return m->application->target->answers != m->seen;
}

/* ---- failure ---- */

/* Nobody answers, and nobody is about to. */
static bool is_down(const struct application *a)
{
    for (size_t i = 0; i < a->nmembers; i++) {
        if (a->members[i].lives || a->members[i].due)
            return false;
    }
    return true;
}

/*
 * Nothing else is tried for a while. If no other process lives, those who wait for one need not wait for the
 * end of the pause, too.
 */
static void pause_member(struct member *m, const char *trouble)
{
    struct application *a = m->application;
    m->pause = m->pause == 0 ? FIRST_PAUSE_MS : 2 * m->pause;
    if (m->pause > LONGEST_PAUSE_MS)
        m->pause = LONGEST_PAUSE_MS;
    log_write(log_of(m), LOG_WARNING, "%s; next start in %u ms", trouble, m->pause);
    if (is_down(a)) {
        private_socket_refuse(&a->socket);
        snprintf(a->trouble, sizeof(a->trouble), "%s", trouble);
        a->target->trouble = a->trouble;
    }
}

static void on_time(uv_timer_t *timer)
{
    start_member(timer->data);
}

static void fail(struct member *m, const char *trouble)
{
    pause_member(m, trouble);
    uv_timer_start(&m->timer, on_time, m->pause, 0);
}

/* ---- the end of a process ---- */

static void finish_if_terminated(struct application *a)
{
    if (!a->terminating || a->lives > 0)
        return;
    private_socket_refuse(&a->socket);
    a->ended(a);
}

static void let_go(struct member *m)
{
    /* What it has started may hold the socket and the pipe, and nobody looks after it any more. */
    process_signal(&m->process, SIGKILL);
    error_pipe_drain(&m->errors);
    error_pipe_close(&m->errors);
    process_reap(&m->process);
    m->lives = false;
    m->application->lives--;
}

/* "php-cgi[4711] exited with status 255 after 20 ms" */
static void describe_end(const struct member *m, pid_t pid, uint64_t lived, char *out, size_t size)
{
    char how[128];
    snprintf(out, size, "application %s[%ld] %s after %llu ms", m->application->name, (long)pid,
             process_describe(m->status, how, sizeof(how)), (unsigned long long)lived);
}

static void replace(struct member *m, uint64_t lived)
{
    m->due = true;
    uv_update_time(m->application->relay->loop);
    uv_timer_start(&m->timer, on_time, lived < SPACING_MS ? SPACING_MS - lived : 0, 0);
}

static bool is_normal(const struct member *m, uint64_t lived)
{
    return WIFEXITED(m->status) && WEXITSTATUS(m->status) == 0 && (lived >= WORTHWHILE_MS || has_answered(m));
}

static void on_concluded(uv_timer_t *timer)
{
    struct member *m = timer->data;
    struct application *a = m->application;
    uint64_t lived = now_ms() - m->since;
    char end[256];
    describe_end(m, m->process.pid, lived, end, sizeof(end));
    let_go(m);
    if (a->terminating) {
        log_write(log_of(m), LOG_INFO, "%s", end);
        finish_if_terminated(a);
        return;
    }
    bool normal = is_normal(m, lived);
    if (normal || lived >= SETTLED_MS || has_answered(m))
        m->pause = 0;
    if (normal) {
        log_write(log_of(m), LOG_INFO, "%s; starting another", end);
        replace(m, lived);
        return;
    }
    char trouble[APPLICATION_TROUBLE];
    if (m->errors.last[0] != '\0')
        snprintf(trouble, sizeof(trouble), "%s, its last words: %s", end, m->errors.last);
    else
        snprintf(trouble, sizeof(trouble), "%s and said nothing", end);
    fail(m, trouble);
}

/*
 * Its last answer may have come in the same round of events, and the order of a round means nothing: what to
 * think of the end is decided when all of it has been handled.
 */
static void on_ended(struct process *process, int status)
{
    struct member *m = (struct member *)((char *)process - offsetof(struct member, process));
    m->status = status;
    uv_timer_start(&m->timer, on_concluded, 0, 0);
}

/* ---- the start of a process ---- */

static void on_line(struct error_pipe *errors, const char *text)
{
    const struct member *m = (struct member *)((char *)errors - offsetof(struct member, errors));
    log_write(log_of(m), LOG_INFO, "application %s[%ld]: %s", m->application->name, (long)m->process.pid,
              text);
}

static int spawn(struct member *m, int errors)
{
    const struct application *a = m->application;
    const struct process_plan plan = {.file = a->path,
                                      .arguments = a->command,
                                      .variables = a->variables,
                                      .fds = {a->socket.listener, errors, errors},
                                      /* TERM could be ignored, and there is nobody left to insist. */
                                      .parent_death = SIGKILL};
    enum process_step failed;
    pid_t pid = process_spawn(&plan, &failed);
    return pid < 0 ? (int)pid : process_watch(&a->relay->poller, &m->process, pid);
}

/* 0 or a negative errno. */
static int try_start(struct member *m)
{
    struct application *a = m->application;
    int errors;
    int rc = error_pipe_open(&a->relay->poller, &m->errors, &errors);
    if (rc < 0)
        return rc;
    rc = spawn(m, errors);
    close(errors);
    if (rc < 0) {
        error_pipe_close(&m->errors);
        return rc;
    }
    m->since = now_ms();
    m->seen = a->target->answers;
    m->lives = true;
    a->lives++;
    log_write(log_of(m), LOG_INFO, "started application %s[%ld]", a->name, (long)m->process.pid);
    return 0;
}

static const char *advise(const char *path, int error)
{
    switch (error) {
    case -ENOENT:
    case -ENOTDIR:
        return access(path, F_OK) == 0 ? "the interpreter or dynamic linker that it names is missing"
                                       : "is it installed, and is that its path?";
    case -EACCES:
        return "may the user that runs the shim execute it?";
    case -ENOEXEC:
        return "a script needs a first line like #!/bin/sh";
    default:
        return "can another program be run?";
    }
}

static void describe_failure(const char *path, int rc, char *out, size_t size)
{
    snprintf(out, size, "cannot start the application %s: %s; %s", path, strerror(-rc), advise(path, rc));
}

static void start_member(struct member *m)
{
    struct application *a = m->application;
    char trouble[APPLICATION_TROUBLE];
    m->due = false;
    if (a->socket.listener < 0 && private_socket_open(&a->socket, trouble, sizeof(trouble)) < 0) {
        fail(m, trouble);
        return;
    }
    int rc = try_start(m);
    if (rc == 0)
        return;
    describe_failure(a->path, rc, trouble, sizeof(trouble));
    fail(m, trouble);
}

/* ---- the application ---- */

/* Where the program is. Reports what went wrong. */
static int find_program(struct application *a, const char *name)
{
    char path[PATH_MAX];
    int rc = process_find(name, path, sizeof(path));
    if (rc < 0) {
        log_write(&a->relay->log, LOG_ERROR,
                  "cannot start the application %s: there is none in PATH%s; install it, or write its "
                  "absolute path",
                  name, rc == -EACCES ? " that may be executed" : "");
        return -1;
    }
    const char *slash = strrchr(path, '/');
    a->path = strdup(path);
    a->name = a->path ? a->path + (slash - path) + 1 : NULL;
    return a->path ? 0 : -1;
}

static int make_members(struct application *a, unsigned count)
{
    a->members = calloc(count, sizeof(*a->members));
    if (!a->members)
        return -1;
    for (a->nmembers = 0; a->nmembers < count; a->nmembers++) {
        struct member *m = &a->members[a->nmembers];
        m->application = a;
        m->process.watch.fd = m->errors.watch.fd = -1;
        m->process.ended = on_ended;
        m->errors.line_came = on_line;
        uv_timer_init(a->relay->loop, &m->timer);
        m->timer.data = m;
    }
    return 0;
}

int application_start(struct application *a, struct relay *relay, struct upstream_target *target,
                      const struct config_upstream *config, unsigned processes)
{
    char error[APPLICATION_TROUBLE];
    *a = (struct application){
        .relay = relay, .target = target, .socket = {.listener = -1, .file = -1}, .ended = a->ended};
    if (find_program(a, config->command[0]) < 0)
        return -1;
    a->variables = variables_inherit(config->environment);
    a->command = command_copy(config->command);
    if (!a->variables || !a->command || make_members(a, processes) < 0) {
        log_write(&relay->log, LOG_ERROR, "cannot start the application %s: out of memory", a->path);
        return -1;
    }
    target->name = a->path;
    target->addresses = &a->socket.endpoint;
    target->naddresses = 1;
    int rc = private_socket_open(&a->socket, error, sizeof(error));
    for (size_t i = 0; rc == 0 && i < a->nmembers; i++) {
        rc = try_start(&a->members[i]);
        if (rc < 0)
            describe_failure(a->path, rc, error, sizeof(error));
    }
    if (rc < 0)
        log_write(&relay->log, LOG_ERROR, "%s", error);
    return rc < 0 ? -1 : 0;
}

void application_terminate(struct application *a)
{
    if (a->terminating)
        return;
    a->terminating = true;
    for (size_t i = 0; i < a->nmembers; i++) {
        struct member *m = &a->members[i];
        if (m->lives)
            process_signal(&m->process, SIGTERM);
        else
            uv_timer_stop(&m->timer);
    }
    finish_if_terminated(a);
}

void application_close(struct application *a)
{
    for (size_t i = 0; i < a->nmembers; i++) /* all at once, then wait for each */
        process_signal(&a->members[i].process, SIGKILL);
    for (size_t i = 0; i < a->nmembers; i++) {
        struct member *m = &a->members[i];
        if (m->lives)
            let_go(m);
        uv_close((uv_handle_t *)&m->timer, NULL);
    }
    private_socket_close(&a->socket);
}

void application_free(struct application *a)
{
    free(a->members);
    free(a->path);
    command_free(a->command);
    variables_free(a->variables);
}
