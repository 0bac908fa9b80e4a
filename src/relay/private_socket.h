/*
 * A listening socket between the shim and the application that it starts, which nobody else can reach.
 *
 * It has no name in the file system that would outlive the shim, however that ends: the file is removed as
 * soon as it is made, and connecting goes through a descriptor of it. Linux only. Not thread-safe.
 */
#ifndef RELAY_PRIVATE_SOCKET_H
#define RELAY_PRIVATE_SOCKET_H

#include "config/config.h"

/* Starts as {-1, -1}. */
struct private_socket {
    int listener;             /* blocks, as programs expect it of their descriptor 0; -1: closed */
    int file;                 /* the removed socket file */
    struct endpoint endpoint; /* where to connect: good for this process, as long as file is open; its text is
                                 NULL */
};

/*
 * Makes it, by way of a private folder in $TMPDIR or /tmp, in place of one that there may be. 0, or a
 * negative errno and a whole sentence in error: then there is none.
 */
int private_socket_open(struct private_socket *socket, char *error, size_t error_size);

/* Closes the listener alone. Unless a program still holds it, what waits to be accepted is reset, and
 * connecting says ECONNREFUSED from now on. */
void private_socket_refuse(struct private_socket *socket);

/* Closes all of it; fine to call twice. */
void private_socket_close(struct private_socket *socket);

#endif
