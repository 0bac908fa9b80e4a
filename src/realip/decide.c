#include "realip/decide.h"

#include "realip/forwarded.h"
#include "realip/list.h"
#include "realip/names.h"

struct walk {
    const struct policy *policy;
    const struct param *params;
    struct workspace *workspace;
    struct decision *decision;
    struct address hop; /* where the walk stands, and the port that was reported with it */
    uint16_t port;
    /* Whether a group's secret was sent, worked out when first asked: a bit for each group. */
    uint64_t secret_known[POLICY_MAX_GROUPS / 64];
    uint64_t secret_sent[POLICY_MAX_GROUPS / 64];
};

/* An element as read, and what it says. */
struct element {
    struct slice text;
    uint32_t copy;
    size_t at;
    struct address address;
    uint16_t port;
};

const char *reason_word(enum reason reason)
{
    static const char *const words[REASON_COUNT] = {
        [REASON_UNTRUSTED_PEER] = "untrusted-peer",
        [REASON_UNTRUSTED_HOP] = "untrusted-hop",
        [REASON_EXHAUSTED] = "exhausted",
        [REASON_NO_HEADER] = "no-header",
        [REASON_MALFORMED] = "malformed",
        [REASON_SINGLE] = "single",
        [REASON_HOPS] = "hops",
        [REASON_LEFTMOST] = "leftmost",
        [REASON_DENIED] = "denied",
    };

    return words[reason];
}

/* --- what the request brought --- */

/* Present but empty is not the same as absent, even where an empty value points nowhere. */
static struct slice present(struct slice value)
{
    return value.len > 0 ? value : SLICE("");
}

static void collect_managed(struct walk *walk, size_t n)
{
    struct workspace *workspace = walk->workspace;
    uint32_t count = 0;

    for (size_t i = 0; i < walk->policy->nheaders; i++)
        workspace->cursors[i] = (struct cursor){
            .first = COPY_NONE, .last = COPY_NONE, .copy = COPY_NONE, .client_copy = COPY_NONE};
    for (size_t i = 0; i < n; i++) {
        if (!names_may_know(walk->policy->names, walk->params[i].name))
            continue;
        struct name_match match = names_find(walk->policy->names, walk->params[i].name);
        struct managed *managed = &workspace->managed[count];
        if (match.kind == NAME_OTHER)
            continue;
        *managed = (struct managed){(uint32_t)i, COPY_NONE, match};
        if (match.kind == NAME_REMOTE_ADDR && !match.alias) {
            walk->decision->peer_text = present(walk->params[i].value);
        } else if (match.kind == NAME_REMOTE_PORT && !match.alias) {
            walk->decision->peer_port = present(walk->params[i].value);
        } else if (match.kind == NAME_GROUP_HEADER && !match.alias) {
            struct cursor *cursor = &workspace->cursors[match.index];

            managed->previous = cursor->last;
            cursor->last = count;
            if (cursor->first == COPY_NONE)
                cursor->first = count;
        }
        count++;
    }
    workspace->nmanaged = count;
}

/* --- whom we trust --- */

/* Takes as long for a wrong value as for the right one, unless its length is wrong. */
static bool equals_secret(struct slice value, const char *secret)
{
    size_t len = strlen(secret);
    volatile unsigned char different = 0;

    if (value.len != len)
        return false;
    for (size_t i = 0; i < len; i++)
        different = (unsigned char)(different | (value.data[i] ^ secret[i]));
    return different == 0;
}

bool decide_has_secret(const struct policy *policy, const struct param *params,
                       const struct workspace *workspace, size_t index)
{
    const struct group *group = &policy->groups[index];
    bool sent = false;

    for (size_t i = 0; i < workspace->nmanaged; i++) {
        const struct managed *managed = &workspace->managed[i];

        if (managed->match.kind != NAME_REQUIRED || managed->match.alias ||
            managed->match.index != group->require_index)
            continue;
        if (!equals_secret(params[managed->index].value, group->require_value))
            return false;
        sent = true;
    }
    return sent;
}

/* The group that trusts an address, or -1. */
static int find_group(struct walk *walk, const struct address *address)
{
    int index = cidr_set_find(walk->policy->trust, address);

    if (index < 0 || walk->policy->groups[index].require_name == NULL)
        return index;
    uint64_t bit = UINT64_C(1) << (index % 64);
    if ((walk->secret_known[index / 64] & bit) == 0) {
        walk->secret_known[index / 64] |= bit;
        if (decide_has_secret(walk->policy, walk->params, walk->workspace, (size_t)index))
            walk->secret_sent[index / 64] |= bit;
    }
    return (walk->secret_sent[index / 64] & bit) != 0 ? index : -1;
}

/* --- elements --- */

static struct slice copy_value(const struct walk *walk, uint32_t copy)
{
    return walk->params[walk->workspace->managed[copy].index].value;
}

static void open_cursor(const struct walk *walk, const struct group *group)
{
    struct cursor *cursor = &walk->workspace->cursors[group->header_index];

    if (!cursor->on_chain) {
        cursor->on_chain = true;
        cursor->copy = cursor->last;
        cursor->at = cursor->last != COPY_NONE ? copy_value(walk, cursor->last).len : 0;
    }
}

/* Which of several copies the proxies wrote cannot be told, if a web server makes one name of several. */
static bool is_repeated(const struct walk *walk, const struct group *group)
{
    const struct cursor *cursor = &walk->workspace->cursors[group->header_index];

    return group->repeated == REPEATED_MALFORMED && cursor->first != cursor->last;
}

static bool next_element(const struct walk *walk, const struct group *group, struct element *element)
{
    struct cursor *cursor = &walk->workspace->cursors[group->header_index];
    bool (*previous)(struct slice, size_t *, struct slice *) =
        walk->policy->headers[group->header_index].forwarded ? forwarded_previous : list_previous;

    if (cursor->copy == COPY_NONE)
        return false;
    while (!previous(copy_value(walk, cursor->copy), &cursor->at, &element->text)) {
        uint32_t copy = walk->workspace->managed[cursor->copy].previous;

        if (copy == COPY_NONE)
            return false;
        cursor->copy = copy;
        cursor->at = copy_value(walk, copy).len;
    }
    cursor->count++;
    element->copy = cursor->copy;
    element->at = cursor->at;
    element->address.kind = ADDRESS_NONE;
    element->port = 0;
    return true;
}

/* Whether the element just read is an address that this group's proxies may report. */
static bool judge_element(const struct walk *walk, const struct group *group, struct element *element)
{
    const struct cursor *cursor = &walk->workspace->cursors[group->header_index];

    if (cursor->count > group->max_elements)
        return false;
    if (walk->policy->headers[group->header_index].forwarded) {
        struct forwarded forwarded;

        if (!forwarded_parse(element->text, &forwarded) ||
            !address_parse_node(forwarded.node, &element->address, &element->port))
            return false;
    } else if (!address_parse_element(element->text, &element->address, &element->port)) {
        return false;
    }
    return group->private_clients || !address_is_private(&element->address);
}

/* --- the walk --- */

static struct step *add_step(struct walk *walk)
{
    struct step *step = &walk->workspace->steps[walk->workspace->nsteps++];

    *step = (struct step){.hop = walk->hop, .group = find_group(walk, &walk->hop)};
    return step;
}

static void note_element(struct step *step, const struct element *element)
{
    step->element = element->text;
    step->address = element->address;
    step->port = element->port;
}

/* The element is the next hop, and what stands in the header from there on is vouched for. */
static void move_to(struct walk *walk, const struct group *group, const struct element *element)
{
    struct cursor *cursor = &walk->workspace->cursors[group->header_index];

    cursor->client_copy = element->copy;
    cursor->client_at = element->at;
    walk->hop = element->address;
    walk->port = element->port;
    walk->decision->nproxies = walk->workspace->nsteps;
}

static void stop(struct walk *walk, enum reason reason)
{
    walk->decision->walk_reason = reason;
}

static void stop_without_element(struct walk *walk, const struct group *group)
{
    const struct cursor *cursor = &walk->workspace->cursors[group->header_index];

    stop(walk, cursor->last == COPY_NONE ? REASON_NO_HEADER : REASON_EXHAUSTED);
    walk->decision->client_trusted = true;
    if (group->require_header && cursor->count == 0)
        walk->decision->rejected = 400;
}

/* early: a walk that begins where this one ends would not meet the same element in the same place. */
static void stop_malformed(struct walk *walk, const struct group *group, bool early)
{
    stop(walk, REASON_MALFORMED);
    walk->decision->client_trusted = find_group(walk, &walk->hop) >= 0;
    walk->decision->resumable = early && walk->decision->client_trusted;
    if (group->on_malformed == MALFORMED_REJECT)
        walk->decision->rejected = 400;
    if (group->on_malformed != MALFORMED_PEER)
        return;
    walk->decision->client_trusted = true;
    walk->hop = walk->decision->peer;
    walk->decision->nproxies = 0;
    for (size_t i = 0; i < walk->policy->nheaders; i++)
        walk->workspace->cursors[i].client_copy = COPY_NONE;
}

static void stop_selected(struct walk *walk, enum reason reason)
{
    stop(walk, reason);
    walk->decision->client_trusted = walk->decision->resumable = find_group(walk, &walk->hop) >= 0;
}

/* recursive and single: one element. True if the walk goes on. */
static bool turn_once(struct walk *walk, const struct group *group, struct step *step)
{
    const struct cursor *cursor = &walk->workspace->cursors[group->header_index];
    struct element element;

    if (!next_element(walk, group, &element)) {
        stop_without_element(walk, group);
        return false;
    }
    bool good = judge_element(walk, group, &element);
    note_element(step, &element);
    if (!good) {
        stop_malformed(walk, group, cursor->count > group->max_elements);
        return false;
    }
    move_to(walk, group, &element);
    if (group->select == SELECT_SINGLE)
        stop_selected(walk, REASON_SINGLE);
    return group->select == SELECT_RECURSIVE;
}

/* Whether there are enough elements is settled before what they say. */
static void turn_hops(struct walk *walk, const struct group *group, struct step *step)
{
    struct element element, last_good, shown = {.copy = COPY_NONE};
    unsigned good = 0;

    for (unsigned taken = 0; taken < group->hops; taken++) {
        if (!next_element(walk, group, &element)) {
            stop_without_element(walk, group);
            return;
        }
        if (good < taken)
            continue;
        if (judge_element(walk, group, &element)) {
            last_good = element;
            good++;
        }
        shown = element;
    }
    note_element(step, &shown);
    if (good > 0)
        move_to(walk, group, &last_good);
    if (good == group->hops)
        stop_selected(walk, REASON_HOPS);
    else
        stop_malformed(walk, group,
                       good > 0 || walk->workspace->cursors[group->header_index].count > group->max_elements);
}

static void turn_leftmost(struct walk *walk, const struct group *group, struct step *step)
{
    const struct cursor *cursor = &walk->workspace->cursors[group->header_index];
    struct element element, leftmost;
    bool any = false, found = false;

    /* One more than may be read is malformed: it is what there is, if those before it are used up. */
    while ((cursor->count < group->max_elements || !any) && next_element(walk, group, &element)) {
        any = true;
        if (judge_element(walk, group, &element)) {
            found = true;
            leftmost = element;
        }
    }
    if (!any) {
        stop_without_element(walk, group);
        return;
    }
    note_element(step, found ? &leftmost : &element);
    if (found) {
        move_to(walk, group, &leftmost);
        stop_selected(walk, REASON_LEFTMOST);
    } else {
        stop_malformed(walk, group, cursor->count >= group->max_elements);
    }
}

/* True if the walk goes on. */
static bool take_turn(struct walk *walk)
{
    struct step *step = add_step(walk);

    if (step->group < 0) {
        stop(walk, walk->workspace->nsteps == 1 ? REASON_UNTRUSTED_PEER : REASON_UNTRUSTED_HOP);
        return false;
    }
    const struct group *group = &walk->policy->groups[step->group];
    open_cursor(walk, group);
    if (is_repeated(walk, group)) {
        walk->decision->repeated = true;
        stop_malformed(walk, group, true);
        return false;
    }
    switch (group->select) {
    case SELECT_HOPS:
        turn_hops(walk, group, step);
        return false;
    case SELECT_LEFTMOST:
        turn_leftmost(walk, group, step);
        return false;
    case SELECT_RECURSIVE:
    case SELECT_SINGLE:
        break;
    }
    return turn_once(walk, group, step);
}

/* --- and who may come in --- */

static bool is_denied(const struct policy *policy, const struct decision *decision)
{
    if (policy->deny_direct && !decision->trusted)
        return true;
    switch (cidr_set_find(policy->access, &decision->client)) {
    case ACCESS_DENY:
        return true;
    case ACCESS_ALLOW:
        return false;
    default:
        return policy->access_has_allow && !policy->access_has_deny;
    }
}

void decide_request(const struct policy *policy, const struct param *params, size_t n,
                    struct workspace *workspace, struct decision *decision)
{
    struct walk walk = {.policy = policy, .params = params, .workspace = workspace, .decision = decision};

    *decision = (struct decision){.peer_group = -1};
    workspace->nsteps = 0;
    collect_managed(&walk, n);
    if (decision->peer_text.data != NULL)
        decision->peer = address_parse_peer(decision->peer_text);
    walk.hop = decision->peer;
    while (take_turn(&walk))
        continue;
    decision->peer_group = workspace->steps[0].group;
    decision->trusted = decision->peer_group >= 0;
    decision->client = walk.hop;
    decision->changed = decision->nproxies > 0 && !address_equal(&decision->client, &decision->peer);
    decision->client_port = decision->changed ? walk.port : 0;
    decision->reason = decision->walk_reason;
    if (decision->rejected == 0 && is_denied(policy, decision)) {
        decision->rejected = 403;
        decision->reason = REASON_DENIED;
    }
}
