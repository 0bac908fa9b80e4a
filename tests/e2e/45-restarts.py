#!/usr/bin/env python3
"""Connections that idle, requests that stop half-way, parts of the chain that come and go, behind each web server."""

import socket
import unittest

from sameanswer import XFF, Chain
from servers import SERVERS, Lighttpd, Php
from shim import wait_for

UPSTREAM = "keepalive = on\nidle_timeout = 300ms"
CLIENT = "203.0.113.7"


class Restarts(unittest.TestCase):
    server = None

    def setUp(self):
        self.chain = Chain(self.server, Php, UPSTREAM)
        self.addCleanup(self.chain.close)
        self.quiet = self.chain.shim.fds()

    def assert_works(self, **options):
        answer = self.chain.ask("json", [(XFF, CLIENT)], **options)
        self.assertEqual(answer.status, 200, answer.body[:500])
        self.assertEqual(answer.json()["params"]["REMOTE_ADDR"], CLIENT)

    def wait_quiet(self, kept=0):
        """Until the shim holds no connections but those that the web server keeps, at most so many."""
        wait_for(lambda: self.chain.shim.fds() <= self.quiet + kept,
                 what="%d descriptors, not %d" % (self.quiet + kept, self.chain.shim.fds()))

    def test_kept_connections_idle(self):
        """The application's are closed after idle_timeout, and the web server's work on."""
        for _ in range(3):
            self.assert_works()
            self.assert_works(body=b"x" * 100000)
            self.wait_quiet(4 if self.server.keeps else 0)
            if self.server.keeps:
                self.assertGreater(self.chain.shim.fds(), self.quiet)

    def half(self, text):
        connection = socket.create_connection(("127.0.0.1", self.chain.server.port))
        connection.sendall(text)
        return connection

    def test_half_sent_requests(self):
        head = b"POST /index.php?json HTTP/1.1\r\nHost: localhost\r\n" + XFF.encode() + b": 192.0.2.9\r\n"
        body = b"Content-Length: 1000000\r\n\r\n" + b"x" * 300000
        for text in (head, head + body):
            halves = [self.half(text) for _ in range(8)]
            for half in halves:
                half.close()
            self.assert_works()
            self.wait_quiet(4 if self.server.keeps else 0)

    def test_half_sent_requests_that_stay(self):
        """More of them than the application has processes, and others still get through."""
        head = b"POST /index.php?json HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12345"
        halves = [self.half(head) for _ in range(8)]
        if self.server.streams:
            # Handed on before their end, each has a process of the application to itself until it goes away.
            wait_for(lambda: self.chain.shim.fds() >= self.quiet + len(halves) + 3, what="them to arrive")
            for half in halves:
                half.close()
        for _ in range(3):
            self.assert_works()
        for half in halves:
            half.close()

    def test_application_restarted(self):
        for body in (None, b"a body", None):
            self.assert_works(body=body)
            self.chain.application.end()
            self.chain.application.start()
            self.assert_works(body=body)

    def test_application_unreachable(self):
        self.assert_works()
        self.chain.application.end()
        for body in (None, b"a body"):
            answer = self.chain.ask("json", [(XFF, CLIENT)], body=body)
            self.assertEqual(answer.status, 502, answer.body[:500])
        self.chain.application.start()
        self.assert_works()

    def test_shim_restarted(self):
        """Nothing of what the web server kept leads into the void."""
        for _ in range(3):
            self.assert_works()
        self.chain.stop_shim()
        self.chain.start_shim()
        for _ in range(3):
            self.assert_works()
        self.assert_works(body=b"a body")

    def test_shim_away(self):
        """Once it is back, the very next request works."""
        self.assert_works()
        self.chain.stop_shim()
        self.assertIn(self.chain.ask("json").status, (500, 502, 503))
        self.chain.start_shim()
        if self.server is Lighttpd:  # it asks again in the next second
            wait_for(lambda: self.chain.ask("json").status == 200, what="lighttpd to try again")
        self.assert_works()


for server in SERVERS:
    case = type("Restarts" + server.__name__, (Restarts,), {"server": server})
    if not (server.installed() and Php.installed()):
        case = unittest.skip("%s or php-fpm is not installed" % server.__name__)(case)
    globals()[case.__name__] = case
del Restarts, case  # the base class is no test

if __name__ == "__main__":
    unittest.main()
