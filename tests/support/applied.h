/*
 * A request after the decision and the rewrite, as the application would be given it.
 */
#ifndef SUPPORT_APPLIED_H
#define SUPPORT_APPLIED_H

#include "realip/rewrite.h"

struct applied {
    struct param *params; /* copies that live until oracle_reset */
    size_t n, nadded;     /* the last nadded of n were added */
    bool in_order;        /* every edit was for a parameter, and for a later one than the edit before */
    struct decision decision;
    struct rewrite rewrite; /* points into the workspace */
};

/* Decides, rewrites, and carries the edits out. */
struct applied applied_request(const struct policy *policy, struct workspace *workspace,
                               const struct param *params, size_t n);

#endif
