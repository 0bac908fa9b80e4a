#!/usr/bin/env python3
"""The command line: help, usage errors, check, explain in text and JSON, whoami."""

import fcntl
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import unittest
import zlib

import fcgi
from shim import PATIENCE, SANITIZER, accepts, connect, free_port, program, wait_for

KEYS = ["peer", "client", "port", "reason", "changed", "rejected", "proxies", "header", "remaining", "steps", "params"]
STEP_KEYS = ["hop", "group", "header", "element", "verdict"]


class CliTest(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="realip-cli-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def write(self, text, name="test.ini"):
        path = os.path.join(self.dir, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def run_program(self, *args, **options):
        """The finished process; its output as text. A sanitizer's report fails the test."""
        done = subprocess.run([program(), *args], stdin=subprocess.DEVNULL, stdout=options.pop("stdout", subprocess.PIPE),
                              stderr=subprocess.PIPE, timeout=PATIENCE, **options)
        done.stderr = done.stderr.decode()
        done.stdout = (done.stdout or b"").decode()
        self.assertIsNone(SANITIZER.search(done.stderr), done.stderr)
        return done

    def succeed(self, *args, **options):
        done = self.run_program(*args, **options)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def refuse(self, status, message, *args, **options):
        """It ends with this status, nothing on standard output, and exactly this message."""
        done = self.run_program(*args, **options)
        self.assertEqual((done.returncode, done.stdout), (status, ""))
        self.assertEqual(done.stderr, message)


class Usage(CliTest):
    def test_version(self):
        done = self.succeed("--version")
        self.assertRegex(done.stdout, r"\Afcgi-realip \d+\.\d+\.\d+\n\Z")
        self.assertEqual(self.succeed("-V").stdout, done.stdout)

    def test_help_names_every_command(self):
        done = self.succeed("--help")
        self.assertEqual(done.stderr, "")
        commands = re.findall(r"^  fcgi-realip (\[?\w+\]?) .*\n      \S", done.stdout, re.MULTILINE)
        self.assertEqual(commands, ["[serve]", "check", "explain", "cgi", "status", "whoami", "import", "reload",
                                    "upgrade", "completion", "help"])
        self.assertEqual(self.succeed("-h").stdout, done.stdout)
        self.assertEqual(self.succeed("help").stdout, done.stdout)
        self.assertEqual(self.succeed("help", "help").stdout, done.stdout)

    def test_help_of_a_command(self):
        for command, option in [("serve", "--config FILE"), ("check", "-v, --verbose"), ("explain", "--peer ADDR"),
                                ("cgi", "-n, --no-script"), ("status", "--json"),
                                ("whoami", "-l, --listen ADDRESS")]:
            with self.subTest(command):
                text = self.succeed(command, "--help").stdout
                self.assertTrue(text.startswith("fcgi-realip %s [" % command), text)
                self.assertIn(option, text)
                self.assertEqual(self.succeed("help", command).stdout, text)
                self.assertEqual(self.succeed(command, "-h").stdout, text)

    def test_unknown_commands(self):
        where = "Try `fcgi-realip --help`.\n"
        self.refuse(2, 'fcgi-realip: error: unknown command "chek"; did you mean "check"?\n' + where, "chek")
        self.refuse(2, 'fcgi-realip: error: unknown command "whoam"; did you mean "whoami"?\n' + where, "help", "whoam")
        self.refuse(2, 'fcgi-realip: error: unknown command "frobnicate"\n' + where, "frobnicate")
        self.refuse(2, 'fcgi-realip: error: unexpected argument "check"\n' + where, "help", "serve", "check")

    def test_unknown_options(self):
        def where(command):
            return "Try `fcgi-realip %s --help`.\n" % command
        for args, command, message in [
            (("--confg", "x"), "serve", 'unknown option "--confg"; did you mean "--config"?'),
            (("serve", "--frobnicate"), "serve", 'unknown option "--frobnicate"'),
            (("-x",), "serve", 'unknown option "-x"'),
            (("check", "-vx"), "check", 'unknown option "-x"'),
            (("check", "-c"), "check", "--config needs a value: --config FILE"),
            (("check", "--verbose=1"), "check", "--verbose takes no value"),
            (("check", "file.ini"), "check", 'unexpected argument "file.ini"'),
            (("check", "--", "php-cgi"), "check", 'unexpected argument "php-cgi"'),
            (("serve", "php-cgi", "--", "x"), "serve", 'unexpected argument "php-cgi"'),
            (("serve", "--"), "serve", "the application to start is missing: write it behind `--`"),
            (("--",), "serve", "the application to start is missing: write it behind `--`"),
            (("check", "-"), "check", 'unexpected argument "-"'),
            (("whoami", "-l", "unix:/x", "-n", "0"), "whoami", '"0": the number of threads is 1 to 256'),
            (("whoami", "-l", "unix:/x", "-n", "1x"), "whoami", '"1x": the number of threads is 1 to 256'),
            (("explain",), "explain", "--peer ADDR is missing: the REMOTE_ADDR that the web server sends"),
            (("explain", "--peer", "a", "--peer", "b"), "explain", '"b": --peer is given twice; a request has one'),
            (("explain", "--peer", "a", "--header", "X-Real-IP"), "explain",
             '"X-Real-IP": a header is written \'NAME: VALUE\''),
            (("explain", "--peer", "a", "--param", "=x"), "explain", '"=x": a parameter is written NAME=VALUE'),
            (("explain", "--peer", "a", "--param", "X"), "explain", '"X": a parameter is written NAME=VALUE'),
        ]:
            with self.subTest(args):
                self.refuse(2, "fcgi-realip: error: %s\n%s" % (message, where(command)), *args)
        done = self.run_program("explain", "--peer", "a", "--header", "X Y: 1")
        self.assertEqual(done.returncode, 2)
        self.assertIn('"X Y: 1": a header\'s name holds', done.stderr)

    def test_spellings_of_an_option(self):
        path = self.write("[proxy a]\ntrust = 10.0.0.1\n")
        expected = self.succeed("check", "-c", path).stdout
        for args in [("-c" + path,), ("--config", path), ("--config=" + path,), ("-c", path, "--")]:
            self.assertEqual(self.succeed("check", *args).stdout, expected)
        verbose = self.succeed("check", "-v", "-c", path).stdout
        self.assertEqual(self.succeed("check", "-vc", path).stdout, verbose)
        self.assertNotEqual(verbose, expected)

    def test_no_configuration(self):
        path = os.path.join(self.dir, "none.ini")
        for command in (["check"], ["serve"], ["explain", "--peer", "10.0.0.1"], []):
            done = self.run_program(*command, "-c", path)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertEqual(done.stderr, "fcgi-realip: error: %s: cannot read the configuration: "
                             "No such file or directory\n" % path)

    def test_serve_needs_both_sides(self):
        proxy = "[proxy a]\ntrust = 10.0.0.1\n"
        path = self.write(proxy + "[upstream]\naddress = 127.0.0.1:9\n")
        self.refuse(2, "fcgi-realip: error: %s: no place to listen; write a [listen] section with an address\n"
                    "Try `fcgi-realip serve --help`.\n" % path, "-c", path)
        path = self.write(proxy + "[listen]\naddress = unix:%s/s\n" % self.dir)
        self.refuse(1, "fcgi-realip: error: %s: no application to send to; write an [upstream] section with its "
                    "address, or the command that starts it\n" % path, "-c", path)

    def test_output_that_cannot_be_written(self):
        path = self.write("[proxy a]\ntrust = 10.0.0.1\n")
        for args in (["check", "-c", path], ["explain", "-c", path, "--peer", "1.2.3.4"], ["--help"], ["--version"],
                     ["check", "--help"]):
            with self.subTest(args), open("/dev/full", "w") as full:
                done = self.run_program(*args, stdout=full)
                self.assertEqual(done.returncode, 1)
                self.assertEqual(done.stderr, "fcgi-realip: error: cannot write to standard output: "
                                 "No space left on device\n")


class Check(CliTest):
    def test_valid(self):
        path = self.write("[listen]\naddress = unix:{0}/a, 127.0.0.1:9001\n[upstream]\naddress = unix:{0}/app\n"
                          "[proxy lb]\ntrust = 10.0.0.0/8 192.0.2.1\n[proxy cdn]\ntrust = 2001:db8::/32\n"
                          .format(self.dir))
        done = self.succeed("check", "-c", path)
        self.assertEqual(done.stderr, "")
        self.assertEqual(done.stdout,
                         "{1}: configuration is valid\n  trusts 2 groups of proxies with 3 address blocks\n"
                         "  listens on unix:{0}/a, 127.0.0.1:9001; sends to unix:{0}/app\n".format(self.dir, path))

    def test_valid_without_a_section(self):
        path = self.write("[proxy lb]\ntrust = 10.0.0.1\n")
        self.assertEqual(self.succeed("check", "-c", path).stdout,
                         "%s: configuration is valid\n  trusts 1 group of proxies with 1 address block\n"
                         "  has no [listen] yet; has no [upstream] yet\n" % path)

    def test_warnings_do_not_fail(self):
        path = self.write("[proxy lb]\ntrust = 10.0.0.1/8\nselect = leftmost\n")
        done = self.succeed("check", "-c", path)
        self.assertRegex(done.stderr, r"(?m)^fcgi-realip: warning: %s:2: .*10\.0\.0\.1/8" % re.escape(path))
        self.assertRegex(done.stderr, r"(?m)^fcgi-realip: warning: %s:3: .*leftmost" % re.escape(path))
        self.assertIn("configuration is valid", done.stdout)

    def test_all_errors_at_once(self):
        path = self.write("[proxi lb]\n[proxy a]\ntrust = 10.0.0.256\nhaeder = X\n[realip]\nforwarded_for = maybe\n")
        done = self.run_program("check", "-c", path)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        lines = done.stderr.splitlines()
        self.assertEqual([re.match(r"fcgi-realip: error: %s:(\d+): " % re.escape(path), line).group(1) for line in lines],
                         ["1", "3", "4", "6"], done.stderr)
        for line, text in zip(lines, ["proxy", "10.0.0.256", "header", "maybe"]):
            self.assertIn(text, line)

    def test_verbose_prints_a_configuration(self):
        path = self.write("[listen]\naddress = unix:%s/s\nmode = 0600\n[upstream]\naddress = 127.0.0.1:9000\n"
                          "[proxy lb]\ntrust = 10.0.0.0/8\nselect = hops:2\n[access]\ndeny = 192.0.2.0/24\n" % self.dir)
        text = self.succeed("check", "-v", "-c", path).stdout
        self.assertTrue(text.startswith("# %s: configuration is valid\n" % path), text)
        for line in ("mode = 0600", "trust = 10.0.0.0/8", "select = hops:2", "deny = 192.0.2.0/24",
                     "forwarded_for = confirmed"):
            self.assertIn("\n%s\n" % line, text)
        again = self.write(text, "again.ini")
        second = self.succeed("check", "-v", "-c", again).stdout
        self.assertEqual(second.split("\n\n", 1)[1], text.split("\n\n", 1)[1])


class CheckPrograms(CliTest):
    """What check says of programs that the shim starts: as they are on this machine."""

    def setUp(self):
        super().setUp()
        self.program = self.add("app", 0o755)

    def add(self, name, mode, text="#!/bin/sh\n"):
        path = self.write(text, name)
        os.chmod(path, mode)
        return path

    def ini(self, *lines):
        return self.write("[proxy lb]\ntrust = 10.0.0.1\n[upstream]\n" + "".join(line + "\n" for line in lines))

    def assert_summary(self, expected, *lines, stderr="", path=None):
        options = {"env": {**os.environ, "PATH": path}} if path else {}
        done = self.succeed("check", "-c", self.ini(*lines), **options)
        self.assertEqual(done.stdout.splitlines()[-1], "  has no [listen] yet; " + expected)
        self.assertEqual(done.stderr, stderr)

    def assert_refused(self, message, *lines, path=None):
        """The key of line 4 is to blame."""
        options = {"env": {**os.environ, "PATH": path}} if path else {}
        self.refuse(1, "fcgi-realip: error: %s/test.ini:4: %s\n" % (self.dir, message), "check", "-c", self.ini(*lines),
                    **options)

    def test_summary(self):
        self.assert_summary("starts 1 process of " + self.program, "command = " + self.program)
        self.assert_summary("starts 4 processes of %s -b \"x y\" '\"' \"\"" % self.program,
                            "command = %s -b 'x y' '\"' ''" % self.program, "processes = 4")
        self.assert_summary("starts 1 process of app", "command = app", path="/nonexistent:" + self.dir)
        self.assert_summary("runs the CGI program %s x, at most 16 at a time" % self.program, "cgi = %s x" % self.program)
        self.assert_summary("runs the CGI programs in %s, at most 3 at a time" % self.dir, "cgi = script",
                            "cgi_root = %s//." % self.dir, "max_processes = 3")
        self.assert_summary("has no [upstream] yet", "processes = 4")

    def test_verbose_prints_a_configuration(self):
        for lines in (["command = %s 'a  b' \"\"" % self.program, "processes = 3", "environment = A, B"],
                      ["cgi = " + self.program], ["cgi = script", "cgi_root = " + self.dir]):
            text = self.succeed("check", "-v", "-c", self.ini(*lines)).stdout
            for line in lines:
                self.assertIn("\n%s\n" % line, text)
            again = self.write(text, "again.ini")
            second = self.succeed("check", "-v", "-c", again).stdout
            self.assertEqual(second.split("\n\n", 1)[1], text.split("\n\n", 1)[1])

    def test_program_that_cannot_be_run(self):
        data = self.add("data", 0o644)
        folder = self.dir + "/folder"
        os.mkdir(folder)
        fifo = self.dir + "/fifo"
        os.mkfifo(fifo, 0o755)
        for path, why in (("/nonexistent/app", "no such file; install the program, or correct the path"),
                          (data, "may not be executed; give the right to, chmod +x"),
                          (data + "/x", "Not a directory"),
                          (folder, "a directory; write the path of the program in it"),
                          (fifo, "no regular file; write the path of a program")):
            for key in ("command", "cgi"):
                with self.subTest(path, key=key):
                    self.assert_refused('%s = "%s": %s' % (key, path, why), "%s = %s -x" % (key, path))
        self.assert_refused('command = "nonexistent": not in PATH; install the program, or write its absolute path',
                            "command = nonexistent -x", path="/nonexistent:" + self.dir)
        self.assert_refused('cgi = "data": in PATH, but may not be executed; give the right to, chmod +x',
                            "cgi = data", path="/nonexistent:" + self.dir)

    def test_root_that_is_none(self):
        self.assert_refused('cgi_root = "/nonexistent": no such directory; create it, or correct the path',
                            "cgi_root = /nonexistent", "cgi = script")
        self.assert_refused('cgi_root = "%s": not a directory; write that of the programs, or cgi = PROGRAM for a single '
                            "one" % self.program, "cgi_root = " + self.program, "cgi = script")
        self.assert_refused('cgi_root = "%s/x": Not a directory' % self.program, "cgi_root = %s/x" % self.program,
                            "cgi = script")

    def test_what_everybody_can_write(self):
        os.chmod(self.program, 0o757)
        for key in ("command", "cgi"):
            lines = ["%s = %s" % (key, self.program)]
            done = self.succeed("check", "-c", self.ini(*lines))
            self.assertEqual(done.stderr, 'fcgi-realip: warning: %s/test.ini:4: %s = "%s": every user of this machine can '
                             "change this program; take the right away, chmod o-w\n" % (self.dir, key, self.program))
        os.chmod(self.dir, 0o1777)
        self.assert_refused('cgi_root = "%s": every user of this machine can write %s, and so put programs there; take the '
                            "right away, chmod o-w" % (self.dir, self.dir), "cgi_root = " + self.dir, "cgi = script")

    def test_only_check_looks(self):
        """explain is about addresses, and may run on another machine."""
        path = self.ini("command = /nonexistent/app")
        self.assertEqual(self.succeed("explain", "-c", path, "--peer", "10.0.0.1").stderr, "")


GROUPS = """
[proxy lb]
trust = 10.0.0.0/8 unix:
[proxy one]
trust = 192.168.1.1
select = single
[proxy two]
trust = 192.168.1.2
select = hops:2
[proxy left]
trust = 192.168.1.3
select = leftmost
[proxy cdn]
trust = 198.18.0.0/15
header = CF-Connecting-IP
private_clients = no
require_param = HTTP_X_SECRET:hush
[proxy strict]
trust = 192.168.1.4
header = Forwarded
require_header = yes
on_malformed = reject
[proxy meek]
trust = 192.168.1.5
on_malformed = peer
max_elements = 3
[proxy exact]
trust = 192.168.1.6
repeated = malformed
accept = for, proto
[access]
deny = 203.0.113.66
"""


class ExplainTest(CliTest):
    def arguments(self, peer, headers, params, ini):
        args = ["explain", "-c", self.write(GROUPS if ini is None else ini), "--peer", peer]
        for header in headers:
            args += ["--header", header]
        for param in params:
            args += ["--param", param]
        return args

    def json(self, peer, *headers, params=(), ini=None):
        done = self.succeed(*self.arguments(peer, headers, params, ini), "--json")
        self.assertEqual(done.stdout.count("\n"), 1, done.stdout)
        pairs = json.loads(done.stdout, object_pairs_hook=list)
        self.assertEqual([key for key, _ in pairs], KEYS)
        result = json.loads(done.stdout)
        for step in dict(pairs)["steps"]:
            self.assertEqual([key for key, _ in step], STEP_KEYS)
        self.assertEqual(len(dict(pairs)["params"]), len(result["params"]), "a name twice")
        return result

    def text(self, peer, *headers, params=(), ini=None):
        """Standard output with all white space made one blank, so that where lines break does not matter."""
        done = self.succeed(*self.arguments(peer, headers, params, ini))
        for line in done.stdout.splitlines():
            if '"' not in line:
                self.assertLessEqual(len(line.replace(self.dir, "")), 80, line)
        return " ".join(done.stdout.split())

    def assert_tells(self, text, *phrases):
        at = 0
        for phrase in phrases:
            found = text.find(phrase, at)
            self.assertGreaterEqual(found, 0, "%r is not (in this order) in: %s" % (phrase, text))
            at = found + len(phrase)


class ExplainJson(ExplainTest):
    def test_whole_chain(self):
        self.assertEqual(
            self.json("10.0.0.2", "X-Forwarded-For: 6.6.6.6, 203.0.113.7:4711, 10.0.0.1", params=["REMOTE_PORT=555"]),
            {"peer": "10.0.0.2", "client": "203.0.113.7", "port": 4711, "reason": "untrusted-hop", "changed": True,
             "rejected": None, "proxies": ["10.0.0.1", "10.0.0.2"], "header": "X-Forwarded-For",
             "remaining": "203.0.113.7:4711, 10.0.0.1",
             "steps": [
                 {"hop": "10.0.0.2", "group": "lb", "header": "X-Forwarded-For", "element": "10.0.0.1",
                  "verdict": "passed"},
                 {"hop": "10.0.0.1", "group": "lb", "header": "X-Forwarded-For", "element": "203.0.113.7:4711",
                  "verdict": "passed"},
                 {"hop": "203.0.113.7", "group": None, "header": None, "element": None, "verdict": "untrusted-hop"}],
             "params": {"REMOTE_ADDR": "203.0.113.7", "HTTP_X_FORWARDED_FOR": "203.0.113.7:4711, 10.0.0.1",
                        "REMOTE_PORT": "4711", "REALIP_REMOTE_ADDR": "10.0.0.2", "REALIP_REMOTE_PORT": "555",
                        "REALIP_PROXIES": "10.0.0.1, 10.0.0.2"}})

    def test_untrusted_peer(self):
        self.assertEqual(
            self.json("198.51.100.9", "X-Forwarded-For: 203.0.113.7", "X-Real-IP: 203.0.113.7"),
            {"peer": "198.51.100.9", "client": "198.51.100.9", "port": None, "reason": "untrusted-peer",
             "changed": False, "rejected": None, "proxies": [], "header": None, "remaining": None,
             "steps": [{"hop": "198.51.100.9", "group": None, "header": None, "element": None,
                        "verdict": "untrusted-peer"}],
             "params": {"HTTP_X_FORWARDED_FOR": None, "HTTP_X_REAL_IP": None}})

    def test_untrusted_peer_whose_headers_are_kept(self):
        ini = "[proxy lb]\ntrust = 10.0.0.0/8\n[realip]\nuntrusted_headers = keep\n"
        result = self.json("198.51.100.9", "X-Forwarded-For: 1.1.1.1", "X-Forwarded-For: 2.2.2.2", ini=ini)
        self.assertEqual((result["header"], result["remaining"], result["params"]), (None, "1.1.1.1, 2.2.2.2", {}))

    def test_reasons(self):
        def verdicts(result):
            return [step["verdict"] for step in result["steps"]]
        for reason, client, steps, peer, *headers in [
            ("untrusted-peer", "1.2.3.4", 1, "1.2.3.4", "X-Forwarded-For: 9.9.9.9"),
            ("untrusted-hop", "9.9.9.9", 2, "10.0.0.1", "X-Forwarded-For: 8.8.8.8, 9.9.9.9"),
            ("exhausted", "10.0.0.2", 2, "10.0.0.1", "X-Forwarded-For: 10.0.0.2"),
            ("exhausted", "192.168.1.2", 1, "192.168.1.2", "X-Forwarded-For: 9.9.9.9"),
            ("no-header", "10.0.0.1", 1, "10.0.0.1"),
            ("no-header", "10.0.0.1", 1, "10.0.0.1", "Forwarded: for=9.9.9.9"),
            ("malformed", "10.0.0.1", 1, "10.0.0.1", "X-Forwarded-For: unknown"),
            ("malformed", "10.0.0.2", 2, "10.0.0.1", "X-Forwarded-For: 9.9.9.9, , 010.1.1.1, 10.0.0.2"),
            ("malformed", "192.168.1.5", 1, "192.168.1.5", "X-Forwarded-For: 9.9.9.9, x"),
            ("single", "10.0.0.2", 1, "192.168.1.1", "X-Forwarded-For: 9.9.9.9, 10.0.0.2"),
            ("hops", "8.8.8.8", 1, "192.168.1.2", "X-Forwarded-For: 7.7.7.7, 8.8.8.8, 9.9.9.9"),
            ("leftmost", "7.7.7.7", 1, "192.168.1.3", "X-Forwarded-For: x, 7.7.7.7, 8.8.8.8"),
        ]:
            with self.subTest(reason=reason, peer=peer, headers=headers):
                result = self.json(peer, *headers)
                self.assertEqual((result["reason"], result["client"], result["rejected"]), (reason, client, None))
                self.assertEqual(verdicts(result), ["passed"] * (steps - 1) + [reason])
                self.assertEqual(result["changed"], client != peer)

    def test_refusals(self):
        denied = self.json("10.0.0.1", "X-Forwarded-For: 203.0.113.66")
        self.assertEqual((denied["reason"], denied["rejected"], denied["client"]), ("denied", 403, "203.0.113.66"))
        self.assertEqual([step["verdict"] for step in denied["steps"]], ["passed", "untrusted-hop"])
        self.assertEqual((denied["remaining"], denied["params"]), (None, {}))
        malformed = self.json("192.168.1.4", "Forwarded: for=unknown")
        self.assertEqual((malformed["reason"], malformed["rejected"], malformed["client"]),
                         ("malformed", 400, "192.168.1.4"))
        missing = self.json("192.168.1.4")
        self.assertEqual((missing["reason"], missing["rejected"]), ("no-header", 400))
        empty = self.json("192.168.1.4", "Forwarded:")
        self.assertEqual((empty["reason"], empty["rejected"]), ("exhausted", 400))

    def test_several_groups_and_headers(self):
        result = self.json("10.0.0.3", "X-Forwarded-For: 198.18.0.1", "CF-Connecting-IP: 9.9.9.9", "X-Secret: hush")
        self.assertEqual((result["client"], result["header"], result["remaining"]),
                         ("9.9.9.9", "X-Forwarded-For", "198.18.0.1"))
        self.assertEqual([(step["group"], step["header"]) for step in result["steps"]],
                         [("lb", "X-Forwarded-For"), ("cdn", "CF-Connecting-IP"), (None, None)])
        self.assertEqual(result["proxies"], ["198.18.0.1", "10.0.0.3"])
        self.assertIsNone(result["params"]["HTTP_X_SECRET"])
        without = self.json("10.0.0.3", "X-Forwarded-For: 198.18.0.1", "CF-Connecting-IP: 9.9.9.9")
        self.assertEqual((without["client"], without["reason"]), ("198.18.0.1", "untrusted-hop"))
        self.assertIsNone(without["params"]["HTTP_CF_CONNECTING_IP"])

    def test_repeated_headers_keep_their_order(self):
        result = self.json("10.0.0.1", "X-Forwarded-For: 9.9.9.9", "x-forwarded-for:  10.0.0.2\t")
        self.assertEqual((result["client"], result["remaining"]), ("9.9.9.9", "9.9.9.9, 10.0.0.2"))
        self.assertEqual(result["params"]["HTTP_X_FORWARDED_FOR"], "9.9.9.9, 10.0.0.2")

    def test_peers(self):
        for peer, client, group in [("", "", "lb"), ("unix:", "unix:", "lb"), ("unix:/run/x", "unix:/run/x", "lb"),
                                    ("::ffff:10.0.0.1", "::ffff:10.0.0.1", "lb"), ("unix", "unix", None),
                                    ("10.0.0.01", "10.0.0.01", None)]:
            with self.subTest(peer):
                result = self.json(peer)
                self.assertEqual((result["peer"], result["client"], result["steps"][0]["group"]), (peer, client, group))
        self.assertEqual(self.json("::ffff:10.0.0.1")["steps"][0]["hop"], "10.0.0.1")
        self.assertEqual(self.json("/run/x")["steps"][0]["hop"], "unix:")
        self.assertEqual(self.json("unix")["steps"][0]["hop"], "unix")

    def test_header_names(self):
        ini = "[proxy lb]\ntrust = 10.0.0.1\nheader = X-Real-IP\n[realip]\nuntrusted_headers = strip\n"
        self.assertEqual(self.json("10.0.0.1", "x-real-ip: 9.9.9.9", ini=ini)["client"], "9.9.9.9")
        result = self.json("10.0.0.1", "Content-Type: a", "Content-Length: 3", "Proxy: x", "X.Real-IP: 1.1.1.1", ini=ini)
        self.assertEqual((result["client"], result["reason"]), ("10.0.0.1", "no-header"))
        self.assertEqual(result["params"], {"HTTP_PROXY": None, "HTTP_X.REAL_IP": None, "REALIP_REMOTE_ADDR": "10.0.0.1"})

    def test_params_are_raw(self):
        result = self.json("10.0.0.1", params=["HTTP_X_FORWARDED_FOR= 9.9.9.9 ", "realip_x=1", "A=b=c",
                                               "REMOTE_HOST=lb.example"])
        self.assertEqual(result["client"], "9.9.9.9")
        self.assertEqual(result["params"]["REMOTE_HOST"], "9.9.9.9")
        self.assertNotIn("A", result["params"])
        self.assertIsNone(result["params"]["realip_x"])

    def test_escaping(self):
        raw = b"X-Forwarded-For: a\"b\\c\x01\x7f\xc3\xa9\xff\xc0\xaf\xed\xa0\x80\xf0\x9f\x98\x80\xe2\x82"
        args = [os.fsencode(arg) for arg in self.arguments("10.0.0.1", [], [], None)] + [b"--header", raw, b"--json"]
        done = subprocess.run([os.fsencode(program()), *args], capture_output=True, timeout=PATIENCE, check=True)
        self.assertIn(b'"element":"a\\"b\\\\c\\u0001\\u007f\xc3\xa9\\u00ff\\u00c0\\u00af\\u00ed\\u00a0\\u0080'
                      b'\xf0\x9f\x98\x80\\u00e2\\u0082"', done.stdout)
        self.assertEqual(json.loads(done.stdout)["reason"], "malformed")

    def test_warnings_stay_on_standard_error(self):
        args = self.arguments("10.0.0.1", [], [], "[proxy lb]\ntrust = 10.0.0.1/8\n")
        done = self.succeed(*args, "--json")
        self.assertIn("warning: ", done.stderr)
        json.loads(done.stdout)


class ExplainText(ExplainTest):
    def test_the_walk(self):
        self.assert_tells(
            self.text("10.0.0.2", "X-Forwarded-For: 6.6.6.6, 203.0.113.7:4711, 10.0.0.1"),
            "1. 10.0.0.2 sent the request to the web server. It is trusted by [proxy lb] (10.0.0.0/8, %s:3)"
            % os.path.join(self.dir, "test.ini"),
            "it reported 10.0.0.1 as the last element of X-Forwarded-For.",
            "2. 10.0.0.1 is trusted by [proxy lb]",
            'it reported "203.0.113.7:4711" (203.0.113.7, port 4711) as the next element to the left of X-Forwarded-For.',
            "3. 203.0.113.7 is in no trust list: this is the client. Whatever stands to its left was written by the "
            'client and is not believed: "6.6.6.6".',
            "The client is 203.0.113.7, port 4711 (reason: untrusted-hop).",
            'REMOTE_ADDR "10.0.0.2" -> "203.0.113.7"',
            'HTTP_X_FORWARDED_FOR "6.6.6.6, 203.0.113.7:4711, 10.0.0.1" -> "203.0.113.7:4711, 10.0.0.1"',
            'REALIP_PROXIES (none) -> "10.0.0.1, 10.0.0.2"',
            "If 203.0.113.7 is a proxy of yours,", "trust = 203.0.113.7")

    def test_untrusted_peer_and_what_would_trust_it(self):
        text = self.text("198.51.100.9", "X-Forwarded-For: 203.0.113.7", ini="[proxy lb]\ntrust = 10.0.0.0/8\n")
        self.assert_tells(text, "198.51.100.9 sent the request", "is in no trust list, so it is not trusted.",
                          "The client is 198.51.100.9, as the web server said (reason: untrusted-peer).",
                          'HTTP_X_FORWARDED_FOR "203.0.113.7" -> removed (untrusted_headers = strip)',
                          "If 198.51.100.9 is a proxy of yours, write in", "section [proxy lb]: trust = 198.51.100.9")
        text = self.text("198.51.100.9", "X-Forwarded-For: 203.0.113.7", ini="")
        self.assert_tells(text, "[proxy NAME] trust = 198.51.100.9")
        text = self.text("unix:", "X-Forwarded-For: 203.0.113.7", ini="[proxy lb]\ntrust = 10.0.0.0/8\n")
        self.assert_tells(text, "through a unix socket. It is in no trust list",
                          "The client is the unix socket, as the web server said", "trust = unix:")

    def test_direct_client_gets_no_advice(self):
        text = self.text("198.51.100.9")
        self.assert_tells(text, "The application sees exactly what the web server sent.")
        self.assertNotIn("trust =", text)

    def test_peer_that_is_no_address(self):
        text = self.text("lb.example", "X-Forwarded-For: 203.0.113.7")
        self.assert_tells(text, 'The web server sent REMOTE_ADDR "lb.example", which is no address',
                          'The client is "lb.example", as the web server said (reason: untrusted-peer).')
        self.assertNotIn("trust =", text)
        self.assert_tells(self.text("::ffff:10.0.0.1"),
                          '10.0.0.1 sent the request to the web server (REMOTE_ADDR "::ffff:10.0.0.1").')

    def test_missing_secret(self):
        text = self.text("198.18.0.1", "CF-Connecting-IP: 9.9.9.9")
        self.assert_tells(text, "is in the list of [proxy cdn], but that group also wants its secret in HTTP_X_SECRET "
                          "(require_param), which was not sent, so it is not trusted.")
        self.assertNotIn("trust =", text)
        text = self.text("10.0.0.1", "X-Forwarded-For: 198.18.0.1", "X-Secret: wrong")
        self.assert_tells(text, "198.18.0.1 is in the list of [proxy cdn]", "which holds something else: this is the client")
        self.assertNotIn("hush", text)

    def test_trust_file_is_named(self):
        self.write("# ours\nset_real_ip_from 10.1.0.0/16;\n", "list.txt")
        ini = "[proxy lb]\ntrust = 10.0.0.0/8\ntrust_file = list.txt\n"
        self.assert_tells(self.text("10.1.2.3", ini=ini), "[proxy lb] (10.1.0.0/16, %s/list.txt)" % self.dir)
        self.assert_tells(self.text("10.2.2.3", ini=ini), "[proxy lb] (10.0.0.0/8, %s/test.ini:2)" % self.dir)
        self.assert_tells(self.text("127.0.0.2", ini="[proxy lb]\ntrust = 10.1.1.1\n  loopback\n"),
                          "[proxy lb] (loopback, %s/test.ini:3)" % self.dir)

    def test_no_header(self):
        text = self.text("10.0.0.1", "X-Real-IP: 203.0.113.7")
        self.assert_tells(text, "is trusted by [proxy lb]", "but the request has no X-Forwarded-For header. So 10.0.0.1 "
                          "itself is the client.", "The client is 10.0.0.1, as the web server said (reason: no-header).",
                          "hand that on as HTTP_X_FORWARDED_FOR. The request does have X-Real-Ip: if it is the proxy "
                          "that sets it, write in [proxy lb]: header = X-Real-Ip")

    def test_exhausted(self):
        self.assert_tells(self.text("10.0.0.1", "X-Forwarded-For: 10.0.0.2"),
                          "2. 10.0.0.2 is trusted by [proxy lb]", "and all of X-Forwarded-For is read. So 10.0.0.2 "
                          "itself is the client.")
        self.assert_tells(self.text("10.0.0.1", "X-Forwarded-For: ,"), "but X-Forwarded-For is empty.")
        self.assert_tells(self.text("192.168.1.2", "X-Forwarded-For: 9.9.9.9"),
                          "but X-Forwarded-For has fewer elements than the 2 of select = hops:2.")

    def test_malformed(self):
        self.assert_tells(
            self.text("10.0.0.1", 'X-Forwarded-For: 9.9.9.9, un"k\\n\x1b[1m, 10.0.0.2'),
            '2. 10.0.0.2 is trusted by', 'it reported "un\\"k\\\\n\\x1b[1m" as the next element to the left of '
            "X-Forwarded-For, which is no address. So the walk stops at the last address that is sure: the client is "
            '10.0.0.2 (on_malformed = stop). Nothing to its left was read: "9.9.9.9".')
        self.assert_tells(
            self.text("192.168.1.5", "X-Forwarded-For: x, 10.0.0.1"), "2. 10.0.0.1 is trusted by",
            '"x" as the next element', "the client is 10.0.0.1 (on_malformed = stop).")
        self.assert_tells(
            self.text("192.168.1.5", "X-Forwarded-For: x"), "So the whole chain counts for nothing: the client is the "
            "peer, 192.168.1.5 (on_malformed = peer).", 'HTTP_X_FORWARDED_FOR "x" -> removed (no trusted proxy wrote '
            "any of it)")
        self.assert_tells(
            self.text("192.168.1.5", "X-Forwarded-For: 9.9.9.9, 192.168.1.5, 192.168.1.5, 192.168.1.5"),
            "4. 192.168.1.5 is trusted by", "it reported \"9.9.9.9\" as the next element to the left of X-Forwarded-For, "
            "but no more than 3 elements are read (max_elements).")
        self.assert_tells(
            self.text("198.18.0.1", "CF-Connecting-IP: 10.9.9.9", "X-Secret: hush"), "it reported 10.9.9.9 as the last "
            "element of CF-Connecting-IP, a private address, which this group must not report (private_clients = no).")
        self.assert_tells(
            self.text("192.168.1.3", "X-Forwarded-For: x, y"), "it reported no usable address at all in "
            'X-Forwarded-For, the leftmost element read is "x".')

    def test_repeated(self):
        self.assert_tells(
            self.text("192.168.1.6", "X-Forwarded-For: 6.6.6.6", "X-Real-IP: 1.1.1.1", "X-Forwarded-For: 203.0.113.7",
                      "X-Forwarded-For: 10.0.0.1"),
            "192.168.1.6 sent the request to the web server. It is trusted by [proxy exact]",
            ", but X-Forwarded-For came 3 times, and which of them the proxies wrote cannot be told (repeated = malformed). "
            "So the walk stops at the last address that is sure: the client is 192.168.1.6 (on_malformed = stop). Not read: "
            '"6.6.6.6, 203.0.113.7, 10.0.0.1".', "(reason: malformed)",
            'HTTP_X_FORWARDED_FOR "6.6.6.6" and "203.0.113.7" and "10.0.0.1" -> removed (no trusted proxy wrote any of it)')
        keep = GROUPS + "[realip]\nforwarded_for = keep\n"
        self.assert_tells(
            self.text("10.0.0.1", "X-Forwarded-For: 203.0.113.7", "X-Forwarded-For: 192.168.1.6", ini=keep),
            "2. 192.168.1.6 is trusted by [proxy exact]", "but X-Forwarded-For came 2 times",
            'Not read: "203.0.113.7".', "removed (not kept: joined, its copies would be believed)")
        self.assert_tells(self.text("192.168.1.6", "X-Forwarded-For: 203.0.113.7"), "203.0.113.7 is in no trust list")

    def test_repeated_as_json(self):
        told = self.json("192.168.1.6", "X-Forwarded-For: 203.0.113.7", "X-Forwarded-For: 6.6.6.6")
        self.assertEqual([told[key] for key in ("client", "reason", "rejected", "remaining", "changed", "proxies")],
                         ["192.168.1.6", "malformed", None, None, False, []])
        self.assertEqual(told["steps"], [{"hop": "192.168.1.6", "group": "exact", "header": "X-Forwarded-For",
                                          "element": None, "verdict": "malformed"}])
        self.assertEqual(told["params"]["HTTP_X_FORWARDED_FOR"], None)

    def test_repeated_of_what_is_accepted(self):
        text = self.text("192.168.1.6", "X-Forwarded-Proto: https", "X-Forwarded-Proto: https")
        self.assert_tells(text, "held nothing usable, or came more than once (repeated = malformed).")
        self.assertNotIn("HTTPS", text)

    def test_selections(self):
        self.assert_tells(self.text("192.168.1.1", "X-Forwarded-For: 8.8.8.8, 9.9.9.9"),
                          "it reported 9.9.9.9 as the last element of X-Forwarded-For. This is the client: "
                          'select = single goes one step only. What stands to its left is not believed: "8.8.8.8".',
                          "(reason: single)")
        self.assert_tells(self.text("192.168.1.2", "X-Forwarded-For: 8.8.8.8, 9.9.9.9"),
                          "it reported 8.8.8.8 as element 2 from the right of X-Forwarded-For. This is the client: "
                          "select = hops:2", "(reason: hops)")
        self.assert_tells(self.text("192.168.1.3", "X-Forwarded-For: 8.8.8.8, 9.9.9.9"),
                          "it reported 8.8.8.8 as the leftmost address of X-Forwarded-For.", "even if the client wrote it",
                          "(reason: leftmost)")

    def test_refusals(self):
        text = self.text("10.0.0.1", "X-Forwarded-For: 203.0.113.66")
        self.assert_tells(text, "203.0.113.66 is in no trust list: this is the client.",
                          "The request is refused with status 403, the application never sees it. The client is "
                          "203.0.113.66 (reason: denied). It is in the deny list of [access].")
        self.assertNotIn("->", text)
        proxy = "[proxy lb]\ntrust = 10.0.0.0/8\n"
        self.assert_tells(self.text("10.0.0.1", ini=proxy + "[access]\nallow = 192.0.2.0/24\n"),
                          "status 403", "It is not in the allow list of [access].")
        self.assert_tells(self.text("9.9.9.9", ini=proxy + "[access]\ndeny_direct = yes\n"),
                          "status 403", "refuses what comes from no trusted proxy (deny_direct = yes).")
        self.assert_tells(self.text("192.168.1.4"), "but the request has no Forwarded header. So the request is refused "
                          "(require_header = yes).", "status 400")
        self.assert_tells(self.text("192.168.1.4", "Forwarded: for=unknown"), 'it reported "for=unknown"',
                          "So the request is refused (on_malformed = reject).", "status 400")

    def test_forwarded(self):
        self.assert_tells(self.text("192.168.1.4", 'Forwarded: for="[2001:DB8::1]:443";proto=https'),
                          'it reported "for=\\"[2001:DB8::1]:443\\";proto=https" (2001:db8::1, port 443) as the last '
                          "element of Forwarded.", "The client is 2001:db8::1, port 443 (reason: untrusted-hop).")

    def test_what_is_removed_and_why(self):
        text = self.text("10.0.0.1", "X-Forwarded-For: 9.9.9.9", "X-Forwarded-For: 10.0.0.2", "Proxy: x",
                         "Forwarded: for=1.1.1.1", "X.Forwarded-For: 1.1.1.1", "X-Secret: x",
                         params=["REALIP_X=1", "REMOTE_ADDR=10.0.0.1"])
        for line in ('REMOTE_ADDR "10.0.0.1" and "10.0.0.1" -> "9.9.9.9" (the last one counts)',
                     'HTTP_X_FORWARDED_FOR "9.9.9.9" and "10.0.0.2" -> "9.9.9.9, 10.0.0.2"',
                     'HTTP_PROXY "x" -> removed (never passed on: httpoxy)',
                     'HTTP_FORWARDED "for=1.1.1.1" -> removed (no proxy on this way vouches for it)',
                     'HTTP_X.FORWARDED_FOR "1.1.1.1" -> removed (its name could be mistaken for another)',
                     'HTTP_X_SECRET "x" -> removed (the secret of require_param)',
                     'REALIP_X "1" -> removed (only fcgi-realip may send it)'):
            self.assertIn(line, text)
        ini = "[proxy lb]\ntrust = 10.0.0.0/8\naccept = for proto\n[realip]\nforwarded_for = remove\nunmanaged_headers = strip\n"
        text = self.text("10.0.0.1", "X-Forwarded-For: 9.9.9.9", "X-Real-IP: 1.1.1.1", "X-Forwarded-Proto: gopher", ini=ini)
        for line in ('HTTP_X_FORWARDED_FOR "9.9.9.9" -> removed (forwarded_for = remove)',
                     'HTTP_X_REAL_IP "1.1.1.1" -> removed (unmanaged_headers = strip)', "held nothing usable."):
            self.assertIn(line, text)


PARAMS = [("REQUEST_METHOD", "GET"), ("QUERY_STRING", ""), ("REMOTE_ADDR", "203.0.113.7"), ("REMOTE_PORT", "4711"),
          ("HTTP_X_FORWARDED_FOR", "203.0.113.7"), ("HTTP_X_REAL_IP", "a\nb\xff"), ("REALIP_REMOTE_ADDR", "10.0.0.1"),
          ("SERVER_NAME", "x"), ("HTTP_HOST", "b"), ("HTTP_HOST", "a")]


def with_query(query, params=PARAMS):
    return [(name, query if name == "QUERY_STRING" else value) for name, value in params]


class Whoami(CliTest):
    def start(self, *args, **options):
        process = subprocess.Popen([program(), "whoami", *args], stdin=options.pop("stdin", subprocess.DEVNULL),
                                   stderr=subprocess.PIPE, **options)
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stderr.close()

    def listen(self, *args, address=None):
        """(process, address), once it accepts."""
        address = address or "unix:%s/who.sock" % self.dir
        process = self.start("-l", address, *args)
        line = process.stderr.readline()
        self.assertEqual(line.decode(), "fcgi-realip: whoami listens on %s\n" % address)
        return process, address

    def stop(self, process, number=signal.SIGTERM):
        process.send_signal(number)
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assertEqual(process.stderr.read(), b"")

    def test_text(self):
        process, address = self.listen()
        response = fcgi.ask(address, PARAMS, b"hello")
        self.assertEqual((response.status, response.head["content-type"], response.end), (200, "text/plain", (0, 0)))
        self.assertEqual(int(response.head["content-length"]), len(response.body))
        self.assertEqual(
            response.body.decode(),
            "You are 203.0.113.7\n\nHTTP_X_FORWARDED_FOR=203.0.113.7\nHTTP_X_REAL_IP=a\\nb\\xff\n"
            "REALIP_REMOTE_ADDR=10.0.0.1\nREMOTE_ADDR=203.0.113.7\nREMOTE_PORT=4711\n\n"
            "The request's body: 5 bytes, CRC-32 %08x\n\nAll 11 parameters:\n" % zlib.crc32(b"hello") +
            "".join("  %s\n" % line for line in [
                "FCGI_ROLE=RESPONDER", "HTTP_HOST=b", "HTTP_HOST=a", "HTTP_X_FORWARDED_FOR=203.0.113.7",
                "HTTP_X_REAL_IP=a\\nb\\xff", "QUERY_STRING=", "REALIP_REMOTE_ADDR=10.0.0.1",
                "REMOTE_ADDR=203.0.113.7", "REMOTE_PORT=4711", "REQUEST_METHOD=GET", "SERVER_NAME=x"]))
        self.stop(process)

    def test_json(self):
        process, address = self.listen(address="127.0.0.1:%d" % free_port())
        body = os.urandom(300000)
        response = fcgi.ask(address, with_query("a&json&b"), body)
        self.assertEqual(response.head["content-type"], "application/json")
        found = json.loads(response.body)
        self.assertEqual(list(found), ["params", "pairs", "body_length", "body_crc32"])
        self.assertEqual((found["body_length"], found["body_crc32"]), (len(body), "%08x" % zlib.crc32(body)))
        self.assertEqual(found["params"]["HTTP_HOST"], "b")
        sent = [list(pair) for pair in with_query("a&json&b")]
        self.assertEqual([pair for pair in found["pairs"] if pair[0] != "FCGI_ROLE"], sent)
        self.stop(process, signal.SIGINT)

    def test_download(self):
        process, address = self.listen()
        lines = b"".join(b"%015d\n" % number for number in range(70000))
        for size in (0, 1, 16, 17, 8192, 8193, 1000003):
            response = fcgi.ask(address, with_query("size=%d" % size))
            self.assertEqual(int(response.head["content-length"]), size)
            self.assertEqual(response.body, lines[:size])
        for size in ("", "x", "-1", "1x", "9" * 16):
            self.assertEqual(fcgi.ask(address, with_query("size=" + size)).status, 400)
        self.stop(process)

    def test_client_that_leaves(self):
        process, address = self.listen("-n", "1")
        client = fcgi.Client(address)
        client.send(fcgi.request(with_query("size=999999999999999")))
        self.assertEqual(client.read_record().type, fcgi.STDOUT)
        client.close()
        self.assertEqual(fcgi.ask(address, PARAMS).status, 200)
        self.stop(process)

    def test_kept_connections_do_not_block_each_other(self):
        process, address = self.listen("-n", "3")
        clients = [fcgi.Client(address) for _ in range(3)]
        for _ in range(3):
            for client in clients:
                self.assertEqual(client.ask(PARAMS, keep=True).status, 200)
        self.stop(process)
        for client in clients:
            client.close()

    def test_end_lets_running_requests_finish(self):
        process, address = self.listen()
        with fcgi.Client(address) as client:
            whole = fcgi.request(with_query("json"), b"x" * 100000)
            client.send(whole[:-50000])
            wait_for(lambda: self.is_read(client), what="whoami to read the body")
            process.send_signal(signal.SIGTERM)
            wait_for(lambda: not accepts(address), what="the listener to be closed")
            client.send(whole[-50000:])
            self.assertEqual(json.loads(client.read_response().body)["body_length"], 100000)
        self.assertEqual(process.wait(PATIENCE), 0)

    def is_read(self, client):
        """Nothing of what was sent waits in the socket any more."""
        return struct.unpack("i", fcntl.ioctl(client.sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0] == 0

    def test_socket_file(self):
        process, address = self.listen()
        path = address[len("unix:"):]
        again = self.run_program("whoami", "-l", address)
        self.assertEqual(again.returncode, 1)
        self.assertIn("another process listens there", again.stderr)
        self.stop(process)
        self.assertFalse(os.path.lexists(path))

        process, _ = self.listen()
        process.kill()
        process.wait()
        self.assertTrue(os.path.exists(path), "a killed process leaves its socket")
        process, _ = self.listen()
        self.stop(process)
        self.assertFalse(os.path.lexists(path))

    def test_addresses_that_do_not_work(self):
        for address, message in [("unix:relative", "the path is not absolute"), ("127.0.0.1", "no port"),
                                 ("unix:%s/no/such" % self.dir, "No such file")]:
            done = self.run_program("whoami", "-l", address)
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertRegex(done.stderr, r"\Afcgi-realip: error: whoami: cannot listen on %s: .*%s"
                             % (re.escape(address), message))

    def test_inherited_socket(self):
        path = os.path.join(self.dir, "inherited")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen()
            process = self.start(stdin=listener)
            self.assertEqual(fcgi.ask("unix:" + path, PARAMS).status, 200)
            self.stop(process)
            self.assertTrue(os.path.exists(path), "it is not whoami's to remove")
            connect("unix:" + path).close()

    def test_cgi(self):
        body = b"a=1&b=2"
        environment = {"GATEWAY_INTERFACE": "CGI/1.1", "REMOTE_ADDR": "203.0.113.7", "QUERY_STRING": "json",
                       "CONTENT_LENGTH": str(len(body)), **{k: v for k, v in os.environ.items() if "SAN_OPTIONS" in k}}
        done = subprocess.run([program(), "whoami"], input=body + b"not part of it", stdout=subprocess.PIPE,
                              env=environment, timeout=PATIENCE, check=True)
        head, _, text = done.stdout.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"Status: 200 OK\r\nContent-Type: application/json\r\n"), head)
        found = json.loads(text)
        self.assertEqual(found["params"], environment)
        self.assertEqual((found["body_length"], found["body_crc32"]), (len(body), "%08x" % zlib.crc32(body)))

    def test_no_way_in(self):
        environment = {name: value for name, value in os.environ.items() if name != "GATEWAY_INTERFACE"}
        done = self.run_program("whoami", env=environment)
        self.assertEqual((done.returncode, done.stdout), (2, ""))
        self.assertIn("say where to listen, as in `-l unix:/tmp/whoami.sock`", done.stderr)

    def test_closed_standard_descriptors(self):
        address = "unix:%s/closed.sock" % self.dir
        process = subprocess.Popen(["sh", "-c", 'exec "$0" whoami -l "$1" <&- >&- 2>&-', program(), address])
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        wait_for(lambda: accepts(address), what="whoami to listen")
        for fd in range(3):
            self.assertEqual(os.readlink("/proc/%d/fd/%d" % (process.pid, fd)), "/dev/null")
        self.assertEqual(fcgi.ask(address, PARAMS).status, 200)
        process.terminate()
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_many_at_once(self):
        process, address = self.listen()
        failures = []

        def ask(number):
            try:
                body = b"%d" % number * 5000
                found = json.loads(fcgi.ask(address, with_query("json"), body).body)
                if found["body_crc32"] != "%08x" % zlib.crc32(body):
                    failures.append(number)
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])
        self.stop(process)


if __name__ == "__main__":
    unittest.main()
