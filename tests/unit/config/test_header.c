/*
 * Header names: which can be names at all, and which no group may read.
 */
#include "support.h"

#include <stdlib.h>

#include "config/header.h"

static const char not_name[] = "not a header's name; write the name alone, as in X-Forwarded-For";

static void check_name(struct slice name, const char *expected)
{
    struct header_fault fault = {""};
    bool good = header_check_name(name, &fault);
    check_text(slice_of(good ? "fine" : fault.why), slice_of(expected), "why");
}

static void test_names(void **state)
{
    (void)state;
    check_name(SLICE("X-Forwarded-For"), "fine");
    check_name(SLICE("HTTP_"), "fine");
    check_name(SLICE("http_x"), "fine");
    check_name(SLICE(""), not_name);
    check_name(SLICE("X Y"), not_name);
    check_name(SLICE("X:"), not_name);
    check_name(SLICE("HTTP_CF_CONNECTING_IP"), "a parameter's name; write the header's, Cf-Connecting-Ip");
}

static void test_length(void **state)
{
    (void)state;
    char text[HEADER_MAX + 1];
    char expected[HEADER_MAX + 64];
    memset(text, 'A', sizeof text);
    check_name((struct slice){text, HEADER_MAX}, "fine");
    check_name((struct slice){text, HEADER_MAX + 1},
               "too long for a header's name; write one of at most 255 bytes");
    memcpy(text, "HTTP_", 5);
    snprintf(expected, sizeof expected, "a parameter's name; write the header's, A%0*d", HEADER_MAX - 6, 0);
    memset(strrchr(expected, 'A') + 1, 'a', HEADER_MAX - 6);
    check_name((struct slice){text, HEADER_MAX}, expected);
}

static void test_judged(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        const char *begin; /* of the reason; NULL: it may be read */
    } rows[] = {
        {"X-Forwarded-For", NULL},
        {"Forwarded", NULL},
        {"X-Anything", NULL},
        {"Proxy", "clients send this header to redirect"},
        {"PROXY", "clients send this header to redirect"},
        {"Host", "this header holds no client's address"},
        {"x.forwarded-proto", "this header holds no client's address"},
        {"X-Forwarded-Port", "this header holds no client's address"},
        {"X-Forwarded-Host", "this header holds no client's address"},
    };
    struct policy *manager = header_make_manager();
    assert_non_null(manager);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *why = "untouched";
        assert_int_equal(header_judge(manager, rows[i].name, &why), 0);
        if (!rows[i].begin)
            assert_null(why);
        else
            check_text(slice_part(slice_of(why), 0, strlen(rows[i].begin)), slice_of(rows[i].begin),
                       rows[i].name);
    }
    policy_free(manager);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_judged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
