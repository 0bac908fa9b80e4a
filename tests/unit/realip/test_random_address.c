/*
 * Address parsing and formatting against inet_pton and inet_ntop, and trust sets against a linear scan, on
 * random texts and sets. SEED and CASES as in test_random.c.
 *
 * glibc's inet_pton is as strict as we are (no leading zeros in dotted decimal, no short forms, at most four
 * hex digits a group, "::" for one group or more), but it takes a string: a NUL ends it, so the oracle
 * refuses that first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "random_case.h"
#include "realip/cidr.h"

static const char *const seeds[] = {
    "10.0.0.1",
    "255.255.255.255",
    "0.0.0.0",
    "1.2.3.4:80",
    "203.0.113.9:65535",
    "::",
    "::1",
    "2001:db8::1",
    "1:2:3:4:5:6:7:8",
    "1:2:3:4:5:6:7::",
    "::2:3:4:5:6:7:8",
    "::ffff:1.2.3.4",
    "64:ff9b::1.2.3.4",
    "1:2:3:4:5:6:1.2.3.4",
    "[::1]:80",
    "[2001:db8::1]",
    "fe80::1%eth0",
    "unix:/run/x",
    "abcd:ef01:2345:6789:abcd:ef01:2345:6789",
    "[::ffff:10.0.0.1]:1",
    "1.2.3.4:_x",
    "[::1]:_a-b.c",
    "a:b:c::d:80",
    "1::2:0:0:3",
    "@x",
    "/run/x.sock",
    "::ffff:0:1.2.3.4",
    "0:0:0:0:0:ffff:1.2.3.4",
    "10.0.0.0/8",
};
static const char alphabet[] = "0123456789abcdefABCDEF::::....[]%_/ -gx\t,\"";

static struct slice random_text(struct random_source *source)
{
    char text[80];
    size_t len = 0;
    if (random_once_in(source, 4)) {
        len = random_below(source, 20);
        for (size_t i = 0; i < len; i++)
            text[i] = alphabet[random_below(source, sizeof(alphabet) - 1)];
        return oracle_copy((struct slice){text, len});
    }
    const char *seed = RANDOM_PICK(source, seeds);
    len = strlen(seed);
    memcpy(text, seed, len);
    for (unsigned edits = random_below(source, 4); edits > 0; edits--) {
        size_t at = random_below(source, (unsigned)len + 1);
        char c = random_once_in(source, 30) ? (char)random_next(source)
                                            : alphabet[random_below(source, sizeof(alphabet) - 1)];
        if (random_once_in(source, 3) && len < sizeof(text)) { /* put one in */
            memmove(text + at + 1, text + at, len - at);
            text[at] = c;
            len++;
        } else if (at < len && random_once_in(source, 2)) { /* take one out */
            memmove(text + at, text + at + 1, len - at - 1);
            len--;
        } else if (at < len) {
            text[at] = c;
        }
    }
    return oracle_copy((struct slice){text, len});
}

static const char *formatted(const struct address *address)
{
    char text[ADDRESS_TEXT_MAX];
    size_t len = address_format(address, text);
    return oracle_print("%.*s", (int)len, text);
}

static void expect(const char *what, struct slice text, bool got, const struct address *address,
                   unsigned port, const char *want, unsigned want_port)
{
    if (got == (want != NULL) && (!got || (strcmp(formatted(address), want) == 0 && port == want_port)))
        return;
    fprintf(stderr, "%s of [", what);
    random_print_slice(text, stderr);
    fprintf(stderr, "]: real %s port %u, oracle %s port %u\n", got ? formatted(address) : "none", port,
            want ? want : "none", want_port);
    fail();
}

static void parses_as_inet_pton(void **state)
{
    (void)state;
    struct random_run run = random_run_new("random address texts", 400000);
    for (uint64_t i = run.first; i < run.first + run.cases; i++) {
        struct random_source source = random_source_new(run.seed, i);
        struct slice text = random_text(&source);
        struct address address = {ADDRESS_NONE, 0, 0};
        uint16_t port = 0;
        unsigned want_port = 0;

        const char *want = oracle_address(text);
        expect("address_parse", text, address_parse(text, &address), &address, 0, want, 0);
        want = oracle_element(text, &want_port);
        bool got = address_parse_element(text, &address, &port);
        expect("address_parse_element", text, got, &address, port, want, want_port);
        want = oracle_node(text, &want_port);
        got = address_parse_node(text, &address, &port);
        expect("address_parse_node", text, got, &address, port, want, want_port);
        want = oracle_peer(text);
        address = address_parse_peer(text);
        expect("address_parse_peer", text, address.kind != ADDRESS_NONE, &address, 0, want, 0);
        oracle_reset();
    }
}

/* Many zero groups, so that all runs of "::" come up. */
static struct address random_ip(struct random_source *source)
{
    struct address address = {ADDRESS_V6, 0, 0};
    for (int i = 0; i < 8; i++) {
        uint64_t group =
            random_once_in(source, 2) ? 0 : random_next(source) >> (48 + random_below(source, 16));
        if (i < 4)
            address.hi = address.hi << 16 | group;
        else
            address.lo = address.lo << 16 | group;
    }
    if (random_once_in(source, 3))
        address = (struct address){ADDRESS_V4, 0, random_next(source) >> 32};
    if (address.kind == ADDRESS_V6 && address.hi == 0 && address.lo >> 32 == 0xffff)
        address = (struct address){ADDRESS_V4, 0, address.lo & 0xffffffff};
    return address;
}

static void formats_as_inet_ntop(void **state)
{
    (void)state;
    struct random_run run = random_run_new("random addresses", 400000);
    for (uint64_t i = run.first; i < run.first + run.cases; i++) {
        struct random_source source = random_source_new(run.seed, i);
        struct address address = random_ip(&source), again = {ADDRESS_NONE, 0, 0};
        const char *text = formatted(&address);
        const char *want = oracle_address(slice_of(text));
        assert_non_null(want);
        assert_string_equal(text, want);
        assert_true(address_parse(slice_of(text), &again));
        assert_true(address_equal(&address, &again));
        assert_int_equal(address_is_private(&address), oracle_is_private(text));
        oracle_reset();
    }
}

/* Sets */

struct scan {
    struct cidr *blocks;
    int *payloads;
    size_t n;
};

static bool holds(const struct cidr *block, const struct address *address)
{
    if (block->first.kind != address->kind || address->kind == ADDRESS_NONE)
        return false;
    if (address->kind == ADDRESS_UNIX)
        return true;
    unsigned width = address->kind == ADDRESS_V4 ? 32 : 64, bits = block->bits;
    if (address->kind == ADDRESS_V6) {
        unsigned high = bits < 64 ? bits : 64;
        if (high && (address->hi ^ block->first.hi) >> (64 - high))
            return false;
        bits -= high;
    }
    return bits == 0 || (address->lo ^ block->first.lo) >> (width - bits) == 0;
}

static int scan_find(const struct scan *scan, const struct address *address)
{
    int best = -1, bits = -1;
    for (size_t i = 0; i < scan->n; i++) {
        if (scan->blocks[i].bits > bits && holds(&scan->blocks[i], address)) {
            best = scan->payloads[i];
            bits = scan->blocks[i].bits;
        }
    }
    return best;
}

static void clear_host_bits(struct cidr *block)
{
    unsigned bits = block->bits;
    if (block->first.kind == ADDRESS_V4) {
        block->first.lo &= bits ? 0xffffffffu << (32 - bits) : 0;
        block->first.lo &= 0xffffffffu;
        return;
    }
    block->first.hi &= bits == 0 ? 0 : bits >= 64 ? ~(uint64_t)0 : ~(uint64_t)0 << (64 - bits);
    block->first.lo &= bits <= 64 ? 0 : ~(uint64_t)0 << (128 - bits);
}

/* `spread`: how many values a random part has; small ones make blocks nest and meet. */
static struct cidr random_cidr(struct random_source *source, unsigned spread)
{
    struct cidr block = {{ADDRESS_V4, 0, 0}, 0};
    if (random_once_in(source, 50)) {
        block.first.kind = ADDRESS_UNIX;
        return block;
    }
    uint64_t value = random_below(source, spread);
    if (random_once_in(source, 2)) {
        block.bits = (uint8_t)random_below(source, 33);
        block.first.lo = random_once_in(source, 4) ? 0xffffffff - value : 0x0a000000 + value;
    } else {
        block.first.kind = ADDRESS_V6;
        block.bits = (uint8_t)random_below(source, 129);
        block.first.hi = random_once_in(source, 4) ? ~(uint64_t)0 : 0x20010db800000000u + value / 16;
        block.first.lo = random_once_in(source, 4) ? ~value : (value % 16) << random_below(source, 61);
    }
    clear_host_bits(&block);
    return block;
}

static struct address last_of(const struct cidr *block)
{
    struct cidr ones = {block->first, block->bits};
    struct cidr host = {{block->first.kind, ~(uint64_t)0, ~(uint64_t)0}, block->bits};
    clear_host_bits(&host);
    if (block->first.kind == ADDRESS_V4)
        ones.first.lo |= ~host.first.lo & 0xffffffffu;
    if (block->first.kind == ADDRESS_V6) {
        ones.first.hi |= ~host.first.hi;
        ones.first.lo |= ~host.first.lo;
    }
    return ones.first;
}

static struct address moved_by(struct address address, bool up)
{
    uint64_t before = address.lo;
    if (address.kind == ADDRESS_UNIX)
        return address;
    address.lo += up ? 1 : ~(uint64_t)0;
    if (address.kind == ADDRESS_V4) {
        address.lo &= 0xffffffffu;
        return address;
    }
    if (up && address.lo == 0)
        address.hi++;
    if (!up && before == 0)
        address.hi--;
    return address;
}

static void check_address(const struct cidr_set *set, const struct scan *scan, struct address address)
{
    int want = scan_find(scan, &address), got = cidr_set_find(set, &address);
    if (got == want)
        return;
    fprintf(stderr, "%s: real %d, scan %d\n", formatted(&address), got, want);
    for (size_t i = 0; i < scan->n && scan->n < 50; i++)
        fprintf(stderr, "  %s/%u -> %d\n", formatted(&scan->blocks[i].first), scan->blocks[i].bits,
                scan->payloads[i]);
    fail();
}

static void check_set(struct random_source *source, size_t n, unsigned spread, unsigned queries)
{
    struct scan scan = {oracle_alloc(n * sizeof(struct cidr)), oracle_alloc(n * sizeof(int)), n};
    struct cidr_set *set = cidr_set_new();
    assert_non_null(set);
    for (size_t i = 0; i < n; i++) {
        scan.blocks[i] = random_cidr(source, spread);
        scan.payloads[i] = (int)random_below(source, 256);
        assert_int_equal(cidr_set_add(set, &scan.blocks[i], scan.payloads[i]), 0);
    }
    assert_int_equal(cidr_set_compile(set), 0);
    assert_int_equal(cidr_set_count(set), n);
    for (unsigned q = 0; q < queries; q++) {
        const struct cidr *block = &scan.blocks[random_below(source, (unsigned)n)];
        check_address(set, &scan, block->first);
        check_address(set, &scan, moved_by(block->first, false));
        check_address(set, &scan, last_of(block));
        check_address(set, &scan, moved_by(last_of(block), true));
        check_address(set, &scan, random_cidr(source, spread).first);
        check_address(set, &scan, random_ip(source));
    }
    check_address(set, &scan, (struct address){ADDRESS_NONE, 0, 0});
    check_address(set, &scan, (struct address){ADDRESS_UNIX, 0, 0});
    cidr_set_free(set);
}

static void finds_as_a_scan(void **state)
{
    (void)state;
    struct random_run run = random_run_new("random sets", 20000);
    for (uint64_t i = run.first; i < run.first + run.cases; i++) {
        struct random_source source = random_source_new(run.seed, i);
        static const unsigned spreads[] = {4, 64, 4096, 1u << 24};
        check_set(&source, 1 + random_below(&source, 20), RANDOM_PICK(&source, spreads), 5);
        oracle_reset();
    }
}

static void finds_among_100000(void **state)
{
    (void)state;
    struct random_run run = random_run_new("a large set", 100);
    struct random_source source = random_source_new(run.seed, run.first);
    check_set(&source, 100000, 1u << 24, run.cases < 100 ? (unsigned)run.cases : 100);
    oracle_reset();
}

/* Block texts */

static void reads_blocks(void **state)
{
    (void)state;
    struct random_run run = random_run_new("random block texts", 100000);
    for (uint64_t i = run.first; i < run.first + run.cases; i++) {
        struct random_source source = random_source_new(run.seed, i);
        struct address address = random_ip(&source);
        struct cidr want = {address, 0}, got;
        bool v4 = address.kind == ADDRESS_V4, mapped = v4 && random_once_in(&source, 3), host_bits = true;
        unsigned bits = random_below(&source, v4 ? 33 : 129);
        want.bits = (uint8_t)bits;
        clear_host_bits(&want);
        const char *text =
            oracle_print(mapped ? "::ffff:%s/%u" : "%s/%u", formatted(&address), mapped ? bits + 96 : bits);
        if (v4 && !mapped && random_once_in(&source, 3)) {
            struct cidr mask = {{ADDRESS_V4, 0, 0xffffffff}, (uint8_t)bits};
            clear_host_bits(&mask);
            text = oracle_print("%s/%s", formatted(&address), formatted(&mask.first));
        }
        assert_true(cidr_parse(slice_of(text), &got, &host_bits));
        assert_int_equal(got.bits, want.bits);
        assert_int_equal(got.first.kind, want.first.kind);
        assert_true(got.first.hi == want.first.hi && got.first.lo == want.first.lo);
        assert_int_equal(host_bits, !address_equal(&want.first, &address));
        oracle_reset();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_as_inet_pton), cmocka_unit_test(formats_as_inet_ntop),
        cmocka_unit_test(finds_as_a_scan),     cmocka_unit_test(finds_among_100000),
        cmocka_unit_test(reads_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
