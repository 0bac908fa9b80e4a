#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>

#include "adapters/policy.h"
#include "fcgi_realip.h"

_Static_assert(FCGI_REALIP_MAX_PARAMS == REALIP_MAX_PARAMS, "the header says what holds");

struct fcgi_realip_decision {
    struct fcgi_realip_policy *policy;
    struct desk *desk;
    size_t n;
    struct decision decision;
    struct fcgi_realip_param *rewritten; /* malloc'ed; NULL before fcgi_realip_rewrite */
    size_t nrewritten;
    char client[ADDRESS_TEXT_MAX + 1];
    char peer[ADDRESS_TEXT_MAX + 1];
};

const char *fcgi_realip_version(void)
{
    return FCGI_REALIP_VERSION;
}

/* --- policies --- */

/* NULL if there are none, or without memory. */
static char *join_messages(const struct messages *messages)
{
    char *text = NULL;
    size_t len = 0;

    if (messages->count == 0)
        return NULL;
    FILE *stream = open_memstream(&text, &len);
    if (stream == NULL)
        return NULL;
    messages_print(messages, stream);
    if (fclose(stream) != 0) {
        free(text);
        return NULL;
    }
    return text;
}

fcgi_realip_policy *fcgi_realip_load(const char *path, char **text)
{
    struct messages messages = {0};
    fcgi_realip_policy *policy = NULL;

    if (dlsym(RTLD_DEFAULT, ADAPTER_PRELOAD_MARK) != NULL)
        messages_add(&messages, true, path, 0,
                     "this program applies the configuration by itself; start it without "
                     "libfcgi-realip-preload.so in LD_PRELOAD");
    else
        policy = adapter_policy_load(path, &messages);
    if (text != NULL)
        *text = join_messages(&messages);
    messages_free(&messages);
    return policy;
}

void fcgi_realip_free(fcgi_realip_policy *policy)
{
    adapter_policy_free(policy);
}

/* --- decisions --- */

static void write_text(const struct address *address, char *out)
{
    out[address_format(address, out)] = '\0';
}

int fcgi_realip_decide(fcgi_realip_policy *policy, const struct fcgi_realip_param *params, size_t count,
                       fcgi_realip_decision **out)
{
    *out = NULL;
    if (count > REALIP_MAX_PARAMS)
        return -E2BIG;
    fcgi_realip_decision *decision = calloc(1, sizeof *decision);
    if (decision == NULL)
        return -ENOMEM;
    decision->policy = policy;
    decision->desk = adapter_desk_take(policy);
    if (decision->desk == NULL) {
        fcgi_realip_decision_free(decision);
        return -ENOMEM;
    }
    decision->n = count;
    for (size_t i = 0; i < count; i++) {
        decision->desk->params[i] = (struct param){
            .name = {params[i].name, params[i].name_len},
            .value = {params[i].value, params[i].value_len},
        };
    }
    decide_request(policy->config->policy, decision->desk->params, count, decision->desk->workspace,
                   &decision->decision);
    write_text(&decision->decision.client, decision->client);
    write_text(&decision->decision.peer, decision->peer);
    *out = decision;
    return 0;
}

void fcgi_realip_decision_free(fcgi_realip_decision *decision)
{
    if (decision == NULL)
        return;
    if (decision->desk != NULL)
        adapter_desk_give(decision->policy, decision->desk);
    free(decision->rewritten);
    free(decision);
}

int fcgi_realip_decision_status(const fcgi_realip_decision *decision)
{
    return decision->decision.rejected;
}

const char *fcgi_realip_decision_client(const fcgi_realip_decision *decision)
{
    return decision->client;
}

const char *fcgi_realip_decision_peer(const fcgi_realip_decision *decision)
{
    return decision->peer;
}

unsigned fcgi_realip_decision_port(const fcgi_realip_decision *decision)
{
    return decision->decision.client_port;
}

int fcgi_realip_decision_changed(const fcgi_realip_decision *decision)
{
    return decision->decision.changed;
}

const char *fcgi_realip_decision_reason(const fcgi_realip_decision *decision)
{
    return reason_word(decision->decision.reason);
}

static void append(fcgi_realip_decision *decision, struct slice name, struct slice value)
{
    decision->rewritten[decision->nrewritten++] = (struct fcgi_realip_param){
        .name = name.data,
        .name_len = name.len,
        .value = value.data,
        .value_len = value.len,
    };
}

static void fill(fcgi_realip_decision *decision, const struct rewrite *rewrite)
{
    const struct param *params = decision->desk->params;
    const struct edit *edit = rewrite->edits;
    const struct edit *end = edit + rewrite->nedits;

    for (size_t i = 0; i < decision->n; i++) {
        if (edit == end || edit->index != i) {
            append(decision, params[i].name, params[i].value);
            continue;
        }
        if (!edit->drop)
            append(decision, params[i].name, edit->value);
        edit++;
    }
    for (size_t i = 0; i < rewrite->nadded; i++)
        append(decision, rewrite->added[i].name, rewrite->added[i].value);
}

static int rewrite_once(fcgi_realip_decision *decision)
{
    struct rewrite rewrite;

    if (decision->rewritten != NULL)
        return 0;
    if (rewrite_params(decision->policy->config->policy, decision->desk->params, decision->n,
                       &decision->decision, decision->desk->workspace, &rewrite) < 0)
        return -ENOMEM;
    /* One more, so that it is not malloc(0). */
    decision->rewritten = malloc((decision->n + rewrite.nadded + 1) * sizeof *decision->rewritten);
    if (decision->rewritten == NULL)
        return -ENOMEM;
    fill(decision, &rewrite);
    return 0;
}

int fcgi_realip_rewrite(fcgi_realip_decision *decision, const struct fcgi_realip_param **params,
                        size_t *count)
{
    int error = rewrite_once(decision);

    *params = error == 0 ? decision->rewritten : NULL;
    *count = error == 0 ? decision->nrewritten : 0;
    return error;
}
