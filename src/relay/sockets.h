/*
 * All the sockets that web servers connect to: those of [listen], or those that were inherited instead.
 */
#ifndef RELAY_SOCKETS_H
#define RELAY_SOCKETS_H

#include "ops/log.h"
#include "relay/inherit.h"

/* Starts as {0}. */
struct sockets {
    struct listen_socket *list;
    size_t count;
    bool own;                   /* they are those of [listen] */
    int fronts;                 /* connections that are passed to us come here; -1: none do */
    struct listen_socket *left; /* of a process that hands over: what [listen] does not name any more */
    size_t nleft;
};

/* Opens them, or goes on with those that were handed over, and says so in the log, also what went wrong. 0 or
 * -1; sockets_close is due in either case. */
int sockets_open(struct sockets *sockets, const struct config *config, const struct inherited *inherited,
                 struct log *log);

/* Closes all, and removes the socket files that we made. Fine to call twice. */
void sockets_close(struct sockets *sockets);

/* We serve, and who handed over does not any more: what was lent is ours. */
void sockets_keep(struct sockets *sockets);

/* The socket files are another process's to remove: ours are copies of its descriptors. */
void sockets_disown(struct sockets *sockets);

#endif
