#include "ops/sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- opening ---- */

/*
 * O_NONBLOCK belongs to the open file description, and that of an inherited descriptor is shared: with the
 * launcher, its shell, other services on the same terminal. They would find writes of theirs failing. So the
 * pipe itself is opened a second time, for a description of our own. Where that is not allowed (a pipe of
 * another user's, no /proc), poll() is asked before each write.
 */
static int open_again(int fd)
{
    char name[40];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    return open(name, O_WRONLY | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

int sink_open_fd(struct sink *sink, int fd, size_t cap)
{
    struct stat status;
    *sink = (struct sink){.fd = fd, .cap = cap};
    if (fstat(fd, &status) < 0) {
        sink->fd = -1;
        return -errno;
    }
    if (S_ISSOCK(status.st_mode)) {
        sink->kind = SINK_SOCKET;
    } else if (S_ISFIFO(status.st_mode) || isatty(fd)) {
        int own = open_again(fd);
        sink->kind = own < 0 ? SINK_SHARED : SINK_PIPE;
        sink->owned = own >= 0;
        sink->fd = own < 0 ? fd : own;
    }
    return 0;
}

static int open_file(const char *path)
{
    const int flags = O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC;
    int fd = open(path, O_WRONLY | O_CREAT | flags, 0640);
    /* A FIFO that nobody reads yet: as a reader of our own we may have it open. */
    if (fd < 0 && errno == ENXIO)
        fd = open(path, O_RDWR | flags);
    return fd < 0 ? -errno : fd;
}

static enum sink_kind find_kind(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && (S_ISFIFO(status.st_mode) || isatty(fd)) ? SINK_PIPE : SINK_FILE;
}

int sink_open_path(struct sink *sink, const char *path, size_t cap)
{
    *sink = (struct sink){.fd = -1, .cap = cap, .owned = true};
    int fd = open_file(path);
    if (fd < 0)
        return fd;
    sink->path = strdup(path);
    if (!sink->path) {
        close(fd);
        return -ENOMEM;
    }
    sink->fd = fd;
    sink->kind = find_kind(fd);
    return 0;
}

/* Connected, or -1. */
static int connect_datagram(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

int sink_open_datagram(struct sink *sink, const char *path, size_t cap)
{
    *sink = (struct sink){.fd = -1, .kind = SINK_DATAGRAM, .cap = cap, .owned = true};
    if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
        return -ENAMETOOLONG;
    sink->path = strdup(path);
    if (!sink->path)
        return -ENOMEM;
    sink->fd = connect_datagram(path);
    return 0;
}

/* ---- what waits ---- */

static void consume(struct sink *sink, size_t len)
{
    sink->start += len;
    sink->len -= len;
    if (sink->len == 0)
        sink->start = 0;
}

/* False: there is no room. */
static bool keep(struct sink *sink, const char *text, size_t len)
{
    if (!sink->data)
        sink->data = malloc(sink->cap);
    if (!sink->data || len > sink->cap - sink->len)
        return false;
    if (len > sink->cap - sink->start - sink->len) {
        memmove(sink->data, sink->data + sink->start, sink->len);
        sink->start = 0;
    }
    memcpy(sink->data + sink->start + sink->len, text, len);
    sink->len += len;
    return true;
}

static size_t first_line(const char *data, size_t len)
{
    const char *end = memchr(data, '\n', len);
    return end ? (size_t)(end - data) + 1 : len;
}

static void drop_first(struct sink *sink)
{
    consume(sink, first_line(sink->data + sink->start, sink->len));
    sink->torn = false;
    sink->dropped++;
}

size_t sink_count(const struct sink *sink)
{
    size_t lines = 0;
    for (size_t at = 0; at < sink->len; lines++)
        at += first_line(sink->data + sink->start + at, sink->len - at);
    return lines;
}

/* ---- writing ---- */

/* What may go out in one call: a pipe takes whole lines, so that those of other processes come between them.
 */
static size_t choose_length(const struct sink *sink, const char *data, size_t len)
{
    if (sink->kind == SINK_DATAGRAM)
        return first_line(data, len);
    if (len <= PIPE_BUF || (sink->kind != SINK_PIPE && sink->kind != SINK_SHARED))
        return len;
    const char *last = memrchr(data, '\n', PIPE_BUF);
    if (last)
        return (size_t)(last - data) + 1;
    return sink->kind == SINK_SHARED ? PIPE_BUF : first_line(data, len);
}

static ssize_t send_line(struct sink *sink, const char *data, size_t len)
{
    size_t text = data[len - 1] == '\n' ? len - 1 : len;
    for (int tries = 0; tries < 2; tries++) {
        if (sink->fd < 0)
            sink->fd = connect_datagram(sink->path);
        if (sink->fd < 0)
            return -1;
        if (send(sink->fd, data, text, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            return (ssize_t)len;
        /* Who was there has gone; perhaps somebody else has taken the place. */
        if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == EMSGSIZE ||
            errno == ENOBUFS)
            return -1;
        close(sink->fd);
        sink->fd = -1;
    }
    return -1;
}

static ssize_t write_once(struct sink *sink, const char *data, size_t len)
{
    struct pollfd asked = {.fd = sink->fd, .events = POLLOUT};
    switch (sink->kind) {
    case SINK_DATAGRAM:
        return send_line(sink, data, len);
    case SINK_SOCKET:
        return send(sink->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    case SINK_SHARED:
        if (poll(&asked, 1, 0) <= 0) {
            errno = EAGAIN;
            return -1;
        }
        break;
    case SINK_FILE:
    case SINK_PIPE:
        break;
    }
    return write(sink->fd, data, len);
}

/* How many of the bytes, which begin with a line, were taken. */
static size_t write_all(struct sink *sink, const char *data, size_t len)
{
    size_t done = 0;
    while (done < len) {
        ssize_t n = write_once(sink, data + done, choose_length(sink, data + done, len - done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            sink->error = n < 0 ? errno : EIO;
            return done;
        }
        done += (size_t)n;
    }
    sink->error = 0;
    return done;
}

static void ask_for_flush(struct sink *sink)
{
    if (sink->waits && (sink->len > 0 || sink->dropped > 0))
        sink->waits(sink);
}

void sink_flush(struct sink *sink)
{
    sink->untried = 0;
    while (sink->len > 0) {
        const char *data = sink->data + sink->start;
        size_t done = write_all(sink, data, sink->len);
        if (done > 0)
            sink->torn = data[done - 1] != '\n';
        consume(sink, done);
        if (sink->error != EMSGSIZE)
            break;
        drop_first(sink); /* it will never be taken */
    }
    ask_for_flush(sink);
}

void sink_write(struct sink *sink, const char *line, size_t len)
{
    if (sink->len > 0) {
        sink_put(sink, line, len);
        sink_flush(sink);
        return;
    }
    size_t done = write_all(sink, line, len);
    if (done == len)
        return;
    if (sink->error != EMSGSIZE && keep(sink, line + done, len - done))
        sink->torn = done > 0;
    else
        sink->dropped++;
    ask_for_flush(sink);
}

/*
 * A full pipe is tried again each time that so many bytes have come, for its reader takes some out all the
 * while; anything else that is wrong takes longer.
 */
static bool is_time(const struct sink *sink)
{
    if (sink->error == 0)
        return sink->len > sink->cap / 2;
    return sink->error == EAGAIN && sink->untried >= PIPE_BUF;
}

void sink_put(struct sink *sink, const char *line, size_t len)
{
    if (!keep(sink, line, len))
        sink->dropped++;
    sink->untried += len;
    if (is_time(sink))
        sink_flush(sink);
    else
        ask_for_flush(sink);
}

uint64_t sink_take_dropped(struct sink *sink)
{
    uint64_t dropped = sink->dropped;
    if (sink->len > 0)
        return 0;
    sink->dropped = 0;
    return dropped;
}

/* ---- life ---- */

int sink_reopen(struct sink *sink)
{
    if (!sink->path || sink->kind == SINK_DATAGRAM)
        return 0;
    int fd = open_file(sink->path);
    if (fd < 0)
        return fd;
    sink_flush(sink);
    if (sink->torn)
        drop_first(sink); /* its beginning is in the old file */
    close(sink->fd);
    sink->fd = fd;
    sink->kind = find_kind(fd);
    sink->error = 0;
    return 0;
}

void sink_close(struct sink *sink)
{
    if (sink->len > 0) {
        sink->waits = NULL;
        sink_flush(sink);
    }
    if (sink->owned && sink->fd >= 0)
        close(sink->fd);
    free(sink->path);
    free(sink->data);
    *sink = (struct sink){.fd = -1};
}
