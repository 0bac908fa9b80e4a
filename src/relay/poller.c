#include "relay/poller.h"

#include <errno.h>
#include <unistd.h>

static void note(struct watch *watch, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLRDHUP))
        watch->readable = true;
    if (events & EPOLLRDHUP)
        watch->half_closed = true;
    if (events & EPOLLOUT)
        watch->writable = true;
    if (events & (EPOLLHUP | EPOLLERR)) {
        watch->gone = true;
        watch->readable = true;
        watch->writable = true;
    }
}

static void on_libuv(struct watch *watch)
{
    struct poller *poller = (struct poller *)((char *)watch - offsetof(struct poller, libuv));
    poller->libuv_ready = true;
}

int poller_open(struct poller *poller, uv_loop_t *loop)
{
    poller->loop = loop;
    poller->libuv = (struct watch){.fd = -1, .level = true, .ready = on_libuv};
    poller->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (poller->epoll < 0)
        return -errno;
    poller->libuv.fd = uv_backend_fd(loop);
    poller->libuv_ready = true; /* what was started before is not in its own set yet */
    return poller_add(poller, &poller->libuv);
}

/* No event that was fetched is unhandled here. */
static void reap(struct poller *poller)
{
    while (poller->dead) {
        struct watch *watch = poller->dead;
        poller->dead = watch->next_dead;
        watch->destroy(watch);
    }
}

void poller_close(struct poller *poller)
{
    reap(poller);
    if (poller->epoll >= 0)
        close(poller->epoll);
    poller->epoll = -1;
}

/* ---- a turn ---- */

static int wait_for_events(struct poller *poller, int timeout)
{
    int libuv = uv_backend_timeout(poller->loop);
    if (poller->again || poller->libuv_ready)
        timeout = 0;
    else if (libuv >= 0 && (timeout < 0 || libuv < timeout))
        timeout = libuv;
    poller->asked = uv_now(poller->loop);
    int n = epoll_wait(poller->epoll, poller->events, POLLER_BATCH, timeout);
    uv_update_time(poller->loop);
    poller->waited = uv_now(poller->loop);
    poller->clock = 0;
    return n;
}

static void call_again(struct poller *poller)
{
    poller->turn = poller->again;
    poller->again = NULL;
    while (poller->turn) {
        struct watch *watch = poller->turn;
        poller->turn = watch->next_again;
        watch->again = false;
        watch->ready(watch);
    }
}

bool poller_turn(struct poller *poller, int timeout)
{
    int n = wait_for_events(poller, timeout);
    for (int i = 0; i < n; i++)
        note(poller->events[i].data.ptr, poller->events[i].events);
    poller->in_round = true;
    for (int i = 0; i < n; i++) {
        struct watch *watch = poller->events[i].data.ptr;
        if (watch->fd >= 0)
            watch->ready(watch);
    }
    call_again(poller);
    poller->in_round = false;
    if (poller->after_round)
        poller->after_round(poller);
    if (poller->libuv_ready || uv_backend_timeout(poller->loop) == 0) {
        poller->libuv_ready = false;
        uv_run(poller->loop, UV_RUN_NOWAIT);
    }
    reap(poller);
    return n >= 0 && n < POLLER_BATCH; /* a wait that a signal cut short has seen nothing */
}

/* ---- watches ---- */

static int control(struct poller *poller, int operation, struct watch *watch)
{
    struct epoll_event event = {.data.ptr = watch};
    event.events = EPOLLIN;
    if (watch->shared)
        event.events |= EPOLLEXCLUSIVE;
    if (!watch->level)
        event.events |= EPOLLRDHUP | EPOLLET;
    if (watch->want_write)
        event.events |= EPOLLOUT;
    return epoll_ctl(poller->epoll, operation, watch->fd, &event) < 0 ? -errno : 0;
}

int poller_add(struct poller *poller, struct watch *watch)
{
    int rc = control(poller, EPOLL_CTL_ADD, watch);
    if (rc == 0) {
        watch->added = true;
        poller->watches++;
    }
    return rc;
}

int poller_want_write(struct poller *poller, struct watch *watch, bool want)
{
    if (watch->want_write == want)
        return 0;
    watch->want_write = want;
    watch->writable = false;
    return watch->added ? control(poller, EPOLL_CTL_MOD, watch) : 0;
}

void poller_again(struct poller *poller, struct watch *watch)
{
    if (watch->again || watch->fd < 0)
        return;
    watch->again = true;
    watch->next_again = poller->again;
    poller->again = watch;
}

static void unlink_again(struct watch **list, struct watch *watch)
{
    while (*list && *list != watch)
        list = &(*list)->next_again;
    if (*list)
        *list = watch->next_again;
}

void poller_remove(struct poller *poller, struct watch *watch)
{
    if (watch->added) {
        struct epoll_event unused = {0};
        epoll_ctl(poller->epoll, EPOLL_CTL_DEL, watch->fd, &unused);
        watch->added = false;
        poller->watches--;
    }
}

void poller_close_fd(struct poller *poller, struct watch *watch)
{
    if (watch->again) {
        unlink_again(&poller->again, watch);
        unlink_again(&poller->turn, watch);
        watch->again = false;
    }
    if (watch->fd < 0)
        return;
    poller_remove(poller, watch);
    close(watch->fd);
    watch->fd = -1;
}

void poller_bury(struct poller *poller, struct watch *watch)
{
    poller_close_fd(poller, watch);
    watch->next_dead = poller->dead;
    poller->dead = watch;
}
