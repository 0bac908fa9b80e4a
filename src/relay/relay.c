#include "relay/relay.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "relay/cgi_request.h"
#include "relay/destination.h"
#include "relay/front.h"
#include "relay/listener.h"
#include "relay/logs.h"
#include "relay/request.h"

/* How long a front that has sent its whole request is not looked at, in ms: so much later is noticed that
 * nobody waits for the answer any more. */
#define WATCH_MS 20
/* How long a front that has never asked for anything may still do so when the relay stops, in ms: its web
 * server has connected and is about to send, which takes a moment on a busy machine. */
#define FIRST_MS 2000
/* How long a front that we answered early may take to notice, in ms. */
#define LINGER_MS 5000
/* Between two tries on an application whose backlog is full. */
#define RETRY_MS 20
/* How long a listener rests when descriptors or memory are short. */
#define REST_MS 200

/* No turn takes so long, in ms, by what it has to do. */
#define STANDSTILL_MS 200

#define CONTAINER(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

/* The other kinds are no limits that anybody set. */
static void count_expired(struct relay *relay, enum deadline_kind kind)
{
    static const uint8_t timeouts[DEADLINE_KINDS] = {
        [DEADLINE_HEADER] = TIMEOUT_HEADER + 1,   [DEADLINE_FRONT] = TIMEOUT_WEB_SERVER + 1,
        [DEADLINE_QUEUE] = TIMEOUT_QUEUE + 1,     [DEADLINE_CONNECT] = TIMEOUT_CONNECT + 1,
        [DEADLINE_SEND] = TIMEOUT_SEND + 1,       [DEADLINE_READ] = TIMEOUT_READ + 1,
        [DEADLINE_REQUEST] = TIMEOUT_REQUEST + 1,
    };
    if (timeouts[kind] > 0)
        relay->counts->counters.timeouts[timeouts[kind] - 1]++;
}

static void on_expired(struct deadlines *deadlines, struct deadline *deadline)
{
    count_expired(CONTAINER(deadlines, struct relay, deadlines), deadline->kind);
    switch (deadline->kind) {
    case DEADLINE_HEADER:
    case DEADLINE_FIRST:
    case DEADLINE_WATCH:
    case DEADLINE_LINGER:
    case DEADLINE_FRONT:
        front_expired(CONTAINER(deadline, struct front, deadline), deadline->kind);
        break;
    case DEADLINE_QUEUE:
        request_expired(CONTAINER(deadline, struct ticket, deadline)->user, DEADLINE_QUEUE);
        break;
    case DEADLINE_REQUEST:
        request_expired(CONTAINER(deadline, struct front, request.total), DEADLINE_REQUEST);
        break;
    case DEADLINE_REST:
        listener_wake(CONTAINER(deadline, struct listener, deadline));
        break;
    case DEADLINE_PIPES:
        pipes_close(CONTAINER(deadline, struct pipes, unused));
        break;
    case DEADLINE_CGI_BODY:
    case DEADLINE_CGI_HELD:
    case DEADLINE_CGI_EXIT:
    case DEADLINE_CGI_KILL:
        cgi_request_expired(CONTAINER(deadline, struct cgi_request, deadline), deadline->kind);
        break;
    default:
        upstream_expired(CONTAINER(deadline, struct upstream, deadline), deadline->kind);
        break;
    }
}

void relay_set_durations(uint64_t *lasts, const struct config *config)
{
    lasts[DEADLINE_HEADER] = config->header_timeout_ms;
    lasts[DEADLINE_FIRST] = FIRST_MS;
    lasts[DEADLINE_WATCH] = WATCH_MS;
    lasts[DEADLINE_LINGER] = LINGER_MS;
    lasts[DEADLINE_QUEUE] = config->upstream.queue_timeout_ms;
    lasts[DEADLINE_CONNECT] = config->upstream.connect_timeout_ms;
    lasts[DEADLINE_RETRY] = RETRY_MS;
    lasts[DEADLINE_SEND] = config->upstream.send_timeout_ms;
    lasts[DEADLINE_FRONT] = config->upstream.send_timeout_ms;
    lasts[DEADLINE_READ] = config->upstream.read_timeout_ms;
    lasts[DEADLINE_IDLE] = config->upstream.idle_timeout_ms;
    lasts[DEADLINE_REQUEST] = config->upstream.request_timeout_ms;
    lasts[DEADLINE_REST] = REST_MS;
    lasts[DEADLINE_PIPES] = PIPES_MS;
    lasts[DEADLINE_CGI_BODY] = CGI_BODY_MS;
    lasts[DEADLINE_CGI_HELD] = CGI_HELD_MS;
    lasts[DEADLINE_CGI_EXIT] = CGI_EXIT_MS;
    lasts[DEADLINE_CGI_KILL] = CGI_KILL_MS;
}

int relay_open(struct relay *relay, uv_loop_t *loop, const struct config *config, const struct share *share,
               struct metrics *metrics)
{
    *relay = (struct relay){.loop = loop,
                            .config = config,
                            .generation = 1,
                            .successor = -1,
                            .share = *share,
                            .metrics = metrics};
    relay->counts = metrics_enter(metrics, share->number, (uint64_t)time(NULL));
    logs_begin(relay);
    deadlines_open(&relay->deadlines, loop, on_expired);
    relay_set_durations(relay->deadlines.lasts, config);
    relay->pool.granted = request_granted;
    relay->pool.cap = share->connections;
    relay->pool.most_waiting = share->queue;
    relay->pool.shared.poller = &relay->poller;
    relay->pool.shared.deadlines = &relay->deadlines;
    relay->pool.shared.counters = &relay->counts->counters;
    relay->pool.shared.config = &config->upstream;
    relay->pool.shared.events = &request_upstream_events;
    relay->pool.shared.buffer_size = RELAY_BUFFER_SIZE;
    pool_open(&relay->pool, loop);
    destinations_open(relay);
    int rc = poller_open(&relay->poller, loop);
    if (rc < 0)
        return rc;
    rc = outbox_open(&relay->outbox, &relay->poller, &relay->deadlines);
    if (rc < 0)
        return rc;
    rc = destination_new(&relay->destination, relay, &config->upstream, share);
    if (rc < 0)
        return rc;
    relay->pool.shared.target = &relay->destination->target;
    relay->workspace = workspace_new(config->policy);
    relay->known = malloc(sizeof(*relay->known));
    relay->buffer = malloc(RELAY_BUFFER_SIZE);
    relay->pool.shared.buffer = malloc(RELAY_BUFFER_SIZE);
    return relay->workspace && relay->known && relay->buffer && relay->pool.shared.buffer ? 0 : -ENOMEM;
}

/*
 * Whoever was dealt with in this turn was given time from its beginning. If the process has stood still since
 * then (a paused container, no processor to be had), that is over before anybody could do anything.
 */
static void allow_for_standstill(struct relay *relay)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    uint64_t ms = (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
    uint64_t began = relay->poller.waited;
    if (ms > began + STANDSTILL_MS)
        deadlines_delay(&relay->deadlines, ms - began);
}

/*
 * A turn of a busy relay may leave sockets for the next one, and time limits are about what all of them did:
 * `looked` counts the sockets handled since `since`, when something was found to be due.
 */
void relay_run(struct relay *relay)
{
    struct poller *poller = &relay->poller;
    struct deadlines *deadlines = &relay->deadlines;
    size_t looked = 0;
    uint64_t since = 0;
    while (!relay->ended) {
        bool all = poller_turn(poller, deadlines_timeout(deadlines));
        if (relay->metrics->count > 1)
            relay_publish(relay);
        allow_for_standstill(relay);
        if (deadlines_timeout(deadlines) != 0)
            continue;
        if (since == 0)
            since = poller->waited;
        else
            looked += POLLER_BATCH;
        if (!all && looked < poller->watches)
            continue;
        deadlines_expire(deadlines, all ? poller->asked : since);
        looked = since = 0;
    }
}

void relay_publish(struct relay *relay)
{
    struct metrics_slot *slot = relay->counts;
    uint64_t upstreams = 0;
    for (const struct destination *d = relay->destinations; d; d = d->next)
        upstreams += d->target.connections;
    slot->generation = relay->generation;
    slot->now = (struct metrics_gauges){.requests = relay->requests,
                                        .waiting = relay->pool.nwaiting,
                                        .fronts = relay->nfronts,
                                        .upstreams = upstreams};
}

void relay_drain(struct relay *relay, int successor)
{
    bool any = relay->fronts != NULL;
    relay->stopping = true;
    relay->successor = successor;
    pool_keep_none(&relay->pool);
    struct front *next;
    for (struct front *f = relay->fronts; f; f = next) {
        next = f->next;
        front_pass(f);
    }
    if (!any)
        relay->emptied(relay);
}

void relay_stop(struct relay *relay)
{
    relay->stopping = true;
    relay->successor = -1;
    pool_keep_none(&relay->pool);
    struct front *next;
    bool any = relay->fronts != NULL;
    for (struct front *f = relay->fronts; f; f = next) {
        next = f->next;
        front_stop(f);
    }
    if (!any)
        relay->emptied(relay);
}

bool relay_is_calm(const struct relay *relay)
{
    for (const struct front *f = relay->fronts; f; f = f->next) {
        if (f->request.counted || f->state == FRONT_IDLE || f->state == FRONT_PARAMS)
            return false;
    }
    return true;
}

void relay_close(struct relay *relay)
{
    relay->stopping = false; /* nobody waits for the last front any more */
    destinations_close(relay);
    while (relay->fronts)
        front_end(relay->fronts);
    pool_close(&relay->pool);
    logs_stop(relay);
    poller_close(&relay->poller);
    metrics_leave(relay->counts);
}

void relay_free(struct relay *relay)
{
    destinations_free(relay);
    workspace_free(relay->workspace);
    outbox_close(&relay->outbox);
    free(relay->known);
    free(relay->buffer);
    free(relay->pool.shared.buffer);
    buffer_free(&relay->scratch);
    logs_close(relay);
}
