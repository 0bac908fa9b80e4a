/*
 * Decisions as lines, and back.
 */
#include "realip_cmocka.h"

#include <stdlib.h>
#include <string.h>

#include "ops/decision_line.h"

static struct decision_words make_words(void)
{
    return (struct decision_words){.refused = 403,
                                   .peer = SLICE("10.0.0.2"),
                                   .client = SLICE("203.0.113.66"),
                                   .reason = SLICE("denied")};
}

static void check_line(const struct decision_line *line, const char *expected)
{
    assert_int_equal(line->len, strlen(expected));
    assert_memory_equal(line->text, expected, line->len);
}

static void test_write(void **state)
{
    (void)state;
    struct decision_line line;
    struct decision_words words = make_words();
    decision_line_begin(&line, &words);
    check_line(&line, "refused a request with 403: peer \"10.0.0.2\", client 203.0.113.66, denied");
    decision_line_add_secret(&line, SLICE("HTTP_X_S"), SLICE("cdn"));
    decision_line_add_secret(&line, SLICE("HTTP_X_T"), SLICE(""));
    assert_true(decision_line_add(&line, SLICE("HTTP_X_FORWARDED_FOR"), SLICE("a, 'b' \"c\"\n\xff"), 100));
    assert_true(decision_line_add(&line, SLICE("REMOTE_PORT"), SLICE(""), 100));
    check_line(&line, "refused a request with 403: peer \"10.0.0.2\", client 203.0.113.66, denied, "
                      "HTTP_X_S right for cdn, HTTP_X_T wrong, "
                      "HTTP_X_FORWARDED_FOR=\"a, \\x27b\\x27 \\x22c\\x22\\x0a\\xff\", REMOTE_PORT=\"\"");

    words = (struct decision_words){.changed = true,
                                    .peer = SLICE("unix:"),
                                    .client = SLICE("2001:db8::1"),
                                    .reason = SLICE("untrusted-hop")};
    decision_line_begin(&line, &words);
    check_line(&line, "changed the client: peer \"unix:\", client 2001:db8::1, untrusted-hop");

    words = (struct decision_words){.reason = SLICE("untrusted-peer")};
    decision_line_begin(&line, &words);
    check_line(&line, "kept the client: peer none, client none, untrusted-peer");
}

static void test_cut(void **state)
{
    (void)state;
    struct decision_line line = {.len = 0};
    struct slice name = SLICE("N");
    assert_int_equal(decision_line_measure(name, SLICE("abcdef"), 100), 12);
    assert_int_equal(decision_line_measure(name, SLICE("a'cdef"), 100), 15);
    assert_true(decision_line_measure(name, SLICE("abcdefghijklmnop"), 10) > 10);
    assert_true(decision_line_add(&line, name, SLICE("abcdef"), 12));
    assert_true(decision_line_add(&line, name, SLICE("abcdef"), 11));
    assert_true(decision_line_add(&line, name, SLICE("abcdef"), 9));
    check_line(&line, ", N=\"abcdef\", N=\"...ef\", N=\"...\"");
    assert_false(decision_line_add(&line, name, SLICE("abcdef"), 8));
    assert_int_equal(line.len, 12 + 11 + 9);

    /* Whatever is put into it, it does not overflow. */
    static char text[10000];
    struct decision_words words = make_words();
    memset(text, '\n', sizeof text);
    words.peer = (struct slice){text, sizeof text};
    decision_line_begin(&line, &words);
    assert_memory_equal(line.text, "refused a request with 403: peer \"...\\x0a", 41);
    assert_true(line.len < 300);
    for (int i = 0; i < 100; i++) {
        decision_line_add(&line, SLICE("HTTP_X"), (struct slice){text, sizeof text}, 500);
        decision_line_add_secret(&line, SLICE("HTTP_X_SECRET"), SLICE("group"));
        assert_true(line.len <= sizeof line.text);
    }
}

struct read_row {
    const char *text;
    const char *peer; /* NULL: none */
    const char *client;
    const char *reason;
    int refused;
    bool changed;
};

static void test_read(void **state)
{
    (void)state;
    static const struct read_row rows[] = {
        {"refused a request with 403: peer \"10.0.0.2\", client 203.0.113.66, denied", "10.0.0.2",
         "203.0.113.66", "denied", 403, false},
        {"2026-01-31T12:00:00.123Z fcgi-realip[7] info: changed the client: peer \"\", client ::1, hops\n",
         "", "::1", "hops", 0, true},
        {"Nov 28 13:00:00 host fcgi-realip[7]: kept the client: peer none, client none, untrusted-peer \r\n",
         NULL, "", "untrusted-peer", 0, false},
        {"<6>kept the client: peer \"\\x27\\x22\\x5c\\x0a\", client none, untrusted-peer", "'\"\\\n", "",
         "untrusted-peer", 0, false},
        /* What stands in the peer is no verdict. */
        {"kept the client: peer \"refused a request with 403: peer \", client none, untrusted-peer",
         "refused a request with 403: peer ", "", "untrusted-peer", 0, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct decision_reader reader;
        struct decision_words words;
        struct decision_item item;
        char room[200];
        assert_true(decision_read(&reader, slice_of(rows[i].text), room, &words));
        assert_int_equal(words.peer.data != NULL, rows[i].peer != NULL);
        if (rows[i].peer)
            assert_true(slice_equal(words.peer, slice_of(rows[i].peer)));
        assert_true(slice_equal(words.client, slice_of(rows[i].client)));
        assert_true(slice_equal(words.reason, slice_of(rows[i].reason)));
        assert_int_equal(words.refused, rows[i].refused);
        assert_int_equal(words.changed, rows[i].changed);
        assert_int_equal(decision_read_item(&reader, &item), 0);
    }
}

static void test_read_refuses(void **state)
{
    (void)state;
    static const char *const none[] = {
        "",
        "no answer from the application",
        "refused a request with 403: cgi: peer \"x\"",
        "refused a request with 4030: peer \"x\", client",
        "kept the client: peer \"10.0.0.2",
        "kept the client: peer \"\\x1\", client none, hops",
        "kept the client: peer \"\\n\", client none, hops",
        "kept the client: peer \"\\xGG\", client none, hops",
        "kept the client: peer \"\\xAA\", client none, hops",
        "kept the client: peer \"\"; client none, hops",
        "kept the client: peer \"\", client none",
        "kept the client: peer \"\", client none, ",
    };
    static const char *const items[] = {
        ", ",         ", N",      ", N=",      ", N=\"a", ", N=\"\\x4\"", ", N right", ", N right for ",
        ", N better", ", =\"a\"", " and more", "; x",     ", N=\"a\" b",
    };
    struct decision_reader reader;
    struct decision_words words;
    struct decision_item item;
    char room[200];
    for (size_t i = 0; i < COUNT(none); i++)
        check_number(decision_read(&reader, slice_of(none[i]), room, &words), false, none[i]);
    for (size_t i = 0; i < COUNT(items); i++) {
        char text[200];
        snprintf(text, sizeof text, "kept the client: peer \"\", client none, hops%s", items[i]);
        assert_true(decision_read(&reader, slice_of(text), room, &words));
        int more;
        while ((more = decision_read_item(&reader, &item)) > 0)
            continue;
        check_number(more, -1, items[i]);
    }
}

static struct slice make_random(char *room, size_t most)
{
    static const char bytes[] = "'\"\\, =\nx27\xff";
    size_t len = (size_t)rand() % (most + 1);
    for (size_t i = 0; i < len; i++)
        room[i] = (char)(rand() % 2 ? bytes[(size_t)rand() % sizeof bytes] : rand() % 256);
    return (struct slice){room, len};
}

/* Any bytes come back as they went in, and none of them ends an apostrophe or a line. */
static void test_round_trip(void **state)
{
    (void)state;
    srand(5);
    for (int round = 0; round < 20000; round++) {
        struct decision_line line;
        char peer[40], room[DECISION_LINE_MAX], values[5][40];
        struct slice value[5];
        struct decision_words words = {.refused = round % 3 ? 0 : 400,
                                       .changed = round % 3 == 1,
                                       .peer = make_random(peer, sizeof peer),
                                       .client = SLICE("192.0.2.1"),
                                       .reason = SLICE("malformed")};
        decision_line_begin(&line, &words);
        decision_line_add_secret(&line, SLICE("HTTP_X_S"), round % 2 ? SLICE("a.b-c_1") : SLICE(""));
        for (size_t i = 0; i < COUNT(values); i++) {
            value[i] = make_random(values[i], sizeof values[i]);
            decision_line_add(&line, SLICE("HTTP_A"), value[i], 300);
        }
        for (size_t i = 0; i < line.len; i++)
            assert_true(line.text[i] >= 0x20 && line.text[i] < 0x7f && line.text[i] != '\'');

        struct decision_reader reader;
        struct decision_words back;
        struct decision_item item;
        assert_true(decision_read(&reader, (struct slice){line.text, line.len}, room, &back));
        assert_true(slice_equal(back.peer, words.peer));
        assert_int_equal(back.refused, words.refused);
        assert_int_equal(back.changed, words.changed);
        assert_int_equal(decision_read_item(&reader, &item), 1);
        assert_int_equal(item.kind, round % 2 ? DECISION_RIGHT : DECISION_WRONG);
        assert_true(slice_equal(item.name, SLICE("HTTP_X_S")));
        assert_true(slice_equal(item.value, round % 2 ? SLICE("a.b-c_1") : SLICE("")));
        for (size_t i = 0; i < COUNT(values); i++) {
            assert_int_equal(decision_read_item(&reader, &item), 1);
            assert_int_equal(item.kind, DECISION_PARAM);
            assert_true(slice_equal(item.name, SLICE("HTTP_A")));
            assert_true(slice_equal(item.value, value[i]));
        }
        assert_int_equal(decision_read_item(&reader, &item), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write),        cmocka_unit_test(test_cut),        cmocka_unit_test(test_read),
        cmocka_unit_test(test_read_refuses), cmocka_unit_test(test_round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
