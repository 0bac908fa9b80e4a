#include "relay/request.h"

#include <errno.h>

#include "relay/access_log.h"
#include "relay/decision_log.h"
#include "relay/encode.h"
#include "relay/refusal.h"
#include "relay/splice.h"
#include "relay/status_page.h"

/*
 * On a kept connection, what an application says too late about one request must not be taken for the answer
 * to the next: each has an id of its own. Otherwise the web server's does, which nearly all number 1.
 */
static uint16_t next_id(struct relay *relay, uint16_t id)
{
    if (!relay->config->upstream.keepalive)
        return id;
    relay->last_id = relay->last_id == UINT16_MAX ? 1 : (uint16_t)(relay->last_id + 1);
    return relay->last_id;
}

static void note_kept(struct front *f)
{
    if (f->kept)
        return;
    f->kept = true;
    if (f->relay->kept)
        f->relay->kept(f->relay);
}

void request_begin(struct front *f, uint16_t id, struct record_begin begin)
{
    struct request *r = &f->request;
    r->id = id;
    r->role = (uint8_t)begin.role; /* one of the three that there are */
    r->outcome = OUTCOME_NONE;
    r->keep = begin.keep;
    r->idempotent = r->retried = r->counted = r->undispatched = false;
    r->answered = r->mid_record = r->body = r->stdin_ended = r->data_ended = false;
    f->state = FRONT_PARAMS;
    if (r->keep)
        note_kept(f);
}

/* The request has ended, whatever came of it: here is told what there is to tell about it. */
static void tell_end(struct front *f)
{
    struct relay *relay = f->relay;
    metrics_count_end(relay->counts, f->request.outcome, f->began, poller_clock(&relay->poller));
    f->request.outcome = OUTCOME_NONE;
}

void request_clear(struct front *f)
{
    struct request *r = &f->request;
    struct upstream *upstream = r->upstream;
    if (r->access)
        access_end(f);
    r->upstream = NULL;
    if (upstream)
        upstream_abandon(upstream);
    pool_cancel(&f->relay->pool, &r->ticket);
    deadline_stop(&r->total);
    buffer_free(&r->params);
    buffer_free(&r->pending);
    if (r->counted)
        f->relay->requests--;
    r->counted = r->undispatched = false;
    if (r->outcome != OUTCOME_NONE)
        tell_end(f);
    if (f->relay->stopping && f->relay->requests == 0 && f->relay->calmed)
        f->relay->calmed(f->relay);
}

/* ---- answering without the application ---- */

/* A whole answer of our own, and what else waits to be sent. */
static void send_page(struct front *f, char *page, size_t len)
{
    if (f->relay->access)
        access_page(f, page, len);
    front_stop_header(f);
    gather_clear(&f->relay->gather);
    struct gather gather;
    gather_clear(&gather);
    gather_add(&gather, page, len);
    if (f->control.len > 0)
        gather_add(&gather, f->control.data + f->control.start, f->control.len);
    bool alive = front_send(f, &gather);
    buffer_free(&f->control);
    if (alive)
        front_finish(f);
}

void request_refuse(struct front *f, int status)
{
    char page[REFUSAL_MAX];
    size_t len = refusal_encode(page, f->request.id, status);
    f->request.outcome = OUTCOME_REFUSED;
    metrics_count_refusal(f->relay->counts, status);
    send_page(f, page, len);
}

static void show_status(struct front *f, struct slice content)
{
    struct buffer page = {0};
    if (status_page_make(f->relay, f->request.id, content, &page) < 0) {
        request_refuse(f, 503);
        return;
    }
    f->request.outcome = OUTCOME_STATUS;
    send_page(f, page.data + page.start, page.len);
    buffer_free(&page);
}

/* No answer can come from the application any more, and none has begun. */
static void refuse_failed(struct front *f, int error)
{
    bool timed_out = error == -ETIMEDOUT;
    bool exhausted = error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOBUFS;
    const struct upstream_target *target = f->relay->pool.shared.target;
    relay_log_limited(f->relay, unreachable, LOG_ERROR, "no answer from the application at %s: %s; %s",
                      target->name, strerror(-error),
                      target->trouble ? target->trouble : "is it running, and in time?");
    request_refuse(f, timed_out ? 504 : exhausted ? 503 : 502);
}

/* ---- starting ---- */

static void log_oddities(struct relay *relay, const struct decision *decision, const struct rewrite *rewrite)
{
    char peer[96];
    if (rewrite->repeated_addr)
        relay_log_limited(relay, repeated_addr, LOG_WARNING,
                          "the web server sent REMOTE_ADDR more than once; the last one counts (\"%s\"): "
                          "check its configuration",
                          log_escape(decision->peer_text, peer, sizeof(peer)));
    if (rewrite->aliases > 0)
        relay_log_limited(
            relay, aliases, LOG_INFO,
            "dropped %u parameters from peer \"%s\" whose names only look like a client-address header",
            rewrite->aliases, log_escape(decision->peer_text, peer, sizeof(peer)));
    if (rewrite->junk)
        relay_log_limited(
            relay, junk, LOG_WARNING,
            "ignored an X-Forwarded-Proto, -Port or -Host from peer \"%s\" that holds no usable value, or "
            "came more than once (repeated)",
            log_escape(decision->peer_text, peer, sizeof(peer)));
}

static bool is_full(struct relay *relay)
{
    if (relay->requests < relay->share.requests)
        return false;
    relay_log_limited(relay, requests, LOG_WARNING,
                      "refused a request with 503: %zu are running ([limits] requests)", relay->requests);
    return true;
}

/* What prepare says of a request for the status page. */
#define SHOW_STATUS 200

/* Whose client may see the status page is of [status], not of [access]. */
static void judge_status(const struct relay *relay, struct decision *decision)
{
    if (decision->rejected == 400)
        return;
    bool allowed = cidr_set_find(relay->config->status.allow, &decision->client) >= 0;
    decision->rejected = allowed ? SHOW_STATUS : 403;
    decision->reason = allowed ? decision->walk_reason : REASON_DENIED;
}

/* The decision goes where decisions are told and counted. */
static void tell_decision(struct relay *relay, const struct decision *decision)
{
    relay->counts->counters.decisions[decision->reason]++;
    if (decision->rejected)
        metrics_count_refused(relay->counts, decision->peer_text, &decision->client);
    if (decision->rejected || decision_log_wants(relay->config, decision))
        decision_log(relay, decision);
}

/*
 * 0, or the status to refuse with, or SHOW_STATUS: that is for the worst of days, too. An authorizer must
 * never say 200.
 */
static int prepare(struct front *f, struct slice content)
{
    struct relay *relay = f->relay;
    struct request *r = &f->request;
    const struct policy *policy = relay->config->policy;
    struct known *known = relay->known;
    bool has_page = relay->config->status.path && !relay->no_status && r->role == FCGI_RESPONDER;
    if (!has_page && is_full(relay)) {
        if (relay->access)
            access_begin_undecided(f, content);
        return 503;
    }
    enum params_error error = known_read(known, policy, content, has_page);
    if (error != PARAMS_OK) {
        if (relay->access)
            access_begin(f, content, NULL);
        return error == PARAMS_TOO_MANY ? 431 : 400;
    }

    struct decision decision;
    decide_request(policy, known->params, known->n, relay->workspace, &decision);
    bool asks_page = has_page && slice_equal(known->script, slice_of(relay->config->status.path));
    if (asks_page)
        judge_status(relay, &decision);
    if (relay->access)
        access_begin(f, content, &decision);
    if (decision.rejected == SHOW_STATUS)
        return SHOW_STATUS;
    if (has_page && !asks_page && is_full(relay))
        return 503;
    tell_decision(relay, &decision);
    if (decision.rejected)
        return decision.rejected;
    struct rewrite rewrite;
    if (rewrite_params(policy, known->params, known->n, &decision, relay->workspace, &rewrite) < 0)
        return 503;
    if (rewrite.repeated_addr || rewrite.aliases || rewrite.junk)
        log_oddities(relay, &decision, &rewrite);

    r->idempotent = r->app_keep && known->idempotent;
    const struct encode_request request = {.id = r->app_id,
                                           .role = r->role,
                                           .keep = r->app_keep,
                                           .content = content,
                                           .known = known,
                                           .rewrite = &rewrite};
    return encode_request(&request, &relay->scratch, &relay->gather) < 0 ? 503 : 0;
}

void request_start(struct front *f, struct slice content)
{
    struct relay *relay = f->relay;
    struct request *r = &f->request;
    front_stop_header(f);
    f->state = r->role == FCGI_AUTHORIZER ? FRONT_ANSWER : FRONT_BODY;
    r->app_keep = relay->config->upstream.keepalive;
    r->app_id = next_id(relay, r->id);
    f->scanner.pass_id = r->app_id;
    f->began = poller_clock(&relay->poller);
    int status = prepare(f, content);
    if (status == SHOW_STATUS) {
        show_status(f, content);
        return;
    }
    if (status != 0) {
        request_refuse(f, status);
        return;
    }
    relay->requests++;
    r->counted = true;
    r->outcome = OUTCOME_ABORTED; /* for as long as nothing better is known */
    r->undispatched = true;
    deadline_start(&relay->deadlines, &r->total, DEADLINE_REQUEST);
}

/* ---- sending ---- */

/* A copy for a second try is only ever needed behind a request that this connection has served before. */
static void attach(struct front *f, struct upstream *upstream)
{
    f->request.upstream = upstream;
    upstream_begin(upstream, f->request.app_id, f->request.id, f->request.app_keep,
                   upstream->served > 0 && f->request.idempotent && !f->request.retried);
}

static unsigned what_is_sent(const struct front *f)
{
    return (f->state == FRONT_ANSWER ? UPSTREAM_LAST : 0u) | (f->request.body ? UPSTREAM_BODY : 0u);
}

/*
 * Processes that we start end on purpose, after so many requests, and behind a kept connection there may be
 * one that is about to: what cannot be repeated does not go there.
 */
static enum pool_wish choose_connection(const struct front *f)
{
    if (f->request.idempotent)
        return POOL_ANY;
    return f->relay->config->upstream.kind == UPSTREAM_COMMAND ? POOL_FRESH : POOL_SURE;
}

static void dispatch(struct front *f, bool fresh)
{
    struct relay *relay = f->relay;
    struct upstream *upstream;
    int error;
    enum pool_wish wish = fresh ? POOL_FRESH : choose_connection(f);
    switch (pool_get(&relay->pool, &f->request.ticket, f, wish, &upstream, &error)) {
    case POOL_CONNECTION:
        attach(f, upstream);
        break;
    case POOL_WAIT:
        break;
    case POOL_FULL:
        relay_log_limited(
            relay, queue, LOG_WARNING,
            "refused a request with 503: all %u application connections are busy and the queue of %u is full",
            relay->config->upstream.connections, relay->config->upstream.queue);
        request_refuse(f, 503);
        break;
    case POOL_ERROR:
        refuse_failed(f, error);
        break;
    }
}

void request_forward(struct front *f)
{
    struct request *r = &f->request;
    struct gather *gather = &f->relay->gather;
    if (gather->bytes == 0)
        return;
    if (r->undispatched) {
        r->undispatched = false;
        dispatch(f, false);
    }
    if (front_ended(f) || (f->state != FRONT_BODY && f->state != FRONT_ANSWER))
        return;
    if (r->upstream)
        upstream_send(r->upstream, gather, what_is_sent(f));
    else if (buffer_append_gather(&r->pending, gather, 0) < 0)
        request_refuse(f, 503);
}

bool request_splice(struct front *f, size_t *size)
{
    struct upstream *upstream = f->request.upstream;
    size_t max = upstream && upstream_may_splice(upstream) ? splice_plan(&f->scanner, size) : 0;
    if (max == 0)
        return false;
    ssize_t n = upstream_splice(upstream, &f->stream, max);
    if (n > 0) {
        scanner_bypass(&f->scanner, (size_t)n);
        f->relay->counts->counters.from_front += (uint64_t)n;
    }
    return n > 0 || n == -EAGAIN;
}

bool request_has_room(const struct front *f)
{
    const struct request *r = &f->request;
    return r->upstream ? upstream_has_room(r->upstream) : r->pending.len < STREAM_HIGH_WATER;
}

void request_drained(struct front *f)
{
    if (f->request.upstream)
        upstream_resume(f->request.upstream);
    front_resume(f);
}

void request_granted(void *user, struct upstream *upstream, int error)
{
    struct front *f = user;
    if (f->request.access)
        access_wait(f);
    if (!upstream) {
        refuse_failed(f, error);
        return;
    }
    attach(f, upstream);
    upstream_send_buffer(upstream, &f->request.pending, what_is_sent(f));
    front_resume(f);
}

/* ---- the answer ---- */

static bool takes(void *user)
{
    const struct front *f = user;
    return !stream_is_blocked(&f->stream);
}

/* Such an end is invisible to web servers: they would show an empty answer. */
static bool refused_by_application(const struct request *r, const struct record_end *end)
{
    return end && end->protocol_status != FCGI_REQUEST_COMPLETE && !r->answered;
}

static void on_response(void *user, struct gather *pieces, bool boundary, const struct record_end *end)
{
    struct front *f = user;
    struct request *r = &f->request;
    char wire[RECORD_FIXED];
    if (r->access)
        access_answer(f, pieces, end != NULL);
    if (end)
        r->upstream = NULL;
    r->answered = r->answered || pieces->bytes > 0;
    r->mid_record = !boundary;
    if (refused_by_application(r, end)) {
        request_refuse(f, end->protocol_status == FCGI_UNKNOWN_ROLE ? 502 : 503);
        return;
    }
    if (end) {
        record_encode_end(wire, r->id, end->app_status, end->protocol_status);
        gather_extend(pieces, f->relay->pool.shared.buffer, RELAY_BUFFER_SIZE, wire, sizeof(wire));
        r->outcome = OUTCOME_ANSWERED;
    }
    if (boundary && f->control.len > 0)
        gather_append(pieces, f->control.data + f->control.start, f->control.len);
    bool alive = front_send(f, pieces);
    if (boundary && f->control.len > 0) {
        buffer_free(&f->control);
        front_resume(f);
    }
    if (alive && end)
        front_finish(f);
}

/* Once more, on a fresh connection: the kept one had ended before it saw the request, as far as anybody can
 * tell. */
static void repeat(struct front *f, struct buffer *again)
{
    struct request *r = &f->request;
    r->retried = true;
    f->relay->counts->counters.retries++;
    buffer_free(&r->pending);
    r->pending = *again;
    *again = (struct buffer){0};
    dispatch(f, true);
    if (r->upstream)
        upstream_send_buffer(r->upstream, &r->pending, what_is_sent(f));
    front_resume(f); /* there may be more of it, and room again */
}

static void on_failed(void *user, int error, struct buffer *again)
{
    struct front *f = user;
    struct request *r = &f->request;
    r->upstream = NULL;
    if (again && error != -ETIMEDOUT) {
        repeat(f, again);
        return;
    }
    if (!r->answered) {
        refuse_failed(f, error);
        return;
    }
    relay_log_limited(f->relay, unreachable, LOG_ERROR,
                      "the application at %s broke off in the middle of an answer: %s",
                      f->relay->pool.shared.target->name, strerror(-error));
    r->outcome = OUTCOME_BROKEN;
    front_break_off(f);
}

static ssize_t on_splice(void *user, struct stream *from, size_t max)
{
    struct front *f = user;
    ssize_t n = front_splice(f, from, max);
    if (n > 0 && f->request.access)
        access_skip(f, (size_t)n);
    return n;
}

static void on_drained(void *user)
{
    front_resume(user);
}

const struct upstream_events request_upstream_events = {
    .takes = takes, .response = on_response, .splice = on_splice, .failed = on_failed, .drained = on_drained};

/* ---- other ends ---- */

void request_abort(struct front *f)
{
    struct request *r = &f->request;
    if (r->mid_record) {
        front_end(f);
        return;
    }
    gather_clear(&f->relay->gather);
    char wire[RECORD_FIXED];
    record_encode_end(wire, r->id, 0, FCGI_REQUEST_COMPLETE);
    f->state = FRONT_ANSWER; /* whatever still comes under this id is of a request that is over */
    struct gather gather;
    gather_clear(&gather);
    gather_add(&gather, wire, sizeof(wire));
    if (front_send(f, &gather))
        front_finish(f);
}

void request_expired(struct front *f, enum deadline_kind kind)
{
    struct request *r = &f->request;
    if (kind == DEADLINE_QUEUE) {
        if (r->access)
            access_wait(f);
        pool_cancel(&f->relay->pool, &r->ticket);
        relay_log_limited(
            f->relay, queue, LOG_WARNING,
            "refused a request with 503: no application connection became free within queue_timeout");
        request_refuse(f, 503);
        return;
    }
    struct upstream *upstream = r->upstream;
    r->upstream = NULL;
    if (upstream)
        upstream_abandon(upstream);
    if (!r->answered) {
        refuse_failed(f, -ETIMEDOUT);
        return;
    }
    r->outcome = OUTCOME_BROKEN;
    front_break_off(f);
}
