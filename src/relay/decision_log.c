#include "relay/decision_log.h"

#include "ops/decision_line.h"

/* Copies of one header that a line has room for, and some more. */
#define COPIES_MAX 128

/* Of a port, which has five digits. */
#define PORT_MAX 64

static struct slice value_of(const struct relay *relay, uint32_t copy)
{
    return relay->known->params[relay->workspace->managed[copy].index].value;
}

/*
 * The copies of a header in the order of arrival, in not more than `most` bytes. Where there is more, what
 * proxies wrote counts: the last copies, and of the first that does not fit the end. What is missing shows:
 * then the first value that is told begins with "...", which is no address.
 */
static void add_header(const struct relay *relay, size_t header, size_t most, struct decision_line *line)
{
    struct slice name = slice_of(relay->config->policy->headers[header].param);
    const size_t mark = decision_line_measure(name, SLICE("..."), 3);
    uint32_t copies[COPIES_MAX];
    size_t n = 0;
    size_t room = most - mark;
    uint32_t copy = relay->workspace->cursors[header].last;
    for (; copy != COPY_NONE && n < COPIES_MAX; copy = relay->workspace->managed[copy].previous) {
        size_t wanted = decision_line_measure(name, value_of(relay, copy), room);
        if (wanted > room)
            break;
        room -= wanted;
        copies[n++] = copy;
    }
    if (copy != COPY_NONE && n == 0 && relay->workspace->managed[copy].previous != COPY_NONE) {
        /* That there were several matters, too. */
        decision_line_add(line, name, SLICE("..."), mark);
        decision_line_add(line, name, value_of(relay, copy), room);
    } else if (copy != COPY_NONE) {
        size_t wanted = decision_line_measure(name, value_of(relay, copy), room + mark);
        room = wanted > room + mark ? room + mark : wanted - 1;
        if (room < mark)
            decision_line_add(line, name, SLICE("..."), mark);
        else
            decision_line_add(line, name, value_of(relay, copy), room);
    }
    while (n-- > 0)
        decision_line_add(line, name, value_of(relay, copies[n]), most);
}

static void add_headers(const struct relay *relay, struct decision_line *line)
{
    const struct policy *policy = relay->config->policy;
    size_t present = 0;
    for (size_t i = 0; i < policy->nheaders; i++)
        present += relay->workspace->cursors[i].last != COPY_NONE;
    for (size_t i = 0; i < policy->nheaders; i++) {
        if (relay->workspace->cursors[i].last != COPY_NONE)
            add_header(relay, i, (DECISION_PARAMS_MAX - PORT_MAX) / present, line);
    }
}

/* The first of the groups that want this parameter whose value it has, or an empty name. */
static struct slice find_right(const struct relay *relay, int require_index)
{
    const struct policy *policy = relay->config->policy;
    for (size_t i = 0; i < policy->ngroups; i++) {
        if (policy->groups[i].require_name && policy->groups[i].require_index == require_index &&
            decide_has_secret(policy, relay->known->params, relay->workspace, i))
            return slice_of(policy->groups[i].name);
    }
    return SLICE("");
}

static bool is_sent(const struct workspace *workspace, size_t require_index)
{
    for (size_t i = 0; i < workspace->nmanaged; i++) {
        const struct name_match *match = &workspace->managed[i].match;
        if (match->kind == NAME_REQUIRED && !match->alias && match->index == require_index)
            return true;
    }
    return false;
}

static void add_secrets(const struct relay *relay, struct decision_line *line)
{
    const struct policy *policy = relay->config->policy;
    for (size_t i = 0; i < policy->ngroups; i++) {
        const struct group *group = &policy->groups[i];
        if (group->require_name && group->require_index == (int)i && is_sent(relay->workspace, i))
            decision_line_add_secret(line, slice_of(group->require_name), find_right(relay, (int)i));
    }
}

void decision_log(struct relay *relay, const struct decision *decision)
{
    if (!log_wants(&relay->log, LOG_INFO))
        return;
    char client[ADDRESS_TEXT_MAX];
    const struct decision_words words = {.refused = decision->rejected,
                                         .changed = decision->changed,
                                         .peer = decision->peer_text,
                                         .client = {client, address_format(&decision->client, client)},
                                         .reason = slice_of(reason_word(decision->reason))};
    struct decision_line line;
    decision_line_begin(&line, &words);
    add_secrets(relay, &line);
    add_headers(relay, &line);
    if (decision->peer_port.data)
        decision_line_add(&line, SLICE("REMOTE_PORT"), decision->peer_port, PORT_MAX);
    log_write(&relay->log, LOG_INFO, "%.*s", (int)line.len, line.text);
}
