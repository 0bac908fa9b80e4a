#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli/cgi.h"
#include "ops/log.h"
#include "realip/rewrite.h"

/*
 * A variable as a parameter. Not so entries that are no variables, and http_proxy: no header becomes a name
 * in lower case, while programs that heed httpoxy read this one, which the administrator set, in place of
 * HTTP_PROXY.
 */
static bool read_param(const char *entry, struct param *param)
{
    struct slice text = slice_of(entry);
    const char *equals = memchr(text.data, '=', text.len);
    if (!equals || equals == text.data)
        return false;
    size_t at = (size_t)(equals - text.data);
    *param = (struct param){slice_part(text, 0, at), slice_part(text, at + 1, text.len)};
    return !slice_equal(param->name, SLICE("http_proxy"));
}

static int refuse_many(const struct config *config)
{
    if (config->log_level >= LOG_INFO)
        fprintf(stderr, "fcgi-realip: refused a request with 431: it has more than %d variables\n",
                REALIP_MAX_PARAMS);
    return 431;
}

static void tell_refusal(const struct config *config, const struct decision *decision)
{
    if (config->log_level < LOG_INFO)
        return;
    char peer[96];
    char text[ADDRESS_TEXT_MAX];
    struct slice client = {text, address_format(&decision->client, text)};
    fprintf(stderr, "fcgi-realip: refused a request with %d: peer \"%s\", client %.*s, %s\n",
            decision->rejected, log_escape(decision->peer_text, peer, sizeof peer), (int)client.len,
            client.data, reason_word(decision->reason));
}

static char *make_entry(struct cgi_environment *made, struct slice name, struct slice value)
{
    char *entry = malloc(name.len + 1 + value.len + 1);
    if (!entry)
        return NULL;
    memcpy(entry, name.data, name.len);
    entry[name.len] = '=';
    if (value.len > 0)
        memcpy(entry + name.len + 1, value.data, value.len);
    entry[name.len + 1 + value.len] = '\0';
    made->made[made->nmade++] = entry;
    return entry;
}

static int apply(const struct rewrite *rewrite, char **environment, size_t count,
                 struct cgi_environment *made)
{
    made->list = calloc(count + rewrite->nadded + 1, sizeof *made->list);
    made->made = calloc(rewrite->nedits + rewrite->nadded + 1, sizeof *made->made);
    if (!made->list || !made->made)
        return -ENOMEM;
    const struct edit *edit = rewrite->edits, *last = edit + rewrite->nedits;
    size_t len = 0;
    uint32_t index = 0; /* among the parameters */
    for (size_t i = 0; i < count; i++) {
        struct param param;
        if (!read_param(environment[i], &param)) {
            made->list[len++] = environment[i];
            continue;
        }
        if (edit == last || edit->index != index++) {
            made->list[len++] = environment[i];
            continue;
        }
        if (!edit->drop && !(made->list[len++] = make_entry(made, param.name, edit->value)))
            return -ENOMEM;
        edit++;
    }
    for (size_t i = 0; i < rewrite->nadded; i++)
        if (!(made->list[len++] = make_entry(made, rewrite->added[i].name, rewrite->added[i].value)))
            return -ENOMEM;
    return 0;
}

static int decide(const struct config *config, struct workspace *workspace, struct param *params,
                  char **environment, struct cgi_environment *made)
{
    size_t count = 0, n = 0;
    for (; environment[count]; count++) {
        struct param param;
        if (!read_param(environment[count], &param))
            continue;
        if (n == REALIP_MAX_PARAMS)
            return refuse_many(config);
        params[n++] = param;
    }
    struct decision decision;
    decide_request(config->policy, params, n, workspace, &decision);
    if (decision.rejected) {
        tell_refusal(config, &decision);
        return decision.rejected;
    }
    struct rewrite rewrite;
    if (rewrite_params(config->policy, params, n, &decision, workspace, &rewrite) != 0)
        return -ENOMEM;
    return apply(&rewrite, environment, count, made);
}

int cgi_environment_make(const struct config *config, char **environment, struct cgi_environment *made)
{
    *made = (struct cgi_environment){0};
    struct workspace *workspace = workspace_new(config->policy);
    struct param *params = calloc(REALIP_MAX_PARAMS, sizeof *params);
    int status = workspace && params ? decide(config, workspace, params, environment, made) : -ENOMEM;
    free(params);
    workspace_free(workspace);
    return status;
}

void cgi_environment_free(struct cgi_environment *environment)
{
    for (size_t i = 0; i < environment->nmade; i++)
        free(environment->made[i]);
    free(environment->made);
    free(environment->list);
    *environment = (struct cgi_environment){0};
}
