#!/usr/bin/env python3
"""A new process takes over the listening sockets; the old one ends what it has begun. Nothing is lost, and if the new
one does not start, nothing has happened."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import fcgi
import processes
from application import STARTED, ApplicationTest
from fcgi import Responder, request
from load import FcgiAsker, Load
from relay import PLAIN, POST, PROXIES, RelayTest, change
from shim import PATIENCE, accepts, fd_count, free_port, is_sanitized, program, wait_for
from status import STATUS, read_status


class Working:
    """A script: a POST's answer waits for .go."""

    def __init__(self):
        self.go = threading.Event()

    def __call__(self, connection):
        while True:
            now = connection.read_request()
            if now is None:
                return
            if now.get("REQUEST_METHOD") == [b"POST"]:
                assert self.go.wait(PATIENCE)
            connection.reply(b"answer")
            if not now.keep:
                return


class UpgradeTest(RelayTest):
    """start_one() starts a shim with a pid file; upgrade() has it replaced, by the command, and watches over all of
    them: in the end none may be left, and no file."""

    process = ""

    def start_one(self, script=None, process="", listen="address = unix:{dir}/shim.sock", **options):
        self.work = script or Working()
        if isinstance(self.work, Working):
            self.addCleanup(self.work.go.set)
        self.process = process
        self.listen = listen
        self.addCleanup(self.check_nothing_is_left)
        self.start(self.work, sections=self.sections(), listen=listen, **options)
        self.pid_file = self.path("pid")
        self.wait(lambda: self.current() == self.shim.pid, "the pid file")
        self.pids = [self.shim.pid]

    def start_copy(self, **options):
        """Starts a copy of the program; from then on, the program there waits before it starts for the function that
        is returned to be called."""
        folder = tempfile.mkdtemp(prefix="realip-program-")
        self.addCleanup(shutil.rmtree, folder)
        self.copy = os.path.join(folder, "fcgi-realip")
        shutil.copy(program(), self.copy)
        real = os.environ["FCGI_REALIP"]
        os.environ["FCGI_REALIP"] = self.copy
        try:
            self.start_one(**options)
        finally:
            os.environ["FCGI_REALIP"] = real
        fifo = os.path.join(folder, "fifo")
        os.mkfifo(fifo)
        with open(self.copy + ".new", "w") as file:
            file.write('#!/bin/sh\nread line < %s\nexec %s "$@"\n' % (fifo, real))
        os.chmod(self.copy + ".new", 0o755)
        os.rename(self.copy + ".new", self.copy)

        def go():
            with open(fifo, "w") as file:
                file.write("go\n")
        return go

    def sections(self, more=""):
        return "%s[process]\npid_file = {dir}/pid\n%s\n%s" % (PROXIES, self.process, more)

    def ini(self, listen=None, upstream=None, more=""):
        return "[listen]\n%s\n[upstream]\n%s\n%s" % (
            listen or self.listen, upstream or "address = " + self.app.address, self.sections(more))

    def path(self, name):
        return os.path.join(self.shim.dir, name)

    def current(self):
        try:
            with open(self.path("pid")) as file:
                return int(file.read() or "0")
        except FileNotFoundError:
            return None

    def command(self, name="upgrade"):
        return subprocess.run([program(), name, "-c", self.shim.path], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=PATIENCE)

    def upgrade(self):
        """Replaces the process; its successor's id."""
        done = self.command()
        self.assertEqual(done.returncode, 0, done.stdout + self.shim.log())
        new = self.current()
        self.assertEqual(done.stdout, "process %d has taken over from %d\n" % (new, self.pids[-1]))
        self.assertNotEqual(new, self.pids[-1])
        self.pids.append(new)
        return new

    def wait_gone(self, pid):
        if pid == self.shim.pid:
            self.assertEqual(self.shim.process.wait(PATIENCE), 0)
        self.wait(lambda: not processes.runs(pid), "process %d to end" % pid)

    def stop_shim(self, shim):
        """The last one of them."""
        last = getattr(self, "pids", [shim.pid])[-1]
        for pid in getattr(self, "pids", [])[1:]:
            if processes.runs(pid):
                os.kill(pid, signal.SIGTERM)
        if last != shim.pid:
            self.wait_gone(last)
        super().stop_shim(shim)

    def check_nothing_is_left(self):
        for pid in self.pids:
            self.assertFalse(processes.runs(pid), pid)


class Takeover(UpgradeTest):
    def test_another_process_serves(self):
        self.start_one()
        for _ in range(3):
            old = self.pids[-1]
            new = self.upgrade()
            self.assert_answer(fcgi.ask(self.address, PLAIN), b"answer")
            self.wait_gone(old)
            self.assertTrue(processes.runs(new))
        self.assertTrue(os.path.exists(self.path("shim.sock")))
        self.assertEqual(self.shim.log().count("listening on unix:%s, taken over" % self.path("shim.sock")), 3)
        os.kill(self.pids[-1], signal.SIGTERM)
        self.wait_gone(self.pids[-1])
        self.assertEqual(sorted(os.listdir(self.shim.dir)), ["fcgi-realip.ini"])

    def test_running_requests_end_where_they_are(self):
        """And then their connection goes on, in the new process."""
        self.start_one(process="shutdown_timeout = 100ms")
        client = self.client()
        client.send(request(POST, b"x", keep=True))
        self.app.wait_requests(1)
        old = self.shim.pid
        self.upgrade()
        self.assert_answer(fcgi.ask(self.address, PLAIN), b"answer")
        self.assertTrue(client.is_quiet(0.3))  # longer than shutdown_timeout, which is not for this
        self.assertTrue(processes.runs(old))
        self.work.go.set()
        self.assert_answer(client.read_response(), b"answer")
        self.wait_gone(old)
        self.assert_answer(client.ask(PLAIN, keep=True), b"answer")

    def test_a_request_without_keep_conn(self):
        """Its connection is closed as ever."""
        self.start_one()
        client = self.client()
        client.send(request(POST, b"x"))
        self.app.wait_requests(1)
        self.upgrade()
        self.work.go.set()
        self.assert_answer(client.read_response(), b"answer")
        client.read_eof()
        self.wait_gone(self.shim.pid)

    def test_idle_connections_go_along(self):
        """Whoever keeps one does not notice; neither does who has not yet said anything on it."""
        self.start_one()
        kept, fresh, half = self.client(), self.client(), self.client()
        self.assert_answer(kept.ask(PLAIN, keep=True), b"answer")
        raw = request(PLAIN, keep=True)
        half.send(raw[:30])
        half.wait_sent()
        for _ in range(3):
            self.upgrade()
            for client in (kept, fresh):
                self.assert_answer(client.ask(PLAIN, keep=True), b"answer")
        # Half a request is the first one's; then its connection goes all the way.
        half.send(raw[30:])
        self.assert_answer(half.read_response(), b"answer")
        for old in self.pids[:-1]:
            self.wait_gone(old)
        self.assert_answer(half.ask(PLAIN, keep=True), b"answer")

    def test_many_idle_connections(self):
        """More than the channel holds at a time."""
        self.start_one()
        clients = [self.client() for _ in range(900)]
        for client in clients:
            self.assert_answer(client.ask(PLAIN, keep=True), b"answer")
        self.upgrade()
        self.wait_gone(self.shim.pid)
        for client in clients:
            self.assert_answer(client.ask(PLAIN, keep=True), b"answer")

    def test_term_while_it_ends(self):
        """The old one obeys as ever."""
        self.start_one(process="shutdown_timeout = 300ms")
        client = self.client()
        client.send(request(POST, b"x", keep=True))
        self.app.wait_requests(1)
        new = self.upgrade()
        self.shim.wait_log("no new connections")
        self.shim.signal(signal.SIGTERM)
        self.wait_gone(self.shim.pid)
        self.work.go.set()
        self.assert_cut(client.read_response())
        self.assertTrue(processes.runs(new))
        self.assert_answer(fcgi.ask(self.address, PLAIN), b"answer")

    def test_arguments_and_environment(self):
        self.start_one(env={"REALIP_TEST_MARK": "x"})
        old = processes.read(self.shim.pid, "cmdline"), processes.read(self.shim.pid, "environ")
        new = self.upgrade()
        self.assertEqual(processes.read(new, "cmdline"), old[0])
        names = {line.split(b"=")[0] for line in processes.read(new, "environ").split(b"\0")}
        self.assertEqual(names, {line.split(b"=")[0] for line in old[1].split(b"\0")}
                         | {b"LISTEN_FDS", b"LISTEN_PID", b"FCGI_REALIP_HANDOVER"})
        newer = self.upgrade()
        self.assertIn(b"LISTEN_PID=%d\0" % newer, processes.read(newer, "environ"))

    def test_descriptors(self):
        """None is added by handing over."""
        self.start_one(process="sandbox = no")

        counts = []
        for _ in range(4):
            self.upgrade()
            self.wait_gone(self.pids[-2])
            self.assert_answer(fcgi.ask(self.address, PLAIN), b"answer")
            # Its predecessor has ended, but it may not have noticed yet.
            wait_for(lambda: not counts or fd_count(self.pids[-1]) <= counts[0], what="%r descriptors" % counts)
            if not counts:
                wait_for(lambda: len(self.sockets()) == 1, what="the listening socket alone")
            counts.append(fd_count(self.pids[-1]))

    def sockets(self):
        """The last one's."""
        folder = "/proc/%d/fd/" % self.pids[-1]
        return [fd for fd in os.listdir(folder) if os.path.exists(folder + fd) and "socket:" in os.readlink(folder + fd)]

    def test_the_service_manager(self):
        """It is told who serves now, by the one whom it believes, and from then on by the new one."""
        folder = tempfile.mkdtemp(prefix="realip-notify-")
        self.addCleanup(shutil.rmtree, folder)
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.settimeout(PATIENCE)
        manager.bind(os.path.join(folder, "notify"))
        self.start_one(env={"NOTIFY_SOCKET": os.path.join(folder, "notify")})
        self.assertEqual(manager.recv(4096), b"READY=1")
        for _ in range(2):
            new = self.upgrade()
            self.assertEqual(manager.recv(4096), b"MAINPID=%d" % new)
            self.wait_gone(self.pids[-2])
        os.kill(self.pids[-1], signal.SIGTERM)
        self.wait_gone(self.pids[-1])
        self.assertEqual(manager.recv(4096), b"STOPPING=1")
        manager.setblocking(False)
        with self.assertRaises(BlockingIOError):
            manager.recv(4096)

    def test_the_watchdog(self):
        """The new process has one of its own."""
        self.start_one(env={"WATCHDOG_USEC": "60000000"}, wrapper=["sh", "-c", 'WATCHDOG_PID=$$ exec "$@"', "sh"])
        new = self.upgrade()
        self.assertIn(b"WATCHDOG_PID=%d\0" % new, processes.read(new, "environ"))

    def test_by_signal(self):
        """USR2 is all that the command does."""
        self.start_one()
        self.shim.signal(signal.SIGUSR2)
        self.wait(lambda: self.current() != self.shim.pid, "another process")
        self.pids.append(self.current())
        self.wait_gone(self.shim.pid)

    def test_a_reload_in_between(self):
        """The new process may have read the file before that: it reads it again."""
        for process in ("", "workers = 2\n"):
            go = self.start_copy(process=process)
            self.shim.signal(signal.SIGUSR2)
            new = int(self.shim.wait_log(r"started process (\d+), which is to take over").group(1))
            self.shim.signal(signal.SIGHUP)
            self.shim.wait_log(r"fcgi-realip\[%d\] info: HUP: reading" % self.shim.pid)
            go()
            self.wait(lambda: self.current() == new, "the new process")
            self.pids.append(new)
            self.shim.wait_log(r"fcgi-realip\[%d\] info: HUP: reading" % new)
            self.wait_gone(self.shim.pid)
            os.kill(new, signal.SIGTERM)
            self.wait_gone(new)

    def test_the_status_begins_anew(self):
        """It is that of the new process alone, from the moment at which the command says so."""
        for process in ("", "workers = 2\n"):
            self.start_one(process=process + STATUS)
            for _ in range(3):
                self.assert_answer(fcgi.ask(self.address, PLAIN), b"answer")
            self.assertEqual(read_status(self.address)["requests"]["answered"], 3)
            new = self.upgrade()
            found = read_status(self.address)
            self.assertEqual((found["pid"], found["generation"], found["requests"]["answered"]), (new, 1, 0))
            self.wait_gone(self.shim.pid)
            os.kill(new, signal.SIGTERM)
            self.wait_gone(new)

    def test_an_application_of_its_own(self):
        """The new process starts its own; the old one's ends when its requests have."""
        self.start_one()
        self.shim.write_ini(self.ini(upstream="command = " + STARTED))
        self.upgrade()
        pid_of = change(PLAIN, SCRIPT_NAME="/pid")
        first = fcgi.ask(self.address, pid_of).body
        waiting = self.client()
        waiting.send(request(change(PLAIN, ("QUERY_STRING", self.path("go")), SCRIPT_NAME="/wait")))
        self.wait(lambda: os.path.exists("%s.%s" % (self.path("go"), first.decode())), "the application to work")
        old = self.upgrade() and self.pids[-2]
        second = fcgi.ask(self.address, pid_of).body
        self.assertNotEqual(first, second)
        self.assertTrue(processes.runs(int(first)))
        open(self.path("go"), "w").close()
        self.assert_answer(waiting.read_response(), first)
        self.wait_gone(old)
        self.assertFalse(processes.runs(int(first)))

    def test_listen_may_change(self):
        """What [listen] names now is listened on, the rest is closed, and its file removed."""
        port = free_port()
        self.start_one(listen="address = unix:{dir}/shim.sock unix:{dir}/second.sock 127.0.0.1:%d" % port)
        self.shim.write_ini(self.ini(listen="address = unix:{dir}/third.sock unix:{dir}/shim.sock"))
        self.upgrade()
        self.wait_gone(self.shim.pid)
        self.assert_answer(fcgi.ask(self.address, PLAIN), b"answer")
        self.assert_answer(fcgi.ask("unix:" + self.path("third.sock"), PLAIN), b"answer")
        self.assertFalse(accepts("127.0.0.1:%d" % port))
        self.assertFalse(os.path.exists(self.path("second.sock")))

    def test_inherited_sockets(self):
        """Of systemd, say: they stay what they are, and nobody's to remove."""
        folder = tempfile.mkdtemp(prefix="realip-lent-")
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "lent.sock")
        lent = socket.socket(socket.AF_UNIX)
        self.addCleanup(lent.close)
        lent.bind(path)
        lent.listen(64)
        self.start_one(listen="backlog = 5", ready="ready: requests go to", stdin=lent)
        self.address = "unix:" + path
        for _ in range(2):
            old = self.pids[-1]
            self.upgrade()
            self.assert_answer(fcgi.ask(self.address, PLAIN), b"answer")
            self.wait_gone(old)
        os.kill(self.pids[-1], signal.SIGTERM)
        self.wait_gone(self.pids[-1])
        self.assertTrue(os.path.exists(path))


class Failure(UpgradeTest):
    def assert_carries_on(self, output, log):
        done = self.command()
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertRegex(done.stdout, output)
        if log:
            self.shim.wait_log(log)
        self.assertEqual(self.current(), self.pids[-1])
        self.assert_answer(fcgi.ask(self.address, PLAIN), b"answer")

    def test_an_invalid_file(self):
        """The command says so, and the running one is not even asked; asked by signal, it carries on."""
        self.start_one()
        self.shim.write_ini(self.ini(more="[nonsense]\n"))
        self.assert_carries_on("no such section", None)
        self.assertNotIn("to take over", self.shim.log())
        self.shim.signal(signal.SIGUSR2)
        self.shim.wait_log(r"which was to take over, exited with status 1; carrying on")
        self.shim.write_ini(self.ini())
        self.upgrade()

    def test_a_new_process_that_cannot_start(self):
        """For what it finds out late: its sockets were taken over by then, and are still the old one's."""
        self.start_one(listen="address = unix:{dir}/shim.sock unix:{dir}/second.sock")
        for upstream in ("command = /nonexistent/program", "command = no-such-program-anywhere"):
            self.shim.write_ini(self.ini(upstream=upstream))
            self.assert_carries_on("could not take over, and %d carries on" % self.shim.pid, "carrying on")
        self.shim.write_ini(self.ini(listen="address = unix:{dir}/shim.sock"))
        self.upgrade()
        self.assertFalse(os.path.exists(self.path("second.sock")))
        self.assertTrue(os.path.exists(self.path("shim.sock")))

    def test_a_new_process_that_is_killed(self):
        for process in ("", "workers = 2\n"):
            self.start_copy(process=process)
            self.shim.signal(signal.SIGUSR2)
            new = int(self.shim.wait_log(r"started process (\d+), which is to take over").group(1))
            os.kill(new, signal.SIGKILL)
            self.shim.wait_log(r"process %d, which was to take over, was ended by signal 9 \(Killed\); carrying on" % new)
            self.assert_answer(fcgi.ask(self.address, PLAIN), b"answer")

    def test_the_end_while_one_starts(self):
        """TERM for the old one is for the new one, too."""
        for process in ("", "workers = 2\n"):
            self.start_copy(process=process)
            self.shim.signal(signal.SIGUSR2)
            new = int(self.shim.wait_log(r"started process (\d+), which is to take over").group(1))
            self.shim.signal(signal.SIGTERM)
            self.assertEqual(self.shim.wait_exit(), 0)
            self.wait(lambda: not processes.runs(new), "the new one to end")
            self.assertEqual(sorted(os.listdir(self.shim.dir)), ["fcgi-realip.ini"])

    def test_a_second_signal(self):
        for process in ("", "workers = 2\n"):
            go = self.start_copy(process=process)
            self.shim.signal(signal.SIGUSR2)
            new = int(self.shim.wait_log(r"started process (\d+), which is to take over").group(1))
            self.shim.signal(signal.SIGUSR2)
            self.shim.wait_log("USR2: process %d is already starting" % new)
            go()
            self.wait(lambda: self.current() == new, "the new process")
            self.pids.append(new)

    def test_no_program(self):
        """It was deleted, with nothing in its place."""
        self.start_copy()
        os.remove(self.copy)
        self.assert_carries_on("could not take over", "cannot start the program again: No such file or directory")
        shutil.copy(program(), self.copy)  # as a package manager does it
        new = self.upgrade()
        self.assertEqual(os.readlink("/proc/%d/exe" % new), self.copy)

    def test_nobody_there(self):
        self.start_one()
        self.shim.signal(signal.SIGKILL)
        self.shim.wait_exit()
        for name in ("upgrade", "reload"):
            done = self.command(name)
            self.assertEqual(done.returncode, 1)
            self.assertIn("no shim that runs has written it", done.stdout)

    def test_no_pid_file(self):
        self.start_one()
        self.shim.write_ini(self.ini().replace("pid_file", "#pid_file"))
        for name in ("upgrade", "reload"):
            done = self.command(name)
            self.assertEqual(done.returncode, 1)
            self.assertIn("no pid_file in [process]", done.stdout)


class Reload(UpgradeTest):
    def test_by_command(self):
        self.start_one()
        done = self.command("reload")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.shim.wait_log("configuration 2 is in force")
        self.shim.write_ini(self.ini(more="[nonsense]\n"))
        done = self.command("reload")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no such section", done.stdout)
        self.assertEqual(self.shim.log().count("HUP"), 1)


class Workers(UpgradeTest):
    def begin(self, **options):
        self.start_one(process="workers = 3", **options)

    def test_masters(self):
        self.begin()
        busy, client, kept = self.client(), self.client(), self.client()
        self.assert_answer(kept.ask(PLAIN, keep=True), b"answer")
        client.send(request(POST, b"x"))
        busy.send(request(POST, b"x", keep=True))
        self.app.wait_requests(3)
        old = self.shim.pid
        workers = processes.children(old)
        self.upgrade()
        self.assert_answer(fcgi.ask(self.address, PLAIN), b"answer")
        self.assertTrue(processes.runs(old))
        for _ in range(3):
            self.assert_answer(kept.ask(PLAIN, keep=True), b"answer")
        self.work.go.set()
        self.assert_answer(client.read_response(), b"answer")
        self.assert_answer(busy.read_response(), b"answer")
        self.wait_gone(old)
        self.assertEqual([worker for worker in workers if processes.runs(worker)], [])
        self.assertTrue(os.path.exists(self.path("shim.sock")))
        for one in (busy, kept):
            self.assert_answer(one.ask(PLAIN, keep=True), b"answer")

    def test_from_one_process_to_several_and_back(self):
        """[process] counts for the new one."""
        self.start_one()
        for process in ("workers = 2", "workers = 1", "sandbox = no", "workers = 3"):
            self.process = process
            self.shim.write_ini(self.ini())
            new = self.upgrade()
            self.wait_gone(self.pids[-2])
            self.assertEqual(len(processes.children(new)), int(process[-1]) if "workers" in process else 0)
            self.assert_answer(fcgi.ask(self.address, PLAIN), b"answer")

    def test_one_that_cannot_start(self):
        self.begin()
        self.shim.write_ini(self.ini(upstream="command = /nonexistent/program\nprocesses = 3"))
        done = self.command()
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("%d carries on" % self.shim.pid, done.stdout)
        self.assertEqual(len(processes.children(self.shim.pid)), 3)
        self.assert_answer(fcgi.ask(self.address, PLAIN), b"answer")
        self.assertTrue(os.path.exists(self.path("shim.sock")))

    def test_term_while_it_ends(self):
        self.start_one(process="workers = 2\nshutdown_timeout = 300ms")
        client = self.client()
        client.send(request(POST, b"x", keep=True))
        self.app.wait_requests(1)
        self.upgrade()
        self.wait(lambda: self.shim.log().count("no new connections") == 2, "the workers to know")
        self.shim.signal(signal.SIGTERM)
        self.wait_gone(self.shim.pid)
        self.work.go.set()
        self.assert_cut(client.read_response())


class UnderLoad(UpgradeTest):
    UPGRADES = 20

    def check(self, response):
        return None if response.end == (0, 0) and response.body == b"answer" else repr(response)

    def under_load(self):
        """No request is lost, be its connection kept or not, a GET or a POST."""
        self.work.go.set()
        upgrades = 5 if is_sanitized() else self.UPGRADES
        with Load(lambda: FcgiAsker(self.address, POST, self.check), threads=4) as kept, \
                Load(lambda: FcgiAsker(self.address, POST, self.check, kept=False), threads=4) as single:
            for _ in range(upgrades):
                self.upgrade()
                kept.wait_more(20)
                single.wait_more(20)
        self.assertEqual((kept.wrong[:3], single.wrong[:3]), ([], []))
        for pid in self.pids[:-1]:
            self.wait_gone(pid)

    def test_one_process(self):
        self.start_one()
        self.under_load()

    def test_kept_upstream(self):
        self.start_one(upstream="keepalive = on\nconnections = 4")
        self.listen += "\n"
        self.under_load()

    def test_workers(self):
        self.start_one(process="workers = 2")
        self.under_load()


if __name__ == "__main__":
    unittest.main()
