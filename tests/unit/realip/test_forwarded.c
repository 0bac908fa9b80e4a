#include "realip_cmocka.h"

#include <stdlib.h>

#include "realip/forwarded.h"

/* All elements from the right, '|' behind each. */
static void test_elements(void **state)
{
    static const struct {
        const char *value;
        const char *want;
    } rows[] = {
        {"", ""},
        {"for=1.2.3.4", "for=1.2.3.4|"},
        {"for=a, for=b,for=c", "for=c|for=b|for=a|"},
        {" \t, for=a ,\t, ", "for=a|"},
        /* a comma between quotes separates nothing */
        {"for=a, x=\"1,2\";for=b", "x=\"1,2\";for=b|for=a|"},
        {"for=\"[::1]:80\", for=\"a,b\"", "for=\"a,b\"|for=\"[::1]:80\"|"},
        {"x=\"a\";y=\",\";z=\"b\", c", "c|x=\"a\";y=\",\";z=\"b\"|"},
        {"x=\"\",y", "y|x=\"\"|"},
        /* escaped quotes are inside, escaped backslashes are not escapes */
        {"x=\"a\\\",b\", c", "c|x=\"a\\\",b\"|"},
        {"x=\"a\\\\\", c", "c|x=\"a\\\\\"|"},
        {"y=\",\\\\\\\",\", c", "c|y=\",\\\\\\\",\"|"},
        /* a quote without a partner: all to its left is one element, nothing to its right suffers */
        {"for=a, \"for=b, for=c", "for=c|for=a, \"for=b|"},
        {"for=\"a, for=b, for=\"c\"", "for=\"c\"|for=b|for=\"a|"},
        {"\", for=a", "for=a|\"|"},
        {"for=a, for=b\"", "for=a, for=b\"|"},
        {"for=a, for=\"b\\\"", "for=a, for=\"b\\\"|"},
        {"for=a, x=\\\"b\", for=c", "for=c|for=a, x=\\\"b\"|"},
        {"\\\"", "\\\"|"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct slice value = slice_of(rows[i].value), element;
        char got[128];
        size_t len = 0, at = value.len;

        while (forwarded_previous(value, &at, &element)) {
            assert_ptr_equal(element.data, value.data + at);
            memcpy(got + len, element.data, element.len);
            len += element.len;
            got[len++] = '|';
        }
        check_text(((struct slice){got, len}), slice_of(rows[i].want), rows[i].value);
    }
}

static void test_no_value(void **state)
{
    struct slice element;
    size_t at = 0;

    (void)state;
    assert_false(forwarded_previous((struct slice){NULL, 0}, &at, &element));
}

static void test_parse(void **state)
{
    static const struct {
        const char *element;
        const char *node;  /* NULL: malformed */
        const char *proto; /* NULL: none */
    } rows[] = {
        {"for=1.2.3.4", "1.2.3.4", NULL},
        {"FOR=1.2.3.4", "1.2.3.4", NULL},
        {"fOr=1.2.3.4;PROTO=https", "1.2.3.4", "https"},
        {"for=\"1.2.3.4\"", "1.2.3.4", NULL},
        {"for=\"[2001:db8::1]:80\"", "[2001:db8::1]:80", NULL},
        {"for=\"\"", "", NULL},
        {"for=unknown", "unknown", NULL},
        {"for=_hidden", "_hidden", NULL},
        /* what senders write without the quotes that the standard wants */
        {"for=1.2.3.4:80", "1.2.3.4:80", NULL},
        {"for=[2001:db8::1]:80", "[2001:db8::1]:80", NULL},
        {"for=2001:db8::1", "2001:db8::1", NULL},
        {"for=1.2.3.4:_port", "1.2.3.4:_port", NULL},
        /* other pairs, empty pairs, white space around semicolons */
        {"by=3.4.5.6;for=1.2.3.4;host=\"a;b,c\";proto=http", "1.2.3.4", "http"},
        {"for=1.2.3.4;", "1.2.3.4", NULL},
        {";;for=1.2.3.4;;", "1.2.3.4", NULL},
        {"; ;for=1.2.3.4", "1.2.3.4", NULL},
        {"for=1.2.3.4 ; proto=http", "1.2.3.4", "http"},
        {"for=1.2.3.4\t;\tproto=\"https\"", "1.2.3.4", "https"},
        {"x-y=z;for=1.2.3.4", "1.2.3.4", NULL},
        {"for=a!#$%&'*+-.^_`|~9Z", "a!#$%&'*+-.^_`|~9Z", NULL},
        {"fo=x;forr=y;for=1.2.3.4", "1.2.3.4", NULL},
        /* escapes */
        {"for=\"1\\.2.3.4\"", "1.2.3.4", NULL},
        {"for=\"\\\"\\\\\"", "\"\\", NULL},
        {"proto=\"htt\\ps\";for=\"1\\.2\"", "1.2", "https"},
        {"for=\"a\tb\x80\xff\"", "a\tb\x80\xff", NULL},
        /* two proto= mean nothing, two for= are malformed */
        {"for=1.2.3.4;proto=http;proto=https", "1.2.3.4", ""},
        {"for=1.2.3.4;proto=http;proto=http;proto=http", "1.2.3.4", ""},
        {"for=1.2.3.4;for=1.2.3.4", NULL, NULL},
        {"for=1.2.3.4;FOR=\"\"", NULL, NULL},
        {"for=\"\";for=1.2.3.4", NULL, NULL},
        /* no for= */
        {"proto=https", NULL, NULL},
        {"by=1.2.3.4;host=x", NULL, NULL},
        {";", NULL, NULL},
        {"forx=1.2.3.4", NULL, NULL},
        /* white space around "=", no "=", no value, no name */
        {"for =1.2.3.4", NULL, NULL},
        {"for= 1.2.3.4", NULL, NULL},
        {"for = 1.2.3.4", NULL, NULL},
        {"for=1.2.3.4;secure", NULL, NULL},
        {"1.2.3.4", NULL, NULL},
        {"for", NULL, NULL},
        {"for=", NULL, NULL},
        {"for=;proto=http", NULL, NULL},
        {"for=1.2.3.4;by=", NULL, NULL},
        {"=x;for=1.2.3.4", NULL, NULL},
        {"for=1.2.3.4;=", NULL, NULL},
        {"f\"or=1.2.3.4", NULL, NULL},
        /* quotes */
        {"for=\"1.2.3.4", NULL, NULL},
        {"for=1.2.3.4\"", NULL, NULL},
        {"for=\"1.2.3.4\"x", NULL, NULL},
        {"for=\"1.2.3.4\" x", NULL, NULL},
        {"for=1.2.3.4 x", NULL, NULL},
        {"for=\"1.2.3.4\\\"", NULL, NULL},
        {"for=\"1.2.3.4\\", NULL, NULL},
        {"for=\"", NULL, NULL},
        {"for=1.2.3.4;x=\"", NULL, NULL},
        {"for=a,b", NULL, NULL},
        {"for=a/b", NULL, NULL},
        {"for=a@b", NULL, NULL},
        {"for={", NULL, NULL},
        /* control characters */
        {"for=\"1.2.3.4\r\"", NULL, NULL},
        {"for=\"1.2.3.4\\\n\"", NULL, NULL},
        {"for=1.2.3.4;x=\"\n\"", NULL, NULL},
        {"for=1.2.3.4;x=\"\x7f\"", NULL, NULL},
        {"for=1.2.3.4\r", NULL, NULL},
        {"for=\x80", NULL, NULL},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct forwarded forwarded;
        bool taken = forwarded_parse(slice_of(rows[i].element), &forwarded);

        check_number(taken, rows[i].node != NULL, rows[i].element);
        if (!taken)
            continue;
        check_text(forwarded.node, slice_of(rows[i].node), rows[i].element);
        check_number(forwarded.proto.data != NULL, rows[i].proto != NULL, rows[i].element);
        if (rows[i].proto != NULL)
            check_text(forwarded.proto, slice_of(rows[i].proto), rows[i].element);
    }
}

static void test_nul(void **state)
{
    struct forwarded forwarded;

    (void)state;
    assert_false(forwarded_parse(SLICE("for=1.2.3.4;x=\"\0\""), &forwarded));
    assert_false(forwarded_parse(SLICE("for=1.2.3.4\0"), &forwarded));
    assert_false(forwarded_parse(SLICE("for=1.2.3.4;x=\"\\\0\""), &forwarded));
}

/* Nothing is copied that has no escapes, and what is too long for any address keeps them. */
static void test_copies(void **state)
{
    char element[5 + FORWARDED_TEXT_MAX + 2 + 1];
    struct forwarded forwarded;
    const size_t longest = FORWARDED_TEXT_MAX;

    (void)state;
    assert_true(forwarded_parse(SLICE("for=\"abc\""), &forwarded));
    assert_ptr_not_equal(forwarded.node.data, forwarded.node_text);
    for (size_t len = longest; len <= longest + 1; len++) {
        memset(element, 'a', sizeof element);
        memcpy(element, "for=\"\\", 6);
        element[5 + len] = '"';
        assert_true(forwarded_parse((struct slice){element, 5 + len + 1}, &forwarded));
        assert_int_equal(forwarded.node.len, len == longest ? len - 1 : len);
        assert_int_equal(forwarded.node.data[0], len == longest ? 'a' : '\\');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elements), cmocka_unit_test(test_no_value), cmocka_unit_test(test_parse),
        cmocka_unit_test(test_nul),      cmocka_unit_test(test_copies),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
