#!/usr/bin/env python3
"""Bytes for several connections go out in one system call: who has a ring for that and who has none, and that all are
served in either case. unit-relay-ring shows what a ring can do."""

import errno
import os
import unittest

import fcgi
import processes
from application import ApplicationTest
from faults import Faults
from relay import PLAIN, PROXIES, RelayTest
from rounds import Gate, exchange

CLIENTS = 64
NONE_HERE = r"info: no io_uring here \((?:%s)\): what goes to several connections takes a system call for each\n"


def rings(pid):
    """How many descriptors of io_uring a process has."""
    return processes.open_files(pid).count("anon_inode:[io_uring]")


class RingTest(RelayTest):
    def begin(self, process="", log="", fault=None):
        """fault: what the start meets."""
        self.faults = Faults()
        self.addCleanup(self.faults.close)
        self.gate = Gate()
        if fault:
            self.faults.set(*fault)
        self.start(self.gate, upstream="keepalive = on\nconnections = %d" % CLIENTS,
                   sections="%s[log]\n%s\n[process]\n%s" % (PROXIES, log, process), env=self.faults.env)

    def rings(self):
        return rings(self.shim.relay_pid)

    def submits(self):
        return self.faults.calls().get("io_uring_submit", 0)

    def serve(self):
        """Twice, since connections are new the first time."""
        clients = [self.client() for _ in range(CLIENTS)]
        for turn in range(2):
            bodies = [b"%d: client %d " % (turn, i) * (i + 1) for i in range(CLIENTS)]
            for response, body in zip(exchange(self.shim, self.gate, clients, bodies), bodies):
                self.assert_answer(response, body)

    def need_ring(self):
        if "no io_uring here" in self.shim.log():
            self.skipTest("SKIPPED: no io_uring here")


class Serves(RingTest):
    def test_with(self):
        self.begin()
        self.need_ring()
        self.assertEqual((rings(self.shim.pid), self.rings()), (0, 1))
        self.serve()
        self.assertGreater(self.submits(), 0)
        self.assertEqual(self.rings(), 1)

    def test_with_and_no_sandbox(self):
        self.begin("sandbox = no\nworkers = 2")
        self.shim.wait_log("ready: 2 workers")
        self.need_ring()
        self.assertEqual(rings(self.shim.pid), 0)
        self.assertEqual([rings(pid) for pid in processes.children(self.shim.pid)], [1, 1])

    def test_without(self):
        self.begin("io_uring = no")
        self.assertEqual(self.rings(), 0)
        self.serve()
        self.assertEqual(self.submits(), 0)
        self.assertNotIn("io_uring", self.shim.log())

    def test_where_there_is_none(self):
        self.begin(fault=("io_uring_queue_init", errno.EPERM))
        self.shim.wait_log(NONE_HERE % os.strerror(errno.EPERM))
        self.assertEqual(self.rings(), 0)
        self.serve()
        self.assertEqual(self.submits(), 0)

    def test_the_log_file_has_it(self):
        self.begin(log="error = {dir}/error.log", fault=("io_uring_queue_init", errno.ENOSYS))
        with open(os.path.join(self.shim.dir, "error.log")) as file:
            self.assertRegex(file.read(), NONE_HERE % os.strerror(errno.ENOSYS))

    def test_where_it_could_do_more_than_send(self):
        """As before Linux 5.10."""
        self.begin(fault=("io_uring_register", errno.EINVAL))
        self.shim.wait_log(NONE_HERE % "|".join(map(os.strerror, (errno.EINVAL, errno.EPERM, errno.ENOSYS))))
        self.assertEqual(self.rings(), 0)
        self.serve()

    def test_until_it_fails(self):
        """All get their answers, those of that round, too, and the next."""
        for fault in ({"error": errno.EAGAIN}, {"most": 1}):
            with self.subTest(fault):
                self.begin()
                self.need_ring()
                self.serve()
                calls = self.submits()
                self.faults.set("io_uring_submit", **fault)
                self.serve()
                self.assertEqual(self.rings(), 0)
                self.assertEqual((self.submits(), self.faults.hits("io_uring_submit")), (calls + 1, 1))


class Programs(ApplicationTest):
    def test_none_for_the_application(self):
        self.launch(sections=PROXIES)
        self.assert_answer(fcgi.ask(self.address, PLAIN))
        own = processes.children(self.shim.pid)
        self.assertTrue(own)
        self.assertEqual([rings(pid) for pid in own], [0] * len(own))
        if "no io_uring here" not in self.shim.log():
            self.assertEqual(rings(self.shim.pid), 1)


if __name__ == "__main__":
    unittest.main()
