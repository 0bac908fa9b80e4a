/*
 * The memory that one decision and its rewrite need, so that deciding itself allocates nothing.
 *
 * A workspace serves one thread at a time, any number of requests after each other, and only the policy
 * (or one with no more groups and headers and no larger max_elements) that it was made for. What decide and
 * rewrite return points into it, and is good until the next decide_request with it.
 */
#ifndef REALIP_WORKSPACE_H
#define REALIP_WORKSPACE_H

#include "realip/policy.h"

/* The most parameters that one request may have. */
#define REALIP_MAX_PARAMS 4096

#define COPY_NONE UINT32_MAX

/* A parameter whose name means something to the policy; in the order of arrival. */
struct managed {
    uint32_t index;    /* of the parameter */
    uint32_t previous; /* NAME_GROUP_HEADER: index into managed of the copy before this one, or COPY_NONE */
    struct name_match match;
};

/*
 * The copies of one header, where the walk stands in them, and what it took from there. Copies are indexes
 * into managed; offsets are into the copy's value. Aliases are no copies.
 */
struct cursor {
    bool on_chain;        /* a group with this header was met on the walk */
    unsigned count;       /* non-empty elements read so far */
    uint32_t first, last; /* copies, or COPY_NONE: there is none */
    uint32_t copy;        /* that is being read, the last at first; COPY_NONE: none, or not on the chain */
    size_t at;            /* bytes of that copy not yet read, from its left end */
    uint32_t
        client_copy; /* with client_at: where the leftmost element begins that became a hop, or COPY_NONE */
    size_t client_at;
};

/* One turn of the loop: who reported what, and what came of it. */
struct step {
    struct address hop;
    int group;              /* that trusts the hop, or -1 */
    struct slice element;   /* raw text, white space trimmed; data NULL: none was read */
    struct address address; /* what the element says; kind NONE: none, or malformed (a private one is kept) */
    uint16_t port;
};

struct workspace {
    struct managed *managed; /* REALIP_MAX_PARAMS */
    size_t nmanaged;
    struct cursor *cursors; /* one for each policy header */
    struct step *steps;
    size_t nsteps, steps_cap;
    struct edit *edits; /* REALIP_MAX_PARAMS */
    struct param *added;
    char *text; /* values that exist nowhere in the request */
    size_t text_len, text_cap;
};

/* NULL when memory is short. */
struct workspace *workspace_new(const struct policy *policy);
void workspace_free(struct workspace *workspace);

#endif
