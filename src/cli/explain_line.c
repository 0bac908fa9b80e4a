#include "cli/explain_line.h"

#include <stdio.h>
#include <stdlib.h>

#include "realip/workspace.h"

/* Appends an item; NULL, or what is wrong. */
static const char *add_item(struct explain_line *line, const struct decision_item *item)
{
    if (line->n + 1 == REALIP_MAX_PARAMS)
        return "too many parameters for one request";
    struct decision_item *items = realloc(line->items, (line->n + 1) * sizeof(*items));
    if (!items)
        return "out of memory";
    line->items = items;
    items[line->n++] = *item;
    return NULL;
}

const char *explain_line_read(struct explain_line *line, const char *text)
{
    struct slice whole = slice_of(text);
    struct decision_reader reader;
    struct decision_item item;
    int more;
    line->room = malloc(whole.len + 1);
    if (!line->room)
        return "out of memory";
    if (!decision_read(&reader, whole, line->room, &line->words))
        return "no decision of the error log; give the whole line, with \"peer\" and \"client\"";
    while ((more = decision_read_item(&reader, &item)) > 0) {
        const char *complaint = add_item(line, &item);
        if (complaint)
            return complaint;
    }
    return more < 0 ? "it ends in something that the error log does not write; is a part of it missing?"
                    : NULL;
}

void explain_line_free(struct explain_line *line)
{
    free(line->room);
    free(line->items);
    *line = (struct explain_line){0};
}

/* The secret that the named group wants; without such a group, none that any group would take. */
static struct slice find_secret(const struct config *config, const struct decision_item *item)
{
    for (size_t i = 0; item->kind == DECISION_RIGHT && i < config->policy->ngroups; i++) {
        const struct group *group = &config->policy->groups[i];
        if (group->require_name && slice_equal(item->value, slice_of(group->name)) &&
            slice_equal(item->name, slice_of(group->require_name)))
            return slice_of(group->require_value);
    }
    return SLICE("");
}

size_t explain_line_params(const struct explain_line *line, const struct config *config, struct param *params)
{
    size_t n = 0;
    if (line->words.peer.data)
        params[n++] = (struct param){SLICE("REMOTE_ADDR"), line->words.peer};
    for (size_t i = 0; i < line->n; i++) {
        const struct decision_item *item = &line->items[i];
        params[n++] = (struct param){item->name,
                                     item->kind == DECISION_PARAM ? item->value : find_secret(config, item)};
    }
    return n;
}

static bool is_cut(const struct explain_line *line)
{
    for (size_t i = 0; i < line->n; i++) {
        struct slice value = line->items[i].value;
        if (line->items[i].kind == DECISION_PARAM && value.len >= 3 && memcmp(value.data, "...", 3) == 0)
            return true;
    }
    return false;
}

/* "client 203.0.113.7, denied, status 403" */
static void tell(struct slice client, struct slice reason, int status)
{
    if (client.len == 0)
        client = SLICE("none");
    fprintf(stderr, "client %.*s, %.*s", (int)client.len, client.data, (int)reason.len, reason.data);
    if (status)
        fprintf(stderr, ", status %d", status);
}

void explain_line_compare(const struct explain_line *line, const struct decision *decision)
{
    char text[ADDRESS_TEXT_MAX];
    const struct decision_words *words = &line->words;
    struct slice client = {text, address_format(&decision->client, text)};
    struct slice reason = slice_of(reason_word(decision->reason));
    if (slice_equal(client, words->client) && slice_equal(reason, words->reason) &&
        words->refused == decision->rejected)
        return;
    fputs("fcgi-realip: warning: the line says ", stderr);
    tell(words->client, words->reason, words->refused);
    fputs("; with this configuration it is ", stderr);
    tell(client, reason, decision->rejected);
    fputs(is_cut(line) ? ": the line has only the end of a long header, or the configuration has changed\n"
                       : ": the configuration has changed since, or is not the one of that shim\n",
          stderr);
}
