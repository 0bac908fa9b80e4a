/*
 * Sends through a ring: what becomes of each, byte for byte, what else a ring can do, and what is left of one
 * that fails.
 */
#include "realip_cmocka.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "relay/ring.h"

#define PAIRS 8

static struct ring ring;
static int ours[PAIRS], theirs[PAIRS];
static char text[PAIRS][5000];
static char got[1 << 20];
static int signals;

/* ---- what the kernel makes of a call ---- */

static int most = -1; /* entries that it takes; -1: all */
static int fails;     /* or the errno */

int io_uring_submit(struct io_uring *uring)
{
    void *found = dlsym(RTLD_NEXT, "io_uring_submit");
    int (*next)(struct io_uring *);
    memcpy(&next, &found, sizeof next);
    unsigned tail = uring->sq.sqe_tail;
    if (fails)
        return -fails;
    if (most < 0)
        return next(uring);
    uring->sq.sqe_tail = uring->sq.sqe_head + (unsigned)most;
    int rc = next(uring);
    uring->sq.sqe_tail = tail;
    return rc;
}

/* ---- set-up ---- */

static void on_signal(int number)
{
    (void)number;
    signals++;
}

static int setup(void **state)
{
    (void)state;
    signal(SIGPIPE, on_signal);
    signals = fails = 0;
    most = -1;
    for (size_t i = 0; i < PAIRS; i++) {
        int pair[2];
        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
            return -1;
        ours[i] = pair[0];
        theirs[i] = pair[1];
        for (size_t j = 0; j < sizeof text[i]; j++)
            text[i][j] = (char)(i * 31 + j * 7);
    }
    ring = (struct ring){0};
    /* A system that has none is one of those that the relay has to serve on. */
    int rc = ring_open(&ring);
    if (rc < 0)
        print_message("no ring here: %s\n", strerror(-rc));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    ring_close(&ring);
    for (size_t i = 0; i < PAIRS; i++) {
        close(ours[i]);
        close(theirs[i]);
    }
    return 0;
}

static void need_ring(void)
{
    if (!ring.open)
        skip();
}

/* How many bytes there are, in got. */
static size_t receive(size_t i)
{
    size_t n = 0;
    ssize_t more;
    while ((more = recv(theirs[i], got + n, sizeof got - n, 0)) > 0)
        n += (size_t)more;
    return n;
}

static void check_received(size_t i, size_t len)
{
    assert_int_equal(receive(i), len);
    assert_memory_equal(got, text[i], len);
}

/* So many of the pairs send their texts: i gets 100 * (i + 1) bytes. */
static void prepare(struct send *sends, size_t n)
{
    for (size_t i = 0; i < n; i++)
        sends[i] = (struct send){.fd = ours[i], .data = text[i], .len = 100 * (i + 1), .sent = 12345};
}

static void fill(int fd)
{
    while (send(fd, got, 1000, MSG_DONTWAIT) > 0)
        ;
    while (send(fd, got, 1, MSG_DONTWAIT) > 0)
        ;
}

/* ---- sending ---- */

static void test_several(void **state)
{
    (void)state;
    need_ring();
    struct send sends[PAIRS];
    for (int round = 0; round < 40; round++) { /* more than there are places in the ring */
        prepare(sends, PAIRS);
        assert_int_equal(ring_send(&ring, sends, PAIRS), PAIRS);
        for (size_t i = 0; i < PAIRS; i++) {
            assert_int_equal(sends[i].sent, 100 * (i + 1));
            check_received(i, 100 * (i + 1));
        }
    }
}

static void test_as_many_as_it_holds(void **state)
{
    (void)state;
    need_ring();
    struct send sends[RING_SENDS];
    int pairs[RING_SENDS][2];
    for (size_t i = 0; i < RING_SENDS; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pairs[i]), 0);
        sends[i] = (struct send){.fd = pairs[i][0], .data = text[0] + i, .len = i + 1};
    }
    assert_int_equal(ring_send(&ring, sends, RING_SENDS), RING_SENDS);
    for (size_t i = 0; i < RING_SENDS; i++) {
        assert_int_equal(sends[i].sent, i + 1);
        assert_int_equal(recv(pairs[i][1], got, sizeof got, MSG_DONTWAIT), i + 1);
        assert_memory_equal(got, text[0] + i, i + 1);
        close(pairs[i][0]);
        close(pairs[i][1]);
    }
    assert_true(ring.open);
}

/* Each gets its own result, and none keeps the others from theirs. */
static void test_each_its_own(void **state)
{
    (void)state;
    need_ring();
    struct send sends[PAIRS];
    char *large = calloc(1, 8 << 20);
    assert_non_null(large);
    prepare(sends, PAIRS);
    fill(ours[1]);
    sends[2].data = large;
    sends[2].len = 8 << 20;
    close(theirs[3]);
    theirs[3] = -1;
    sends[4].fd = -1;
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    sends[5].fd = pipes[1];
    size_t done = ring_send(&ring, sends, PAIRS);
    /* Kernels before 5.19 take nothing behind an entry whose descriptor is none. */
    assert_true(done == PAIRS || done == 5);
    assert_int_equal(ring.open, done == PAIRS);
    assert_int_equal(sends[0].sent, 100);
    check_received(0, 100);
    assert_int_equal(sends[1].sent, 0);
    assert_in_range(sends[2].sent, 1, (8 << 20) - 1);
    assert_int_equal(receive(2), sends[2].sent < (ssize_t)sizeof got ? sends[2].sent : (ssize_t)sizeof got);
    assert_int_equal(sends[3].sent, -EPIPE);
    assert_int_equal(sends[4].sent, -EBADF);
    if (done == PAIRS) {
        assert_int_equal(sends[5].sent, -ENOTSOCK);
        assert_int_equal(sends[6].sent, 700);
        check_received(6, 700);
        assert_int_equal(sends[7].sent, 800);
        check_received(7, 800);
    }
    assert_int_equal(signals, 0);
    close(pipes[0]);
    close(pipes[1]);
    free(large);
}

/* Neither waits: the socket that is full may be a blocking one, and what it did not take does not follow. */
static void test_a_full_one_is_not_waited_for(void **state)
{
    (void)state;
    need_ring();
    struct send sends[2];
    prepare(sends, 2);
    assert_int_equal(fcntl(ours[1], F_SETFL, 0), 0);
    fill(ours[1]);
    assert_int_equal(ring_send(&ring, sends, 2), 2);
    assert_int_equal(sends[0].sent, 100);
    assert_int_equal(sends[1].sent, 0);
    assert_true(receive(1) > 0);
    check_received(0, 100);
    prepare(sends, 2);
    assert_int_equal(ring_send(&ring, sends, 2), 2);
    check_received(1, 200);
}

static void test_one_alone(void **state)
{
    (void)state;
    struct send sends[1];
    prepare(sends, 1);
    assert_int_equal(ring_send(&ring, sends, 1), 0);
    assert_int_equal(ring_send(&ring, sends, 0), 0);
    assert_int_equal(receive(0), 0);
}

static void test_without(void **state)
{
    (void)state;
    struct ring none = {0};
    struct send sends[2];
    prepare(sends, 2);
    assert_int_equal(ring_send(&none, sends, 2), 0);
    ring_close(&none);
    ring_close(&ring);
    ring_close(&ring);
    assert_int_equal(ring_send(&ring, sends, 2), 0);
    assert_int_equal(receive(0) + receive(1), 0);
}

/* ---- what else it can do ---- */

/* What comes of the entry that has been prepared. */
static int outcome(void)
{
    struct io_uring_cqe *entry;
    assert_int_equal(io_uring_submit(&ring.uring), 1);
    assert_int_equal(io_uring_wait_cqe(&ring.uring, &entry), 0);
    int result = entry->res;
    io_uring_cqe_seen(&ring.uring, entry);
    return result;
}

static void test_nothing_but_sends(void **state)
{
    (void)state;
    need_ring();
    int zero = open("/dev/zero", O_RDONLY);
    struct io_uring_sqe *entry;
    io_uring_prep_nop(io_uring_get_sqe(&ring.uring));
    assert_int_equal(outcome(), -EACCES);
    io_uring_prep_openat(io_uring_get_sqe(&ring.uring), AT_FDCWD, "/dev/null", O_RDONLY, 0);
    assert_int_equal(outcome(), -EACCES);
    io_uring_prep_read(io_uring_get_sqe(&ring.uring), zero, got, 10, 0);
    assert_int_equal(outcome(), -EACCES);
    io_uring_prep_recv(io_uring_get_sqe(&ring.uring), ours[0], got, 10, MSG_DONTWAIT);
    assert_int_equal(outcome(), -EACCES);
    for (int operation = 0; operation < 256; operation++) {
        if (operation == IORING_OP_SEND)
            continue;
        entry = io_uring_get_sqe(&ring.uring);
        io_uring_prep_rw(operation, entry, zero, got, 1, 0);
        int rc = outcome();
        if (rc != -EACCES && rc != -EINVAL) /* the latter: there is no such operation */
            fail_msg("operation %d: %d", operation, rc);
    }
    /* Nor can a send have it do what it does in another way: linked, in another thread, by a number. */
    for (unsigned flag = 1; flag < 256; flag <<= 1) {
        entry = io_uring_get_sqe(&ring.uring);
        io_uring_prep_send(entry, ours[0], text[0], 10, MSG_DONTWAIT);
        entry->flags = (__u8)flag;
        int rc = outcome();
        if (rc != -EACCES && rc != -EINVAL)
            fail_msg("flag %u: %d", flag, rc);
    }
    assert_int_equal(receive(0), 0);
    close(zero);
}

static int call_register(unsigned what, const void *list, unsigned n)
{
    return syscall(SYS_io_uring_register, ring.uring.ring_fd, what, list, n) < 0 ? errno : 0;
}

static void test_no_registering(void **state)
{
    (void)state;
    need_ring();
    struct io_uring_restriction more = {.opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_NOP};
    struct iovec piece = {got, 4096};
    assert_int_equal(call_register(IORING_REGISTER_FILES, &ours[0], 1), EACCES);
    assert_int_equal(call_register(IORING_REGISTER_BUFFERS, &piece, 1), EACCES);
    assert_int_equal(call_register(IORING_REGISTER_PERSONALITY, NULL, 0), EACCES);
    assert_int_equal(call_register(IORING_REGISTER_RESTRICTIONS, &more, 1), EACCES);
    assert_int_equal(call_register(IORING_REGISTER_ENABLE_RINGS, NULL, 0), EACCES);
    for (unsigned what = 0; what < 64; what++)
        assert_int_not_equal(call_register(what, got, 0), 0);
}

static void test_no_program_gets_it(void **state)
{
    (void)state;
    need_ring();
    assert_true(fcntl(ring.uring.ring_fd, F_GETFD) & FD_CLOEXEC);
}

/* ---- one that fails ---- */

/* Nothing that was prepared goes out with the next ones. */
static void test_a_call_that_fails(void **state)
{
    (void)state;
    need_ring();
    struct send sends[3];
    prepare(sends, 3);
    int fd = ring.uring.ring_fd;
    fails = EAGAIN;
    assert_int_equal(ring_send(&ring, sends, 3), 0);
    fails = 0;
    assert_false(ring.open);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    assert_int_equal(ring_send(&ring, sends, 3), 0);
    assert_int_equal(receive(0) + receive(1) + receive(2), 0);
    assert_int_equal(ring_open(&ring), 0);
    assert_int_equal(ring_send(&ring, sends, 3), 3);
    for (size_t i = 0; i < 3; i++)
        check_received(i, 100 * (i + 1));
}

static void test_a_call_that_takes_some(void **state)
{
    (void)state;
    need_ring();
    struct send sends[4];
    prepare(sends, 4);
    most = 2;
    assert_int_equal(ring_send(&ring, sends, 4), 2);
    most = -1;
    assert_false(ring.open);
    for (size_t i = 0; i < 4; i++) {
        if (i < 2)
            assert_int_equal(sends[i].sent, 100 * (i + 1));
        check_received(i, i < 2 ? 100 * (i + 1) : 0);
    }
}

/* The descriptor is another's in the meantime: an error of the call as the kernel gives it. */
static void test_no_ring_any_more(void **state)
{
    (void)state;
    need_ring();
    struct send sends[2];
    prepare(sends, 2);
    assert_int_equal(dup2(ours[7], ring.uring.ring_fd), ring.uring.ring_fd);
    assert_int_equal(ring_send(&ring, sends, 2), 0);
    assert_false(ring.open);
    assert_int_equal(receive(0) + receive(1) + receive(7), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_several, setup, teardown),
        cmocka_unit_test_setup_teardown(test_as_many_as_it_holds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_each_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_one_is_not_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(test_without, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nothing_but_sends, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_registering, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_program_gets_it, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_call_that_fails, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_call_that_takes_some, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_ring_any_more, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
