#include "relay/deadlines.h"

#include <limits.h>

void deadlines_open(struct deadlines *deadlines, uv_loop_t *loop,
                    void (*expired)(struct deadlines *, struct deadline *))
{
    *deadlines = (struct deadlines){.loop = loop, .expired = expired};
    for (int i = 0; i < DEADLINE_KINDS; i++) {
        deadlines->lists[i].previous = deadlines->lists[i].next = &deadlines->lists[i];
        deadlines->older[i].previous = deadlines->older[i].next = &deadlines->older[i];
    }
}

static void insert_before(struct deadline *place, struct deadline *deadline)
{
    deadline->previous = place->previous;
    deadline->next = place;
    place->previous->next = deadline;
    place->previous = deadline;
}

void deadlines_change(struct deadlines *deadlines, enum deadline_kind kind, uint64_t lasts)
{
    if (deadlines->lasts[kind] == lasts)
        return;
    deadlines->lasts[kind] = lasts;
    struct deadline *list = &deadlines->lists[kind];
    struct deadline *place = deadlines->older[kind].next;
    while (list->next != list) {
        struct deadline *first = list->next;
        deadline_stop(first);
        while (place != &deadlines->older[kind] && place->at <= first->at)
            place = place->next;
        insert_before(place, first);
    }
}

static void delay_list(struct deadline *list, uint64_t by)
{
    for (struct deadline *deadline = list->next; deadline != list; deadline = deadline->next)
        deadline->at += by;
}

void deadlines_delay(struct deadlines *deadlines, uint64_t by)
{
    for (int i = 0; i < DEADLINE_KINDS; i++) {
        delay_list(&deadlines->older[i], by);
        delay_list(&deadlines->lists[i], by);
    }
    if (deadlines->next > 0)
        deadlines->next += by;
}

void deadline_start(struct deadlines *deadlines, struct deadline *deadline, enum deadline_kind kind)
{
    deadline_stop(deadline);
    if (deadlines->lasts[kind] == 0)
        return;
    struct deadline *list = &deadlines->lists[kind];
    deadline->kind = kind;
    deadline->at = uv_now(deadlines->loop) + deadlines->lasts[kind];
    insert_before(list, deadline);
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

static void expire_list(struct deadlines *deadlines, struct deadline *list, uint64_t now)
{
    while (list->next != list && list->next->at <= now) {
        struct deadline *first = list->next;
        deadline_stop(first);
        deadlines->expired(deadlines, first);
    }
}

static void find_next(struct deadlines *deadlines, const struct deadline *list)
{
    if (list->next != list && (deadlines->next == 0 || list->next->at < deadlines->next))
        deadlines->next = list->next->at;
}

void deadlines_expire(struct deadlines *deadlines, uint64_t now)
{
    for (int i = 0; i < DEADLINE_KINDS; i++) {
        expire_list(deadlines, &deadlines->older[i], now);
        expire_list(deadlines, &deadlines->lists[i], now);
    }
    /* What expired may have started others: look at all lists once more for the next time to wake. */
    deadlines->next = 0;
    for (int i = 0; i < DEADLINE_KINDS; i++) {
        find_next(deadlines, &deadlines->older[i]);
        find_next(deadlines, &deadlines->lists[i]);
    }
}
