/*
 * Reloading: the configuration is read again when we are told to, and its trust files when they change.
 *
 * To read it is the work of another thread, of one at a time; the relay goes on with what it made between two
 * turns of the loop. Belongs to its loop; not thread-safe.
 */
#ifndef RELAY_RELOAD_H
#define RELAY_RELOAD_H

#include "relay/load.h"
#include "relay/relay.h"
#include "relay/sandbox.h"
#include "relay/trust_watch.h"

struct reload {
    struct relay *relay;
    struct config *config; /* in force */
    struct load *load;     /* under way; NULL: none is */
    enum load_what what;   /* that is */
    enum load_what wanted; /* as soon as that is done */
    uv_async_t done;       /* it is */
    struct trust_watch watch;
    const struct sandbox *sandbox; /* of a master's worker; NULL: there is no master */
};

/*
 * For a relay that runs, or is to run, with the configuration, which is ours from now on, also when this
 * fails. Begins to wait for trust files to change. sandbox: of a master's worker, NULL: there is no master. 0
 * or a negative UV_E* value; reload_close is due in either case.
 */
int reload_open(struct reload *reload, struct relay *relay, struct config *config,
                const struct sandbox *sandbox);

/*
 * Reads again, and has the relay go on with what was read; all that comes of it is in the log. While that is
 * under way already, once more after it. Does nothing for a relay that stops.
 */
void reload_begin(struct reload *reload, enum load_what what);

/*
 * A configuration that was loaded, to go on with in place of `old`: what is fixed while the shim runs is that
 * one's. NULL, and the configuration is freed, if there is none or the sandbox has no room for it; the
 * messages say why. sandbox NULL: there is no master.
 */
struct config *reload_admit(struct config *config, struct config *old, const struct sandbox *sandbox,
                            struct messages *messages);

/* What was said while a configuration was loaded goes to the log. */
void reload_log(struct log *log, const struct messages *messages);

/* The loop must run once more, and the relay be freed, before reload_free. */
void reload_close(struct reload *reload);

/* Frees the configuration. */
void reload_free(struct reload *reload);

#endif
