/*
 * Corners that the random tests found, each as a row that shows what was wrong.
 */
#include "realip_cmocka.h"

#include <stdlib.h>

#include "applied.h"
#include "oracle.h"
#include "realip/accept.h"
#include "realip/forwarded.h"

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

/* RFC 3986 section 3.2.2 and 3.2.3, but that neither host nor port may be empty. */
static void hosts_are_judged_as_rfc_3986_says(void **state)
{
    (void)state;
    const struct {
        struct slice text;
        const char *name; /* NULL: refused */
    } rows[] = {
        {SLICE("example.org"), "example.org"},
        {SLICE("EXAMPLE.org:8443"), "EXAMPLE.org"},
        {SLICE("a-b_c.d~e"), "a-b_c.d~e"},
        {SLICE("!$&'()*+,;="), "!$&'()*+,;="},
        {SLICE("h%41st"), "h%41st"},
        {SLICE("%aF:1"), "%aF"},
        {SLICE("192.0.2.1:80"), "192.0.2.1"},
        {SLICE("999.0.2.1"), "999.0.2.1"}, /* a name, then */
        {SLICE("[2001:db8::1]"), "[2001:db8::1]"},
        {SLICE("[2001:DB8::1]:65535"), "[2001:DB8::1]"},
        {SLICE("[::ffff:192.0.2.1]:1"), "[::ffff:192.0.2.1]"},
        {SLICE("[v1.a]"), "[v1.a]"},
        {SLICE("[Vff.a:b+c]:8"), "[Vff.a:b+c]"},
        {SLICE(""), NULL},
        {SLICE(":80"), NULL},
        {SLICE("host:"), NULL},
        {SLICE("host:0"), NULL},
        {SLICE("host:080"), NULL},
        {SLICE("host:65536"), NULL},
        {SLICE("host:8x"), NULL},
        {SLICE("host:80:80"), NULL},
        {SLICE("ho st"), NULL},
        {SLICE("ho\0st"), NULL},
        {SLICE("host\r"), NULL},
        {SLICE("host\n"), NULL},
        {SLICE("ho/st"), NULL},
        {SLICE("user@host"), NULL},
        {SLICE("host?"), NULL},
        {SLICE("host#"), NULL},
        {SLICE("\"host\""), NULL},
        {SLICE("h\xc3\xb6st"), NULL},
        {SLICE("h%4"), NULL},
        {SLICE("h%"), NULL},
        {SLICE("h%4g"), NULL},
        {SLICE("h%g4"), NULL},
        {SLICE("2001:db8::1"), NULL},
        {SLICE("["), NULL},
        {SLICE("[]"), NULL},
        {SLICE("[::1"), NULL},
        {SLICE("[::1]x"), NULL},
        {SLICE("[::1]:"), NULL},
        {SLICE("[192.0.2.1]"), NULL},
        {SLICE("[fe80::1%eth0]"), NULL},
        {SLICE("[v.a]"), NULL},
        {SLICE("[v1]"), NULL},
        {SLICE("[v1.]"), NULL},
        {SLICE("[v1a]"), NULL},
        {SLICE("[v1.a/]"), NULL},
        {SLICE("[vg.a]"), NULL},
        {SLICE("[x1.a]"), NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct slice text = oracle_copy(rows[i].text), name = SLICE("untouched");
        check_number(accept_parse_host(text, &name), rows[i].name != NULL, rows[i].text.data);
        if (rows[i].name)
            check_text(name, slice_of(rows[i].name), rows[i].text.data);
    }
    oracle_reset();
}

static void schemes_are_two_words(void **state)
{
    (void)state;
    const struct {
        struct slice text;
        bool good, https;
    } rows[] = {
        {SLICE("https"), true, true},      {SLICE("http"), true, false},    {SLICE("HtTpS"), true, true},
        {SLICE("HTTP"), true, false},      {SLICE("httpsx"), false, false}, {SLICE("htt"), false, false},
        {SLICE(""), false, false},         {SLICE("ftps:"), false, false},  {SLICE("http\0"), false, false},
        {SLICE("HTTP\x13"), false, false}, /* S without its high bits */
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        bool https = false;
        check_number(accept_parse_proto(rows[i].text, &https), rows[i].good, rows[i].text.data);
        check_number(https, rows[i].https, rows[i].text.data);
    }
}

static void forwarded_elements_have_sharp_edges(void **state)
{
    (void)state;
    const struct {
        struct slice text;
        const char *node;  /* NULL: malformed */
        const char *proto; /* NULL: none */
    } rows[] = {
        {SLICE("for=1.2.3.4"), "1.2.3.4", NULL},
        {SLICE(" \t; ;for=1.2.3.4 ; ;"), "1.2.3.4", NULL},
        {SLICE("FoR=x;pRoTo=https"), "x", "https"},
        {SLICE("proto=\"ht\\tps\";for=\"\\1.2\\.3.4\""), "1.2.3.4", "https"},
        {SLICE("proto=http;proto=https;for=x"), "x", ""},
        {SLICE("for=\"\""), "", NULL},
        {SLICE("fox=1;for=y;fo=2"), "y", NULL},
        {SLICE("for=\"a;b,c=d\""), "a;b,c=d", NULL},
        {SLICE("for=\"a\tb\""), "a\tb", NULL},
        {SLICE("for=\"\xc3\xb6\""), "\xc3\xb6", NULL}, /* obs-text */
        {SLICE(""), NULL, NULL},
        {SLICE(";"), NULL, NULL},
        {SLICE("proto=https"), NULL, NULL},
        {SLICE("for=a;for=b"), NULL, NULL},
        {SLICE("for=a;FOR=a"), NULL, NULL},
        {SLICE("for"), NULL, NULL},
        {SLICE("for="), NULL, NULL},
        {SLICE("for=;proto=http"), NULL, NULL},
        {SLICE("for =a"), NULL, NULL},
        {SLICE("for= a"), NULL, NULL},
        {SLICE("=a;for=b"), NULL, NULL},
        {SLICE("for=b;=a"), NULL, NULL},
        {SLICE("for=b;a"), NULL, NULL},
        {SLICE("for=b c"), NULL, NULL},
        {SLICE("for=b/c"), NULL, NULL},
        {SLICE("f(r=b;for=b"), NULL, NULL},
        {SLICE("for=\"a"), NULL, NULL},
        {SLICE("for=\"a\\"), NULL, NULL},
        {SLICE("for=\"a\\\""), NULL, NULL},
        {SLICE("for=\"a\"b"), NULL, NULL},
        {SLICE("for=\"a\"\"b\""), NULL, NULL},
        {SLICE("for=a\"b\""), NULL, NULL},
        {SLICE("for=\"a\x01\""), NULL, NULL},
        {SLICE("for=\"a\x7f\""), NULL, NULL},
        {SLICE("for=\"a\\\x01\""), NULL, NULL},
        {SLICE("for=\"a\0\""), NULL, NULL},
        {SLICE("for=a\0"), NULL, NULL},
        {SLICE("for=a;by=\"\n\""), NULL, NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct slice text = oracle_copy(rows[i].text);
        struct forwarded forwarded;
        check_number(forwarded_parse(text, &forwarded), rows[i].node != NULL, rows[i].text.data);
        if (!rows[i].node)
            continue;
        check_text(forwarded.node, slice_of(rows[i].node), rows[i].text.data);
        check_number(forwarded.proto.data != NULL, rows[i].proto != NULL, rows[i].text.data);
        if (rows[i].proto)
            check_text(forwarded.proto, slice_of(rows[i].proto), rows[i].text.data);
    }
    oracle_reset();
}

/* A value too long to be an address keeps its escapes, and is not written anywhere. */
static void long_forwarded_values_are_left_alone(void **state)
{
    (void)state;
    char text[2 * FORWARDED_TEXT_MAX + 8] = "for=\"";
    memset(text + 5, '\\', 2 * FORWARDED_TEXT_MAX + 2);
    text[2 * FORWARDED_TEXT_MAX + 7] = '"';
    struct forwarded forwarded;
    assert_true(forwarded_parse((struct slice){text, sizeof(text)}, &forwarded));
    check_text(forwarded.node, ((struct slice){text + 5, 2 * FORWARDED_TEXT_MAX + 2}), "long value");
}

static void what_is_no_address_has_no_text(void **state)
{
    (void)state;
    struct address none = {ADDRESS_NONE, 1, 1}, odd = {(enum address_kind)9, 0, 0};
    char text[ADDRESS_TEXT_MAX];
    check_number((long long)address_format(&none, text), 0, "none");
    check_number((long long)address_format(&odd, text), 0, "no kind at all");
    assert_false(address_equal(&none, &none));
    assert_false(address_is_private(&none));
    struct cidr_set *set = cidr_set_new();
    assert_non_null(set);
    check_number(cidr_set_find(set, &none), -1, "nothing in it");
    assert_int_equal(cidr_set_add(set, &(struct cidr){{ADDRESS_V4, 0, 0}, 0}, 7), 0);
    assert_int_equal(cidr_set_compile(set), 0);
    check_number(cidr_set_find(set, &none), -1, "none");
    check_number(cidr_set_find(set, &odd), -1, "no kind at all");
    check_number(cidr_set_find(set, &(struct address){ADDRESS_V4, 0, 5}), 7, "all of IPv4");
    cidr_set_free(set);
}

/* Nobody is trusted; there is nothing to read, and all that a client may have sent goes. */
static void a_policy_without_groups_trusts_nobody(void **state)
{
    (void)state;
    struct policy *policy = policy_new();
    assert_non_null(policy);
    struct workspace *workspace = finish(policy);
    const struct param params[] = {{SLICE("REMOTE_ADDR"), SLICE("10.0.0.1")},
                                   {SLICE(""), SLICE("")},
                                   {SLICE("HTTP_X_FORWARDED_FOR"), SLICE("6.6.6.6")}};
    struct applied out = applied_request(policy, workspace, params, COUNT(params));
    check_number(out.decision.reason, REASON_UNTRUSTED_PEER, "reason");
    check_number(out.decision.peer_group, -1, "group");
    check_number((long long)out.n, 2, "parameters");
    check_text(out.params[0].value, SLICE("10.0.0.1"), "REMOTE_ADDR");
    end(policy, workspace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unix_peers_are_spelled_as_documented),
        cmocka_unit_test(control_bytes_do_not_reach_a_second_pass),
        cmocka_unit_test(hosts_are_judged_as_rfc_3986_says),
        cmocka_unit_test(schemes_are_two_words),
        cmocka_unit_test(forwarded_elements_have_sharp_edges),
        cmocka_unit_test(long_forwarded_values_are_left_alone),
        cmocka_unit_test(what_is_no_address_has_no_text),
        cmocka_unit_test(a_policy_without_groups_trusts_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
