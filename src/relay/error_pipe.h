/*
 * What a started program says on its standard error: read line by line, for the log.
 *
 * A line that is too long comes in pieces. Bytes that are not printable ASCII or UTF-8 come as \xHH, so that
 * nothing steers a terminal or looks like a second line. Belongs to the loop.
 */
#ifndef RELAY_ERROR_PIPE_H
#define RELAY_ERROR_PIPE_H

#include "relay/poller.h"

/* Bytes of a line that come in one piece: escaped, a line of the log takes them. And of last words, escaped.
 */
#define ERROR_PIPE_PIECE 960
#define ERROR_PIPE_LINE  1024

/* Starts as {.watch.fd = -1}; then set the callbacks. */
struct error_pipe {
    struct watch watch;
    struct poller *poller;
    bool paused; /* nothing is read now */
    bool over;   /* nothing is read any more */
    size_t len;
    char line[ERROR_PIPE_PIECE]; /* what has come of the line in the making */
    char last[ERROR_PIPE_LINE]; /* the last line that was not empty: a program's last words. Cut with "..." */
    void (*line_came)(struct error_pipe *pipe, const char *text);
    /* Bytes as they came, for who passes them on; may set paused, and may close the pipe. NULL: nobody. */
    void (*bytes_came)(struct error_pipe *pipe, const char *data, size_t len);
    /* Everybody has closed the other end; a last line without an end came before. NULL: nobody asks. */
    void (*closed)(struct error_pipe *pipe);
};

/* Makes a pipe; *write_end, close-on-exec and blocking, is for the program. 0 or a negative errno. */
int error_pipe_open(struct poller *poller, struct error_pipe *pipe, int *write_end);

/* Goes on after a pause. */
void error_pipe_resume(struct error_pipe *pipe);

/* Reads what is there now, paused or not, and takes it for the end: of a program that has ended, but left the
 * pipe to others. Nothing comes after that, nor is closed called. */
void error_pipe_drain(struct error_pipe *pipe);

/* Closes; fine to call twice, and if it was never opened. Its memory must last until the end of the round:
 * poller_bury(&pipe->watch) sees to that. */
void error_pipe_close(struct error_pipe *pipe);

#endif
