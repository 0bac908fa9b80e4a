#!/usr/bin/env python3
"""`fcgi-realip serve` run as a CGI program: by hand with all kinds of standard input and output, and under Apache's
mod_cgid and lighttpd's mod_cgi."""

import http.client
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import sameanswer
from fcgi import STDERR, STDOUT, Closed, Responder, echo, end, record, stream
from sameanswer import DIRECT, PROXY, ROWS, ask, crc, numbered_lines
from servers import Apache, Lighttpd, Php, Whoami, shipped
from shim import PATIENCE, SANITIZER, program

INI = """
[upstream]
address = %s
%s
[proxy edge]
trust = 10.0.0.0/8, 127.0.0.1, ::1, 2001:db8:1::/48
[access]
deny = 192.0.2.0/24
"""
CGI = {"GATEWAY_INTERFACE": "CGI/1.1", "REMOTE_ADDR": "10.0.0.1"}
BIG = 10 * 1000 * 1000
PAGES = {
    403: ("403 Forbidden", "Access from this address is not allowed."),
    431: ("431 Request Header Fields Too Large", "The request's header is too large."),
    500: ("500 Internal Server Error", "The server cannot run this program."),
    502: ("502 Bad Gateway", "The application did not answer."),
    504: ("504 Gateway Timeout", "The application did not answer in time."),
}
DEFAULT = "/etc/fcgi-realip/fcgi-realip.ini"
HEAD = b"Content-Type: text/plain\r\n\r\n"


def page(status):
    return ("Status: %s\r\nContent-Type: text/plain\r\n\r\n%s\n%s\n" % (PAGES[status][0], *PAGES[status])).encode()


def flood(connection):
    """Answers before it reads."""
    connection.read_params()
    connection.send(stream(STDOUT, HEAD + numbered_lines(BIG)))
    body = connection.read_body()
    connection.send(stream(STDOUT, b"body: %d %s" % (len(body), crc(body).encode())) + record(STDOUT) + end())


FLOODED = HEAD + numbered_lines(BIG) + b"body: %d %s" % (BIG, crc(numbered_lines(BIG)).encode())


def deaf(connection):
    """Answers and never reads the body."""
    connection.read_params()
    connection.reply(numbered_lines(BIG))


class Background(threading.Thread):
    """Does something that may block; join() raises what went wrong."""

    def __init__(self, function, *arguments):
        super().__init__(daemon=True)
        self.function, self.arguments, self.error = function, arguments, None
        self.start()

    def run(self):
        try:
            self.result = self.function(*self.arguments)
        except Exception as error:  # handed to whoever joins
            self.error = error

    def join(self):
        super().join(PATIENCE)
        if self.is_alive():
            raise AssertionError("%s blocks" % self.function.__name__)
        if self.error:
            raise self.error
        return self.result


def write_all(fd, data):
    """Writes and closes."""
    try:
        at = 0
        while at < len(data):
            at += os.write(fd, data[at:at + 1000000])
    finally:
        os.close(fd)


def read_all(fd):
    with os.fdopen(fd, "rb") as file:
        return file.read()


class BridgeTest(unittest.TestCase):
    maxDiff = 4000

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="rb-")  # short: the kernel reads 256 bytes of a #! line
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        os.mkdir(self.path("tmp"))
        self.fds = []
        self.addCleanup(self.close_all)

    def close_all(self):
        for fd in self.fds:
            try:
                os.close(fd)
            except OSError:
                pass

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text, mode=0o755):
        with open(self.path(name), "w") as file:
            file.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def application(self, script=echo, **options):
        app = Responder(script, **options)
        self.addCleanup(app.close)
        return app

    def ini(self, app, upstream="", more=""):
        return self.write("i", INI % (app.address if isinstance(app, Responder) else app, upstream) + more)

    def start(self, ini, entries=(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, command=None, **options):
        """Starts it as a CGI program."""
        environment = {**CGI, "TMPDIR": self.path("tmp"), **dict(entries)}
        self.errors = open(self.path("stderr"), "w+")
        self.addCleanup(self.errors.close)
        process = subprocess.Popen(command or [program(), "serve", "-c", ini], env=environment, stdin=stdin,
                                   stdout=stdout, stderr=self.errors, **options)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        for stream_ in (process.stdin, process.stdout):
            if stream_:
                self.addCleanup(stream_.close)
        return process

    def end(self, process, status=0, errors=None):
        """Waits until it has ended of itself."""
        try:
            code = process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError("it does not end; it wrote: " + self.log()) from None
        self.assertIsNone(SANITIZER.search(self.log()), self.log())
        self.assertEqual(code, status, self.log())
        if errors is None:
            self.assertEqual(self.log(), "")
        else:
            self.assertRegex(self.log(), errors)
        self.assertEqual(os.listdir(self.path("tmp")), [])

    def log(self):
        with open(self.path("stderr"), errors="backslashreplace") as file:
            return file.read()

    def get(self, ini, entries=(), status=0, errors=None, **options):
        """The answer to a request without a body."""
        process = self.start(ini, entries, **options)
        output = Background(process.stdout.read).join()
        self.end(process, status, errors)
        return output

    def pipe(self):
        pair = os.pipe()
        self.fds += pair
        return pair

    def close(self, fd):
        self.fds.remove(fd)
        os.close(fd)

    def give(self, fd):
        """The descriptor is somebody else's to close."""
        self.fds.remove(fd)
        return fd


class Request(BridgeTest):
    def test_parameters(self):
        app = self.application()
        entries = {
            "PATH": "/usr/bin:/bin", "HOME": "/root", "LD_LIBRARY_PATH": "/lib", "LC_ALL": "C", "PWD": "/", "TZ": "UTC",
            "http_proxy": "http://proxy/", "LISTEN_PORTS": "1", "REQUEST_METHOD": "GET", "QUERY_STRING": "a=b",
            "HTTP_X_FORWARDED_FOR": "203.0.113.66, 203.0.113.7, 10.0.0.2", "REMOTE_PORT": "4711",
            "HTTP_PROXY": "http://evil/", "REALIP_REMOTE_ADDR": "1.2.3.4", "HTTP_CLIENT_IP": "1.2.3.4",
            "http_x_forwarded_for": "203.0.113.66", "EMPTY": "", "EQUALS": "a=b=c", "BYTES": os.fsdecode(b"\xff\n\x01"),
            "LONG": "x" * 70000, "SERVER_NAME": "localhost", "SERVER_PATH": "/p", "lower_case": "kept",
            "REDIRECT_STATUS": "200",
        }
        self.assertEqual(self.get(self.ini(app), entries, errors="info: dropped 1 parameters from peer"), HEAD)
        request = app.requests[0]
        self.assertEqual((request.role, request.flags, bytes(request.stdin)), (1, 0, b""))
        self.assertEqual([(name.decode(), os.fsdecode(value)) for name, value in request.params], [
            ("GATEWAY_INTERFACE", "CGI/1.1"), ("REMOTE_ADDR", "203.0.113.7"),
            ("REQUEST_METHOD", "GET"), ("QUERY_STRING", "a=b"),
            ("HTTP_X_FORWARDED_FOR", "203.0.113.7, 10.0.0.2"), ("REMOTE_PORT", ""),
            ("HTTP_CLIENT_IP", "1.2.3.4"), ("EMPTY", ""), ("EQUALS", "a=b=c"), ("BYTES", entries["BYTES"]),
            ("LONG", entries["LONG"]), ("SERVER_NAME", "localhost"), ("SERVER_PATH", "/p"), ("lower_case", "kept"),
            ("REDIRECT_STATUS", "200"), ("REALIP_REMOTE_ADDR", "10.0.0.1"), ("REALIP_REMOTE_PORT", "4711"),
            ("REALIP_PROXIES", "10.0.0.2, 10.0.0.1")])

    def test_untrusted_peer(self):
        app = self.application()
        forged = {"REMOTE_ADDR": "203.0.113.1", "HTTP_X_FORWARDED_FOR": "10.0.0.1", "REALIP_PROXIES": "10.0.0.9"}
        self.get(self.ini(app), forged)
        self.assertEqual(app.requests[0].params, [(b"GATEWAY_INTERFACE", b"CGI/1.1"), (b"REMOTE_ADDR", b"203.0.113.1")])

    def test_refusals(self):
        ini = self.ini("unix:/none")
        self.assertEqual(self.get(ini, {"HTTP_X_FORWARDED_FOR": "192.0.2.1"},
                                  errors='info: refused a request with 403: peer "10.0.0.1", client 192.0.2.1, denied'),
                         page(403))
        many = {"V%d" % n: "x" for n in range(4097)}
        self.assertEqual(self.get(ini, many), page(431))
        self.assertEqual(self.get(self.ini("unix:/none", more="[limits]\nparams_size = 64k\n"), {"X": "x" * 66000}),
                         page(431))

    def test_no_body_without_a_length(self):
        """What stands in standard input is not the request's, then."""
        for entries in ({}, {"CONTENT_LENGTH": ""}, {"CONTENT_LENGTH": "0"}):
            app = self.application()
            reader, writer = self.pipe()
            os.write(writer, b"next")
            self.assertEqual(self.get(self.ini(app), entries, stdin=reader), HEAD)
            self.assertEqual(os.read(reader, 100), b"next")

    def test_body_of_the_length_said(self):
        """Standard input need not end: RFC 3875 section 4.2."""
        app = self.application()
        reader, writer = self.pipe()
        os.write(writer, b"bodynext")
        self.assertEqual(self.get(self.ini(app), {"CONTENT_LENGTH": "4"}, stdin=reader), HEAD + b"body")
        self.assertEqual(os.read(reader, 100), b"next")

    def test_body_without_a_length(self):
        app = self.application()
        reader, writer = self.pipe()
        feeder = Background(write_all, self.give(writer), numbered_lines(BIG))
        self.assertEqual(self.get(self.ini(app), {"HTTP_TRANSFER_ENCODING": "chunked"}, stdin=reader),
                         HEAD + numbered_lines(BIG))
        feeder.join()

    def test_body_without_a_length_of_a_web_server_that_goes_away(self):
        app = self.application()
        ours, theirs = socket.socketpair()
        process = self.start(self.ini(app), {"HTTP_TRANSFER_ENCODING": "chunked"}, stdin=theirs, stdout=theirs)
        theirs.close()
        ours.sendall(b"part")
        app.wait(lambda: app.requests and bytes(app.requests[0].stdin) == b"part")
        ours.close()
        self.end(process, 1, "the web server (wants no more of the answer|went away before the request's body ended)")
        app.wait_closed()
        self.assertIsInstance(app.connections[0].error, Closed)

    def test_short_body(self):
        """It is never made a whole request."""
        app = self.application()
        for kind in ("pipe", "file"):
            if kind == "pipe":
                reader, writer = self.pipe()
                os.write(writer, b"bod")
                self.close(writer)
            else:
                reader = os.open(self.write("short", "bod"), os.O_RDONLY)
                self.fds.append(reader)
            output = self.get(self.ini(app), {"CONTENT_LENGTH": "4"}, 1, "the request's body ended 1 bytes before "
                              "CONTENT_LENGTH: the client went away", stdin=reader)
            self.assertEqual(output, b"")
            app.wait_closed()
        self.assertNotIn("STDIN id=1 len=0", repr([request.records for request in app.requests]))
        for connection in app.connections:
            self.assertIsInstance(getattr(connection, "error", None) or Closed(), Closed)

    def test_length_that_is_none(self):
        for length in ("abc", "-1", "1x", "99999999999999999999999"):
            output = self.get(self.ini("unix:/none"), {"CONTENT_LENGTH": length}, 1,
                              r"\Afcgi-realip: error: CONTENT_LENGTH is no number\n\Z", stdin=subprocess.DEVNULL)
            self.assertEqual(output, page(500))


class Streams(BridgeTest):
    """Whatever standard input and output are."""

    def both_ways(self, script, wanted, length=BIG):
        """The web server writes the whole body before it reads, through two pipes and through one socket."""
        body = numbered_lines(length)
        for kind in ("pipes", "socket"):
            with self.subTest(kind):
                app = self.application(script)
                if kind == "pipes":
                    theirs, writer = self.pipe()
                    reader, output = self.pipe()
                else:
                    pair = socket.socketpair()
                    writer, theirs = (one.detach() for one in pair)
                    self.fds += [writer, theirs]
                    reader, output = os.dup(writer), theirs
                    self.fds.append(reader)
                process = self.start(self.ini(app), {"CONTENT_LENGTH": str(length)}, stdin=theirs, stdout=output)
                for fd in {theirs, output}:
                    self.close(fd)
                Background(write_all, self.give(writer), body).join()
                answer = Background(read_all, self.give(reader)).join()
                self.assertEqual(len(answer), len(wanted))
                self.assertTrue(answer == wanted)
                self.end(process)

    def test_echo(self):
        self.both_ways(echo, HEAD + numbered_lines(200000), 200000)

    def test_answer_before_the_body_is_read(self):
        self.both_ways(flood, FLOODED)

    def test_answer_and_body_that_nobody_reads(self):
        self.both_ways(deaf, HEAD + numbered_lines(BIG))

    def test_refusal_and_body_that_nobody_reads(self):
        """Were it left in the socket, the answer would be destroyed."""
        for kind in ("socket", "pipes"):
            body = numbered_lines(BIG)
            ini = self.ini("unix:/none")
            entries = {"CONTENT_LENGTH": str(BIG), "HTTP_X_FORWARDED_FOR": "192.0.2.1"}
            if kind == "socket":
                ours, theirs = socket.socketpair()
                process = self.start(ini, entries, stdin=theirs, stdout=theirs)
                theirs.close()
                writer, reader = os.dup(ours.fileno()), ours.detach()
            else:
                process = self.start(ini, entries, stdin=subprocess.PIPE)
                writer, reader = os.dup(process.stdin.fileno()), os.dup(process.stdout.fileno())
                process.stdin.close()
            Background(write_all, writer, body).join()
            self.assertEqual(Background(read_all, reader).join(), page(403))
            self.end(process, 0, "403")

    def test_both_at_once(self):
        """Body and answer flow at the same time."""
        def relay(connection):
            connection.read_params()
            connection.send(stream(STDOUT, HEAD))
            while True:
                piece = connection.read_record()
                connection.send(record(STDOUT, piece.content))
                if not piece.content:
                    break
            connection.send(end())
        app = self.application(relay)
        process = self.start(self.ini(app), {"CONTENT_LENGTH": str(BIG)}, stdin=subprocess.PIPE)
        feeder = Background(write_all, os.dup(process.stdin.fileno()), numbered_lines(BIG))
        process.stdin.close()
        answer = Background(process.stdout.read).join()
        feeder.join()
        self.end(process)
        self.assertTrue(answer == HEAD + numbered_lines(BIG), len(answer))

    def test_files(self):
        app = self.application()
        with open(self.path("body"), "wb") as file:
            file.write(b"skipped" + numbered_lines(BIG) + b"left")
        with open(self.path("body"), "rb", buffering=0) as body, open(self.path("answer"), "wb") as answer:
            body.seek(7)
            process = self.start(self.ini(app), {"CONTENT_LENGTH": str(BIG)}, stdin=body, stdout=answer)
            self.end(process)
            self.assertEqual(body.read(), b"left")
        with open(self.path("answer"), "rb") as answer:
            self.assertTrue(answer.read() == HEAD + numbered_lines(BIG))

    def test_flags_are_not_ours(self):
        """Descriptors are shared with whoever else has them, and their blocking with them."""
        for blocking in (True, False):
            held = threading.Event()

            def hold(connection):
                connection.read_params()
                connection.send(stream(STDOUT, HEAD + numbered_lines(300000)))
                held.wait(PATIENCE)
                connection.read_body()
                connection.send(record(STDOUT) + end())
            app = self.application(hold)
            theirs, writer = self.pipe()
            reader, output = self.pipe()
            for fd in (theirs, output):
                os.set_blocking(fd, blocking)
            process = self.start(self.ini(app), {"CONTENT_LENGTH": "300000"}, stdin=theirs, stdout=output)
            first = os.read(reader, 1)
            self.assertEqual([os.get_blocking(fd) for fd in (theirs, output)], [blocking] * 2)
            held.set()
            feeder = Background(write_all, self.give(writer), numbered_lines(300000))
            collector = Background(read_all, self.give(reader))
            self.end(process)
            self.assertEqual([os.get_blocking(fd) for fd in (theirs, output)], [blocking] * 2)
            self.close(output)
            feeder.join()
            self.assertTrue(first + collector.join() == HEAD + numbered_lines(300000))

    def test_no_standard_streams(self):
        """A launcher that closed them."""
        app = self.application()
        process = self.start(self.ini(app), command=["/bin/sh", "-c", 'exec "$0" serve -c "$1" <&- >&-', program(),
                                                     self.path("i")])
        self.end(process)
        self.assertEqual(len(app.requests), 1)

    def test_no_room_for_the_body(self):
        """The body that cannot be sent yet is kept in a temporary file; here there is none."""
        app = self.application(flood)
        process = self.start(self.ini(app), {"CONTENT_LENGTH": str(BIG), "TMPDIR": "/nowhere"}, stdin=subprocess.PIPE)
        feeder = Background(write_all, os.dup(process.stdin.fileno()), numbered_lines(BIG))
        process.stdin.close()
        self.end(process, 1, "error: cannot keep the request's body in a temporary file: No such file or directory")
        with self.assertRaises(BrokenPipeError):
            feeder.join()
        app.wait_closed()

    def test_error_stream(self):
        def complain(connection):
            connection.read_request()
            connection.send(record(STDERR, b"a line\nand half") + stream(STDOUT, HEAD) + record(STDERR, b" of one\n")
                            + record(STDERR) + record(STDOUT) + end())
        self.assertEqual(self.get(self.ini(self.application(complain)), errors=r"\Aa line\nand half of one\n\Z"), HEAD)


class Ends(BridgeTest):
    def test_nobody_listens(self):
        self.assertEqual(self.get(self.ini("unix:/none"), errors="error: no answer from the application at unix:/none"),
                         page(502))

    def test_silent_application(self):
        for setting in ("read_timeout", "request_timeout"):
            app = self.application(lambda connection: connection.read_request() and connection.read_eof())
            self.assertEqual(self.get(self.ini(app, setting + " = 300ms"), errors="error: no answer from the application"),
                             page(504))
            app.wait_closed()

    def test_application_that_dies_first(self):
        app = self.application(lambda connection: connection.read_request() and None)
        self.assertEqual(self.get(self.ini(app), errors="error: no answer from the application"), page(502))

    def test_application_that_dies_half_way(self):
        """A short answer, and nothing behind it."""
        def die(connection):
            connection.read_request()
            connection.send(stream(STDOUT, HEAD + b"half"))
        self.assertEqual(self.get(self.ini(self.application(die)), (), 1, "broke off in the middle of an answer"),
                         HEAD + b"half")

    def test_application_that_says_nothing(self):
        def nothing(connection):
            connection.read_request()
            connection.send(record(STDOUT) + end())
        self.assertEqual(self.get(self.ini(self.application(nothing))), page(502))

    def test_web_server_that_goes_away(self):
        """The application must not work for nobody, whether or not the answer has begun."""
        for begun in (False, True):
            def wait(connection):
                connection.read_request()
                if begun:
                    connection.send(stream(STDOUT, HEAD))
                connection.read_eof()
            for kind in ("pipe", "socket"):
                app = self.application(wait)
                if kind == "pipe":
                    reader, output = self.pipe()
                else:
                    reader, output = (one.detach() for one in socket.socketpair())
                    self.fds += [reader, output]
                process = self.start(self.ini(app), stdout=output)
                self.close(output)
                app.wait_requests(1)
                if begun:
                    self.assertEqual(os.read(reader, 1000), HEAD)
                self.close(reader)
                self.end(process, 1, "info: the web server wants no more of the answer")
                app.wait_closed()

    def test_web_server_that_takes_its_time(self):
        """How long it may, it says itself: it ends the program."""
        def answer(connection):
            connection.read_request()
            connection.reply(numbered_lines(BIG))
        app = self.application(answer)
        process = self.start(self.ini(app, "send_timeout = 100ms"))
        app.wait_requests(1)
        time.sleep(0.6)
        output = Background(process.stdout.read).join()
        self.end(process)
        self.assertTrue(output == HEAD + numbered_lines(BIG), len(output))

    def test_output_that_fails(self):
        app = self.application()
        with open("/dev/full", "w") as full:
            process = self.start(self.ini(app), stdout=full)
        self.end(process, 1, "error: cannot write to standard output: No space left on device")

    def test_signal(self):
        app = self.application(lambda connection: connection.read_request() and connection.read_eof())
        process = self.start(self.ini(app))
        app.wait_requests(1)
        process.send_signal(signal.SIGTERM)
        self.end(process, -signal.SIGTERM)
        app.wait_closed()


class Configuration(BridgeTest):
    """No mistake of the administrator's is an empty page, or one with status 200."""

    def assert_failure(self, output, status=500):
        self.assertEqual(output, page(status))

    def test_broken(self):
        for text, message in [("[upstream]\naddress = unix:/none\n[proxy p]\ntrust = 10.0.0.256\n", "10.0.0.256"),
                              ("", "no application to send to"),
                              ("[upstream]\ncommand = /bin/app\n", "command is not for a CGI program"),
                              ("[upstream]\ncgi = script\ncgi_root = /srv\n", "cgi = script is not for a CGI program"),
                              ("[upstream]\ncgi = /no/such/program\n", "No such file")]:
            with self.subTest(text):
                status = 404 if "such" in text else 500
                output = self.get(self.write("i", text), {"CONTENT_LENGTH": "4"}, 1, r"\Afcgi-realip: error: .*" + message)
                self.assertTrue(output.startswith(b"Status: %d " % status), output)
        self.assert_failure(self.get("/nowhere", (), 1, "error: /nowhere: cannot read the configuration"))

    def test_usage(self):
        output = self.get("", (), 2, 'unknown option "--conf"', command=[program(), "serve", "--conf"])
        self.assert_failure(output)
        output = self.get("", (), 1, "so it starts no application",
                          command=[program(), "-c", self.ini("unix:/none"), "--", "/bin/sh"])
        self.assert_failure(output)

    def test_warnings_do_not_fill_the_log(self):
        app = self.application()
        self.assertEqual(self.get(self.ini(app, more="[proxy p]\ntrust = 10.9.0.1/8\nselect = leftmost\n")), HEAD)

    def test_nothing_is_listened_on(self):
        app = self.application()
        ini = self.ini(app, more="[listen]\naddress = unix:%s\n" % self.path("sock"))
        self.assertEqual(self.get(ini), HEAD)
        self.assertFalse(os.path.exists(self.path("sock")))

    def test_program(self):
        """cgi = PROGRAM is what `fcgi-realip cgi -- PROGRAM` does."""
        ini = self.write("i", "[upstream]\ncgi = /bin/sh -c 'echo $REMOTE_ADDR; cat'\n[proxy p]\ntrust = 10.0.0.1\n")
        with open(self.write("body", "body")) as body:
            output = self.get(ini, {"HTTP_X_FORWARDED_FOR": "203.0.113.7", "PATH": "/usr/bin:/bin"}, stdin=body)
        self.assertEqual(output, b"203.0.113.7\nbody")


class CommandLine(BridgeTest):
    """A web server appends the words of a query without "=" to the command line; none of them is obeyed."""

    def setUp(self):
        super().setUp()
        os.symlink(program(), self.path("f"))
        self.ini(self.application(lambda connection: connection.read_request() and connection.reply(b"answered")))

    def ask(self, *command, status=0, errors=None, **entries):
        return self.get("", entries, status, errors, command=command)

    def test_script(self):
        for options in ("serve -c %s", "-c %s", " serve  -c%s\t"):
            script = self.write("s", "#!%s %s\n" % (self.path("f"), options % self.path("i")))
            for words in ([], ["-c", "/nowhere"], ["--", "/bin/sh"], ["cgi", "--", "/bin/sh"], ["--version"]):
                with self.subTest([options, words]):
                    output = self.ask(script, *words, QUERY_STRING="+".join(words), SCRIPT_FILENAME=script)
                    self.assertEqual(output, HEAD + b"answered")
                    output = self.ask(script, *words, QUERY_STRING="+".join(words))
                    self.assertEqual(output, HEAD + b"answered")

    def test_script_by_a_query_that_looks_like_its_line(self):
        script = self.write("s", "#!%s serve -c %s\n" % (self.path("f"), self.path("i")))
        for query in ("serve+a+b", "serve%20-c%20" + self.path("i") + "+" + script):
            self.assertEqual(self.ask(script, QUERY_STRING=query), HEAD + b"answered")

    def test_script_without_options(self):
        for line in ("#!%s", "#!%s serve"):
            script = self.write("s", line % self.path("f") + "\n")
            if not os.path.exists(DEFAULT):
                output = self.ask(script, "-c", self.path("i"), status=1, errors="error: %s: cannot read" % DEFAULT)
                self.assertEqual(output, page(500))

    def test_line_that_the_kernel_cuts(self):
        script = self.write("s", "#!%s serve %s-c %s\n" % (self.path("f"), " " * 300, self.path("i")))
        output = self.ask(script, status=1, errors="its #! line is too long for the kernel, which cut it")
        self.assertEqual(output, page(500))

    def test_other_commands_of_scripts(self):
        script = self.write("s", "#!%s whoami\n" % self.path("f"))
        self.assertIn(b'"body_length":', self.ask(script, "x", QUERY_STRING="json"))
        script = self.write("s", "#!%s nonsense\n" % self.path("f"))
        self.assertEqual(self.ask(script, status=2, errors='unknown command "nonsense"'), b"")

    @unittest.skipIf(os.path.exists(DEFAULT), "there is a " + DEFAULT)
    def test_the_program_itself(self):
        """As a symbolic link among the CGI programs; SCRIPT_FILENAME tells."""
        link = self.path("f")
        for words in ([], ["-c", self.path("i")], ["cgi", "--", "/bin/sh"], ["--version"]):
            for query in ("+".join(words), "a=b", ""):
                output = self.ask(link, *words, status=1, errors="error: %s: cannot read" % DEFAULT,
                                  SCRIPT_FILENAME=link, QUERY_STRING=query)
                self.assertEqual(output, page(500))

    def test_wrapper(self):
        """A shell script that does not hand on what the web server appends; no query changes what it says."""
        script = self.write("s", '#!/bin/sh\nexec %s serve -c %s\n' % (self.path("f"), self.path("i")))
        for query in ("", "a+b", "a=b", "-c+/nowhere"):
            self.assertEqual(self.ask(script, *query.split("+"), QUERY_STRING=query, SCRIPT_FILENAME=script),
                             HEAD + b"answered")
        for query in ("serve+-c+%s" % self.path("i"), "serve+a+b", "ser+a+b"):
            output = self.ask(script, QUERY_STRING=query, SCRIPT_FILENAME=script, status=1,
                              errors="these arguments may be the words of the URL's query, and are not obeyed")
            self.assertEqual(output, page(500))

    def test_wrapper_that_hands_words_on(self):
        script = self.write("s", '#!/bin/sh\nexec %s "$@"\n' % self.path("f"))
        for query in ("cgi+--+/bin/sh", "++cgi+--+/bin/sh", "%63gi+--+/bin/sh"):
            output = self.ask(script, "cgi", "--", "/bin/sh", QUERY_STRING=query, status=1, errors="are not obeyed")
            self.assertEqual(output, page(500))

    def test_wrapper_that_hands_words_on_behind_its_own(self):
        script = self.write("s", '#!/bin/sh\nexec %s serve -c %s "$@"\n' % (self.path("f"), self.path("i")))
        evil = self.write("evil", "[upstream]\ncgi = /bin/echo evil\n[proxy p]\ntrust = 10.0.0.1\n")
        for words, query in ((["-c", evil], "-c+%s"), (["-c" + evil], "-c%s"), (["-c", evil], "+-c++%s+"),
                             (["--config=" + evil], "--config%%3D%s")):
            output = self.ask(script, *words, QUERY_STRING=query % evil, status=1, errors="are not obeyed")
            self.assertEqual(output, page(500))
        self.assertEqual(self.ask(script, QUERY_STRING="a+b"), HEAD + b"answered")


def bridge_site(server):
    """The shipped file, with programs from a directory of the test's own."""
    programs = server.path("bin")
    os.mkdir(programs)
    shutil.copy(program(), server.path("f"))
    for name, address in [("whoami", server.whoami.address), ("flood", "unix:" + server.path("flood.sock")),
                          ("bridge", server.php.address if server.php else "unix:/none"), ("dead", "unix:/none")]:
        server.write(name + ".ini", INI % (address, ""))
        server.write("bin/" + name, "#!%s serve -c %s\n" % (server.path("f"), server.path(name + ".ini")))
    server.write("bin/broken", "#!%s serve -c %s\n" % (server.path("f"), server.path("none")))
    for name in os.listdir(programs):
        os.chmod(os.path.join(programs, name), 0o755)
    os.symlink(server.path("f"), os.path.join(programs, "ours"))
    return [("/usr/lib/cgi-bin", programs)]


class ApacheBridge(Apache):
    modules = ("mpm_event", "authz_core", "dir", "mime", "alias", "cgid", "actions")

    @classmethod
    def installed(cls):
        return super().installed() and os.path.exists("/usr/lib/apache2/modules/mod_cgid.so")

    def site(self):
        return shipped("apache/cgi.conf", [("<VirtualHost *:80>", "<VirtualHost *:%d>" % self.port),
                                           ("/var/www/html", self.www), *bridge_site(self)]).replace(
            "CGIPassAuth On", "CGIPassAuth On\n        Options +FollowSymLinks").replace(
            "# AddHandler", "AddHandler").replace("# Action", "Action")


class LighttpdBridge(Lighttpd):
    def site(self):
        return shipped("lighttpd/cgi.conf", bridge_site(self)).replace("# cgi.assign", "cgi.assign")


class Served:
    """The same requests under every web server."""

    server_class = None

    @classmethod
    def setUpClass(cls):
        cls.server = cls.server_class("unix:/none")
        cls.server.whoami = cls.enter(Whoami())
        cls.server.php = cls.enter(Php()) if Php.installed() else None
        os.chmod(cls.server.whoami.address[len("unix:"):], 0o777)  # Apache as root has workers of another user
        path = cls.server.path("flood.sock")
        cls.flood = Responder(flood, "unix:" + path)
        cls.addClassCleanup(cls.flood.close)
        os.chmod(path, 0o777)
        cls.enter(cls.server)

    @classmethod
    def enter(cls, part):
        part.__enter__()
        cls.addClassCleanup(part.__exit__, None, None, None)
        return part

    def ask(self, name, query="json&", *arguments, **options):
        return ask(self.server.port, query, *arguments, path=name if name[0] == "/" else "/cgi-bin/" + name, **options)

    def pages(self):
        """One by a script of its own, and one of PHP's, which the web server hands to the bridge by its name."""
        return ("whoami", "/index.php") if self.server.php else ("whoami",)

    def assert_page(self, answer, status):
        self.assertEqual((answer.status, answer.body.decode()), (status, "%s\n%s\n" % PAGES[status]))

    def test_same_answers(self):
        for name in self.pages():
            for row in ROWS:
                with self.subTest([name, row.name]):
                    sameanswer.SameAnswer.assert_row(self, row, self.ask(name, "json&a=", row.headers, row.source))

    def test_parameters_that_are_not_ours(self):
        params = self.ask("whoami", "json&a=b%20c", [("X-Long", "l" * 5000), ("Proxy", "evil"),
                                                    ("Authorization", "Basic eDp5")]).json()["params"]
        self.assertEqual([params.get(name) for name in ("QUERY_STRING", "SCRIPT_NAME", "HTTP_X_LONG", "HTTP_PROXY",
                                                        "GATEWAY_INTERFACE", "HTTP_AUTHORIZATION", "PATH")],
                         ["json&a=b%20c", "/cgi-bin/whoami", "l" * 5000, None, "CGI/1.1", "Basic eDp5", None])

    def test_bodies(self):
        body = numbered_lines(3000000)
        for name in self.pages():
            answer = self.ask(name, "json&a=", [("X-Forwarded-For", "203.0.113.7")], body=body).json()
            self.assertEqual((answer["body_length"], answer["body_crc32"], answer["params"]["REMOTE_ADDR"]),
                             (len(body), crc(body), "203.0.113.7"))
            answer = self.ask(name, "size=3000000")
            self.assertTrue(answer.body == body, (answer.status, len(answer.body)))

    def test_answer_before_the_body_is_read(self):
        """Apache writes all of the body before it reads anything of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=PATIENCE)
        self.addCleanup(connection.close)
        body = numbered_lines(BIG)
        connection.putrequest("POST", "/cgi-bin/flood")
        connection.putheader("Content-Length", str(BIG))
        connection.endheaders()
        feeder = Background(connection.send, body)
        answer = Background(lambda: connection.getresponse().read()).join()
        feeder.join()
        self.assertTrue(HEAD + answer == FLOODED, len(answer))

    def test_refusal(self):
        answer = self.ask("whoami", "", [("X-Forwarded-For", "192.0.2.1")], body=numbered_lines(3000000))
        self.assert_page(answer, 403)
        self.assertIn('refused a request with 403: peer "127.0.0.1", client 192.0.2.1, denied', self.server.log())

    def test_failures(self):
        for name, status, message in [("dead", 502, "no answer from the application at unix:/none"),
                                      ("broken", 500, "none: cannot read the configuration")]:
            with self.subTest(name):
                self.assert_page(self.ask(name, body=numbered_lines(1000000)), status)
                self.assertIn(message, self.server.log())

    def test_words_of_the_query(self):
        for query in ("-c+/nowhere", "--version", "serve+a+b", "a+b"):
            answer = self.ask("whoami", query, [("X-Forwarded-For", "203.0.113.7")])
            self.assertEqual(answer.status, 200)
            self.assertIn(b"203.0.113.7", answer.body)
            if not os.path.exists(DEFAULT):
                self.assert_page(self.ask("ours", query), 500)


for web_server in (ApacheBridge, LighttpdBridge):
    test_case = type("Under" + web_server.__name__, (Served, unittest.TestCase),
                     {"server_class": web_server, "maxDiff": None})
    if not web_server.installed():
        test_case = unittest.skip("SKIPPED: %s is not installed" % web_server.__name__)(test_case)
    globals()[test_case.__name__] = test_case
del test_case

if __name__ == "__main__":
    unittest.main()
