/*
 * bench-micro: what deciding and rewriting alone cost, without a socket.
 *
 *     bench-micro [-r RANGES]... [-p BYTES] [-n REQUESTS]
 *
 * The relay's steps for one request: decode 1.1 KB of parameters, decide (3 trusted hops, the peer included),
 * make the edits. BENCH_VARIANTS different requests take turns, so that the processor does not learn one
 * search by heart. Times are nanoseconds a request of batches of some 0.2 ms; best: the quickest batch, what
 * the code costs undisturbed; median: what one may expect on this machine now. -r: ranges in the trust list
 * (default 10, 1000 and 100000). -p: length of X-Forwarded-For. -n: no timing, so many requests, for
 * callgrind and perf.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"
#include "fastcgi/params.h"
#include "realip/rewrite.h"

#define BATCHES 600
#define TURNS   8 /* of all variants in a batch */
#define PAIRS   64

struct request {
    uint8_t *bytes;
    struct slice content;
    struct param params[PAIRS]; /* decoded before the time is taken */
    size_t nparams;
};

static struct request requests[BENCH_VARIANTS];
static struct param params[PAIRS];
static volatile size_t sink; /* so that no work is left out as useless */

enum { STEP_DECODE, STEP_DECIDE, STEP_REWRITE, STEP_ALL, STEPS };
static const char *const step_names[STEPS] = {"decode", "decide", "decide+rewrite", "decode+decide+rewrite"};

static void trust(struct policy *policy, const char *text)
{
    struct cidr block;
    bool host_bits;

    if (!cidr_parse(slice_of(text), &block, &host_bits) || policy_trust(policy, 0, &block) != 0)
        bench_die("bench-micro: trust %s", text);
}

/* The hops' three ranges, and others spread over both families; none holds a client. As tests/bench/run's. */
static struct policy *make_policy(size_t ranges)
{
    static const char *const hops[] = {"10.0.7.0/24", "172.16.44.0/24", "198.51.100.0/24"};
    struct policy *policy = policy_new();
    char text[64];

    if (policy == NULL || policy_add_group(policy, SLICE("edge")) == NULL)
        bench_die("bench-micro: policy");
    for (size_t i = 0; i < sizeof(hops) / sizeof(hops[0]); i++)
        trust(policy, hops[i]);
    for (size_t i = 0; i + 3 < ranges; i++) {
        size_t block = ((size_t)11 << 24) + i * ((size_t)150 << 24) / ranges;

        if (i % 8 == 0)
            snprintf(text, sizeof(text), "2%03zu:%zx:%zx00::/%zu", 400 + i % 500, i >> 8, i & 255,
                     40 + i % 9);
        else
            snprintf(text, sizeof(text), "%zu.%zu.%zu.0/%zu", block >> 24, block >> 16 & 255,
                     block >> 8 & 255, 24 + i % 3);
        trust(policy, text);
    }
    if (policy_compile(policy) != 0)
        bench_die("bench-micro: policy_compile");
    return policy;
}

static void make_requests(size_t length)
{
    for (unsigned i = 0; i < BENCH_VARIANTS; i++) {
        struct request *request = &requests[i];
        char *forwarded = bench_forwarded(i, length);

        request->bytes = malloc(BENCH_PARAMS_MAX + strlen(forwarded));
        if (request->bytes == NULL)
            bench_die("bench-micro: requests");
        request->content.data = (const char *)request->bytes;
        request->content.len = bench_params(request->bytes, i, forwarded, NULL, 0);
        if (params_decode(request->content, request->params, PAIRS, &request->nparams) != PARAMS_OK)
            bench_die("bench-micro: params_decode");
        free(forwarded);
    }
}

/* One request's step; returns something that depends on all of it. */
static size_t run_request(const struct policy *policy, struct workspace *workspace,
                          const struct request *request, int step, struct rewrite *rewrite)
{
    const struct param *decoded = request->params;
    struct decision decision;
    size_t n = request->nparams;

    if (step == STEP_DECODE || step == STEP_ALL) {
        if (params_decode(request->content, params, PAIRS, &n) != PARAMS_OK)
            bench_die("bench-micro: params_decode");
        decoded = params;
    }
    if (step == STEP_DECODE)
        return n;
    decide_request(policy, decoded, n, workspace, &decision);
    if (step == STEP_DECIDE)
        return decision.nproxies;
    if (rewrite_params(policy, decoded, n, &decision, workspace, rewrite) != 0)
        bench_die("bench-micro: rewrite_params");
    return rewrite->nedits + rewrite->nadded;
}

/* REMOTE_ADDR must become the variant's client: a quick answer that is wrong does not count. */
static void check_requests(const struct policy *policy, struct workspace *workspace)
{
    for (unsigned i = 0; i < BENCH_VARIANTS; i++) {
        struct rewrite rewrite;
        char client[16];
        bool found = false;

        bench_client(i, client);
        run_request(policy, workspace, &requests[i], STEP_ALL, &rewrite);
        for (size_t e = 0; e < rewrite.nedits; e++)
            found |= slice_equal(params[rewrite.edits[e].index].name, SLICE("REMOTE_ADDR")) &&
                     slice_equal(rewrite.edits[e].value, slice_of(client));
        if (!found)
            bench_die("bench-micro: request %u: the client is not %s", i, client);
    }
}

static int compare_times(const void *a, const void *b)
{
    const double *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

static void measure(const struct policy *policy, struct workspace *workspace, size_t ranges)
{
    static double times[BATCHES];
    struct rewrite rewrite;

    for (int step = 0; step < STEPS; step++) {
        for (size_t batch = 0; batch < BATCHES; batch++) {
            uint64_t began = bench_now();

            for (unsigned i = 0; i < TURNS * BENCH_VARIANTS; i++)
                sink += run_request(policy, workspace, &requests[i % BENCH_VARIANTS], step, &rewrite);
            times[batch] = (double)(bench_now() - began) / (TURNS * BENCH_VARIANTS);
        }
        qsort(times, BATCHES, sizeof(times[0]), compare_times);
        printf("%7zu ranges  %-22s %8.1f best %8.1f median ns\n", ranges, step_names[step], times[0],
               times[BATCHES / 2]);
    }
    fflush(stdout);
}

static void run_ranges(size_t ranges, uint64_t count)
{
    uint64_t began = bench_now();
    struct policy *policy = make_policy(ranges);
    uint64_t made = bench_now() - began;
    struct workspace *workspace = workspace_new(policy);
    struct rewrite rewrite;

    if (workspace == NULL)
        bench_die("bench-micro: workspace");
    check_requests(policy, workspace);
    if (count > 0) {
        for (uint64_t i = 0; i < count; i++)
            run_request(policy, workspace, &requests[i % BENCH_VARIANTS], STEP_ALL, &rewrite);
    } else {
        printf("%7zu ranges  %-22s %8.2f ms\n", ranges, "parse and compile", (double)made / 1e6);
        measure(policy, workspace, ranges);
    }
    workspace_free(workspace);
    policy_free(policy);
}

int main(int argc, char **argv)
{
    size_t sizes[16] = {10, 1000, 100000}, nsizes = 0;
    size_t length = 0;
    uint64_t count = 0;
    int option;

    while ((option = getopt(argc, argv, "r:p:n:")) != -1) {
        if (option == 'r' && nsizes < sizeof(sizes) / sizeof(sizes[0])) {
            sizes[nsizes++] = (size_t)bench_parse_number("-r", optarg, 1000000);
        } else if (option == 'p') {
            length = (size_t)bench_parse_number("-p", optarg, 50000);
        } else if (option == 'n') {
            count = bench_parse_number("-n", optarg, UINT64_MAX);
        } else {
            fprintf(stderr, "usage: bench-micro [-r RANGES]... [-p BYTES] [-n REQUESTS]\n");
            return 2;
        }
    }
    make_requests(length);
    for (size_t i = 0; i < (nsizes > 0 ? nsizes : 3); i++)
        run_ranges(sizes[i], count);
    for (unsigned i = 0; i < BENCH_VARIANTS; i++)
        free(requests[i].bytes);
    return 0;
}
