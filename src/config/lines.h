/*
 * A text file, line by line: lines of any length, UTF-8 byte order mark and CRLF taken away, nothing
 * unprintable.
 *
 * The file is opened once, so what was checked is what is read. Not thread-safe.
 */
#ifndef CONFIG_LINES_H
#define CONFIG_LINES_H

#include "base/slice.h"
#include "config/messages.h"

struct line {
    struct slice text; /* without its end; good until the next call */
    bool bad;          /* it holds a NUL or control character, which has been reported */
};

struct lines {
    FILE *file;
    const char *path; /* the caller's, for messages */
    struct messages *messages;
    char *buffer;
    size_t size;
    unsigned number; /* of the line last read, from 1 */
};

/* 0, or a negative errno; -EISDIR for a folder, -EINVAL for anything else that is not a regular file. */
int lines_open(struct lines *lines, const char *path, struct messages *messages);

/* What lines_open's result means, for people. */
const char *lines_reason(int error);

/*
 * The next line; false at the end. Read errors, NUL bytes and control characters other than TAB are added to
 * messages with the line's number.
 */
bool lines_next(struct lines *lines, struct line *line);

/* Copes with {0} and with what lines_open could not open. */
void lines_close(struct lines *lines);

#endif
