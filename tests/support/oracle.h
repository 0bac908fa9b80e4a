/*
 * A second, slow implementation of the decision and the rewrite, to compare the real one with.
 *
 * It is written from the documented behaviour alone and shares nothing with src/realip but plain structs:
 * whole lists are copied, joined and split from the left, addresses are texts that go through inet_pton,
 * trust is a scan over all blocks. Everything it returns lives until oracle_reset. Not thread-safe.
 */
#ifndef SUPPORT_ORACLE_H
#define SUPPORT_ORACLE_H

#include <stdint.h>

#include "realip/policy.h"

/* Memory that oracle_reset frees. Each piece is an allocation of its own, so that sanitizers see its edges.
 */
void *oracle_alloc(size_t size);
void oracle_reset(void);

/* A copy, as long as the bytes and no longer. */
struct slice oracle_copy(struct slice bytes);

/* printf into a fresh NUL-terminated string. */
const char *oracle_print(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* "10.0.0.0/8", "2001:db8::/32" or "unix:". */
struct oracle_block {
    const char *text;
    int payload;
};

struct oracle_policy {
    const struct policy *plain; /* its groups and its settings; none of what policy_compile makes */
    const struct oracle_block *trust;
    size_t ntrust;
    const struct oracle_block *access;
    size_t naccess;
};

/* Addresses are their canonical texts; a unix peer is "unix:"; NULL is no address. */
const char *oracle_address(struct slice text);
const char *oracle_element(struct slice text, unsigned *port);
const char *oracle_node(struct slice text, unsigned *port);
const char *oracle_peer(struct slice text);
bool oracle_is_private(const char *address);

/* The payload of the longest block around address (of equals, the first), or -1; *bits: its prefix length. */
int oracle_find(const struct oracle_block *blocks, size_t n, const char *address, int *bits);

/* One element of a header's list, offsets into the joined text. */
struct oracle_item {
    size_t start, end;
    const char *address; /* NULL: malformed */
    unsigned port;
    bool well_formed;   /* a Forwarded element whose pairs can be read, whatever they say */
    struct slice proto; /* of such an element; data NULL: none, empty: two */
};

/* A header's whole list, every copy joined. */
struct oracle_list {
    const char *param;
    bool forwarded, present;
    size_t copies;
    struct slice joined;
    struct oracle_item *items; /* left to right */
    size_t nitems;
    bool on_chain;
    size_t unread; /* items [0, unread) are not read yet */
    size_t client; /* the leftmost item that became a hop; nitems: none */
};

/* The list of the parameter `name` (exact bytes), Forwarded syntax or not. */
struct oracle_list oracle_read_list(const char *name, bool forwarded, const struct param *params, size_t n);

/* Upper case, every byte outside A-Z 0-9 a "_"; NUL-terminated. */
const char *oracle_fold(struct slice name);

struct oracle_answer {
    const char *reason;
    int rejected;
    bool trusted, changed;
    int peer_group;
    const char *peer;   /* NULL: none */
    const char *client; /* NULL: none */
    unsigned port;
    const char **proxies; /* the peer first */
    size_t nproxies;
    bool repeated; /* the walk ended at a header of several copies */
    bool read_on;  /* the walk was cut short: one from the client might go on where this one ended */
    struct slice peer_text, peer_port;
    struct oracle_list *lists; /* one a different group header */
    size_t nlists;

    struct param *out; /* what the application is given */
    size_t nout;
    size_t nadded; /* the last nadded of out, whose order means nothing */
    unsigned aliases;
    bool repeated_addr, junk;
};

/* Fills the answer up to lists. */
struct oracle_answer oracle_decide(const struct oracle_policy *policy, const struct param *params, size_t n);

/* Fills the rest. */
void oracle_rewrite(const struct oracle_policy *policy, const struct param *params, size_t n,
                    struct oracle_answer *answer);

/* The group that trusts the address, or -1. */
int oracle_trusts(const struct oracle_policy *policy, const char *address, const struct param *params,
                  size_t n);

/* The last parameter of exactly this name; data NULL: none. */
struct slice oracle_last(const struct param *params, size_t n, const char *name);

#endif
