#!/usr/bin/env python3
"""Connections to the application: how many, how long, who waits, what is sent again."""

import os
import select
import shutil
import threading
import time
import unittest

import fcgi
from fcgi import PARAMS, PATIENCE, STDERR, STDIN, STDOUT, begin, end, pairs, record, request
from relay import PLAIN, POST, PROXIES, RelayTest, change

KEPT = "keepalive = on\nconnections = 4\n"
HEAD_REQUEST = change(PLAIN, REQUEST_METHOD="HEAD")


class Gate:
    """A script whose answers wait until the test lets them go."""

    def __init__(self):
        self.open = threading.Semaphore(0)

    def __call__(self, connection):
        while True:
            now = connection.read_request()
            if now is None:
                return
            assert self.open.acquire(timeout=PATIENCE), "nobody opened the gate"
            connection.reply(bytes(now.stdin))
            if not now.keep:
                return

    def let(self, count):
        for _ in range(count):
            self.open.release()


def once_then(second):
    """A script: the first request is answered and the connection kept, then second(connection) takes over."""
    def script(connection):
        connection.read_request()
        connection.reply(b"first")
        second(connection)
    return script


def read_and_die(connection):
    connection.read_request()


def read_headers_and_die(connection):
    connection.read_params()


class KeepAlive(RelayTest):
    def test_off_is_the_default(self):
        """Whatever the front's flag: each request a connection of its own, and the flag says so."""
        self.start()
        client = self.client()
        for _ in range(5):
            self.assert_answer(client.ask(POST, b"x", keep=True), b"x")
        self.assert_answer(fcgi.ask(self.address, PLAIN), b"")
        self.assertEqual(len(self.app.connections), 6)
        self.assertEqual({seen.flags for seen in self.app.requests}, {0})

    def test_on_is_independent_of_the_front(self):
        self.start(upstream=KEPT)
        for keep in (False, True, False, True, True):
            client = self.client()
            self.assert_answer(client.ask(PLAIN, keep=keep), b"")
            if not keep:
                client.read_eof()
        self.assertEqual(len(self.app.connections), 1)
        self.assertEqual({seen.flags for seen in self.app.requests}, {1})

    def test_all_kinds_of_requests_on_one_connection(self):
        self.start(upstream=KEPT)
        client = self.client()
        for id, body in ((1, b""), (300, b"x" * 300000), (7, b"y"), (65535, b""), (1, b"z" * 70000)):
            self.assert_answer(client.ask(POST, body, id=id, keep=True), body)
            self.assert_answer(client.ask(PLAIN, id=id, keep=True), b"")
        self.assertEqual(len(self.app.connections), 1)

    def test_application_that_closes_although_it_may_stay(self):
        def script(connection):
            connection.read_request()
            connection.reply(b"bye")
        self.start(script, upstream=KEPT)
        client = self.client()
        for i in range(10):
            self.assert_answer(client.ask(POST, b"x", keep=True), b"bye")
            self.app.wait_closed()
        self.assertEqual(len(self.app.requests), 10)

    def test_idle_connections_close_after_their_time(self):
        self.start(upstream=KEPT + "idle_timeout = 300ms\n")
        began = time.monotonic()
        self.assert_answer(fcgi.ask(self.address, POST, b"x"), b"x")
        self.app.wait_closed()
        self.assertGreaterEqual(time.monotonic() - began, 0.29)
        self.assert_answer(fcgi.ask(self.address, POST, b"y"), b"y")
        self.assertEqual(len(self.app.connections), 2)

    def test_a_busy_connection_is_not_idle(self):
        gate = Gate()
        self.start(gate, upstream=KEPT + "idle_timeout = 100ms\n")
        client = self.client()
        client.send(request(POST, b"x"))
        self.app.wait_requests(1)
        self.assertTrue(client.is_quiet(0.5))
        gate.let(1)
        self.assert_answer(client.read_response(), b"x")

    def test_no_connection_before_a_request(self):
        """An application drops, or waits on, a connection that says nothing."""
        self.start(upstream=KEPT)
        client = self.client()
        client.send(begin() + record(PARAMS, pairs(PLAIN)))
        client.wait_sent()
        self.assertTrue(client.is_quiet(0.2))
        self.assertEqual(self.app.connections, [])


class Reuse(RelayTest):
    def test_closed_while_idle(self):
        """The check before reuse: a POST does not go into a dead connection."""
        closed = []

        def first(connection):
            connection.read_request()
            connection.reply(b"first")
            connection.close()
            closed.append(True)
        self.start([first, fcgi.echo], upstream=KEPT)
        client = self.client()
        self.assert_answer(client.ask(POST, b"one", keep=True), b"first")
        self.wait(lambda: closed)
        self.assert_answer(client.ask(POST, b"two", keep=True), b"two")
        self.assertEqual([bytes(seen.stdin) for seen in self.app.requests], [b"one", b"two"])

    def test_closed_a_moment_before_reuse(self):
        """The request is there first, then the application closes, and only then the shim looks."""
        closed = threading.Event()
        close = threading.Event()

        def first(connection):
            connection.read_request()
            connection.reply(b"first")
            assert close.wait(PATIENCE)
            connection.close()
            closed.set()
        for method in ("POST", "GET"):
            close.clear()
            closed.clear()
            self.start([first, fcgi.echo], upstream=KEPT)
            client = self.client()
            self.assert_answer(client.ask(POST, b"one", keep=True), b"first")
            self.shim.freeze()
            client.send(request(change(POST, REQUEST_METHOD=method), b"two", keep=True))
            close.set()
            self.assertTrue(closed.wait(PATIENCE))
            self.shim.thaw()
            self.assert_answer(client.read_response(), b"two")
            self.assertEqual([bytes(seen.stdin) for seen in self.app.requests], [b"one", b"two"])

    def test_many_closed_a_moment_before_reuse(self):
        """The same with more events than one look at the sockets gives."""
        count = 300
        close = threading.Event()
        closed = threading.Semaphore(0)
        all_there = threading.Barrier(count)

        def first(connection):
            connection.read_request()
            all_there.wait(PATIENCE)
            connection.reply(b"first")
            assert close.wait(PATIENCE)
            connection.close()
            closed.release()
        self.start([first] * count + [fcgi.echo], upstream="keepalive = on\nconnections = %d\n" % count)
        clients = [self.client() for _ in range(count)]
        for client in clients:
            client.send(request(POST, b"one", keep=True))
        for client in clients:
            self.assert_answer(client.read_response(), b"first")
        self.shim.freeze()
        for client in clients:
            client.send(request(POST, b"two", keep=True))
        close.set()
        for _ in range(count):
            self.assertTrue(closed.acquire(timeout=PATIENCE))
        self.shim.thaw()
        for client in clients:
            self.assert_answer(client.read_response(), b"two")

    def test_dead_connections_give_their_places_back(self):
        """With a cap of one, the dead one may not block the place."""
        def script(connection):
            connection.read_request()
            connection.reply(b"bye")
        self.start(script, upstream="keepalive = on\nconnections = 1\nqueue_timeout = 5s")
        client = self.client()
        for _ in range(10):
            self.assert_answer(client.ask(POST, b"x", keep=True), b"bye")
            self.app.wait_closed()

    def test_unread_body_is_left_behind_with_its_connection(self):
        """The application answered without reading the body, all of which is in the socket already: it would take
        the rest of it for the next request."""
        def first(connection):
            connection.read_size = 1024
            connection.read_params()
            assert go_on.wait(PATIENCE)
            connection.reply(b"first")
            # It reads nothing more, only looks whether the other side has gone.
            gone = select.poll()
            gone.register(connection.sock, 0)
            self.assertTrue(gone.poll(PATIENCE * 1000), "the shim keeps the connection")
        go_on = threading.Event()
        self.start([first, fcgi.echo], upstream=KEPT)
        client = self.client()
        client.send(request(POST, b"x" * 30000, keep=True))
        client.wait_sent()
        self.app.wait_requests(1)
        go_on.set()
        self.assert_answer(client.read_response(), b"first")
        self.assert_answer(client.ask(POST, b"two", keep=True), b"two")
        self.assertEqual(len(self.app.connections), 2)

    def test_end_comes_while_the_front_catches_up(self):
        """The front takes what waited, and the application ends its answer, at the same moment: the connection is
        as good as any. Of the sizes some leave a part of the answer with the shim."""
        go_on = threading.Semaphore(0)
        sent = threading.Semaphore(0)

        def script(connection):
            while True:
                now = connection.read_request()
                if now is None:
                    return
                connection.send(fcgi.stream(STDOUT, b"X: y\r\n\r\n" + b"x" * int(now.get("SIZE")[0]), now.id))
                try:
                    connection.wait_sent(0.2)
                except AssertionError:
                    pass  # the shim has enough
                sent.release()
                assert go_on.acquire(timeout=PATIENCE)
                if connection.send_now(end(now.id)):
                    sent.release()
                else:
                    connection.send(end(now.id))
        self.start(script, upstream=KEPT)
        client = self.client()
        for size in range(0, 300000, 8192):
            client.send(request(PLAIN + [("SIZE", str(size))], keep=True))
            self.assertTrue(sent.acquire(timeout=PATIENCE))
            self.shim.freeze()
            while fcgi.wait_readable([client.sock], 0):
                client._fill(PATIENCE)
            go_on.release()
            fits = sent.acquire(timeout=0.5)
            self.shim.thaw()
            response = client.read_response()
            self.assertEqual((response.end, len(response.body)), ((0, 0), size))
            self.assertEqual(len(self.app.connections), 1, size)
            if not fits:
                break  # this and all longer answers do not leave room for their end

    def test_half_closed_while_idle(self):
        done = threading.Event()

        def first(connection):
            connection.read_request()
            connection.reply(b"first")
            connection.half_close()
            done.set()
            connection.read_eof()
        self.start([first, fcgi.echo], upstream=KEPT)
        client = self.client()
        self.assert_answer(client.ask(POST, b"one", keep=True), b"first")
        self.assertTrue(done.wait(PATIENCE))
        self.assert_answer(client.ask(POST, b"two", keep=True), b"two")

    def test_application_that_is_started_anew(self):
        """Another process at the same path: requests go there, the first one too, whatever its method."""
        self.start(upstream=KEPT)
        client = self.client()
        path = self.app.address[len("unix:"):]
        self.addCleanup(shutil.rmtree, self.app.directory)
        for turn in range(5):
            others = [self.client() for _ in range(3)]
            for other in others:
                other.send(request(POST, b"x", keep=True))
            for other in others:
                self.assert_answer(other.read_response(), b"x")
            app, self.app.directory = self.app, None  # it stays, for the next one
            app.close()
            os.unlink(path)
            self.app = fcgi.Responder(address="unix:" + path)
            self.addCleanup(self.stop_app, self.app)
            self.assert_answer(client.ask(POST, b"%d" % turn, keep=True), b"%d" % turn)

    def test_late_words_of_the_last_request(self):
        """An application goes on about a request that it has ended: nobody else gets to see it."""
        def script(connection):
            last = None
            while connection.read_request() is not None:
                if last:
                    late = record(STDOUT, b"X: y\r\n\r\nsecret", last) + record(STDERR, b"secret", last)
                    connection.send(late + record(STDOUT, b"", last) + end(last))
                connection.reply(b"%d" % len(connection.requests))
                last = connection.id
        self.start(script, upstream=KEPT)
        for i in range(1, 20):
            response = self.client().ask(PLAIN, keep=i % 2 == 0)
            self.assert_answer(response, b"%d" % i)
            self.assertEqual(response.stderr, b"")

    def test_bytes_on_an_idle_connection(self):
        """The application spoke unasked: whatever that was, it is not the next request's answer."""
        spoken = []

        def first(connection):
            connection.read_request()
            connection.reply(b"first")
            connection.send(record(STDOUT, b"X: y\r\n\r\nunasked") + end())
            spoken.append(True)
            connection.read_eof()
        self.start([first, fcgi.echo], upstream=KEPT)
        client = self.client()
        self.assert_answer(client.ask(POST, b"one", keep=True), b"first")
        self.wait(lambda: spoken)
        self.assert_answer(client.ask(POST, b"two", keep=True), b"two")
        self.assertEqual(len(self.app.connections), 2)


class Retry(RelayTest):
    """Once, on a fresh connection, only GET and HEAD, only after a kept connection gave no byte."""

    def die_on_second(self, params, scripts, upstream=KEPT):
        self.start(scripts, upstream=upstream)
        client = self.client()
        self.assert_answer(client.ask(POST, b"", keep=True), b"first")
        return client.ask(params, keep=True)

    def test_get_and_head_go_out_again(self):
        for params in (PLAIN, HEAD_REQUEST):
            for dies in (read_and_die, read_headers_and_die):
                response = self.die_on_second(params, [once_then(dies), fcgi.echo])
                self.assert_answer(response, b"")
                self.assertEqual(len(self.app.connections), 2)
                self.assertEqual(len(self.app.requests), 3)
                self.assert_params(self.app.requests[1].params, params)
                self.assert_params(self.app.requests[2].params, params)

    def test_rewritten_parameters_go_out_again_as_they_were(self):
        params = change(PLAIN, ("HTTP_X_FORWARDED_FOR", "203.0.113.7"), REMOTE_ADDR="10.0.0.1")
        self.assert_answer(self.die_on_second(params, [once_then(read_and_die), fcgi.echo]), b"")
        self.assertEqual(self.app.requests[1].params_raw, self.app.requests[2].params_raw)
        self.assertEqual(self.app.requests[2].get("REMOTE_ADDR"), [b"203.0.113.7"])

    def test_reset_counts_like_a_close(self):
        def dies(connection):
            connection.read_request()
            connection.reset()
        self.start([once_then(dies), fcgi.echo], upstream=KEPT, address="127.0.0.1:0")
        client = self.client()
        self.assert_answer(client.ask(POST, b"", keep=True), b"first")
        self.assert_answer(client.ask(PLAIN, keep=True), b"")

    def test_other_methods_never(self):
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "get", "GETX", "GE", ""):
            response = self.die_on_second(change(PLAIN, REQUEST_METHOD=method), [once_then(read_and_die), fcgi.echo])
            self.assert_refusal(response, 502)
            self.assertEqual(len(self.app.requests), 2, method)

    def test_no_method_never(self):
        response = self.die_on_second(change(PLAIN, REQUEST_METHOD=None), [once_then(read_and_die), fcgi.echo])
        self.assert_refusal(response, 502)
        self.assertEqual(len(self.app.requests), 2)

    def test_post_with_a_body_never(self):
        self.start([once_then(read_and_die), fcgi.echo], upstream=KEPT)
        client = self.client()
        self.assert_answer(client.ask(POST, b"", keep=True), b"first")
        self.assert_refusal(client.ask(POST, b"x" * 200000, keep=True), 502)
        self.assertEqual(len(self.app.requests), 2)
        self.assert_answer(client.ask(POST, b"on", keep=True), b"on")

    def test_get_with_a_body_is_not_sent_in_halves(self):
        """Repeated whole or not at all: the body may be gone already."""
        self.start([once_then(read_and_die), fcgi.echo], upstream=KEPT)
        client = self.client()
        self.assert_answer(client.ask(POST, b"", keep=True), b"first")
        for body in (b"small", b"x" * 1000000):
            response = client.ask(PLAIN, body, keep=True)
            self.assertIn(response.status, (200, 502))
            self.assert_answer(response, body if response.status == 200 else None, response.status)

    def test_not_after_a_byte_of_the_answer(self):
        def record_then_die(connection):
            connection.read_request()
            connection.send(record(STDERR, b"hm", connection.id))

        def half_header_then_die(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\n")[:3])
        response = self.die_on_second(PLAIN, [once_then(record_then_die), fcgi.echo])
        self.assert_cut(response)
        self.assertEqual(len(self.app.requests), 2)
        response = self.die_on_second(PLAIN, [once_then(half_header_then_die), fcgi.echo])
        self.assertTrue(response.end is None or response.status == 502, response)
        self.assertEqual(len(self.app.requests), 2)

    def test_not_on_a_fresh_connection(self):
        self.start(read_and_die, upstream=KEPT)
        self.assert_refusal(fcgi.ask(self.address, PLAIN), 502)
        self.assertEqual(len(self.app.requests), 1)

    def test_only_once(self):
        response = self.die_on_second(PLAIN, [once_then(read_and_die), read_and_die, fcgi.echo])
        self.assert_refusal(response, 502)
        self.assertEqual(len(self.app.connections), 2)

    def test_on_a_fresh_connection_not_another_kept_one(self):
        """After a restart of the application all kept ones are dead: a second kept one would fail as well."""
        gate = Gate()

        def script(connection):
            connection.read_request()
            assert gate.open.acquire(timeout=PATIENCE)
            connection.reply(b"first")
            connection.read_request()
        self.start([script, script, fcgi.echo], upstream=KEPT)
        clients = [self.client(), self.client()]
        for client in clients:
            client.send(request(PLAIN, keep=True))
        self.app.wait_requests(2)
        gate.let(2)
        for client in clients:
            self.assert_answer(client.read_response(), b"first")
        self.assert_answer(clients[0].ask(PLAIN, keep=True), b"")
        self.assertEqual(len(self.app.connections), 3)

    def test_not_after_a_time_out(self):
        """A slow application is not a dead one: asking twice makes it slower."""
        def silent(connection):
            connection.read_request()
            connection.read_eof()
        self.start([once_then(silent), fcgi.echo], upstream=KEPT + "read_timeout = 1500ms\n")
        client = self.client()
        self.assert_answer(client.ask(POST, b"", keep=True), b"first")
        self.assert_refusal(client.ask(PLAIN, keep=True), 504)
        self.assertEqual(len(self.app.requests), 2)


class CapAndQueue(RelayTest):
    def many(self, count, upstream, params):
        gate = Gate()
        self.start(gate, upstream=upstream)
        clients = [self.client() for _ in range(count)]
        for i, client in enumerate(clients):
            client.send(request(params, b"body %d" % i if params is POST else b""))
        return gate, clients

    def test_cap_is_never_exceeded(self):
        for more in ("", "keepalive = on\n"):
            gate, clients = self.many(20, "connections = 3\n" + more, POST if not more else PLAIN)
            self.app.wait_requests(3)
            for i in range(20):
                gate.let(1)
                self.app.wait_requests(min(20, i + 4))
            for i, client in enumerate(clients):
                self.assert_answer(client.read_response(), b"" if more else b"body %d" % i)
            self.assertEqual(len(self.app.requests), 20)
            if more:
                self.assertLessEqual(len(self.app.connections), 3)

    def test_cap_holds_at_every_moment(self):
        """Counted where it matters: whenever the application has accepted one, as its kernel sees the others."""
        first = threading.Barrier(3)  # together at least once: the cap is reached

        def script(connection):
            now = connection.read_request()
            if now:
                if connection.number < 3:
                    first.wait(PATIENCE)
                connection.reply(bytes(now.stdin))
                connection.read_eof()
        self.start(script, upstream="connections = 3\n")
        clients = [self.client() for _ in range(60)]
        for client in clients:
            client.send(request(POST, b"x"))
        for client in clients:
            self.assert_answer(client.read_response(), b"x")
        self.assertEqual(self.app.most_open, 3)

    def test_queue_is_first_in_first_out(self):
        gate = Gate()
        self.start(gate, upstream="connections = 1\n")
        clients = []
        for i in range(10):
            client = self.client()
            client.send(request(POST, b"%d" % i))
            client.wait_sent()
            clients.append(client)
        for _ in clients:
            gate.let(1)
        for i, client in enumerate(clients):
            self.assert_answer(client.read_response(), b"%d" % i)
        self.assertEqual([bytes(seen.stdin) for seen in self.app.requests], [b"%d" % i for i in range(10)])

    def test_queue_is_first_in_first_out_on_kept_connections(self):
        gate = Gate()
        self.start(gate, upstream="connections = 1\nkeepalive = on\n")
        clients = []
        for i in range(10):
            client = self.client()
            client.send(request(PLAIN + [("NUMBER", str(i))], keep=True))
            client.wait_sent()
            clients.append(client)
        for _ in clients:
            gate.let(1)
        for client in clients:
            self.assert_answer(client.read_response(), b"")
        self.assertEqual([seen.get("NUMBER") for seen in self.app.requests], [[b"%d" % i] for i in range(10)])
        self.assertEqual(len(self.app.connections), 1)

    def test_big_bodies_wait_in_the_queue(self):
        """They are not read into memory while they wait: the front is stopped."""
        gate = Gate()
        self.start(gate, upstream="connections = 1\n")
        first, second = self.client(), self.client()
        first.send(request(POST, b"first"))
        self.app.wait_requests(1)
        before = self.shim.rss()
        body = bytes(range(256)) * 80000
        sender = threading.Thread(target=second.send, args=(request(POST, body),))
        sender.start()
        self.assertTrue(second.is_quiet(0.3))
        self.assertTrue(sender.is_alive(), "20 MB were taken although nobody reads them")
        self.assertLess(self.shim.rss() - before, 8 << 20)
        gate.let(2)
        self.assert_answer(first.read_response(), b"first")
        self.assert_answer(second.read_response(), body)
        sender.join(PATIENCE)

    def test_queue_full(self):
        gate = Gate()
        self.start(gate, upstream="connections = 1\nqueue = 2\n")
        clients = []
        for i in range(3):
            client = self.client()
            client.send(request(POST, b"%d" % i))
            client.wait_sent()
            clients.append(client)
        refused = self.client()
        response = refused.ask(POST, b"x" * 100000, keep=True)
        self.assert_refusal(response, 503)
        self.assertGreaterEqual(int(response.head["retry-after"]), 1)
        gate.let(4)
        for i, client in enumerate(clients):
            self.assert_answer(client.read_response(), b"%d" % i)
        self.assert_answer(refused.ask(POST, b"now"), b"now")

    def test_half_close_in_the_queue(self):
        gate = Gate()
        self.start(gate, upstream="connections = 1\n")
        first, second = self.client(), self.client()
        first.send(request(POST, b"first"))
        self.app.wait_requests(1)
        second.send(request(POST, b"second"))
        second.half_close()
        second.wait_sent()
        gate.let(2)
        self.assert_answer(first.read_response(), b"first")
        self.assert_answer(second.read_response(), b"second")

    def test_half_sent_body_that_ends_in_the_queue(self):
        """Its application must never see it."""
        gate = Gate()
        self.start(gate, upstream="connections = 1\n")
        first, second = self.client(), self.client()
        first.send(request(POST, b"first"))
        self.app.wait_requests(1)
        second.send(begin() + record(PARAMS, pairs(POST)) + record(PARAMS) + record(STDIN, b"half"))
        second.half_close()
        second.read_eof()
        gate.let(1)
        self.assert_answer(first.read_response(), b"first")
        gate.let(1)
        self.assert_alive()
        self.assertEqual([bytes(seen.stdin) for seen in self.app.requests], [b"first", b""])

    def test_no_queue(self):
        gate = Gate()
        self.start(gate, upstream="connections = 1\nqueue = 0\n")
        client = self.client()
        client.send(request(POST, b"x"))
        self.app.wait_requests(1)
        self.assert_refusal(fcgi.ask(self.address, PLAIN), 503)
        gate.let(1)
        self.assert_answer(client.read_response(), b"x")

    def test_queue_timeout(self):
        gate = Gate()
        self.start(gate, upstream="connections = 1\nqueue_timeout = 300ms\n")
        first, second = self.client(), self.client()
        first.send(request(POST, b"first"))
        self.app.wait_requests(1)
        began = time.monotonic()
        response = second.ask(POST, b"x" * 100000, keep=True)
        self.assert_refusal(response, 503)
        self.assertGreaterEqual(time.monotonic() - began, 0.29)
        self.assertGreaterEqual(int(response.head["retry-after"]), 1)
        gate.let(1)
        self.assert_answer(first.read_response(), b"first")
        gate.let(1)
        self.assert_answer(second.ask(POST, b"again"), b"again")
        self.assertEqual(len(self.app.requests), 2)

    def test_who_leaves_the_queue_is_forgotten(self):
        gate = Gate()
        self.start(gate, upstream="connections = 1\n")
        first, gone, last = self.client(), self.client(), self.client()
        first.send(request(POST, b"first"))
        self.app.wait_requests(1)
        gone.send(request(POST, b"gone"))
        gone.wait_sent()
        last.send(request(POST, b"last"))
        last.wait_sent()
        fds = self.shim.fds()
        gone.close()
        self.wait(lambda: self.shim.fds() < fds, "the shim to notice")
        gate.let(2)
        self.assert_answer(first.read_response(), b"first")
        self.assert_answer(last.read_response(), b"last")
        self.assertEqual([bytes(seen.stdin) for seen in self.app.requests], [b"first", b"last"])

    def test_the_queue_moves_on_when_requests_break(self):
        """Every way for a request to end gives its place to the next."""
        def dies(connection):
            connection.read_request()

        def half(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\nhalf"))
        gate = Gate()
        self.start([gate, dies, half, gate, fcgi.echo], upstream="connections = 1\n")
        clients = []
        for i in range(5):
            client = self.client()
            client.send(request(POST, b"%d" % i))
            client.wait_sent()
            clients.append(client)
        gate.let(1)
        self.assert_answer(clients[0].read_response(), b"0")
        self.assert_refusal(clients[1].read_response(), 502)
        self.assert_cut(clients[2].read_response())
        self.app.wait_requests(4)
        clients[3].close()
        self.assert_answer(clients[4].read_response(), b"4")
        gate.let(1)


class Pipelining(RelayTest):
    def test_never_two_requests_on_one_upstream_connection(self):
        """Connection.reply asserts it: nothing of a next request before the answer is out."""
        gate = Gate()
        self.start(gate, upstream="connections = 2\nkeepalive = on\n")
        clients = [self.client() for _ in range(10)]
        for turn in range(6):
            params = POST if turn > 3 else PLAIN
            for i, client in enumerate(clients):
                client.send(request(params, b"%d %d" % (turn, i) if turn > 3 else b"", keep=True))
            gate.let(10)
            for i, client in enumerate(clients):
                self.assert_answer(client.read_response(), b"%d %d" % (turn, i) if turn > 3 else b"")
            if turn == 3:
                self.assertLessEqual(len(self.app.connections), 2)

    def test_next_request_right_behind_the_answer(self):
        """Bytes of the next request in one packet with the last byte that the shim waited for."""
        self.start()
        client = self.client()
        client.send(begin(1, keep=True) + record(PARAMS, pairs(POST)) + record(PARAMS))
        self.app.wait_requests(1)
        client.send(record(STDIN, b"one") + record(STDIN))
        for i in range(20):
            self.assert_answer(client.read_response(), b"one" if i == 0 else b"%d" % i)
            client.send(request(POST, b"%d" % (i + 1), keep=True))
        self.assert_answer(client.read_response(), b"20")

    def test_two_requests_in_one_packet(self):
        """A BEGIN_REQUEST before the END_REQUEST of the running one is refused, and its records are dropped: each
        id gets one end, and no answer is mixed with another."""
        self.start(upstream=KEPT, sections=PROXIES)
        for _ in range(20):
            client = self.client()
            client.send(request(POST, b"one", 1, keep=True) + request(POST, b"two", 2, keep=True))
            out = {1: b"", 2: b""}
            ends = {}
            while len(ends) < 2:
                found = client.read_record()
                self.assertIsNotNone(found)
                if found.type == STDOUT:
                    out[found.id] += found.content
                elif found.type == fcgi.END:
                    ends[found.id] = found.content[4]
            self.assertEqual(ends[1], 0)
            self.assertTrue(out[1].endswith(b"\r\n\r\none"), out)
            if ends[2] == fcgi.CANT_MPX_CONN:
                self.assertEqual(out[2], b"")
            else:
                self.assertEqual(ends[2], 0)
                self.assertTrue(out[2].endswith(b"\r\n\r\ntwo"), out)
            self.assert_answer(client.ask(POST, b"three", 3), b"three")


if __name__ == "__main__":
    unittest.main()
