/* See latency.h. */
#include "latency.h"

#include <stddef.h>
#include <stdio.h>

/* Below 512 a bucket for each; from there on 256 for each power of two. */
static unsigned bucket_of(uint64_t time)
{
    unsigned shift;

    if (time < 512)
        return (unsigned)time;
    shift = 55U - (unsigned)__builtin_clzll(time);
    return shift * 256 + (unsigned)(time >> shift);
}

static double bucket_time(unsigned bucket)
{
    unsigned shift = bucket < 512 ? 0 : bucket / 256 - 1;

    return (double)(bucket - shift * 256) * (double)(1ULL << shift);
}

void latency_add(struct latency *latency, uint64_t time)
{
    latency->count++;
    latency->sum += time;
    latency->max = time > latency->max ? time : latency->max;
    latency->buckets[bucket_of(time)]++;
}

double latency_percentile(const struct latency *latency, double part)
{
    uint64_t wanted = (uint64_t)((double)latency->count * part), seen = 0;

    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        seen += latency->buckets[i];
        if (seen > wanted)
            return bucket_time(i);
    }
    return (double)latency->max;
}

void latency_print(const struct latency *latency, uint64_t requests, uint64_t errors, uint64_t taken)
{
    static const struct {
        const char *name;
        double part;
    } percentiles[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"p999", 0.999}};
    double seconds = (double)taken / 1e9, count = (double)latency->count;

    printf("{\"requests\":%llu,\"errors\":%llu,\"seconds\":%.6f,\"per_second\":%.1f,\"latency_us\":{\"mean\":"
           "%.2f",
           (unsigned long long)requests, (unsigned long long)errors, seconds, count / seconds,
           latency->count > 0 ? (double)latency->sum / count / 1000 : 0);
    for (size_t i = 0; i < sizeof(percentiles) / sizeof(percentiles[0]); i++)
        printf(",\"%s\":%.2f", percentiles[i].name, latency_percentile(latency, percentiles[i].part) / 1000);
    printf(",\"max\":%.2f}}\n", (double)latency->max / 1000);
    fflush(stdout);
}
