/*
 * The relay's sockets: one epoll set, which libuv's loop watches as a single descriptor.
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
#include <uv.h>

/* Embedded in whatever owns a socket. Starts as {.fd = -1}. */
struct watch {
    int fd;
    bool added;       /* in the epoll set */
    bool level;       /* level-triggered reading only, for listeners */
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

#define POLLER_BATCH 256

struct outbox; /* of relay/stream.h */

struct poller {
    int epoll;
    uv_poll_t poll;
    uv_prepare_t reaper;
    uv_idle_t again_idle;
    struct watch *again; /* to be called in the next turn */
    struct watch *turn;  /* to be called in this one */
    struct watch *dead;
    bool in_round;                              /* events are being handled */
    void (*after_round)(struct poller *poller); /* all of them have been; NULL: nothing to do then */
    struct outbox *outbox;
    struct epoll_event events[POLLER_BATCH];
};

/* 0 or a negative errno / UV_E* value; after an error poller_close still has to be called. */
int poller_open(struct poller *poller, uv_loop_t *loop);

/* Ends the handles; the loop must run once more for libuv to let go of them. Frees what is dead. */
void poller_close(struct poller *poller);

/* Puts watch->fd into the set. 0 or a negative errno. */
int poller_add(struct poller *poller, struct watch *watch);

/* Asks to be told when the socket takes bytes again, or no longer. 0 or a negative errno. */
int poller_want_write(struct poller *poller, struct watch *watch, bool want);

/* Calls ready in a later turn although nothing new happens: to go on with what fairness interrupted. */
void poller_again(struct poller *poller, struct watch *watch);

/* Takes the descriptor out and keeps it open, for a listener that must rest; poller_add puts it back. */
void poller_remove(struct poller *poller, struct watch *watch);

/* Takes the descriptor out of the set and closes it. Fine to call twice. */
void poller_close_fd(struct poller *poller, struct watch *watch);

/* As poller_close_fd, and calls watch->destroy once no event can name the watch any more. */
void poller_bury(struct poller *poller, struct watch *watch);

#endif
