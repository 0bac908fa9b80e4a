/*
 * Corners that the random tests found, each as a row that shows what was wrong.
 */
#include "realip_cmocka.h"

#include <stdlib.h>

#include "applied.h"
#include "oracle.h"

static void trust(struct policy *policy, size_t group, const char *text)
{
    struct cidr block;
    bool host_bits;
    assert_true(cidr_parse(slice_of(text), &block, &host_bits));
    assert_int_equal(policy_trust(policy, group, &block), 0);
}

/* One group that trusts 10.0.0.0/8; not compiled yet. */
static struct policy *simple_policy(enum policy_select select, enum policy_malformed on_malformed,
                                    enum policy_forwarded_for forwarded_for)
{
    struct policy *policy = policy_new();
    assert_non_null(policy);
    struct group *group = policy_add_group(policy, SLICE("front"));
    assert_non_null(group);
    group->select = select;
    group->on_malformed = on_malformed;
    policy->forwarded_for = forwarded_for;
    trust(policy, 0, "10.0.0.0/8");
    return policy;
}

static struct workspace *finish(struct policy *policy)
{
    assert_int_equal(policy_compile(policy), 0);
    struct workspace *workspace = workspace_new(policy);
    assert_non_null(workspace);
    return workspace;
}

static void end(struct policy *policy, struct workspace *workspace)
{
    workspace_free(workspace);
    policy_free(policy);
    oracle_reset();
}

static void unix_peers_are_spelled_as_documented(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum address_kind kind;
    } rows[] = {
        {"", ADDRESS_UNIX},
        {"unix:", ADDRESS_UNIX},
        {"unix:/run/x", ADDRESS_UNIX},
        {"/run/x", ADDRESS_UNIX},
        {"@x", ADDRESS_UNIX},
        {"unix", ADDRESS_NONE},
        {"unix:run/x", ADDRESS_NONE},
        {"unix:10.0.0.1", ADDRESS_NONE},
        {"unix:\n", ADDRESS_NONE},
        {"/run/\n", ADDRESS_NONE},
        {"@\r", ADDRESS_NONE},
        {" unix:", ADDRESS_NONE},
        {"UNIX:", ADDRESS_NONE},
        {"fe80::1%", ADDRESS_NONE},
        {"fe80::1%eth0", ADDRESS_V6},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        check_number(address_parse_peer(slice_of(rows[i].text)).kind, rows[i].kind, rows[i].text);
}

/*
 * What is right of a NUL, CR or LF was part of a malformed element. A second pass must not find an address
 * there, nor take what is left of the list for the whole of it.
 */
static void control_bytes_do_not_reach_a_second_pass(void **state)
{
    (void)state;
    const struct {
        const char *what;
        enum policy_select select;
        enum policy_malformed on_malformed;
        enum policy_forwarded_for forwarded_for;
        struct slice header, client, sent; /* sent: data NULL: removed */
    } rows[] = {
        {"the rest of the element is an address",
         SELECT_RECURSIVE,
         MALFORMED_STOP,
         FORWARDED_KEEP,
         SLICE("x\0 6.6.6.6, 10.0.0.2"),
         SLICE("10.0.0.2"),
         {NULL, 0}},
        {"the peer stands, keep",
         SELECT_RECURSIVE,
         MALFORMED_PEER,
         FORWARDED_KEEP,
         SLICE("x\n, 10.0.0.2"),
         SLICE("10.0.0.1"),
         {NULL, 0}},
        {"the peer stands, unconfirmed",
         SELECT_RECURSIVE,
         MALFORMED_PEER,
         FORWARDED_UNCONFIRMED,
         SLICE("x\r, 10.0.0.2"),
         SLICE("10.0.0.1"),
         {NULL, 0}},
        {"leftmost, confirmed",
         SELECT_LEFTMOST,
         MALFORMED_STOP,
         FORWARDED_CONFIRMED,
         SLICE("10.0.0.3, x\0, 10.0.0.2"),
         SLICE("10.0.0.3"),
         {NULL, 0}},
        {"leftmost, confirmed, untrusted", SELECT_LEFTMOST, MALFORMED_STOP, FORWARDED_CONFIRMED,
         SLICE("6.6.6.6, x\0y, 10.0.0.2"), SLICE("6.6.6.6"), SLICE("y, 10.0.0.2")},
        {"an untrusted client: the list is cut", SELECT_RECURSIVE, MALFORMED_STOP, FORWARDED_KEEP,
         SLICE("x\0 ,, 7.7.7.7 , 6.6.6.6, 10.0.0.2"), SLICE("6.6.6.6"), SLICE("7.7.7.7 , 6.6.6.6, 10.0.0.2")},
        {"an untrusted client, unconfirmed", SELECT_RECURSIVE, MALFORMED_STOP, FORWARDED_UNCONFIRMED,
         SLICE("x\0 ,, 7.7.7.7 , 6.6.6.6, 10.0.0.2"), SLICE("6.6.6.6"), SLICE("7.7.7.7")},
        {"nothing is left of it",
         SELECT_RECURSIVE,
         MALFORMED_STOP,
         FORWARDED_UNCONFIRMED,
         SLICE("7.7.7.7, x\0 , 6.6.6.6, 10.0.0.2"),
         SLICE("6.6.6.6"),
         {NULL, 0}},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct policy *policy = simple_policy(rows[i].select, rows[i].on_malformed, rows[i].forwarded_for);
        struct workspace *workspace = finish(policy);
        const struct param params[] = {{SLICE("REMOTE_ADDR"), SLICE("10.0.0.1")},
                                       {SLICE("HTTP_X_FORWARDED_FOR"), rows[i].header}};
        struct applied once = applied_request(policy, workspace, params, COUNT(params));
        check_text(oracle_last(once.params, once.n, "REMOTE_ADDR"), rows[i].client, rows[i].what);
        struct slice header = oracle_last(once.params, once.n, "HTTP_X_FORWARDED_FOR");
        check_number(header.data != NULL, rows[i].sent.data != NULL, rows[i].what);
        check_text(header, rows[i].sent, rows[i].what);
        struct applied twice = applied_request(policy, workspace, once.params, once.n);
        check_text(oracle_last(twice.params, twice.n, "REMOTE_ADDR"), rows[i].client, rows[i].what);
        end(policy, workspace);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unix_peers_are_spelled_as_documented),
        cmocka_unit_test(control_bytes_do_not_reach_a_second_pass),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
