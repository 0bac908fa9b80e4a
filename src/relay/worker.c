#include "relay/worker.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "relay/logs.h"

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
    if (worker->relay.stopping && !worker->relay.fronts && destinations_count_lives(&worker->relay) == 0)
        worker->relay.ended = true;
}

static void on_emptied(struct relay *relay)
{
    destinations_terminate(relay);
    stop_if_done(relay->owner);
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

/* There is a master, which says with QUIT when it has to be at once: TERM may come from it as well as from
 * whoever signals all processes of the service. */
static bool is_managed(const struct worker *worker)
{
    return worker->relay.config->workers > 1;
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
    if (worker->relay.stopping) {
        if (is_managed(worker))
            return;
        log_write(&worker->relay.log, LOG_INFO, "%s again: ending at once", name);
        worker->relay.ended = true;
        return;
    }
    log_write(&worker->relay.log, LOG_INFO, "%s: no new requests, %zu running", name, worker->relay.requests);
    stop_listening(worker);
    if (worker->service)
        service_say_stopping(worker->service);
    uint64_t timeout = worker->relay.config->shutdown_timeout_ms;
    uv_timer_start(&worker->shutdown, on_shutdown_timeout, timeout, 0);
    uv_timer_start(&worker->half, on_half_time, timeout / 2, 0);
    relay_stop(&worker->relay);
    on_calm(&worker->calm);
}

static void on_beat(uv_timer_t *timer)
{
    const struct worker *worker = timer->data;
    service_beat(worker->service);
}

static void on_hangup(uv_signal_t *handle, int number)
{
    struct worker *worker = handle->data;
    const struct config *config = worker->relay.config;
    (void)number;
    if (worker->relay.stopping)
        return;
    log_write(&worker->relay.log, LOG_INFO, "HUP: reading %s again", config->path);
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
    uv_timer_init(&worker->loop, &worker->shutdown);
    uv_timer_init(&worker->loop, &worker->half);
    uv_timer_init(&worker->loop, &worker->calm);
    uv_timer_init(&worker->loop, &worker->beat);
    worker->term.data = worker->interrupt.data = worker->quit.data = worker->hangup.data = worker;
    worker->reopen.data = worker;
    worker->shutdown.data = worker->half.data = worker->calm.data = worker->beat.data = worker;
    uv_signal_start(&worker->term, on_signal, SIGTERM);
    uv_signal_start(&worker->interrupt, on_signal, SIGINT);
    uv_signal_start(&worker->hangup, on_hangup, SIGHUP);
    uv_signal_start(&worker->reopen, on_reopen, SIGUSR1);
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGHUP);
    sigaddset(&held, SIGUSR1);
    sigprocmask(SIG_UNBLOCK, &held, NULL); /* see serve_hold_signals */
}

int worker_open(struct worker *worker, struct config *config, const struct share *share,
                struct metrics *metrics)
{
    *worker = (struct worker){.nlisteners = 0};
    int rc = metrics ? uv_loop_init(&worker->loop) : UV_ENOMEM;
    if (rc < 0) {
        fprintf(stderr, "fcgi-realip: error: cannot make an event loop: %s\n", uv_strerror(rc));
        config_free(config);
        return -1;
    }
    worker->opened = true;
    open_handles(worker);
    rc = relay_open(&worker->relay, &worker->loop, config, share, metrics);
    if (config->workers > 1) {
        uv_signal_start(&worker->quit, on_quit, SIGQUIT);
        worker->relay.kept = on_kept;
    }
    int rc_reload = reload_open(&worker->reload, &worker->relay, config);
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
    sockets_close(sockets);
    if (rc < 0)
        log_write(&worker->relay.log, LOG_ERROR, "cannot wait for connections: %s", uv_strerror(rc));
    return rc;
}

static void say_ready(int ready)
{
    ssize_t n;
    do
        n = write(ready, "r", 1);
    while (n < 0 && errno == EINTR);
    close(ready);
}

static void begin_service(struct worker *worker)
{
    uint64_t beat = service_beat_ms(worker->service);
    if (beat > 0)
        uv_timer_start(&worker->beat, on_beat, beat, beat);
    worker->service->log = &worker->relay.log;
    service_say_ready(worker->service);
}

int worker_run(struct worker *worker, struct sockets *sockets, struct service *service, int ready)
{
    struct relay *relay = &worker->relay;
    worker->service = service;
    if (logs_open(relay) < 0 || start_listening(worker, sockets) < 0 ||
        destination_start(relay->destination, &relay->config->upstream) < 0)
        return 1;
    log_write(&relay->log, LOG_INFO, "ready: requests go to %s", relay->destination->target.name);
    if (ready >= 0)
        say_ready(ready);
    if (service)
        begin_service(worker);
    relay_run(relay);
    return 0;
}

/* ---- the end ---- */

void worker_close(struct worker *worker)
{
    if (!worker->opened)
        return;
    stop_listening(worker);
    reload_close(&worker->reload);
    relay_close(&worker->relay);
    uv_close((uv_handle_t *)&worker->term, NULL);
    uv_close((uv_handle_t *)&worker->interrupt, NULL);
    uv_close((uv_handle_t *)&worker->quit, NULL);
    uv_close((uv_handle_t *)&worker->hangup, NULL);
    uv_close((uv_handle_t *)&worker->reopen, NULL);
    uv_close((uv_handle_t *)&worker->shutdown, NULL);
    uv_close((uv_handle_t *)&worker->half, NULL);
    uv_close((uv_handle_t *)&worker->calm, NULL);
    uv_close((uv_handle_t *)&worker->beat, NULL);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    uv_loop_close(&worker->loop);
    relay_free(&worker->relay);
    reload_free(&worker->reload);
    free(worker->listeners);
}
