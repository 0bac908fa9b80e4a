#!/usr/bin/env python3
"""Each system call that can fail does, at each place where it is made: see tests/support/faultsweep.py.

REALIP_FAULTS=all has every call of every scenario fail with every error, and takes some five minutes; without it, a few
of each kind do, with one error. REALIP_SCENARIOS names some of them.
"""

import concurrent.futures
import contextlib
import errno
import os
import re
import signal
import traceback
import unittest

import faultsweep
from application import STARTED
from faultsweep import HEADER, Scenario, Start, Sweep, ask, judge
from fcgi import Client, Responder
from relay import PLAIN, POST, change
from rounds import Gate, exchange
from shim import free_port, wait_for

WHOLE = os.environ.get("REALIP_FAULTS") == "all"
BODY = bytes(range(256)) * 200
CLIENTS = 12  # more than the entries that a call of io_uring_submit that is cut takes


class Relay(Scenario):
    """New connections on either side; bodies that are spliced."""

    def traffic(self):
        return (ask(self.address, (PLAIN, b"", b"")) +
                ask(self.address, (POST, b"a" * 1000, b"a" * 1000), (PLAIN, b"", b""), (POST, BODY, BODY)))


class Kept(Relay):
    """Kept connections to the application."""

    @property
    def upstream(self):
        return "address = %s\nkeepalive = on\nconnections = 2\nidle_timeout = 50ms" % self.responder.address


class Together(Scenario):
    """Several kept connections whose requests come in one round, and so do their answers: they go out at once."""

    chosen = ("send", "io_uring_submit", "epoll_ctl")
    least = 12

    def __init__(self, responder):
        self.gate = Gate(0.1)  # before read_timeout: who comes late is not counted with the next ones
        super().__init__(Responder(self.gate))
        self.upstream = "address = %s\nkeepalive = on\nconnections = %d\nidle_timeout = 100ms" % (
            self.responder.address, CLIENTS)

    def quiet(self):
        self.responder.wait(lambda: self.responder.open == 0, "its connections to be closed")
        return super().quiet()

    def traffic(self):
        verdicts = []
        with self.responder.changed:  # which looks at each that there ever was
            self.responder.connections.clear()
            self.responder.requests.clear()
        with contextlib.ExitStack() as stack:
            clients = [stack.enter_context(Client(self.address)) for _ in range(CLIENTS)]
            for turn in (1, 2):
                bodies = [b"%d: client %d" % (turn, i) * 40 for i in range(CLIENTS)]
                responses = exchange(self.shim, self.gate, clients, bodies, keep=turn == 1, timeout=5)
                verdicts += [judge(response, body) for response, body in zip(responses, bodies)]
        return verdicts


class Tcp(Relay):
    """Both sides by TCP."""

    def __init__(self, responder):
        super().__init__(Responder(address="127.0.0.1:0"))
        self.port = free_port()
        self.listen = "address = 127.0.0.1:%d" % self.port

    @property
    def address(self):
        return "127.0.0.1:%d" % self.port


class Reload(Scenario):
    """HUP and USR1, a trust file, and a name."""

    sections = ("[proxy test]\ntrust = localhost\ntrust_file = {dir}/list.txt\n[log]\naccess = {dir}/access.log\n" +
                HEADER)

    files = {"list.txt": "10.0.0.0/8\n"}

    def traffic(self):
        before = self.shim.log().count("in force") + self.shim.log().count("cannot reload")
        self.shim.signal(signal.SIGUSR1)
        self.shim.signal(signal.SIGHUP)
        try:
            wait_for(lambda: self.shim.log().count("in force") + self.shim.log().count("cannot reload") > before
                     or not self.shim.running(), 1, "the reload")
        except AssertionError:
            return ["cut"]
        good = "is in force" in self.shim.log()[self.shim.log().rfind("loaded; configuration"):]
        return ask(self.address, (PLAIN, b"", b"")) + ["ok" if good else "refused"]


class Command(Scenario):
    """A started application, of which one process ends and another takes its place."""

    upstream = "command = " + STARTED

    def traffic(self):
        def script(name, argument=""):
            return change(POST, ("QUERY_STRING", argument), SCRIPT_NAME=name)
        return ask(self.address, (script("/echo"), b"x" * 9000, b"x" * 9000)) + ask(
            self.address, (script("/finish", "0"), b"", None)) + ask(self.address, (script("/echo"), BODY, BODY))


class Cgi(Scenario):
    """A program a request."""

    upstream = "cgi = " + os.environ["FCGI_TEST_CGI"]
    impossible = (("writev", errno.EPIPE), ("write", errno.EPIPE))  # while the program has its end of the pipe

    @staticmethod
    def sample(count):
        """The third read is mostly that of an answer that has begun."""
        return sorted({1, min(3, count), count})

    def traffic(self):
        params = change(POST, ("QUERY_STRING", "echo"), ("CONTENT_LENGTH", "9000"))
        large = change(POST, ("QUERY_STRING", "echo"), ("CONTENT_LENGTH", str(len(BODY))))
        return ask(self.address, (params, b"x" * 9000, b"x" * 9000), (large, BODY, BODY))


class Logs(Scenario):
    """Both logs in files, with every decision in them."""

    sections = ("[proxy test]\ntrust = 10.0.0.0/8\n[log]\naccess = {dir}/access.log\nerror = {dir}/error.log\n"
                "decisions = all\n" + HEADER)

    def lines(self):
        total = 0
        for name in ("access", "error"):
            with open("%s/%s.log" % (self.shim.dir, name)) as file:
                total += len(re.findall(r"192\.0\.2\.1\b.*\n", file.read()))
        return total

    def traffic(self):
        before = self.lines()
        verdicts = ask(self.address, *[(PLAIN, b"", b"")] * 3)
        self.shim.signal(signal.SIGUSR1)
        if not self.faulty:
            wait_for(lambda: self.lines() >= before + 6, 5, "the lines in the logs")
        return verdicts


class Begin(Start):
    """One process. Without a name in its trust list: glibc's look-up of the first one dies without memory."""

    sections = "[proxy test]\ntrust = 10.0.0.0/8\ntrust_file = {dir}/list.txt\n" \
               "[log]\naccess = {dir}/access.log\n[process]\npid_file = {dir}/pid\n" + HEADER
    files = {"list.txt": "10.0.0.0/8\n"}

    def traffic(self):
        return ask(self.address, (PLAIN, b"", b""))


class Workers(Start):
    """A master and two."""

    sections = "[proxy test]\ntrust = 10.0.0.0/8\n[process]\nworkers = 2\n" + HEADER
    ready = "info: ready: 2 workers"
    traffic = Begin.traffic


KINDS = (Relay, Kept, Together, Tcp, Reload, Command, Cgi, Logs, Begin, Workers)


def run(kind):
    """A sweep, or what broke it."""
    try:
        with Responder() as responder:
            return Sweep(kind(responder), WHOLE, print if WHOLE else None).run()
    except Exception:  # it is told where the result is looked at
        return traceback.format_exc()


class Faults(unittest.TestCase):
    def test_all(self):
        """All at a time: they mostly wait."""
        wanted = os.environ.get("REALIP_SCENARIOS", "").split()
        kinds = [kind for kind in KINDS if not wanted or kind.__name__ in wanted]
        with concurrent.futures.ThreadPoolExecutor(3 if WHOLE else len(kinds)) as pool:
            for kind, sweep in zip(kinds, pool.map(run, kinds)):
                with self.subTest(kind.__name__):
                    self.judge(kind, sweep)

    def judge(self, kind, sweep):
        self.assertIsInstance(sweep, Sweep, sweep)
        if WHOLE:
            missed = sorted(name for name in sweep.counts if name not in faultsweep.ERRORS)
            print("%s: %d faults, %d findings; calls: %s; never made to fail: %s" % (
                kind.__name__, sweep.scenario.reached, len(sweep.wrong), sweep.counts, missed), flush=True)
        self.assertGreater(sweep.scenario.reached, kind.least)
        self.assertEqual(sweep.wrong, [], "\n".join(sweep.wrong[:20]))


if __name__ == "__main__":
    unittest.main()
