#include "relay/records.h"

#include <stdio.h>

#include "fastcgi/params.h"
#include "relay/access_log.h"
#include "relay/request.h"

static bool role_known(uint16_t role)
{
    return role == FCGI_RESPONDER || role == FCGI_AUTHORIZER || role == FCGI_FILTER;
}

/* An authorizer has no streams (FastCGI specification 6.3), a filter has two (6.4). */
static bool request_whole(const struct request *r)
{
    if (r->role == FCGI_AUTHORIZER)
        return true;
    return r->stdin_ended && (r->role != FCGI_FILTER || r->data_ended);
}

/* All of it; where there is none, still a place in memory, for an end is reckoned from there. */
static struct slice content_of(const struct buffer *buffer)
{
    return buffer->data ? (struct slice){buffer->data + buffer->start, buffer->len} : SLICE("");
}

static void protocol_error(struct front *f, const char *what)
{
    relay_log_limited(f->relay, protocol, LOG_WARNING, "closing a connection of the web server: %s", what);
    front_end(f);
}

/* ---- records ---- */

static enum scan_verdict on_stream_header(struct front *f, const struct record *record)
{
    struct request *r = &f->request;
    if (f->state == FRONT_PARAMS)
        return SCAN_FAIL; /* before its parameters are complete */
    bool over = record->type == FCGI_STDIN ? r->stdin_ended : r->role != FCGI_FILTER || r->data_ended;
    if (f->state != FRONT_BODY || over)
        return SCAN_SKIP;
    r->body = r->body || record->content > 0;
    return SCAN_PASS;
}

static enum scan_verdict on_header(void *context, const struct record *record)
{
    struct front *f = context;
    if (record->version != FCGI_VERSION_1)
        return SCAN_FAIL;
    if (record->id == FCGI_NULL_REQUEST_ID) {
        if (record->type == FCGI_GET_VALUES)
            return SCAN_TAKE;
        return record->type >= FCGI_BEGIN_REQUEST && record->type <= FCGI_DATA ? SCAN_FAIL : SCAN_SKIP;
    }
    if (record->type == FCGI_BEGIN_REQUEST)
        return record->content == 8 ? SCAN_TAKE : SCAN_FAIL;
    /* Of another id: late records of a request that is over, or of one that was told to go elsewhere. */
    if (f->state == FRONT_IDLE || record->id != f->request.id)
        return SCAN_SKIP;
    switch (record->type) {
    case FCGI_PARAMS:
        if (f->state == FRONT_BODY)
            return SCAN_FAIL;
        return f->state == FRONT_PARAMS ? SCAN_TAKE : SCAN_SKIP;
    case FCGI_STDIN:
    case FCGI_DATA:
        return on_stream_header(f, record);
    default:
        return SCAN_SKIP;
    }
}

static void on_pass(void *context, char *data, size_t len)
{
    struct front *f = context;
    /* The request may have ended inside the record: then the gather is for the next one. */
    if (f->state == FRONT_BODY)
        gather_add(&f->relay->gather, data, len);
}

static void on_take(void *context, const struct record *record, struct slice piece)
{
    struct front *f = context;
    if (front_ended(f))
        return;
    if (record->type != FCGI_PARAMS) {
        if (buffer_append(&f->held, piece.data, piece.len) < 0)
            front_end(f);
        return;
    }
    if (f->state != FRONT_PARAMS)
        return; /* refused meanwhile */
    struct buffer *params = &f->request.params;
    if (params->len + piece.len > f->relay->config->limit_params_size) {
        if (f->relay->access && params->len == 0)
            access_begin(f, piece, NULL);
        request_refuse(f, 431);
    } else if (buffer_append(params, piece.data, piece.len) < 0) {
        request_refuse(f, 503);
    }
}

/* ---- what complete records bring about ---- */

static void answer_values(struct front *f)
{
    static const char *const known[] = {FCGI_MAX_CONNS, FCGI_MAX_REQS, FCGI_MPXS_CONNS};
    char limit[16];
    snprintf(limit, sizeof(limit), "%u", f->relay->config->limit_requests);
    char reply[RECORD_HEADER + 128];
    size_t len = RECORD_HEADER;
    struct param *asked = f->relay->known->params;
    size_t n = 0;
    if (params_decode(content_of(&f->held), asked, REALIP_MAX_PARAMS, &n) != PARAMS_OK)
        n = 0;
    for (size_t k = 0; k < sizeof(known) / sizeof(known[0]); k++) {
        struct slice name = slice_of(known[k]);
        for (size_t i = 0; i < n; i++) {
            if (!slice_equal(asked[i].name, name))
                continue;
            len += params_encode_pair(reply + len, name, k == 2 ? SLICE("0") : slice_of(limit));
            break;
        }
    }
    record_encode(reply, FCGI_GET_VALUES_RESULT, FCGI_NULL_REQUEST_ID, (uint16_t)(len - RECORD_HEADER), 0);
    front_reply(f, reply, len);
}

static void end_elsewhere(struct front *f, uint16_t id, uint8_t protocol_status)
{
    char reply[RECORD_FIXED];
    record_encode_end(reply, id, 0, protocol_status);
    front_reply(f, reply, sizeof(reply));
}

static void begin(struct front *f, uint16_t id, struct record_begin body)
{
    bool running = f->state == FRONT_PARAMS || f->state == FRONT_BODY || f->state == FRONT_ANSWER;
    if (running) {
        bool confused = id == f->request.id && f->state != FRONT_ANSWER;
        end_elsewhere(f, id, FCGI_CANT_MPX_CONN);
        /* Whose records follow under this id can no longer be told. */
        if (confused && !front_ended(f))
            front_break_off(f);
        return;
    }
    if (!role_known(body.role)) {
        end_elsewhere(f, id, FCGI_UNKNOWN_ROLE);
        f->state = FRONT_IDLE;
        f->request.id = 0;
        if (!body.keep && !front_ended(f)) {
            f->request.keep = false;
            front_finish(f);
        }
        return;
    }
    request_begin(f, id, body);
}

static void on_stream_progress(struct front *f)
{
    if (!request_whole(&f->request))
        return;
    if (f->state == FRONT_BODY)
        f->state = FRONT_ANSWER;
    else if (f->state == FRONT_DRAIN)
        f->state = FRONT_IDLE;
}

static void on_request_record(struct front *f, const struct record *record)
{
    struct request *r = &f->request;
    if (record->type == FCGI_ABORT_REQUEST) {
        if (f->state == FRONT_DRAIN)
            f->state = FRONT_IDLE; /* it has had its END_REQUEST */
        else
            request_abort(f);
    } else if (record->content > 0) {
        return;
    } else if (record->type == FCGI_PARAMS) {
        if (f->state == FRONT_PARAMS)
            request_start(f, content_of(&r->params));
        else if (r->role == FCGI_AUTHORIZER)
            on_stream_progress(f);
    } else if (record->type == FCGI_STDIN) {
        r->stdin_ended = true;
        on_stream_progress(f);
    } else if (record->type == FCGI_DATA) {
        r->data_ended = true;
        on_stream_progress(f);
    }
}

static bool on_complete(void *context, const struct record *record)
{
    struct front *f = context;
    if (front_ended(f))
        return false;
    if (record->id == FCGI_NULL_REQUEST_ID) {
        if (record->type == FCGI_GET_VALUES) {
            answer_values(f);
        } else {
            char reply[RECORD_FIXED];
            record_encode_unknown(reply, record->type);
            front_reply(f, reply, sizeof(reply));
        }
        buffer_free(&f->held);
    } else if (record->type == FCGI_BEGIN_REQUEST) {
        struct record_begin body = record_decode_begin(f->held.data + f->held.start);
        buffer_free(&f->held);
        begin(f, record->id, body);
    } else if (f->state != FRONT_IDLE && record->id == f->request.id) {
        on_request_record(f, record);
    }
    return !front_ended(f) && f->state != FRONT_LINGER && f->state != FRONT_CLOSING && f->state != FRONT_IDLE;
}

static const struct scanner_owner front_owner = {on_header, on_pass, on_take, on_complete};

/*
 * The usual request: BEGIN_REQUEST, one PARAMS record and the empty one, all of it in this chunk. Then the
 * parameters are decoded and sent from where they lie. Returns the bytes used, 0 if it is not so.
 */
static size_t take_whole(struct front *f, char *data, size_t len)
{
    if (len < RECORD_FIXED + 2 * RECORD_HEADER)
        return 0;
    struct record first = record_decode(data);
    if (first.version != FCGI_VERSION_1 || first.type != FCGI_BEGIN_REQUEST ||
        first.id == FCGI_NULL_REQUEST_ID || first.content != 8 || first.padding != 0)
        return 0;
    struct record params = record_decode(data + RECORD_FIXED);
    size_t content_at = RECORD_FIXED + RECORD_HEADER;
    size_t end_at = content_at + params.content + params.padding;
    if (params.version != FCGI_VERSION_1 || params.type != FCGI_PARAMS || params.id != first.id ||
        params.content == 0 || len - content_at < (size_t)params.content + params.padding + RECORD_HEADER)
        return 0;
    struct record end = record_decode(data + end_at);
    if (end.version != FCGI_VERSION_1 || end.type != FCGI_PARAMS || end.id != first.id || end.content != 0 ||
        len - end_at - RECORD_HEADER < end.padding)
        return 0;
    struct record_begin body = record_decode_begin(data + RECORD_HEADER);
    if (!role_known(body.role) || params.content > f->relay->config->limit_params_size)
        return 0;
    request_begin(f, first.id, body);
    request_start(f, (struct slice){data + content_at, params.content});
    return end_at + RECORD_HEADER + end.padding;
}

void records_feed(struct front *f, char *data, size_t len)
{
    size_t at = 0;
    while (at < len) {
        size_t used = 0;
        if (f->state == FRONT_LINGER || f->state == FRONT_CLOSING)
            return;
        if (f->state == FRONT_IDLE && scanner_at_boundary(&f->scanner))
            used = take_whole(f, data + at, len - at);
        if (used == 0) {
            ptrdiff_t n = scanner_feed(&f->scanner, data + at, len - at, &front_owner, f);
            if (n < 0) {
                if (!front_ended(f))
                    protocol_error(f, "it sent a record that is no FastCGI here");
                return;
            }
            used = (size_t)n;
        }
        if (front_ended(f))
            return;
        at += used;
    }
}
