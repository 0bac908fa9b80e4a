/*
 * Carrying out a rewrite; see the header.
 */
#include "applied.h"

#include <stdlib.h>

#include "oracle.h"

struct applied applied_request(const struct policy *policy, struct workspace *workspace,
                               const struct param *params, size_t n)
{
    struct applied out = {.in_order = true};
    decide_request(policy, params, n, workspace, &out.decision);
    if (rewrite_params(policy, params, n, &out.decision, workspace, &out.rewrite) != 0)
        abort();
    const struct rewrite *rewrite = &out.rewrite;
    out.params = oracle_alloc((n + rewrite->nadded) * sizeof(*out.params));
    out.nadded = rewrite->nadded;
    size_t edit = 0;
    for (size_t i = 0; i < n; i++) {
        struct param param = params[i];
        if (edit < rewrite->nedits && rewrite->edits[edit].index == i) {
            const struct edit *e = &rewrite->edits[edit++];
            if (e->drop)
                continue;
            param.value = e->value;
        }
        out.params[out.n++] = (struct param){oracle_copy(param.name), oracle_copy(param.value)};
    }
    out.in_order = edit == rewrite->nedits;
    for (size_t i = 0; i < rewrite->nadded; i++)
        out.params[out.n++] =
            (struct param){oracle_copy(rewrite->added[i].name), oracle_copy(rewrite->added[i].value)};
    return out;
}
