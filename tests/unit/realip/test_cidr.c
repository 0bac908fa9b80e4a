#include "realip_cmocka.h"

#include <stdlib.h>
#include <time.h>

#include "realip/cidr.h"

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        const char *first; /* NULL: refused */
        unsigned bits;
        bool host_bits;
    } rows[] = {
        {"10.0.0.0/8", "10.0.0.0", 8, false},
        {"10.1.2.3/8", "10.0.0.0", 8, true},
        {"10.1.2.3", "10.1.2.3", 32, false},
        {"10.1.2.3/32", "10.1.2.3", 32, false},
        {"10.1.2.3/31", "10.1.2.2", 31, true},
        {"0.0.0.0/0", "0.0.0.0", 0, false},
        {"1.0.0.0/0", "0.0.0.0", 0, true},
        {"10.0.0.0/255.0.0.0", "10.0.0.0", 8, false},
        {"10.1.2.3/255.255.255.0", "10.1.2.0", 24, true},
        {"10.1.2.3/255.255.255.255", "10.1.2.3", 32, false},
        {"10.1.2.3/0.0.0.0", "0.0.0.0", 0, true},
        {"2001:db8::/32", "2001:db8::", 32, false},
        {"2001:db8::1/32", "2001:db8::", 32, true},
        {"2001:db8::1/64", "2001:db8::", 64, true},
        {"2001:db8:0:1::/63", "2001:db8::", 63, true},
        {"2001:db8::1", "2001:db8::1", 128, false},
        {"2001:db8::3/127", "2001:db8::2", 127, true},
        {"2001:db8::/65", "2001:db8::", 65, false},
        {"::/0", "::", 0, false},
        {"::1/0", "::", 0, true},
        /* a mapped block of /96 and longer is IPv4; a shorter one is not */
        {"::ffff:10.0.0.0/104", "10.0.0.0", 8, false},
        {"::ffff:10.1.2.3/104", "10.0.0.0", 8, true},
        {"::ffff:10.1.2.3", "10.1.2.3", 32, false},
        {"::ffff:a01:203/128", "10.1.2.3", 32, false},
        {"::ffff:0:0/96", "0.0.0.0", 0, false},
        {"::ffff:0:0/95", "::fffe:0:0", 95, true},
        {"::fffe:0:0/95", "::fffe:0:0", 95, false},
        {"1::ffff:0:0/96", "1::ffff:0:0", 96, false},
        {"10.0.0.0/33", NULL, 0, false},
        {"10.0.0.0/", NULL, 0, false},
        {"10.0.0.0/08", NULL, 0, false},
        {"10.0.0.0/00", NULL, 0, false},
        {"10.0.0.0/-1", NULL, 0, false},
        {"10.0.0.0/+8", NULL, 0, false},
        {"10.0.0.0/8 ", NULL, 0, false},
        {"10.0.0.0/8/8", NULL, 0, false},
        {"10.0.0.0/x", NULL, 0, false},
        {"10.0.0.0/1000", NULL, 0, false},
        {"10.0.0.0/255.0.255.0", NULL, 0, false},
        {"10.0.0.0/0.0.0.255", NULL, 0, false},
        {"10.0.0.0/255.0.0.00", NULL, 0, false},
        {"10.0.0.0/::", NULL, 0, false},
        {"10.0.0.0/::ffff:255.0.0.0", NULL, 0, false},
        {"2001:db8::/129", NULL, 0, false},
        {"2001:db8::/255.0.0.0", NULL, 0, false},
        {"::ffff:10.0.0.0/255.0.0.0", NULL, 0, false},
        {"10/8", NULL, 0, false},
        {"10.0.0/8", NULL, 0, false},
        {"010.0.0.0/8", NULL, 0, false},
        {"fe80::1%eth0/64", NULL, 0, false},
        {"[::1]/128", NULL, 0, false},
        {"/8", NULL, 0, false},
        {"/", NULL, 0, false},
        {"", NULL, 0, false},
        {"unix:", NULL, 0, false},
        {"loopback", NULL, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct cidr block = {.bits = 77};
        bool host_bits = false;
        char text[ADDRESS_TEXT_MAX];
        bool taken = cidr_parse(slice_of(rows[i].text), &block, &host_bits);

        check_number(taken, rows[i].first != NULL, rows[i].text);
        if (!taken) {
            check_number(block.bits, 77, rows[i].text);
            continue;
        }
        check_text(((struct slice){text, address_format(&block.first, text)}), slice_of(rows[i].first),
                   rows[i].text);
        check_number(block.bits, rows[i].bits, rows[i].text);
        check_number(host_bits, rows[i].host_bits, rows[i].text);
    }
}

static void add(struct cidr_set *set, const char *text, int payload)
{
    struct cidr block;
    bool host_bits;

    if (strcmp(text, "unix:") == 0)
        block = (struct cidr){{ADDRESS_UNIX, 0, 0}, 0};
    else
        assert_true(cidr_parse(slice_of(text), &block, &host_bits));
    assert_int_equal(cidr_set_add(set, &block, payload), 0);
}

static int find(const struct cidr_set *set, const char *text)
{
    struct address address = address_parse_peer(slice_of(text));

    return cidr_set_find(set, &address);
}

struct hit {
    const char *text;
    int want;
};

static void check_hits(const struct cidr_set *set, const struct hit *hits, size_t n)
{
    for (size_t i = 0; i < n; i++)
        check_number(find(set, hits[i].text), hits[i].want, hits[i].text);
}

static void test_empty_set(void **state)
{
    static const struct hit hits[] = {{"0.0.0.0", -1}, {"::", -1}, {"unix:", -1}, {"nonsense", -1}};
    struct cidr_set *set = cidr_set_new();

    (void)state;
    assert_int_equal(cidr_set_compile(set), 0);
    check_hits(set, hits, COUNT(hits));
    assert_int_equal(cidr_set_count(set), 0);
    cidr_set_free(set);
    cidr_set_free(NULL);
}

static void test_longest_prefix(void **state)
{
    static const struct hit hits[] = {
        {"9.255.255.255", -1},
        {"10.0.0.0", 1},
        {"10.0.255.255", 1},
        {"10.1.0.0", 2},
        {"10.1.1.255", 2},
        {"10.1.2.0", 3},
        {"10.1.2.2", 3},
        {"10.1.2.3", 4},
        {"10.1.2.4", 3},
        {"10.1.2.255", 3},
        {"10.1.3.0", 2},
        {"10.2.0.0", 1},
        {"10.255.255.254", 1},
        {"10.255.255.255", 5},
        {"11.0.0.0", -1},
        {"0.0.0.0", -1},
        {"255.255.255.255", 6},
        {"255.255.255.254", -1},
        {"2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", -1},
        {"2001:db8::", 1},
        {"2001:db8:0:0:ffff::", 1},
        {"2001:db8:1::", 2},
        {"2001:db8:1::7", 3},
        {"2001:db8:1::8", 2},
        {"2001:db8:1:0:ffff:ffff:ffff:ffff", 2},
        {"2001:db8:1:1::", 1},
        {"2001:db9::", -1},
        {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 7},
        {"::", -1},
        {"unix:", 8},
        {"::ffff:10.1.2.3", 4},
        {"", 8},
        {"unix", -1},
    };
    struct cidr_set *set = cidr_set_new();

    (void)state;
    add(set, "10.1.2.3", 4);
    add(set, "10.1.0.0/16", 2);
    add(set, "10.0.0.0/8", 1);
    add(set, "10.1.2.0/24", 3);
    add(set, "10.255.255.255", 5);
    add(set, "255.255.255.255", 6);
    add(set, "2001:db8:1::/64", 2);
    add(set, "2001:db8::/32", 1);
    add(set, "2001:db8:1::7", 3);
    add(set, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 7);
    add(set, "unix:", 8);
    add(set, "unix:", 9);
    assert_int_equal(cidr_set_compile(set), 0);
    assert_int_equal(cidr_set_count(set), 12);
    check_hits(set, hits, COUNT(hits));
    cidr_set_free(set);
}

static void test_first_of_equals(void **state)
{
    static const struct hit hits[] = {
        {"10.0.0.1", 3}, {"10.0.0.128", 5}, {"10.0.1.0", -1}, {"::1", 0}, {"::2", -1}};
    struct cidr_set *set = cidr_set_new();

    (void)state;
    add(set, "10.0.0.0/24", 3);
    add(set, "10.0.0.0/24", 4);
    add(set, "10.0.0.128/25", 5);
    add(set, "10.0.0.128/25", 6);
    add(set, "10.0.0.0/24", 7);
    add(set, "::1", 0);
    add(set, "::1", 1);
    assert_int_equal(cidr_set_compile(set), 0);
    check_hits(set, hits, COUNT(hits));
    cidr_set_free(set);
}

static void test_everything(void **state)
{
    static const struct hit hits[] = {
        {"0.0.0.0", 1}, {"255.255.255.255", 1}, {"127.0.0.1", 2}, {"128.0.0.0", 1},
        {"::", 3},      {"ffff::", 3},          {"8000::", 4},    {"unix:", -1}};
    struct cidr_set *set = cidr_set_new();

    (void)state;
    add(set, "0.0.0.0/0", 1);
    add(set, "127.0.0.0/8", 2);
    add(set, "::/0", 3);
    add(set, "8000::/128", 4);
    assert_int_equal(cidr_set_compile(set), 0);
    check_hits(set, hits, COUNT(hits));
    cidr_set_free(set);
}

/* Neither ::/0 nor 0.0.0.0/0 is about the other family. */
static void test_families_apart(void **state)
{
    static const struct hit hits[] = {{"1.2.3.4", -1}, {"::ffff:1.2.3.4", -1}, {"::102:304", 1}};
    struct cidr_set *set = cidr_set_new();

    (void)state;
    add(set, "::/0", 1);
    assert_int_equal(cidr_set_compile(set), 0);
    check_hits(set, hits, COUNT(hits));
    cidr_set_free(set);
}

/* --- against a search through all blocks --- */

static uint64_t seed = 0x9e3779b97f4a7c15;

static uint64_t random_bits(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static struct cidr random_block(bool v6, unsigned spread)
{
    char text[64];
    struct cidr block;
    bool host_bits;
    uint64_t r = random_bits();

    if (v6)
        snprintf(text, sizeof text, "2001:db8:%x:%x:%x::%x/%u", (unsigned)(r & spread),
                 (unsigned)(r >> 8 & 3), (unsigned)(r >> 12 & 3), (unsigned)(r >> 16 & 7),
                 (unsigned)(r >> 32) % 129);
    else
        snprintf(text, sizeof text, "10.%u.%u.%u/%u", (unsigned)(r & spread & 255), (unsigned)(r >> 8 & 3),
                 (unsigned)(r >> 16 & 255), (unsigned)(r >> 32) % 33);
    assert_true(cidr_parse(slice_of(text), &block, &host_bits));
    return block;
}

static bool holds(const struct cidr *block, const struct address *address)
{
    unsigned width = block->first.kind == ADDRESS_V4 ? 32 : 128;

    if (block->first.kind != address->kind)
        return false;
    for (unsigned bit = 0; bit < block->bits; bit++) {
        unsigned from_right = width - 1 - bit;
        uint64_t a = from_right < 64 ? block->first.lo >> from_right : block->first.hi >> (from_right - 64);
        uint64_t b = from_right < 64 ? address->lo >> from_right : address->hi >> (from_right - 64);

        if ((a & 1) != (b & 1))
            return false;
    }
    return true;
}

static int find_slowly(const struct cidr *blocks, size_t n, const struct address *address)
{
    int best = -1, best_bits = -1;

    for (size_t i = 0; i < n; i++) {
        if (holds(&blocks[i], address) && blocks[i].bits > best_bits) {
            best_bits = blocks[i].bits;
            best = (int)i;
        }
    }
    return best;
}

static struct address step_by(struct address address, int by)
{
    if (address.kind == ADDRESS_V4) {
        address.lo = (uint32_t)(address.lo + (uint64_t)by);
    } else {
        uint64_t lo = address.lo + (uint64_t)(int64_t)by;

        if (by > 0 && lo < address.lo)
            address.hi++;
        if (by < 0 && lo > address.lo)
            address.hi--;
        address.lo = lo;
    }
    return address;
}

static void test_random_sets(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 400; round++) {
        struct cidr blocks[60];
        size_t n = 1 + random_bits() % COUNT(blocks);
        unsigned spread = round % 2 ? 1 : 0xff;
        struct cidr_set *set = cidr_set_new();

        for (size_t i = 0; i < n; i++) {
            blocks[i] = random_block(random_bits() % 2, spread);
            assert_int_equal(cidr_set_add(set, &blocks[i], (int)i), 0);
        }
        assert_int_equal(cidr_set_compile(set), 0);
        for (unsigned probe = 0; probe < 300; probe++) {
            struct address address = probe < n * 3 ? step_by(blocks[probe / 3].first, (int)(probe % 3) - 1)
                                                   : random_block(random_bits() % 2, spread).first;

            check_number(cidr_set_find(set, &address), find_slowly(blocks, n, &address), "random set");
        }
        cidr_set_free(set);
    }
}

/* --- size --- */

static double seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* The processor time that it takes to make the set. */
static double make_large_set(struct cidr_set *set, unsigned n)
{
    double start = seconds();

    for (unsigned i = n; i-- > 0;) {
        struct cidr block = {{ADDRESS_V4, 0, (uint64_t)i * 2 << 8}, 24};
        struct cidr block6 = {{ADDRESS_V6, UINT64_C(0x20010db8) << 32 | (uint64_t)i * 2, 0}, 64};

        assert_int_equal(cidr_set_add(set, &block, (int)(i % 7)), 0);
        assert_int_equal(cidr_set_add(set, &block6, (int)(i % 5)), 0);
    }
    assert_int_equal(cidr_set_compile(set), 0);
    return seconds() - start;
}

/* With a quadratic step anywhere, ten times as many blocks would take a hundred times as long. */
static void test_large_set(void **state)
{
    const unsigned n = 100000;
    struct cidr_set *small = cidr_set_new(), *set = cidr_set_new();
    double least = make_large_set(small, n / 10);

    (void)state;
    assert_true(make_large_set(set, n) < 50 * least);
    cidr_set_free(small);
    for (unsigned i = 0; i < n; i++) {
        struct address in = {ADDRESS_V4, 0, ((uint64_t)i * 2 << 8) + 255}, out = {ADDRESS_V4, 0, in.lo + 1};
        struct address in6 = {ADDRESS_V6, UINT64_C(0x20010db8) << 32 | (uint64_t)i * 2, ~UINT64_C(0)};
        struct address out6 = {ADDRESS_V6, in6.hi + 1, 0};

        assert_int_equal(cidr_set_find(set, &in), (int)(i % 7));
        assert_int_equal(cidr_set_find(set, &out), -1);
        assert_int_equal(cidr_set_find(set, &in6), (int)(i % 5));
        assert_int_equal(cidr_set_find(set, &out6), -1);
    }
    cidr_set_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),          cmocka_unit_test(test_empty_set),
        cmocka_unit_test(test_longest_prefix), cmocka_unit_test(test_first_of_equals),
        cmocka_unit_test(test_everything),     cmocka_unit_test(test_families_apart),
        cmocka_unit_test(test_random_sets),    cmocka_unit_test(test_large_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
