#include "realip/policy.h"

#include <errno.h>
#include <stdlib.h>

#include "realip/names.h"

#define DEFAULT_HEADER       "X-Forwarded-For"
#define DEFAULT_MAX_ELEMENTS 64

/* Headers that applications take a client's address, or what belongs to it, from. */
static const struct {
    const char *param;
    enum name_kind kind;
} client_headers[] = {
    {"HTTP_X_FORWARDED_FOR", NAME_CLIENT_HEADER},
    {"HTTP_FORWARDED", NAME_CLIENT_HEADER},
    {"HTTP_X_REAL_IP", NAME_CLIENT_HEADER},
    {"HTTP_CLIENT_IP", NAME_CLIENT_HEADER},
    {"HTTP_X_CLIENT_IP", NAME_CLIENT_HEADER},
    {"HTTP_X_CLUSTER_CLIENT_IP", NAME_CLIENT_HEADER},
    {"HTTP_TRUE_CLIENT_IP", NAME_CLIENT_HEADER},
    {"HTTP_CF_CONNECTING_IP", NAME_CLIENT_HEADER},
    {"HTTP_ALI_CDN_REAL_IP", NAME_CLIENT_HEADER},
    {"HTTP_FORWARDED_FOR", NAME_CLIENT_HEADER},
    {"HTTP_X_FORWARDED", NAME_CLIENT_HEADER},
    {"HTTP_X_ORIGINATING_IP", NAME_CLIENT_HEADER},
    {"HTTP_X_FORWARDED_PREFIX", NAME_CLIENT_HEADER},
    {"HTTP_X_FORWARDED_SSL", NAME_CLIENT_HEADER},
    {"HTTP_X_FORWARDED_PROTO", NAME_X_FORWARDED_PROTO},
    {"HTTP_X_FORWARDED_PORT", NAME_X_FORWARDED_PORT},
    {"HTTP_X_FORWARDED_HOST", NAME_X_FORWARDED_HOST},
};

/* What accepting something changes, beside the headers. */
static const struct {
    unsigned accept;
    const char *param;
    enum name_kind kind;
} accepted_params[] = {
    {ACCEPT_PROTO, "HTTPS", NAME_HTTPS},
    {ACCEPT_PROTO, "REQUEST_SCHEME", NAME_REQUEST_SCHEME},
    {ACCEPT_PROTO | ACCEPT_PORT, "SERVER_PORT", NAME_SERVER_PORT},
    {ACCEPT_HOST, "HTTP_HOST", NAME_HTTP_HOST},
    {ACCEPT_HOST, "SERVER_NAME", NAME_SERVER_NAME},
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static char *copy_text(struct slice text)
{
    char *copy = malloc(text.len + 1);

    if (copy != NULL) {
        memcpy(copy, text.data, text.len);
        copy[text.len] = '\0';
    }
    return copy;
}

struct policy *policy_new(void)
{
    struct policy *policy = calloc(1, sizeof *policy);

    if (policy == NULL)
        return NULL;
    policy->forwarded_for = FORWARDED_CONFIRMED;
    policy->untrusted_headers = HEADERS_STRIP;
    policy->unmanaged_headers = HEADERS_KEEP;
    policy->trust = cidr_set_new();
    policy->access = cidr_set_new();
    policy->names = names_new();
    if (policy->trust == NULL || policy->access == NULL || policy->names == NULL) {
        policy_free(policy);
        return NULL;
    }
    return policy;
}

static void free_group(struct group *group)
{
    free(group->name);
    free(group->header);
    free(group->require_name);
    free(group->require_value);
}

void policy_free(struct policy *policy)
{
    if (policy == NULL)
        return;
    for (size_t i = 0; i < policy->ngroups; i++)
        free_group(&policy->groups[i]);
    free(policy->groups);
    for (size_t i = 0; i < policy->nheaders; i++)
        free(policy->headers[i].param);
    free(policy->headers);
    free(policy->allowed);
    cidr_set_free(policy->trust);
    cidr_set_free(policy->access);
    names_free(policy->names);
    free(policy);
}

struct group *policy_add_group(struct policy *policy, struct slice name)
{
    struct group group = {
        .name = copy_text(name),
        .header = copy_text(SLICE(DEFAULT_HEADER)),
        .select = SELECT_RECURSIVE,
        .on_malformed = MALFORMED_STOP,
        .repeated = REPEATED_JOIN,
        .max_elements = DEFAULT_MAX_ELEMENTS,
        .private_clients = true,
    };
    struct group *groups = NULL;

    if (group.name != NULL && group.header != NULL && policy->ngroups < POLICY_MAX_GROUPS)
        groups = realloc(policy->groups, (policy->ngroups + 1) * sizeof *groups);
    if (groups == NULL) {
        free_group(&group);
        return NULL;
    }
    policy->groups = groups;
    groups[policy->ngroups] = group;
    return &groups[policy->ngroups++];
}

int policy_trust(struct policy *policy, size_t group, const struct cidr *block)
{
    return cidr_set_add(policy->trust, block, (int)group);
}

int policy_allow(struct policy *policy, const struct cidr *block)
{
    /* Of equal blocks the first one counts, and a denied one must: so these wait until all of those are in.
     */
    if (policy->nallowed == policy->allowed_cap) {
        size_t cap = policy->allowed_cap == 0 ? 16 : policy->allowed_cap * 2;
        struct cidr *allowed = realloc(policy->allowed, cap * sizeof *allowed);

        if (allowed == NULL)
            return -ENOMEM;
        policy->allowed = allowed;
        policy->allowed_cap = cap;
    }
    policy->allowed[policy->nallowed++] = *block;
    policy->access_has_allow = true;
    return 0;
}

int policy_deny(struct policy *policy, const struct cidr *block)
{
    policy->access_has_deny = true;
    return cidr_set_add(policy->access, block, ACCESS_DENY);
}

void policy_header_param(struct slice header, char *out)
{
    memcpy(out, "HTTP_", 5);
    for (size_t i = 0; i < header.len; i++)
        out[5 + i] = names_fold(header.data[i]);
    out[5 + header.len] = '\0';
}

/* Finds the group's header among those of the groups before it, or adds it. */
static int compile_header(struct policy *policy, struct group *group)
{
    struct slice header = slice_of(group->header);
    char *param = malloc(5 + header.len + 1);
    size_t i = 0;

    if (param == NULL)
        return -ENOMEM;
    policy_header_param(header, param);
    while (i < policy->nheaders && strcmp(policy->headers[i].param, param) != 0)
        i++;
    group->header_index = (int)i;
    if (i < policy->nheaders) {
        free(param);
        return 0;
    }
    policy->headers[i] = (struct policy_header){param, strcmp(param, "HTTP_FORWARDED") == 0};
    policy->nheaders++;
    return 0;
}

/* The first group with the same parameter stands for all. */
static void compile_required(struct policy *policy, size_t index)
{
    struct group *group = &policy->groups[index];
    size_t first = 0;

    while (policy->groups[first].require_name == NULL ||
           strcmp(policy->groups[first].require_name, group->require_name) != 0)
        first++;
    group->require_index = (int)first;
}

static int compile_groups(struct policy *policy)
{
    policy->nheaders = 0;
    policy->headers =
        calloc(policy->ngroups + 1, sizeof *policy->headers); /* one more: a size of 0 may give NULL */
    if (policy->headers == NULL)
        return -ENOMEM;
    for (size_t i = 0; i < policy->ngroups; i++) {
        struct group *group = &policy->groups[i];

        if (group->require_name != NULL)
            compile_required(policy, i);
        if (compile_header(policy, group) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* Where a name has two meanings the first that is added counts. */
static int compile_names(struct policy *policy)
{
    struct name_table *names = policy->names;
    unsigned accept = 0;
    int failed = 0;

    failed |= names_add(names, "REMOTE_ADDR", NAME_REMOTE_ADDR, 0);
    failed |= names_add(names, "REMOTE_PORT", NAME_REMOTE_PORT, 0);
    failed |= names_add(names, "REMOTE_HOST", NAME_REMOTE_HOST, 0);
    failed |= names_add(names, "HTTP_PROXY", NAME_HTTP_PROXY, 0);
    for (size_t i = 0; i < policy->ngroups; i++) {
        const struct group *group = &policy->groups[i];

        accept |= group->accept;
        if (group->require_name != NULL)
            failed |= names_add(names, group->require_name, NAME_REQUIRED, i);
    }
    for (size_t i = 0; i < policy->nheaders; i++)
        failed |= names_add(names, policy->headers[i].param, NAME_GROUP_HEADER, i);
    for (size_t i = 0; i < COUNT(client_headers); i++)
        failed |= names_add(names, client_headers[i].param, client_headers[i].kind, 0);
    for (size_t i = 0; i < COUNT(accepted_params); i++) {
        if ((accepted_params[i].accept & accept) != 0)
            failed |= names_add(names, accepted_params[i].param, accepted_params[i].kind, 0);
    }
    return failed;
}

int policy_compile(struct policy *policy)
{
    for (size_t i = 0; i < policy->nallowed; i++) {
        if (cidr_set_add(policy->access, &policy->allowed[i], ACCESS_ALLOW) < 0)
            return -ENOMEM;
    }
    free(policy->allowed);
    policy->allowed = NULL;
    policy->nallowed = policy->allowed_cap = 0;
    if (compile_groups(policy) < 0 || compile_names(policy) < 0 || cidr_set_compile(policy->trust) < 0 ||
        cidr_set_compile(policy->access) < 0)
        return -ENOMEM;
    return 0;
}

struct name_match policy_match_name(const struct policy *policy, struct slice name)
{
    if (!names_may_know(policy->names, name))
        return (struct name_match){.kind = NAME_OTHER};
    return names_find(policy->names, name);
}
