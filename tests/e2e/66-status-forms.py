#!/usr/bin/env python3
"""The status in all its forms: each escapes and names what it must, Prometheus reads it, nginx shows it, and the command
prints it."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import unittest
import urllib.error
import urllib.parse
import urllib.request

from relay import PLAIN
from servers import Process, find
from shim import PATIENCE, free_port, program, wait_for
from status import STATUS, NginxStatus, StatusTest, ask_page, page_params, trusted

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

SCHEMA = {
    "name": str, "version": str, "pid": int, "time": int, "started": int, "uptime": int, "generation": int,
    "requests": dict.fromkeys(("total", "answered", "refused", "aborted", "broken", "in_flight", "last_10_seconds",
                               "status_page"), int),
    "refusals": dict.fromkeys(("400", "403", "431", "502", "503", "504"), int),
    "decisions": dict.fromkeys(("untrusted-peer", "untrusted-hop", "exhausted", "no-header", "malformed", "single",
                                "hops", "leftmost", "denied"), int),
    "latency_us": dict.fromkeys(("count", "sum", "p50", "p90", "p99", "p999", "max"), int),
    "application": dict.fromkeys(("connections", "connects", "connect_failures", "reuses", "retries", "bytes_to",
                                  "bytes_from"), int),
    "web_server": dict.fromkeys(("connections", "accepted", "bytes_from", "bytes_to"), int),
    "queue": dict.fromkeys(("length", "waits", "overflows"), int),
    "time_outs": dict.fromkeys(("header", "web_server", "queue", "connect", "send", "read", "request"), int),
    "history": [int],
    "refused": [{"client": str, "peer": str, "count": int}],
    "trust_files": [{"group": str, "path": str, "entries": int, "modified": int, "age": int}],
    "workers": [dict.fromkeys(("number", "pid", "uptime", "generation", "requests", "in_flight", "queue",
                               "connections"), int)],
}


def shape(value):
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items()}
    return [shape(value[0])] if isinstance(value, list) else type(value)


def manual(heading):
    """The names behind ".It Li" in a part of the manual: "a.b , c" is a.b and a.c."""
    with open(os.path.join(TREE, "docs/fcgi-realip.ini.5")) as file:
        part = file.read().split("\n.Ss %s\n" % heading)[1].split("\n.Ss ")[0].split("\n.Sh ")[0]
    names = []
    for line in re.findall(r"^\.It Li (.*)$", part, re.MULTILINE):
        first, *others = line.split(" , ")
        start = first[:first.rfind(".") + 1] if "." in first else "fcgi_realip_" if first.startswith("fcgi") else ""
        names += [first] + [start + other for other in others]
    return names


class Forms(StatusTest):
    def test_schema(self):
        self.hostile()
        status = self.status()
        self.assertEqual(shape(status), SCHEMA)
        self.assertEqual(list(status), list(SCHEMA))

    def test_manual_names_all_numbers(self):
        names = {name if not isinstance(kind, dict) else "%s.%s" % (name, member)
                 for name, kind in SCHEMA.items() for member in (kind if isinstance(kind, dict) else [""])}
        self.assertEqual(set(manual("Numbers")), names - {"name", "version"})
        self.begin(sections="[proxy f]\ntrust_file = %s\n" % self.trust_file("a.txt"))
        text = ask_page(self.address, "prometheus").body.decode()
        families = re.findall(r"^# TYPE (\S+)", text, re.MULTILINE)
        self.assertEqual(sorted(manual("For Prometheus")), sorted(families))

    def test_files(self):
        path = self.hostile()
        status = self.status()
        self.assertEqual(len(status["trust_files"]), 1)
        found = status["trust_files"][0]
        self.assertEqual((found["group"], found["entries"], found["modified"]), ("odd", 1, 1000000000))
        self.assertEqual(found["age"], status["time"] - 1000000000)
        self.assertEqual(found["path"], path)

    def test_hostile_text(self):
        """Each form escapes as its readers need it."""
        self.hostile()
        self.assertEqual(self.status()["refused"], [{"client": "", "peer": self.HOSTILE, "count": 3}])
        text = ask_page(self.address).body
        self.assertIn(rb'''  3                  client , peer "<script>alert('\x22&\x5c\x00\x1b[2J\xff\x0a"''', text)
        self.assertNotRegex(text, rb"[\x00-\x09\x0b-\x1f\x7f]")
        text = ask_page(self.address, "prometheus").body.decode("utf-8")
        self.assertIn('path="%s/odd<b>\\"&\\\\\xe4.txt"} 1000000000\n' % self.folder, text)

    def test_types_and_queries(self):
        self.begin()
        openmetrics = "application/openmetrics-text; version=1.0.0; charset=utf-8"
        classic = "text/plain; version=0.0.4; charset=utf-8"
        accept = "HTTP_ACCEPT"
        for query, more, kind in (
                ("", (), "text/plain; charset=utf-8"), ("anything", (), "text/plain; charset=utf-8"),
                ("json", (), "application/json"), ("json&x", (), "application/json"), ("json=", (), "application/json"),
                ("prometheus", (), openmetrics), ("prometheus=", (), openmetrics),
                ("prometheus", ((accept, "*/*"),), classic),
                ("prometheus", ((accept, "application/openmetrics-text;version=1.0.0"),), openmetrics)):
            response = ask_page(self.address, query, "127.0.0.1", *more)
            self.assertEqual((response.status, response.end), (200, (0, 0)))
            self.assertEqual(response.head["content-type"], kind, query)
            self.assertEqual(response.head["cache-control"], "no-store")
        none = [pair for pair in page_params() if pair[0] != "QUERY_STRING"]
        self.assertTrue(self.ask(none).body.startswith(b"fcgi-realip "))

    def test_forms_agree(self):
        """What JSON says stands in the text, too, and in OpenMetrics."""
        self.begin()
        for _ in range(3):
            self.ask(trusted("192.0.2.7"))
        status, text = self.status(), ask_page(self.address).body.decode()
        self.assertRegex(text, r"(?m)^requests\n  total {14}3\n  answered {11}3\n")
        self.assertIn("  untrusted-hop      %d\n" % status["decisions"]["untrusted-hop"], text)
        metrics = ask_page(self.address, "prometheus").body.decode()
        for line in ('requests_total{outcome="answered"} 3', 'decisions_total{reason="untrusted-hop"} 3',
                     "application_connects_total 3", "request_duration_seconds_count 3", "queue_length 0",
                     'request_duration_seconds_bucket{le="+Inf"} 3', "status_pages_total 2",
                     'refusals_total{status="403"} 0', "requests_in_flight 0", "workers 1", "config_generation 1"):
            self.assertIn("\nfcgi_realip_%s\n" % line, metrics)


@unittest.skipIf(find("promtool") is None, "promtool is not installed")
class Prometheus(StatusTest):
    def promtool(self, *arguments, text=None):
        done = subprocess.run([find("promtool"), *arguments], input=text, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
        return done.returncode, done.stdout

    def test_classic_passes_the_check(self):
        self.hostile()
        text = ask_page(self.address, "prometheus", "127.0.0.1", ("HTTP_ACCEPT", "*/*")).body.decode()
        self.assertEqual(self.promtool("check", "metrics", text=text), (0, ""))
        self.assertNotEqual(self.promtool("check", "metrics", text=text.replace("# HELP", "# HLEP"))[0], 0)

    def test_openmetrics_is_read(self):
        """By Prometheus's own parser of it, which wants times to import samples."""
        self.hostile()
        text = ask_page(self.address, "prometheus").body.decode()
        self.assertTrue(text.endswith("\n# EOF\n"))
        for kind, sample in re.findall(r"^# TYPE (\S+) \S+\n(?:# .*\n)*(\w+)", text, re.MULTILINE):
            self.assertIn(sample, [kind + suffix for suffix in ("", "_total", "_bucket")])
        for family in re.findall(r"^# UNIT (\S+) ", text, re.MULTILINE):
            self.assertRegex(family, "_(seconds|bytes)$")
        timed = re.sub(r"(?m)^([^#].*)$", r"\1 1700000000", text)
        path = self.trust_file("metrics.txt", timed)
        status, said = self.promtool("tsdb", "create-blocks-from", "openmetrics", path, self.folder)
        self.assertEqual(status, 0, said)
        self.trust_file("metrics.txt", timed.replace("# EOF\n", ""))
        self.assertNotEqual(self.promtool("tsdb", "create-blocks-from", "openmetrics", path, self.folder)[0], 0)


class Server(Process):
    """Prometheus, which scrapes 127.0.0.1:PORT."""

    program = ("prometheus",)

    def __init__(self, port):
        super().__init__()
        self.port, self.target = free_port(), port

    def start(self):
        config = self.write("prometheus.yml", """
            global: {scrape_interval: 250ms, scrape_timeout: 250ms}
            scrape_configs:
            - job_name: shim
              metrics_path: /realip-status
              params: {prometheus: ['']}
              static_configs: [{targets: ['127.0.0.1:%d']}]
            """ % self.target)
        self.spawn(find(*self.program), "--config.file=" + config, "--storage.tsdb.path=" + self.path("data"),
                   "--web.listen-address=127.0.0.1:%d" % self.port)
        self.wait_listening("127.0.0.1:%d" % self.port)

    def query(self, text):
        url = "http://127.0.0.1:%d/api/v1/query?query=%s" % (self.port, urllib.parse.quote(text))
        try:
            with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
                return [float(one["value"][1]) for one in json.load(answer)["data"]["result"]]
        except urllib.error.HTTPError as error:
            with error:
                return []  # it is still starting


@unittest.skipIf(find("nginx") is None, "nginx is not installed")
class BehindNginx(StatusTest):
    """With the file that etc/ ships."""

    def get(self, query="", **headers):
        url = "http://127.0.0.1:%d/realip-status%s" % (self.nginx.port, query)
        try:
            with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=PATIENCE) as answer:
                return answer.status, dict(answer.headers), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, dict(error.headers), error.read()

    def serve(self, **options):
        self.begin(**options)
        self.nginx = NginxStatus(self.address)
        self.nginx.__enter__()
        self.addCleanup(self.nginx.stop)

    def test_all_forms(self):
        self.serve()
        for _ in range(3):
            self.ask(PLAIN)
        status, headers, body = self.get("?json")
        self.assertEqual((status, headers["Content-Type"]), (200, "application/json"))
        self.assertEqual(json.loads(body)["requests"]["answered"], 3)
        status, headers, body = self.get("?prometheus", Accept="text/plain")
        self.assertIn('requests_total{outcome="answered"} 3\n', body.decode())
        self.assertTrue(self.get()[2].startswith(b"fcgi-realip "))

    def test_forged(self):
        """The client is nginx's own peer, 127.0.0.1, until that is trusted to report another."""
        self.serve(sections="[proxy local]\ntrust = 127.0.0.1\n")
        self.assertEqual(self.get()[0], 200)
        self.assertEqual(self.get(**{"X-Forwarded-For": "203.0.113.7"})[0], 403)
        self.assertEqual(self.get(**{"X-Forwarded-For": "127.0.0.1, 203.0.113.7"})[0], 403)
        self.assertEqual(self.get(**{"X-Real-IP": "203.0.113.7"})[0], 200)

    @unittest.skipIf(find("prometheus") is None, "prometheus is not installed")
    def test_prometheus_scrapes_it(self):
        self.serve()
        for _ in range(7):
            self.ask(trusted("192.0.2.7"))
        with Server(self.nginx.port) as server:
            wait_for(lambda: server.query("fcgi_realip_requests_total{outcome='answered'}") == [7.0])
            self.assertEqual(server.query("fcgi_realip_decisions_total{reason='untrusted-hop'}"), [7.0])
            self.assertEqual(server.query("fcgi_realip_request_duration_seconds_count"), [7.0])
            self.assertGreater(
                server.query("histogram_quantile(1, fcgi_realip_request_duration_seconds_bucket)")[0], 0)


class Command(StatusTest):
    def tell(self, **options):
        """The command."""
        return subprocess.run([program(), "status", "-c", self.shim.path, *options.get("arguments", ())],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=PATIENCE, text=True)

    def test_text_and_json(self):
        self.begin()
        for _ in range(3):
            self.ask(PLAIN)
        done = self.tell()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertRegex(done.stdout, r"\Afcgi-realip \S+, pid %d, up " % self.shim.pid)
        self.assertIn("\n  answered           3\n", done.stdout)
        done = self.tell(arguments=["--json"])
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(json.loads(done.stdout)["requests"]["answered"], 3)

    def test_tcp(self):
        self.begin(listen="address = 127.0.0.1:%d" % free_port())
        self.assertEqual(self.tell().returncode, 0)

    def fail_with(self, pattern, **options):
        done = self.tell(**options)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"\Afcgi-realip: error: %s\n\Z" % pattern)

    def test_not_running(self):
        self.begin()
        self.shim.signal(15)
        self.shim.wait_exit()
        self.fail_with(r"nobody listens on unix:\S+: is fcgi-realip running with this configuration\? \(.*\)")

    def test_no_page(self):
        self.start(sections="[proxy a]\ntrust = 10.0.0.0/24\n")
        self.fail_with(r"\S+: there is no status page; add path to \[status\], and reload the shim")
        # The file has one by now, and the application answers.
        self.shim.write_ini(self.shim.ini_text + STATUS)
        self.fail_with(r"what answers at /realip-status is no status page; was \S+ changed since the shim read it\?")
        self.shim.signal(signal.SIGHUP)
        self.wait(lambda: self.tell().returncode == 0, "the page")

    def test_no_address(self):
        path = os.path.join(tempfile.mkdtemp(prefix="realip-"), "a.ini")
        self.addCleanup(shutil.rmtree, os.path.dirname(path))
        with open(path, "w") as file:
            file.write("[proxy a]\ntrust = 10.0.0.1\n" + STATUS)
        self.shim = type("Unstarted", (), {"path": path})
        self.fail_with(r"\S+: no \[listen\] address to ask at; where the shim inherits its socket, ask for "
                       r"/realip-status through the web server")

    def test_not_allowed(self):
        self.start(sections=self.SECTIONS + "allow = 192.0.2.1\n")
        self.fail_with(r"the shim does not show its status to 127\.0\.0\.1; add that to allow in \[status\] of \S+, "
                       r"and reload it")
        self.shim.write_ini(self.shim.ini_text.replace("allow = 192.0.2.1\n", "allow = loopback\n"))
        self.shim.signal(signal.SIGHUP)
        self.wait(lambda: self.tell().returncode == 0, "the page")

    def test_connection_not_allowed(self):
        self.begin(listen="address = 127.0.0.1:%d\nallowed_clients = 192.0.2.1" % free_port())
        self.fail_with(r"127\.0\.0\.1:\d+ closed the connection without an answer; if \[listen\] allowed_clients is "
                       r"given, it must hold 127\.0\.0\.1, too")

    def test_no_fastcgi(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)
        path = self.make_ini("127.0.0.1:%d" % listener.getsockname()[1])
        self.shim = type("Unstarted", (), {"path": path})

        def answer():
            peer, _ = listener.accept()
            with peer:
                peer.recv(10000)
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        threading.Thread(target=answer, daemon=True).start()
        self.fail_with(r"cannot read an answer from 127\.0\.0\.1:\d+: Protocol error")

    def make_ini(self, address):
        folder = tempfile.mkdtemp(prefix="realip-")
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "a.ini")
        with open(path, "w") as file:
            file.write("[listen]\naddress = %s\n[proxy a]\ntrust = 10.0.0.1\n%s" % (address, STATUS))
        return path

    def test_bad_configuration(self):
        done = subprocess.run([program(), "status", "-c", "/nonexistent"], stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 1)
        self.assertIn("/nonexistent", done.stderr)


if __name__ == "__main__":
    unittest.main()
