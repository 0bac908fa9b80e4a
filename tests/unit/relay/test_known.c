/* Which parameters of a request are read, where they begin, and whether the request may be repeated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "relay/known.h"

static struct policy *policy;
static struct known *known;
static char content[1 << 20];
static size_t len;

static void add(struct slice name, struct slice value)
{
    len += params_encode_pair(content + len, name, value);
}

static enum params_error read_all(void)
{
    return known_read(known, policy, (struct slice){content, len}, false);
}

static void test_only_what_the_policy_may_know(void **state)
{
    (void)state;
    add(SLICE("QUERY_STRING"), SLICE("a=b"));
    add(SLICE("REMOTE_ADDR"), SLICE("10.0.0.1"));
    size_t start = len;
    add(SLICE("http_x.forwarded-for"), SLICE("192.0.2.1"));
    add(SLICE("realip.anything"), SLICE(""));
    add(SLICE("SERVER_SOFTWARE"), SLICE("nginx"));
    assert_int_equal(read_all(), PARAMS_OK);
    assert_int_equal(known->n, 3);
    assert_true(slice_equal(known->params[0].name, SLICE("REMOTE_ADDR")));
    assert_int_equal(known->starts[0], 2 + 12 + 3);
    assert_true(slice_equal(known->params[1].value, SLICE("192.0.2.1")));
    assert_int_equal(known->starts[1], start);
    struct slice raw = known_raw(known, (struct slice){content, len}, 1);
    assert_ptr_equal(raw.data, content + start);
    assert_int_equal(raw.len, 2 + 20 + 9);
    assert_true(slice_equal(known->params[2].name, SLICE("realip.anything")));
}

/* A pair of every length form is found where it is. */
static void test_long_lengths(void **state)
{
    static char text[200];
    (void)state;
    memset(text, 'x', sizeof(text));
    add((struct slice){text, sizeof(text)}, (struct slice){text, sizeof(text)});
    size_t start = len;
    add(SLICE("REMOTE_ADDR"), (struct slice){text, sizeof(text)});
    assert_int_equal(read_all(), PARAMS_OK);
    assert_int_equal(known->n, 1);
    assert_int_equal(known->starts[0], start);
    assert_int_equal(known_raw(known, (struct slice){content, len}, 0).len, len - start);
}

static void check_methods(const char *first, const char *second, bool idempotent)
{
    len = 0;
    if (first)
        add(SLICE("REQUEST_METHOD"), slice_of(first));
    if (second)
        add(SLICE("REQUEST_METHOD"), slice_of(second));
    assert_int_equal(read_all(), PARAMS_OK);
    assert_int_equal(known->idempotent, idempotent);
}

static void test_what_may_be_repeated(void **state)
{
    (void)state;
    check_methods("GET", NULL, true);
    check_methods("HEAD", "GET", true);
    check_methods("POST", NULL, false);
    check_methods("GET", "POST", false);
    check_methods("POST", "GET", false);
    check_methods("get", NULL, false);
    check_methods("", NULL, false);
    check_methods(NULL, NULL, false);
}

static void test_cut_pairs(void **state)
{
    (void)state;
    add(SLICE("A"), SLICE("1"));
    add(SLICE("REMOTE_ADDR"), SLICE("10.0.0.1"));
    for (size_t cut = 5; cut < len; cut++)
        assert_int_equal(known_read(known, policy, (struct slice){content, cut}, false), PARAMS_TRUNCATED);
    assert_int_equal(known_read(known, policy, (struct slice){content, 4}, false), PARAMS_OK);
    assert_int_equal(known_read(known, policy, (struct slice){NULL, 0}, false), PARAMS_OK);
    assert_int_equal(known->n, 0);
}

/* Unknown ones count as well. */
static void test_too_many(void **state)
{
    (void)state;
    for (int i = 0; i < REALIP_MAX_PARAMS; i++)
        add(SLICE("Q"), SLICE(""));
    assert_int_equal(read_all(), PARAMS_OK);
    add(SLICE("Q"), SLICE(""));
    assert_int_equal(read_all(), PARAMS_TOO_MANY);
    len = 0;
    for (int i = 0; i < REALIP_MAX_PARAMS; i++)
        add(SLICE("REMOTE_ADDR"), SLICE(""));
    assert_int_equal(read_all(), PARAMS_OK);
    assert_int_equal(known->n, REALIP_MAX_PARAMS);
}

static int setup(void **state)
{
    (void)state;
    len = 0;
    policy = policy_new();
    known = malloc(sizeof(*known));
    return policy && known && policy_add_group(policy, SLICE("edge")) ? policy_compile(policy) : -1;
}

static int teardown(void **state)
{
    (void)state;
    policy_free(policy);
    free(known);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_only_what_the_policy_may_know),
        TEST(test_long_lengths),
        TEST(test_what_may_be_repeated),
        TEST(test_cut_pairs),
        TEST(test_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
