#include "relay/error_pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

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

/* The length of the character of UTF-8 at text, 0: it is none, or steers a terminal. */
static size_t measure_character(const unsigned char *text, size_t len)
{
    unsigned char lead = text[0];
    size_t length = lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : lead < 0xf5 ? 4 : 0;
    if (length == 0 || length > len)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    }
    /* C1 controls; what is longer than it need be; surrogates; beyond Unicode. */
    bool wrong = (lead == 0xc2 && text[1] < 0xa0) || (lead == 0xe0 && text[1] < 0xa0) ||
                 (lead == 0xed && text[1] > 0x9f) || (lead == 0xf0 && text[1] < 0x90) ||
                 (lead == 0xf4 && text[1] > 0x8f);
    /* Line ends and changes of direction: U+2028 to U+202E, U+2066 to U+2069. */
    bool steers = lead == 0xe2 && ((text[1] == 0x80 && text[2] >= 0xa8 && text[2] <= 0xae) ||
                                   (text[1] == 0x81 && text[2] >= 0xa6 && text[2] <= 0xa9));
    return wrong || steers ? 0 : length;
}

/* out: four bytes for each of len, and one. Quotes and backslashes stay, or nobody could read the log. */
static void escape(const char *line, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const unsigned char *text = (const unsigned char *)line;
    for (size_t i = 0; i < len;) {
        unsigned char c = text[i];
        size_t length = c >= 0x20 && c < 0x7f ? 1 : measure_character(text + i, len - i);
        if (length > 0) {
            memcpy(out, text + i, length);
            out += length;
            i += length;
        } else {
            memcpy(out, (const char[]){'\\', 'x', digits[c >> 4], digits[c & 15]}, 4);
            out += 4;
            i++;
        }
    }
    *out = '\0';
}

/* Where to cut at the latest, so that no character is cut in two. */
static size_t find_cut(const char *text, size_t len)
{
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        unsigned char c = (unsigned char)text[len - back];
        if ((c & 0xc0) == 0x80)
            continue;
        size_t wanted = c >= 0xf5 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
        return wanted > back ? len - back : len;
    }
    return len;
}

static void keep(struct error_pipe *pipe, const char *text)
{
    size_t len = strlen(text);
    size_t room = sizeof(pipe->last) - 1;
    if (len <= room) {
        memcpy(pipe->last, text, len + 1);
        return;
    }
    size_t cut = find_cut(text, room - 3);
    memcpy(pipe->last, text, cut);
    memcpy(pipe->last + cut, "...", 4);
}

static void tell(struct error_pipe *pipe, size_t len)
{
    char text[4 * ERROR_PIPE_PIECE + 1];
    escape(pipe->line, len, text);
    keep(pipe, text);
    if (pipe->line_came)
        pipe->line_came(pipe, text);
}

static void end_line(struct error_pipe *pipe)
{
    size_t len = pipe->len;
    if (len > 0 && pipe->line[len - 1] == '\r')
        len--;
    if (len > 0)
        tell(pipe, len);
    pipe->len = 0;
}

static void take(struct error_pipe *pipe, const char *data, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\n') {
            end_line(pipe);
            continue;
        }
        if (pipe->len == sizeof(pipe->line)) {
            size_t cut = find_cut(pipe->line, pipe->len);
            tell(pipe, cut);
            pipe->len -= cut;
            memmove(pipe->line, pipe->line + cut, pipe->len);
        }
        pipe->line[pipe->len++] = data[i];
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
    pipe->over = true;
    end_line(pipe);
    if (pipe->closed)
        pipe->closed(pipe);
}

static bool may_read(const struct error_pipe *pipe)
{
    return !pipe->paused && !pipe->over && pipe->watch.fd >= 0;
}

static void on_ready(struct watch *watch)
{
    struct error_pipe *pipe = of_watch(watch);
    for (int turn = 0; turn < READS_A_TURN && may_read(pipe); turn++) {
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
    if (may_read(pipe))
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
    pipe->paused = pipe->over = false;
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
    for (size_t taken = 0; pipe->watch.fd >= 0 && !pipe->over && taken < DRAIN_MAX;) {
        ssize_t n = read_chunk(pipe);
        if (n <= 0)
            break;
        taken += (size_t)n;
    }
    pipe->over = true;
    if (pipe->watch.fd >= 0)
        end_line(pipe); /* who has closed it meanwhile wants to hear no more */
}

void error_pipe_close(struct error_pipe *pipe)
{
    if (pipe->watch.fd >= 0)
        poller_close_fd(pipe->poller, &pipe->watch);
}
