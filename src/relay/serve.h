/*
 * The running server: sockets, loop and signals around one relay.
 */
#ifndef RELAY_SERVE_H
#define RELAY_SERVE_H

#include "config/config.h"

/*
 * Listens, relays, and returns when it was told to stop: TERM and INT let running requests end for at most
 * shutdown_timeout, a second one ends at once. Returns the exit status: 0, or 1 if it could not start (the
 * reason is on standard error). config must have listen and upstream addresses.
 */
int serve_run(const struct config *config);

#endif
