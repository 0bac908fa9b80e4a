#include "relay/serve.h"

#include <signal.h>
#include <stdlib.h>

#include "relay/application.h"
#include "relay/listener.h"

struct server {
    uv_loop_t loop;
    struct relay relay;
    struct application application;
    bool supervises; /* the application is ours */
    struct listener *listeners;
    size_t nlisteners;
    uv_signal_t term, interrupt;
    uv_timer_t shutdown; /* shutdown_timeout is over */
    uv_timer_t half;     /* half of it is */
    uv_timer_t calm;     /* has the last request ended? */
};

static void stop_listening(struct server *server)
{
    for (size_t i = 0; i < server->nlisteners; i++)
        listener_stop(&server->listeners[i]);
}

/* ---- stopping ---- */

static void stop_if_done(struct server *server)
{
    if (server->relay.stopping && !server->relay.fronts &&
        !(server->supervises && server->application.lives > 0))
        server->relay.ended = true;
}

static void on_emptied(struct relay *relay)
{
    struct server *server = relay->owner;
    if (server->supervises)
        application_terminate(&server->application);
    stop_if_done(server);
}

static void on_application_ended(struct application *application)
{
    stop_if_done(application->relay->owner);
}

/* The application is told as soon as it is not needed: who told us may not wait for long. */
static void on_calm(uv_timer_t *timer)
{
    struct server *server = timer->data;
    if (server->supervises && relay_is_calm(&server->relay))
        application_terminate(&server->application);
}

/* A request has ended, but its front still looks as if it had not. */
static void on_calmed(struct relay *relay)
{
    struct server *server = relay->owner;
    uv_timer_start(&server->calm, on_calm, 0, 0);
}

/* The rest is the application's, to end what it has begun. */
static void on_half_time(uv_timer_t *timer)
{
    struct server *server = timer->data;
    application_terminate(&server->application);
}

static void on_shutdown_timeout(uv_timer_t *timer)
{
    struct server *server = timer->data;
    log_write(&server->relay.log, LOG_WARNING, "shutdown_timeout is over: ending %zu requests",
              server->relay.requests);
    if (server->supervises)
        log_write(&server->relay.log, LOG_WARNING, "killing %zu processes of %s", server->application.lives,
                  server->relay.pool.shared.name);
    server->relay.ended = true;
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct server *server = handle->data;
    const char *name = number == SIGTERM ? "TERM" : "INT";
    if (server->relay.stopping) {
        log_write(&server->relay.log, LOG_INFO, "%s again: ending at once", name);
        server->relay.ended = true;
        return;
    }
    log_write(&server->relay.log, LOG_INFO, "%s: no new requests, %zu running", name, server->relay.requests);
    stop_listening(server);
    uint64_t timeout = server->relay.config->shutdown_timeout_ms;
    uv_timer_start(&server->shutdown, on_shutdown_timeout, timeout, 0);
    if (server->supervises)
        uv_timer_start(&server->half, on_half_time, timeout / 2, 0);
    relay_stop(&server->relay);
    on_calm(&server->calm);
}

/* ---- starting ---- */

static void open_handles(struct server *server)
{
    uv_signal_init(&server->loop, &server->term);
    uv_signal_init(&server->loop, &server->interrupt);
    uv_timer_init(&server->loop, &server->shutdown);
    uv_timer_init(&server->loop, &server->half);
    uv_timer_init(&server->loop, &server->calm);
    server->term.data = server->interrupt.data = server;
    server->shutdown.data = server->half.data = server->calm.data = server;
    uv_signal_start(&server->term, on_signal, SIGTERM);
    uv_signal_start(&server->interrupt, on_signal, SIGINT);
}

static int start_listener(struct server *server, struct listener *l, const char *text)
{
    int rc = listener_start(l, &server->relay);
    if (rc < 0)
        log_write(&server->relay.log, LOG_ERROR, "cannot wait for connections on %s: %s", text,
                  uv_strerror(rc));
    else
        log_write(&server->relay.log, LOG_INFO, "listening on %s", text);
    return rc;
}

/* Reports what went wrong. */
static int open_own(struct server *server, struct listener *l, const struct endpoint *endpoint)
{
    char error[512];
    if (listen_open(&l->socket, endpoint, &server->relay.config->listen, true, error, sizeof(error)) == 0)
        return start_listener(server, l, endpoint->text);
    log_write(&server->relay.log, LOG_ERROR, "%s", error);
    return -1;
}

static int open_inherited(struct server *server, struct listener *l, int fd)
{
    char text[160];
    char error[512];
    if (inherit_adopt(&l->socket, fd, &server->relay.config->listen, text, sizeof(text), error,
                      sizeof(error)) == 0)
        return start_listener(server, l, text);
    log_write(&server->relay.log, LOG_ERROR, "%s", error);
    return -1;
}

static int open_listeners(struct server *server, const struct config *config,
                          const struct inherited *inherited)
{
    size_t count = inherited->count > 0 ? (size_t)inherited->count : config->listen.naddresses;
    server->listeners = calloc(count, sizeof(*server->listeners));
    if (!server->listeners)
        return -1;
    if (inherited->count > 0 && config->listen.naddresses > 0)
        log_write(&server->relay.log, LOG_INFO,
                  "[listen] address is not used: listening sockets were inherited");
    while (server->nlisteners < count) {
        size_t i = server->nlisteners++;
        struct listener *l = &server->listeners[i];
        int rc = inherited->count > 0 ? open_inherited(server, l, inherited->first + (int)i)
                                      : open_own(server, l, &config->listen.addresses[i]);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* Reports what went wrong. */
static int open_application(struct server *server, const struct config *config)
{
    if (config->upstream.kind != UPSTREAM_COMMAND)
        return 0;
    server->supervises = true;
    server->application.ended = on_application_ended;
    return application_start(&server->application, &server->relay);
}

static void close_all(struct server *server)
{
    stop_listening(server);
    if (server->supervises)
        application_close(&server->application);
    relay_close(&server->relay);
    uv_close((uv_handle_t *)&server->term, NULL);
    uv_close((uv_handle_t *)&server->interrupt, NULL);
    uv_close((uv_handle_t *)&server->shutdown, NULL);
    uv_close((uv_handle_t *)&server->half, NULL);
    uv_close((uv_handle_t *)&server->calm, NULL);
    uv_run(&server->loop, UV_RUN_DEFAULT);
    uv_loop_close(&server->loop);
    relay_free(&server->relay);
    if (server->supervises)
        application_free(&server->application);
    free(server->listeners);
}

int serve_run(const struct config *config, const struct inherited *inherited)
{
    struct server server = {.nlisteners = 0};
    signal(SIGPIPE, SIG_IGN);
    process_raise_file_limit(); /* a relay has two descriptors a request */
    int rc = uv_loop_init(&server.loop);
    if (rc < 0) {
        fprintf(stderr, "fcgi-realip: error: cannot make an event loop: %s\n", uv_strerror(rc));
        return 1;
    }
    open_handles(&server);
    rc = relay_open(&server.relay, &server.loop, config, (enum log_level)config->log_level);
    server.relay.owner = &server;
    server.relay.emptied = on_emptied;
    server.relay.calmed = on_calmed;
    int status = 0;
    if (rc < 0) {
        log_write(&server.relay.log, LOG_ERROR, "cannot start: %s", uv_strerror(rc));
        status = 1;
    } else if (open_listeners(&server, config, inherited) < 0 || open_application(&server, config) < 0) {
        status = 1;
    } else {
        log_write(&server.relay.log, LOG_INFO, "ready: requests go to %s", server.relay.pool.shared.name);
        relay_run(&server.relay);
    }
    close_all(&server);
    return status;
}
