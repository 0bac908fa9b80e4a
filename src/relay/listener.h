/*
 * A listening socket in the event loop: accepts fronts, checks who they are, rests when descriptors are
 * short.
 */
#ifndef RELAY_LISTENER_H
#define RELAY_LISTENER_H

#include "relay/front.h"
#include "relay/listen.h"

struct listener {
    struct watch watch;
    struct deadline deadline;
    struct listen_socket socket;
    struct relay *relay;
};

/* Begins to accept on a socket that was opened non-blocking. 0 or a negative errno. */
int listener_start(struct listener *listener, struct relay *relay);

/* After a rest. */
void listener_wake(struct listener *listener);

/*
 * Of several processes that wait for connections, the kernel wakes the one that was first to ask and has
 * nothing to do. From now on we are the last.
 */
void listener_step_back(struct listener *listener);

/* Stops accepting and closes the socket. Fine to call twice. */
void listener_stop(struct listener *listener);

#endif
