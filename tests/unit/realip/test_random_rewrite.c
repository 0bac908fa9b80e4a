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

#include "rewrite_checks.h"

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

static void check_faults(struct applied *got, struct oracle_answer *want)
{
    const char *fault = rewrite_find_fault(run.policy, run.request, got, want);
    if (!fault)
        return;
    fail_with(fault, got);
    const struct rewrite *rewrite = &got->rewrite;
    random_print_params("oracle", want->out, want->nout, stderr);
    fprintf(stderr,
            "reason %s; added real %zu oracle %zu; aliases real %u oracle %u; repeated real %d oracle %d; "
            "junk real %d oracle %d\n\n",
            want->reason, got->nadded, want->nadded, rewrite->aliases, want->aliases, rewrite->repeated_addr,
            want->repeated_addr, rewrite->junk, want->junk);
}

/* Some group minds copies. */
static bool wants_one_copy(const struct random_policy *policy)
{
    for (size_t i = 0; i < policy->policy->ngroups; i++)
        if (policy->policy->groups[i].repeated == REPEATED_MALFORMED)
            return true;
    return false;
}

/* What a client piles up on the left changes nothing where the walk ended before it. */
static void check_left(const struct applied *got, const struct decision *first, struct random_source *source)
{
    if (first->reason != REASON_UNTRUSTED_HOP && first->reason != REASON_SINGLE &&
        first->reason != REASON_HOPS)
        return;
    struct random_request more = {oracle_alloc((run.request->n + 3) * sizeof(struct param)), 0};
    for (size_t i = 0; i < run.policy->policy->ngroups && i < 3 && !wants_one_copy(run.policy); i++) {
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
    run.second_pass++;
    if (rewrite_same_client(got, &twice))
        return;
    if (rewrite_must_be_stable(run.policy))
        fail_with("a second pass changed the answer", &twice);
    else if (getenv("REPORT"))
        fail_with("second pass", &twice);
    run.second_pass_differs++;
}

static void check_case(struct random_source *source)
{
    struct oracle_answer want = oracle_decide(&run.policy->oracle, run.request->params, run.request->n);
    oracle_rewrite(&run.policy->oracle, run.request->params, run.request->n, &want);
    struct applied got = apply(run.request);
    check_faults(&got, &want);
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
