#include "ops/metrics.h"

#include <sys/mman.h>
#include <unistd.h>

const int metrics_statuses[METRICS_STATUSES] = {400, 403, 431, 502, 503, 504};

const char *metrics_outcome_word(enum metrics_outcome outcome)
{
    static const char *const words[OUTCOME_COUNT] = {[OUTCOME_ANSWERED] = "answered",
                                                     [OUTCOME_REFUSED] = "refused",
                                                     [OUTCOME_ABORTED] = "aborted",
                                                     [OUTCOME_BROKEN] = "broken"};
    return words[outcome];
}

const char *metrics_timeout_word(enum metrics_timeout timeout)
{
    static const char *const words[TIMEOUT_COUNT] = {
        [TIMEOUT_HEADER] = "header",  [TIMEOUT_WEB_SERVER] = "web_server",
        [TIMEOUT_QUEUE] = "queue",    [TIMEOUT_CONNECT] = "connect",
        [TIMEOUT_SEND] = "send",      [TIMEOUT_READ] = "read",
        [TIMEOUT_REQUEST] = "request"};
    return words[timeout];
}

/* ---- latency ---- */

/* gcc and clang have the processor's own instruction for it; C11 has no word for that. */
static unsigned top_bit(uint32_t value)
{
    return 31 - (unsigned)__builtin_clz(value);
}

unsigned metrics_find_bucket(uint64_t us)
{
    if (us < LATENCY_STEPS)
        return (unsigned)us;
    uint32_t value = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
    unsigned top = top_bit(value);
    return (top - 3) * LATENCY_STEPS + ((value >> (top - 4)) & (LATENCY_STEPS - 1));
}

uint64_t metrics_bucket_end(unsigned bucket)
{
    if (bucket < LATENCY_STEPS)
        return bucket + 1;
    return (uint64_t)(LATENCY_STEPS + bucket % LATENCY_STEPS + 1) << (bucket / LATENCY_STEPS - 1);
}

uint64_t metrics_count_answers(const struct metrics_counters *counters)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        count += counters->latency[i];
    return count;
}

uint64_t metrics_find_latency(const struct metrics_counters *counters, unsigned permille)
{
    uint64_t count = metrics_count_answers(counters);
    if (count == 0)
        return 0;
    /* The smallest number of answers that is so large a part of all. */
    uint64_t wanted = count / 1000 * permille + (count % 1000 * permille + 999) / 1000;
    unsigned bucket = 0;
    uint64_t seen = counters->latency[0];
    while (seen < wanted && bucket + 1 < LATENCY_BUCKETS)
        seen += counters->latency[++bucket];
    return metrics_bucket_end(bucket);
}

/* ---- slots ---- */

static size_t region_size(uint64_t count)
{
    return sizeof(struct metrics) + count * sizeof(struct metrics_slot);
}

struct metrics *metrics_new(unsigned count, uint64_t started)
{
    struct metrics *metrics =
        mmap(NULL, region_size(count), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (metrics == MAP_FAILED)
        return NULL;
    metrics->pid = (uint64_t)getpid();
    metrics->started = started;
    metrics->count = count;
    return metrics;
}

void metrics_free(struct metrics *metrics)
{
    if (metrics)
        munmap(metrics, region_size(metrics->count));
}

struct metrics_slot *metrics_enter(struct metrics *metrics, unsigned number, uint64_t started)
{
    struct metrics_slot *slot = &metrics->slots[number];
    slot->started = started;
    slot->now = (struct metrics_gauges){0};
    slot->generation = 1;
    slot->pid = (uint64_t)getpid();
    return slot;
}

void metrics_leave(struct metrics_slot *slot)
{
    slot->pid = 0;
    slot->now = (struct metrics_gauges){0};
}

/* ---- counting ---- */

void metrics_turn_second(struct metrics_history *history, uint64_t second)
{
    uint64_t passed = second - history->second;
    for (uint64_t i = 0; i < passed && i < METRICS_SECONDS; i++)
        history->ended[(second - i) % METRICS_SECONDS] = 0;
    history->second = second;
}

void metrics_count_refusal(struct metrics_slot *slot, int status)
{
    for (unsigned i = 0; i < METRICS_STATUSES; i++) {
        if (metrics_statuses[i] == status)
            slot->counters.refusals[i]++;
    }
}

/* FNV-1a. Who finds another text for a hash gains nothing: the texts are compared as well. */
static uint64_t hash_bytes(uint64_t hash, const void *data, size_t len)
{
    const unsigned char *bytes = data;
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3;
    return hash;
}

static bool is_same(const struct metrics_refused *entry, uint64_t hash, struct slice peer,
                    const struct address *client)
{
    return entry->count > 0 && entry->hash == hash && entry->peer_len == peer.len &&
           memcmp(entry->peer, peer.data, peer.len) == 0 && entry->client.kind == client->kind &&
           entry->client.hi == client->hi && entry->client.lo == client->lo;
}

void metrics_count_refused(struct metrics_slot *slot, struct slice peer, const struct address *client)
{
    if (!peer.data)
        peer = SLICE("");
    if (peer.len > METRICS_PEER)
        peer.len = METRICS_PEER;
    uint64_t hash = hash_bytes(0xcbf29ce484222325, peer.data, peer.len);
    hash = hash_bytes(hash, &client->hi, sizeof client->hi);
    hash = hash_bytes(hash, &client->lo, sizeof client->lo);
    struct metrics_refused *least = &slot->refused[0];
    for (unsigned i = 0; i < METRICS_REFUSED; i++) {
        struct metrics_refused *entry = &slot->refused[i];
        if (is_same(entry, hash, peer, client)) {
            entry->count++;
            entry->weight++;
            return;
        }
        if (entry->weight < least->weight)
            least = entry;
    }
    least->count = 0;
    least->client = *client;
    least->hash = hash;
    least->peer_len = peer.len;
    memcpy(least->peer, peer.data, peer.len);
    least->weight++;
    least->count = 1;
}

void metrics_sum(struct metrics_counters *sum, const struct metrics_counters *counters)
{
    uint64_t *to = (uint64_t *)sum;
    const uint64_t *from = (const uint64_t *)counters;
    for (size_t i = 0; i < sizeof *sum / sizeof *to; i++)
        to[i] += from[i];
}

uint64_t metrics_count_requests(const struct metrics_counters *counters)
{
    return counters->outcomes[OUTCOME_ANSWERED] + counters->outcomes[OUTCOME_REFUSED] +
           counters->outcomes[OUTCOME_ABORTED] + counters->outcomes[OUTCOME_BROKEN];
}
