/*
 * A text file, line by line: lines of any length, UTF-8 byte order mark and CRLF taken away, nothing
 * unprintable.
 *
 * The file is opened once, so what was checked is what is read. A text that was read before can be read
 * again from memory. Not thread-safe.
 */
#ifndef CONFIG_LINES_H
#define CONFIG_LINES_H

#include <sys/stat.h>

#include "base/slice.h"
#include "config/messages.h"

/* A text that grows; starts as {0}. */
struct lines_text {
    char *data;
    size_t len, room;
};

struct line {
    struct slice text; /* without its end; good until the next call */
    bool bad;          /* it holds a NUL or control character, which has been reported */
};

struct lines {
    FILE *file;              /* or NULL: a text in memory */
    struct slice rest;       /* of that text */
    struct stat status;      /* of the file */
    struct lines_text *copy; /* gets all that is read; NULL: nothing does */
    const char *path;        /* the caller's, for messages */
    struct messages *messages;
    char *buffer;
    size_t size;
    unsigned number; /* of the line last read, from 1 */
};

/* 0, or a negative errno; -EISDIR for a folder, -EINVAL for anything else that is not a regular file. */
int lines_open(struct lines *lines, const char *path, struct messages *messages);

/* The same for a text, which stays the caller's. */
void lines_open_text(struct lines *lines, const char *path, struct slice text, struct messages *messages);

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
