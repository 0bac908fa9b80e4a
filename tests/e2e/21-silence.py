#!/usr/bin/env python3
"""A web server that falls silent in the middle of a body does not hold an application connection for ever; and when it
is the shim that does nothing, nobody has been silent."""

import threading
import time
import unittest

import fcgi
from fcgi import PARAMS, STDIN, begin, pairs, record
from faults import Faults, STOPS, STOPS_BEHIND
from relay import PLAIN, RelayTest

HEAD = begin(keep=True) + record(PARAMS, pairs(PLAIN)) + record(PARAMS)


class Silence(RelayTest):
    def test_silent_body_ends_with_504_and_frees_the_connection(self):
        self.start(fcgi.echo, upstream="connections = 1\nread_timeout = 1500ms\n")
        client = self.client()
        client.send(HEAD + record(STDIN, b"first part"))
        self.assert_refusal(client.read_response(), 504)
        self.assert_answer(self.client().ask(PLAIN, b"next"), b"next")

    def test_slow_body_is_none(self):
        """Each piece starts the limit anew; together they take longer than it."""
        self.start(fcgi.echo, upstream="read_timeout = 2500ms\n")
        client = self.client()
        client.send(HEAD)
        pieces = [b"%d" % i for i in range(27)]
        for piece in pieces:
            time.sleep(0.1)  # time that passes is what is tested
            client.send(record(STDIN, piece))
        client.send(record(STDIN))
        self.assert_answer(client.read_response(), b"".join(pieces))


class StandStill(RelayTest):
    def test_time_in_which_the_process_stood_still_counts_for_nobody(self):
        """Whether it stops before it asks the application, or before it waits for the answer."""
        for call in ("connect", "send"):
            faults = Faults()
            self.addCleanup(faults.close)
            self.start(fcgi.echo, upstream="read_timeout = 1s\n", env=faults.env)
            client = self.client()
            faults.set(call, STOPS)
            client.send(fcgi.request(PLAIN, b"asked"))
            self.wait(lambda: self.shim.state() == "T", what="the shim to stop")
            time.sleep(1.5)  # longer than the limit
            other = self.client()
            other.send(fcgi.request(PLAIN, b"next"))  # something to be done at once
            self.shim.thaw()
            self.assert_answer(client.read_response(), b"asked")
            self.assert_answer(other.read_response(), b"next")
            self.assertEqual(faults.hits(call), 1)

    def test_answers_that_came_meanwhile_count(self):
        """It stops with one event in hand; when it goes on, the answer that it has not been told of is due."""
        faults, asked, go_on = Faults(), threading.Event(), threading.Event()

        def script(connection):
            connection.read_request()
            if connection.current.get("SLOW"):
                asked.set()
                go_on.wait(fcgi.PATIENCE)
            connection.reply(b"an answer")

        self.addCleanup(faults.close)
        self.start(script, upstream="read_timeout = 1s\n", env=faults.env)
        slow, quick = self.client(), self.client()
        slow.send(fcgi.request(PLAIN + [("SLOW", "1")]))
        asked.wait(fcgi.PATIENCE)
        faults.set("epoll_wait", STOPS_BEHIND)  # the one behind that which brings the request: the quick answer's
        quick.send(fcgi.request(PLAIN))
        self.wait(lambda: self.shim.state() == "T", what="the shim to stop")
        go_on.set()
        self.wait(lambda: self.app.errors or len(self.app.connections) == 2)
        time.sleep(1.5)  # longer than the limit
        self.shim.thaw()
        self.assert_answer(slow.read_response(), b"an answer")
        self.assert_answer(quick.read_response(), b"an answer")


if __name__ == "__main__":
    unittest.main()
