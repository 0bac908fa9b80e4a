/*
 * Text of strangers, made harmless for a line of a log: memory to memory, cut to fit.
 *
 * Pure and thread-safe.
 */
#ifndef OPS_ESCAPE_H
#define OPS_ESCAPE_H

#include "base/slice.h"

/*
 * How: printable ASCII stays as it is, `"`, `\` and every other byte becomes \xHH. What else does:
 */
enum escape {
    ESCAPE_TEXT,  /* nothing: for what stands in double quotes */
    ESCAPE_WORD,  /* blanks, for what stands between blanks */
    ESCAPE_SHELL, /* apostrophes: the line is meant to be pasted between two of them */
    ESCAPE_JSON,  /* the inside of a JSON string (RFC 8259) instead: UTF-8 passes, \u00HH for control
                     characters  and for each byte that is part of no valid UTF-8 sequence */
};

/* Bytes that the text takes. */
size_t escape_measure(struct slice text, enum escape how);

/*
 * Writes at most `size` bytes to out, never a part of an escape or of a UTF-8 sequence; returns how many.
 * What does not fit is left out, with "..." in its place: at the end, or at the start for a text of which the
 * end matters. No NUL is written.
 */
size_t escape_text(struct slice text, enum escape how, char *out, size_t size);
size_t escape_end(struct slice text, enum escape how, char *out, size_t size);

#endif
