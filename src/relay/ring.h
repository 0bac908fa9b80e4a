/*
 * Many sends in one system call: io_uring(7).
 *
 * Each send wakes whoever reads, and on a busy machine the kernel lets him run as soon as our system call
 * returns: he serves that one request and sleeps again. In one system call all are woken before one of them
 * runs, and each then finds much to do.
 *
 * What goes through a ring is seen by no system call filter, so this one can do nothing but send, whatever is
 * written into it (IORING_REGISTER_RESTRICTIONS). Where the kernel cannot promise that (before 5.10), or
 * has or allows no ring, there is none. Not thread-safe: a ring belongs to the thread that opened it.
 */
#ifndef RELAY_RING_H
#define RELAY_RING_H

#include <liburing.h>
#include <stdbool.h>
#include <sys/types.h>

#define RING_SENDS 64

/* Starts as {0}. */
struct ring {
    struct io_uring uring;
    bool open;
};

/* Bytes for one socket, and what has become of them. */
struct send {
    int fd;
    const char *data;
    size_t len;
    ssize_t sent; /* how many it took, 0: none now, or a negative errno */
};

/* 0, or a negative errno: there is none, and ring_send sends nothing. */
int ring_open(struct ring *ring);

/* Fine to call twice. */
void ring_close(struct ring *ring);

/*
 * Sends to n sockets, at most RING_SENDS, none of them twice, without waiting. Returns how many it has seen
 * to, from the first on: with a ring all of them, if there are several. The rest, of which not one byte has
 * gone, is for the caller to send.
 */
size_t ring_send(struct ring *ring, struct send *sends, size_t n);

#endif
