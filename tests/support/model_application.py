"""The application of the model: it knows every request's plan, and does what that says, in one asyncio loop."""

import asyncio
import os
import select
import socket

from fcgi import (ABORT, BEGIN, GET_VALUES_RESULT, KEEP_CONN, PARAMS, STDIN, STDOUT, end, parse_pairs, parse_records,
                  record)
from model_plan import pieces
from model_rules import judge_params


def is_open(sock):
    """False if the other side has closed, whether or not that was read already."""
    if sock.fileno() < 0:
        return False
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLRDHUP)
    return not poll.poll(0)


def held_by_peers(port):
    """The ports of this host whose connections to this port are not closed on their own side. What that side has closed
    may look open from here as long as bytes before its end have not come."""
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    ends = [(int(row[1].rpartition(":")[2], 16), int(row[2].rpartition(":")[2], 16)) for row in rows if row[3] == "01"]
    return {local for local, remote in ends if remote == port}


class Upstream(asyncio.Protocol):
    """One connection from the shim."""

    def __init__(self, application):
        self.application, self.ledger = application, application.ledger
        self.pending = bytearray()
        self.exchange = None       # the running one
        self.id = None
        self.running = False       # its END_REQUEST is not said yet
        self.doomed = False        # closes as soon as anything comes
        self.gone = False
        self.served = 0            # requests before

    def connection_made(self, transport):
        self.transport = transport
        self.sock = transport.get_extra_info("socket")
        self.peer = transport.get_extra_info("peername")  # None if it has gone already
        self.change = asyncio.Event()
        self.application.note_open(self)

    def connection_lost(self, error):
        self.gone = True
        self.release()
        self.application.open.discard(self)
        self.change.set()

    def release(self):
        if self.exchange:
            self.exchange.released = True

    def close(self, reset=False):
        self.application.open.discard(self)
        if self.exchange:
            self.exchange.left = True
        if reset:
            self.transport.abort()
        else:
            self.transport.close()

    # ---- what comes ----

    def data_received(self, data):
        self.pending += data
        found, rest = parse_records(self.pending)
        self.pending = bytearray(rest)
        for one in found:
            try:
                self.take(one)
            except (AssertionError, IndexError) as error:
                self.ledger.hold("c", False, self.token(), "came to the application: %r: %s", one, error)
        if self.doomed:
            self.close()
        self.change.set()

    def take(self, one):
        if one.type == BEGIN:
            self.ledger.hold("c", not self.running, self.token(), "a next request before the end of this one")
            self.release()
            self.exchange, self.id, self.keep, self.running = None, one.id, bool(one.content[2] & KEEP_CONN), True
            self.params, self.body, self.whole = b"", 0, False
        elif not self.ledger.hold("c", one.id == self.id, self.token(), "a record of no request: %r", one):
            return
        elif one.type == PARAMS:
            self.params += one.content
            if not one.content:
                self.arrive(parse_pairs(self.params))
        elif one.type == STDIN and self.exchange:
            self.take_body(one.content)
        else:
            self.ledger.hold("c", one.type == ABORT, self.token(), "not for an application: %r", one)

    def token(self):
        return self.exchange.token if self.exchange else "(none)"

    def arrive(self, params):
        got = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in params]
        exchange = self.ledger.exchanges.get(dict(got).get("TOKEN"))
        if not self.ledger.hold("c", exchange is not None, "(unknown)", "came to the application: %r", got[:9]):
            return
        self.exchange = exchange
        exchange.arrivals += 1
        most = 2 if exchange.repeatable and exchange.came_kept else 1
        self.ledger.hold("f", exchange.arrivals <= most, exchange.token, "arrived %d times; was the first connection a "
                         "kept one: %s", exchange.arrivals, exchange.came_kept)
        self.ledger.hold("f", exchange.arrivals == 1 or exchange.left, exchange.token, "arrived again, and the "
                         "application had not closed the connection on which it had it")
        exchange.came_kept = self.served > 0
        self.served += 1
        self.ledger.hold("d", exchange.sent_params, exchange.token, "its parameters were never sent to their end")
        judge_params(self.ledger, exchange, got)
        if not self.doomed:
            task = asyncio.get_running_loop().create_task(self.serve(exchange, exchange.arrivals))
            self.application.tasks.add(task)
            task.add_done_callback(self.application.note_done)

    def take_body(self, content):
        exchange = self.exchange
        fits = exchange.body[self.body:self.body + len(content)] == content
        self.ledger.hold("c", fits, exchange.token, "at byte %d of its body came %r", self.body, content[:200])
        self.body += len(content)
        if not content:
            self.whole = True
            fine = exchange.sent_all and not exchange.ended_early and self.body == len(exchange.body)
            self.ledger.hold("d", fine, exchange.token, "came to its end with %d bytes of its body", self.body)

    async def body_came(self):
        while not self.whole and not self.gone:
            self.change.clear()
            await self.change.wait()
        return self.whole

    # ---- what it says ----

    async def write(self, data, cuts, ended=None, tail=b""):
        """In pieces; false if the shim has gone. ended() is called just before the last byte goes, together with tail:
        a moment later a next request may be running."""
        exchange = self.exchange
        for start, stop, pause in pieces(data, cuts):
            if self.transport.is_closing():
                return False
            last = stop == len(data)
            if last and ended:
                ended()
            exchange.said += stop - start
            self.transport.write(data[start:stop] + (tail if last else b""))
            if pause:
                await asyncio.sleep(pause)
        return not self.transport.is_closing()

    async def serve(self, exchange, arrival):
        act = exchange.act if arrival == 1 else exchange.again
        stay = await getattr(self, "act_" + act)(exchange)
        if not self.transport.is_closing() and not (stay and self.keep):
            self.close(reset=stay is None)

    async def act_whole(self, exchange):
        if not await self.body_came():
            return False
        return await self.answer(exchange)

    def note_end(self, exchange):
        """The last byte of its END_REQUEST goes out now."""
        last = exchange.end_record(self.id)
        exchange.ended = int.from_bytes(last[8:12], "big"), last[12]
        self.running = False

    act_empty = act_late_error = act_whole

    async def answer(self, exchange):
        whole = exchange.answer_records(self.id)
        if exchange.noise:
            whole = (record(GET_VALUES_RESULT, b"", 0) + record(STDOUT, b"of a stranger", self.id ^ 1, 3) + whole
                     + record(99, b"?", self.id) + end(self.id ^ 3))
        id, last, then = self.id, exchange.end_record(self.id), exchange.then
        tail = record(STDOUT, b"behind the end of " + exchange.token.encode(), id) if then == "trailing" else b""
        if then == "close_at_next":
            self.doomed = True
        if not await self.write(whole + last, exchange.act_cuts, lambda: self.note_end(exchange), tail):
            return False
        if then == "close":
            return False
        if then in ("close_soon", "late_stray"):
            await asyncio.sleep(exchange.then_pause)
            if then == "close_soon":
                self.close()
            elif self.id == id and not self.transport.is_closing():
                self.transport.write(record(STDOUT, b"late, of " + exchange.token.encode(), id))
        return True

    async def act_early(self, exchange):
        await self.answer(exchange)
        return False

    async def act_early_drain(self, exchange):
        await self.answer(exchange)
        return await self.body_came() or False

    async def act_die(self, exchange):
        return None if exchange.act_share < 0.3 else False

    async def act_die_late(self, exchange):
        await self.body_came()
        return await self.act_die(exchange)

    async def act_half(self, exchange, tail=b""):
        """A part of the answer, which may be all but its END_REQUEST."""
        if not await self.body_came():
            return False
        whole = exchange.answer_records(self.id)
        said = whole[:int(min(1, exchange.act_share * 1.2) * len(whole))]
        if tail:  # where a record begins: inside of one it would be the answer's
            said = said[:len(said) - len(parse_records(said)[1])] + tail
        await self.write(said, exchange.act_cuts)
        return None if exchange.act_share < 0.1 else False

    async def act_almost(self, exchange):
        """All but the last bytes of END_REQUEST."""
        if not await self.body_came():
            return False
        whole = exchange.answer_records(self.id) + exchange.end_record(self.id)
        await self.write(whole[:-1 - int(exchange.act_share * 15)], exchange.act_cuts)
        return False

    async def act_junk_inside(self, exchange):
        return await self.act_half(exchange, b"\xff" * 64)

    async def act_junk(self, exchange):
        if not await self.body_came():
            return False
        junk = [record(STDOUT, b"x", self.id, version=9), record(3, b"short", self.id), b"HTTP/1.1 200 OK\r\n\r\n"]
        await self.write(junk[int(exchange.act_share * 3)], [])
        return False

    async def act_protocol_error(self, exchange):
        """Refuses, with nothing said before."""
        if not await self.body_came():
            return False
        self.running = False
        return await self.write(end(self.id, exchange.app_status, exchange.error), [])


class Application:
    """Listens, and can stop that for a moment."""

    def __init__(self, ledger, address, cap, connection=Upstream):
        self.ledger, self.address, self.cap, self.connection = ledger, address, cap, connection
        self.open = set()
        self.most_open = 0
        self.server = None
        self.tasks = set()
        self.mistakes = []         # of this program

    async def listen(self):
        loop = asyncio.get_running_loop()
        if self.address.startswith("unix:"):
            path = self.address[len("unix:"):]
            if os.path.exists(path):
                os.unlink(path)
            self.server = await loop.create_unix_server(lambda: self.connection(self), path, backlog=512)
        else:
            sock = socket.socket()
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            host, port = self.address.split(":")
            sock.bind((host, int(port)))
            self.server = await loop.create_server(lambda: self.connection(self), sock=sock, backlog=512)

    def refuse(self):
        """Connections are refused until listen(), those in the backlog are gone."""
        self.server.close()

    def note_done(self, task):
        self.tasks.discard(task)
        if not task.cancelled() and task.exception():
            self.mistakes.append(task.exception())

    def note_open(self, upstream):
        self.open.add(upstream)
        now = [one for one in self.open if is_open(one.sock)]
        if len(now) > self.cap and not self.address.startswith("unix:"):
            held = held_by_peers(int(self.address.split(":")[1]))
            now = [one for one in now if one.peer and one.peer[1] in held]
        count = len(now)
        self.most_open = max(self.most_open, count)
        self.ledger.hold("g", count <= self.cap, "(all)", "%d connections, the cap is %d", count, self.cap)

    async def end(self):
        self.server.close()
        for one in list(self.open):
            one.close(reset=True)
