/*
 * Who is the client? One walk from the peer through the trusted proxies, right to left.
 *
 * Pure: the policy and the request's parameters in, a decision out. Nothing is allocated (the workspace has
 * it all), nothing is logged, no state is kept. The walk reads only as far left as trusted proxies vouch.
 */
#ifndef REALIP_DECIDE_H
#define REALIP_DECIDE_H

#include "realip/workspace.h"

enum reason {
    REASON_UNTRUSTED_PEER,
    REASON_UNTRUSTED_HOP,
    REASON_EXHAUSTED,
    REASON_NO_HEADER,
    REASON_MALFORMED,
    REASON_SINGLE,
    REASON_HOPS,
    REASON_LEFTMOST,
    REASON_DENIED,
};
#define REASON_COUNT 9

struct decision {
    enum reason reason;
    enum reason walk_reason; /* as reason, before the access lists had their say: never denied */
    int rejected;            /* 0, or the HTTP status of the refusal: 400 or 403 */
    bool trusted;            /* some group trusts the peer */
    bool changed;            /* the client's address is not the peer's */
    struct address peer;
    struct address client;
    uint16_t client_port;   /* the client's element's port, 0: none (or the client is the peer) */
    int peer_group;         /* index into policy.groups, or -1 */
    struct slice peer_text; /* REMOTE_ADDR as received (of several, the last); data NULL: there was none */
    struct slice peer_port; /* REMOTE_PORT likewise */
    size_t nproxies;        /* trusted hops passed: steps[0..nproxies) hold them, the peer first */
    bool client_trusted;    /* some group trusts the client: a second walk would begin */
    bool repeated;          /* malformed because of several copies, at the group of the last step */
    bool resumable; /* the walk ended early at a trusted hop: a second one, from there, could read on */
};

/*
 * Decides on params (n of them, at most REALIP_MAX_PARAMS; the caller checks). The slices stay the
 * caller's and must live as long as the decision is used.
 */
void decide_request(const struct policy *policy, const struct param *params, size_t n,
                    struct workspace *workspace, struct decision *decision);

/*
 * Of a group with a require_param: did the request bring it, one copy at least and no copy that says
 * otherwise? With the arguments of the decision just made.
 */
bool decide_has_secret(const struct policy *policy, const struct param *params,
                       const struct workspace *workspace, size_t group);

/* The word that logs, explain and metrics use: "untrusted-peer", "no-header", ... */
const char *reason_word(enum reason reason);

#endif
