#include "realip_cmocka.h"

#include <stdlib.h>

#include "fastcgi/params.h"

static void test_decode(void **state)
{
    static const char wire[] = "\x01\x02"
                               "abc"
                               "\x00\x00"
                               "\x03\x00"
                               "xyz"
                               "\x80\x00\x00\x01\x80\x00\x00\x02" /* long forms of short lengths */
                               "pqr";
    const struct slice content = {wire, sizeof wire - 1};
    struct param list[4];
    size_t n = 99;

    (void)state;
    assert_int_equal(params_decode(content, list, 4, &n), PARAMS_OK);
    assert_int_equal(n, 4);
    check_text(list[0].name, SLICE("a"), "name 0");
    check_text(list[0].value, SLICE("bc"), "value 0");
    check_text(list[1].name, SLICE(""), "name 1");
    check_text(list[1].value, SLICE(""), "value 1");
    check_text(list[2].name, SLICE("xyz"), "name 2");
    check_text(list[2].value, SLICE(""), "value 2");
    check_text(list[3].name, SLICE("p"), "name 3");
    check_text(list[3].value, SLICE("qr"), "value 3");
    /* nothing is copied */
    assert_ptr_equal(list[0].name.data, wire + 2);
}

static void test_next_says_where_each_pair_ends(void **state)
{
    static const char wire[] = "\1\2abc"
                               "\0\0"
                               "\200\0\0\1\2pqr";
    static const size_t ends[] = {5, 7, 15};
    const char *at = wire, *end = wire + sizeof wire - 1;
    struct param pair = {{NULL, 0}, {NULL, 0}};

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        at = params_next(at, end, &pair);
        assert_ptr_equal(at, wire + ends[i]);
    }
    assert_ptr_equal(at, end);
    check_text(pair.name, SLICE("p"), "name");
    check_text(pair.value, SLICE("qr"), "value");
    for (const char *cut = wire + 8; cut < end; cut++)
        assert_null(params_next(wire + 7, cut, &pair));
}

static void test_decode_nothing(void **state)
{
    size_t n = 99;

    (void)state;
    assert_int_equal(params_decode((struct slice){NULL, 0}, NULL, 0, &n), PARAMS_OK);
    assert_int_equal(n, 0);
}

static void test_room(void **state)
{
    struct param list[2];
    size_t n;

    (void)state;
    assert_int_equal(params_decode(SLICE("\x01\x01"
                                         "ab"
                                         "\x01\x01"
                                         "cd"),
                                   list, 2, &n),
                     PARAMS_OK);
    assert_int_equal(n, 2);
    assert_int_equal(params_decode(SLICE("\x01\x01"
                                         "ab"
                                         "\x01\x01"
                                         "cd"),
                                   list, 1, &n),
                     PARAMS_TOO_MANY);
    assert_int_equal(n, 1);
}

static void test_truncated(void **state)
{
    static const struct slice rows[] = {
        {"\x01", 1},
        {"\x01\x01", 2},
        {"\x01\x01"
         "a",
         3},
        {"\x80", 1},
        {"\x80\x00\x00", 3},
        {"\x80\x00\x00\x01", 4},
        {"\x80\x00\x00\x01\x80\x00\x00", 7},
        {"\x00\x80\x00\x00", 4},
        {"\x02\x00"
         "a",
         3},
        /* lengths whose sum wraps in 32 bits, alone and with the header */
        {"\xff\xff\xff\xff\xff\xff\xff\xff"
         "ab",
         10},
        {"\xff\xff\xff\xff\x01"
         "ab",
         7},
        {"\x01\xff\xff\xff\xff"
         "ab",
         7},
        {"\x01\x01"
         "ab"
         "\x01",
         5},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char *exact = malloc(rows[i].len); /* so that the sanitizer sees a byte read too far */
        struct param list[4];
        size_t n;

        memcpy(exact, rows[i].data, rows[i].len);
        check_number(params_decode((struct slice){exact, rows[i].len}, list, 4, &n), PARAMS_TRUNCATED,
                     "truncated");
        check_number((long long)n, i == COUNT(rows) - 1, "pairs before the error");
        free(exact);
    }
}

/* The lengths change from one byte to four between 127 and 128. */
static void test_lengths(void **state)
{
    static const struct {
        size_t name, value;
        const char *wire;
        size_t size;
    } rows[] = {
        {0, 0, "\x00\x00", 2},
        {127, 127, "\x7f\x7f", 2},
        {128, 127, "\x80\x00\x00\x80\x7f", 5},
        {127, 128, "\x7f\x80\x00\x00\x80", 5},
        {128, 128, "\x80\x00\x00\x80\x80\x00\x00\x80", 8},
        {11, 0x123456, "\x0b\x80\x12\x34\x56", 5},
        {11, 0x7fffffff, "\x0b\xff\xff\xff\xff", 5},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char wire[PARAMS_LENGTHS_MAX];
        size_t size = params_encode_lengths(wire, rows[i].name, rows[i].value);

        check_text(((struct slice){wire, size}), ((struct slice){rows[i].wire, rows[i].size}), "lengths");
        check_number((long long)params_pair_size((struct slice){NULL, rows[i].name},
                                                 (struct slice){NULL, rows[i].value}),
                     (long long)(rows[i].size + rows[i].name + rows[i].value), "pair size");
    }
}

static void test_pair(void **state)
{
    static char text[70000];
    static const size_t sizes[] = {0, 1, 126, 127, 128, 129, 255, 256, 65535, 65536, 70000};
    static char wire[PARAMS_LENGTHS_MAX + 140000];

    (void)state;
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = (char)(i * 7);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        for (size_t j = 0; j < COUNT(sizes); j++) {
            const struct slice name = {text, sizes[i]}, value = {text + 70000 - sizes[j], sizes[j]};
            struct param pair;
            size_t n, size = params_encode_pair(wire, name, value);

            assert_int_equal(size, params_pair_size(name, value));
            assert_int_equal(params_decode((struct slice){wire, size}, &pair, 1, &n), PARAMS_OK);
            assert_int_equal(n, 1);
            check_text(pair.name, name, "name");
            check_text(pair.value, value, "value");
        }
    }
    assert_int_equal(params_encode_pair(wire, SLICE("A"), (struct slice){NULL, 0}), 3);
    assert_memory_equal(wire,
                        "\x01\x00"
                        "A",
                        3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_decode_nothing),
        cmocka_unit_test(test_next_says_where_each_pair_ends),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_pair),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
