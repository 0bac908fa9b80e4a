#include "relay/deadlines.h"

#include <limits.h>

void deadlines_open(struct deadlines *deadlines, uv_loop_t *loop,
                    void (*expired)(struct deadlines *, struct deadline *))
{
    *deadlines = (struct deadlines){.loop = loop, .expired = expired};
    for (int i = 0; i < DEADLINE_KINDS; i++)
        deadlines->lists[i].previous = deadlines->lists[i].next = &deadlines->lists[i];
}

void deadline_start(struct deadlines *deadlines, struct deadline *deadline, enum deadline_kind kind)
{
    deadline_stop(deadline);
    if (deadlines->lasts[kind] == 0)
        return;
    struct deadline *list = &deadlines->lists[kind];
    deadline->kind = kind;
    deadline->at = uv_now(deadlines->loop) + deadlines->lasts[kind];
    deadline->previous = list->previous;
    deadline->next = list;
    list->previous->next = deadline;
    list->previous = deadline;
    if (deadlines->next == 0 || deadline->at < deadlines->next)
        deadlines->next = deadline->at;
}

void deadline_stop(struct deadline *deadline)
{
    if (!deadline->next)
        return;
    deadline->previous->next = deadline->next;
    deadline->next->previous = deadline->previous;
    deadline->previous = deadline->next = NULL;
}

int deadlines_timeout(const struct deadlines *deadlines)
{
    uint64_t now = uv_now(deadlines->loop);
    if (deadlines->next == 0)
        return -1;
    if (deadlines->next <= now)
        return 0;
    return deadlines->next - now < INT_MAX ? (int)(deadlines->next - now) : INT_MAX;
}

void deadlines_expire(struct deadlines *deadlines, uint64_t now)
{
    for (int i = 0; i < DEADLINE_KINDS; i++) {
        struct deadline *list = &deadlines->lists[i];
        while (list->next != list && list->next->at <= now) {
            struct deadline *first = list->next;
            deadline_stop(first);
            deadlines->expired(deadlines, first);
        }
    }
    /* What expired may have started others: look at all lists once more for the next time to wake. */
    deadlines->next = 0;
    for (int i = 0; i < DEADLINE_KINDS; i++) {
        struct deadline *list = &deadlines->lists[i];
        if (list->next != list && (deadlines->next == 0 || list->next->at < deadlines->next))
            deadlines->next = list->next->at;
    }
}
