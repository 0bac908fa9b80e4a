#!/usr/bin/env python3
"""How requests end: well, by abort, by death of either side. A broken request must never look complete."""

import socket
import threading
import time
import unittest

import fcgi
from fcgi import (ABORT, CANT_MPX_CONN, DATA, FILTER, OVERLOADED, PARAMS, PATIENCE, STDERR, STDIN, STDOUT, UNKNOWN_ROLE,
                  begin, end, pairs, record, request)
from relay import PLAIN, POST, RelayTest
from shim import free_port


class Watch:
    """A script that writes down how each request ended, as an application sees it."""

    def __init__(self):
        self.seen = []
        self.bodies = []

    def __call__(self, connection):
        try:
            now = connection.read_params()
            if now is None:
                self.seen.append("nothing")
                return
            connection.read_body()
            if now.role == FILTER:
                connection.read_body(DATA)
            self.seen.append("complete")
            connection.reply()
            connection.read_eof()
        except ConnectionError:
            self.seen.append("cut")
        finally:
            self.bodies.append(bytes(connection.current.stdin) if connection.current else None)


HEAD = begin(keep=True) + record(PARAMS, pairs(POST)) + record(PARAMS)


class FrontGoes(RelayTest):
    """The web server gives up. "Complete" may only be what it completed."""

    def give_up(self, how, sent, front=None, **options):
        watch = Watch()
        self.start(watch, **options)
        client = self.client(front)
        client.send(sent)
        self.app.wait_requests(1)
        if front is None:
            client.wait_sent()
        how(client)
        self.app.wait_closed()
        self.assert_alive_again()
        return watch

    def assert_alive_again(self):
        self.app.scripts = [fcgi.echo]
        self.assert_alive()

    def test_close_inside_the_body(self):
        for sent in (b"", record(STDIN, b"part"), record(STDIN, b"part")[:-2], record(STDIN, b"part")[:5],
                     record(STDIN, b"x" * 60000),
                     record(STDIN, b"part", padding=9)[:-4]):
            watch = self.give_up(lambda client: client.close(), HEAD + sent)
            self.assertEqual(watch.seen, ["cut"], sent[:20])

    def test_half_close_inside_the_body(self):
        """The end of input before the end of STDIN is an abort."""
        watch = self.give_up(lambda client: client.half_close(), HEAD + record(STDIN, b"part"))
        self.assertEqual(watch.seen, ["cut"])

    def test_half_close_before_the_empty_data_of_a_filter(self):
        watch = self.give_up(lambda client: client.half_close(),
                             begin(role=FILTER) + record(PARAMS, pairs(POST)) + record(PARAMS) + record(STDIN)
                             + record(DATA, b"part"))
        self.assertEqual(watch.seen, ["cut"])

    def test_close_and_reset_over_tcp(self):
        for how in ("close", "reset", "half_close"):
            port = free_port()
            address = "127.0.0.1:%d" % port
            watch = self.give_up(lambda client: getattr(client, how)(), HEAD + record(STDIN, b"part"), address,
                                 listen="address = %s\n unix:{dir}/shim.sock" % address, address="127.0.0.1:0")
            self.assertEqual(watch.seen, ["cut"], how)

    def test_close_inside_the_parameters(self):
        """The application is not even connected to."""
        self.start()
        whole = request(PLAIN)
        for at in (1, 8, 16, 20, 60, len(begin() + record(PARAMS, pairs(PLAIN)))):
            client = self.client()
            client.send(whole[:at])
            client.wait_sent()
            client.close()
        self.assert_alive()
        self.assertEqual(len(self.app.connections), 1)

    def test_close_while_the_application_works(self):
        """unix: the front is really gone, so the application's work is for nobody."""
        gone = threading.Event()

        def script(connection):
            connection.read_request()
            connection.read_eof()
            gone.set()
        self.start(script)
        client = self.client()
        client.send(request(PLAIN, keep=True))
        self.app.wait_requests(1)
        client.close()
        self.assertTrue(gone.wait(PATIENCE), "the application's connection stays open")

    def test_close_while_the_answer_flows(self):
        watch = []

        def script(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\n"))
            try:
                while True:
                    connection.send(record(STDOUT, b"x" * 60000))
            except OSError:
                watch.append("stopped")
        for address in (None, "127.0.0.1:%d" % free_port()):
            self.start(script, listen="address = " + (address or "unix:{dir}/shim.sock"))
            client = self.client(address)
            client.send(request(PLAIN))
            self.assertEqual(client.read_record().content, b"X: y\r\n\r\n")
            client.close()
            self.app.wait_closed()
        self.assertEqual(watch, ["stopped"] * 2)

    def test_half_close_after_the_whole_request(self):
        """It still waits for its answer."""
        go_on = threading.Event()

        def script(connection):
            now = connection.read_request()
            assert go_on.wait(PATIENCE)
            connection.reply(bytes(now.stdin))
        port = free_port()
        self.start(script, listen="address = unix:{dir}/shim.sock, 127.0.0.1:%d" % port)
        for address in (self.address, "127.0.0.1:%d" % port):
            for keep in (False, True):
                go_on.clear()
                count = len(self.app.requests)
                client = self.client(address)
                client.send(request(POST, b"body", keep=keep))
                client.half_close()
                self.app.wait_requests(count + 1)
                go_on.set()
                self.assert_answer(client.read_response(), b"body")
                client.read_eof()

    def test_half_close_with_a_big_answer(self):
        def script(connection):
            connection.read_request()
            connection.reply(b"x" * 5000000)
        self.start(script)
        client = self.client()
        client.send(request(PLAIN))
        client.half_close()
        self.assert_answer(client.read_response(), b"x" * 5000000)

    def test_front_that_leaves_after_the_empty_stdout(self):
        """nginx without keep_conn reads no further; that is success, not an error to log."""
        read = threading.Event()

        def script(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\nall") + record(STDOUT))
            assert read.wait(PATIENCE)
            try:
                connection.send(end())
            except OSError:
                pass
        port = free_port()
        self.start([script], listen="address = unix:{dir}/shim.sock, 127.0.0.1:%d" % port)
        for address in (self.address, "127.0.0.1:%d" % port):
            read.clear()
            client = self.client(address)
            client.send(request(PLAIN))
            while client.read_record().content:
                pass
            client.close()
            read.set()
            self.app.wait_closed()
        self.app.scripts = [fcgi.echo]
        self.assert_alive()
        self.assertNotRegex(self.shim.log(), r"(error|warning): (?!running as root)")


class Aborts(RelayTest):
    """ABORT_REQUEST: answered with an END_REQUEST of status 0; for the application, the connection closes."""

    def assert_aborted(self, client, id=1):
        response = client.read_response(id)
        self.assertEqual(response.end, (0, 0))
        return response

    def test_abort_inside_the_body(self):
        watch = Watch()
        self.start([watch, fcgi.echo])
        client = self.client()
        client.send(HEAD + record(STDIN, b"part"))
        self.app.wait_requests(1)
        client.send(record(ABORT))
        self.assertEqual(self.assert_aborted(client).stdout, b"")
        self.app.wait_closed()
        self.assertEqual(watch.seen, ["cut"])
        client.send(record(STDIN, b"late") + record(STDIN))
        self.assert_answer(client.ask(POST, b"next", keep=True), b"next")
        self.assertNotIn(ABORT, [found.type for found in fcgi.parse_records(bytes(
            self.app.connections[0].received))[0]])

    def test_abort_inside_the_parameters(self):
        self.start()
        client = self.client()
        for sent in (b"", record(PARAMS, pairs(POST)[:30], 5), record(PARAMS, pairs(POST), 5)):
            client.send(begin(5, keep=True) + sent + record(ABORT, id=5))
            self.assert_aborted(client, 5)
        self.assert_answer(client.ask(POST, b"next"), b"next")
        self.assertEqual(len(self.app.connections), 1)

    def test_abort_while_the_application_works(self):
        gone = threading.Event()

        def script(connection):
            connection.read_request()
            connection.read_eof()
            gone.set()
        self.start([script, fcgi.echo])
        client = self.client()
        client.send(request(POST, b"body", id=300, keep=True))
        self.app.wait_requests(1)
        client.send(record(ABORT, id=300))
        self.assert_aborted(client, 300)
        self.assertTrue(gone.wait(PATIENCE), "the application's connection stays open")
        self.assert_answer(client.ask(POST, b"next"), b"next")

    def test_abort_inside_the_answer(self):
        def script(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\nhalf"))
            connection.read_eof()
        self.start([script, fcgi.echo])
        client = self.client()
        client.send(request(PLAIN, keep=True))
        self.assertEqual(client.read_record().content, b"X: y\r\n\r\nhalf")
        client.send(record(ABORT))
        self.assert_aborted(client)
        self.app.wait_closed()
        self.assert_answer(client.ask(POST, b"next"), b"next")

    def test_abort_inside_a_record_of_the_answer(self):
        """Answered at a record's boundary, or the connection closes: nothing else can be read."""
        def script(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\n") + record(STDOUT, b"0123456789" * 100)[:500])
            connection.read_eof()
        self.start([script, fcgi.echo])
        client = self.client()
        client.send(request(PLAIN, keep=True))
        self.assertEqual(client.read_record().content, b"X: y\r\n\r\n")
        client.send(record(ABORT))
        try:
            response = client.read_response()
            self.assertIn(response.end, ((0, 0), None))
        except fcgi.Closed:
            pass
        self.app.wait_closed()
        self.assert_alive()

    def test_abort_without_keep_closes(self):
        self.start(Watch())
        client = self.client()
        client.send(begin() + record(PARAMS, pairs(POST)) + record(PARAMS) + record(STDIN, b"x") + record(ABORT))
        self.assert_aborted(client)
        client.read_eof()

    def test_abort_of_another_id(self):
        """Of a request that is not open: ignored. So is one that comes after the end."""
        self.start()
        client = self.client()
        client.send(record(ABORT, id=1) + HEAD + record(ABORT, id=2) + record(STDIN, b"body") + record(ABORT, id=0x101)
                    + record(STDIN))
        self.assert_answer(client.read_response(), b"body")
        client.send(record(ABORT))
        self.assert_answer(client.ask(POST, b"next"), b"next")

    def test_abort_in_the_queue(self):
        release = threading.Event()

        def script(connection):
            connection.read_request()
            assert release.wait(PATIENCE)
            connection.reply()
        self.start(script, upstream="connections = 1")
        first, second = self.client(), self.client()
        first.send(request(PLAIN))
        self.app.wait_requests(1)
        second.send(request(POST, b"x" * 1000, keep=True))
        second.wait_sent()
        second.send(record(ABORT))
        self.assert_aborted(second)
        release.set()
        self.assert_answer(first.read_response(), b"ok")
        self.assert_answer(second.ask(PLAIN), b"ok")
        self.assertEqual(len(self.app.requests), 2)


class ApplicationGoes(RelayTest):
    """Once response bytes have gone out, a dead application is never a clean end."""

    def cut_answer(self, wire, reset=False, address=None):
        """The application sends wire, then dies; gives the responses on kept and other connections."""
        def script(connection):
            connection.read_request()
            connection.send(wire)
            if reset:
                # A reset may overtake bytes: let them be read first.
                arrived.wait(PATIENCE)
                connection.reset()
        arrived = threading.Event()
        self.start(script, address=address)
        responses = []
        for keep in (False, True):
            arrived.clear()
            client = self.client()
            client.send(request(PLAIN, keep=keep))
            if reset:
                first = client.read_record()
                self.assertEqual(first.type, STDOUT)
                arrived.set()
            responses.append(client.read_response())
        return responses

    def test_end_inside_the_answer(self):
        for response in self.cut_answer(record(STDOUT, b"X: y\r\n\r\nhalf")):
            self.assert_cut(response)
            self.assertEqual(response.stdout, b"X: y\r\n\r\nhalf")

    def test_end_after_the_empty_stdout(self):
        for response in self.cut_answer(record(STDOUT, b"X: y\r\n\r\nall") + record(STDOUT)):
            self.assert_cut(response)

    def test_end_after_stderr_alone(self):
        for response in self.cut_answer(record(STDERR, b"segfault")):
            self.assert_cut(response)

    def test_reset_inside_the_answer(self):
        for address in (None, "127.0.0.1:0"):
            for response in self.cut_answer(record(STDOUT, b"X: y\r\n\r\nhalf"), True, address):
                self.assert_cut(response)

    def test_end_inside_a_record(self):
        """The part of a record that came may or may not go out; an end may not."""
        def script(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\n") + record(STDOUT, b"0123456789" * 1000)[:5000])
        self.start(script)
        client = self.client()
        client.send(request(PLAIN, keep=True))
        self.assertEqual(client.read_record().content, b"X: y\r\n\r\n")
        try:
            self.assertIsNone(client.read_record())
        except fcgi.Closed:
            pass

    def test_end_inside_the_end_request(self):
        def script(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\n") + record(STDOUT) + end()[:12])
        self.start(script)
        client = self.client()
        client.send(request(PLAIN, keep=True))
        try:
            self.assert_cut(client.read_response())
        except fcgi.Closed:
            pass

    def test_junk_inside_the_answer(self):
        for response in self.cut_answer(record(STDOUT, b"X: y\r\n\r\nhalf") + b"\7junk, no record"):
            self.assert_cut(response)

    def test_death_while_the_body_comes(self):
        """Before a response byte: 502, and the rest of the body is drained."""
        def script(connection):
            connection.read_params()
            connection.read_record()
        self.start([script, fcgi.echo])
        client = self.client()
        client.send(HEAD + record(STDIN, b"x" * 1000))
        self.assert_refusal(client.read_response(), 502)
        for _ in range(20):
            client.send(record(STDIN, b"x" * 60000))
        client.send(record(STDIN))
        self.assert_answer(client.ask(POST, b"next"), b"next")

    def test_answer_of_an_application_that_reads_no_more(self):
        """Writing to it fails; what it says is still its answer."""
        def script(connection):
            connection.read_params()
            connection.sock.shutdown(socket.SHUT_RD)
            deaf.set()
            refused.wait(PATIENCE)
            connection.reply(b"full up" * 20000)
        deaf, refused = threading.Event(), threading.Event()
        self.start(script)
        client = self.client()
        client.send(HEAD)
        # Into a socket that is full already, the kernel would never tell that nobody will read.
        self.assertTrue(deaf.wait(PATIENCE))
        for _ in range(10):
            client.send(record(STDIN, b"x" * 60000))
        refused.set()
        client.send(record(STDIN))
        self.assert_answer(client.read_response(), b"full up" * 20000)

    def test_answer_of_an_application_that_closes_with_unread_input(self):
        """What libfcgi does when a program answers without reading: the answer is there, the connection is not."""
        def script(connection):
            connection.read_size = 500
            connection.read_params()
            connection.reply(b"early" * 5000)
        self.start(script)
        for i in range(60):
            client = self.client()
            wire = request(POST, b"x" * 2000 * i, size=2000, keep=True)

            def send():
                try:
                    client.send(wire)
                except OSError:
                    pass
            sender = threading.Thread(target=send)
            sender.start()
            self.assert_answer(client.read_response(), b"early" * 5000)
            sender.join(PATIENCE)
            self.assertFalse(sender.is_alive())

    def test_half_close_inside_the_answer(self):
        """It says no more, although it would still listen."""
        def script(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\nhalf"))
            connection.half_close()
            connection.read_eof()
        self.start(script)
        self.assert_cut(self.client().ask(PLAIN, keep=True))
        self.app.wait_closed()

    def test_others_are_unharmed(self):
        release = threading.Event()

        def slow(connection):
            connection.read_request()
            assert release.wait(PATIENCE)
            connection.reply(b"slow")

        def dies(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\nhalf"))
        self.start([slow, dies])
        first, second = self.client(), self.client()
        first.send(request(PLAIN))
        self.app.wait_requests(1)
        self.assert_cut(second.ask(PLAIN))
        release.set()
        self.assert_answer(first.read_response(), b"slow")


class Ends(RelayTest):
    def test_answer_before_the_body_is_read(self):
        """The application closes with unread input, as libfcgi does; the front's body is drained."""
        def script(connection):
            connection.read_params()
            connection.reply(b"early")
        self.start([script, fcgi.echo], upstream="keepalive = on\nconnections = 4")
        client = self.client()
        client.send(HEAD + record(STDIN, b"first"))
        self.assert_answer(client.read_response(), b"early")
        for _ in range(50):
            client.send(record(STDIN, b"x" * 60000))
        client.send(record(STDIN))
        self.assert_answer(client.ask(POST, b"next", keep=True), b"next")
        self.assertEqual(len(self.app.connections), 2)

    def test_connection_of_an_early_end_is_not_used_again(self):
        """Even though the application leaves it open: it may still be full of the first body."""
        closed = threading.Event()

        def script(connection):
            connection.read_params()
            connection.reply(b"early")
            try:
                while connection.read_record():
                    pass
            except ConnectionError:
                pass
            closed.set()
        self.start([script, fcgi.echo], upstream="keepalive = on\nconnections = 4")
        client = self.client()
        client.send(HEAD + record(STDIN, b"first"))
        self.assert_answer(client.read_response(), b"early")
        self.assertTrue(closed.wait(PATIENCE), "the shim keeps the connection")
        client.send(record(STDIN))
        self.assert_answer(client.ask(POST, b"next"), b"next")

    def test_early_end_to_a_front_without_keep(self):
        """The whole answer arrives although the front still sends."""
        def script(connection):
            connection.read_params()
            connection.reply(b"early" * 10000)
        port = free_port()
        self.start(script, listen="address = unix:{dir}/shim.sock, 127.0.0.1:%d" % port)
        for address in (self.address, "127.0.0.1:%d" % port):
            client = self.client(address)

            def send():
                try:
                    client.send(request(POST, b"x" * 2000000))
                except OSError:
                    pass
            sender = threading.Thread(target=send)
            sender.start()
            self.assert_answer(client.read_response(), b"early" * 10000)
            client.read_eof()
            sender.join(PATIENCE)
            self.assertFalse(sender.is_alive())

    def early_and_big(self, then):
        """Answers of many sizes that end before the body is read, to fronts that read only after then(): with some
        of the sizes the shim has seen the end and still holds a part of the answer."""
        sizes = range(100000, 500000, 8192)
        ended = [threading.Event() for _ in sizes]

        def script(connection):
            number = int(connection.read_params().get("NUMBER")[0])
            connection.send(fcgi.answer(b"e" * sizes[number], size=8192))
            try:
                while connection.read_record():
                    pass
            except ConnectionError:
                pass
            ended[number].set()
        self.start(script)
        wires = [request(POST + [("NUMBER", str(i))], b"x" * 100000) for i in range(len(sizes))]
        clients = []
        for i, wire in enumerate(wires):
            client = self.client()
            client.send(wire[:300])
            if not ended[i].wait(PATIENCE if len(clients) < 4 else 0.5):
                break  # this and all longer answers do not fit: the shim has not got to the end
            clients.append(client)
        self.assertGreater(len(clients), 3)
        then(clients, [wire[300:] for wire in wires])
        for i, client in enumerate(clients):
            response = client.read_response()
            self.assertEqual(len(response.body), sizes[i])
            self.assert_answer(response, b"e" * sizes[i])
            client.read_eof()

    def test_early_end_to_fronts_that_half_close(self):
        """They have sent the whole request and half-closed before they read on: they still want their answers."""
        def then(clients, rest):
            for client, wire in zip(clients, rest):
                client.send(wire)
                client.half_close()
                client.wait_sent()
        self.early_and_big(then)

    def test_early_end_to_fronts_that_take_their_time(self):
        """A slow reader has send_timeout, early end or not."""
        self.early_and_big(lambda clients, rest: threading.Event().wait(6))

    def test_front_without_keep_is_closed_with_it_is_not(self):
        self.start()
        client = self.client()
        for _ in range(3):
            self.assert_answer(client.ask(POST, b"x", keep=True), b"x")
        self.assertTrue(client.is_quiet(0.2))
        self.assert_answer(client.ask(POST, b"x", keep=False), b"x")
        client.read_eof()

    def test_protocol_status_of_the_application(self):
        """An END_REQUEST that says no, without a word on STDOUT, is invisible to web servers: they get a page."""
        for protocol_status, status in ((OVERLOADED, 503), (CANT_MPX_CONN, 503), (UNKNOWN_ROLE, 502)):
            def script(connection):
                connection.read_request()
                connection.send(end(protocol_status=protocol_status))
            self.start(script)
            self.assert_refusal(self.client().ask(POST, b"body"), status)

    def test_protocol_status_behind_bytes(self):
        """Too late for a page: it passes."""
        def script(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\n") + end(app_status=9, protocol_status=OVERLOADED))
        self.start(script)
        self.assertEqual(self.client().ask(POST, b"body").end, (9, OVERLOADED))

    def test_upstream_closes_at_once_after_the_end(self):
        """libfcgi waits up to two seconds for it, and serves nobody meanwhile."""
        times = []

        def script(connection):
            connection.read_request()
            connection.reply()
            began = time.monotonic()
            connection.read_eof()
            times.append(time.monotonic() - began)
        self.start(script)
        client = self.client()
        for _ in range(20):
            self.assert_answer(client.ask(POST, b"x", keep=True), b"ok")
        self.app.wait_closed()
        self.assertLess(sorted(times)[10], 0.5, times)

    def test_bytes_behind_the_end(self):
        """Not the front's business, and the connection is not used again."""
        def script(connection):
            connection.read_request()
            connection.send(fcgi.answer(b"one") + record(STDOUT, b"junk") + end())
            connection.read_eof()
        self.start([script, fcgi.echo], upstream="keepalive = on\nconnections = 2")
        client = self.client()
        self.assert_answer(client.ask(PLAIN, keep=True), b"one")
        self.assertTrue(client.is_quiet(0.1))
        self.assert_answer(client.ask(POST, b"two"), b"two")
        self.assertEqual(len(self.app.connections), 2)

    def test_data_behind_a_closed_stream(self):
        """The application sends on after its own empty STDOUT: the answer ends, one way or the other."""
        def script(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\none") + record(STDOUT) + record(STDERR, b"late") + end())
        self.start(script)
        response = self.client().ask(PLAIN)
        self.assertEqual((response.end, response.stdout, response.stderr), ((0, 0), b"X: y\r\n\r\none", b"late"))


if __name__ == "__main__":
    unittest.main()
