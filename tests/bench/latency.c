/* See latency.h. */
#include "latency.h"

/* Below 64 a bucket for each; from there on 32 for each power of two. */
static unsigned bucket_of(uint64_t time)
{
    unsigned shift;

    if (time < 64)
        return (unsigned)time;
    shift = 58U - (unsigned)__builtin_clzll(time);
    return shift * 32 + (unsigned)(time >> shift);
}

static double bucket_time(unsigned bucket)
{
    unsigned shift = bucket < 64 ? 0 : bucket / 32 - 1;

    return (double)(bucket - shift * 32) * (double)(1ULL << shift);
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
