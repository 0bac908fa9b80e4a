/*
 * A program and its arguments, as one line of text.
 *
 * Words stand between white space; "..." and '...' hold white space together, and may be empty. Nothing else
 * is special, not even "\": no shell ever sees it. Pure but for malloc.
 */
#ifndef CONFIG_COMMAND_H
#define CONFIG_COMMAND_H

#include "base/slice.h"

/*
 * Takes text apart into a NULL-terminated vector, to be freed with command_free. NULL, and *why: what is
 * wrong and what to write instead, a string literal.
 */
char **command_split(struct slice text, const char **why);

/* A copy of a NULL-terminated vector, or NULL without memory. */
char **command_copy(char *const *command);

/* Frees vector and words; copes with NULL. */
void command_free(char **command);

#endif
