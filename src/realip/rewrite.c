#include "realip/rewrite.h"

#include <errno.h>
#include <stdlib.h>

#include "realip/accept.h"
#include "realip/chain.h"
#include "realip/forwarded.h"
#include "realip/list.h"

/* What one of the parameters that come once becomes. */
struct target {
    enum { TARGET_LEAVE, TARGET_SET, TARGET_DROP } action;
    bool add;  /* with TARGET_SET: also if it is absent */
    bool seen; /* its first copy has been dealt with */
    struct slice value;
};

/* What the copies of a header that is accepted besides the address say. */
struct said {
    struct slice value; /* the rightmost one; data NULL: none */
    unsigned copies;
};

/* In the order of name_kind: NAME_REMOTE_ADDR to _HOST, and NAME_HTTPS to NAME_SERVER_NAME. */
#define TARGETS 8

struct work {
    const struct policy *policy;
    const struct param *params;
    const struct decision *decision;
    struct workspace *workspace;
    struct rewrite *rewrite;
    unsigned accept; /* the peer's group's */
    int forwarded;   /* the Forwarded header whose proto= is accepted, index into policy.headers, or -1 */
    struct slice host;
    bool one_copy; /* several of an accepted header are junk: the peer's group says so */
    struct said said_proto, said_port, said_host;
    struct target targets[TARGETS];
    size_t nedits, nadded;
};

/* --- new values --- */

static char *text_end(const struct work *work)
{
    return work->workspace->text + work->workspace->text_len;
}

static struct slice take_text(struct work *work, size_t len)
{
    struct slice text = {text_end(work), len};

    work->workspace->text_len += len;
    return text;
}

static struct slice format_proxies(struct work *work)
{
    const struct step *steps = work->workspace->steps;
    char *start = text_end(work), *p = start;

    for (size_t i = work->decision->nproxies; i-- > 0;) {
        p += address_format(&steps[i].hop, p);
        if (i > 0) {
            *p++ = ',';
            *p++ = ' ';
        }
    }
    return take_text(work, (size_t)(p - start));
}

/* Room for all that this rewrite puts into the text, so that what points into it stays good. */
static int reserve_text(struct work *work)
{
    struct workspace *workspace = work->workspace;
    size_t most = ADDRESS_TEXT_MAX + ADDRESS_PORT_MAX + work->decision->nproxies * (ADDRESS_TEXT_MAX + 2) +
                  chain_text_max(work->policy, work->params, workspace);

    workspace->text_len = 0;
    if (most <= workspace->text_cap)
        return 0;
    char *text = realloc(workspace->text, most);
    if (text == NULL)
        return -ENOMEM;
    workspace->text = text;
    workspace->text_cap = most;
    return 0;
}

/* --- reading what came --- */

static void read_rightmost(struct slice value, struct said *said)
{
    struct slice element;
    size_t at = value.len;

    said->copies++;
    if (list_previous(value, &at, &element))
        said->value = element;
}

static void read_forwarded_proto(struct work *work, struct slice value)
{
    struct slice element;
    size_t at = value.len;

    work->said_proto.copies++;
    if (forwarded_previous(value, &at, &element))
        work->said_proto.value = element;
}

static bool is_accepted(const struct work *work, enum name_kind kind)
{
    switch (kind) {
    case NAME_X_FORWARDED_PROTO:
        return (work->accept & ACCEPT_PROTO) != 0 && work->forwarded < 0;
    case NAME_X_FORWARDED_PORT:
        return (work->accept & ACCEPT_PORT) != 0;
    case NAME_X_FORWARDED_HOST:
        return (work->accept & ACCEPT_HOST) != 0;
    default:
        return false;
    }
}

/* One look at everything before the first edit: of repeated parameters the last one counts. */
static void survey(struct work *work)
{
    const struct workspace *workspace = work->workspace;
    unsigned addrs = 0;

    for (size_t i = 0; i < workspace->nmanaged; i++) {
        const struct name_match match = workspace->managed[i].match;
        struct slice value = work->params[workspace->managed[i].index].value;

        if (match.alias)
            continue;
        addrs += match.kind == NAME_REMOTE_ADDR;
        if (match.kind == NAME_REMOTE_HOST)
            work->host = value;
        else if (match.kind == NAME_GROUP_HEADER && match.index == work->forwarded)
            read_forwarded_proto(work, value);
        else if (!is_accepted(work, match.kind))
            continue;
        else if (match.kind == NAME_X_FORWARDED_PROTO)
            read_rightmost(value, &work->said_proto);
        else if (match.kind == NAME_X_FORWARDED_PORT)
            read_rightmost(value, &work->said_port);
        else
            read_rightmost(value, &work->said_host);
    }
    work->rewrite->repeated_addr = addrs > 1;
}

/* --- what each is to become --- */

static struct target *target_of(struct work *work, enum name_kind kind)
{
    return &work->targets[kind <= NAME_REMOTE_HOST ? kind - NAME_REMOTE_ADDR : kind - NAME_HTTPS + 3];
}

static void set_target(struct work *work, enum name_kind kind, struct slice value, bool add)
{
    struct target *target = target_of(work, kind);

    target->action = TARGET_SET;
    target->value = value;
    target->add = add;
}

static void plan_remote(struct work *work)
{
    const struct decision *decision = work->decision;
    struct slice addr = decision->peer_text, port = decision->peer_port, host = work->host;
    bool add_port = false;

    if (decision->changed) {
        addr = take_text(work, address_format(&decision->client, text_end(work)));
        host = addr;
        port = SLICE("");
        if (decision->client_port > 0) {
            port = take_text(work, address_format_port(decision->client_port, text_end(work)));
            add_port = true;
        }
    }
    set_target(work, NAME_REMOTE_ADDR, addr, false);
    set_target(work, NAME_REMOTE_PORT, port, add_port);
    set_target(work, NAME_REMOTE_HOST, host, false);
}

static bool is_said_once(const struct work *work, const struct said *said)
{
    return said->copies == 1 || !work->one_copy;
}

/* Of an element of Forwarded, its proto=, which need not be there. False if the element is malformed. */
static bool unpack_proto(struct work *work, struct forwarded *forwarded)
{
    if (work->forwarded < 0)
        return true;
    if (!forwarded_parse(work->said_proto.value, forwarded))
        return false;
    work->said_proto.value = forwarded->proto;
    return true;
}

static void plan_proto(struct work *work)
{
    struct forwarded forwarded;
    bool https;

    if (work->said_proto.value.data == NULL)
        return;
    bool good = is_said_once(work, &work->said_proto) && unpack_proto(work, &forwarded);
    if (good && work->said_proto.value.data == NULL)
        return;
    if (!good || !accept_parse_proto(work->said_proto.value, &https)) {
        work->rewrite->junk = true;
        return;
    }
    if (https)
        set_target(work, NAME_HTTPS, SLICE("on"), true);
    else
        target_of(work, NAME_HTTPS)->action = TARGET_DROP;
    set_target(work, NAME_REQUEST_SCHEME, https ? SLICE("https") : SLICE("http"), true);
    if ((work->accept & ACCEPT_PORT) == 0)
        set_target(work, NAME_SERVER_PORT, https ? SLICE("443") : SLICE("80"), true);
}

static void plan_port(struct work *work)
{
    struct slice said = work->said_port.value;
    uint16_t port;

    if (said.data == NULL)
        return;
    if (is_said_once(work, &work->said_port) && address_parse_port(said, &port))
        set_target(work, NAME_SERVER_PORT, said, true);
    else
        work->rewrite->junk = true;
}

static void plan_host(struct work *work)
{
    struct slice said = work->said_host.value, name;

    if (said.data == NULL)
        return;
    if (is_said_once(work, &work->said_host) && accept_parse_host(said, &name)) {
        set_target(work, NAME_HTTP_HOST, said, true);
        set_target(work, NAME_SERVER_NAME, name, true);
    } else {
        work->rewrite->junk = true;
    }
}

/* --- the edits --- */

static void add_edit(struct work *work, uint32_t index, bool drop, struct slice value)
{
    work->workspace->edits[work->nedits++] = (struct edit){index, drop, value};
}

static void drop_param(struct work *work, uint32_t index)
{
    add_edit(work, index, true, (struct slice){NULL, 0});
}

static void set_param(struct work *work, uint32_t index, struct slice value)
{
    if (!slice_equal(work->params[index].value, value))
        add_edit(work, index, false, value);
}

static void edit_target(struct work *work, uint32_t index, enum name_kind kind)
{
    struct target *target = target_of(work, kind);

    if (target->action == TARGET_LEAVE)
        return;
    if (target->action == TARGET_DROP || target->seen)
        drop_param(work, index);
    else
        set_param(work, index, target->value);
    target->seen = true;
}

static void edit_group_header(struct work *work, size_t at)
{
    const struct managed *managed = &work->workspace->managed[at];
    const struct cursor *cursor = &work->workspace->cursors[managed->match.index];

    if (!work->decision->trusted) {
        if (work->policy->untrusted_headers == HEADERS_STRIP)
            drop_param(work, managed->index);
        return;
    }
    if (!cursor->on_chain || at != cursor->first) {
        drop_param(work, managed->index);
        return;
    }
    struct slice value =
        chain_header_value(work->policy, work->params, work->decision, work->workspace, managed->match.index);
    if (value.len > 0)
        set_param(work, managed->index, value);
    else
        drop_param(work, managed->index);
}

static void edit_client_header(struct work *work, const struct managed *managed)
{
    enum policy_headers headers =
        work->decision->trusted ? work->policy->unmanaged_headers : work->policy->untrusted_headers;

    if (headers == HEADERS_STRIP && !is_accepted(work, managed->match.kind))
        drop_param(work, managed->index);
}

static void edit_managed(struct work *work, size_t at)
{
    const struct managed *managed = &work->workspace->managed[at];

    if (managed->match.alias) {
        work->rewrite->aliases++;
        drop_param(work, managed->index);
        return;
    }
    switch (managed->match.kind) {
    case NAME_REALIP:
    case NAME_HTTP_PROXY:
    case NAME_REQUIRED:
        drop_param(work, managed->index);
        break;
    case NAME_GROUP_HEADER:
        edit_group_header(work, at);
        break;
    case NAME_CLIENT_HEADER:
    case NAME_X_FORWARDED_PROTO:
    case NAME_X_FORWARDED_PORT:
    case NAME_X_FORWARDED_HOST:
        edit_client_header(work, managed);
        break;
    default:
        edit_target(work, managed->index, managed->match.kind);
    }
}

/* --- what is added --- */

static void add_param(struct work *work, struct slice name, struct slice value)
{
    work->workspace->added[work->nadded++] = (struct param){name, value};
}

static void add_target(struct work *work, enum name_kind kind, struct slice name)
{
    const struct target *target = target_of(work, kind);

    if (target->add && !target->seen)
        add_param(work, name, target->value);
}

static void add_missing(struct work *work)
{
    const struct decision *decision = work->decision;

    if (!decision->trusted)
        return;
    add_target(work, NAME_REMOTE_PORT, SLICE("REMOTE_PORT"));
    add_param(work, SLICE("REALIP_REMOTE_ADDR"), decision->peer_text);
    if (decision->peer_port.data != NULL)
        add_param(work, SLICE("REALIP_REMOTE_PORT"), decision->peer_port);
    if (decision->nproxies > 0)
        add_param(work, SLICE("REALIP_PROXIES"), format_proxies(work));
    add_target(work, NAME_HTTPS, SLICE("HTTPS"));
    add_target(work, NAME_REQUEST_SCHEME, SLICE("REQUEST_SCHEME"));
    add_target(work, NAME_SERVER_PORT, SLICE("SERVER_PORT"));
    add_target(work, NAME_HTTP_HOST, SLICE("HTTP_HOST"));
    add_target(work, NAME_SERVER_NAME, SLICE("SERVER_NAME"));
}

static void plan_accepted(struct work *work)
{
    const struct group *group = &work->policy->groups[work->decision->peer_group];

    work->accept = group->accept;
    work->one_copy = group->repeated == REPEATED_MALFORMED;
    if ((group->accept & ACCEPT_PROTO) != 0 && work->policy->headers[group->header_index].forwarded)
        work->forwarded = group->header_index;
}

int rewrite_params(const struct policy *policy, const struct param *params, size_t n,
                   const struct decision *decision, struct workspace *workspace, struct rewrite *rewrite)
{
    struct work work = {
        .policy = policy,
        .params = params,
        .decision = decision,
        .workspace = workspace,
        .rewrite = rewrite,
        .forwarded = -1,
    };

    (void)n;
    *rewrite = (struct rewrite){.edits = workspace->edits, .added = workspace->added};
    if (reserve_text(&work) < 0)
        return -ENOMEM;
    if (decision->trusted)
        plan_accepted(&work);
    survey(&work);
    plan_remote(&work);
    plan_proto(&work);
    plan_port(&work);
    plan_host(&work);
    for (size_t i = 0; i < workspace->nmanaged; i++)
        edit_managed(&work, i);
    add_missing(&work);
    rewrite->nedits = work.nedits;
    rewrite->nadded = work.nadded;
    return 0;
}
