/*
 * lighttpd's syntax, as far as it matters: tokens, and lists of literal text.
 */
#ifndef CLI_IMPORT_LIGHTTPD_H
#define CLI_IMPORT_LIGHTTPD_H

#include "cli/import_text.h"

enum lighttpd_kind { LIGHTTPD_NAME, LIGHTTPD_STRING, LIGHTTPD_MARK };

struct lighttpd_token {
    enum lighttpd_kind kind;
    char *text;       /* of names, numbers and strings; malloc'ed */
    const char *mark; /* "=", "+=", "{", ...: static */
    unsigned line;
};

/* False at the end of the text, and after a mistake in the syntax, which is reported. */
bool lighttpd_next(struct import_text *text, struct lighttpd_token *token);
void lighttpd_free(struct lighttpd_token *token);

/* Whether the next token is this mark; take: if so, it is read. */
bool lighttpd_at(struct import_text *text, const char *mark);
bool lighttpd_take(struct import_text *text, const char *mark);

/* Goes behind a value of any kind. */
void lighttpd_skip_value(struct import_text *text);

/* An element of a list. */
struct lighttpd_pair {
    char *key; /* NULL: there is no "=>" */
    char *value;
    unsigned line;
};

/* Reads the "(" of a list. False after a mistake. */
bool lighttpd_enter_list(struct import_text *text);

/* The next element; false when the ")" was read, and after a mistake. Free it with lighttpd_free_pair. */
bool lighttpd_next_pair(struct import_text *text, struct lighttpd_pair *pair);
void lighttpd_free_pair(struct lighttpd_pair *pair);

#endif
