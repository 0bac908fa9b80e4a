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

static void on_poll(uv_poll_t *handle, int status, int events)
{
    struct poller *poller = handle->data;
    (void)status;
    (void)events;
    int n = epoll_wait(poller->epoll, poller->events, POLLER_BATCH, 0);
    for (int i = 0; i < n; i++)
        note(poller->events[i].data.ptr, poller->events[i].events);
    poller->in_round = true;
    for (int i = 0; i < n; i++) {
        struct watch *watch = poller->events[i].data.ptr;
        if (watch->fd >= 0)
            watch->ready(watch);
    }
    poller->in_round = false;
    if (poller->after_round)
        poller->after_round(poller);
}

/* Runs right before libuv waits: no event that was fetched is unhandled here. */
static void on_reap(uv_prepare_t *handle)
{
    struct poller *poller = handle->data;
    while (poller->dead) {
        struct watch *watch = poller->dead;
        poller->dead = watch->next_dead;
        watch->destroy(watch);
    }
}

static void on_again(uv_idle_t *handle)
{
    struct poller *poller = handle->data;
    poller->turn = poller->again;
    poller->again = NULL;
    uv_idle_stop(handle);
    while (poller->turn) {
        struct watch *watch = poller->turn;
        poller->turn = watch->next_again;
        watch->again = false;
        watch->ready(watch);
    }
}

int poller_open(struct poller *poller, uv_loop_t *loop)
{
    uv_prepare_init(loop, &poller->reaper);
    poller->reaper.data = poller;
    uv_idle_init(loop, &poller->again_idle);
    poller->again_idle.data = poller;
    uv_prepare_start(&poller->reaper, on_reap);
    uv_unref((uv_handle_t *)&poller->reaper);
    poller->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (poller->epoll < 0)
        return -errno;
    int rc = uv_poll_init(loop, &poller->poll, poller->epoll);
    if (rc < 0)
        return rc;
    poller->poll.data = poller;
    return uv_poll_start(&poller->poll, UV_READABLE, on_poll);
}

void poller_close(struct poller *poller)
{
    on_reap(&poller->reaper);
    uv_close((uv_handle_t *)&poller->reaper, NULL);
    uv_close((uv_handle_t *)&poller->again_idle, NULL);
    if (poller->poll.data)
        uv_close((uv_handle_t *)&poller->poll, NULL);
    if (poller->epoll >= 0)
        close(poller->epoll);
    poller->epoll = -1;
}

static int control(struct poller *poller, int operation, struct watch *watch)
{
    struct epoll_event event = {.data.ptr = watch};
    event.events = EPOLLIN;
    if (!watch->level)
        event.events |= EPOLLRDHUP | EPOLLET;
    if (watch->want_write)
        event.events |= EPOLLOUT;
    return epoll_ctl(poller->epoll, operation, watch->fd, &event) < 0 ? -errno : 0;
}

int poller_add(struct poller *poller, struct watch *watch)
{
    int rc = control(poller, EPOLL_CTL_ADD, watch);
    if (rc == 0)
        watch->added = true;
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
    uv_idle_start(&poller->again_idle, on_again);
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
