/*
 * The INI syntax: inih, fed by our own line reader.
 *
 * inih 55 cuts lines at 200 bytes and section names at 49, forgets text behind "]", keeps line numbers to
 * itself and goes on after errors. So every line is checked before inih sees it, and of a line that is too
 * long inih gets the key with a stand-in for the value. Only inih's portable interface is used.
 */
#ifndef CONFIG_INI_H
#define CONFIG_INI_H

#include "config/lines.h"

/* The longest section name: inih's limit. */
#define INI_SECTION_MAX 49

/* Told in the order of the lines. Slices are good until the function returns. */
struct ini_visitor {
    void (*section)(void *user, struct slice name, unsigned line);
    /* continued: an indented line that continues the value of the key before it. The value may be empty. */
    void (*value)(void *user, struct slice key, struct slice value, unsigned line, bool continued);
    void *user;
};

/* Reads all lines. Everything wrong with the syntax is added to lines->messages; the visitor sees the rest.
 */
void ini_read(struct lines *lines, const struct ini_visitor *visitor);

#endif
