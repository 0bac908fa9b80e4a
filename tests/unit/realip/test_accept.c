#include "realip_cmocka.h"

#include "realip/accept.h"

static void test_proto(void **state)
{
    static const struct {
        struct slice text;
        int want; /* 1: https, 0: http, -1: neither */
    } rows[] = {
        {{"https", 5}, 1},   {{"HTTPS", 5}, 1},    {{"hTtP", 4}, 0},      {{"http", 4}, 0},
        {{"", 0}, -1},       {{"httpss", 6}, -1},  {{"htt", 3}, -1},      {{"ftp", 3}, -1},
        {{"on", 2}, -1},     {{"http ", 5}, -1},   {{"http\0", 5}, -1},   {{"wss", 3}, -1},
        {{"https:", 6}, -1}, {{"htt\x10", 4}, -1}, {{"\"http\"", 6}, -1},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool https = false;
        bool taken = accept_parse_proto(rows[i].text, &https);

        check_number(taken, rows[i].want >= 0, rows[i].text.data);
        check_number(https, rows[i].want == 1, rows[i].text.data);
    }
}

static void test_host(void **state)
{
    static const struct {
        const char *text;
        const char *name; /* NULL: refused */
    } rows[] = {
        {"example.org", "example.org"},
        {"EXAMPLE.org:8080", "EXAMPLE.org"},
        {"a", "a"},
        {"a_b-c~d.e!$&'()*+,;=z", "a_b-c~d.e!$&'()*+,;=z"},
        {"%41%zz", NULL},
        {"h%c3%A4:80", "h%c3%A4"},
        {"%4", NULL},
        {"a%", NULL},
        {"a%4g", NULL},
        {"1.2.3.4", "1.2.3.4"},
        {"1.2.3.4:1", "1.2.3.4"},
        {"[2001:db8::1]", "[2001:db8::1]"},
        {"[2001:DB8::1]:443", "[2001:DB8::1]"},
        {"[::ffff:1.2.3.4]", "[::ffff:1.2.3.4]"},
        {"[v1.a:b]", "[v1.a:b]"},
        {"[Vf9.!]:80", "[Vf9.!]"},
        {"[v.a]", NULL},
        {"[v1.]", NULL},
        {"[v1]", NULL},
        {"[vg.a]", NULL},
        {"[v1.a/]", NULL},
        {"[1.2.3.4]", NULL},
        {"[]", NULL},
        {"[", NULL},
        {"[::1", NULL},
        {"[fe80::1%25eth0]", NULL},
        {"[example.org]", NULL},
        {"2001:db8::1", NULL},
        {"", NULL},
        {":80", NULL},
        {"a:", NULL},
        {"a:0", NULL},
        {"a:080", NULL},
        {"a:65535", "a"},
        {"a:65536", NULL},
        {"a:x", NULL},
        {"a:80:80", NULL},
        {"[::1]x", NULL},
        {"a b", NULL},
        {"a/b", NULL},
        {"a?b", NULL},
        {"a#b", NULL},
        {"user@a", NULL},
        {"a\\b", NULL},
        {"a\"b", NULL},
        {"<a>", NULL},
        {"a\r", NULL},
        {"a\nb", NULL},
        {"\xc3\xa4", NULL},
    };
    struct slice name;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        name = SLICE("untouched");
        bool taken = accept_parse_host(slice_of(rows[i].text), &name);

        check_number(taken, rows[i].name != NULL, rows[i].text);
        check_text(name, taken ? slice_of(rows[i].name) : SLICE("untouched"), rows[i].text);
    }
    assert_false(accept_parse_host(SLICE("a\0b"), &name));
    assert_false(accept_parse_host(SLICE("\0"), &name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_proto), cmocka_unit_test(test_host)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
