/*
 * The name that somebody probably meant.
 */
#ifndef CLI_NEAREST_H
#define CLI_NEAREST_H

#include "base/slice.h"

struct nearest {
    struct slice word;
    const char *name; /* the nearest one offered so far, NULL if none is near */
    size_t distance;
};

struct nearest nearest_start(struct slice word);

/* name must live as long as the result is used. */
void nearest_offer(struct nearest *nearest, const char *name);

#endif
