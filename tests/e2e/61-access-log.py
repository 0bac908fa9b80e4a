#!/usr/bin/env python3
"""The access log: a line a request, whatever comes of it, in both formats."""

import calendar
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import fcgi
from fcgi import ABORT, AUTHORIZER, PARAMS, STDIN, STDOUT, Client, answer, begin, end, pairs, record, request
from relay import PLAIN, POST, PROXIES, RelayTest, change
from shim import PATIENCE

# client, peer and chain differ; the web server's usual parameters beside them
WEB = [
    ("REQUEST_METHOD", "GET"), ("REQUEST_URI", "/index.php?a=1"), ("SCRIPT_NAME", "/index.php"),
    ("SERVER_PROTOCOL", "HTTP/1.1"), ("HTTP_REFERER", "http://example.net/"), ("HTTP_USER_AGENT", "Mozilla/5.0 (X11)"),
    ("REMOTE_ADDR", "10.0.0.2"), ("REMOTE_PORT", "4711"), ("HTTP_X_FORWARDED_FOR", "198.51.100.9, 203.0.113.7, 10.0.0.1"),
]
JSON = PROXIES + "[log]\naccess = {dir}/access.log\nformat = json\n"
COMBINED = PROXIES + "[log]\naccess = {dir}/access.log\n"


class AccessLog(RelayTest):
    def read(self, name="access.log"):
        with open(os.path.join(self.shim.dir, name), encoding="utf-8") as file:
            return file.read()

    def lines(self, count):
        """The lines, once there are so many, and no more. Signal USR1 has the shim write what it holds back."""
        if self.shim.running():
            self.shim.signal(signal.SIGUSR1)
        lines = self.wait(lambda: self.read().count("\n") >= count and self.read().splitlines(), "%d lines" % count)
        self.assertEqual(len(lines), count, lines)
        return lines

    def entries(self, count):
        return [json.loads(line) for line in self.lines(count)]

    def entry(self):
        return self.entries(1)[0]

    def assert_entry(self, entry, **wanted):
        self.assertEqual({key: entry[key] for key in wanted}, wanted, entry)


class Formats(AccessLog):
    def test_json(self):
        def script(connection):
            connection.read_request()
            connection.reply(b"12345", status="404 Not Found")
        self.start(script, sections=JSON)
        before = time.time()
        self.assert_answer(self.client().ask(WEB), b"12345", 404)
        entry = self.entry()
        self.assertEqual(list(entry), ["time", "client", "user", "method", "uri", "protocol", "status", "bytes", "referer",
                                       "agent", "reason", "outcome", "total", "first", "queue", "peer", "header", "chain"])
        self.assert_entry(
            entry, client="203.0.113.7", user=None, method="GET", uri="/index.php?a=1", protocol="HTTP/1.1", status=404,
            bytes=5, referer="http://example.net/", agent="Mozilla/5.0 (X11)", reason="untrusted-hop", outcome="answered",
            queue=0, peer="10.0.0.2", header="X-Forwarded-For", chain="198.51.100.9, 203.0.113.7, 10.0.0.1")
        self.assertRegex(entry["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")
        told = time.strptime(entry["time"][:19] + " UTC", "%Y-%m-%dT%H:%M:%S %Z")
        self.assertTrue(int(before) - 1 <= calendar.timegm(told) <= time.time())
        self.assertTrue(0 < entry["first"] <= entry["total"] < PATIENCE)

    def test_combined(self):
        self.start(sections=COMBINED, env={"TZ": "UTC-2"})
        self.assert_answer(self.client().ask(change(WEB, ("REMOTE_USER", "ada"), ("X", "y"))), b"")
        self.assertRegex(
            self.lines(1)[0],
            r'^203\.0\.113\.7 - ada \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0200\] "GET /index\.php\?a=1 HTTP/1\.1" 200 - '
            r'"http://example\.net/" "Mozilla/5\.0 \(X11\)" untrusted-hop answered \d+\.\d{6} \d+\.\d{6} 0\.000000 '
            r'"10\.0\.0\.2" "198\.51\.100\.9, 203\.0\.113\.7, 10\.0\.0\.1"$')

    def test_standard_output(self):
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.start(sections=PROXIES + "[log]\naccess = stdout\nformat = json\n",
                   wrapper=["sh", "-c", 'exec >/proc/%d/fd/%d; exec "$@"' % (os.getpid(), writing), "sh"])
        os.close(writing)
        self.assert_answer(self.client().ask(WEB), b"")
        self.assert_entry(json.loads(os.read(reading, 65536)), client="203.0.113.7", status=200)

    def test_off(self):
        self.start()
        self.assert_answer(self.client().ask(WEB), b"")
        self.assertEqual(self.shim.stop(), 0)
        self.assertNotIn("index.php", self.shim.log())

    def test_hostile_bytes(self):
        """Whatever bytes come in: a line of JSON, of UTF-8, and the text that there is."""
        self.start(sections=JSON)
        every = bytes(range(1, 256))
        rows = [every, b'"\\', b"\xc3\xa9 \xe2\x82\xac", b"\r\n{}", b"\x00", b"\x1b[2J", b"\xff\xfe", b"\xed\xa0\x80"]
        names = ("REQUEST_URI", "HTTP_USER_AGENT", "HTTP_REFERER", "REMOTE_USER", "HTTP_X_FORWARDED_FOR", "SERVER_PROTOCOL",
                 "REQUEST_METHOD")
        with Client(self.address) as client:
            for row in rows:
                client.ask(change([pair for pair in WEB if pair[0] not in names], *((name, row) for name in names)),
                           keep=True)
        entries = self.entries(len(rows))
        self.assertEqual([entry["uri"] for entry in entries[1:]],
                         ['"\\', "\xe9 \u20ac", "\r\n{}", "\0", "\x1b[2J", "\xff\xfe", "\xed\xa0\x80"])
        self.assertEqual(entries[0]["uri"], every.decode("latin-1"))
        for line in self.read().splitlines():
            self.assertNotRegex(line, "[\0-\x1f\x7f-\x9f]")

    def test_peers_that_are_no_addresses(self):
        self.start(sections=JSON)
        rows = [("unix:", "unix:", "unix:"), ("unix:/run/x", "unix:", "unix:/run/x"), ("", "unix:", ""),
                ("what is this", "what is this", "what is this"), ("2001:DB8::1", "2001:db8::1", "2001:DB8::1")]
        with Client(self.address) as client:
            for peer, _, _ in rows:
                client.ask(change(WEB, REMOTE_ADDR=peer), keep=True)
            client.ask(change(WEB, REMOTE_ADDR=None), keep=True)
        entries = self.entries(len(rows) + 1)
        self.assertEqual([(entry["client"], entry["peer"]) for entry in entries],
                         [row[1:] for row in rows] + [(None, None)])
        self.assertEqual({entry["reason"] for entry in entries}, {"untrusted-peer"})
        # Also of an untrusted peer the chain is what came.
        self.assertEqual({entry["chain"] for entry in entries}, {"198.51.100.9, 203.0.113.7, 10.0.0.1"})

    def test_chain(self):
        """Of several copies all; of a long one the end; of several headers the one that the peer's group reads."""
        sections = JSON + "[proxy cdn]\ntrust = 192.0.2.0/24\nheader = X-Real-IP\n"
        self.start(sections=sections)
        base = change(WEB, HTTP_X_FORWARDED_FOR=None)
        copies = [("HTTP_X_FORWARDED_FOR", "192.0.2.%d" % i) for i in range(3)]
        long = ", ".join("10.1.%d.%d" % (i // 250, i % 250) for i in range(3000))
        with Client(self.address) as client:
            client.ask(change(base, *copies), keep=True)
            client.ask(change(base, ("HTTP_X_FORWARDED_FOR", long), ("HTTP_X_FORWARDED_FOR", "10.9.9.9")), keep=True)
            client.ask(change(base, *[("HTTP_X_FORWARDED_FOR", "10.9.9.9")] * 200), keep=True)
            client.ask(change(base, copies[0], ("HTTP_X_REAL_IP", "203.0.113.1"), REMOTE_ADDR="192.0.2.1"), keep=True)
            client.ask(base, keep=True)
            client.ask(change(base, ("HTTP_X_FORWARDED_FOR", "")), keep=True)
        chains = [(entry["header"], entry["chain"]) for entry in self.entries(6)]
        self.assertEqual(chains[0], ("X-Forwarded-For", "192.0.2.0, 192.0.2.1, 192.0.2.2"))
        self.assertEqual(len(chains[1][1]), 640)
        self.assertTrue(chains[1][1].startswith("..."))
        self.assertTrue((long + ", 10.9.9.9").endswith(chains[1][1][3:]))
        self.assertEqual(len(chains[2][1]), 640)
        self.assertTrue(", ".join(["10.9.9.9"] * 200).endswith(chains[2][1][3:]))
        self.assertEqual(chains[3], ("X-Real-IP", "203.0.113.1"))
        self.assertEqual(chains[4:], [("X-Forwarded-For", None), ("X-Forwarded-For", "")])

    def test_long_texts(self):
        self.start(sections=JSON)
        with Client(self.address) as client:
            client.ask(change(WEB, REQUEST_URI="/" + "u" * 60000, HTTP_USER_AGENT="a" * 3000, REQUEST_METHOD="M" * 100,
                              REMOTE_ADDR="p" * 4000))
        entry = self.entry()
        self.assertEqual(entry["uri"], "/" + "u" * 1532 + "...")
        self.assertEqual(entry["agent"], "a" * 509 + "...")
        self.assertEqual(entry["method"], "M" * 29 + "...")
        self.assertEqual(entry["peer"], "p" * 93 + "...")

    def test_goaccess(self):
        if not shutil.which("goaccess"):
            self.skipTest("goaccess is not installed")
        statuses = {"/a": "200 OK", "/b": "404 Not Found", "/c": "500 Oops"}

        def script(connection):
            while True:
                now = connection.read_request()
                if now is None:
                    return
                uri = dict(now.params)[b"REQUEST_URI"].decode("latin-1")
                connection.reply(b"x" * 1000, status=statuses.get(uri, "200 OK"))
                if not now.keep:
                    return
        self.start(script, sections=COMBINED + "[access]\ndeny = 203.0.113.66\n")
        requests = [("/a", "203.0.113.1"), ("/a", "203.0.113.1"), ("/b", "203.0.113.1"), ("/c", "203.0.113.2"),
                    ("/d", "203.0.113.66"), ('/e"\\ [\xe9]', "2001:db8::7"), ("/a", "203.0.113.3")]
        with Client(self.address) as client:
            for uri, address in requests:
                client.ask(change(WEB, REQUEST_URI=uri, HTTP_X_FORWARDED_FOR='"forged", %s' % address), keep=True)
        self.lines(len(requests))
        report = os.path.join(self.shim.dir, "report.json")
        done = subprocess.run(["goaccess", os.path.join(self.shim.dir, "access.log"), "--no-global-config",
                               "--log-format=COMBINED", "--no-progress", "-o", report],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, cwd=self.shim.dir)
        self.assertEqual(done.returncode, 0, done.stdout)
        with open(report) as file:
            report = json.load(file)
        self.assertEqual((report["general"]["valid_requests"], report["general"]["failed_requests"]), (len(requests), 0))
        hosts = {row["data"]: row["hits"]["count"] for row in report["hosts"]["data"]}
        self.assertEqual(hosts, {"203.0.113.1": 3, "203.0.113.2": 1, "203.0.113.66": 1, "2001:db8::7": 1, "203.0.113.3": 1})
        found = {}
        for kind in report["status_codes"]["data"]:
            for row in kind["items"]:
                found[row["data"][:3]] = row["hits"]["count"]
        self.assertEqual(found, {"200": 4, "403": 1, "404": 1, "500": 1})
        paths = {row["data"]: row["hits"]["count"] for name in ("requests", "not_found") for row in report[name]["data"]}
        self.assertEqual((paths["/a"], paths["/b"], paths["/d"]), (3, 1, 1))
        self.assertGreater(report["general"]["bandwidth"], 6000)


class Outcomes(AccessLog):
    """Each way in which a request can end."""

    def test_kept_connection(self):
        self.start(sections=JSON)
        with Client(self.address) as client:
            for i in range(50):
                self.assert_answer(client.ask(change(WEB, REQUEST_URI="/%d" % i, REQUEST_METHOD="POST"), b"b" * i, keep=True),
                                   b"b" * i)
        entries = self.entries(50)
        self.assertEqual([(entry["uri"], entry["bytes"]) for entry in entries], [("/%d" % i, i) for i in range(50)])
        self.assertEqual({entry["outcome"] for entry in entries}, {"answered"})

    def test_kept_application_connection(self):
        self.start(sections=JSON, upstream="keepalive = on\nconnections = 1\n")
        with Client(self.address) as client:
            for i in range(20):
                self.assert_answer(client.ask(WEB, b"b" * i, keep=True), b"b" * i)
        self.assertEqual([entry["bytes"] for entry in self.entries(20)], list(range(20)))

    def test_refused(self):
        deny = "[access]\ndeny = 203.0.113.66\n[proxy strict]\ntrust = 192.0.2.9\non_malformed = reject\n"
        self.start(sections=JSON + deny + "[limits]\nparams_size = 4k\n")
        with Client(self.address) as client:
            self.assert_refusal(client.ask(change(WEB, HTTP_X_FORWARDED_FOR="203.0.113.66"), keep=True), 403)
            self.assert_refusal(client.ask(change(WEB, REMOTE_ADDR="192.0.2.9", HTTP_X_FORWARDED_FOR="x"), keep=True), 400)
            broken = pairs(change(WEB, HTTP_X_FORWARDED_FOR="203.0.113.7")) + b"\x05"
            self.assert_refusal(client.ask(broken, keep=True), 400)
            self.assert_refusal(client.ask(change(WEB, ("HTTP_COOKIE", "c" * 5000)), keep=True), 431)
        entries = self.entries(4)
        self.assertEqual([(entry["status"], entry["client"], entry["reason"], entry["peer"]) for entry in entries],
                         [(403, "203.0.113.66", "denied", "10.0.0.2"), (400, "192.0.2.9", "malformed", "192.0.2.9"),
                          (400, "10.0.0.2", None, "10.0.0.2"), (431, "10.0.0.2", None, "10.0.0.2")])
        for entry in entries:
            self.assert_entry(entry, outcome="refused", uri="/index.php?a=1", method="GET")
            self.assertGreater(entry["bytes"], 20)

    def test_too_many_parameters(self):
        self.start(sections=JSON)
        with Client(self.address) as client:
            self.assert_refusal(client.ask(WEB + [("N%d" % i, "") for i in range(4097)]), 431)
        self.assert_entry(self.entry(), status=431, client="10.0.0.2", peer="10.0.0.2", reason=None, outcome="refused")

    def test_parameters_cut_in_the_middle_of_a_value(self):
        """431 while they come: what has come by then is told."""
        self.start(sections=JSON + "[limits]\nparams_size = 4k\n")
        raw = pairs(WEB + [("HTTP_COOKIE", "c" * 20000)])
        with Client(self.address) as client:
            client.send(begin() + fcgi.stream(PARAMS, raw, size=1000))
            self.assert_refusal(client.read_response(), 431)
        self.assert_entry(self.entry(), status=431, uri="/index.php?a=1", peer="10.0.0.2", client="10.0.0.2", reason=None)

    def test_application_gone(self):
        self.start(sections=JSON)
        self.app.close()
        self.assert_refusal(self.client().ask(WEB), 502)
        self.assert_entry(self.entry(), status=502, client="203.0.113.7", outcome="refused")

    def test_application_says_nothing(self):
        self.start(lambda connection: connection.read_request(), sections=JSON)
        self.assert_refusal(self.client().ask(WEB), 502)
        self.assert_entry(self.entry(), status=502, outcome="refused")

    def test_application_is_overloaded(self):
        def script(connection):
            now = connection.read_request()
            connection.send(end(now.id, 0, fcgi.OVERLOADED))
        self.start(script, sections=JSON)
        self.assert_refusal(self.client().ask(WEB), 503)
        self.assert_entry(self.entry(), status=503, outcome="refused")

    def test_time_out(self):
        def script(connection):
            connection.read_request()
            connection.read_eof()
        self.start(script, sections=JSON, upstream="read_timeout = 500ms\n")
        self.assert_refusal(self.client().ask(WEB), 504)
        entry = self.entry()
        self.assert_entry(entry, status=504, outcome="refused")
        self.assertGreaterEqual(entry["first"], 0.45)

    def hold(self):
        """A script whose answers wait for self.go."""
        self.go = threading.Event()

        def script(connection):
            while True:
                now = connection.read_request()
                if now is None:
                    return
                self.go.wait(PATIENCE)
                connection.reply()
                if not now.keep:
                    return
        return script

    def test_queue(self):
        self.start(self.hold(), sections=JSON, upstream="connections = 1\nqueue = 2\nqueue_timeout = 200ms\n")
        self.addCleanup(self.go.set)
        first, expiring, leaving, full = (self.client() for _ in range(4))
        first.send(request(change(WEB, REQUEST_URI="/first")))
        self.app.wait_requests(1)
        leaving.send(request(change(WEB, REQUEST_URI="/leaving")))
        leaving.wait_sent()
        expiring.send(request(change(WEB, REQUEST_URI="/expiring")))
        expiring.wait_sent()
        self.assert_refusal(full.ask(change(WEB, REQUEST_URI="/full")), 503)
        leaving.close()
        self.assert_refusal(expiring.read_response(), 503)
        waiting = self.client()
        waiting.send(request(change(WEB, REQUEST_URI="/waiting")))
        waiting.wait_sent()
        time.sleep(0.02)  # so that the time in the queue is no rounding
        self.go.set()
        self.assert_answer(first.read_response())
        self.assert_answer(waiting.read_response())
        entries = {entry["uri"]: entry for entry in self.entries(5)}
        self.assert_entry(entries["/first"], status=200, queue=0, outcome="answered")
        self.assert_entry(entries["/full"], status=503, queue=0, outcome="refused")
        self.assert_entry(entries["/leaving"], status=499, outcome="aborted", first=None)
        self.assertEqual(entries["/leaving"]["queue"], entries["/leaving"]["total"])
        self.assert_entry(entries["/expiring"], status=503, outcome="refused")
        self.assertGreaterEqual(entries["/expiring"]["queue"], 0.19)
        self.assert_entry(entries["/waiting"], status=200, outcome="answered")
        self.assertTrue(0.01 < entries["/waiting"]["queue"] <= entries["/waiting"]["first"])

    def test_limit_of_requests(self):
        """It is refused before anything is decided, and still told whose it was."""
        self.start(self.hold(), sections=JSON + "[limits]\nrequests = 1\n")
        self.addCleanup(self.go.set)
        first = self.client()
        first.send(request(WEB))
        self.app.wait_requests(1)
        self.assert_refusal(self.client().ask(change(WEB, HTTP_X_FORWARDED_FOR="203.0.113.8")), 503)
        self.assert_entry(self.entry(), status=503, client="203.0.113.8", reason="untrusted-hop", outcome="refused")

    def test_aborted(self):
        """By a record, by the end of the connection; before the answer and inside it."""
        began = threading.Event()

        def script(connection):
            now = connection.read_request()
            if dict(now.params)[b"REQUEST_URI"].startswith(b"/late"):
                connection.send(record(STDOUT, b"Status: 201\r\n\r\n1234567", now.id))
                began.set()
            connection.read_eof()
        self.start(script, sections=JSON)

        def begin_one(uri):
            client = self.client()
            client.send(begin(keep=True) + record(PARAMS, pairs(change(WEB, REQUEST_URI=uri))) + record(PARAMS)
                        + record(STDIN))
            return client
        clients = [begin_one(uri) for uri in ("/early-record", "/early-close")]
        self.app.wait_requests(2)
        for uri in ("/late-record", "/late-close"):
            clients.append(begin_one(uri))
            self.assertEqual(clients[-1].read_record().content, b"Status: 201\r\n\r\n1234567")
        for i in (0, 2):
            clients[i].send(record(ABORT))
            self.assertEqual(clients[i].read_response().end, (0, 0))
        for i in (1, 3):
            clients[i].close()
        entries = {entry["uri"]: entry for entry in self.entries(4)}
        for uri in ("/early-record", "/early-close"):
            self.assert_entry(entries[uri], status=499, bytes=0, outcome="aborted", first=None)
        for uri in ("/late-record", "/late-close"):
            self.assert_entry(entries[uri], status=201, bytes=7, outcome="aborted")

    def test_broken_off(self):
        def script(connection):
            now = connection.read_request()
            connection.send(record(STDOUT, b"Status: 201\r\n\r\n1234567", now.id))
        self.start(script, sections=JSON)
        self.assert_cut(self.client().ask(WEB))
        self.assert_entry(self.entry(), status=201, bytes=7, outcome="broken")

    def test_authorizer(self):
        def script(connection):
            connection.read_request()
            connection.reply(b"no", status="401 Unauthorized")
        self.start(script, sections=JSON)
        self.assert_answer(self.client().ask(WEB, role=AUTHORIZER), b"no", 401)
        self.assert_entry(self.entry(), status=401, bytes=2, outcome="answered", client="203.0.113.7")

    def test_answer_in_all_sizes(self):
        """Bodies over many records, with STDERR between, padded, cut anywhere: their size is told."""
        choose = random.Random(7)

        def script(connection):
            while True:
                now = connection.read_request()
                if now is None:
                    return
                size = int(dict(now.params)[b"REQUEST_URI"][1:])
                wire = answer(b"b" * size, now.id, status="299 Odd", padding=choose.randrange(8),
                              size=choose.choice([7, 1000, 65535]) if size < 100000 else 65535)
                cut = choose.randrange(len(wire))
                connection.send(record(fcgi.STDERR, b"Status: 599\r\n\r\n", now.id) + wire[:cut])
                connection.send(wire[cut:])
                if not now.keep:
                    return
        self.start(script, sections=JSON)
        sizes = [choose.randrange(3000) for _ in range(100)] + [0, 1, 65535, 65536, 1000000, 5000000]
        with Client(self.address) as client:
            for size in sizes:
                self.assertEqual(len(client.ask(change(WEB, REQUEST_URI="/%d" % size), keep=True).body), size)
        self.assertEqual([(entry["status"], entry["bytes"]) for entry in self.entries(len(sizes))],
                         [(299, size) for size in sizes])

    def test_end_of_the_shim(self):
        """What waits in memory is written; requests that it ends are told."""
        self.start(self.hold(), sections=JSON + "[process]\nshutdown_timeout = 100ms\n")
        self.addCleanup(self.go.set)
        client = self.client()
        client.send(request(WEB))
        self.app.wait_requests(1)
        self.shim.signal(signal.SIGTERM)
        self.assertEqual(self.shim.wait_exit(), 0)
        self.assert_entry(self.entry(), status=499, outcome="aborted")

    def test_parameters_that_never_end(self):
        self.start(sections=JSON)
        client = self.client()
        client.send(begin() + record(PARAMS, pairs(WEB)))
        client.close()
        self.assert_answer(self.client().ask(WEB), b"")
        self.assert_entry(self.entry(), outcome="answered")


class Cgi(AccessLog):
    """Run as a CGI program, for one request."""

    def run_cgi(self, access):
        self.start(sections=PROXIES)
        self.shim.write_ini(self.shim.ini_text + "[log]\nformat = json\naccess = %s\n" % access)
        done = subprocess.run([os.environ["FCGI_REALIP"], "serve", "-c", self.shim.path], stdout=subprocess.PIPE,
                              stdin=subprocess.DEVNULL, timeout=PATIENCE,
                              env=dict(WEB, GATEWAY_INTERFACE="CGI/1.1", PATH=os.environ["PATH"]))
        self.assertEqual((done.returncode, done.stdout), (0, b"Content-Type: text/plain\r\n\r\n"))

    def test_file(self):
        self.run_cgi("{dir}/access.log")
        self.assert_entry(self.entry(), client="203.0.113.7", status=200, outcome="answered")

    def test_standard_output_is_for_the_answer(self):
        self.run_cgi("stdout")


class Changes(AccessLog):
    """While requests run."""

    def reload(self, log):
        generation = self.shim.log().count("is in force") + 2
        self.shim.write_ini(self.shim.ini_text + log)
        self.shim.signal(signal.SIGHUP)
        self.shim.wait_log("reloaded; configuration %d is in force" % generation)

    def test_on_and_off(self):
        go = threading.Event()
        self.addCleanup(go.set)

        def script(connection):
            while True:
                now = connection.read_request()
                if now is None:
                    return
                if dict(now.params)[b"REQUEST_URI"].startswith(b"/slow"):
                    go.wait(PATIENCE)
                connection.reply()
                if not now.keep:
                    return
        self.start(script, sections=PROXIES, sandbox=False)
        slow = [self.client(), self.client()]
        slow[0].send(request(change(WEB, REQUEST_URI="/slow0"), keep=True))
        self.app.wait_requests(1)
        self.reload("[log]\naccess = {dir}/access.log\nformat = json\n")
        slow[1].send(request(change(WEB, REQUEST_URI="/slow1"), keep=True))
        self.app.wait_requests(2)
        self.assert_answer(self.client().ask(change(WEB, REQUEST_URI="/a")))
        self.assert_entry(self.entry(), uri="/a")
        self.reload("[log]\naccess = {dir}/access.log\n")
        self.assert_answer(self.client().ask(change(WEB, REQUEST_URI="/b")))
        self.assertRegex(self.lines(2)[1], r'^203\.0\.113\.7 - - \[.* "GET /b HTTP/1\.1" 200 ')
        self.reload("[log]\naccess = off\n")
        go.set()
        for client in slow:
            self.assert_answer(client.read_response())
            self.assert_answer(client.ask(WEB, keep=True))
        self.reload("[log]\naccess = {dir}/access.log\n")
        self.assert_answer(slow[0].ask(change(WEB, REQUEST_URI="/c"), keep=True))
        self.assertIn('"GET /c HTTP/1.1"', self.lines(3)[2])

    def test_new_file(self):
        """What waits for the old one is written there."""
        self.start(sections=COMBINED)
        self.assert_answer(self.client().ask(WEB))
        self.shim.write_ini(self.shim.ini_text.replace("access.log", "new.log"))
        self.shim.signal(signal.SIGHUP)
        self.shim.wait_log("configuration 2 is in force")
        self.assertEqual(self.read().count("\n"), 1)
        self.assert_answer(self.client().ask(WEB))
        self.wait(lambda: self.read("new.log").count("\n") == 1)
        self.assertEqual(self.read().count("\n"), 1)

    def test_workers(self):
        """Several processes write to one file: no line is torn, none is lost."""
        self.start(sections=JSON + "[process]\nworkers = 2\n")

        def load(number):
            for i in range(100):
                with Client(self.address) as client:
                    for j in range(5):
                        self.assert_answer(client.ask(change(WEB, REQUEST_URI="/%d/%d/%d" % (number, i, j)), keep=True))
        threads = [threading.Thread(target=load, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        uris = [entry["uri"] for entry in self.entries(1000)]
        self.assertEqual(sorted(uris), sorted("/%d/%d/%d" % (n, i, j) for n in range(2) for i in range(100) for j in range(5)))


class Trouble(AccessLog):
    def load(self, count):
        with Client(self.address) as client:
            for _ in range(count):
                self.assert_answer(client.ask(WEB, keep=True))

    def test_cannot_be_opened(self):
        self.start(sections=PROXIES)
        self.shim.write_ini(self.shim.ini_text.replace("shim.sock", "second.sock")
                            + "[log]\naccess = {dir}/none/a.log\n")
        done = subprocess.run([os.environ["FCGI_REALIP"], "serve", "-c", self.shim.path], stderr=subprocess.PIPE,
                              timeout=PATIENCE)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr.decode(), r"cannot open the access log .*/none/a.log: No such file or directory\n")

    def test_full_disk(self):
        self.start(sections=PROXIES + "[log]\naccess = /dev/full\n")
        self.load(3000)
        self.shim.wait_log("error: cannot write the access log /dev/full: No space left on device; lines wait")
        self.load(100)
        self.assertEqual(self.shim.stop(), 0)
        self.assertEqual(self.shim.log().count("cannot write the access log"), 1)
        self.assertRegex(self.shim.log(), "warning: 3100 lines could not be written and are missing in the access log")

    def test_disk_with_room_again(self):
        self.start(sections=JSON)
        before = resource.prlimit(self.shim.relay_pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.shim.relay_pid, resource.RLIMIT_FSIZE, (10000, before[1]))
        self.load(3000)
        self.shim.wait_log("cannot write the access log .*: File too large")
        self.assertEqual(len(self.read()), 10000)
        resource.prlimit(self.shim.relay_pid, resource.RLIMIT_FSIZE, before)
        missing = int(self.shim.wait_log(r"warning: (\d+) lines could not be written and are missing in the access log "
                                         ).group(1))
        self.load(10)
        entries = self.entries(3010 - missing)
        self.assertGreater(missing, 0)
        self.assertEqual({entry["status"] for entry in entries}, {200})

    def test_fifo_without_reader(self):
        directory = tempfile.mkdtemp(prefix="realip-log-")
        self.addCleanup(shutil.rmtree, directory)
        fifo = os.path.join(directory, "fifo")
        os.mkfifo(fifo)
        self.start(sections=PROXIES + "[log]\naccess = %s\n" % fifo)
        self.load(5000)
        self.shim.wait_log("cannot write the access log .*/fifo: Resource temporarily unavailable")
        self.load(10)
        text = []

        def collect():
            with open(fifo, "rb", buffering=0) as reader:
                while True:
                    data = reader.read(65536)
                    if not data:
                        return
                    text.append(data)
        thread = threading.Thread(target=collect)
        thread.start()
        missing = int(self.shim.wait_log(r"warning: (\d+) lines could not be written").group(1))
        self.assertEqual(self.shim.stop(), 0)
        thread.join(PATIENCE)
        lines = b"".join(text).decode().splitlines()
        self.assertEqual(len(lines) + missing, 5010)
        for line in lines:
            self.assertRegex(line, '^203.*10.0.0.1"$')

    def test_rotation_under_load(self):
        self.start(sections=JSON)
        done = threading.Event()
        sent = [0, 0]

        def load(number):
            with Client(self.address) as client:
                while not done.is_set():
                    self.assert_answer(client.ask(change(WEB, REQUEST_URI="/%d/%d" % (number, sent[number])), keep=True))
                    sent[number] += 1
        threads = [threading.Thread(target=load, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        path = os.path.join(self.shim.dir, "access.log")
        try:
            for i in range(20):
                self.wait(lambda: os.path.exists(path))
                before = sum(sent)
                self.wait(lambda: sum(sent) > before + 50)
                os.rename(path, "%s.%02d" % (path, i))
                self.shim.signal(signal.SIGUSR1)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        self.shim.signal(signal.SIGTERM)
        self.assertEqual(self.shim.wait_exit(), 0)
        names = sorted(name for name in os.listdir(self.shim.dir) if name.startswith("access.log."))
        self.assertEqual(len(names), 20)
        uris = [json.loads(line)["uri"] for name in names + ["access.log"] for line in self.read(name).splitlines()]
        for number in range(2):
            self.assertEqual([uri for uri in uris if uri.startswith("/%d/" % number)],
                             ["/%d/%d" % (number, i) for i in range(sent[number])])

    def test_one_write_for_many_lines(self):
        """Not one system call a request: the kernel counts them."""
        self.start(sections=JSON)

        def writes():
            with open("/proc/%d/io" % self.shim.relay_pid) as file:
                return int(re.search(r"syscw: (\d+)", file.read()).group(1))
        self.load(10)
        self.lines(10)
        before = writes()
        self.load(2000)
        self.lines(2010)
        # Sockets are not written with write(2); 2000 lines of 400 bytes are 7 buffers, and a second passes now and then.
        self.assertLess(writes() - before, 60)


if __name__ == "__main__":
    unittest.main()
