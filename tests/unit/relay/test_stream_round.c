/*
 * What is sent to several streams in one round, with a ring and without: each gets its bytes, whatever
 * becomes of the others, and who is told of it may end others and send to them.
 */
#include "relay/stream.h" /* before loop.h, whose poller its functions would hide */

#include "loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Three batches. */
#define MANY (2 * RING_SENDS + 5)

static struct one {
    struct stream stream;
    int sink;                      /* the other end */
    int settled;                   /* how often */
    int error;                     /* the last time */
    void (*then)(struct one *one); /* what is done when it is told */
} many[MANY];
static size_t nmany;

static struct deadlines deadlines;
static struct outbox outbox;
static size_t descriptors;
static char buffer[1 << 16];

static void on_expired(struct deadlines *d, struct deadline *deadline)
{
    (void)d;
    (void)deadline;
}

static int setup(void **state)
{
    (void)state;
    nmany = 0;
    if (open_loop() < 0)
        return -1;
    descriptors = count_descriptors();
    deadlines_open(&deadlines, &loop, on_expired);
    outbox = (struct outbox){0};
    return outbox_open(&outbox, &poller, &deadlines);
}

static int teardown(void **state)
{
    (void)state;
    for (size_t i = 0; i < nmany; i++) {
        stream_close(&poller, &many[i].stream);
        if (many[i].sink >= 0)
            close(many[i].sink);
    }
    outbox_close(&outbox);
    bool left = outbox.pipes.total > 0 || count_descriptors() != descriptors;
    return close_loop() < 0 || left ? -1 : 0;
}

static void end_round(void)
{
    poller.in_round = false;
    poller.after_round(&poller);
}

static void on_settled(struct stream *stream, int error)
{
    struct one *one = (struct one *)((char *)stream - offsetof(struct one, stream));
    one->settled++;
    one->error = error;
    if (one->then)
        one->then(one);
}

static void open_many(size_t n)
{
    for (nmany = 0; nmany < n; nmany++) {
        many[nmany] = (struct one){.sink = -1};
        int pair[2];
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
        many[nmany].stream = (struct stream){.watch.fd = pair[0], .settled = on_settled};
        many[nmany].sink = pair[1];
    }
}

/* Bytes that are this stream's own. */
static char *words(size_t i)
{
    static char text[200];
    snprintf(text, sizeof(text), "stream %zu says %0*d", i, (int)(i % 100), 7);
    return text;
}

static void say_to(size_t i, char *text)
{
    struct gather gather;
    gather_clear(&gather);
    gather_add(&gather, text, strlen(text));
    assert_int_equal(stream_send(&poller, &many[i].stream, &gather), 0);
}

static void check_heard(size_t i, const char *text)
{
    char heard[400];
    ssize_t n = recv(many[i].sink, heard, sizeof(heard) - 1, 0);
    heard[n > 0 ? n : 0] = '\0';
    assert_string_equal(heard, text);
}

static void fill(size_t i)
{
    while (send(many[i].stream.watch.fd, buffer, 1000, MSG_DONTWAIT) > 0)
        ;
    while (send(many[i].stream.watch.fd, buffer, 1, MSG_DONTWAIT) > 0)
        ;
}

static void empty(size_t i)
{
    while (recv(many[i].sink, buffer, sizeof(buffer), 0) > 0)
        ;
}

static void check_calm(size_t from_here)
{
    for (size_t i = from_here; i < nmany; i++) {
        assert_int_equal(many[i].settled, 1);
        assert_int_equal(many[i].error, 0);
        assert_true(stream_is_written(&many[i].stream));
    }
}

static void many_in_a_round(void)
{
    open_many(MANY);
    for (int round = 0; round < 3; round++) {
        poller.in_round = true;
        for (size_t i = 0; i < MANY; i++) {
            many[i].settled = 0;
            say_to(i, words(i));
            check_heard(i, "");
        }
        end_round();
        check_calm(0);
        for (size_t i = 0; i < MANY; i++)
            check_heard(i, words(i));
    }
}

static void close_two(struct one *one)
{
    (void)one;
    stream_close(&poller, &many[2].stream);            /* in the same batch */
    stream_close(&poller, &many[MANY - 1].stream);     /* in the last one */
    stream_drop_output(&many[RING_SENDS + 10].stream); /* and one that only gives up writing */
}

static void one_ends_others(void)
{
    open_many(MANY);
    many[1].then = close_two;
    poller.in_round = true;
    for (size_t i = 0; i < MANY; i++)
        say_to(i, words(i));
    end_round();
    for (size_t i = 0; i < MANY; i++) {
        bool gone = i == MANY - 1 || i == RING_SENDS + 10;
        check_heard(i, gone ? "" : words(i)); /* the second one's had gone out with the first one's */
        assert_int_equal(many[i].settled, gone || i == 2 ? 0 : 1);
        assert_int_equal(many[i].error, 0);
    }
}

static void say_more(struct one *one)
{
    (void)one;
    static char more[] = " and more";
    for (size_t i = 0; i < 4; i++)
        say_to(i, more);
    say_to(MANY - 1, more); /* whose first words have not gone out yet */
}

/* What is sent by whoever is told comes behind what waited. */
static void one_sends_to_others(void)
{
    char both[400];
    open_many(MANY);
    many[0].then = say_more;
    fill(3);
    poller.in_round = true;
    for (size_t i = 0; i < MANY; i++)
        say_to(i, words(i));
    end_round();
    assert_true(stream_is_blocked(&many[3].stream));
    bool progress;
    empty(3);
    assert_int_equal(stream_flush(&poller, &many[3].stream, &progress), 0);
    for (size_t i = 0; i < MANY; i++) {
        snprintf(both, sizeof(both), "%s%s", words(i), i < 4 || i == MANY - 1 ? " and more" : "");
        check_heard(i, both);
        assert_int_equal(many[i].settled, i < MANY - 1);
    }
}

static int true_fd;

static void recover(struct one *one)
{
    static char more[] = "what comes behind it";
    (void)one;
    many[1].stream.watch.fd = true_fd;
    say_to(1, more);
}

static void give_up(struct one *one)
{
    assert_int_equal(one->error, -ENOTSOCK);
    assert_false(one->stream.corked);
    stream_drop_output(&one->stream);
}

/* An error that passes (memory, an epoll descriptor here): nothing goes out behind the bytes that it cost. */
static void one_fails(void)
{
    open_many(6);
    many[0].then = recover;
    many[1].then = give_up;
    true_fd = many[1].stream.watch.fd;
    close(many[4].sink);
    many[4].sink = -1;
    poller.in_round = true;
    for (size_t i = 0; i < 6; i++)
        say_to(i, words(i));
    many[1].stream.watch.fd = poller.epoll;
    end_round();
    for (size_t i = 0; i < 6; i++) {
        assert_int_equal(many[i].settled, 1);
        assert_int_equal(many[i].error, i == 1 ? -ENOTSOCK : i == 4 ? -EPIPE : 0);
        if (i != 4)
            check_heard(i, i == 1 ? "" : words(i));
    }
}

/* Bytes that are copied and bytes in a pipe, in one round. */
static void one_has_a_pipe(void)
{
    int error;
    open_many(4);
    memset(buffer, 'x', 20000);
    assert_int_equal(send(many[3].sink, buffer, 20000, 0), 20000);
    poller.in_round = true;
    say_to(0, words(0));
    say_to(1, words(1));
    assert_int_equal(stream_splice(&poller, &many[3].stream, &many[1].stream, 20000, &error), 20000);
    assert_int_equal(error, 0);
    say_to(2, words(2));
    end_round();
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(many[i].settled, 1);
        assert_int_equal(many[i].error, 0);
        if (i != 1)
            check_heard(i, words(i));
    }
    size_t len = strlen(words(1));
    assert_int_equal(recv(many[1].sink, buffer, sizeof(buffer), 0), len + 20000);
    assert_memory_equal(buffer, words(1), len);
    for (size_t i = 0; i < 20000; i++)
        assert_int_equal(buffer[len + i], 'x');
}

/* Each with a ring, if there can be one, and without. */
#define BOTH_WAYS(name)                                                                                      \
    static void test_##name##_without_a_ring(void **state)                                                   \
    {                                                                                                        \
        (void)state;                                                                                         \
        name();                                                                                              \
    }                                                                                                        \
    static void test_##name(void **state)                                                                    \
    {                                                                                                        \
        (void)state;                                                                                         \
        if (ring_open(&outbox.ring) < 0)                                                                     \
            skip();                                                                                          \
        name();                                                                                              \
        assert_true(outbox.ring.open);                                                                       \
    }

BOTH_WAYS(many_in_a_round)
BOTH_WAYS(one_ends_others)
BOTH_WAYS(one_sends_to_others)
BOTH_WAYS(one_fails)
BOTH_WAYS(one_has_a_pipe)

#define TEST(name)      cmocka_unit_test_setup_teardown(test_##name, setup, teardown)
#define TEST_BOTH(name) TEST(name), TEST(name##_without_a_ring)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_BOTH(many_in_a_round), TEST_BOTH(one_ends_others), TEST_BOTH(one_sends_to_others),
        TEST_BOTH(one_fails),       TEST_BOTH(one_has_a_pipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
