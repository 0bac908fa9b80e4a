/*
 * The application's connections: a cap, a queue of requests that wait for one, and those kept for the next
 * request.
 *
 * Belongs to its loop; not thread-safe.
 */
#ifndef RELAY_POOL_H
#define RELAY_POOL_H

#include "relay/upstream.h"

/* Which connection will do. */
enum pool_wish {
    POOL_ANY,   /* a kept one too: the request can be repeated if that turns out to be dead */
    POOL_SURE,  /* a kept one only if the kernel says that it lives */
    POOL_FRESH, /* a new one */
};

/* A request's place in the queue; embedded in whatever waits. Starts as {0}. */
struct ticket {
    struct ticket *previous, *next; /* NULL: not waiting */
    void *user;
    enum pool_wish wish;
    struct deadline deadline; /* its owner handles the expiry: pool_cancel, and an answer */
};

struct pool {
    struct upstream_shared shared;
    uv_idle_t server;      /* runs while somebody waits and a connection is free */
    struct upstream idle;  /* sentinel of a circular list, the most recently used first */
    struct ticket waiting; /* sentinel of a circular list, the first come first */
    size_t cap;            /* on the target's connections, 0: none */
    size_t nwaiting;
    size_t most_waiting;
    /* A waiting request's turn: either a connection, or NULL and a negative errno. */
    void (*granted)(void *user, struct upstream *upstream, int error);
};

/* shared's poller, deadlines, counters, config, target, events and buffer, and cap and most_waiting, are the
 * caller's to set first. 0 or a negative errno.
 */
int pool_open(struct pool *pool, uv_loop_t *loop);

/*
 * From now on shared's config, cap and most_waiting hold, and new connections lead to the target, which may
 * be the one that they lead to already. Those that lead elsewhere are closed, now or after their request;
 * those who wait go on waiting.
 */
void pool_change(struct pool *pool, struct upstream_target *target);

/* Closes kept connections, and keeps none from now on. */
void pool_keep_none(struct pool *pool);

/* Closes kept connections. Nobody may wait or use a connection any more. */
void pool_close(struct pool *pool);

enum pool_answer { POOL_CONNECTION, POOL_WAIT, POOL_FULL, POOL_ERROR };

/*
 * Asks for a connection: a kept one, a new one, or a place in the queue. POOL_FULL: the
 * queue is full; POOL_ERROR: connecting failed at once, *error is a negative errno.
 */
enum pool_answer pool_get(struct pool *pool, struct ticket *ticket, void *user, enum pool_wish wish,
                          struct upstream **upstream, int *error);

/* Leaves the queue. Fine if it does not wait. */
void pool_cancel(struct pool *pool, struct ticket *ticket);

#endif
