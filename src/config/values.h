/*
 * The kinds of values that settings take: text -> value, and back.
 *
 * Pure. A parser returns NULL, or why the text is none and what to write instead ("WHY; WHAT TO DO"), a
 * string literal; *out is then untouched.
 */
#ifndef CONFIG_VALUES_H
#define CONFIG_VALUES_H

#include <stdint.h>

#include "base/slice.h"

/* Decimal digits only. */
const char *value_parse_number(struct slice text, uint64_t *out);

/* Octal digits only, at most 0777. */
const char *value_parse_mode(struct slice text, uint64_t *out);

/* "250ms", "5s", "2m", "1h", or "0"; in milliseconds. */
const char *value_parse_duration(struct slice text, uint64_t *out);

/* "65536", "64k", "4m", "1g"; in bytes. */
const char *value_parse_size(struct slice text, uint64_t *out);

/* yes, no, on, off, true, false in any case. */
const char *value_parse_boolean(struct slice text, uint64_t *out);

/* SP and TAB, which are the only white space that a line can hold. */
bool value_is_blank(char c);

/* Without white space at its ends. */
struct slice value_trim(struct slice text);

/*
 * Cuts the first word off *rest; words stand between commas and white space, of which any mixture is one
 * separator. False if there is none left.
 */
bool value_next_word(struct slice *rest, struct slice *word);

/* The same ASCII text but for upper and lower case. */
bool value_is_word(struct slice text, const char *word);

/* A "token" as header names are (RFC 9110 section 5.6.2): not empty, no white space, colon or quote. */
bool value_is_token(struct slice text);

/* How many letters must be changed, added, taken away or swapped with their neighbour; case counts nothing.
 */
size_t value_measure_distance(struct slice a, struct slice b);

/* True if b is so near to a that a was probably meant to be b. */
bool value_is_near(struct slice a, struct slice b);

/* Text that goes into a message: cut with "..." if it is long. */
struct quote {
    char text[84];
};
struct quote value_quote(struct slice text);

/* What the parsers of the same name read back; durations and sizes in the largest unit that is exact. */
struct quote value_format_number(uint64_t number);
struct quote value_format_mode(uint64_t mode);
struct quote value_format_duration(uint64_t ms);
struct quote value_format_size(uint64_t bytes);
struct quote value_format_boolean(uint64_t flag);

#endif
