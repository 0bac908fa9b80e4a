/*
 * Policies, requests and answers as lines of text, so that a test is a table.
 *
 * A policy: words. "[NAME]" begins a group; "trust=", "header=", "select=", "malformed=", "max=", "accept=",
 * "require=NAME:VALUE", "require_header", "no_private", "repeated" belong to it. "forwarded_for=",
 * "untrusted=keep", "unmanaged=strip", "allow=", "deny=", "deny_direct" stand anywhere. Lists take commas.
 *
 * Parameters: "NAME=value|NAME=value". %HH is the byte with that number, in both directions.
 */
#ifndef TESTS_REALIP_CASE_H
#define TESTS_REALIP_CASE_H

#include "realip_cmocka.h"

#include <stdlib.h>

#include "realip/rewrite.h"

#define CASE_PARAMS 64
#define CASE_TEXT   8192

struct realip_case {
    struct policy *policy;
    struct workspace *workspace;
    struct param params[CASE_PARAMS];
    size_t nparams;
    char bytes[CASE_TEXT]; /* of names and values */
    struct decision decision;
    struct rewrite rewrite;
    char text[CASE_TEXT]; /* the answer */
};

/* --- policies --- */

static inline struct cidr case_block(const char *text)
{
    struct cidr block = {{ADDRESS_UNIX, 0, 0}, 0};
    bool host_bits;

    if (strcmp(text, "unix:") != 0)
        assert_true(cidr_parse(slice_of(text), &block, &host_bits));
    return block;
}

static inline void case_add_blocks(struct policy *policy, const char *list, int what)
{
    char copy[256];
    char *rest = copy, *word;

    snprintf(copy, sizeof copy, "%s", list);
    while ((word = strsep(&rest, ",")) != NULL) {
        struct cidr block = case_block(word);
        int result = what == -1   ? policy_allow(policy, &block)
                     : what == -2 ? policy_deny(policy, &block)
                                  : policy_trust(policy, (size_t)what, &block);

        assert_int_equal(result, 0);
    }
}

static inline int case_choose(const char *word, const char *const *words)
{
    for (int i = 0; words[i] != NULL; i++) {
        if (strncmp(word, words[i], strlen(words[i])) == 0)
            return i;
    }
    fail_msg("test table: %s", word);
    return 0;
}

static inline void case_set_group(struct policy *policy, const char *key, const char *value)
{
    static const char *const selects[] = {"recursive", "single", "hops", "leftmost", NULL};
    static const char *const malformed[] = {"stop", "peer", "reject", NULL};
    struct group *group = &policy->groups[policy->ngroups - 1];

    if (strcmp(key, "trust") == 0) {
        case_add_blocks(policy, value, (int)policy->ngroups - 1);
    } else if (strcmp(key, "header") == 0) {
        free(group->header);
        group->header = strdup(value);
    } else if (strcmp(key, "select") == 0) {
        group->select = (enum policy_select)case_choose(value, selects);
        if (group->select == SELECT_HOPS)
            group->hops = (unsigned)atoi(value + strlen("hops:"));
    } else if (strcmp(key, "malformed") == 0) {
        group->on_malformed = (enum policy_malformed)case_choose(value, malformed);
    } else if (strcmp(key, "max") == 0) {
        group->max_elements = (unsigned)atoi(value);
    } else if (strcmp(key, "accept") == 0) {
        group->accept = (strstr(value, "proto") ? ACCEPT_PROTO : 0U) |
                        (strstr(value, "port") ? ACCEPT_PORT : 0U) |
                        (strstr(value, "host") ? ACCEPT_HOST : 0U);
    } else if (strcmp(key, "require") == 0) {
        const char *colon = strchr(value, ':');

        group->require_name = strndup(value, (size_t)(colon - value));
        group->require_value = strdup(colon + 1);
    } else if (strcmp(key, "require_header") == 0) {
        group->require_header = true;
    } else if (strcmp(key, "no_private") == 0) {
        group->private_clients = false;
    } else if (strcmp(key, "repeated") == 0) {
        group->repeated = REPEATED_MALFORMED;
    } else {
        fail_msg("test table: %s", key);
    }
}

static inline void case_set(struct policy *policy, const char *key, const char *value)
{
    static const char *const forwarded_for[] = {"confirmed", "unconfirmed", "client", "keep", "remove", NULL};
    static const char *const headers[] = {"strip", "keep", NULL};

    if (key[0] == '[')
        assert_non_null(policy_add_group(policy, (struct slice){key + 1, strlen(key) - 2}));
    else if (strcmp(key, "forwarded_for") == 0)
        policy->forwarded_for = (enum policy_forwarded_for)case_choose(value, forwarded_for);
    else if (strcmp(key, "untrusted") == 0)
        policy->untrusted_headers = (enum policy_headers)case_choose(value, headers);
    else if (strcmp(key, "unmanaged") == 0)
        policy->unmanaged_headers = (enum policy_headers)case_choose(value, headers);
    else if (strcmp(key, "allow") == 0)
        case_add_blocks(policy, value, -1);
    else if (strcmp(key, "deny") == 0)
        case_add_blocks(policy, value, -2);
    else if (strcmp(key, "deny_direct") == 0)
        policy->deny_direct = true;
    else
        case_set_group(policy, key, value);
}

static inline struct policy *case_policy(const char *text)
{
    struct policy *policy = policy_new();
    char *copy = strdup(text), *rest = copy, *word;

    assert_non_null(policy);
    while ((word = strsep(&rest, " ")) != NULL) {
        char *value = strchr(word, '=');

        if (word[0] == '\0')
            continue;
        if (value != NULL)
            *value++ = '\0';
        case_set(policy, word, value);
    }
    free(copy);
    assert_int_equal(policy_compile(policy), 0);
    return policy;
}

/* --- requests --- */

static inline unsigned case_hex(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
}

static inline void case_parse_params(struct realip_case *test, const char *text)
{
    char *p = test->bytes;
    struct slice *part = NULL;

    test->nparams = 0;
    if (text[0] == '\0')
        return;
    for (bool start = true; *text != '\0'; text++) {
        if (start) {
            part = &test->params[test->nparams].name;
            part->data = p;
            test->nparams++;
            start = false;
        }
        if (*text == '|') {
            part->len = (size_t)(p - part->data);
            start = true;
        } else if (*text == '=' && part == &test->params[test->nparams - 1].name) {
            part->len = (size_t)(p - part->data);
            part = &test->params[test->nparams - 1].value;
            part->data = p;
        } else if (*text == '%') {
            *p++ = (char)(case_hex(text[1]) << 4 | case_hex(text[2]));
            text += 2;
        } else {
            *p++ = *text;
        }
    }
    part->len = (size_t)(p - part->data);
}

/* --- answers --- */

static inline char *case_put(char *p, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];

        if (c < ' ' || c > '~' || c == '%' || c == '|')
            p += sprintf(p, "%%%02x", c);
        else
            *p++ = (char)c;
    }
    *p = '\0';
    return p;
}

static inline char *case_put_param(char *p, struct slice name, struct slice value)
{
    p = case_put(p, name);
    *p++ = '=';
    p = case_put(p, value);
    *p++ = '|';
    return p;
}

static inline char *case_put_address(char *p, const struct address *address)
{
    char text[ADDRESS_TEXT_MAX];

    return case_put(p, (struct slice){text, address_format(address, text)});
}

static inline void case_open(struct realip_case *test, const char *policy, const char *params)
{
    test->policy = case_policy(policy);
    test->workspace = workspace_new(test->policy);
    assert_non_null(test->workspace);
    case_parse_params(test, params);
    decide_request(test->policy, test->params, test->nparams, test->workspace, &test->decision);
}

static inline void case_close(struct realip_case *test)
{
    workspace_free(test->workspace);
    policy_free(test->policy);
}

/* "REASON CLIENT[ port PORT][ via PROXY,PROXY][ STATUS]"; the proxies from the peer on. */
static inline void case_print_decision(struct realip_case *test)
{
    const struct decision *decision = &test->decision;
    char *p = test->text + sprintf(test->text, "%s ", reason_word(decision->reason));

    p = case_put_address(p, &decision->client);
    if (decision->client_port > 0)
        p += sprintf(p, " port %u", decision->client_port);
    for (size_t i = 0; i < decision->nproxies; i++) {
        p += sprintf(p, i == 0 ? " via " : ",");
        p = case_put_address(p, &test->workspace->steps[i].hop);
    }
    if (decision->rejected != 0)
        sprintf(p, " %d", decision->rejected);
}

/* Applies the edits, and checks that they are as few as can be. */
static inline void case_print_params(struct realip_case *test)
{
    const struct rewrite *rewrite = &test->rewrite;
    size_t next = 0;
    char *p = test->text;

    *p = '\0';
    for (size_t i = 0; i < test->nparams; i++) {
        struct slice value = test->params[i].value;

        if (next < rewrite->nedits && rewrite->edits[next].index == i) {
            const struct edit *edit = &rewrite->edits[next++];

            if (edit->drop)
                continue;
            assert_false(slice_equal(edit->value, value));
            value = edit->value;
        }
        p = case_put_param(p, test->params[i].name, value);
    }
    assert_int_equal(next, rewrite->nedits);
    for (size_t i = 0; i < rewrite->nadded; i++)
        p = case_put_param(p, rewrite->added[i].name, rewrite->added[i].value);
    if (p > test->text)
        p[-1] = '\0';
}

static inline void case_rewrite(struct realip_case *test, const char *policy, const char *params)
{
    case_open(test, policy, params);
    assert_int_equal(rewrite_params(test->policy, test->params, test->nparams, &test->decision,
                                    test->workspace, &test->rewrite),
                     0);
    case_print_params(test);
}

/* --- tables --- */

struct case_row {
    const char *policy;
    const char *params;
    const char *want;
};

static inline void check_decisions(const struct case_row *rows, size_t n)
{
    static struct realip_case test;

    for (size_t i = 0; i < n; i++) {
        case_open(&test, rows[i].policy, rows[i].params);
        case_print_decision(&test);
        if (strcmp(test.text, rows[i].want) != 0)
            print_error("policy  %s\nrequest %s\n", rows[i].policy, rows[i].params);
        assert_string_equal(test.text, rows[i].want);
        case_close(&test);
    }
}

static inline void check_rewrites(const struct case_row *rows, size_t n)
{
    static struct realip_case test;

    for (size_t i = 0; i < n; i++) {
        case_rewrite(&test, rows[i].policy, rows[i].params);
        if (strcmp(test.text, rows[i].want) != 0)
            print_error("policy  %s\nrequest %s\n", rows[i].policy, rows[i].params);
        assert_string_equal(test.text, rows[i].want);
        case_close(&test);
    }
}

#endif
