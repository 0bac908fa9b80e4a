/*
 * Every allocation of a policy, a workspace and a rewrite fails once: an error comes back, and what was built
 * half can be freed. The linker sends malloc, calloc and realloc of this program through the functions here.
 */
#include "realip_cmocka.h"

#include <errno.h>
#include <stdlib.h>

#include "realip/rewrite.h"

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);

static long remaining = -1; /* allocations that still succeed; negative: all do */

static bool is_out_of_memory(void)
{
    if (remaining < 0)
        return false;
    if (remaining == 0)
        return true;
    remaining--;
    return false;
}

void *__wrap_malloc(size_t size)
{
    return is_out_of_memory() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return is_out_of_memory() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
    return is_out_of_memory() ? NULL : __real_realloc(old, size);
}

static int add_blocks(struct policy *policy)
{
    static const char *const trusted[] = {"10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32", "2001:db8:1::/48"};
    bool host_bits;
    struct cidr block;
    int error = 0;
    for (size_t i = 0; i < COUNT(trusted) && !error; i++) {
        if (!cidr_parse(slice_of(trusted[i]), &block, &host_bits))
            abort();
        error = policy_trust(policy, 0, &block);
    }
    for (unsigned i = 0; i < 40 && !error; i++) { /* more than the first room */
        block = (struct cidr){{ADDRESS_V4, 0, 0x08080800 + i}, 32};
        error = i % 2 ? policy_allow(policy, &block) : policy_deny(policy, &block);
    }
    return error;
}

/* The number of names makes the table of names grow. */
static int add_groups(struct policy *policy)
{
    for (int i = 0; i < 60; i++) {
        char name[] = {'p', (char)('0' + i / 10), (char)('0' + i % 10), '\0'};
        struct group *group = policy_add_group(policy, (struct slice){name, 3});
        if (!group)
            return -ENOMEM;
        if (i % 2) {
            group->require_name = strdup(name);
            group->require_value = strdup("x");
        } else if (i > 0) {
            free(group->header);
            group->header = strdup(name);
        }
    }
    return 0;
}

/* 0 or -ENOMEM */
static int build_and_use(size_t value_len)
{
    int error = -ENOMEM;
    struct workspace *workspace = NULL;
    struct policy *policy = policy_new();
    char *value = malloc(value_len);
    if (!policy || !value)
        goto done;
    memset(value, ' ', value_len);
    memcpy(value, "10.0.0.2,", 9);
    memcpy(value + value_len - 8, "10.0.0.3", 8);
    error = add_groups(policy);
    if (!error)
        error = add_blocks(policy);
    if (!error)
        error = policy_compile(policy);
    if (error)
        goto done;
    error = -ENOMEM;
    workspace = workspace_new(policy);
    if (!workspace)
        goto done;

    /* two copies: the joined value exists nowhere in the request, and needs room */
    const struct param params[] = {{SLICE("REMOTE_ADDR"), SLICE("10.0.0.1")},
                                   {SLICE("HTTP_X_FORWARDED_FOR"), {value, value_len}},
                                   {SLICE("HTTP_X_FORWARDED_FOR"), {value, value_len}}};
    struct decision decision;
    struct rewrite rewrite;
    decide_request(policy, params, COUNT(params), workspace, &decision);
    error = rewrite_params(policy, params, COUNT(params), &decision, workspace, &rewrite);
    if (error)
        goto done;
    check_number((long long)rewrite.nedits, 3, "edits");
    check_text(rewrite.edits[0].value, SLICE("10.0.0.2"), "REMOTE_ADDR");
    check_number((long long)rewrite.edits[1].value.len, (long long)(2 * value_len + 2), "joined list");

done:
    free(value);
    workspace_free(workspace);
    policy_free(policy);
    return error;
}

static void every_failure_is_reported(void **state)
{
    (void)state;
    long allowed = 0;
    int error = -ENOMEM;
    for (; error && allowed < 100000; allowed++) {
        remaining = allowed;
        error = build_and_use(100000);
        remaining = -1;
        if (error)
            check_number(error, -ENOMEM, "error");
    }
    check_number(error, 0, "with memory enough");
    assert_true(allowed > 100);
}

/* Many blocks close together and one far away make the search go through one more step, with memory of its
 * own. */
static int build_crowded_set(void)
{
    struct cidr_set *set = cidr_set_new();
    if (!set)
        return -ENOMEM;
    struct cidr block = {{ADDRESS_V4, 0, 0xc0000201}, 32};
    int error = cidr_set_add(set, &block, 1);
    for (unsigned i = 0; i < 600 && !error; i++) {
        block.first.lo = 0x0a000000 + 2 * i;
        error = cidr_set_add(set, &block, 2);
    }
    if (!error)
        error = cidr_set_compile(set);
    if (!error) {
        check_number(cidr_set_find(set, &(struct address){ADDRESS_V4, 0, 0x0a000000 + 1198}), 2,
                     "the last one");
        check_number(cidr_set_find(set, &(struct address){ADDRESS_V4, 0, 0x0a000000 + 1197}), -1, "a gap");
        check_number(cidr_set_find(set, &(struct address){ADDRESS_V4, 0, 0xc0000201}), 1, "the far one");
    }
    cidr_set_free(set);
    return error;
}

static void crowded_sets_report_it_too(void **state)
{
    (void)state;
    long allowed = 0;
    int error = -ENOMEM;
    for (; error && allowed < 10000; allowed++) {
        remaining = allowed;
        error = build_crowded_set();
        remaining = -1;
        if (error)
            check_number(error, -ENOMEM, "error");
    }
    check_number(error, 0, "with memory enough");
}

static void nothing_is_freed_without_harm(void **state)
{
    (void)state;
    policy_free(NULL);
    workspace_free(NULL);
    cidr_set_free(NULL);
    struct policy *policy = policy_new();
    assert_non_null(policy);
    policy_free(policy); /* never compiled */
}

static void groups_have_a_limit(void **state)
{
    (void)state;
    struct policy *policy = policy_new();
    assert_non_null(policy);
    for (int i = 0; i < POLICY_MAX_GROUPS; i++)
        assert_non_null(policy_add_group(policy, SLICE("p")));
    assert_null(policy_add_group(policy, SLICE("p")));
    check_number((long long)policy->ngroups, POLICY_MAX_GROUPS, "groups");
    policy_free(policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failure_is_reported), cmocka_unit_test(crowded_sets_report_it_too),
        cmocka_unit_test(nothing_is_freed_without_harm), cmocka_unit_test(groups_have_a_limit)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
