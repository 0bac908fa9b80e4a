/*
 * The running server: sockets, loop and signals around one relay.
 */
#ifndef RELAY_SERVE_H
#define RELAY_SERVE_H

#include "relay/inherit.h"

/*
 * Before the configuration is read: a HUP, USR1 or USR2 that comes from now on is not lost, and does not end
 * us, but waits until serve_run is ready for it.
 */
void serve_hold_signals(void);

/*
 * Starts the application if it is ours, listens, relays, and returns when it was told to stop: TERM and INT
 * let running requests end, then the application, all within shutdown_timeout; a second one ends at once.
 * HUP reloads, USR1 opens log files again, and USR2 has another process of the program take over. The
 * configuration is ours from now on.
 * Returns the exit status: 0, or 1 if it could not start (the reason is on standard error). config must say
 * where the application is, and have listen addresses unless sockets were inherited: then those are used.
 */
int serve_run(struct config *config, const struct inherited *inherited);

#endif
