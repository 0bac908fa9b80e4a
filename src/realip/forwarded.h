/*
 * The Forwarded header (RFC 7239), read from the right.
 *
 * Quotes are matched from the right too: whatever a client left open on the left never swallows what trusted
 * proxies wrote behind it. No I/O, no allocation, no state; every function is thread-safe.
 */
#ifndef REALIP_FORWARDED_H
#define REALIP_FORWARDED_H

#include <stdint.h>

#include "base/slice.h"

/*
 * As list_previous, and a comma between quotes does not separate. From a quote that has no partner on, all
 * that is left of the value is one element, and a malformed one.
 */
bool forwarded_previous(struct slice value, size_t *at, struct slice *element);

/* Longer values than this keep their escapes: they are nothing that is ever read. */
#define FORWARDED_TEXT_MAX 128

/* What one element says. Values are unquoted; they point into the element, or into the struct's own text. */
struct forwarded {
    struct slice node;  /* of for= */
    struct slice proto; /* of proto=; data NULL: there is none. Empty if there are several. */
    char node_text[FORWARDED_TEXT_MAX];
    char proto_text[FORWARDED_TEXT_MAX];
};

/*
 * Reads an element that forwarded_previous gave. False if it is malformed: without exactly one for=, a pair
 * without
 * "=", white space around "=", a value that is neither token nor quoted string (an unquoted one may hold ":",
 * "[" and "]"), a control character anywhere.
 */
bool forwarded_parse(struct slice element, struct forwarded *out);

#endif
