/*
 * Name-value pairs: random round trips, every truncation, length edges and claimed lengths.
 * SEED and CASES in the environment repeat and size a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "fastcgi/params.h"

#define MAX_PAIRS 24

static uint64_t state;

static unsigned below(unsigned n)
{
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((state >> 33) % n);
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

/* Exactly len random bytes, in memory of just that size. */
static struct slice random_bytes(size_t len)
{
    char *bytes = malloc(len ? len : 1);
    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++)
        bytes[i] = (char)below(256);
    return (struct slice){bytes, len};
}

static void free_bytes(struct slice bytes)
{
    free((char *)(uintptr_t)bytes.data);
}

static size_t random_length(void)
{
    static const size_t edges[] = {0, 1, 126, 127, 128, 129, 255, 256};
    return below(3) ? below(20) : edges[below(8)];
}

struct pairs {
    struct param list[MAX_PAIRS];
    size_t n;
    struct slice wire;
    size_t ends[MAX_PAIRS + 1]; /* ends[i]: bytes of the first i pairs */
};

/* Writes a length as the specification says: the slow way, apart from the code under test. */
static size_t put_length(char *wire, size_t len)
{
    if (len <= 127) {
        wire[0] = (char)len;
        return 1;
    }
    wire[0] = (char)(0x80 + len / 16777216);
    wire[1] = (char)(len / 65536 % 256);
    wire[2] = (char)(len / 256 % 256);
    wire[3] = (char)(len % 256);
    return 4;
}

static struct pairs make_pairs(size_t n)
{
    struct pairs pairs = {.n = n};
    size_t room = 1;
    for (size_t i = 0; i < n; i++) {
        pairs.list[i] = (struct param){random_bytes(random_length()), random_bytes(random_length())};
        room += 8 + pairs.list[i].name.len + pairs.list[i].value.len;
    }
    char *wire = malloc(room);
    assert_non_null(wire);
    size_t len = 0;
    for (size_t i = 0; i < n; i++) {
        len += put_length(wire + len, pairs.list[i].name.len);
        len += put_length(wire + len, pairs.list[i].value.len);
        memcpy(wire + len, pairs.list[i].name.data, pairs.list[i].name.len);
        len += pairs.list[i].name.len;
        memcpy(wire + len, pairs.list[i].value.data, pairs.list[i].value.len);
        len += pairs.list[i].value.len;
        pairs.ends[i + 1] = len;
    }
    pairs.wire = (struct slice){wire, len};
    return pairs;
}

static void free_pairs(struct pairs *pairs)
{
    for (size_t i = 0; i < pairs->n; i++) {
        free_bytes(pairs->list[i].name);
        free_bytes(pairs->list[i].value);
    }
    free_bytes(pairs->wire);
}

/* Decodes a copy of exactly these bytes, so that sanitizers see a step over the end. */
static enum params_error decode_copy(struct slice wire, size_t cap, size_t *n)
{
    struct param list[MAX_PAIRS + 1];
    char *copy = malloc(wire.len ? wire.len : 1);
    assert_non_null(copy);
    memcpy(copy, wire.data, wire.len);
    enum params_error error = params_decode((struct slice){copy, wire.len}, list, cap, n);
    free(copy);
    return error;
}

static void check_round_trip(const struct pairs *pairs)
{
    struct param list[MAX_PAIRS];
    size_t n = 99;
    assert_int_equal(params_decode(pairs->wire, list, MAX_PAIRS, &n), PARAMS_OK);
    assert_int_equal(n, pairs->n);
    for (size_t i = 0; i < n; i++) {
        assert_true(slice_equal(list[i].name, pairs->list[i].name));
        assert_true(slice_equal(list[i].value, pairs->list[i].value));
    }
    const char *at = pairs->wire.data, *end = at + pairs->wire.len;
    for (size_t i = 0; i < n; i++) {
        at = params_next(at, end, &list[i]);
        assert_ptr_equal(at, pairs->wire.data + pairs->ends[i + 1]);
    }
}

static void check_encoding(const struct pairs *pairs)
{
    for (size_t i = 0; i < pairs->n; i++) {
        size_t size = pairs->ends[i + 1] - pairs->ends[i];
        assert_int_equal(params_pair_size(pairs->list[i].name, pairs->list[i].value), size);
        char *wire = malloc(size);
        assert_non_null(wire);
        assert_int_equal(params_encode_pair(wire, pairs->list[i].name, pairs->list[i].value), size);
        assert_memory_equal(wire, pairs->wire.data + pairs->ends[i], size);
        free(wire);
    }
}

static void check_truncations(const struct pairs *pairs)
{
    size_t whole = 0;
    for (size_t len = 0; len <= pairs->wire.len; len++) {
        while (whole < pairs->n && pairs->ends[whole + 1] <= len)
            whole++;
        bool on_boundary = pairs->ends[whole] == len;
        size_t n = 99;
        enum params_error error = decode_copy(slice_part(pairs->wire, 0, len), MAX_PAIRS + 1, &n);
        assert_int_equal(error, on_boundary ? PARAMS_OK : PARAMS_TRUNCATED);
        if (on_boundary)
            assert_int_equal(n, whole);
    }
}

static void keeps_random_pairs(void **test_state)
{
    (void)test_state;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    uint64_t seed = number_from("SEED", (uint64_t)now.tv_nsec), cases = number_from("CASES", 20000);
    if (cases > 20000) /* a count meant for the decisions is too much for this */
        cases = 20000;
    printf("random pairs: SEED=%llu CASES=%llu\n", (unsigned long long)seed, (unsigned long long)cases);
    for (uint64_t i = 0; i < cases; i++) {
        state = (seed + i) * 0x9e3779b97f4a7c15u;
        struct pairs pairs = make_pairs(below(6));
        check_round_trip(&pairs);
        check_encoding(&pairs);
        if (i % 16 == 0)
            check_truncations(&pairs);
        if (pairs.n > 0) {
            size_t n = 99;
            assert_int_equal(decode_copy(pairs.wire, pairs.n - 1, &n), PARAMS_TOO_MANY);
            assert_int_equal(decode_copy(pairs.wire, pairs.n, &n), PARAMS_OK);
        }
        free_pairs(&pairs);
    }
}

static void survives_random_bytes(void **test_state)
{
    (void)test_state;
    state = number_from("SEED", 1);
    for (int i = 0; i < 20000; i++) {
        struct slice junk = random_bytes(below(40));
        struct param list[MAX_PAIRS];
        size_t n = 0;
        if (params_decode(junk, list, MAX_PAIRS, &n) == PARAMS_OK) {
            /* what was understood is all there was */
            const char *at = junk.data;
            for (size_t k = 0; k < n; k++) {
                at += (*at & 0x80) ? 4 : 1;
                at += (*at & 0x80) ? 4 : 1;
                assert_ptr_equal(list[k].name.data, at);
                at += list[k].name.len;
                assert_ptr_equal(list[k].value.data, at);
                at += list[k].value.len;
            }
            assert_ptr_equal(at, junk.data + junk.len);
        }
        free_bytes(junk);
    }
}

static void knows_length_edges(void **test_state)
{
    (void)test_state;
    static const struct {
        size_t len;
        unsigned char wire[4];
        size_t bytes;
    } rows[] = {
        {0, {0}, 1},
        {1, {1}, 1},
        {126, {126}, 1},
        {127, {127}, 1},
        {128, {0x80, 0, 0, 128}, 4},
        {129, {0x80, 0, 0, 129}, 4},
        {255, {0x80, 0, 0, 255}, 4},
        {256, {0x80, 0, 1, 0}, 4},
        {65535, {0x80, 0, 255, 255}, 4},
        {65536, {0x80, 1, 0, 0}, 4},
        {0x1020304, {0x81, 2, 3, 4}, 4},
        {0x7fffffff, {0xff, 255, 255, 255}, 4},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
        for (size_t k = 0; k < sizeof(rows) / sizeof(*rows); k++) {
            char wire[PARAMS_LENGTHS_MAX];
            size_t bytes = rows[i].bytes + rows[k].bytes;
            assert_int_equal(params_encode_lengths(wire, rows[i].len, rows[k].len), bytes);
            assert_memory_equal(wire, rows[i].wire, rows[i].bytes);
            assert_memory_equal(wire + rows[i].bytes, rows[k].wire, rows[k].bytes);
            struct slice name = {NULL, rows[i].len}, value = {NULL, rows[k].len};
            assert_int_equal(params_pair_size(name, value), bytes + rows[i].len + rows[k].len);
        }
    }
}

static void takes_long_forms_of_short_lengths(void **test_state)
{
    (void)test_state;
    const char wire[] = "\x80\x00\x00\x01\x80\x00\x00\x02"
                        "abc";
    struct param list[2];
    size_t n = 0;
    assert_int_equal(params_decode((struct slice){wire, 11}, list, 2, &n), PARAMS_OK);
    assert_int_equal(n, 1);
    assert_true(slice_equal(list[0].name, SLICE("a")));
    assert_true(slice_equal(list[0].value, SLICE("bc")));
}

static void refuses_huge_claims(void **test_state)
{
    (void)test_state;
    static const char *const wires[] = {
        "\xff\xff\xff\xff\xff\xff\xff\xff"
        "aaaa",
        "\xff\xff\xff\xff\x01"
        "aaaaaaa",
        "\x01\xff\xff\xff\xff"
        "aaaaaaa",
        "\xff\xff\xff\xff\x80\x00\x00\x01"
        "aaaa",
        "\xff\xff\xff\xfe\x80\x00\x00\x02"
        "aaaa",
        "\x0a\x05"
        "aaaaaaaaaa",
        "\x7f\x7f"
        "aaaaaaaaaa",
    };
    for (size_t i = 0; i < sizeof(wires) / sizeof(*wires); i++) {
        size_t n = 99;
        assert_int_equal(decode_copy((struct slice){wires[i], 12}, MAX_PAIRS, &n), PARAMS_TRUNCATED);
    }
}

static void counts_room_exactly(void **test_state)
{
    (void)test_state;
    struct param list[2];
    size_t n = 99;
    assert_int_equal(params_decode((struct slice){"", 0}, list, 0, &n), PARAMS_OK);
    assert_int_equal(n, 0);
    assert_int_equal(params_decode((struct slice){"\0\0", 2}, list, 0, &n), PARAMS_TOO_MANY);
    assert_int_equal(params_decode((struct slice){"\0\0\0\0", 4}, list, 1, &n), PARAMS_TOO_MANY);
    assert_int_equal(params_decode((struct slice){"\0\0\0\0", 4}, list, 2, &n), PARAMS_OK);
    assert_int_equal(n, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_random_pairs),  cmocka_unit_test(survives_random_bytes),
        cmocka_unit_test(knows_length_edges),  cmocka_unit_test(takes_long_forms_of_short_lengths),
        cmocka_unit_test(refuses_huge_claims), cmocka_unit_test(counts_room_exactly),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
