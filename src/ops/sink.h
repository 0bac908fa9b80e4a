/*
 * Where lines of a log go: a descriptor that is never waited for.
 *
 * Lines go in whole. What the descriptor does not take at once waits in a bounded buffer and is tried again
 * with the next line and with sink_flush; a line for which there is no room is dropped and counted. A full
 * disk, a pipe that nobody reads and a service that is gone are all the same in this.
 *
 * The process must ignore SIGPIPE and SIGXFSZ. Not thread-safe; each event loop has its own. Several
 * processes may write to one file or pipe: lines reach a file whole, and a pipe too if they are not longer
 * than PIPE_BUF.
 */
#ifndef OPS_SINK_H
#define OPS_SINK_H

#include <stdint.h>

#include "base/slice.h"

enum sink_kind {
    SINK_FILE,     /* regular files, which never make anybody wait, and what does not block */
    SINK_PIPE,     /* a pipe or terminal through a descriptor of our own, which does not block */
    SINK_SHARED,   /* a pipe or terminal that blocks, and whose flags are not ours to change */
    SINK_SOCKET,   /* a stream, such as journald's */
    SINK_DATAGRAM, /* one datagram a line, without its newline, to the socket at path */
};

struct sink {
    int fd; /* -1: there is none now, everything waits */
    enum sink_kind kind;
    bool owned; /* fd is closed with the sink */
    bool torn;  /* the first line that waits has been written in part */
    int error;  /* errno of the last write, 0 if it went well */
    char *path; /* malloc'ed; NULL: a descriptor that was inherited */
    char *data; /* what waits: whole lines, but for a torn one */
    size_t start, len, cap;
    size_t untried;   /* bytes that came since the last write */
    uint64_t dropped; /* lines, since sink_take_dropped */
    /* Something waits, or was dropped: call sink_flush in a while. NULL: nobody does. */
    void (*waits)(struct sink *sink);
};

/*
 * Each 0 or a negative errno, and an error leaves nothing to close. cap: bytes that may wait.
 *
 * sink_open_fd: a descriptor that was inherited. It stays open, and its flags stay what they are.
 * sink_open_path: a file to append to, made with mode 0640 if need be; also a FIFO, with or without a reader.
 * sink_open_datagram: a socket to send to; that nobody is there yet is no error.
 */
int sink_open_fd(struct sink *sink, int fd, size_t cap);
int sink_open_path(struct sink *sink, const char *path, size_t cap);
int sink_open_datagram(struct sink *sink, const char *path, size_t cap);

/*
 * Opens the path again, behind a rename of the file. What waited before goes to the old file, as far as that
 * takes it. 0, or a negative errno: then all is as it was. A descriptor that was inherited stays what it is.
 */
int sink_reopen(struct sink *sink);

/* Writes what waits, as far as it is taken, and closes. Copes with a sink that is closed. */
void sink_close(struct sink *sink);

/* A line with its newline: at once, unless others wait before it. */
void sink_write(struct sink *sink, const char *line, size_t len);

/* A line that waits for sink_flush, or for so many others that half of the buffer is full. */
void sink_put(struct sink *sink, const char *line, size_t len);

/* Tries to write all that waits. */
void sink_flush(struct sink *sink);

/* How many lines were dropped, once all others have been written; 0 until then, and the next time. */
uint64_t sink_take_dropped(struct sink *sink);

/* How many lines wait. */
size_t sink_count(const struct sink *sink);

#endif
