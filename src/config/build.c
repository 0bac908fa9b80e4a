/*
 * The second half of loading a configuration: words become addresses, and what several settings say together
 * is checked.
 */
#include <errno.h>
#include <stdlib.h>

#include "config/endpoint.h"
#include "config/header.h"
#include "config/settings.h"
#include "config/trust.h"

struct build {
    struct config *config;
    struct config_source *source;
    struct messages *messages;
    struct messages *of_files; /* what is wrong with trust files */
};

static void report(const struct build *build, bool error, unsigned line, const char *text)
{
    messages_add(build->messages, error, build->config->path, line, "%s", text);
}

/* Where a setting was first given, 0 if nowhere; proxy: NULL but for those of [proxy NAME]. */
static unsigned find_line(const struct build *build, const struct proxy_source *proxy, struct slice section,
                          struct slice key)
{
    return settings_find_line(proxy ? proxy->given : build->source->given, section, key);
}

/* Endpoints */

/* Adds what the configuration in force made of the same text, if it had it. */
static bool keep_endpoints(const struct build *build, const char *text, bool listening,
                           struct endpoint **list, size_t *count)
{
    const struct config *old = build->source->old;
    const struct endpoint *kept = listening ? old->listen.addresses : old->upstream.addresses;
    size_t nkept = listening ? old->listen.naddresses : old->upstream.naddresses;
    size_t before = *count;
    struct endpoint_fault fault;
    for (size_t i = 0; i < nkept; i++) {
        if (strcmp(kept[i].text, text) == 0 && !endpoint_add_copy(&kept[i], list, count, &fault))
            return false;
    }
    return *count > before;
}

/* The text's endpoints; those of a name that could be resolved before, and now cannot, are what they were. */
static bool find_endpoints(const struct build *build, const struct word *word, bool listening,
                           struct endpoint **list, size_t *count, struct endpoint_fault *fault)
{
    bool frozen = build->source->memory.frozen;
    if (frozen && keep_endpoints(build, word->text, listening, list, count))
        return true;
    if (endpoint_add(slice_of(word->text), listening, list, count, fault))
        return true;
    if (!build->source->old || !keep_endpoints(build, word->text, listening, list, count))
        return false;
    messages_add(build->messages, false, build->config->path, word->line,
                 "address = \"%s\": %.*s; it keeps the addresses that it had",
                 value_quote(slice_of(word->text)).text, (int)strcspn(fault->text, ";"), fault->text);
    return true;
}

static void add_endpoint(const struct build *build, const struct word *word, bool listening,
                         struct endpoint **list, size_t *count)
{
    struct endpoint_fault fault;
    size_t before = *count;
    bool fine = find_endpoints(build, word, listening, list, count, &fault);
    for (size_t i = before; fine && i < *count; i++) {
        for (size_t j = 0; fine && j < before; j++) {
            if (!endpoint_equal(&(*list)[i], &(*list)[j]))
                continue;
            fine = false;
            snprintf(fault.text, sizeof fault.text, "the same socket is already in the list; remove one");
        }
    }
    if (!fine)
        messages_add(build->messages, true, build->config->path, word->line, "address = \"%s\": %s",
                     value_quote(slice_of(word->text)).text, fault.text);
}

static void build_listen(const struct build *build)
{
    struct config_listen *listen = &build->config->listen;
    const struct words *words = &build->source->listen_addresses;
    bool closed = find_line(build, NULL, SLICE("listen"), SLICE("allowed_clients")) > 0;
    for (size_t i = 0; i < words->count; i++) {
        size_t before = listen->naddresses;
        add_endpoint(build, &words->list[i], true, &listen->addresses, &listen->naddresses);
        for (size_t j = before; j < listen->naddresses && !closed; j++) {
            if (endpoint_is_local(&listen->addresses[j]))
                continue;
            messages_add(
                build->messages, true, build->config->path, words->list[i].line,
                "address = \"%s\": other machines can reach it, and whoever can may run any script; list "
                "the web servers in allowed_clients, or listen on 127.0.0.1 or a unix socket",
                value_quote(slice_of(words->list[i].text)).text);
            break;
        }
    }
}

static void build_application(const struct build *build)
{
    struct config_upstream *upstream = &build->config->upstream;
    const struct words *words = &build->source->upstream_address;
    if (words->count > 0 && !build->source->given_command)
        add_endpoint(build, &words->list[0], false, &upstream->addresses, &upstream->naddresses);
    build_upstream(build->config, build->messages);
}

/* Lists of addresses */

struct group_target {
    struct policy *policy;
    size_t group;
};

static int trust_block(void *user, const struct cidr *block)
{
    const struct group_target *target = user;
    return policy_trust(target->policy, target->group, block);
}

static int allow_block(void *user, const struct cidr *block)
{
    return policy_allow(user, block);
}

static int deny_block(void *user, const struct cidr *block)
{
    return policy_deny(user, block);
}

static int add_client(void *user, const struct cidr *block)
{
    return cidr_set_add(user, block, 0);
}

static struct trust_list make_list(const struct build *build, const char *key,
                                   int (*add)(void *, const struct cidr *), void *user)
{
    return (struct trust_list){.add = add,
                               .user = user,
                               .key = key,
                               .memory = &build->source->memory,
                               .messages = build->messages,
                               .file = build->config->path};
}

static void add_entries(struct trust_list *list, const struct words *words)
{
    for (size_t i = 0; i < words->count; i++) {
        list->line = words->list[i].line;
        trust_add_entry(list, slice_of(words->list[i].text));
    }
}

/* NULL after an error. */
static struct cidr_set *make_set(const struct build *build, const char *key, const struct words *words,
                                 bool no_unix)
{
    struct cidr_set *set = cidr_set_new();
    struct trust_list list = make_list(build, key, add_client, set);
    list.no_unix = no_unix;
    if (set)
        add_entries(&list, words);
    if (set && cidr_set_compile(set) == 0)
        return set;
    report(build, true, 0, strerror(ENOMEM));
    cidr_set_free(set);
    return NULL;
}

static void build_clients(const struct build *build)
{
    const struct words *words = &build->source->allowed_clients;
    if (words->count > 0)
        build->config->listen.allowed_clients = make_set(build, "allowed_clients", words, true);
}

static void build_status(const struct build *build)
{
    struct config_status *status = &build->config->status;
    const struct words *words = &build->source->status_allow;
    struct word loopback = {.text = (char[]){"loopback"}};
    const struct words usual = {.list = &loopback, .count = 1};
    if (status->path)
        status->allow = make_set(build, "allow", words->count > 0 ? words : &usual, false);
    else if (words->count > 0)
        report(build, false, find_line(build, NULL, SLICE("status"), SLICE("allow")),
               "allow: there is no status page that it could be about; add path to [status]");
}

static void build_access(const struct build *build)
{
    struct trust_list allow = make_list(build, "allow", allow_block, build->config->policy);
    struct trust_list deny = make_list(build, "deny", deny_block, build->config->policy);
    add_entries(&allow, &build->source->allow);
    add_entries(&deny, &build->source->deny);
    if (build->source->allow.count == 0 || build->source->deny.count == 0)
        return;
    if ((allow.all_v4 || deny.all_v4) && (allow.all_v6 || deny.all_v6))
        return;
    report(build, false, find_line(build, NULL, SLICE("access"), SLICE("allow")),
           "allow and deny: a client that is in neither is let in; to refuse it, add "
           "0.0.0.0/0 and "
           "::/0 to deny");
}

/* Makes the word's path absolute, as seen from the file's folder. */
static bool complete_path(const struct build *build, struct word *word)
{
    if (word->text[0] == '/')
        return true;
    size_t size = strlen(build->source->folder) + strlen(word->text) + 2;
    char *path = malloc(size);
    if (!path)
        return false;
    snprintf(path, size, "%s/%s", build->source->folder, word->text);
    free(word->text);
    word->text = path;
    return true;
}

static void add_file(const struct build *build, struct trust_list *list, struct word *word)
{
    struct quote written = value_quote(slice_of(word->text));
    list->line = word->line;
    if (complete_path(build, word))
        trust_add_file(list, word->text, slice_of(written.text));
    else
        report(build, true, word->line, strerror(ENOMEM));
}

static void build_group(const struct build *build, size_t number)
{
    struct group_target target = {build->config->policy, number};
    struct proxy_source *proxy = &build->source->proxies[number];
    struct trust_list list = make_list(build, "trust", trust_block, &target);
    list.trusting = true;
    add_entries(&list, &proxy->trust);
    list.messages = build->of_files;
    for (size_t i = 0; i < proxy->trust_files.count; i++)
        add_file(build, &list, &proxy->trust_files.list[i]);

    if (find_line(build, proxy, SLICE("proxy"), SLICE("trust")) == 0 &&
        find_line(build, proxy, SLICE("proxy"), SLICE("trust_file")) == 0)
        messages_add(build->messages, true, build->config->path, proxy->line,
                     "[proxy %s]: trusts nobody; give it the proxies' addresses with trust or trust_file",
                     target.policy->groups[number].name);
}

/* What groups say about headers and parameters */

static void apply_default_header(const struct build *build, size_t number)
{
    struct group *group = &build->config->policy->groups[number];
    const struct proxy_source *proxy = &build->source->proxies[number];
    if (!build->source->default_header || find_line(build, proxy, SLICE("proxy"), SLICE("header")) > 0)
        return;
    char *copy = strdup(build->source->default_header);
    if (!copy) {
        report(build, true, 0, strerror(ENOMEM));
        return;
    }
    free(group->header);
    group->header = copy;
}

static void check_header(const struct build *build, const char *header, unsigned line,
                         const struct policy *manager)
{
    const char *why = NULL;
    int error = header_judge(manager, header, &why);
    if (error != 0)
        report(build, true, line, strerror(-error));
    else if (why)
        messages_add(build->messages, true, build->config->path, line, "header = \"%s\": %s",
                     value_quote(slice_of(header)).text, why);
}

static void check_headers(const struct build *build, const struct policy *manager)
{
    const char *compatible = build->source->default_header;
    if (compatible)
        check_header(build, compatible, find_line(build, NULL, SLICE("SETTINGS"), SLICE("HEADER")), manager);
    for (size_t i = 0; i < build->source->nproxies; i++) {
        unsigned line = find_line(build, &build->source->proxies[i], SLICE("proxy"), SLICE("header"));
        if (line > 0)
            check_header(build, build->config->policy->groups[i].header, line, manager);
    }
}

static bool is_group_header(const struct policy *policy, const char *name)
{
    bool found = false;
    for (size_t i = 0; i < policy->ngroups && !found; i++) {
        char *param = header_make_param(policy->groups[i].header);
        found = param && strcmp(param, name) == 0;
        free(param);
    }
    return found;
}

static void check_required(const struct build *build, size_t number, const struct policy *manager)
{
    const struct policy *policy = build->config->policy;
    const char *name = policy->groups[number].require_name;
    if (!name)
        return;
    if (policy_match_name(manager, slice_of(name)).kind != NAME_OTHER || is_group_header(policy, name))
        messages_add(
            build->messages, true, build->config->path,
            find_line(build, &build->source->proxies[number], SLICE("proxy"), SLICE("require_param")),
            "require_param = \"%s:...\": the shim changes or removes this parameter itself; use one of "
            "its own for the secret",
            value_quote(slice_of(name)).text);
}

static void check_select(const struct build *build, size_t number)
{
    const struct group *group = &build->config->policy->groups[number];
    const struct proxy_source *proxy = &build->source->proxies[number];
    unsigned line = find_line(build, proxy, SLICE("proxy"), SLICE("select"));
    if (group->select == SELECT_HOPS && group->hops > group->max_elements)
        messages_add(build->messages, true, build->config->path, line,
                     "select = hops:%u: more than the %u elements that are read; raise max_elements",
                     group->hops, group->max_elements);
    if (group->select == SELECT_LEFTMOST)
        report(
            build, false, line,
            "select = leftmost: believes what the client itself wrote, so any client can choose its address; "
            "use recursive unless a proxy removes what clients send");
}

void build_config(struct config *config, struct messages *messages, struct messages *of_files)
{
    const struct build build = {config, config->source, messages, of_files};
    size_t before = messages->errors;
    build_listen(&build);
    build_clients(&build);
    build_application(&build);
    build_access(&build);
    build_status(&build);
    build_shares(config, messages);
    build_process(config, messages);

    struct policy *manager = header_make_manager();
    if (!manager)
        report(&build, true, 0, strerror(ENOMEM));
    for (size_t i = 0; i < config->policy->ngroups; i++) {
        build_group(&build, i);
        apply_default_header(&build, i);
    }
    if (manager)
        check_headers(&build, manager);
    for (size_t i = 0; manager && i < config->policy->ngroups; i++) {
        check_required(&build, i, manager);
        check_select(&build, i);
    }
    policy_free(manager);
    if (config->policy->ngroups == 0)
        report(&build, false, 0,
               "no [proxy NAME] section, so no proxy is trusted and every request keeps its REMOTE_ADDR; add "
               "one");
    if (messages->errors == before && policy_compile(config->policy) != 0)
        report(&build, true, 0, strerror(ENOMEM));
}
