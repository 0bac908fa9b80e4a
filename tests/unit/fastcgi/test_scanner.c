/* The record scanner: the same bytes come out however the socket cuts them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fastcgi/scanner.h"

struct seen {
    char passed[4096];
    size_t npassed;
    char taken[4096];
    size_t ntaken;
    unsigned records;
    uint8_t stop_at; /* complete() says stop behind a record of this type */
};

static enum scan_verdict on_header(void *context, const struct record *record)
{
    (void)context;
    if (record->version != 1)
        return SCAN_FAIL;
    if (record->type == FCGI_PARAMS)
        return SCAN_TAKE;
    return record->type == FCGI_DATA ? SCAN_SKIP : SCAN_PASS;
}

static void on_pass(void *context, char *data, size_t len)
{
    struct seen *seen = context;
    assert_true(seen->npassed + len <= sizeof(seen->passed));
    memcpy(seen->passed + seen->npassed, data, len);
    seen->npassed += len;
}

static void on_take(void *context, const struct record *record, struct slice piece)
{
    struct seen *seen = context;
    assert_int_equal(record->type, FCGI_PARAMS);
    memcpy(seen->taken + seen->ntaken, piece.data, piece.len);
    seen->ntaken += piece.len;
}

static bool on_complete(void *context, const struct record *record)
{
    struct seen *seen = context;
    seen->records++;
    return record->type != seen->stop_at;
}

static const struct scanner_owner owner = {on_header, on_pass, on_take, on_complete};

#define STDIN_ABC                                                                                            \
    "\1\5\0\7\0\3\5\x77"                                                                                     \
    "abc"                                                                                                    \
    "SECRE"
#define STDIN_CLEAN                                                                                          \
    "\1\5\0\7\0\3\5\0"                                                                                       \
    "abc"                                                                                                    \
    "\0\0\0\0\0"
#define STDIN_END                                                                                            \
    "\1\5\0\7\0\0\4\x77"                                                                                     \
    "JUNK"
#define STDIN_END_CLEAN "\1\5\0\7\0\0\0\0"
#define DATA_XY                                                                                              \
    "\1\10\0\7\0\2\1\0"                                                                                      \
    "xyz"
#define PARAMS_PQ                                                                                            \
    "\1\4\0\7\0\2\2\0"                                                                                       \
    "pq"                                                                                                     \
    "zz"

static const char wire[] = STDIN_ABC DATA_XY PARAMS_PQ STDIN_END STDIN_ABC;
static const char clean[] = STDIN_CLEAN STDIN_END_CLEAN STDIN_CLEAN;

static void check(size_t first, size_t step, uint16_t pass_id)
{
    struct scanner scanner = {.pass_id = pass_id};
    struct seen seen = {.npassed = 0};
    size_t len = sizeof(wire) - 1;
    for (size_t at = 0; at < len;) {
        size_t n = at == 0 && first > 0 ? first : step;
        if (n > len - at)
            n = len - at;
        char chunk[sizeof(wire)];
        memcpy(chunk, wire + at, n);
        assert_int_equal(scanner_feed(&scanner, chunk, n, &owner, &seen), (ptrdiff_t)n);
        at += n;
    }
    assert_true(scanner_at_boundary(&scanner));
    assert_int_equal(seen.records, 5);
    assert_int_equal(seen.npassed, sizeof(clean) - 1);
    char expected[sizeof(clean)];
    memcpy(expected, clean, sizeof(clean));
    for (size_t at = 0; pass_id != 0 && at < sizeof(clean) - 1;) {
        memcpy(expected + at + 2, (char[]){(char)(pass_id >> 8), (char)pass_id}, 2);
        at += RECORD_HEADER + (size_t)expected[at + 5] + (size_t)expected[at + 6];
    }
    assert_memory_equal(seen.passed, expected, sizeof(clean) - 1);
    assert_int_equal(seen.ntaken, 2);
    assert_memory_equal(seen.taken, "pq", 2);
}

static void test_any_cut_gives_the_same_bytes(void **state)
{
    (void)state;
    for (size_t step = 1; step < sizeof(wire); step++)
        check(0, step, 0);
    for (size_t first = 1; first < sizeof(wire) - 1; first++)
        check(first, sizeof(wire), 0);
}

static void test_any_cut_gives_passing_records_their_new_id(void **state)
{
    (void)state;
    for (size_t step = 1; step < sizeof(wire); step++)
        check(0, step, 0x1f2e);
    for (size_t first = 1; first < sizeof(wire) - 1; first++)
        check(first, sizeof(wire), 1);
}

static void test_stops_behind_the_record_that_says_so(void **state)
{
    (void)state;
    struct scanner scanner = {.have = 0};
    struct seen seen = {.stop_at = FCGI_DATA};
    char chunk[] = DATA_XY STDIN_ABC;
    assert_int_equal(scanner_feed(&scanner, chunk, sizeof(chunk) - 1, &owner, &seen),
                     (ptrdiff_t)sizeof(DATA_XY) - 1);
    assert_int_equal(seen.npassed, 0);
    assert_true(scanner_at_boundary(&scanner));
}

static void test_another_version_fails(void **state)
{
    (void)state;
    struct scanner scanner = {.have = 0};
    struct seen seen = {.npassed = 0};
    char chunk[] = STDIN_ABC "\2\5\0\7\0\0\0\0";
    assert_int_equal(scanner_feed(&scanner, chunk, sizeof(chunk) - 1, &owner, &seen), -1);
}

/* php refuses a record whose content and padding together exceed 65,535 bytes. */
static void test_padding_that_reaches_too_far_is_left_out(void **state)
{
    (void)state;
    enum { CONTENT = 65535, PADDING = 1 };
    static char big[RECORD_HEADER + CONTENT + PADDING];
    static char out[sizeof(big)];
    struct scanner scanner = {.have = 0};
    record_encode(big, FCGI_STDIN, 1, CONTENT, PADDING);
    memset(big + RECORD_HEADER, 'x', CONTENT + PADDING);
    struct seen *seen = calloc(1, sizeof(*seen));
    assert_non_null(seen);
    /* Only the header and the tail are looked at, so the content goes by in pieces that fit. */
    assert_int_equal(scanner_feed(&scanner, big, RECORD_HEADER, &owner, seen), RECORD_HEADER);
    memcpy(out, seen->passed, RECORD_HEADER);
    assert_memory_equal(out, "\1\5\0\1\xff\xff\0\0", RECORD_HEADER);
    size_t passed = 0;
    for (size_t at = RECORD_HEADER; at < sizeof(big);) {
        size_t n = sizeof(big) - at < 4096 ? sizeof(big) - at : 4096;
        seen->npassed = 0;
        assert_int_equal(scanner_feed(&scanner, big + at, n, &owner, seen), (ptrdiff_t)n);
        passed += seen->npassed;
        at += n;
    }
    assert_int_equal(passed, CONTENT);
    assert_true(scanner_at_boundary(&scanner));
    free(seen);
}

static void test_content_may_pass_another_way(void **state)
{
    (void)state;
    struct scanner scanner = {.have = 0};
    struct seen seen = {.npassed = 0};
    char chunk[] = STDIN_ABC STDIN_END;
    assert_int_equal(scanner_passing(&scanner), 0);
    assert_false(scanner_passes_much(&scanner, 1));
    /* Inside a header nothing passes yet, and behind it all of its record is still to come. */
    scanner_feed(&scanner, chunk, 4, &owner, &seen);
    assert_int_equal(scanner_passing(&scanner), 0);
    scanner_feed(&scanner, chunk + 4, 4, &owner, &seen);
    assert_int_equal(scanner_passing(&scanner), 3);
    assert_int_equal(scanner_left(&scanner), 8);
    assert_true(scanner_passes_much(&scanner, 3));
    assert_false(scanner_passes_much(&scanner, 4));
    scanner_bypass(&scanner, 2);
    assert_int_equal(scanner_passing(&scanner), 1);
    assert_int_equal(seen.records, 0);
    scanner_feed(&scanner, chunk + 10, 1, &owner, &seen);
    assert_int_equal(scanner_passing(&scanner), 0);
    assert_int_equal(scanner_left(&scanner), 5);
    /* What the last record was is known until the next header. */
    scanner_feed(&scanner, chunk + 11, 5, &owner, &seen);
    assert_true(scanner_at_boundary(&scanner));
    assert_int_equal(seen.records, 1);
    assert_true(scanner_passes_much(&scanner, 3));
    scanner_feed(&scanner, chunk + 16, sizeof(chunk) - 17, &owner, &seen);
    assert_int_equal(seen.records, 2);
    assert_false(scanner_passes_much(&scanner, 1));
    static const char want[] = "\1\5\0\7\0\3\5\0c\0\0\0\0\0" STDIN_END_CLEAN;
    assert_int_equal(seen.npassed, sizeof(want) - 1);
    assert_memory_equal(seen.passed, want, sizeof(want) - 1);
}

static void test_all_of_it_may_pass_another_way(void **state)
{
    (void)state;
    struct scanner scanner = {.have = 0};
    struct seen seen = {.npassed = 0};
    char padded[] = STDIN_ABC, plain[] = "\1\5\0\7\0\3\0\0abc";
    scanner_feed(&scanner, padded, 8, &owner, &seen);
    scanner_bypass(&scanner, 3);
    assert_false(scanner_at_boundary(&scanner));
    assert_int_equal(scanner_left(&scanner), 5);
    scanner_feed(&scanner, padded + 11, 5, &owner, &seen);
    assert_true(scanner_at_boundary(&scanner));
    assert_int_equal(seen.records, 1);
    /* Without padding the record is over: its owner need not be told what he has done himself. */
    scanner_feed(&scanner, plain, 8, &owner, &seen);
    scanner_bypass(&scanner, 1);
    assert_false(scanner_at_boundary(&scanner));
    scanner_bypass(&scanner, 2);
    assert_true(scanner_at_boundary(&scanner));
    assert_int_equal(scanner_left(&scanner), 0);
    assert_int_equal(seen.records, 1);
    char last[] = STDIN_END;
    scanner_feed(&scanner, last, sizeof(last) - 1, &owner, &seen);
    assert_int_equal(seen.records, 2);
}

static void test_what_is_skipped_or_taken_does_not_pass(void **state)
{
    (void)state;
    struct scanner scanner = {.have = 0};
    struct seen seen = {.npassed = 0};
    char skipped[] = DATA_XY, taken[] = PARAMS_PQ;
    scanner_feed(&scanner, skipped, RECORD_HEADER, &owner, &seen);
    assert_int_equal(scanner_passing(&scanner), 0);
    assert_false(scanner_passes_much(&scanner, 1));
    scanner_feed(&scanner, skipped + RECORD_HEADER, sizeof(skipped) - 1 - RECORD_HEADER, &owner, &seen);
    scanner_feed(&scanner, taken, RECORD_HEADER, &owner, &seen);
    assert_int_equal(scanner_passing(&scanner), 0);
    assert_false(scanner_passes_much(&scanner, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_cut_gives_the_same_bytes),
        cmocka_unit_test(test_any_cut_gives_passing_records_their_new_id),
        cmocka_unit_test(test_stops_behind_the_record_that_says_so),
        cmocka_unit_test(test_another_version_fails),
        cmocka_unit_test(test_padding_that_reaches_too_far_is_left_out),
        cmocka_unit_test(test_content_may_pass_another_way),
        cmocka_unit_test(test_all_of_it_may_pass_another_way),
        cmocka_unit_test(test_what_is_skipped_or_taken_does_not_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
