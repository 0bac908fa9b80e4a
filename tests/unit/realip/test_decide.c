/*
 * The walk, a row for each rule. T trusts 10/8 and reads X-Forwarded-For; the rows say what else.
 */
#include "realip_case.h"

#define T   "[t] trust=10.0.0.0/8 "
#define T6  "[t] trust=10.0.0.0/8,2001:db8:1::/48,unix: "
#define XFF "HTTP_X_FORWARDED_FOR="
#define FWD "HTTP_FORWARDED="
#define P   "REMOTE_ADDR=10.0.0.1|"

static void test_loop(void **state)
{
    static const struct case_row rows[] = {
        /* the peer is checked first */
        {T, "REMOTE_ADDR=1.2.3.4|" XFF "5.6.7.8", "untrusted-peer 1.2.3.4"},
        {"", P XFF "5.6.7.8", "untrusted-peer 10.0.0.1"},
        {T, P, "no-header 10.0.0.1"},
        {T, P XFF, "exhausted 10.0.0.1"},
        {T, P XFF " ,\t, ", "exhausted 10.0.0.1"},
        {T, P XFF "5.6.7.8", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        {T, P XFF "5.6.7.8, 10.0.0.3, 10.0.0.2", "untrusted-hop 5.6.7.8 via 10.0.0.1,10.0.0.2,10.0.0.3"},
        /* the forged part on the left is not read */
        {T, P XFF "10.0.0.9, junk, 5.6.7.8, 10.0.0.2", "untrusted-hop 5.6.7.8 via 10.0.0.1,10.0.0.2"},
        /* all trusted: the leftmost element is the client */
        {T, P XFF "10.0.0.3,10.0.0.2", "exhausted 10.0.0.3 via 10.0.0.1,10.0.0.2"},
        /* the client's port */
        {T, P XFF "5.6.7.8:99, 10.0.0.2:77", "untrusted-hop 5.6.7.8 port 99 via 10.0.0.1,10.0.0.2"},
        {T, P XFF "5.6.7.8, 10.0.0.2:77", "untrusted-hop 5.6.7.8 via 10.0.0.1,10.0.0.2"},
        /* empty elements are ignored, white space is SP and TAB */
        {T, P XFF ", 5.6.7.8 ,,\t10.0.0.2\t, ,", "untrusted-hop 5.6.7.8 via 10.0.0.1,10.0.0.2"},
        {T, P XFF "5.6.7.8, 10.0.0.2%0b", "malformed 10.0.0.1"},
        {T, P XFF "5.6.7.8 10.0.0.2", "malformed 10.0.0.1"},
        /* other element forms */
        {T6, P XFF "[2001:db8::1]:80, 2001:DB8:1::2, [2001:db8:1::3]",
         "untrusted-hop 2001:db8::1 port 80 via 10.0.0.1,2001:db8:1::3,2001:db8:1::2"},
        {T, P XFF "::ffff:5.6.7.8, ::ffff:10.0.0.2", "untrusted-hop 5.6.7.8 via 10.0.0.1,10.0.0.2"},
        /* no header of another name */
        {T, P "HTTP_X_REAL_IP=5.6.7.8", "no-header 10.0.0.1"},
        /* an alias is no copy */
        {T, P "HTTP_X.FORWARDED_FOR=5.6.7.8", "no-header 10.0.0.1"},
        {T, P XFF "5.6.7.8|http_x_forwarded_for=6.6.6.6", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        /* the address may come round again */
        {T, P XFF "10.0.0.1:80", "exhausted 10.0.0.1 via 10.0.0.1"},
    };

    (void)state;
    check_decisions(rows, COUNT(rows));
}

static void test_peers(void **state)
{
    static const struct case_row rows[] = {
        {T6, "REMOTE_ADDR=unix:|" XFF "1.2.3.4", "untrusted-hop 1.2.3.4 via unix:"},
        {T6, "REMOTE_ADDR=unix:/run/x.sock|" XFF "1.2.3.4", "untrusted-hop 1.2.3.4 via unix:"},
        {T6, "REMOTE_ADDR=/run/x.sock|" XFF "1.2.3.4", "untrusted-hop 1.2.3.4 via unix:"},
        {T6, "REMOTE_ADDR=@|" XFF "1.2.3.4", "untrusted-hop 1.2.3.4 via unix:"},
        {T6, "REMOTE_ADDR=|" XFF "1.2.3.4", "untrusted-hop 1.2.3.4 via unix:"},
        {T6, "REMOTE_ADDR=unix|" XFF "1.2.3.4", "untrusted-peer "},
        {T, "REMOTE_ADDR=unix:|" XFF "1.2.3.4", "untrusted-peer unix:"},
        {"[t] trust=0.0.0.0/0,::/0", "REMOTE_ADDR=unix:|" XFF "1.2.3.4", "untrusted-peer unix:"},
        {"[t] trust=0.0.0.0/0,::/0,unix:", "REMOTE_ADDR=proxy.example|" XFF "1.2.3.4", "untrusted-peer "},
        {"[t] trust=0.0.0.0/0,::/0,unix:", "REMOTE_ADDR=10.0.0.1%0a|" XFF "1.2.3.4", "untrusted-peer "},
        {"[t] trust=0.0.0.0/0,::/0,unix:", "REMOTE_ADDR=10.0.0.1%00|" XFF "1.2.3.4", "untrusted-peer "},
        /* missing: a peer that is never trusted */
        {"[t] trust=0.0.0.0/0,::/0,unix:", XFF "1.2.3.4", "untrusted-peer "},
        {"[t] trust=0.0.0.0/0,::/0,unix:", "remote_addr=10.0.0.1|" XFF "1.2.3.4", "untrusted-peer "},
        {"[t] trust=fe80::/10", "REMOTE_ADDR=fe80::1%25eth0|" XFF "1.2.3.4",
         "untrusted-hop 1.2.3.4 via fe80::1"},
        {T, "REMOTE_ADDR=::ffff:10.0.0.1|" XFF "1.2.3.4", "untrusted-hop 1.2.3.4 via 10.0.0.1"},
        {T6, "REMOTE_ADDR=[2001:db8:1::1]|" XFF "1.2.3.4", "untrusted-hop 1.2.3.4 via 2001:db8:1::1"},
        /* of several the last one counts */
        {T, "REMOTE_ADDR=1.1.1.1|" P XFF "1.2.3.4", "untrusted-hop 1.2.3.4 via 10.0.0.1"},
        {T, P "REMOTE_ADDR=1.1.1.1|" XFF "1.2.3.4", "untrusted-peer 1.1.1.1"},
    };

    (void)state;
    check_decisions(rows, COUNT(rows));
}

static void test_peer_text(void **state)
{
    static struct realip_case test;
    const struct param params[] = {{SLICE("REMOTE_ADDR"), {NULL, 0}}, {SLICE("REMOTE_PORT"), {NULL, 0}}};

    (void)state;
    case_open(&test, T6, "REMOTE_ADDR=2.2.2.2|REMOTE_PORT=1|REMOTE_ADDR=::FFFF:1.2.3.4|REMOTE_PORT=80");
    check_text(test.decision.peer_text, SLICE("::FFFF:1.2.3.4"), "as received");
    check_text(test.decision.peer_port, SLICE("80"), "as received");
    assert_int_equal(test.decision.peer_group, -1);
    assert_false(test.decision.trusted);
    /* empty is not absent */
    decide_request(test.policy, params, 2, test.workspace, &test.decision);
    assert_non_null(test.decision.peer_text.data);
    assert_non_null(test.decision.peer_port.data);
    assert_int_equal(test.decision.peer.kind, ADDRESS_UNIX);
    assert_int_equal(test.decision.peer_group, 0);
    assert_true(test.decision.trusted);
    decide_request(test.policy, params, 0, test.workspace, &test.decision);
    assert_null(test.decision.peer_text.data);
    assert_null(test.decision.peer_port.data);
    assert_int_equal(test.decision.reason, REASON_UNTRUSTED_PEER);
    case_close(&test);
}

/* All copies in arrival order make one list. */
static void test_copies(void **state)
{
    static const struct case_row rows[] = {
        {T, XFF "6.6.6.6, 5.6.7.8|" P XFF "10.0.0.3|" XFF "10.0.0.2",
         "untrusted-hop 5.6.7.8 via 10.0.0.1,10.0.0.2,10.0.0.3"},
        {T, P XFF "|" XFF " , |" XFF "", "exhausted 10.0.0.1"},
        {T, P XFF "5.6.7.8|" XFF "|" XFF " ,", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        {T, P XFF "10.0.0.2|" XFF ",", "exhausted 10.0.0.2 via 10.0.0.1"},
    };

    (void)state;
    check_decisions(rows, COUNT(rows));
}

static void test_malformed(void **state)
{
    static const struct case_row rows[] = {
        /* stop: the last good hop, at worst the peer */
        {T, P XFF "5.6.7.8, junk, 10.0.0.2", "malformed 10.0.0.2 via 10.0.0.1"},
        {T, P XFF "5.6.7.8, junk", "malformed 10.0.0.1"},
        {T, P XFF "5.6.7.8, unknown, 10.0.0.2:80", "malformed 10.0.0.2 port 80 via 10.0.0.1"},
        {T, P XFF "5.6.7.8, _hidden", "malformed 10.0.0.1"},
        {T, P XFF "5.6.7.8, [10.0.0.2]", "malformed 10.0.0.1"},
        {T, P XFF "5.6.7.8, 010.0.0.2", "malformed 10.0.0.1"},
        {T, P XFF "5.6.7.8, fe80::1%25eth0", "malformed 10.0.0.1"},
        {T, P XFF "5.6.7.8, localhost", "malformed 10.0.0.1"},
        {T, P XFF "5.6.7.8, 10.0.0.2%00", "malformed 10.0.0.1"},
        {T, P XFF "5.6.7.8, 10.0.0.2%0d", "malformed 10.0.0.1"},
        {T, P XFF "5.6.7.8, %0a10.0.0.2", "malformed 10.0.0.1"},
        {T, P XFF "a%00b, 5.6.7.8", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        /* peer: give up, the peer stands */
        {T "malformed=peer", P XFF "5.6.7.8, junk, 10.0.0.2:80", "malformed 10.0.0.1"},
        {T "malformed=peer", P XFF "junk, 5.6.7.8", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        /* reject */
        {T "malformed=reject", P XFF "5.6.7.8, junk, 10.0.0.2", "malformed 10.0.0.2 via 10.0.0.1 400"},
        {T "malformed=reject", P XFF "junk", "malformed 10.0.0.1 400"},
        {T "malformed=reject", P XFF "", "exhausted 10.0.0.1"},
        /* the group of the hop that reported it decides */
        {T "[u] trust=11.0.0.0/8 malformed=reject", P XFF "junk, 11.0.0.2, 10.0.0.2",
         "malformed 11.0.0.2 via 10.0.0.1,10.0.0.2 400"},
        {T "malformed=reject [u] trust=11.0.0.0/8", P XFF "junk, 11.0.0.2, 10.0.0.2",
         "malformed 11.0.0.2 via 10.0.0.1,10.0.0.2"},
        {T "[u] trust=11.0.0.0/8 malformed=peer", P XFF "junk, 11.0.0.2, 10.0.0.2", "malformed 10.0.0.1"},
    };

    (void)state;
    check_decisions(rows, COUNT(rows));
}

static void test_select(void **state)
{
    static const struct case_row rows[] = {
        {T "select=single", P XFF "5.6.7.8, 10.0.0.3, 10.0.0.2:80", "single 10.0.0.2 port 80 via 10.0.0.1"},
        {T "select=single", P XFF "5.6.7.8", "single 5.6.7.8 via 10.0.0.1"},
        {T "select=single", P XFF "5.6.7.8, x", "malformed 10.0.0.1"},
        {T "select=single", P, "no-header 10.0.0.1"},
        {T "[s] trust=11.0.0.0/8 select=single", P XFF "5.6.7.8, 10.0.0.3, 11.0.0.1",
         "single 10.0.0.3 via 10.0.0.1,11.0.0.1"},

        /* N = 1 is what the peer wrote */
        {T "select=hops:1", P XFF "5.6.7.8, 7.7.7.7:80", "hops 7.7.7.7 port 80 via 10.0.0.1"},
        {T "select=hops:2", P XFF "6.6.6.6, 5.6.7.8, , 7.7.7.7", "hops 5.6.7.8 via 10.0.0.1"},
        {T "select=hops:3", P XFF "6.6.6.6|" XFF "5.6.7.8|" XFF ",|" XFF "7.7.7.7",
         "hops 6.6.6.6 via 10.0.0.1"},
        /* fewer elements: the hop stays, and never on_malformed */
        {T "select=hops:3 malformed=reject", P XFF "5.6.7.8, 7.7.7.7", "exhausted 10.0.0.1"},
        {T "select=hops:3 malformed=reject", P XFF "junk, 7.7.7.7", "exhausted 10.0.0.1"},
        {T "select=hops:3 malformed=reject", P XFF " ,", "exhausted 10.0.0.1"},
        {T "select=hops:3 malformed=reject", P, "no-header 10.0.0.1"},
        /* an unusable element obeys on_malformed */
        {T "select=hops:2", P XFF "1.1.1.1, junk, 7.7.7.7:80", "malformed 7.7.7.7 port 80 via 10.0.0.1"},
        {T "select=hops:2", P XFF "1.1.1.1, 7.7.7.7, junk", "malformed 10.0.0.1"},
        {T "select=hops:3", P XFF "1.1.1.1, junk, 7.7.7.7", "malformed 7.7.7.7 via 10.0.0.1"},
        {T "select=hops:2 malformed=peer", P XFF "1.1.1.1, junk, 7.7.7.7", "malformed 10.0.0.1"},
        {T "select=hops:2 malformed=reject", P XFF "1.1.1.1, junk, 7.7.7.7",
         "malformed 7.7.7.7 via 10.0.0.1 400"},
        {T "select=hops:1 malformed=reject", P XFF "junk, 7.7.7.7", "hops 7.7.7.7 via 10.0.0.1"},
        /* from a hop that is not the peer */
        {T "[h] trust=11.0.0.0/8 select=hops:2", P XFF "1.1.1.1, 2.2.2.2, 3.3.3.3, 11.0.0.1",
         "hops 2.2.2.2 via 10.0.0.1,11.0.0.1"},
        {T "[h] trust=11.0.0.0/8 select=hops:2", P XFF "3.3.3.3, 11.0.0.1",
         "exhausted 11.0.0.1 via 10.0.0.1"},

        {T "select=leftmost", P XFF "1.1.1.1:80, 2.2.2.2, 10.0.0.2", "leftmost 1.1.1.1 port 80 via 10.0.0.1"},
        {T "select=leftmost", P XFF "junk, 2.2.2.2, x|" XFF ",", "leftmost 2.2.2.2 via 10.0.0.1"},
        {T "select=leftmost", P XFF "1.1.1.1|" XFF "2.2.2.2", "leftmost 1.1.1.1 via 10.0.0.1"},
        {T "select=leftmost", P XFF "x, y", "malformed 10.0.0.1"},
        {T "select=leftmost malformed=reject", P XFF "x, y", "malformed 10.0.0.1 400"},
        {T "select=leftmost malformed=reject", P XFF "x, 1.1.1.1", "leftmost 1.1.1.1 via 10.0.0.1"},
        {T "select=leftmost", P XFF ",", "exhausted 10.0.0.1"},
        {T "select=leftmost", P, "no-header 10.0.0.1"},
        {T "select=leftmost max=2", P XFF "1.1.1.1, 2.2.2.2, 3.3.3.3", "leftmost 2.2.2.2 via 10.0.0.1"},
        {T "select=leftmost no_private", P XFF "192.168.0.1, 2.2.2.2, 3.3.3.3",
         "leftmost 2.2.2.2 via 10.0.0.1"},
    };

    (void)state;
    check_decisions(rows, COUNT(rows));
}

static void test_max_elements(void **state)
{
    static const struct case_row rows[] = {
        {T "max=2", P XFF "5.6.7.8, 10.0.0.2", "untrusted-hop 5.6.7.8 via 10.0.0.1,10.0.0.2"},
        {T "max=2", P XFF "5.6.7.8, 10.0.0.3, 10.0.0.2", "malformed 10.0.0.3 via 10.0.0.1,10.0.0.2"},
        {T "max=2", P XFF "10.0.0.3,, ,10.0.0.2", "exhausted 10.0.0.3 via 10.0.0.1,10.0.0.2"},
        {T "max=1 malformed=reject", P XFF "10.0.0.3|" XFF "10.0.0.2", "malformed 10.0.0.2 via 10.0.0.1 400"},
        {T "max=1", P "HTTP_X_REAL_IP=1.1.1.1|" XFF "5.6.7.8", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        /* the count is the header's, the limit the group's */
        {T "[u] trust=11.0.0.0/8 max=2", P XFF "1.1.1.1, 11.0.0.1, 10.0.0.2",
         "malformed 11.0.0.1 via 10.0.0.1,10.0.0.2"},
        {T "max=2 [u] trust=11.0.0.0/8 max=3", P XFF "1.1.1.1, 11.0.0.1, 10.0.0.2",
         "untrusted-hop 1.1.1.1 via 10.0.0.1,10.0.0.2,11.0.0.1"},
        {T "[u] trust=11.0.0.0/8 max=2 select=leftmost", P XFF "1.1.1.1, 11.0.0.1, 10.0.0.2",
         "malformed 11.0.0.1 via 10.0.0.1,10.0.0.2"},
        {T "[u] trust=11.0.0.0/8 max=2 select=leftmost", P XFF "11.0.0.1, 10.0.0.2",
         "exhausted 11.0.0.1 via 10.0.0.1,10.0.0.2"},
        {T "[u] trust=11.0.0.0/8 max=3 select=hops:2", P XFF "1.1.1.1, 2.2.2.2, 11.0.0.1, 10.0.0.2",
         "malformed 2.2.2.2 via 10.0.0.1,10.0.0.2,11.0.0.1"},
        {T "[u] trust=11.0.0.0/8 max=2 select=hops:1", P XFF "2.2.2.2, 11.0.0.1, 10.0.0.2",
         "malformed 11.0.0.1 via 10.0.0.1,10.0.0.2"},
    };

    (void)state;
    check_decisions(rows, COUNT(rows));
}

/* 64 elements are read by default, however many there are; the workspace has a step for each and the last. */
static void test_default_maximum(void **state)
{
    static struct realip_case test;
    static char text[4096];

    (void)state;
    for (size_t n = 63; n <= 66; n++) {
        char *p = text + sprintf(text, P XFF "8.8.8.8");

        for (size_t i = 1; i < n; i++)
            p += sprintf(p, ",10.0.1.%zu", n - i);
        case_open(&test, T, text);
        assert_int_equal(test.decision.reason, n <= 64 ? REASON_UNTRUSTED_HOP : REASON_MALFORMED);
        assert_int_equal(test.decision.nproxies, n <= 64 ? n : 64);
        assert_int_equal(test.decision.client.lo, n <= 64 ? 0x08080808 : 0x0a000140);
        assert_int_equal(test.workspace->nsteps, n == 63 ? 64 : 65);
        assert_int_equal(test.workspace->steps_cap, 65);
        case_close(&test);
    }
}

static void test_private_clients(void **state)
{
    static const struct case_row rows[] = {
        {T, P XFF "192.168.1.1", "untrusted-hop 192.168.1.1 via 10.0.0.1"},
        {T "no_private", P XFF "192.168.1.1", "malformed 10.0.0.1"},
        {T "no_private", P XFF "5.6.7.8", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        /* trusted or not */
        {T "no_private", P XFF "5.6.7.8, 10.0.0.2", "malformed 10.0.0.1"},
        {T "no_private malformed=peer", P XFF "172.16.0.1", "malformed 10.0.0.1"},
        {T "no_private malformed=reject", P XFF "127.0.0.1", "malformed 10.0.0.1 400"},
        {T "no_private", P XFF "169.254.1.1", "malformed 10.0.0.1"},
        {T "no_private", P XFF "::ffff:10.1.1.1", "malformed 10.0.0.1"},
        {T "no_private", P XFF "fd00::1", "malformed 10.0.0.1"},
        {T "no_private", P XFF "2001:db8::1", "untrusted-hop 2001:db8::1 via 10.0.0.1"},
        {T "no_private select=single", P XFF "192.168.1.1", "malformed 10.0.0.1"},
        {T "no_private select=hops:2", P XFF "8.8.8.8, 192.168.1.1", "malformed 10.0.0.1"},
        /* it is about what this group reports, not about who reports */
        {T "[u] trust=11.0.0.0/8 no_private", P XFF "8.8.8.8, 11.0.0.1, 10.0.0.2",
         "untrusted-hop 8.8.8.8 via 10.0.0.1,10.0.0.2,11.0.0.1"},
        {T "[u] trust=11.0.0.0/8 no_private", P XFF "10.9.9.9, 11.0.0.1, 10.0.0.2",
         "malformed 11.0.0.1 via 10.0.0.1,10.0.0.2"},
    };

    (void)state;
    check_decisions(rows, COUNT(rows));
}

static void test_require_header(void **state)
{
    static const struct case_row rows[] = {
        {T "require_header", P, "no-header 10.0.0.1 400"},
        {T "require_header", P XFF, "exhausted 10.0.0.1 400"},
        {T "require_header", P XFF " ,|" XFF ",", "exhausted 10.0.0.1 400"},
        {T "require_header", P XFF "junk", "malformed 10.0.0.1"},
        {T "require_header", P XFF "10.0.0.2", "exhausted 10.0.0.2 via 10.0.0.1"},
        {T "require_header", "REMOTE_ADDR=1.2.3.4", "untrusted-peer 1.2.3.4"},
        {T "require_header select=hops:2", P XFF "5.6.7.8", "exhausted 10.0.0.1"},
        {T "require_header select=hops:2", P, "no-header 10.0.0.1 400"},
        {T "require_header select=leftmost", P XFF ",", "exhausted 10.0.0.1 400"},
        {T "[c] trust=11.0.0.0/8 header=C require_header", P XFF "11.0.0.1",
         "no-header 11.0.0.1 via 10.0.0.1 400"},
    };

    (void)state;
    check_decisions(rows, COUNT(rows));
}

static void test_require_param(void **state)
{
    static const struct case_row rows[] = {
#define S T "require=HTTP_X_KEY:secret "
        {S, P XFF "5.6.7.8|HTTP_X_KEY=secret", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        {S, P XFF "5.6.7.8", "untrusted-peer 10.0.0.1"},
        {S, P XFF "5.6.7.8|HTTP_X_KEY=", "untrusted-peer 10.0.0.1"},
        {S, P XFF "5.6.7.8|HTTP_X_KEY=secreT", "untrusted-peer 10.0.0.1"},
        {S, P XFF "5.6.7.8|HTTP_X_KEY=Secret", "untrusted-peer 10.0.0.1"},
        {S, P XFF "5.6.7.8|HTTP_X_KEY=secret1", "untrusted-peer 10.0.0.1"},
        {S, P XFF "5.6.7.8|HTTP_X_KEY=secre", "untrusted-peer 10.0.0.1"},
        {S, P XFF "5.6.7.8|HTTP_X_KEY=secret%00", "untrusted-peer 10.0.0.1"},
        /* every copy, and no alias is one */
        {S, P XFF "5.6.7.8|HTTP_X_KEY=secret|HTTP_X_KEY=secret", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        {S, P XFF "5.6.7.8|HTTP_X_KEY=secret|HTTP_X_KEY=x", "untrusted-peer 10.0.0.1"},
        {S, P XFF "5.6.7.8|HTTP_X_KEY=x|HTTP_X_KEY=secret", "untrusted-peer 10.0.0.1"},
        {S, P XFF "5.6.7.8|HTTP_X.KEY=secret", "untrusted-peer 10.0.0.1"},
        {S, P XFF "5.6.7.8|HTTP_X.KEY=x|HTTP_X_KEY=secret", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        /* for every hop of the group */
        {S, P XFF "5.6.7.8, 10.0.0.2|HTTP_X_KEY=secret", "untrusted-hop 5.6.7.8 via 10.0.0.1,10.0.0.2"},
        {"[u] trust=11.0.0.0/8 " S, "REMOTE_ADDR=11.0.0.1|" XFF "5.6.7.8, 10.0.0.2|HTTP_X_KEY=x",
         "untrusted-hop 10.0.0.2 via 11.0.0.1"},
        /* no fall-back to a shorter prefix of another group */
        {"[all] trust=0.0.0.0/0 " S, P XFF "5.6.7.8", "untrusted-peer 10.0.0.1"},
        /* two groups with the same parameter, each its own value */
        {S "[u] trust=11.0.0.0/8 require=HTTP_X_KEY:other",
         "REMOTE_ADDR=11.0.0.1|" XFF "5.6.7.8|HTTP_X_KEY=other", "untrusted-hop 5.6.7.8 via 11.0.0.1"},
        {S "[u] trust=11.0.0.0/8 require=HTTP_X_KEY:other",
         "REMOTE_ADDR=11.0.0.1|" XFF "5.6.7.8|HTTP_X_KEY=secret", "untrusted-peer 11.0.0.1"},
        {S "[u] trust=11.0.0.0/8 require=HTTP_X_KEZ:other",
         "REMOTE_ADDR=11.0.0.1|" XFF "5.6.7.8, 10.0.0.1|HTTP_X_KEZ=other|HTTP_X_KEY=secret",
         "untrusted-hop 5.6.7.8 via 11.0.0.1,10.0.0.1"},
#undef S
    };

    (void)state;
    check_decisions(rows, COUNT(rows));
}

/* Every header keeps its own cursor. */
static void test_several_headers(void **state)
{
#define ALB "[alb] trust=10.0.0.0/8 [cdn] trust=11.0.0.0/8 header=CDN-IP "
    static const struct case_row rows[] = {
        {ALB, P XFF "9.9.9.9, 11.0.0.1|HTTP_CDN_IP=5.6.7.8", "untrusted-hop 5.6.7.8 via 10.0.0.1,11.0.0.1"},
        /* a client at the load balancer that forges the CDN's header gains nothing */
        {ALB, P XFF "11.0.0.1, 5.6.7.8|HTTP_CDN_IP=6.6.6.6", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        /* there and back: each goes on where it stood */
        {ALB, P XFF "7.7.7.7, 11.0.0.1|HTTP_CDN_IP=6.6.6.6, 10.0.0.2",
         "untrusted-hop 7.7.7.7 via 10.0.0.1,11.0.0.1,10.0.0.2"},
        {ALB, P XFF "11.0.0.1|HTTP_CDN_IP=10.0.0.2", "exhausted 10.0.0.2 via 10.0.0.1,11.0.0.1"},
        {ALB, P XFF "11.0.0.1", "no-header 11.0.0.1 via 10.0.0.1"},
        {ALB, P XFF "11.0.0.1|HTTP_CDN_IP=", "exhausted 11.0.0.1 via 10.0.0.1"},
        {ALB, "REMOTE_ADDR=11.0.0.1|" XFF "1.1.1.1|HTTP_CDN_IP=5.6.7.8",
         "untrusted-hop 5.6.7.8 via 11.0.0.1"},
        /* longest prefix */
        {"[a] trust=10.0.0.0/8 [b] trust=10.0.0.1 header=B", P XFF "1.1.1.1|HTTP_B=2.2.2.2",
         "untrusted-hop 2.2.2.2 via 10.0.0.1"},
        {"[b] trust=10.0.0.1 header=B [a] trust=10.0.0.0/8",
         "REMOTE_ADDR=10.0.0.2|" XFF "1.1.1.1|HTTP_B=2.2.2.2", "untrusted-hop 1.1.1.1 via 10.0.0.2"},
    };
#undef ALB

    (void)state;
    check_decisions(rows, COUNT(rows));
}

static void test_forwarded(void **state)
{
#define F "[f] trust=10.0.0.0/8,2001:db8:1::/48 header=Forwarded "
    static const struct case_row rows[] = {
        {F, P FWD "for=5.6.7.8", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        {F, P FWD "for=6.6.6.6, for=\"5.6.7.8:80\";by=x, For=10.0.0.2;proto=http",
         "untrusted-hop 5.6.7.8 port 80 via 10.0.0.1,10.0.0.2"},
        {F, P FWD "for=\"[2001:db8::1]:443\", for=[2001:db8:1::1]:80",
         "untrusted-hop 2001:db8::1 port 443 via 10.0.0.1,2001:db8:1::1"},
        {F, P FWD "for=5.6.7.8:_x", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        {F, P FWD "for=\"2001:db8::1\"", "untrusted-hop 2001:db8::1 via 10.0.0.1"},
        {F, P FWD "for=2001:db8::1", "untrusted-hop 2001:db8::1 via 10.0.0.1"},
        {F, P FWD "for=\"5\\.6.7.8\"", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        {F, P FWD "for=5.6.7.8;", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        {F, P FWD "for=\"a,b\", for=5.6.7.8", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        {F, P FWD "for=\"5.6.7.8, for=10.0.0.2", "malformed 10.0.0.2 via 10.0.0.1"},
        {F, P FWD "\", for=10.0.0.3, for=\"10.0.0.2\"", "malformed 10.0.0.3 via 10.0.0.1,10.0.0.2"},
        {F, P FWD "for=5.6.7.8, for=unknown", "malformed 10.0.0.1"},
        {F, P FWD "for=5.6.7.8, for=_hidden", "malformed 10.0.0.1"},
        {F, P FWD "for=5.6.7.8, proto=http", "malformed 10.0.0.1"},
        {F, P FWD "for=5.6.7.8, for=10.0.0.2;for=10.0.0.3", "malformed 10.0.0.1"},
        {F, P FWD "for=5.6.7.8, for =10.0.0.2", "malformed 10.0.0.1"},
        {F, P FWD "for=5.6.7.8, for=10.0.0.2;x=\"%0a\"", "malformed 10.0.0.1"},
        {F, P FWD "for=5.6.7.8, 10.0.0.2", "malformed 10.0.0.1"},
        /* each copy is parsed by itself */
        {F, P FWD "for=5.6.7.8|" FWD "for=\"10.0.0.2", "malformed 10.0.0.1"},
        {F, P FWD "for=\"5.6.7.8|" FWD "for=10.0.0.2\"", "malformed 10.0.0.1"},
        {F, P FWD "for=5.6.7.8\"|" FWD "for=\"10.0.0.2\"", "malformed 10.0.0.2 via 10.0.0.1"},
        {F, P FWD "for=5.6.7.8|" FWD ",|" FWD "for=10.0.0.2", "untrusted-hop 5.6.7.8 via 10.0.0.1,10.0.0.2"},
        {F, P XFF "for=5.6.7.8", "no-header 10.0.0.1"},
    };
#undef F

    (void)state;
    check_decisions(rows, COUNT(rows));
}

static void test_access(void **state)
{
    static const struct case_row rows[] = {
        {T "deny=5.6.7.0/24", P XFF "5.6.7.8", "denied 5.6.7.8 via 10.0.0.1 403"},
        {T "deny=5.6.7.0/24", P XFF "5.6.8.8", "untrusted-hop 5.6.8.8 via 10.0.0.1"},
        /* judged on the client, after the decision */
        {T "deny=10.0.0.0/8", P XFF "5.6.7.8", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        {T "deny=10.0.0.0/8", P, "denied 10.0.0.1 403"},
        /* an allow list alone refuses all others */
        {T "allow=5.6.7.0/24", P XFF "5.6.7.8", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        {T "allow=5.6.7.0/24", P XFF "5.6.8.8", "denied 5.6.8.8 via 10.0.0.1 403"},
        /* both */
        {T "allow=5.6.7.0/24 deny=5.6.0.0/16", P XFF "5.6.7.8", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        {T "allow=5.6.7.0/24 deny=5.6.0.0/16", P XFF "5.6.8.8", "denied 5.6.8.8 via 10.0.0.1 403"},
        {T "allow=5.6.0.0/16 deny=5.6.7.0/24", P XFF "5.6.7.8", "denied 5.6.7.8 via 10.0.0.1 403"},
        {T "allow=5.6.7.0/24 deny=5.6.7.0/24", P XFF "5.6.7.8", "denied 5.6.7.8 via 10.0.0.1 403"},
        {T "allow=5.6.7.0/24 deny=5.6.0.0/16", P XFF "8.8.8.8", "untrusted-hop 8.8.8.8 via 10.0.0.1"},
        /* clients that no entry can name */
        {"allow=0.0.0.0/0,::/0", "REMOTE_ADDR=junk", "denied  403"},
        {"allow=0.0.0.0/0,::/0", "", "denied  403"},
        {"deny=0.0.0.0/0,::/0", "REMOTE_ADDR=junk", "untrusted-peer "},
        {"allow=unix:", "REMOTE_ADDR=unix:", "untrusted-peer unix:"},
        {"deny=unix:", "REMOTE_ADDR=", "denied unix: 403"},
        {"allow=0.0.0.0/0", "REMOTE_ADDR=unix:", "denied unix: 403"},
        /* deny_direct */
        {T "deny_direct", "REMOTE_ADDR=5.6.7.8", "denied 5.6.7.8 403"},
        {T "deny_direct", "", "denied  403"},
        {T "deny_direct", P XFF "5.6.7.8", "untrusted-hop 5.6.7.8 via 10.0.0.1"},
        {T "deny_direct allow=5.6.7.8", "REMOTE_ADDR=5.6.7.8", "denied 5.6.7.8 403"},
        /* 400 goes before 403 */
        {T "malformed=reject deny=0.0.0.0/0", P XFF "junk", "malformed 10.0.0.1 400"},
        {T "require_header deny=0.0.0.0/0", P, "no-header 10.0.0.1 400"},
    };

    (void)state;
    check_decisions(rows, COUNT(rows));
}

/* What the steps say, for those who explain. */
static void test_steps(void **state)
{
    static struct realip_case test;
    const struct step *steps;

    (void)state;
    case_open(&test, T "[u] trust=11.0.0.0/8 no_private deny=0.0.0.0/0",
              P XFF "10.9.9.9:5, 11.0.0.1 , 10.0.0.2:80");
    steps = test.workspace->steps;
    assert_int_equal(test.workspace->nsteps, 3);
    assert_int_equal(steps[0].hop.lo, 0x0a000001);
    assert_int_equal(steps[0].group, 0);
    check_text(steps[0].element, SLICE("10.0.0.2:80"), "element");
    assert_int_equal(steps[0].address.lo, 0x0a000002);
    assert_int_equal(steps[0].port, 80);
    assert_int_equal(steps[1].hop.lo, 0x0a000002);
    check_text(steps[1].element, SLICE("11.0.0.1"), "element");
    assert_int_equal(steps[1].port, 0);
    assert_int_equal(steps[2].group, 1);
    /* refused because it is private: the address is there to be shown */
    check_text(steps[2].element, SLICE("10.9.9.9:5"), "element");
    assert_int_equal(steps[2].address.kind, ADDRESS_V4);
    assert_int_equal(test.decision.reason, REASON_DENIED);
    assert_int_equal(test.decision.walk_reason, REASON_MALFORMED);
    assert_int_equal(test.workspace->cursors[0].count, 3);
    case_close(&test);

    case_open(&test, T, P XFF "1.2.3.4");
    steps = test.workspace->steps;
    assert_int_equal(test.workspace->nsteps, 2);
    assert_int_equal(steps[1].hop.lo, 0x01020304);
    assert_int_equal(steps[1].group, -1);
    assert_null(steps[1].element.data);
    case_close(&test);

    case_open(&test, T "select=hops:2", P XFF "1.2.3.4, junk");
    check_text(test.workspace->steps[0].element, SLICE("junk"), "the malformed one");
    assert_int_equal(test.workspace->steps[0].address.kind, ADDRESS_NONE);
    case_close(&test);

    case_open(&test, T "select=hops:3", P XFF "1.2.3.4, junk");
    assert_null(test.workspace->steps[0].element.data);
    case_close(&test);
}

/* A header that the walk never comes to has a cursor that stands nowhere. */
static void test_cursors(void **state)
{
    static struct realip_case test;

    (void)state;
    case_open(&test, T "[u] trust=11.0.0.0/8 header=C", P XFF "6.6.6.6, 1.2.3.4|HTTP_C=1.1.1.1");
    assert_true(test.workspace->cursors[0].on_chain);
    assert_int_equal(test.workspace->cursors[0].at, 9);
    assert_int_equal(test.workspace->cursors[0].client_at, 9);
    assert_false(test.workspace->cursors[1].on_chain);
    assert_true(test.workspace->cursors[1].copy == COPY_NONE);
    assert_int_equal(test.workspace->cursors[1].count, 0);
    /* nothing of one request is left for the next */
    decide_request(test.policy, test.params, 1, test.workspace, &test.decision);
    assert_int_equal(test.decision.reason, REASON_NO_HEADER);
    assert_int_equal(test.workspace->nsteps, 1);
    assert_true(test.workspace->cursors[0].client_copy == COPY_NONE);
    case_close(&test);
}

static void test_changed(void **state)
{
    static const struct {
        const char *params;
        bool changed;
    } rows[] = {
        {P XFF "1.2.3.4", true},
        {P, false},
        {"REMOTE_ADDR=1.2.3.4", false},
        {"", false},
        /* addresses are compared, not texts */
        {"REMOTE_ADDR=::ffff:10.0.0.1|" XFF "10.0.0.1:99", false},
        {"REMOTE_ADDR=10.0.0.1|" XFF "10.0.0.1, 10.0.0.2", false},
        {"REMOTE_ADDR=junk", false},
    };
    static struct realip_case test;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        case_open(&test, T, rows[i].params);
        check_number(test.decision.changed, rows[i].changed, rows[i].params);
        if (!rows[i].changed)
            check_number(test.decision.client_port, 0, rows[i].params);
        case_close(&test);
    }
}

static void test_words(void **state)
{
    static const char *const words[] = {"untrusted-peer", "untrusted-hop", "exhausted",
                                        "no-header",      "malformed",     "single",
                                        "hops",           "leftmost",      "denied"};

    (void)state;
    for (size_t i = 0; i < REASON_COUNT; i++)
        assert_string_equal(reason_word((enum reason)i), words[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loop),
        cmocka_unit_test(test_peers),
        cmocka_unit_test(test_peer_text),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_select),
        cmocka_unit_test(test_max_elements),
        cmocka_unit_test(test_default_maximum),
        cmocka_unit_test(test_private_clients),
        cmocka_unit_test(test_require_header),
        cmocka_unit_test(test_require_param),
        cmocka_unit_test(test_several_headers),
        cmocka_unit_test(test_forwarded),
        cmocka_unit_test(test_access),
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_cursors),
        cmocka_unit_test(test_changed),
        cmocka_unit_test(test_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
