/*
 * A policy: who is trusted to report a client's address in which header, and what the application sees.
 *
 * It is built (policy_new, then fields, groups and blocks, then policy_compile) by one thread and is
 * immutable from then on: any number of threads may decide with it. It knows neither files nor INI.
 */
#ifndef REALIP_POLICY_H
#define REALIP_POLICY_H

#include "realip/cidr.h"

enum policy_select { SELECT_RECURSIVE, SELECT_SINGLE, SELECT_HOPS, SELECT_LEFTMOST };
enum policy_malformed { MALFORMED_STOP, MALFORMED_PEER, MALFORMED_REJECT };
enum policy_repeated { REPEATED_JOIN, REPEATED_MALFORMED };
enum policy_forwarded_for {
    FORWARDED_CONFIRMED,
    FORWARDED_UNCONFIRMED,
    FORWARDED_CLIENT,
    FORWARDED_KEEP,
    FORWARDED_REMOVE
};
enum policy_headers { HEADERS_STRIP, HEADERS_KEEP };

/* What a peer's group accepts besides the address: bits of group.accept. */
enum { ACCEPT_PROTO = 1, ACCEPT_PORT = 2, ACCEPT_HOST = 4 };

#define POLICY_MAX_ELEMENTS 1024 /* the largest group.max_elements */
#define POLICY_MAX_GROUPS   256

/* One [proxy NAME]. Strings are malloc'ed and belong to the group. */
struct group {
    char *name;
    char *header;        /* as configured: "X-Forwarded-For" */
    char *require_name;  /* parameter name, folded ("HTTP_X_SECRET"), or NULL */
    char *require_value; /* not NULL where require_name is not */
    enum policy_select select;
    unsigned hops; /* SELECT_HOPS: 1 to max_elements */
    enum policy_malformed on_malformed;
    enum policy_repeated repeated; /* what several copies of the header are: one list, or malformed */
    unsigned max_elements;         /* 1 to POLICY_MAX_ELEMENTS */
    unsigned accept;
    bool private_clients;
    bool require_header;
    int header_index;  /* set by policy_compile: into policy.headers */
    int require_index; /* likewise, where require_name is set: the first group with the same require_name */
};

/* A header that one or more groups read; it has one cursor in a walk. */
struct policy_header {
    char *param;    /* "HTTP_X_FORWARDED_FOR" */
    bool forwarded; /* RFC 7239 syntax */
};

struct name_table; /* private to names.c: folded parameter name -> what it is */

struct policy {
    struct group *groups;
    size_t ngroups;
    struct policy_header *headers; /* made by policy_compile, in the order of first use */
    size_t nheaders;
    struct cidr_set *trust;                 /* payload: index into groups */
    struct cidr_set *access;                /* payload: ACCESS_ALLOW or ACCESS_DENY; NULL or empty: no list */
    bool access_has_allow, access_has_deny; /* set by policy_allow and policy_deny */
    bool deny_direct;
    enum policy_forwarded_for forwarded_for;
    enum policy_headers untrusted_headers;
    enum policy_headers unmanaged_headers;
    struct name_table *names;
    struct cidr *allowed; /* until policy_compile: the blocks of policy_allow */
    size_t nallowed, allowed_cap;
};

enum { ACCESS_ALLOW = 0, ACCESS_DENY = 1 };

/* An empty policy with the documented defaults, which trusts nobody. NULL when memory is short. */
struct policy *policy_new(void);

/* Frees the policy and all that it holds; copes with a half-built one and with NULL. */
void policy_free(struct policy *policy);

/*
 * Appends a group with the documented defaults (header X-Forwarded-For, recursive, stop, ...); name is
 * copied. The pointer is good until the next call. NULL when memory is short or there are POLICY_MAX_GROUPS
 * already.
 */
struct group *policy_add_group(struct policy *policy, struct slice name);

/* 0, or -ENOMEM. Where two groups trust the same block, the one added first has it. */
int policy_trust(struct policy *policy, size_t group, const struct cidr *block);
int policy_allow(struct policy *policy, const struct cidr *block);
int policy_deny(struct policy *policy, const struct cidr *block);

/* Turns what was added into what is searched. 0, or -ENOMEM. After this the policy is only read. */
int policy_compile(struct policy *policy);

/* What a parameter's folded name means to the shim. */
enum name_kind {
    NAME_OTHER = 0, /* passes untouched */
    NAME_REMOTE_ADDR,
    NAME_REMOTE_PORT,
    NAME_REMOTE_HOST,
    NAME_REALIP,        /* any REALIP_*: ours alone */
    NAME_HTTP_PROXY,    /* httpoxy */
    NAME_REQUIRED,      /* a group's require_param; index: the first such group */
    NAME_GROUP_HEADER,  /* index: into policy.headers */
    NAME_CLIENT_HEADER, /* another client-address header; X-Forwarded-Proto, -Port and -Host have kinds of
                           their own */
    NAME_X_FORWARDED_PROTO,
    NAME_X_FORWARDED_PORT,
    NAME_X_FORWARDED_HOST,
    NAME_HTTPS, /* this and the following: managed only if some group accepts what changes them */
    NAME_REQUEST_SCHEME,
    NAME_SERVER_PORT,
    NAME_HTTP_HOST,
    NAME_SERVER_NAME,
};

struct name_match {
    enum name_kind kind;
    uint16_t index;
    bool alias; /* the folded name is managed, the raw one differs from it */
};

/* Folds (upper case, every other byte '_') and looks up. Costs a few nanoseconds for a name that is nothing
 * to us. */
struct name_match policy_match_name(const struct policy *policy, struct slice name);

/* Writes "HTTP_" and the folded header name, NUL at the end; out has 5 + header.len + 1 bytes. */
void policy_header_param(struct slice header, char *out);

#endif
