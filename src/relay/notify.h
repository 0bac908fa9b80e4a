/*
 * What a service manager is told: sd_notify(3), one datagram a message to the socket that NOTIFY_SOCKET
 * names.
 *
 * Without libsystemd: it is twenty lines, and a library that is in every address space of the request path
 * had better be worth it. Not thread-safe.
 */
#ifndef RELAY_NOTIFY_H
#define RELAY_NOTIFY_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

struct notify {
    struct sockaddr_un address;
    socklen_t length;     /* of the address; 0: nobody listens */
    uint64_t watchdog_ms; /* if nothing is heard for so long we are restarted; 0: no limit */
};

/* Reads NOTIFY_SOCKET, and WATCHDOG_USEC unless WATCHDOG_PID names another process. 0, or -EINVAL: there is a
 * socket, but none that can be spoken to. */
int notify_open(struct notify *notify);

/* "READY=1" and the like. 0, also if nobody listens, or a negative errno. Waits a second at most. */
int notify_send(const struct notify *notify, const char *message);

#endif
