#!/usr/bin/env python3
"""A web server that falls silent in the middle of a body does not hold an application connection for ever."""

import time
import unittest

import fcgi
from fcgi import PARAMS, STDIN, begin, pairs, record
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


if __name__ == "__main__":
    unittest.main()
