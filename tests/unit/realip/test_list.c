#include "realip_cmocka.h"

#include "realip/list.h"

static void test_trim(void **state)
{
    (void)state;
    check_text(list_trim(SLICE(" \t a b\t ")), SLICE("a b"), "both sides");
    check_text(list_trim(SLICE("a")), SLICE("a"), "none");
    check_text(list_trim(SLICE(" \t")), SLICE(""), "all");
    check_text(list_trim(SLICE("")), SLICE(""), "empty");
    check_text(list_trim(SLICE("\v\na\r\f")), SLICE("\v\na\r\f"), "no other white space");
}

/* All elements from the right, '|' behind each. */
static void test_elements(void **state)
{
    static const struct {
        struct slice value;
        const char *want;
    } rows[] = {
        {{"", 0}, ""},
        {{"a", 1}, "a|"},
        {{"a, b,c", 6}, "c|b|a|"},
        {{"  a \t,\tb ", 9}, "b|a|"},
        {{",", 1}, ""},
        {{" , ,\t,", 6}, ""},
        {{",a,,b,", 6}, "b|a|"},
        {{", ,a , ,", 8}, "a|"},
        {{"a b, c  d", 9}, "c  d|a b|"},
        {{"a;b=\"c,d\"", 9}, "d\"|a;b=\"c|"}, /* quotes mean nothing here */
        {{"a\n,\vb", 5}, "\vb|a\n|"},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char got[64];
        size_t len = 0, at = rows[i].value.len;
        struct slice element;

        while (list_previous(rows[i].value, &at, &element)) {
            assert_ptr_equal(element.data, rows[i].value.data + at);
            memcpy(got + len, element.data, element.len);
            len += element.len;
            got[len++] = '|';
        }
        assert_int_equal(at, 0);
        check_text(((struct slice){got, len}), slice_of(rows[i].want), rows[i].want);
    }
}

/* Each call reads as far as its element reaches: what stands further left may still change. */
static void test_lazy(void **state)
{
    char text[] = "x, 1.2.3.4";
    struct slice element;
    size_t at = 10;

    (void)state;
    assert_true(list_previous((struct slice){text, 10}, &at, &element));
    check_text(element, SLICE("1.2.3.4"), "element");
    assert_int_equal(at, 3);
    text[0] = text[1] = ',';
    assert_false(list_previous((struct slice){text, 10}, &at, &element));
    assert_int_equal(at, 0);
    check_text(element, SLICE("1.2.3.4"), "element left alone");
}

static void test_no_value(void **state)
{
    struct slice element;
    size_t at = 0;

    (void)state;
    assert_false(list_previous((struct slice){NULL, 0}, &at, &element));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trim),
        cmocka_unit_test(test_elements),
        cmocka_unit_test(test_lazy),
        cmocka_unit_test(test_no_value),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
