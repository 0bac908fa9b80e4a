/*
 * Text of strangers, shown to people: nothing of it reaches the terminal unescaped.
 */
#ifndef CLI_TEXT_H
#define CLI_TEXT_H

#include <stdio.h>

#include "base/slice.h"

/* Printable ASCII as it is but \\ for a backslash; \t, \r, \n; every other byte \xHH. */
void text_escape(FILE *out, struct slice text);

/* The same in double quotes, \" inside. What is longer than 2000 bytes is cut, and the cut said. */
void text_quote(FILE *out, struct slice text);

/*
 * Fills lines of at most 80 columns, but never breaks inside double quotes: the first begins with mark, the
 * others with as many blanks. A newline in text begins a new line, which blanks may
 * indent further.
 */
void text_wrap(FILE *out, const char *mark, struct slice text);

/* A paragraph in the making: what is written to the stream that begin returns goes to out when it ends,
 * wrapped. */
struct paragraph {
    FILE *out;
    FILE *words;
    char *text;
    size_t len;
};
FILE *paragraph_begin(struct paragraph *paragraph, FILE *out);
void paragraph_end(struct paragraph *paragraph, const char *mark);

#endif
