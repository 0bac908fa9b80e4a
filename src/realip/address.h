/*
 * IP addresses as decisions are made on: parsing without mercy, canonical text.
 *
 * No I/O, no allocation, no state; every function is thread-safe. DNS is never asked.
 */
#ifndef REALIP_ADDRESS_H
#define REALIP_ADDRESS_H

#include <stdint.h>

#include "base/slice.h"

enum address_kind {
    ADDRESS_NONE = 0, /* not an address; equal to nothing, trusted by nobody */
    ADDRESS_V4,       /* the 32 bits in lo; IPv4-mapped IPv6 (::ffff:a.b.c.d) is always this */
    ADDRESS_V6,       /* the first 64 bits in hi, the last in lo, both in host order */
    ADDRESS_UNIX,     /* a peer on a unix socket; hi and lo are 0 */
};

struct address {
    enum address_kind kind;
    uint64_t hi;
    uint64_t lo;
};

/* Room for any text that address_format writes; there is no NUL at its end. */
#define ADDRESS_TEXT_MAX 45

/*
 * A bare address: strict dotted-decimal IPv4 (four numbers, no leading zeros) or RFC 4291 IPv6 text.
 * No port, brackets, zone id or white space. False, and *out untouched, if it is not one.
 */
bool address_parse(struct slice text, struct address *out);

/* As address_parse, but an IPv4-mapped address stays IPv6: for prefix lengths that count from its first bit.
 */
bool address_parse_unmapped(struct slice text, struct address *out);

/* A port: 1 to 65535, decimal, no leading zeros. False, and *port untouched, for anything else. */
bool address_parse_port(struct slice text, uint16_t *port);

/*
 * One element of X-Forwarded-For and its kin, white space already trimmed: v4, v6, v4:port, [v6], [v6]:port.
 * *port is 1 to 65535, or 0 if the element has none. False, and both untouched, for anything else.
 */
bool address_parse_element(struct slice text, struct address *out, uint16_t *port);

/*
 * The node of a Forwarded "for=" (RFC 7239 section 6), quotes already removed: as address_parse_element,
 * and an obfuscated port (":_name") is taken as no port.
 */
bool address_parse_node(struct slice text, struct address *out, uint16_t *port);

/*
 * REMOTE_ADDR as web servers spell it: an address, one in brackets, a zone id (cut), or a unix peer (empty,
 * "unix:", "unix:/path", "/path", "@name"). Anything else, the bare word "unix" included, gives ADDRESS_NONE.
 */
struct address address_parse_peer(struct slice text);

/*
 * Canonical text (RFC 5952, IPv4 dotted) into out, which has ADDRESS_TEXT_MAX bytes; returns the length.
 * A unix peer is "unix:", ADDRESS_NONE is empty.
 */
size_t address_format(const struct address *address, char *out);

/* Room for any text that address_format_port writes; there is no NUL at its end. */
#define ADDRESS_PORT_MAX 5

/* The port in decimal into out, which has ADDRESS_PORT_MAX bytes; returns the length. */
size_t address_format_port(uint16_t port, char *out);

/* Never true for ADDRESS_NONE, not even beside itself. */
bool address_equal(const struct address *a, const struct address *b);

/* 10/8, 172.16/12, 192.168/16, 127/8, 169.254/16, or IPv6 outside 2000::/3. False for the other kinds. */
bool address_is_private(const struct address *address);

#endif
