#include "realip/address.h"

#define MAPPED_PREFIX 0xffffU /* bits 64 to 95 of ::ffff:0:0/96, the rest of them 0 */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Reads four strict decimal numbers; gives what follows them, or NULL. */
static const char *scan_v4(const char *p, const char *end, uint32_t *out)
{
    uint32_t bits = 0;

    for (int part = 0; part < 4; part++) {
        if (part > 0) {
            if (p == end || *p != '.')
                return NULL;
            p++;
        }
        if (p == end || !is_digit(*p))
            return NULL;
        uint32_t value = (uint32_t)(*p++ - '0');
        /* Nothing may follow a leading zero: some programs would read the number as octal. */
        if (value > 0) {
            while (p < end && is_digit(*p) && value <= 255)
                value = value * 10 + (uint32_t)(*p++ - '0');
        } else if (p < end && is_digit(*p)) {
            return NULL;
        }
        if (value > 255)
            return NULL;
        bits = bits << 8 | value;
    }
    *out = bits;
    return p;
}

/* Spreads the n groups read over eight, with zeros at the gap, and packs them. */
static void pack_groups(const uint16_t *groups, unsigned n, unsigned gap, struct address *out)
{
    uint64_t half[2] = {0, 0};

    for (unsigned i = 0; i < n; i++) {
        unsigned place = i < gap ? i : i + 8 - n;
        half[place / 4] |= (uint64_t)groups[i] << (48 - 16 * (place % 4));
    }
    out->kind = ADDRESS_V6;
    out->hi = half[0];
    out->lo = half[1];
}

/* RFC 4291 section 2.2, all three forms. "::" stands for one group at least. */
static bool parse_v6(struct slice text, struct address *out)
{
    const unsigned none = 9;
    uint16_t groups[8];
    unsigned n = 0, gap = none;
    const char *p = text.data;
    const char *end = p + text.len;

    if (text.len >= 2 && p[0] == ':' && p[1] == ':') {
        gap = 0;
        p += 2;
    }
    while (p < end) {
        const char *start = p;
        unsigned value = 0;
        int digit;

        while (p < end && p - start < 4 && (digit = hex_value(*p)) >= 0) {
            value = value << 4 | (unsigned)digit;
            p++;
        }
        if (p < end && *p == '.') {
            uint32_t v4;

            if (n > 6 || scan_v4(start, end, &v4) != end)
                return false;
            groups[n++] = (uint16_t)(v4 >> 16);
            groups[n++] = (uint16_t)v4;
            break;
        }
        if (p == start || n == 8)
            return false;
        groups[n++] = (uint16_t)value;
        if (p == end)
            break;
        if (*p++ != ':' || p == end)
            return false;
        if (*p == ':') {
            if (gap != none)
                return false;
            gap = n;
            p++;
        }
    }
    if (gap == none ? n != 8 : n > 7)
        return false;
    pack_groups(groups, n, gap, out);
    return true;
}

static struct address from_v4(uint32_t bits)
{
    return (struct address){.kind = ADDRESS_V4, .lo = bits};
}

static struct address unmap(struct address address)
{
    if (address.hi == 0 && address.lo >> 32 == MAPPED_PREFIX)
        return from_v4((uint32_t)address.lo);
    return address;
}

bool address_parse_unmapped(struct slice text, struct address *out)
{
    uint32_t v4;

    if (text.len == 0)
        return false;
    if (scan_v4(text.data, text.data + text.len, &v4) == text.data + text.len) {
        *out = from_v4(v4);
        return true;
    }
    return parse_v6(text, out);
}

bool address_parse(struct slice text, struct address *out)
{
    if (!address_parse_unmapped(text, out))
        return false;
    if (out->kind == ADDRESS_V6)
        *out = unmap(*out);
    return true;
}

bool address_parse_port(struct slice text, uint16_t *port)
{
    unsigned value = 0;

    if (text.len == 0 || text.len > 5 || text.data[0] == '0')
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (!is_digit(text.data[i]))
            return false;
        value = value * 10 + (unsigned)(text.data[i] - '0');
    }
    if (value > 65535)
        return false;
    *port = (uint16_t)value;
    return true;
}

/* RFC 7239 section 6.3: "_" 1*(ALPHA / DIGIT / "." / "_" / "-") */
static bool is_obfuscated(struct slice text)
{
    if (text.len < 2 || text.data[0] != '_')
        return false;
    for (size_t i = 1; i < text.len; i++) {
        char c = text.data[i];

        if (!is_digit(c) && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}

/* What stands behind an address: nothing, or a colon and a port. */
static bool parse_port_part(struct slice rest, bool node, uint16_t *port)
{
    if (rest.len == 0) {
        *port = 0;
        return true;
    }
    if (rest.data[0] != ':')
        return false;
    rest = slice_part(rest, 1, rest.len);
    if (node && is_obfuscated(rest)) {
        *port = 0;
        return true;
    }
    return address_parse_port(rest, port);
}

/* "[v6]" at the start of text, *after: the offset behind the bracket. */
static bool parse_brackets(struct slice text, struct address *out, size_t *after)
{
    const char *close = memchr(text.data, ']', text.len);

    if (close == NULL || !parse_v6(slice_part(text, 1, (size_t)(close - text.data)), out))
        return false;
    *out = unmap(*out);
    *after = (size_t)(close - text.data) + 1;
    return true;
}

static bool parse_with_port(struct slice text, bool node, struct address *out, uint16_t *port)
{
    struct address address;
    uint32_t v4;

    if (text.len == 0)
        return false;
    const char *end = text.data + text.len;
    const char *rest = scan_v4(text.data, end, &v4);
    if (rest != NULL) {
        if (!parse_port_part((struct slice){rest, (size_t)(end - rest)}, node, port))
            return false;
        *out = from_v4(v4);
        return true;
    }
    if (text.data[0] == '[') {
        size_t after;

        if (!parse_brackets(text, &address, &after) ||
            !parse_port_part(slice_part(text, after, text.len), node, port))
            return false;
        *out = address;
        return true;
    }
    if (!parse_v6(text, &address))
        return false;
    *out = unmap(address);
    *port = 0;
    return true;
}

bool address_parse_element(struct slice text, struct address *out, uint16_t *port)
{
    return parse_with_port(text, false, out, port);
}

bool address_parse_node(struct slice text, struct address *out, uint16_t *port)
{
    return parse_with_port(text, true, out, port);
}

static bool has_prefix(struct slice text, struct slice prefix)
{
    return text.len >= prefix.len && memcmp(text.data, prefix.data, prefix.len) == 0;
}

static bool is_unix_peer(struct slice text)
{
    if (text.len == 0)
        return true;
    /* A text that a C program would read otherwise than we do is nobody we know. */
    if (slice_has_control(text))
        return false;
    return text.data[0] == '/' || text.data[0] == '@' || slice_equal(text, SLICE("unix:")) ||
           has_prefix(text, SLICE("unix:/"));
}

struct address address_parse_peer(struct slice text)
{
    struct address address = {.kind = ADDRESS_NONE};

    if (is_unix_peer(text)) {
        address.kind = ADDRESS_UNIX;
        return address;
    }
    bool brackets = text.data[0] == '[' && text.data[text.len - 1] == ']';
    if (brackets)
        text = slice_part(text, 1, text.len - 1);
    const char *zone = text.len > 0 ? memchr(text.data, '%', text.len) : NULL;
    if (zone != NULL) {
        size_t at = (size_t)(zone - text.data);

        if (at + 1 == text.len || slice_has_control(text))
            return address;
        text.len = at;
    }
    if (brackets || zone != NULL) {
        if (parse_v6(text, &address))
            address = unmap(address);
        return address;
    }
    address_parse(text, &address);
    return address;
}

size_t address_format_port(uint16_t port, char *out)
{
    char digits[ADDRESS_PORT_MAX];
    unsigned value = port;
    size_t n = 0, len;

    do {
        digits[n++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    len = n;
    while (n > 0)
        *out++ = digits[--n];
    return len;
}

/* The 256 texts of an IPv4 address's parts: looked up, since divisions would be a good part of a decision. */
#define OCTET(text)                                                                                          \
    {                                                                                                        \
        text, sizeof(text) - 1                                                                               \
    }
#define OCTETS(tens)                                                                                         \
    OCTET(tens "0"), OCTET(tens "1"), OCTET(tens "2"), OCTET(tens "3"), OCTET(tens "4"), OCTET(tens "5"),    \
        OCTET(tens "6"), OCTET(tens "7"), OCTET(tens "8"), OCTET(tens "9")

static const struct {
    char text[3];
    unsigned char len;
} octets[256] = {
    OCTETS(""),   OCTETS("1"),  OCTETS("2"),  OCTETS("3"),  OCTETS("4"),  OCTETS("5"),  OCTETS("6"),
    OCTETS("7"),  OCTETS("8"),  OCTETS("9"),  OCTETS("10"), OCTETS("11"), OCTETS("12"), OCTETS("13"),
    OCTETS("14"), OCTETS("15"), OCTETS("16"), OCTETS("17"), OCTETS("18"), OCTETS("19"), OCTETS("20"),
    OCTETS("21"), OCTETS("22"), OCTETS("23"), OCTETS("24"), OCTET("250"), OCTET("251"), OCTET("252"),
    OCTET("253"), OCTET("254"), OCTET("255"),
};

static size_t format_v4(uint32_t bits, char *out)
{
    char *p = out;

    for (int shift = 24; shift >= 0; shift -= 8) {
        unsigned octet = bits >> shift & 255;

        /* Always three bytes, whatever the length: what is too much is written over, and there is room for
         * it. */
        memcpy(p, octets[octet].text, 3);
        p += octets[octet].len;
        *p++ = '.';
    }
    return (size_t)(p - 1 - out);
}

static char *format_group(unsigned value, char *p)
{
    int shift = 12;

    while (shift > 0 && value >> shift == 0)
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        *p++ = "0123456789abcdef"[value >> shift & 15];
    return p;
}

/* RFC 5952 section 4: lower case, no leading zeros, "::" for the longest run of two or more, the first of
 * equals. */
static size_t format_v6(const struct address *address, char *out)
{
    unsigned groups[8], best = 8, best_len = 1, run = 0;
    char *p = out;

    for (unsigned i = 0; i < 8; i++) {
        groups[i] = (unsigned)((i < 4 ? address->hi : address->lo) >> (48 - 16 * (i % 4)) & 0xffff);
        run = groups[i] == 0 ? run + 1 : 0;
        if (run > best_len) {
            best_len = run;
            best = i + 1 - run;
        }
    }
    for (unsigned i = 0; i < 8; i++) {
        if (i == best) {
            *p++ = ':';
            *p++ = ':';
            i += best_len - 1;
            continue;
        }
        if (i > 0 && p[-1] != ':')
            *p++ = ':';
        p = format_group(groups[i], p);
    }
    return (size_t)(p - out);
}

size_t address_format(const struct address *address, char *out)
{
    switch (address->kind) {
    case ADDRESS_V4:
        return format_v4((uint32_t)address->lo, out);
    case ADDRESS_V6:
        return format_v6(address, out);
    case ADDRESS_UNIX:
        memcpy(out, "unix:", 5);
        return 5;
    case ADDRESS_NONE:
        break;
    }
    return 0;
}

bool address_equal(const struct address *a, const struct address *b)
{
    return a->kind == b->kind && a->kind != ADDRESS_NONE && a->hi == b->hi && a->lo == b->lo;
}

bool address_is_private(const struct address *address)
{
    if (address->kind == ADDRESS_V6)
        return address->hi >> 61 != 1;
    if (address->kind != ADDRESS_V4)
        return false;
    uint32_t v4 = (uint32_t)address->lo;
    return v4 >> 24 == 10 || v4 >> 24 == 127 || v4 >> 20 == 0xac1 || v4 >> 16 == 0xc0a8 || v4 >> 16 == 0xa9fe;
}
