/*
 * Time limits by the thousand.
 *
 * Each kind of limit lasts equally long for everybody, so its waiting list stays in order by appending: to
 * start or stop one is a few pointer writes, no system call and no heap. Where its duration changes, those
 * that run stay in a list of their own. The loop asks how long it may wait, and says when to expire. Not
 * thread-safe: belongs to its loop.
 */
#ifndef RELAY_DEADLINES_H
#define RELAY_DEADLINES_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

enum deadline_kind {
    DEADLINE_HEADER,   /* a front inside a request's parameters */
    DEADLINE_FIRST,    /* a front that has yet to send its first request, while the relay stops */
    DEADLINE_WATCH,    /* a front that is not looked at, for its answer should come at once */
    DEADLINE_LINGER,   /* a front that is drained before it is closed */
    DEADLINE_QUEUE,    /* a request that waits for an application connection */
    DEADLINE_CONNECT,  /* an application connection being made */
    DEADLINE_RETRY,    /* pause before the next try on a full backlog */
    DEADLINE_SEND,     /* the application takes no bytes */
    DEADLINE_FRONT,    /* the front takes no bytes */
    DEADLINE_READ,     /* the application says nothing */
    DEADLINE_IDLE,     /* an application connection kept for the next request */
    DEADLINE_REQUEST,  /* a whole request */
    DEADLINE_REST,     /* a listener that rests after a failure */
    DEADLINE_PIPES,    /* pipes that nobody needs */
    DEADLINE_CGI_BODY, /* more of a body, before the answer of a CGI program is passed on */
    DEADLINE_CGI_HELD, /* others on the standard output of a CGI program that has ended */
    DEADLINE_CGI_EXIT, /* a CGI program that has closed its standard output */
    DEADLINE_CGI_KILL, /* a CGI program that was told to end */
    DEADLINE_KINDS,
};

/* Embedded in whatever waits; starts as {0}. One deadline waits for one thing at a time. */
struct deadline {
    struct deadline *previous, *next; /* NULL: not started */
    uint64_t at;                      /* loop time in ms */
    enum deadline_kind kind;
};

struct deadlines {
    uv_loop_t *loop;
    uint64_t next; /* loop time in ms at which one may expire; 0: none runs */
    uint64_t lasts[DEADLINE_KINDS];
    struct deadline lists[DEADLINE_KINDS]; /* circular, with a sentinel */
    struct deadline older[DEADLINE_KINDS]; /* the same: of durations before the last change */
    void (*expired)(struct deadlines *deadlines, struct deadline *deadline); /* it is stopped already */
};

/* All durations start as 0, which means: never expires. Set lasts[] (ms) before the first start, and use
 * deadlines_change later. */
void deadlines_open(struct deadlines *deadlines, uv_loop_t *loop,
                    void (*expired)(struct deadlines *, struct deadline *));

/* From now on a kind lasts so many ms, or for ever (0); those that run keep their time. */
void deadlines_change(struct deadlines *deadlines, enum deadline_kind kind, uint64_t lasts);

/* How long until one may expire, in ms; -1: none runs. */
int deadlines_timeout(const struct deadlines *deadlines);

/*
 * Expires what was due at `now`, loop time in ms. What peers did until then must have been handled: after a
 * process has stood still (a paused container, a machine that was moved), that takes a look at all of its
 * sockets.
 */
void deadlines_expire(struct deadlines *deadlines, uint64_t now);

/* All that run end so many ms later. */
void deadlines_delay(struct deadlines *deadlines, uint64_t by);

/* Starts it, or starts it anew. */
void deadline_start(struct deadlines *deadlines, struct deadline *deadline, enum deadline_kind kind);

/* Fine if it is not started. */
void deadline_stop(struct deadline *deadline);

static inline bool deadline_runs(const struct deadline *deadline, enum deadline_kind kind)
{
    return deadline->next && deadline->kind == kind;
}

#endif
