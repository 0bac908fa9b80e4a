/*
 * The server of one process, the only one or one of several: loop, signals, listeners and application around
 * one relay.
 *
 * TERM and INT let running requests end, then the application, all within shutdown_timeout; a second one ends
 * at once. Of several workers each ends at once on QUIT instead. HUP reads the configuration again, USR1
 * opens log files again. USR2 has another process of the program take over; of several workers each ends what
 * it has begun, since the master's successor has taken over.
 */
#ifndef RELAY_WORKER_H
#define RELAY_WORKER_H

#include "relay/destination.h"
#include "relay/listener.h"
#include "relay/reload.h"
#include "relay/sandbox.h"
#include "relay/service.h"
#include "relay/sockets.h"
#include "relay/upgrade.h"

/* What a worker has from its master, who says with QUIT when it has to end at once. */
struct charge {
    int master; /* the channel to it (relay/pass.h): it gets a byte when the worker serves, and may bring the
                   channel to a process that has taken over */
    const struct sandbox *sandbox; /* to enter before that */
    uint64_t beat_ms;              /* how often to say in the metrics that the loop turns; 0: never */
};

struct worker {
    uv_loop_t loop;
    bool opened;                 /* the loop is */
    const struct charge *charge; /* NULL: there is no master */
    struct relay relay;
    struct service *service; /* NULL: that is a master's affair */
    struct reload reload;
    struct listener *listeners;
    size_t nlisteners;
    bool own; /* their sockets are those of [listen] */
    struct upgrade upgrade;
    struct watch successor; /* where its word comes */
    struct watch passed;    /* where the connections of one come that hands over to us */
    struct watch orders;    /* where the master's come */
    bool draining;          /* it has come: what has begun here is ended, and nothing else */
    uv_signal_t term, interrupt, quit, hangup, reopen, user2;
    uv_timer_t shutdown; /* shutdown_timeout is over */
    uv_timer_t half;     /* half of it is */
    uv_timer_t calm;     /* has the last request ended? */
    uv_timer_t beat;     /* the service manager is to hear of us */
    uv_timer_t again;    /* to pass on connections, while draining */
};

/*
 * Makes all but the listeners; signals are handled from now on. 0, or -1 with the reason in the log.
 * worker_close is due in either case. The configuration is the worker's from now on; the share is ours of its
 * totals. metrics: must outlive the worker; NULL: there was no memory for them. charge: must outlive it, too;
 * NULL: there is no master.
 */
int worker_open(struct worker *worker, struct config *config, const struct share *share,
                struct metrics *metrics, const struct charge *charge);

/*
 * Accepts on the sockets, those of a predecessor included, which it takes over and closes when it stops,
 * starts the application if that is ours, and relays until it was told to stop. service: is told of beginning
 * and end, NULL: that is the master's affair. The exit status: 0, or 1 if it could not start.
 */
int worker_run(struct worker *worker, struct sockets *sockets, struct service *service);

/* Ends everything at once. */
void worker_close(struct worker *worker);

#endif
