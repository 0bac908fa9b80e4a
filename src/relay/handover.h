/*
 * Handing the service over to a new process of the program, with its listening sockets: an upgrade without a
 * moment in which nobody listens.
 *
 * The new process gets the sockets as from systemd (LISTEN_FDS, LISTEN_PID), and FCGI_REALIP_HANDOVER, which
 * says "WORD FRONTS own" or "WORD FRONTS lent": the descriptor of a pipe where it says a word once it serves,
 * that of a channel through which connections are passed to it, and whether the sockets are those that
 * [listen] names or were inherited in their turn. Not thread-safe.
 */
#ifndef RELAY_HANDOVER_H
#define RELAY_HANDOVER_H

#include "relay/sockets.h"

/* The program as it was started. Starts as {0}. */
struct handover_program {
    char **arguments; /* malloc'ed, as the next ones */
    char *memory;     /* in which they lie */
    char *file;       /* where it was, without symbolic links */
};

/* Remembers it; what cannot be found is said when it is needed. */
void handover_remember(struct handover_program *program);
void handover_forget(struct handover_program *program);

/*
 * Starts the program again, found as it was found the first time, with our arguments and environment: the
 * sockets are its descriptors from 3 on. It inherits no signal mask. Its pid, or a negative errno.
 * *ready: our end of the pipe, which does not block; its word is one byte, and the end of the stream before
 * that means that it did not start. *fronts: our end of the channel.
 */
pid_t handover_start(const struct handover_program *program, const struct sockets *sockets, int *ready,
                     int *fronts);

#endif
