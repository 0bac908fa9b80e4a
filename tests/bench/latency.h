/* A histogram of times in buckets of at most 1/32 of their value, so that any percentile is at most 3 % off.
 */
#ifndef BENCH_LATENCY_H
#define BENCH_LATENCY_H

#include <stdint.h>

#define LATENCY_BUCKETS (60 * 32)

/* Starts as {0}. Times in nanoseconds. */
struct latency {
    uint64_t count, sum, max;
    uint64_t buckets[LATENCY_BUCKETS];
};

void latency_add(struct latency *latency, uint64_t time);

/* The time under which that part (0 to 1) of all times is; 0 if there are none. */
double latency_percentile(const struct latency *latency, double part);

#endif
