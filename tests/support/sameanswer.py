"""One table of requests that must give the same client behind every web server and for every application.

Requests come from loopback: 127.0.0.1 stands for the trusted proxy in front of the web server, any other 127.x
address for a client that reaches it directly. Further trusted hops are 10.x and 2001:db8:1::/48.
"""

import asyncio
import collections
import functools
import http.client
import json
import os
import resource
import sys
import tempfile
import unittest
import zlib

from servers import APPLICATIONS
from shim import PATIENCE, Shim, free_port

PROXY = "127.0.0.1"
DIRECT = "127.0.0.2"
LARGE = 50 * 1000 * 1000
CONCURRENT = 1000

INI = """
[listen]
address = unix:{dir}/shim.sock
          127.0.0.1:%d
# Apache as root has workers of another user
mode = 0666

[upstream]
address = %s
connections = 3
queue_timeout = 2m
%s

[proxy edge]
trust = 127.0.0.1, ::1, 10.0.0.0/8, 2001:db8:1::/48
"""

# port: what REMOTE_PORT says; None: the connection's own. kept: the elements of X-Forwarded-For that are left.
# proxies: REALIP_PROXIES; None for a peer that is not trusted.
Row = collections.namedtuple("Row", "name source headers client port kept proxies")
XFF = "X-Forwarded-For"
ROWS = [
    Row("direct client", DIRECT, [], DIRECT, None, [], None),
    Row("direct client that forges", DIRECT, [(XFF, "203.0.113.66, 10.0.0.1")], DIRECT, None, [], None),
    Row("proxy without a header", PROXY, [], PROXY, None, [], ""),
    Row("one proxy", PROXY, [(XFF, "203.0.113.7")], "203.0.113.7", "", ["203.0.113.7"], "127.0.0.1"),
    Row("three proxies", PROXY, [(XFF, "203.0.113.7, 10.0.0.1, 10.0.0.2")], "203.0.113.7", "",
        ["203.0.113.7", "10.0.0.1", "10.0.0.2"], "10.0.0.1, 10.0.0.2, 127.0.0.1"),
    Row("forged left part", PROXY, [(XFF, "203.0.113.66, 10.9.9.9, 203.0.113.7, 10.0.0.1")], "203.0.113.7", "",
        ["203.0.113.7", "10.0.0.1"], "10.0.0.1, 127.0.0.1"),
    Row("two header lines", PROXY, [(XFF, "203.0.113.66, 203.0.113.7"), (XFF, "10.0.0.1")], "203.0.113.7", "",
        ["203.0.113.7", "10.0.0.1"], "10.0.0.1, 127.0.0.1"),
    Row("two header lines, the client in the second", PROXY, [(XFF, "203.0.113.66"), (XFF, "203.0.113.7, 10.0.0.1")],
        "203.0.113.7", "", ["203.0.113.7", "10.0.0.1"], "10.0.0.1, 127.0.0.1"),
    Row("only trusted hops", PROXY, [(XFF, "10.0.0.3, 10.0.0.2")], "10.0.0.3", "", ["10.0.0.3", "10.0.0.2"],
        "10.0.0.2, 127.0.0.1"),
    Row("40 trusted hops", PROXY, [(XFF, ", ".join(["203.0.113.7"] + ["10.1.0.%d" % n for n in range(40)]))],
        "203.0.113.7", "", ["203.0.113.7"] + ["10.1.0.%d" % n for n in range(40)],
        ", ".join(["10.1.0.%d" % n for n in range(40)] + ["127.0.0.1"])),
    Row("IPv6", PROXY, [(XFF, "2001:db8:2::7, 2001:db8:1::1")], "2001:db8:2::7", "",
        ["2001:db8:2::7", "2001:db8:1::1"], "2001:db8:1::1, 127.0.0.1"),
    Row("IPv6 in another spelling", PROXY, [(XFF, "2001:0DB8:0002:0:0:0:0:0007")], "2001:db8:2::7", "",
        ["2001:0DB8:0002:0:0:0:0:0007"], "127.0.0.1"),
    Row("mapped IPv6", PROXY, [(XFF, "::ffff:203.0.113.7, ::ffff:10.0.0.1")], "203.0.113.7", "",
        ["::ffff:203.0.113.7", "::ffff:10.0.0.1"], "10.0.0.1, 127.0.0.1"),
    Row("ip:port", PROXY, [(XFF, "203.0.113.7:4711, 10.0.0.1:99")], "203.0.113.7", "4711",
        ["203.0.113.7:4711", "10.0.0.1:99"], "10.0.0.1, 127.0.0.1"),
    Row("[ip]:port", PROXY, [(XFF, "[2001:db8:2::7]:4711")], "2001:db8:2::7", "4711", ["[2001:db8:2::7]:4711"],
        "127.0.0.1"),
    Row("empty elements", PROXY, [(XFF, ", 203.0.113.7,, ,10.0.0.1,")], "203.0.113.7", "",
        ["203.0.113.7", "10.0.0.1"], "10.0.0.1, 127.0.0.1"),
    Row("junk", PROXY, [(XFF, "203.0.113.66, unknown, 10.0.0.1")], "10.0.0.1", "", ["10.0.0.1"], "127.0.0.1"),
    Row("nothing but junk", PROXY, [(XFF, "203.0.113.66, 010.0.0.1")], PROXY, None, [], ""),
    # Which web servers make X_Forwarded_For the parameter that X-Forwarded-For becomes? nginx, Apache and HAProxy
    # drop it; Caddy and lighttpd would fold it, and the shipped configurations take it away before.
    Row("underscores behind it", PROXY, [(XFF, "203.0.113.7"), ("X_Forwarded_For", "203.0.113.66")], "203.0.113.7",
        "", ["203.0.113.7"], "127.0.0.1"),
    Row("underscores before it", PROXY, [("X_Forwarded_For", "203.0.113.66"), (XFF, "203.0.113.7")], "203.0.113.7",
        "", ["203.0.113.7"], "127.0.0.1"),
]

# X.Forwarded.For: nginx, Apache and HAProxy drop it, Caddy passes it as HTTP_X.FORWARDED.FOR, which the shim drops.
# lighttpd folds it: what arrives is one more copy of the header, and nobody behind lighttpd can tell it from a real
# one. etc/lighttpd/fcgi-realip.conf says what helps.
DOTS = Row("dots", PROXY, [(XFF, "203.0.113.7"), ("X.Forwarded.For", "203.0.113.66")], "203.0.113.7", "",
           ["203.0.113.7"], "127.0.0.1")
DOTS_FOLDED = DOTS._replace(client="203.0.113.66", kept=["203.0.113.66"])


@functools.lru_cache(None)
def numbered_lines(size):
    """The size bytes of an answer to ?size=."""
    return b"".join(b"%015d\n" % n for n in range(size // 16 + 1))[:size]


def crc(data):
    return "%08x" % zlib.crc32(data)


class Answer:
    def __init__(self, status, body, port):
        self.status = status
        self.body = body
        self.port = port  # of the connection's client side

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError:
            raise AssertionError("status %d, and no JSON: %r" % (self.status, self.body[:500])) from None


def ask(port, query="json", headers=(), source=PROXY, body=None, timeout=PATIENCE, path="/index.php"):
    """One HTTP request on a connection of its own, from the address source."""
    host = "::1" if ":" in source else "127.0.0.1"
    connection = http.client.HTTPConnection(host, port, source_address=(source, 0), timeout=timeout)
    try:
        connection.putrequest("GET" if body is None else "POST", path + "?" + query, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Type", "application/octet-stream")
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders()
        own_port = connection.sock.getsockname()[1]
        if body is not None:
            connection.send(body)
        response = connection.getresponse()
        return Answer(response.status, response.read(), own_port)
    finally:
        connection.close()


def raise_descriptor_limit():
    """What 1,000 connections through three processes need; the servers inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class Chain:
    """An application, the shim and a web server, up and connected; close() ends them in the opposite order."""

    def __init__(self, server, application, upstream="", **options):
        raise_descriptor_limit()
        self.parts = []
        try:
            self.application = self.add(application())
            self.directory = self.add(tempfile.TemporaryDirectory(prefix="realip-shim-")).name
            os.chmod(self.directory, 0o755)  # Apache as root has workers of another user
            tcp_port = free_port()
            self.ini = INI % (tcp_port, self.application.address, upstream)
            self.shim = self.add(Shim(self.ini, directory=self.directory))
            address = "127.0.0.1:%d" % tcp_port if server.tcp else "unix:%s/shim.sock" % self.directory
            self.server = self.add(server(address, **options))
        except BaseException:
            self.close(*sys.exc_info())
            raise

    def add(self, part):
        part.__enter__()
        self.parts.append(part)
        return part

    def stop_shim(self):
        self.parts.remove(self.shim)
        self.shim.__exit__(None, None, None)

    def start_shim(self):
        self.shim = self.add(Shim(self.ini, directory=self.directory))

    def close(self, kind=None, error=None, trace=None):
        """A failure in one part does not keep the others from ending."""
        failures = []
        while self.parts:
            try:
                self.parts.pop().__exit__(kind, error, trace)
            except AssertionError as failure:
                failures.append(str(failure))
        if failures and kind is None:
            raise AssertionError("\n".join(failures))

    def ask(self, *arguments, **options):
        return ask(self.server.port, *arguments, **options)


class SameAnswer(unittest.TestCase):
    """All of the table through one server and one application; see make_tests."""

    server = None
    application = None
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        cls.chain = Chain(cls.server, cls.application)

    @classmethod
    def tearDownClass(cls):
        cls.chain.close()

    def assert_row(self, row, answer):
        self.assertEqual(answer.status, 200, answer.body[:500])
        params = answer.json()["params"]
        expected = {
            "REMOTE_ADDR": row.client,
            "REMOTE_PORT": str(answer.port) if row.port is None else row.port,
            "HTTP_X_FORWARDED_FOR": row.kept or None,
            "REALIP_REMOTE_ADDR": None if row.proxies is None else row.source,
            "REALIP_REMOTE_PORT": None if row.proxies is None else str(answer.port),
            "REALIP_PROXIES": row.proxies or None,
        }
        seen = {name: params.get(name) for name in expected}
        if seen["HTTP_X_FORWARDED_FOR"] is not None:
            # Servers differ in the white space where they join, and empty elements stay.
            elements = [element.strip() for element in seen["HTTP_X_FORWARDED_FOR"].split(",")]
            seen["HTTP_X_FORWARDED_FOR"] = [element for element in elements if element]
        self.assertEqual(seen, expected)

    def test_table(self):
        for row in ROWS:
            with self.subTest(row.name):
                self.assert_row(row, self.chain.ask("json", row.headers, row.source))

    def test_dots_for_hyphens(self):
        row = DOTS_FOLDED if self.server.folds_dots else DOTS
        self.assert_row(row, self.chain.ask("json", row.headers, row.source))

    def test_ipv6_sockets(self):
        """The trusted peer is an IPv6 address, or an IPv4 address that most servers then spell ::ffff:a.b.c.d."""
        with open("/proc/net/if_inet6") as file:
            if not file.read():
                self.skipTest("no IPv6 here")
        for host, proxy, direct in (("::1", "::1", None), ("::ffff:127.0.0.1", PROXY, DIRECT)):
            prefix = "::ffff:" if host != "::1" and self.server.maps else ""
            chain = Chain(self.server, self.application, host=host)
            try:
                answer = chain.ask("json", [(XFF, "203.0.113.66, 203.0.113.7, 10.0.0.1")], proxy)
                self.assert_row(Row(host, prefix + proxy, [], "203.0.113.7", "", ["203.0.113.7", "10.0.0.1"],
                                    "10.0.0.1, " + proxy), answer)
                if direct:
                    answer = chain.ask("json", [(XFF, "203.0.113.66")], direct)
                    self.assert_row(Row(host, direct, [], prefix + direct, None, [], None), answer)
            finally:
                chain.close()

    def test_parameters_that_are_not_ours(self):
        answer = self.chain.ask("json&a=b%20c", [(XFF, "203.0.113.7"), ("User-Agent", "x \xe9 y"), ("Proxy", "evil"),
                                                 ("X-Long", "l" * 5000)])
        params = answer.json()["params"]
        self.assertEqual(params["QUERY_STRING"], "json&a=b%20c")
        self.assertEqual(params["SCRIPT_NAME"], "/index.php")
        self.assertEqual(params["HTTP_X_LONG"], "l" * 5000)
        self.assertNotIn("HTTP_PROXY", params)

    def test_upload(self):
        body = numbered_lines(LARGE)
        answer = self.chain.ask("json", [(XFF, "203.0.113.7")], body=body, timeout=4 * PATIENCE).json()
        self.assertEqual((answer["body_length"], answer["body_crc32"]), (LARGE, crc(body)))
        self.assertEqual(answer["params"]["REMOTE_ADDR"], "203.0.113.7")

    def test_download(self):
        answer = self.chain.ask("size=%d" % LARGE, [(XFF, "203.0.113.7")])
        self.assertEqual(answer.status, 200)
        self.assertEqual(len(answer.body), LARGE)
        self.assertEqual(crc(answer.body), crc(numbered_lines(LARGE)))

    def test_many_at_once(self):
        """Each of them is another client, and gets its own answer."""
        clients = ["198.18.%d.%d" % (n // 250, n % 250 + 1) for n in range(CONCURRENT)]

        async def one(client):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.chain.server.port)
            writer.write(b"GET /index.php?json HTTP/1.0\r\nHost: localhost\r\n"
                         b"X-Forwarded-For: 203.0.113.66, %s, 10.0.0.1\r\n\r\n" % client.encode())
            answer = await asyncio.wait_for(reader.read(), 4 * PATIENCE)
            writer.close()
            head, _, body = answer.partition(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n")[0]:
                return answer[:200].decode("latin-1")
            return json.loads(body)["params"]["REMOTE_ADDR"]

        async def everybody():
            return await asyncio.gather(*(one(client) for client in clients))
        self.assertEqual(asyncio.run(everybody()), clients)


def make_tests(*servers):
    """A test case for each of the servers with each application. The process ends with status 77 if none is here."""
    cases = {}
    for server in servers:
        for application in APPLICATIONS:
            name = "%sTo%s" % (server.__name__, application.__name__)
            case = type(name, (SameAnswer,), {"server": server, "application": application})
            for needed in (server, application):
                if not needed.installed():
                    case = unittest.skip("%s is not installed" % needed.__name__)(case)
            cases[name] = case
    return cases


def skip_unless_installed(*parts):
    """Ends the process as a skipped test, saying so, if one of these is not installed."""
    for part in parts:
        if not part.installed():
            print("SKIPPED: %s is not installed" % part.__name__)
            sys.exit(77)
