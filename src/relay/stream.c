#include "relay/stream.h"

#include <errno.h>
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

int stream_send(struct poller *poller, struct stream *stream, const struct gather *gather)
{
    size_t sent = 0;
    if (!stream->corked && stream->out.len == 0) {
        ssize_t n = write_pieces(stream->watch.fd, (struct iovec *)gather->piece, gather->count);
        if (n < 0)
            return (int)n;
        sent = (size_t)n;
        if (sent == gather->bytes)
            return 0;
    }
    if (buffer_append_gather(&stream->out, gather, sent) < 0)
        return -ENOMEM;
    return stream->corked ? 0 : poller_want_write(poller, &stream->watch, true);
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

void stream_close(struct poller *poller, struct stream *stream)
{
    buffer_free(&stream->out);
    poller_close_fd(poller, &stream->watch);
}
