#include "relay/front.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "relay/pass.h"
#include "relay/records.h"
#include "relay/request.h"

/* Reads of one front before the others have their turn. */
#define READS_A_TURN 16

/* Read of a new request: room for its parameters, and not much of a body, which may be spliced. */
#define FIRST_READ 16384

static struct front *of_watch(struct watch *watch)
{
    return (struct front *)((char *)watch - offsetof(struct front, stream.watch));
}

static void on_destroy(struct watch *watch)
{
    free(of_watch(watch));
}

/* ---- reading ---- */

static void on_end_of_stream(struct front *f)
{
    f->ended_reading = true;
    /* Before its end a request is aborted by this; behind it, the web server may only have half-closed. */
    if (!stream_is_written(&f->stream) && f->state != FRONT_PARAMS && f->state != FRONT_BODY &&
        f->state != FRONT_ANSWER)
        f->state = FRONT_CLOSING;
    if (f->state != FRONT_ANSWER && f->state != FRONT_CLOSING)
        front_end(f);
}

static bool may_read(const struct front *f)
{
    if (f->ended_reading || f->state == FRONT_CLOSING || f->stream.out.len > STREAM_HIGH_WATER ||
        f->control.len > STREAM_HIGH_WATER)
        return false;
    return f->state != FRONT_BODY || request_has_room(f);
}

void front_stop_header(struct front *f)
{
    if (!deadline_runs(&f->deadline, DEADLINE_HEADER) && !deadline_runs(&f->deadline, DEADLINE_FIRST))
        return;
    deadline_stop(&f->deadline);
    /* Replies sent meanwhile may still wait for the web server to read them. */
    if (stream_is_blocked(&f->stream))
        deadline_start(&f->relay->deadlines, &f->deadline, DEADLINE_FRONT);
}

/*
 * A request that has begun must go on: no longer silence than header_timeout. And it must come to its end:
 * who sends a byte now and then is given four times that.
 */
static void watch_the_header(struct front *f)
{
    struct relay *relay = f->relay;
    bool inside = f->state == FRONT_PARAMS || (f->state == FRONT_IDLE && !scanner_at_boundary(&f->scanner));
    bool running = deadline_runs(&f->deadline, DEADLINE_HEADER);
    if (!inside) {
        front_stop_header(f);
        return;
    }
    uint64_t now = uv_now(relay->loop);
    if (!f->deadline.next || deadline_runs(&f->deadline, DEADLINE_FIRST))
        f->header_since = now;
    else if (!running || now - f->header_since >= 3 * relay->config->header_timeout_ms)
        return;
    deadline_start(&relay->deadlines, &f->deadline, DEADLINE_HEADER);
}

static void front_read(struct front *f)
{
    struct relay *relay = f->relay;
    for (int turn = 0; turn < READS_A_TURN; turn++) {
        if (!f->stream.watch.readable || !may_read(f))
            return;
        size_t size = f->state == FRONT_IDLE ? FIRST_READ : RELAY_BUFFER_SIZE;
        if (f->state == FRONT_BODY && request_splice(f, &size))
            continue;
        ssize_t n = stream_receive(&f->stream, relay->buffer, size);
        if (n == -EAGAIN)
            return;
        if (n == 0) {
            on_end_of_stream(f);
            return;
        }
        if (n < 0) {
            front_end(f);
            return;
        }
        relay->counts->counters.from_front += (uint64_t)n;
        gather_clear(&relay->gather);
        records_feed(f, relay->buffer, (size_t)n);
        if (front_ended(f))
            return;
        request_forward(f);
        if (front_ended(f))
            return;
        watch_the_header(f);
    }
    poller_again(&relay->poller, &f->stream.watch);
}

void front_resume(struct front *f)
{
    if (f->stream.watch.readable)
        poller_again(&f->relay->poller, &f->stream.watch);
}

/* ---- being told ---- */

/* From now on the front is looked at. False: it has ended. */
static bool watch_it(struct front *f)
{
    if (f->stream.watch.added)
        return true;
    if (deadline_runs(&f->deadline, DEADLINE_WATCH))
        deadline_stop(&f->deadline);
    if (poller_add(&f->relay->poller, &f->stream.watch) == 0)
        return true;
    front_end(f);
    return false;
}

/*
 * A new front that has sent its whole request has nothing more to say. If the answer comes soon and is the
 * last one, as it mostly is, two changes of the epoll set are saved.
 */
static void watch_later(struct front *f)
{
    if (f->state == FRONT_ANSWER && !stream_is_blocked(&f->stream))
        deadline_start(&f->relay->deadlines, &f->deadline, DEADLINE_WATCH);
    else
        watch_it(f);
}

/* ---- writing ---- */

/* Everything is written: whoever reads it may now take a while to notice the end, but not for ever. */
static void await_end(struct front *f)
{
    shutdown(f->stream.watch.fd, SHUT_WR);
    deadline_start(&f->relay->deadlines, &f->deadline, DEADLINE_LINGER);
}

static void on_drained(struct front *f)
{
    if (deadline_runs(&f->deadline, DEADLINE_FRONT)) {
        deadline_stop(&f->deadline);
        watch_the_header(f); /* of a request that began behind a slowly read answer */
    }
    if (f->state == FRONT_CLOSING)
        front_end(f);
    else if (f->state == FRONT_LINGER)
        await_end(f);
    else
        request_drained(f);
}

static void flush(struct front *f)
{
    bool progress;
    if (stream_flush(&f->relay->poller, &f->stream, &progress) < 0) {
        front_end(f);
        return;
    }
    if (!stream_is_blocked(&f->stream))
        on_drained(f);
    else if (progress && deadline_runs(&f->deadline, DEADLINE_FRONT))
        deadline_start(&f->relay->deadlines, &f->deadline, DEADLINE_FRONT);
}

static bool after_write(struct front *f, int error)
{
    if (error < 0) {
        front_end(f);
        return false;
    }
    if (!stream_is_blocked(&f->stream))
        return true;
    if (!watch_it(f))
        return false;
    if (!f->deadline.next)
        deadline_start(&f->relay->deadlines, &f->deadline, DEADLINE_FRONT);
    return true;
}

/* What the web server has sent and nobody has read goes with the connection. False: not now. */
static bool pass_on(struct front *f)
{
    int rc = pass_send(f->relay->successor, f->stream.watch.fd);
    return rc != -EAGAIN && rc != -ENOBUFS && rc != -ETOOMANYREFS;
}

/* Nothing is owed to it. Who has just connected, though, has come to ask. */
static void end_if_stopping(struct front *f)
{
    if (!f->relay->stopping || f->state != FRONT_IDLE || !scanner_at_boundary(&f->scanner) ||
        !stream_is_written(&f->stream))
        return;
    if (f->relay->successor >= 0) {
        if (pass_on(f))
            front_end(f);
    } else if (f->kept) {
        front_end(f);
    } else if (!f->deadline.next) {
        deadline_start(&f->relay->deadlines, &f->deadline, DEADLINE_FIRST);
    }
}

static void on_settled(struct stream *stream, int error)
{
    struct front *f = of_watch(&stream->watch);
    if (!after_write(f, error) || stream_is_blocked(&f->stream))
        return;
    if (f->state == FRONT_CLOSING || f->state == FRONT_LINGER)
        on_drained(f);
    else
        end_if_stopping(f);
}

bool front_send(struct front *f, const struct gather *gather)
{
    f->relay->counts->counters.to_front += gather->bytes;
    return after_write(f, stream_send(&f->relay->poller, &f->stream, gather));
}

ssize_t front_splice(struct front *f, struct stream *from, size_t max)
{
    int error;
    ssize_t n = stream_splice(&f->relay->poller, from, &f->stream, max, &error);
    if (n > 0)
        f->relay->counts->counters.to_front += (uint64_t)n;
    after_write(f, error);
    return n;
}

void front_reply(struct front *f, char *data, size_t len)
{
    if (f->request.mid_record) {
        if (buffer_append(&f->control, data, len) < 0)
            front_end(f);
        return;
    }
    struct gather gather;
    gather_clear(&gather);
    gather_add(&gather, data, len);
    front_send(f, &gather);
}

static void on_ready(struct watch *watch)
{
    struct front *f = of_watch(watch);
    if (watch->gone) {
        front_end(f);
        return;
    }
    if (watch->want_write && watch->writable) {
        flush(f);
        if (front_ended(f))
            return;
    }
    front_read(f);
    if (!front_ended(f))
        end_if_stopping(f);
}

/* ---- life ---- */

static void close_when_written(struct front *f)
{
    f->state = FRONT_CLOSING;
    if (stream_is_written(&f->stream))
        front_end(f);
}

static void linger(struct front *f)
{
    f->state = FRONT_LINGER;
    if (stream_is_written(&f->stream))
        await_end(f);
    front_resume(f);
}

void front_finish(struct front *f)
{
    bool whole = f->state == FRONT_ANSWER;
    bool stays = !f->relay->stopping || f->relay->successor >= 0;
    bool keep = f->request.keep && stays && !f->ended_reading;
    request_clear(f);
    if (!whole && keep) {
        f->state = FRONT_DRAIN;
        front_resume(f);
    } else if (!whole) {
        linger(f);
    } else if (keep) {
        f->state = FRONT_IDLE;
        if (!watch_it(f))
            return;
        front_resume(f);
        end_if_stopping(f);
    } else {
        close_when_written(f);
    }
}

void front_pass(struct front *f)
{
    end_if_stopping(f);
}

void front_stop(struct front *f)
{
    if (f->state == FRONT_DRAIN) {
        linger(f); /* the rest of its request may never come */
        return;
    }
    if (f->state == FRONT_IDLE) {
        /* A request that is here already, though nobody has looked, is not lost. */
        f->stream.watch.readable = true;
        front_read(f);
    }
    if (!front_ended(f))
        end_if_stopping(f);
}

void front_break_off(struct front *f)
{
    request_clear(f);
    close_when_written(f);
}

bool front_accept(struct relay *relay, int fd)
{
    struct front *f = calloc(1, sizeof(*f));
    if (!f) {
        close(fd);
        return false;
    }
    f->relay = relay;
    f->stream.watch = (struct watch){.fd = fd, .readable = true, .ready = on_ready, .destroy = on_destroy};
    f->stream.settled = on_settled;
    f->next = relay->fronts;
    if (f->next)
        f->next->previous = f;
    relay->fronts = f;
    relay->nfronts++;
    relay->counts->counters.fronts++;
    /* Web servers send at once: read first, and the set needs not tell what is known already. */
    front_read(f);
    if (!front_ended(f))
        watch_later(f);
    return !f->kept && f->state != FRONT_IDLE && f->state != FRONT_PARAMS;
}

void front_end(struct front *f)
{
    if (front_ended(f))
        return;
    struct relay *relay = f->relay;
    request_clear(f);
    deadline_stop(&f->deadline);
    buffer_free(&f->held);
    buffer_free(&f->control);
    stream_close(&relay->poller, &f->stream);
    if (f->previous)
        f->previous->next = f->next;
    else
        relay->fronts = f->next;
    if (f->next)
        f->next->previous = f->previous;
    relay->nfronts--;
    poller_bury(&relay->poller, &f->stream.watch);
    if (relay->stopping && !relay->fronts)
        relay->emptied(relay);
}

void front_expired(struct front *f, enum deadline_kind kind)
{
    if (kind == DEADLINE_WATCH) {
        watch_it(f);
        return;
    }
    if (kind == DEADLINE_HEADER)
        relay_log_limited(
            f->relay, protocol, LOG_WARNING,
            "closing a connection of the web server: a request's parameters were not complete after "
            "header_timeout");
    front_end(f);
}
