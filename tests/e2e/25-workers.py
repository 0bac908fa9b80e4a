#!/usr/bin/env python3
"""Several workers under a master: who gets which connection, what a worker's death costs, how all of them end.

In the end of every test no process may be left.
"""

import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import fcgi
import processes
from application import STARTED, ApplicationTest
from faults import Faults
from fcgi import GET_VALUES, PATIENCE, pairs, record, request
from relay import PLAIN, POST, PROXIES, change
from shim import accepts, cpu_seconds, fd_count, program, wait_for


def worker_of(connection):
    """The process at the other end of an application's connection."""
    return struct.unpack("3i", connection.sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[0]


def name_worker(connection):
    """A script: answers with the worker's process id."""
    while connection.read_request():
        connection.reply(b"%d" % worker_of(connection))
        if not connection.current.keep:
            return


class Held:
    """A script: the answers wait for .go."""

    def __init__(self):
        self.go = threading.Event()

    def __call__(self, connection):
        while connection.read_request():
            assert self.go.wait(PATIENCE)
            connection.reply(b"%d" % worker_of(connection))
            if not connection.current.keep:
                return


class WorkersTest(ApplicationTest):
    """begin() starts a shim with workers between a raw client and a raw application, launch_workers() one with an
    application of its own. Both give the workers' process ids."""

    def begin(self, workers=2, script=name_worker, process="", sections=PROXIES, **options):
        if isinstance(script, Held):
            self.addCleanup(script.go.set)
        self.start(script, sections="%s[process]\nworkers = %d\n%s" % (sections, workers, process), **options)
        return self.wait_ready(workers)

    def launch_workers(self, workers=2, process="", **options):
        self.launch(sections="%s[process]\nworkers = %d\n%s" % (PROXIES, workers, process), **options)
        return self.wait_ready(workers)

    def wait_ready(self, workers):
        self.shim.wait_log(r"fcgi-realip\[%d\] info: ready: %d workers$" % (self.shim.pid, workers))
        return self.workers()

    def workers(self):
        return processes.children(self.shim.pid)

    def ever_started(self):
        return [int(pid) for pid in re.findall(r"info: started worker\[(\d+)\]", self.shim.log())]

    def stop_shim(self, shim):
        super().stop_shim(shim)
        wait_for(lambda: not any(processes.runs(pid) for pid in self.ever_started()), what="the workers to end")

    def arrive(self, count, params=POST, address=None):
        """So many clients that keep their connections, each of which has sent a request before the next one comes: the
        workers get them in turn."""
        clients = []
        for _ in range(count):
            clients.append(self.client(address))
            clients[-1].send(request(params, b"x", keep=True))
            clients[-1].wait_sent()
        return clients

    def kept_clients(self, count):
        """As arrive(), and the requests are at the application, in this order."""
        clients = []
        for _ in range(count):
            clients += self.arrive(1)
            self.app.wait_requests(len(clients))
        return clients

    def wait_not_listening(self):
        self.wait(lambda: not accepts(self.address), "the listener to close")

    def assert_names(self, response, workers):
        self.assert_answer(response)
        self.assertIn(int(response.body), workers)


class Sharing(WorkersTest):
    """Connections, and who gets them."""

    def test_one_is_alone(self):
        """No master, and nothing of workers in the log."""
        for workers in ("", "workers = 1\n"):
            sections = PROXIES + "[process]\nsandbox = no\n" + workers
            self.start(name_worker, sections=sections)
            self.assertEqual(self.workers(), [])
            self.assert_answer(fcgi.ask(self.address, PLAIN), b"%d" % self.shim.pid)
            self.assertNotIn("worker", self.shim.log())
            with open("/proc/%d/status" % self.shim.pid) as status:
                caught = int(re.search(r"^SigCgt:\s*(\w+)$", status.read(), re.M).group(1), 16)
            self.assertFalse(caught & 1 << signal.SIGQUIT - 1)

    def test_all_serve(self):
        workers = self.begin(4)
        self.assertEqual(len(workers), 4)
        self.assertEqual(sorted(self.ever_started()), workers)
        for worker in workers:
            self.shim.wait_log(r"fcgi-realip\[%d\] info: ready: requests go to " % worker)
        answers = [client.read_response() for client in self.arrive(16)]
        self.assertEqual({int(answer.body) for answer in answers}, set(workers))
        self.assertEqual(self.shim.stop(), 0)

    def test_what_a_worker_has(self):
        """Standard descriptors, the sockets, its loop, and a channel to the master; nothing of the master's or of the other workers'."""
        workers = self.begin(3)

        def kinds(pid):
            try:
                links = [os.readlink("/proc/%d/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%d/fd" % pid)]
            except FileNotFoundError:  # closed meanwhile, as what asked whether it listens
                return None
            return sorted(link if link.startswith("anon") else link.partition(":[")[0] for link in links)

        def same(pids):
            """What all of them have; None as long as they differ."""
            found = [kinds(pid) for pid in pids]
            return found[0] if found.count(found[0]) == len(found) else None
        first = wait_for(lambda: same(workers), what="the workers to have the same")
        self.assertNotIn("anon_inode:[signalfd]", first)
        self.assertEqual(first.count("socket"), 2)
        for _ in range(2):
            victim = self.workers()[1]
            os.kill(victim, signal.SIGKILL)
            wait_for(lambda: len(self.workers()) == 3 and victim not in self.workers(), what="another worker")
            wait_for(lambda: same(self.workers()) == first, what="it to have the same")

    def switches(self, workers):
        total = 0
        for worker in workers:
            with open("/proc/%d/status" % worker) as status:
                total += int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)$", status.read(), re.M).group(1))
        return total

    def test_a_connection_wakes_one(self):
        """It is accepted, asked something that the shim answers itself, and closed: two or three times a worker has
        something to do. Would all wake, it were eight times for the first of these alone."""
        workers = self.begin(8)
        count = 200
        self.client().close()
        before = self.switches(workers)
        for _ in range(count):
            with fcgi.Client(self.address) as client:
                client.send(record(GET_VALUES, pairs({"FCGI_MAX_CONNS": ""}), id=0))
                self.assertIsNotNone(client.read_record())
        self.assertLess((self.switches(workers) - before) / count, 5)

    def test_kept_connections_are_dealt_out(self):
        """Though they come while there is nothing to do, so that one worker could take them all."""
        workers = self.begin(4)
        # What asked whether the shim listens may still be open.
        wait_for(lambda: len(set(map(fd_count, workers))) == 1, what="descriptors to settle")
        before = {worker: fd_count(worker) for worker in workers}
        for _ in range(40):
            self.assert_names(self.client().ask(POST, b"x", keep=True), workers)
        held = {worker: fd_count(worker) - before[worker] for worker in workers}
        self.assertEqual(sum(held.values()), 40, held)
        self.assertGreaterEqual(min(held.values()), 5, held)

    def count_waits(self, keep):
        """How often a worker waits for events until 16 requests that wait for it, and for nobody else, are on their way."""
        faults, held = Faults(), Held()
        self.addCleanup(faults.close)
        workers = self.begin(2, held, env=faults.env)
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
        self.addCleanup(os.kill, workers[1], signal.SIGCONT)
        self.wait(lambda: all(processes.state(worker)[0] == b"T" for worker in workers), "the workers to stop")
        clients = [self.client() for _ in range(16)]
        for client in clients:
            client.send(request(PLAIN, keep=keep))
        before = faults.calls()["epoll_wait"]
        os.kill(workers[0], signal.SIGCONT)
        self.app.wait_requests(16)
        count = faults.calls()["epoll_wait"] - before
        held.go.set()
        for client in clients:
            self.assert_names(client.read_response(), workers[:1])
        return count

    def test_several_a_turn_unless_they_stay(self):
        """What is sent at the end of a turn goes out together; but each worker is to get its part of those that stay."""
        self.assertLess(self.count_waits(keep=False), 8)
        self.assertGreaterEqual(self.count_waits(keep=True), 16)

    def test_several_listeners(self):
        workers = self.begin(3, listen="address = unix:{dir}/shim.sock, unix:{dir}/other.sock")
        for name in ("shim", "other"):
            answers = [client.read_response() for client in self.arrive(12, address="unix:" + self.path(name + ".sock"))]
            self.assertEqual({int(answer.body) for answer in answers}, set(workers))


class Totals(WorkersTest):
    """What all workers together may take."""

    def test_connections(self):
        held = Held()
        workers = self.begin(3, held, upstream="connections = 5\n")
        clients = self.arrive(15)
        owners = [worker_of(one.connection) for one in self.app.wait_requests(5)]
        self.assertEqual(sorted(owners.count(worker) for worker in workers), [1, 2, 2])
        held.go.set()
        for client in clients:
            self.assert_names(client.read_response(), workers)
        self.assertEqual(self.app.most_open, 5)

    def refused_and_held(self, held, refused):
        """So many of 20 requests are refused with 503, and the others answered in the end."""
        clients = self.arrive(20)
        self.wait(lambda: sum(client.readable() for client in clients) >= refused, "%d refusals" % refused)
        early = [client for client in clients if client.readable()]
        self.assertEqual(len(early), refused)
        for client in early:
            self.assert_refusal(client.read_response(), 503)
        held.go.set()
        for client in clients:
            if client not in early:
                self.assert_answer(client.read_response())

    def test_queue(self):
        held = Held()
        self.begin(2, held, upstream="connections = 2\nqueue = 4\n")
        self.refused_and_held(held, 14)

    def test_requests(self):
        held = Held()
        self.begin(2, held, sections=PROXIES + "[limits]\nrequests = 5\n")
        self.refused_and_held(held, 15)
        self.assertEqual(len(self.app.requests), 5)

    def test_what_a_web_server_is_told(self):
        self.begin(2, sections=PROXIES + "[limits]\nrequests = 5\n")
        client = self.client()
        client.send(record(GET_VALUES, pairs({"FCGI_MAX_CONNS": ""}), id=0))
        self.assertEqual(client.read_record().content, pairs({"FCGI_MAX_CONNS": "5"}))

    def test_check(self):
        folder = tempfile.mkdtemp(prefix="realip-")
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "x.ini")

        def check(text, *options):
            with open(path, "w") as file:
                file.write(PROXIES + text)
            done = subprocess.run([program(), "check", "-c", path, *options], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, timeout=PATIENCE, text=True)
            return done.returncode, done.stdout, done.stderr
        status, out, error = check("[process]\nworkers = 3\n", "-v")
        self.assertEqual((status, error), (0, ""))
        self.assertIn("\n[process]\nworkers = 3\n", out)
        self.assertIn(", with 3 workers\n", out)
        self.assertNotIn("workers", check("")[1])
        status, out, error = check("[process]\nworkers = 3\n[limits]\nrequests = 2\n")
        self.assertEqual((status, out), (1, ""))
        self.assertIn(path + ":7: requests = 2: less than one for each of the workers (3)", error)


class Deaths(WorkersTest):
    """A worker that dies."""

    def wait_replaced(self, victim, count):
        wait_for(lambda: len(self.workers()) == count and victim not in self.workers(), what="another worker")
        return self.workers()

    def test_loses_what_it_had_in_flight(self):
        """And nothing else."""
        held = Held()
        workers = self.begin(3, held)
        clients = self.kept_clients(12)
        owners = [worker_of(one.connection) for one in self.app.requests]
        self.assertEqual(set(owners), set(workers))
        victim = owners[0]
        os.kill(victim, signal.SIGKILL)
        for client, owner in zip(clients, owners):
            if owner == victim:
                self.assert_cut(client.read_response())
        self.shim.wait_log(r"fcgi-realip\[%d\] warning: worker\[%d\] was ended by signal 9 \(Killed\) after \d+ ms; "
                           r"(starting another|next start in 100 ms)$" % (self.shim.pid, victim))
        others = self.wait_replaced(victim, 3)
        self.assertEqual(set(workers) - {victim}, set(workers) & set(others))
        held.go.set()
        for client, owner in zip(clients, owners):
            if owner != victim:
                self.assert_answer(client.read_response(), b"%d" % owner)
        # Whoever comes next finds the new one, too.
        answers = [self.client().ask(POST, b"x", keep=True) for _ in range(12)]
        self.assertEqual({int(answer.body) for answer in answers}, set(others))

    def test_under_load(self):
        """Kept connections: one that breaks had its last answer from the worker that was killed."""
        workers = self.begin(4, upstream="keepalive = on\nconnections = 16\n")
        stop = threading.Event()
        losses, answered = [], [0] * 16

        def load(number):
            while not stop.is_set():
                last = None
                with fcgi.Client(self.address) as client:
                    while not stop.is_set():
                        try:
                            response = client.ask(POST, b"x", keep=True)
                        except OSError:
                            losses.append(last)
                            break
                        if response.end != (0, 0) or response.status != 200:
                            losses.append(last)
                            break
                        last = int(response.body)
                        answered[number] += 1
        threads = [threading.Thread(target=load, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        victims = []
        try:
            for _ in range(3):
                already = list(answered)
                self.wait(lambda: all(now > then + 5 for now, then in zip(answered, already)), "answers")
                victims.append(self.workers()[0])
                os.kill(victims[-1], signal.SIGKILL)
                self.wait_replaced(victims[-1], 4)
            already = list(answered)
            self.wait(lambda: all(now > then + 5 for now, then in zip(answered, already)), "answers")
        finally:
            stop.set()
            for thread in threads:
                thread.join(PATIENCE)
        self.assertLessEqual(set(losses), set(victims))
        self.assertLessEqual(len(losses), 16 * len(victims))
        self.assertEqual(len(set(workers) & set(self.workers())), len(set(workers) - set(victims)))

    def test_connections_that_wait_to_be_accepted(self):
        """They are nobody's yet."""
        workers = self.begin(2)
        for worker in workers:
            os.kill(worker, signal.SIGSTOP)
            wait_for(lambda: processes.state(worker)[:1] == [b"T"], what="a worker to stop")
        clients = [self.client() for _ in range(10)]
        for client in clients:
            client.send(request(POST, b"x"))
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        for client in clients:
            self.assert_answer(client.read_response())

    def test_told_to_end(self):
        """One that is told to end by somebody else does so gracefully, and is replaced. The socket stays."""
        held = Held()
        self.begin(2, held)
        file = os.stat(self.shim.dir + "/shim.sock")
        client, = self.kept_clients(1)
        victim = worker_of(self.app.requests[0].connection)
        os.kill(victim, signal.SIGTERM)
        self.shim.wait_log(r"fcgi-realip\[%d\] info: TERM: no new requests, 1 running$" % victim)
        held.go.set()
        self.assert_answer(client.read_response())
        self.shim.wait_log(r"info: worker\[%d\] exited with status 0 after " % victim)
        self.wait_replaced(victim, 2)
        self.assertEqual(os.stat(self.shim.dir + "/shim.sock").st_ino, file.st_ino)
        self.assert_alive()

    def test_crash_loop(self):
        """Pauses that grow, no processor time, and service as soon as there is what was missing."""
        folder = tempfile.mkdtemp(prefix="realip-")
        self.addCleanup(shutil.rmtree, folder)
        copy = os.path.join(folder, "application")
        shutil.copy(STARTED, copy)
        workers = self.launch_workers(command=copy, upstream="processes = 2\n")
        os.rename(copy, copy + "-away")
        began = time.monotonic()
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        self.shim.wait_log(r"error: cannot start the application %s: " % re.escape(copy))
        used = cpu_seconds(self.shim.pid)
        self.shim.wait_log(r"worker\[\d+\] exited with status 1 after \d+ ms; next start in 800 ms$", count=2)
        self.assertLess(cpu_seconds(self.shim.pid) - used, 0.5)
        self.assertGreaterEqual(time.monotonic() - began, 0.65)  # the pauses before: 100, 200 and 400 ms
        # Killed, and three or four vain starts, of each.
        self.assertLessEqual(len(self.ever_started()), 2 * 7)
        client = self.client()
        client.send(request(PLAIN))
        os.rename(copy + "-away", copy)
        self.assert_answer(client.read_response())
        self.assertTrue(self.shim.running())


class Starts(WorkersTest):
    """What happens when it cannot start."""

    def test_no_application(self):
        """The first worker says it, and the others are not even started."""
        self.launch(command="/nonexistent/application", upstream="processes = 4\n",
                    sections=PROXIES + "[process]\nworkers = 4\n", ready=False)
        self.assertEqual(self.shim.wait_exit(), 1)
        log = self.shim.log()
        self.assertEqual(log.count("error: cannot start the application /nonexistent/application: "), 1, log)
        self.assertRegex(log, r"fcgi-realip\[%d\] error: cannot start: worker\[\d+\] exited with status 1 after"
                         % self.shim.pid)
        self.assertEqual(len(self.ever_started()), 1)
        self.assertFalse(os.path.exists(self.shim.dir + "/shim.sock"))

    def test_no_socket(self):
        self.start(listen="address = unix:{dir}/missing/shim.sock", sections=PROXIES + "[process]\nworkers = 2\n",
                   ready=False)
        self.assertEqual(self.shim.wait_exit(), 1)
        self.assertEqual(self.ever_started(), [])
        self.assertIn("error: cannot listen on unix:", self.shim.log())

    def test_signal_while_starting(self):
        """As early as can be: it ends, and leaves no socket."""
        for pause in (0, 0.002, 0.005, 0.01, 0.02):
            self.start(sections=PROXIES + "[process]\nworkers = 3\n", ready=False)
            time.sleep(pause)  # any moment will do, so no condition to wait for
            self.shim.signal(signal.SIGTERM)
            self.assertIn(self.shim.wait_exit(), (0, -signal.SIGTERM))
            self.assertFalse(os.path.exists(self.shim.dir + "/shim.sock"))

    def test_signals_that_a_launcher_ignores(self):
        """As a shell has its background processes ignore INT."""
        ignore = ("import os, signal, sys\nfor name in ('INT', 'TERM', 'QUIT', 'CHLD'):\n"
                  "    signal.signal(getattr(signal, 'SIG' + name), signal.SIG_IGN)\nos.execv(sys.argv[1], sys.argv[1:])")
        self.begin(wrapper=[sys.executable, "-c", ignore])
        victim = self.workers()[0]
        os.kill(victim, signal.SIGKILL)
        wait_for(lambda: len(self.workers()) == 2 and victim not in self.workers(), what="another worker")
        self.shim.signal(signal.SIGINT)
        self.assertEqual(self.shim.wait_exit(), 0)


class Stops(WorkersTest):
    """The end of all."""

    def test_requests_in_flight_end_well(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            held = Held()
            workers = self.begin(2, held)
            clients = self.kept_clients(4)
            idle = self.client()
            self.shim.signal(number)
            self.wait_not_listening()
            idle.read_eof()
            self.assertFalse(os.path.exists(self.shim.dir + "/shim.sock"))
            self.assertTrue(clients[0].is_quiet(0.3))
            self.assertEqual(self.workers(), workers)
            held.go.set()
            for client in clients:
                self.assert_names(client.read_response(), workers)
                client.read_eof()
            self.assertEqual(self.shim.wait_exit(), 0)

    def test_signal_to_all_processes(self):
        """As a terminal sends INT, and systemd TERM without KillMode=mixed: it is one signal, not two."""
        for number in (signal.SIGTERM, signal.SIGINT):
            held = Held()
            workers = self.begin(3, held)
            clients = self.kept_clients(6)
            for pid in workers + [self.shim.pid]:
                os.kill(pid, number)
            self.wait_not_listening()
            for worker in workers:
                self.shim.wait_log(r"fcgi-realip\[%d\] info: \w+: no new requests, \d running" % worker)
            self.assertTrue(clients[0].is_quiet(0.2))
            held.go.set()
            for client in clients:
                self.assert_names(client.read_response(), workers)
            self.assertEqual(self.shim.wait_exit(), 0)

    def test_under_load(self):
        """Every request that was taken is answered, the others see a closed connection, nobody half an answer."""
        for turn in range(3):
            self.begin(3, upstream="keepalive = on\nconnections = 4\n" if turn % 2 else "")
            answered, broken = [], []

            def load():
                for _ in range(10000):
                    try:
                        response = fcgi.ask(self.address, POST, b"x")
                    except OSError:
                        return
                    if response.end == (0, 0) and response.status == 200:
                        answered.append(response)
                    elif response.records:
                        broken.append(response)
                    else:
                        return
            threads = [threading.Thread(target=load) for _ in range(8)]
            for thread in threads:
                thread.start()
            self.app.wait_requests(50)
            self.shim.signal(signal.SIGTERM)
            for thread in threads:
                thread.join(PATIENCE)
                self.assertFalse(thread.is_alive())
            self.assertEqual(self.shim.wait_exit(), 0)
            self.assertEqual(broken, [])
            self.assertEqual(len(answered), len(self.app.requests))

    def test_second_signal_at_once(self):
        for first, second in ((signal.SIGTERM, signal.SIGTERM), (signal.SIGINT, signal.SIGTERM), (None, signal.SIGQUIT)):
            held = Held()
            self.begin(2, held)
            clients = self.kept_clients(4)
            if first:
                self.shim.signal(first)
                self.wait_not_listening()
            self.shim.signal(second)
            self.assertEqual(self.shim.wait_exit(), 0)
            for client in clients:
                self.assert_cut(client.read_response())
            self.assertFalse(os.path.exists(self.shim.dir + "/shim.sock"))
            self.assertNotIn("killing", self.shim.log())
            held.go.set()

    def test_shutdown_timeout(self):
        held = Held()
        self.begin(2, held, process="shutdown_timeout = 500ms\n")
        clients = self.kept_clients(4)
        began = time.monotonic()
        self.shim.signal(signal.SIGTERM)
        self.assertEqual(self.shim.wait_exit(), 0)
        self.assertGreaterEqual(time.monotonic() - began, 0.45)
        held.go.set()
        for client in clients:
            self.assert_cut(client.read_response())
        self.assertNotIn("killing", self.shim.log())

    def test_a_worker_that_does_not_end(self):
        workers = self.begin(2, process="shutdown_timeout = 100ms\n")
        os.kill(workers[0], signal.SIGSTOP)
        self.shim.signal(signal.SIGTERM)
        self.assertEqual(self.shim.wait_exit(), 0)
        self.assertRegex(self.shim.log(), r"warning: killing workers that have not ended: 1\n")
        self.assertRegex(self.shim.log(), r"warning: worker\[%d\] was ended by signal 9" % workers[0])

    def test_master_is_killed(self):
        """Nothing of it is left, whether there is work or not."""
        for count in (0, 4):
            held = Held()
            self.begin(2, held, process="shutdown_timeout = 10m\n")
            clients = self.kept_clients(count)
            self.shim.kill()
            for client in clients:
                self.assert_cut(client.read_response())
            wait_for(lambda: not any(processes.runs(pid) for pid in self.ever_started()), what="the workers to end")
            held.go.set()


class Programs(WorkersTest):
    """Applications and CGI programs: launch() sees to it that nothing of them is left."""

    def test_processes(self):
        """Each worker starts its share, and connects to no other's."""
        workers = self.launch_workers(upstream="processes = 5\n")
        started = self.starts(5)
        parents = [processes.parent(pid) for pid in started]
        self.assertEqual(sorted(parents.count(worker) for worker in workers), [2, 3])
        clients = self.arrive(12, change(PLAIN, ("QUERY_STRING", self.path("go")), SCRIPT_NAME="/wait"))
        wait_for(lambda: sorted(self.began(self.path("go"))) == sorted(started), what="all to work")
        self.release()
        for client in clients:
            self.assert_answer(client.read_response())
        self.assertEqual(sorted(self.starts()), sorted(started))

    def test_a_worker_dies(self):
        """And its processes with it; its successor starts as many."""
        workers = self.launch_workers(upstream="processes = 5\n")
        ended = [pid for pid in self.starts(5) if processes.parent(pid) == workers[0]]
        os.kill(workers[0], signal.SIGKILL)
        wait_for(lambda: not any(map(processes.runs, ended)), what="its processes to end")
        started = self.starts(5 + len(ended))
        wait_for(lambda: sum(map(processes.runs, started)) == 5, what="five processes")
        self.assertEqual(len(started), 5 + len(ended))
        # The master, the workers, and what they have started.
        self.assertEqual(len(processes.with_variable("TMPDIR", self.tmp)), 1 + 2 + 5)
        self.wait_served()

    def test_descriptors(self):
        """As without workers: the listener, two pipes, the connection."""
        self.launch_workers(upstream="processes = 2\n")
        self.assertEqual([line.partition(":")[0] for line in self.get("/fds").splitlines()],
                         ["0 socket", "1 pipe", "2 pipe", "3 socket"])

    def test_master_is_killed(self):
        self.launch_workers(upstream="processes = 4\n")
        self.get("/child")
        self.hold(2)
        self.shim.kill()
        wait_for(lambda: not processes.with_variable("TMPDIR", self.tmp), what="all to end")

    def test_term(self):
        """Applications end when no request needs them."""
        self.launch_workers(upstream="processes = 3\n", process="shutdown_timeout = 10m\n")
        client, = self.hold(1)
        self.shim.signal(signal.SIGTERM)
        self.wait_not_listening()
        self.release()
        self.assert_answer(client.read_response())
        self.assertEqual(self.shim.wait_exit(), 0)

    def launch_cgi(self, workers, upstream=""):
        """A program that makes the file began.PID and waits for a file go."""
        found = self.launch_workers(workers, command=None, upstream="cgi = /bin/sh {dir}/held\n" + upstream)
        with open(self.path("held"), "w") as file:
            file.write("cd '%s'; >began.$$; until test -e go; do sleep 0.01; done; rm began.$$\n"
                       "printf 'Content-Type: text/plain\\r\\n\\r\\n'; sleep 0.01; echo $PPID\n" % self.shim.dir)
        return found

    def running(self):
        return sum(name.startswith("began.") for name in os.listdir(self.shim.dir))

    def test_cgi(self):
        """No more programs at a time than max_processes."""
        workers = self.launch_cgi(2, "max_processes = 5\n")
        clients = self.arrive(20, PLAIN)

        def all_run():  # a worker that gets no processor gets no connections either
            if self.running() < 5 and len(clients) < 200:
                clients.extend(self.arrive(1, PLAIN))
            return self.running() >= 5
        wait_for(all_run, what="programs")
        self.assertTrue(clients[0].is_quiet(0.3))
        self.assertEqual(self.running(), 5)
        self.assertEqual(sorted(len(processes.children(worker)) for worker in workers), [2, 3])
        self.release()
        answers = [client.read_response() for client in clients]
        for answer in answers:
            self.assert_answer(answer)
        self.assertEqual({int(answer.body) for answer in answers}, set(workers))

    def test_cgi_of_a_worker_that_dies(self):
        workers = self.launch_cgi(2)
        clients = self.arrive(6, PLAIN)
        wait_for(lambda: self.running() == 6, what="programs")
        programs = processes.children(workers[0])
        os.kill(workers[0], signal.SIGKILL)
        wait_for(lambda: not any(map(processes.runs, programs)), what="its programs to end")
        self.release()
        answers = [client.read_response() for client in clients]
        self.assertEqual(sum(answer.end is None for answer in answers), len(programs))
        self.assertEqual(sum(answer.end == (0, 0) for answer in answers), 6 - len(programs))


if __name__ == "__main__":
    unittest.main()
