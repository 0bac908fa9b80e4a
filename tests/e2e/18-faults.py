#!/usr/bin/env python3
"""When the system says no: descriptors gone, nobody there, queues full, one address of two dead."""

import os
import random
import socket
import subprocess
import tempfile
import threading
import time
import unittest

import fcgi
from fcgi import PATIENCE, request
from relay import PLAIN, POST, PROXIES, RelayTest
from shim import Shim, cpu_seconds, free_port


def can_mount():
    """A name with two addresses needs an /etc/hosts of the test's own, in a mount namespace."""
    return subprocess.run(["unshare", "-rm", "mount", "--bind", "/etc/hosts", "/etc/hosts"],
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


class Descriptors(RelayTest):
    def test_accept_without_descriptors(self):
        """The shim pauses and goes on when there are some; it does not spin, and does not end."""
        self.start(nofile=40)
        clients = [self.client() for _ in range(80)]
        for client in clients:
            client.send(request(POST, b"x")[:30])
        self.wait(lambda: self.shim.fds() >= 38, "its descriptors to run out")
        before, began = cpu_seconds(self.shim.relay_pid), time.monotonic()
        self.assertTrue(clients[0].is_quiet(1))
        used = cpu_seconds(self.shim.relay_pid) - before
        self.assertLess(used, 0.5 * (time.monotonic() - began), "it spins")
        for client in clients:
            client.close()
        self.assert_alive()
        for _ in range(20):
            self.assert_answer(fcgi.ask(self.address, POST, b"x"), b"x")

    def test_no_descriptor_for_the_application(self):
        """A refusal, not a hang; who is not accepted yet waits, and is served when others have gone."""
        self.start(nofile=40)
        kept, statuses = [], []
        while not statuses or statuses[-1] == 200:
            kept.append(self.client())
            response = kept[-1].ask(PLAIN, keep=True)
            self.assertEqual(response.end, (0, 0))
            statuses.append(response.status)
        self.assertIn(statuses[-1], (502, 503))
        self.assertGreater(statuses.count(200), 10, statuses)
        # Its connection has the last descriptor.
        self.assertLess(len(kept), 40)
        client = self.client()
        client.send(request(PLAIN, keep=True))
        self.assertTrue(client.is_quiet(1))
        for one in kept:
            one.close()
        response = client.read_response()
        self.assertEqual(response.end, (0, 0))
        self.assertIn(response.status, (200, 503))  # 503: accepted after all before the others had gone
        self.wait(lambda: fcgi.ask(self.address, PLAIN).status == 200, "service as before")

    def test_descriptors_run_out_and_come_back_again_and_again(self):
        self.start(nofile=40)
        for _ in range(5):
            clients = [self.client() for _ in range(60)]
            for client in clients[::2]:
                client.send(request(POST, b"y"))
            for client in clients:
                client.close()
        self.assert_alive()


class Application(RelayTest):
    def full(self, backlog=0):
        """An application whose queue is full, and the sockets that fill it."""
        app = fcgi.Responder(accepting=False, backlog=backlog)
        self.addCleanup(app.close)
        fillers = []
        try:
            while True:
                filler = socket.socket(socket.AF_UNIX)
                self.addCleanup(filler.close)
                filler.setblocking(False)
                filler.connect(app.address[len("unix:"):])
                fillers.append(filler)
        except BlockingIOError:
            pass
        return app, fillers

    def test_full_queue_is_tried_again(self):
        """connect() to a full unix queue says EAGAIN: there is nothing to wait for but time."""
        app, fillers = self.full()
        self.start(app=app.address)
        clients = [self.client() for _ in range(20)]
        for i, client in enumerate(clients):
            client.send(request(POST, b"%d" % i))
        self.assertTrue(clients[0].is_quiet(0.3))
        for filler in fillers:
            filler.close()
        app.accept()
        for i, client in enumerate(clients):
            self.assert_answer(client.read_response(), b"%d" % i)

    def test_full_queue_for_too_long(self):
        app, _ = self.full()
        self.start(app=app.address, upstream="connect_timeout = 400ms")
        began = time.monotonic()
        client = self.client()
        response = client.ask(POST, b"x" * 100000, keep=True)
        self.assertGreaterEqual(time.monotonic() - began, 0.39)
        self.assertIn(response.status, (502, 504))
        self.assert_refusal(response, response.status)
        before = cpu_seconds(self.shim.relay_pid)
        client.ask(PLAIN, keep=True)
        self.assertLess(cpu_seconds(self.shim.relay_pid) - before, 0.2, "it spins")

    def test_front_that_leaves_meanwhile(self):
        app, fillers = self.full()
        self.start(app=app.address)
        fds = self.shim.fds()
        gone = [self.client() for _ in range(10)]
        for client in gone:
            client.send(request(PLAIN))
            client.wait_sent()
        for client in gone:
            client.close()
        self.wait(lambda: self.shim.fds() <= fds, "the shim to forget them")
        for filler in fillers:
            filler.close()
        app.accept()
        self.assert_alive()
        self.assertEqual(len(app.requests), 1)

    def test_tcp_connect_timeout(self):
        """An address that answers nothing at all: a full TCP queue drops what comes."""
        listener = socket.socket()
        self.addCleanup(listener.close)
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = "127.0.0.1:%d" % listener.getsockname()[1]
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            self.addCleanup(filler.close)
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", listener.getsockname()[1]))
            fillers.append(filler)
        self.start(app=address, upstream="connect_timeout = 400ms")
        began = time.monotonic()
        response = fcgi.ask(self.address, PLAIN)
        self.assertGreaterEqual(time.monotonic() - began, 0.39)
        self.assertIn(response.status, (502, 504))
        self.assert_refusal(response, response.status)

    def test_tcp_application(self):
        body = random.Random(6).randbytes(3000000)
        self.start(address="127.0.0.1:0")
        self.assert_answer(fcgi.ask(self.address, POST, body), body)
        self.start(address="127.0.0.1:0", upstream="keepalive = on\nconnections = 2")
        client = self.client()
        for _ in range(3):
            self.assert_answer(client.ask(PLAIN, keep=True), b"")
        self.assert_answer(client.ask(POST, body, keep=True), body)
        self.assertEqual(len(self.app.connections), 1)

    def test_small_requests_do_not_wait_for_nagle(self):
        """40 ms a request would mean delayed acknowledgements on a socket without TCP_NODELAY."""
        def script(connection):
            while True:
                now = connection.read_params()
                if now is None:
                    return
                connection.read_body()
                connection.send(fcgi.record(fcgi.STDOUT, b"X: y\r\n\r\n", now.id))
                connection.send(fcgi.record(fcgi.STDOUT, bytes(now.stdin), now.id) + fcgi.record(fcgi.STDOUT, b"", now.id)
                                + fcgi.end(now.id))
        port = free_port()
        self.start(script, listen="address = 127.0.0.1:%d" % port, address="127.0.0.1:0",
                   upstream="keepalive = on\nconnections = 2")
        client = self.client("127.0.0.1:%d" % port)
        times = []
        for _ in range(31):
            began = time.monotonic()
            client.send(fcgi.begin(keep=True) + fcgi.record(fcgi.PARAMS, fcgi.pairs(POST)) + fcgi.record(fcgi.PARAMS))
            self.app.wait_requests(len(times) + 1)
            client.send(fcgi.record(fcgi.STDIN, b"x"))
            client.send(fcgi.record(fcgi.STDIN))
            self.assert_answer(client.read_response(), b"x")
            times.append(time.monotonic() - began)
        # Then all but the first take so long. On a busy machine some of them may for other reasons.
        self.assertLess(min(times[1:]), 0.035, times)


class Names(RelayTest):
    def start_with_hosts(self, hosts, app, **options):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        path = os.path.join(directory.name, "hosts")
        with open(path, "w") as file:
            file.write("127.0.0.1 localhost\n" + hosts)
        wrapper = ["unshare", "-rm", "sh", "-c", 'mount --bind "$0" /etc/hosts && exec "$@"', path]
        self.start(app=app, wrapper=wrapper, **options)

    def test_localhost(self):
        with fcgi.Responder(address="127.0.0.1:0") as app:
            self.start(app="localhost:" + app.address.rsplit(":", 1)[1])
            self.assert_answer(fcgi.ask(self.address, POST, b"x"), b"x")

    @unittest.skipUnless(can_mount(), "no mount namespaces here: a name with two addresses is not tested")
    def test_name_with_two_addresses_of_which_one_refuses(self):
        hosts = "127.0.0.2 two.test\n127.0.0.3 two.test\n"
        for alive in ("127.0.0.2", "127.0.0.3"):
            with fcgi.Responder(address=alive + ":0") as app:
                self.start_with_hosts(hosts, "two.test:" + app.address.rsplit(":", 1)[1])
                for _ in range(4):
                    self.assert_answer(fcgi.ask(self.address, POST, b"x"), b"x")
                self.assertEqual(len(app.requests), 4)

    @unittest.skipUnless(can_mount(), "no mount namespaces here: a name with two addresses is not tested")
    def test_name_of_which_all_refuse(self):
        self.start_with_hosts("127.0.0.2 two.test\n127.0.0.3 two.test\n", "two.test:%d" % free_port())
        self.assert_refusal(fcgi.ask(self.address, PLAIN), 502)

    @unittest.skipUnless(can_mount(), "no mount namespaces here: a name with two addresses is not tested")
    def test_listen_on_a_name_with_two_addresses(self):
        port = free_port()
        with fcgi.Responder() as app:
            self.start_with_hosts("127.0.0.2 two.test\n127.0.0.3 two.test\n", app.address,
                                  listen="address = two.test:%d\n unix:{dir}/shim.sock" % port,
                                  ready="(?m)ready")
            for address in ("127.0.0.2", "127.0.0.3"):
                self.assert_answer(fcgi.ask("%s:%d" % (address, port), POST, b"x"), b"x")

    def test_unknown_name(self):
        ini = "[listen]\naddress = unix:{dir}/s.sock\n[upstream]\naddress = no-such-host.invalid:9000\n" + PROXIES
        # Where nobody answers a resolver, that alone would take it longer than the test waits.
        shim = Shim(ini, ready=False, env={"RES_OPTIONS": "timeout:1 attempts:1", "LOCALDOMAIN": ""})
        self.addCleanup(shim.stop)
        self.assertEqual(shim.wait_exit(), 1)
        self.assertIn("no-such-host.invalid", shim.log())


class Storm(RelayTest):
    def test_everything_at_once(self):
        """Half of the peers misbehave; the others get their answers."""
        def script(connection):
            dice = random.Random(connection.number)
            while True:
                now = connection.read_request()
                if now is None:
                    return
                mood = dice.randrange(8) if now.get("MOOD") else 9
                if mood == 0:
                    return
                if mood == 1:
                    connection.send(fcgi.record(fcgi.STDOUT, b"X: y\r\n\r\nhalf"))
                    return
                if mood == 2:
                    connection.reset()
                    return
                if mood == 3:
                    connection.send(b"junk" * 10)
                    return
                connection.reply(bytes(now.stdin))
                if not now.keep or mood == 4:
                    return
        self.start(script, upstream="keepalive = on\nconnections = 6\nidle_timeout = 200ms\n")
        fds = self.shim.fds()
        stop = time.monotonic() + 4
        failures = []

        def mean(seed):
            dice = random.Random(seed)
            while time.monotonic() < stop:
                try:
                    with fcgi.Client(self.address) as client:
                        wire = request(POST + [("MOOD", "bad")], b"z" * dice.randrange(100000), keep=True)
                        client.send(wire[:dice.randrange(len(wire))] if dice.random() < 0.5 else wire)
                        if dice.random() < 0.5:
                            client.sock.settimeout(0.01)
                            client.sock.recv(100)
                except OSError:
                    pass

        def good(seed):
            dice = random.Random(seed)
            client = fcgi.Client(self.address)
            while time.monotonic() < stop:
                body = dice.randbytes(dice.randrange(3000))
                response = client.ask(POST, body, keep=True)
                if response.end != (0, 0) or response.status not in (200, 502) \
                        or (response.status == 200 and response.body != body):
                    failures.append(response)
            client.close()
        threads = [threading.Thread(target=mean, args=(i,)) for i in range(4)]
        threads += [threading.Thread(target=good, args=(100 + i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE * 2)
            self.assertFalse(thread.is_alive())
        self.assertEqual(failures, [])
        self.assert_alive()
        self.wait(lambda: self.shim.fds() <= fds, "all descriptors to be closed")


if __name__ == "__main__":
    unittest.main()
