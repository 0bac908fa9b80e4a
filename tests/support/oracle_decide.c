/*
 * The oracle's walk.
 */
#include "oracle.h"

struct walk {
    const struct oracle_policy *policy;
    const struct param *params;
    size_t n;
    struct oracle_answer *answer;
    const char *hop;
    unsigned port; /* of the hop's element */
};

int oracle_trusts(const struct oracle_policy *policy, const char *address, const struct param *params,
                  size_t n)
{
    int bits;
    int group = oracle_find(policy->trust, policy->ntrust, address, &bits);
    if (group < 0 || !policy->plain->groups[group].require_name)
        return group;
    const struct group *g = &policy->plain->groups[group];
    size_t right = 0, wrong = 0;
    for (size_t i = 0; i < n; i++) {
        if (!slice_equal(params[i].name, slice_of(g->require_name)))
            continue;
        if (slice_equal(params[i].value, slice_of(g->require_value)))
            right++;
        else
            wrong++;
    }
    return right > 0 && wrong == 0 ? group : -1;
}

/* The lists of all groups' headers, each name once. */
static void read_lists(const struct oracle_policy *policy, const struct param *params, size_t n,
                       struct oracle_answer *answer)
{
    answer->lists = oracle_alloc(policy->plain->ngroups * sizeof(*answer->lists));
    for (size_t i = 0; i < policy->plain->ngroups; i++) {
        const char *name = oracle_print("HTTP_%s", oracle_fold(slice_of(policy->plain->groups[i].header)));
        bool known = false;
        for (size_t k = 0; k < answer->nlists; k++)
            known = known || strcmp(answer->lists[k].param, name) == 0;
        if (!known)
            answer->lists[answer->nlists++] =
                oracle_read_list(name, strcmp(name, "HTTP_FORWARDED") == 0, params, n);
    }
}

static struct oracle_list *list_of(struct walk *walk, const struct group *group)
{
    const char *name = oracle_print("HTTP_%s", oracle_fold(slice_of(group->header)));
    struct oracle_list *list = walk->answer->lists;
    while (strcmp(list->param, name) != 0)
        list++;
    return list;
}

static void move_on(struct walk *walk, struct oracle_list *list, size_t item)
{
    walk->answer->proxies[walk->answer->nproxies++] = walk->hop;
    walk->hop = list->items[item].address;
    walk->port = list->items[item].port;
    list->client = item;
}

/* Is this item an address that the group may report? */
static bool is_good(struct walk *walk, const struct group *group, struct oracle_list *list, size_t item)
{
    size_t position = list->nitems - item; /* 1: the rightmost */
    if (position > group->max_elements) {
        walk->answer->read_on = true;
        return false;
    }
    const char *address = list->items[item].address;
    return address && (group->private_clients || !oracle_is_private(address));
}

/* One step to the next unread element. */
static const char *step_once(struct walk *walk, const struct group *group, struct oracle_list *list)
{
    size_t item = --list->unread;
    if (!is_good(walk, group, list, item))
        return "malformed";
    move_on(walk, list, item);
    return NULL;
}

/* So many steps at once: either all are there, or none is made. Only the first hop is known to be trusted. */
static const char *step_hops(struct walk *walk, const struct group *group, struct oracle_list *list)
{
    if (list->unread < group->hops)
        return "exhausted";
    size_t last_good = list->nitems;
    bool bad = false;
    for (unsigned i = 0; i < group->hops; i++) {
        size_t item = --list->unread;
        bad = !is_good(walk, group, list, item) || bad;
        if (!bad)
            last_good = item;
    }
    if (last_good < list->nitems) {
        move_on(walk, list, last_good);
        walk->answer->read_on = true;
    }
    return bad ? "malformed" : "hops";
}

static const char *step_leftmost(struct walk *walk, const struct group *group, struct oracle_list *list)
{
    for (size_t item = 0; item < list->unread; item++) {
        if (is_good(walk, group, list, item)) {
            move_on(walk, list, item);
            walk->answer->read_on = true;
            return "leftmost";
        }
    }
    walk->answer->read_on = list->nitems >= group->max_elements;
    return "malformed";
}

/* What the walk comes to in a group's header: the reason to stop, or NULL. */
static const char *step(struct walk *walk, const struct group *group, struct oracle_list *list)
{
    const char *reason;
    switch (group->select) {
    case SELECT_HOPS:
        return step_hops(walk, group, list);
    case SELECT_LEFTMOST:
        return step_leftmost(walk, group, list);
    case SELECT_SINGLE:
        reason = step_once(walk, group, list);
        if (!reason) {
            reason = "single";
            walk->answer->read_on = true;
        }
        return reason;
    case SELECT_RECURSIVE:
        break;
    }
    return step_once(walk, group, list);
}

/* One turn of the loop: the reason to stop, or NULL. */
static const char *turn(struct walk *walk)
{
    struct oracle_answer *answer = walk->answer;
    int index = oracle_trusts(walk->policy, walk->hop, walk->params, walk->n);
    if (index < 0)
        return answer->nproxies ? "untrusted-hop" : "untrusted-peer";
    const struct group *group = &walk->policy->plain->groups[index];
    struct oracle_list *list = list_of(walk, group);
    list->on_chain = true;
    answer->repeated = group->repeated == REPEATED_MALFORMED && list->copies > 1;
    if (!answer->repeated && list->nitems == 0 && group->require_header)
        answer->rejected = 400;
    if (!answer->repeated && list->unread == 0)
        return list->present ? "exhausted" : "no-header";

    const char *reason = answer->repeated ? "malformed" : step(walk, group, list);
    if (reason && strcmp(reason, "malformed") == 0) {
        if (group->on_malformed == MALFORMED_REJECT)
            answer->rejected = 400;
        if (group->on_malformed == MALFORMED_PEER) {
            walk->hop = answer->peer;
            walk->port = 0;
            answer->nproxies = 0;
            for (size_t i = 0; i < answer->nlists; i++)
                answer->lists[i].client = answer->lists[i].nitems;
        }
    }
    return reason;
}

static void judge_access(const struct oracle_policy *policy, struct oracle_answer *answer)
{
    size_t allows = 0;
    struct oracle_block *allow = oracle_alloc(policy->naccess * sizeof(*allow));
    struct oracle_block *deny = oracle_alloc(policy->naccess * sizeof(*deny));
    size_t denies = 0;
    for (size_t i = 0; i < policy->naccess; i++) {
        if (policy->access[i].payload == ACCESS_ALLOW)
            allow[allows++] = policy->access[i];
        else
            deny[denies++] = policy->access[i];
    }
    int allow_bits, deny_bits;
    oracle_find(allow, allows, answer->client, &allow_bits);
    oracle_find(deny, denies, answer->client, &deny_bits);
    bool denied;
    if (allow_bits < 0 && deny_bits < 0)
        denied = allows > 0 && denies == 0;
    else
        denied = deny_bits >= allow_bits;
    if (policy->plain->deny_direct && !answer->trusted)
        denied = true;
    if (denied && !answer->rejected) {
        answer->rejected = 403;
        answer->reason = "denied";
    }
}

struct oracle_answer oracle_decide(const struct oracle_policy *policy, const struct param *params, size_t n)
{
    struct oracle_answer answer = {.peer_text = oracle_last(params, n, "REMOTE_ADDR"),
                                   .peer_port = oracle_last(params, n, "REMOTE_PORT")};
    read_lists(policy, params, n, &answer);
    size_t hops = 1;
    for (size_t i = 0; i < answer.nlists; i++)
        hops += answer.lists[i].nitems;
    answer.proxies = oracle_alloc(hops * sizeof(*answer.proxies));
    answer.peer = answer.peer_text.data ? oracle_peer(answer.peer_text) : NULL;
    answer.peer_group = oracle_trusts(policy, answer.peer, params, n);
    answer.trusted = answer.peer_group >= 0;

    struct walk walk = {policy, params, n, &answer, answer.peer, 0};
    while (!answer.reason)
        answer.reason = turn(&walk);
    answer.client = walk.hop;
    answer.changed = answer.client && answer.peer && strcmp(answer.client, answer.peer) != 0;
    answer.port = answer.changed ? walk.port : 0;
    judge_access(policy, &answer);
    return answer;
}
