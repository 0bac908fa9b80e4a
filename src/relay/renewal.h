/*
 * The configuration of a process without an event loop, and its renewal: read by another thread, in use when
 * the process asks for it. Not thread-safe.
 */
#ifndef RELAY_RENEWAL_H
#define RELAY_RENEWAL_H

#include "ops/log.h"
#include "relay/load.h"
#include "relay/sandbox.h"

struct renewal {
    struct config *config; /* in force */
    unsigned generation;   /* of it, from 1 */
    struct load *load;     /* of the next one, under way; NULL: none is */
    bool again;            /* and once more when that is done */
    int done;              /* can be read when it is; -1: not open */
    /* What comes next must fit this one, which others are in; NULL: there is none. The owner's. */
    const struct sandbox *sandbox;
};

/* The configuration is ours from now on. 0 or a negative errno; renewal_close is due in either case. */
int renewal_open(struct renewal *renewal, struct config *config);

/* Reads the configuration again, now or when the load is done that is under way. */
void renewal_begin(struct renewal *renewal, struct log *log);

/*
 * Once `done` can be read: true if another configuration is in force from now on. What there is to say about
 * it is in the log, which goes on where and how that configuration says. `wanted`: else it is thrown away.
 */
bool renewal_finish(struct renewal *renewal, struct log *log, bool wanted);

/* Waits no longer than a second for a load under way, which is left to itself then. */
void renewal_close(struct renewal *renewal);

#endif
