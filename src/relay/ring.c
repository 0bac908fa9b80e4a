#include "relay/ring.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/* liburing's own functions for these two are in its static library only (up to 2.3). */
static int call_register(const struct ring *ring, unsigned what, const void *list, unsigned n)
{
    long rc = syscall(SYS_io_uring_register, ring->uring.ring_fd, what, list, n);
    return rc < 0 ? -errno : 0;
}

int ring_open(struct ring *ring)
{
    struct io_uring_restriction only_send = {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_SEND};
    int rc = io_uring_queue_init(RING_SENDS, &ring->uring, IORING_SETUP_R_DISABLED);
    if (rc < 0)
        return rc;
    ring->open = true;
    rc = call_register(ring, IORING_REGISTER_RESTRICTIONS, &only_send, 1);
    if (rc == 0)
        rc = call_register(ring, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (rc < 0)
        ring_close(ring);
    return rc;
}

void ring_close(struct ring *ring)
{
    if (ring->open)
        io_uring_queue_exit(&ring->uring);
    ring->open = false;
}

static void prepare(struct ring *ring, const struct send *send, size_t number)
{
    struct io_uring_sqe *entry = io_uring_get_sqe(&ring->uring); /* there is room for RING_SENDS */
    io_uring_prep_send(entry, send->fd, send->data, send->len, MSG_NOSIGNAL | MSG_DONTWAIT);
    entry->user_data = number;
}

/* What came of one of the sends: they do not wait, so this does not either. False: the ring is of no use. */
static bool take_result(struct ring *ring, struct send *sends)
{
    struct io_uring_cqe *entry;
    int rc;
    do
        rc = io_uring_wait_cqe(&ring->uring, &entry);
    while (rc == -EINTR);
    if (rc < 0)
        return false;
    bool later = entry->res == -EAGAIN || entry->res == -EINTR;
    sends[entry->user_data].sent = later ? 0 : entry->res;
    io_uring_cqe_seen(&ring->uring, entry);
    return true;
}

size_t ring_send(struct ring *ring, struct send *sends, size_t n)
{
    if (!ring->open || n < 2) /* one alone is sent sooner without */
        return 0;
    for (size_t i = 0; i < n; i++) {
        sends[i].sent = -EIO;
        prepare(ring, &sends[i], i);
    }
    int submitted = io_uring_submit(&ring->uring);
    size_t done = submitted > 0 ? (size_t)submitted : 0;
    bool good = done == n;
    for (size_t i = 0; i < done; i++)
        good = take_result(ring, sends) && good;
    /* What it did not take must not go out with the next ones. */
    if (!good)
        ring_close(ring);
    return done;
}
