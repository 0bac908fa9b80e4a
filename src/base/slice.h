/*
 * The ground under every floor: bytes with a length, and a name with a value.
 *
 * A slice never owns what it points to and is never NUL-terminated; whoever hands one out says how
 * long the bytes stay. Wire data may hold any byte, NUL included, so no str*() function is used on it.
 */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *data;
    size_t len;
};

/* One FastCGI parameter or CGI environment variable. Both slices may be empty. */
struct param {
    struct slice name;
    struct slice value;
};

/* A slice of a string literal. */
#define SLICE(literal) ((struct slice){(literal), sizeof(literal) - 1})

static inline struct slice slice_of(const char *text)
{
    return (struct slice){text, strlen(text)};
}

static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Behind its last byte; NULL of one without bytes, to which C lets nothing be added. */
static inline const char *slice_end(struct slice s)
{
    return s.len > 0 ? s.data + s.len : s.data;
}

/* The bytes [from, to) of s. The caller has checked from <= to <= s.len. */
static inline struct slice slice_part(struct slice s, size_t from, size_t to)
{
    return (struct slice){from > 0 ? s.data + from : s.data, to - from};
}

/* True if NUL, CR or LF is among the bytes: what makes a value malformed wherever it is read. */
static inline bool slice_has_control(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] == '\0' || s.data[i] == '\r' || s.data[i] == '\n')
            return true;
    }
    return false;
}

#endif
