/*
 * Text made harmless for a line: byte by byte, and cut without tearing anything.
 */
#include "realip_cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "ops/escape.h"

struct row {
    struct slice text;
    enum escape how;
    const char *expected;
};

static void check(struct slice text, enum escape how, const char *expected)
{
    char out[512];
    memset(out, '#', sizeof out);
    size_t length = escape_text(text, how, out, sizeof out);
    assert_int_equal(length, strlen(expected));
    assert_memory_equal(out, expected, length);
    assert_int_equal(out[length], '#');
    assert_int_equal(escape_measure(text, how), length);
    assert_int_equal(escape_end(text, how, out, length), length);
    assert_memory_equal(out, expected, length);
}

static void test_whole(void **state)
{
    (void)state;
    const struct row rows[] = {
        {{NULL, 0}, ESCAPE_TEXT, ""},
        {SLICE("a b'c"), ESCAPE_TEXT, "a b'c"},
        {SLICE("a b'c"), ESCAPE_WORD, "a\\x20b'c"},
        {SLICE("a b'c"), ESCAPE_SHELL, "a b\\x27c"},
        {SLICE("a b'c/"), ESCAPE_JSON, "a b'c/"},
        {SLICE("\"\\"), ESCAPE_TEXT, "\\x22\\x5c"},
        {SLICE("\"\\"), ESCAPE_WORD, "\\x22\\x5c"},
        {SLICE("\"\\"), ESCAPE_SHELL, "\\x22\\x5c"},
        {SLICE("\"\\"), ESCAPE_JSON, "\\\"\\\\"},
        {SLICE("\0\n\x1b\x7f"), ESCAPE_TEXT, "\\x00\\x0a\\x1b\\x7f"},
        {SLICE("\0\n\x1b\x7f"), ESCAPE_JSON, "\\u0000\\u000a\\u001b\\u007f"},
        {SLICE("\xc3\xa9"), ESCAPE_TEXT, "\\xc3\\xa9"},
        {SLICE("\xc3\xa9"), ESCAPE_JSON, "\xc3\xa9"},
        {SLICE("\xc2\x9b\xc2\xa0"), ESCAPE_JSON, "\\u009b\xc2\xa0"}, /* CSI of 8 bits */
        {SLICE("\xe2\x82\xac\xf0\x9f\x98\x80"), ESCAPE_JSON, "\xe2\x82\xac\xf0\x9f\x98\x80"},
        /* No UTF-8: alone, too long, a surrogate, above the last, cut. */
        {SLICE("\xe9z"), ESCAPE_JSON, "\\u00e9z"},
        {SLICE("\xc0\xaf"), ESCAPE_JSON, "\\u00c0\\u00af"},
        {SLICE("\xed\xa0\x80"), ESCAPE_JSON, "\\u00ed\\u00a0\\u0080"},
        {SLICE("\xf4\x90\x80\x80"), ESCAPE_JSON, "\\u00f4\\u0090\\u0080\\u0080"},
        {SLICE("\xe2\x82"), ESCAPE_JSON, "\\u00e2\\u0082"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        check(rows[i].text, rows[i].how, rows[i].expected);
}

struct cut {
    struct slice text;
    enum escape how;
    size_t size;
    const char *text_out, *end_out;
};

static void test_cut(void **state)
{
    (void)state;
    const struct cut rows[] = {
        {SLICE("abcdef"), ESCAPE_TEXT, 6, "abcdef", "abcdef"},
        {SLICE("abcdef"), ESCAPE_TEXT, 5, "ab...", "...ef"},
        {SLICE("abcdef"), ESCAPE_TEXT, 3, "...", "..."},
        {SLICE("abcdef"), ESCAPE_TEXT, 2, "..", ".."},
        {SLICE("abcdef"), ESCAPE_TEXT, 0, "", ""},
        {SLICE("a\nb\nc"), ESCAPE_TEXT, 10, "a\\x0ab...", "...b\\x0ac"},
        {SLICE("a\nb\nc"), ESCAPE_TEXT, 8, "a\\x0a...", "...\\x0ac"},
        {SLICE("a\nb\nc"), ESCAPE_TEXT, 7, "a...", "...c"},
        {SLICE("\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"), ESCAPE_JSON, 8, "\xe2\x82\xac...", "...\xe2\x82\xac"},
        {SLICE("\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac"), ESCAPE_JSON, 5, "...", "..."},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char out[64];
        memset(out, '#', sizeof out);
        size_t length = escape_text(rows[i].text, rows[i].how, out, rows[i].size);
        assert_int_equal(length, strlen(rows[i].text_out));
        assert_memory_equal(out, rows[i].text_out, length);
        assert_int_equal(out[rows[i].size], '#');
        memset(out, '#', sizeof out);
        length = escape_end(rows[i].text, rows[i].how, out, rows[i].size);
        assert_int_equal(length, strlen(rows[i].end_out));
        assert_memory_equal(out, rows[i].end_out, length);
        assert_int_equal(out[rows[i].size], '#');
    }
}

/* Whatever comes in: no quote, no control character, no bad UTF-8 comes out, and never more than there is
 * room for. */
static void check_harmless(const char *out, size_t length, enum escape how)
{
    const unsigned char *data = (const unsigned char *)out;
    for (size_t i = 0; i < length;) {
        size_t used = utf8_length(data + i, length - i);
        assert_true(used > 0);
        assert_true(used == 1 || how == ESCAPE_JSON);
        assert_true(data[i] >= 0x20 && data[i] != 0x7f);
        assert_false(data[i] == ' ' && how == ESCAPE_WORD);
        assert_false(data[i] == '\'' && how == ESCAPE_SHELL);
        if (how != ESCAPE_JSON)
            assert_int_not_equal(data[i], '"');
        if (data[i] == '\\') {
            const char *form = how != ESCAPE_JSON ? "x" : "u\"\\";
            assert_true(i + 1 < length && strchr(form, data[i + 1]));
            used = 2;
            size_t hex = data[i + 1] == 'x' ? 2 : data[i + 1] == 'u' ? 4 : 0;
            assert_true(i + 2 + hex <= length);
            assert_true(strspn(out + i + 2, "0123456789abcdef") >= hex);
        } else if (how == ESCAPE_JSON) {
            assert_int_not_equal(data[i], '"');
        }
        i += used;
    }
}

static void test_random(void **state)
{
    (void)state;
    srand(4711);
    for (int round = 0; round < 20000; round++) {
        char text[40];
        char out[300];
        size_t length = (size_t)rand() % sizeof text;
        static const char bytes[] = "a\"\\ '\n\x7f\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xc2\x9b\xff";
        for (size_t i = 0; i < length; i++)
            text[i] = (char)(rand() % 3 ? bytes[(size_t)rand() % (sizeof bytes - 1)] : rand() % 256);
        struct slice slice = {text, length};
        size_t size = (size_t)rand() % 60;
        for (int how = ESCAPE_TEXT; how <= ESCAPE_JSON; how++) {
            memset(out, '#', sizeof out);
            size_t written = escape_text(slice, (enum escape)how, out, size);
            assert_true(written <= size);
            assert_int_equal(out[size], '#');
            check_harmless(out, written, (enum escape)how);
            memset(out, '#', sizeof out);
            written = escape_end(slice, (enum escape)how, out, size);
            assert_true(written <= size);
            assert_int_equal(out[size], '#');
            check_harmless(out, written, (enum escape)how);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_cut),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
