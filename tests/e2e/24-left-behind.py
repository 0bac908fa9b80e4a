#!/usr/bin/env python3
"""What one request leaves behind never touches the next: the rest of its body, its end, its time limits, a connection
that it used."""

import signal
import threading
import time
import unittest

import fcgi
from fcgi import ABORT, END, PARAMS, STDIN, begin, pairs, record, request
from relay import PLAIN, POST, RelayTest
from shim import fd_count

HEAD = begin(keep=True) + record(PARAMS, pairs(POST)) + record(PARAMS)


def reply_before_the_body(connection):
    """Answers as soon as the parameters are there, and closes."""
    if connection.read_params() is not None:
        connection.reply(b"early")


class AnsweredEarly(RelayTest):
    def test_rest_of_a_body_never_reaches_the_next_request(self):
        """The answer comes inside a record of the body; its rest and the next request then come at once."""
        self.start([reply_before_the_body, fcgi.echo])
        smuggled = request([("SCRIPT_FILENAME", "/evil")], id=1)
        client = self.client()
        content = b"x" * 500 + smuggled
        whole = record(STDIN, content)
        client.send(HEAD + whole[:508])
        self.assert_answer(client.read_response(), b"early")
        client.send(whole[508:] + record(STDIN) + request(PLAIN, b"next", id=1, keep=True))
        self.assert_answer(client.read_response(), b"next")
        self.assertEqual([seen.get("SCRIPT_FILENAME") for seen in self.app.requests], [[], []])
        self.assertEqual(len(self.app.connections), 2)

    def test_abort_behind_the_answer_is_not_answered(self):
        """END_REQUEST has gone out; a second one would end the web server's next request of that id."""
        self.start([reply_before_the_body, fcgi.echo])
        client = self.client()
        client.send(HEAD + record(STDIN, b"first"))
        self.assert_answer(client.read_response(), b"early")
        client.send(record(ABORT) + request(PLAIN, b"next", id=1, keep=True))
        self.assert_answer(client.read_response(), b"next")


class Stopping(RelayTest):
    """TERM, with shutdown_timeout at its default of 30 s: longer than a test waits."""

    def test_front_that_still_reads_its_last_answer(self):
        """Nothing is lost, and the connection closes when all is read."""
        self.start(lambda connection: connection.read_request() and connection.reply(
            b"z" * int(connection.current.get("LENGTH")[0])))
        clients = []
        for length in range(100000, 500000, 10000):  # of some of them the application's end is here, but not all is gone
            client = self.client()
            client.send(request(PLAIN + [("LENGTH", str(length))], keep=True))
            clients.append((client, length))
        self.app.wait_requests(len(clients))
        time.sleep(0.2)  # the shim goes on until it is stuck, which shows nowhere
        self.shim.signal(signal.SIGTERM)
        self.shim.wait_log("TERM: no new requests")
        for client, length in clients:
            self.assert_answer(client.read_response(), b"z" * length)
            client.read_eof(10)
        self.assertEqual(self.shim.wait_exit(10), 0)

    def test_front_that_was_answered_early(self):
        """The rest of its body may never come."""
        self.start(reply_before_the_body)
        client = self.client()
        client.send(HEAD + record(STDIN, b"first"))
        self.assert_answer(client.read_response(), b"early")
        self.shim.signal(signal.SIGTERM)
        client.read_eof(10)
        client.close()
        self.assertEqual(self.shim.wait_exit(10), 0)

    def test_front_inside_a_management_record(self):
        """Its reply is sent, then the connection is idle and closes."""
        self.start()
        client = self.client()
        asked = record(fcgi.GET_VALUES, pairs([("FCGI_MPXS_CONNS", "")]), id=0)
        client.send(asked[:5])
        client.wait_sent()
        self.shim.signal(signal.SIGTERM)
        self.shim.wait_log("TERM: no new requests")
        client.send(asked[5:])
        self.assertEqual(client.read_record().content, pairs([("FCGI_MPXS_CONNS", "0")]))
        client.read_eof(10)
        self.assertEqual(self.shim.wait_exit(10), 0)

    def test_front_that_has_connected_and_not_yet_asked(self):
        """Its web server was about to send: nginx answers 502 where its first request finds a closed connection."""
        self.start()
        before = fd_count(self.shim.relay_pid)
        client, silent = self.client(), self.client()
        self.wait(lambda: fd_count(self.shim.relay_pid) == before + 2, what="the shim to accept")
        self.shim.signal(signal.SIGTERM)
        self.shim.wait_log("TERM: no new requests")
        whole = request(PLAIN, b"first", keep=True)
        client.send(whole[:5])
        client.wait_sent()
        client.send(whole[5:])
        self.assert_answer(client.read_response(), b"first")
        client.read_eof(10)
        silent.read_eof(10)
        self.assertEqual(self.shim.wait_exit(10), 0)


class TimeLimits(RelayTest):
    def test_front_that_reads_nothing_since_before_its_request(self):
        """Replies to questions inside the parameters fill its socket; the answer then finds it full, and must not wait
        for ever. How many replies that takes is the kernel's affair: with too few of them the answer is gone at once,
        with too many the shim stops to read before the parameters end."""
        for count in (28, 30, 32, 34):
            self.start(upstream="send_timeout = 500ms\nconnections = 1\n")
            client = self.client()
            client.send(begin(keep=True) + record(PARAMS, pairs(PLAIN)))
            client.sock.setblocking(False)
            question = record(77, id=0)
            sent = 0
            for _ in range(count):
                try:
                    sent += client.sock.send(question * 512)
                except BlockingIOError:
                    break
            client.sock.settimeout(fcgi.PATIENCE)
            whole = -sent % len(question)
            client.send(question[-whole:] * (whole > 0) + record(PARAMS) + record(STDIN))
            self.assert_answer(self.client().ask(PLAIN, b"other"), b"other")


class Repeating(RelayTest):
    def test_request_whose_last_record_is_still_to_come(self):
        """Apache's mod_proxy_fcgi sends the empty STDIN by itself: the kept connection may have died in between."""
        def first_then_die(connection):
            connection.read_request()
            connection.reply(b"first")
            connection.read_params()

        for body in (b"", b"some body"):
            with self.subTest(body=body):
                self.start([first_then_die, fcgi.echo], upstream="keepalive = on\nconnections = 1\n")
                client = self.client()
                self.assert_answer(client.ask(PLAIN, keep=True), b"first")
                whole = request(PLAIN, body, keep=True)
                client.send(whole[:-8])
                self.app.wait_connections(2)
                client.send(whole[-8:])
                self.assert_answer(client.read_response(), body)
                self.assertEqual(len(self.app.requests), 3)

    def test_connection_whose_answer_ends_while_the_front_catches_up(self):
        """Both are seen in one round: the connection is kept all the same."""
        steps = threading.Semaphore(0)

        def in_two_steps(connection):
            while connection.read_request() is not None:
                size = int(connection.current.get("SIZE")[0])
                connection.send(fcgi.stream(fcgi.STDOUT, b"X: y\r\n\r\n" + b"x" * size, connection.id, 8000))
                try:
                    connection.wait_sent(0.2)
                except AssertionError:
                    pass  # the shim has enough
                steps.release()
                connection.responder.go_on.acquire(timeout=fcgi.PATIENCE)
                fits = connection.send_now(fcgi.end(connection.id))
                steps.release()
                if not fits:
                    connection.send(fcgi.end(connection.id))

        self.start(in_two_steps, upstream="keepalive = on\nconnections = 1\n")
        self.app.go_on = threading.Semaphore(0)
        client = self.client()
        for size in range(180000, 300000, 8000):  # of some a part is left with the shim
            client.send(request(PLAIN + [("SIZE", str(size))], keep=True))
            self.assertTrue(steps.acquire(timeout=fcgi.PATIENCE))
            self.shim.freeze()
            while client.sock in fcgi.wait_readable([client.sock], 0):
                client._fill(1)
            self.app.go_on.release()
            self.assertTrue(steps.acquire(timeout=fcgi.PATIENCE))
            self.shim.thaw()
            response = client.read_response()
            self.assertEqual((response.end, len(response.body)), ((0, 0), size))
        self.assertEqual(len(self.app.connections), 1)


if __name__ == "__main__":
    unittest.main()
