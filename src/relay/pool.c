#include "relay/pool.h"

#include <errno.h>

static struct pool *of_upstream(const struct upstream *upstream)
{
    return (struct pool *)((char *)upstream->shared - offsetof(struct pool, shared));
}

static void idle_unlink(struct upstream *u)
{
    if (!u->next)
        return;
    u->previous->next = u->next;
    u->next->previous = u->previous;
    u->previous = u->next = NULL;
}

static void drop(const struct pool *pool, struct upstream *u)
{
    struct upstream_target *target = u->target;
    idle_unlink(u);
    target->connections--;
    upstream_destroy(u);
    if (target != pool->shared.target)
        target->left(target);
}

/* The most recently used one that is still good; dead ones met on the way are dropped. */
static struct upstream *take_idle(struct pool *pool, bool sure)
{
    while (pool->idle.next != &pool->idle) {
        struct upstream *u = pool->idle.next;
        if (upstream_usable(u, sure)) {
            idle_unlink(u);
            deadline_stop(&u->deadline);
            return u;
        }
        drop(pool, u);
    }
    return NULL;
}

static bool below_cap(const struct pool *pool)
{
    return pool->cap == 0 || pool->shared.target->connections < pool->cap;
}

static bool above_cap(const struct pool *pool)
{
    return pool->cap > 0 && pool->shared.target->connections > pool->cap;
}

/*
 * For a new connection in spite of kept ones: where the cap is reached, one of those makes room. Of a started
 * application it does so at once, since its process may be the only one that could serve the new connection:
 * the others may be pausing.
 */
static bool make_room(struct pool *pool)
{
    bool below = below_cap(pool);
    if (pool->idle.next == &pool->idle)
        return below;
    if (!below || pool->shared.config->kind == UPSTREAM_COMMAND)
        drop(pool, pool->idle.previous);
    return true;
}

/* NULL and *error 0: there is none to be had now. */
static struct upstream *acquire(struct pool *pool, void *user, enum pool_wish wish, int *error)
{
    struct upstream *u = wish == POOL_FRESH ? NULL : take_idle(pool, wish == POOL_SURE);
    *error = 0;
    if (u) {
        pool->shared.counters->reuses++;
        upstream_attach(u, user);
        return u;
    }
    if (!make_room(pool))
        return NULL;
    u = upstream_open(&pool->shared, user, error);
    if (u)
        u->target->connections++;
    return u;
}

/* Serving happens in a turn of its own: a grant may fail and free the next connection, and so on a thousand
 * times. */
static void on_serve(uv_idle_t *handle)
{
    struct pool *pool = handle->data;
    while (pool->waiting.next != &pool->waiting) {
        struct ticket *first = pool->waiting.next;
        int error;
        struct upstream *u = acquire(pool, first->user, first->wish, &error);
        if (!u && error == 0)
            break;
        pool_cancel(pool, first);
        pool->granted(first->user, u, error);
    }
    uv_idle_stop(handle);
}

static void on_released(struct upstream *u, bool reusable)
{
    struct pool *pool = of_upstream(u);
    idle_unlink(u);
    if (!reusable || above_cap(pool)) {
        drop(pool, u);
    } else {
        u->previous = &pool->idle;
        u->next = pool->idle.next;
        u->next->previous = u;
        pool->idle.next = u;
        deadline_start(pool->shared.deadlines, &u->deadline, DEADLINE_IDLE);
    }
    if (pool->nwaiting > 0)
        uv_idle_start(&pool->server, on_serve);
}

int pool_open(struct pool *pool, uv_loop_t *loop)
{
    pool->idle.previous = pool->idle.next = &pool->idle;
    pool->waiting.previous = pool->waiting.next = &pool->waiting;
    pool->shared.released = on_released;
    int rc = uv_idle_init(loop, &pool->server);
    pool->server.data = pool;
    return rc;
}

static void drop_idle(const struct pool *pool)
{
    while (pool->idle.next != &pool->idle)
        drop(pool, pool->idle.next);
}

void pool_change(struct pool *pool, struct upstream_target *target)
{
    bool elsewhere = target != pool->shared.target;
    pool->shared.target = target;
    if (elsewhere || !pool->shared.config->keepalive)
        drop_idle(pool);
    while (above_cap(pool) && pool->idle.next != &pool->idle)
        drop(pool, pool->idle.previous);
    if (pool->nwaiting > 0)
        uv_idle_start(&pool->server, on_serve);
}

void pool_keep_none(struct pool *pool)
{
    pool->shared.keeps_none = true;
    drop_idle(pool);
}

void pool_close(struct pool *pool)
{
    pool_keep_none(pool);
    uv_close((uv_handle_t *)&pool->server, NULL);
}

enum pool_answer pool_get(struct pool *pool, struct ticket *ticket, void *user, enum pool_wish wish,
                          struct upstream **upstream, int *error)
{
    *upstream = NULL;
    *error = 0;
    /* Who came first is served first, also when a connection has just become free. */
    if (pool->nwaiting == 0) {
        *upstream = acquire(pool, user, wish, error);
        if (*upstream)
            return POOL_CONNECTION;
        if (*error < 0)
            return POOL_ERROR;
    }
    if (pool->nwaiting >= pool->most_waiting) {
        pool->shared.counters->overflows++;
        return POOL_FULL;
    }
    pool->shared.counters->waits++;
    ticket->user = user;
    ticket->wish = wish;
    ticket->next = &pool->waiting;
    ticket->previous = pool->waiting.previous;
    ticket->previous->next = ticket;
    pool->waiting.previous = ticket;
    pool->nwaiting++;
    deadline_start(pool->shared.deadlines, &ticket->deadline, DEADLINE_QUEUE);
    return POOL_WAIT;
}

void pool_cancel(struct pool *pool, struct ticket *ticket)
{
    if (!ticket->next)
        return;
    ticket->previous->next = ticket->next;
    ticket->next->previous = ticket->previous;
    ticket->previous = ticket->next = NULL;
    deadline_stop(&ticket->deadline);
    pool->nwaiting--;
}
