#include "realip/workspace.h"

#include <stdlib.h>

#include "realip/rewrite.h"

#define TEXT_FIRST 4096 /* bytes; what nearly every request's new values fit in */

/* Every turn of a walk but the last takes an element of some header, and of each at most its groups' maximum.
 */
static size_t count_steps(const struct policy *policy)
{
    size_t steps = 1;

    for (size_t header = 0; header < policy->nheaders; header++) {
        size_t most = 0;

        for (size_t i = 0; i < policy->ngroups; i++) {
            const struct group *group = &policy->groups[i];

            if (group->header_index == (int)header && group->max_elements > most)
                most = group->max_elements;
        }
        steps += most;
    }
    return steps;
}

struct workspace *workspace_new(const struct policy *policy)
{
    struct workspace *workspace = calloc(1, sizeof *workspace);

    if (workspace == NULL)
        return NULL;
    workspace->steps_cap = count_steps(policy);
    workspace->text_cap = TEXT_FIRST;
    workspace->managed = malloc(REALIP_MAX_PARAMS * sizeof *workspace->managed);
    workspace->cursors = calloc(policy->nheaders + 1, sizeof *workspace->cursors);
    workspace->steps = malloc(workspace->steps_cap * sizeof *workspace->steps);
    workspace->edits = malloc(REALIP_MAX_PARAMS * sizeof *workspace->edits);
    workspace->added = malloc(REWRITE_MAX_ADDED * sizeof *workspace->added);
    workspace->text = malloc(workspace->text_cap);
    if (workspace->managed == NULL || workspace->cursors == NULL || workspace->steps == NULL ||
        workspace->edits == NULL || workspace->added == NULL || workspace->text == NULL) {
        workspace_free(workspace);
        return NULL;
    }
    return workspace;
}

void workspace_free(struct workspace *workspace)
{
    if (workspace == NULL)
        return;
    free(workspace->managed);
    free(workspace->cursors);
    free(workspace->steps);
    free(workspace->edits);
    free(workspace->added);
    free(workspace->text);
    free(workspace);
}
