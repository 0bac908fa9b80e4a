/*
 * Loading a configuration in another thread, since name servers and file systems may take their time.
 */
#ifndef RELAY_LOAD_H
#define RELAY_LOAD_H

#include "config/config.h"

enum load_what {
    LOAD_NOTHING,
    LOAD_TRUST, /* config_load_trust */
    LOAD_ALL,   /* config_load_again */
};

struct load;

/*
 * Begins to load what takes the place of old, which must not change or end before load_finish. `done` is
 * called once, by the other thread, when load_finish will not have to wait; what it gets is user. NULL, and a
 * UV_E* value in *error: there is no memory, or no thread, for it.
 */
struct load *load_begin(const struct config *old, enum load_what what, void (*done)(void *user), void *user,
                        int *error);

/* Waits for the end. What was loaded, NULL: nothing, is the caller's, and so are the messages. Frees the
 * load. */
struct config *load_finish(struct load *load, struct messages *messages);

/*
 * Nobody wants it any more: `done` is not called from now on. Waits no longer than a second; false: the
 * thread has still not ended, and old, with all that the load uses, must be left to it. The end of the
 * process does not wait for it.
 */
bool load_abandon(struct load *load);

#endif
