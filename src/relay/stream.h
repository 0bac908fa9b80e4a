/*
 * A connected stream socket with its write queue: what front and upstream connections have in common.
 */
#ifndef RELAY_STREAM_H
#define RELAY_STREAM_H

#include <sys/types.h>

#include "relay/buffer.h"
#include "relay/poller.h"

/* Reading the other side stops while more than this waits to be written. */
#define STREAM_HIGH_WATER 65536

struct stream {
    struct watch watch;
    struct buffer out; /* bytes that the socket did not take yet */
    bool corked;       /* not connected yet: everything waits */
};

/*
 * Writes what the socket takes and queues the rest. 0, or a negative errno after which the connection is of
 * no more use for writing (-EPIPE, -ECONNRESET, -ENOMEM, ...).
 */
int stream_send(struct poller *poller, struct stream *stream, const struct gather *gather);

/* Tries to empty the queue. 0 or a negative errno; *progress: some bytes went. */
int stream_flush(struct poller *poller, struct stream *stream, bool *progress);

/*
 * Reads into data: the number of bytes, 0 at the end of the stream, -EAGAIN when there is nothing now, or
 * another negative errno. Keeps the watch's readable flag right, so that no read is wasted on an empty
 * socket.
 */
ssize_t stream_receive(struct stream *stream, char *data, size_t len);

/* Closes at once; bytes that wait are lost. */
void stream_close(struct poller *poller, struct stream *stream);

#endif
