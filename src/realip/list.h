/*
 * The elements of a comma-separated header value (RFC 9110 section 5.6.1), from the right.
 *
 * No I/O, no allocation, no state; every function is thread-safe. Nothing left of the element that is
 * returned is looked at.
 */
#ifndef REALIP_LIST_H
#define REALIP_LIST_H

#include <stdint.h>

#include "base/slice.h"

/* The only white space that may surround an element. */
static inline bool list_is_space(char c)
{
    return c == ' ' || c == '\t';
}

/* Without the SP and TAB on both sides. */
struct slice list_trim(struct slice text);

/*
 * The non-empty element that ends at or before *at: an offset into value, its length at first. On return *at
 * is where the element begins, white space left out. False if there is none.
 */
bool list_previous(struct slice value, size_t *at, struct slice *element);

#endif
