/*
 * Lines of the access log: both formats byte by byte, and within their bounds whatever strangers send.
 */
#include "realip_cmocka.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "ops/access.h"

#define TEXT(literal)                                                                                        \
    {                                                                                                        \
        (literal), sizeof(literal) - 1                                                                       \
    }

static const struct access_entry full = {
    .client = TEXT("203.0.113.7"),
    .user = TEXT("ada"),
    .method = TEXT("GET"),
    .uri = TEXT("/a?b=c d"),
    .protocol = TEXT("HTTP/1.1"),
    .referer = TEXT("http://e.example/\"x\""),
    .agent = TEXT("Mozilla/5.0 (X11; Linux)"),
    .peer = TEXT("10.0.0.2"),
    .header = TEXT("X-Forwarded-For"),
    .chain = TEXT("198.51.100.9, 203.0.113.7, 10.0.0.1"),
    .reason = "untrusted-hop",
    .outcome = "answered",
    .time = {1767225600, 7999999}, /* 2026-01-01T00:00:00.007Z */
    .status = 200,
    .bytes = 5316,
    .total = 12000345,
    .first = 98,
    .queue = 1000000,
};

/* Nothing is known: a request whose parameters were not read. */
static const struct access_entry empty = {
    .outcome = "aborted", .time = {1767225600, 0}, .status = 499, .first = ACCESS_NEVER};

static void check(enum access_format format, const struct access_entry *entry, const char *expected)
{
    char out[ACCESS_LINE_MAX + 1];
    struct access_clock clock = {0};
    for (int i = 0; i < 2; i++) { /* once with a clock that is new, and once with one that is right */
        memset(out, '#', sizeof out);
        size_t length = access_format(format, &clock, entry, out);
        assert_int_equal(out[length], '#');
        out[length] = '\0';
        assert_string_equal(out, expected);
    }
}

static void test_combined(void **state)
{
    (void)state;
    setenv("TZ", "XYZ-3:30", 1);
    tzset();
    check(ACCESS_COMBINED, &full,
          "203.0.113.7 - ada [01/Jan/2026:03:30:00 +0330] \"GET /a?b=c\\x20d HTTP/1.1\" 200 5316 "
          "\"http://e.example/\\x22x\\x22\" \"Mozilla/5.0 (X11; Linux)\" untrusted-hop answered 12.000345 "
          "0.000098 "
          "1.000000 \"10.0.0.2\" \"198.51.100.9, 203.0.113.7, 10.0.0.1\"\n");
    check(ACCESS_COMBINED, &empty,
          "- - - [01/Jan/2026:03:30:00 +0330] \"-\" 499 - \"-\" \"-\" - aborted 0.000000 - 0.000000 \"-\" "
          "\"-\"\n");
    struct access_entry entry = full;
    entry.client = SLICE("un ix");
    entry.user = SLICE("a b\n");
    entry.method = SLICE("");
    entry.protocol = (struct slice){0};
    entry.peer = SLICE("");
    entry.chain = SLICE("");
    entry.bytes = 0;
    check(ACCESS_COMBINED, &entry,
          "un\\x20ix - a\\x20b\\x0a [01/Jan/2026:03:30:00 +0330] \"- /a?b=c\\x20d\" 200 - "
          "\"http://e.example/\\x22x\\x22\" \"Mozilla/5.0 (X11; Linux)\" untrusted-hop answered 12.000345 "
          "0.000098 "
          "1.000000 \"\" \"\"\n");
    unsetenv("TZ");
}

static void test_json(void **state)
{
    (void)state;
    setenv("TZ", "XYZ-3:30", 1);
    tzset();
    check(ACCESS_JSON, &full,
          "{\"time\":\"2026-01-01T00:00:00.007Z\",\"client\":\"203.0.113.7\",\"user\":\"ada\",\"method\":"
          "\"GET\","
          "\"uri\":\"/a?b=c d\",\"protocol\":\"HTTP/1.1\",\"status\":200,\"bytes\":5316,"
          "\"referer\":\"http://e.example/\\\"x\\\"\",\"agent\":\"Mozilla/5.0 (X11; Linux)\","
          "\"reason\":\"untrusted-hop\",\"outcome\":\"answered\",\"total\":12.000345,\"first\":0.000098,"
          "\"queue\":1.000000,\"peer\":\"10.0.0.2\",\"header\":\"X-Forwarded-For\","
          "\"chain\":\"198.51.100.9, 203.0.113.7, 10.0.0.1\"}\n");
    check(ACCESS_JSON, &empty,
          "{\"time\":\"2026-01-01T00:00:00.000Z\",\"client\":null,\"user\":null,\"method\":null,\"uri\":null,"
          "\"protocol\":null,\"status\":499,\"bytes\":0,\"referer\":null,\"agent\":null,\"reason\":null,"
          "\"outcome\":\"aborted\",\"total\":0.000000,\"first\":null,\"queue\":0.000000,\"peer\":null,"
          "\"header\":null,\"chain\":null}\n");
    unsetenv("TZ");
}

/* A second that has passed is not shown again. */
static void test_clock(void **state)
{
    (void)state;
    char out[ACCESS_LINE_MAX];
    struct access_clock clock = {0};
    struct access_entry entry = full;
    access_format(ACCESS_JSON, &clock, &entry, out);
    entry.time.tv_sec++;
    access_format(ACCESS_JSON, &clock, &entry, out);
    assert_memory_equal(out, "{\"time\":\"2026-01-01T00:00:01.007Z\"", 34);
    entry.time.tv_sec--; /* the clock was put back */
    access_format(ACCESS_JSON, &clock, &entry, out);
    assert_memory_equal(out, "{\"time\":\"2026-01-01T00:00:00.007Z\"", 34);
}

static void test_long_texts(void **state)
{
    (void)state;
    static char text[10000];
    char out[ACCESS_LINE_MAX + 1];
    char expected[2000];
    struct access_clock clock = {0};
    struct access_entry entry = full;
    memset(text, 'u', sizeof text);
    entry.uri = (struct slice){text, sizeof text};
    out[access_format(ACCESS_COMBINED, &clock, &entry, out)] = '\0';
    snprintf(expected, sizeof expected, "\"GET %.*s... HTTP/1.1\" 200 ", ACCESS_URI_MAX - 3, text);
    assert_non_null(strstr(out, expected));
    entry.uri.len = ACCESS_URI_MAX;
    out[access_format(ACCESS_JSON, &clock, &entry, out)] = '\0';
    snprintf(expected, sizeof expected, ",\"uri\":\"%.*s\",", ACCESS_URI_MAX, text);
    assert_non_null(strstr(out, expected));

    /* Of the chain, the end is what proxies wrote. */
    memcpy(text + sizeof text - 10, ", 10.0.0.1", 10);
    entry.chain = (struct slice){text, sizeof text};
    out[access_format(ACCESS_COMBINED, &clock, &entry, out)] = '\0';
    assert_non_null(strstr(out, " \"...uuu"));
    assert_non_null(strstr(out, "u, 10.0.0.1\"\n"));
    out[access_format(ACCESS_JSON, &clock, &entry, out)] = '\0';
    assert_non_null(strstr(out, "\"chain\":\"...uuu"));
    assert_non_null(strstr(out, "u, 10.0.0.1\"}\n"));
}

static void fill_random(struct slice *text, char *room, size_t most)
{
    static const char bytes[] = "\"\\ '\n\x7f\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xc2\x9b\xff]}[{";
    text->len = (size_t)rand() % (most + 1);
    text->data = room;
    for (size_t i = 0; i < text->len; i++)
        room[i] = (char)(rand() % 2 ? bytes[(size_t)rand() % (sizeof bytes - 1)] : rand() % 256);
}

/* A line of printable text, with no more quotes than the format has. */
static void check_line(const char *out, size_t length, enum access_format format)
{
    assert_true(length <= ACCESS_LINE_MAX && ACCESS_LINE_MAX <= PIPE_BUF);
    assert_int_equal(out[length - 1], '\n');
    size_t quotes = 0;
    for (size_t i = 0; i + 1 < length;) {
        size_t used = utf8_length((const unsigned char *)out + i, length - i);
        assert_true(used > 0 && (used == 1 || format == ACCESS_JSON));
        assert_true((unsigned char)out[i] >= 0x20 && out[i] != 0x7f);
        quotes += out[i] == '"';
        i += out[i] == '\\' ? 2 : used;
    }
    assert_int_equal(quotes, format == ACCESS_JSON ? 18 * 2 + 13 * 2 : 10);
}

static void test_hostile_texts(void **state)
{
    (void)state;
    static char room[10][4000];
    char out[2 * ACCESS_LINE_MAX];
    struct access_clock clock = {0};
    srand(99);
    for (int round = 0; round < 1000; round++) {
        struct access_entry entry = full;
        struct slice *texts[] = {&entry.client,  &entry.user,  &entry.method, &entry.uri,    &entry.protocol,
                                 &entry.referer, &entry.agent, &entry.peer,   &entry.header, &entry.chain};
        for (size_t i = 0; i < COUNT(texts); i++)
            fill_random(texts[i], room[i], round % 2 ? 4000 : 30);
        entry.bytes = entry.total = entry.queue = UINT64_MAX - 1;
        entry.first = UINT64_MAX - 1;
        entry.status = 599;
        clock.length = 0;
        size_t length = access_format(ACCESS_COMBINED, &clock, &entry, out);
        check_line(out, length, ACCESS_COMBINED);
        clock.length = 0;
        length = access_format(ACCESS_JSON, &clock, &entry, out);
        check_line(out, length, ACCESS_JSON);
    }
}

/* The longest that there can be: every byte is escaped, every number has all its digits. */
static void test_longest_line(void **state)
{
    (void)state;
    static char text[4000];
    char out[2 * ACCESS_LINE_MAX];
    struct access_clock clock = {0};
    struct slice all = {text, sizeof text};
    struct access_entry entry = full;
    entry.client = entry.user = entry.method = entry.uri = entry.protocol = all;
    entry.referer = entry.agent = entry.peer = entry.header = entry.chain = all;
    entry.status = 599;
    entry.bytes = entry.total = entry.first = entry.queue = UINT64_MAX - 1;
    for (int byte = 0; byte < 256; byte++) {
        memset(text, byte, sizeof text);
        clock.length = 0;
        assert_true(access_format(ACCESS_COMBINED, &clock, &entry, out) <= ACCESS_LINE_MAX);
        clock.length = 0;
        assert_true(access_format(ACCESS_JSON, &clock, &entry, out) <= ACCESS_LINE_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_combined),      cmocka_unit_test(test_json),
        cmocka_unit_test(test_clock),         cmocka_unit_test(test_long_texts),
        cmocka_unit_test(test_hostile_texts), cmocka_unit_test(test_longest_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
