#include "relay/error_pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "ops/log.h"

/* Of one read; what a program says in one go. */
#define CHUNK 4096
/* Reads before others have their turn. */
#define READS_A_TURN 4
/* Last words; who says more than a pipe holds goes on talking. */
#define DRAIN_MAX 65536

static struct error_pipe *of_watch(struct watch *watch)
{
    return (struct error_pipe *)((char *)watch - offsetof(struct error_pipe, watch));
}

static void end_line(struct error_pipe *pipe)
{
    size_t len = pipe->len;
    if (len > 0 && pipe->line[len - 1] == '\r')
        len--;
    pipe->len = 0;
    if (len == 0)
        return;
    log_escape((struct slice){pipe->line, len}, pipe->last, sizeof(pipe->last));
    if (pipe->line_came)
        pipe->line_came(pipe, pipe->last);
}

static void take(struct error_pipe *pipe, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\n') {
            end_line(pipe);
            continue;
        }
        pipe->line[pipe->len++] = data[i];
        /* Room for the escaped text: four bytes each, and the NUL. */
        if (pipe->len == sizeof(pipe->line) - 1)
            end_line(pipe);
    }
}

/* The number of bytes read, 0 at the end, or a negative errno. */
static ssize_t read_chunk(struct error_pipe *pipe)
{
    char chunk[CHUNK];
    ssize_t n;
    do
        n = read(pipe->watch.fd, chunk, sizeof(chunk));
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    take(pipe, chunk, (size_t)n);
    if (n > 0 && pipe->bytes_came)
        pipe->bytes_came(pipe, chunk, (size_t)n);
    return n;
}

static void finish(struct error_pipe *pipe)
{
    pipe->watch.readable = false;
    end_line(pipe);
    if (pipe->closed)
        pipe->closed(pipe);
}

static void on_ready(struct watch *watch)
{
    struct error_pipe *pipe = of_watch(watch);
    for (int turn = 0; turn < READS_A_TURN && !pipe->paused && watch->fd >= 0; turn++) {
        ssize_t n = read_chunk(pipe);
        if (n == -EAGAIN) {
            watch->readable = false;
            return;
        }
        if (n <= 0) {
            finish(pipe);
            return;
        }
    }
    if (!pipe->paused && watch->fd >= 0)
        poller_again(pipe->poller, watch);
}

int error_pipe_open(struct poller *poller, struct error_pipe *pipe, int *write_end)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    pipe->poller = poller;
    pipe->watch.fd = ends[0];
    pipe->watch.ready = on_ready;
    pipe->paused = false;
    pipe->len = 0;
    pipe->last[0] = '\0';
    int rc = fcntl(ends[0], F_SETFL, O_NONBLOCK) < 0 ? -errno : poller_add(poller, &pipe->watch);
    if (rc < 0) {
        close(ends[1]);
        error_pipe_close(pipe);
        return rc;
    }
    *write_end = ends[1];
    return 0;
}

void error_pipe_resume(struct error_pipe *pipe)
{
    pipe->paused = false;
    if (pipe->watch.fd >= 0)
        poller_again(pipe->poller, &pipe->watch);
}

void error_pipe_drain(struct error_pipe *pipe)
{
    for (size_t taken = 0; pipe->watch.fd >= 0 && taken < DRAIN_MAX;) {
        ssize_t n = read_chunk(pipe);
        if (n <= 0)
            break;
        taken += (size_t)n;
    }
    end_line(pipe);
}

void error_pipe_close(struct error_pipe *pipe)
{
    if (pipe->watch.fd >= 0)
        poller_close_fd(pipe->poller, &pipe->watch);
}
