/*
 * A connected stream socket with its write queue: what front and upstream connections have in common.
 *
 * Small writes made while a round of events is handled wait until the round is over and then go out together,
 * in one system call where there is a ring: those who are woken by them then find much to do each time, see
 * relay/ring.h.
 *
 * Much that is only to be passed on need not be copied: it goes through a pipe (stream_splice).
 */
#ifndef RELAY_STREAM_H
#define RELAY_STREAM_H

#include <sys/types.h>

#include "relay/pipe.h"
#include "relay/poller.h"
#include "relay/ring.h"

/* Reading the other side stops while more than this waits to be written. */
#define STREAM_HIGH_WATER 65536

struct stream {
    struct watch watch;
    struct buffer out; /* bytes that the socket did not take yet */
    struct pipe *pipe; /* more of them, which go before those; NULL: none */
    /* Everything waits in out: it is not connected yet, or `settled` is about to tell of an error. */
    bool corked;
    /* Bytes that wait in the outbox for the end of the round; never while out or a pipe holds any. */
    char *late;
    size_t late_len;
    struct stream *next_late;
    bool listed; /* in the outbox's list */
    /* What waited for the end of the round has been tried: error is 0 or a negative errno. */
    void (*settled)(struct stream *stream, int error);
};

/* Where the writes of a round wait, and what they go out through. */
struct outbox {
    char *arena;
    size_t used;
    struct stream *first;
    struct stream **last;
    struct pipes pipes;
    struct ring ring; /* from ring_open on: the owner's to open */
};

/* Without it every write goes out at once. 0 or -ENOMEM. */
int outbox_open(struct outbox *outbox, struct poller *poller, struct deadlines *deadlines);
void outbox_close(struct outbox *outbox);

/*
 * Writes what the socket takes and queues the rest, now or when the round is over. 0, or a negative errno
 * after which the connection is of no more use for writing (-EPIPE, -ECONNRESET, -ENOMEM, ...).
 */
int stream_send(struct poller *poller, struct stream *stream, const struct gather *gather);

/* Has the kernel got everything? */
static inline bool stream_is_written(const struct stream *stream)
{
    return stream->out.len == 0 && stream->late_len == 0 && !stream->pipe;
}

/* Does the socket take no more now? */
static inline bool stream_is_blocked(const struct stream *stream)
{
    return stream->out.len > 0 || (stream->pipe && stream->watch.want_write);
}

/* Could stream_splice do more than say no? */
static inline bool stream_may_splice(const struct poller *poller)
{
    return poller->outbox && !poller->outbox->pipes.useless;
}

/*
 * Moves up to max bytes of what waits in one socket to the other, behind what was sent to that before, now or
 * when the round is over. Their number, 0 at the end of the stream, or a negative errno: -EAGAIN when there
 * is nothing now (but if the watch is still readable, that is not sure), -EOPNOTSUPP if it has to be done by
 * copying. *error is what stream_send would have returned for them.
 */
ssize_t stream_splice(struct poller *poller, struct stream *from, struct stream *to, size_t max, int *error);

/* Tries to empty the queue. 0 or a negative errno; *progress: some bytes went. */
int stream_flush(struct poller *poller, struct stream *stream, bool *progress);

/* Forgets what waits to be written. */
void stream_drop_output(struct stream *stream);

/*
 * Reads into data: the number of bytes, 0 at the end of the stream, -EAGAIN when there is nothing now, or
 * another negative errno. Keeps the watch's readable flag right, so that no read is wasted on an empty
 * socket.
 */
ssize_t stream_receive(struct stream *stream, char *data, size_t len);

/* Closes at once; bytes that wait are lost. */
void stream_close(struct poller *poller, struct stream *stream);

#endif
