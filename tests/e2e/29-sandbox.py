#!/usr/bin/env python3
"""The process that relays is in a sandbox: what it cannot do there, and that it serves, reloads and logs all the same.
unit-relay-sandbox tries each forbidden call."""

import ctypes
import errno
import os
import re
import signal
import subprocess
import tempfile
import unittest

import fcgi
import processes
from faults import Faults
from relay import PLAIN, PROXIES, RelayTest, change, tell_remote_addr
from shim import PATIENCE, program, wait_for

CLIENT = "203.0.113.7"
VIA_PROXY = change(PLAIN, ("HTTP_X_FORWARDED_FOR", CLIENT), REMOTE_ADDR="10.0.0.1")
INTRUDER = os.path.join(os.path.dirname(os.environ["FCGI_TEST_APP"]), "libfcgi-test-intruder.so")
LANDLOCK_VERSION = ctypes.CDLL(None).syscall(444, None, 0, 1)  # -1 where there is none


def filters(pid):
    """2: a filter is in force."""
    return int(re.search(rb"^Seccomp:\s*(\d)$", processes.read(pid, "status"), re.M).group(1))


class SandboxTest(RelayTest):
    def folder(self):
        folder = tempfile.TemporaryDirectory(prefix="realip-sandbox-")
        self.addCleanup(folder.cleanup)
        return folder.name

    def path(self, name):
        return os.path.join(self.shim.dir, name)

    def write(self, name, text):
        """Puts another file in its place."""
        with open(self.path(name + ".new"), "w") as file:
            file.write(text)
        os.rename(self.path(name + ".new"), self.path(name))

    def who(self, params=VIA_PROXY):
        response = fcgi.ask(self.address, params)
        self.assert_answer(response)
        return response.body.decode()

    def reload(self, text):
        self.shim.write_ini(text)
        self.shim.signal(signal.SIGHUP)

    def ini(self, sections):
        return "[listen]\naddress = unix:{dir}/shim.sock\n[upstream]\naddress = %s\n%s" % (self.app.address, sections)


class Who(SandboxTest):
    def test_who_is_in_one(self):
        """Not the master, who has to do what they cannot."""
        for workers in (1, 3):
            self.start(sections=PROXIES + "[process]\nworkers = %d\n" % workers,
                       ready=r"ready: %d worker" % workers)
            self.assertEqual(filters(self.shim.pid), 0)
            self.assertEqual([filters(pid) for pid in processes.children(self.shim.pid)], [2] * workers)

    def test_who_is_not(self):
        self.start(sections=PROXIES + "[process]\nsandbox = no\n")
        self.assertEqual(filters(self.shim.pid), 0)
        self.assertEqual(processes.children(self.shim.pid), [])
        self.start(sections=PROXIES + "[process]\nsandbox = no\nworkers = 2\n", ready="ready: 2 workers")
        self.assertEqual([filters(pid) for pid in processes.children(self.shim.pid)], [0, 0])

    def test_nobody_who_starts_programs(self):
        """They would be in it, too."""
        self.start(app="unix:/nonexistent", upstream="", sections=PROXIES, ready=False, args=(
            "--", program(), "whoami"))
        self.shim.wait_log("ready: requests go to")
        self.assert_answer(fcgi.ask(self.address, PLAIN))
        self.assertEqual([filters(pid) for pid in [self.shim.pid] + processes.children(self.shim.pid)], [0, 0])


class Intruder(SandboxTest):
    def test_what_somebody_gets_who_runs_code_in_it(self):
        folder = self.folder()
        report = os.path.join(folder, "report")
        self.start(directory=folder, env={
            "LD_PRELOAD": INTRUDER, "INTRUDER": report, "INTRUDER_FILE": os.path.join(folder, "fcgi-realip.ini"),
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"})
        self.assert_answer(fcgi.ask(self.address, PLAIN))
        with open(report) as file:
            found = {what: int(number) for what, number in (line.rsplit(" ", 1) for line in file)}
        denied = errno.EACCES if LANDLOCK_VERSION > 0 else 0
        self.assertEqual(found, {
            "read a file": denied, "read a folder": denied, "change the configuration": denied,
            "read the configuration": 0, "start a program": errno.EPERM, "become another user": errno.EPERM,
            "signal the master": errno.EPERM,
            # AddressSanitizer's build leaves it to Landlock.
            "trace the master": errno.EPERM,
            "remove a file": errno.EPERM, "serve": errno.EPERM,
            "serve on a port": errno.EACCES if LANDLOCK_VERSION >= 4 else 0,
            "read packets": errno.EPERM, "use io_uring": errno.EPERM, **self.by_io_uring(), "end": 0})
        self.assertTrue(os.path.exists(self.shim.path))

    def by_io_uring(self):
        """What is left of the ring that the shim has, if it has one."""
        if "no io_uring here" in self.shim.log():
            return {}
        return {"open a file by io_uring": errno.EACCES, "serve by io_uring": errno.EACCES,
                "do nothing by io_uring": errno.EACCES, "widen io_uring": errno.EPERM, "send by io_uring": 0}


class Unable(SandboxTest):
    @unittest.skipIf(LANDLOCK_VERSION < 1, "the kernel has no Landlock")
    def test_who_cannot_enter_does_not_serve(self):
        """The last prctl(2) of a start is the one that Landlock wants."""
        counting, failing = Faults(), Faults()
        self.addCleanup(counting.close)
        self.addCleanup(failing.close)
        self.start(env=counting.env)
        self.assertEqual(filters(self.shim.relay_pid), 2)
        failing.set("prctl", errno.ENOMEM, first=counting.calls()["prctl"])
        self.start(env=failing.env, ready=False)
        self.assertEqual(self.shim.wait_exit(), 1)
        self.assertRegex(self.shim.log(), "error: cannot enter the sandbox: landlock: Cannot allocate memory; "
                         "sandbox = no in .process. does without one\n")
        self.assertNotIn("ready: 1 worker", self.shim.log())
        self.assertEqual(failing.hits("prctl"), 1)


class Serves(SandboxTest):
    def test_what_the_configuration_needs(self):
        """Reloads, trust files in a folder of their own, by a link and replaced, names, log files made anew."""
        self.start(tell_remote_addr, sections="[proxy test]\ntrust = 10.0.0.0/8, localhost\ntrust_file = %s\n" % self.linked()
                   + "[log]\nerror = {dir}/error.log\naccess = {dir}/access.log\n",
                   ready=False)
        wait_for(lambda: os.path.exists(self.path("error.log")) and "ready: 1 worker" in self.log(), what="the shim")
        self.assertEqual(filters(self.shim.relay_pid), 2)
        self.assertEqual(self.who(), CLIENT)
        self.assertEqual(self.who(change(VIA_PROXY, REMOTE_ADDR="127.0.0.1")), CLIENT)
        self.assertEqual(self.who(change(VIA_PROXY, REMOTE_ADDR="192.0.2.9")), "192.0.2.9")
        with open(self.list + ".new", "w") as file:
            file.write("192.0.2.9\n")
        os.rename(self.list + ".new", self.list)
        wait_for(lambda: self.who(change(VIA_PROXY, REMOTE_ADDR="192.0.2.9")) == CLIENT, what="the new list")
        for name in ("error.log", "access.log"):
            os.rename(self.path(name), self.path(name + ".1"))
        self.shim.signal(signal.SIGUSR1)
        wait_for(lambda: os.path.exists(self.path("access.log")) and self.who() and os.stat(self.path("access.log")).st_size,
                 what="the new access log")
        self.reload(self.shim.ini_text.replace("10.0.0.0/8", "10.9.0.0/16"))
        wait_for(lambda: "configuration 2 is in force" in self.log(), what="the reload")
        self.assertEqual(self.who(), "10.0.0.1")
        self.assertNotIn("error:", self.log())

    def linked(self):
        folder = self.folder()
        os.mkdir(folder + "/real")
        self.list = folder + "/real/list.txt"
        with open(self.list, "w") as file:
            file.write("192.0.2.7\n")
        os.symlink("real/list.txt", folder + "/link.txt")
        return folder + "/link.txt"

    def log(self):
        with open(self.path("error.log")) as file:
            return file.read()


class OutOfReach(SandboxTest):
    """A reload that needs more is refused as a whole, and an upgrade makes room for it."""

    def refuse(self, sections, message):
        self.reload(self.ini(sections))
        self.shim.wait_log(message)
        self.shim.wait_log("not reloaded; configuration 1 stays in force")
        self.assertEqual(self.who(), CLIENT)

    def setUp(self):
        self.elsewhere = self.folder()
        with open(self.elsewhere + "/list.txt", "w") as file:
            file.write("10.0.0.0/8\n")

    @unittest.skipIf(LANDLOCK_VERSION < 1, "the kernel has no Landlock")
    def test_files(self):
        self.start(tell_remote_addr, sections=PROXIES + "[process]\npid_file = {dir}/pid\n")
        wait_for(lambda: os.path.exists(self.path("pid")), what="the pid file")
        sections = "[process]\npid_file = {dir}/pid\n[proxy test]\ntrust_file = %s/list.txt\n" % self.elsewhere
        self.refuse(sections, "error: .*cannot read files in %s: the sandbox .* upgrade" % re.escape(self.elsewhere))
        done = subprocess.run([program(), "upgrade", "-c", self.shim.path], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 0, done.stdout)
        with open(self.path("pid")) as file:
            new = int(file.read())
        self.addCleanup(wait_for, lambda: not processes.runs(new), what="the new one to end")
        self.addCleanup(os.kill, new, signal.SIGTERM)
        self.assertEqual(self.who(), CLIENT)

    @unittest.skipIf(LANDLOCK_VERSION < 1, "the kernel has no Landlock")
    def test_logs_and_names(self):
        self.start(tell_remote_addr)
        self.refuse(PROXIES + "[log]\naccess = %s/access.log\n" % self.elsewhere,
                    "error: .*cannot write log files in %s" % re.escape(self.elsewhere))
        self.refuse("[proxy test]\ntrust = 10.0.0.0/8, localhost\n", "error: .*cannot look up the names of hosts")

    def test_programs(self):
        self.start(tell_remote_addr)
        self.reload(self.ini(PROXIES).replace("address = " + self.app.address, "cgi = /bin/true"))
        self.shim.wait_log("error: .*no program can be started from the sandbox")
        self.assertEqual(self.who(), CLIENT)


if __name__ == "__main__":
    unittest.main()
