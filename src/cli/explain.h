/*
 * One request's decision, taken apart so that it can be told.
 */
#ifndef CLI_EXPLAIN_H
#define CLI_EXPLAIN_H

#include <stdio.h>

#include "config/config.h"
#include "realip/rewrite.h"

/* A parameter name whose values the application sees otherwise than the web server sent them. */
struct change {
    struct slice name;
    const struct param *before; /* the first copy sent; NULL: none */
    size_t copies;              /* how many were sent */
    const struct param *after;  /* what the application sees; NULL: nothing */
};

/* All pointers borrow but `after` and `changes`, which explain_free frees. */
struct explanation {
    const struct config *config;
    const struct policy *policy;
    const struct param *params; /* as the web server sent them, the peer's REMOTE_ADDR first */
    size_t nparams;
    const struct workspace *workspace;
    bool hides_secrets; /* those of require_param are the configuration's, not the reader's */
    struct decision decision;
    struct rewrite rewrite;
    struct param *after; /* as the application sees them; a refused request has none */
    size_t nafter;
    struct change *changes;
    size_t nchanges;
};

/*
 * Decides and rewrites. config, params and workspace must outlive the explanation. 0, or -ENOMEM
 * (explain_free is still due).
 */
int explain_make(const struct config *config, const struct param *params, size_t n,
                 struct workspace *workspace, struct explanation *explanation);
void explain_free(struct explanation *explanation);

/* The first parameter of that name among n, or NULL. */
const struct param *explain_find(const struct param *params, size_t n, struct slice name);

/* For people: the walk, the client, what changes. */
void explain_print_text(const struct explanation *explanation, FILE *out);

/* One JSON object on one line. */
void explain_print_json(const struct explanation *explanation, FILE *out);

#endif
