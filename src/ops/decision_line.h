/*
 * A decision as a line of the log, and back: all that `explain --line` needs to walk again.
 *
 *   refused a request with 403: peer "10.0.0.2", client 203.0.113.66, denied,
 * HTTP_X_FORWARDED_FOR="203.0.113.66" changed the client: peer "10.0.0.2", client 203.0.113.7, untrusted-hop,
 * ..., HTTP_X_SECRET right for cdn kept the client: peer "192.0.2.1", client 192.0.2.1, untrusted-peer
 *
 * No value of a require_param is ever in it, and nothing that ends the apostrophes between which it is
 * pasted. Memory to memory; thread-safe.
 */
#ifndef OPS_DECISION_LINE_H
#define OPS_DECISION_LINE_H

#include "base/slice.h"

/* Of the line without time and level; with them it still fits into the log's. */
#define DECISION_LINE_MAX 4000

/* Bytes of a line, at least, that parameters may take. */
#define DECISION_PARAMS_MAX 3500

struct decision_words {
    int refused;         /* the status, or 0 */
    bool changed;        /* the client is another than the peer; of one that was not refused */
    struct slice peer;   /* REMOTE_ADDR as it came; data NULL: there was none */
    struct slice client; /* as text; empty: the peer is no address, and nobody else is the client */
    struct slice reason;
};

struct decision_line {
    char text[DECISION_LINE_MAX];
    size_t len;
};

/* Peers are cut like the values of parameters. */
void decision_line_begin(struct decision_line *line, const struct decision_words *words);

/* What a parameter with this value takes; not less than that for one that is longer than `most`. */
size_t decision_line_measure(struct slice name, struct slice value, size_t most);

/*
 * Adds a parameter, in not more than `most` bytes: of a value that does not fit the end is kept, with "..."
 * before it. False: there is not even room for that. The caller sees to it that all of them fit.
 */
bool decision_line_add(struct decision_line *line, struct slice name, struct slice value, size_t most);

/* Adds a secret that was sent: right for the group of that name, or, if it is empty, wrong. */
void decision_line_add_secret(struct decision_line *line, struct slice name, struct slice group);

/* ---- reading ---- */

enum decision_item_kind { DECISION_PARAM, DECISION_RIGHT, DECISION_WRONG };

struct decision_item {
    enum decision_item_kind kind;
    struct slice name;
    struct slice value; /* DECISION_RIGHT: the group's name */
};

/* Where the reading of a line stands. */
struct decision_reader {
    struct slice rest;
    char *room; /* the next bytes for unescaped text */
};

/*
 * Finds the decision in a line, behind whatever a log puts before it, and reads its words. room has line.len
 * bytes; like the line it must live as long as the texts. False: there is none.
 */
bool decision_read(struct decision_reader *reader, struct slice line, char *room,
                   struct decision_words *words);

/* The next parameter: 1, 0 at the end, -1 if what is left is something else. */
int decision_read_item(struct decision_reader *reader, struct decision_item *item);

#endif
