#!/usr/bin/env python3
"""A real libfcgi application behind the shim: FCGI_TEST_APP names it."""

import os
import random
import signal
import subprocess
import tempfile
import threading
import time
import unittest

import fcgi
from fcgi import ABORT, PARAMS, PATIENCE, STDIN, begin, pairs, record, request
from relay import RelayTest
from shim import accepts, wait_for

SECTIONS = "[proxy edge]\ntrust = 10.0.0.0/8\n"


def call(script, query="", body=b"", method="POST", *more):
    return [("REQUEST_METHOD", method), ("SCRIPT_NAME", script), ("QUERY_STRING", str(query)),
            ("CONTENT_LENGTH", str(len(body))), ("REMOTE_ADDR", "10.0.0.1"), ("REMOTE_PORT", "99"),
            ("HTTP_X_FORWARDED_FOR", "6.6.6.6, 203.0.113.7"), *more]


class LibfcgiTest(RelayTest):
    def run_app(self, processes=1, upstream="", **options):
        path = os.environ.get("FCGI_TEST_APP")
        if not path:
            self.fail("FCGI_TEST_APP is not set: it names the libfcgi application of the tests")
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        address = "unix:%s/app.sock" % directory.name
        process = subprocess.Popen([path, address[len("unix:"):], str(processes)], start_new_session=True,
                                   stdin=subprocess.DEVNULL)
        self.addCleanup(process.wait)
        self.addCleanup(os.killpg, process.pid, signal.SIGKILL)
        wait_for(lambda: accepts(address), what="the application to listen")
        self.start(app=address, upstream=upstream, sections=SECTIONS, **options)

    def ask(self, script, query="", body=b"", client=None, **options):
        params = call(script, query, body)
        return client.ask(params, body, **options) if client else fcgi.ask(self.address, params, body, **options)


class Libfcgi(LibfcgiTest):
    def test_parameters(self):
        self.run_app()
        response = self.ask("/params")
        self.assert_answer(response)
        seen = dict(line.split("=", 1) for line in response.body.decode().splitlines())
        self.assertEqual(seen["REMOTE_ADDR"], "203.0.113.7")
        self.assertEqual(seen["REMOTE_PORT"], "")
        self.assertEqual(seen["HTTP_X_FORWARDED_FOR"], "203.0.113.7")
        self.assertEqual(seen["REALIP_REMOTE_ADDR"], "10.0.0.1")
        self.assertEqual(seen["REALIP_REMOTE_PORT"], "99")
        self.assertEqual(seen["REALIP_PROXIES"], "10.0.0.1")
        self.assertEqual(seen["SCRIPT_NAME"], "/params")
        self.assertEqual(seen["FCGI_ROLE"], "RESPONDER")

    def test_one_after_the_other_costs_no_two_seconds(self):
        """libfcgi lingers for up to two seconds on a connection that is not closed after the end."""
        self.run_app()
        began = time.monotonic()
        client = self.client()
        for i in range(30):
            body = b"%d" % i * i
            self.assert_answer(self.ask("/echo", "", body, client, keep=True), body)
            self.assert_answer(self.ask("/early"), b"/early\n")
        self.assertLess(time.monotonic() - began, 20)

    def test_ids_come_round(self):
        """On kept connections each request has one of 65,535 ids; the web server never sees them."""
        self.run_app(processes=2, upstream="keepalive = on\nconnections = 2\n")
        clients = [self.client() for _ in range(64)]
        wire = request(call("/early", method="GET"), id=9, keep=True)
        clients[0].send(wire)
        answer = b"".join(found.raw for found in clients[0].read_response(id=9).records)
        for _ in range(65600 // len(clients)):
            for client in clients:
                client.sock.sendall(wire)
            for client in clients:
                seen = b""
                while len(seen) < len(answer):
                    seen += client.sock.recv(len(answer) - len(seen)) or b"closed" * len(answer)
                self.assertEqual(seen, answer)

    def test_kept(self):
        self.run_app(upstream="keepalive = on\nconnections = 1\n")
        client = self.client()
        for i in range(200):
            body = b"%d," % i * (i % 20)
            self.assert_answer(self.ask("/echo", "", body, client, keep=True, id=i % 3 + 1), body)
            if i % 10 == 0:
                self.assert_answer(self.ask("/echo", "", body), body)

    def test_kept_with_answers_before_the_body(self):
        """libfcgi closes such a connection itself; the next request must not be lost in it."""
        self.run_app(2, upstream="keepalive = on\nconnections = 2\n")
        client = self.client()
        for i in range(30):
            body = b"x" * random.randrange(100000)
            self.assert_answer(self.ask("/early", "", body, client, keep=True), b"/early\n")
            self.assert_answer(self.ask("/echo", "", b"y", client, keep=True), b"y")

    def test_big_bodies(self):
        self.run_app()
        body = random.Random(1).randbytes(3000000)
        client = self.client(keep=False)
        wire = request(call("/echo", "", body), body, keep=True, padding=5)
        sender = threading.Thread(target=client.send, args=(wire,))
        sender.start()
        self.assert_answer(client.read_response(), body)
        sender.join(PATIENCE)
        self.assert_answer(self.ask("/zeros", 5000000, client=client), b"\0" * 5000000)

    def test_stderr_and_status(self):
        self.run_app()
        response = self.ask("/stderr")
        self.assert_answer(response, b"".join(b"out %d\n" % i for i in range(5)))
        self.assertEqual(bytes(response.stderr), b"".join(b"err %d\n" % i for i in range(5)))
        self.assertEqual(self.ask("/status", 42).end, (42, 0))

    def test_big_parameters(self):
        self.run_app()
        response = fcgi.ask(self.address, call("/params", "", b"", "GET", ("BIG", "b" * 70000), ("NEXT", "n")))
        self.assert_answer(response)
        lines = response.body.split(b"\n")
        self.assertIn(b"BIG=" + b"b" * 70000, lines)
        self.assertIn(b"NEXT=n", lines)
        self.assertIn(b"REMOTE_ADDR=203.0.113.7", lines)

    def test_concurrent(self):
        for upstream in ("", "connections = 4\n", "keepalive = on\nconnections = 4\n"):
            self.run_app(4, upstream)
            failures = []

            def load(seed):
                dice = random.Random(seed)
                with fcgi.Client(self.address) as client:
                    for _ in range(40):
                        body = dice.randbytes(dice.choice((0, 10, 5000)))
                        response = self.ask("/echo", "", body, client, keep=True)
                        if response.end != (0, 0) or response.body != body:
                            failures.append(response)
            threads = [threading.Thread(target=load, args=(i,)) for i in range(12)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE * 2)
                self.assertFalse(thread.is_alive())
            self.assertEqual(failures, [])

    def test_abort(self):
        """The application's process is free again at once for the next request."""
        self.run_app()
        client = self.client()
        for _ in range(5):
            client.send(begin(keep=True) + record(PARAMS, pairs(call("/echo", "", b"x" * 100))) + record(PARAMS)
                        + record(STDIN, b"part"))
            client.wait_sent()
            client.send(record(ABORT))
            self.assertEqual(client.read_response().end, (0, 0))
            self.assert_answer(self.ask("/echo", "", b"next", client, keep=True), b"next")

    def test_front_that_dies_inside_the_body(self):
        self.run_app()
        for _ in range(5):
            client = self.client()
            client.send(begin() + record(PARAMS, pairs(call("/echo", "", b"x" * 100))) + record(PARAMS)
                        + record(STDIN, b"part"))
            client.wait_sent()
            client.close()
        self.assert_answer(self.ask("/echo", "", b"next"), b"next")

    def test_process_that_dies(self):
        self.run_app(3)
        self.assert_refusal(self.ask("/exit"), 502)
        self.assert_answer(self.ask("/echo", "", b"next"), b"next")

    def test_process_that_dies_on_a_kept_connection(self):
        """A GET goes to another process, once; a POST is never sent twice."""
        self.run_app(4, upstream="keepalive = on\nconnections = 1\n")
        client = self.client()
        self.assert_answer(self.ask("/echo", "", b"x", client, keep=True), b"x")
        self.assert_refusal(self.ask("/exit", client=client, keep=True), 502)
        self.assert_answer(self.ask("/echo", "", b"y", client, keep=True), b"y")
        # Two more processes die of this one: the kept one, and the one that the repeat reached.
        self.assert_refusal(client.ask(call("/exit", "", b"", "GET"), keep=True), 502)
        self.assert_answer(self.ask("/echo", "", b"z", client, keep=True), b"z")

    def test_idle_kept_connection_gives_its_process_back(self):
        """A kept connection owns its process; after idle_timeout others may have it."""
        self.run_app(upstream="keepalive = on\nconnections = 2\nidle_timeout = 300ms\n")
        self.assert_answer(self.ask("/echo", "", b"x"), b"x")
        direct = self.shim.ini_text.split("[upstream]\naddress = ")[1].split()[0]
        with fcgi.Client(direct) as other:
            self.assert_answer(other.ask(call("/echo", "", b"y"), b"y"), b"y")

    def test_slow_ones_do_not_stop_others(self):
        self.run_app(2)
        slow = self.client()
        slow.send(request(call("/sleep", 1000)))
        began = time.monotonic()
        for i in range(10):
            self.assert_answer(self.ask("/echo", "", b"%d" % i), b"%d" % i)
        fast = time.monotonic() - began
        self.assert_answer(slow.read_response(), b"slept\n")
        self.assertGreater(time.monotonic() - began, fast)


if __name__ == "__main__":
    unittest.main()
