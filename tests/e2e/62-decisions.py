#!/usr/bin/env python3
"""Decisions in the error log, and back: explain --line walks again what the shim walked."""

import json
import random
import re
import subprocess
import unittest

from fcgi import Client, to_bytes
from relay import PLAIN, RelayTest, change
from shim import PATIENCE, program

SECRET, OTHER_SECRET = "s3cret-of-the-cdn", "another-one"
GROUPS = """
[proxy alb]
trust = 10.0.0.0/8
[proxy cdn]
trust = 192.0.2.0/24
header = CF-Connecting-IP
require_param = HTTP_X_SECRET:%s
[proxy cdn.two]
trust = 198.51.100.0/24
require_param = HTTP_X_SECRET:%s
select = hops:2
[proxy one]
trust = 192.0.3.0/24
select = single
[proxy edge]
trust = 172.16.0.0/12 unix:
header = Forwarded
on_malformed = reject
[proxy exact]
trust = 192.0.4.0/24
repeated = malformed
[access]
deny = 203.0.113.66
""" % (SECRET, OTHER_SECRET)

ALL = GROUPS + "[log]\ndecisions = all\n"
LINE = re.compile(r"^.* info: (?:refused a request with \d+|(?:changed|kept) the client): peer .*$", re.MULTILINE)


class Decisions(RelayTest):
    def start_shim(self, sections):
        """The answer is the REMOTE_ADDR that the application saw."""
        def script(connection):
            while True:
                now = connection.read_request()
                if now is None:
                    return
                connection.reply(dict(now.params).get(b"REMOTE_ADDR", b"(none)"))
                if not now.keep:
                    return
        self.start(script, sections=sections)

    def ask(self, *requests):
        """The answers to several requests on one connection."""
        with Client(self.address) as client:
            return [client.ask(params, keep=True) for params in requests]

    def lines(self, count):
        text = self.wait(lambda: len(LINE.findall(self.shim.log())) >= count and self.shim.log(), "%d lines" % count)
        lines = LINE.findall(text)
        self.assertEqual(len(lines), count, lines)
        return lines

    def explain(self, line, *arguments):
        done = subprocess.run([program(), "explain", "-c", self.shim.path, "--line", line, *arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertNotIn(SECRET.encode(), done.stdout + done.stderr)
        return done.stdout.decode(), done.stderr.decode()

    def explain_json(self, line):
        out, error = self.explain(line, "--json")
        self.assertEqual(error, "", line)
        return json.loads(out)


class Lines(Decisions):
    ASKED = [change(PLAIN, REMOTE_ADDR="10.0.0.1"), change(PLAIN, ("HTTP_X_FORWARDED_FOR", "203.0.113.7"), REMOTE_ADDR="10.0.0.1"),
             change(PLAIN, ("HTTP_X_FORWARDED_FOR", "203.0.113.66"), REMOTE_ADDR="10.0.0.1")]
    TOLD = ['kept the client: peer "10.0.0.1", client 10.0.0.1, no-header, REMOTE_PORT="4711"',
            'changed the client: peer "10.0.0.1", client 203.0.113.7, untrusted-hop, HTTP_X_FORWARDED_FOR="203.0.113.7", '
            'REMOTE_PORT="4711"',
            'refused a request with 403: peer "10.0.0.1", client 203.0.113.66, denied, HTTP_X_FORWARDED_FOR="203.0.113.66", '
            'REMOTE_PORT="4711"']

    def check(self, log, told):
        self.start_shim(GROUPS + log)
        self.ask(*self.ASKED)
        self.assertEqual([line.partition(" info: ")[2] for line in self.lines(len(told))], told)

    def test_all(self):
        self.check("[log]\ndecisions = all\n", self.TOLD)

    def test_changed(self):
        self.check("[log]\ndecisions = changed\n", self.TOLD[1:])

    def test_refused_is_the_default(self):
        self.check("", self.TOLD[2:])

    def test_level(self):
        self.check("[log]\nlevel = warning\ndecisions = all\n", [])

    def test_secrets(self):
        """Right or wrong, but never the value; copies that differ are wrong; what is not sent is not told."""
        self.start_shim(ALL)
        base = change(PLAIN, ("HTTP_CF_CONNECTING_IP", "203.0.113.7"), REMOTE_ADDR="192.0.2.1", REMOTE_PORT=None)
        name = "HTTP_X_SECRET"
        self.ask(base, change(base, (name, SECRET)), change(base, (name, OTHER_SECRET)), change(base, (name, "guess")),
                 change(base, (name, SECRET), (name, SECRET)), change(base, (name, SECRET), (name, "x")))
        lines = self.lines(6)
        found = [re.search(r" client (\S+), \S+?, (?:HTTP_X_SECRET (.*?), )?HTTP_CF_CONNECTING_IP=", line).groups()
                 for line in lines]
        self.assertEqual(found, [("192.0.2.1", None), ("203.0.113.7", "right for cdn"), ("192.0.2.1", "right for cdn.two"),
                                 ("192.0.2.1", "wrong"), ("203.0.113.7", "right for cdn"), ("192.0.2.1", "wrong")])
        for secret in (SECRET, OTHER_SECRET, "guess"):
            self.assertNotIn(secret, self.shim.log())
        for line, (client, _) in zip(lines, found):
            told = self.explain_json(line)
            self.assertEqual(client, told["client"])
        text, _ = self.explain(lines[1])
        self.assertRegex(text, r"HTTP_X_SECRET +\(not shown\) -> removed")

    def test_secrets_of_another_configuration(self):
        self.start_shim(ALL)
        self.ask(change(PLAIN, ("HTTP_CF_CONNECTING_IP", "203.0.113.7"), ("HTTP_X_SECRET", SECRET), REMOTE_ADDR="192.0.2.1"))
        line = self.lines(1)[0]
        self.shim.write_ini(self.shim.ini_text.replace("[proxy cdn]", "[proxy renamed]"))
        text, error = self.explain(line)
        self.assertIn("The client is 192.0.2.1", text)
        self.assertEqual(error, "fcgi-realip: warning: the line says client 203.0.113.7, untrusted-hop; with this "
                                "configuration it is client 192.0.2.1, untrusted-peer: the configuration has changed since, "
                                "or is not the one of that shim\n")

    def test_copies_that_are_malformed(self):
        """That there were several shows in the line, even if the last one alone is too long for it."""
        self.start_shim(ALL)
        long = "x" * 5000 + ", 203.0.113.7"
        for copies in (("203.0.113.6", "203.0.113.7"), ("203.0.113.6", long), (long, "203.0.113.7"), (long, long)):
            self.ask(change(PLAIN, *[("HTTP_X_FORWARDED_FOR", copy) for copy in copies], REMOTE_ADDR="192.0.4.1"))
        for line in self.lines(4):
            self.assertIn('kept the client: peer "192.0.4.1", client 192.0.4.1, malformed, ', line)
            self.assertEqual(self.explain_json(line)["reason"], "malformed")
            self.assertIn("but X-Forwarded-For came 2 times", " ".join(self.explain(line)[0].split()))

    def test_pasted_into_a_shell(self):
        """Between apostrophes, as the manual says: no byte of a stranger's ends them."""
        self.start_shim(ALL)
        evil = "'; echo pwned >&2; echo '\"$(echo pwned >&2)`echo pwned >&2`\\\n!x"
        self.ask(change(PLAIN, ("HTTP_X_FORWARDED_FOR", evil), REMOTE_ADDR="10.0.0.1"), change(PLAIN, REMOTE_ADDR=evil))
        for line, wanted in zip(self.lines(2), ("malformed", "untrusted-peer")):
            done = subprocess.run(["sh", "-c", "%s explain -c %s --json --line '%s'" % (program(), self.shim.path, line)],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PATIENCE)
            self.assertEqual(done.stderr, b"")
            self.assertEqual(json.loads(done.stdout)["reason"], wanted)

    def test_long_headers(self):
        """Of what does not fit the end is kept; of several headers none pushes another one out."""
        self.start_shim(ALL)
        long = ", ".join(["192.0.2.77"] * 9000)
        name = "HTTP_X_FORWARDED_FOR"
        trusted = ", ".join(["10.1.2.3"] * 60)
        rows = [
            [(name, long + ", 203.0.113.7, 10.0.0.3")],
            [(name, "x" * 60000), (name, "203.0.113.7")],
            [(name, "203.0.113.7")] + [(name, "10.0.0.9")] * 60,
            [(name, "203.0.113.7, " + trusted)],
            [("HTTP_FORWARDED", "y" * 60000), ("HTTP_CF_CONNECTING_IP", "z" * 60000), (name, "203.0.113.7, " + trusted)],
            [(name, "a"), ("HTTP_CF_CONNECTING_IP", "'" * 60000), (name, "203.0.113.7")],
        ]
        answers = self.ask(*[change(PLAIN, *row, REMOTE_ADDR="10.0.0.1") for row in rows])
        for line, answer in zip(self.lines(len(rows)), answers):
            self.assertLessEqual(len(line), 4095)
            told = self.explain_json(line)
            self.assertEqual((told["client"], answer.body), ("203.0.113.7", b"203.0.113.7"), line)

    def test_walk_further_than_the_line(self):
        """Then the line cannot tell all, and that is said."""
        self.start_shim(GROUPS.replace("[proxy alb]", "[proxy alb]\nmax_elements = 1000") + "[log]\ndecisions = all\n")
        name = "HTTP_X_FORWARDED_FOR"
        trusted = ", ".join(["10.1.2.3"] * 900)
        rows = [[(name, "203.0.113.7, " + trusted)], [(name, "203.0.113.7")] + [(name, "10.1.2.3")] * 900,
                [(name, "203.0.113.7")] + [(name, "")] * 900]
        answers = self.ask(*[change(PLAIN, *row, REMOTE_ADDR="10.0.0.1") for row in rows])
        for line, answer in zip(self.lines(len(rows)), answers):
            self.assertEqual(answer.body, b"203.0.113.7")
            self.assertLessEqual(len(line), 4095)
            out, error = self.explain(line, "--json")
            told = json.loads(out)
            self.assertEqual(told["reason"], "malformed")
            self.assertTrue(told["steps"][-1]["element"].startswith("..."), told["steps"][-1])
            self.assertRegex(error, "^fcgi-realip: warning: the line says client 203.0.113.7, untrusted-hop; with this "
                                    "configuration it is client 10.*: the line has only the end of a long header, or")

    def test_usage(self):
        self.start_shim(ALL)
        line = self.TOLD[0]
        for arguments, complaint in (
                (["--line", line, "--peer", "::1"], "--line has all of the request"),
                (["--line", line, "--header", "A: b"], "--line has all of the request"),
                (["--line", line, "--line", line], "given twice"),
                (["--line", "what is this"], "no decision of the error log"),
                (["--line", line[:-3]], "ends in something"),
                (["--line"], "needs a value")):
            done = subprocess.run([program(), "explain", "-c", self.shim.path, *arguments], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=PATIENCE)
            self.assertEqual(done.returncode, 2, arguments)
            self.assertIn(complaint, done.stderr.decode())


class Random(Decisions):
    PEERS = ["10.0.0.1", "10.0.0.2", "192.0.2.1", "198.51.100.3", "198.51.100.4", "192.0.3.1", "172.16.0.1", "unix:", "", "203.0.113.9", "::ffff:10.0.0.1",
             "2001:db8::1", "no address", "10.0.0.1'\"\\\n", "[2001:DB8::2]", "fe80::1%eth0", None]
    ELEMENTS = ["10.0.0.1", "10.9.9.9", "192.0.2.5", "198.51.100.7", "172.16.3.3", "203.0.113.7", "203.0.113.66", "2001:db8::7",
                "203.0.113.8:443", "[2001:db8::8]:80", "unknown", "'", '"', "\\", "\0", "\n", " ", "", "x" * 300, "\xff\xfe",
                "1.2.3.4.5", "010.0.0.1", "...", "for=10.0.0.1", 'for="[2001:db8::9]:1"', "for=172.16.0.9;proto=https", "_hidden"]
    NAMES = ["HTTP_X_FORWARDED_FOR"] * 4 + ["HTTP_FORWARDED", "HTTP_FORWARDED", "HTTP_CF_CONNECTING_IP", "HTTP_X_REAL_IP",
                                            "http_x_forwarded_for"]

    def make(self, choose):
        params = [("REQUEST_METHOD", "GET")]
        peer = choose.choice(self.PEERS)
        if peer is not None:
            params.append(("REMOTE_ADDR", peer))
        for _ in range(choose.randrange(4)):
            count = choose.randrange(6)
            params.append((choose.choice(self.NAMES), choose.choice([", ", ",", " ,\t"]).join(
                choose.choice(self.ELEMENTS) for _ in range(count))))
        for _ in range(choose.choice([0, 1, 1, 1, 2])):
            params.append(("HTTP_X_SECRET", choose.choice([SECRET, OTHER_SECRET, OTHER_SECRET, "wrong", ""])))
        if choose.randrange(2):
            params.append(("REMOTE_PORT", choose.choice(["4711", "", "x'"])))
        choose.shuffle(params)
        return params

    def test_round_trip(self):
        self.start_shim(ALL)
        choose = random.Random(20261128)
        requests = [self.make(choose) for _ in range(400)]
        answers = self.ask(*requests)
        reasons = set()
        for params, answer, line in zip(requests, answers, self.lines(len(requests))):
            told = self.explain_json(line)
            words = re.search(r"(refused a request with (\d+)|changed the client|kept the client): peer (none|\"[^\"]*\"), "
                              r"client ([^,]+), ([a-z-]+)", line)
            self.assertEqual(told["rejected"], int(words.group(2)) if words.group(2) else None, line)
            self.assertEqual(told["reason"], words.group(5), line)
            reasons.add((told["reason"], told["rejected"]))
            if told["rejected"]:
                self.assertEqual(answer.status, told["rejected"], line)
                continue
            peer = dict(params).get("REMOTE_ADDR")
            seen = told["params"]["REMOTE_ADDR"] if "REMOTE_ADDR" in told["params"] else peer
            self.assertEqual(answer.body, b"(none)" if seen is None else to_bytes(seen), (line, params))
            self.assertEqual(told["changed"], words.group(1).startswith("changed"), line)
        self.assertGreaterEqual(len(reasons), 8, reasons)
        for secret in (SECRET, OTHER_SECRET):
            self.assertNotIn(secret, self.shim.log())


if __name__ == "__main__":
    unittest.main()
