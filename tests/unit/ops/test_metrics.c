/*
 * Counters: where times belong, what is known of those who were refused, the last seconds, and processes that
 * share it all.
 */
#include "realip_cmocka.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ops/metrics.h"

static struct metrics *metrics;
static struct metrics_slot *slot;

static int set_up(void **state)
{
    (void)state;
    metrics = metrics_new(3, 1000);
    if (!metrics)
        return -1;
    slot = metrics_enter(metrics, 1, 1001);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    metrics_free(metrics);
    return 0;
}

/* ---- latency ---- */

static void test_buckets_touch(void **state)
{
    (void)state;
    uint64_t start = 0;
    for (unsigned i = 0; i + 1 < LATENCY_BUCKETS; i++) {
        uint64_t end = metrics_bucket_end(i);
        assert_true(end > start);
        assert_int_equal(metrics_find_bucket(start), i);
        assert_int_equal(metrics_find_bucket(end - 1), i);
        /* No wider than a sixteenth of where it begins. */
        assert_true((end - start - 1) * 16 <= start);
        start = end;
    }
}

static void test_bucket_ends(void **state)
{
    (void)state;
    static const struct {
        uint64_t us;
        unsigned bucket;
        uint64_t end;
    } rows[] = {
        {0, 0, 1},
        {1, 1, 2},
        {15, 15, 16},
        {16, 16, 17},
        {31, 31, 32},
        {32, 32, 34},
        {33, 32, 34},
        {63, 47, 64},
        {64, 48, 68},
        {1000, 111, 1024},
        {4294967295, 463, 4294967296},
        {4294967296, 463, 4294967296},
        {UINT64_MAX, 463, 4294967296},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(metrics_find_bucket(rows[i].us), rows[i].bucket);
        assert_int_equal(metrics_bucket_end(rows[i].bucket), rows[i].end);
    }
}

static void test_percentiles(void **state)
{
    (void)state;
    struct metrics_counters counters = {.latency = {0}};
    assert_int_equal(metrics_find_latency(&counters, 500), 0);
    assert_int_equal(metrics_count_answers(&counters), 0);
    /* 1 to 10 microseconds, and one of a second. */
    for (unsigned us = 1; us <= 10; us++)
        counters.latency[metrics_find_bucket(us)]++;
    assert_int_equal(metrics_find_latency(&counters, 1), 2);
    assert_int_equal(metrics_find_latency(&counters, 100), 2);
    assert_int_equal(metrics_find_latency(&counters, 101), 3);
    assert_int_equal(metrics_find_latency(&counters, 500), 6);
    assert_int_equal(metrics_find_latency(&counters, 900), 10);
    assert_int_equal(metrics_find_latency(&counters, 901), 11);
    counters.latency[metrics_find_bucket(1000000)]++;
    assert_int_equal(metrics_find_latency(&counters, 900), 11);
    assert_int_equal(metrics_find_latency(&counters, 1000), 1015808);
    assert_int_equal(metrics_count_answers(&counters), 11);
}

/* ---- ends of requests ---- */

#define SECOND ((uint64_t)1000000)

static void test_ends(void **state)
{
    (void)state;
    uint64_t now = 5000 * SECOND;
    metrics_count_end(slot, OUTCOME_ANSWERED, now - 70, now);
    metrics_count_end(slot, OUTCOME_ANSWERED, now - 64, now);
    metrics_count_end(slot, OUTCOME_REFUSED, now - 1000, now);
    metrics_count_end(slot, OUTCOME_ABORTED, 0, now);
    metrics_count_end(slot, OUTCOME_BROKEN, 0, now);
    metrics_count_end(slot, OUTCOME_STATUS, 0, now);
    assert_int_equal(slot->counters.outcomes[OUTCOME_ANSWERED], 2);
    assert_int_equal(slot->counters.outcomes[OUTCOME_REFUSED], 1);
    assert_int_equal(slot->counters.outcomes[OUTCOME_ABORTED], 1);
    assert_int_equal(slot->counters.outcomes[OUTCOME_BROKEN], 1);
    assert_int_equal(slot->counters.outcomes[OUTCOME_STATUS], 1);
    assert_int_equal(metrics_count_requests(&slot->counters), 5);
    assert_int_equal(metrics_count_answers(&slot->counters), 2);
    assert_int_equal(slot->counters.latency_sum, 134);
    assert_int_equal(slot->counters.latency[49], 1);
    assert_int_equal(slot->counters.latency[48], 1);
    assert_int_equal(slot->history.ended[5000 % METRICS_SECONDS], 5);
}

static void test_seconds_pass(void **state)
{
    (void)state;
    const struct metrics_history *history = &slot->history;
    for (uint64_t second = 5000; second < 5100; second++)
        metrics_count_end(slot, OUTCOME_ANSWERED, second * SECOND, second * SECOND);
    for (size_t i = 0; i < METRICS_SECONDS; i++)
        assert_int_equal(history->ended[i], 1);
    /* After a pause the seconds in between are empty. */
    metrics_count_end(slot, OUTCOME_ANSWERED, 5110 * SECOND, 5110 * SECOND + 999999);
    metrics_count_end(slot, OUTCOME_ANSWERED, 5110 * SECOND, 5110 * SECOND + 999999);
    assert_int_equal(history->second, 5110);
    for (uint64_t second = 5100; second < 5110; second++)
        assert_int_equal(history->ended[second % METRICS_SECONDS], 0);
    assert_int_equal(history->ended[5110 % METRICS_SECONDS], 2);
    assert_int_equal(history->ended[5099 % METRICS_SECONDS], 1);
    /* And after a long one all are. */
    metrics_count_end(slot, OUTCOME_REFUSED, 0, 9000 * SECOND);
    uint64_t sum = 0;
    for (size_t i = 0; i < METRICS_SECONDS; i++)
        sum += history->ended[i];
    assert_int_equal(sum, 1);
}

static void test_refusals(void **state)
{
    (void)state;
    static const int wanted[] = {400, 403, 431, 502, 503, 504};
    for (size_t i = 0; i < COUNT(wanted); i++)
        for (size_t n = 0; n <= i; n++)
            metrics_count_refusal(slot, wanted[i]);
    for (size_t i = 0; i < COUNT(wanted); i++)
        assert_int_equal(slot->counters.refusals[i], i + 1);
}

/* ---- who was refused ---- */

static void refuse(const char *peer, const char *client)
{
    struct address address = {.kind = ADDRESS_NONE};
    address_parse(slice_of(client), &address);
    metrics_count_refused(slot, slice_of(peer), &address);
}

/* How often, as far as is known. */
static uint64_t count_of(const char *peer, const char *client)
{
    struct address address = {.kind = ADDRESS_NONE};
    address_parse(slice_of(client), &address);
    for (size_t i = 0; i < METRICS_REFUSED; i++) {
        const struct metrics_refused *entry = &slot->refused[i];
        if (entry->count > 0 && slice_equal((struct slice){entry->peer, entry->peer_len}, slice_of(peer)) &&
            entry->client.kind == address.kind && entry->client.hi == address.hi &&
            entry->client.lo == address.lo)
            return entry->count;
    }
    return 0;
}

static void test_refused(void **state)
{
    (void)state;
    refuse("10.0.0.1", "192.0.2.1");
    refuse("10.0.0.1", "192.0.2.1");
    refuse("10.0.0.2", "192.0.2.1");
    refuse("10.0.0.1", "192.0.2.2");
    refuse("10.0.0.1", "2001:db8::1");
    assert_int_equal(count_of("10.0.0.1", "192.0.2.1"), 2);
    assert_int_equal(count_of("10.0.0.2", "192.0.2.1"), 1);
    assert_int_equal(count_of("10.0.0.1", "192.0.2.2"), 1);
    assert_int_equal(count_of("10.0.0.1", "2001:db8::1"), 1);
    assert_int_equal(count_of("10.0.0.2", "192.0.2.2"), 0);
}

static void test_odd_peers(void **state)
{
    (void)state;
    struct address none = {.kind = ADDRESS_NONE};
    metrics_count_refused(slot, (struct slice){NULL, 0}, &none);
    metrics_count_refused(slot, SLICE(""), &none);
    assert_int_equal(count_of("", ""), 2);
    metrics_count_refused(slot, SLICE("a\0b"), &none);
    metrics_count_refused(slot, SLICE("a\0c"), &none);
    assert_int_equal(slot->refused[1].count, 1);
    assert_int_equal(slot->refused[2].count, 1);
    char lengthy[METRICS_PEER + 11];
    memset(lengthy, 'x', sizeof lengthy);
    metrics_count_refused(slot, (struct slice){lengthy, sizeof lengthy}, &none);
    metrics_count_refused(slot, (struct slice){lengthy, sizeof lengthy - 1}, &none);
    assert_int_equal(slot->refused[3].count, 2);
    assert_int_equal(slot->refused[3].peer_len, METRICS_PEER);
}

/* Whoever makes up more than a 32nd of all refusals stays visible among any number of others. */
static void test_crowd(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100000; i++) {
        char text[32];
        snprintf(text, sizeof text, "10.%u.%u.%u", i / 65536, i / 256 % 256, i % 256);
        refuse("10.0.0.1", text);
        if (i % 16 == 0)
            refuse("10.0.0.1", "192.0.2.1");
    }
    uint64_t count = count_of("10.0.0.1", "192.0.2.1");
    assert_true(count > 6200 && count <= 6250);
    uint64_t weight = 0;
    for (size_t i = 0; i < METRICS_REFUSED; i++) {
        assert_true(slot->refused[i].count <= slot->refused[i].weight);
        weight += slot->refused[i].weight;
    }
    assert_int_equal(weight, 106250);
}

/* ---- slots ---- */

static void test_slots(void **state)
{
    (void)state;
    assert_int_equal(metrics->pid, getpid());
    assert_int_equal(metrics->started, 1000);
    assert_int_equal(metrics->count, 3);
    assert_ptr_equal(slot, &metrics->slots[1]);
    assert_int_equal(slot->pid, getpid());
    assert_int_equal(slot->started, 1001);
    assert_int_equal(slot->generation, 1);
    metrics_free(NULL);
}

/* What a process has counted stays, what it had does not, and the next one goes on. */
static void test_processes(void **state)
{
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct metrics_slot *own = metrics_enter(metrics, 2, 1002);
        own->now = (struct metrics_gauges){1, 2, 3, 4};
        metrics_count_end(own, OUTCOME_ANSWERED, SECOND, 2 * SECOND);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    struct metrics_slot *other = &metrics->slots[2];
    assert_int_equal(other->pid, pid);
    assert_int_equal(other->now.waiting, 2);
    metrics_leave(other);
    assert_int_equal(other->pid, 0);
    assert_int_equal(other->now.requests + other->now.waiting + other->now.fronts + other->now.upstreams, 0);
    assert_int_equal(other->counters.outcomes[OUTCOME_ANSWERED], 1);

    assert_ptr_equal(metrics_enter(metrics, 2, 1003), other);
    metrics_count_end(other, OUTCOME_ANSWERED, SECOND, 3 * SECOND);
    assert_int_equal(other->counters.outcomes[OUTCOME_ANSWERED], 2);
    struct metrics_counters sum = other->counters;
    metrics_count_end(slot, OUTCOME_ABORTED, SECOND, 3 * SECOND);
    slot->counters.to_upstream = 7;
    metrics_sum(&sum, &slot->counters);
    assert_int_equal(metrics_count_requests(&sum), 3);
    assert_int_equal(sum.latency_sum, 3000000);
    assert_int_equal(sum.to_upstream, 7);
    assert_int_equal(metrics_count_answers(&sum), 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buckets_touch),
        cmocka_unit_test(test_bucket_ends),
        cmocka_unit_test(test_percentiles),
        TEST(test_ends),
        TEST(test_seconds_pass),
        TEST(test_refusals),
        TEST(test_refused),
        TEST(test_odd_peers),
        TEST(test_crowd),
        TEST(test_slots),
        TEST(test_processes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
