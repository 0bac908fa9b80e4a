/*
 * The loop's pipes: bytes come out as they went in, what there is none of is said, and none stays open for
 * nothing.
 */
#include "loop.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "relay/pipe.h"

static struct deadlines deadlines;
static struct pipes pipes;
static size_t descriptors;
static int near[2], far[2]; /* [0] is written or read by the test, [1] is spliced */

static void on_expired(struct deadlines *d, struct deadline *deadline)
{
    (void)d;
    assert_ptr_equal(deadline, &pipes.unused);
    pipes_close(&pipes);
}

static int setup(void **state)
{
    (void)state;
    signal(SIGPIPE, SIG_IGN);
    if (open_loop() < 0)
        return -1;
    deadlines_open(&deadlines, &loop, on_expired);
    deadlines.lasts[DEADLINE_PIPES] = 10;
    descriptors = count_descriptors();
    pipes_open(&pipes, &deadlines);
    const int type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    return socketpair(AF_UNIX, type, 0, near) < 0 || socketpair(AF_UNIX, type, 0, far) < 0 ? -1 : 0;
}

static void close_pair(int *pair)
{
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0)
            close(pair[i]);
        pair[i] = -1;
    }
}

static int teardown(void **state)
{
    (void)state;
    pipes_close(&pipes);
    close_pair(near);
    close_pair(far);
    bool left = count_descriptors() != descriptors || pipes.total > 0;
    return close_loop() < 0 || left ? -1 : 0;
}

static struct gather gather_of(const char *text)
{
    struct gather gather;
    gather_clear(&gather);
    gather_add(&gather, (char *)text, strlen(text));
    return gather;
}

static void put(struct pipe *pipe, const char *text)
{
    struct gather gather = gather_of(text);
    assert_int_equal(pipe_write(pipe, &gather), 0);
}

static void check_far(const char *want)
{
    char got[64];
    ssize_t n = recv(far[0], got, sizeof(got), 0);
    struct slice came = {got, n < 0 ? 0 : (size_t)n};
    check_text(came, slice_of(want), "what came");
}

static void test_bytes_come_out_in_order(void **state)
{
    (void)state;
    struct pipe *pipe = pipe_take(&pipes);
    assert_non_null(pipe);
    assert_int_equal(pipe->bytes, 0);
    assert_int_equal(pipe_fill(pipe, near[1], 100), -EAGAIN);
    put(pipe, "head ");
    assert_int_equal(send(near[0], "content, more", 13, 0), 13);
    assert_int_equal(pipe_fill(pipe, near[1], 7), 7);
    struct gather pieces = gather_of(" an");
    gather_append(&pieces, (char *)"d tail", 6);
    assert_int_equal(pipe_write(pipe, &pieces), 0);
    assert_int_equal(pipe->bytes, 21);
    assert_int_equal(pipe_drain(pipe, far[1]), 21);
    assert_int_equal(pipe->bytes, 0);
    check_far("head content and tail");
    assert_int_equal(pipe_fill(pipe, near[1], 100), 6);
    assert_int_equal(pipe_drain(pipe, far[1]), 6);
    check_far(", more");
    shutdown(near[0], SHUT_WR);
    assert_int_equal(pipe_fill(pipe, near[1], 100), 0);
    pipe_put(pipe);
}

static void test_who_takes_no_more(void **state)
{
    (void)state;
    struct pipe *pipe = pipe_take(&pipes);
    static char block[65536];
    size_t sent = 0, taken = 0, came = 0;
    for (;;) {
        ssize_t n = send(near[0], block, sizeof(block), 0);
        sent += n > 0 ? (size_t)n : 0;
        if (pipe_fill(pipe, near[1], sizeof(block)) < 0 && pipe->bytes > 0 && pipe_drain(pipe, far[1]) == 0)
            break;
        taken = sent;
    }
    assert_true(taken > 0);
    assert_true(pipe->bytes > 0);
    /* All of it arrives when the other side reads. */
    while (came < sent) {
        ssize_t n = recv(far[0], block, sizeof(block), 0);
        came += n > 0 ? (size_t)n : 0;
        pipe_fill(pipe, near[1], sizeof(block));
        assert_true(pipe->bytes == 0 || pipe_drain(pipe, far[1]) >= 0);
    }
    assert_int_equal(came, sent);
    assert_int_equal(pipe->bytes, 0);
    pipe_put(pipe);
}

static void test_full_pipe_takes_all_or_nothing(void **state)
{
    (void)state;
    struct pipe *pipe = pipe_take(&pipes);
    static char block[PIPE_BUF];
    struct gather gather;
    gather_clear(&gather);
    gather_add(&gather, block, sizeof(block));
    int rc;
    size_t bytes = 0;
    while ((rc = pipe_write(pipe, &gather)) == 0)
        bytes += sizeof(block);
    assert_int_equal(rc, -EAGAIN);
    assert_int_equal(pipe->bytes, bytes);
    assert_int_equal(bytes, PIPE_SIZE);
    struct buffer copy = {0};
    assert_int_equal(pipe_read(pipe, &copy), 0);
    assert_int_equal(copy.len, bytes);
    buffer_free(&copy);
    pipe_put(pipe);
}

static void test_dead_sockets(void **state)
{
    (void)state;
    struct pipe *pipe = pipe_take(&pipes);
    put(pipe, "for nobody");
    close(far[0]);
    far[0] = -1;
    assert_int_equal(pipe_drain(pipe, far[1]), -EPIPE);
    assert_false(pipes.useless);
    /* A pipe that still holds bytes is not given to the next one. */
    pipe_put(pipe);
    assert_int_equal(pipes.total, 0);
    pipe = pipe_take(&pipes);
    assert_int_equal(pipe->bytes, 0);
    assert_int_equal(pipe_fill(pipe, near[1], 100), -EAGAIN);
    pipe_put(pipe);
}

/* An epoll descriptor stands for a socket whose kernel does not splice it. */
static void test_no_splicing_here(void **state)
{
    (void)state;
    struct pipe *pipe = pipe_take(&pipes);
    put(pipe, "head");
    assert_int_equal(pipe_fill(pipe, poller.epoll, 100), -EOPNOTSUPP);
    assert_true(pipes.useless);
    assert_int_equal(pipe_drain(pipe, poller.epoll), -EOPNOTSUPP);
    assert_int_equal(pipe->bytes, 4);
    struct buffer copy = {0};
    buffer_append(&copy, "before ", 7);
    assert_int_equal(pipe_read(pipe, &copy), 0);
    struct slice text = {copy.data, copy.len};
    check_text(text, SLICE("before head"), "the copy");
    buffer_free(&copy);
    pipe_put(pipe);
    assert_null(pipe_take(&pipes));
}

static void test_how_many(void **state)
{
    (void)state;
    struct pipe *taken[PIPES_MAX];
    size_t before = count_descriptors();
    for (size_t i = 0; i < PIPES_MAX; i++) {
        taken[i] = pipe_take(&pipes);
        assert_non_null(taken[i]);
    }
    assert_null(pipe_take(&pipes));
    assert_int_equal(count_descriptors(), before + (size_t)2 * PIPES_MAX);
    for (size_t i = 0; i < PIPES_MAX; i++)
        pipe_put(taken[i]);
    /* They stay for those who want some soon. */
    struct pipe *again = pipe_take(&pipes);
    deadlines_expire(&deadlines, pipes.unused.at - 1);
    assert_int_equal(count_descriptors(), before + (size_t)2 * PIPES_MAX);
    deadlines_expire(&deadlines, pipes.unused.at);
    assert_int_equal(count_descriptors(), before + 2);
    pipe_put(again);
    deadlines_expire(&deadlines, pipes.unused.at);
    assert_int_equal(count_descriptors(), before);
}

static void test_no_descriptors(void **state)
{
    (void)state;
    struct rlimit limit, none;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    none = (struct rlimit){0, limit.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    struct pipe *pipe = pipe_take(&pipes);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    assert_null(pipe);
    assert_false(pipes.useless);
    pipe = pipe_take(&pipes);
    assert_non_null(pipe);
    pipe_put(pipe);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_bytes_come_out_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_who_takes_no_more, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_pipe_takes_all_or_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dead_sockets, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_splicing_here, setup, teardown),
        cmocka_unit_test_setup_teardown(test_how_many, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_descriptors, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
