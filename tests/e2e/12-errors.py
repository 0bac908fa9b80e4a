#!/usr/bin/env python3
"""What the shim answers itself, and what becomes of the connection then."""

import random
import socket
import struct
import threading
import time
import unittest

import fcgi
from fcgi import (ABORT, AUTHORIZER, BEGIN, CANT_MPX_CONN, DATA, END, FILTER, PARAMS, PATIENCE, STDIN, STDOUT,
                  UNKNOWN_ROLE, begin, end, pairs, record, request)
from relay import PLAIN, POST, RelayTest, change
from shim import connect, free_port, wait_for

TRUSTED = change(PLAIN, REMOTE_ADDR="10.0.0.1")
REJECT = "[proxy p]\ntrust = 10.0.0.0/8\non_malformed = reject\n"
DENY = "[proxy p]\ntrust = 10.0.0.0/8\n[access]\ndeny = 203.0.113.0/24\n"
DENIED = change(TRUSTED, ("HTTP_X_FORWARDED_FOR", "203.0.113.7"))


def never(connection):
    """An application that takes requests and answers none."""
    connection.current = None  # records of the next request are as good
    while connection.read_record():
        pass


def answer_sized(connection):
    """As many bytes as the parameter SIZE says; sets .ended of the request when the shim has closed."""
    now = connection.read_params()
    now.ended = threading.Event()
    connection.read_body()
    connection.reply(b"x" * int(now.get("SIZE")[0]), size=8192)
    never(connection)
    now.ended.set()


def close_at_once(connection):
    connection.read_params()


class Refusals(RelayTest):
    def test_400_for_a_malformed_header(self):
        self.start(sections=REJECT)
        client = self.client()
        self.assert_refusal(client.ask(change(TRUSTED, ("HTTP_X_FORWARDED_FOR", "1.2.3.4, junk"))), 400)
        client.read_eof()
        self.assertEqual(self.app.connections, [])

    def test_403_for_a_denied_client(self):
        self.start(sections=DENY)
        self.assert_refusal(fcgi.ask(self.address, DENIED), 403)
        self.assertEqual(self.app.connections, [])
        self.assert_answer(fcgi.ask(self.address, TRUSTED), b"")

    def test_403_for_a_direct_client(self):
        self.start(sections="[proxy p]\ntrust = 10.0.0.0/8\n[access]\ndeny_direct = yes\n")
        self.assert_refusal(fcgi.ask(self.address, PLAIN), 403)
        self.assertEqual(self.app.connections, [])

    def test_431_for_too_many_bytes(self):
        self.start(sections="[proxy p]\ntrust = 10.0.0.1\n[limits]\nparams_size = 4k\n")
        fits = PLAIN + [("FILL", "")]
        fits[-1] = ("FILL", "x" * (4096 - len(pairs(fits)) - 3))
        self.assertEqual(len(pairs(fits)), 4096)
        self.assert_answer(fcgi.ask(self.address, fits), b"")
        for size in (1, 100, 65535):
            longer = fits[:-1] + [("FILL", fits[-1][1] + "x")]
            self.assert_refusal(fcgi.ask(self.address, longer, size=size), 431)
        self.assert_refusal(fcgi.ask(self.address, PLAIN + [("FILL", "x" * 1000000)]), 431)
        self.assertEqual(len(self.app.requests), 1)

    def test_431_for_too_many_parameters(self):
        self.start(sections="[proxy p]\ntrust = 10.0.0.1\n[limits]\nparams_size = 4m\n")
        self.assert_answer(fcgi.ask(self.address, PLAIN + [("N", "v")] * (4096 - len(PLAIN))), b"")
        self.assert_refusal(fcgi.ask(self.address, PLAIN + [("N", "v")] * (4097 - len(PLAIN))), 431)
        self.assert_refusal(fcgi.ask(self.address, PLAIN + [("", "")] * 100000), 431)

    def test_431_for_a_length_beyond_all_limits(self):
        """A pair that claims two gigabytes is refused by what it claims, not after they came."""
        self.start()
        for head in (b"\xff\xff\xff\xff\xff\xff\xff\xff", b"\x7f\xff\xff\xff\xff", b"\x80\x00\x00\x01\xff\xff\xff\xfe"):
            client = self.client()
            client.send(request(head + b"N" * 100))
            response = client.read_response()
            self.assertIn(response.status, (400, 431))
            self.assert_refusal(response, response.status)
        self.assertEqual(self.app.connections, [])

    def test_400_for_a_truncated_pair(self):
        self.start()
        whole = pairs(PLAIN)
        client = self.client()
        for raw in (whole + b"\1", whole + b"\1\1", whole + b"\1\1N", whole + b"\x80", whole + b"\x80\0\0",
                    whole + b"\5\5NAME", whole[:-1], b"\0", whole + b"\1\x80\0\1\0N" + b"v" * 255):
            self.assert_refusal(client.ask(raw, keep=True), 400)
        self.assertEqual(self.app.connections, [])
        self.assert_answer(client.ask(PLAIN), b"")

    def test_authorizer_is_refused_too(self):
        """Anything but 200 means no."""
        self.start(sections=DENY)
        self.assert_refusal(self.client().ask(DENIED, role=AUTHORIZER), 403)

    def test_filter_is_refused_and_drained(self):
        self.start(sections=DENY)
        client = self.client()
        self.assert_refusal(client.ask(DENIED, b"body" * 1000, role=FILTER, data=b"data" * 50000, keep=True), 403)
        self.assert_answer(client.ask(TRUSTED), b"")


class Gone(RelayTest):
    """The application is not there, or not any more."""

    def test_502_without_a_socket(self):
        self.start(app="unix:{dir}/nobody.sock")
        self.assert_refusal(fcgi.ask(self.address, PLAIN), 502)
        self.shim.wait_log(r"nobody\.sock")

    def test_502_on_a_refused_connection(self):
        port = free_port()
        self.start(app="127.0.0.1:%d" % port)
        self.assert_refusal(fcgi.ask(self.address, PLAIN), 502)
        self.shim.wait_log(r"127\.0\.0\.1:%d" % port)

    def test_502_when_it_closes_before_a_byte(self):
        self.start(close_at_once)
        self.assert_refusal(fcgi.ask(self.address, POST, b"body"), 502)
        self.assertEqual(len(self.app.requests), 1)

    def test_502_when_it_resets_before_a_byte(self):
        def script(connection):
            connection.read_request()
            connection.reset()
        self.start(script, address="127.0.0.1:0")
        self.assert_refusal(fcgi.ask(self.address, POST, b"body"), 502)

    def test_502_for_junk(self):
        """Bytes that are no record, or records that no application sends, before the first of the answer."""
        junk = [b"HTTP/1.1 200 OK\r\n\r\n", b"\2\6\0\1\0\1\0\0x", b"\0" * 8, record(BEGIN, b"\0\1\0\0\0\0\0\0")]
        left = list(junk)

        def script(connection):
            connection.read_request()
            connection.send(left.pop(0))
        self.start(script)
        for _ in junk:
            response = fcgi.ask(self.address, POST, b"body")
            self.assert_refusal(response, 502)
        self.assertEqual(len(self.app.requests), len(junk))

    def test_authorizer_gets_502_not_200(self):
        self.start(app="unix:{dir}/nobody.sock")
        self.assert_refusal(self.client().ask(PLAIN, role=AUTHORIZER), 502)

    def test_kept_connection_outlives_it(self):
        self.start([close_at_once, fcgi.echo])
        client = self.client()
        self.assert_refusal(client.ask(POST, b"x" * 1000000, keep=True), 502)
        self.assert_answer(client.ask(POST, b"again", keep=True), b"again")

    def test_it_comes_later(self):
        """A missing application is no lasting state: the next request finds it."""
        self.start(app="unix:{dir}/app.sock")
        self.assert_refusal(fcgi.ask(self.address, PLAIN), 502)
        with fcgi.Responder(address="unix:%s/app.sock" % self.shim.dir):
            self.assert_answer(fcgi.ask(self.address, PLAIN), b"")


    def test_one_line_a_minute_tells_it(self):
        """A dead application may not fill the log."""
        self.start(app="unix:{dir}/nobody.sock")
        for _ in range(100):
            self.assert_refusal(fcgi.ask(self.address, PLAIN), 502)
        self.assertLess(self.shim.log().count("nobody.sock"), 6, self.shim.log())


class TimeOuts(RelayTest):
    def test_504_when_it_never_answers(self):
        self.start(never, upstream="read_timeout = 300ms")
        began = time.monotonic()
        client = self.client()
        self.assert_refusal(client.ask(PLAIN, keep=True), 504)
        self.assertGreaterEqual(time.monotonic() - began, 0.29)
        self.app.wait_closed()
        self.assert_refusal(client.ask(PLAIN), 504)

    def test_read_timeout_inside_an_answer_closes(self):
        """Bytes went out already: no page, and no END_REQUEST."""
        def script(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\nhalf"))
            never(connection)
        self.start(script, upstream="read_timeout = 2s")  # time enough for the first bytes
        clients = [self.client(), self.client()]
        for client, keep in zip(clients, (False, True)):
            client.send(request(PLAIN, keep=keep))
        for client in clients:
            response = client.read_response()
            self.assert_cut(response)
            self.assertEqual(response.stdout, b"X: y\r\n\r\nhalf")
        self.app.wait_closed()

    def test_read_timeout_is_for_silence_only(self):
        """Slower than the limit as a whole, but never silent for so long."""
        def script(connection):
            connection.read_request()
            pause = threading.Event()
            connection.send(record(STDOUT, b"X: y\r\n\r\n"))
            for _ in range(27):
                pause.wait(0.1)
                connection.send(record(STDOUT, b"."))
            connection.send(record(STDOUT) + end())
        self.start(script, upstream="read_timeout = 2500ms")
        self.assert_answer(fcgi.ask(self.address, PLAIN), b"." * 27)

    def test_a_slow_upload_is_not_a_silent_application(self):
        """While the body still comes there is no answer to wait for."""
        self.start(upstream="read_timeout = 2500ms")
        client = self.client()
        client.send(begin() + record(PARAMS, pairs(POST)) + record(PARAMS))
        pause = threading.Event()
        for _ in range(27):
            pause.wait(0.1)
            client.send(record(STDIN, b"."))
        client.send(record(STDIN))
        self.assert_answer(client.read_response(), b"." * 27)

    def test_answer_that_came_while_the_shim_stood_still(self):
        """A machine or a container that was paused: what the application said in time counts."""
        go_on, answered = threading.Event(), threading.Event()

        def script(connection):
            connection.read_request()
            assert go_on.wait(PATIENCE)
            connection.reply(b"in time")
            answered.set()
        self.start(script, upstream="read_timeout = 2s")
        client = self.client()
        client.send(request(PLAIN))
        self.app.wait_requests(1)
        began = time.monotonic()
        self.shim.freeze()
        go_on.set()
        self.assertTrue(answered.wait(PATIENCE))
        wait_for(lambda: time.monotonic() - began > 2.1, what="time to pass")
        self.shim.thaw()
        self.assert_answer(client.read_response(), b"in time")

    def test_request_timeout_is_for_the_whole(self):
        def script(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\n"))
            pause = threading.Event()
            while True:
                pause.wait(0.05)
                connection.send(record(STDOUT, b"."))
        self.start(script, upstream="request_timeout = 2s")  # time enough for the first bytes
        self.assert_cut(fcgi.ask(self.address, PLAIN))
        self.app.wait_closed()

    def test_504_after_request_timeout(self):
        self.start(never, upstream="request_timeout = 300ms")
        self.assert_refusal(fcgi.ask(self.address, PLAIN), 504)

    def test_504_when_it_does_not_read(self):
        """send_timeout: the body does not go out."""
        done = threading.Event()
        self.start(lambda connection: done.wait(PATIENCE), upstream="send_timeout = 300ms")
        self.addCleanup(done.set)
        client = self.client()
        sender = threading.Thread(target=send_all, args=(client, request(POST, b"x" * 20000000, keep=True)))
        sender.start()
        self.assert_refusal(client.read_response(), 504)
        sender.join(PATIENCE)
        self.assertFalse(sender.is_alive(), "the body is not drained after the refusal")

    def test_front_that_does_not_read(self):
        """send_timeout holds for it too: it may not hold the application for ever."""
        def script(connection):
            connection.read_request()
            try:
                while True:
                    connection.send(record(STDOUT, b"x" * 60000))
            except OSError:
                pass
        self.start(script, upstream="send_timeout = 300ms")
        client = self.client()
        client.send(request(PLAIN))
        self.app.wait_requests(1)
        self.app.wait_closed()

    def test_silence_inside_the_parameters(self):
        self.start(sections="[proxy p]\ntrust = 10.0.0.1\n[limits]\nheader_timeout = 300ms\n")
        whole = request(PLAIN)
        for sent in (whole[:3], whole[:8], begin(), whole[:16] + whole[16:20], whole[:60],
                     begin() + record(PARAMS, pairs(PLAIN))):
            began = time.monotonic()
            client = self.client()
            client.send(sent)
            client.read_eof()
            self.assertGreaterEqual(time.monotonic() - began, 0.29)
        self.assertEqual(self.app.connections, [])

    def test_slow_parameters_are_not_silent(self):
        """Longer than header_timeout as a whole, but never silent for so long."""
        self.start(sections="[proxy p]\ntrust = 10.0.0.1\n[limits]\nheader_timeout = 2500ms\n")
        client = self.client()
        pause = threading.Event()
        wire = request(PLAIN)
        for i in range(0, 81, 3):
            client.send(wire[i:i + 3])
            pause.wait(0.1)
        client.send(wire[81:])
        self.assert_answer(client.read_response(), b"")

    def test_silence_behind_a_late_reader(self):
        """Half a request came while the answer to the last one still waited to be read."""
        self.start(lambda connection: answer_sized(connection),
                   sections="[proxy p]\ntrust = 10.0.0.1\n[limits]\nheader_timeout = 600ms\n")
        clients = []
        for size in range(100000, 500000, 8192):
            client = self.client()
            client.send(request(PLAIN + [("SIZE", str(size))], keep=True))
            self.app.wait_requests(len(clients) + 1)
            if not self.app.requests[-1].ended.wait(PATIENCE if len(clients) < 4 else 0.5):
                break  # this and all longer answers do not fit: the shim has not got to the end
            clients.append((client, size))
        self.assertGreater(len(clients), 3)
        for client, _ in clients:
            client.send(request(PLAIN)[:40])
        for client, size in clients:
            self.assertEqual(len(client.read_response().body), size)
        for client, _ in clients:
            client.read_eof(timeout=10)

    def test_a_trickle_ends_too(self):
        """Bytes now and then do not hold a connection for ever."""
        self.start(sections="[proxy p]\ntrust = 10.0.0.1\n[limits]\nheader_timeout = 400ms\n")
        client = self.client()
        pause = threading.Event()
        client.send(begin() + record(PARAMS, b"x" * 60000)[:8])
        with self.assertRaises(OSError):
            for _ in range(600):
                client.send(b"x")
                pause.wait(0.05)

    def test_silence_between_requests_is_fine(self):
        self.start(sections="[proxy p]\ntrust = 10.0.0.1\n[limits]\nheader_timeout = 200ms\n")
        fresh, kept = self.client(), self.client()
        self.assert_answer(kept.ask(PLAIN, keep=True), b"")
        self.assertTrue(kept.is_quiet(0.7))
        self.assertTrue(fresh.is_quiet(0))
        for client in (fresh, kept):
            self.assert_answer(client.ask(PLAIN, keep=True), b"")

    def test_silence_inside_the_second_request(self):
        self.start(sections="[proxy p]\ntrust = 10.0.0.1\n[limits]\nheader_timeout = 300ms\n")
        client = self.client()
        self.assert_answer(client.ask(PLAIN, keep=True), b"")
        client.send(request(PLAIN)[:30])
        client.read_eof()

    def test_silence_inside_the_body_is_not_header_timeout(self):
        self.start(sections="[proxy p]\ntrust = 10.0.0.1\n[limits]\nheader_timeout = 200ms\n")
        client = self.client()
        client.send(begin() + record(PARAMS, pairs(POST)) + record(PARAMS) + record(STDIN, b"a"))
        self.assertTrue(client.is_quiet(0.6))
        client.send(record(STDIN, b"b") + record(STDIN))
        self.assert_answer(client.read_response(), b"ab")


def send_all(client, data):
    try:
        client.send(data)
    except OSError:
        pass


class Busy(RelayTest):
    def test_503_when_requests_is_reached(self):
        release = threading.Event()

        def script(connection):
            connection.read_request()
            assert release.wait(PATIENCE)
            connection.reply()
        self.start(script, sections="[proxy p]\ntrust = 10.0.0.1\n[limits]\nrequests = 3\n")
        clients = [self.client() for _ in range(3)]
        for client in clients:
            client.send(request(PLAIN))
        self.app.wait_requests(3)
        refused = self.client()
        response = refused.ask(POST, b"x" * 100000, keep=True)
        self.assert_refusal(response, 503)
        self.assertTrue(int(response.head["retry-after"]) >= 1)
        release.set()
        for client in clients:
            self.assert_answer(client.read_response(), b"ok")
        self.assert_answer(refused.ask(PLAIN), b"ok")
        self.assertEqual(len(self.app.requests), 4)


class Counted(RelayTest):
    """However a request ends, its places are free again: with one of each, one lost place would be the last."""

    def test_every_end_frees_its_places(self):
        def half(connection):
            return record(STDOUT, b"X: y\r\n\r\nhalf", connection.id)
        moods = {
            "die": lambda connection: connection.close(),
            "half": lambda connection: connection.send(half(connection)),
            "junk": lambda connection: connection.send(b"junk" * 10),
            "junk later": lambda connection: connection.send(half(connection) + b"junk" * 10),
            "end": lambda connection: connection.send(end(connection.id)),
            "overloaded": lambda connection: connection.send(end(connection.id, protocol_status=2)),
            "silent": never,
            "early": lambda connection: connection.reply(),
        }

        def script(connection):
            try:
                while True:
                    now = connection.read_params()
                    if now is None:
                        return
                    mood = (now.get("MOOD") or [b""])[0].decode()
                    if mood not in ("early", "die"):
                        connection.read_body()
                    if mood:
                        moods[mood](connection)
                        never(connection)
                        return
                    connection.reply(bytes(now.stdin))
            except ConnectionError:
                pass
        for keepalive in ("", "keepalive = on\n"):
            self.start(script, sections=DENY + "[limits]\nrequests = 1\nparams_size = 4k\n",
                       upstream="connections = 1\nread_timeout = 200ms\nqueue_timeout = 20s\n" + keepalive)
            fds = self.shim.fds()
            for mood in moods:
                for keep in (False, True):
                    client = self.client()
                    client.ask(POST + [("MOOD", mood)], b"body", keep=keep)
                    client.close()
                    self.assert_served()
            self.assert_refusal(fcgi.ask(self.address, DENIED), 403)
            self.assert_refusal(fcgi.ask(self.address, PLAIN + [("BIG", "b" * 5000)]), 431)
            self.assert_served()
            for way in ("close", "half_close", "abort"):
                for wire in (begin(keep=True), begin(keep=True) + record(PARAMS, pairs(POST)),
                             begin(keep=True) + record(PARAMS, pairs(POST)) + record(PARAMS) + record(STDIN, b"x"),
                             request(POST + [("MOOD", "silent")], b"body", keep=True)):
                    client = self.client()
                    client.send(wire)
                    client.wait_sent()
                    if way == "abort":
                        client.send(record(ABORT))
                        client.read_response()
                    elif way == "half_close":
                        client.half_close()
                        client.read_response()
                    client.close()
                    self.assert_served()
            self.wait(lambda: self.shim.fds() <= fds + (1 if keepalive else 0), "no descriptor to be left over")

    def assert_served(self):
        """Soon: what a peer's death frees, the shim may see a moment later than we."""
        def served():
            response = fcgi.ask(self.address, POST, b"served")
            if response.status in (503, 504):
                return False
            self.assert_answer(response, b"served")
            return True
        self.wait(served, "a free place")


class Drained(RelayTest):
    """A refusal does not cost the front its kept connection."""

    def test_body_behind_the_refusal(self):
        self.start(sections=DENY)
        client = self.client()
        wire = request(DENIED, b"x" * 3000000, keep=True)
        client.send(wire[:400])
        self.assert_refusal(client.read_response(), 403)
        client.send(wire[400:])
        for _ in range(3):
            self.assert_answer(client.ask(change(TRUSTED, REQUEST_METHOD="POST"), b"fine", keep=True), b"fine")
            self.assert_refusal(client.ask(DENIED, b"y" * 70000, keep=True, size=1000, padding=3), 403)
        self.assertEqual(len(self.app.requests), 3)

    def test_refused_before_the_parameters_end(self):
        """431 comes as soon as it is clear; the rest of PARAMS and the body are still read."""
        self.start(sections=DENY + "[limits]\nparams_size = 4k\n")
        client = self.client()
        client.send(begin(keep=True) + record(PARAMS, b"\1\1ab" * 1025))
        client.send(record(PARAMS, b"\1\1ab" * 5000) + record(PARAMS) + record(STDIN, b"body") + record(STDIN))
        self.assert_refusal(client.read_response(), 431)
        self.assert_answer(client.ask(TRUSTED, keep=True), b"")

    def test_without_keep_the_connection_ends_after_the_refusal(self):
        self.start(sections=DENY)
        client = self.client()
        self.assert_refusal(client.ask(DENIED, b"x" * 1000), 403)
        client.read_eof()

    def test_refusal_survives_a_front_that_still_sends(self):
        """TCP: to close with unread input is to reset, and a reset takes the page with it."""
        port = free_port()
        self.start(sections=DENY, listen="address = 127.0.0.1:%d" % port)
        for _ in range(5):
            client = self.client("127.0.0.1:%d" % port)
            sender = threading.Thread(target=send_all, args=(client, request(DENIED, b"x" * 2000000)))
            sender.start()
            sender.join(PATIENCE)
            self.assert_refusal(client.read_response(), 403)
            client.read_eof()

    def test_a_front_that_sends_for_ever_is_cut(self):
        """Draining without keep has an end of its own: the front cannot hold the connection by sending on."""
        self.start(sections=DENY)
        client = self.client()
        client.send(begin() + record(PARAMS, pairs(DENIED)) + record(PARAMS))
        self.assert_refusal(client.read_response(), 403)
        client.read_eof()


class Protocol(RelayTest):
    def assert_closed(self, wire, first=b""):
        client = self.client()
        client.send(first + wire)
        records = client.read_all()
        self.assertFalse([found for found in records if found.type == STDOUT and b"200" in found.content], records)
        self.assert_alive()

    def test_unknown_role(self):
        self.start()
        client = self.client()
        for role in (0, 4, 9, 255, 65535):
            client.send(request(POST, b"body" * 1000, id=7, role=role, keep=True))
            response = client.read_response(7)
            self.assertEqual(response.end, (0, UNKNOWN_ROLE))
            self.assertEqual(response.stdout, b"")
        self.assert_answer(client.ask(POST, b"body", id=7, keep=True), b"body")
        self.assertEqual(len(self.app.requests), 1)

    def test_unknown_role_without_keep(self):
        self.start()
        client = self.client()
        client.send(request(PLAIN, role=77))
        self.assertEqual(client.read_response().end, (0, UNKNOWN_ROLE))
        client.read_eof()

    def second_begin(self, at, id):
        """Request 1 with a BEGIN_REQUEST (and more) of another in its middle; gives what came."""
        parts = [begin(1, keep=True), record(PARAMS, pairs(POST)[:20], 1), record(PARAMS, pairs(POST)[20:], 1),
                 record(PARAMS, id=1), record(STDIN, b"body", 1), record(STDIN, id=1)]
        client = self.client()
        client.send(b"".join(parts[:at]) + begin(id, keep=True))
        found = client.read_record()
        self.assertIsNotNone(found)
        self.assertEqual((found.type, found.id), (END, id), found)
        self.assertEqual(struct.unpack("!IB3x", found.content), (0, CANT_MPX_CONN))
        if id != 1:
            client.send(request([("EVIL", "1")], b"evil", id)[16:])
        client.send(b"".join(parts[at:]))
        return client

    def test_second_begin_is_refused_and_the_first_unharmed(self):
        self.start()
        for at in range(1, 6):
            client = self.second_begin(at, 2)
            self.assert_answer(client.read_response(1), b"body")
            self.assert_params(self.app.requests[-1].params, POST)
            self.assert_answer(client.ask(POST, b"next", id=2), b"next")

    def test_second_begin_with_the_same_id(self):
        """Refused too. Whose records follow can no longer be told, so nothing of them may make a whole request."""
        complete = []

        def script(connection):
            connection.read_request()
            complete.append(bytes(connection.current.stdin))
            connection.reply()
        self.start(script)
        for at in range(1, 6):
            client = self.client()
            parts = [begin(1, keep=True), record(PARAMS, pairs(POST)[:20]), record(PARAMS, pairs(POST)[20:]),
                     record(PARAMS), record(STDIN, b"body"), record(STDIN)]
            client.send(b"".join(parts[:at]) + begin(1, keep=True))
            found = client.read_record()
            self.assertEqual((found.type, found.id, found.content), (END, 1, b"\0\0\0\0\1\0\0\0"))
            client.read_eof()
        self.app.wait_closed()
        self.assertEqual(complete, [])
        self.assert_alive()

    def test_second_begin_with_the_same_id_behind_a_whole_request(self):
        """Here it can be told: the first one is all there, and is answered."""
        self.start()
        client = self.client()
        client.send(request(POST, b"body", keep=True) + begin(1, keep=True))
        self.assertEqual(client.read_response(1).end, (0, CANT_MPX_CONN))
        client.send(record(PARAMS, pairs([("EVIL", "1")])) + record(PARAMS) + record(STDIN))
        self.assert_answer(client.read_response(1), b"body")
        self.assert_answer(client.ask(POST, b"next"), b"next")
        self.assertEqual(len(self.app.requests), 2)

    def test_second_begin_while_the_application_works(self):
        release = threading.Event()

        def script(connection):
            now = connection.read_request()
            assert release.wait(PATIENCE)
            connection.reply(bytes(now.stdin))
        self.start(script)
        client = self.client()
        client.send(request(POST, b"one", 1, keep=True))
        self.app.wait_requests(1)
        client.send(begin(2, keep=True))
        self.assertEqual(client.read_response(2).end, (0, CANT_MPX_CONN))
        client.send(request(POST, b"two", 2, keep=True)[16:])
        client.wait_sent()
        release.set()
        self.assert_answer(client.read_response(1), b"one")
        self.assert_answer(client.ask(POST, b"three", 2), b"three")
        self.assertEqual([bytes(seen.stdin) for seen in self.app.requests], [b"one", b"three"])

    def test_wrong_version(self):
        self.start()
        for wire in (record(BEGIN, b"\0\1\0\0\0\0\0\0", version=2), b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 64):
            self.assert_closed(wire)
        self.assert_closed(record(PARAMS, pairs(PLAIN), version=0), begin(keep=True))
        self.assert_closed(record(STDIN, b"x", version=9),
                           begin(keep=True) + record(PARAMS, pairs(POST)) + record(PARAMS))

    def test_stream_records_with_id_0(self):
        self.start()
        for kind in (PARAMS, STDIN, DATA):
            self.assert_closed(record(kind, b"x", 0))
            self.assert_closed(record(kind, b"x", 0), begin(keep=True))
        self.assert_closed(record(BEGIN, b"\0\1\1\0\0\0\0\0", 0))

    def test_garbage_inside_the_body_never_completes_it(self):
        """The application must not take a broken upload for a whole one."""
        ends = []

        def script(connection):
            if connection.read_params():
                try:
                    connection.read_body()
                    ends.append("complete")
                except ConnectionError:
                    ends.append("cut")
            connection.reply()
        self.start(script)
        client = self.client()
        client.send(begin(keep=True) + record(PARAMS, pairs(POST)) + record(PARAMS) + record(STDIN, b"part"))
        self.app.wait_requests(1)
        client.send(record(STDIN, version=3))
        client.read_all()
        self.app.wait_closed()
        self.assertEqual(ends, ["cut"])

    def test_begin_of_a_wrong_length(self):
        self.start()
        for content in (b"", b"\0\1", b"\0\1\1\0\0\0\0"):
            self.assert_closed(record(BEGIN, content))

    def test_mutated_requests(self):
        """Broken in any way: the shim lives, and serves the next one."""
        def script(connection):
            connection.check = lambda found: None
            try:
                if connection.read_request():
                    connection.reply(b"mutant")
            except AssertionError:
                pass
        self.start([script], sections="[proxy p]\ntrust = 10.0.0.0/8\n[limits]\nheader_timeout = 50ms\n",
                   upstream="read_timeout = 200ms")
        seed = random.randrange(1 << 32)
        dice = random.Random(seed)
        whole = request(DENIED, b"body" * 100, keep=True, size=90, padding=2)
        for _ in range(300):
            wire = bytearray(whole)
            for _ in range(dice.choice((1, 1, 2, 5))):
                at = dice.randrange(len(wire))
                kind = dice.randrange(4)
                if kind == 0:
                    wire[at] = dice.randrange(256)
                elif kind == 1:
                    del wire[at:at + dice.randrange(1, 20)]
                elif kind == 2:
                    wire[at:at] = dice.randbytes(dice.randrange(1, 20))
                else:
                    del wire[at + 1:]
                wire = wire or bytearray(b"\1")
            sock = connect(self.address)
            try:
                sock.sendall(wire)
                if dice.random() < 0.5:
                    sock.shutdown(socket.SHUT_WR)
                sock.settimeout(0.02)
                sock.recv(100000)
            except OSError:
                pass
            finally:
                sock.close()
            self.assertTrue(self.shim.running(), "seed %d\n%s" % (seed, self.shim.log()))
        wait_for(lambda: self.app.open == 0, what="upstream connections to end, seed %d" % seed)
        self.app.scripts = [fcgi.echo]
        self.assert_alive()


if __name__ == "__main__":
    unittest.main()
