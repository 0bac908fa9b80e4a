/* Descriptors go from one end of a channel to the other, in order, and its end is told. */
#include "loop.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "relay/pass.h"

static int ends[2];
static size_t descriptors;

static int setup(void **state)
{
    (void)state;
    descriptors = count_descriptors();
    return pass_open(ends);
}

static int teardown(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= 0)
            close(ends[i]);
    }
    return count_descriptors() == descriptors ? 0 : -1;
}

static void close_end(int i)
{
    close(ends[i]);
    ends[i] = -1;
}

static void test_a_pipe_goes_through(void **state)
{
    (void)state;
    int pipe_ends[2];
    int fd = -1;
    char text[8] = "";
    assert_int_equal(pipe2(pipe_ends, O_CLOEXEC), 0);
    assert_int_equal(pass_receive(ends[1], &fd), -EAGAIN);
    assert_int_equal(pass_send(ends[0], pipe_ends[1]), 0);
    close(pipe_ends[1]); /* on its way it is held */
    assert_int_equal(pass_receive(ends[1], &fd), 1);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_int_equal(write(fd, "word", 4), 4);
    assert_int_equal(read(pipe_ends[0], text, sizeof text), 4);
    assert_string_equal(text, "word");
    close(fd);
    assert_int_equal(read(pipe_ends[0], text, sizeof text), 0);
    close(pipe_ends[0]);
    assert_int_equal(pass_receive(ends[1], &fd), -EAGAIN);
}

/* A byte without a descriptor, as a worker's first word is, is none. */
static void test_a_byte_alone(void **state)
{
    (void)state;
    int fd;
    assert_int_equal(write(ends[0], "r", 1), 1);
    assert_int_equal(pass_receive(ends[1], &fd), -EMFILE);
}

static void test_the_ends_of_a_channel(void **state)
{
    (void)state;
    int fd = -1;
    assert_int_equal(pass_send(ends[0], 0), 0);
    close_end(0);
    assert_int_equal(pass_receive(ends[1], &fd), 1);
    close(fd);
    assert_int_equal(pass_receive(ends[1], &fd), 0);
}

static void test_nobody_takes_it(void **state)
{
    (void)state;
    close_end(1);
    assert_int_equal(pass_send(ends[0], 0), -EPIPE);
}

/* It is full at some time, and takes more when some have been taken. */
static void test_a_full_channel(void **state)
{
    (void)state;
    int fd;
    int rc = 0;
    size_t sent = 0;
    while (sent < 100000 && (rc = pass_send(ends[0], 0)) == 0)
        sent++;
    assert_int_equal(rc, -EAGAIN);
    assert_true(sent > 10);
    for (size_t i = 0; i < sent; i++) {
        assert_int_equal(pass_receive(ends[1], &fd), 1);
        close(fd);
    }
    assert_int_equal(pass_receive(ends[1], &fd), -EAGAIN);
    assert_int_equal(pass_send(ends[0], 0), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_a_pipe_goes_through), TEST(test_a_byte_alone),   TEST(test_the_ends_of_a_channel),
        TEST(test_nobody_takes_it),     TEST(test_a_full_channel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
