#!/usr/bin/env python3
"""Records pass: what goes in comes out, byte for byte, however it is cut."""

import random
import threading
import unittest

import fcgi
from fcgi import (AUTHORIZER, BEGIN, DATA, END, FILTER, KEEP_CONN, PARAMS, PATIENCE, RESPONDER, STDERR, STDIN, STDOUT,
                  begin, end, pair, pairs, record, request, stream)
from relay import PLAIN, POST, RelayTest
from shim import free_port, listen_addresses


def shape(records):
    """What must stay of records: order, boundaries, content."""
    return [(found.type, found.content) for found in records]


def answer_with(*answers):
    """A script that answers each request with the next of some byte strings (the last one again and again)."""
    left = list(answers)

    def script(connection):
        while connection.read_request():
            connection.send(left.pop(0) if len(left) > 1 else left[0])
            if not connection.current.keep:
                return
    return script


class Up(RelayTest):
    """From the web server to the application."""

    def test_small_request_is_byte_for_byte(self):
        self.start()
        client = self.client()
        self.assert_answer(client.ask(PLAIN), b"")
        client.read_eof()
        self.app.wait_closed()
        id = self.app.requests[0].id
        self.assertEqual(bytes(self.app.connections[0].received),
                         begin(id) + record(PARAMS, pairs(PLAIN), id) + record(PARAMS, id=id) + record(STDIN, id=id))

    def test_body_records_keep_their_boundaries(self):
        self.start()
        sizes = [1, 2, 3, 127, 128, 1000, 8192, 1, 65535, 65534, 7]
        body = [bytes([65 + i]) * size for i, size in enumerate(sizes)]
        client = self.client()
        client.send(begin() + record(PARAMS, pairs(POST)) + record(PARAMS)
                    + b"".join(record(STDIN, part) for part in body) + record(STDIN))
        self.assert_answer(client.read_response(), b"".join(body))
        self.assertEqual(shape(self.app.requests[0].records),
                         [(BEGIN, b"\0\1\0\0\0\0\0\0"), (PARAMS, pairs(POST)), (PARAMS, b"")]
                         + [(STDIN, part) for part in body] + [(STDIN, b"")])

    def test_cut_at_every_byte(self):
        self.start()
        wire = request(POST, b"hello", keep=True)
        client = self.client()
        for at in range(1, len(wire)):
            client.send_cut(wire, at)
            self.assert_answer(client.read_response(), b"hello")
        self.assertEqual(len(self.app.requests), len(wire) - 1)
        for seen in self.app.requests:
            self.assert_params(seen.params, POST)

    def test_byte_by_byte(self):
        self.start()
        client = self.client()
        for byte in request(POST, b"hello", padding=3):
            client.send(bytes([byte]))
            client.wait_sent()
        self.assert_answer(client.read_response(), b"hello")
        self.assert_params(self.app.requests[0].params, POST)

    def test_cut_at_many_bytes(self):
        """Pieces that begin and end inside a header."""
        self.start()
        dice = random.Random(8)
        parts = [b"%d" % i * dice.randrange(1, 6) for i in range(200)] + [b""]
        wire = begin(keep=True) + stream(PARAMS, pairs(POST), size=9) + record(PARAMS) + b"".join(
            record(STDIN, part, padding=len(part) % 3) for part in parts)
        client = self.client()
        for size in list(range(2, 40)) + [None] * 10:
            at = 0
            while at < len(wire):
                step = size or dice.randrange(1, 60)
                client.send(wire[at:at + step])
                client.wait_sent()
                at += step
            self.assert_answer(client.read_response(), b"".join(parts))
            self.assertEqual([found.content for found in self.app.requests[-1].records if found.type == STDIN], parts)

    def test_padding_never_goes_on(self):
        # Connection.check sees to it: zero bytes only, and none behind a terminator.
        self.start()
        client = self.client()
        for padding in (1, 2, 7, 8, 127, 128, 254, 255):
            self.assert_answer(client.ask(POST, b"padded", keep=True, size=3, padding=padding), b"padded")
            self.assert_params(self.app.requests[-1].params, POST)

    def test_padded_begin_and_reserved_bytes(self):
        self.start()
        client = self.client()
        client.send(record(BEGIN, b"\0\1\1RSVD!", padding=9, reserved=77)
                    + record(PARAMS, pairs(PLAIN), reserved=1) + record(PARAMS, reserved=2) + record(STDIN, reserved=3))
        self.assert_answer(client.read_response(), b"")
        # The reader of the application's side has asserted that all of them are zero.
        self.assert_params(self.app.requests[0].params, PLAIN)

    def test_longest_records(self):
        """65,535 bytes and padding: more than php takes in one record, so it may not go on so."""
        self.start()
        body = random.Random(1).randbytes(65535)
        client = self.client()
        client.send(begin() + record(PARAMS, pairs(POST)) + record(PARAMS)
                    + record(STDIN, body, padding=255) + record(STDIN, body, padding=1) + record(STDIN, body)
                    + record(STDIN))
        self.assert_answer(client.read_response(), body * 3)

    def test_thousands_of_small_records(self):
        self.start()
        body = random.Random(2).randbytes(5000)
        client = self.client()
        client.send(begin() + record(PARAMS, pairs(POST)) + record(PARAMS)
                    + stream(STDIN, body, size=1, padding=2) + record(STDIN))
        self.assert_answer(client.read_response(), body)
        self.assertEqual(shape(self.app.requests[0].records)[3:-1], [(STDIN, bytes([byte])) for byte in body])

    def test_no_parameters_at_all(self):
        self.start()
        self.assert_answer(fcgi.ask(self.address, []), b"")
        self.assertEqual(self.app.requests[0].params_raw, b"")
        self.assertEqual(shape(self.app.requests[0].records[1:]), [(PARAMS, b""), (STDIN, b"")])


class Parameters(RelayTest):
    """PARAMS is one stream: records cut it anywhere on the way in, on pair boundaries on the way out."""

    def assert_passes(self, params, raw=None, **options):
        """Sent as they are told to be, the parameters arrive with their bytes."""
        raw = raw if raw is not None else pairs(params)
        response = self.client().ask(raw, **options)
        self.assert_answer(response, b"")
        self.assertEqual(self.app.requests[-1].params_raw, raw)
        return self.app.requests[-1]

    def test_one_byte_a_record(self):
        self.start()
        self.assert_passes(PLAIN + [("LONG" * 40, "value" * 40)], size=1, padding=1)

    def test_every_record_size(self):
        self.start()
        params = PLAIN + [("N" * 130, "v" * 5), ("n", "v" * 200)]
        for size in range(1, 120):
            self.assert_passes(params, size=size)

    def test_lengths_of_every_form(self):
        self.start()
        params = [(name[:n], b"v" * v) for name in (b"ABCDEFGHIJ" * 30,) for n in (0, 1, 126, 127, 128, 129, 300)
                  for v in (0, 1, 126, 127, 128, 129, 300)]
        self.assert_passes(params)

    def test_short_lengths_in_four_bytes(self):
        """Legal, and nobody's business: untouched parameters keep their bytes."""
        self.start()
        self.assert_passes(None, b"".join(pair(name, value, long=True) for name, value in PLAIN))

    def test_any_byte_in_unmanaged_parameters(self):
        self.start()
        every = bytes(range(256))
        self.assert_passes(PLAIN + [(every, every), (b"X\0Y", b"9\0evil"), (b"X\0Y", b"again"), (b"", b"nameless"),
                                    (b"CRLF", b"a\r\nb: c")])

    def test_many_small_pairs_over_several_records(self):
        self.start()
        params = PLAIN + [("HTTP_X_%04d" % i, "v" * (i % 90)) for i in range(3000)]
        seen = self.assert_passes(params, size=8192)
        self.assertGreater(len(seen.params_raw), 2 * 65535)
        # Connection.read_params has asserted that each record ends on a pair's boundary.

    def test_big_pairs_over_several_records(self):
        self.start()
        params = PLAIN + [("B%d" % i, chr(65 + i) * 30000) for i in range(7)]
        self.assert_passes(params, size=65535, padding=0)
        self.assert_passes(params, size=4000, padding=8)

    def test_pairs_that_just_fit_into_a_record(self):
        self.start()
        for size in (65533, 65534, 65535):
            value = "v" * (size - len(pair("NAME", "v" * 60000)) + 60000)
            raw = pair("NAME", value)
            self.assertEqual(len(raw), size)
            self.assert_passes(None, raw + pairs(PLAIN))
            self.assert_passes(None, pairs(PLAIN) + raw)

    def test_pair_longer_than_a_record(self):
        """The only one that records may split: there is no other way to send it."""
        self.start()
        for size in (65536, 65537, 70000, 131070, 131071, 200000):
            value = "v" * (size - len(pair("NAME", "v" * 70000)) + 70000)
            self.assertEqual(len(pair("NAME", value)), size)
            self.assert_passes([("A", "before"), ("NAME", value), ("B", "behind")])

    def test_sets_that_end_on_the_record_boundary(self):
        self.start()
        first = pair("A", "a" * 40000)
        for size in (65534, 65535, 65536, 65537):
            second = pair("B", "b" * (size - len(first) - len(pair("B", "b" * 20000)) + 20000))
            self.assertEqual(len(first + second), size)
            self.assert_passes(None, first + second + pairs(PLAIN))


class Down(RelayTest):
    """From the application to the web server."""

    def assert_passes(self, *answer, id=1):
        """The records of the answer arrive in order, with their boundaries and the request's id."""
        self.start(answer_with(b"".join(answer)))
        client = self.client()
        response = client.ask(PLAIN, id=id)
        wanted, rest = fcgi.parse_records(b"".join(answer))
        self.assertEqual(rest, b"")
        self.assertEqual(shape(response.records), shape(wanted))
        self.assertEqual({found.id for found in response.records}, {id})
        client.read_eof()
        return response

    def test_plain_answer(self):
        self.assert_passes(record(STDOUT, b"Content-Type: text/plain\r\n\r\nhello"), record(STDOUT), end())

    def test_header_in_small_records(self):
        head = b"Status: 201 Created\r\nX-A: b\r\n\r\nbody"
        response = self.assert_passes(stream(STDOUT, head, size=1), record(STDOUT), end())
        self.assertEqual(response.status, 201)

    def test_stderr_between_stdout(self):
        parts = []
        for i in range(50):
            parts += [record(STDERR, b"warning %d\n" % i, padding=i), record(STDOUT, b"line %d\n" % i, padding=255 - i)]
        self.assert_passes(record(STDOUT, b"X: y\r\n\r\n"), *parts, record(STDERR), record(STDOUT), end())

    def test_stderr_first_and_alone(self):
        self.assert_passes(record(STDERR, b"only\n"), record(STDERR), end())

    def test_no_empty_stdout(self):
        self.assert_passes(record(STDOUT, b"X: y\r\n\r\nz"), end())

    def test_nothing_but_the_end(self):
        self.assert_passes(end())

    def test_application_status(self):
        for status in (1, 255, 0x80000000, 0xFFFFFFFF):
            response = self.assert_passes(record(STDOUT, b"X: y\r\n\r\n"), record(STDOUT), end(app_status=status))
            self.assertEqual(response.end, (status, 0))

    def test_padding_is_zeroed(self):
        # Peer.check has asserted that what came is zero.
        self.assert_passes(record(STDOUT, b"X: y\r\n\r\n", padding=255), record(STDOUT, b"x" * 65535, padding=255),
                           record(STDOUT, padding=17), end(padding=8))

    def test_longest_and_many_records(self):
        rest = random.Random(3).randbytes(65535)
        self.assert_passes(record(STDOUT, b"X: y\r\n\r\n"), record(STDOUT, rest), stream(STDOUT, rest, size=10),
                           record(STDOUT, rest), record(STDOUT), end())

    def test_cut_at_every_byte(self):
        wire = (record(STDOUT, b"X: y\r\n\r\nbody", padding=3) + record(STDERR, b"e") + record(STDOUT)
                + record(STDERR) + end(padding=2))
        cuts = list(range(1, len(wire)))

        def script(connection):
            connection.read_request()
            connection.send_cut(wire, cuts[connection.number])
        self.start(script)
        client = self.client()
        for _ in cuts:
            response = client.ask(PLAIN, keep=True)
            self.assertEqual(shape(response.records), shape(fcgi.parse_records(wire)[0]))

    def test_cut_at_many_bytes(self):
        wire = stream(STDOUT, b"X: y\r\n\r\n" + bytes(range(200)), size=6) + record(STDOUT) + end()

        def script(connection):
            connection.read_request()
            step = connection.number + 2
            for at in range(0, len(wire), step):
                connection.send(wire[at:at + step])
                connection.wait_sent()
        self.start(script)
        client = self.client()
        for _ in range(60):
            response = client.ask(PLAIN, keep=True)
            self.assertEqual(shape(response.records), shape(fcgi.parse_records(wire)[0]))

    def test_byte_by_byte(self):
        wire = record(STDOUT, b"X: y\r\n\r\nbody", padding=3) + record(STDOUT) + end()

        def script(connection):
            connection.read_request()
            for byte in wire:
                connection.send(bytes([byte]))
                connection.wait_sent()
        self.start(script)
        response = self.client().ask(PLAIN)
        self.assertEqual(shape(response.records), shape(fcgi.parse_records(wire)[0]))

    def test_first_part_does_not_wait_for_the_second(self):
        """Streaming: what the application has sent reaches the front while it still works."""
        go_on = threading.Event()

        def script(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\nfirst") + record(STDOUT, b"half of this")[:12])
            assert go_on.wait(PATIENCE)
            connection.send(record(STDOUT, b"half of this")[12:] + record(STDOUT) + end())
        self.start(script)
        client = self.client()
        client.send(request(PLAIN))
        self.assertEqual(client.read_record().content, b"X: y\r\n\r\nfirst")
        go_on.set()
        self.assertEqual(client.read_response().stdout, b"half of this")


class Roles(RelayTest):
    def test_authorizer_without_stdin(self):
        """An authorizer has no STDIN, so there is none to wait for."""
        def script(connection):
            connection.read_request()
            connection.reply(b"", status="200 OK", headers="Variable-AUTH: yes\r\n")
        self.start(script)
        response = self.client().ask(PLAIN, role=AUTHORIZER)
        self.assert_answer(response, b"")
        self.assertEqual(response.head["variable-auth"], "yes")
        seen = self.app.requests[0]
        self.assertEqual(seen.role, AUTHORIZER)
        self.assert_params(seen.params, PLAIN)

    def test_authorizer_with_empty_stdin(self):
        """lighttpd sends one; on a kept connection it may not disturb the next request."""
        def script(connection):
            connection.read_request()
            connection.reply(b"")
        self.start(script)
        client = self.client()
        for _ in range(5):
            client.send(request(PLAIN, role=AUTHORIZER, keep=True) + record(STDIN))
            self.assert_answer(client.read_response(), b"")
        self.assert_answer(client.ask(PLAIN, keep=True), b"")

    def test_filter(self):
        def script(connection):
            now = connection.read_request()
            connection.reply(bytes(now.stdin) + b"|" + bytes(now.data))
        self.start(script)
        data = random.Random(4).randbytes(200000)
        response = self.client().ask(POST, b"form", role=FILTER, data=data, size=30000, padding=5)
        self.assert_answer(response, b"form|" + data)
        self.assertEqual(self.app.requests[0].role, FILTER)
        self.assertEqual([found.type for found in self.app.requests[0].records if found.type != PARAMS],
                         [BEGIN, STDIN, STDIN] + [DATA] * 7 + [DATA])

    def test_filter_with_data_before_the_end_of_stdin(self):
        """Two streams may mix; their order is the front's."""
        order = []

        def script(connection):
            connection.read_params()
            while len(order) < 6:
                found = connection.read_record()
                order.append((found.type, found.content))
            connection.reply()
        self.start(script)
        parts = [(STDIN, b"s1"), (DATA, b"d1"), (STDIN, b"s2"), (STDIN, b""), (DATA, b"d2"), (DATA, b"")]
        client = self.client()
        client.send(begin(role=FILTER) + record(PARAMS, pairs(POST)) + record(PARAMS)
                    + b"".join(record(kind, content) for kind, content in parts))
        self.assert_answer(client.read_response(), b"ok")
        self.assertEqual(order, parts)


class Ids(RelayTest):
    def test_ids_of_one_and_two_bytes(self):
        self.start()
        for id in (1, 2, 127, 128, 255, 256, 257, 511, 4096, 65535):
            self.assert_answer(self.client().ask(POST, b"body", id=id, padding=1), b"body")

    def test_ids_one_after_the_other_on_one_connection(self):
        self.start()
        client = self.client()
        for id in (1, 1, 2, 65535, 256, 1, 300, 300, 7):
            body = b"body of %d" % id
            self.assert_answer(client.ask(POST, body, id=id, keep=True), body)

    def test_late_records_of_an_old_id(self):
        """The first request ends before its body does: what still comes of it is not the second one's."""
        def script(connection):
            connection.read_params()
            if connection.number == 0:
                connection.reply(b"early")
            else:
                connection.reply(connection.read_body())
        self.start(script)
        client = self.client()
        client.send(begin(1, keep=True) + record(PARAMS, pairs(POST), 1) + record(PARAMS, id=1)
                    + record(STDIN, b"first part", 1))
        self.assert_answer(client.read_response(1), b"early")
        client.send(record(STDIN, b"late 1", 1)
                    + begin(2, keep=True) + record(STDIN, b"late 2", 1)
                    + record(PARAMS, pairs(POST)[:9], 2) + record(STDIN, b"late 3", 1)
                    + record(PARAMS, pairs(POST)[9:], 2) + record(PARAMS, id=2) + record(STDIN, id=1)
                    + record(STDIN, b"second", 2) + record(STDIN, b"late 5", 1) + record(STDIN, id=2))
        self.assert_answer(client.read_response(2), b"second")
        self.assert_params(self.app.requests[1].params, POST)

    def test_records_of_ids_that_are_not_open(self):
        """The specification: records of an inactive request are ignored."""
        self.start()
        client = self.client()
        client.send(record(STDIN, b"nobody's", 9) + record(PARAMS, b"\1\1ab", 9) + record(DATA, b"x", 8)
                    + begin(1) + record(PARAMS, pair("EVIL", "1"), 2) + record(PARAMS, pairs(POST), 1)
                    + record(PARAMS, id=3) + record(PARAMS, id=1) + record(STDIN, b"evil", 2)
                    + record(STDIN, b"body", 1) + record(STDIN, id=2) + record(STDIN, id=1))
        self.assert_answer(client.read_response(1), b"body")
        self.assert_params(self.app.requests[0].params, POST)

    def test_unknown_types_of_a_request_are_ignored(self):
        self.start()
        client = self.client()
        client.send(begin(1) + record(99, b"what", 1) + record(PARAMS, pairs(POST), 1) + record(12, b"", 1)
                    + record(PARAMS, id=1) + record(200, b"is this", 1, padding=8) + record(STDIN, b"body", 1)
                    + record(STDIN, id=1))
        self.assert_answer(client.read_response(1), b"body")
        self.assertEqual({found.type for found in self.app.requests[0].records}, {BEGIN, PARAMS, STDIN})

    def test_strays_between_hundreds_of_records(self):
        """Up and down, all in one packet: what is taken out leaves no trace in what stays."""
        parts = [b"%d," % i for i in range(700)]
        answer = record(STDOUT, b"X: y\r\n\r\n") + b"".join(
            record(99, b"stray" * (i % 4)) + record(STDOUT, part, padding=i % 3) + record(STDERR, b"s", 4)
            for i, part in enumerate(parts)) + record(STDOUT) + end()
        self.start(answer_with(answer))
        client = self.client()
        for size in (700, 400, 200, 100, 64, 63, 62, 61, 60, 48, 47, 33, 32, 31, 17, 16, 15, 5):
            client.send(begin(keep=True) + record(PARAMS, pairs(POST)) + record(PARAMS) + b"".join(
                record(STDIN, b"evil", 9) + record(STDIN, part, padding=5) + record(44, b"x", 1)
                for part in parts[:size]) + record(STDIN))
            response = client.read_response()
            self.assertEqual(response.stdout, b"X: y\r\n\r\n" + b"".join(parts))
            self.assertEqual(response.stderr, b"")
            self.assertEqual(bytes(self.app.requests[-1].stdin), b"".join(parts[:size]))

    def test_the_application_may_send_unknown_types(self):
        """Of the request's id and of none: nothing of it reaches the front."""
        self.start(answer_with(record(11, b"\7\0\0\0\0\0\0\0", 0) + record(STDOUT, b"X: y\r\n\r\nz")
                               + record(10, b"", 0) + record(77, b"??", 1) + record(STDOUT) + end()))
        response = self.client().ask(PLAIN)
        self.assertEqual(shape(response.records), [(STDOUT, b"X: y\r\n\r\nz"), (STDOUT, b""), (END, b"\0" * 8)])

    def test_the_application_sends_records_of_another_id(self):
        """A stray record of another id is not this request's answer."""
        self.start(answer_with(record(STDOUT, b"stray", 5) + record(STDOUT, b"X: y\r\n\r\nz") + end(5, 3)
                               + record(STDOUT) + end()))
        response = self.client().ask(PLAIN)
        self.assertEqual(response.stdout, b"X: y\r\n\r\nz")
        self.assertEqual(response.end, (0, 0))


class Tcp(RelayTest):
    """The same over TCP on both sides."""

    def test_both_sides(self):
        self.start(listen="address = 127.0.0.1:%d" % free_port(), address="127.0.0.1:0")
        address = listen_addresses(self.shim.ini_text)[0]
        body = random.Random(5).randbytes(300000)
        for keep in (False, True):
            self.assert_answer(self.client(address).ask(POST, body, keep=keep, size=10007, padding=5), body)
        self.assertEqual([seen.flags & KEEP_CONN for seen in self.app.requests], [0, 0])
        self.assertEqual([seen.role for seen in self.app.requests], [RESPONDER] * 2)


if __name__ == "__main__":
    unittest.main()
