/*
 * The rewrite against the oracle, on random policies and requests, and what must hold whatever the request:
 * see the properties below. SEED, CASES and FIRST as in test_random.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <strings.h>

#include <cmocka.h>

#include "applied.h"
#include "random_case.h"

static struct {
    uint64_t seed, number;
    const struct random_policy *policy;
    const struct random_request *request;
    unsigned failures;
    unsigned long second_pass, second_pass_differs, unread_left;
} run;

static void fail_with(const char *what, const struct applied *got)
{
    run.failures++;
    fprintf(stderr, "%s\nSEED=%llu case %llu\n", what, (unsigned long long)run.seed,
            (unsigned long long)run.number);
    random_print_policy(run.policy, stderr);
    random_print_params("request", run.request->params, run.request->n, stderr);
    random_print_params("real", got->params, got->n, stderr);
}

static struct applied apply(const struct random_request *request)
{
    struct applied out =
        applied_request(run.policy->policy, run.policy->workspace, request->params, request->n);
    if (!out.in_order)
        fail_with("edits out of order, or for no parameter", &out);
    return out;
}

static int compare_params(const void *a, const void *b)
{
    const struct param *x = a, *y = b;
    size_t len = x->name.len < y->name.len ? x->name.len : y->name.len;
    int order = memcmp(x->name.data, y->name.data, len);
    return order ? order : (x->name.len > y->name.len) - (x->name.len < y->name.len);
}

static bool same_params(const struct param *a, const struct param *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!slice_equal(a[i].name, b[i].name) || !slice_equal(a[i].value, b[i].value))
            return false;
    return true;
}

static void check_oracle(const struct applied *got, struct oracle_answer *want)
{
    const struct rewrite *rewrite = &got->rewrite;
    /* the order of what is added at the end means nothing */
    if (got->n == want->nout && got->nadded == want->nadded) {
        size_t before = want->nout - want->nadded;
        qsort(want->out + before, want->nadded, sizeof(struct param), compare_params);
        qsort(got->params + before, got->nadded, sizeof(struct param), compare_params);
        if (same_params(got->params, want->out, got->n) && rewrite->aliases == want->aliases &&
            rewrite->repeated_addr == want->repeated_addr && rewrite->junk == want->junk)
            return;
    }
    fail_with("not what the oracle says", got);
    random_print_params("oracle", want->out, want->nout, stderr);
    fprintf(stderr,
            "reason %s; added real %zu oracle %zu; aliases real %u oracle %u; repeated real %d oracle %d; "
            "junk real %d oracle %d\n\n",
            want->reason, got->nadded, want->nadded, rewrite->aliases, want->aliases, rewrite->repeated_addr,
            want->repeated_addr, rewrite->junk, want->junk);
}

/* Names that the shim may change or drop under some policy of this test; all others pass untouched. */
static bool is_touchable(const char *folded)
{
    static const char *const names[] = {
        "REMOTE_ADDR",
        "REMOTE_PORT",
        "REMOTE_HOST",
        "HTTP_PROXY",
        "HTTP_X_SECRET",
        "HTTP_X_KEY",
        "HTTPS",
        "REQUEST_SCHEME",
        "SERVER_PORT",
        "HTTP_HOST",
        "SERVER_NAME",
        "HTTP_X_CUSTOM_CLIENT",
        "HTTP_X_FORWARDED_FOR",
        "HTTP_FORWARDED",
        "HTTP_X_REAL_IP",
        "HTTP_CLIENT_IP",
        "HTTP_X_CLIENT_IP",
        "HTTP_X_CLUSTER_CLIENT_IP",
        "HTTP_TRUE_CLIENT_IP",
        "HTTP_CF_CONNECTING_IP",
        "HTTP_ALI_CDN_REAL_IP",
        "HTTP_FORWARDED_FOR",
        "HTTP_X_FORWARDED",
        "HTTP_X_ORIGINATING_IP",
        "HTTP_X_FORWARDED_PROTO",
        "HTTP_X_FORWARDED_HOST",
        "HTTP_X_FORWARDED_PORT",
        "HTTP_X_FORWARDED_PREFIX",
        "HTTP_X_FORWARDED_SSL",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strcmp(names[i], folded) == 0)
            return true;
    return strncmp(folded, "REALIP_", 7) == 0;
}

/* The first 13 of the names above are not managed under every policy, so an alias of them may pass. */
static bool is_always_managed(const char *folded)
{
    static const char *const sometimes[] = {"HTTP_X_SECRET",  "HTTP_X_KEY",          "HTTPS",
                                            "REQUEST_SCHEME", "SERVER_PORT",         "HTTP_HOST",
                                            "SERVER_NAME",    "HTTP_X_CUSTOM_CLIENT"};
    for (size_t i = 0; i < sizeof(sometimes) / sizeof(*sometimes); i++)
        if (strcmp(sometimes[i], folded) == 0)
            return false;
    return is_touchable(folded);
}

static void check_names(const struct applied *got)
{
    size_t addresses = 0;
    for (size_t i = 0; i < got->n; i++) {
        const char *folded = oracle_fold(got->params[i].name);
        addresses += strcmp(folded, "REMOTE_ADDR") == 0;
        if (is_always_managed(folded) && !slice_equal(got->params[i].name, slice_of(folded)))
            fail_with("an alias survived", got);
    }
    if (addresses > 1)
        fail_with("REMOTE_ADDR more than once", got);
}

/* The next parameter from *i on that nothing may touch; NULL: none. */
static const struct param *next_untouchable(const struct param *params, size_t n, size_t *i)
{
    while (*i < n && is_touchable(oracle_fold(params[*i].name)))
        ++*i;
    return *i < n ? &params[(*i)++] : NULL;
}

static void check_unmanaged(const struct applied *got)
{
    size_t i = 0, k = 0;
    for (;;) {
        const struct param *in = next_untouchable(run.request->params, run.request->n, &i);
        const struct param *out = next_untouchable(got->params, got->n, &k);
        if (!in && !out)
            return;
        if (!in || !out || !same_params(in, out, 1)) {
            fail_with("an unmanaged parameter changed", got);
            return;
        }
    }
}

static struct slice last(const struct applied *out, const char *name)
{
    return oracle_last(out->params, out->n, name);
}

static void check_untrusted(const struct applied *got, const struct oracle_answer *want)
{
    if (!want->trusted && !slice_equal(last(got, "REMOTE_ADDR"), want->peer_text))
        fail_with("an untrusted peer changed REMOTE_ADDR", got);
}

/* With recursive groups and one header: peer, then elements from the right up to the first untrusted or bad
 * one. */
static void check_reach(const struct applied *got, const struct oracle_answer *want)
{
    if (!run.policy->one_header || !run.policy->all_recursive || !want->changed)
        return;
    const struct oracle_list *list = &want->lists[0];
    const char *client = oracle_peer(last(got, "REMOTE_ADDR"));
    const char *hop = want->peer;
    for (size_t i = list->nitems; i > 0; i--) {
        if (!hop || oracle_trusts(&run.policy->oracle, hop, run.request->params, run.request->n) < 0)
            break;
        hop = list->items[i - 1].address;
        if (hop && client && strcmp(hop, client) == 0)
            return;
    }
    fail_with("REMOTE_ADDR is an address that no trusted proxy wrote", got);
}

/* What a client piles up on the left changes nothing where the walk ended before it. */
static void check_left(const struct applied *got, const struct decision *first, struct random_source *source)
{
    if (first->reason != REASON_UNTRUSTED_HOP && first->reason != REASON_SINGLE &&
        first->reason != REASON_HOPS)
        return;
    struct random_request more = {oracle_alloc((run.request->n + 3) * sizeof(struct param)), 0};
    for (size_t i = 0; i < run.policy->policy->ngroups && i < 3; i++) {
        const char *header = run.policy->policy->groups[i].header;
        bool forwarded = strcasecmp(header, "forwarded") == 0;
        /* a copy of its own before the others, so that quotes cannot matter */
        more.params[more.n++] =
            (struct param){slice_of(oracle_print("HTTP_%s", oracle_fold(slice_of(header)))),
                           random_element(source, forwarded)};
    }
    size_t copies = more.n;
    memcpy(more.params + more.n, run.request->params, run.request->n * sizeof(struct param));
    more.n += run.request->n;
    for (size_t i = copies; i < more.n; i++) { /* and within a copy */
        bool forwarded = slice_equal(more.params[i].name, SLICE("HTTP_FORWARDED"));
        if (!forwarded && !slice_equal(more.params[i].name, SLICE("HTTP_X_FORWARDED_FOR")))
            continue;
        struct slice left = random_element(source, forwarded), right = more.params[i].value;
        char *text = oracle_alloc(left.len + 1 + right.len);
        memcpy(text, left.data, left.len);
        text[left.len] = ',';
        memcpy(text + left.len + 1, right.data, right.len);
        more.params[i].value = (struct slice){text, left.len + 1 + right.len};
        break; /* the first copy only: what is left of the others was vouched for */
    }
    struct decision again;
    decide_request(run.policy->policy, more.params, more.n, run.policy->workspace, &again);
    run.unread_left++;
    if (again.reason != first->reason || !address_equal(&again.client, &first->client) ||
        again.client_port != first->client_port || again.nproxies != first->nproxies)
        fail_with("text left of the client changed the decision", got);
}

/*
 * The shim behind itself. With recursive groups that read one header nothing may change; elsewhere a group
 * that the client belongs to may read on in another way, and that is counted.
 */
static void check_twice(const struct applied *got)
{
    struct random_request second = {got->params, got->n};
    struct applied twice = apply(&second);
    static const char *const names[] = {"REMOTE_ADDR", "REMOTE_PORT", "REMOTE_HOST"};
    run.second_pass++;
    for (size_t i = 0; i < 3; i++) {
        if (slice_equal(last(got, names[i]), last(&twice, names[i])))
            continue;
        if (run.policy->one_header && run.policy->all_recursive && !run.policy->has_secret)
            fail_with("a second pass changed the answer", &twice);
        else if (getenv("REPORT"))
            fail_with("second pass", &twice);
        run.second_pass_differs++;
        return;
    }
}

static void check_case(struct random_source *source)
{
    struct oracle_answer want = oracle_decide(&run.policy->oracle, run.request->params, run.request->n);
    oracle_rewrite(&run.policy->oracle, run.request->params, run.request->n, &want);
    struct applied got = apply(run.request);
    check_oracle(&got, &want);
    check_names(&got);
    check_unmanaged(&got);
    check_untrusted(&got, &want);
    check_reach(&got, &want);
    check_twice(&got);
    check_left(&got, &got.decision, source);
}

static void rewrites_as_the_oracle(void **state)
{
    (void)state;
    struct random_run wanted = random_run_new("random rewrites", 240000);
    struct random_policy policy = {.policy = NULL};
    unsigned most = getenv("REPORT") ? 1000 : 3;
    run.seed = wanted.seed;
    for (uint64_t i = wanted.first; i < wanted.first + wanted.cases && run.failures < most; i++) {
        if (i % RANDOM_CASES_A_POLICY == 0) {
            random_policy_free(&policy);
            struct random_source source = random_source_new(run.seed, i * 2 + 1);
            random_policy_make(&policy, &source);
        }
        struct random_source source = random_source_new(run.seed, i * 2);
        struct random_request request = random_request_make(&policy, &source);
        run.number = i;
        run.policy = &policy;
        run.request = &request;
        check_case(&source);
        oracle_reset();
    }
    random_policy_free(&policy);
    printf("second passes: %lu, not alike under mixed policies: %lu; text added on the left: %lu\n",
           run.second_pass, run.second_pass_differs, run.unread_left);
    assert_int_equal(run.failures, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(rewrites_as_the_oracle)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
