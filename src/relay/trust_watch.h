/*
 * Waiting for trust files to change.
 *
 * A file at some path is another one when any part of the path becomes another one: the file is written to or
 * renamed over, a symbolic link on the way is replaced, a folder is moved. So for each path, all the folders
 * that it leads through are watched, behind symbolic links too, and in each the one name that matters. A path
 * that ends nowhere is watched as far as it leads. Belongs to its loop; not thread-safe.
 */
#ifndef RELAY_TRUST_WATCH_H
#define RELAY_TRUST_WATCH_H

#include <uv.h>

#include "config/config.h"
#include "ops/log.h"

struct watched_folder;

struct trust_watch {
    uv_loop_t *loop;
    struct log *log;
    struct watched_folder *folders;
    uv_timer_t pause; /* until nothing has happened for a moment */
    uint64_t since;   /* loop time in ms of the first thing that happened */
    bool incomplete;  /* something cannot be watched, and that is in the log */
    void (*changed)(struct trust_watch *watch);
};

/* Sets all but `changed`. 0 or a negative UV_E* value. */
int trust_watch_open(struct trust_watch *watch, uv_loop_t *loop, struct log *log);

/*
 * Waits for the trust files of this configuration, if it wants that, and no others any more. Those that have
 * changed since it was loaded count as changed now. What cannot be watched is in the log. Not to be called
 * from `changed`'s own callback of libuv's events.
 */
void trust_watch_set(struct trust_watch *watch, const struct config *config);

/* The loop must run once more afterwards. */
void trust_watch_close(struct trust_watch *watch);

#endif
