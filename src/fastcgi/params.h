/*
 * Name-value pairs: wire bytes <-> list. FastCGI specification 3.4.
 *
 * No I/O. Decoding copies nothing: the list points into the wire bytes. Since a pair's bytes lie together
 * (lengths, name, value), pair i of a decoded list occupies the wire from the end of pair i-1's value to the
 * end of its own; params_raw gives that range.
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

/*
 * Decodes the whole content of a PARAMS (or GET_VALUES) stream into list, room for cap pairs; *n: how many,
 * after an error those before it.
 */
enum params_error params_decode(struct slice content, struct param *list, size_t cap, size_t *n);

/* The wire bytes of pairs [from, to), from <= to <= n, of a list decoded from content. */
struct slice params_raw(struct slice content, const struct param *list, size_t from, size_t to);

/* Bytes that a pair takes on the wire: 2 to 8 for the lengths, and both texts. */
size_t params_pair_size(struct slice name, struct slice value);

/* Most bytes that params_encode_lengths writes. */
#define PARAMS_LENGTHS_MAX 8

/* Writes the two lengths (below 2^31), each in one byte up to 127 and in four from there on; returns how many
 * bytes. */
size_t params_encode_lengths(char *wire, size_t name_len, size_t value_len);

/* Writes a whole pair (params_pair_size bytes); returns how many. */
size_t params_encode_pair(char *wire, struct slice name, struct slice value);

#endif
