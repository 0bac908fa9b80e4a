#include "relay/deadlines.h"

static void on_timer(uv_timer_t *timer);

void deadlines_open(struct deadlines *deadlines, uv_loop_t *loop,
                    void (*expired)(struct deadlines *, struct deadline *))
{
    *deadlines = (struct deadlines){.loop = loop, .expired = expired};
    uv_timer_init(loop, &deadlines->timer);
    deadlines->timer.data = deadlines;
    for (int i = 0; i < DEADLINE_KINDS; i++)
        deadlines->lists[i].previous = deadlines->lists[i].next = &deadlines->lists[i];
}

void deadlines_close(struct deadlines *deadlines)
{
    uv_close((uv_handle_t *)&deadlines->timer, NULL);
}

static void arm(struct deadlines *deadlines, uint64_t at)
{
    if (deadlines->armed && deadlines->armed <= at)
        return;
    uint64_t now = uv_now(deadlines->loop);
    deadlines->armed = at;
    uv_timer_start(&deadlines->timer, on_timer, at > now ? at - now : 0, 0);
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
    arm(deadlines, deadline->at);
}

void deadline_stop(struct deadline *deadline)
{
    if (!deadline->next)
        return;
    deadline->previous->next = deadline->next;
    deadline->next->previous = deadline->previous;
    deadline->previous = deadline->next = NULL;
}

static void on_timer(uv_timer_t *timer)
{
    struct deadlines *deadlines = timer->data;
    uint64_t now = uv_now(deadlines->loop);
    uint64_t next = 0;
    for (int i = 0; i < DEADLINE_KINDS; i++) {
        struct deadline *list = &deadlines->lists[i];
        while (list->next != list && list->next->at <= now) {
            struct deadline *first = list->next;
            deadline_stop(first);
            deadlines->expired(deadlines, first);
        }
    }
    /* What expired may have started others: look at all lists once more for the next time to wake. */
    for (int i = 0; i < DEADLINE_KINDS; i++) {
        struct deadline *list = &deadlines->lists[i];
        if (list->next != list && (next == 0 || list->next->at < next))
            next = list->next->at;
    }
    deadlines->armed = 0;
    if (next)
        arm(deadlines, next);
}
