/* A histogram of times in buckets of at most 1/256 of their value, so that any percentile is at most 0.4 %
 * off: what a relay adds is a difference of two of them. And the line of JSON that the load generators print.
 */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>

#define LATENCY_BUCKETS (57 * 256)

/* Starts as {0}. Times in nanoseconds. */
struct latency {
    uint64_t count, sum, max;
    uint64_t buckets[LATENCY_BUCKETS];
};

void latency_add(struct latency *latency, uint64_t time);

/* The time under which that part (0 to 1) of all times is; 0 if there are none. */
double latency_percentile(const struct latency *latency, double part);

/*
 * {"requests","errors","seconds","per_second","latency_us":{"mean","p50","p90","p99","p999","max"}} and a
 * line's end, to standard output. latency: of the right answers, which per_second counts. requests and
 * errors: of all. taken: nanoseconds.
 */
void latency_print(const struct latency *latency, uint64_t requests, uint64_t errors, uint64_t taken);

#endif
