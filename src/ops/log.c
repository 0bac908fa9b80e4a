#include "ops/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

/* PIPE_BUF on Linux: what is no longer reaches a pipe in one piece, whoever else writes to it. */
#define LINE_SIZE 4096

#define LIMIT_MS 60000

static const char *const level_words[] = {"error", "warning", "info", "debug"};

/* The time in UTC, to the millisecond; returns the length. */
static size_t format_time(char *out, size_t size)
{
    struct timespec now;
    struct tm parts;
    clock_gettime(CLOCK_REALTIME, &now);
    if (!gmtime_r(&now.tv_sec, &parts))
        return 0;
    size_t length = strftime(out, size, "%Y-%m-%dT%H:%M:%S", &parts);
    return length +
           (size_t)snprintf(out + length, size - length, ".%03uZ", (unsigned)(now.tv_nsec / 1000000));
}

void log_write(const struct log *log, enum log_level level, const char *format, ...)
{
    if (!log_wants(log, level))
        return;
    int saved = errno;
    char line[LINE_SIZE];
    size_t head = format_time(line, sizeof line);
    head += (size_t)snprintf(line + head, sizeof line - head, " fcgi-realip[%ld] %s: ", (long)getpid(),
                             level_words[level]);

    /* One byte stays for the line's end. */
    size_t room = sizeof line - head - 1;
    va_list arguments;
    va_start(arguments, format);
    int wanted = vsnprintf(line + head, room, format, arguments);
    va_end(arguments);
    size_t length = wanted < 0 ? 0 : (size_t)wanted;
    if (length >= room) {
        length = room - 1;
        memcpy(line + head + length - 3, "...", 3);
    }
    for (size_t i = head; i < head + length; i++) {
        if (line[i] == '\n' || line[i] == '\r')
            line[i] = ' ';
    }
    line[head + length] = '\n';

    while (write(log->fd, line, head + length + 1) < 0 && errno == EINTR)
        continue;
    errno = saved;
}

bool log_limit_pass(struct log_limit *limit, uint64_t now_ms, unsigned *suppressed)
{
    *suppressed = 0;
    if (now_ms < limit->next_ms) {
        limit->suppressed++;
        return false;
    }
    *suppressed = limit->suppressed;
    limit->suppressed = 0;
    limit->next_ms = now_ms + LIMIT_MS;
    return true;
}

/* How a byte is written; at most 4 bytes into out. */
static size_t escape_byte(unsigned char c, char *out)
{
    static const char digits[] = "0123456789abcdef";
    if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
        out[0] = (char)c;
        return 1;
    }
    out[0] = '\\';
    out[1] = 'x';
    out[2] = digits[c >> 4];
    out[3] = digits[c & 15];
    return 4;
}

char *log_escape(struct slice text, char *out, size_t size)
{
    if (size == 0)
        return out;
    size_t room = size - 1;
    size_t dots = room < 3 ? room : 3;
    size_t at = 0;
    size_t cut = 0; /* where the dots go, should the text not fit */
    for (size_t i = 0; i < text.len; i++) {
        char piece[4];
        size_t length = escape_byte((unsigned char)text.data[i], piece);
        if (length > room - at) {
            memcpy(out + cut, "...", dots);
            at = cut + dots;
            break;
        }
        memcpy(out + at, piece, length);
        at += length;
        if (at + dots <= room)
            cut = at;
    }
    out[at] = '\0';
    return out;
}
