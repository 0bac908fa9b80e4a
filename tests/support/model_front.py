"""The web servers of the model: each carries out one history."""

import asyncio
import itertools
import random
import re
import socket
import struct

from fcgi import (ABORT, CANT_MPX_CONN, END, GET_VALUES, GET_VALUES_RESULT, HEADER, PARAMS, STDERR, STDIN, STDOUT,
                  UNKNOWN_TYPE, parse_records, record)
from model_plan import pieces, with_noise
from model_rules import judge_refusal

WAIT = 30  # seconds for what the shim's own limits end far sooner
LINGER = 5  # seconds: so long the shim reads away what comes behind its page
PAGES = {b"Status: %d" % status: status for status in (400, 403, 431, 502, 503, 504)}
PAGE = re.compile(rb"Status: (\d+) [^\r\n]+\r\nContent-Type: text/plain\r\n(Retry-After: \d+\r\n)?\r\n\1 [^\0]+\n")


class Answer:
    """What has come for one request."""

    def __init__(self, ledger, exchange):
        self.ledger, self.exchange = ledger, exchange
        self.stdout, self.stderr, self.end = bytearray(), bytearray(), None
        self.types = []

    def hold(self, rule, truth, told, *values):
        self.ledger.hold(rule, truth, self.exchange.token, told, *values)

    def is_page(self):
        return bytes(self.stdout[:11]) in PAGES

    def take(self, one):
        self.types.append(one.type)
        if one.type == STDOUT:
            self.stdout += one.content
            at, wanted, got = len(self.stdout) - len(one.content), self.exchange.answer, one.content
            fits = wanted[at:at + len(got)] == got or self.is_page()
            self.hold("c", fits, "at byte %d of the answer came %r", at, got[:200])
        elif one.type == STDERR:
            self.stderr += one.content
            self.hold("c", self.exchange.stderr.startswith(self.stderr), "errors %r", self.stderr[-200:])
        else:
            self.hold("c", one.type == END and len(one.content) == 8, "not for a web server: %r", one)
            self.end = int.from_bytes(one.content[:4], "big"), one.content[4]
            self.judge()

    def take_part(self, kind, content):
        """Of a record whose rest never came."""
        if kind == STDOUT and not (self.types == [] and any(page.startswith(content[:11]) for page in PAGES)):
            at = len(self.stdout)
            fits = self.exchange.answer[at:at + len(content)] == content
            self.hold("c", fits, "at byte %d of the answer came a part of a record, %r", at, content[:200])
        elif kind == STDERR:
            self.hold("c", self.exchange.stderr.startswith(self.stderr + content), "errors %r", content[-200:])

    def judge_page(self):
        status = PAGES[bytes(self.stdout[:11])]
        self.hold("e", self.end == (0, 0) and b"\r\n\r\n" in self.stdout, "%d ends with %r", status, self.end)
        whole = self.types == [STDOUT, STDOUT, END] and PAGE.fullmatch(self.stdout)
        self.hold("page", whole, "%d came as the records %r, %r", status, self.types, bytes(self.stdout))
        judge_refusal(self.ledger, self.exchange, status)
        if self.exchange.hung and not self.exchange.left:
            self.hold("page", status == 504, "%d, and the application hangs", status)
        self.ledger.tallies[status] += 1

    def judge_cut(self, world, front):
        """Its connection closed before its end. That is so where an answer has begun, where the web server does not
        wait for one, if a worker may die, and if the parameters may have come too slowly. And a page is lost in a reset
        if the web server goes on sending for longer than the shim reads it away."""
        exchange = self.exchange
        arrived = exchange.arrivals > 0 or (exchange.sent_params and not world.header_timeout)
        waits = not (exchange.gave_up or exchange.aborted or exchange.overlaps)
        lost = front.error and front.lost_at - exchange.began > LINGER - 1
        if arrived and waits and not lost and not world.kills:
            self.hold("page", exchange.said >= HEADER, "closed, of its answer was written: %d bytes", exchange.said)

    def judge(self):
        """Its end has come."""
        exchange = self.exchange
        exchange.ended_early = not exchange.sent_all
        if exchange.overlaps and self.end == (0, CANT_MPX_CONN) and not self.stdout:
            self.hold("f", not exchange.arrivals, "was sent elsewhere, and served all the same")
            self.ledger.tallies["elsewhere"] += 1
        elif self.is_page():
            self.judge_page()
        elif exchange.aborted and self.end == (0, 0):
            self.ledger.tallies["aborted"] += 1
        else:
            said = exchange.ended
            self.hold("e", said == self.end, "ended with %r, the application said %r", self.end, said)
            fits = self.stdout == exchange.answer and self.stderr == exchange.stderr
            self.hold("e", fits, "ended with %d of %d bytes", len(self.stdout), len(exchange.answer))
            self.ledger.tallies["answered"] += 1


class Front(asyncio.Protocol):
    """One connection to the shim."""

    def __init__(self, ledger):
        self.ledger = ledger
        self.pending = bytearray()
        self.answers = {}          # id: Answer
        self.replies = 0
        self.closed, self.error, self.lost_at = False, None, None
        self.change = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()

    def connection_made(self, transport):
        self.transport = transport

    def pause_writing(self):
        self.room.clear()

    def resume_writing(self):
        self.room.set()

    def eof_received(self):
        return False

    def connection_lost(self, error):
        self.closed, self.error, self.lost_at = True, error, asyncio.get_running_loop().time()
        if len(self.pending) >= HEADER:
            kind, id, size = self.pending[1], int.from_bytes(self.pending[2:4], "big"), self.pending[4:6]
            answer = self.answers.get(id)
            if answer and not answer.end:
                answer.take_part(kind, bytes(self.pending[HEADER:HEADER + int.from_bytes(size, "big")]))
        self.room.set()
        self.change.set()

    def data_received(self, data):
        self.pending += data
        found, rest = parse_records(self.pending)
        self.pending = bytearray(rest)
        for one in found:
            self.take(one)
        self.change.set()

    def take(self, one):
        if one.id == 0 and one.type in (GET_VALUES_RESULT, UNKNOWN_TYPE):
            self.replies += 1
            return
        answer = self.answers.get(one.id)
        fine = answer is not None and answer.end is None
        token = answer.exchange.token if answer else "(none)"
        if self.ledger.hold("c", fine, token, "a record of no request that runs: %r", one):
            answer.take(one)

    async def until(self, condition, what, token):
        """True if it has come, false if the connection has ended before."""
        loop = asyncio.get_running_loop()
        limit = loop.time() + WAIT
        while not condition():
            if self.closed:
                return False
            self.change.clear()
            try:
                await asyncio.wait_for(self.change.wait(), max(0.01, limit - loop.time()))
            except asyncio.TimeoutError:
                self.ledger.hold("service", False, token, "waited in vain for %s", what)
                return False
        return True

    def half_close(self):
        try:
            self.transport.write_eof()
        except OSError:
            pass  # it has ended on the other side, which is read later

    def reset(self):
        sock = self.transport.get_extra_info("socket")
        if sock and sock.fileno() >= 0 and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if not self.closed:
            self.transport.abort()

    async def write(self, data, cuts, marks=()):
        """In pieces. marks: [(byte, what to do just before it goes)]. False if the connection has ended."""
        for start, stop, pause in pieces(data, cuts):
            for at, mark in marks:
                if start < at <= stop:
                    mark()
            if self.transport.is_closing():
                return False
            self.transport.write(data[start:stop])
            await self.room.wait()
            if pause:
                await asyncio.sleep(pause)
        return not self.transport.is_closing()


class Player:
    """Carries out one history."""

    def __init__(self, world, history):
        self.world, self.ledger, self.history = world, world.ledger, history
        self.rng = random.Random(history.name)
        self.front = None

    async def connect(self):
        loop = asyncio.get_running_loop()
        front = Front(self.ledger)
        if self.history.tcp:
            await loop.create_connection(lambda: front, "127.0.0.1", self.world.port)
        else:
            await loop.create_unix_connection(lambda: front, self.world.path)
        return front

    async def play(self):
        for exchange in self.history.exchanges:
            if self.front is None or self.front.transport.is_closing():
                self.front = await self.connect()
            if not await getattr(self, "do_" + exchange.send)(exchange):
                self.front.transport.close()
                self.front = None
        if self.front:
            self.front.transport.close()

    # ---- parts ----

    async def send(self, exchange, raw=None, stops=None, most=None):
        """The first `most` bytes of the request, or all."""
        if raw is None:
            records = exchange.records()
            raw, stops = b"".join(records), self.stops(records)
        exchange.first_list = self.ledger.oldest
        exchange.began = asyncio.get_running_loop().time()
        self.front.answers[exchange.id] = Answer(self.ledger, exchange)
        marks = [(self.params_end(exchange, stops), lambda: setattr(exchange, "sent_params", True)),
                 (stops[-1], lambda: setattr(exchange, "sent_all", True))]
        raw = raw[:most] if most is not None else raw
        marks = [one for one in marks if one[0] <= len(raw)]
        return await self.front.write(raw, exchange.send_cuts, marks)

    @staticmethod
    def stops(records):
        """Where each of them ends."""
        return list(itertools.accumulate(map(len, records)))

    @staticmethod
    def params_end(exchange, stops):
        """Where its parameters end, a terminator's padding not counted."""
        body = (len(exchange.body) + exchange.record_size - 1) // exchange.record_size
        return stops[-1 - body - 1] - exchange.padding

    async def ended(self, *exchanges):
        """Waits for the ends of these; true if the connection can go on."""
        front = self.front
        answers = [front.answers[one.id] for one in exchanges]
        whole = await front.until(lambda: all(one.end for one in answers), "the end", exchanges[0].token)
        if not whole:
            self.ledger.tallies["closed"] += 1
            for one in exchanges:
                if front.closed and not front.answers[one.id].end:
                    front.answers[one.id].judge_cut(self.world, front)
        return whole and all(one.keep for one in exchanges) and not front.closed

    # ---- what it may do; each tells whether the connection can go on ----

    async def do_whole(self, exchange):
        await self.send(exchange)
        return await self.ended(exchange)

    async def do_questions(self, exchange):
        raw, stops, count = with_noise(self.rng, exchange, False)
        going = await self.send(exchange, raw, stops)
        while going and self.rng.random() < 0.7:  # while the answer is on its way
            await asyncio.sleep(self.rng.random() * 0.004)
            exchange.gave_up = True  # asyncio reads no more where a write has failed
            going = await self.front.write(record(GET_VALUES, b"", 0), [])
            count += 1
        going = await self.ended(exchange)
        self.ledger.hold("c", self.front.replies <= count, exchange.token, "%d answers to %d questions",
                         self.front.replies, count)
        self.front.replies = 0
        return False if going and count else going

    async def do_strangers(self, exchange):
        raw, stops, _ = with_noise(self.rng, exchange, True)
        await self.send(exchange, raw, stops)
        return await self.ended(exchange)

    async def do_half_close(self, exchange):
        if await self.send(exchange):
            self.front.half_close()
        await self.ended(exchange)
        return False

    async def do_cut(self, exchange):
        """A part of it, and no more; often whole records."""
        records = exchange.records()
        most = int(exchange.share * len(b"".join(records)))
        if exchange.at_boundary:
            most = len(b"".join(records[:int(exchange.share * len(records))]))
        whole = await self.send(exchange, most=most)
        await asyncio.sleep(exchange.pause)
        exchange.gave_up = True
        if whole and exchange.closes == "half":
            self.front.half_close()
            await self.ended(exchange)
        elif exchange.closes == "reset":
            self.front.reset()
        return False

    async def do_reset(self, exchange):
        await self.send(exchange)
        await asyncio.sleep(exchange.pause)
        self.front.reset()
        return False

    async def do_abort(self, exchange):
        records = exchange.records()
        most = len(b"".join(records[:1 + int(1.5 * exchange.share * len(records))]))
        exchange.aborted = True
        await self.send(exchange, most=most)
        await asyncio.sleep(self.rng.random() * 0.004)  # an answer may have begun
        await self.front.write(record(ABORT, id=exchange.id), [])
        return await self.ended(exchange)

    async def do_late_abort(self, exchange):
        return await self.do_whole(exchange) and await self.front.write(record(ABORT, id=exchange.id), [])

    async def do_unread(self, exchange):
        self.front.transport.pause_reading()
        await self.send(exchange)
        await asyncio.sleep(exchange.pause)
        return False

    async def do_slow_reader(self, exchange):
        self.front.transport.pause_reading()
        await self.send(exchange)
        await asyncio.sleep(exchange.pause)
        if not self.front.transport.is_closing():
            self.front.transport.resume_reading()
        return await self.ended(exchange)

    async def do_garbage(self, exchange):
        junk = [self.rng.randbytes(300), record(STDIN, b"x", 0), record(PARAMS, b"x", version=2)]
        await self.front.write(self.rng.choice(junk), [])
        return False

    async def do_pipelined(self, exchange):
        """A second request behind the first: served after it, or sent elsewhere."""
        second = exchange.follower
        exchange.overlaps = second.overlaps = True
        await self.send(exchange)
        await self.send(second)
        await self.ended(exchange, second)
        return False
