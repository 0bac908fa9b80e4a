/*
 * Name-value pairs: wire bytes <-> list. FastCGI specification 3.4.
 *
 * No I/O. Decoding copies nothing: what is decoded points into the wire bytes. A pair's bytes lie together:
 * lengths, name, value.
 */
#ifndef FASTCGI_PARAMS_H
#define FASTCGI_PARAMS_H

#include <stdint.h>

#include "base/slice.h"

enum params_error {
    PARAMS_OK = 0,
    PARAMS_TRUNCATED = -1, /* the content ends inside a pair, or a length reaches behind its end */
    PARAMS_TOO_MANY = -2,  /* more pairs than room */
};

/* Decodes the pair at p, p < end: where the next one begins, or NULL if this one reaches behind the end. */
static inline const char *params_next(const char *p, const char *end, struct param *pair);

/*
 * Decodes the whole content of a PARAMS (or GET_VALUES) stream into list, room for cap pairs; *n: how many,
 * after an error those before it.
 */
enum params_error params_decode(struct slice content, struct param *list, size_t cap, size_t *n);

/* Bytes that a pair takes on the wire: 2 to 8 for the lengths, and both texts. */
size_t params_pair_size(struct slice name, struct slice value);

/* Most bytes that params_encode_lengths writes. */
#define PARAMS_LENGTHS_MAX 8

/* Writes the two lengths (below 2^31), each in one byte up to 127 and in four from there on; returns how many
 * bytes. */
size_t params_encode_lengths(char *wire, size_t name_len, size_t value_len);

/* Writes a whole pair (params_pair_size bytes); returns how many. */
size_t params_encode_pair(char *wire, struct slice name, struct slice value);

/* The two lengths of a pair, of which one at least takes four bytes: where they end, or NULL. */
const char *params_decode_lengths(const char *p, const char *end, size_t *name_len, size_t *value_len);

static inline const char *params_next(const char *p, const char *end, struct param *pair)
{
    size_t name_len, value_len;

    if (end - p >= 2 && ((p[0] | p[1]) & 0x80) == 0) { /* as nearly all are */
        name_len = (uint8_t)p[0];
        value_len = (uint8_t)p[1];
        p += 2;
        if (name_len + value_len > (size_t)(end - p))
            return NULL;
    } else {
        p = params_decode_lengths(p, end, &name_len, &value_len);
        if (p == NULL || name_len > (size_t)(end - p) || value_len > (size_t)(end - p) - name_len)
            return NULL;
    }
    pair->name = (struct slice){p, name_len};
    pair->value = (struct slice){p + name_len, value_len};
    return p + name_len + value_len;
}

#endif
