/*
 * A line of the access log: a request and its answer.
 *
 * Memory to memory. Text of strangers is escaped and bounded, so that a line always fits into a pipe's
 * PIPE_BUF. Not thread-safe only in so far as each caller has a clock of its own.
 */
#ifndef OPS_ACCESS_H
#define OPS_ACCESS_H

#include <stdint.h>
#include <time.h>

#include "base/slice.h"

/* The values are those of the settings table. */
enum access_format { ACCESS_COMBINED, ACCESS_JSON };

/* The longest line, its newline included. */
#define ACCESS_LINE_MAX 4096

/* The most that a text takes in the line, escaped. More of it need not be kept than one byte over that. */
#define ACCESS_WORD_MAX    96 /* client, user, peer, header */
#define ACCESS_METHOD_MAX  32 /* also of the protocol */
#define ACCESS_URI_MAX     1536
#define ACCESS_REFERER_MAX 512
#define ACCESS_AGENT_MAX   512
#define ACCESS_CHAIN_MAX   640 /* its end counts */

#define ACCESS_NEVER UINT64_MAX

/* A text whose data is NULL was not there. Times are in microseconds from the complete parameters on. */
struct access_entry {
    struct slice client, user, method, uri, protocol, referer, agent;
    struct slice peer;   /* REMOTE_ADDR as it came */
    struct slice header; /* by name: the one that the peer's group reads */
    struct slice chain;  /* its value as it came */
    const char *reason;  /* NULL: nothing was decided */
    const char *outcome;
    struct timespec time; /* when the parameters were complete */
    unsigned status;
    uint64_t bytes; /* of the answer's body */
    uint64_t total;
    uint64_t first; /* until the answer began, or ACCESS_NEVER */
    uint64_t queue; /* spent waiting for a connection to the application */
};

/* Saves working out the same second again and again. Starts as {0}. */
struct access_clock {
    time_t second;
    size_t length;
    char text[40];
};

/*
 * Writes the line with its newline into out, ACCESS_LINE_MAX bytes; returns its length. The combined format
 * has local time, JSON has UTC. A clock serves one format.
 */
size_t access_format(enum access_format format, struct access_clock *clock, const struct access_entry *entry,
                     char *out);

#endif
