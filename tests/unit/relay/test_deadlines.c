/* Time limits: they expire in order, stop when stopped, and restart from now. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/deadlines.h"

static uv_loop_t loop;
static struct deadlines deadlines;
static struct deadline *expired[8];
static size_t nexpired;
static struct deadline *restart_once;

static void on_expired(struct deadlines *d, struct deadline *deadline)
{
    assert_true(uv_now(&loop) >= deadline->at);
    assert_null(deadline->next);
    expired[nexpired++] = deadline;
    if (deadline == restart_once) {
        restart_once = NULL;
        deadline_start(d, deadline, DEADLINE_READ);
    }
}

static int setup(void **state)
{
    (void)state;
    nexpired = 0;
    assert_int_equal(uv_loop_init(&loop), 0);
    deadlines_open(&deadlines, &loop, on_expired);
    /* Should both be over before the first look at them, the kinds' own order is that of time too. */
    deadlines.lasts[DEADLINE_HEADER] = 10;
    deadlines.lasts[DEADLINE_READ] = 100;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    deadlines_close(&deadlines);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static void test_expire_in_order_of_time(void **state)
{
    (void)state;
    struct deadline a = {0}, b = {0}, c = {0};
    deadline_start(&deadlines, &a, DEADLINE_READ);
    deadline_start(&deadlines, &b, DEADLINE_HEADER);
    deadline_start(&deadlines, &c, DEADLINE_READ);
    assert_true(deadline_runs(&a, DEADLINE_READ));
    assert_false(deadline_runs(&a, DEADLINE_HEADER));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(nexpired, 3);
    assert_ptr_equal(expired[0], &b);
    assert_ptr_equal(expired[1], &a);
    assert_ptr_equal(expired[2], &c);
}

static void test_stopped_does_not_expire(void **state)
{
    (void)state;
    struct deadline a = {0}, b = {0};
    deadline_start(&deadlines, &a, DEADLINE_HEADER);
    deadline_start(&deadlines, &b, DEADLINE_READ);
    deadline_stop(&a);
    deadline_stop(&a);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(nexpired, 1);
    assert_ptr_equal(expired[0], &b);
}

static void test_starting_again_counts_from_now(void **state)
{
    (void)state;
    struct deadline a = {0}, b = {0};
    deadlines.lasts[DEADLINE_READ] = 3600 * 1000;
    deadline_start(&deadlines, &a, DEADLINE_READ);
    deadline_start(&deadlines, &b, DEADLINE_HEADER);
    while (nexpired == 0)
        uv_run(&loop, UV_RUN_ONCE);
    deadlines.lasts[DEADLINE_READ] = 20;
    deadline_start(&deadlines, &a, DEADLINE_READ);
    assert_int_equal(a.at, uv_now(&loop) + 20);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(nexpired, 2);
}

static void test_may_start_again_while_expiring(void **state)
{
    (void)state;
    struct deadline a = {0};
    restart_once = &a;
    deadline_start(&deadlines, &a, DEADLINE_HEADER);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(nexpired, 2);
}

static void test_no_duration_never_expires(void **state)
{
    (void)state;
    struct deadline a = {0};
    deadline_start(&deadlines, &a, DEADLINE_REQUEST);
    assert_false(deadline_runs(&a, DEADLINE_REQUEST));
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(nexpired, 0);
}

static struct deadline *stopped_by_socket;

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status;
    (void)events;
    deadline_stop(stopped_by_socket);
    uv_close((uv_handle_t *)poll, NULL);
}

static void test_what_came_meanwhile_is_seen_first(void **state)
{
    (void)state;
    struct deadline a = {0}, b = {0};
    uv_poll_t poll;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    uv_poll_init(&loop, &poll, ends[0]);
    uv_poll_start(&poll, UV_READABLE, on_readable);
    stopped_by_socket = &a;
    deadline_start(&deadlines, &a, DEADLINE_HEADER);
    deadline_start(&deadlines, &b, DEADLINE_HEADER);
    assert_int_equal(write(ends[1], "x", 1), 1);
    while (uv_hrtime() / 1000000 < a.at)
        continue; /* the process stands still */
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(nexpired, 1);
    assert_ptr_equal(expired[0], &b);
    close(ends[0]);
    close(ends[1]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_expire_in_order_of_time),        TEST(test_stopped_does_not_expire),
        TEST(test_starting_again_counts_from_now), TEST(test_may_start_again_while_expiring),
        TEST(test_no_duration_never_expires),      TEST(test_what_came_meanwhile_is_seen_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
