/*
 * Socket addresses: every form, every mistake.
 */
#include "support.h"

#include <sys/un.h>

#include "config/endpoint.h"
#include "names.h"

#define FORMS "write unix:/PATH, HOST:PORT or [IPV6]:PORT"

/* "4 127.0.0.1 80", "6 ::1 80", "u /path", "@ name", one word for each endpoint's kind. */
static void describe(const struct endpoint *endpoint, char *out, size_t size)
{
    char text[INET6_ADDRSTRLEN];
    if (endpoint->address.ss_family == AF_INET) {
        struct sockaddr_in v4;
        assert_int_equal(endpoint->length, sizeof v4);
        memcpy(&v4, &endpoint->address, sizeof v4);
        inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
        snprintf(out, size, "4 %s %d", text, ntohs(v4.sin_port));
    } else if (endpoint->address.ss_family == AF_INET6) {
        struct sockaddr_in6 v6;
        assert_int_equal(endpoint->length, sizeof v6);
        memcpy(&v6, &endpoint->address, sizeof v6);
        inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
        snprintf(out, size, "6 %s %d", text, ntohs(v6.sin6_port));
    } else {
        struct sockaddr_un path;
        memcpy(&path, &endpoint->address, sizeof path);
        assert_int_equal(path.sun_family, AF_UNIX);
        bool abstract = path.sun_path[0] == '\0';
        size_t length = endpoint->length - offsetof(struct sockaddr_un, sun_path);
        if (abstract)
            snprintf(out, size, "@ %.*s", (int)length - 1, path.sun_path + 1);
        else
            snprintf(out, size, "u %s", path.sun_path);
    }
}

static void test_forms(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *first;
        const char *second;
        bool local;
    } rows[] = {
        {"unix:/run/app.sock", "u /run/app.sock", NULL, true},
        {"unix:/a:80", "u /a:80", NULL, true},
        {"unix:@name", "@ name", NULL, true},
        {"127.0.0.1:9000", "4 127.0.0.1 9000", NULL, true},
        {"127.255.0.3:1", "4 127.255.0.3 1", NULL, true},
        {"126.0.0.1:1", "4 126.0.0.1 1", NULL, false},
        {"128.0.0.1:1", "4 128.0.0.1 1", NULL, false},
        {"0.0.0.0:65535", "4 0.0.0.0 65535", NULL, false},
        {"[::1]:9000", "6 ::1 9000", NULL, true},
        {"[::]:9000", "6 :: 9000", NULL, false},
        {"[2001:DB8::7]:80", "6 2001:db8::7 80", NULL, false},
        {"[::ffff:127.0.0.1]:80", "4 127.0.0.1 80", NULL, true},
        {"[::ffff:192.0.2.1]:80", "4 192.0.2.1 80", NULL, false},
        {"localhost:9000", "4 127.0.0.1 9000", "6 ::1 9000", true},
        {"lb.example:80", "4 192.0.2.7 80", "6 2001:db8::7 80", false},
        {"my_proxy:80", "4 192.0.2.8 80", NULL, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct endpoint *list = NULL;
        struct endpoint_fault fault;
        size_t count = 0;
        char got[160];
        assert_true(endpoint_add(slice_of(rows[i].text), false, &list, &count, &fault));
        check_number((long long)count, rows[i].second ? 2 : 1, rows[i].text);
        describe(&list[0], got, sizeof got);
        check_text(slice_of(got), slice_of(rows[i].first), rows[i].text);
        check_text(slice_of(list[0].text), slice_of(rows[i].text), rows[i].text);
        check_number(endpoint_is_local(&list[0]), rows[i].local, rows[i].text);
        if (rows[i].second) {
            describe(&list[1], got, sizeof got);
            check_text(slice_of(got), slice_of(rows[i].second), rows[i].text);
            check_text(slice_of(list[1].text), slice_of(rows[i].text), rows[i].text);
            assert_false(endpoint_equal(&list[0], &list[1]));
        }
        assert_true(endpoint_equal(&list[0], &list[0]));
        endpoint_free_list(list, count);
    }
}

#define BAD_PORT "the port is not a number from 1 to 65535; " FORMS
#define NO_FORM  "neither an address nor a host name; " FORMS
#define NO_HOST                                                                                              \
    "no address in front of the port; write 127.0.0.1:PORT for this machine alone, 0.0.0.0:PORT or "         \
    "[::]:PORT for all"
#define BRACKETS "an IPv6 address needs brackets; write [IPV6]:PORT, as in [::1]:9000"

static void test_mistakes(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *why;
    } rows[] = {
        {"", "no port; " FORMS},
        {"9000", "no port; " FORMS},
        {"localhost", "no port; " FORMS},
        {"[::1]", BRACKETS},
        {"::1", BRACKETS},
        {"::1:9000", BRACKETS},
        {"2001:db8::7:80", BRACKETS},
        {"[::1:80", BRACKETS},
        {":9000", NO_HOST},
        {"*:9000", NO_HOST},
        {"127.0.0.1:", BAD_PORT},
        {"127.0.0.1:0", BAD_PORT},
        {"127.0.0.1:65536", BAD_PORT},
        {"127.0.0.1:http", BAD_PORT},
        {"127.0.0.1:-1", BAD_PORT},
        {"127.0.0.1:80 ", BAD_PORT},
        {"127.0.0.1:18446744073709551696", BAD_PORT},
        {"127.0.0:80", NO_FORM},
        {"127.0.0.01:80", NO_FORM},
        {"256.0.0.1:80", NO_FORM},
        {"127.1:80", NO_FORM},
        {"0x7f000001:80", NO_FORM},
        {"[]:80", NO_FORM},
        {"[127.0.0.1]:80", NO_FORM},
        {"[localhost]:80", NO_FORM},
        {"[:80", NO_FORM},
        {"[::1%lo]:80", NO_FORM},
        {"a b:80", NO_FORM},
        {"-a:80", NO_FORM},
        {"a..b:80", NO_FORM},
        {"nowhere.example:80", "cannot resolve the name: Name or service not known; " FORMS},
        {"unix:", "no path; " FORMS},
        {"unix:run/app.sock", "the path is not absolute; begin it with \"/\""},
        {"unix:@", "no name behind \"@\"; write the abstract socket's name"},
        {"/run/app.sock", "a path without its kind; write unix: in front of it"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct endpoint *list = NULL;
        struct endpoint_fault fault = {""};
        size_t count = 0;
        check_number(endpoint_add(slice_of(rows[i].text), false, &list, &count, &fault), false, rows[i].text);
        check_text(slice_of(fault.text), slice_of(rows[i].why), rows[i].text);
        assert_int_equal(count, 0);
        endpoint_free_list(list, count);
    }
}

static void test_path_length(void **state)
{
    (void)state;
    char text[120] = "unix:/";
    struct endpoint *list = NULL;
    struct endpoint_fault fault;
    size_t count = 0;
    memset(text + 6, 'p', sizeof text - 6);
    assert_true(endpoint_add((struct slice){text, 5 + 107}, true, &list, &count, &fault));
    assert_int_equal(count, 1);
    char got[160];
    describe(&list[0], got, sizeof got);
    assert_int_equal(strlen(got), 2 + 107);
    assert_false(endpoint_add((struct slice){text, 5 + 108}, true, &list, &count, &fault));
    assert_string_equal(fault.text, "the path has 108 bytes, a unix socket's at most 107; shorten it");
    assert_int_equal(count, 1);
    endpoint_free_list(list, count);
}

static void test_abstract_socket_is_not_for_listening(void **state)
{
    (void)state;
    struct endpoint *list = NULL;
    struct endpoint_fault fault;
    size_t count = 0;
    assert_false(endpoint_add(SLICE("unix:@name"), true, &list, &count, &fault));
    assert_string_equal(fault.text,
                        "any user of this machine could connect to an abstract socket; listen on a path");
    assert_int_equal(count, 0);
    endpoint_free_list(list, count);
}

static void test_addresses_ask_nobody(void **state)
{
    (void)state;
    struct endpoint *list = NULL;
    struct endpoint_fault fault;
    size_t count = 0;
    lookups = 0;
    assert_true(endpoint_add(SLICE("192.0.2.1:80"), true, &list, &count, &fault));
    assert_true(endpoint_add(SLICE("[::1]:80"), true, &list, &count, &fault));
    assert_false(endpoint_add(SLICE("0x7f.1:80"), true, &list, &count, &fault));
    assert_int_equal(lookups, 0);
    assert_int_equal(count, 2);
    endpoint_free_list(list, count);
    endpoint_free_list(NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_path_length),
        cmocka_unit_test(test_abstract_socket_is_not_for_listening),
        cmocka_unit_test(test_addresses_ask_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
