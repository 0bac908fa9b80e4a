#include "relay/destination.h"

#include <errno.h>
#include <stdlib.h>

#include "config/command.h"
#include "config/endpoint.h"

static struct destination *of_target(struct upstream_target *target)
{
    return (struct destination *)((char *)target - offsetof(struct destination, target));
}

static struct destination *of_application(struct application *application)
{
    return (struct destination *)((char *)application - offsetof(struct destination, application));
}

/* ---- the end of one ---- */

static void on_sweep(uv_timer_t *timer);

/* Whoever notices that something has ended stands in the middle of it: it is looked at later. */
static void sweep_later(struct relay *relay)
{
    uv_timer_start(&relay->sweep, on_sweep, 0, 0);
}

static void free_it(struct destination *d)
{
    application_free(&d->application);
    cgi_free(&d->cgi);
    endpoint_free_list(d->addresses, d->naddresses);
    free(d->root);
    command_free(d->command);
    command_free(d->environment);
    free(d);
}

/* What was closed before it is closed in the same turn, in whatever order. */
static void on_closed(uv_handle_t *handle)
{
    struct destination *d = handle->data;
    d->closed = true;
    if (!uv_is_closing((uv_handle_t *)&d->relay->sweep))
        sweep_later(d->relay);
}

static void close_it(struct destination *d)
{
    if (d->started)
        application_close(&d->application);
    cgi_close(&d->cgi);
    d->closing = true;
    uv_close((uv_handle_t *)&d->end, on_closed);
}

static void on_end(uv_timer_t *timer)
{
    struct destination *d = timer->data;
    log_write(&d->relay->log, LOG_WARNING, "killing %zu processes of %s, which is not used any more",
              d->application.lives, d->target.name);
    d->insisted = true;
    sweep_later(d->relay);
}

/* Nobody needs its processes any more. True: none is left. */
static bool has_ended(struct destination *d)
{
    if (d->target.connections > 0 || (d->cgi.loop && !cgi_is_empty(&d->cgi)))
        return false;
    if (!d->started || d->insisted)
        return true;
    if (!d->application.terminating || !uv_is_active((uv_handle_t *)&d->end)) {
        uv_timer_start(&d->end, on_end, d->relay->config->shutdown_timeout_ms, 0);
        application_terminate(&d->application);
    }
    return d->application.lives == 0;
}

static void on_sweep(uv_timer_t *timer)
{
    struct relay *relay = timer->data;
    for (struct destination **at = &relay->destinations; *at;) {
        struct destination *d = *at;
        if (d->closed) {
            *at = d->next;
            free_it(d);
            continue;
        }
        if (d->retired && !d->closing && has_ended(d))
            close_it(d);
        at = &d->next;
    }
}

static void on_left(struct upstream_target *target)
{
    sweep_later(of_target(target)->relay);
}

static void on_emptied(struct cgi *cgi)
{
    struct destination *d = (struct destination *)((char *)cgi - offsetof(struct destination, cgi));
    if (d->retired)
        sweep_later(d->relay);
}

static void on_application_ended(struct application *application)
{
    struct destination *d = of_application(application);
    struct relay *relay = d->relay;
    if (d->retired)
        sweep_later(relay);
    if (relay->stopping && relay->terminated && destinations_count_lives(relay) == 0)
        relay->terminated(relay);
}

void destination_retire(struct destination *d)
{
    d->retired = true;
    sweep_later(d->relay);
}

/* ---- making one ---- */

static int copy_addresses(struct destination *d, const struct config_upstream *config)
{
    struct endpoint_fault fault;
    for (size_t i = 0; i < config->naddresses; i++) {
        if (!endpoint_add_copy(&config->addresses[i], &d->addresses, &d->naddresses, &fault))
            return -1;
    }
    d->target.addresses = d->addresses;
    d->target.naddresses = d->naddresses;
    d->target.name = d->naddresses > 0 ? d->addresses[0].text : "";
    return 0;
}

static int copy_words(struct destination *d, const struct config_upstream *config)
{
    d->root = config->cgi_root ? strdup(config->cgi_root) : NULL;
    d->command = config->command ? command_copy(config->command) : NULL;
    d->environment = config->environment ? command_copy(config->environment) : NULL;
    bool fine = (d->root || !config->cgi_root) && (d->command || !config->command) &&
                (d->environment || !config->environment);
    return fine ? 0 : -1;
}

/* The application is programs: one a request. */
static int open_cgi(struct destination *d, const struct config_upstream *config, unsigned max_processes)
{
    struct relay *relay = d->relay;
    d->cgi.emptied = on_emptied;
    int rc =
        cgi_open(&d->cgi, relay->loop, &relay->poller, &relay->deadlines, &relay->log, config, max_processes);
    if (rc < 0)
        return rc;
    d->target.dial = cgi_dial;
    d->target.dialled = &d->cgi;
    d->target.name = d->root ? d->root : d->cgi.programs.command[0];
    return 0;
}

static int make(struct destination *d, const struct config_upstream *config, const struct share *share)
{
    if (copy_addresses(d, config) < 0 || copy_words(d, config) < 0)
        return -ENOMEM;
    return d->kind == UPSTREAM_CGI ? open_cgi(d, config, share->max_processes) : 0;
}

int destination_new(struct destination **out, struct relay *relay, const struct config_upstream *config,
                    const struct share *share)
{
    *out = NULL;
    struct destination *d = calloc(1, sizeof(*d));
    if (!d)
        return -ENOMEM;
    uv_timer_init(relay->loop, &d->end);
    d->end.data = d;
    d->relay = relay;
    d->kind = config->kind;
    d->target.left = on_left;
    d->processes = share->processes;
    d->next = relay->destinations;
    relay->destinations = d;
    int rc = make(d, config, share);
    if (rc < 0)
        destination_retire(d);
    else
        *out = d;
    return rc;
}

int destination_start(struct destination *d, const struct config_upstream *config)
{
    if (d->kind != UPSTREAM_COMMAND)
        return 0;
    d->started = true;
    d->application.ended = on_application_ended;
    return application_start(&d->application, d->relay, &d->target, config, d->processes);
}

/* ---- is it the same one? ---- */

static bool same_words(char *const *a, char *const *b)
{
    if (!a || !b)
        return a == b;
    while (*a && *b && strcmp(*a, *b) == 0) {
        a++;
        b++;
    }
    return !*a && !*b;
}

static bool same_addresses(const struct destination *d, const struct config_upstream *config)
{
    if (d->naddresses != config->naddresses)
        return false;
    for (size_t i = 0; i < d->naddresses; i++) {
        if (!endpoint_equal(&d->addresses[i], &config->addresses[i]) ||
            strcmp(d->addresses[i].text, config->addresses[i].text) != 0)
            return false;
    }
    return true;
}

bool destination_fits(const struct destination *d, const struct config_upstream *config,
                      const struct share *share)
{
    bool same_root =
        d->root && config->cgi_root ? strcmp(d->root, config->cgi_root) == 0 : !d->root && !config->cgi_root;
    return d->kind == config->kind && same_addresses(d, config) && same_root &&
           same_words(d->command, config->command) && same_words(d->environment, config->environment) &&
           (d->kind != UPSTREAM_COMMAND || d->processes == share->processes);
}

void destination_adjust(struct destination *d, const struct share *share)
{
    if (d->kind == UPSTREAM_CGI)
        cgi_change(&d->cgi, share->max_processes);
}

/* ---- all of them ---- */

int destinations_open(struct relay *relay)
{
    relay->sweep.data = relay;
    return uv_timer_init(relay->loop, &relay->sweep);
}

size_t destinations_count_lives(const struct relay *relay)
{
    size_t lives = 0;
    for (const struct destination *d = relay->destinations; d; d = d->next)
        lives += d->application.lives;
    return lives;
}

void destinations_terminate(struct relay *relay)
{
    for (struct destination *d = relay->destinations; d; d = d->next) {
        if (d->started && !d->closing)
            application_terminate(&d->application);
    }
}

void destinations_close(struct relay *relay)
{
    uv_close((uv_handle_t *)&relay->sweep, NULL);
    for (struct destination *d = relay->destinations; d; d = d->next) {
        if (!d->closing)
            close_it(d);
    }
}

void destinations_free(struct relay *relay)
{
    while (relay->destinations) {
        struct destination *d = relay->destinations;
        relay->destinations = d->next;
        free_it(d);
    }
    relay->destination = NULL;
}
