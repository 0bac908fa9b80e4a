/*
 * The decision against the oracle, on random policies and requests.
 *
 * SEED repeats a run, CASES sets its length, FIRST=n CASES=1 looks at case n (and its seven neighbours).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "random_case.h"
#include "realip/decide.h"

static unsigned failures;
static unsigned long reasons[REASON_COUNT], rejections;

static const char *text_of(const struct address *address)
{
    char text[ADDRESS_TEXT_MAX];
    size_t len = address_format(address, text);
    return oracle_print("%.*s", (int)len, text);
}

static const char *shown(const char *text)
{
    return text ? text : "";
}

/* The proxies, the peer first, in one text. */
static const char *proxies_of(const struct workspace *workspace, const struct decision *decision)
{
    const char *text = "";
    for (size_t i = 0; i < decision->nproxies; i++)
        text = oracle_print("%s %s", text, text_of(&workspace->steps[i].hop));
    return text;
}

static const char *proxies_expected(const struct oracle_answer *answer)
{
    const char *text = "";
    for (size_t i = 0; i < answer->nproxies; i++)
        text = oracle_print("%s %s", text, answer->proxies[i]);
    return text;
}

static const char *line_of(const char *client, const char *peer, unsigned port, const char *reason,
                           int rejected, bool trusted, bool changed, int group, const char *proxies)
{
    return oracle_print(
        "client=%s peer=%s port=%u reason=%s rejected=%d trusted=%d changed=%d group=%d proxies=%s", client,
        peer, port, reason, rejected, trusted, changed, group, proxies);
}

static bool same_slice(struct slice a, struct slice b)
{
    return (a.data == NULL) == (b.data == NULL) && slice_equal(a, b);
}

/* Every turn must have led to the next; one of several hops that ends at a malformed element shows that one.
 */
static bool steps_hang_together(const struct workspace *workspace, const struct decision *decision)
{
    size_t n = decision->nproxies;
    if (n > workspace->nsteps || workspace->nsteps > workspace->steps_cap)
        return false;
    if (n == 0)
        return true;
    for (size_t i = 0; i + 1 < n; i++)
        if (!address_equal(&workspace->steps[i].address, &workspace->steps[i + 1].hop))
            return false;
    return address_equal(&workspace->steps[0].hop, &decision->peer) &&
           (decision->walk_reason == REASON_MALFORMED ||
            address_equal(&workspace->steps[n - 1].address, &decision->client));
}

static void check_case(const struct random_policy *policy, const struct random_request *request,
                       uint64_t seed, uint64_t number)
{
    struct oracle_answer expected = oracle_decide(&policy->oracle, request->params, request->n);
    struct decision decision;
    decide_request(policy->policy, request->params, request->n, policy->workspace, &decision);

    reasons[decision.reason]++;
    rejections += decision.rejected == 400;
    const char *want = line_of(shown(expected.client), shown(expected.peer), expected.port, expected.reason,
                               expected.rejected, expected.trusted, expected.changed, expected.peer_group,
                               proxies_expected(&expected));
    const char *got =
        line_of(text_of(&decision.client), text_of(&decision.peer), decision.client_port,
                reason_word(decision.reason), decision.rejected, decision.trusted, decision.changed,
                decision.peer_group, proxies_of(policy->workspace, &decision));
    if (strcmp(want, got) == 0 && same_slice(decision.peer_text, expected.peer_text) &&
        same_slice(decision.peer_port, expected.peer_port) &&
        steps_hang_together(policy->workspace, &decision))
        return;
    failures++;
    fprintf(stderr, "SEED=%llu case %llu\n", (unsigned long long)seed, (unsigned long long)number);
    random_print_policy(policy, stderr);
    random_print_params("request", request->params, request->n, stderr);
    fprintf(stderr, "oracle: %s\nreal:   %s\n\n", want, got);
}

static void decides_as_the_oracle(void **state)
{
    (void)state;
    struct random_run run = random_run_new("random decisions", 240000);
    struct random_policy policy = {.policy = NULL};
    for (uint64_t i = run.first; i < run.first + run.cases && failures < 3; i++) {
        if (i % RANDOM_CASES_A_POLICY == 0) {
            random_policy_free(&policy);
            struct random_source source = random_source_new(run.seed, i * 2 + 1);
            random_policy_make(&policy, &source);
        }
        struct random_source source = random_source_new(run.seed, i * 2);
        struct random_request request = random_request_make(&policy, &source);
        check_case(&policy, &request, run.seed, i);
        oracle_reset();
    }
    random_policy_free(&policy);
    printf("rejected %lu", rejections);
    for (int i = 0; i < REASON_COUNT; i++)
        printf(", %s %lu", reason_word((enum reason)i), reasons[i]);
    printf("\n");
    assert_int_equal(failures, 0);
    /* the cases are worth something only if they go everywhere */
    for (int i = 0; i < REASON_COUNT && run.cases >= 10000; i++)
        assert_true(reasons[i] > run.cases / 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(decides_as_the_oracle)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
