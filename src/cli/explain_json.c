#include <stdlib.h>

#include "cli/explain.h"
#include "ops/json.h"

static void print_text_or_null(struct json *json, struct slice text)
{
    if (text.data)
        json_string(json, text);
    else
        json_null(json);
}

static void print_address(struct json *json, const struct address *address)
{
    char text[ADDRESS_TEXT_MAX];
    json_string(json, (struct slice){text, address_format(address, text)});
}

/* The peer's own words where they are no address that could be written canonically. */
static void print_hop(struct json *json, const struct explanation *explanation, const struct address *hop)
{
    if (hop->kind == ADDRESS_NONE)
        json_string(json, explanation->decision.peer_text);
    else
        print_address(json, hop);
}

static const struct group *find_group(const struct explanation *explanation, int index)
{
    return index < 0 ? NULL : &explanation->policy->groups[index];
}

static void print_steps(struct json *json, const struct explanation *explanation)
{
    const struct workspace *workspace = explanation->workspace;
    json_key(json, SLICE("steps"));
    json_open(json, '[');
    for (size_t i = 0; i < workspace->nsteps; i++) {
        const struct step *step = &workspace->steps[i];
        const struct group *group = find_group(explanation, step->group);
        json_open(json, '{');
        json_key(json, SLICE("hop"));
        print_hop(json, explanation, &step->hop);
        json_key(json, SLICE("group"));
        print_text_or_null(json, group ? slice_of(group->name) : (struct slice){0});
        json_key(json, SLICE("header"));
        print_text_or_null(json, group ? slice_of(group->header) : (struct slice){0});
        json_key(json, SLICE("element"));
        print_text_or_null(json, step->element);
        json_key(json, SLICE("verdict"));
        bool last = i + 1 == workspace->nsteps;
        json_string(json, slice_of(last ? reason_word(explanation->decision.walk_reason) : "passed"));
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void print_proxies(struct json *json, const struct explanation *explanation)
{
    json_key(json, SLICE("proxies"));
    json_open(json, '[');
    for (size_t i = explanation->decision.nproxies; i-- > 0;)
        print_address(json, &explanation->workspace->steps[i].hop);
    json_close(json, ']');
}

/*
 * What the application will see of the header that the peer's group reads; for a peer in no group, of the
 * header that the first group reads: there it is still a header, if untrusted_headers = keep leaves it.
 */
static void print_remaining(struct json *json, const struct explanation *explanation)
{
    const struct policy *policy = explanation->policy;
    json_key(json, SLICE("remaining"));
    const struct group *group = find_group(explanation, explanation->decision.peer_group);
    if (!group && policy->ngroups)
        group = &policy->groups[0];
    char *joined = NULL;
    size_t len = 0;
    FILE *out = group ? open_memstream(&joined, &len) : NULL;
    if (!out) {
        json_null(json);
        return;
    }
    struct slice name = slice_of(policy->headers[group->header_index].param);
    bool found = false;
    for (size_t i = 0; i < explanation->nafter; i++) {
        const struct param *param = &explanation->after[i];
        if (!slice_equal(param->name, name))
            continue;
        fputs(found ? ", " : "", out);
        fwrite(param->value.data, 1, param->value.len, out);
        found = true;
    }
    fclose(out);
    print_text_or_null(json, found ? (struct slice){joined, len} : (struct slice){0});
    free(joined);
}

static void print_changes(struct json *json, const struct explanation *explanation)
{
    json_key(json, SLICE("params"));
    json_open(json, '{');
    for (size_t i = 0; i < explanation->nchanges; i++) {
        const struct change *change = &explanation->changes[i];
        json_key(json, change->name);
        if (change->after)
            json_string(json, change->after->value);
        else
            json_null(json);
    }
    json_close(json, '}');
}

void explain_print_json(const struct explanation *explanation, FILE *out)
{
    const struct decision *decision = &explanation->decision;
    const struct group *group = find_group(explanation, decision->peer_group);
    struct json json = json_start(out);
    json_open(&json, '{');
    json_key(&json, SLICE("peer"));
    json_string(&json, decision->peer_text);
    json_key(&json, SLICE("client"));
    if (decision->changed)
        print_address(&json, &decision->client);
    else
        json_string(&json, decision->peer_text);
    json_key(&json, SLICE("port"));
    if (decision->client_port)
        json_number(&json, decision->client_port);
    else
        json_null(&json);
    json_key(&json, SLICE("reason"));
    json_string(&json, slice_of(reason_word(decision->reason)));
    json_key(&json, SLICE("changed"));
    json_bool(&json, decision->changed);
    json_key(&json, SLICE("rejected"));
    if (decision->rejected)
        json_number(&json, (unsigned long long)decision->rejected);
    else
        json_null(&json);
    print_proxies(&json, explanation);
    json_key(&json, SLICE("header"));
    print_text_or_null(&json, group ? slice_of(group->header) : (struct slice){0});
    print_remaining(&json, explanation);
    print_steps(&json, explanation);
    print_changes(&json, explanation);
    json_close(&json, '}');
    fputc('\n', out);
}
