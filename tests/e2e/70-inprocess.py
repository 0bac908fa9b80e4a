#!/usr/bin/env python3
"""The library and the preload library: the same answers as the relay, inside the application."""

import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest

import fcgi
from fcgi import AUTHORIZER, FILTER, PATIENCE, PARAMS, STDIN, begin, pairs, record, request
from relay import RelayTest
from shim import accepts, is_sanitized, program, wait_for

BUILD = os.path.dirname(program())
TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PRELOAD = os.path.join(BUILD, "libfcgi-realip-preload.so")
APP = os.environ.get("FCGI_TEST_APP", "")
INPROCESS = os.path.join(BUILD, "tests", "fcgi-test-inprocess")
FCGIWRAP, MAPSERV = "/usr/sbin/fcgiwrap", "/usr/lib/cgi-bin/mapserv"

# One policy with a bit of everything.
SECTIONS = """
[proxy edge]
trust = 10.0.0.0/8, unix:
accept = for, proto, port, host

[proxy cdn]
trust = 192.0.2.0/24, 2001:db8:cd::/48
header = Ali-Cdn-Real-Ip
select = single
private_clients = no

[proxy secret]
trust = 198.51.100.0/24
header = Forwarded
require_param = HTTP_X_SECRET:open-sesame
on_malformed = reject

[proxy exact]
trust = 192.0.3.0/24
repeated = malformed

[access]
deny = 203.0.113.66, 2001:db8:bad::/48
"""

XFF, ADDR = "HTTP_X_FORWARDED_FOR", "REMOTE_ADDR"

# What each is made of, beside what every request has.
TABLE = [
    [],
    [(ADDR, "8.8.8.8")],
    [(ADDR, "8.8.8.8"), (XFF, "1.2.3.4"), ("HTTP_X_REAL_IP", "1.2.3.4"), ("HTTP_PROXY", "evil:80")],
    [(ADDR, "10.0.0.1")],
    [(ADDR, "10.0.0.1"), ("REMOTE_PORT", "4711"), (XFF, "6.6.6.6, 203.0.113.7")],
    [(ADDR, "10.0.0.1"), ("REMOTE_PORT", "4711"), (XFF, "203.0.113.7:99, 10.0.0.3"), ("REMOTE_HOST", "edge")],
    [(ADDR, "10.0.0.1"), (XFF, "203.0.113.7"), (XFF, "10.0.0.3,, 10.0.0.2 "), ("HTTP_FORWARDED", "for=1.1.1.1")],
    [(ADDR, "10.0.0.1"), (XFF, "junk, 10.0.0.4")],
    [(ADDR, "10.0.0.1"), (XFF, "")],
    [(ADDR, "unix:"), (XFF, "[2001:db8::1]:443")],
    [(ADDR, "::ffff:10.0.0.1"), (XFF, "::ffff:203.0.113.9")],
    [(ADDR, "10.0.0.1"), (XFF, "9.9.9.9, 192.0.2.5"), ("HTTP_ALI_CDN_REAL_IP", "203.0.113.20, 203.0.113.21")],
    [(ADDR, "192.0.2.5"), ("HTTP_ALI_CDN_REAL_IP", "10.1.1.1")],
    [(ADDR, "198.51.100.1"), ("HTTP_FORWARDED", "for=203.0.113.5"), ("HTTP_X_SECRET", "open-sesame")],
    [(ADDR, "198.51.100.1"), ("HTTP_FORWARDED", "for=203.0.113.5"), ("HTTP_X_SECRET", "wrong")],
    [(ADDR, "198.51.100.1"), ("HTTP_FORWARDED", "for=\"oops"), ("HTTP_X_SECRET", "open-sesame")],
    [(ADDR, "192.0.3.1"), (XFF, "203.0.113.5"), (XFF, "203.0.113.6")],
    [(ADDR, "192.0.3.1"), (XFF, "203.0.113.5")],
    [(ADDR, "10.0.0.1"), (XFF, "203.0.113.66")],
    [(ADDR, "203.0.113.66")],
    [(ADDR, "10.0.0.1"), (XFF, "2001:db8:bad::7")],
    [(ADDR, "10.0.0.1"), (XFF, "203.0.113.7"), ("HTTP_X_FORWARDED_PROTO", "https"), ("HTTP_HOST", "a"),
     ("SERVER_PORT", "80"), ("HTTP_X_FORWARDED_HOST", "www.example.org:8443"), ("HTTP_X_FORWARDED_PORT", "8443")],
    [(ADDR, "10.0.0.1"), (XFF, "203.0.113.7"), ("HTTP_X_FORWARDED_PROTO", "http"), ("HTTPS", "on")],
    [(ADDR, "10.0.0.1"), (ADDR, "8.8.8.8"), (XFF, "203.0.113.7")],
    [(ADDR, "8.8.8.8"), (ADDR, "10.0.0.1"), (XFF, "203.0.113.7"), ("http_x_forwarded_for", "6.6.6.6")],
    [("REALIP_REMOTE_ADDR", "1.1.1.1"), (ADDR, "10.0.0.1"), ("REALIP_PROXIES", "x"), (XFF, "203.0.113.7")],
    [(ADDR, "10.0.0.1"), (XFF, ", ".join("10.2.%d.%d" % (i // 200, i % 200) for i in range(70)))],
    [(ADDR, "10.0.0.1"), (XFF, "203.0.113.7" + ", 10.0.0.5" * 60), ("EMPTY", ""), ("EQUALS", "a=b=c")],
    [("BIG", "b" * 70000), (ADDR, "10.0.0.1"), (XFF, "203.0.113.7"), ("LATIN", "\xe9\xff")],
    [("P%d" % i, "v%d" % i) for i in range(300)] + [(ADDR, "10.0.0.1"), (XFF, "203.0.113.7")],
]

PIECES = ["203.0.113.7", "10.0.0.2", "192.0.2.9", "junk", "", "203.0.113.66", "::1", "[2001:db8::5]:80", "198.51.100.3"]


def random_request(dice):
    params = [(ADDR, dice.choice(PIECES + ["10.0.0.1"] * 4))]
    for name in (XFF, XFF, "HTTP_ALI_CDN_REAL_IP", "HTTP_FORWARDED", "HTTP_X_REAL_IP", "REMOTE_PORT", "REMOTE_HOST"):
        if dice.random() < 0.5:
            params.append((name, ", ".join(dice.choices(PIECES, k=dice.randrange(4)))))
    dice.shuffle(params)
    return params


def whole(params):
    return [("SCRIPT_NAME", "/params"), ("REQUEST_METHOD", "GET"), *params, ("LAST", "one")]


def preload_environment(config):
    """With AddressSanitizer in the library, its runtime has to be the first one of all."""
    loaded = [PRELOAD]
    if is_sanitized():
        linked = subprocess.run(["ldd", PRELOAD], stdout=subprocess.PIPE, text=True, check=True).stdout
        loaded = re.findall(r"=> (\S*/lib(?:asan|clang_rt)\S*)", linked) + loaded
    # The programs that it is loaded into are not ours: what they leave behind at their end is their affair.
    environment = dict(os.environ, LD_PRELOAD=" ".join(loaded), ASAN_OPTIONS="detect_leaks=0")
    environment.pop("FCGI_REALIP_CONFIG", None)
    if config is not None:
        environment["FCGI_REALIP_CONFIG"] = config
    return environment


def header_functions():
    with open(os.path.join(TREE, "include", "fcgi_realip.h")) as file:
        code = re.sub(r"/\*.*?\*/", "", file.read(), flags=re.S)
    return set(re.findall(r"\b(fcgi_realip_\w+)\(", code))


class InProcess(RelayTest):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.dir = directory.name
        self.config = self.write("policy.ini", SECTIONS)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    def run_at(self, name, command, **options):
        """Starts a program that listens at "{socket}"; gives the address and the process."""
        path = os.path.join(self.dir, name + ".sock")
        process = subprocess.Popen([path if word == "{socket}" else word for word in command],
                                   start_new_session=True, stdin=subprocess.DEVNULL, **options)
        self.addCleanup(process.wait)
        self.addCleanup(self.kill, process)
        wait_for(lambda: process.poll() is not None or accepts("unix:" + path), what=name + " to listen")
        self.assertIsNone(process.poll())
        return "unix:" + path, process

    @staticmethod
    def kill(process):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def run_library(self, threads=1, kind=""):
        return self.run_at("library" + kind, [INPROCESS + kind, "serve", self.config, "{socket}", str(threads)],
                           stderr=subprocess.PIPE)

    def quit_library(self, address, process, threads):
        """Ends it properly; a sanitizer then has its say, and it is quiet."""
        for _ in range(threads):
            self.assert_answer(fcgi.ask(address, [("SCRIPT_NAME", "/quit")]))
        _, errors = process.communicate(timeout=PATIENCE)
        self.assertEqual((process.returncode, errors), (0, b""))

    def run_preloaded(self):
        return self.run_at("preload", [APP, "{socket}", "1"], env=preload_environment(self.config))

    def requests(self):
        dice = random.Random(70)
        return [whole(params) for params in TABLE] + [whole(random_request(dice)) for _ in range(150)]


class SameAnswer(InProcess):
    def test_relay_library_and_preload(self):
        """Byte for byte: header and body of the answer, which shows every parameter in its order."""
        plain, _ = self.run_at("plain", [APP, "{socket}", "1"])
        self.start(app=plain, sections=SECTIONS)
        ways = {}
        for kind in ("", "-static"):
            ways["library" + kind], process = self.run_library(1, kind)
            self.addCleanup(self.quit_library, ways["library" + kind], process, 1)
        ways["preload"], _ = self.run_preloaded()
        statuses = set()
        for params in self.requests():
            relay = fcgi.ask(self.address, params)
            self.assertEqual(relay.end, (0, 0), params)
            statuses.add(relay.status)
            for way, address in ways.items():
                answer = fcgi.ask(address, params)
                self.assertEqual((answer.end, bytes(answer.stdout)), (relay.end, bytes(relay.stdout)), (way, params))
        self.assertEqual(statuses, {200, 400, 403})

    def test_list(self):
        """decide and rewrite on a list: what the application behind the relay sees."""
        plain, _ = self.run_at("plain", [APP, "{socket}", "1"])
        self.start(app=plain, sections=SECTIONS)
        for params in self.requests():
            relay = fcgi.ask(self.address, params)
            text = b"".join(b"%s=%s\0" % pair for pair in fcgi.as_list(params))
            done = subprocess.run([INPROCESS, "list", self.config], input=text, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=PATIENCE, check=True)
            if relay.status != 200:
                self.assertEqual(int(done.stderr.split()[0]), relay.status)
                continue
            seen = relay.body.split(b"\n")
            self.assertEqual(done.stdout.split(b"\0")[:-1], seen[1:-1], params)  # libfcgi's FCGI_ROLE stands first

    def test_decision(self):
        for params, said in (
                ("REMOTE_ADDR=10.0.0.1\0HTTP_X_FORWARDED_FOR=203.0.113.7:99\0", "0 203.0.113.7 10.0.0.1 99 1 untrusted-hop"),
                ("REMOTE_ADDR=8.8.8.8\0", "0 8.8.8.8 8.8.8.8 0 0 untrusted-peer"),
                ("REMOTE_ADDR=unix:/x\0", "0 unix: unix: 0 0 no-header"),
                ("", "0   0 0 untrusted-peer"),
                ("REMOTE_ADDR=203.0.113.66\0", "403 203.0.113.66 203.0.113.66 0 0 denied")):
            done = subprocess.run([INPROCESS, "list", self.config], input=params, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=True)
            self.assertEqual(done.stderr, said + "\n")

    def test_too_many_parameters(self):
        address, process = self.run_library()
        self.assert_refusal(fcgi.ask(address, whole([("P%d" % i, "") for i in range(5000)])), 431)
        self.assert_answer(fcgi.ask(address, whole([])))
        self.quit_library(address, process, 1)


class Refusal(InProcess):
    def run_both(self):
        library, process = self.run_library()
        yield library
        self.quit_library(library, process, 1)
        yield self.run_preloaded()[0]

    def test_kept_connection(self):
        """A refused request leaves the connection usable, its body read."""
        denied = whole([(ADDR, "203.0.113.66")])
        for address in self.run_both():
            with fcgi.Client(address) as client:
                for size in (0, 10, 300000):
                    self.assert_refusal(client.ask(denied, b"x" * size, keep=True), 403)
                    self.assert_refusal(client.ask(denied, b"x" * size, keep=True), 403)
            self.assert_answer(fcgi.ask(address, whole([])))

    def test_body_that_never_ends(self):
        """The client leaves in the middle of it: the next one is served."""
        for address in self.run_both():
            for _ in range(3):
                with fcgi.Client(address) as client:
                    client.send(begin() + record(PARAMS, pairs(whole([(ADDR, "203.0.113.66")]))) + record(PARAMS)
                                + record(STDIN, b"part"))
                    self.assert_refusal(client.read_response(), 403)
            self.assert_answer(fcgi.ask(address, whole([])))

    def test_authorizer(self):
        """Has no body to wait for."""
        for address in self.run_both():
            with fcgi.Client(address) as client:
                for _ in range(2):
                    client.send(request(whole([(ADDR, "203.0.113.66")]), role=AUTHORIZER, keep=True))
                    self.assert_refusal(client.read_response(), 403)

    def test_filter(self):
        """Has a second stream behind the body."""
        for address in self.run_both():
            with fcgi.Client(address) as client:
                for size in (0, 5, 100000, 5):
                    client.send(request(whole([(ADDR, "203.0.113.66")]), b"x" * size, role=FILTER, keep=True,
                                        data=b"y" * size))
                    self.assert_refusal(client.read_response(), 403)


class Threads(InProcess):
    def test_thousands(self):
        """Several threads, requests that end in every way that libfcgi has."""
        threads = 6
        address, process = self.run_library(threads)
        single, single_process = self.run_library(1, "-static")
        wanted = [(params, fcgi.ask(single, params)) for params in self.requests()]
        self.quit_library(single, single_process, 1)
        failures = []

        def load(seed):
            dice = random.Random(seed)
            for _ in range(500):
                params, answer = dice.choice(wanted)
                got = fcgi.ask(address, params)
                if got.end != answer.end or got.stdout != answer.stdout:
                    failures.append((params, got))
        loads = [threading.Thread(target=load, args=(seed,)) for seed in range(8)]
        for thread in loads:
            thread.start()
        for thread in loads:
            thread.join(PATIENCE * 4)
            self.assertFalse(thread.is_alive())
        self.assertEqual(failures, [])
        self.quit_library(address, process, threads)


class Configuration(InProcess):
    BAD = "[proxy a]\ntrsut = 10.0.0.0/8\n[access]\ndeny = 300.1.1.1\n"

    def stopped(self, command, env):
        done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        return done.stderr

    def check(self, path):
        return self.stopped([program(), "check", "-c", path], os.environ)

    def test_bad_file(self):
        """The same messages as `check`, before the program has done anything."""
        missing = os.path.join(self.dir, "missing.ini")
        bad = self.write("bad.ini", self.BAD)
        socket_path = os.path.join(self.dir, "never.sock")
        for path in (bad, missing):
            said = self.check(path)
            self.assertIn(path, said)
            self.assertEqual(self.stopped([APP, socket_path], preload_environment(path)), said)
            self.assertEqual(self.stopped([INPROCESS, "check", path], os.environ), said)
        self.assertIn('did you mean "trust"', self.check(bad))
        self.assertFalse(os.path.exists(socket_path))

    def test_no_file_named(self):
        for path in (None, ""):
            said = self.stopped([APP, os.path.join(self.dir, "never.sock")], preload_environment(path))
            self.assertRegex(said, r"\Afcgi-realip: error: FCGI_REALIP_CONFIG is not set")

    def test_warning(self):
        path = self.write("warning.ini", "[proxy a]\ntrust = 10.0.0.1/8\n")
        done = subprocess.run([INPROCESS, "check", path], stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r"\Afcgi-realip: warning: .*warning\.ini:2: ")

    def test_other_programs(self):
        """A launcher, or a shell, is none of its business."""
        done = subprocess.run(["sh", "-c", "echo fine"], env=preload_environment(None), stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "fine\n", ""))

    def test_both_at_once(self):
        for kind in ("", "-static"):
            said = self.stopped([INPROCESS + kind, "check", self.config], preload_environment(self.config))
            self.assertRegex(said, r"without libfcgi-realip-preload\.so")


@unittest.skipIf(is_sanitized(), "the sanitizer's runtime does not go into the distribution's programs")
class Unmodified(InProcess):
    """Programs of the distribution, started by spawn-fcgi, with the preload library in their environment."""

    CHAIN = [("REQUEST_METHOD", "GET"), ("QUERY_STRING", ""), ("SCRIPT_NAME", "/x"), ("SERVER_PROTOCOL", "HTTP/1.1"),
             ("GATEWAY_INTERFACE", "CGI/1.1"), ("SERVER_NAME", "localhost"), ("SERVER_PORT", "80"), (ADDR, "10.0.0.1")]

    def need(self, *paths):
        for path in paths:
            if shutil.which(path) is None:
                self.skipTest(path + " is not installed")

    def spawn(self, *command, **environment):
        self.need("spawn-fcgi", command[0])
        address, _ = self.run_at("spawned", ["spawn-fcgi", "-n", "-s", "{socket}", "--", *command],
                                 env=dict(preload_environment(self.config), **environment))
        return address

    def test_fcgiwrap(self):
        """FCGI_Accept, and the environment of the CGI programs that it starts."""
        address = self.spawn(FCGIWRAP)
        script = self.write("show.cgi", "#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\n'\nenv\n")
        os.chmod(script, 0o755)
        chain = self.CHAIN + [("SCRIPT_FILENAME", script), (XFF, "6.6.6.6, 203.0.113.7")]
        for _ in range(3):
            response = fcgi.ask(address, chain)
            self.assert_answer(response)
            seen = dict(line.split("=", 1) for line in response.body.decode().splitlines() if "=" in line)
            self.assertEqual((seen[ADDR], seen[XFF], seen["REALIP_REMOTE_ADDR"], seen["REALIP_PROXIES"]),
                             ("203.0.113.7", "203.0.113.7", "10.0.0.1", "10.0.0.1"))
        self.assert_refusal(fcgi.ask(address, chain[:-1] + [(XFF, "203.0.113.66")]), 403)

    def test_perl(self):
        """Its FCGI module brings libfcgi into the process long after the start."""
        if subprocess.run(["perl", "-MFCGI", "-e", "1"], stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("Perl's FCGI module is not installed")
        script = self.write("show.pl", """use FCGI;
my $request = FCGI::Request();
while ($request->Accept() >= 0) {
    print "Content-Type: text/plain\\r\\n\\r\\n";
    print "$_=$ENV{$_}\\n" for sort keys %ENV;
}
""")
        address = self.spawn("/usr/bin/perl", script)
        for _ in range(3):
            response = fcgi.ask(address, self.CHAIN + [(XFF, "6.6.6.6, 203.0.113.7")])
            self.assert_answer(response)
            self.assertIn(b"\nREMOTE_ADDR=203.0.113.7\n", response.body)
            self.assertIn(b"\nREALIP_REMOTE_ADDR=10.0.0.1\n", response.body)
        self.assert_refusal(fcgi.ask(address, self.CHAIN + [(XFF, "203.0.113.66")]), 403)

    def test_perl_without_configuration(self):
        """The first accept ends it."""
        self.need("perl")
        if subprocess.run(["perl", "-MFCGI", "-e", "1"], stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("Perl's FCGI module is not installed")
        program_text = "use FCGI; my $s = FCGI::OpenSocket(\"%s/p.sock\", 5); " \
                       "FCGI::Request(\\*STDIN, \\*STDOUT, \\*STDERR, {}, $s)->Accept(); print \"served\"" % self.dir
        done = subprocess.run(["perl", "-e", program_text], env=preload_environment(None), stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertRegex(done.stderr, r"\Afcgi-realip: error: FCGI_REALIP_CONFIG is not set")

    def test_mapserver(self):
        configuration = self.write("mapserver.conf", "CONFIG\n  ENV\n  END\nEND\n")
        address = self.spawn(MAPSERV, MAPSERVER_CONFIG_FILE=configuration)
        for _ in range(3):
            response = fcgi.ask(address, self.CHAIN + [(XFF, "203.0.113.7")])
            self.assertEqual(response.end, (0, 0))
            self.assertIn(b"QUERY_STRING", response.body)
            self.assert_refusal(fcgi.ask(address, self.CHAIN + [(XFF, "203.0.113.66")]), 403)


class Installed(InProcess):
    """What `cmake --install` puts where, and that others can build with it."""

    SOURCE = """#include <fcgiapp.h>
#include <fcgi_realip.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(int argc, char **argv)
{
    char *messages;
    fcgi_realip_policy *policy = fcgi_realip_load(argc > 1 ? argv[1] : "", &messages);
    fputs(messages ? messages : "good\\n", stdout);
    free(messages);
    fcgi_realip_free(policy);
    if (argc > 2)
        return fcgi_realip_accept_r(policy, NULL);
    return strcmp(fcgi_realip_version(), VERSION) != 0;
}
"""
    PROJECT = """cmake_minimum_required(VERSION 3.18)
project(user C)
find_package(fcgi-realip 0.1 REQUIRED)
foreach(kind "" -static)
  add_executable(user${kind} user.c)
  target_compile_definitions(user${kind} PRIVATE VERSION="${fcgi-realip_VERSION}")
  target_link_libraries(user${kind} fcgi-realip::fcgi-realip${kind} fcgi)
endforeach()
"""

    def run_tool(self, *command, **options):
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=self.dir,
                              timeout=PATIENCE * 4, **options)
        self.assertEqual(done.returncode, 0, done.stdout[-4000:])
        return done.stdout

    def install(self):
        prefix = os.path.join(self.dir, "prefix")
        self.run_tool("cmake", "--install", BUILD, "--prefix", prefix)
        return prefix

    def test_files(self):
        prefix = self.install()
        files = {os.path.join(top, name)[len(prefix):] for top, _, names in os.walk(prefix) for name in names}
        files = {re.sub(r"^/lib/[^/]+-linux-gnu[^/]*/|^/lib64/", "/lib/", name) for name in files}
        for name in ("/bin/fcgi-realip", "/include/fcgi_realip.h", "/lib/libfcgi-realip.so", "/lib/libfcgi-realip.so.0",
                     "/lib/libfcgi-realip.a", "/lib/libfcgi-realip-preload.so", "/lib/pkgconfig/fcgi-realip.pc",
                     "/lib/cmake/fcgi-realip/fcgi-realip-config.cmake", "/share/man/man1/fcgi-realip.1",
                     "/share/man/man3/fcgi_realip.3", "/share/man/man5/fcgi-realip.ini.5"):
            self.assertIn(name, files)

    def test_manual(self):
        """Names every function; lint-clean; its example is a program."""
        page_path = os.path.join(TREE, "docs", "fcgi_realip.3")
        with open(page_path) as file:
            page = file.read()
        for function in header_functions():
            self.assertRegex(page, r"(?m)^\.F[no] %s\b" % function)
            self.assertRegex(page, r"(?m)^\.Nm %s( ,)?$" % function)
        example = page[page.index(".Bd -literal\n#include"):].split("\n", 1)[1].split("\n.Ed")[0]
        self.write("hello.c", example.replace("\\e", "\\") + "\n")
        self.run_tool("cc", "-Wall", "-Werror", "-fsyntax-only", "-I" + os.path.join(TREE, "include"), "hello.c")
        if shutil.which("mandoc") is None:
            self.skipTest("mandoc is not installed")
        lint = subprocess.run(["mandoc", "-T", "lint", "-W", "all", "fcgi_realip.3"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, cwd=os.path.dirname(page_path))
        # Which other manuals are installed, and whether their index is up to date, is the machine's affair.
        self.assertEqual([line for line in lint.stdout.splitlines()
                          if "mandoc.db" not in line and "referenced manual not found" not in line], [])
        self.assertEqual([line for line in page.splitlines() if len(line) > 80 or line != line.rstrip()], [])

    def test_symbols(self):
        """Nothing but what the header names can be seen, so nothing clashes with the application's own."""
        header = header_functions()
        self.assertGreater(len(header), 10)
        for options, name in (("-DP", "libfcgi-realip.so"), ("-gP", "libfcgi-realip.a")):
            symbols = self.run_tool("nm", options, "--defined-only", os.path.join(BUILD, name))
            found = {line.split("@")[0].split()[0] for line in symbols.splitlines() if re.search(r" [TDBR] ", line)}
            found = {symbol for symbol in found if not symbol.startswith(("__asan", "__odr_asan", "___asan"))}
            self.assertEqual(found, header, name)

    @unittest.skipIf(is_sanitized(), "its users would have to be built with the sanitizer too")
    def test_users(self):
        prefix = self.install()
        self.write("user.c", self.SOURCE)
        self.write("CMakeLists.txt", self.PROJECT)
        packages = os.path.dirname(self.run_tool("find", prefix, "-name", "fcgi-realip.pc").strip())
        environment = dict(os.environ, PKG_CONFIG_PATH=packages)
        flags = self.run_tool("pkg-config", "--cflags", "--libs", "fcgi-realip", env=environment).split()
        version = self.run_tool("pkg-config", "--modversion", "fcgi-realip", env=environment).strip()
        library = os.path.dirname(packages)
        self.run_tool("cc", "user.c", '-DVERSION="%s"' % version, *flags, "-Wl,-rpath," + library, "-o", "user")
        self.run_tool("cmake", "-S", ".", "-B", "b", "-DCMAKE_PREFIX_PATH=" + prefix)
        self.run_tool("cmake", "--build", "b")
        for user in ("./user", "b/user", "b/user-static"):
            self.assertEqual(self.run_tool(user, self.config), "good\n")
        self.assertIn("libfcgi-realip.so.0", self.run_tool("ldd", "user"))


class Whoami(InProcess):
    def test_whoami(self):
        """Our own, which hands the listener to threads."""
        address, _ = self.run_at("whoami", [program(), "whoami", "-n", "3", "-l", "unix:" + self.dir + "/whoami.sock"],
                                 env=preload_environment(self.config), stderr=subprocess.DEVNULL)
        response = fcgi.ask(address, whole([(ADDR, "10.0.0.1"), (XFF, "203.0.113.7")]))
        self.assertIn(b"REMOTE_ADDR=203.0.113.7\n", response.body)


if __name__ == "__main__":
    unittest.main()
