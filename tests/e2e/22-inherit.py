#!/usr/bin/env python3
"""Listening sockets that a launcher hands over: spawn-fcgi, systemd, lighttpd's bin-path."""

import fcntl
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest
import urllib.request

import fcgi
import processes
from relay import PLAIN, PROXIES, change
from servers import Lighttpd
from shim import PATIENCE, SANITIZER, accepts, program, wait_for

ETC = pathlib.Path(__file__).resolve().parents[2] / "etc"
FORWARDED = change(PLAIN, ("HTTP_X_FORWARDED_FOR", "198.51.100.9, 203.0.113.7"), REMOTE_ADDR="10.0.0.1")


def needs(name):
    return unittest.skipUnless(shutil.which(name), "NOT INSTALLED: " + name)


class Launched(unittest.TestCase):
    """What the tests below have in common."""

    def setUp(self):
        self.ended = []
        self.dir = tempfile.mkdtemp(prefix="realip-")
        self.addCleanup(shutil.rmtree, self.dir)
        pathlib.Path(self.path("log")).touch()
        self.app = fcgi.Responder(fcgi.echo)
        self.addCleanup(self.app.close)

    def path(self, name):
        return os.path.join(self.dir, name)

    def ini(self, more=""):
        path = self.path("realip.ini")
        pathlib.Path(path).write_text("[upstream]\naddress = %s\n%s\n%s" % (self.app.address, PROXIES, more))
        return path

    def listener(self, name="front.sock"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.addCleanup(sock.close)
        sock.bind(self.path(name))
        sock.listen(64)
        return sock

    def run_program(self, *command, **options):
        log = open(self.path("log"), "a+b")
        self.addCleanup(log.close)
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log, **options)
        self.addCleanup(lambda: process in self.ended or self.end(process))
        return process

    def log(self):
        return pathlib.Path(self.path("log")).read_text(errors="backslashreplace")

    def end(self, process, status=0):
        self.ended.append(process)
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE), status, self.log())
        self.assertIsNone(SANITIZER.search(self.log()), self.log())

    def assert_works(self, address):
        response = fcgi.ask(address, FORWARDED, b"body")
        self.assertEqual((response.status, response.body), (200, b"body"), self.log())
        self.assertEqual(self.app.requests[-1].get("REMOTE_ADDR"), [b"203.0.113.7"])

    @staticmethod
    def is_gone(process):
        try:
            with open("/proc/%d/stat" % process) as stat:
                return stat.read().rpartition(")")[2].split()[0] == "Z"
        except FileNotFoundError:
            return True


class Inherit(Launched):
    def test_descriptor_0(self):
        sock = self.listener()
        shim = self.run_program(program(), "serve", "-c", self.ini(), stdin=sock)
        self.assert_works("unix:" + self.path("front.sock"))
        self.assertIn("listening on unix:%s\n" % self.path("front.sock"), self.log())
        self.end(shim)
        self.assertTrue(os.path.exists(self.path("front.sock")), "another's socket file was removed")

    def test_descriptor_0_with_workers(self):
        """A socket for all of them, which is not theirs to remove."""
        sock = self.listener()
        shim = self.run_program(program(), "serve", "-c", self.ini("[process]\nworkers = 3\n"), stdin=sock)
        wait_for(lambda: "ready: 3 workers" in self.log(), what="the workers")
        for _ in range(12):
            self.assert_works("unix:" + self.path("front.sock"))
        workers = processes.children(shim.pid)
        os.kill(workers[0], signal.SIGTERM)
        wait_for(lambda: len(processes.children(shim.pid)) == 3 and workers[0] not in processes.children(shim.pid),
                 what="another worker")
        self.assert_works("unix:" + self.path("front.sock"))
        self.end(shim)
        self.assertFalse(any(map(processes.runs, workers)))
        self.assertTrue(os.path.exists(self.path("front.sock")), "another's socket file was removed")

    def test_descriptor_0_goes_before_the_listen_section(self):
        sock = self.listener()
        self.run_program(program(), "serve", "-c", self.ini("[listen]\naddress = unix:%s\n" % self.path("own.sock")),
                         stdin=sock)
        self.assert_works("unix:" + self.path("front.sock"))
        self.assertIn("[listen] address is not used", self.log())
        self.assertFalse(os.path.exists(self.path("own.sock")))

    def test_a_connected_descriptor_0_is_no_listener(self):
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        shim = self.run_program(program(), "serve", "-c", self.ini(), stdin=theirs)
        self.assertEqual(shim.wait(PATIENCE), 2)
        self.assertIn("no place to listen", self.log())
        self.end(shim, status=2)

    def test_a_listener_of_packets_is_none(self):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.addCleanup(sock.close)
        sock.bind(self.path("packets.sock"))
        sock.listen(1)
        shim = self.run_program(program(), "serve", "-c", self.ini(), stdin=sock)
        self.assertEqual(shim.wait(PATIENCE), 2)
        self.assertIn("no place to listen", self.log())
        self.end(shim, status=2)

    def tcp_listener(self, host):
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.addCleanup(sock.close)
        sock.bind((host, 0))
        sock.listen(64)
        return sock, sock.getsockname()[1]

    def test_tcp(self):
        sock, port = self.tcp_listener("127.0.0.1")
        self.run_program(program(), "serve", "-c", self.ini(), stdin=sock)
        self.assert_works("127.0.0.1:%d" % port)

    def test_tcp_for_all_needs_allowed_clients(self):
        sock, port = self.tcp_listener("0.0.0.0")
        shim = self.run_program(program(), "serve", "-c", self.ini(), stdin=sock)
        self.assertEqual(shim.wait(PATIENCE), 1)
        self.assertIn("cannot listen on inherited 0.0.0.0:%d: other machines can reach it" % port, self.log())
        self.end(shim, status=1)
        self.run_program(program(), "serve", "-c", self.ini("[listen]\nallowed_clients = 127.0.0.1\n"), stdin=sock)
        self.assert_works("127.0.0.1:%d" % port)

    def run_with_fds(self, environment, *sockets, more=""):
        """As systemd does: the sockets from descriptor 3 on, LISTEN_PID the process itself."""
        script = 'exec 0</dev/null; export LISTEN_PID=%s; exec "$@"' % environment.pop("LISTEN_PID", "$$")
        moves = " ".join("%d<&%d" % (3 + i, sock.fileno()) for i, sock in enumerate(sockets))
        return self.run_program("bash", "-c", "exec %s; %s" % (moves, script), "bash", program(), "serve", "-c",
                                self.ini(more), env=dict(os.environ, **environment),
                                pass_fds=[sock.fileno() for sock in sockets])

    def high(self, sock):
        """The same socket far from the numbers that it is to get."""
        copy = socket.socket(fileno=fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, 100))
        self.addCleanup(copy.close)
        return copy

    @needs("bash")
    def test_several_of_listen_fds(self):
        for more in ("", "[process]\nworkers = 2\n"):
            sockets = [self.high(self.listener("a.sock")), self.high(self.listener("b.sock"))]
            shim = self.run_with_fds({"LISTEN_FDS": "2"}, *sockets, more=more)
            for name in ("a.sock", "b.sock"):
                self.assert_works("unix:" + self.path(name))
                os.unlink(self.path(name))
            self.end(shim)

    @needs("bash")
    def test_listen_fds_of_another_process(self):
        shim = self.run_with_fds({"LISTEN_FDS": "1", "LISTEN_PID": "1"}, self.high(self.listener()))
        self.assertEqual(shim.wait(PATIENCE), 2)
        self.assertIn("no place to listen", self.log())
        self.end(shim, status=2)

    @needs("bash")
    def test_listen_fds_that_make_no_sense(self):
        for count, why in (("2", "descriptor 4 is no listening stream socket"), ("x", "not a number from 1 to 1024"),
                           ("0", "not a number from 1 to 1024"), ("99999", "not a number from 1 to 1024")):
            shim = self.run_with_fds({"LISTEN_FDS": count}, self.high(self.listener("%s.sock" % count)))
            self.assertEqual(shim.wait(PATIENCE), 1, self.log())
            self.assertIn("cannot use the sockets of LISTEN_FDS=%s: %s" % (count, why), self.log())
            self.end(shim, status=1)

    @needs("systemd-socket-activate")
    def test_systemd_socket_activation(self):
        """A restart loses no connection: the socket is systemd's."""
        address = self.path("activated.sock")
        for more in ("", "", "[process]\nworkers = 2\n"):
            launcher = self.run_program("systemd-socket-activate", "-l", address, program(), "serve", "-c",
                                        self.ini(more), stdin=subprocess.DEVNULL)
            wait_for(lambda: accepts("unix:" + address), what="systemd's socket")
            self.assert_works("unix:" + address)
            self.end(launcher)
            os.unlink(address)

    def spawn(self, *arguments):
        """spawn-fcgi goes into the background; gives the processes that it started."""
        done = subprocess.run(["spawn-fcgi", "-s", self.path("spawned.sock"), *arguments, "--", program(), "serve", "-c",
                               self.ini("[log]\nlevel = error\n")], stdout=subprocess.PIPE, check=True, timeout=PATIENCE)
        processes = [int(pid) for pid in re.findall(rb"PID: (\d+)", done.stdout)]
        for process in processes:
            self.addCleanup(self.kill, process)
        return processes

    @staticmethod
    def kill(process):
        try:
            os.kill(process, signal.SIGKILL)
        except ProcessLookupError:
            pass

    @needs("spawn-fcgi")
    def test_spawn_fcgi(self):
        processes = self.spawn()
        self.assertEqual(len(processes), 1)
        self.assert_works("unix:" + self.path("spawned.sock"))
        os.kill(processes[0], signal.SIGTERM)
        wait_for(lambda: self.is_gone(processes[0]), what="the shim to end")

    @needs("spawn-fcgi")
    def test_four_on_one_socket(self):
        """Each can go while the others serve."""
        processes = self.spawn("-F", "4")
        self.assertEqual(len(processes), 4)
        for left in (4, 3, 2, 1):
            for _ in range(20):
                self.assert_works("unix:" + self.path("spawned.sock"))
            os.kill(processes[left - 1], signal.SIGTERM)
            wait_for(lambda: self.is_gone(processes[left - 1]), what="a shim to end")


class BinPath(Lighttpd):
    """lighttpd with the shipped file that has it start the shim."""

    def __init__(self, ini):
        super().__init__("unix:unused")
        self.ini = ini

    def configure(self):
        text = (ETC / "lighttpd/bin-path.conf").read_text()
        for old, new in (("/run/lighttpd/fcgi-realip.sock", self.path("shim.sock")),
                         ("/usr/local/bin/fcgi-realip serve -c /etc/fcgi-realip/fcgi-realip.ini",
                          "%s serve -c %s" % (program(), self.ini))):
            assert old in text, old
            text = text.replace(old, new)
        self.write("site.conf", text)
        self.write("lighttpd.conf", """
            server.bind = "127.0.0.1"
            server.port = %d
            server.document-root = "%s"
            server.errorlog = "%s"
            include "site.conf"
            """ % (self.port, self.www, self.path("error.log")))
        self.spawn(shutil.which("lighttpd"), "-D", "-f", self.path("lighttpd.conf"))


class UnderLighttpd(Launched):
    @needs("lighttpd")
    def test_bin_path(self):
        ini = self.ini("[proxy loopback]\ntrust = 127.0.0.1\n")
        with BinPath(ini) as server:
            request = urllib.request.Request("http://127.0.0.1:%d/index.php" % server.port,
                                             headers={"X-Forwarded-For": "198.51.100.9, 203.0.113.7"})
            urllib.request.urlopen(request, timeout=PATIENCE).read()
            self.assertEqual(self.app.requests[-1].get("REMOTE_ADDR"), [b"203.0.113.7"])
            ours = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and self.runs(pid, ini)]
            self.assertEqual(len(ours), 2)  # the one that relays, and its master
        wait_for(lambda: all(map(self.is_gone, ours)), what="the shim to end with lighttpd")

    @staticmethod
    def runs(pid, ini):
        try:
            command = pathlib.Path("/proc/%s/cmdline" % pid).read_bytes().split(b"\0")
        except OSError:
            return False
        return command[0].endswith(b"fcgi-realip") and ini.encode() in command


class Units(unittest.TestCase):
    """The unit files, as systemd reads them. It need not run for that."""

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="realip-units-")
        self.addCleanup(shutil.rmtree, self.folder)
        for path in (ETC / "systemd").iterdir():
            text = path.read_text()
            self.assertEqual(text.count("/usr/local/bin/fcgi-realip"), path.suffix == ".service")
            pathlib.Path(self.folder, path.name).write_text(text.replace("/usr/local/bin/fcgi-realip", program()))
            # An instance of a template is a link to it.
            if "@" in path.name:
                os.symlink(path.name, os.path.join(self.folder, path.name.replace("@", "@shop")))

    def analyze(self, *arguments):
        done = subprocess.run(["systemd-analyze", *arguments], cwd=self.folder, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
        if "unrecognized option" in done.stdout:
            self.skipTest("systemd is too old for " + " ".join(arguments))
        return done

    @needs("systemd-analyze")
    def test_valid(self):
        names = sorted(name for name in os.listdir(self.folder) if "@." not in name)
        self.assertEqual(names, ["fcgi-realip.service", "fcgi-realip.socket", "fcgi-realip@shop.service",
                                 "fcgi-realip@shop.socket"])
        done = self.analyze("verify", "--man=no", *("./" + name for name in names))
        about_ours = [line for line in done.stdout.splitlines() if "fcgi-realip" in line]
        self.assertEqual((done.returncode, about_ours), (0, []))

    @needs("systemd-analyze")
    def test_exposure(self):
        """1.5 at most, of 10."""
        for name in ("fcgi-realip.service", "fcgi-realip@shop.service"):
            done = self.analyze("security", "--offline=true", "--threshold=15", "./" + name)
            self.assertEqual(done.returncode, 0, done.stdout)
            self.assertRegex(done.stdout, r"Overall exposure level for \S+: [01]\.\d OK")
            done = self.analyze("security", "--offline=true", "--threshold=5", "./" + name)
            self.assertNotEqual(done.returncode, 0, "the limit is not looked at")

    def test_templates_are_the_same(self):
        """But for the name, and for what the comment in front says."""
        for kind in ("service", "socket"):
            one, many = ((ETC / "systemd" / (name + kind)).read_text() for name in ("fcgi-realip.", "fcgi-realip@."))
            many = many.replace("/%i.", "/fcgi-realip.").replace("@%i", "").replace(" (%i)", "")
            one, many = ([line for line in text.splitlines() if line[:1] != "#" or "systemctl" not in line]
                         for text in (one, many))
            while one[0][:1] == "#":
                del one[0]
            while many[0][:1] == "#":
                del many[0]
            self.assertEqual(one, many)

    def test_each_restriction_says_what_it_costs(self):
        """Behind a comment, or in one group with one."""
        lines = (ETC / "systemd" / "fcgi-realip.service").read_text().splitlines()
        start = next(i for i, line in enumerate(lines) if line.startswith("# From here on"))
        settings = 0
        for i in range(start, len(lines)):
            if re.match(r"#?[A-Z]\w+=", lines[i]):
                settings += 1
                self.assertTrue(lines[i - 1][:1] == "#" or re.match(r"[A-Z]\w+=", lines[i - 1]), lines[i])
        self.assertGreater(settings, 25)


if __name__ == "__main__":
    unittest.main()
