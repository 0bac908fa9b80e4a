#!/usr/bin/env python3
"""`fcgi-realip cgi`, from a command line and from a #! line, and under Apache's mod_cgid and lighttpd's mod_cgi."""

import base64
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

import sameanswer
from sameanswer import DIRECT, PROXY, ROWS, ask, crc, numbered_lines
from servers import Apache, Lighttpd, shipped
from shim import PATIENCE, SANITIZER, connect, program

INI = """
[proxy edge]
trust = 10.0.0.0/8, 127.0.0.1, 2001:db8:1::/48
[access]
deny = 192.0.2.0/24
"""
CGI = [b"GATEWAY_INTERFACE=CGI/1.1"]
TRUSTED = CGI + [b"REMOTE_ADDR=10.0.0.1"]
TEXT = "Status: %s\r\nContent-Type: text/plain\r\n\r\n%s\n%s\n"
REFUSED = {
    400: "The request's client address cannot be determined.",
    403: "Access from this address is not allowed.",
    431: "The request's header is too large.",
}
REASONS = {400: "400 Bad Request", 403: "403 Forbidden", 404: "404 Not Found",
           431: "431 Request Header Fields Too Large", 500: "500 Internal Server Error"}
FAILED = {403: "The server may not run this program.", 404: "There is no such program.",
          500: "The server cannot run this program."}

# An environment that no dictionary can hold: repeated names, entries that are no variables.
EXECUTE = """
import base64, ctypes, sys
entries = [base64.b64decode(text) for text in sys.stdin.buffer.readline().split(b",") if text]
argv = [argument.encode() for argument in sys.argv[1:]]
def vector(texts):
    return (ctypes.c_char_p * (len(texts) + 1))(*texts, None)
ctypes.CDLL(None).execve(argv[0], vector(argv), vector(entries))
"""


def write_file(path, text, mode=0o755):
    with open(path, "w") as file:
        file.write(text)
    os.chmod(path, mode)
    return path


class CgiTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="rc-")  # short: the kernel reads 256 bytes of a #! line
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.ini = self.write("i", INI)

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text, mode=0o755):
        return write_file(self.path(name), text, mode)

    def execute(self, command, entries):
        """Runs a command with exactly these entries as its environment."""
        line = b",".join(base64.b64encode(entry) for entry in entries) + b"\n"
        done = subprocess.run([sys.executable, "-c", EXECUTE, *command], input=line, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, timeout=PATIENCE)
        done.stderr = done.stderr.decode()
        self.assertIsNone(SANITIZER.search(done.stderr), done.stderr)
        return done

    def cgi(self, command, entries, ini=None):
        return self.execute([program(), "cgi", "-c", ini or self.ini, "--", *command], entries)

    def environment(self, entries, ini=None):
        """What the program gets of these entries, in its order."""
        done = self.cgi(["/usr/bin/env", "-0"], entries, ini)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertTrue(done.stdout.endswith(b"\0"))
        return done.stdout[:-1].split(b"\0")

    def assert_answer(self, done, status, texts, code, message):
        self.assertEqual(done.stdout.decode(), TEXT % (REASONS[status], REASONS[status], texts[status]))
        self.assertEqual(done.returncode, code)
        self.assertRegex(done.stderr, r"\A%s\n\Z" % message)

    def assert_failure(self, done, status, message):
        self.assert_answer(done, status, FAILED, 1, "fcgi-realip: error: " + message)


class Environment(CgiTest):
    def test_untrusted_peer(self):
        entries = [
            b"PATH=/usr/bin:/bin", *CGI, b"REMOTE_ADDR=203.0.113.1", b"REMOTE_PORT=4711", b"EMPTY=",
            b"BYTES=\xff\x01 \xe9", b"LINES=a\nb\r\n\tc", b"EQUALS=a=b==c", b"QUERY_STRING=x=1&y=%20",
            b"no variable", b"=C:=x", b"lower_case=x", b"http_proxy=http://proxy:3128/",
            b"X" * 4000 + b"=" + b"y" * 90000,
            b"HTTP_USER_AGENT=x", b"TWICE=1", b"TWICE=2",
        ]
        forged = [b"HTTP_X_FORWARDED_FOR=10.0.0.1", b"HTTP_PROXY=http://evil/", b"REALIP_REMOTE_ADDR=1.2.3.4",
                  b"HTTP_CLIENT_IP=1.2.3.4", b"REMOTE.ADDR=1.2.3.4"]
        self.assertEqual(self.environment(entries), entries)
        self.assertEqual(self.environment(forged[:3] + entries + forged[3:]), entries)

    def test_trusted_peer(self):
        self.assertEqual(
            self.environment([b"A=1", *CGI, b"REMOTE_PORT=1", b"REMOTE_ADDR=10.0.0.1", b"REMOTE_HOST=lb", b"B=2",
                              b"HTTP_X_FORWARDED_FOR=203.0.113.66, 203.0.113.7, 10.0.0.2", b"C=3",
                              b"http_x_forwarded_for=203.0.113.66"]),
            [b"A=1", *CGI, b"REMOTE_PORT=", b"REMOTE_ADDR=203.0.113.7", b"REMOTE_HOST=203.0.113.7", b"B=2",
             b"HTTP_X_FORWARDED_FOR=203.0.113.7, 10.0.0.2", b"C=3", b"REALIP_REMOTE_ADDR=10.0.0.1",
             b"REALIP_REMOTE_PORT=1", b"REALIP_PROXIES=10.0.0.2, 10.0.0.1"])

    def test_repeated_names(self):
        """As with repeated parameters: the last REMOTE_ADDR at the place of the first, the header joined."""
        self.assertEqual(
            self.environment([*CGI, b"REMOTE_ADDR=203.0.113.1", b"HTTP_X_FORWARDED_FOR=203.0.113.7", b"A=1",
                              b"HTTP_X_FORWARDED_FOR=10.0.0.2", b"REMOTE_ADDR=10.0.0.1"]),
            [*CGI, b"REMOTE_ADDR=203.0.113.7", b"HTTP_X_FORWARDED_FOR=203.0.113.7, 10.0.0.2", b"A=1",
             b"REALIP_REMOTE_ADDR=10.0.0.1", b"REALIP_PROXIES=10.0.0.2, 10.0.0.1"])

    def test_no_remote_addr(self):
        self.assertEqual(self.environment([*CGI, b"HTTP_X_FORWARDED_FOR=203.0.113.7"]), CGI)

    def test_twice(self):
        entries = TRUSTED + [b"HTTP_X_FORWARDED_FOR=203.0.113.7", b"REMOTE_PORT=1"]
        done = self.cgi([program(), "cgi", "-c", self.ini, "--", "/usr/bin/env", "-0"], entries)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual([entry for entry in done.stdout.split(b"\0") if entry.startswith(b"REMOTE_")],
                         [b"REMOTE_ADDR=203.0.113.7", b"REMOTE_PORT="])

    def test_as_many_as_there_may_be(self):
        entries = TRUSTED + [b"V%d=" % n for n in range(4096 - len(TRUSTED))]
        self.assertEqual(self.environment(entries), entries + [b"REALIP_REMOTE_ADDR=10.0.0.1"])
        self.assert_answer(self.cgi(["/usr/bin/env"], entries + [b"MORE="]), 431, REFUSED, 0,
                           "fcgi-realip: refused a request with 431: it has more than 4096 variables")


class Refusals(CgiTest):
    def test_denied(self):
        done = self.cgi(["/bin/echo", "ran"], TRUSTED + [b"HTTP_X_FORWARDED_FOR=192.0.2.1"])
        self.assert_answer(done, 403, REFUSED, 0,
                           'fcgi-realip: refused a request with 403: peer "10.0.0.1", client 192.0.2.1, denied')

    def test_whole_response(self):
        """The web server passes on what a program named nph-... writes; RFC 3875 section 5."""
        for variable, whole in [(b"SCRIPT_FILENAME=/cgi-bin/nph-x", True), (b"SCRIPT_NAME=/cgi-bin/nph-x", True),
                                (b"SCRIPT_NAME=nph-", True), (b"SCRIPT_FILENAME=/nph-x/y", False)]:
            done = self.cgi(["/bin/echo"], TRUSTED + [b"HTTP_X_FORWARDED_FOR=192.0.2.1", variable])
            self.assertEqual(done.stdout.split(b"\r\n")[0], (b"HTTP/1.0 " if whole else b"Status: ") + b"403 Forbidden")

    def test_malformed(self):
        ini = self.write("reject", "[proxy p]\ntrust = 10.0.0.0/8\non_malformed = reject\n[log]\nlevel = warning\n")
        done = self.cgi(["/bin/echo", "ran"], TRUSTED + [b"HTTP_X_FORWARDED_FOR=unknown"], ini)
        self.assertEqual(done.stdout.decode(), TEXT % (REASONS[400], REASONS[400], REFUSED[400]))
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_variable_that_comes_twice(self):
        """An environment can hold that: lighttpd makes one of X-Forwarded-For and X.Forwarded.For."""
        entries = TRUSTED + [b"HTTP_X_FORWARDED_FOR=203.0.113.7", b"HTTP_X_FORWARDED_FOR=203.0.113.66"]
        text = "[proxy p]\ntrust = 10.0.0.0/8\nrepeated = %s\n"
        self.assertIn(b"REMOTE_ADDR=203.0.113.66", self.environment(entries, self.write("join", text % "join")))
        seen = self.environment(entries, self.write("exact", text % "malformed"))
        self.assertEqual(seen, TRUSTED + [b"REALIP_REMOTE_ADDR=10.0.0.1"])

    def test_secret_is_not_handed_on(self):
        ini = self.write("secret", "[proxy p]\ntrust = 10.0.0.0/8\nrequire_param = HTTP_X_SECRET:s3cret\n")
        entries = TRUSTED + [b"HTTP_X_FORWARDED_FOR=203.0.113.7"]
        self.assertIn(b"REMOTE_ADDR=203.0.113.7", self.environment(entries + [b"HTTP_X_SECRET=s3cret"], ini))
        self.assertEqual(self.environment(entries + [b"HTTP_X_SECRET=wrong"], ini), TRUSTED)


class Failures(CgiTest):
    def test_no_cgi_request(self):
        done = self.cgi(["/bin/echo", "ran"], [b"REMOTE_ADDR=10.0.0.1"])
        self.assertEqual((done.returncode, done.stdout), (2, b""))
        self.assertEqual(done.stderr, "fcgi-realip: error: there is no GATEWAY_INTERFACE in the environment, so this "
                         "is no CGI request; a web server runs this command, as a CGI program\n"
                         "Try `fcgi-realip cgi --help`.\n")

    def test_usage(self):
        for arguments, message in [
                ([], "the program to run is missing: write it behind `--`"),
                (["--"], "the program to run is missing: write it behind `--`"),
                (["/bin/echo"], 'unexpected argument "/bin/echo"'),
                (["-c", "--", "/bin/echo"], "--config needs a value: --config FILE"),
                (["-n", "--", "/bin/echo"], "--no-script is for #! lines; here no script's path is added")]:
            with self.subTest(arguments):
                done = self.execute([program(), "cgi", *arguments], CGI)
                self.assertEqual((done.returncode, done.stdout), (2, b""))
                self.assertEqual(done.stderr, "fcgi-realip: error: %s\nTry `fcgi-realip cgi --help`.\n" % message)
        done = self.execute([program(), "cgi -- /bin/echo"], CGI)
        self.assertEqual((done.returncode, done.stdout), (2, b""))
        self.assertIn("options in one argument are for #! lines", done.stderr)

    def test_broken_configuration(self):
        """It never runs unprotected."""
        ini = self.write("broken", "[proxy p]\ntrust = 10.0.0.256\n")
        self.assert_failure(self.cgi(["/bin/echo", "ran"], TRUSTED, ini), 500, r".*broken:2: .*10\.0\.0\.256.*")
        self.assert_failure(self.cgi(["/bin/echo", "ran"], TRUSTED, "/nowhere"), 500,
                            "/nowhere: cannot read the configuration: No such file or directory")

    def test_warnings_do_not_fill_the_log(self):
        ini = self.write("warn", "[proxy p]\ntrust = 10.0.0.1/8\nselect = leftmost\n")
        entries = TRUSTED + [b"HTTP_X_FORWARDED_FOR=203.0.113.7"]
        self.assertIn(b"REMOTE_ADDR=203.0.113.7", self.environment(entries, ini))

    def test_missing(self):
        for name in (self.path("none"), self.path("i/none")):
            self.assert_failure(self.cgi([name], TRUSTED), 404,
                                'cgi: cannot run "%s": (No such file or|Not a) directory' % name)
        self.assert_failure(self.cgi(["no-such-program"], TRUSTED), 404,
                            'cgi: cannot run "no-such-program": No such file or directory')
        self.assert_failure(self.cgi([""], TRUSTED), 404, 'cgi: cannot run "": No such file or directory')

    def test_not_executable(self):
        for name in (self.write("plain", "#!/bin/sh\n", 0o644), self.dir):
            self.assert_failure(self.cgi([name], TRUSTED), 403,
                                'cgi: cannot run "%s": Permission denied; its file, its interpreter .*' % name)

    def test_interpreter_missing(self):
        name = self.write("lost", "#!/no/such/interpreter\n")
        self.assert_failure(self.cgi([name], TRUSTED), 500, 'cgi: cannot run "%s": No such file or directory: its '
                            "interpreter .* does not exist" % name)

    def test_no_program_at_all(self):
        name = self.write("text", "echo ran\n")
        self.assert_failure(self.cgi([name], TRUSTED), 500, 'cgi: cannot run "%s": Exec format error; a script needs a '
                            "#! line" % name)

    def test_variable_too_long(self):
        ini = self.write("keep", "[proxy p]\ntrust = 10.0.0.0/8\n[realip]\nforwarded_for = keep\n")
        copies = [b"HTTP_X_FORWARDED_FOR=" + b"x" * 100000] * 2
        self.assert_failure(self.cgi(["/bin/echo", "ran"], TRUSTED + copies, ini), 500,
                            'cgi: cannot run "/bin/echo": Argument list too long; the kernel takes no variable of 128 '
                            "KiB or more")

    def test_page_that_cannot_be_written(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([program(), "cgi", "-c", self.ini, "--", "/nowhere"], stdout=full,
                                  stderr=subprocess.PIPE, env={"GATEWAY_INTERFACE": "CGI/1.1"}, timeout=PATIENCE)
        self.assertEqual(done.returncode, 1)
        self.assertIn(b"cannot write to standard output: No space left on device", done.stderr)

    def test_command_line_from_the_url(self):
        """The words of a query string are arguments; a program of ours that is run as a CGI program obeys none."""
        for query, words in [("cgi+--+/bin/echo+ran", ["cgi", "--", "/bin/echo", "ran"]),
                             ("%63gi+--+/bin/echo+ran", ["cgi", "--", "/bin/echo", "ran"]),
                             ("cgi%20--%20/bin/echo+" + self.path("s"), ["cgi -- /bin/echo", self.path("s")]),
                             ("cgi%09--%20/bin/echo+" + self.path("s") + "+" * 5000,
                              ["cgi\\\t-- /bin/echo", self.path("s")]),
                             ("--version", ["--version"]), ("help", ["help"])]:
            with self.subTest(query):
                self.write("s", "#!%s %s\n" % (program(), words[0]))
                done = self.execute([program(), *words], CGI + [b"QUERY_STRING=" + query.encode()])
                self.assert_failure(done, 500, "these arguments may be the words of the URL's query, and are not "
                                    "obeyed; .*")
        done = self.cgi(["/bin/echo", "ran"], TRUSTED + [b"QUERY_STRING=a+b+c+d+e+f"])
        self.assertEqual(done.stdout, b"ran\n")


class Becoming(CgiTest):
    """The program is what it would be without the shim."""

    def both(self, command, **options):
        """The results of a command without the shim and with it."""
        environment = {"GATEWAY_INTERFACE": "CGI/1.1", "REMOTE_ADDR": "10.0.0.1", "PATH": "/usr/bin:/bin"}
        results = []
        for prefix in ([], [program(), "cgi", "-c", self.ini, "--"]):
            process = subprocess.Popen(prefix + command, env=environment, stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.dir, **options)
            output, errors = process.communicate(b"body" * 100000, PATIENCE)
            # A first line that is the process's id; elsewhere such a number means something else.
            output = re.sub(rb"\A%d\n" % process.pid, b"PID\n", output)
            results.append((output, errors, process.returncode))
        return results

    def assert_same(self, command, output, **options):
        plain, shimmed = self.both(command, **options)
        self.assertEqual(shimmed, plain)
        self.assertRegex(plain[0], output)

    def test_no_process_between(self):
        self.assert_same(["/bin/sh", "-c", "echo $$; exec pwd"], rb"\APID\n%s\n\Z" % self.dir.encode())

    def test_standard_streams(self):
        self.assert_same(["/bin/sh", "-c", "echo first; cat; echo complaint >&2; exit 7"],
                         rb"\Afirst\n(body){100000}\Z")

    def test_exit_statuses(self):
        for code, command in [(0, "exit 0"), (1, "exit 1"), (255, "exit 255"), (-signal.SIGTERM, "kill -TERM $$"),
                              (-signal.SIGPIPE, "kill -PIPE $$")]:
            plain, shimmed = self.both(["/bin/sh", "-c", command], restore_signals=True)
            self.assertEqual((plain, shimmed), ((b"", b"", code),) * 2)

    def test_descriptors(self):
        code = "import os; print(sorted((fd, os.readlink('/proc/self/fd/' + fd).split(':')[0]) for fd in " \
               "os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + fd)))"
        extra = os.open("/dev/zero", os.O_RDONLY)
        self.addCleanup(os.close, extra)
        self.assert_same([sys.executable, "-c", code], rb"/dev/zero", pass_fds=[extra])

    def test_signals_and_limits(self):
        def disturb():
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            os.umask(0o027)
            resource.setrlimit(resource.RLIMIT_NOFILE, (123, 456))
        command = ["/bin/grep", "-hE", "^(Sig(Blk|Ign|Cgt)|Umask|Max open)", "/proc/self/status", "/proc/self/limits"]
        self.assert_same(command, rb"(?s)SigBlk:\t0*800\nSigIgn:\t0*1\n.*Max open files +123 +456 ", preexec_fn=disturb)
        self.assert_same(command, rb"SigBlk:\t0+\nSigIgn:\t0+\n")

    def test_arguments(self):
        self.assert_same(["/bin/sh", "-c", 'printf "<%s>" "$@"', "sh", "", "-c", "--", "a b", "\\", "--help"],
                         rb"\A<><-c><--><a b><\\><--help>\Z")

    def test_program_in_path(self):
        for name in ("a", "b", "c"):
            os.mkdir(self.path(name))
        self.write("a/app", "#!/bin/sh\necho a\n", 0o644)
        self.write("b/app", "#!/bin/sh\necho b\n")
        path = os.path.pathsep.join(map(self.path, ("none", "i", "a", "b")))
        done = self.cgi(["app"], TRUSTED + [b"PATH=" + path.encode()])
        self.assertEqual((done.stdout, done.stderr), (b"b\n", ""))
        done = self.cgi(["app"], TRUSTED + [b"PATH=" + self.path("a").encode() + b":" + self.path("c").encode()])
        self.assert_failure(done, 403, 'cgi: cannot run "%s": Permission denied; .*' % self.path("a/app"))
        self.assertEqual(self.cgi(["echo", "ran"], TRUSTED).stdout, b"ran\n")


class Script(CgiTest):
    """#! lines; the kernel passes one argument, then the script's path."""

    ENTRIES = TRUSTED + [b"HTTP_X_FORWARDED_FOR=203.0.113.66, 203.0.113.7"]

    def script(self, options, text="", end="\n"):
        return self.write("s", "#!%s cgi %s%s%s" % (self.shim(), options, end, text))

    def shim(self):
        path = self.path("f")
        if not os.path.exists(path):
            os.symlink(program(), path)
        return path

    def test_interpreter(self):
        script = self.script("-c %s -- /bin/sh -u" % self.ini, 'echo "$REMOTE_ADDR $0 $*"\n')
        done = self.execute([script, "a", "-c", "b"], self.ENTRIES)
        self.assertEqual((done.stdout, done.stderr, done.returncode),
                         (b"203.0.113.7 %s a -c b\n" % script.encode(), "", 0))

    def test_program_without_the_scripts_path(self):
        script = self.script(" --no-script\t-c  %s --  /bin/echo -n -- x " % self.ini)
        self.assertEqual(self.execute([script], self.ENTRIES).stdout, b"-- x")
        self.assertEqual(self.execute([script, "-c", "/nowhere"], self.ENTRIES).stdout, b"-- x -c /nowhere")

    def test_last_line_without_an_end(self):
        script = self.script("-n -c %s -- /bin/echo ran" % self.ini, end="")
        self.assertEqual(self.execute([script], self.ENTRIES).stdout, b"ran\n")

    def test_refusal(self):
        script = self.script("-c %s -- /bin/sh" % self.ini, "echo ran\n")
        done = self.execute([script], TRUSTED + [b"HTTP_X_FORWARDED_FOR=192.0.2.1"])
        self.assert_answer(done, 403, REFUSED, 0, "fcgi-realip: refused .*")

    def test_words_of_the_url_are_no_options(self):
        script = self.script("-c %s" % self.ini, "echo ran\n")
        done = self.execute([script, "--", "/bin/echo", "ran"], self.ENTRIES)
        self.assertEqual((done.returncode, done.stdout), (2, b""))
        self.assertIn("the program to run is missing", done.stderr)

    def test_line_that_the_kernel_cuts(self):
        """The rest of the line, which may hold all that matters, is gone without a word."""
        for length in (300, 3000):
            script = self.script("-c %s -n -- /bin/echo ran %s" % (self.ini, "x" * length))
            done = self.execute([script], self.ENTRIES)
            self.assert_failure(done, 500, 'cgi: cannot run "%s": its #! line is too long for the kernel, which cuts? '
                                "it" % script)

    def test_carriage_return(self):
        script = self.script("-n -c %s -- /bin/echo" % self.ini, end="\r\n")
        self.assert_failure(self.execute([script], self.ENTRIES), 404,
                            r'cgi: cannot run "/bin/echo\\r": No such file or directory')

    def test_script_that_names_itself(self):
        script = self.script("-c %s -- %s" % (self.ini, self.path("s")))
        self.assert_failure(self.execute([script], self.ENTRIES), 500, 'cgi: cannot run "%s": its #! line names the '
                            "script itself .*" % script)

    def test_no_such_script(self):
        done = self.execute([program(), "cgi -c %s -- /bin/echo ran" % self.ini, self.path("none")], self.ENTRIES)
        self.assert_failure(done, 500, 'cgi: cannot run ".*/none": its #! line cannot be read, .*')


def cgi_site(server, name):
    """The shipped file, with programs from a directory of the test's own."""
    programs = server.path("bin")
    os.mkdir(programs)
    shutil.copy(program(), server.path("f"))
    write_file(server.path("i"), INI.replace("10.0.0.0/8", "10.0.0.0/8, ::1"), 0o644)
    shim = "#!%s cgi -c %s " % (server.path("f"), server.path("i"))
    write_file(os.path.join(programs, "whoami"), shim + "--no-script -- %s whoami\n" % server.path("f"))
    write_file(server.path("e"), INI.replace("[access]", "repeated = malformed\n[access]"), 0o644)
    write_file(os.path.join(programs, "exact"), shim.replace("/i ", "/e ") + "--no-script -- %s whoami\n" % server.path("f"))
    write_file(os.path.join(programs, "script"), shim + '-- /bin/sh\nprintf "Content-Type: text/plain\\r\\n\\r\\n"\n'
               'echo "$REMOTE_ADDR $0 $*"\ncat\nexit 3\n')
    write_file(os.path.join(programs, "status"), shim + '-- /bin/sh\nprintf "Status: 418 Teapot\\r\\n\\r\\nshort"\n')
    write_file(os.path.join(programs, "nph-script"), shim + '-- /bin/sh\nprintf "HTTP/1.0 418 Teapot\\r\\n\\r\\nraw"\n')
    write_file(os.path.join(programs, "missing"), shim + "--no-script -- /no/such/program\n")
    write_file(os.path.join(programs, "forbidden"), shim + "--no-script -- %s\n" % server.path("i"))
    write_file(os.path.join(programs, "broken"), shim.replace("/i ", "/none ") + "-- /bin/sh\necho\necho ran\n")
    # A program of ours where the web server wants a CGI program: what the URL says is no command line.
    os.symlink(server.path("f"), os.path.join(programs, "ours"))
    return [("/usr/lib/cgi-bin", programs)]


class ApacheCgi(Apache):
    modules = ("mpm_event", "authz_core", "dir", "mime", "alias", "cgid")

    @classmethod
    def installed(cls):
        return super().installed() and os.path.exists("/usr/lib/apache2/modules/mod_cgid.so")

    def site(self):
        return shipped("apache/cgi.conf", [("<VirtualHost *:80>", "<VirtualHost *:%d>" % self.port),
                                           ("/var/www/html", self.www), *cgi_site(self, "apache")]).replace(
            "CGIPassAuth On", "CGIPassAuth On\n        Options +FollowSymLinks")


class LighttpdCgi(Lighttpd):
    def site(self):
        return shipped("lighttpd/cgi.conf", cgi_site(self, "lighttpd"))


class Served:
    """The same requests under every web server."""

    server_class = None

    @classmethod
    def setUpClass(cls):
        cls.server = cls.server_class("unix:/none")
        cls.server.__enter__()
        cls.addClassCleanup(cls.server.__exit__, None, None, None)

    def ask(self, name, query="json&", *arguments, **options):
        return ask(self.server.port, query, *arguments, path="/cgi-bin/" + name, **options)

    def test_same_answers(self):
        for row in ROWS:
            with self.subTest(row.name):
                sameanswer.SameAnswer.assert_row(self, row, self.ask("whoami", "json&a=", row.headers, row.source))

    def test_folded_name(self):
        """Apache drops it; lighttpd makes two variables of one name."""
        headers = [("X-Forwarded-For", "203.0.113.7"), ("X.Forwarded.For", "203.0.113.66")]
        params = self.ask("exact", "json&a=", headers).json()["params"]
        self.assertEqual(params["REMOTE_ADDR"], PROXY if self.server.folds_dots else "203.0.113.7")
        params = self.ask("exact", "json&a=", [headers[0], ("X-Forwarded-For", "10.0.0.1")]).json()["params"]
        self.assertEqual(params["REMOTE_ADDR"], "203.0.113.7")

    def test_parameters_that_are_not_ours(self):
        params = self.ask("whoami", "json&a=b%20c", [("X-Long", "l" * 5000), ("Proxy", "evil"),
                                                    ("Authorization", "Basic eDp5")]).json()["params"]
        self.assertEqual([params.get(name) for name in ("QUERY_STRING", "SCRIPT_NAME", "HTTP_X_LONG", "HTTP_PROXY",
                                                        "GATEWAY_INTERFACE", "HTTP_AUTHORIZATION")],
                         ["json&a=b%20c", "/cgi-bin/whoami", "l" * 5000, None, "CGI/1.1", "Basic eDp5"])

    def test_body(self):
        body = numbered_lines(3000000)
        answer = self.ask("whoami", "json&a=", [("X-Forwarded-For", "203.0.113.7")], body=body).json()
        self.assertEqual((answer["body_length"], answer["body_crc32"], answer["params"]["REMOTE_ADDR"]),
                         (len(body), crc(body), "203.0.113.7"))

    def test_script(self):
        for source, headers, client in [(PROXY, [("X-Forwarded-For", "203.0.113.66, 203.0.113.7")], "203.0.113.7"),
                                        (DIRECT, [("X-Forwarded-For", "203.0.113.66")], DIRECT)]:
            answer = self.ask("script", "a=b", headers, source, body=b"body")
            path = os.path.join(self.server.path("bin"), "script")
            self.assertEqual((answer.status, answer.body), (200, ("%s %s \nbody" % (client, path)).encode()))

    def test_words_of_the_query(self):
        """Some web servers hand them to the program as arguments; then they stand behind the script's path."""
        answer = self.ask("script", "-c+/nowhere+--help", [("X-Forwarded-For", "203.0.113.7")], body=b"")
        path = os.path.join(self.server.path("bin"), "script")
        self.assertEqual(answer.status, 200)
        self.assertRegex(answer.body.decode(), r"\A203\.0\.113\.7 %s( -c /nowhere --help)? ?\n\Z" % re.escape(path))

    def test_answers_pass_as_they_are(self):
        answer = self.ask("status")
        self.assertEqual((answer.status, answer.body), (418, b"short"))

    def test_program_that_writes_a_whole_response(self):
        answer = self.ask("nph-script")
        self.assertEqual((answer.status, answer.body), (418, b"raw"))
        answer = self.ask("nph-script", "", [("X-Forwarded-For", "192.0.2.1")])
        self.assertEqual((answer.status, answer.body.decode()), (403, "%s\n%s\n" % (REASONS[403], REFUSED[403])))

    def test_refusal(self):
        answer = self.ask("script", "", [("X-Forwarded-For", "192.0.2.1")], body=numbered_lines(3000000))
        self.assertEqual((answer.status, answer.body.decode()), (403, "%s\n%s\n" % (REASONS[403], REFUSED[403])))
        self.assertIn('refused a request with 403: peer "127.0.0.1", client 192.0.2.1, denied', self.server.log())

    def test_refusal_of_a_body_of_unknown_length(self):
        body = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        with connect("127.0.0.1:%d" % self.server.port) as sock:
            sock.sendall(b"POST /cgi-bin/script HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                         b"X-Forwarded-For: 192.0.2.1\r\nTransfer-Encoding: chunked\r\n\r\n" + body * 20 + b"0\r\n\r\n")
            answer = sock.makefile("rb").read()
        self.assertRegex(answer, rb"\AHTTP/1\.1 403 ")
        self.assertIn(REFUSED[403].encode(), answer)

    def test_failures(self):
        for name, status, message in [("missing", 404, 'cannot run "/no/such/program": No such file'),
                                      ("forbidden", 403, 'i": Permission denied'),
                                      ("broken", 500, "none: cannot read the configuration")]:
            with self.subTest(name):
                answer = self.ask(name, body=numbered_lines(1000000))
                self.assertEqual((answer.status, answer.body.decode()),
                                 (status, "%s\n%s\n" % (REASONS[status], FAILED[status])))
                self.assertIn(message, self.server.log())

    def test_commands_from_the_url(self):
        for query in ("cgi+--+/bin/echo+obeyed", "cgi%20--%20/bin/echo+obeyed", "--version", ""):
            answer = self.ask("ours", query)
            self.assertNotIn(b"obeyed", answer.body)
            self.assertNotRegex(answer.body, rb"fcgi-realip \d")
            self.assertGreaterEqual(answer.status, 500)


for web_server in (ApacheCgi, LighttpdCgi):
    test_case = type("Under" + web_server.__name__, (Served, unittest.TestCase),
                     {"server_class": web_server, "maxDiff": None})
    if not web_server.installed():
        test_case = unittest.skip("SKIPPED: %s is not installed" % web_server.__name__)(test_case)
    globals()[test_case.__name__] = test_case
del test_case

if __name__ == "__main__":
    unittest.main()
