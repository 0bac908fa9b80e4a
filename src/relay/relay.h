/*
 * One event loop's worth of relay: what all of its fronts share.
 *
 * The read buffers belong to the loop, not to connections. Nothing here is thread-safe.
 */
#ifndef RELAY_RELAY_H
#define RELAY_RELAY_H

#include "config/share.h"
#include "ops/log.h"
#include "ops/metrics.h"
#include "realip/rewrite.h"
#include "relay/known.h"
#include "relay/pool.h"

#define RELAY_BUFFER_SIZE 65536

struct destination;
struct front;
struct access_log; /* of relay/access_log.h */

/* Things that peers can cause at will, each logged once a minute at most. */
struct relay_limits {
    struct log_limit unreachable, protocol, queue, requests, repeated_addr, aliases, junk, accept, client;
};

struct relay {
    uv_loop_t *loop;
    const struct config *config;
    unsigned generation; /* of it, from 1: a reload that changes something makes it one more */
    struct share share;  /* of its totals */
    struct log log;
    uv_timer_t logs_timer;     /* when to try again what a log did not take */
    struct access_log *access; /* NULL: there is none */
    struct relay_limits limits;
    const struct metrics *metrics; /* of all processes */
    struct metrics_slot *counts;   /* ours */
    struct poller poller;
    struct outbox outbox;
    struct deadlines deadlines;
    struct pool pool;
    struct destination *destination;  /* what new connections of the pool lead to */
    struct destination *destinations; /* a list: this one, and those that a reload has left */
    uv_timer_t sweep;                 /* to look for those that have ended */
    struct workspace *workspace;
    struct known *known;   /* of the request being started */
    char *buffer;          /* what is read from a front in this turn */
    struct gather gather;  /* what goes to the application in this turn */
    struct buffer scratch; /* what the gather names and is not in the buffer */
    struct front *fronts;
    size_t nfronts;
    uint16_t last_id; /* of a request, towards the application */
    size_t requests;  /* between their complete parameters and their end */
    bool no_status;   /* whatever the configuration says: a single request has none */
    bool stopping;
    int successor; /* while stopping: where idle fronts are passed to (relay/pass.h); -1: they are closed */
    bool ended;    /* relay_run returns */
    void (*emptied)(struct relay *relay); /* the last front has ended while stopping */
    /* A request has ended while stopping, and none is left, perhaps: ask relay_is_calm later. NULL: nobody
     * asks. */
    void (*calmed)(struct relay *relay);
    /* One more connection is to be kept by its web server. NULL: nobody asks. */
    void (*kept)(struct relay *relay);
    /* The last process of an application has ended while stopping. NULL: nobody asks. */
    void (*terminated)(struct relay *relay);
    void *owner;
};

/* 0 or a negative errno / UV_E* value; relay_close is due in either case. The configuration must outlive the
 * relay, or its place in it be taken by another one. The share is ours of its totals, and says which slot of
 * the metrics we enter; they must outlive the relay. */
int relay_open(struct relay *relay, uv_loop_t *loop, const struct config *config, const struct share *share,
               struct metrics *metrics);

/*
 * Goes on with another configuration: from the next request on that completes its parameters, whatever its
 * connection. Those that run or wait are not touched; who waits for a connection gets one of the new
 * application. Not to be called while a record of a request is handled. 0, and the old configuration is used
 * no more; or a negative errno or UV_E* value, the reason is in the log, and nothing has changed.
 */
int relay_change(struct relay *relay, const struct config *config, const struct share *share);

/* The configuration's time limits, by kind of deadline. */
void relay_set_durations(uint64_t *lasts, const struct config *config);

/* Runs the loop until `ended` is set. */
void relay_run(struct relay *relay);

/* Shows in the metrics what there is now: for ourselves when it is to be shown, for other processes always.
 */
void relay_publish(struct relay *relay);

/* Ends idle fronts now and the others after their answer; calls emptied when none is left, perhaps at once.
 */
void relay_stop(struct relay *relay);

/*
 * The same, but idle fronts go to another process, which goes on with them, through the channel `successor`,
 * which stays the caller's, and the others after their answer. Those that cannot be passed now stay: to be
 * called again after a while.
 */
void relay_drain(struct relay *relay, int successor);

/* Is the application needed for nothing any more, no running request and none on its way? Of a relay that is
 * stopping. */
bool relay_is_calm(const struct relay *relay);

/* Ends everything at once. The loop must run once more afterwards. */
void relay_close(struct relay *relay);

/* Frees what relay_close left for the loop's last turn. */
void relay_free(struct relay *relay);

/* Logs at most once a minute for each limit. */
#define relay_log_limited(relay, limit, level, ...)                                                          \
    do {                                                                                                     \
        unsigned suppressed_;                                                                                \
        if (log_limit_pass(&(relay)->limits.limit, uv_now((relay)->loop), &suppressed_)) {                   \
            log_write(&(relay)->log, level, __VA_ARGS__);                                                    \
            if (suppressed_ > 0)                                                                             \
                log_write(&(relay)->log, level, "%u more lines like the last one were left out",             \
                          suppressed_);                                                                      \
        }                                                                                                    \
    } while (0)

#endif
