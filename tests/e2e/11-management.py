#!/usr/bin/env python3
"""Management records are answered by the shim, at any moment, and never reach the application."""

import threading
import unittest

import fcgi
from fcgi import (GET_VALUES, GET_VALUES_RESULT, PARAMS, PATIENCE, STDIN, STDOUT, UNKNOWN_TYPE, begin, end, pairs,
                  record, request)
from relay import PLAIN, POST, RelayTest

ALL = ("FCGI_MAX_CONNS", "FCGI_MAX_REQS", "FCGI_MPXS_CONNS")


def get_values(*names, padding=0):
    return record(GET_VALUES, pairs([(name, "") for name in names]), 0, padding)


class Management(RelayTest):
    def read_values(self, client):
        found = client.read_record()
        self.assertIsNotNone(found, "closed instead of an answer")
        self.assertEqual((found.type, found.id), (GET_VALUES_RESULT, 0), found)
        return fcgi.parse_pairs(found.content)

    def assert_values(self, client, wanted=ALL):
        values = self.read_values(client)
        self.assertEqual(sorted(name.decode() for name, _ in values), sorted(wanted))
        for name, value in values:
            if name == b"FCGI_MPXS_CONNS":
                self.assertEqual(value, b"0")
            else:
                self.assertTrue(value.isdigit() and int(value) > 0, (name, value))

    def test_all_values(self):
        self.start()
        client = self.client()
        client.send(get_values(*ALL))
        self.assert_values(client)
        # Asking is no request: the connection stays, for another question or a request.
        client.send(get_values(*ALL, padding=5))
        self.assert_values(client)
        self.assert_answer(client.ask(PLAIN), b"")
        client.read_eof()

    def test_only_what_was_asked(self):
        self.start()
        client = self.client()
        for names in (["FCGI_MPXS_CONNS"], ["FCGI_MAX_REQS", "FCGI_MAX_CONNS"], []):
            client.send(get_values(*names))
            self.assert_values(client, names)

    def test_unknown_names_are_left_out(self):
        self.start()
        client = self.client()
        client.send(get_values("FCGI_WHAT", "FCGI_MPXS_CONNS", "fcgi_max_reqs", ""))
        self.assert_values(client, ["FCGI_MPXS_CONNS"])

    def test_names_that_come_with_values(self):
        self.start()
        client = self.client()
        client.send(record(GET_VALUES, pairs([("FCGI_MPXS_CONNS", "1"), ("FCGI_MAX_REQS", "x" * 200)]), 0))
        self.assert_values(client, ["FCGI_MPXS_CONNS", "FCGI_MAX_REQS"])

    def test_cut_at_every_byte(self):
        self.start()
        client = self.client()
        wire = get_values(*ALL, padding=3)
        for at in range(1, len(wire)):
            client.send_cut(wire, at)
            self.assert_values(client)

    def test_a_big_question_has_a_small_answer(self):
        """The same name thousands of times: no more than a record comes back."""
        self.start()
        client = self.client()
        client.send(record(GET_VALUES, pairs([("FCGI_MPXS_CONNS", "")]) * 3800, 0))
        values = self.read_values(client)
        self.assertEqual(set(values), {(b"FCGI_MPXS_CONNS", b"0")})
        self.assertLess(len(values), 3801)
        client.send(record(GET_VALUES, pairs([("N" * 40, "")]) * 1500, 0))
        self.assertEqual(self.read_values(client), [])

    def test_truncated_question(self):
        """Answered as far as it can be read, or the connection closes; never more."""
        self.start()
        for content in (b"\x0f", b"\x0f\0FCGI", b"\x80", b"\xff\xff\xff\xff\xff\xff\xff\xffx"):
            client = self.client()
            client.send(record(GET_VALUES, content, 0))
            found = client.read_record()
            if found:
                self.assertEqual((found.type, found.id, found.content), (GET_VALUES_RESULT, 0, b""), found)
        self.assert_alive()

    def test_inside_a_request(self):
        """Between any two records of a request; the application sees nothing of it (its reader asserts that)."""
        self.start()
        client = self.client()
        parts = [begin(1, keep=True), record(PARAMS, pairs(POST)[:20]), record(PARAMS, pairs(POST)[20:]),
                 record(PARAMS), record(STDIN, b"body"), record(STDIN, b"more")]
        for part in parts:
            client.send(part + get_values("FCGI_MPXS_CONNS"))
            self.assert_values(client, ["FCGI_MPXS_CONNS"])
            client.send(record(44, b"what?", 0))
            self.assert_unknown(client, 44)
        client.send(record(STDIN))
        self.assert_answer(client.read_response(), b"bodymore")
        self.assert_params(self.app.requests[0].params, POST)

    def test_inside_an_answer(self):
        """The result goes between two records of the answer, never into one."""
        halves = threading.Semaphore(0)
        first = record(STDOUT, b"X: y\r\n\r\n") + record(STDOUT, b"a" * 1000, padding=8)
        second = record(STDOUT, b"b" * 100) + record(STDOUT) + end()

        def script(connection):
            connection.read_request()
            connection.send(first[:-500])
            self.assertTrue(halves.acquire(timeout=PATIENCE))
            connection.send(first[-500:])
            self.assertTrue(halves.acquire(timeout=PATIENCE))
            connection.send(second)
        self.start(script)
        client = self.client()
        client.send(request(PLAIN))
        self.assertEqual(client.read_record().content, b"X: y\r\n\r\n")
        client.send(get_values("FCGI_MPXS_CONNS"))
        client.wait_sent()
        halves.release()
        found = [client.read_record(), client.read_record()]
        self.assertEqual(sorted(one.type for one in found), [STDOUT, GET_VALUES_RESULT], found)
        self.assertEqual({one.content for one in found if one.type == STDOUT}, {b"a" * 1000})
        halves.release()
        self.assertEqual(client.read_response().stdout, b"b" * 100)

    def stuck_in_a_record(self, rest):
        """A request whose application has sent half of a record; .set() of the event sends the rest."""
        go_on = threading.Event()

        def script(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\n") + record(STDOUT, b"a" * 1000)[:500])
            assert go_on.wait(PATIENCE)
            connection.send(record(STDOUT, b"a" * 1000)[500:] + rest)
        self.start(script)
        client = self.client()
        client.send(request(PLAIN))
        self.assertEqual(client.read_record().content, b"X: y\r\n\r\n")
        return client, go_on

    def test_answers_that_wait_for_the_end_of_a_record(self):
        """They go out behind it, all of them, whatever else the application mixes into that chunk."""
        stray = record(99, b"stray")
        rest = b""
        while len(rest) < 65536 - 508 - 2000:
            rest += record(STDOUT, b"z" * (len(rest) % 700)) if rest else record(STDOUT, b"y")
            rest += stray
        rest += record(STDOUT, b"w" * (65536 - 508 - len(rest) - 8))
        self.assertEqual(len(rest), 65536 - 508)
        client, go_on = self.stuck_in_a_record(rest + record(STDOUT) + end())
        client.send(get_values(*ALL) * 60)
        client.wait_sent()
        self.shim.freeze()  # so that all of the rest is read at once
        go_on.set()
        self.wait(lambda: self.app.open == 0)
        self.shim.thaw()
        stdout, results = b"", 0
        while True:
            found = client.read_record()
            self.assertIsNotNone(found)
            if found.type == fcgi.END:
                break
            if found.type == GET_VALUES_RESULT:
                self.assertEqual(len(fcgi.parse_pairs(found.content)), 3)
                results += 1
            else:
                stdout += found.content
        wanted = b"".join(one.content for one in fcgi.parse_records(rest)[0] if one.type == STDOUT)
        self.assertEqual((results, stdout), (60, b"a" * 1000 + wanted))

    def test_a_flood_of_questions_inside_a_record(self):
        """Their answers have to wait; then the front has to, too."""
        client, go_on = self.stuck_in_a_record(record(STDOUT) + end())
        before = self.shim.rss()
        client.sock.settimeout(1)
        wire, sent = get_values(*ALL) * 1000, 0
        try:
            while sent < 100 << 20:
                sent += client.sock.send(wire)
        except OSError:
            pass
        self.assertLess(sent, 100 << 20, "all are taken, and their answers pile up")
        self.assertLess(self.shim.rss() - before, 32 << 20)
        client.close()
        go_on.set()
        self.assert_alive_with(fcgi.echo)

    def assert_alive_with(self, script):
        self.app.scripts = [script]
        self.assert_alive()

    def test_while_a_refused_request_is_drained(self):
        self.start(sections="[proxy p]\ntrust = 10.0.0.1\n[access]\ndeny = 192.0.2.1\n")
        client = self.client()
        client.send(begin(1, keep=True) + record(PARAMS, pairs(POST)) + record(PARAMS) + record(STDIN, b"x"))
        self.assert_refusal(client.read_response(), 403)
        client.send(record(STDIN, b"more") + get_values("FCGI_MPXS_CONNS") + record(STDIN))
        self.assert_values(client, ["FCGI_MPXS_CONNS"])
        self.assertEqual(self.app.connections, [])

    def assert_unknown(self, client, kind):
        found = client.read_record()
        self.assertIsNotNone(found, "closed instead of an answer")
        self.assertEqual((found.type, found.id, found.content), (UNKNOWN_TYPE, 0, bytes([kind]) + b"\0" * 7), found)

    def test_unknown_types(self):
        self.start()
        client = self.client()
        for kind in (0, 12, 13, 99, 200, 255):
            client.send(record(kind, b"x" * kind, 0, padding=kind))
            self.assert_unknown(client, kind)
        self.assert_answer(client.ask(PLAIN), b"")

    def test_thousands_of_questions_that_nobody_reads_the_answers_of(self):
        """The front is stopped, not the memory filled."""
        self.start()
        client = self.client()
        before = self.shim.rss()
        client.sock.setblocking(False)
        wire, sent = get_values(*ALL) * 1000, 0
        try:
            while sent < 200 << 20:
                sent += client.sock.send(wire)
        except BlockingIOError:
            pass
        # Blocked for a moment may only mean that the shim had no turn yet: it must stay so.
        client.sock.settimeout(1)
        try:
            while sent < 200 << 20:
                sent += client.sock.send(wire)
        except OSError:
            pass
        self.assertLess(sent, 200 << 20, "it takes all and answers into nowhere")
        self.assertLess(self.shim.rss() - before, 32 << 20)
        client.close()
        self.assert_alive()


if __name__ == "__main__":
    unittest.main()
