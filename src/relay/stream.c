#include "relay/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

static ssize_t write_pieces(int fd, struct iovec *piece, int count)
{
    const int flags = MSG_NOSIGNAL | MSG_DONTWAIT;
    struct msghdr message = {.msg_iov = piece, .msg_iovlen = (size_t)count};
    ssize_t n;
    /* One piece, the usual answer, saves the kernel fetching the list. */
    do
        n = count == 1 ? send(fd, piece->iov_base, piece->iov_len, flags) : sendmsg(fd, &message, flags);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
    return n;
}

/* ---- the end of the round ---- */

/* Larger ones are worth a write of their own at once. */
#define LATE_MAX   8192
#define ARENA_SIZE (256 * 1024)

/* n bytes have been written, or it is a negative errno. */
static int queue_rest(struct poller *poller, struct stream *stream, const struct gather *gather, ssize_t n)
{
    if (n < 0)
        return (int)n;
    if ((size_t)n == gather->bytes)
        return 0;
    if (buffer_append_gather(&stream->out, gather, (size_t)n) < 0)
        return -ENOMEM;
    return poller_want_write(poller, &stream->watch, true);
}

/* Writes now; the rest is queued. */
static int write_now(struct poller *poller, struct stream *stream, const struct gather *gather)
{
    ssize_t n = write_pieces(stream->watch.fd, (struct iovec *)gather->piece, gather->count);
    return queue_rest(poller, stream, gather, n);
}

static void take_late(struct stream *stream, struct gather *gather)
{
    gather_clear(gather);
    gather_add(gather, stream->late, stream->late_len);
    stream->late_len = 0;
}

static int write_late(struct poller *poller, struct stream *stream)
{
    struct gather gather;
    take_late(stream, &gather);
    return write_now(poller, stream, &gather);
}

/* Writes what is in the pipe as far as the socket takes it. */
static int write_pipe(struct poller *poller, struct stream *stream)
{
    struct pipe *pipe = stream->pipe;
    ssize_t n = pipe->bytes > 0 ? pipe_drain(pipe, stream->watch.fd) : 0;
    int rc = n < 0 ? (int)n : 0;
    /* What is queued comes behind the pipe's bytes. */
    if (rc == -EOPNOTSUPP && stream->out.len == 0)
        rc = pipe_read(pipe, &stream->out);
    if (rc == 0 && (pipe->bytes > 0 || stream->out.len > 0))
        rc = poller_want_write(poller, &stream->watch, true);
    if (rc < 0 || pipe->bytes == 0) {
        pipe_put(pipe);
        stream->pipe = NULL;
    }
    return rc;
}

/* Writes what waits in the late ones; errors: what came of each, 0 or a negative errno. */
static void write_all_late(struct poller *poller, struct stream **late, int *errors, size_t n)
{
    struct send sends[RING_SENDS];
    struct gather gather;
    for (size_t i = 0; i < n; i++)
        sends[i] = (struct send){.fd = late[i]->watch.fd, .data = late[i]->late, .len = late[i]->late_len};
    size_t done = ring_send(&poller->outbox->ring, sends, n);
    for (size_t i = 0; i < n; i++) {
        if (i >= done) {
            errors[i] = write_late(poller, late[i]);
            continue;
        }
        take_late(late[i], &gather);
        errors[i] = queue_rest(poller, late[i], &gather, sends[i].sent);
    }
}

/* Whoever is told what became of his bytes may end others, or send to them. */
static void settle_batch(struct stream **batch, const int *errors, size_t n)
{
    /* An error may pass, as that of having no memory: nothing may go out behind the bytes that it cost. */
    for (size_t i = 0; i < n; i++) {
        if (errors[i] < 0)
            batch[i]->corked = true;
    }
    for (size_t i = 0; i < n; i++) {
        if (batch[i]->watch.fd < 0)
            continue;
        if (errors[i] < 0)
            batch[i]->corked = false;
        batch[i]->settled(batch[i], errors[i]);
    }
}

/* Nobody is told what became of his bytes before those of all are written. */
static void write_batch(struct poller *poller, struct stream **batch, size_t n)
{
    int errors[RING_SENDS];
    size_t nlate = 0;
    for (size_t i = 0; i < n; i++) {
        struct stream *stream = batch[i];
        if (stream->late_len == 0)
            continue;
        batch[i] = batch[nlate];
        batch[nlate++] = stream;
    }
    write_all_late(poller, batch, errors, nlate);
    for (size_t i = nlate; i < n; i++)
        errors[i] = write_pipe(poller, batch[i]);
    settle_batch(batch, errors, n);
}

static void after_round(struct poller *poller)
{
    struct outbox *outbox = poller->outbox;
    struct stream *batch[RING_SENDS];
    while (outbox->first) {
        size_t n = 0;
        while (outbox->first && n < RING_SENDS) {
            struct stream *stream = outbox->first;
            outbox->first = stream->next_late;
            stream->listed = false;
            if (stream->late_len > 0 || (stream->pipe && !stream->watch.want_write))
                batch[n++] = stream;
        }
        write_batch(poller, batch, n);
    }
    outbox->last = &outbox->first;
    outbox->used = 0;
}

int outbox_open(struct outbox *outbox, struct poller *poller, struct deadlines *deadlines)
{
    outbox->arena = malloc(ARENA_SIZE);
    outbox->used = 0;
    outbox->first = NULL;
    outbox->last = &outbox->first;
    pipes_open(&outbox->pipes, deadlines);
    if (!outbox->arena)
        return -ENOMEM;
    poller->outbox = outbox;
    poller->after_round = after_round;
    return 0;
}

void outbox_close(struct outbox *outbox)
{
    ring_close(&outbox->ring);
    pipes_close(&outbox->pipes);
    free(outbox->arena);
    outbox->arena = NULL;
}

static void list(struct outbox *outbox, struct stream *stream)
{
    if (stream->listed)
        return;
    stream->listed = true;
    stream->next_late = NULL;
    *outbox->last = stream;
    outbox->last = &stream->next_late;
}

/* False if it cannot wait. */
static bool send_late(struct poller *poller, struct stream *stream, const struct gather *gather)
{
    struct outbox *outbox = poller->outbox;
    if (!poller->in_round || !outbox || gather->bytes > LATE_MAX || gather->bytes > ARENA_SIZE - outbox->used)
        return false;
    char *at = outbox->arena + outbox->used;
    if (stream->late_len == 0)
        stream->late = at;
    else if (stream->late + stream->late_len != at)
        return false;
    for (int i = 0; i < gather->count; i++) {
        memcpy(at, gather->piece[i].iov_base, gather->piece[i].iov_len);
        at += gather->piece[i].iov_len;
    }
    outbox->used += gather->bytes;
    stream->late_len += gather->bytes;
    list(outbox, stream);
    return true;
}

int stream_send(struct poller *poller, struct stream *stream, const struct gather *gather)
{
    if (gather->bytes == 0)
        return 0;
    if (stream->pipe && !stream->watch.want_write) {
        if (gather->bytes <= PIPE_BUF && pipe_write(stream->pipe, gather) == 0)
            return 0;
        int rc = write_pipe(poller, stream);
        if (rc < 0)
            return rc;
    }
    if (!stream->corked && stream->out.len == 0 && !stream->pipe) {
        if (send_late(poller, stream, gather))
            return 0;
        int rc = stream->late_len > 0 ? write_late(poller, stream) : 0;
        if (rc < 0)
            return rc;
        if (stream->out.len == 0)
            return write_now(poller, stream, gather);
    }
    return buffer_append_gather(&stream->out, gather, 0) < 0 ? -ENOMEM : 0;
}

int stream_flush(struct poller *poller, struct stream *stream, bool *progress)
{
    *progress = false;
    if (stream->pipe) {
        size_t before = stream->pipe->bytes;
        int rc = write_pipe(poller, stream);
        if (rc < 0)
            return rc;
        *progress = !stream->pipe || stream->pipe->bytes < before;
        if (stream->pipe)
            return 0;
    }
    while (stream->out.len > 0) {
        struct iovec piece = {stream->out.data + stream->out.start, stream->out.len};
        ssize_t n = write_pieces(stream->watch.fd, &piece, 1);
        if (n < 0)
            return (int)n;
        if (n == 0)
            return poller_want_write(poller, &stream->watch, true);
        *progress = true;
        buffer_consume(&stream->out, (size_t)n);
    }
    return poller_want_write(poller, &stream->watch, false);
}

ssize_t stream_receive(struct stream *stream, char *data, size_t len)
{
    ssize_t n;
    do
        n = recv(stream->watch.fd, data, len, MSG_DONTWAIT);
    while (n < 0 && errno == EINTR);
    if (n < 0) {
        stream->watch.readable = false;
        return errno == EWOULDBLOCK ? -EAGAIN : -errno;
    }
    /* A short read emptied the socket; what comes later is a new event. An end already announced is still to
     * be read. */
    if ((size_t)n < len && !stream->watch.half_closed && !stream->watch.gone)
        stream->watch.readable = false;
    return n;
}

void stream_drop_output(struct stream *stream)
{
    buffer_free(&stream->out);
    stream->late_len = 0;
    if (stream->pipe)
        pipe_put(stream->pipe);
    stream->pipe = NULL;
}

void stream_close(struct poller *poller, struct stream *stream)
{
    stream_drop_output(stream);
    poller_close_fd(poller, &stream->watch);
}

/* ---- what is not copied ---- */

/* Written when so much is in a pipe, or the round is over. */
#define PIPE_ENOUGH (384 * 1024)

/* A pipe for what comes behind the bytes that were sent already. 0, -EOPNOTSUPP, or an error of the socket.
 */
static int open_pipe(struct poller *poller, struct stream *to)
{
    if (!poller->outbox || to->corked || stream_is_blocked(to))
        return -EOPNOTSUPP;
    if (to->pipe)
        return 0;
    if (to->late_len > PIPE_BUF) {
        int rc = write_late(poller, to);
        if (rc < 0 || to->out.len > 0)
            return rc < 0 ? rc : -EOPNOTSUPP;
    }
    to->pipe = pipe_take(&poller->outbox->pipes);
    if (!to->pipe)
        return -EOPNOTSUPP;
    if (to->late_len == 0)
        return 0;
    struct gather late;
    take_late(to, &late);
    return pipe_write(to->pipe, &late);
}

ssize_t stream_splice(struct poller *poller, struct stream *from, struct stream *to, size_t max, int *error)
{
    *error = open_pipe(poller, to);
    if (*error < 0) {
        *error = *error == -EOPNOTSUPP ? 0 : *error;
        return -EOPNOTSUPP;
    }
    bool room = to->pipe->bytes <= PIPE_BUF;
    ssize_t n = pipe_fill(to->pipe, from->watch.fd, max);
    if (n == -EAGAIN && room)
        from->watch.readable = false;
    if (n == (ssize_t)max && to->pipe->bytes < PIPE_ENOUGH && poller->in_round)
        list(poller->outbox, to);
    else
        *error = write_pipe(poller, to);
    return n;
}
