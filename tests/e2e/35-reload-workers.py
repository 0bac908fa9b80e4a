#!/usr/bin/env python3
"""Reload with several workers: all of them go on with the new configuration, also those that come later."""

import os
import signal
import time
import unittest

import fcgi
import processes
from application import STARTED, ApplicationTest
from load import FcgiAsker, Load
from relay import PLAIN, change, tell_remote_addr

CLIENT, PROXY = "203.0.113.7", "10.0.0.1"
VIA_PROXY = change(PLAIN, ("HTTP_X_FORWARDED_FOR", CLIENT), REMOTE_ADDR=PROXY)
WORKERS = 3
PROCESS = "[process]\nworkers = %d\n" % WORKERS
TRUSTING = "[proxy a]\ntrust = 10.0.0.0/8\n"
DOUBTING = "[proxy a]\ntrust = 10.9.0.0/16\n"


class Workers(ApplicationTest):
    generation = 1

    def begin(self, sections=TRUSTING):
        self.start(tell_remote_addr, sections=sections + PROCESS)
        self.shim.wait_log("info: ready: %d workers$" % WORKERS)

    def ini(self, sections=TRUSTING, upstream=None, process=PROCESS):
        return "[listen]\naddress = unix:{dir}/shim.sock\n[upstream]\n%s\n%s%s" % (
            upstream or "address = " + self.app.address, sections, process)

    def workers(self):
        return processes.children(self.shim.pid)

    def reload(self, text):
        self.generation += 1
        self.shim.write_ini(text)
        self.shim.signal(signal.SIGHUP)
        self.shim.wait_log("reloaded; configuration %d is in force" % self.generation, count=WORKERS)

    def ask_all(self, wanted, of=None):
        """Every worker's answer: connections that stay are dealt out in turn, so three times as many reach all."""
        clients = [self.client() for _ in range(3 * WORKERS)]
        for client in clients:
            response = client.ask(VIA_PROXY, keep=True)
            self.assert_answer(response, wanted.encode())
        for client in clients:
            client.close()

    def test_all_of_them(self):
        self.begin()
        kept = [self.client() for _ in range(3 * WORKERS)]
        for sections, client in ((DOUBTING, PROXY), (TRUSTING, CLIENT)) * 2:
            self.reload(self.ini(sections))
            self.ask_all(client)
            for one in kept:
                self.assert_answer(one.ask(VIA_PROXY, keep=True), client.encode())
        self.assertEqual(self.shim.log().count("HUP: reading"), 4)

    def test_a_wrong_file(self):
        """The master says so, once, and the workers never hear of it."""
        self.begin()
        self.shim.write_ini(self.ini("[proxy a]\ntrust = 10.0.0.300\n"))
        self.shim.signal(signal.SIGHUP)
        self.shim.wait_log(r"\[%d\] error: .*: not reloaded; configuration 1 stays in force" % self.shim.pid)
        self.assertEqual(self.shim.log().count("10.0.0.300"), 1)
        self.assertEqual(self.shim.log().count("HUP: reading"), 1)
        self.ask_all(CLIENT)

    def test_what_is_fixed(self):
        """Named once; the number of workers stays, and so do their shares."""
        self.begin()
        self.reload(self.ini(process="[process]\nworkers = 7\n"))
        self.assertEqual(self.shim.log().count("[process] workers has changed"), 1)
        self.assertEqual(len(self.workers()), WORKERS)
        self.shim.write_ini(self.ini(upstream="address = %s\nconnections = 2" % self.app.address,
                                     process="[process]\nworkers = 2\n"))
        self.shim.signal(signal.SIGHUP)
        self.shim.wait_log(r"connections = 2: less than one for each of the workers \(%d\)" % WORKERS)
        self.ask_all(CLIENT)

    def test_those_that_come_later(self):
        self.begin()
        self.reload(self.ini(DOUBTING))
        for worker in self.workers():
            os.kill(worker, signal.SIGKILL)
        self.wait(lambda: len(self.workers()) == WORKERS and self.shim.log().count("ready: requests go") == 2 * WORKERS,
                  "others in their place")
        self.ask_all(PROXY)
        self.reload(self.ini(TRUSTING))
        self.ask_all(CLIENT)

    def test_trust_files(self):
        """All workers see the change, one says so; and those that come later see it, too."""
        self.begin()
        path = self.path("list.txt")

        def write(text):
            with open(path + ".new", "w") as file:
                file.write(text)
            os.rename(path + ".new", path)
        write("10.0.0.0/8")
        self.reload(self.ini("[proxy a]\ntrust_file = list.txt\n"))
        write("10.9.0.0/16")
        began = time.monotonic()
        self.wait(lambda: all(fcgi.ask(self.address, VIA_PROXY).body == PROXY.encode() for _ in range(9)), "a change")
        self.assertLess(time.monotonic() - began, 1)
        self.shim.wait_log("list.txt has changed: 1 addresses and blocks are in force")
        self.ask_all(PROXY)
        self.assertEqual(self.shim.log().count("list.txt has changed"), 1)
        for worker in self.workers():
            os.kill(worker, signal.SIGKILL)
        self.wait(lambda: len(self.workers()) == WORKERS and self.shim.log().count("ready: requests go") == 2 * WORKERS,
                  "others in their place")
        self.wait(lambda: all(fcgi.ask(self.address, VIA_PROXY).body == PROXY.encode() for _ in range(9)), "the list")

    def test_another_command(self):
        """Each worker has its share of the processes, of the new command as well."""
        self.launch(upstream="processes = 3", sections=TRUSTING + PROCESS)
        self.shim.wait_log("info: ready: %d workers$" % WORKERS)
        self.reload(self.ini(upstream="command = %s -t {dir}/term\nprocesses = 6" % STARTED))

        def started():
            return sorted(len(processes.children(worker)) for worker in self.workers())
        self.wait(lambda: started() == [2] * WORKERS, "two processes for each")

    def test_under_load(self):
        self.begin()
        bodies = (CLIENT.encode(), PROXY.encode())

        def check(response):
            return None if response.end == (0, 0) and response.body in bodies else repr(response)
        with Load(lambda: FcgiAsker(self.address, VIA_PROXY, check), threads=4) as kept, \
                Load(lambda: FcgiAsker(self.address, VIA_PROXY, check, kept=False), threads=4) as single:
            for n in range(20):
                self.reload(self.ini((DOUBTING, TRUSTING)[n % 2]))
                self.assertEqual(fcgi.ask(self.address, VIA_PROXY).body.decode(), (PROXY, CLIENT)[n % 2])
                kept.wait_more(10)
                single.wait_more(10)
        self.assertEqual((kept.wrong, single.wrong), ([], []))

    def test_an_end_during_a_reload(self):
        for _ in range(3):
            self.begin()
            self.shim.signal(signal.SIGHUP)
            self.shim.signal(signal.SIGTERM)
            self.assertEqual(self.shim.wait_exit(), 0)


if __name__ == "__main__":
    unittest.main()
