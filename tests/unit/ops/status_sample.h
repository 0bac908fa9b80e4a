/*
 * For the tests of the status: metrics of two processes and an ended one, all of it known.
 */
#ifndef TESTS_OPS_STATUS_SAMPLE_H
#define TESTS_OPS_STATUS_SAMPLE_H

#include "realip_cmocka.h"

#include <stdlib.h>

#include "ops/status.h"

#define SAMPLE_TIME 1000090000
#define SAMPLE_NOW  ((uint64_t)7000 * 1000000 + 500000) /* inside of a second */

static const struct status_file sample_files[] = {
    {"/etc/fcgi-realip/cdn.txt", "cdn", 22, 1000000000},
    {"/tmp/<b>\"odd\\\n\xff\xc3\xa4.txt", "odd", 1, 1000090001}, /* changed in the future */
};

static inline void sample_end(struct metrics_slot *slot, enum metrics_outcome outcome, uint64_t took,
                              uint64_t seconds_ago)
{
    uint64_t now = SAMPLE_NOW - seconds_ago * 1000000;
    metrics_count_end(slot, outcome, now - took, now);
}

static inline void sample_refuse(struct metrics_slot *slot, struct slice peer, const char *client, unsigned n)
{
    struct address address = {.kind = ADDRESS_NONE};
    address_parse(slice_of(client), &address);
    while (n-- > 0)
        metrics_count_refused(slot, peer, &address);
}

/* The caller frees it. */
static inline struct metrics *sample_metrics(void)
{
    struct metrics *metrics = metrics_new(3, 1000000000);
    assert_non_null(metrics);
    metrics->pid = 4711;
    struct metrics_slot *a = metrics_enter(metrics, 0, 1000000000);
    struct metrics_slot *b = metrics_enter(metrics, 1, 1000086400);
    struct metrics_slot *ended = metrics_enter(metrics, 2, 1000000000);
    a->pid = 4712;
    b->pid = 4713;
    a->now = (struct metrics_gauges){.requests = 3, .waiting = 1, .fronts = 40, .upstreams = 8};
    b->now = (struct metrics_gauges){.requests = 2, .waiting = 0, .fronts = 2, .upstreams = 7};
    a->generation = 3;
    b->generation = 2;
    ended->generation = 4;

    sample_end(b, OUTCOME_BROKEN, 5, 61);
    sample_end(a, OUTCOME_ANSWERED, 100, 60);
    sample_end(ended, OUTCOME_ANSWERED, 1500, 30);
    sample_end(a, OUTCOME_ANSWERED, 70, 10);
    for (int i = 0; i < 7; i++)
        sample_end(b, OUTCOME_ANSWERED, 2000000, 1);
    sample_end(a, OUTCOME_REFUSED, 5, 1);
    sample_end(a, OUTCOME_ABORTED, 5, 0);
    sample_end(a, OUTCOME_STATUS, 5, 0);

    a->counters.decisions[REASON_UNTRUSTED_HOP] = 1234567;
    b->counters.decisions[REASON_UNTRUSTED_HOP] = 1;
    a->counters.decisions[REASON_DENIED] = 9;
    metrics_count_refusal(a, 403);
    metrics_count_refusal(b, 503);
    b->counters.timeouts[TIMEOUT_QUEUE] = 4;
    a->counters.fronts = 44;
    a->counters.connects = 15;
    a->counters.connect_failures = 2;
    a->counters.reuses = 1000;
    a->counters.retries = 5;
    a->counters.waits = 17;
    a->counters.overflows = 6;
    a->counters.from_front = 999;
    a->counters.to_front = 1000;
    a->counters.from_upstream = 12345678;
    a->counters.to_upstream = 18446744073709551615U;

    sample_refuse(a, SLICE("10.0.0.1"), "192.0.2.66", 5);
    sample_refuse(b, SLICE("10.0.0.1"), "192.0.2.66", 4);
    sample_refuse(b, SLICE("<script>alert('&\"\\\n\xff\0 \xe2\x80\xae"), "", 1);
    sample_refuse(a, SLICE("unix:"), "2001:db8::1", 2);
    metrics_leave(ended);
    return metrics;
}

static inline void sample_status(struct status *status, const struct metrics *metrics)
{
    status_gather(status, metrics, SAMPLE_TIME, SAMPLE_NOW);
    status->files = sample_files;
    status->nfiles = COUNT(sample_files);
}

/* What a format makes of it; malloc'ed. */
static inline char *sample_write(const struct metrics *metrics,
                                 void (*write)(FILE *out, const struct status *status), size_t *len)
{
    struct status status;
    char *text = NULL;
    sample_status(&status, metrics);
    FILE *out = open_memstream(&text, len);
    assert_non_null(out);
    write(out, &status);
    assert_int_equal(fclose(out), 0);
    return text;
}

#endif
