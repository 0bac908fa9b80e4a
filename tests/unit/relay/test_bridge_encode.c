/* The environment of a CGI program as a FastCGI request. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fastcgi/params.h"
#include "fastcgi/record.h"
#include "relay/bridge.h"

#define BEGIN                                                                                                \
    "\1\1\0\1\0\10\0\0"                                                                                      \
    "\0\1\0\0\0\0\0\0"
#define END "\1\4\0\1\0\0\0\0"

static void assert_encoded(char *const *environment, const char *wire, size_t len)
{
    struct buffer out = {0};
    assert_int_equal(bridge_encode(environment, &out), 0);
    assert_int_equal(out.len, len);
    assert_memory_equal(out.data + out.start, wire, len);
    buffer_free(&out);
}

#define assert_wire(environment, wire) assert_encoded(environment, wire, sizeof(wire) - 1)

static void test_variables(void **state)
{
    (void)state;
    char *environment[] = {"A=1", "EMPTY=",  "EQ=a=b",     "no variable", "=x",
                           "A=2", "PATHS=p", "LANGUAGES=", NULL};
    assert_wire(environment, BEGIN "\1\4\0\1\0\51\0\0"
                                   "\1\1A1"
                                   "\5\0EMPTY"
                                   "\2\3EQa=b"
                                   "\1\1A2"
                                   "\5\1PATHSp"
                                   "\11\0LANGUAGES" END);
}

static void test_what_is_the_process_own(void **state)
{
    (void)state;
    char *environment[] = {"PATH=/bin",    "HOME=/",   "LD_PRELOAD=x", "LC_ALL=C",      "LISTEN_FDS=1",
                           "http_proxy=x", "TMPDIR=/", "_=/bin/x",     "WATCHDOG_PID=", NULL};
    assert_wire(environment, BEGIN END);
    char *nothing[] = {NULL};
    assert_wire(nothing, BEGIN END);
}

/* Any number of records, of which a pair may need several. */
static void test_large(void **state)
{
    (void)state;
    enum { SIZE = 100000 };
    char *entry = malloc(SIZE + 3);
    assert_non_null(entry);
    memcpy(entry, "V=", 2);
    memset(entry + 2, 'v', SIZE);
    entry[SIZE + 2] = '\0';
    char *environment[] = {entry, "W=1", NULL};
    struct buffer out = {0};
    assert_int_equal(bridge_encode(environment, &out), 0);

    static char content[2 * SIZE];
    size_t len = 0, at = RECORD_FIXED, count = 0;
    for (; at < out.len; count++) {
        struct record record = record_decode(out.data + at);
        assert_int_equal(record.type, FCGI_PARAMS);
        assert_int_equal(record.id, 1);
        assert_int_equal(record.padding, 0);
        memcpy(content + len, out.data + at + RECORD_HEADER, record.content);
        len += record.content;
        at += (size_t)RECORD_HEADER + record.content;
    }
    assert_int_equal(at, out.len);
    assert_int_equal(count, 3);
    struct param params[4];
    size_t n;
    assert_int_equal(params_decode((struct slice){content, len}, params, 4, &n), PARAMS_OK);
    assert_int_equal(n, 2);
    assert_int_equal(params[0].value.len, SIZE);
    assert_memory_equal(params[0].value.data, entry + 2, SIZE);
    assert_true(slice_equal(params[1].name, SLICE("W")));
    buffer_free(&out);
    free(entry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variables),
        cmocka_unit_test(test_what_is_the_process_own),
        cmocka_unit_test(test_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
