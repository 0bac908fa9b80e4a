#!/usr/bin/env python3
"""The end: gracefully, at once, and after shutdown_timeout; nothing started is lost without need."""

import os
import signal
import threading
import time
import unittest

import fcgi
from fcgi import PARAMS, PATIENCE, STDIN, STDOUT, begin, end, pairs, record, request
from relay import PLAIN, POST, PROXIES, RelayTest
from shim import accepts, free_port


class Working:
    """A script: the answer waits for .go."""

    def __init__(self):
        self.go = threading.Event()

    def __call__(self, connection):
        while True:
            now = connection.read_request()
            if now is None:
                return
            assert self.go.wait(PATIENCE)
            connection.reply(bytes(now.stdin))
            if not now.keep:
                return


class Stop(RelayTest):
    def begin(self, upstream="", sections=PROXIES, listen=None, keep=True):
        """A shim with one request at the application."""
        self.work = Working()
        self.start(self.work, upstream=upstream, sections=sections, listen=listen)
        self.addCleanup(self.work.go.set)
        client = self.client()
        client.send(request(POST, b"working", keep=keep))
        self.app.wait_requests(1)
        return client

    def wait_not_listening(self, address=None):
        self.wait(lambda: not accepts(address or self.address), "the listener to close")

    def test_idle_ends_at_once(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            self.start()
            self.assert_alive()
            self.shim.signal(number)
            self.assertEqual(self.shim.wait_exit(), 0)

    def test_requests_in_flight_end_well(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            client = self.begin()
            self.shim.signal(number)
            self.wait_not_listening()
            self.assertTrue(client.is_quiet(0.3))
            self.assertTrue(self.shim.running())
            self.work.go.set()
            self.assert_answer(client.read_response(), b"working")
            client.read_eof()
            self.assertEqual(self.shim.wait_exit(), 0)

    def test_an_abort_after_the_signal(self):
        self.start()
        client = self.client()
        client.send(begin(keep=True) + record(PARAMS, pairs(POST)) + record(PARAMS) + record(STDIN, b"first "))
        self.app.wait_requests(1)
        self.shim.signal(signal.SIGTERM)
        self.wait_not_listening()
        client.send(record(STDIN, b"x" * 60000)[:1000])
        client.wait_sent()
        self.assertTrue(self.shim.running())
        client.close()
        self.assertEqual(self.shim.wait_exit(), 0)

    def test_a_whole_upload_after_the_signal(self):
        self.start()
        client = self.client()
        client.send(begin(keep=True) + record(PARAMS, pairs(POST)) + record(PARAMS))
        self.app.wait_requests(1)
        self.shim.signal(signal.SIGTERM)
        self.wait_not_listening()
        client.send(fcgi.stream(STDIN, b"x" * 1000000) + record(STDIN))
        self.assert_answer(client.read_response(), b"x" * 1000000)
        self.assertEqual(self.shim.wait_exit(), 0)

    def test_idle_front_connections_close_at_once(self):
        client = self.begin(listen="address = unix:{dir}/shim.sock 127.0.0.1:%d" % free_port())
        fresh, kept = self.client(), self.client()
        self.work.go.set()
        self.assert_answer(kept.ask(POST, b"x", keep=True), b"x")
        self.assert_answer(client.read_response(), b"working")
        self.work.go.clear()
        client.send(request(POST, b"again", keep=True))
        self.app.wait_requests(3)
        self.shim.signal(signal.SIGTERM)
        fresh.read_eof()
        kept.read_eof()
        self.assertTrue(self.shim.running())
        self.work.go.set()
        self.assert_answer(client.read_response(), b"again")
        client.read_eof()
        self.assertEqual(self.shim.wait_exit(), 0)

    def test_requests_that_came_before_the_signal(self):
        """They are here, if nobody has looked at them yet: their connections are not idle."""
        self.start()
        clients = [self.client() for _ in range(200)]
        for client in clients:
            self.assert_answer(client.ask(POST, b"x", keep=True), b"x")
        self.shim.freeze()
        for client in clients:
            client.send(request(POST, b"x", keep=True))
        self.shim.signal(signal.SIGTERM)
        self.shim.thaw()
        for client in clients:
            self.assert_answer(client.read_response(), b"x")
            client.read_eof()
        self.assertEqual(self.shim.wait_exit(), 0)

    def test_idle_upstream_connections_close(self):
        client = self.begin(upstream="keepalive = on\nconnections = 2\nidle_timeout = 1h\n")
        self.work.go.set()
        self.assert_answer(client.read_response(), b"working")
        self.shim.signal(signal.SIGTERM)
        self.app.wait_closed()
        self.assertEqual(self.shim.wait_exit(), 0)

    def test_the_queue_is_served(self):
        """Who waits for a connection is in flight too."""
        client = self.begin(upstream="connections = 1\n")
        waiting = [self.client() for _ in range(3)]
        for i, other in enumerate(waiting):
            other.send(request(POST, b"%d" % i))
            other.wait_sent()
        self.shim.signal(signal.SIGTERM)
        self.wait_not_listening()
        self.work.go.set()
        self.assert_answer(client.read_response(), b"working")
        for i, other in enumerate(waiting):
            self.assert_answer(other.read_response(), b"%d" % i)
        self.assertEqual(self.shim.wait_exit(), 0)

    def test_a_long_answer_is_sent_to_its_end(self):
        started = threading.Event()

        def script(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\n"))
            started.set()
            connection.send(fcgi.stream(STDOUT, b"x" * 10000000) + record(STDOUT) + end())
        self.start(script)
        client = self.client()
        client.send(request(PLAIN, keep=True))
        self.assertTrue(started.wait(PATIENCE))
        self.shim.signal(signal.SIGTERM)
        self.wait_not_listening()
        self.assert_answer(client.read_response(), b"x" * 10000000)
        self.assertEqual(self.shim.wait_exit(), 0)

    def test_second_signal_at_once(self):
        for second in (signal.SIGTERM, signal.SIGINT):
            client = self.begin()
            self.shim.signal(signal.SIGTERM)
            self.wait_not_listening()
            self.shim.signal(second)
            self.assertEqual(self.shim.wait_exit(), 0)
            self.assert_cut(client.read_response())
            self.assertFalse(os.path.exists(self.shim.dir + "/shim.sock"))
            self.work.go.set()

    def test_shutdown_timeout(self):
        client = self.begin(sections=PROXIES + "[process]\nshutdown_timeout = 500ms\n")
        began = time.monotonic()
        self.shim.signal(signal.SIGTERM)
        self.assertEqual(self.shim.wait_exit(), 0)
        self.assertGreaterEqual(time.monotonic() - began, 0.45)
        self.work.go.set()
        self.assert_cut(client.read_response())

    def test_no_shutdown_timeout(self):
        """0: running requests end at once."""
        client = self.begin(sections=PROXIES + "[process]\nshutdown_timeout = 0\n")
        self.shim.signal(signal.SIGTERM)
        self.assertEqual(self.shim.wait_exit(), 0)
        self.work.go.set()
        self.assert_cut(client.read_response())

    def test_half_sent_parameters(self):
        """No request yet, or one: either way the end comes, with shutdown_timeout at the latest."""
        self.start(sections=PROXIES + "[process]\nshutdown_timeout = 1s\n")
        client = self.client()
        client.send(begin() + record(PARAMS, pairs(PLAIN)))
        client.wait_sent()
        self.shim.signal(signal.SIGTERM)
        self.assertEqual(self.shim.wait_exit(), 0)
        self.assert_cut(client.read_response())

    def test_parameters_completed_after_the_signal(self):
        """A request that has begun is in flight."""
        self.start()
        client = self.client()
        client.send(begin() + record(PARAMS, pairs(POST)))
        client.wait_sent()
        self.shim.signal(signal.SIGTERM)
        self.wait_not_listening()
        client.send(record(PARAMS) + record(STDIN, b"x") + record(STDIN))
        self.assert_answer(client.read_response(), b"x")
        self.assertEqual(self.shim.wait_exit(), 0)

    def test_signal_while_starting(self):
        """As early as can be: it ends, and leaves no socket."""
        for pause in (0, 0.002, 0.005, 0.01, 0.02):
            self.start(ready=False)
            time.sleep(pause)  # any moment will do, so no condition to wait for
            self.shim.signal(signal.SIGTERM)
            self.assertIn(self.shim.wait_exit(), (0, -signal.SIGTERM))
            if self.shim.status == 0:
                self.assertFalse(os.path.exists(self.shim.dir + "/shim.sock"))

    def test_signal_under_load(self):
        """Every request that was taken is answered, the others see a closed connection, nobody half an answer."""
        for turn in range(3):
            self.start(upstream="keepalive = on\nconnections = 4\n" if turn % 2 else "")
            answered, broken = [], []

            def load():
                for _ in range(10000):
                    try:
                        response = fcgi.ask(self.address, POST, b"x")
                    except OSError:
                        return
                    if response.end == (0, 0) and response.body == b"x":
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
            self.assertGreaterEqual(len(answered), 42)


if __name__ == "__main__":
    unittest.main()
