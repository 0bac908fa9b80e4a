/*
 * Listening sockets: made, found stale, removed again.
 */
#ifndef RELAY_LISTEN_H
#define RELAY_LISTEN_H

#include "config/config.h"

struct listen_socket {
    int fd;     /* -1: none */
    char *path; /* of a unix socket that we bound; NULL: nothing to remove */
    dev_t device;
    ino_t inode;
};

/*
 * Binds and listens; non-blocking if `nonblocking` (a listener that is handed to an application must block).
 * A dead unix socket in the way is replaced; a living one, or any other file, is an error. *socket is usable
 * with listen_close in any case. 0, or -1 with a whole sentence in error.
 */
int listen_open(struct listen_socket *socket, const struct endpoint *endpoint,
                const struct config_listen *config, bool nonblocking, char *error, size_t error_size);

/* Closes, and removes the socket file if it still is the one that we made. */
void listen_close(struct listen_socket *socket);

/* listen_close will not remove the socket file: that is another process's. */
void listen_disown(struct listen_socket *socket);

#endif
