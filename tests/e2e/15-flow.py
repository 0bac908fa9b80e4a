#!/usr/bin/env python3
"""Much data, slow peers, many connections: memory stays bounded and nobody waits for the wrong one."""

import hashlib
import os
import random
import threading
import unittest

import fcgi
from fcgi import PARAMS, PATIENCE, STDIN, STDOUT, begin, end, pairs, record, request
from relay import PLAIN, POST, RelayTest
from shim import free_port, is_sanitized, wait_for

MB = 1 << 20
TOTAL = 50 * MB
CHUNK = 32768


def chunks(seed, total=TOTAL):
    """total bytes in chunks, none like the one before."""
    block = hashlib.sha256(b"%d" % seed).digest() * (CHUNK // 32)
    for i in range(total // CHUNK):
        yield i.to_bytes(8, "big") + block[8:]


def checksum(parts):
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


class Memory(RelayTest):
    # What the shim may grow by, whatever is stuck: some buffers of each side.
    ROOM = 4 * MB

    def assert_bounded(self, before):
        grown = self.shim.rss("VmHWM") - before
        if not is_sanitized():
            self.assertLess(grown, self.ROOM)

    def upload(self, **options):
        """50 MB to an application that starts to read only when the front is stuck."""
        start_reading = threading.Event()
        result = []

        def script(connection):
            connection.read_params()
            assert start_reading.wait(PATIENCE)
            digest = hashlib.sha256()
            while True:
                found = connection.read_record()
                if not found.content:
                    break
                digest.update(found.content)
            result.append(digest.hexdigest())
            connection.reply(digest.hexdigest().encode())
        address = options.pop("front", None)
        self.start(script, **options)
        self.app.keep = False
        client = self.client(address, keep=False)
        client.send(begin() + record(PARAMS, pairs(POST)) + record(PARAMS))
        self.app.wait_requests(1)
        before = self.shim.rss("VmHWM")
        sent = [0]

        def send():
            for chunk in chunks(1):
                client.send(record(STDIN, chunk))
                sent[0] += len(chunk)
            client.send(record(STDIN))
        sender = threading.Thread(target=send)
        sender.start()
        stuck_at = self.wait_stuck(lambda: sent[0])
        self.assertLess(stuck_at, self.most_in_sockets(address), "the shim takes what the application does not")
        start_reading.set()
        response = client.read_response(timeout=120)
        sender.join(PATIENCE)
        self.assert_answer(response, checksum(chunks(1)).encode())
        self.assert_bounded(before)

    @staticmethod
    def most_in_sockets(address):
        """What four sockets take besides the shim: the kernel lets buffers of TCP grow when it is slow to drain them."""
        return 40 * MB if address else 16 * MB

    def wait_stuck(self, count):
        """Waits until the count has not moved for a while; gives it."""
        last = [count(), 0]

        def still():
            now = count()
            last[1] = last[1] + 1 if now == last[0] and now else 0
            last[0] = now
            pause.wait(0.02)
            return last[1] >= 15
        pause = threading.Event()
        wait_for(still, what="the flow to stop")
        return last[0]

    def download(self, **options):
        """50 MB to a front that starts to read only when the application is stuck."""
        sent = [0]

        def script(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\n"))
            for chunk in chunks(2):
                connection.send(record(STDOUT, chunk))
                sent[0] += len(chunk)
            connection.send(record(STDOUT) + end())
        address = options.pop("front", None)
        self.start(script, **options)
        client = self.client(address, keep=False)
        before = self.shim.rss("VmHWM")
        client.send(request(PLAIN))
        stuck_at = self.wait_stuck(lambda: sent[0])
        self.assertLess(stuck_at, self.most_in_sockets(address), "the shim takes what the front does not")
        digest, seen = hashlib.sha256(), 0
        self.assertEqual(client.read_record().content, b"X: y\r\n\r\n")
        while True:
            found = client.read_record()
            self.assertIsNotNone(found, "closed after %d bytes" % seen)
            if found.type != STDOUT:
                break
            digest.update(found.content)
            seen += len(found.content)
        self.assertEqual((found.type, seen), (fcgi.END, TOTAL))
        self.assertEqual(digest.hexdigest(), checksum(chunks(2)))
        self.assert_bounded(before)

    def test_upload_to_a_slow_application(self):
        self.upload()

    def test_download_to_a_slow_front(self):
        self.download()

    def test_upload_over_tcp(self):
        address = "127.0.0.1:%d" % free_port()
        self.upload(front=address, listen="address = " + address, address="127.0.0.1:0")

    def test_download_over_tcp(self):
        address = "127.0.0.1:%d" % free_port()
        self.download(front=address, listen="address = " + address, address="127.0.0.1:0")

    def test_small_records(self):
        """The same stop for many small records, whose heads are much of them."""
        sent = [0]

        def script(connection):
            connection.read_request()
            connection.send(record(STDOUT, b"X: y\r\n\r\n"))
            many = record(STDOUT, b"x", padding=7) * 4096
            while not stop.is_set():
                connection.send(many)
                sent[0] += len(many)
        stop = threading.Event()
        self.start(script)
        client = self.client(keep=False)
        before = self.shim.rss("VmHWM")
        client.send(request(PLAIN))
        self.assertLess(self.wait_stuck(lambda: sent[0]), 16 * MB)
        stop.set()
        client.close()
        self.app.wait_closed()
        self.assert_bounded(before)

    def test_a_stuck_front_stops_nobody_else(self):
        def flood(connection):
            connection.read_request()
            try:
                while True:
                    connection.send(record(STDOUT, b"x" * 60000))
            except OSError:
                pass
        self.start([flood] * 5 + [fcgi.echo])
        stuck = [self.client(keep=False) for _ in range(5)]
        for client in stuck:
            client.send(request(PLAIN))
        self.app.wait_requests(5)
        other = self.client()
        for i in range(200):
            self.assert_answer(other.ask(POST, b"%d" % i, keep=True), b"%d" % i)
        for client in stuck:
            client.close()


class Duplex(RelayTest):
    def test_ping_pong(self):
        """The answer to a part of the body comes before the next part is sent."""
        def script(connection):
            connection.read_params()
            connection.send(record(STDOUT, b"X: y\r\n\r\n"))
            while True:
                found = connection.read_record()
                if not found.content:
                    break
                connection.send(record(STDOUT, found.content[::-1]))
            connection.send(record(STDOUT) + end())
        self.start(script)
        client = self.client()
        client.send(begin() + record(PARAMS, pairs(POST)) + record(PARAMS))
        self.assertEqual(client.read_record().content, b"X: y\r\n\r\n")
        for i in range(300):
            part = b"%d " % i * (i + 1)
            client.send(record(STDIN, part))
            self.assertEqual(client.read_record().content, part[::-1])
        client.send(record(STDIN))
        self.assertEqual(client.read_response().end, (0, 0))

    def test_both_directions_full(self):
        """Both peers send all they have before they read: with bounded memory that takes a turn about."""
        size = 10 * MB

        def script(connection):
            connection.read_params()
            writer = threading.Thread(target=connection.send, args=(
                record(STDOUT, b"X: y\r\n\r\n") + fcgi.stream(STDOUT, b"d" * size, size=50000),))
            writer.start()
            got = connection.read_body()
            writer.join(PATIENCE)
            connection.send(record(STDOUT, b"%d" % len(got)) + record(STDOUT) + end())
        self.start(script)
        client = self.client(keep=False)
        writer = threading.Thread(target=client.send, args=(request(POST, b"u" * size, size=50000),))
        writer.start()
        response = client.read_response()
        writer.join(PATIENCE)
        self.assert_answer(response, b"d" * size + b"%d" % size)


class Rounds(RelayTest):
    """Much that happens at the same moment: order and wholeness of what goes out then."""

    def echo_records(self, connection):
        """Answers each record of the body with its content, as it comes."""
        while True:
            now = connection.read_params()
            if now is None:
                return
            connection.send(record(STDOUT, b"X: y\r\n\r\n", now.id))
            while True:
                found = connection.read_record()
                if not found.content:
                    break
                connection.send(record(STDOUT, found.content, now.id))
            connection.send(record(STDOUT, b"", now.id) + end(now.id))
            if not now.keep:
                return

    def mixed(self, upstream):
        """Small and large records in any order, on many connections at once."""
        seed = random.randrange(1 << 32)
        self.start(self.echo_records, upstream=upstream)
        failures = []

        def load(number):
            dice = random.Random(seed + number)
            with fcgi.Client(self.address, keep=False) as client:
                for _ in range(5):
                    parts = [dice.randbytes(dice.choice((1, 10, 500, 4000, 8180, 8192, 8200, 20000, 65535)))
                             for _ in range(dice.randrange(1, 30))]
                    wire = begin(keep=True) + record(PARAMS, pairs(POST)) + record(PARAMS) + b"".join(
                        record(STDIN, part) for part in parts) + record(STDIN)
                    sender = threading.Thread(target=client.send, args=(wire,))
                    sender.start()
                    response = client.read_response()
                    sender.join(PATIENCE)
                    if response.end != (0, 0) or response.body != b"".join(parts):
                        failures.append(response)
                        return
        threads = [threading.Thread(target=load, args=(i,)) for i in range(24)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE * 2)
            self.assertFalse(thread.is_alive())
        self.assertEqual(failures, [], "seed %d" % seed)

    def test_mixed_sizes(self):
        self.mixed("")

    def test_mixed_sizes_on_kept_connections(self):
        self.mixed("keepalive = on\nconnections = 8\n")

    def test_everything_in_one_round(self):
        """The shim is stopped while all send, and sees them all at once: requests, and then answers. Every second
        front wants to be closed afterwards, some have half-closed, some have gone."""
        count, go_on = 120, threading.Event()
        answered = threading.Semaphore(0)

        def script(connection):
            now = connection.read_request()
            assert go_on.wait(PATIENCE)
            try:
                connection.reply(bytes(now.stdin) * 2)
            finally:
                answered.release()
        self.start(script)
        clients = [self.client() for _ in range(count)]
        body = [bytes([65 + i % 26]) * (i * 97 % 8100) for i in range(count)]
        self.shim.freeze()
        for i, client in enumerate(clients):
            client.send(request(POST, body[i], id=i + 1, keep=i % 2 == 0))
            if i % 5 == 0:
                client.half_close()
        self.shim.thaw()
        self.app.wait_requests(count)
        self.shim.freeze()
        go_on.set()
        for _ in range(count):
            self.assertTrue(answered.acquire(timeout=PATIENCE))
        for client in clients[::7]:
            client.close()
        for i, client in enumerate(clients):
            if i % 2 == 0 and i % 5 and i % 7:
                client.send(request(POST, b"next", id=i + 1, keep=True)[:50])
        self.shim.thaw()
        for i, client in enumerate(clients):
            if i % 7 == 0:
                continue
            found = client.read_record()
            if found.type == fcgi.END:
                # What came before the answer was out is a second request.
                self.assertEqual(found.content[4], fcgi.CANT_MPX_CONN)
                found = client.read_record()
            client.putback(found)
            response = client.read_response(i + 1)
            self.assert_answer(response, body[i] * 2)
            if i % 2 or i % 5 == 0:
                client.read_eof()


class Many(RelayTest):
    def test_idle_kept_connections(self):
        self.start(upstream="keepalive = on\nconnections = 8\n")
        clients = [self.client() for _ in range(300)]
        for client in clients[:30]:
            self.assert_answer(client.ask(POST, b"x", keep=True), b"x")
        before = self.shim.rss()
        for client in clients[30:]:
            self.assert_answer(client.ask(POST, b"x", keep=True), b"x")
        if not is_sanitized():
            self.assertLess(self.shim.rss() - before, 1 * MB)
        fds = self.shim.fds()
        self.assertGreaterEqual(fds, 300)
        self.assert_alive()
        for client in reversed(clients):
            self.assert_answer(client.ask(POST, b"y", keep=True), b"y")
        for client in clients:
            client.close()
        self.wait(lambda: self.shim.fds() <= fds - 300, "the shim to close its side")

    def test_concurrent_requests(self):
        """All at the application at once, each with its own answer."""
        all_there = threading.Barrier(300)

        def script(connection):
            now = connection.read_request()
            all_there.wait(PATIENCE)
            connection.reply(bytes(now.stdin))
        self.start(script)
        before = self.shim.fds()
        clients = [self.client() for _ in range(300)]
        for i, client in enumerate(clients):
            client.send(request(POST, b"%d " % i * 100, id=i + 1, keep=i % 2 == 0))
        for i, client in enumerate(clients):
            response = client.read_response(i + 1)
            self.assert_answer(response, b"%d " % i * 100)
        self.assertEqual(self.app.most_open, 300)
        self.app.wait_closed()
        # The fronts of every second one are kept; connections count from when they are accepted, not from our connect.
        self.wait(lambda: self.shim.fds() <= before + 150, "all upstream descriptors to close")

    def test_thousands_of_requests_leak_nothing(self):
        self.start(upstream="keepalive = on\nconnections = 4\n")
        client = self.client()
        client.keep = False

        def some(count):
            for i in range(count):
                body = os.urandom(i % 50)
                self.assert_answer(client.ask(POST, body, keep=True, id=i % 7 + 1), body)
                if i % 10 == 0:
                    self.assert_answer(fcgi.ask(self.address, PLAIN), b"")
        some(300)
        fds, rss = self.shim.fds(), self.shim.rss()
        some(2000)
        self.wait(lambda: self.shim.fds() <= fds, "no more descriptors than before")
        if not is_sanitized():
            self.assertLess(self.shim.rss() - rss, 1 * MB)


if __name__ == "__main__":
    unittest.main()
