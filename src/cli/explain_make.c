#include <errno.h>
#include <stdlib.h>

#include "cli/explain.h"

const struct param *explain_find(const struct param *params, size_t n, struct slice name)
{
    for (size_t i = 0; i < n; i++)
        if (slice_equal(params[i].name, name))
            return &params[i];
    return NULL;
}

static void apply_edits(struct explanation *explanation)
{
    const struct rewrite *rewrite = &explanation->rewrite;
    size_t next = 0;
    for (size_t i = 0; i < explanation->nparams; i++) {
        struct param param = explanation->params[i];
        if (next < rewrite->nedits && rewrite->edits[next].index == i) {
            const struct edit *edit = &rewrite->edits[next++];
            if (edit->drop)
                continue;
            param.value = edit->value;
        }
        explanation->after[explanation->nafter++] = param;
    }
    for (size_t i = 0; i < rewrite->nadded; i++)
        explanation->after[explanation->nafter++] = rewrite->added[i];
}

static void compare_name(struct explanation *explanation, struct slice name)
{
    struct change change = {.name = name};
    bool same = true;
    size_t seen = 0; /* in explanation->after */
    for (size_t i = 0; i < explanation->nparams; i++) {
        const struct param *before = &explanation->params[i];
        if (!slice_equal(before->name, name))
            continue;
        if (!change.copies++)
            change.before = before;
        const struct param *after = explain_find(explanation->after + seen, explanation->nafter - seen, name);
        if (!after || !slice_equal(after->value, before->value))
            same = false;
        if (after)
            seen = (size_t)(after - explanation->after) + 1;
    }
    change.after = explain_find(explanation->after, explanation->nafter, name);
    if (!same || (!change.copies && change.after))
        explanation->changes[explanation->nchanges++] = change;
}

static void find_changes(struct explanation *explanation)
{
    for (size_t i = 0; i < explanation->nparams; i++)
        if (!explain_find(explanation->params, i, explanation->params[i].name))
            compare_name(explanation, explanation->params[i].name);
    for (size_t i = 0; i < explanation->rewrite.nadded; i++) {
        struct slice name = explanation->rewrite.added[i].name;
        if (!explain_find(explanation->params, explanation->nparams, name))
            compare_name(explanation, name);
    }
}

int explain_make(const struct config *config, const struct param *params, size_t n,
                 struct workspace *workspace, struct explanation *explanation)
{
    *explanation = (struct explanation){
        .config = config, .policy = config->policy, .params = params, .nparams = n, .workspace = workspace};
    decide_request(config->policy, params, n, workspace, &explanation->decision);
    if (explanation->decision.rejected)
        return 0;
    if (rewrite_params(config->policy, params, n, &explanation->decision, workspace, &explanation->rewrite) !=
        0)
        return -ENOMEM;
    size_t most = n + explanation->rewrite.nadded;
    explanation->after = calloc(most, sizeof *explanation->after);
    explanation->changes = calloc(most, sizeof *explanation->changes);
    if (!explanation->after || !explanation->changes)
        return -ENOMEM;
    apply_edits(explanation);
    find_changes(explanation);
    return 0;
}

void explain_free(struct explanation *explanation)
{
    free(explanation->after);
    free(explanation->changes);
    *explanation = (struct explanation){0};
}
