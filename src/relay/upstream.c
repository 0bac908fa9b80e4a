#include "relay/upstream.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "relay/splice.h"

/* Reads of one connection before the others have their turn. */
#define READS_A_TURN 16
/* Bytes that the copy of a request may keep allocated while its connection is idle. */
#define RETAINED_IDLE 4096

static void on_ready(struct watch *watch);
static void lost(struct upstream *u, int error);
static void on_settled(struct stream *stream, int error);
static void flush(struct upstream *u);

static struct upstream *of_watch(struct watch *watch)
{
    return (struct upstream *)((char *)watch - offsetof(struct upstream, stream.watch));
}

static void on_destroy(struct watch *watch)
{
    free(of_watch(watch));
}

/*
 * What is waited for now: that bytes are taken, or that something comes. While the body is on its way, that
 * may be more of it: a web server that fell silent in its middle must not hold an application connection for
 * ever.
 */
static void set_deadline(struct upstream *u, bool progress)
{
    enum deadline_kind kind = stream_is_blocked(&u->stream) ? DEADLINE_SEND : DEADLINE_READ;
    if (!u->stream.corked && (progress || !deadline_runs(&u->deadline, kind)))
        deadline_start(u->shared->deadlines, &u->deadline, kind);
}

/* ---- connecting ---- */

static int connect_one(struct upstream *u, const struct endpoint *endpoint)
{
    const struct sockaddr *address = (const struct sockaddr *)&endpoint->address;
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (address->sa_family != AF_UNIX)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    if (connect(fd, address, endpoint->length) < 0) {
        int error = errno;
        if (error != EINPROGRESS && error != EINTR) {
            close(fd);
            return -error;
        }
        u->stream.watch.fd = fd;
        return -EINPROGRESS;
    }
    u->stream.watch.fd = fd;
    return 0;
}

static int connected(struct upstream *u)
{
    u->stream.corked = false;
    int rc = u->stream.watch.added ? poller_want_write(u->shared->poller, &u->stream.watch, false)
                                   : poller_add(u->shared->poller, &u->stream.watch);
    deadline_stop(&u->deadline);
    return rc;
}

/*
 * Tries the addresses that are left. A full backlog of a unix socket says EAGAIN and offers nothing to wait
 * for, hence the pause. 0 (connected or still trying) or a negative errno.
 */
static int connect_next(struct upstream *u)
{
    struct upstream_shared *shared = u->shared;
    const struct upstream_target *target = u->target;
    int rc = -ECONNREFUSED;
    while (u->tries < target->naddresses) {
        rc = connect_one(u, &target->addresses[(target->address + u->tries) % target->naddresses]);
        if (rc == 0)
            return connected(u);
        if (rc == -EAGAIN) {
            if (uv_now(shared->deadlines->loop) >= u->give_up_at)
                return -ETIMEDOUT;
            deadline_start(shared->deadlines, &u->deadline, DEADLINE_RETRY);
            return 0;
        }
        if (rc == -EINPROGRESS) {
            u->stream.watch.want_write = true;
            rc = poller_add(shared->poller, &u->stream.watch);
            deadline_start(shared->deadlines, &u->deadline, DEADLINE_CONNECT);
            return rc;
        }
        u->tries++;
    }
    return rc;
}

static int dial(struct upstream *u)
{
    int fd = u->target->dial(u->target->dialled);
    if (fd < 0)
        return fd;
    u->stream.watch.fd = fd;
    return connected(u);
}

/* As connect_next, but what is not connected yet goes to the application of now, not to the one that it was
 * for. */
static int connect_to_target(struct upstream *u)
{
    if (u->target != u->shared->target) {
        u->target->connections--;
        u->target->left(u->target);
        u->target = u->shared->target;
        u->target->connections++;
        u->tries = 0;
    }
    return u->target->dial ? dial(u) : connect_next(u);
}

struct upstream *upstream_open(struct upstream_shared *shared, void *user, int *error)
{
    struct upstream *u = calloc(1, sizeof(*u));
    if (!u) {
        *error = -ENOMEM;
        return NULL;
    }
    u->shared = shared;
    u->target = shared->target;
    u->user = user;
    u->stream.corked = true;
    u->stream.settled = on_settled;
    u->stream.watch = (struct watch){.fd = -1, .ready = on_ready, .destroy = on_destroy};
    u->give_up_at = uv_now(shared->deadlines->loop) + shared->config->connect_timeout_ms;
    shared->counters->connects++;
    *error = u->target->dial ? dial(u) : connect_next(u);
    if (*error < 0) {
        shared->counters->connect_failures++;
        upstream_destroy(u);
        return NULL;
    }
    return u;
}

/* An address did not work out: the next one, if there is any. */
static void try_another(struct upstream *u, int error)
{
    struct watch *watch = &u->stream.watch;
    poller_close_fd(u->shared->poller, watch);
    watch->readable = watch->writable = watch->gone = watch->half_closed = watch->want_write = false;
    u->tries++;
    bool more = u->tries < u->target->naddresses || u->target != u->shared->target;
    int rc = more ? connect_to_target(u) : error;
    if (rc < 0)
        lost(u, rc);
    else if (!u->stream.corked)
        flush(u);
}

static void on_connect_event(struct upstream *u)
{
    int error = 0;
    socklen_t len = sizeof(error);
    if (getsockopt(u->stream.watch.fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
        error = errno;
    if (error != 0) {
        try_another(u, -error);
        return;
    }
    struct upstream_target *target = u->target;
    target->address = (target->address + u->tries) % target->naddresses;
    int rc = connected(u);
    if (rc < 0)
        lost(u, rc);
}

/* ---- sending ---- */

void upstream_attach(struct upstream *u, void *user)
{
    u->user = user;
}

void upstream_begin(struct upstream *u, uint16_t id, uint16_t front_id, bool keep, bool retain)
{
    u->id = id;
    u->keep = keep;
    u->scanner.pass_id = front_id;
    u->request_sent = u->body = u->received = u->ended = u->violated = false;
    u->end_len = 0;
    u->retain = retain;
    u->retain_lost = !retain;
    buffer_clear(&u->retained);
}

/* The write side is dead. What the application said before it died may wait in the socket: read on. */
static void stop_sending(struct upstream *u)
{
    u->broken = true;
    stream_drop_output(&u->stream);
    set_deadline(u, false); /* it may have said nothing, and say nothing */
    u->stream.watch.readable = true;
    poller_again(u->shared->poller, &u->stream.watch);
}

static void on_settled(struct stream *stream, int error)
{
    struct upstream *u = of_watch(&stream->watch);
    if (error < 0)
        stop_sending(u);
    else
        set_deadline(u, true);
}

static void retain(struct upstream *u, const struct gather *gather)
{
    if (u->retain_lost)
        return;
    if (u->retained.len + gather->bytes > UPSTREAM_RETAIN_MAX ||
        buffer_append_gather(&u->retained, gather, 0) < 0)
        u->retain_lost = true;
}

void upstream_send(struct upstream *u, const struct gather *gather, unsigned what)
{
    if (u->retain)
        retain(u, gather);
    u->request_sent = u->request_sent || (what & UPSTREAM_LAST);
    u->body = u->body || (what & UPSTREAM_BODY);
    u->shared->counters->to_upstream += gather->bytes;
    if (gather->bytes > 0 && !u->broken && stream_send(u->shared->poller, &u->stream, gather) < 0)
        stop_sending(u);
    set_deadline(u, true);
}

void upstream_send_buffer(struct upstream *u, struct buffer *buffer, unsigned what)
{
    struct gather gather;
    gather_clear(&gather);
    gather_add(&gather, buffer->data + buffer->start, buffer->len);
    upstream_send(u, &gather, what);
    buffer_free(buffer);
}

bool upstream_may_splice(const struct upstream *u)
{
    /* What is retained has to be seen, and what nobody takes is read away. */
    return !u->broken && (!u->retain || u->retain_lost) && stream_may_splice(u->shared->poller);
}

ssize_t upstream_splice(struct upstream *u, struct stream *from, size_t max)
{
    int error;
    ssize_t n = stream_splice(u->shared->poller, from, &u->stream, max, &error);
    if (n > 0)
        u->shared->counters->to_upstream += (uint64_t)n;
    if (error < 0)
        stop_sending(u);
    set_deadline(u, true);
    return n;
}

bool upstream_has_room(const struct upstream *u)
{
    return u->stream.corked ? u->stream.out.len < STREAM_HIGH_WATER : !stream_is_blocked(&u->stream);
}

static void flush(struct upstream *u)
{
    bool progress;
    if (stream_flush(u->shared->poller, &u->stream, &progress) < 0) {
        stop_sending(u);
        return;
    }
    set_deadline(u, progress);
    if (!stream_is_blocked(&u->stream) && u->user)
        u->shared->events->drained(u->user);
}

/* ---- the answer ---- */

static enum scan_verdict on_header(void *context, const struct record *record)
{
    struct upstream *u = context;
    if (record->version != FCGI_VERSION_1)
        return SCAN_FAIL;
    if (record->id != u->id)
        return SCAN_SKIP; /* management, or of a request that is over */
    switch (record->type) {
    case FCGI_STDOUT:
    case FCGI_STDERR:
        return SCAN_PASS;
    case FCGI_END_REQUEST:
        return record->content == sizeof(u->end_body) ? SCAN_TAKE : SCAN_FAIL;
    default:
        return SCAN_SKIP;
    }
}

static void on_pass(void *context, char *data, size_t len)
{
    struct upstream *u = context;
    gather_add(&u->shared->gather, data, len);
}

static void on_take(void *context, const struct record *record, struct slice piece)
{
    struct upstream *u = context;
    (void)record;
    memcpy(u->end_body + u->end_len, piece.data, piece.len);
    u->end_len = (uint8_t)(u->end_len + piece.len);
}

static bool on_complete(void *context, const struct record *record)
{
    struct upstream *u = context;
    u->ended = record->type == FCGI_END_REQUEST && record->id == u->id;
    return !u->ended;
}

static const struct scanner_owner answer_owner = {on_header, on_pass, on_take, on_complete};

static void release(struct upstream *u, bool reusable)
{
    deadline_stop(&u->deadline);
    /* The usual request's copy is worth its memory for the next one, a large one's is not. */
    if (u->retained.cap > RETAINED_IDLE)
        buffer_free(&u->retained);
    u->user = NULL;
    u->shared->released(u, reusable);
}

/*
 * Did the application leave a part of the body in the socket? libfcgi does not read it away: it stumbles over
 * it where it expects the next request, and closes. Of TCP the kernel does not tell, there the look before
 * reuse must do.
 */
static bool body_left_unread(const struct upstream *u)
{
    int left = 0;
    return u->body && ioctl(u->stream.watch.fd, SIOCOUTQ, &left) == 0 && left > 0;
}

static void finish(struct upstream *u)
{
    /* Bytes behind the end belong to nothing: such an application is not asked again on this connection. */
    bool reusable = u->keep && u->shared->config->keepalive && !u->shared->keeps_none &&
                    u->target == u->shared->target && u->request_sent && !u->broken && !u->violated &&
                    stream_is_written(&u->stream) && !u->stream.watch.half_closed && !body_left_unread(u);
    struct record_end end = record_decode_end(u->end_body);
    void *user = u->user;
    u->user = NULL;
    u->served++;
    u->shared->events->response(user, &u->shared->gather, true, &end);
    release(u, reusable);
}

/* -EOPNOTSUPP: no more than *size is to be read. */
static ssize_t splice_some(struct upstream *u, size_t *size)
{
    struct upstream_shared *shared = u->shared;
    if (!stream_may_splice(shared->poller))
        return -EOPNOTSUPP;
    /* After an answer in large records another one may come; small ones mostly are no larger than this. */
    if (!u->received && shared->much)
        *size = PIPE_BUF;
    size_t max = u->received ? splice_plan(&u->scanner, size) : 0;
    if (max == 0)
        return -EOPNOTSUPP;
    ssize_t n = shared->events->splice(u->user, &u->stream, max);
    if (n > 0)
        shared->counters->from_upstream += (uint64_t)n;
    if (n > 0 && u->user) {
        scanner_bypass(&u->scanner, (size_t)n);
        set_deadline(u, true);
        if (scanner_at_boundary(&u->scanner)) {
            gather_clear(&shared->gather);
            shared->events->response(u->user, &shared->gather, true, NULL);
        }
    }
    return n;
}

/* False: nothing more to do on this connection now. */
static bool read_some(struct upstream *u)
{
    struct upstream_shared *shared = u->shared;
    if (!shared->events->takes(u->user)) {
        deadline_stop(&u->deadline);
        return false;
    }
    size_t size = shared->buffer_size;
    ssize_t n = splice_some(u, &size);
    if (!u->user)
        return false;
    if (n > 0 || n == -EAGAIN)
        return u->stream.watch.readable;
    if (n == -EOPNOTSUPP)
        n = stream_receive(&u->stream, shared->buffer, size);
    if (n == -EAGAIN)
        return false;
    if (n <= 0) {
        lost(u, n == 0 ? -ECONNRESET : (int)n);
        return false;
    }
    shared->counters->from_upstream += (uint64_t)n;
    if (!u->received) {
        u->target->answers++;
        u->target->trouble = NULL;
    }
    u->received = true;
    gather_clear(&shared->gather);
    ptrdiff_t used = scanner_feed(&u->scanner, shared->buffer, (size_t)n, &answer_owner, u);
    if (used >= 0 && u->ended) {
        u->violated = used < n;
        finish(u);
        return false;
    }
    set_deadline(u, true);
    shared->much = scanner_passes_much(&u->scanner, SPLICE_RECORD);
    if (shared->gather.bytes > 0)
        shared->events->response(u->user, &shared->gather, scanner_at_boundary(&u->scanner), NULL);
    if (used < 0 && u->user)
        lost(u, -EPROTO);
    return u->user && u->stream.watch.readable;
}

void upstream_resume(struct upstream *u)
{
    set_deadline(u, true);
    if (u->stream.watch.readable)
        poller_again(u->shared->poller, &u->stream.watch);
}

static void on_ready(struct watch *watch)
{
    struct upstream *u = of_watch(watch);
    if (!u->user) {
        /* A kept connection has nothing to say: it ended, or the application breaks the protocol. Unless this
         * is only the turn that its last request had asked for. */
        if (watch->readable || watch->half_closed || watch->gone)
            release(u, false);
        return;
    }
    if (u->stream.corked) {
        if (watch->writable || watch->gone)
            on_connect_event(u);
        if (!u->user || u->stream.corked || watch->fd < 0)
            return;
        flush(u);
    } else if (watch->want_write && watch->writable) {
        flush(u);
    }
    int turns = READS_A_TURN;
    while (u->user && watch->fd >= 0 && watch->readable && read_some(u)) {
        if (--turns == 0) {
            poller_again(u->shared->poller, watch);
            return;
        }
    }
}

/* ---- ends ---- */

/* Its place in the pool is free before the user hears of it, who may want it for a second try. */
static void lost(struct upstream *u, int error)
{
    const struct upstream_events *events = u->shared->events;
    void *user = u->user;
    bool whole = u->retain && !u->retain_lost && !u->received;
    struct buffer again = u->retained;
    u->retained = (struct buffer){0};
    if (u->stream.corked)
        u->shared->counters->connect_failures++;
    stream_close(u->shared->poller, &u->stream);
    release(u, false);
    if (user)
        events->failed(user, error, whole ? &again : NULL);
    buffer_free(&again);
}

void upstream_abandon(struct upstream *u)
{
    stream_close(u->shared->poller, &u->stream);
    release(u, false);
}

void upstream_expired(struct upstream *u, enum deadline_kind kind)
{
    if (kind == DEADLINE_IDLE) {
        release(u, false);
    } else if (kind == DEADLINE_CONNECT &&
               (u->tries + 1 < u->target->naddresses || u->target != u->shared->target)) {
        try_another(u, -ETIMEDOUT);
    } else if (kind == DEADLINE_RETRY) {
        int rc = connect_to_target(u);
        if (rc == -ETIMEDOUT)
            u->shared->counters->timeouts[TIMEOUT_CONNECT]++;
        if (rc < 0)
            lost(u, rc);
        else if (!u->stream.corked)
            flush(u);
    } else {
        lost(u, -ETIMEDOUT);
    }
}

bool upstream_usable(struct upstream *u, bool sure)
{
    const struct watch *watch = &u->stream.watch;
    if (watch->readable || watch->half_closed || watch->gone)
        return false;
    if (!sure)
        return true;
    char byte;
    return recv(watch->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) < 0 &&
           (errno == EAGAIN || errno == EWOULDBLOCK);
}

void upstream_destroy(struct upstream *u)
{
    deadline_stop(&u->deadline);
    buffer_free(&u->retained);
    stream_close(u->shared->poller, &u->stream);
    poller_bury(u->shared->poller, &u->stream.watch);
}
