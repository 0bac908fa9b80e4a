#include "relay/deadlines.h"

static void on_timer(uv_timer_t *timer);
static void on_check(uv_check_t *check);

/* Only there to keep libuv from waiting. */
static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

void deadlines_open(struct deadlines *deadlines, uv_loop_t *loop,
                    void (*expired)(struct deadlines *, struct deadline *))
{
    *deadlines = (struct deadlines){.loop = loop, .expired = expired};
    uv_timer_init(loop, &deadlines->timer);
    uv_check_init(loop, &deadlines->check);
    uv_idle_init(loop, &deadlines->idle);
    deadlines->timer.data = deadlines->check.data = deadlines;
    for (int i = 0; i < DEADLINE_KINDS; i++)
        deadlines->lists[i].previous = deadlines->lists[i].next = &deadlines->lists[i];
}

void deadlines_close(struct deadlines *deadlines)
{
    uv_close((uv_handle_t *)&deadlines->timer, NULL);
    uv_close((uv_handle_t *)&deadlines->check, NULL);
    uv_close((uv_handle_t *)&deadlines->idle, NULL);
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

/*
 * libuv runs timers before it looks at the sockets. Where the whole process stood still (a paused container,
 * a machine that was moved), what came in time may still lie there: expire behind one more look.
 */
static void on_timer(uv_timer_t *timer)
{
    struct deadlines *deadlines = timer->data;
    uv_idle_start(&deadlines->idle, on_idle);
    uv_check_start(&deadlines->check, on_check);
}

static void on_check(uv_check_t *check)
{
    struct deadlines *deadlines = check->data;
    uv_check_stop(&deadlines->check);
    uv_idle_stop(&deadlines->idle);
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
