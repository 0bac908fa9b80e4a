/* Time limits: they expire in order, stop when stopped, and restart from now. */
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

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
    return uv_loop_close(&loop);
}

/* As the relay does, without sockets. */
static void run_once(void)
{
    poll(NULL, 0, deadlines_timeout(&deadlines));
    uv_update_time(&loop);
    deadlines_expire(&deadlines, uv_now(&loop));
}

static void run_all(void)
{
    while (deadlines_timeout(&deadlines) >= 0)
        run_once();
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
    run_all();
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
    run_all();
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
        run_once();
    deadlines.lasts[DEADLINE_READ] = 20;
    deadline_start(&deadlines, &a, DEADLINE_READ);
    assert_int_equal(a.at, uv_now(&loop) + 20);
    run_all();
    assert_int_equal(nexpired, 2);
}

static void test_may_start_again_while_expiring(void **state)
{
    (void)state;
    struct deadline a = {0};
    restart_once = &a;
    deadline_start(&deadlines, &a, DEADLINE_HEADER);
    run_all();
    assert_int_equal(nexpired, 2);
}

static void test_no_duration_never_expires(void **state)
{
    (void)state;
    struct deadline a = {0};
    deadline_start(&deadlines, &a, DEADLINE_REQUEST);
    assert_false(deadline_runs(&a, DEADLINE_REQUEST));
    run_all();
    assert_int_equal(nexpired, 0);
}

static void test_what_is_due_later_stays(void **state)
{
    (void)state;
    struct deadline a = {0}, b = {0};
    deadline_start(&deadlines, &a, DEADLINE_HEADER);
    deadline_start(&deadlines, &b, DEADLINE_READ);
    while (deadlines_timeout(&deadlines) > 0)
        uv_update_time(&loop);
    deadlines_expire(&deadlines, a.at - 1);
    assert_int_equal(nexpired, 0);
    assert_int_equal(deadlines_timeout(&deadlines), 0);
    deadlines_expire(&deadlines, a.at);
    assert_int_equal(nexpired, 1);
    assert_ptr_equal(expired[0], &a);
    assert_true(deadlines_timeout(&deadlines) > 0);
    deadline_stop(&b);
}

static void test_a_change_leaves_those_that_run(void **state)
{
    (void)state;
    struct deadline a = {0}, b = {0}, c = {0}, d = {0}, e = {0};
    deadlines_change(&deadlines, DEADLINE_READ, 60);
    deadline_start(&deadlines, &a, DEADLINE_READ);
    deadlines_change(&deadlines, DEADLINE_READ, 20);
    deadline_start(&deadlines, &b, DEADLINE_READ);
    deadlines_change(&deadlines, DEADLINE_READ, 40);
    deadline_start(&deadlines, &c, DEADLINE_READ);
    uint64_t now = uv_now(&loop);
    assert_int_equal(a.at, now + 60);
    assert_int_equal(b.at, now + 20);
    assert_int_equal(c.at, now + 40);
    deadlines_change(&deadlines, DEADLINE_READ, 0);
    deadline_start(&deadlines, &d, DEADLINE_READ);
    assert_false(deadline_runs(&d, DEADLINE_READ));
    deadlines_change(&deadlines, DEADLINE_READ, 10);
    deadline_start(&deadlines, &e, DEADLINE_READ);
    deadline_stop(&c);
    /* Step by step: on a busy machine all of them may be over at the first look. */
    struct deadline *const in_order[] = {&e, &b, &a};
    while (uv_now(&loop) < a.at) {
        poll(NULL, 0, 1);
        uv_update_time(&loop);
    }
    for (size_t i = 0; i < 3; i++) {
        deadlines_expire(&deadlines, in_order[i]->at - 1);
        assert_int_equal(nexpired, i);
        deadlines_expire(&deadlines, in_order[i]->at);
        assert_int_equal(nexpired, i + 1);
        assert_ptr_equal(expired[i], in_order[i]);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_expire_in_order_of_time),        TEST(test_stopped_does_not_expire),
        TEST(test_starting_again_counts_from_now), TEST(test_may_start_again_while_expiring),
        TEST(test_no_duration_never_expires),      TEST(test_what_is_due_later_stays),
        TEST(test_a_change_leaves_those_that_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
