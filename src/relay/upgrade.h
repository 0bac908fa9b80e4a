/*
 * An upgrade, as the process sees it that is to be replaced: it starts the new one, waits for its word, and
 * then has nothing to do any more but to end what it has begun.
 *
 * Until the word comes nothing has changed, and if it never comes, nothing will. Not thread-safe.
 */
#ifndef RELAY_UPGRADE_H
#define RELAY_UPGRADE_H

#include "relay/handover.h"
#include "relay/service.h"

/* Starts as {.ready = -1, .fronts = -1}. */
struct upgrade {
    pid_t pid;   /* of the new process; 0: there is none */
    int ready;   /* its word comes here; -1: nothing is waited for */
    int fronts;  /* the channel to pass it connections through, once it serves; -1: there is none */
    bool reload; /* it has to read the configuration again, once it serves */
};

/* Starts the program again; what comes of it is in the log. False: it could not be started. */
bool upgrade_begin(struct upgrade *upgrade, struct service *service, const struct sockets *sockets);

enum upgrade_word {
    UPGRADE_PENDING, /* look again when there is more to read */
    UPGRADE_SERVES,  /* the new process does: the service manager and the pid file know */
    UPGRADE_FAILED,  /* it has ended; that is in the log */
};

/* We were told to read the configuration again: so is the new process, which may have read it before. */
void upgrade_note_reload(struct upgrade *upgrade);

/* Reads its word, once `ready` can be read. */
enum upgrade_word upgrade_read(struct upgrade *upgrade, struct service *service);

/* We end before it serves: so does it. Fine if there is none. */
void upgrade_cancel(struct upgrade *upgrade);

/* No connections are passed any more. Fine if there is no channel. */
void upgrade_close(struct upgrade *upgrade);

#endif
