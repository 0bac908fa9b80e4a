/*
 * CIDR blocks, and sets of them compiled for one quick search.
 *
 * A set is filled, compiled once, and from then on only read: cidr_set_find may be called from any
 * number of threads. No I/O.
 */
#ifndef REALIP_CIDR_H
#define REALIP_CIDR_H

#include "realip/address.h"

struct cidr {
    struct address first; /* host bits cleared; kind V4, V6 or UNIX (then bits is 0) */
    uint8_t bits;         /* prefix length, 0 to 32 or 0 to 128 */
};

/*
 * "a", "a/len", "v4/netmask", as strict as address_parse. A mapped IPv6 block of /96 and longer becomes its
 * IPv4 block. *host_bits says whether bits behind the prefix were set (they are cleared). False if it is
 * none.
 */
bool cidr_parse(struct slice text, struct cidr *out, bool *host_bits);

struct cidr_set;

/* NULL when memory is short. */
struct cidr_set *cidr_set_new(void);
void cidr_set_free(struct cidr_set *set);

/*
 * Adds a block with a payload of 0 or more. Where equal blocks are added, the first one's payload counts.
 * 0, or -ENOMEM.
 */
int cidr_set_add(struct cidr_set *set, const struct cidr *block, int payload);

/* Sorts the blocks into disjoint ranges, longest prefix already resolved. 0, or -ENOMEM. */
int cidr_set_compile(struct cidr_set *set);

/* How many blocks were added. */
size_t cidr_set_count(const struct cidr_set *set);

/* The payload of the longest block that holds the address, or -1. Never a hit for ADDRESS_NONE. */
int cidr_set_find(const struct cidr_set *set, const struct address *address);

#endif
