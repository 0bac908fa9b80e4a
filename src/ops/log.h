/*
 * The error log: one line an event, to standard error.
 *
 * Not thread-safe; each event loop has its own. Text that a peer sent goes through log_escape first.
 */
#ifndef OPS_LOG_H
#define OPS_LOG_H

#include <stdint.h>

#include "base/slice.h"

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

struct log {
    enum log_level level; /* lines above it are not written */
    int fd;
};

/* "2026-01-31T12:00:00.123Z fcgi-realip[PID] LEVEL: text", in one write. Keeps errno. */
void log_write(const struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* True if a line of this level would be written: to save the work of making it. */
static inline bool log_wants(const struct log *log, enum log_level level)
{
    return level <= log->level;
}

/*
 * For an event that a peer can cause at will: says whether it may be logged now, at most once a minute.
 * *suppressed: how many went unlogged since the last time.
 */
struct log_limit {
    uint64_t next_ms; /* loop time; starts as 0 */
    unsigned suppressed;
};
bool log_limit_pass(struct log_limit *limit, uint64_t now_ms, unsigned *suppressed);

/*
 * Printable ASCII as it is, the rest (and `"` and `\`) as \xHH, cut with "..." to fit; always NUL-terminated.
 * Returns out.
 */
char *log_escape(struct slice text, char *out, size_t size);

#endif
