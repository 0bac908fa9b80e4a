/*
 * What must hold of every rewrite, whatever the request: it is what the oracle says, and the documented
 * properties are looked at once more by themselves.
 */
#ifndef SUPPORT_REWRITE_CHECKS_H
#define SUPPORT_REWRITE_CHECKS_H

#include "applied.h"
#include "random_case.h"

/* NULL, or what is wrong. Sorts what the oracle and the rewrite add at the end, where order means nothing. */
const char *rewrite_find_fault(const struct random_policy *policy, const struct random_request *request,
                               struct applied *got, struct oracle_answer *want);

/* Do REMOTE_ADDR, REMOTE_PORT and REMOTE_HOST, the last of each, say the same? */
bool rewrite_same_client(const struct applied *a, const struct applied *b);

/* Must a second pass leave the client as the first one did? Elsewhere a group that the client belongs to may
 * read on in another way. */
bool rewrite_must_be_stable(const struct random_policy *policy);

#endif
