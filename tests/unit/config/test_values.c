/*
 * Values: every form that is taken, every form that is not, and the way back to text.
 */
#include "support.h"

#include "config/values.h"

#define NOT_NUMBER   "not a number; write digits only"
#define NOT_MODE     "not a file mode; write octal digits from 0 to 0777, as in 0660"
#define NOT_DURATION "not a duration; write a number and ms, s, m or h, as in 250ms or 5s"
#define NO_UNIT      "a duration needs its unit; write ms, s, m or h behind the number, as in 5s"
#define NOT_SIZE     "not a size; write a number of bytes, or one and k, m or g, as in 64k"
#define NOT_BOOLEAN  "neither yes nor no; write yes, on or true, or no, off or false"
#define TOO_LARGE    "the number is too large"

struct row {
    const char *text;
    const char *why; /* NULL: taken */
    uint64_t value;
};

static void check_rows(const char *(*parse)(struct slice, uint64_t *), const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t value = 4711;
        const char *why = parse(slice_of(rows[i].text), &value);
        check_text(slice_of(why ? why : "fine"), slice_of(rows[i].why ? rows[i].why : "fine"), rows[i].text);
        check_number((long long)value, rows[i].why ? 4711 : (long long)rows[i].value, rows[i].text);
    }
}

static void test_number(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"0", NULL, 0},
        {"7", NULL, 7},
        {"0010", NULL, 10},
        {"18446744073709551615", NULL, UINT64_MAX},
        {"18446744073709551616", TOO_LARGE, 0},
        {"99999999999999999999999", TOO_LARGE, 0},
        {"", NOT_NUMBER, 0},
        {"-1", NOT_NUMBER, 0},
        {"+1", NOT_NUMBER, 0},
        {"1.5", NOT_NUMBER, 0},
        {"0x10", NOT_NUMBER, 0},
        {"1 ", NOT_NUMBER, 0},
        {"ten", NOT_NUMBER, 0},
    };
    check_rows(value_parse_number, rows, COUNT(rows));
}

static void test_mode(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"0660", NULL, 0660},
        {"660", NULL, 0660},
        {"0", NULL, 0},
        {"777", NULL, 0777},
        {"000777", NULL, 0777},
        {"1000", NOT_MODE, 0},
        {"0888", NOT_MODE, 0},
        {"", NOT_MODE, 0},
        {"rw-rw", NOT_MODE, 0},
        {"-1", NOT_MODE, 0},
        {"77777777777777777777777777", NOT_MODE, 0},
    };
    check_rows(value_parse_mode, rows, COUNT(rows));
}

static void test_duration(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"250ms", NULL, 250},
        {"5s", NULL, 5000},
        {"2m", NULL, 120000},
        {"1h", NULL, 3600000},
        {"5S", NULL, 5000},
        {"7MS", NULL, 7},
        {"0", NULL, 0},
        {"0s", NULL, 0},
        {"00", NULL, 0},
        {"5124095576030h", NULL, 5124095576030ULL * 3600000},
        {"5124095576031h", TOO_LARGE, 0},
        {"99999999999999999999s", TOO_LARGE, 0},
        {"5", NO_UNIT, 0},
        {"", NOT_DURATION, 0},
        {"s", NOT_DURATION, 0},
        {"5 s", NOT_DURATION, 0},
        {"5sec", NOT_DURATION, 0},
        {"1d", NOT_DURATION, 0},
        {"1.5s", NOT_DURATION, 0},
        {"1h30m", NOT_DURATION, 0},
        {"-5s", NOT_DURATION, 0},
    };
    check_rows(value_parse_duration, rows, COUNT(rows));
}

static void test_size(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"65535", NULL, 65535},
        {"64k", NULL, 65536},
        {"64K", NULL, 65536},
        {"4m", NULL, 4194304},
        {"1g", NULL, 1073741824},
        {"0", NULL, 0},
        {"17179869183g", NULL, 17179869183ULL << 30},
        {"17179869184g", TOO_LARGE, 0},
        {"", NOT_SIZE, 0},
        {"k", NOT_SIZE, 0},
        {"4mb", NOT_SIZE, 0},
        {"4 m", NOT_SIZE, 0},
        {"-1", NOT_SIZE, 0},
    };
    check_rows(value_parse_size, rows, COUNT(rows));
}

static void test_boolean(void **state)
{
    (void)state;
    static const struct row rows[] = {
        {"yes", NULL, 1},         {"no", NULL, 0},       {"on", NULL, 1},
        {"off", NULL, 0},         {"true", NULL, 1},     {"false", NULL, 0},
        {"YES", NULL, 1},         {"Off", NULL, 0},      {"tRuE", NULL, 1},
        {"1", NOT_BOOLEAN, 0},    {"0", NOT_BOOLEAN, 0}, {"", NOT_BOOLEAN, 0},
        {"yess", NOT_BOOLEAN, 0}, {"y", NOT_BOOLEAN, 0}, {"enabled", NOT_BOOLEAN, 0},
    };
    check_rows(value_parse_boolean, rows, COUNT(rows));
}

static void test_format(void **state)
{
    (void)state;
    static const struct {
        struct quote (*format)(uint64_t);
        uint64_t value;
        const char *text;
    } rows[] = {
        {value_format_duration, 0, "0"},
        {value_format_duration, 1, "1ms"},
        {value_format_duration, 1500, "1500ms"},
        {value_format_duration, 5000, "5s"},
        {value_format_duration, 90000, "90s"},
        {value_format_duration, 60000, "1m"},
        {value_format_duration, 3600000, "1h"},
        {value_format_duration, 5400000, "90m"},
        {value_format_size, 0, "0"},
        {value_format_size, 1000, "1000"},
        {value_format_size, 1024, "1k"},
        {value_format_size, 1536 * 1024, "1536k"},
        {value_format_size, 1 << 20, "1m"},
        {value_format_size, 5ULL << 30, "5g"},
        {value_format_size, 1ULL << 40, "1024g"},
        {value_format_mode, 0660, "0660"},
        {value_format_mode, 0, "0000"},
        {value_format_number, UINT64_MAX, "18446744073709551615"},
        {value_format_boolean, 1, "yes"},
        {value_format_boolean, 0, "no"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_string_equal(rows[i].format(rows[i].value).text, rows[i].text);
}

static void test_words(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *words; /* with "|" behind each */
    } rows[] = {
        {"a", "a|"},          {"a b", "a|b|"}, {"a,b", "a|b|"}, {"a, b", "a|b|"},    {" a ,\tb ", "a|b|"},
        {",,a,,b,,", "a|b|"}, {"", ""},        {" , ", ""},     {"a;b #", "a;b|#|"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char got[64] = "";
        struct slice rest = slice_of(rows[i].text);
        for (struct slice word; value_next_word(&rest, &word);) {
            strncat(got, word.data, word.len);
            strcat(got, "|");
        }
        assert_string_equal(got, rows[i].words);
    }
}

static void test_trim(void **state)
{
    (void)state;
    check_text(value_trim(SLICE(" \ta b\t ")), SLICE("a b"), "both ends");
    check_text(value_trim(SLICE("a")), SLICE("a"), "nothing to trim");
    check_text(value_trim(SLICE(" \t ")), SLICE(""), "nothing else");
    check_text(value_trim(SLICE("")), SLICE(""), "nothing");
}

static void test_token(void **state)
{
    (void)state;
    static const char *const tokens[] = {"X-Forwarded-For", "a", "0", "!#$%&'*+-.^_`|~"};
    for (size_t i = 0; i < COUNT(tokens); i++)
        assert_true(value_is_token(slice_of(tokens[i])));
    assert_false(value_is_token(SLICE("")));
    assert_false(value_is_token((struct slice){"a\0b", 3}));
    static const char others[] = " \t\"(),/:;<=>?@[\\]{}\x7f\x80\xff\x01";
    for (size_t i = 0; i < sizeof others - 1; i++) {
        const char text[3] = {'a', others[i], 'b'};
        assert_false(value_is_token((struct slice){text, sizeof text}));
    }
}

static void test_distance(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        size_t distance;
        bool near;
    } rows[] = {
        {"trust", "trust", 0, true},
        {"Trust", "trust", 0, true},
        {"trsut", "trust", 1, true},
        {"adress", "address", 1, true},
        {"addres", "address", 1, true},
        {"header", "headers", 1, true},
        {"read_timout", "read_timeout", 1, true},
        {"readtimeout", "read_timeout", 1, true},
        {"queue_time", "queue_timeout", 3, true},
        {"mod", "mode", 1, true},
        {"", "mode", 4, false},
        {"foo", "mode", 3, false},
        {"pid_file", "trust_file", 5, false},
        {"ca", "abc", 3, false}, /* a swap counts only between neighbours */
        {"kitten", "sitting", 3, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct slice a = slice_of(rows[i].a);
        struct slice b = slice_of(rows[i].b);
        check_number((long long)value_measure_distance(a, b), (long long)rows[i].distance, rows[i].a);
        check_number((long long)value_measure_distance(b, a), (long long)rows[i].distance, rows[i].a);
        check_number(value_is_near(a, b), rows[i].near, rows[i].a);
    }
    char text[200];
    memset(text, 'a', sizeof text);
    assert_false(value_is_near((struct slice){text, sizeof text}, SLICE("trust")));
    assert_false(value_is_near((struct slice){text, sizeof text}, (struct slice){text, sizeof text - 1}));
}

static void test_quote(void **state)
{
    (void)state;
    char text[200];
    memset(text, 'a', sizeof text);
    assert_string_equal(value_quote(SLICE("")).text, "");
    assert_string_equal(value_quote(SLICE("a b")).text, "a b");
    assert_int_equal(strlen(value_quote((struct slice){text, 83}).text), 83);
    struct quote cut = value_quote((struct slice){text, 84});
    assert_int_equal(strlen(cut.text), 83);
    assert_string_equal(cut.text + 79, "a...");
    /* An umlaut where the cut would be goes as a whole. */
    memcpy(text + 79, "\xC3\xBC", 2);
    assert_string_equal(value_quote((struct slice){text, 100}).text + 78, "a...");
    memcpy(text + 78,
           "\xC3\xBC"
           "a",
           3);
    assert_string_equal(value_quote((struct slice){text, 100}).text + 77, "a\xC3\xBC...");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_number),   cmocka_unit_test(test_mode),    cmocka_unit_test(test_duration),
        cmocka_unit_test(test_size),     cmocka_unit_test(test_boolean), cmocka_unit_test(test_format),
        cmocka_unit_test(test_words),    cmocka_unit_test(test_trim),    cmocka_unit_test(test_token),
        cmocka_unit_test(test_distance), cmocka_unit_test(test_quote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
