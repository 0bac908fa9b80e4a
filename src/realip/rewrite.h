/*
 * What the application sees: the changes that a decision makes to a request's parameters.
 *
 * Pure, and sparse: parameters that no edit names pass byte for byte and in order, so that a relay sends them
 * from where they lie.
 */
#ifndef REALIP_REWRITE_H
#define REALIP_REWRITE_H

#include "realip/decide.h"

/* REMOTE_PORT, three REALIP_ parameters, and five that `accept` sets. */
#define REWRITE_MAX_ADDED 9

/* Drop a parameter, or give it another value under the same name. */
struct edit {
    uint32_t index;
    bool drop;
    struct slice value; /* unless dropped; may be empty */
};

struct rewrite {
    const struct edit *edits; /* sorted by index, at most one for each parameter */
    size_t nedits;
    const struct param *added; /* go behind the last parameter, in this order */
    size_t nadded;
    unsigned aliases;   /* parameters dropped because only their folded name is a managed one */
    bool repeated_addr; /* REMOTE_ADDR came more than once */
    bool junk;          /* an accepted X-Forwarded-Proto, -Port or -Host did not hold a usable value */
};

/*
 * The edits for a decision just made with the same arguments. The result points into params and the
 * workspace. 0, or -ENOMEM if the workspace had to grow for very large values and could not.
 */
int rewrite_params(const struct policy *policy, const struct param *params, size_t n,
                   const struct decision *decision, struct workspace *workspace, struct rewrite *rewrite);

#endif
