/*
 * What a relay has done, in numbers: counters that only grow, what there is now, how long answers took, and
 * who was refused most.
 *
 * One slot a process, in memory that all processes of a server share. Each process writes its own slot, for
 * the one event loop that it has, with plain stores; any of them may read all. Every number has 64 bits, so
 * none is ever torn, but two of them may be of different moments. What a process has counted stays when it
 * ends: whoever enters in its place goes on from there.
 *
 * Nothing here allocates, asks the system or reads a clock, but for metrics_new.
 */
#ifndef OPS_METRICS_H
#define OPS_METRICS_H

#include <stdint.h>

#include "realip/decide.h"

/* What became of a request. */
enum metrics_outcome {
    OUTCOME_NONE,     /* there was none that counts */
    OUTCOME_ANSWERED, /* by the application, to the end */
    OUTCOME_REFUSED,  /* with a page of our own */
    OUTCOME_ABORTED,  /* the web server wanted no more of it */
    OUTCOME_BROKEN,   /* the answer broke off in its middle */
    OUTCOME_STATUS,   /* the status page; counted as nothing else */
    OUTCOME_COUNT,
};

/* "answered", ...; NULL for OUTCOME_NONE and OUTCOME_STATUS. */
const char *metrics_outcome_word(enum metrics_outcome outcome);

/* The statuses of refusals. */
#define METRICS_STATUSES 6
extern const int metrics_statuses[METRICS_STATUSES];

/* Time limits that were reached. */
enum metrics_timeout {
    TIMEOUT_HEADER,     /* the web server did not complete a request's parameters */
    TIMEOUT_WEB_SERVER, /* it took no more of an answer */
    TIMEOUT_QUEUE,
    TIMEOUT_CONNECT,
    TIMEOUT_SEND,
    TIMEOUT_READ,
    TIMEOUT_REQUEST,
    TIMEOUT_COUNT,
};

/* "header", "web_server", ... */
const char *metrics_timeout_word(enum metrics_timeout timeout);

/*
 * Times in microseconds, in buckets of which 16 together double the time: wider than their lower end by a
 * sixteenth at most. Up to 15 each has its own; the last one holds all that is longer than an hour.
 */
#define LATENCY_STEPS   16
#define LATENCY_BUCKETS (29 * LATENCY_STEPS)

unsigned metrics_find_bucket(uint64_t us);

/* What all times of the bucket are below. */
uint64_t metrics_bucket_end(unsigned bucket);

/* All fields are uint64_t: metrics_sum adds them up as an array. */
struct metrics_counters {
    uint64_t outcomes[OUTCOME_COUNT];
    uint64_t decisions[REASON_COUNT];
    uint64_t refusals[METRICS_STATUSES];
    uint64_t timeouts[TIMEOUT_COUNT];
    uint64_t fronts;                     /* connections of the web server */
    uint64_t connects, connect_failures; /* of connections to the application: begun, and not made */
    uint64_t reuses;                     /* requests sent on a kept one */
    uint64_t retries;                    /* requests sent once more */
    uint64_t waits;                      /* requests that had to wait for a connection */
    uint64_t overflows;                  /* and those for which the queue was full */
    uint64_t from_front, to_front;       /* bytes, of all connections */
    uint64_t from_upstream, to_upstream;
    uint64_t latency_sum;              /* of answered requests, in microseconds */
    uint64_t latency[LATENCY_BUCKETS]; /* how many of them took so long */
};

/* What there is now. */
struct metrics_gauges {
    uint64_t requests;  /* running */
    uint64_t waiting;   /* of them: for a connection */
    uint64_t fronts;    /* connections of the web server */
    uint64_t upstreams; /* to the application */
};

/* Requests that ended, a second, for the last of them. */
#define METRICS_SECONDS 64
struct metrics_history {
    uint64_t second; /* of a steady clock that all processes share: the last one that is written */
    uint64_t ended[METRICS_SECONDS];
};

/*
 * Who was refused because of its address. So many stand in the list, and a new one takes the place of that
 * with the least weight, and takes its weight along (the "space saving" algorithm): whoever makes up more
 * than one part in METRICS_REFUSED of all refusals is surely in it.
 */
#define METRICS_REFUSED 32
#define METRICS_PEER    64
struct metrics_refused {
    uint64_t count; /* since it is in the list; 0: nobody */
    uint64_t weight;
    uint64_t hash;
    struct address client; /* kind NONE: the peer is no address */
    uint64_t peer_len;
    char peer[METRICS_PEER]; /* as the web server sent it, cut */
};

struct metrics_slot {
    uint64_t pid;        /* 0: nobody is here */
    uint64_t started;    /* wall clock, in seconds */
    uint64_t generation; /* of the configuration that it has, from 1 */
    uint64_t turned; /* CLOCK_MONOTONIC in ms at which its loop last said that it turns, if it is to say so */
    struct metrics_gauges now;
    struct metrics_counters counters;
    struct metrics_history history;
    struct metrics_refused refused[METRICS_REFUSED];
};

struct metrics {
    uint64_t pid; /* of the server: of who made this */
    uint64_t started;
    uint64_t count;
    struct metrics_slot slots[];
};

/* Slots for so many processes, which get them by fork(2). started: wall clock, in seconds. NULL when memory
 * is short. */
struct metrics *metrics_new(unsigned count, uint64_t started);

/* In this process only; copes with NULL. */
void metrics_free(struct metrics *metrics);

/* This process takes slot `number`, from 0, which nobody uses. started: wall clock, in seconds. */
struct metrics_slot *metrics_enter(struct metrics *metrics, unsigned number, uint64_t started);

/* The process in this slot has ended, or is about to. */
void metrics_leave(struct metrics_slot *slot);

/* For metrics_count_end: the second has passed. */
void metrics_turn_second(struct metrics_history *history, uint64_t second);

/*
 * A request has ended that was complete at `began`. Times in microseconds, of CLOCK_MONOTONIC.
 */
static inline void metrics_count_end(struct metrics_slot *slot, enum metrics_outcome outcome, uint64_t began,
                                     uint64_t now)
{
    slot->counters.outcomes[outcome]++;
    if (outcome == OUTCOME_STATUS)
        return;
    uint64_t second = now / 1000000;
    if (second != slot->history.second)
        metrics_turn_second(&slot->history, second);
    slot->history.ended[second % METRICS_SECONDS]++;
    if (outcome == OUTCOME_ANSWERED) {
        slot->counters.latency_sum += now - began;
        slot->counters.latency[metrics_find_bucket(now - began)]++;
    }
}

/* A page of our own goes out; status is one of metrics_statuses. */
void metrics_count_refusal(struct metrics_slot *slot, int status);

/* And it is because of the address: REMOTE_ADDR as it came, and the client that was found. */
void metrics_count_refused(struct metrics_slot *slot, struct slice peer, const struct address *client);

/* Adds the counters to sum. */
void metrics_sum(struct metrics_counters *sum, const struct metrics_counters *counters);

/* Requests but for those of the status page. */
uint64_t metrics_count_requests(const struct metrics_counters *counters);

/* How many answers the histogram holds. */
uint64_t metrics_count_answers(const struct metrics_counters *counters);

/*
 * What so many of a thousand answers stayed below, in microseconds, to the end of its bucket; 0 if there are
 * none. permille: 1 to 1000.
 */
uint64_t metrics_find_latency(const struct metrics_counters *counters, unsigned permille);

#endif
