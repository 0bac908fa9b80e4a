#include "ops/log.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ops/escape.h"

/* What is longer no longer reaches a pipe in one piece, whoever else writes to it. */
_Static_assert(LOG_LINE_MAX <= PIPE_BUF, "a line fits into a pipe");

/* Bytes that may wait. */
#define WAIT_MAX (64 * 1024)

#define LIMIT_MS 60000

/* Where syslogd, or the journal in its place, takes messages. Its facility "daemon" is 3. */
#define SYSLOG_PATH     "/dev/log"
#define SYSLOG_FACILITY (3 << 3)

static const char *const level_words[] = {"error", "warning", "info", "debug"};

/* Priorities of syslog(3). */
static const int priorities[] = {3, 4, 6, 7};

/* ---- life ---- */

/* JOURNAL_STREAM: "DEVICE:INODE" of the socket that systemd made for standard error (systemd.exec(5)). */
static bool is_journal(int fd)
{
    const char *stream = getenv("JOURNAL_STREAM");
    struct stat status;
    char text[64];
    if (!stream || fstat(fd, &status) < 0)
        return false;
    snprintf(text, sizeof text, "%ju:%ju", (uintmax_t)status.st_dev, (uintmax_t)status.st_ino);
    return strcmp(stream, text) == 0;
}

void log_open_fd(struct log *log, enum log_level level, int fd)
{
    *log = (struct log){.level = level, .style = is_journal(fd) ? LOG_JOURNAL : LOG_PLAIN};
    sink_open_fd(&log->sink, fd, WAIT_MAX); /* one that is closed takes no lines, and nobody can be told */
}

int log_open(struct log *log, enum log_level level, const char *where)
{
    int rc = 0;
    *log = (struct log){.level = level, .style = LOG_PLAIN};
    if (where && strcmp(where, "syslog") == 0) {
        log->style = LOG_SYSLOG;
        rc = sink_open_datagram(&log->sink, SYSLOG_PATH, WAIT_MAX);
    } else if (where && strcmp(where, "stderr") != 0) {
        rc = sink_open_path(&log->sink, where, WAIT_MAX);
    } else {
        log_open_fd(log, level, STDERR_FILENO);
    }
    if (rc < 0)
        log_open_fd(log, level, STDERR_FILENO);
    return rc;
}

void log_close(struct log *log)
{
    sink_close(&log->sink);
}

void log_disown(struct log *log)
{
    log->sink.len = 0;
    sink_close(&log->sink);
}

int log_reopen(struct log *log)
{
    return sink_reopen(&log->sink);
}

/* ---- lines ---- */

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

/* As RFC 3164 has it, in local time and the English of the C locale: month and day by name are what syslogd
 * looks for. */
static size_t format_syslog_time(char *out, size_t size)
{
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t now = time(NULL);
    struct tm parts;
    if (!localtime_r(&now, &parts))
        return 0;
    return (size_t)snprintf(out, size, "%s %2d %02d:%02d:%02d", months[parts.tm_mon % 12], parts.tm_mday % 32,
                            parts.tm_hour % 24, parts.tm_min % 60, parts.tm_sec % 61);
}

static size_t format_head(const struct log *log, enum log_level level, char *out, size_t size)
{
    size_t length = 0;
    switch (log->style) {
    case LOG_JOURNAL:
        return (size_t)snprintf(out, size, "<%d>", priorities[level]);
    case LOG_SYSLOG:
        length = (size_t)snprintf(out, size, "<%d>", SYSLOG_FACILITY | priorities[level]);
        length += format_syslog_time(out + length, size - length);
        return length + (size_t)snprintf(out + length, size - length, " fcgi-realip[%ld]: ", (long)getpid());
    case LOG_PLAIN:
        break;
    }
    length = format_time(out, size);
    return length + (size_t)snprintf(out + length, size - length, " fcgi-realip[%ld] %s: ", (long)getpid(),
                                     level_words[level]);
}

static void write_line(struct log *log, enum log_level level, const char *format, va_list arguments)
{
    char line[LOG_LINE_MAX];
    size_t head = format_head(log, level, line, sizeof line);
    size_t room = sizeof line - head - 1; /* one byte stays for the line's end */
    int wanted = vsnprintf(line + head, room, format, arguments);
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
    sink_write(&log->sink, line, head + length + 1);
}

static void __attribute__((format(printf, 3, 4)))
write_own(struct log *log, enum log_level level, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    write_line(log, level, format, arguments);
    va_end(arguments);
}

static void tell_dropped(struct log *log)
{
    uint64_t dropped = sink_take_dropped(&log->sink);
    if (dropped > 0)
        write_own(log, LOG_WARNING, "%ju lines of this log could not be written and are missing here",
                  (uintmax_t)dropped);
}

void log_flush(struct log *log)
{
    sink_flush(&log->sink);
    tell_dropped(log);
}

void log_write(struct log *log, enum log_level level, const char *format, ...)
{
    if (!log_wants(log, level))
        return;
    int saved = errno;
    if (log->sink.dropped > 0)
        log_flush(log);
    va_list arguments;
    va_start(arguments, format);
    write_line(log, level, format, arguments);
    va_end(arguments);
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

char *log_escape(struct slice text, char *out, size_t size)
{
    if (size > 0)
        out[escape_text(text, ESCAPE_TEXT, out, size - 1)] = '\0';
    return out;
}
