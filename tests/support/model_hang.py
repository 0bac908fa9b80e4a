"""Histories in which somebody hangs, in worlds whose time limits are short.

No rule here is about who is in time: on a busy machine any request may reach a limit. What holds is what holds
everywhere (model_rules.py), and that all who hang are ended. What sleeps here is the web server or the application that
is played, and nobody waits for that in order to find something done.
"""

import asyncio
import os
import socket

from fcgi import HEADER, parse_records
from model_application import Upstream, is_open
from model_front import WAIT, Player
from model_plan import Exchange, History
from model_world import World
from status import STATUS, read_status

SENDS = (["whole"] * 16 + ["stop", "slow"] * 4 + ["stop_params"] * 2 + ["no_reader"] * 3
         + ["cut", "abort", "half_close", "pipelined", "questions", "reset", "unread"])
ACTS = (["whole"] * 12 + ["hang"] * 16 + ["hang_unread"] * 5 + ["late"] * 5 + ["trickle"] * 3
        + ["early", "early_drain", "die", "half", "junk_inside", "protocol_error", "late_error"])
# Where in its answer an application hangs.
PLACES = ["nothing"] * 3 + ["in a header", "in a header", "behind a header", "inside", "inside", "between records",
                            "before END_REQUEST", "in END_REQUEST"]
MUCH = 1000000    # bytes: more than sockets take that nobody reads
SHORT = [120, 200, 300]  # ms
LONG = 20000
GIVE_UP = 1.2     # seconds


class HangingExchange(Exchange):
    def __init__(self, rng, token):
        super().__init__(rng, token)
        self.send, self.act, self.place = rng.choice(SENDS), rng.choice(ACTS), rng.choice(PLACES)
        self.waits = rng.random() < 0.7        # does the application read the body before it says anything?
        self.delay = 0.05 + 0.35 * rng.random()  # seconds; limits are about as long
        self.pause = rng.choice([0, 0.03, self.delay])
        if self.send == "no_reader":
            self.act = rng.choice(["whole", "whole", "whole", "hang"])
            self.answer = b"Content-Type: text/plain\r\n\r\n" + self.marked(b"answer", MUCH)
        if self.act == "hang_unread":
            self.body = self.marked(b"body", MUCH)
        self.act_size, self.record_size = max(self.act_size, 4000), max(self.record_size, 8000)

    def place_in(self, whole):
        """At which of the answer's bytes it hangs, before the last."""
        starts, at = [], 0
        for one in parse_records(whole)[0]:
            starts.append(at)
            at += len(one.raw)
        start = starts[int(self.act_share * len(starts))]
        some = int(self.act_share * 1000)
        return {"nothing": 0, "in a header": start + 1 + some % (HEADER - 1), "behind a header": start + HEADER,
                "inside": int(self.act_share * len(whole)), "between records": start, "before END_REQUEST": starts[-1],
                "in END_REQUEST": starts[-1] + HEADER + some % 8}[self.place]

    def __repr__(self):
        return "%s; %s, waits=%d, delay=%.3f" % (super().__repr__(), self.place, self.waits, self.delay)


class HangingHistory(History):
    exchange = HangingExchange
    most = 3


class HangingUpstream(Upstream):
    def __init__(self, application, world):
        super().__init__(application)
        self.world = world

    async def hang(self, exchange):
        """Until the shim has had enough."""
        exchange.hung = True
        self.ledger.tallies["hung"] += 1
        while not self.gone:
            self.change.clear()
            await self.change.wait()
        return False

    async def begin_answer(self, exchange):
        """Says it up to its place; the bytes that are left, or None if it cannot go on."""
        if exchange.waits and not await self.body_came():
            return None
        whole = exchange.answer_records(self.id) + exchange.end_record(self.id)
        at = exchange.place_in(whole)
        return whole[at:] if await self.write(whole[:at], exchange.act_cuts) else None

    async def act_hang(self, exchange):
        return await self.begin_answer(exchange) is not None and await self.hang(exchange)

    async def act_hang_unread(self, exchange):
        """Does not read. Of TCP it would not see that the connection has ended behind what waits to be sent."""
        self.transport.pause_reading()
        exchange.hung = True
        if self.world.tcp:
            await asyncio.sleep(GIVE_UP)
        else:
            await self.world.wait_for_limit(lambda: not is_open(self.sock), exchange)
        if not self.transport.is_closing():
            self.transport.resume_reading()
        return await self.hang(exchange)

    async def act_late(self, exchange):
        """Goes on when it may be too late."""
        rest = await self.begin_answer(exchange)
        if rest is None:
            return False
        await asyncio.sleep(exchange.delay)
        return await self.write(rest, [], lambda: self.note_end(exchange)) and await self.body_came()

    async def act_trickle(self, exchange):
        """Never hangs, but takes longer than request_timeout if there is one."""
        if exchange.waits and not await self.body_came():
            return False
        whole = exchange.answer_records(self.id) + exchange.end_record(self.id)
        size = len(whole) // 40 + 1
        for at in range(0, len(whole), size):
            ended = (lambda: self.note_end(exchange)) if at + size >= len(whole) else None
            if not await self.write(whole[at:at + size], [], ended):
                return False
            await asyncio.sleep(self.world.trickle)
        return await self.body_came()


def shows_page(sock):
    """Is a page of the shim there to be read?"""
    with socket.socket(fileno=os.dup(sock.fileno())) as own:
        try:
            return own.recv(HEADER + 7, socket.MSG_PEEK | socket.MSG_DONTWAIT)[HEADER:] == b"Status:"
        except OSError:
            return False


class HangingPlayer(Player):
    async def do_stop(self, exchange):
        """Falls silent in the body, or before its end, until it has got its answer; then sends the rest."""
        raw, head = self.request_of(exchange)
        head += exchange.padding  # as long as that is missing, header_timeout runs
        return await self.stop_at(exchange, raw, head + int(exchange.share * (len(raw) - head)))

    def request_of(self, exchange):
        """Its bytes, and how many of them are before its body; the last padding is not counted."""
        records = exchange.records()
        return b"".join(records), self.params_end(exchange, self.stops(records))

    async def stop_at(self, exchange, raw, most):
        await self.send(exchange, most=most)
        if not await self.ended(exchange):
            return False
        exchange.sent_all = True
        return await self.front.write(raw[most:], [])

    async def do_stop_params(self, exchange):
        if not self.world.header_timeout:
            return await self.do_stop(exchange)
        raw, head = self.request_of(exchange)
        return await self.stop_at(exchange, raw, 1 + int(exchange.share * (head - 1)))

    async def do_no_reader(self, exchange):
        """Reads when all is over, at the application and here."""
        self.front.transport.pause_reading()
        await self.send(exchange)
        sock = self.front.transport.get_extra_info("socket")
        await self.world.wait_for_limit(lambda: exchange.released or not is_open(sock) or shows_page(sock), exchange)
        if not self.front.transport.is_closing():
            self.front.transport.resume_reading()
        return await self.ended(exchange)

    async def do_slow(self, exchange):
        """Goes on when it may be too late."""
        exchange.send_cuts = [(exchange.share, exchange.delay)]
        return await self.do_whole(exchange)


class HangingWorld(World):
    """Each kind has other limits that are short; where one is not, another one ends what would wait for it."""
    at_once = 64
    calm_between = 0.3
    reloads = 6
    player = HangingPlayer

    def __init__(self, seed, number, calm=False):
        super().__init__(seed, number, calm)
        self.kind = number % 4
        self.kills = False
        self.toggles = self.kind == 1
        self.header_timeout = self.kind in (0, 2)
        self.cap = 3 if self.kind == 3 else self.rng.choice([16, 32]) * self.workers
        self.tcp = self.kind in (1, 3)        # takes all that it is sent, read or not
        self.trickle = 0.025 if self.kind in (1, 2) else 0.001  # seconds
        self.over = False

    @property
    def limits(self):
        """Others after each reload."""
        def draw(*kinds):
            return self.rng.choice(SHORT) if self.kind in kinds and not self.over else LONG
        return ("read_timeout = %dms\nsend_timeout = %dms\nqueue_timeout = %dms\nrequest_timeout = %dms\n"
                "[limits]\nheader_timeout = %dms\nrequests = %d\n%s" % (
                    draw(0, 2, 3), draw(0, 2, 3), draw(0, 2, 3), 2 * draw(1, 2), 2 * draw(0, 2),
                    self.at_once * self.workers, STATUS))

    async def wait_for_limit(self, ended, exchange):
        self.ledger.hold("service", await self.wait(ended, WAIT), exchange.token, "was not ended by any limit")

    def answer(self, application):
        return HangingUpstream(application, self)

    async def settle(self, before):
        """Under limits that nobody reaches: then all is served."""
        self.over = True
        await self.reload()
        await super().settle(before)
        if self.shim.running():
            await self.judge_status()

    async def judge_status(self):
        """Nothing is left. A worker may have ended its last request, and not have told yet."""
        for _ in range(100):
            status = await asyncio.to_thread(read_status, "unix:" + self.path)
            left = status["requests"]["in_flight"], status["queue"]["length"]
            if left == (0, 0):
                break
            await asyncio.sleep(0.05)
        self.ledger.hold("service", left == (0, 0), "(all)", "at the end there are %d requests, %d in the queue", *left)
        for limit, times in status["time_outs"].items():
            self.ledger.tallies["limit " + limit] += times
