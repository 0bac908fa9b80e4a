/*
 * The properties of a rewrite; see the header.
 */
#include "rewrite_checks.h"

#include <stdlib.h>

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

/* The order of what is added at the end means nothing. */
static void sort_added(struct param *params, size_t n, size_t nadded)
{
    if (nadded > 1)
        qsort(params + n - nadded, nadded, sizeof(struct param), compare_params);
}

static bool is_as_the_oracle_says(const struct applied *got, const struct oracle_answer *want)
{
    const struct rewrite *rewrite = &got->rewrite;
    return got->n == want->nout && got->nadded == want->nadded &&
           same_params(got->params, want->out, got->n) && rewrite->aliases == want->aliases &&
           rewrite->repeated_addr == want->repeated_addr && rewrite->junk == want->junk;
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

static const char *check_names(const struct applied *got)
{
    size_t addresses = 0;
    for (size_t i = 0; i < got->n; i++) {
        const char *folded = oracle_fold(got->params[i].name);
        addresses += strcmp(folded, "REMOTE_ADDR") == 0;
        if (is_always_managed(folded) && !slice_equal(got->params[i].name, slice_of(folded)))
            return "an alias survived";
    }
    return addresses > 1 ? "REMOTE_ADDR more than once" : NULL;
}

/* The next parameter from *i on that nothing may touch; NULL: none. */
static const struct param *next_untouchable(const struct param *params, size_t n, size_t *i)
{
    while (*i < n && is_touchable(oracle_fold(params[*i].name)))
        ++*i;
    return *i < n ? &params[(*i)++] : NULL;
}

static bool unmanaged_are_untouched(const struct random_request *request, const struct applied *got)
{
    size_t i = 0, k = 0;
    for (;;) {
        const struct param *in = next_untouchable(request->params, request->n, &i);
        const struct param *out = next_untouchable(got->params, got->n, &k);
        if (!in && !out)
            return true;
        if (!in || !out || !same_params(in, out, 1))
            return false;
    }
}

static struct slice last(const struct applied *out, const char *name)
{
    return oracle_last(out->params, out->n, name);
}

/*
 * With recursive groups and one header: peer, then elements from the right up to the first untrusted or bad
 * one.
 */
static bool is_in_reach(const struct random_policy *policy, const struct random_request *request,
                        const struct applied *got, const struct oracle_answer *want)
{
    if (!policy->one_header || !policy->all_recursive || !want->changed)
        return true;
    const struct oracle_list *list = &want->lists[0];
    const char *client = oracle_peer(last(got, "REMOTE_ADDR"));
    const char *hop = want->peer;
    for (size_t i = list->nitems; i > 0; i--) {
        if (!hop || oracle_trusts(&policy->oracle, hop, request->params, request->n) < 0)
            break;
        hop = list->items[i - 1].address;
        if (hop && client && strcmp(hop, client) == 0)
            return true;
    }
    return false;
}

const char *rewrite_find_fault(const struct random_policy *policy, const struct random_request *request,
                               struct applied *got, struct oracle_answer *want)
{
    if (!got->in_order)
        return "edits out of order, or for no parameter";
    sort_added(got->params, got->n, got->nadded);
    sort_added(want->out, want->nout, want->nadded);
    if (!is_as_the_oracle_says(got, want))
        return "not what the oracle says";
    const char *fault = check_names(got);
    if (fault)
        return fault;
    if (!unmanaged_are_untouched(request, got))
        return "an unmanaged parameter changed";
    if (!want->trusted && !slice_equal(last(got, "REMOTE_ADDR"), want->peer_text))
        return "an untrusted peer changed REMOTE_ADDR";
    if (!is_in_reach(policy, request, got, want))
        return "REMOTE_ADDR is an address that no trusted proxy wrote";
    return NULL;
}

bool rewrite_same_client(const struct applied *a, const struct applied *b)
{
    static const char *const names[] = {"REMOTE_ADDR", "REMOTE_PORT", "REMOTE_HOST"};
    for (size_t i = 0; i < 3; i++)
        if (!slice_equal(last(a, names[i]), last(b, names[i])))
            return false;
    return true;
}

bool rewrite_must_be_stable(const struct random_policy *policy)
{
    return policy->one_header && policy->all_recursive && !policy->has_secret;
}
