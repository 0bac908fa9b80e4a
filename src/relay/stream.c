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

/* Writes now; the rest is queued. */
static int write_now(struct poller *poller, struct stream *stream, const struct gather *gather)
{
    ssize_t n = write_pieces(stream->watch.fd, (struct iovec *)gather->piece, gather->count);
    if (n < 0)
        return (int)n;
    if ((size_t)n == gather->bytes)
        return 0;
    if (buffer_append_gather(&stream->out, gather, (size_t)n) < 0)
        return -ENOMEM;
    return poller_want_write(poller, &stream->watch, true);
}

static int write_late(struct poller *poller, struct stream *stream)
{
    struct gather gather;
    gather_clear(&gather);
    gather_append(&gather, stream->late, stream->late_len);
    stream->late_len = 0;
    return write_now(poller, stream, &gather);
}

static void after_round(struct poller *poller)
{
    struct outbox *outbox = poller->outbox;
    while (outbox->first) {
        struct stream *stream = outbox->first;
        outbox->first = stream->next_late;
        stream->listed = false;
        if (stream->late_len > 0)
            stream->settled(stream, write_late(poller, stream));
    }
    outbox->last = &outbox->first;
    outbox->used = 0;
}

int outbox_open(struct outbox *outbox, struct poller *poller)
{
    outbox->arena = malloc(ARENA_SIZE);
    outbox->used = 0;
    outbox->first = NULL;
    outbox->last = &outbox->first;
    if (!outbox->arena)
        return -ENOMEM;
    poller->outbox = outbox;
    poller->after_round = after_round;
    return 0;
}

void outbox_close(struct outbox *outbox)
{
    free(outbox->arena);
    outbox->arena = NULL;
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
    if (!stream->listed) {
        stream->listed = true;
        stream->next_late = NULL;
        *outbox->last = stream;
        outbox->last = &stream->next_late;
    }
    return true;
}

int stream_send(struct poller *poller, struct stream *stream, const struct gather *gather)
{
    if (gather->bytes == 0)
        return 0;
    if (!stream->corked && stream->out.len == 0) {
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
}

void stream_close(struct poller *poller, struct stream *stream)
{
    stream_drop_output(stream);
    poller_close_fd(poller, &stream->watch);
}
