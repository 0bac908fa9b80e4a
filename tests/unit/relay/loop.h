/*
 * For tests of the relay's parts: an event loop with a poller, which runs until something has happened, and
 * the count of open descriptors.
 */
#ifndef TESTS_RELAY_LOOP_H
#define TESTS_RELAY_LOOP_H

#include "realip_cmocka.h"

#include <dirent.h>
#include <unistd.h>

#include "relay/poller.h"

/* For what should happen at once. */
#define PATIENCE_MS 60000

static uv_loop_t loop;
static struct poller poller;

static inline int open_loop(void)
{
    poller = (struct poller){.epoll = -1};
    int rc = uv_loop_init(&loop);
    return rc < 0 ? rc : poller_open(&poller, &loop);
}

static inline int close_loop(void)
{
    poller_close(&poller);
    uv_run(&loop, UV_RUN_DEFAULT);
    return uv_loop_close(&loop);
}

static inline void on_impatience(uv_timer_t *timer)
{
    *(bool *)timer->data = true;
}

static inline void run_until_at(bool (*done)(void), const char *what, const char *file, int line)
{
    bool late = false;
    uv_timer_t timer = {.data = &late};
    uv_timer_init(&loop, &timer);
    uv_update_time(&loop);
    uv_timer_start(&timer, on_impatience, PATIENCE_MS, 0);
    while (!done() && !late)
        poller_turn(&poller, -1);
    uv_close((uv_handle_t *)&timer, NULL);
    poller_turn(&poller, 0);
    if (late)
        print_error("%s: did not happen\n", what);
    _assert_true(!late, what, file, line);
}
/* Runs the loop until done() is true. */
#define run_until(done) run_until_at(done, #done, __FILE__, __LINE__)

/* Lets everything happen that can happen now. */
static inline void run_for_now(void)
{
    for (int i = 0; i < 20; i++)
        poller_turn(&poller, 0);
}

static inline size_t count_descriptors(void)
{
    size_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

#endif
