#!/usr/bin/env python3
"""Random histories: web servers and applications that do everything in any order, against a few rules that always hold.

Every complete request gets exactly one complete answer, a refusal, or a closed connection; no answer belongs to another
request; the application sees the right client; a POST reaches it at most once; nothing stays open afterwards.

The seeds are fixed. REALIP_HISTORY_SEEDS="7 8 9" runs others, REALIP_HISTORY_SESSIONS=N makes them longer.
"""

import hashlib
import os
import random
import signal
import threading
import time
import unittest

import fcgi
from fcgi import (ABORT, END, GET_VALUES, GET_VALUES_RESULT, OVERLOADED, PARAMS, STDERR, STDIN, STDOUT, UNKNOWN_TYPE,
                  Client, Closed, Responder, Response, begin, end, pairs, record, stream)
from relay import PROXIES
from shim import Shim, free_port, wait_for

SEEDS = [int(word) for word in os.environ.get("REALIP_HISTORY_SEEDS", "1 2 3 4 5 6").split()]
SESSIONS = int(os.environ.get("REALIP_HISTORY_SESSIONS", "30"))
THREADS = 6
READ_TIMEOUT = 1.5

# What an application does with one request, and how often.
WHOLE = ["echo"] * 6 + ["slow", "stderr", "large", "foreign", "trailing", "then_close"]
MOODS = WHOLE * 2 + ["early", "early_drain", "die", "die_inside", "junk", "junk_inside", "overloaded"] * 2 + ["silent"]
BREAKS_OFF = {"die_inside", "junk_inside"}


def cut(rng, data, most=4):
    """data in random pieces."""
    points = sorted(rng.randrange(len(data) + 1) for _ in range(rng.randrange(most + 1)))
    return [data[a:b] for a, b in zip([0] + points, points + [len(data)])]


# The application ----------------------------------------------------------------------------------------------


class Application:
    def __init__(self, seed):
        self.seed = seed
        self.lock = threading.Lock()
        self.seen = {}      # token: how often
        self.mistakes = []

    def note(self, now):
        token = now.get("TOKEN")[0].decode()
        with self.lock:
            self.seen[token] = self.seen.get(token, 0) + 1
            most = 1 if now.get("REQUEST_METHOD") == [b"POST"] else 2
            if self.seen[token] > most:
                self.mistakes.append("%s came %d times" % (token, self.seen[token]))
            if now.get("REMOTE_ADDR") != now.get("EXPECTED"):
                self.mistakes.append("%s: REMOTE_ADDR %r" % (token, now.params))
        return token

    def __call__(self, connection):
        while True:
            now = connection.read_params()
            if now is None:
                return
            token = self.note(now)
            if not self.serve(connection, now, token, random.Random(token)) or not now.keep:
                return

    def serve(self, connection, now, token, rng):
        """False: close."""
        mood = now.get("MOOD")[0].decode()
        if mood == "die":
            return False
        if mood in ("early", "early_drain"):
            connection.send(self.answer(now, token, b""))
            if mood == "early":
                return False
            connection.read_body()
            return True
        body = connection.read_body()
        if mood == "silent":
            connection.read_eof(30)
            return False
        if mood == "overloaded":
            connection.send(end(now.id, protocol_status=OVERLOADED))
            return True
        if mood == "junk":
            connection.send(rng.choice([record(STDOUT, b"x", now.id, version=9), record(END, b"short", now.id)]))
            return False
        whole = self.answer(now, token, body, rng.randrange(9), 200000 if mood == "large" else 0)
        if mood in ("die_inside", "junk_inside"):
            connection.send(whole[:rng.randrange(1, len(whole) - 16)])
            if mood == "junk_inside":
                connection.send(b"\xff" * 64)
            return False
        if mood == "foreign":
            whole = (record(GET_VALUES_RESULT, b"", 0) + record(STDOUT, b"not yours", now.id ^ 1, 3)
                     + whole[:-16] + record(99, b"what", now.id) + record(END, b"12345678", now.id ^ 3) + whole[-16:])
        if mood == "stderr":
            whole = record(STDERR, token.encode(), now.id, 5) + whole
        if mood == "trailing":
            whole += record(STDOUT, b"behind the end", now.id)
        for piece in cut(rng, whole) if mood in ("slow", "foreign", "stderr") else [whole]:
            connection.send(piece)
            if mood == "slow":
                time.sleep(0.01)
        return mood not in ("then_close", "trailing")

    @staticmethod
    def answer(now, token, body, padding=0, more=0):
        digest = hashlib.md5(body).hexdigest()
        head = "Content-Type: text/plain\r\n\r\n%s %s %s\n" % (token, digest, now.get("REMOTE_ADDR")[0].decode())
        return (stream(STDOUT, head.encode() + b"x" * more, now.id, 30000, padding) + record(STDOUT, id=now.id)
                + end(now.id))


# The web server -----------------------------------------------------------------------------------------------


class Wanted:
    """A request, and what may become of it."""

    def __init__(self, rng, token, keep, mood):
        self.token, self.mood, self.keep = token, mood, keep
        self.id = rng.choice([1, 1, 2, 255, 256, 65535])
        self.post = rng.random() < 0.5
        size = rng.choice([0, 1, 10, 1000, 5000, 70000, 250000]) if self.post else 0
        self.body = rng.randbytes(size)
        self.client = "198.51.100.%d" % rng.randrange(1, 255)
        if rng.random() < 0.7:
            peer = "10.0.0.%d" % rng.randrange(1, 255)
            chain = "203.0.113.66, %s, 10.1.2.3" % self.client
        else:
            peer, chain = self.client, "203.0.113.66, 10.1.2.3"
        params = [("REQUEST_METHOD", "POST" if self.post else "GET"), ("TOKEN", token), ("MOOD", mood),
                  ("FILL", "f" * rng.choice([0, 0, 100, 127, 128, 3000, 70000])), ("HTTP_X_FORWARDED_FOR", chain),
                  ("EXPECTED", self.client)]
        params.insert(rng.randrange(len(params)), ("REMOTE_ADDR", peer))
        self.raw_params = pairs(params)
        size, padding = rng.choice([65535, 65535, 8000, 1000]), rng.choice([0, 0, 7, 255])
        body_size = rng.choice([65535, 8192])
        self.records = [begin(self.id, keep=keep)]
        self.records += [record(PARAMS, self.raw_params[i:i + size], self.id, padding)
                         for i in range(0, len(self.raw_params), size)] + [record(PARAMS, id=self.id)]
        self.records += [record(STDIN, self.body[i:i + body_size], self.id, padding)
                         for i in range(0, len(self.body), body_size)] + [record(STDIN, id=self.id)]

    @property
    def raw(self):
        return b"".join(self.records)

    def with_questions(self, rng):
        """Its bytes with management records between its own; and how many answers these have."""
        out, count = b"", 0
        for one in self.records:
            if rng.random() < 0.3:
                out += rng.choice([record(GET_VALUES, pairs([("FCGI_MPXS_CONNS", "")]), 0, 3), record(77, b"?", 0)])
                count += 1
            out += one
        return out, count

    def judge(self, response, took, kept_upstream):
        """An answer that came to its end."""
        if response.end == (0, fcgi.CANT_MPX_CONN):
            return "elsewhere"
        assert response.end == (0, 0), response
        if response.status == 200:
            assert self.mood in WHOLE or self.mood.startswith("early"), "%s: %r" % (self.mood, response)
            body = b"" if self.mood.startswith("early") else self.body
            line = "%s %s %s\n" % (self.token, hashlib.md5(body).hexdigest(), self.client)
            more = b"x" * (200000 if self.mood == "large" else 0)
            assert response.body == line.encode() + more, (line, response)
            assert bytes(response.stderr) == (self.token.encode() if self.mood == "stderr" else b""), response
            return "answered"
        assert response.status in (502, 503, 504) and b"\n" in response.body, response
        if self.mood in WHOLE:
            assert response.status != 504 or took > READ_TIMEOUT * 0.8, "504 too early: %r" % response
            assert response.status != 502 or kept_upstream, "502 for nothing: %s %r" % (self.mood, response)
        return "refused"


def collect(client, ids, questions=0):
    """({id: Response}, how the connection ended: None, "closed" or "broken"), once all of these ids have an end."""
    responses = {one: Response() for one in ids}
    replies = 0
    while replies < questions or any(one.end is None for one in responses.values()):
        try:
            found = client.read_record()
        except Closed:
            return responses, "broken"
        if found is None:
            return responses, "closed"
        if found.id == 0 and found.type in (GET_VALUES_RESULT, UNKNOWN_TYPE):
            replies += 1
            assert replies <= questions, "an answer to no question: %r" % (found,)
            continue
        assert found.id in responses, "of no request: %r" % (found,)
        response = responses[found.id]
        assert response.end is None, "behind the end of its request: %r" % (found,)
        response.records.append(found)
        if found.type == END:
            response.end = (int.from_bytes(found.content[:4], "big"), found.content[4])
        else:
            assert found.type in (STDOUT, STDERR), found
            (response.stdout if found.type == STDOUT else response.stderr).extend(found.content)
    return responses, None


class Session:
    """One connection of a web server, from its first request to its end."""

    def __init__(self, world, seed):
        self.world, self.rng, self.name = world, random.Random(seed), seed
        self.count = 0
        self.actions = []

    def want(self, keep, moods=MOODS):
        self.count += 1
        return Wanted(self.rng, "%s-%d" % (self.name, self.count), keep, self.rng.choice(moods))

    def send(self, data, most=3):
        """True if all went. The shim may have closed, which is seen when reading."""
        try:
            for piece in cut(self.rng, data, most):
                self.client.send(piece)
                if self.rng.random() < 0.3:
                    time.sleep(self.rng.random() * 0.004)
            return True
        except (BrokenPipeError, ConnectionResetError):
            return False

    def finish(self, *wanted, questions=0, may_close=False):
        """Reads and judges; true if the connection can go on."""
        started = self.started
        if self.rng.random() < 0.1:
            time.sleep(0.05)
        by_id = {one.id: one for one in wanted}
        responses, ended = collect(self.client, by_id, questions)
        for id, response in responses.items():
            if response.end is not None:
                verdict = by_id[id].judge(response, time.monotonic() - started, self.world.keepalive)
                self.world.tally(verdict)
            else:
                excused = (may_close or self.world.stopping or any(one.mood in BREAKS_OFF for one in wanted)
                           or not all(one.keep for one in wanted[:-1]))
                assert excused, "closed (%s) without an end: %s %r" % (ended, by_id[id].mood, response)
                self.world.tally("closed")
        return ended is None and all(one.keep for one in wanted)

    def run(self):
        with Client(self.world.address) as self.client:
            for _ in range(self.rng.randrange(1, 6)):
                keep = self.rng.random() < 0.75
                action = self.rng.choice([self.plain] * 8 + [
                    self.questions, self.half_close, self.cut_off, self.aborted, self.pipelined, self.unread,
                    self.late_abort, self.left_unsaid, self.garbage])
                self.started = time.monotonic()
                self.actions.append(action.__name__)
                if not action(keep):
                    return

    # What it may do; each returns whether the connection can go on.

    def plain(self, keep):
        one = self.want(keep)
        whole = self.send(one.raw)
        return self.finish(one, may_close=not whole)

    def questions(self, keep):
        one = self.want(True, WHOLE)
        raw, count = one.with_questions(self.rng)
        self.send(raw)
        return self.finish(one, questions=count)

    def half_close(self, keep):
        one = self.want(keep)
        if self.send(one.raw):
            self.client.half_close()
        self.finish(one, may_close=True)
        return False

    def cut_off(self, keep):
        """Refused, if the parameters were complete, or closed without a word."""
        one = self.want(keep)
        whole = self.send(one.raw[:self.rng.randrange(len(one.raw))])
        if whole and self.rng.random() < 0.5:
            self.client.half_close()
            collect(self.client, [one.id])
        return False

    def aborted(self, keep):
        """Part of a request, and ABORT_REQUEST: one end, whichever side was faster."""
        one = self.want(keep)
        count = self.rng.randrange(1, len(one.records) + 1)
        self.send(b"".join(one.records[:count]) + record(ABORT, id=one.id))
        responses, ended = collect(self.client, [one.id])
        return ended is None and keep and responses[one.id].end[1] == 0

    def late_abort(self, keep):
        """ABORT_REQUEST that crosses an early answer."""
        one = self.want(True, ["early", "early_drain"])
        self.send(b"".join(one.records[:-1]))
        going = self.finish(one)
        return going and self.send(record(ABORT, id=one.id))

    def left_unsaid(self, keep):
        """An early answer inside a record of the body; the rest comes together with the next request."""
        one = self.want(True, ["early", "early_drain"])
        content = one.raw * 2  # what would be a request if it were not a body
        size = min(len(content), 60000)
        body = record(STDIN, content[:size], one.id)
        at = self.rng.randrange(8, len(body))
        head = b"".join(one.records[:one.records.index(record(PARAMS, id=one.id)) + 1])
        self.send(head + body[:at])
        if not self.finish(one):
            return False
        other = self.want(keep)
        self.started = time.monotonic()
        whole = self.send(body[at:] + record(STDIN, id=one.id) + other.raw, 1)
        return self.finish(other, may_close=not whole)

    def pipelined(self, keep):
        """A second request before the first has its answer: served or sent elsewhere, never mixed up."""
        one, two = self.want(True), self.want(keep)
        if one.id == two.id:
            return self.send(one.raw) and self.finish(one)
        whole = self.send(one.raw + two.raw)
        self.finish(one, two, may_close=not whole)
        return False

    def unread(self, keep):
        self.send(self.want(keep, ["large", "echo"]).raw)
        return False

    def garbage(self, keep):
        self.send(self.rng.choice([self.rng.randbytes(300), record(STDIN, b"x", 0), record(PARAMS, b"x", version=2)]))
        return False


class World:
    """One shim with one application and many web servers."""

    def __init__(self, seed):
        rng = random.Random(seed)
        self.seed = seed
        self.keepalive = rng.random() < 0.5
        self.app = Application(seed)
        self.errors, self.tallies, self.lock = [], {}, threading.Lock()
        self.stopping = False
        tcp = rng.random() < 0.4
        self.upstream = "127.0.0.1:0" if rng.random() < 0.4 else None
        self.listen = "127.0.0.1:%d" % free_port() if tcp else "unix:{dir}/shim.sock"
        connections = rng.randrange(1, 4) if self.keepalive else rng.randrange(0, 4)
        self.settings = (
            "keepalive = %s\nconnections = %d\nqueue = %d\nqueue_timeout = 800ms\nread_timeout = %dms\n"
            "idle_timeout = %dms\nsend_timeout = 3s\n" % (
                "on" if self.keepalive else "off", connections, rng.choice([2, 100]), READ_TIMEOUT * 1000,
                rng.choice([20, 300])))

    def tally(self, what):
        with self.lock:
            self.tallies[what] = self.tallies.get(what, 0) + 1

    def work(self, number):
        for i in range(number, SESSIONS, THREADS):
            name = "%d.%d" % (self.seed, i)
            session = Session(self, name)
            try:
                session.run()
            except (ConnectionRefusedError, FileNotFoundError) as error:
                if self.stopping:
                    return
                self.errors.append("session %s: %s" % (name, error))
            except Exception as error:
                self.errors.append("session %s, %s: %s: %s" % (name, session.actions, type(error).__name__, error))
                return

    def run(self, test, stop_after=None):
        """stop_after: TERM comes when so many requests have ended."""
        with Responder(self.app, self.upstream, keep=False) as responder:
            ini = "[listen]\naddress = %s\n[upstream]\naddress = %s\n%s[limits]\nheader_timeout = 8s\n%s" % (
                self.listen, responder.address, self.settings, PROXIES)
            with Shim(ini) as shim:
                self.address = self.listen.replace("{dir}", shim.dir)
                before = shim.fds()
                threads = [threading.Thread(target=self.work, args=(i,)) for i in range(THREADS)]
                for thread in threads:
                    thread.start()
                told = "seed %d, %r" % (self.seed, self.settings)
                if stop_after is not None:
                    wait_for(lambda: sum(self.tallies.values()) >= stop_after, what="requests to end, " + told)
                    self.stopping = True
                    shim.signal(signal.SIGTERM)
                    test.assertEqual(shim.wait_exit(20), 0, told)
                for thread in threads:
                    thread.join()
                test.assertEqual(self.errors + self.app.mistakes + [str(one) for one in responder.errors], [], told)
                if self.stopping:
                    return self.tallies
                wait_for(lambda: shim.fds() <= before, what="the descriptors to close, " + told)
                last = Wanted(random.Random(0), "last", False, "echo")
                with Client(self.address) as client:
                    client.send(last.raw)
                    test.assertEqual(last.judge(client.read_response(last.id), 0, self.keepalive), "answered")
        return self.tallies


class Histories(unittest.TestCase):
    def test_rules_hold(self):
        total = {}
        for seed in SEEDS:
            for what, count in World(seed).run(self).items():
                total[what] = total.get(what, 0) + count
        print("seeds %r, %d sessions each: %r" % (SEEDS, SESSIONS, total))
        if SESSIONS >= 30 and len(SEEDS) >= 6:
            for what in ("answered", "refused", "closed", "elsewhere"):
                self.assertGreater(total.get(what, 0), 0, "the histories are too tame: %r" % total)

    def test_stop_ends_them(self):
        """TERM in the middle of everything: it ends long before shutdown_timeout."""
        for seed in SEEDS[:3]:
            World(seed).run(self, stop_after=10 + seed % 7)


if __name__ == "__main__":
    unittest.main()
