/* Which of our variables a started program gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "relay/variables.h"

#define DEFAULT_PATH "PATH=/usr/local/bin:/usr/bin:/bin"

static void assert_inherited(char **ours, char *const *names, const char *const *expected)
{
    char **before = environ;
    environ = ours;
    char **variables = variables_inherit(names);
    environ = before;
    assert_non_null(variables);
    size_t n = 0;
    for (; expected[n]; n++) {
        assert_non_null(variables[n]);
        assert_string_equal(variables[n], expected[n]);
    }
    assert_null(variables[n]);
    variables_free(variables);
}

static void test_what_every_program_gets(void **state)
{
    (void)state;
    char *ours[] = {"HOME=/root",     "LISTEN_FDS=1",      "PATH=/bin:/x=y",
                    "LC_ALL=C.UTF-8", "LANG=de_DE.UTF-8",  "LD_PRELOAD=/tmp/x.so",
                    "TZ=:UTC",        "TMPDIR=/var/tmp",   "NOTIFY_SOCKET=@x",
                    "USER=www",       "LOGNAME=www",       "PHP_FCGI_CHILDREN=8",
                    "LC_=odd",        "PATHS=/not/a/path", "LANGUAGE=de",
                    "SECRET=1",       "LC_TIME=",          NULL};
    const char *const expected[] = {
        "HOME=/root",      "PATH=/bin:/x=y", "LC_ALL=C.UTF-8", "LANG=de_DE.UTF-8", "TZ=:UTC",
        "TMPDIR=/var/tmp", "USER=www",       "LOGNAME=www",    "LC_TIME=",         NULL};
    assert_inherited(ours, NULL, expected);
}

static void test_what_is_named(void **state)
{
    (void)state;
    char *ours[] = {"PHPRC=/etc/php", "PATH=/bin", "PHPRC2=no", "PHP=no", "PERL5LIB=/lib/perl", NULL};
    char *names[] = {"PHPRC", "PERL5LIB", "PATH", "PHPRC", "ABSENT", NULL};
    const char *const expected[] = {"PHPRC=/etc/php", "PATH=/bin", "PERL5LIB=/lib/perl", NULL};
    assert_inherited(ours, names, expected);
}

static void test_what_is_for_us_alone(void **state)
{
    (void)state;
    char *ours[] = {"LISTEN_FDS=1",     "LISTEN_PID=2",   "LISTEN_FDNAMES=x",
                    "NOTIFY_SOCKET=@x", "WATCHDOG_PID=2", "WATCHDOG_USEC=1",
                    "LISTEN=1",         "PATH=/bin",      NULL};
    char *names[] = {"LISTEN_FDS",   "LISTEN_PID",    "LISTEN_FDNAMES", "NOTIFY_SOCKET",
                     "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN",         NULL};
    const char *const expected[] = {"LISTEN=1", "PATH=/bin", NULL};
    assert_inherited(ours, names, expected);
}

static void test_a_path_if_we_have_none(void **state)
{
    (void)state;
    char *ours[] = {"PATH", "HOME=/", NULL};
    char *none[] = {NULL};
    const char *const expected[] = {"HOME=/", DEFAULT_PATH, NULL};
    const char *const path[] = {DEFAULT_PATH, NULL};
    assert_inherited(ours, NULL, expected);
    assert_inherited(none, NULL, path);
    assert_inherited(NULL, NULL, path);
}

static void test_an_empty_path_is_one(void **state)
{
    (void)state;
    char *ours[] = {"PATH=", NULL};
    const char *const expected[] = {"PATH=", NULL};
    assert_inherited(ours, NULL, expected);
}

static void test_first_of_two(void **state)
{
    (void)state;
    char *ours[] = {"PATH=/first", "A=1", "PATH=/second", "A=2", "AB=3", NULL};
    char *names[] = {"A", "AB", NULL};
    const char *const expected[] = {"PATH=/first", "A=1", "AB=3", NULL};
    assert_inherited(ours, names, expected);
}

static void test_nothing_to_free(void **state)
{
    (void)state;
    variables_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_every_program_gets), cmocka_unit_test(test_what_is_named),
        cmocka_unit_test(test_what_is_for_us_alone),    cmocka_unit_test(test_a_path_if_we_have_none),
        cmocka_unit_test(test_an_empty_path_is_one),    cmocka_unit_test(test_first_of_two),
        cmocka_unit_test(test_nothing_to_free),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
