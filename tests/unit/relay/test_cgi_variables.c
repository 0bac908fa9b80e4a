/* A CGI program's environment, and PATH_INFO split off. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

#include "relay/cgi_variables.h"

#define P(name, value)                                                                                       \
    {                                                                                                        \
        {name, sizeof(name) - 1},                                                                            \
        {                                                                                                    \
            value, sizeof(value) - 1                                                                         \
        }                                                                                                    \
    }
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char *const nothing[] = {NULL};

static void assert_made(char *const *inherited, const struct param *params, size_t n,
                        const char *const *expected)
{
    struct cgi_variables made;
    assert_int_equal(cgi_variables_make(&made, inherited, params, n), 0);
    size_t i = 0;
    for (; expected[i]; i++) {
        assert_non_null(made.list[i]);
        assert_string_equal(made.list[i], expected[i]);
    }
    assert_null(made.list[i]);
    cgi_variables_free(&made);
    assert_null(made.list);
}

static void test_params_become_variables(void **state)
{
    (void)state;
    const struct param params[] = {P("REQUEST_METHOD", "GET"), P("QUERY_STRING", ""), P("HTTP_X", "a=b\nc"),
                                   P("odd name", "1")};
    const char *const expected[] = {"REQUEST_METHOD=GET",
                                    "QUERY_STRING=",
                                    "HTTP_X=a=b\nc",
                                    "odd name=1",
                                    "GATEWAY_INTERFACE=CGI/1.1",
                                    NULL};
    assert_made(nothing, params, COUNT(params), expected);
}

static void test_no_params(void **state)
{
    (void)state;
    char *const inherited[] = {"PATH=/bin", NULL};
    const char *const expected[] = {"PATH=/bin", "GATEWAY_INTERFACE=CGI/1.1", NULL};
    assert_made(inherited, NULL, 0, expected);
}

static void test_gateway_interface_of_the_web_server(void **state)
{
    (void)state;
    const struct param params[] = {P("GATEWAY_INTERFACE", "CGI/1.2")};
    const char *const expected[] = {"GATEWAY_INTERFACE=CGI/1.2", NULL};
    assert_made(nothing, params, COUNT(params), expected);
}

static void test_what_cannot_stand_in_an_environment(void **state)
{
    (void)state;
    const struct param params[] = {P("", "empty"), P("A=B", "1"),    P("N\0L", "1"), P("V", "a\0b"),
                                   P("=", ""),     P("V", "second"), P("Z", "")};
    const char *const expected[] = {"V=second", "Z=", "GATEWAY_INTERFACE=CGI/1.1", NULL};
    assert_made(nothing, params, COUNT(params), expected);
}

static void test_first_of_a_name_counts(void **state)
{
    (void)state;
    char *const inherited[] = {"PATH=/bin", "HOME=/srv", NULL};
    const struct param params[] = {P("A", "1"), P("HOME", "/tmp"), P("PATH", "/tmp"), P("A", "2"),
                                   P("a", "3")};
    const char *const expected[] = {"PATH=/bin", "HOME=/srv", "A=1", "a=3", "GATEWAY_INTERFACE=CGI/1.1",
                                    NULL};
    assert_made(inherited, params, COUNT(params), expected);
}

static void test_what_makes_another_program(void **state)
{
    (void)state;
    const struct param params[] = {
        P("LD_PRELOAD", "x"),    P("LD_", "x"),          P("LISTEN_FDS", "1"), P("NOTIFY_SOCKET", "@x"),
        P("GCONV_PATH", "x"),    P("MALLOC_CHECK_", ""), P("BASH_ENV", "x"),   P("ENV", "x"),
        P("PERL5LIB", "x"),      P("PYTHONPATH", "x"),   P("RUBYOPT", "x"),    P("NODE_OPTIONS", "x"),
        P("GLIBC_TUNABLES", ""), P("BASH_FUNC_x%%", ""), P("IFS", "x"),        P("PATH", "x"),
    };
    const char *const expected[] = {"GATEWAY_INTERFACE=CGI/1.1", NULL};
    assert_made(nothing, params, COUNT(params), expected);
    for (size_t i = 0; i < COUNT(params); i++) {
        struct cgi_variables made;
        assert_int_equal(cgi_variables_make(&made, nothing, &params[i], 1), 0);
        assert_true(slice_equal(made.refused, params[i].name));
        cgi_variables_free(&made);
    }
}

static void test_what_only_looks_like_it(void **state)
{
    (void)state;
    char *const inherited[] = {"PERL5LIB=/srv/lib", NULL};
    const struct param params[] = {
        P("LD", "1"),       P("ld_preload", "1"),          P("HTTP_LD_PRELOAD", "1"),
        P("PERL5LIB", "x"), P("GIT_PROJECT_ROOT", "/srv"), P("ENVIRONMENT", "1")};
    const char *const expected[] = {"PERL5LIB=/srv/lib",
                                    "LD=1",
                                    "ld_preload=1",
                                    "HTTP_LD_PRELOAD=1",
                                    "GIT_PROJECT_ROOT=/srv",
                                    "ENVIRONMENT=1",
                                    "GATEWAY_INTERFACE=CGI/1.1",
                                    NULL};
    struct cgi_variables made;
    assert_made(inherited, params, COUNT(params), expected);
    assert_int_equal(cgi_variables_make(&made, inherited, params, COUNT(params)), 0);
    assert_int_equal(made.refused.len, 0);
    cgi_variables_free(&made);
}

static void test_the_longest_is_told(void **state)
{
    (void)state;
    const struct param params[] = {P("A", "1234"), P("LONG", "12345678"), P("BB", "12")};
    struct cgi_variables made;
    assert_int_equal(cgi_variables_make(&made, nothing, params, COUNT(params)), 0);
    assert_true(slice_equal(made.longest, SLICE("LONG")));
    assert_int_equal(made.longest_size, sizeof("LONG=12345678"));
    cgi_variables_free(&made);
    assert_true(cgi_variables_is_clients(SLICE("HTTP_COOKIE")));
    assert_true(cgi_variables_is_clients(SLICE("QUERY_STRING")));
    assert_false(cgi_variables_is_clients(SLICE("DOCUMENT_ROOT")));
    assert_false(cgi_variables_is_clients(SLICE("HTTP")));
}

/* Thousands of them, all different, and all once more. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = 4000 };
    static char names[MANY][16];
    struct param *params = calloc(2 * MANY, sizeof(*params));
    for (size_t i = 0; i < MANY; i++) {
        snprintf(names[i], sizeof(names[i]), "HTTP_%zu", i);
        params[i] = (struct param){slice_of(names[i]), SLICE("first")};
        params[MANY + i] = (struct param){slice_of(names[i]), SLICE("second")};
    }
    struct cgi_variables made;
    assert_int_equal(cgi_variables_make(&made, nothing, params, 2 * MANY), 0);
    for (size_t i = 0; i < MANY; i++) {
        char expected[32];
        snprintf(expected, sizeof(expected), "HTTP_%zu=first", i);
        assert_string_equal(made.list[i], expected);
    }
    assert_string_equal(made.list[MANY], "GATEWAY_INTERFACE=CGI/1.1");
    assert_null(made.list[MANY + 1]);
    cgi_variables_free(&made);
    free(params);
}

/* ---- PATH_INFO ---- */

static void assert_split(const struct param *params, size_t n, size_t extra, const char *const *expected)
{
    struct param list[16];
    char *text;
    assert_true(n + CGI_VARIABLES_ADDED <= COUNT(list));
    memcpy(list, params, n * sizeof(*params));
    assert_int_equal(cgi_variables_split(list, &n, extra, &text), 0);
    assert_made(nothing, list, n, expected);
    free(text);
}

static void test_split(void **state)
{
    (void)state;
    const struct param params[] = {P("SCRIPT_FILENAME", "/srv/cgi/a.sh/x/y"),
                                   P("SCRIPT_NAME", "/cgi/a.sh/x/y"), P("DOCUMENT_ROOT", "/var/www"),
                                   P("PATH_INFO", "")};
    const char *const expected[] = {"SCRIPT_FILENAME=/srv/cgi/a.sh",
                                    "SCRIPT_NAME=/cgi/a.sh",
                                    "DOCUMENT_ROOT=/var/www",
                                    "PATH_INFO=/x/y",
                                    "PATH_TRANSLATED=/var/www/x/y",
                                    "GATEWAY_INTERFACE=CGI/1.1",
                                    NULL};
    assert_split(params, COUNT(params), 4, expected);
}

static void test_split_with_what_is_there(void **state)
{
    (void)state;
    const struct param params[] = {P("PATH_TRANSLATED", "/var/www"), P("SCRIPT_NAME", "/other"),
                                   P("SCRIPT_FILENAME", "/a.sh/x"), P("SCRIPT_FILENAME", "/b.sh/x")};
    const char *const expected[] = {"PATH_TRANSLATED=/var/www",  "SCRIPT_NAME=/other",
                                    "SCRIPT_FILENAME=/a.sh",     "PATH_INFO=/x",
                                    "GATEWAY_INTERFACE=CGI/1.1", NULL};
    assert_split(params, COUNT(params), 2, expected);
    const struct param rooted[] = {P("PATH_TRANSLATED", "/old"), P("DOCUMENT_ROOT", ""),
                                   P("SCRIPT_NAME", "/"), P("SCRIPT_FILENAME", "/a.sh/")};
    const char *const then[] = {"PATH_TRANSLATED=/",
                                "DOCUMENT_ROOT=",
                                "SCRIPT_NAME=",
                                "SCRIPT_FILENAME=/a.sh",
                                "PATH_INFO=/",
                                "GATEWAY_INTERFACE=CGI/1.1",
                                NULL};
    assert_split(rooted, COUNT(rooted), 1, then);
}

static void assert_stripped(struct slice filename, struct slice expected)
{
    assert_true(slice_equal(cgi_variables_strip_proxy(filename), expected));
}

static void test_what_apache_writes(void **state)
{
    (void)state;
    assert_stripped(SLICE("proxy:fcgi://localhost/srv/a.sh/x"), SLICE("/srv/a.sh/x"));
    assert_stripped(SLICE("proxy:fcgi://[::1]:9000/srv/a.sh?a=b?/c"), SLICE("/srv/a.sh"));
    assert_stripped(SLICE("proxy:balancer://name/srv/a.sh"), SLICE("/srv/a.sh"));
    assert_stripped(SLICE("proxy:fcgi://localhost/"), SLICE("/"));
    assert_stripped(SLICE("proxy:fcgi://localhost"), SLICE("proxy:fcgi://localhost"));
    assert_stripped(SLICE("proxy:fcgi://"), SLICE("proxy:fcgi://"));
    assert_stripped(SLICE("proxy:http://localhost/srv/a.sh"), SLICE("proxy:http://localhost/srv/a.sh"));
    assert_stripped(SLICE("/srv/proxy:fcgi://x/a?b"), SLICE("/srv/proxy:fcgi://x/a?b"));
    assert_stripped(SLICE(""), SLICE(""));
}

static void test_find(void **state)
{
    (void)state;
    struct param params[] = {P("A", "x\0y"), P("B", "1"), P("A", "2"), P("A", "3")};
    assert_ptr_equal(cgi_variables_find(params, COUNT(params), SLICE("A")), &params[2]);
    assert_ptr_equal(cgi_variables_find(params, COUNT(params), SLICE("B")), &params[1]);
    assert_null(cgi_variables_find(params, COUNT(params), SLICE("C")));
    assert_null(cgi_variables_find(NULL, 0, SLICE("A")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_params_become_variables),
        cmocka_unit_test(test_no_params),
        cmocka_unit_test(test_gateway_interface_of_the_web_server),
        cmocka_unit_test(test_what_cannot_stand_in_an_environment),
        cmocka_unit_test(test_first_of_a_name_counts),
        cmocka_unit_test(test_what_makes_another_program),
        cmocka_unit_test(test_what_only_looks_like_it),
        cmocka_unit_test(test_the_longest_is_told),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_split_with_what_is_there),
        cmocka_unit_test(test_what_apache_writes),
        cmocka_unit_test(test_find),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
