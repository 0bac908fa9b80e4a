/*
 * The error log: one line an event, to standard error, a file or syslog.
 *
 * It is never waited for: see ops/sink.h for what becomes of lines that are not taken. How many were dropped
 * is said in the log itself as soon as it takes lines again.
 *
 * Not thread-safe; each event loop has its own. Text that a peer sent goes through log_escape first.
 */
#ifndef OPS_LOG_H
#define OPS_LOG_H

#include <stdint.h>

#include "base/slice.h"
#include "ops/sink.h"

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG };

enum log_style {
    LOG_PLAIN,   /* "2026-01-31T12:00:00.123Z fcgi-realip[PID] LEVEL: text" */
    LOG_JOURNAL, /* "<4>text": what systemd takes for a priority; the journal knows time and process */
    LOG_SYSLOG,  /* "<28>Jan 31 12:00:00 fcgi-realip[PID]: text", as syslog(3) sends it */
};

/* The longest line, its newline included. */
#define LOG_LINE_MAX 4096

struct log {
    enum log_level level; /* lines above it are not written */
    enum log_style style;
    struct sink sink;
};

/*
 * Opens the log where `where` says: "stderr", "syslog" or a path; NULL is "stderr". If standard error is the
 * journal of systemd (JOURNAL_STREAM in the environment names it), its style is used.
 * 0, or a negative errno: then the log is at standard error instead. log_close is due in either case.
 */
int log_open(struct log *log, enum log_level level, const char *where);

/* Into a descriptor, which stays the caller's. Its flags are not changed. */
void log_open_fd(struct log *log, enum log_level level, int fd);

/* Writes what waits, as far as it is taken. */
void log_close(struct log *log);

/* In a child: what waits is its parent's to write. */
void log_disown(struct log *log);

/* One line, at once if that does not mean to wait. Line ends in it become blanks. Keeps errno. */
void log_write(struct log *log, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Tries again with lines that were not taken. */
void log_flush(struct log *log);

/* Is there something to be tried again? */
static inline bool log_waits(const struct log *log)
{
    return log->sink.len > 0 || log->sink.dropped > 0;
}

/* Opens a file again, which has been renamed. 0, or a negative errno: then the log goes on in the old one. */
int log_reopen(struct log *log);

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
