/*
 * Random policies and requests; see the header.
 */
#include "random_case.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* splitmix64 */
uint64_t random_next(struct random_source *source)
{
    uint64_t z = source->state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

struct random_source random_source_new(uint64_t seed, uint64_t number)
{
    struct random_source source = {.state = seed};
    source.state = random_next(&source) ^ (number * 0xd1342543de82ef95u);
    random_next(&source);
    return source;
}

unsigned random_below(struct random_source *source, unsigned n)
{
    return (unsigned)((random_next(source) >> 32) * n >> 32);
}

bool random_once_in(struct random_source *source, unsigned n)
{
    return random_below(source, n) == 0;
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

struct random_run random_run_new(const char *what, uint64_t cases)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct random_source fresh = {.state = (uint64_t)now.tv_nsec ^ ((uint64_t)now.tv_sec << 20) ^
                                           (uint64_t)getpid()};
    struct random_run run = {number_from("SEED", random_next(&fresh) >> 16), number_from("FIRST", 0),
                             number_from("CASES", cases)};
    run.first -= run.first % RANDOM_CASES_A_POLICY;
    printf("%s: SEED=%llu CASES=%llu\n", what, (unsigned long long)run.seed, (unsigned long long)run.cases);
    return run;
}

/* Policies */

static const char *const block_texts[] = {
    "10.0.0.0/8",
    "10.0.0.0/24",
    "10.0.0.2/32",
    "10.0.0.1/32",
    "10.1.0.0/16",
    "192.168.0.0/16",
    "203.0.113.0/24",
    "203.0.113.128/25",
    "198.51.100.0/24",
    "127.0.0.0/8",
    "2001:db8::/32",
    "2001:db8:1::/48",
    "fd00::/8",
    "::1/128",
    "2001:db8:1::1/128",
    "unix:",
    "unix:",
    "::ffff:10.2.0.0/112",
    "::ffff:203.0.113.5/128",
    "172.16.0.0/12",
    "0.0.0.0/0",
    "::/0",
    "128.0.0.0/1",
    "10.0.0.3",
};

static const char *const group_headers[] = {
    "X-Forwarded-For", "X-Forwarded-For", "X-Forwarded-For", "x-forwarded-for", "CF-Connecting-IP",
    "X-Real-IP",       "Forwarded",       "forwarded",       "X-Custom.Client", "True-Client-IP",
};

static struct cidr block_of(const char *text)
{
    struct cidr block = {.first = {.kind = ADDRESS_UNIX}};
    bool host_bits;
    if (strcmp(text, "unix:") != 0 && !cidr_parse(slice_of(text), &block, &host_bits))
        abort();
    return block;
}

static const char *random_block(struct random_source *source)
{
    const char *text = RANDOM_PICK(source, block_texts);
    /* whole Internets would make everything trusted: seldom */
    if (strstr(text, "/0") || strstr(text, "/1"))
        text = random_once_in(source, 3) ? text : "10.0.0.0/8";
    return text;
}

static char *duplicate(const char *text)
{
    char *copy = strdup(text);
    if (!copy)
        abort();
    return copy;
}

static void fill_group(struct group *group, const char *header, bool recursive, struct random_source *source)
{
    free(group->header);
    group->header = duplicate(header);
    if (!recursive && random_once_in(source, 2))
        group->select = (enum policy_select)random_below(source, 4);
    group->on_malformed =
        random_once_in(source, 2) ? MALFORMED_STOP : (enum policy_malformed)random_below(source, 3);
    group->repeated = random_once_in(source, 4) ? REPEATED_MALFORMED : REPEATED_JOIN;
    if (random_once_in(source, 3))
        group->max_elements = 1 + random_below(source, 5);
    unsigned hops_max = group->max_elements < 4 ? group->max_elements : 4;
    group->hops = 1 + random_below(source, hops_max);
    group->private_clients = !random_once_in(source, 4);
    group->require_header = random_once_in(source, 6);
    if (random_once_in(source, 2))
        group->accept = random_below(source, 8);
    if (random_once_in(source, 6)) {
        group->require_name = duplicate(random_once_in(source, 4) ? "HTTP_X_KEY" : "HTTP_X_SECRET");
        group->require_value = duplicate(random_once_in(source, 4) ? "sesame" : "s3cret");
    }
}

static void add_groups(struct random_policy *made, struct random_source *source)
{
    unsigned ngroups = random_once_in(source, 3) ? 1 : 1 + random_below(source, 4);
    made->one_header = ngroups == 1 || random_once_in(source, 3);
    made->all_recursive = random_once_in(source, 2);
    const char *header = RANDOM_PICK(source, group_headers);
    for (unsigned i = 0; i < ngroups; i++) {
        char name[] = {'p', (char)('0' + i)};
        struct group *group = policy_add_group(made->policy, (struct slice){name, 2});
        if (!group)
            abort();
        fill_group(group, made->one_header ? header : RANDOM_PICK(source, group_headers), made->all_recursive,
                   source);
        made->has_secret = made->has_secret || group->require_name;
    }
    unsigned nblocks = 1 + random_below(source, 4) * ngroups;
    for (unsigned i = 0; i < nblocks && i < RANDOM_MAX_BLOCKS; i++) {
        struct oracle_block block = {random_block(source), (int)random_below(source, ngroups)};
        struct cidr cidr = block_of(block.text);
        if (policy_trust(made->policy, (size_t)block.payload, &cidr))
            abort();
        made->trust[made->oracle.ntrust++] = block;
    }
}

static void add_access(struct random_policy *made, struct random_source *source)
{
    unsigned nblocks = random_once_in(source, 6) ? 1 + random_below(source, 5) : 0;
    unsigned kinds = 1 + random_below(source, 3); /* 1: allow, 2: deny, 3: both */
    for (unsigned i = 0; i < nblocks; i++) {
        bool deny = kinds == 3 ? random_once_in(source, 2) : kinds == 2;
        struct oracle_block block = {random_once_in(source, 4) ? "8.8.8.0/24" : random_block(source),
                                     deny ? ACCESS_DENY : ACCESS_ALLOW};
        struct cidr cidr = block_of(block.text);
        if (deny ? policy_deny(made->policy, &cidr) : policy_allow(made->policy, &cidr))
            abort();
        made->access[made->oracle.naccess++] = block;
    }
}

void random_policy_make(struct random_policy *made, struct random_source *source)
{
    *made = (struct random_policy){.policy = policy_new()};
    if (!made->policy)
        abort();
    add_groups(made, source);
    add_access(made, source);
    made->policy->deny_direct = random_once_in(source, 20);
    if (!random_once_in(source, 3))
        made->policy->forwarded_for = (enum policy_forwarded_for)random_below(source, 5);
    made->policy->untrusted_headers = random_once_in(source, 2) ? HEADERS_STRIP : HEADERS_KEEP;
    made->policy->unmanaged_headers = random_once_in(source, 2) ? HEADERS_STRIP : HEADERS_KEEP;
    if (policy_compile(made->policy))
        abort();
    made->workspace = workspace_new(made->policy);
    if (!made->workspace)
        abort();
    made->oracle.plain = made->policy;
    made->oracle.trust = made->trust;
    made->oracle.access = made->access;
}

void random_policy_free(struct random_policy *made)
{
    workspace_free(made->workspace);
    policy_free(made->policy);
    *made = (struct random_policy){.policy = NULL};
}
