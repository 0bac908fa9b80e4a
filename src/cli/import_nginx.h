/*
 * nginx's syntax: statements of words that end with ";", "{" or "}".
 */
#ifndef CLI_IMPORT_NGINX_H
#define CLI_IMPORT_NGINX_H

#include "cli/import_text.h"

/* Starts empty as {0}; the words are freed with import_free_words. */
struct nginx_statement {
    struct import_words words; /* without quotes and escapes */
    unsigned line;             /* of the first word */
    char end;                  /* ';' and '{', with at least one word before it, or '}' with none */
};

/* False at the end of the text, and after a mistake in the syntax, which is reported. */
bool nginx_next_statement(struct import_text *text, struct nginx_statement *statement);

/* Behind the "{" of a block of Lua that was opened in this line: goes on behind its "}". */
void nginx_skip_lua(struct import_text *text, unsigned opened);

#endif
