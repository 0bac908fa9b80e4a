/*
 * Pipes, through which bytes go from one socket to another without being copied.
 *
 * They belong to the loop. A stream holds one only while bytes of its are in it. Not thread-safe.
 */
#ifndef RELAY_PIPE_H
#define RELAY_PIPE_H

#include <limits.h>
#include <sys/types.h>

#include "relay/buffer.h"
#include "relay/deadlines.h"

/*
 * So many pages' worth: it is pieces of memory that are counted, however long or short. PIPES_MAX of them are
 * half of what the kernel gives an unprivileged user by default (pipe-user-pages-soft in proc(5)).
 */
#define PIPE_SIZE (512 * 1024)
/* At a time; two descriptors each. */
#define PIPES_MAX 64

/* How long spare ones stay open when none is needed, in ms. */
#define PIPES_MS 1000

struct pipes;

struct pipe {
    struct pipes *pipes;
    int in, out;       /* descriptors */
    size_t bytes;      /* that are in it */
    struct pipe *next; /* of the spare ones */
};

struct pipes {
    struct pipe *spare; /* empty ones */
    unsigned total;     /* spare or in use */
    struct deadlines *deadlines;
    struct deadline unused; /* DEADLINE_PIPES: calls for pipes_close */
    bool useless;           /* the kernel does not splice these sockets: no pipe is given any more */
};

void pipes_open(struct pipes *pipes, struct deadlines *deadlines);

/* Closes the spare ones. All others have to be put back before the end. */
void pipes_close(struct pipes *pipes);

/* An empty pipe; NULL if there is none to be had now. */
struct pipe *pipe_take(struct pipes *pipes);

/* Takes it back. Bytes that are in it are lost. */
void pipe_put(struct pipe *pipe);

/* Copies all of it into the pipe, at most PIPE_BUF bytes, or nothing. 0, or a negative errno; -EAGAIN: no
 * room.
 */
int pipe_write(struct pipe *pipe, const struct gather *gather);

/*
 * Moves up to max bytes of what waits in the socket. Their number, 0 at the end of the stream, or a negative
 * errno: -EAGAIN if there is nothing, or the pipe is full; -EOPNOTSUPP if that cannot be done, now and ever.
 */
ssize_t pipe_fill(struct pipe *pipe, int socket, size_t max);

/*
 * Moves what the socket takes. The number of bytes, 0 if it takes none now, or a negative errno: -EOPNOTSUPP
 * as above, then pipe_read must do.
 */
ssize_t pipe_drain(struct pipe *pipe, int socket);

/* Appends all of it to a buffer. 0, or a negative errno. */
int pipe_read(struct pipe *pipe, struct buffer *buffer);

#endif
