/*
 * What is spliced to a stream: it comes behind what was sent before and before what is sent afterwards,
 * whether the socket takes it, is full, or cannot be spliced at all.
 */
#include "relay/stream.h" /* before loop.h, whose poller its functions would hide */

#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static struct deadlines deadlines;
static struct outbox outbox;
static struct stream from, to;
static int source, sink; /* the other ends */
static size_t descriptors;
static int settled; /* the last error + 1, 0: not called */

static char wanted[4 << 20], got[4 << 20]; /* what went in, and what came out */
static size_t wanted_len, got_len;

static void on_settled(struct stream *stream, int error)
{
    assert_ptr_equal(stream, &to);
    settled = error + 1;
}

static void on_expired(struct deadlines *d, struct deadline *deadline)
{
    (void)d;
    (void)deadline;
    pipes_close(&outbox.pipes);
}

static int open_stream(struct stream *stream, int *other)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    *stream = (struct stream){.watch.fd = pair[0], .watch.readable = true, .settled = on_settled};
    *other = pair[1];
    return 0;
}

static int setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    wanted_len = got_len = 0;
    settled = 0;
    if (open_loop() < 0)
        return -1;
    descriptors = count_descriptors();
    deadlines_open(&deadlines, &loop, on_expired);
    deadlines.lasts[DEADLINE_PIPES] = 10;
    if (outbox_open(&outbox, &poller, &deadlines) < 0)
        return -1;
    return open_stream(&from, &source) < 0 || open_stream(&to, &sink) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    stream_close(&poller, &from);
    stream_close(&poller, &to);
    close(source);
    if (sink >= 0)
        close(sink);
    outbox_close(&outbox);
    bool left = outbox.pipes.total > 0 || count_descriptors() != descriptors;
    return close_loop() < 0 || left ? -1 : 0;
}

static char *note(size_t len)
{
    char *at = wanted + wanted_len;
    assert_true(wanted_len + len <= sizeof(wanted));
    for (size_t i = 0; i < len; i++)
        at[i] = (char)((wanted_len + i) * 7919 >> 8);
    wanted_len += len;
    return at;
}

/* Sends so many bytes of our own. */
static void say(size_t len)
{
    struct gather gather;
    gather_clear(&gather);
    gather_add(&gather, note(len), len);
    assert_int_equal(stream_send(&poller, &to, &gather), 0);
}

/* Puts so many bytes into the source. */
static void pour(size_t len)
{
    assert_int_equal(send(source, note(len), len, 0), (ssize_t)len);
}

static ssize_t pass(size_t max)
{
    int error;
    ssize_t n = stream_splice(&poller, &from, &to, max, &error);
    assert_int_equal(error, 0);
    return n;
}

static void end_round(void)
{
    poller.in_round = false;
    poller.after_round(&poller);
}

static size_t drink(void)
{
    size_t before = got_len;
    ssize_t n;
    while ((n = recv(sink, got + got_len, sizeof(got) - got_len, 0)) > 0)
        got_len += (size_t)n;
    return got_len - before;
}

/* All that went in has come out. */
static void check(void)
{
    bool progress;
    while (drink() > 0 || stream_is_blocked(&to)) {
        if (stream_is_blocked(&to))
            assert_int_equal(stream_flush(&poller, &to, &progress), 0);
    }
    assert_true(stream_is_written(&to));
    assert_false(to.watch.want_write);
    assert_int_equal(got_len, wanted_len);
    assert_memory_equal(got, wanted, wanted_len);
}

static void test_order_in_a_round(void **state)
{
    (void)state;
    poller.in_round = true;
    say(100);
    pour(50000);
    assert_int_equal(pass(50000), 50000);
    say(8);
    pour(60000);
    assert_int_equal(pass(60000), 60000);
    say(16);
    /* One write at the end of it, for all of that. */
    assert_int_equal(drink(), 0);
    assert_false(stream_is_written(&to));
    assert_false(stream_is_blocked(&to));
    end_round();
    assert_int_equal(settled, 1);
    assert_int_equal(drink(), wanted_len);
    check();
    say(10);
    check();
}

static void test_order_when_much_is_sent_between(void **state)
{
    (void)state;
    poller.in_round = true;
    say(6000); /* no pipe takes so much in one piece */
    pour(50000);
    assert_int_equal(pass(50000), 50000);
    say(20000);
    pour(50000);
    assert_int_equal(pass(50000), 50000);
    say(100);
    end_round();
    say(30);
    check();
}

static void test_outside_a_round(void **state)
{
    (void)state;
    say(100);
    pour(50000);
    assert_int_equal(pass(50000), 50000);
    assert_true(stream_is_written(&to));
    assert_int_equal(settled, 0);
    check();
}

static void test_no_more_than_there_is(void **state)
{
    (void)state;
    poller.in_round = true;
    say(10);
    pour(40000);
    /* Nothing more comes now: it does not wait for the end of the round. */
    assert_int_equal(pass(65535), 40000);
    assert_int_equal(drink(), wanted_len);
    assert_true(from.watch.readable);
    say(20);
    assert_int_equal(pass(65535), -EAGAIN);
    assert_false(from.watch.readable);
    assert_int_equal(drink(), 20);
    assert_int_equal(pass(65535), -EAGAIN);
    assert_true(stream_is_written(&to));
    shutdown(source, SHUT_WR);
    say(30);
    assert_int_equal(pass(65535), 0);
    end_round();
    check();
}

static void test_blocked(void **state)
{
    (void)state;
    poller.in_round = true;
    while (!stream_is_blocked(&to)) {
        say(8);
        pour(60000);
        assert_int_equal(pass(60000), 60000);
    }
    size_t waits = to.pipe->bytes;
    assert_true(waits > 0);
    /* What comes now waits behind it, and nothing more is taken. */
    say(8);
    say(30000);
    assert_int_equal(pass(60000), -EOPNOTSUPP);
    end_round();
    assert_int_equal(to.pipe->bytes, waits);
    assert_true(stream_is_blocked(&to));
    bool progress;
    assert_int_equal(stream_flush(&poller, &to, &progress), 0);
    assert_false(progress);
    drink();
    assert_int_equal(stream_flush(&poller, &to, &progress), 0);
    assert_true(progress);
    check();
    pour(50000);
    assert_int_equal(pass(50000), 50000);
    check();
}

static void test_a_full_pipe_is_no_empty_socket(void **state)
{
    (void)state;
    poller.in_round = true;
    /* Small writes have each a page of the pipe. */
    size_t full = 0;
    for (size_t i = 0; i < PIPE_SIZE / 4096 + 10; i++) {
        pour(100);
        ssize_t n = pass(100);
        assert_true(from.watch.readable);
        if (n == -EAGAIN) {
            full++;
            n = pass(100);
        }
        assert_int_equal(n, 100);
    }
    assert_true(full > 0);
    end_round();
    check();
}

static void test_nobody_there(void **state)
{
    (void)state;
    int error;
    poller.in_round = true;
    close(sink);
    sink = -1;
    assert_int_equal(send(source, wanted, 50000, 0), 50000);
    assert_int_equal(stream_splice(&poller, &from, &to, 50000, &error), 50000);
    assert_int_equal(error, 0);
    end_round();
    assert_int_equal(settled, -EPIPE + 1);
    assert_null(to.pipe);
    assert_int_equal(send(source, wanted, 10000, 0), 10000);
    assert_int_equal(stream_splice(&poller, &from, &to, 50000, &error), 10000);
    assert_int_equal(error, -EPIPE);
    stream_drop_output(&to);
    pipes_close(&outbox.pipes);
    assert_int_equal(outbox.pipes.total, 0);
}

static void test_dropped_in_the_middle(void **state)
{
    (void)state;
    poller.in_round = true;
    pour(50000);
    assert_int_equal(pass(50000), 50000);
    stream_close(&poller, &to);
    end_round();
    assert_int_equal(settled, 0);
    assert_int_equal(outbox.pipes.total, 0);
    assert_int_equal(drink(), 0);
}

/* An epoll descriptor stands for a socket that cannot be spliced from. */
static void test_not_from_here(void **state)
{
    (void)state;
    poller.in_round = true;
    assert_true(stream_may_splice(&poller));
    int fd = from.watch.fd;
    from.watch.fd = poller.epoll;
    say(50);
    assert_int_equal(pass(50000), -EOPNOTSUPP);
    from.watch.fd = fd;
    assert_false(stream_may_splice(&poller));
    assert_int_equal(pass(50000), -EOPNOTSUPP);
    say(50);
    end_round();
    check();
}

/* And for one that cannot be spliced to. */
static void test_not_to_there(void **state)
{
    (void)state;
    poller.in_round = true;
    say(50);
    pour(50000);
    assert_int_equal(pass(50000), 50000);
    int fd = to.watch.fd;
    to.watch.fd = poller.epoll;
    end_round();
    to.watch.fd = fd;
    assert_int_equal(settled, 1);
    assert_null(to.pipe);
    assert_int_equal(to.out.len, wanted_len);
    assert_false(stream_may_splice(&poller));
    say(50);
    check();
}

static void test_not_connected_yet(void **state)
{
    (void)state;
    to.corked = true;
    say(50);
    assert_int_equal(pass(50000), -EOPNOTSUPP);
    assert_null(to.pipe);
    to.corked = false;
    check();
}

static void test_no_pipe_left(void **state)
{
    (void)state;
    struct pipe *taken[PIPES_MAX];
    for (size_t i = 0; i < PIPES_MAX; i++)
        taken[i] = pipe_take(&outbox.pipes);
    poller.in_round = true;
    say(50);
    assert_int_equal(pass(50000), -EOPNOTSUPP);
    assert_true(stream_may_splice(&poller));
    say(50);
    end_round();
    check();
    for (size_t i = 0; i < PIPES_MAX; i++)
        pipe_put(taken[i]);
    pour(50000);
    assert_int_equal(pass(50000), 50000);
    check();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order_in_a_round, setup, teardown),
        cmocka_unit_test_setup_teardown(test_order_when_much_is_sent_between, setup, teardown),
        cmocka_unit_test_setup_teardown(test_outside_a_round, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_more_than_there_is, setup, teardown),
        cmocka_unit_test_setup_teardown(test_blocked, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_full_pipe_is_no_empty_socket, setup, teardown),
        cmocka_unit_test_setup_teardown(test_nobody_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dropped_in_the_middle, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_from_here, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_to_there, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_connected_yet, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_pipe_left, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
