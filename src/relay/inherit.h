/*
 * Listening sockets that a launcher hands over: as descriptor 0 (spawn-fcgi, mod_fcgid, lighttpd's bin-path;
 * FastCGI specification 2.2), or from descriptor 3 on with LISTEN_FDS and LISTEN_PID in the environment
 * (systemd, sd_listen_fds(3)).
 *
 * Reads the environment; not thread-safe.
 */
#ifndef RELAY_INHERIT_H
#define RELAY_INHERIT_H

#include "relay/listen.h"

struct inherited {
    int first; /* descriptors [first, first + count) are listeners; descriptor 0 goes before LISTEN_FDS */
    int count; /* 0: none */
    /* Of a process that hands over to us (relay/handover.h): */
    int word;   /* where to say that we serve; -1: nobody hands over */
    int fronts; /* the channel through which its idle connections come (relay/pass.h); -1: none do */
    bool own;   /* the sockets are those that [listen] named there */
};

/* Looks, and changes nothing. 0, or -1 with a whole sentence in error: LISTEN_FDS is meant for us and makes
 * no sense. */
int inherit_find(struct inherited *inherited, char *error, size_t error_size);

/*
 * Makes an inherited descriptor ours: non-blocking, closed on exec, never removed from the file system. A TCP
 * address that is not loopback needs allowed_clients here too. 0, or -1 with a whole sentence in error.
 * `text`, text_size bytes, gets the socket's name for messages in either case.
 */
int inherit_adopt(struct listen_socket *socket, int fd, const struct config_listen *config, char *text,
                  size_t text_size, char *error, size_t error_size);

/* One of the inherited descriptors that listens at this address; -1: none does. */
int inherit_match(const struct inherited *inherited, const struct endpoint *endpoint);

/* What inherit_adopt calls it, text_size bytes. */
void inherit_name(int fd, char *text, size_t text_size);

/* Takes LISTEN_* out of the environment, so that programs started later do not take them for theirs. */
void inherit_forget(void);

#endif
