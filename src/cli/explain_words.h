/*
 * The parts of explain's text. Each writes to out.
 */
#ifndef CLI_EXPLAIN_WORDS_H
#define CLI_EXPLAIN_WORDS_H

#include "cli/explain.h"

/* Each step of the walk, numbered. */
void explain_tell_walk(const struct explanation *explanation, FILE *out);

/* Canonical text. */
void explain_say_address(const struct address *address, FILE *out);

/* The same, but "the unix socket", and for a peer that is no address what the web server sent, in quotes. */
void explain_say_hop(const struct explanation *explanation, const struct address *hop, FILE *out);

/* "10.0.0.2 sent the request to the web server." The peer is an address or a unix socket. */
void explain_say_sender(const struct explanation *explanation, FILE *out);

/*
 * What stands in the group's header to the left of the elements that were read: `before`, then it in quotes,
 * then a full stop. False, and nothing said, if there is none. out NULL: only asks.
 */
bool explain_say_unread(const struct explanation *explanation, const struct group *group, const char *before,
                        FILE *out);

#endif
