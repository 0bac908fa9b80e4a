/*
 * Where requests go: an application that listens somewhere, one that we start, or CGI programs.
 *
 * A reload puts a new destination in the place of the current one, which then finishes what it has begun: its
 * running requests end, then its processes, then it. Nothing of the configuration is kept. Belongs to its
 * loop; not thread-safe.
 */
#ifndef RELAY_DESTINATION_H
#define RELAY_DESTINATION_H

#include "relay/application.h"
#include "relay/cgi.h"

struct destination {
    struct upstream_target target;
    struct relay *relay;
    enum config_upstream_kind kind;
    struct endpoint *addresses; /* of UPSTREAM_ADDRESS */
    size_t naddresses;
    char *root;     /* cgi_root, or NULL */
    char **command; /* as config_upstream has it, and so is the environment */
    char **environment;
    unsigned processes;
    struct application application;
    struct cgi cgi;
    bool started;  /* the application is */
    bool retired;  /* it is not the current one any more */
    bool insisted; /* its processes have been killed */
    bool closing;  /* its handles are being closed */
    bool closed;
    uv_timer_t end;           /* what is left of its processes' time */
    struct destination *next; /* of relay->destinations */
};

/*
 * Makes the destination that config says, without starting any process; nobody goes there before the pool
 * and relay->destination are told. 0, or a negative errno or UV_E* value, and *destination NULL.
 */
int destination_new(struct destination **destination, struct relay *relay,
                    const struct config_upstream *config, const struct share *share);

/* Starts the application, if that is ours. 0, or -1 with the reason in the log. */
int destination_start(struct destination *destination, const struct config_upstream *config);

/* Is it what config says? */
bool destination_fits(const struct destination *destination, const struct config_upstream *config,
                      const struct share *share);

/* Takes over what can change in a destination that fits. */
void destination_adjust(struct destination *destination, const struct share *share);

/*
 * It is not the current one any more, or never was: frees it once its connections and processes have ended.
 * When nobody needs them, its processes get TERM, and shutdown_timeout later KILL.
 */
void destination_retire(struct destination *destination);

/* ---- of all of a relay ---- */

/* For relay_open; 0 or a negative UV_E* value. */
int destinations_open(struct relay *relay);

/* Processes of applications that live. */
size_t destinations_count_lives(const struct relay *relay);

/* Asks all of them to end; relay->terminated is called when they have, perhaps at once. */
void destinations_terminate(struct relay *relay);

/* Kills what lives. The loop must run once more before destinations_free. */
void destinations_close(struct relay *relay);
void destinations_free(struct relay *relay);

#endif
