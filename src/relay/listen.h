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
    bool lent; /* it was bound by a process that hands it over to us, and may yet go on with it */
};

/*
 * Binds and listens; non-blocking if `nonblocking` (a listener that is handed to an application must block).
 * A dead unix socket in the way is replaced; a living one, or any other file, is an error. *socket is usable
 * with listen_close in any case. 0, or -1 with a whole sentence in error.
 */
int listen_open(struct listen_socket *socket, const struct endpoint *endpoint,
                const struct config_listen *config, bool nonblocking, char *error, size_t error_size);

/*
 * Goes on with a socket that another process has bound just so, and hands over: it is lent, and its file not
 * ours to remove, until listen_keep. NULL for config: it is to be closed and removed then. 0 or a negative
 * errno; *socket is usable with listen_close in any case.
 */
int listen_take_over(struct listen_socket *socket, int fd, const struct config_listen *config);

/* It is ours for good. */
void listen_keep(struct listen_socket *socket);

/* Closes, and removes the socket file if it still is the one that we made. */
void listen_close(struct listen_socket *socket);

/* listen_close will not remove the socket file: that is another process's. */
void listen_disown(struct listen_socket *socket);

#endif
