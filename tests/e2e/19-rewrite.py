#!/usr/bin/env python3
"""What the application sees, through the wire: only what ought to change does, the rest keeps bytes and order."""

import random
import unittest

import fcgi
from fcgi import AUTHORIZER, FILTER, as_list, pair, pairs
from relay import RelayTest

BASE = "[proxy edge]\ntrust = 10.0.0.0/8, 2001:db8:ffff::/48, unix:\n"
CLIENT_HEADERS = [
    "HTTP_X_FORWARDED_FOR", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "HTTP_CLIENT_IP", "HTTP_X_CLIENT_IP",
    "HTTP_X_CLUSTER_CLIENT_IP", "HTTP_TRUE_CLIENT_IP", "HTTP_CF_CONNECTING_IP", "HTTP_ALI_CDN_REAL_IP",
    "HTTP_FORWARDED_FOR", "HTTP_X_FORWARDED", "HTTP_X_ORIGINATING_IP", "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_HOST", "HTTP_X_FORWARDED_PORT", "HTTP_X_FORWARDED_PREFIX", "HTTP_X_FORWARDED_SSL",
]
BEFORE = [("REQUEST_METHOD", "GET"), ("SCRIPT_NAME", "/a")]
BEHIND = [("HTTP_HOST", "example.org"), ("HTTP_COOKIE", "a=b; c=d"), ("X", "")]


class RewriteTest(RelayTest):
    def see(self, params, **options):
        """What the application gets of these parameters."""
        response = fcgi.ask(self.address, params, **options)
        self.assert_answer(response)
        return self.app.requests[-1]

    def assert_sees(self, sent, wanted, added=(), **options):
        """wanted in this order, then the added ones in any; each exactly once, and with lengths as short as can be."""
        seen = self.see(sent, **options)
        wanted, added = as_list(wanted), as_list(added)
        self.assertEqual(seen.params[:len(wanted)], wanted)
        self.assertEqual(sorted(seen.params[len(wanted):]), sorted(added))
        self.assertEqual(seen.params_raw, pairs(seen.params))
        return seen


class Changed(RewriteTest):
    def test_all_of_them_in_place(self):
        self.start(sections=BASE)
        self.assert_sees(
            BEFORE + [("REMOTE_ADDR", "10.0.0.1"), ("MIDDLE", "1"), ("REMOTE_PORT", "1234"),
                      ("HTTP_X_FORWARDED_FOR", "203.0.113.7"), ("REMOTE_HOST", "proxy.example")] + BEHIND,
            BEFORE + [("REMOTE_ADDR", "203.0.113.7"), ("MIDDLE", "1"), ("REMOTE_PORT", ""),
                      ("HTTP_X_FORWARDED_FOR", "203.0.113.7"), ("REMOTE_HOST", "203.0.113.7")] + BEHIND,
            [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_REMOTE_PORT", "1234"), ("REALIP_PROXIES", "10.0.0.1")])

    def test_without_port_and_host(self):
        """They are not made up; nor is the port that the web server did not send."""
        self.start(sections=BASE)
        self.assert_sees(
            [("REMOTE_ADDR", "10.0.0.1"), ("HTTP_X_FORWARDED_FOR", "203.0.113.7")] + BEHIND,
            [("REMOTE_ADDR", "203.0.113.7"), ("HTTP_X_FORWARDED_FOR", "203.0.113.7")] + BEHIND,
            [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.1")])

    def test_port_of_the_element(self):
        self.start(sections=BASE)
        self.assert_sees(
            [("REMOTE_PORT", "1"), ("REMOTE_ADDR", "10.0.0.1"), ("HTTP_X_FORWARDED_FOR", "203.0.113.7:5555")],
            [("REMOTE_PORT", "5555"), ("REMOTE_ADDR", "203.0.113.7"), ("HTTP_X_FORWARDED_FOR", "203.0.113.7:5555")],
            [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_REMOTE_PORT", "1"), ("REALIP_PROXIES", "10.0.0.1")])
        self.assert_sees(
            [("REMOTE_ADDR", "10.0.0.1"), ("HTTP_X_FORWARDED_FOR", "[2001:db8::1]:65535")],
            [("REMOTE_ADDR", "2001:db8::1"), ("HTTP_X_FORWARDED_FOR", "[2001:db8::1]:65535")],
            [("REMOTE_PORT", "65535"), ("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.1")])

    def test_canonical_text(self):
        self.start(sections=BASE)
        for element, client in (("2001:DB8:0:0::0:1", "2001:db8::1"), ("::ffff:203.0.113.7", "203.0.113.7"),
                                ("::FFFF:cb00:7107", "203.0.113.7"), ("2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1")):
            self.assert_sees(
                [("REMOTE_ADDR", "::ffff:10.0.0.1"), ("HTTP_X_FORWARDED_FOR", element)],
                [("REMOTE_ADDR", client), ("HTTP_X_FORWARDED_FOR", element)],
                [("REALIP_REMOTE_ADDR", "::ffff:10.0.0.1"), ("REALIP_PROXIES", "10.0.0.1")])

    def test_chain_with_a_forged_left_part(self):
        self.start(sections=BASE)
        self.assert_sees(
            [("REMOTE_ADDR", "10.0.0.1"), ("HTTP_X_FORWARDED_FOR", "6.6.6.6, junk,203.0.113.7 ,10.0.0.3,\t10.0.0.2")],
            [("REMOTE_ADDR", "203.0.113.7"), ("HTTP_X_FORWARDED_FOR", "203.0.113.7 ,10.0.0.3,\t10.0.0.2")],
            [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.3, 10.0.0.2, 10.0.0.1")])

    def test_two_headers_become_one(self):
        self.start(sections=BASE)
        self.assert_sees(
            [("HTTP_X_FORWARDED_FOR", "6.6.6.6"), ("REMOTE_ADDR", "10.0.0.1"), ("BETWEEN", "x"),
             ("HTTP_X_FORWARDED_FOR", "203.0.113.7"), ("HTTP_X_FORWARDED_FOR", " "),
             ("HTTP_X_FORWARDED_FOR", "10.0.0.2")] + BEHIND,
            [("HTTP_X_FORWARDED_FOR", "203.0.113.7, 10.0.0.2"), ("REMOTE_ADDR", "203.0.113.7"), ("BETWEEN", "x")]
            + BEHIND,
            [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.2, 10.0.0.1")])

    def test_forwarded_for(self):
        sent = [("REMOTE_ADDR", "10.0.0.1"), ("HTTP_X_FORWARDED_FOR", "6.6.6.6,203.0.113.7:80"), ("B", "c"),
                ("HTTP_X_FORWARDED_FOR", "10.0.0.2")]
        for setting, wanted in (("confirmed", "203.0.113.7:80, 10.0.0.2"), ("unconfirmed", "6.6.6.6"),
                                ("client", "203.0.113.7"), ("keep", "6.6.6.6,203.0.113.7:80, 10.0.0.2"),
                                ("remove", None)):
            self.start(sections=BASE + "[realip]\nforwarded_for = %s\n" % setting)
            self.assert_sees(
                sent,
                [("REMOTE_ADDR", "203.0.113.7"), ("HTTP_X_FORWARDED_FOR", wanted), ("B", "c")] if wanted
                else [("REMOTE_ADDR", "203.0.113.7"), ("B", "c")],
                [("REMOTE_PORT", "80"), ("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.2, 10.0.0.1")])

    def test_unix_peer(self):
        self.start(sections=BASE)
        for peer in ("unix:", "unix:/run/x.sock", "/run/x.sock", "@abstract", ""):
            self.assert_sees(
                [("REMOTE_ADDR", peer), ("REMOTE_PORT", ""), ("HTTP_X_FORWARDED_FOR", "203.0.113.7")],
                [("REMOTE_ADDR", "203.0.113.7"), ("REMOTE_PORT", ""), ("HTTP_X_FORWARDED_FOR", "203.0.113.7")],
                [("REALIP_REMOTE_ADDR", peer), ("REALIP_REMOTE_PORT", ""), ("REALIP_PROXIES", "unix:")])

    def test_forwarded(self):
        self.start(sections=BASE + "header = Forwarded\n")
        value = 'for=6.6.6.6, for="[2001:db8::7]:4711";proto=https, for=10.0.0.2'
        self.assert_sees(
            [("REMOTE_ADDR", "10.0.0.1"), ("HTTP_FORWARDED", value)],
            [("REMOTE_ADDR", "2001:db8::7"), ("HTTP_FORWARDED", value[len("for=6.6.6.6, "):])],
            [("REMOTE_PORT", "4711"), ("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.2, 10.0.0.1")])

    def test_chain_over_two_headers(self):
        self.start(sections="[proxy alb]\ntrust = 10.0.0.0/8\n[proxy cdn]\ntrust = 198.51.100.0/24\n"
                            "header = CF-Connecting-IP\n")
        self.assert_sees(
            [("REMOTE_ADDR", "10.0.0.1"), ("HTTP_CF_CONNECTING_IP", "203.0.113.7"),
             ("HTTP_X_FORWARDED_FOR", "6.6.6.6, 198.51.100.9")],
            [("REMOTE_ADDR", "203.0.113.7"), ("HTTP_CF_CONNECTING_IP", "203.0.113.7"),
             ("HTTP_X_FORWARDED_FOR", "198.51.100.9")],
            [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "198.51.100.9, 10.0.0.1")])
        # A client that reaches the load balancer itself and forges the other header gains nothing.
        self.assert_sees(
            [("REMOTE_ADDR", "10.0.0.1"), ("HTTP_CF_CONNECTING_IP", "6.6.6.6"),
             ("HTTP_X_FORWARDED_FOR", "203.0.113.7")],
            [("REMOTE_ADDR", "203.0.113.7"), ("HTTP_X_FORWARDED_FOR", "203.0.113.7")],
            [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.1")])

    def test_accepted_proto_port_and_host(self):
        self.start(sections=BASE + "accept = for proto host\n")
        self.assert_sees(
            [("REMOTE_ADDR", "10.0.0.1"), ("REQUEST_SCHEME", "http"), ("SERVER_PORT", "80"), ("HTTP_HOST", "inside"),
             ("SERVER_NAME", "inside"), ("HTTP_X_FORWARDED_PROTO", "http, HTTPS"),
             ("HTTP_X_FORWARDED_HOST", "www.example.org:8443"), ("HTTP_X_FORWARDED_FOR", "203.0.113.7")],
            [("REMOTE_ADDR", "203.0.113.7"), ("REQUEST_SCHEME", "https"), ("SERVER_PORT", "443"),
             ("HTTP_HOST", "www.example.org:8443"), ("SERVER_NAME", "www.example.org"),
             ("HTTP_X_FORWARDED_PROTO", "http, HTTPS"), ("HTTP_X_FORWARDED_HOST", "www.example.org:8443"),
             ("HTTP_X_FORWARDED_FOR", "203.0.113.7")],
            [("HTTPS", "on"), ("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.1")])

    def test_authorizer_and_filter_are_rewritten_too(self):
        self.start(sections=BASE)
        sent = [("REMOTE_ADDR", "10.0.0.1"), ("HTTP_X_FORWARDED_FOR", "203.0.113.7")]
        for role in (AUTHORIZER, FILTER):
            seen = self.see(sent, role=role)
            self.assertEqual(seen.role, role)
            self.assertEqual(seen.get("REMOTE_ADDR"), [b"203.0.113.7"])


class Unchanged(RewriteTest):
    def test_untrusted_peer(self):
        """REMOTE_ADDR keeps its bytes; no header is believed, and none reaches the application."""
        self.start(sections=BASE)
        headers = [(name, "10.0.0.%d" % i) for i, name in enumerate(CLIENT_HEADERS)]
        for peer in ("192.0.2.1", "::ffff:192.0.2.1", "2001:DB8:0:0::1", "[2001:db8::2]", "fe80::1%eth0", "unix",
                     "010.0.0.1", "10.0.0.1, 10.0.0.2", "10.0.0.1 ", "junk", "10.0.0.1\0evil", "10.0.0.1\r\nX: y"):
            self.assert_sees(headers[:9] + [("REMOTE_ADDR", peer), ("REMOTE_PORT", "77"), ("REMOTE_HOST", "h")]
                             + headers[9:] + BEHIND,
                             [("REMOTE_ADDR", peer), ("REMOTE_PORT", "77"), ("REMOTE_HOST", "h")] + BEHIND)

    def test_no_remote_addr(self):
        self.start(sections=BASE)
        self.assert_sees([("HTTP_X_FORWARDED_FOR", "203.0.113.7"), ("REMOTE_PORT", "1")] + BEHIND,
                         [("REMOTE_PORT", "1")] + BEHIND)

    def test_untrusted_headers_may_be_kept(self):
        self.start(sections=BASE + "[realip]\nuntrusted_headers = keep\n")
        sent = BEFORE + [(name, "10.0.0.1") for name in CLIENT_HEADERS] + [("HTTP_X_FORWARDED_FOR", "again")] + [
            ("REMOTE_ADDR", "192.0.2.1")]
        self.assert_sees(sent, sent)

    def test_trusted_peer_without_a_header(self):
        self.start(sections=BASE)
        self.assert_sees([("REMOTE_ADDR", "2001:DB8:FFFF:0::1"), ("REMOTE_PORT", "9"), ("REMOTE_HOST", "h")] + BEHIND,
                         [("REMOTE_ADDR", "2001:DB8:FFFF:0::1"), ("REMOTE_PORT", "9"), ("REMOTE_HOST", "h")] + BEHIND,
                         [("REALIP_REMOTE_ADDR", "2001:DB8:FFFF:0::1"), ("REALIP_REMOTE_PORT", "9")])

    def test_unmanaged_headers_of_a_trusted_peer(self):
        others = [(name, "1.2.3.4") for name in CLIENT_HEADERS[1:]]
        sent = others + [("REMOTE_ADDR", "10.0.0.1"), ("HTTP_X_FORWARDED_FOR", "203.0.113.7")]
        wanted = [("REMOTE_ADDR", "203.0.113.7"), ("HTTP_X_FORWARDED_FOR", "203.0.113.7")]
        added = [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.1")]
        self.start(sections=BASE)
        self.assert_sees(sent, others + wanted, added)
        self.start(sections=BASE + "[realip]\nunmanaged_headers = strip\n")
        self.assert_sees(sent, wanted, added)

    def test_malformed_stops_at_the_last_good_one(self):
        self.start(sections=BASE)
        for junk in ("unknown", "203.0.113.7\0", "1.2.3", "203.0.113.07", "[203.0.113.7]", "203.0.113.7:0", "::1%lo"):
            self.assert_sees(
                [("REMOTE_ADDR", "10.0.0.1"), ("HTTP_X_FORWARDED_FOR", junk + ", 10.0.0.2")],
                [("REMOTE_ADDR", "10.0.0.2"), ("HTTP_X_FORWARDED_FOR", "10.0.0.2")],
                [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.1")])


class Forged(RewriteTest):
    def test_realip_names(self):
        self.start(sections=BASE)
        forged = [("REALIP_REMOTE_ADDR", "6.6.6.6"), ("REALIP_PROXIES", "6.6.6.6"), ("REALIP_", "x"),
                  ("REALIP_ANYTHING", "x"), ("realip_remote_addr", "x"), ("REALIP-PROXIES", "x")]
        near = [("REALIP", "stays"), ("XREALIP_A", "stays")]
        self.assert_sees(forged[:3] + near + [("REMOTE_ADDR", "192.0.2.1")] + forged[3:],
                         near + [("REMOTE_ADDR", "192.0.2.1")])
        self.assert_sees(forged[:3] + near + [("REMOTE_ADDR", "10.0.0.1")] + forged[3:],
                         near + [("REMOTE_ADDR", "10.0.0.1")], [("REALIP_REMOTE_ADDR", "10.0.0.1")])

    def test_http_proxy(self):
        self.start(sections=BASE)
        for peer, added in (("192.0.2.1", []), ("10.0.0.1", [("REALIP_REMOTE_ADDR", "10.0.0.1")])):
            self.assert_sees([("HTTP_PROXY", "http://6.6.6.6/"), ("REMOTE_ADDR", peer), ("HTTP_PROXY", ""),
                              ("http_proxy", "x"), ("HTTP-PROXY", "x"), ("HTTP_PROXY_AUTHORIZATION", "stays")],
                             [("REMOTE_ADDR", peer), ("HTTP_PROXY_AUTHORIZATION", "stays")], added)

    def test_aliases(self):
        """Names that only look alike once a gateway or an application has folded them."""
        self.start(sections=BASE)
        aliases = [("http_x_forwarded_for", "6.6.6.6"), ("HTTP_X.FORWARDED_FOR", "6.6.6.6"),
                   ("HTTP-X-FORWARDED-FOR", "6.6.6.6"), ("REMOTE.ADDR", "6.6.6.6"), ("remote_addr", "6.6.6.6"),
                   ("Remote_Port", "6"), ("REMOTE HOST", "6.6.6.6"), ("HTTP_FORWARDED\0", "x")]
        self.assert_sees(aliases[:4] + [("REMOTE_ADDR", "10.0.0.1")] + aliases[4:]
                         + [("HTTP_X_FORWARDED_FOR", "203.0.113.7"), ("HTTP_X_FORWARDED_FO", "stays")],
                         [("REMOTE_ADDR", "203.0.113.7"), ("HTTP_FORWARDED\0", "x"),
                          ("HTTP_X_FORWARDED_FOR", "203.0.113.7"), ("HTTP_X_FORWARDED_FO", "stays")],
                         [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.1")])

    def test_folded_names_where_copies_are_malformed(self):
        """What lighttpd makes of X.Forwarded.For: it is a copy, and neither is believed, whichever is the forgery."""
        rows = [("X", "1"), ("REMOTE_ADDR", "10.0.0.1"), ("HTTP_X_FORWARDED_FOR", "203.0.113.7"),
                ("HTTP_X_FORWARDED_FOR", "6.6.6.6"), ("Y", "2")]
        seen = [("X", "1"), ("REMOTE_ADDR", "10.0.0.1"), ("Y", "2")], [("REALIP_REMOTE_ADDR", "10.0.0.1")]
        for mode in ("confirmed", "unconfirmed", "keep", "remove"):
            self.start(sections=BASE + "repeated = malformed\n[realip]\nforwarded_for = %s\n" % mode)
            self.assert_sees(rows, *seen)
        self.assert_sees(rows[:3], [("X", "1"), ("REMOTE_ADDR", "203.0.113.7")],
                         [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.1")])
        self.start(sections=BASE + "header = Forwarded\nrepeated = malformed\naccept = for, proto\n")
        self.assert_sees([("REMOTE_ADDR", "10.0.0.1"), ("HTTP_FORWARDED", "for=203.0.113.7;proto=https"),
                          ("HTTP_FORWARDED", "for=6.6.6.6;proto=https")], [("REMOTE_ADDR", "10.0.0.1")], seen[1])
        self.shim.wait_log("warning: ignored an X-Forwarded-Proto.* came more than once")

    def test_folded_names_may_be_refused(self):
        self.start(sections=BASE + "repeated = malformed\non_malformed = reject\n")
        response = fcgi.ask(self.address, [("REMOTE_ADDR", "10.0.0.1"), ("HTTP_X_FORWARDED_FOR", "203.0.113.7"),
                                           ("HTTP_X_FORWARDED_FOR", "203.0.113.7")])
        self.assertTrue(response.stdout.startswith(b"Status: 400 "), response.stdout)
        self.assertEqual(self.app.requests, [])

    def test_accepted_headers_in_copies(self):
        sent = [("REMOTE_ADDR", "10.0.0.1"), ("HTTP_X_FORWARDED_PROTO", "http"), ("HTTP_X_FORWARDED_PROTO", "https"),
                ("REQUEST_SCHEME", "http")]
        self.start(sections=BASE + "accept = for, proto\n")
        self.assert_sees(sent, sent[:3] + [("REQUEST_SCHEME", "https")],
                         [("HTTPS", "on"), ("SERVER_PORT", "443"), ("REALIP_REMOTE_ADDR", "10.0.0.1")])
        self.start(sections=BASE + "accept = for, proto\nrepeated = malformed\n")
        self.assert_sees(sent, sent, [("REALIP_REMOTE_ADDR", "10.0.0.1")])

    def test_repeated_remote_addr(self):
        """The last counts, as php reads it; one is sent, at the place of the first."""
        self.start(sections=BASE)
        self.assert_sees([("A", "1"), ("REMOTE_ADDR", "192.0.2.9"), ("B", "2"), ("REMOTE_ADDR", "10.0.0.1"),
                          ("HTTP_X_FORWARDED_FOR", "203.0.113.7")],
                         [("A", "1"), ("REMOTE_ADDR", "203.0.113.7"), ("B", "2"),
                          ("HTTP_X_FORWARDED_FOR", "203.0.113.7")],
                         [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.1")])
        self.shim.wait_log("(?i)warning.*REMOTE_ADDR")
        for _ in range(20):
            self.assert_sees([("REMOTE_ADDR", "10.0.0.1"), ("B", "2"), ("REMOTE_ADDR", "192.0.2.9"),
                              ("HTTP_X_FORWARDED_FOR", "203.0.113.7")],
                             [("REMOTE_ADDR", "192.0.2.9"), ("B", "2")])
        self.assertEqual(self.shim.log().count("REMOTE_ADDR"), 1, "once a minute at most")

    def test_what_peers_send_is_escaped_in_the_log(self):
        self.start(sections=BASE)
        for peer in ("10.0.0.1\nFORGED line", "\x1b[31mFORGED", "x" * 5000):
            self.see([("REMOTE_ADDR", "192.0.2.1"), ("REMOTE_ADDR", peer), ("remote_addr", peer)])
        self.shim.wait_log("REMOTE_ADDR")
        for line in self.shim.log().splitlines():
            self.assertRegex(line, r"^\d{4}-\d\d-\d\dT\S+Z fcgi-realip\[\d+\] \w+: [ -~]*$")
            self.assertLess(len(line), 1000)

    def test_shared_secret(self):
        """Removed whoever sent it, right or wrong; only who knows it is believed."""
        self.start(sections="[proxy cdn]\ntrust = 10.0.0.0/8\nrequire_param = HTTP_X_SECRET:s3cret\n")
        xff = ("HTTP_X_FORWARDED_FOR", "203.0.113.7")
        self.assert_sees([("HTTP_X_SECRET", "s3cret"), ("REMOTE_ADDR", "10.0.0.1"), xff],
                         [("REMOTE_ADDR", "203.0.113.7"), xff],
                         [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.1")])
        for secret in ([], [("HTTP_X_SECRET", "wrong")], [("HTTP_X_SECRET", "")], [("HTTP_X_SECRET", "s3cret\0")],
                       [("HTTP_X_SECRET", "s3cret"), ("HTTP_X_SECRET", "wrong")], [("http_x_secret", "s3cret")]):
            self.assert_sees(secret + [("REMOTE_ADDR", "10.0.0.1"), xff], [("REMOTE_ADDR", "10.0.0.1")])
        self.assert_sees([("HTTP_X_SECRET", "s3cret"), ("REMOTE_ADDR", "192.0.2.1"), xff],
                         [("REMOTE_ADDR", "192.0.2.1")])


class Lengths(RewriteTest):
    """The rewritten pair may need another form of length, or another record."""

    def test_value_gets_shorter_over_the_boundary(self):
        self.start(sections=BASE)
        for junk in range(110, 140):
            self.assert_sees(
                [("REMOTE_ADDR", "10.0.0.1"), ("HTTP_X_FORWARDED_FOR", "x" * junk + ",203.0.113.7"), ("END", "1")],
                [("REMOTE_ADDR", "203.0.113.7"), ("HTTP_X_FORWARDED_FOR", "203.0.113.7"), ("END", "1")],
                [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.1")])

    def test_value_gets_longer_over_the_boundary(self):
        self.start(sections=BASE)
        for spaces in range(95, 120):
            first, second = "203.0.113.7" + " " * (spaces - 8) + ",10.0.0.3", "10.0.0.2"
            self.assert_sees(
                [("REMOTE_ADDR", "10.0.0.1"), ("HTTP_X_FORWARDED_FOR", first), ("HTTP_X_FORWARDED_FOR", second),
                 ("END", "1")],
                [("REMOTE_ADDR", "203.0.113.7"), ("HTTP_X_FORWARDED_FOR", first + ", " + second), ("END", "1")],
                [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.3, 10.0.0.2, 10.0.0.1")])

    def test_untouched_long_forms_stay_beside_changed_ones(self):
        """Byte for byte: what is not changed keeps even a length of four bytes that could be one."""
        self.start(sections=BASE)
        raw = (pair("A", "1", long=True) + pair("REMOTE_ADDR", "10.0.0.1", long=True) + pair("B", "2", long=True)
               + pair("HTTP_X_FORWARDED_FOR", "203.0.113.7") + pair("C", "", long=True))
        seen = self.see(raw)
        wanted = (pair("A", "1", long=True) + pair("REMOTE_ADDR", "203.0.113.7") + pair("B", "2", long=True)
                  + pair("HTTP_X_FORWARDED_FOR", "203.0.113.7") + pair("C", "", long=True))
        self.assertEqual(seen.params_raw[:len(wanted)], wanted)

    def test_record_boundaries(self):
        """Sets around the size of a record, with the changed one in front, in the middle and behind: cut between
        pairs (Connection.read_params asserts it), with every byte in its place."""
        self.start(sections=BASE)
        changed = [("REMOTE_ADDR", "10.0.0.1"), ("HTTP_X_FORWARDED_FOR", "203.0.113.200")]
        wanted = [("REMOTE_ADDR", "203.0.113.200"), ("HTTP_X_FORWARDED_FOR", "203.0.113.200")]
        added = [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.1")]
        for fill in range(65350, 65560, 3):
            for head, tail in ((fill, 10), (10, fill), (fill // 2, fill - fill // 2)):
                first, last = [("FIRST", "f" * head)], [("LAST", "l" * tail)]
                self.assert_sees(first + changed + last, first + wanted + last, added)

    def test_many_parameters_of_random_sizes(self):
        seed = random.randrange(1 << 32)
        dice = random.Random(seed)
        self.start(sections=BASE)
        for _ in range(20):
            others = [("N%d" % i * dice.choice((1, 1, 40)), dice.randbytes(dice.choice((0, 5, 127, 128, 3000, 30000))))
                      for i in range(dice.randrange(1, 14))]
            at = dice.randrange(len(others) + 1)
            to = dice.randrange(at, len(others) + 1)
            with self.subTest(seed=seed):
                self.assert_sees(
                    others[:at] + [("REMOTE_ADDR", "10.0.0.1")] + others[at:to]
                    + [("HTTP_X_FORWARDED_FOR", "x" * dice.randrange(300) + ", 2001:db8::1")] + others[to:],
                    others[:at] + [("REMOTE_ADDR", "2001:db8::1")] + others[at:to]
                    + [("HTTP_X_FORWARDED_FOR", "2001:db8::1")] + others[to:],
                    [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.1")],
                    size=dice.choice((65535, 8192, 100)), padding=dice.randrange(8))

    def test_pair_longer_than_a_record_beside_changed_ones(self):
        self.start(sections=BASE)
        big = [("BIG", "b" * 100000)]
        self.assert_sees(
            [("REMOTE_ADDR", "10.0.0.1")] + big + [("HTTP_X_FORWARDED_FOR", "203.0.113.7")],
            [("REMOTE_ADDR", "203.0.113.7")] + big + [("HTTP_X_FORWARDED_FOR", "203.0.113.7")],
            [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", "10.0.0.1")])

    def test_a_header_of_100_kilobytes(self):
        self.start(sections=BASE)
        chain = ", ".join(["10.0.0.2"] * 10000)
        self.assert_sees(
            [("REMOTE_ADDR", "10.0.0.1"), ("HTTP_X_FORWARDED_FOR", "6.6.6.6, " + chain)],
            [("REMOTE_ADDR", "10.0.0.2"), ("HTTP_X_FORWARDED_FOR", ", ".join(["10.0.0.2"] * 64))],
            [("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_PROXIES", ", ".join(["10.0.0.2"] * 63 + ["10.0.0.1"]))])


class OnTheWire(RewriteTest):
    def test_cut_at_every_byte(self):
        self.start(sections=BASE)
        sent = [("REMOTE_ADDR", "10.0.0.1"), ("HTTP_X_FORWARDED_FOR", "6.6.6.6,203.0.113.7"), ("A", "b")]
        wanted = [("REMOTE_ADDR", "203.0.113.7"), ("HTTP_X_FORWARDED_FOR", "203.0.113.7"), ("A", "b")]
        client = self.client()
        wire = fcgi.request(sent, b"x", keep=True, size=25, padding=1)
        for at in range(1, len(wire)):
            client.send_cut(wire, at)
            self.assert_answer(client.read_response(), b"x")
            self.assertEqual(self.app.requests[-1].params[:3], as_list(wanted))

    def test_requests_on_one_connection_do_not_mix(self):
        self.start(sections=BASE, upstream="keepalive = on\nconnections = 2\n")
        client = self.client()
        dice = random.Random(7)
        for i in range(300):
            trusted = dice.random() < 0.6
            address = "203.0.%d.%d" % (dice.randrange(256), dice.randrange(256))
            params = [("REMOTE_ADDR", "10.0.0.1" if trusted else "192.0.2.1"), ("I", str(i)),
                      ("HTTP_X_FORWARDED_FOR", address)]
            self.assert_answer(client.ask(params, keep=True), b"")
            seen = self.app.requests[-1]
            self.assertEqual(seen.get("REMOTE_ADDR"), [address.encode() if trusted else b"192.0.2.1"])
            self.assertEqual(seen.get("HTTP_X_FORWARDED_FOR"), [address.encode()] if trusted else [])
            self.assertEqual(len(seen.params), 5 if trusted else 2)
        self.assertEqual(len(self.app.connections), 1)

    def test_twice_is_as_once(self):
        """A shim behind a shim: REMOTE_ADDR, REMOTE_PORT and REMOTE_HOST as one alone leaves them."""
        for setting in ("confirmed", "unconfirmed", "client", "keep", "remove"):
            sections = BASE + "[realip]\nforwarded_for = %s\n" % setting
            self.start(sections=sections)
            inner, app = self.address, self.app
            self.start(sections=sections, app=inner)
            for chain in ("203.0.113.7", "6.6.6.6, 203.0.113.7:99, 10.0.0.2", "junk, 10.0.0.2", "10.0.0.3, 10.0.0.2",
                          ""):
                for peer in ("10.0.0.1", "192.0.2.1", "unix:"):
                    params = [("REMOTE_ADDR", peer), ("REMOTE_PORT", "1"), ("REMOTE_HOST", "h"),
                              ("HTTP_X_FORWARDED_FOR", chain)]
                    for address in (inner, self.address):
                        self.assert_answer(fcgi.ask(address, params), b"")
                    once, twice = app.requests[-2:]
                    for name in ("REMOTE_ADDR", "REMOTE_PORT", "REMOTE_HOST"):
                        self.assertEqual(once.get(name), twice.get(name), (setting, chain, peer, name))


if __name__ == "__main__":
    unittest.main()
