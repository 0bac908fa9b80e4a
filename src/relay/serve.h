/*
 * The running server: sockets, loop and signals around one relay.
 */
#ifndef RELAY_SERVE_H
#define RELAY_SERVE_H

#include "relay/inherit.h"

/*
 * Listens, relays, and returns when it was told to stop: TERM and INT let running requests end for at most
 * shutdown_timeout, a second one ends at once. Returns the exit status: 0, or 1 if it could not start (the
 * reason is on standard error). config must have upstream addresses, and listen addresses unless
 * sockets were inherited: then those are used.
 */
int serve_run(const struct config *config, const struct inherited *inherited);

#endif
