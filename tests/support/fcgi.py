"""Raw FastCGI peers: a client that sends any bytes, and a responder that does what its script says.

Both work on records byte for byte, so that tests can send what no real peer sends and see what no real peer
shows. Every wait has a time limit; when it passes, an AssertionError says what was waited for.
"""

import collections
import fcntl
import os
import select
import socket
import struct
import tempfile
import termios
import threading
import time

from shim import PATIENCE, connect, wait_for

BEGIN, ABORT, END, PARAMS, STDIN, STDOUT, STDERR, DATA, GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE = range(1, 12)
TYPE_NAMES = {
    1: "BEGIN", 2: "ABORT", 3: "END", 4: "PARAMS", 5: "STDIN", 6: "STDOUT", 7: "STDERR", 8: "DATA",
    9: "GET_VALUES", 10: "GET_VALUES_RESULT", 11: "UNKNOWN_TYPE",
}
RESPONDER, AUTHORIZER, FILTER = 1, 2, 3
KEEP_CONN = 1
REQUEST_COMPLETE, CANT_MPX_CONN, OVERLOADED, UNKNOWN_ROLE = range(4)
HEADER = 8


# Building -----------------------------------------------------------------------------------------------------


def record(kind, content=b"", id=1, padding=0, version=1, reserved=0):
    """One record. padding: how many bytes of it (they are b"P", so that one sees them where they must not go), or
    the bytes."""
    if isinstance(padding, int):
        padding = b"P" * padding
    return struct.pack("!BBHHBB", version, kind, id, len(content), len(padding), reserved) + content + padding


def begin(id=1, role=RESPONDER, keep=False, flags=None):
    flags = flags if flags is not None else (KEEP_CONN if keep else 0)
    return record(BEGIN, struct.pack("!HB5x", role, flags), id)


def end(id=1, app_status=0, protocol_status=REQUEST_COMPLETE, padding=0):
    return record(END, struct.pack("!IB3x", app_status, protocol_status), id, padding)


def length(n, long=False):
    """A name's or value's length; long: in four bytes even where one would do."""
    return struct.pack("!I", n | 0x80000000) if n > 127 or long else bytes([n])


def to_bytes(text):
    return text.encode("latin-1") if isinstance(text, str) else text


def pair(name, value, long=False):
    name, value = to_bytes(name), to_bytes(value)
    return length(len(name), long) + length(len(value), long) + name + value


def as_list(params):
    items = params.items() if isinstance(params, dict) else params
    return [(to_bytes(name), to_bytes(value)) for name, value in items]


def pairs(params):
    """The name-value pairs of a dict, or a list of (name, value), as one string of bytes."""
    return b"".join(pair(name, value) for name, value in as_list(params))


def stream(kind, content, id=1, size=65535, padding=0):
    """content as records of at most size bytes each, without the terminator."""
    return b"".join(record(kind, content[i:i + size], id, padding) for i in range(0, len(content), size))


def request(params, body=b"", id=1, role=RESPONDER, keep=False, data=None, size=65535, padding=0, stdin_end=True):
    """A whole request with all its terminators."""
    raw = params if isinstance(params, bytes) else pairs(params)
    out = begin(id, role, keep) + stream(PARAMS, raw, id, size, padding) + record(PARAMS, id=id, padding=padding)
    if role != AUTHORIZER or body:
        out += stream(STDIN, body, id, size, padding)
        if stdin_end:
            out += record(STDIN, id=id, padding=padding)
    if role == FILTER:
        out += stream(DATA, data or b"", id, size, padding) + record(DATA, id=id, padding=padding)
    return out


def answer(body=b"ok", id=1, status=None, headers="Content-Type: text/plain\r\n", padding=0, size=65528):
    """A whole answer: CGI header and body on STDOUT, its terminator, END_REQUEST."""
    head = ("Status: %s\r\n" % status if status else "") + headers + "\r\n"
    return stream(STDOUT, head.encode() + body, id, size, padding) + record(STDOUT, id=id) + end(id)


# Reading ------------------------------------------------------------------------------------------------------


class Record(collections.namedtuple("Record", "version type id content padding reserved")):
    """One record as it came."""

    @property
    def raw(self):
        return record(self.type, self.content, self.id, self.padding, self.version, self.reserved)

    def __repr__(self):
        content = repr(self.content[:60]) + ("..." if len(self.content) > 60 else "")
        return "<%s id=%d len=%d pad=%d %s>" % (TYPE_NAMES.get(self.type, self.type), self.id, len(self.content),
                                                 len(self.padding), content)


def parse_records(raw):
    """(complete records, the bytes left over)."""
    records, at = [], 0
    while len(raw) - at >= HEADER:
        version, kind, id, size, pad, reserved = struct.unpack_from("!BBHHBB", raw, at)
        if len(raw) - at < HEADER + size + pad:
            break
        body = at + HEADER
        records.append(Record(version, kind, id, bytes(raw[body:body + size]),
                              bytes(raw[body + size:body + size + pad]), reserved))
        at = body + size + pad
    return records, raw[at:]


def parse_pairs(raw):
    """The list of (name, value); AssertionError if the bytes end inside a pair."""
    return [(name, value) for name, value, _, _ in locate_pairs(raw)]


def locate_pairs(raw):
    """The list of (name, value, offset of its first byte, offset behind its last); as parse_pairs."""
    found, at = [], 0
    while at < len(raw):
        start, sizes = at, []
        for _ in range(2):
            assert at < len(raw), "ends inside a pair's lengths: %r" % raw[-40:]
            if raw[at] & 0x80:
                assert at + 4 <= len(raw), "ends inside a four-byte length: %r" % raw[-40:]
                sizes.append(struct.unpack_from("!I", raw, at)[0] & 0x7FFFFFFF)
                at += 4
            else:
                sizes.append(raw[at])
                at += 1
        assert at + sum(sizes) <= len(raw), "ends inside a pair: %d more bytes wanted" % (at + sum(sizes) - len(raw))
        name = bytes(raw[at:at + sizes[0]])
        value = bytes(raw[at + sizes[0]:at + sum(sizes)])
        at += sum(sizes)
        found.append((name, value, start, at))
    return found


def wait_readable(sockets, seconds):
    """Those of the sockets (or descriptors) that can be read, or are at their end; waits so many seconds for the first
    (None: for ever)."""
    poll = select.poll()  # select() knows no descriptor over 1023
    known = {}
    for item in sockets:
        number = item if isinstance(item, int) else item.fileno()
        known[number] = item
        poll.register(number, select.POLLIN)
    return [known[number] for number, _ in poll.poll(None if seconds is None else seconds * 1000)]


class Closed(ConnectionError):
    """The other side closed (or reset) the connection where a record was wanted."""


class Peer:
    """One connection, either side: sends bytes, reads records.

    keep: whether .received keeps every byte that came (not for bulk). read_size: most bytes of one read.
    """

    read_size = 262144

    def __init__(self, sock, keep=True):
        self.sock = sock
        self.sock.settimeout(PATIENCE)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.keep = keep
        self.received = bytearray()
        self._pending = bytearray()

    def send(self, data):
        try:
            self.sock.sendall(data)
        except socket.timeout:
            raise AssertionError("could not send %d bytes within %.0f s" % (len(data), PATIENCE)) from None

    def send_cut(self, data, at):
        """Sends data in two pieces; the second goes out when the other side has read the first."""
        self.send(data[:at])
        self.wait_sent()
        self.send(data[at:])

    def send_now(self, data):
        """Sends a few bytes if the socket takes them without waiting for room; False if it does not. (send() waits
        until a good part of the room is free.)"""
        self.sock.setblocking(False)
        try:
            return self.sock.send(data) == len(data)
        except BlockingIOError:
            return False
        finally:
            self.sock.settimeout(PATIENCE)

    def wait_sent(self, timeout=PATIENCE):
        """Waits until the other side has read all that was sent. On unix sockets only: TCP tells no more than that
        the other side's kernel has it."""
        wait_for(lambda: not struct.unpack("i", fcntl.ioctl(self.sock, termios.TIOCOUTQ, b"\0" * 4))[0], timeout,
                 what="the other side to read")

    def _fill(self, timeout):
        """Reads once; False at the end of the stream."""
        self.sock.settimeout(timeout)
        try:
            data = self.sock.recv(self.read_size)
        except socket.timeout:
            raise AssertionError("nothing came within %.1f s; %d bytes pending: %r"
                                 % (timeout, len(self._pending), bytes(self._pending[:80]))) from None
        except ConnectionResetError:
            data = b""
        finally:
            try:
                self.sock.settimeout(PATIENCE)
            except OSError:
                pass
        if self.keep:
            self.received += data
        self._pending += data
        return bool(data)

    def read_record(self, timeout=PATIENCE):
        """The next record, or None where the stream ends between records; Closed if it ends inside one."""
        limit = time.monotonic() + timeout
        while True:
            if len(self._pending) >= HEADER:
                version, kind, id, size, pad, reserved = struct.unpack_from("!BBHHBB", self._pending)
                total = HEADER + size + pad
                if len(self._pending) >= total:
                    found = Record(version, kind, id, bytes(self._pending[HEADER:HEADER + size]),
                                   bytes(self._pending[HEADER + size:total]), reserved)
                    del self._pending[:total]
                    self.check(found)
                    return found
            if not self._fill(max(0.001, limit - time.monotonic())):
                if self._pending:
                    raise Closed("closed inside a record: %r" % bytes(self._pending[:80]))
                return None

    def putback(self, found):
        """Gives a record back, to be the next one that is read."""
        self._pending[:0] = found.raw

    def check(self, found):
        """What is true of every record that the shim sends, to either side."""
        assert found.version == 1, "version %d: %r" % (found.version, found)
        assert found.reserved == 0, "reserved byte %d: %r" % (found.reserved, found)
        assert not found.padding.strip(b"\0"), "padding is not zero: %r %r" % (found, found.padding)

    def read_eof(self, timeout=PATIENCE):
        """Waits for the end of the stream; AssertionError if bytes come instead."""
        limit = time.monotonic() + timeout
        while not self._pending and self._fill(max(0.001, limit - time.monotonic())):
            pass
        assert not self._pending, "wanted the end, got %r" % bytes(self._pending[:200])

    def is_quiet(self, seconds):
        """True if nothing comes, the end neither, for so long. For "does not happen" only: it costs the time."""
        return not self._pending and not wait_readable([self.sock], seconds)

    def readable(self):
        return bool(self._pending) or bool(wait_readable([self.sock], 0))

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        """Closes with a RST (TCP), or with unread input thrown away (unix)."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# The client ---------------------------------------------------------------------------------------------------


class Response:
    """What came for one request. end: (appStatus, protocolStatus), or None if the connection closed without it."""

    def __init__(self):
        self.records = []
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.end = None

    def __repr__(self):
        return "<Response end=%r stdout=%r stderr=%r>" % (self.end, bytes(self.stdout[:300]), bytes(self.stderr[:300]))

    @property
    def head(self):
        """The CGI header's lines as {lower-case name: value}."""
        lines = bytes(self.stdout).partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
        return {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}

    @property
    def status(self):
        """The HTTP status that a gateway would make of it."""
        assert self.stdout, "no STDOUT at all: %r" % self
        return int(self.head.get("status", "200").split()[0])

    @property
    def body(self):
        return bytes(self.stdout).partition(b"\r\n\r\n")[2]


class Client(Peer):
    """The web server's side."""

    def __init__(self, address, keep=True):
        super().__init__(connect(address), keep)

    def read_response(self, id=1, timeout=PATIENCE):
        """Reads until END_REQUEST of this id, or the end of the stream."""
        response = Response()
        limit = time.monotonic() + timeout
        closed = set()
        while True:
            try:
                found = self.read_record(max(0.001, limit - time.monotonic()))
            except AssertionError as error:
                raise AssertionError("%s; until then %r" % (error, response)) from None
            if found is None:
                return response
            response.records.append(found)
            assert found.id == id, "a record of another request: %r" % (found,)
            assert found.type not in closed, "a record behind its stream's end: %r" % found
            if found.type in (STDOUT, STDERR):
                (response.stdout if found.type == STDOUT else response.stderr).extend(found.content)
                if not found.content:
                    closed.add(found.type)
            elif found.type == END:
                assert len(found.content) == 8, "END_REQUEST of %d bytes" % len(found.content)
                response.end = struct.unpack("!IB3x", found.content)
                return response
            else:
                raise AssertionError("not for a client: %r" % found)

    def ask(self, params, body=b"", id=1, timeout=PATIENCE, **options):
        """Sends a whole request and reads its answer."""
        self.send(request(params, body, id, **options))
        return self.read_response(id, timeout)

    def read_all(self, timeout=PATIENCE):
        """All records until the end of the stream."""
        records = []
        while True:
            found = self.read_record(timeout)
            if found is None:
                return records
            records.append(found)


def ask(address, params, body=b"", **options):
    """One request on a connection of its own."""
    with Client(address) as client:
        return client.ask(params, body, **options)


# The responder ------------------------------------------------------------------------------------------------


class Request:
    """A request as the application received it."""

    def __init__(self, id, role, flags):
        self.id, self.role, self.flags = id, role, flags
        self.records = []      # every record, BEGIN_REQUEST and terminators too
        self.params_raw = b""
        self.params = []       # [(name, value)], in order
        self.stdin = bytearray()  # grows while it is read
        self.data = bytearray()
        self.connection = None

    @property
    def keep(self):
        return bool(self.flags & KEEP_CONN)

    def get(self, name):
        """The values of a parameter, in order."""
        return [value for key, value in self.params if key == to_bytes(name)]

    def __repr__(self):
        return "<Request role=%d flags=%d params=%r stdin=%d bytes>" % (self.role, self.flags, self.params,
                                                                        len(self.stdin))


class Connection(Peer):
    """One accepted connection on the application's side."""

    def __init__(self, sock, responder, number):
        super().__init__(sock, responder.keep)
        self.responder = responder
        self.number = number  # 0 for the first
        self.requests = []
        self.current = None

    @property
    def id(self):
        """Of the current request: its answer's records need it."""
        return self.current.id if self.current else 1

    def check(self, found):
        super().check(found)
        assert len(found.content) + len(found.padding) <= 65535, "too long for php: %r" % found
        if not found.content:
            assert not found.padding, "a terminator with padding: %r" % found
        assert found.type not in (GET_VALUES, GET_VALUES_RESULT, UNKNOWN_TYPE), "management record: %r" % found
        ours = found.type == BEGIN or self.current is None or found.id == self.current.id
        assert found.id and ours, "foreign id: %r" % (found,)

    def read_params(self):
        """BEGIN_REQUEST and PARAMS to their end; None if the connection ends instead."""
        self.current = None
        found = self.read_record()
        if found is None:
            return None
        assert found.type == BEGIN and len(found.content) == 8, "wanted BEGIN_REQUEST, got %r" % found
        self.current = now = Request(found.id, *struct.unpack("!HB5x", found.content))
        assert found.content[3:] == b"\0" * 5, "reserved bytes of BEGIN_REQUEST: %r" % found
        now.connection = self
        now.records.append(found)
        raw = bytearray()
        while True:
            found = self.read_record()
            if found is None:
                raise Closed("closed inside the parameters")
            assert found.type == PARAMS, "wanted PARAMS, got %r" % found
            now.records.append(found)
            if not found.content:
                break
            raw += found.content
        now.params_raw = bytes(raw)
        now.params = parse_pairs(now.params_raw)
        check_cuts(now)
        self.requests.append(now)
        with self.responder.changed:
            self.responder.requests.append(now)
            self.responder.changed.notify_all()
        return now

    def read_body(self, kind=STDIN):
        """One stream to its end; returns it."""
        now = self.current
        content = now.stdin if kind == STDIN else now.data
        while True:
            found = self.read_record()
            if found is None:
                raise Closed("closed inside the body, after %d bytes" % len(content))
            assert found.type == kind, "wanted %s, got %r" % (TYPE_NAMES[kind], found)
            if self.keep:
                now.records.append(found)
            if not found.content:
                return bytes(content)
            content += found.content

    def read_request(self):
        """A whole request; None if the connection ends instead."""
        now = self.read_params()
        if now is not None:
            if now.role != AUTHORIZER:
                self.read_body()
            if now.role == FILTER:
                self.read_body(DATA)
        return now

    def reply(self, body=b"ok", **options):
        self.current_done()
        self.send(answer(body, self.id, **options))

    def is_open(self):
        """False if this side has closed, or the other side has, whether or not that was read already."""
        if self.sock.fileno() < 0:
            return False
        poll = select.poll()
        poll.register(self.sock, select.POLLRDHUP)
        return not poll.poll(0)

    def current_done(self):
        """Nothing of a second request may have come before the first one is answered."""
        early = [found for found in parse_records(self._pending)[0] if found.type == BEGIN]
        assert not early, "a next request before the answer: %r" % early


def check_cuts(now):
    """Every PARAMS record ends on a pair's boundary, unless it holds a part of a pair that fits into no record."""
    located = locate_pairs(now.params_raw)
    cuts = {0} | {stop for _, _, _, stop in located}
    position = 0
    for found in now.records[1:]:
        position += len(found.content)
        if position not in cuts:
            size = next(stop - start for _, _, start, stop in located if start < position < stop)
            assert size > 65535, "a PARAMS record ends inside a pair of %d bytes, at byte %d" % (size, position)


def echo(connection):
    """The simple application: answers every request with its body, keeps the connection if the request says so."""
    while True:
        now = connection.read_request()
        if now is None:
            return
        connection.reply(bytes(now.stdin))
        if not now.keep:
            return


class Responder:
    """A listening application: each connection is handed to a script, in a thread of its own.

    script       a function of one Connection, or a list of them, one for each connection in order (the last one
                 serves all further ones). The connection is closed when it returns.
    address      None: a unix socket in a new private directory; else "unix:PATH", "HOST:PORT" or "HOST:0"
    backlog      as for listen(2)
    accepting    False: listen, but accept nothing until .accept() is called
    keep         False: do not keep received bytes

    .open counts the connections whose scripts run; .most_open is the most that were open on both sides whenever one
    was accepted.
    """

    def __init__(self, script=echo, address=None, backlog=512, accepting=True, keep=True):
        self.scripts = script if isinstance(script, list) else [script]
        self.keep = keep
        self.connections = []
        self.requests = []
        self.errors = []
        self.open = 0
        self.most_open = 0
        self.changed = threading.Condition()
        self.closed = False
        self.directory = None
        if address is None:
            self.directory = tempfile.mkdtemp(prefix="app-")
            address = "unix:%s/app.sock" % self.directory
        if address.startswith("unix:"):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.socket.bind(address[len("unix:"):])
            self.address = address
        else:
            host, port = address.rsplit(":", 1)
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self.socket = socket.socket(family, socket.SOCK_STREAM)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind((host.strip("[]"), int(port)))
            self.address = "%s:%d" % (host, self.socket.getsockname()[1])
        self.socket.listen(backlog)
        self._stop_read, self._stop_write = os.pipe()
        self._threads = []
        self._acceptor = None
        if accepting:
            self.accept()

    def accept(self):
        """Starts to accept."""
        self._acceptor = threading.Thread(target=self._accept_all, daemon=True)
        self._acceptor.start()

    def _accept_all(self):
        while True:
            if self._stop_read in wait_readable([self.socket, self._stop_read], None):
                return
            sock, _ = self.socket.accept()
            with self.changed:
                connection = Connection(sock, self, len(self.connections))
                self.connections.append(connection)
                self.open += 1
                self.most_open = max(self.most_open, sum(one.is_open() for one in self.connections))
                self.changed.notify_all()
            script = self.scripts[min(connection.number, len(self.scripts) - 1)]
            thread = threading.Thread(target=self._run, args=(script, connection), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _run(self, script, connection):
        try:
            script(connection)
        except AssertionError as error:
            self.errors.append(error)
        except (OSError, ValueError) as error:
            # The other side went away in the middle, or the test closed the socket: tests that care look here.
            connection.error = error
        except Exception as error:  # a mistake in the script itself
            self.errors.append(error)
        finally:
            with self.changed:
                connection.close()
                self.open -= 1
                self.changed.notify_all()

    def wait(self, condition, what="the application to see it", timeout=PATIENCE):
        """Waits until condition(), which looks at this responder, is true; returns what it gave."""
        limit = time.monotonic() + timeout
        with self.changed:
            while True:
                result = condition()
                if result:
                    return result
                self.raise_errors()
                left = limit - time.monotonic()
                assert left > 0, "waited %.0f s in vain for %s; %d connections, %d requests" % (
                    timeout, what, len(self.connections), len(self.requests))
                self.changed.wait(min(left, 0.05))

    def wait_connections(self, count):
        return self.wait(lambda: len(self.connections) >= count and self.connections, "%d connections" % count)

    def wait_requests(self, count):
        return self.wait(lambda: len(self.requests) >= count and self.requests, "%d requests" % count)

    def wait_closed(self):
        """Waits until every connection is closed by the other side, as their scripts see it."""
        return self.wait(lambda: self.open == 0, "the connections to close") or True

    def raise_errors(self):
        if self.errors:
            raise self.errors[0]

    def close(self):
        """Stops listening and closes all; once is enough."""
        if self.closed:
            return
        self.closed = True
        os.write(self._stop_write, b"x")
        if self._acceptor:
            self._acceptor.join(PATIENCE)
        self.socket.close()
        for connection in self.connections:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(PATIENCE)
        os.close(self._stop_read)
        os.close(self._stop_write)
        if self.directory:
            try:
                os.unlink(os.path.join(self.directory, "app.sock"))
            except FileNotFoundError:
                pass
            os.rmdir(self.directory)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        self.close()
        if kind is None:
            self.raise_errors()
        return False
