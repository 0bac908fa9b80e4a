#include "realip_cmocka.h"

#include <arpa/inet.h>

#include "realip/address.h"

/* The canonical text of what an address parser took, or NULL: refused. */
struct row {
    const char *text;
    const char *want;
    unsigned port;
};

static struct slice format(const struct address *address)
{
    static char text[ADDRESS_TEXT_MAX];

    return (struct slice){text, address_format(address, text)};
}

static void check_refused(const struct address *address, const char *text)
{
    check_number(address->kind, ADDRESS_UNIX, text);
    check_number((long long)address->hi, 7, text);
    check_number((long long)address->lo, 8, text);
}

static const struct address untouched = {ADDRESS_UNIX, 7, 8};

static void test_bare_address(void **state)
{
    static const struct row rows[] = {
        {"1.2.3.4", "1.2.3.4", 0},
        {"0.0.0.0", "0.0.0.0", 0},
        {"255.255.255.255", "255.255.255.255", 0},
        {"10.20.30.40", "10.20.30.40", 0},
        /* no leading zeros, no octal, no short forms, no hex */
        {"01.2.3.4", NULL, 0},
        {"1.02.3.4", NULL, 0},
        {"1.2.3.04", NULL, 0},
        {"1.2.3.00", NULL, 0},
        {"0177.0.0.1", NULL, 0},
        {"0x7f.0.0.1", NULL, 0},
        {"127.1", NULL, 0},
        {"2130706433", NULL, 0},
        {"256.1.1.1", NULL, 0},
        {"1.1.1.256", NULL, 0},
        {"1.1.1.1111", NULL, 0},
        {"99999999999999999999.1.1.1", NULL, 0},
        {"1.2.3", NULL, 0},
        {"1.2.3.", NULL, 0},
        {"1.2.3.4.", NULL, 0},
        {"1.2.3.4.5", NULL, 0},
        {".1.2.3.4", NULL, 0},
        {"1..2.3", NULL, 0},
        {"1.2.3.a", NULL, 0},
        {"1.2.3:4", NULL, 0},
        {"+1.2.3.4", NULL, 0},
        {"-1.2.3.4", NULL, 0},
        {" 1.2.3.4", NULL, 0},
        {"1.2.3.4 ", NULL, 0},
        {"", NULL, 0},
        {"localhost", NULL, 0},
        /* IPv6 */
        {"2001:db8:1:2:3:4:5:6", "2001:db8:1:2:3:4:5:6", 0},
        {"::", "::", 0},
        {"::1", "::1", 0},
        {"1::", "1::", 0},
        {"2001:DB8::AbCd", "2001:db8::abcd", 0},
        {"2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1", 0},
        {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0", 0},
        {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8", 0},
        {"1:2:3::5:6:7:8", "1:2:3:0:5:6:7:8", 0},
        {"2001:db8::1.2.3.4", "2001:db8::102:304", 0},
        {"1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:102:304", 0},
        {"::1.2.3.4", "::102:304", 0},
        {"1:2:3:4:5:6:7", NULL, 0},
        {"1:2:3:4:5:6:7:8:9", NULL, 0},
        {"1:2:3:4:5:6:7:8::", NULL, 0},
        {"::1:2:3:4:5:6:7:8", NULL, 0},
        {"1::2:3:4:5:6:7:8", NULL, 0},
        {"1::2::3", NULL, 0},
        {":::", NULL, 0},
        {":", NULL, 0},
        {":1", NULL, 0},
        {"1:", NULL, 0},
        {"1:2:3:4:5:6:7:", NULL, 0},
        {"::1:", NULL, 0},
        {"12345::", NULL, 0},
        {"::00001", NULL, 0},
        {"g::", NULL, 0},
        {"::@", NULL, 0},
        {"::`", NULL, 0},
        {"::G", NULL, 0},
        {"1:2:3:4:5:6:7:1.2.3.4", NULL, 0},
        {"::1.2.3", NULL, 0},
        {"::1.2.3.04", NULL, 0},
        {"::1.2.3.4:5", NULL, 0},
        {"1.2.3.4::", NULL, 0},
        {"2001:db8::1%eth0", NULL, 0},
        {"fe80::1%1", NULL, 0},
        {"[::1]", NULL, 0},
        {" ::1", NULL, 0},
        {"::1 ", NULL, 0},
        /* IPv4-mapped is IPv4, in any spelling; compatible, NAT64 and 6to4 are not */
        {"::ffff:1.2.3.4", "1.2.3.4", 0},
        {"::FFFF:1.2.3.4", "1.2.3.4", 0},
        {"::ffff:102:304", "1.2.3.4", 0},
        {"0:0:0:0:0:ffff:1.2.3.4", "1.2.3.4", 0},
        {"0:0:0:0:0:fffe:1.2.3.4", "::fffe:102:304", 0},
        {"::ffff:0:1.2.3.4", "::ffff:0:102:304", 0},
        {"1::ffff:1.2.3.4", "1::ffff:102:304", 0},
        {"64:ff9b::1.2.3.4", "64:ff9b::102:304", 0},
        {"2002:102:304::", "2002:102:304::", 0},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct address address = untouched;
        bool taken = address_parse(slice_of(rows[i].text), &address);

        check_number(taken, rows[i].want != NULL, rows[i].text);
        if (taken)
            check_text(format(&address), slice_of(rows[i].want), rows[i].text);
        else
            check_refused(&address, rows[i].text);
    }
}

static void test_nul_inside(void **state)
{
    struct address address;

    (void)state;
    assert_false(address_parse(SLICE("1.2.3.4\0"), &address));
    assert_false(address_parse(SLICE("1.2.3.\0004"), &address));
    assert_false(address_parse(SLICE("::1\0"), &address));
}

static void test_unmapped(void **state)
{
    struct address address;

    (void)state;
    assert_true(address_parse_unmapped(SLICE("::ffff:1.2.3.4"), &address));
    assert_int_equal(address.kind, ADDRESS_V6);
    assert_true(address.hi == 0 && address.lo == 0xffff01020304);
    assert_true(address_parse_unmapped(SLICE("1.2.3.4"), &address));
    assert_int_equal(address.kind, ADDRESS_V4);
    assert_true(address.hi == 0 && address.lo == 0x01020304);
    assert_false(address_parse_unmapped(SLICE("x"), &address));
}

static void check_elements(bool (*parse)(struct slice, struct address *, uint16_t *), const struct row *rows,
                           size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct address address = untouched;
        uint16_t port = 99;
        bool taken = parse(slice_of(rows[i].text), &address, &port);

        check_number(taken, rows[i].want != NULL, rows[i].text);
        if (taken) {
            check_text(format(&address), slice_of(rows[i].want), rows[i].text);
        } else {
            check_refused(&address, rows[i].text);
        }
        check_number(port, taken ? rows[i].port : 99, rows[i].text);
    }
}

static const struct row element_rows[] = {
    {"1.2.3.4", "1.2.3.4", 0},
    {"1.2.3.4:80", "1.2.3.4", 80},
    {"1.2.3.4:1", "1.2.3.4", 1},
    {"1.2.3.4:65535", "1.2.3.4", 65535},
    {"2001:db8::1", "2001:db8::1", 0},
    {"[2001:db8::1]", "2001:db8::1", 0},
    {"[2001:db8::1]:443", "2001:db8::1", 443},
    {"::ffff:1.2.3.4", "1.2.3.4", 0},
    {"[::ffff:1.2.3.4]", "1.2.3.4", 0},
    {"[::ffff:1.2.3.4]:80", "1.2.3.4", 80},
    /* a bare address that ends in a port is IPv6 */
    {"1:2:3::4:80", "1:2:3::4:80", 0},
    {"::1:80", "::1:80", 0},
    {"1.2.3.4:0", NULL, 0},
    {"1.2.3.4:65536", NULL, 0},
    {"1.2.3.4:99999", NULL, 0},
    {"1.2.3.4:100000", NULL, 0},
    {"1.2.3.4:080", NULL, 0},
    {"1.2.3.4:", NULL, 0},
    {"1.2.3.4:x", NULL, 0},
    {"1.2.3.4:-1", NULL, 0},
    {"1.2.3.4:+1", NULL, 0},
    {"1.2.3.4: 80", NULL, 0},
    {"1.2.3.4:80:80", NULL, 0},
    {"1.2.3.4 ", NULL, 0},
    {"1.2.3.4/32", NULL, 0},
    {"::ffff:1.2.3.4:80", NULL, 0},
    {"1:2:3:4:5:6:7:8:80", NULL, 0},
    {"[1.2.3.4]", NULL, 0},
    {"[1.2.3.4]:80", NULL, 0},
    {"[::1", NULL, 0},
    {"[", NULL, 0},
    {"[]", NULL, 0},
    {"[]:80", NULL, 0},
    {"::1]", NULL, 0},
    {"[::1]80", NULL, 0},
    {"[::1]:", NULL, 0},
    {"[::1]:0", NULL, 0},
    {"[::1]:080", NULL, 0},
    {"[::1]:65536", NULL, 0},
    {"[[::1]]", NULL, 0},
    {"[fe80::1%eth0]", NULL, 0},
    {"fe80::1%eth0", NULL, 0},
    {"[::1]x", NULL, 0},
    {"", NULL, 0},
    {"unknown", NULL, 0},
    {"_hidden", NULL, 0},
    {"example.org", NULL, 0},
    {"localhost:80", NULL, 0},
    {"unix:", NULL, 0},
    {"\"1.2.3.4\"", NULL, 0},
    {"1.2.3.4, 5.6.7.8", NULL, 0},
};

static void test_element(void **state)
{
    static const struct row no_node[] = {
        {"1.2.3.4:_x", NULL, 0},
        {"[::1]:_x", NULL, 0},
    };

    (void)state;
    check_elements(address_parse_element, element_rows, COUNT(element_rows));
    check_elements(address_parse_element, no_node, COUNT(no_node));
}

static void test_node(void **state)
{
    static const struct row rows[] = {
        {"1.2.3.4:_x", "1.2.3.4", 0},
        {"1.2.3.4:_aZ09._-", "1.2.3.4", 0},
        {"[::1]:_secret", "::1", 0},
        {"1.2.3.4:_", NULL, 0},
        {"1.2.3.4:_a b", NULL, 0},
        {"1.2.3.4:_a@", NULL, 0},
        {"1.2.3.4:_{", NULL, 0},
        {"1.2.3.4:x", NULL, 0},
        {"_x", NULL, 0},
        {"unknown:_x", NULL, 0},
    };

    (void)state;
    check_elements(address_parse_node, element_rows, COUNT(element_rows));
    check_elements(address_parse_node, rows, COUNT(rows));
}

static void test_peer(void **state)
{
    static const struct row rows[] = {
        {"1.2.3.4", "1.2.3.4", 0},
        {"2001:DB8:0::1", "2001:db8::1", 0},
        {"::ffff:1.2.3.4", "1.2.3.4", 0},
        {"[2001:db8::1]", "2001:db8::1", 0},
        {"[::ffff:1.2.3.4]", "1.2.3.4", 0},
        {"fe80::1%eth0", "fe80::1", 0},
        {"fe80::1%1", "fe80::1", 0},
        {"[fe80::1%eth0]", "fe80::1", 0},
        {"::ffff:1.2.3.4%eth0", "1.2.3.4", 0},
        /* a unix peer */
        {"", "unix:", 0},
        {"unix:", "unix:", 0},
        {"unix:/run/nginx.sock", "unix:", 0},
        {"/run/nginx.sock", "unix:", 0},
        {"/", "unix:", 0},
        {"@", "unix:", 0},
        {"@abstract", "unix:", 0},
        /* nobody */
        {"unix", "", 0},
        {"UNIX:", "", 0},
        {"unixx:", "", 0},
        {"uni", "", 0},
        {"1.2.3.4:80", "", 0},
        {"[2001:db8::1]:80", "", 0},
        {"[1.2.3.4]", "", 0},
        {"1.2.3.4%eth0", "", 0},
        {"[1.2.3.4%eth0]", "", 0},
        {"fe80::1%", "", 0},
        {"[fe80::1%]", "", 0},
        {"[fe80::1]%eth0", "", 0},
        {"%eth0", "", 0},
        {"[]", "", 0},
        {"[", "", 0},
        {"[fe80::1", "", 0},
        {"fe80::1]", "", 0},
        {" 1.2.3.4", "", 0},
        {"1.2.3.4 ", "", 0},
        {"01.2.3.4", "", 0},
        {"unknown", "", 0},
        {"localhost", "", 0},
        {"1.2.3.4\n", "", 0},
        {"unix:\n", "", 0},
        {"/run\r", "", 0},
        {"fe80::1%eth\n", "", 0},
    };
    struct address nobody;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct address address = address_parse_peer(slice_of(rows[i].text));

        check_text(format(&address), slice_of(rows[i].want), rows[i].text);
        if (rows[i].want[0] == '\0')
            check_number(address.kind, ADDRESS_NONE, rows[i].text);
    }
    nobody = address_parse_peer(SLICE("1.2.3.4\0"));
    assert_int_equal(nobody.kind, ADDRESS_NONE);
    nobody = address_parse_peer(SLICE("@\0abstract"));
    assert_int_equal(nobody.kind, ADDRESS_NONE);
    nobody = address_parse_peer((struct slice){NULL, 0});
    assert_int_equal(nobody.kind, ADDRESS_UNIX);
}

/* RFC 5952, sections 4.1 to 4.3. */
static void test_canonical_text(void **state)
{
    static const struct row rows[] = {
        {"2001:0db8::0001", "2001:db8::1", 0},
        {"2001:db8:0:0:0:0:2:1", "2001:db8::2:1", 0},
        {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1", 0},
        {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1", 0},
        {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1", 0},
        {"0:0:1:0:0:0:0:0", "0:0:1::", 0},
        {"0:0:0:1:0:0:0:0", "0:0:0:1::", 0},
        {"ABCD:EF01:2345:6789:ABCD:EF01:2345:6789", "abcd:ef01:2345:6789:abcd:ef01:2345:6789", 0},
        {"10:100:1000:f:ff:fff:ffff:0", "10:100:1000:f:ff:fff:ffff:0", 0},
    };
    struct address none = {.kind = ADDRESS_NONE};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct address address;

        assert_true(address_parse(slice_of(rows[i].text), &address));
        check_text(format(&address), slice_of(rows[i].want), rows[i].text);
    }
    assert_int_equal(format(&none).len, 0);
}

/* Against the C library, over addresses with runs of zeros in all places. */
static void test_against_inet_pton(void **state)
{
    (void)state;
    for (unsigned pattern = 1; pattern < 256; pattern++) {
        unsigned char bytes[16] = {0};
        char text[INET6_ADDRSTRLEN];
        struct address address;

        for (unsigned i = 0; i < 8; i++) {
            bytes[2 * i] = (unsigned char)((pattern >> i & 1) * (0x11 * i));
            bytes[2 * i + 1] = (unsigned char)((pattern >> i & 1) * (i + 1));
        }
        assert_non_null(inet_ntop(AF_INET6, bytes, text, sizeof text));
        if (strchr(text, '.') != NULL)
            continue; /* IPv4-compatible, which the C library writes in its own way */
        assert_true(address_parse(slice_of(text), &address));
        for (unsigned i = 0; i < 16; i++)
            assert_int_equal((i < 8 ? address.hi : address.lo) >> (56 - 8 * (i % 8)) & 255, bytes[i]);
        check_text(format(&address), slice_of(text), text);
    }
}

static void test_port_text(void **state)
{
    static const unsigned ports[] = {1, 9, 10, 80, 443, 8080, 65535};

    (void)state;
    for (size_t i = 0; i < COUNT(ports); i++) {
        char got[ADDRESS_PORT_MAX], want[8];

        snprintf(want, sizeof want, "%u", ports[i]);
        check_text(((struct slice){got, address_format_port((uint16_t)ports[i], got)}), slice_of(want), want);
    }
}

static void test_equal(void **state)
{
    const struct address a = {ADDRESS_V4, 0, 1}, b = {ADDRESS_V6, 0, 1}, c = {ADDRESS_V6, 1, 1},
                         d = {ADDRESS_V6, 1, 2}, u = {ADDRESS_UNIX, 0, 0}, none = {ADDRESS_NONE, 0, 0};

    (void)state;
    assert_true(address_equal(&a, &a));
    assert_true(address_equal(&u, &u));
    assert_false(address_equal(&a, &b));
    assert_false(address_equal(&b, &c));
    assert_false(address_equal(&c, &d));
    assert_false(address_equal(&none, &none));
}

static void test_private(void **state)
{
    static const struct {
        const char *text;
        bool want;
    } rows[] = {
        {"10.0.0.0", true},
        {"10.255.255.255", true},
        {"9.255.255.255", false},
        {"11.0.0.0", false},
        {"172.16.0.0", true},
        {"172.31.255.255", true},
        {"172.15.255.255", false},
        {"172.32.0.0", false},
        {"192.168.0.0", true},
        {"192.168.255.255", true},
        {"192.167.0.1", false},
        {"192.169.0.1", false},
        {"127.0.0.1", true},
        {"127.255.255.255", true},
        {"126.255.255.255", false},
        {"128.0.0.0", false},
        {"169.254.0.0", true},
        {"169.254.255.255", true},
        {"169.253.0.0", false},
        {"169.255.0.0", false},
        {"8.8.8.8", false},
        {"0.0.0.0", false},
        {"100.64.0.1", false},
        {"255.255.255.255", false},
        {"2000::", false},
        {"3fff:ffff::", false},
        {"1fff:ffff::", true},
        {"4000::", true},
        {"::1", true},
        {"::", true},
        {"fe80::1", true},
        {"fc00::1", true},
        {"ff02::1", true},
        {"64:ff9b::1", true},
        {"::ffff:8.8.8.8", false},
        {"::ffff:10.0.0.1", true},
        {"2001:db8::1", false},
    };
    const struct address none = {.kind = ADDRESS_NONE}, unix_peer = {.kind = ADDRESS_UNIX};

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct address address;

        assert_true(address_parse(slice_of(rows[i].text), &address));
        check_number(address_is_private(&address), rows[i].want, rows[i].text);
    }
    assert_false(address_is_private(&none));
    assert_false(address_is_private(&unix_peer));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bare_address),   cmocka_unit_test(test_nul_inside),
        cmocka_unit_test(test_unmapped),       cmocka_unit_test(test_element),
        cmocka_unit_test(test_node),           cmocka_unit_test(test_peer),
        cmocka_unit_test(test_canonical_text), cmocka_unit_test(test_against_inet_pton),
        cmocka_unit_test(test_port_text),      cmocka_unit_test(test_equal),
        cmocka_unit_test(test_private),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
