#include "relay/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void destroy(struct pipe *pipe)
{
    pipe->pipes->total--;
    close(pipe->in);
    close(pipe->out);
    free(pipe);
}

static struct pipe *create(struct pipes *pipes)
{
    int ends[2];
    struct pipe *pipe = malloc(sizeof(*pipe));
    if (!pipe)
        return NULL;
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) {
        free(pipe);
        return NULL;
    }
    *pipe = (struct pipe){.pipes = pipes, .in = ends[1], .out = ends[0]};
    pipes->total++;
    /* Who has too many pipes gets tiny ones, and those are slower than a copy. */
    if (fcntl(pipe->in, F_SETPIPE_SZ, PIPE_SIZE) < 0) {
        destroy(pipe);
        return NULL;
    }
    return pipe;
}

void pipes_open(struct pipes *pipes, struct deadlines *deadlines)
{
    *pipes = (struct pipes){.deadlines = deadlines};
}

void pipes_close(struct pipes *pipes)
{
    deadline_stop(&pipes->unused);
    while (pipes->spare) {
        struct pipe *pipe = pipes->spare;
        pipes->spare = pipe->next;
        destroy(pipe);
    }
}

struct pipe *pipe_take(struct pipes *pipes)
{
    struct pipe *pipe = pipes->spare;
    if (pipes->useless)
        return NULL;
    if (!pipe)
        return pipes->total < PIPES_MAX ? create(pipes) : NULL;
    pipes->spare = pipe->next;
    return pipe;
}

void pipe_put(struct pipe *pipe)
{
    struct pipes *pipes = pipe->pipes;
    if (pipe->bytes > 0) {
        destroy(pipe);
        return;
    }
    pipe->next = pipes->spare;
    pipes->spare = pipe;
    deadline_start(pipes->deadlines, &pipes->unused, DEADLINE_PIPES);
}

int pipe_write(struct pipe *pipe, const struct gather *gather)
{
    const struct iovec *first = gather->piece;
    ssize_t n;
    do
        n = gather->count == 1 ? write(pipe->in, first->iov_base, first->iov_len)
                               : writev(pipe->in, first, gather->count);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    pipe->bytes += gather->bytes;
    return 0;
}

static ssize_t move(struct pipe *pipe, int from, int to, size_t max)
{
    ssize_t n;
    do
        n = splice(from, NULL, to, NULL, max, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    while (n < 0 && errno == EINTR);
    if (n >= 0)
        return n;
    /* The last two: what a sandbox says that does not know the call. */
    if (errno == EINVAL || errno == ENOSYS || errno == EPERM) {
        pipe->pipes->useless = true;
        return -EOPNOTSUPP;
    }
    return -errno;
}

ssize_t pipe_fill(struct pipe *pipe, int socket, size_t max)
{
    ssize_t n = move(pipe, socket, pipe->in, max);
    if (n > 0)
        pipe->bytes += (size_t)n;
    return n;
}

ssize_t pipe_drain(struct pipe *pipe, int socket)
{
    ssize_t n = move(pipe, pipe->out, socket, pipe->bytes);
    if (n > 0)
        pipe->bytes -= (size_t)n;
    return n == -EAGAIN ? 0 : n;
}

int pipe_read(struct pipe *pipe, struct buffer *buffer)
{
    if (buffer_reserve(buffer, pipe->bytes) < 0)
        return -ENOMEM;
    while (pipe->bytes > 0) {
        ssize_t n = read(pipe->out, buffer->data + buffer->start + buffer->len, pipe->bytes);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -EPIPE;
        buffer->len += (size_t)n;
        pipe->bytes -= (size_t)n;
    }
    return 0;
}
