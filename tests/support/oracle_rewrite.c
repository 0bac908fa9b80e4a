/*
 * The oracle's idea of what the application sees.
 */
#include "oracle.h"

#include <strings.h>

#define CLIENT_HEADERS                                                                                       \
    "HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_CLIENT_IP", "HTTP_X_CLIENT_IP",        \
        "HTTP_X_CLUSTER_CLIENT_IP", "HTTP_TRUE_CLIENT_IP", "HTTP_CF_CONNECTING_IP", "HTTP_ALI_CDN_REAL_IP",  \
        "HTTP_FORWARDED_FOR", "HTTP_X_FORWARDED", "HTTP_X_ORIGINATING_IP", "HTTP_X_FORWARDED_PROTO",         \
        "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT", "HTTP_X_FORWARDED_PREFIX", "HTTP_X_FORWARDED_SSL"

struct output {
    const struct oracle_policy *policy;
    const struct param *params;
    size_t n;
    struct oracle_answer *answer;
};

static bool is_one_of(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static bool is_client_header(const char *name)
{
    static const char *const names[] = {CLIENT_HEADERS};
    return is_one_of(name, names, sizeof(names) / sizeof(*names));
}

static struct oracle_list *list_named(struct output *output, const char *name)
{
    for (size_t i = 0; i < output->answer->nlists; i++)
        if (strcmp(output->answer->lists[i].param, name) == 0)
            return &output->answer->lists[i];
    return NULL;
}

static bool is_secret(struct output *output, const char *name)
{
    const struct policy *plain = output->policy->plain;
    for (size_t i = 0; i < plain->ngroups; i++)
        if (plain->groups[i].require_name && strcmp(plain->groups[i].require_name, name) == 0)
            return true;
    return false;
}

static unsigned accepted_by_any(struct output *output)
{
    unsigned bits = 0;
    for (size_t i = 0; i < output->policy->plain->ngroups; i++)
        bits |= output->policy->plain->groups[i].accept;
    return bits;
}

static bool is_managed(struct output *output, const char *name)
{
    static const char *const always[] = {"REMOTE_ADDR", "REMOTE_PORT", "REMOTE_HOST", "HTTP_PROXY"};
    static const char *const proto[] = {"HTTPS", "REQUEST_SCHEME", "SERVER_PORT"};
    static const char *const host[] = {"HTTP_HOST", "SERVER_NAME"};
    unsigned accept = accepted_by_any(output);
    return is_one_of(name, always, 4) || strncmp(name, "REALIP_", 7) == 0 || is_client_header(name) ||
           is_secret(output, name) || list_named(output, name) ||
           ((accept & ACCEPT_PROTO) && is_one_of(name, proto, 3)) ||
           ((accept & ACCEPT_PORT) && strcmp(name, "SERVER_PORT") == 0) ||
           ((accept & ACCEPT_HOST) && is_one_of(name, host, 2));
}

static void put(struct output *output, const char *name, struct slice value)
{
    output->answer->out[output->answer->nout++] = (struct param){slice_of(name), value};
}

static struct slice trim(struct slice s, const char *drop)
{
    while (s.len && s.data[0] && strchr(drop, s.data[0]))
        s = slice_part(s, 1, s.len);
    while (s.len && s.data[s.len - 1] && strchr(drop, s.data[s.len - 1]))
        s.len--;
    return s;
}

/* Nothing at or left of a NUL, CR or LF is sent on, and nothing at all if a second pass would read what is
 * left. */
static struct slice cut_controls(struct slice s, bool client_trusted)
{
    for (size_t i = s.len; i > 0; i--) {
        char c = s.data[i - 1];
        if (c == '\0' || c == '\r' || c == '\n')
            return client_trusted ? SLICE("") : trim(slice_part(s, i, s.len), " \t,");
    }
    return trim(s, " \t");
}

/* The value of a header on the chain; data NULL: it is removed. */
static struct slice chain_value(struct output *output, const struct oracle_list *list)
{
    struct oracle_answer *answer = output->answer;
    struct slice none = {NULL, 0}, value = none;
    bool client_trusted = oracle_trusts(output->policy, answer->client, output->params, output->n) >= 0;
    bool read_on = answer->read_on && answer->nproxies > 0 && client_trusted;
    size_t start = list->client < list->nitems ? list->items[list->client].start : list->joined.len;

    switch (output->policy->plain->forwarded_for) {
    case FORWARDED_CONFIRMED:
        value = cut_controls(slice_part(list->joined, start, list->joined.len), client_trusted);
        break;
    case FORWARDED_UNCONFIRMED:
        if (read_on || answer->repeated)
            return none;
        value = list->client < list->nitems ? trim(slice_part(list->joined, 0, start), " \t,") : list->joined;
        value = cut_controls(value, client_trusted);
        break;
    case FORWARDED_CLIENT:
        if (strcmp(answer->client, "unix:") == 0)
            return none;
        if (!list->forwarded)
            return slice_of(answer->client);
        return slice_of(
            oracle_print(strchr(answer->client, ':') ? "for=\"[%s]\"" : "for=%s", answer->client));
    case FORWARDED_KEEP:
        if (answer->repeated)
            return none;
        value = cut_controls(list->joined, client_trusted);
        break;
    case FORWARDED_REMOVE:
        return none;
    }
    return value.len ? value : none;
}

/* Are there several copies of a header, of which the group wants one? */
static bool is_spoilt(const struct group *group, const struct oracle_list *list)
{
    return group->repeated == REPEATED_MALFORMED && list->copies > 1;
}

/* The rightmost non-empty element of a plain list, or something that no header may say; data NULL: none. */
static struct slice rightmost(struct output *output, const struct group *group, const char *name)
{
    struct oracle_list list = oracle_read_list(name, false, output->params, output->n);
    if (list.nitems == 0)
        return (struct slice){NULL, 0};
    if (is_spoilt(group, &list))
        return SLICE("?");
    return slice_part(list.joined, list.items[list.nitems - 1].start, list.items[list.nitems - 1].end);
}

/* Is it a host with or without a port, as in RFC 3986? *host_len: of the host alone. */
static bool is_host(struct slice s, size_t *host_len)
{
    const char *const name_chars =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~!$&'()*+;=";
    size_t at = 0;
    if (s.len && s.data[0] == '[') {
        while (at < s.len && s.data[at] != ']')
            at++;
        if (at == s.len || !memchr(s.data, ':', at) || !oracle_address(slice_part(s, 1, at)))
            return false;
        at++;
    } else {
        for (; at < s.len && s.data[at] != ':'; at++) {
            if (s.data[at] == '%' && at + 2 < s.len && strchr("0123456789abcdefABCDEF", s.data[at + 1]) &&
                strchr("0123456789abcdefABCDEF", s.data[at + 2]) && s.data[at + 1] && s.data[at + 2])
                at += 2;
            else if (s.data[at] == '\0' || !strchr(name_chars, s.data[at]))
                return false;
        }
    }
    *host_len = at;
    if (at == 0)
        return false;
    if (at == s.len)
        return true;
    if (s.data[at] != ':')
        return false;
    long port = 0;
    for (size_t i = at + 1; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9' || i > at + 5 || s.data[at + 1] == '0')
            return false;
        port = port * 10 + (s.data[i] - '0');
    }
    return port >= 1 && port <= 65535;
}

static bool same_word(struct slice s, const char *word)
{
    return s.len == strlen(word) && strncasecmp(s.data, word, s.len) == 0;
}

/* What the accepted headers make of the request; a value whose data is NULL is not set. */
struct accepted {
    struct slice scheme, port, host, name;
};

static bool is_port(struct slice s)
{
    long value = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.data[i] < '0' || s.data[i] > '9' || i > 4 || s.data[0] == '0')
            return false;
        value = value * 10 + (s.data[i] - '0');
    }
    return value >= 1 && value <= 65535;
}

static void read_proto(struct output *output, const struct group *group, struct accepted *accepted)
{
    struct slice proto = rightmost(output, group, "HTTP_X_FORWARDED_PROTO");
    if (strcasecmp(group->header, "Forwarded") == 0) {
        const struct oracle_list *list = list_named(output, "HTTP_FORWARDED");
        const struct oracle_item *last = list->nitems ? &list->items[list->nitems - 1] : NULL;
        bool spoilt = is_spoilt(group, list);
        proto = last && !spoilt ? last->proto : (struct slice){NULL, 0};
        output->answer->junk = last && (spoilt || !last->well_formed);
    }
    if (!proto.data)
        return;
    if (same_word(proto, "https"))
        accepted->scheme = SLICE("https");
    else if (same_word(proto, "http"))
        accepted->scheme = SLICE("http");
    else
        output->answer->junk = true;
    if (accepted->scheme.data && !(group->accept & ACCEPT_PORT))
        accepted->port = accepted->scheme.len == 5 ? SLICE("443") : SLICE("80");
}

static struct accepted read_accepted(struct output *output)
{
    struct accepted accepted = {{NULL, 0}, {NULL, 0}, {NULL, 0}, {NULL, 0}};
    if (!output->answer->trusted)
        return accepted;
    const struct group *group = &output->policy->plain->groups[output->answer->peer_group];
    if (group->accept & ACCEPT_PROTO)
        read_proto(output, group, &accepted);
    if (group->accept & ACCEPT_PORT) {
        struct slice port = rightmost(output, group, "HTTP_X_FORWARDED_PORT");
        if (port.data && is_port(port))
            accepted.port = port;
        else if (port.data)
            output->answer->junk = true;
    }
    if (group->accept & ACCEPT_HOST) {
        struct slice host = rightmost(output, group, "HTTP_X_FORWARDED_HOST");
        size_t len;
        if (host.data && is_host(host, &len)) {
            accepted.host = host;
            accepted.name = slice_part(host, 0, len);
        } else if (host.data) {
            output->answer->junk = true;
        }
    }
    return accepted;
}

/* Does the peer's group read this header for something besides the address? */
static bool is_accepted_header(struct output *output, const char *name)
{
    const struct group *group = &output->policy->plain->groups[output->answer->peer_group];
    if (strcmp(name, "HTTP_X_FORWARDED_PROTO") == 0)
        return (group->accept & ACCEPT_PROTO) && strcasecmp(group->header, "Forwarded") != 0;
    if (strcmp(name, "HTTP_X_FORWARDED_PORT") == 0)
        return group->accept & ACCEPT_PORT;
    return strcmp(name, "HTTP_X_FORWARDED_HOST") == 0 && (group->accept & ACCEPT_HOST);
}

/* One value that the shim sets: in place of the first, or at the end; a NULL value leaves all as they are. */
struct setting {
    const char *name;
    struct slice value;
    bool remove, if_present;
    bool done;
};

static size_t make_settings(struct output *output, struct setting *set)
{
    struct oracle_answer *answer = output->answer;
    struct accepted accepted = read_accepted(output);
    size_t k = 0;
    struct slice text = answer->client ? slice_of(answer->client) : SLICE("");
    if (answer->changed) {
        set[k++] = (struct setting){.name = "REMOTE_ADDR", .value = text};
        set[k++] =
            (struct setting){.name = "REMOTE_PORT",
                             .value = answer->port ? slice_of(oracle_print("%u", answer->port)) : SLICE(""),
                             .if_present = answer->port == 0};
        set[k++] = (struct setting){.name = "REMOTE_HOST", .value = text, .if_present = true};
    } else {
        static const char *const names[] = {"REMOTE_ADDR", "REMOTE_PORT", "REMOTE_HOST"};
        for (size_t i = 0; i < 3; i++)
            set[k++] = (struct setting){.name = names[i],
                                        .value = oracle_last(output->params, output->n, names[i]),
                                        .if_present = true};
    }
    if (accepted.scheme.data) {
        bool https = accepted.scheme.len == 5;
        set[k++] = (struct setting){.name = "HTTPS", .value = SLICE("on"), .remove = !https};
        set[k++] = (struct setting){.name = "REQUEST_SCHEME", .value = accepted.scheme};
    }
    if (accepted.port.data)
        set[k++] = (struct setting){.name = "SERVER_PORT", .value = accepted.port};
    if (accepted.host.data) {
        set[k++] = (struct setting){.name = "HTTP_HOST", .value = accepted.host};
        set[k++] = (struct setting){.name = "SERVER_NAME", .value = accepted.name};
    }
    return k;
}

/* A header that says, or may say, who the client is. */
static void put_header(struct output *output, const char *name, struct slice value, bool seen)
{
    const struct policy *plain = output->policy->plain;
    const struct oracle_list *list = list_named(output, name);
    if (!output->answer->trusted) {
        if (plain->untrusted_headers == HEADERS_KEEP)
            put(output, name, value);
    } else if (list) {
        struct slice joined = {NULL, 0};
        if (list->on_chain && !seen)
            joined = chain_value(output, list);
        if (joined.data)
            put(output, name, joined);
    } else if (plain->unmanaged_headers == HEADERS_KEEP || is_accepted_header(output, name)) {
        put(output, name, value);
    }
}

static bool seen_before(struct output *output, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (slice_equal(output->params[i].name, output->params[index].name))
            return true;
    return false;
}

static void put_param(struct output *output, size_t index, struct setting *set, size_t nset)
{
    struct slice raw = output->params[index].name, value = output->params[index].value;
    const char *name = oracle_fold(raw);
    bool managed = is_managed(output, name), exact = slice_equal(raw, slice_of(name));
    if (managed && !exact) {
        output->answer->aliases++;
        return;
    }
    if (exact && strcmp(name, "REMOTE_ADDR") == 0 && seen_before(output, index))
        output->answer->repeated_addr = true;
    for (size_t k = 0; exact && k < nset; k++) {
        if (strcmp(set[k].name, name) != 0)
            continue;
        if (!set[k].done && !set[k].remove)
            put(output, name, set[k].value);
        set[k].done = true;
        return;
    }
    if (managed &&
        (strcmp(name, "HTTP_PROXY") == 0 || strncmp(name, "REALIP_", 7) == 0 || is_secret(output, name)))
        return;
    if (is_client_header(name) || list_named(output, name))
        put_header(output, name, value, seen_before(output, index));
    else
        output->answer->out[output->answer->nout++] = output->params[index];
}

static void put_proxies(struct output *output)
{
    const char *text = "";
    for (size_t i = output->answer->nproxies; i > 0; i--)
        text = oracle_print("%s%s%s", text, *text ? ", " : "", output->answer->proxies[i - 1]);
    if (*text)
        put(output, "REALIP_PROXIES", slice_of(text));
}

void oracle_rewrite(const struct oracle_policy *policy, const struct param *params, size_t n,
                    struct oracle_answer *answer)
{
    struct output output = {policy, params, n, answer};
    struct setting set[8];
    answer->out = oracle_alloc((n + 11) * sizeof(*answer->out));
    size_t nset = make_settings(&output, set);
    for (size_t i = 0; i < n; i++)
        put_param(&output, i, set, nset);
    size_t before = answer->nout;
    for (size_t k = 0; k < nset; k++)
        if (!set[k].done && !set[k].if_present && !set[k].remove)
            put(&output, set[k].name, set[k].value);
    if (answer->trusted) {
        put(&output, "REALIP_REMOTE_ADDR", answer->peer_text);
        if (answer->peer_port.data)
            put(&output, "REALIP_REMOTE_PORT", answer->peer_port);
        put_proxies(&output);
    }
    answer->nadded = answer->nout - before;
}
