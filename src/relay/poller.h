/*
 * The relay's sockets: one epoll set, in which libuv's loop is one descriptor among the others.
 *
 * A turn of the loop is one wait: libuv is only run when something of its own has happened or is due. (The
 * other way round, the set inside of libuv's, costs a second wait each turn, and each event a second
 * wake-up.)
 *
 * Edge-triggered: what the kernel said stays noted in the watch until a read or write finds nothing more, so
 * a request on a kept connection costs no epoll change. Events are noted for all descriptors of a round
 * before the first one is handled; who looks at another watch's flags then sees what the kernel knew when the
 * round began. A descriptor leaves the set before it is closed, and an object that ends inside a round stays
 * in memory until the round is over. Not thread-safe: a poller belongs to its loop.
 */
#ifndef RELAY_POLLER_H
#define RELAY_POLLER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <time.h>
#include <uv.h>

/* Embedded in whatever owns a socket. Starts as {.fd = -1}. */
struct watch {
    int fd;
    bool added;       /* in the epoll set */
    bool level;       /* level-triggered reading only, for listeners */
    bool shared;      /* processes wait for it together: one of those that do is woken, not all */
    bool readable;    /* a read may find bytes or the end */
    bool half_closed; /* the peer will write no more; bytes may still wait */
    bool gone;        /* the peer closed both ways, or the connection failed */
    bool writable;    /* only meaningful while want_write */
    bool want_write;
    bool again; /* stands in the list of poller_again */
    void (*ready)(struct watch *watch);
    void (*destroy)(struct watch *watch);
    struct watch *next_again, *next_dead;
};

/* Events of a round. With more, what the round has to write is no longer in the processor's cache at its end.
 */
#define POLLER_BATCH 32

struct outbox; /* of relay/stream.h */

struct poller {
    int epoll;
    uv_loop_t *loop;
    struct watch libuv;  /* the loop's own descriptor */
    bool libuv_ready;    /* has something to say */
    size_t watches;      /* in the set */
    uint64_t asked;      /* the loop's time before the last wait, in ms: what came until then is told by it */
    uint64_t waited;     /* and at its end */
    uint64_t clock;      /* of poller_clock in this turn, 0: nobody has asked */
    struct watch *again; /* to be called in the next round */
    struct watch *turn;  /* to be called in this one */
    struct watch *dead;
    bool in_round;                              /* events are being handled */
    void (*after_round)(struct poller *poller); /* all of them have been; NULL: nothing to do then */
    struct outbox *outbox;
    struct epoll_event events[POLLER_BATCH];
};

/* 0 or a negative errno; after an error poller_close still has to be called. */
int poller_open(struct poller *poller, uv_loop_t *loop);

/*
 * One turn: waits at most `timeout` ms (-1: as long as it takes) until a socket or libuv has something, and
 * handles it. True: nothing that was ready at the end of the wait is left for the next turn.
 */
bool poller_turn(struct poller *poller, int timeout);

/*
 * A steady clock in microseconds, read at most once a turn: for one event of many the time at which the first
 * of them asked.
 */
static inline uint64_t poller_clock(struct poller *poller)
{
    struct timespec now;
    if (poller->clock == 0) {
        clock_gettime(CLOCK_MONOTONIC, &now);
        poller->clock = (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
    }
    return poller->clock;
}

/* Frees what is dead. */
void poller_close(struct poller *poller);

/* Puts watch->fd into the set. 0 or a negative errno. */
int poller_add(struct poller *poller, struct watch *watch);

/* Asks to be told when the socket takes bytes again, or no longer. 0 or a negative errno. */
int poller_want_write(struct poller *poller, struct watch *watch, bool want);

/* Calls ready in the next turn although nothing new happens: to go on with what fairness interrupted. */
void poller_again(struct poller *poller, struct watch *watch);

/* Takes the descriptor out and keeps it open, for a listener that must rest; poller_add puts it back. */
void poller_remove(struct poller *poller, struct watch *watch);

/* Takes the descriptor out of the set and closes it. Fine to call twice. */
void poller_close_fd(struct poller *poller, struct watch *watch);

/* As poller_close_fd, and calls watch->destroy once no event can name the watch any more. */
void poller_bury(struct poller *poller, struct watch *watch);

#endif
