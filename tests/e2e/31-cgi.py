"""CGI programs, one process a request: what they get, what becomes of their answers, and that nothing is left of them.

The front is a raw client, the programs are real ones. After each test the shim must have no child and no descriptor
more than before.
"""

import glob
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
import unittest

from fcgi import AUTHORIZER, FILTER, STDERR, STDIN, STDOUT, as_list, record, request, stream
from processes import children
from relay import PLAIN, RelayTest, change
from shim import Shim, is_sanitized, wait_for

PYTHON = "#!%s\n" % sys.executable
SH = "#!/bin/sh\n"
HEAD = b"Content-Type: text/plain\r\n\r\n"
PROGRAM = os.environ["FCGI_TEST_CGI"]
MEGABYTE = 1 << 20


def process_state(pid):
    """The letter of /proc/PID/stat, or None if it is gone or only waits to be reaped."""
    try:
        with open("/proc/%d/stat" % pid) as stat:
            letter = stat.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if letter in "ZX" else letter


def connections(pid):
    """How many of its descriptors are connections of its listener."""
    with open("/proc/%d/net/unix" % pid) as table:
        rows = [line.split() for line in table]
    inodes = {"socket:[%s]" % row[6] for row in rows if row[-1].endswith("/shim.sock") and row[5] == "03"}
    links = []
    for path in glob.glob("/proc/%d/fd/*" % pid):
        try:
            links.append(os.readlink(path))
        except FileNotFoundError:
            pass
    return len(inodes.intersection(links))


class CgiTest(RelayTest):
    """start() runs a shim for the scripts of a directory, self.root; put() adds one."""

    def start(self, cgi="cgi = script\ncgi_root = {dir}/cgi", upstream="", sections="", **options):
        directory = tempfile.mkdtemp(prefix="cgi-")
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        os.chmod(directory, 0o755)
        self.root = os.path.join(directory, "cgi")
        os.mkdir(self.root)
        shutil.copy(PROGRAM, self.path("program"))
        self.prepare()
        ini = "[listen]\naddress = unix:{dir}/shim.sock\n\n[upstream]\n%s\n%s\n\n%s\n" % (cgi, upstream, sections)
        self.shim = Shim(ini, directory=directory, **options)
        self.addCleanup(self.stop_shim, self.shim)
        self.address = "unix:%s/shim.sock" % self.shim.dir
        # Without the connections that asked whether it listens.
        fds = wait_for(lambda: not connections(self.shim.pid) and self.shim.fds(), what="the descriptors to settle")
        self.addCleanup(self.check_leftovers, self.shim, fds)
        return self.shim

    def prepare(self):
        """For files that must be there before the shim is."""

    def check_leftovers(self, shim, fds):
        if not shim.running() or not self.passed():
            return
        wait_for(lambda: not children(shim.pid), what="the programs to be gone")
        wait_for(lambda: shim.fds() == fds, what="%d descriptors, of now %d" % (fds, shim.fds()))

    def path(self, name):
        return os.path.join(self.root, name)

    def put(self, name, text, mode=0o755):
        with open(self.path(name), "w") as file:
            file.write(text)
        os.chmod(self.path(name), mode)
        return name

    def params(self, script, *more, **changed):
        return change(PLAIN, ("SCRIPT_FILENAME", self.path(script)), *more, **changed)

    def ask(self, script, body=b"", more=(), **options):
        with self.client() as client:
            return client.ask(self.params(script, *more), body, **options)

    def begin(self, script, *more, body=b"", **options):
        """A client whose request's body is not at its end."""
        client = self.client(**options)
        client.send(request(self.params(script, *more), body, stdin_end=False))
        return client

    def finish(self, client):
        client.send(record(STDIN))
        return client.read_response()

    def converse(self, script, body, *more):
        """Sends a large body while the answer is read."""
        with self.client(keep=False) as client:
            def send():
                try:
                    client.send(request(self.params(script, *more), body))
                except OSError:
                    pass  # the answer came first
            sender = threading.Thread(target=send)
            sender.start()
            response = client.read_response()
            sender.join()
        return response

    def read_file(self, name):
        try:
            with open(self.path(name)) as file:
                return file.read()
        except FileNotFoundError:
            return None

    def wait_file(self, name):
        """What a program has written into a file, once it is there as a whole line."""
        return wait_for(lambda: (self.read_file(name) or "").endswith("\n") and self.read_file(name),
                        what="the program to write " + name)

    def wait_pid(self, name):
        return int(self.wait_file(name))

    def wait_gone(self, pid):
        wait_for(lambda: process_state(pid) is None, what="process %d to be gone" % pid)

    def assert_refused(self, response, status):
        self.assertEqual(response.end, (0, 0), response)
        self.assertEqual(response.status, status, response)
        self.assertTrue(response.head["status"].startswith("%d " % status), response.head)
        self.assertEqual(response.head["content-type"], "text/plain", response.head)
        self.assertTrue(0 < len(response.body) < 500, response.body)


class WhatItGets(CgiTest):
    def prepare(self):
        self.put("env", SH + 'printf "Content-Type: text/plain\\r\\n\\r\\n"\nexec env -0\n')

    def environment(self, response):
        self.assert_answer(response)
        return sorted(response.body.rstrip(b"\0").split(b"\0"))

    def test_environment(self):
        ours = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "WANTED": "yes", "SECRET": "1", "LISTEN_PID": "1",
                "LD_BIND_NOW": "1", "NOTIFY_SOCKET": "@none", "PERL5LIB": "/of/the/shim"}
        self.start(upstream="environment = WANTED PERL5LIB", sections="[proxy test]\ntrust = 10.0.0.0/8",
                   env=dict({name: "" for name in os.environ if name.startswith("LC_")}, **ours))
        got = self.environment(self.ask("env", more=[
            ("HTTP_X_FORWARDED_FOR", "192.0.2.77"), ("HTTP_PROXY", "http://evil/"), ("PATH", "/tmp"), ("WANTED", "no"),
            ("LD_PRELOAD", "/tmp/x.so"), ("PERL5LIB", "/tmp"), ("TWICE", "first"), ("TWICE", "second"), ("", "x"),
            ("A=B", "x"), ("NUL", b"a\0b"), ("HTTP_SPACE", " \t"), ("EMPTY", ""), ("SERVER_SOFTWARE", "front/1")]))
        fixed = [(name, os.environ[name]) for name in ("HOME", "TZ", "TMPDIR", "USER", "LOGNAME") if name in os.environ]
        fixed += [(name, "") for name in os.environ if name.startswith("LC_")]
        wanted = fixed + [(name, ours[name]) for name in ("PATH", "LANG", "WANTED", "PERL5LIB")] + [
            ("REQUEST_METHOD", "GET"), ("SCRIPT_NAME", "/index"), ("REMOTE_ADDR", "192.0.2.1"), ("REMOTE_PORT", "4711"),
            ("SCRIPT_FILENAME", self.path("env")), ("TWICE", "first"), ("HTTP_SPACE", " \t"), ("EMPTY", ""),
            ("SERVER_SOFTWARE", "front/1"), ("GATEWAY_INTERFACE", "CGI/1.1"), ("PWD", self.root)]
        got = [line for line in got if not line.startswith((b"OLDPWD=", b"SHLVL=", b"_="))]  # of some shells
        self.assertEqual(got, sorted(b"%s=%s" % entry for entry in as_list(wanted)))
        self.shim.wait_log("env did not get the parameter LD_PRELOAD")

    def test_client_of_a_trusted_peer(self):
        self.start(sections="[proxy test]\ntrust = 192.0.2.1")
        got = self.environment(self.ask("env", more=[("HTTP_X_FORWARDED_FOR", "203.0.113.9")]))
        for line in (b"REMOTE_ADDR=203.0.113.9", b"REALIP_REMOTE_ADDR=192.0.2.1", b"HTTP_X_FORWARDED_FOR=203.0.113.9"):
            self.assertIn(line, got)

    def test_one_program_with_arguments(self):
        self.start(cgi='cgi = {dir}/cgi/arguments "a b" c', upstream="environment = NONE")
        self.put("arguments", SH + 'printf "X: y\\r\\n\\r\\n%s|%s|%s|%s|%s|%s" "$0" "$#" "$1" "$2" "$(pwd)" '
                                   '"$SCRIPT_FILENAME$PATH_INFO"')
        wanted = "|".join([self.path("arguments"), "2", "a b", "c", self.root, "/not/looked/at"])
        with self.client() as client:
            response = client.ask(PLAIN + [("SCRIPT_FILENAME", "/not/looked/at")])
        self.assert_answer(response, wanted.encode())
        self.shim.wait_log("requests go to %s" % self.path("arguments"))

    def test_name_in_path(self):
        self.start(cgi="cgi = printenv REMOTE_ADDR")
        with self.client() as client:
            response = client.ask(PLAIN)
        self.assertEqual((response.end, bytes(response.stdout)), ((0, 0), b"192.0.2.1\n"))

    def test_directory_and_name_of_a_script(self):
        self.start()
        os.mkdir(self.path("sub"))
        self.put("sub/where", SH + 'printf "X: y\\r\\n\\r\\n%s|%s|%s" "$0" "$#" "$(pwd)"')
        os.symlink("sub/where", self.path("link"))
        wanted = "%s|0|%s" % (self.path("sub/where"), self.path("sub"))
        self.assert_answer(self.ask("sub/where"), wanted.encode())
        self.assert_answer(self.ask("link"), wanted.encode())

    def test_descriptors_signals_session(self):
        self.start()
        self.put("state", PYTHON + """
import os, resource, stat
print("Content-Type: text/plain\\r\\n\\r")
print(sorted(int(name) for name in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + name)))
print(all(stat.S_ISFIFO(os.fstat(n).st_mode) for n in range(3)), os.get_blocking(0), os.get_blocking(1))
print(os.getsid(0) == os.getpgrp() == os.getpid())
print(resource.getrlimit(resource.RLIMIT_NOFILE)[0], resource.getrlimit(resource.RLIMIT_CORE))
""")
        # Python ignores signals of its own accord: a look at those of a shell.
        self.put("signals", SH + 'printf "X: y\\r\\n\\r\\n"\nexec grep -E "^Sig(Blk|Ign|Pnd)" /proc/self/status\n')
        self.assert_answer(self.ask("state"), b"[0, 1, 2]\nTrue True True\nTrue\n%d %s\n"
                           % (resource.getrlimit(resource.RLIMIT_NOFILE)[0],
                              str(resource.getrlimit(resource.RLIMIT_CORE)).encode()))
        self.assert_answer(self.ask("signals"), b"".join(b"Sig%s:\t%016d\n" % (name, 0)
                                                         for name in (b"Pnd", b"Blk", b"Ign")))

    def test_authorizer_and_filter(self):
        self.start()
        self.put("role", SH + 'printf "Status: 403 No\\r\\n\\r\\n"\ncat\n')
        response = self.ask("role", role=AUTHORIZER)
        self.assertEqual((response.end, bytes(response.stdout)), ((0, 0), b"Status: 403 No\r\n\r\n"))
        self.assert_refusal(self.ask("role", b"body", role=FILTER, data=b"data"), 502)
        self.shim.wait_log("cannot be a filter")


class PathInfo(CgiTest):
    def prepare(self):
        self.put("info", SH + 'printf "X: y\\r\\n\\r\\n%s|%s|%s|%s" "$SCRIPT_FILENAME" "$SCRIPT_NAME" '
                              '"${PATH_INFO-unset}" "${PATH_TRANSLATED-unset}"\n')

    def assert_info(self, script, more, *wanted):
        with self.client() as client:
            response = client.ask(change(PLAIN, ("SCRIPT_FILENAME", self.path(script)), *more, SCRIPT_NAME=None))
        self.assert_answer(response, "|".join((self.path("info"),) + wanted).encode())

    def test_split(self):
        self.start()
        root = ("DOCUMENT_ROOT", "/var/www")
        self.assert_info("info", [("SCRIPT_NAME", "/cgi/info")], "/cgi/info", "unset", "unset")
        self.assert_info("info/a/b", [("SCRIPT_NAME", "/cgi/info/a/b")], "/cgi/info", "/a/b", "unset")
        self.assert_info("info/a/b", [("SCRIPT_NAME", "/cgi/info/a/b"), root], "/cgi/info", "/a/b", "/var/www/a/b")
        self.assert_info("info/", [("SCRIPT_NAME", "/other"), root, ("PATH_INFO", "")], "/other", "/", "/var/www/")
        self.assert_info("info", [("SCRIPT_NAME", "/cgi/info"), ("PATH_INFO", "/own"), root], "/cgi/info", "/own", "unset")

    def test_not_split_where_the_server_has(self):
        self.start()
        self.assert_refused(self.ask("info/a", more=[("PATH_INFO", "/b")]), 404)

    def test_name_of_apache(self):
        """As its mod_proxy_fcgi writes it."""
        self.start()
        with self.client() as client:
            response = client.ask(change(PLAIN, ("SCRIPT_FILENAME", "proxy:fcgi://shim" + self.path("info/x?a=b")),
                                         SCRIPT_NAME="/cgi/info/x"))
        self.assert_answer(response, ("%s|/cgi/info|/x|unset" % self.path("info")).encode())

    def test_not_upwards(self):
        self.start()
        self.assert_refused(self.ask("info/../../x"), 403)


class WhatCannotBeRun(CgiTest):
    def test_each_has_its_status(self):
        self.start()
        outside = os.path.join(self.shim.dir, "outside")
        with open(outside, "w") as file:
            file.write(SH + "echo; echo outside\n")
        os.chmod(outside, 0o755)
        os.mkdir(self.path("directory"))
        os.mkfifo(self.path("pipe"))
        os.symlink("../outside", self.path("escape"))
        os.symlink(outside, self.path("absolute"))
        os.symlink("..", self.path("up"))
        self.put("plain", SH + "echo; echo plain\n", 0o644)
        self.put("interpreter", "#!/nonexistent/interpreter\n")
        self.put("data", "#!/etc/passwd\n")
        self.put("text", "echo; echo text\n")
        cases = [
            (self.path("missing"), 404, "No such file or directory"),
            (self.path("directory/missing"), 404, "No such file or directory"),
            ("", 404, "no SCRIPT_FILENAME; set it"),
            (None, 404, "no SCRIPT_FILENAME; set it"),
            (self.path("directory"), 403, "a directory"),
            (self.path("pipe"), 403, "no regular file"),
            (self.path("plain"), 403, "plain: Permission denied"),
            (outside, 403, "not under cgi_root"),
            ("/bin/ls", 403, "not under cgi_root"),
            (self.path("../outside"), 403, "not under cgi_root"),
            (self.path("escape"), 403, "not under cgi_root"),
            (self.path("absolute"), 403, "not under cgi_root"),
            (self.path("up/outside"), 403, "not under cgi_root"),
            (self.root + "/../cgi/../outside", 403, "not under cgi_root"),
            (self.path("interpreter"), 500, "the interpreter in its first line is missing: No such file"),
            (self.path("data"), 500, "may not be executed: Permission denied"),
            (self.path("text"), 500, "begins with #!: Exec format error"),
        ]
        said = {}
        for filename, status, why in cases:
            more = [("SCRIPT_FILENAME", filename)] if filename is not None else []
            with self.client() as client:
                response = client.ask(PLAIN + more, b"x" * 300000)
                self.assert_refused(response, status)
            said.setdefault(status, []).append(why)
        # Each kind is logged once a minute: the first of them.
        for status, reasons in said.items():
            self.shim.wait_log("refused a request with %d: .*%s" % (status, reasons[0]))

    def assert_reason(self, setup, status, why):
        self.start()
        self.assert_refused(self.ask(setup()), status)
        self.shim.wait_log("refused a request with %d: .*%s" % (status, why))

    def test_reason_not_executable(self):
        self.assert_reason(lambda: self.put("plain", SH, 0o644), 403, "/plain: Permission denied")

    def test_reason_outside(self):
        self.assert_reason(lambda: "../cgi/../none", 403, "is not under cgi_root")

    def test_reason_no_program(self):
        self.assert_reason(lambda: self.put("text", "text"), 500, "begins with #!: Exec format error")

    def test_reason_no_interpreter(self):
        self.assert_reason(lambda: self.put("x", "#!/nonexistent/x"), 500, "first line is missing: No such file")

    def test_reason_no_name(self):
        self.start()
        with self.client() as client:
            self.assert_refused(client.ask(PLAIN), 404)
        self.shim.wait_log("fastcgi_param SCRIPT_FILENAME")

    def test_one_program_that_is_missing(self):
        self.start(cgi="cgi = {dir}/cgi/one")
        self.shim.wait_log("warning: cgi = .*/one: it cannot be run now: No such file or directory")
        with self.client() as client:
            self.assert_refused(client.ask(PLAIN), 404)
        self.put("one", SH + 'printf "X: y\\r\\n\\r\\nhere"\n')
        with self.client() as client:
            self.assert_answer(client.ask(PLAIN), b"here")

    def test_large_variables(self):
        self.start(sections="[limits]\nparams_size = 16m")
        self.put("length", SH + 'printf "X: y\\r\\n\\r\\n%s" ${#HTTP_LARGE}\n')
        fits = 131072 - len("HTTP_LARGE=") - 1
        self.assert_answer(self.ask("length", more=[("HTTP_LARGE", "x" * fits)]), b"%d" % fits)
        self.assert_refused(self.ask("length", more=[("HTTP_LARGE", "x" * (fits + 1))]), 431)
        self.shim.wait_log("Argument list too long; the longest parameter is HTTP_LARGE with 131073 bytes")
        self.assert_refused(self.ask("length", more=[("DOCUMENT_ROOT", "x" * 129 * 1024)]), 500)
        self.shim.wait_log("with 500: .*the longest parameter is DOCUMENT_ROOT with")
        many = [("HTTP_MANY_%d" % i, "x" * 100000) for i in range(80)]
        self.assert_refused(self.ask("length", more=many), 431)
        self.assert_answer(self.ask("length"), b"0")

    def test_start_is_refused(self):
        with tempfile.TemporaryDirectory() as directory:
            path = os.path.join(directory, "file")
            with open(path, "w"):
                pass
            for upstream, why in (("cgi = script\ncgi_root = %s/none" % directory, "cgi_root = .*/none: No such file"),
                                  ("cgi = script\ncgi_root = " + path, "cgi_root = .*/file: Not a directory"),
                                  ("cgi = no-such-program-anywhere", "cgi = no-such-program-anywhere: .* PATH")):
                shim = Shim("[listen]\naddress = unix:{dir}/s\n[upstream]\n%s\n" % upstream, ready=False)
                try:
                    self.assertEqual(shim.wait_exit(), 1)
                    self.assertRegex(shim.log(), why)
                finally:
                    shim.stop()


class Bodies(CgiTest):
    def test_body(self):
        self.start()
        for body in (b"", b"x", bytes(range(256)) * 300):
            self.assert_answer(self.ask("program", body, [("QUERY_STRING", "echo")]), body)

    def test_bytes_pass_untouched(self):
        self.start()
        for number, answer in enumerate((b"HTTP/1.1 299 Odd\r\nX: y\r\n\r\n\0\xff", b"Location: /other\n\n", b"\0", b"no header")):
            name = self.put("raw%d" % number, SH + "printf '%s'\n" % "".join("\\%03o" % byte for byte in answer))
            response = self.ask(name)
            self.assertEqual((response.end, bytes(response.stdout)), ((0, 0), answer))

    def answers_early(self, pieces):
        """Whether the answer begins before the body's end, and the longest pause in the body."""
        client = self.begin("program", ("QUERY_STRING", "flood=10"))
        pause, before, early = 0, time.monotonic(), False
        for _ in range(pieces):
            client.send(record(STDIN, b"x" * 50000))
            client.wait_sent()
            early = early or client.readable()
            now = time.monotonic()
            pause, before = max(pause, now - before), now
        self.assert_answer(self.finish(client), b"xxxxxxxxxx%d" % (50000 * pieces))
        return early, pause

    def test_answer_behind_the_body(self):
        """A body that moves goes first: nginx sends no more of it once the answer has begun."""
        self.start()
        for _ in range(20):
            early, pause = self.answers_early(60)
            if pause < 0.3:
                break
        self.assertFalse(early and pause < 0.3)

    def first_output(self, *more):
        """The time until the answer of a program begins that waits for the end of its body."""
        before = time.monotonic()
        client = self.begin("program", ("QUERY_STRING", "flood=10"), *more)
        self.assertEqual(client.read_record().content[:len(HEAD)], HEAD)
        passed = time.monotonic() - before
        self.assert_answer(self.finish(client))
        return passed

    def test_body_that_was_promised(self):
        """Where none was, none is waited for."""
        self.start()
        self.assertGreater(self.first_output(("CONTENT_LENGTH", "3")), 0.4)
        self.assertGreater(self.first_output(("HTTP_TRANSFER_ENCODING", "chunked")), 0.4)
        for promise in ([("CONTENT_LENGTH", "0")], [("CONTENT_LENGTH", "")], []):
            # A busy machine may take longer now and then.
            self.assertTrue(any(self.first_output(*promise) < 0.4 for _ in range(20)))

    def test_answer_while_the_body_comes(self):
        """Once the body stands still, what the program says goes out at once, and what comes reaches it at once."""
        self.start()
        client = self.begin("program", ("QUERY_STRING", "echo"))
        self.assertEqual(client.read_record().content, HEAD)
        for piece in (b"one", b"two" * 1000, b"three"):
            client.send(record(STDIN, piece))
            got = b""
            while len(got) < len(piece):
                got += client.read_record().content
            self.assertEqual(got, piece)
        self.assertEqual(self.finish(client).end, (0, 0))

    def test_megabytes_both_ways(self):
        self.start()
        body = os.urandom(4 * MEGABYTE)
        before = self.shim.rss("VmHWM")
        response = self.converse("program", body, ("QUERY_STRING", "echo"))
        self.assert_answer(response)
        self.assertTrue(response.body == body, "the body came back changed")
        if not is_sanitized():
            self.assertLess(self.shim.rss("VmHWM") - before, 3 * MEGABYTE)

    def test_flood_before_reading(self):
        self.start()
        response = self.converse("program", b"b" * (3 * MEGABYTE), ("QUERY_STRING", "flood=%d" % (3 * MEGABYTE)))
        self.assert_answer(response)
        self.assertTrue(response.body == b"x" * (3 * MEGABYTE) + b"%d" % (3 * MEGABYTE))

    def test_reads_all_first(self):
        self.start()
        response = self.converse("program", b"b" * (3 * MEGABYTE), ("QUERY_STRING", "count"))
        self.assert_answer(response, b"%d" % (3 * MEGABYTE))

    def test_never_reads(self):
        self.start()
        self.assert_answer(self.converse("program", b"b" * (3 * MEGABYTE), ("QUERY_STRING", "ignore")), b"ignored")
        # Nor does it matter that the body never ends.
        client = self.begin("program", ("QUERY_STRING", "ignore"), body=b"b" * 100000)
        self.assert_answer(client.read_response(), b"ignored")

    def test_kept_front_connection(self):
        self.start()
        with self.client() as client:
            for body in (b"1", b"22" * 50000, b"", b"333"):
                response = client.ask(self.params("program", ("QUERY_STRING", "echo")), body, keep=True)
                self.assert_answer(response, body)

    def test_flood_that_nobody_reads(self):
        """Neither of standard output nor of standard error is more taken than is passed on."""
        self.start()
        self.put("yes", SH + 'echo $$ > pid\nprintf "X: y\\r\\n\\r\\n"\nyes >&2 &\nexec yes\n')
        before = self.shim.rss("VmHWM")
        client = self.begin("yes")
        pid = self.wait_pid("pid")
        asleep = []

        def stuck():
            asleep.append(process_state(pid) == "S")
            return len(asleep) >= 20 and all(asleep[-20:])
        wait_for(stuck, what="the program to be stuck")
        if not is_sanitized():
            self.assertLess(self.shim.rss("VmHWM") - before, 3 * MEGABYTE)
        client.close()
        self.wait_gone(pid)


class StandardError(CgiTest):
    def test_records_and_log(self):
        self.start()
        self.put("warn", SH + 'echo "first warning" >&2\nprintf "X: y\\r\\n\\r\\nbody"\nprintf "second\\twarning" >&2\n')
        response = self.ask("warn")
        self.assert_answer(response, b"body")
        self.assertEqual(response.stderr, b"first warning\nsecond\twarning")
        kinds = [found.type for found in response.records if not found.content]
        self.assertEqual(sorted(kinds), [STDOUT, STDERR])  # both ends, since both streams were used
        self.shim.wait_log(r"warning: .*/warn\[[0-9]+\] said: first warning$")
        self.shim.wait_log(r"warning: .*/warn\[[0-9]+\] said: second")

    def test_flood(self):
        self.start()
        self.put("flood", PYTHON + """
import sys
sys.stdout.write("X: y\\r\\n\\r\\nbody")
sys.stdout.flush()
for i in range(5000):
    sys.stderr.write("warning number %d of a program that has no end of them\\n" % i)
""")
        response = self.ask("flood")
        self.assert_answer(response, b"body")
        wanted = b"".join(b"warning number %d of a program that has no end of them\n" % i for i in range(5000))
        self.assertTrue(bytes(response.stderr) == wanted, response)
        self.shim.wait_log(r"/flood\[[0-9]+\] said 4900 more lines, which were left out")
        self.assertEqual(self.shim.log().count("said: warning number"), 100)


class Ends(CgiTest):
    def test_exit_status(self):
        self.start()
        self.put("seven", SH + 'printf "X: y\\r\\n\\r\\nbody"\nexit 7\n')
        response = self.ask("seven")
        self.assertEqual((response.end, response.body), ((7, 0), b"body"))

    def test_no_answer(self):
        self.start()
        self.put("silent", SH + 'echo "what is wrong" >&2\nexit 3\n')
        response = self.ask("silent", b"x" * 200000)
        self.assert_refused(response, 502)
        self.assertEqual(response.stderr, b"what is wrong\n")
        self.shim.wait_log("/silent exited with status 3 without an answer; its last words: what is wrong")

    def test_signal_before_the_answer(self):
        self.start()
        self.put("crash", SH + "kill -SEGV $$\n")
        self.assert_refused(self.ask("crash"), 502)
        self.shim.wait_log(r"/crash was ended by signal 11 \(Segmentation fault\) without an answer")

    def test_signal_in_the_answer(self):
        self.start()
        self.put("crash", SH + 'printf "X: y\\r\\n\\r\\nhalf"\nkill -KILL $$\n')
        response = self.ask("crash")
        self.assert_cut(response)
        self.assertEqual(bytes(response.stdout), b"X: y\r\n\r\nhalf")
        self.shim.wait_log(r"/crash was ended by signal 9 \(Killed\) in the middle of its answer")

    def assert_sometimes(self, ask, wanted):
        """A program may be too slow on a busy machine, but not time after time."""
        got = []
        while wanted not in got and len(got) < 10:
            got.append(ask())
        self.assertIn(wanted, got)

    def test_standard_output_held_by_others(self):
        """Who still holds it when the program has ended is waited for as long as something comes, and a second."""
        self.start()
        self.put("held", SH + '(sleep 0.1; printf late; exec sleep 1000) & echo $! > pid\nprintf "X: y\\r\\n\\r\\nbody "\n')
        def ask():
            response = self.ask("held")
            self.assert_answer(response)
            self.wait_gone(self.wait_pid("pid"))
            return response.body
        self.assert_sometimes(ask, b"body late")

    def test_what_was_detached_lives_on(self):
        self.start()
        self.put("detach", SH + 'sleep 1000 < /dev/null > /dev/null 2>&1 & echo $! > pid\nprintf "X: y\\r\\n\\r\\nbody"\n')
        self.assert_answer(self.ask("detach"), b"body")
        wait_for(lambda: not children(self.shim.pid), what="the program to be reaped")
        pid = self.wait_pid("pid")
        self.assertIsNotNone(process_state(pid))
        os.kill(pid, signal.SIGKILL)

    def test_standard_output_closed_early(self):
        self.start()
        self.put("early", SH + "echo $$ > pid\n"
                               'printf "X: y\\r\\n\\r\\nbody"\nexec >&-\nexec sleep 1000\n')
        self.assert_answer(self.ask("early"), b"body")
        self.wait_gone(self.wait_pid("pid"))

    def test_standard_output_closed_and_then_an_end(self):
        self.start()
        self.put("early", SH + 'printf "X: y\\r\\n\\r\\nbody"\nexec >&-\nsleep 0.1\nexit 5\n')

        def ask():
            response = self.ask("early")
            self.assertEqual(response.body, b"body")
            return response.end
        self.assert_sometimes(ask, (5, 0))

    def test_nothing_and_standard_output_closed(self):
        self.start()
        self.put("early", SH + "exec >&-\nexec sleep 1000\n")
        self.assert_refused(self.ask("early"), 502)
        self.shim.wait_log("/early closed its standard output without an answer")

    def test_time_out(self):
        self.start(upstream="read_timeout = 500ms")
        self.put("hang", SH + "sleep 1000\n")
        self.assert_refusal(self.ask("hang"), 504)

    def test_time_out_after_a_warning(self):
        """What it said on its standard error is no answer: there is still a page for the client."""
        self.start(upstream="read_timeout = 500ms")
        self.put("hang", SH + "echo warning >&2\nsleep 1000\n")
        self.assert_refusal(self.ask("hang"), 504)

    def test_request_time_out(self):
        self.start(upstream="request_timeout = 500ms")
        self.put("hang", SH + "sleep 1000 &\nsleep 1000\n")
        self.assert_refusal(self.ask("hang"), 504)

    def test_client_gone(self):
        """TERM reaches the program and what it has started."""
        self.start()
        self.put("work", SH + "trap 'echo term > told; exit 0' TERM\nsleep 1000 & echo $! > child\necho $$ > pid\n"
                              "wait\n")
        client = self.begin("work")
        pid, child = self.wait_pid("pid"), self.wait_pid("child")
        client.close()
        self.assertEqual(self.wait_file("told"), "term\n")
        self.wait_gone(pid)
        self.wait_gone(child)

    def test_client_gone_before_the_start(self):
        self.start(upstream="max_processes = 4")
        self.put("hang", SH + "exec sleep 1000\n")
        for _ in range(50):
            client = self.begin("hang")
            client.wait_sent()
            client.close()
        wait_for(lambda: not children(self.shim.pid), what="the programs to be gone")

    def test_term_ignored(self):
        """KILL follows TERM, be it a program that hears none or one of those that it left running. (One test, since
        each takes the time between the two.)"""
        held = self.start()
        self.put("held", SH + "trap '' TERM\n(exec sleep 1000) & echo $! > pid\n"
                              'printf "X: y\\r\\n\\r\\nbody"\n')
        self.assert_answer(self.ask("held"), b"body")
        held_pid = self.wait_pid("pid")
        number = len(children(held.pid))
        if process_state(held_pid) is not None:
            self.assertEqual(number, 1)  # not reaped: the group's id must stay its own
        self.start(upstream="max_processes = 1")
        self.check_room_is_waited_for()
        self.wait_gone(held_pid)
        held.wait_log("killing .*/held, or what it left running")

    def check_room_is_waited_for(self):
        """Until a dying program is gone there is no room for another; who waits may give up."""
        self.put("deaf", SH + "trap '' TERM\nsleep 1000 & echo $! > child\necho $$ > pid\nwhile :; do sleep 1000; done\n")
        self.put("look", SH + 'printf "X: y\\r\\n\\r\\n"\nkill -0 $(cat pid) 2>/dev/null && echo there || echo gone\n')
        client = self.begin("deaf")
        pid, child = self.wait_pid("pid"), self.wait_pid("child")
        client.close()
        fickle = self.begin("look")
        fickle.wait_sent()
        fickle.close()
        self.assert_answer(self.ask("look"), b"gone\n")
        self.wait_gone(pid)
        self.wait_gone(child)
        self.shim.wait_log("killing .*/deaf")


class Many(CgiTest):
    def test_queue(self):
        self.start(upstream="max_processes = 2\nqueue = 1")
        count = ("QUERY_STRING", "count")
        first, second = self.begin("program", count, body=b"1"), self.begin("program", count, body=b"22")
        wait_for(lambda: len(children(self.shim.pid)) == 2, what="two programs")
        third = self.client()
        third.send(request(self.params("program", count), b"333"))
        third.wait_sent()
        self.assert_refusal(self.ask("program", more=[count]), 503)
        self.assertEqual(len(children(self.shim.pid)), 2)
        self.assert_answer(self.finish(first), b"1")
        self.assert_answer(third.read_response(), b"3")
        self.assert_answer(self.finish(second), b"2")

    def test_queue_timeout(self):
        self.start(upstream="max_processes = 1\nqueue_timeout = 300ms")
        first = self.begin("program", ("QUERY_STRING", "count"))
        wait_for(lambda: len(children(self.shim.pid)) == 1, what="a program")
        self.assert_refusal(self.ask("program"), 503)
        self.assert_answer(self.finish(first), b"0")

    def test_everything_at_once(self):
        """Programs of all kinds at a time, none in another's way."""
        self.start(upstream="max_processes = 8\nqueue = 100")
        self.put("seven", SH + 'printf "X: y\\r\\n\\r\\nbody"\nexit 7\n')
        self.put("silent", SH)
        self.put("cut", SH + 'printf "X: y\\r\\n\\r\\nbody"\nkill -KILL $$\n')
        failures = []

        def work(number):
            try:
                for turn in range(12):
                    body = b"%d-%d " % (number, turn) * 9000
                    kind = (number + turn) % 6
                    if kind == 0:
                        self.assert_answer(self.converse("program", body, ("QUERY_STRING", "echo")), body)
                    elif kind == 1:
                        self.assertEqual(self.ask("seven").end, (7, 0))
                    elif kind == 2:
                        self.assert_refused(self.ask("silent"), 502)
                    elif kind == 3:
                        self.assert_cut(self.ask("cut"))
                    elif kind == 4:
                        self.assert_refused(self.ask("none"), 404)
                    else:
                        self.begin("program", ("QUERY_STRING", "count")).close()
            except Exception as error:  # told in the test's own thread
                failures.append(error)
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]


class Shutdown(CgiTest):
    def test_request_under_way_ends(self):
        self.start()
        client = self.begin("program", ("QUERY_STRING", "count"))
        wait_for(lambda: children(self.shim.pid), what="the program")
        self.shim.signal(signal.SIGTERM)
        self.shim.wait_log("TERM: no new requests, 1 running")
        client.send(stream(STDIN, b"body"))
        self.assert_answer(self.finish(client), b"4")
        self.assertEqual(self.shim.wait_exit(), 0)

    def test_what_does_not_end_is_killed(self):
        self.start(sections="[process]\nshutdown_timeout = 300ms")
        self.put("deaf", SH + "trap '' TERM\nsleep 1000 & echo $! > child\necho $$ > pid\nwhile :; do sleep 1000; done\n")
        self.begin("deaf")
        pid, child = self.wait_pid("pid"), self.wait_pid("child")
        self.assertEqual(self.shim.stop(), 0)
        self.wait_gone(pid)
        self.wait_gone(child)

    def test_shutdown_while_programs_start(self):
        self.start()
        self.put("hang", SH + "exec sleep 1000\n")
        clients = [self.begin("hang") for _ in range(12)]
        self.shim.signal(signal.SIGTERM)
        self.shim.wait_log("TERM: no new requests")
        self.shim.signal(signal.SIGTERM)
        self.assertEqual(self.shim.wait_exit(), 0)
        self.assertEqual(len(clients), 12)

    def test_shim_killed(self):
        """No program outlives it, whatever happens."""
        self.start()
        self.put("hang", SH + "echo $$ > pid\nexec sleep 1000\n")
        self.begin("hang")
        pid = self.wait_pid("pid")
        self.shim.kill()
        self.wait_gone(pid)


if __name__ == "__main__":
    unittest.main()
