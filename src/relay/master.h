/*
 * The process above several workers: starts them, replaces those that end, and ends them.
 *
 * Each worker is a fork, and so begins with the configuration that was loaded and the sockets that were
 * opened here; its part of the configuration's totals is that of its place, which does not change when it is
 * replaced. The master serves nothing, and has no event loop of libuv's: a fork could not get rid of it.
 */
#ifndef RELAY_MASTER_H
#define RELAY_MASTER_H

#include "relay/service.h"
#include "relay/sockets.h"

/*
 * Opens the sockets and starts config->workers workers on them, first one and, when that serves, the others.
 * A worker that ends is replaced: at once if it had lived for a second, else after a pause that grows.
 *
 * Signals: TERM and INT have all workers end gracefully, and close the sockets here, too; a second one, or
 * QUIT, has them end at once, and so does the master's death. Who has not ended when shutdown_timeout and a
 * second are over is killed. HUP has the configuration read again here, for workers that are started later,
 * and if it is valid, by all workers.
 *
 * Returns when all have ended: the exit status, 0, or 1 if the sockets could not be opened, or one of the
 * first workers not start (the reason is in the log). The configuration is ours from now on. The service is
 * entered once the sockets are open, and told when all workers serve. It blocks the signals named above and
 * leaves them so.
 */
int master_run(struct config *config, const struct inherited *inherited, struct service *service);

#endif
