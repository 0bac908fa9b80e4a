#!/usr/bin/env python3
"""Large records, whose content does not pass through the shim's memory: byte for byte the same, whatever their
sizes, however they are cut, whoever is slow or dies in their middle."""

import hashlib
import os
import random
import signal
import struct
import threading
import time
import unittest

import fcgi
from fcgi import PARAMS, PATIENCE, STDERR, STDIN, STDOUT, begin, end, pairs, record, request
from relay import PLAIN, POST, RelayTest
from shim import free_port, is_sanitized, wait_for

MB = 1 << 20
LARGE = 65528
SIZES = (1, 7, 8, 100, 3000, 4096, 8184, 16383, 16384, 16385, 20000, 32768, 40000, 60000, LARGE, 65535)
TCP = "127.0.0.1:0"


def opened(dice, kinds):
    """Random records of these kinds, as (type, content, padding)."""
    return [(dice.choice(kinds), dice.randbytes(dice.choice(SIZES) - dice.randrange(2)), dice.choice((0, 0, 7, 255)))
            for _ in range(dice.randrange(1, 40))]


def passed(kind, content, padding):
    """What the receiver sees of such a record. Padding that some receivers stumble over is left out."""
    return kind, content, padding if content and len(content) + padding <= 65535 else 0


def seen(records, kinds):
    return [(one.type, one.content, len(one.padding)) for one in records if one.type in kinds]


def wires(parts, id):
    return b"".join(record(kind, content, id, padding) for kind, content, padding in parts)


def send_cut(peer, dice, wire):
    """In pieces of any size; some of them are read before the next one is sent."""
    at = 0
    while at < len(wire):
        n = dice.choice((1, 5, 9, 1000, 5000, 30000, 65536, 200000))
        peer.send(wire[at:at + n])
        at += n
        if dice.randrange(8) == 0:
            time.sleep(0)


class LargeTest(RelayTest):
    def start_on(self, script, tcp, upstream=""):
        """Over unix sockets, or TCP on both sides; gives where to connect."""
        if not tcp:
            self.start(script, upstream=upstream)
            return self.address
        address = "127.0.0.1:%d" % free_port()
        self.start(script, listen="address = " + address, address=TCP, upstream=upstream)
        return address

    def pipes(self):
        """How many of its descriptors are ends of pipes."""
        folder = "/proc/%d/fd" % self.shim.relay_pid
        count = 0
        for name in os.listdir(folder):
            try:
                count += os.readlink(os.path.join(folder, name)).startswith("pipe:")
            except FileNotFoundError:
                pass
        return count

    def wait_stuck(self, count):
        """Waits until the count has not moved for a while; gives it."""
        last = [0, 0]

        def still():
            now = count()
            last[1] = last[1] + 1 if now == last[0] and now else 0
            last[0] = now
            pause.wait(0.02)
            return last[1] >= 10
        pause = threading.Event()
        wait_for(still, what="the flow to stop")
        return last[0]


class Bytes(LargeTest):
    def records_pass(self, tcp, upstream=""):
        """Any records in both directions, of many requests at once, each side reading in its own way."""
        seed = random.randrange(1 << 32)
        failures = []

        def script(connection):
            while connection.read_params():
                now = connection.current
                dice = random.Random(int(now.get("SEED")[0]))
                body, answer = opened(dice, (STDIN,)), opened(dice, (STDOUT, STDOUT, STDOUT, STDERR))
                writer = threading.Thread(target=send_cut, args=(
                    connection, random.Random(seed), wires(answer, now.id)))
                connection.read_size = dice.choice((1000, 30000, 262144))
                writer.start()
                got = []
                while not got or got[-1].content:
                    got.append(connection.read_record())
                writer.join(PATIENCE)
                if seen(got[:-1], (STDIN,)) != [passed(*part) for part in body if part[1]]:
                    failures.append("body, seed %d" % seed)
                connection.send(record(STDOUT, b"", now.id) + end(now.id))
                if not now.keep:
                    return
        address = self.start_on(script, tcp, upstream)

        def load(number):
            own = random.Random(seed + number)
            with fcgi.Client(address, keep=False) as client:
                for id in range(1, 5):
                    key = own.randrange(1 << 32)
                    dice = random.Random(key)
                    body, answer = opened(dice, (STDIN,)), opened(dice, (STDOUT, STDOUT, STDOUT, STDERR))
                    body = [part for part in body if part[1]]
                    wire = begin(id, keep=True) + record(PARAMS, pairs(POST + [("SEED", str(key))]), id)
                    wire += record(PARAMS, id=id) + wires(body, id) + record(STDIN, id=id)
                    client.read_size = own.choice((1000, 30000, 262144))
                    sender = threading.Thread(target=send_cut, args=(client, own, wire))
                    sender.start()
                    got = []
                    while not got or got[-1].type != fcgi.END:
                        found = client.read_record()
                        if found is None or found.id != id:
                            break
                        got.append(found)
                    sender.join(PATIENCE)
                    want = [passed(*part) for part in answer] + [(STDOUT, b"", 0)]
                    if seen(got, (STDOUT, STDERR)) != want or got[-1].type != fcgi.END:
                        failures.append("answer %d of %d, seed %d" % (id, number, seed))
                        return
        threads = [threading.Thread(target=load, args=(i,)) for i in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(4 * PATIENCE)
            self.assertFalse(thread.is_alive(), "seed %d" % seed)
        self.assertEqual(failures, [])

    def test_records(self):
        self.records_pass(False)

    def test_records_over_tcp(self):
        self.records_pass(True)

    def test_records_on_kept_connections(self):
        self.records_pass(False, "keepalive = on\nconnections = 3\n")

    def much_passes(self, tcp):
        """50 MB each way at once."""
        block = random.randbytes(LARGE)
        count = 50 * MB // LARGE
        digest = hashlib.sha256()
        for i in range(count):
            digest.update(struct.pack("!I", i) + block[4:])

        def send(peer, kind):
            for i in range(count):
                peer.send(record(kind, struct.pack("!I", i) + block[4:], padding=8))

        def receive(peer, kind):
            got = hashlib.sha256()
            for _ in range(count):
                found = peer.read_record()
                self.assertEqual((found.type, len(found.content), found.padding), (kind, LARGE, b""))
                got.update(found.content)
            self.assertEqual(got.hexdigest(), digest.hexdigest())

        def script(connection):
            connection.keep = False
            connection.read_params()
            writer = threading.Thread(target=send, args=(connection, STDOUT))
            writer.start()
            receive(connection, STDIN)
            self.assertEqual(connection.read_record().content, b"")
            writer.join(PATIENCE)
            connection.send(record(STDOUT) + end())
        address = self.start_on(script, tcp)
        client = self.client(address, keep=False)
        client.send(begin() + record(PARAMS, pairs(POST)) + record(PARAMS))
        writer = threading.Thread(target=lambda: (send(client, STDIN), client.send(record(STDIN))))
        writer.start()
        receive(client, STDOUT)
        writer.join(PATIENCE)
        self.assertEqual(client.read_response().end, (0, 0))

    def test_much(self):
        self.much_passes(False)

    def test_much_over_tcp(self):
        self.much_passes(True)

    def test_records_of_other_requests_are_left_out(self):
        def script(connection):
            connection.read_request()
            for i in range(10):
                connection.send(record(STDOUT, b"%d" % i * 60000, padding=3) + record(STDOUT, b"x" * 60000, id=99))
            connection.send(record(STDOUT) + end())
        self.start(script)
        client = self.client()
        client.send(request(PLAIN))
        response = client.read_response()
        self.assertEqual((response.end, bytes(response.stdout)), ((0, 0), b"".join(b"%d" % i * 60000 for i in range(10))))


class Descriptors(LargeTest):
    def test_content_goes_through_pipes(self):
        """Which are there while it is needed; small requests need none."""
        go_on = threading.Semaphore(0)

        def script(connection):
            while connection.read_request():
                connection.send(fcgi.stream(STDOUT, b"X: y\r\n\r\n" + connection.current.stdin, connection.id))
                assert go_on.acquire(timeout=PATIENCE)
                connection.send(record(STDOUT, b"", connection.id) + end(connection.id))
        self.start(script, upstream="keepalive = on\nconnections = 4\n")
        before, body = self.pipes(), b"x" * MB
        client = self.client()
        go_on.release()
        client.ask(POST, b"x" * 10000, keep=True)
        self.assertEqual(self.pipes(), before)
        client.send(request(PLAIN + [("A", "1")], keep=True))
        go_on.release()
        client.read_response()
        self.assertEqual(self.pipes(), before)
        client.send(request(POST, body, keep=True))
        for found in iter(client.read_record, None):
            if len(found.content) < 65535:
                break
        self.assertGreater(self.pipes(), before)
        go_on.release()
        self.assertEqual(client.read_response().end, (0, 0))
        self.wait(lambda: self.pipes() == before, "the pipes to be closed when nobody needs them")

    def test_none_leaks(self):
        """Also of those that end in the middle, on either side."""
        dice = random.Random(5)

        def script(connection):
            while connection.read_params():
                if dice.randrange(3) == 0:
                    connection.read_record()
                    connection.send(record(STDOUT, b"x" * LARGE)[:dice.randrange(1, LARGE)])
                    return
                body = connection.read_body()
                connection.send(fcgi.answer(body, connection.id))
                if not connection.current.keep:
                    return
        self.start(script)
        before = self.shim.fds()
        for i in range(150):
            client = self.client(keep=False)
            wire = request(POST, dice.randbytes(200000))
            try:
                if i % 3 == 0:
                    client.send(wire[:dice.randrange(1000, len(wire))])
                    client.close()
                else:
                    client.send(wire)
                    client.read_record()
                    client.close()
            except (OSError, fcgi.Closed):
                client.close()
        self.wait(lambda: self.shim.fds() <= before, "all descriptors to be closed")

    def test_without_descriptors(self):
        """Where there is none for a pipe, it is copied."""
        all_taken = threading.Event()
        body = random.Random(9).randbytes(3 * MB)

        def script(connection):
            connection.read_request()
            assert all_taken.wait(PATIENCE)
            connection.reply(body)
        self.start(script, nofile=40)
        client = self.client(keep=False)
        client.send(request(PLAIN))
        self.app.wait_requests(1)
        others = [self.client() for _ in range(60)]
        self.wait(lambda: self.shim.fds() >= 39, "its descriptors to run out")
        pipes = self.pipes()
        all_taken.set()
        self.assert_answer(client.read_response(), body)
        self.assertEqual(self.pipes(), pipes)
        for other in others:
            other.close()
        self.assert_answer(fcgi.ask(self.address, PLAIN), body)

    def test_more_at_once_than_pipes(self):
        """Fronts that do not read hold a pipe each, until there are no more: all others are served without."""
        count, body = 80, random.Random(3).randbytes(MB)

        def script(connection):
            connection.read_request()
            connection.reply(body)
        self.start(script)
        before = self.pipes()
        clients = [self.client(keep=False) for _ in range(count)]
        for client in clients:
            client.send(request(PLAIN))
        self.app.wait_requests(count)
        self.wait(lambda: self.pipes() >= before + 100, "many pipes to be in use")
        self.assertLessEqual(self.pipes(), before + 128)
        last = self.client(keep=False)
        self.assert_answer(last.ask(PLAIN), body)
        for client in clients:
            self.assert_answer(client.read_response(), body)
        self.wait(lambda: self.pipes() == before, "the pipes to be closed")


class Stuck(LargeTest):
    """A front that does not read, while content waits for it in a pipe."""

    def flood(self, rest=b"", upstream="", finish=True):
        """An answer of 2 MB, then rest, to a front that reads nothing yet; when the flow has stopped, the front."""
        sent = [0]
        self.body = b"".join(struct.pack("!I", i) * 16000 for i in range(2 * MB // 64000))

        def script(connection):
            connection.read_request()
            wire = record(STDOUT, b"X: y\r\n\r\n", connection.id) + fcgi.stream(STDOUT, self.body, connection.id)
            wire += rest
            if finish:
                wire += record(STDOUT, b"", connection.id) + end(connection.id)
            try:
                for at in range(0, len(wire), 10000):
                    connection.send(wire[at:at + 10000])
                    sent[0] += 10000
                self.sent_all = True
                if not finish:
                    return
                connection.read_eof()
            except OSError:
                pass
        self.sent_all = False
        self.start(script, upstream=upstream)
        client = self.client()
        client.send(request(PLAIN, keep=True))
        self.wait_stuck(lambda: sent[0])
        self.assertFalse(self.sent_all)
        return client

    def test_it_reads_at_last(self):
        client = self.flood()
        self.assert_answer(client.read_response(), self.body)

    def test_slowly(self):
        client = self.flood()
        client.read_size = 3001
        self.assert_answer(client.read_response(), self.body)

    def test_control_replies_come_between_records(self):
        client = self.flood()
        for _ in range(5):
            client.send(record(fcgi.GET_VALUES, fcgi.pair("FCGI_MPXS_CONNS", ""), id=0))
        body, replies, ended = bytearray(), 0, False
        while not ended or replies < 5:
            found = client.read_record()
            if found.type == fcgi.GET_VALUES_RESULT:
                self.assertEqual(found.content, fcgi.pair("FCGI_MPXS_CONNS", "0"))
                replies += 1
            elif found.type == STDOUT:
                body += found.content
            else:
                self.assertEqual(found.type, fcgi.END)
                ended = True
        self.assertEqual(bytes(body), b"X: y\r\n\r\n" + self.body)
        # Kept: the next request is served.
        client.send(request(PLAIN, keep=False))
        self.assertEqual(client.read_record().content, b"X: y\r\n\r\n")

    def test_it_goes(self):
        client = self.flood()
        stuck = self.pipes()
        client.close()
        self.app.wait_closed()
        self.wait(lambda: self.pipes() <= stuck - 2, "its pipe to be closed")

    def test_it_never_reads(self):
        client = self.flood(upstream="send_timeout = 500ms\n")
        self.app.wait_closed()
        self.assertIsNone(self.read_to_the_end(client))

    def read_to_the_end(self, client):
        """What ended the answer: END_REQUEST's record, or None if the connection closed."""
        try:
            while True:
                found = client.read_record()
                if found is None or found.type == fcgi.END:
                    return found
        except fcgi.Closed:
            return None

    def test_the_application_dies_meanwhile(self):
        """All that it had said comes, but no END_REQUEST."""
        client = self.flood(rest=record(STDOUT, b"z" * LARGE)[:30000], finish=False)
        response, body = [], bytearray()
        with self.assertRaises(fcgi.Closed):
            while True:
                found = client.read_record()
                self.assertIsNotNone(found)
                response.append(found)
                body += found.content
        self.assertNotIn(fcgi.END, [one.type for one in response])
        self.assertEqual(bytes(body), b"X: y\r\n\r\n" + self.body)

    def test_it_aborts(self):
        client = self.flood()
        client.send(record(fcgi.ABORT))
        self.app.wait_closed()
        self.assertIsNone(self.read_to_the_end(client))

    def test_the_shim_stops(self):
        """What is in the pipe is a part of a request in flight."""
        client = self.flood()
        self.shim.signal(signal.SIGTERM)
        self.shim.wait_log("TERM")
        self.assert_answer(client.read_response(), self.body)
        self.assertEqual(self.shim.wait_exit(), 0)

    def test_half_closed(self):
        client = self.flood()
        client.half_close()
        self.assert_answer(client.read_response(), self.body)
        client.read_eof()


class Ends(LargeTest):
    """Somebody goes, or falls silent, in the middle of a large record."""

    def cut_answer(self, tcp):
        """Byte counts around every threshold."""
        for size in (1, 4000, 8192, 16384, 40000, LARGE - 1):
            def script(connection, size=size):
                connection.read_request()
                connection.send(record(STDOUT, b"a" * LARGE) + record(STDOUT, b"b" * LARGE)[:8 + size])
            address = self.start_on(script, tcp)
            client = self.client(address)
            client.send(request(PLAIN))
            with self.assertRaises(fcgi.Closed):
                for _ in iter(client.read_record, None):
                    pass
            wire = bytes(client.received)
            self.assertEqual(wire, record(STDOUT, b"a" * LARGE) + record(STDOUT, b"b" * LARGE)[:8 + size])

    def test_cut_answer(self):
        self.cut_answer(False)

    def test_cut_answer_over_tcp(self):
        self.cut_answer(True)

    def test_cut_body(self):
        """The application sees the end of the connection, never a shorter body."""
        for size in (1, 8192, 20000, LARGE - 1):
            outcome = []

            def script(connection, outcome=outcome):
                connection.read_params()
                try:
                    outcome.append(connection.read_body())
                except fcgi.Closed:
                    outcome.append(None)
            self.start(script)
            client = self.client()
            client.send(request(POST, b"a" * LARGE * 2, size=LARGE, stdin_end=False) + record(STDIN, b"b" * LARGE)[:8 + size])
            self.app.wait_requests(1)
            client.close()
            self.app.wait_closed()
            self.assertEqual(outcome, [None])

    def test_abort_behind_a_record(self):
        """Whose last byte, too, did not pass through the shim's memory: what follows comes between two records."""
        def script(connection):
            connection.read_request()
            connection.send_cut(record(STDOUT, b"a" * LARGE, connection.id), 100)
            connection.read_eof()
        self.start(script)
        client = self.client()
        client.send(request(PLAIN, keep=True))
        self.assertEqual(client.read_record().content, b"a" * LARGE)
        client.send(record(fcgi.GET_VALUES, fcgi.pair("FCGI_MPXS_CONNS", ""), id=0))
        self.assertEqual(client.read_record().type, fcgi.GET_VALUES_RESULT)
        client.send(record(fcgi.ABORT))
        self.assertEqual(client.read_record().type, fcgi.END)
        self.app.wait_closed()

    def test_silence_in_an_answer(self):
        def script(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"a" * LARGE) + record(STDOUT, b"b" * LARGE)[:30000])
            connection.read_eof()
        self.start(script, upstream="read_timeout = 400ms\n")
        client = self.client()
        client.send(request(PLAIN, keep=True))
        with self.assertRaises(fcgi.Closed):
            for _ in iter(client.read_record, None):
                pass
        self.assertEqual(len(client.received), 8 + LARGE + 30000)
        self.app.wait_closed()

    def test_application_that_does_not_read(self):
        stop = threading.Event()

        def script(connection):
            connection.read_params()
            stop.wait(PATIENCE)
        self.start(script, upstream="send_timeout = 500ms\n")
        client = self.client(keep=False)
        client.sock.settimeout(PATIENCE)
        sender = threading.Thread(target=self.send_till_the_end, args=(client, request(POST, b"x" * 4 * MB)))
        sender.start()
        response = client.read_response()
        self.assert_refusal(response, 504)
        stop.set()
        sender.join(PATIENCE)

    @staticmethod
    def send_till_the_end(client, wire):
        try:
            client.sock.sendall(wire)
        except OSError:
            pass

    def test_answer_before_the_end_of_the_body(self):
        """The rest of the body is read away, and the front serves on."""
        def script(connection):
            connection.read_params()
            connection.read_record()
            connection.send(fcgi.answer(b"early " + b"e" * 200000, connection.id))
        self.start(script)
        client = self.client(keep=False)
        for _ in range(3):
            sender = threading.Thread(target=client.send, args=(request(POST, b"x" * 4 * MB, keep=True),))
            sender.start()
            self.assert_answer(client.read_response(), b"early " + b"e" * 200000)
            sender.join(PATIENCE)

    def test_application_gone_before_the_end_of_the_body(self):
        def script(connection):
            connection.read_params()
            connection.read_record()
        self.start(script)
        client = self.client(keep=False)
        for _ in range(3):
            sender = threading.Thread(target=client.send, args=(request(POST, b"x" * 4 * MB, keep=True),))
            sender.start()
            self.assert_refusal(client.read_response(), 502)
            sender.join(PATIENCE)

    def test_repeated_request_with_a_large_body(self):
        """What is kept for a second try has to be seen, and is the same the second time."""
        body = random.Random(4).randbytes(50000)

        def first(connection):
            connection.read_request()
            connection.reply(b"first")
            connection.read_params()  # and goes without an answer

        def second(connection):
            connection.read_request()
            connection.reply(bytes(connection.current.stdin))
        self.start([first, second], upstream="keepalive = on\nconnections = 1\n")
        client = self.client()
        self.assert_answer(client.ask(PLAIN, keep=True), b"first")
        self.assert_answer(client.ask(PLAIN, body, keep=True), body)

    def test_memory(self):
        """Of fronts that do not read: no more than so much each."""
        count = 50

        def script(connection):
            connection.read_request()
            try:
                while True:
                    connection.send(record(STDOUT, b"x" * LARGE) * 8)
            except OSError:
                pass
        self.start(script)
        pipes, before = self.pipes(), self.shim.rss()
        clients = [self.client(keep=False) for _ in range(count)]
        for client in clients:
            client.send(request(PLAIN))
        self.wait(lambda: self.pipes() >= pipes + 2 * count, "each to hold a pipe")
        if not is_sanitized():
            self.assertLess(self.shim.rss() - before, count * 20000 + 2 * MB)
        for client in clients:
            client.close()
        self.app.wait_closed()


if __name__ == "__main__":
    unittest.main()
