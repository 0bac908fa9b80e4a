"""Load and time: what tests/load/run does in full, and e2e-28-endurance with small figures.

Each part raises AssertionError, or returns what it measured.
"""

import json
import os
import re
import resource
import signal
import subprocess
import threading
import time

import processes
from application import STARTED
from fcgi import PARAMS, STDIN, STDOUT, Client, Closed, Responder, begin, echo, pairs, record, request
from fcgi import end as end_record
from load import FcgiAsker
from faults import Faults
from relay import PLAIN, POST, PROXIES, change
from shim import Shim, cpu_seconds, is_sanitized, wait_for

CHAIN = "[proxy bench]\ntrust = 10.0.7.0/24, 172.16.44.0/24, 198.51.100.0/24\n"  # what bench-load sends
BENCH = os.path.join(os.path.dirname(os.environ["FCGI_TEST_APP"]), "bench")
INI = "[listen]\naddress = unix:{dir}/shim.sock\n[upstream]\n%s\n%s\n"
PIECE = 65528  # content of a record


def address_of(shim):
    return "unix:%s/shim.sock" % shim.dir


def quantile(values, part):
    values = sorted(values)
    return values[min(len(values) - 1, int(part * len(values)))]


def milliseconds(seconds):
    return round(seconds * 1000, 2)


class Others:
    """Clients that ask all the time while something happens; a context manager."""

    def __init__(self, address, threads=4, params=PLAIN, allowed=("ok",)):
        self.times, self.verdicts, self.wrong, self.allowed = [], {}, [], allowed
        self._over, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._run, args=(address, params), daemon=True)
                         for _ in range(threads)]

    def _run(self, address, params):
        asker = FcgiAsker(address, params, self._judge)
        while not self._over.is_set():
            began = time.monotonic()
            try:
                verdict = asker()
            except (Closed, ConnectionError):
                verdict = "cut"
                asker.close()
            except AssertionError as error:
                verdict = str(error)[:300]
                asker.close()
            if verdict != "ok":
                asker.close()
            with self._lock:
                self.verdicts[verdict] = self.verdicts.get(verdict, 0) + 1
                self.times.append(time.monotonic() - began)
                if verdict not in self.allowed:
                    self.wrong.append(verdict)
        asker.close()

    @staticmethod
    def _judge(response):
        if response.end is None:
            return "cut"
        if response.end != (0, 0):
            return "ended with %r" % (response.end,)
        return "ok" if response.status == 200 else "refused %d" % response.status

    def wait_more(self, count):
        goal = len(self.times) + count
        wait_for(lambda: len(self.times) >= goal, what="%d more answers" % count)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            if thread.is_alive():
                self.wrong.append("a request that is never answered")
        if kind is None:
            assert not self.wrong, self.wrong[:5]

    def figures(self):
        return {"requests": len(self.times), "verdicts": self.verdicts,
                "median ms": milliseconds(quantile(self.times, .5)), "99 % ms": milliseconds(quantile(self.times, .99)),
                "longest ms": milliseconds(max(self.times))}


# Many requests and connections --------------------------------------------------------------------------------


class Bench:
    """bench-responder behind a shim; a context manager."""

    upstream = "connections = 16\nkeepalive = on\nidle_timeout = 1s\nqueue = 20000\nqueue_timeout = 60s"

    def __enter__(self):
        self.shim = Shim(INI % ("address = unix:{dir}/app.sock\n" + self.upstream,
                                CHAIN + "[limits]\nrequests = 20000\n"))
        path = self.shim.dir + "/app.sock"
        self.responder = subprocess.Popen([BENCH + "/bench-responder", "unix:" + path], stdout=subprocess.PIPE,
                                          env=dict(os.environ, ASAN_OPTIONS="detect_leaks=0"))
        wait_for(lambda: os.path.exists(path), what="bench-responder")
        return self

    def __exit__(self, kind, *_):
        self.responder.send_signal(signal.SIGTERM)
        self.responder.communicate()
        if kind is not None:
            self.shim.kill()
        status = self.shim.stop()
        assert kind is not None or status == 0, self.shim.log()[-2000:]

    def load(self, *options, watch=None, ready=None):
        """bench-load, which checks every answer; what it prints. ready() is called once each connection has had one."""
        command = [BENCH + "/bench-load", *map(str, options), *(["-g"] if ready else []), address_of(self.shim)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        text = ""
        if ready:
            assert process.stdout.readline() == "ready\n", self.shim.log()[-2000:]
            ready()
            process.stdin.write("\n")
            process.stdin.flush()
            text = process.stdout.readline()
        while watch and process.poll() is None:
            watch()
            time.sleep(0.05)
        text += process.communicate()[0]
        assert process.returncode == 0, "bench-load: %s\n%s" % (text, self.shim.log()[-2000:])
        return json.loads(text)


def run_requests(count, first, connections=32):
    """So many requests, memory flat after the first ones, every answer checked."""
    highest = [0]

    def watch():
        highest[0] = max(highest[0], bench.shim.rss())
    with Bench() as bench:
        bench.load("-n", first, "-c", connections)
        before, descriptors, began = bench.shim.rss(), bench.shim.fds(), time.monotonic()
        bench.load("-n", count - first, "-c", connections, watch=watch)
        taken = time.monotonic() - began
        watch()
        growth = highest[0] - before
        if not is_sanitized():
            assert growth <= 256 * 1024, "grew by %d bytes" % growth
        wait_for(lambda: bench.shim.fds() <= descriptors, what="no more descriptors than before")
    return {"requests": count, "seconds": round(taken, 1), "resident KB after the first": before // 1024,
            "most resident KB": highest[0] // 1024}


def run_connections(count, requests):
    """So many connections, kept from their first request on, and so many requests on all of them at a time."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit[1], limit[1]))
    found = {}

    def ready():
        found["open"], found["idle"] = bench.shim.fds(), bench.shim.rss()
        with Client(address_of(bench.shim)) as client:
            assert client.ask(PLAIN).end == (0, 0)
    with Bench() as bench:
        bench.load("-n", 100, "-c", 1)
        before, descriptors, began = bench.shim.rss(), bench.shim.fds(), time.monotonic()
        load = bench.load("-n", requests, "-c", count, "-w", 64, ready=ready)
        taken = time.monotonic() - began
        assert found["open"] >= count, "%d descriptors: these are not %d connections" % (found["open"], count)
        wait_for(lambda: bench.shim.fds() <= descriptors, what="the connections to close")
        most = bench.shim.rss("VmHWM")
    return {"connections": count, "requests": load["requests"], "seconds": round(taken, 1),
            "descriptors": found["open"], "KB an idle connection": round((found["idle"] - before) / 1024 / count, 2),
            "most resident KB": most // 1024}


# Slow clients -------------------------------------------------------------------------------------------------


def trickle(clients, stop, pause, began, ended):
    """A byte each, every so often, until the other side closes."""
    raw = begin() + record(PARAMS, pairs(PLAIN) * 40)
    at = 0
    while not stop.is_set() and any(client is not None for client in clients):
        for i, client in enumerate(clients):
            if client is None:
                continue
            try:
                gone = client.readable() or not client.send_now(raw[at:at + 1])
            except OSError:
                gone = True
            if gone:
                ended.append(time.monotonic() - began)
                client.close()
                clients[i] = None
        at += 1
        stop.wait(pause)


def run_slow(count, readers, header_timeout, pause=1.0):
    """Clients that send a byte a second are ended after four times header_timeout, and the others do not notice them.
    Nor do they notice clients that read a byte a second, which go on."""
    body = os.urandom(300000)

    def script(connection):
        now = connection.read_request()
        if now is not None:
            connection.reply(body if now.get("SCRIPT_NAME") == [b"/large"] else b"")
    with Responder(script) as app, Shim(INI % ("address = %s\nsend_timeout = 60s" % app.address, PROXIES +
                                               "[limits]\nheader_timeout = %ds\n" % header_timeout)) as shim:
        address = address_of(shim)
        descriptors = shim.fds()
        with Others(address) as alone:
            alone.wait_more(500)
        clients, ended, stop = [Client(address) for _ in range(count)], [], threading.Event()
        slow = [Client(address) for _ in range(readers)]
        for client in slow:
            client.read_size = 1
            client.send(request(change(PLAIN, SCRIPT_NAME="/large")))
        began, used = time.monotonic(), cpu_seconds(shim.relay_pid)
        thread = threading.Thread(target=trickle, args=(clients, stop, pause, began, ended))
        thread.start()
        try:
            with Others(address) as others:
                while len(ended) < count and time.monotonic() < began + 4 * header_timeout + 20:
                    for client in slow:
                        client.sock.recv(1)
                    time.sleep(pause)
        finally:
            stop.set()
            thread.join()
        assert len(ended) == count, "%d of %d were ended" % (len(ended), count)
        lasted = time.monotonic() - began
        for client in slow:
            assert client.sock.recv(1), "a slow reader was cut off"
            client.close()
        wait_for(lambda: shim.fds() <= descriptors, what="all descriptors to close")
        used = cpu_seconds(shim.relay_pid) - used
    return {"slow senders": count, "slow readers": readers, "seconds": round(lasted, 1),
            "ended after s": [round(min(ended), 2), round(max(ended), 2)], "processor time s": round(used, 2),
            "others alone": alone.figures(), "others": others.figures()}


# Large bodies -------------------------------------------------------------------------------------------------


def run_large(size):
    """A body and an answer of so many bytes and more, each record looked at."""
    count, content = size // PIECE + 1, os.urandom(PIECE)
    raw, taken, most = record(STDIN, content), {}, 0

    def take(connection):
        """The body's records, all of them as sent."""
        for _ in range(count):
            found = connection.read_record()
            assert found is not None and found.type == STDIN and found.content == content, found
        found = connection.read_record()
        assert found.type == STDIN and not found.content, found

    def script(connection):
        connection.read_params()
        if connection.current.get("REQUEST_METHOD") == [b"POST"]:
            take(connection)
            connection.reply(b"%d" % (count * PIECE))
            return
        connection.read_body()
        connection.send(record(STDOUT, b"Content-Type: text/plain\r\n\r\n"))
        for _ in range(count):
            connection.send(record(STDOUT, content, connection.id))
        connection.send(record(STDOUT, id=connection.id) + end_record(connection.id))

    with Responder(script, keep=False) as app, Shim(INI % ("address = " + app.address, PROXIES)) as shim:
        with Client(address_of(shim), keep=False) as client:
            began = time.monotonic()
            client.send(begin() + record(PARAMS, pairs(POST)) + record(PARAMS))
            for _ in range(count):
                client.send(raw)
            client.send(record(STDIN))
            response = client.read_response(timeout=60)
            assert response.body == b"%d" % (count * PIECE) and response.end == (0, 0), response
            taken["body s"] = round(time.monotonic() - began, 1)
        most = shim.rss("VmHWM")
        with Client(address_of(shim), keep=False) as client:
            began = time.monotonic()
            client.send(request(PLAIN))
            client.read_record()
            for _ in range(count):
                found = client.read_record()
                assert found.type == STDOUT and found.content == content, found
            last = client.read_all()
            assert [found.type for found in last] == [STDOUT, 3] and not last[0].content, last
            taken["answer s"] = round(time.monotonic() - began, 1)
        most = max(most, shim.rss("VmHWM"))
        used = cpu_seconds(shim.relay_pid)
    if not is_sanitized():
        assert most < 32 * 1024 * 1024, "%d bytes of memory" % most
    return {"bytes each way": count * PIECE, **taken, "processor time s": round(used, 1),
            "most resident KB": most // 1024}


# Restarts -----------------------------------------------------------------------------------------------------


def run_restarts(count, pause):
    """The application's processes are ended every so often, by turns with TERM and, all at once, with KILL: then requests
    are refused for the 100 ms that the next start is away. All others are right."""
    # With -t: libfcgi, when TERM finds it inside a request's parameters, turns round and round for ever.
    with Shim(INI % ("command = %s -t {dir}/term\nprocesses = 2" % STARTED, PROXIES)) as shim:
        def starts():
            return shim.log().count("info: started application")
        address = address_of(shim)
        with Others(address, params=change(POST, SCRIPT_NAME="/echo"), allowed=("ok", "refused 502", "cut")) as others:
            others.wait_more(50)
            for i in range(count):
                before = starts()
                for pid in processes.children(shim.pid):
                    try:
                        os.kill(pid, signal.SIGKILL if i % 2 else signal.SIGTERM)
                    except ProcessLookupError:
                        pass  # ended meanwhile
                wait_for(lambda: starts() > before, what="a restart")
                others.wait_more(10)
                time.sleep(pause)
            used = cpu_seconds(shim.relay_pid)

        def serves():
            with Client(address) as client:
                return client.ask(change(POST, SCRIPT_NAME="/echo"), b"x").body == b"x"
        wait_for(serves, what="the application to be back")
        started = starts()
    return {"times": count, "started processes": started, "processor time s": round(used, 2), **others.figures()}


# Clocks -------------------------------------------------------------------------------------------------------


JUMPS = (3600, 86400, -86400, -86400 * 400, 86400 * 3650, 0)


def run_clocks(stop):
    """The time of day jumps: no time limit is over, nobody spins. And the whole process stands still for so many
    seconds, longer than its time limits: answers that came meanwhile count."""
    faults = Faults()
    limits = "connect_timeout = 1s\nsend_timeout = 1s\nread_timeout = 1s"
    with Responder(echo) as app, Shim(INI % ("address = %s\n%s" % (app.address, limits), PROXIES +
                                             "[log]\naccess = {dir}/access.log\n[limits]\nheader_timeout = 1s\n"),
                                      env=faults.env) as shim:
        with Others(address_of(shim)) as others:
            for jump in JUMPS:
                faults.shift(jump)
                others.wait_more(100)
            shim.signal(signal.SIGUSR1)
            years = set()

            def logged():
                with open(shim.dir + "/access.log") as file:
                    years.update(re.findall(r"\[\d+/\w+/(\d+):", file.read()))
                return len(years) >= 3
            wait_for(logged, what="times of three years in the access log")
        began, used = time.monotonic(), cpu_seconds(shim.relay_pid)
        with Client(address_of(shim)) as client:
            assert client.is_quiet(0.5)  # nobody has said anything, and nothing is to be done
        used = (cpu_seconds(shim.relay_pid) - used) / (time.monotonic() - began)
        assert used < 0.2, "it spins: %.2f of the time" % used
        with Others(address_of(shim)) as frozen:
            frozen.wait_more(100)
            shim.freeze()
            time.sleep(stop)
            shim.thaw()
            frozen.wait_more(100)
    faults.close()
    return {"jumps s": JUMPS, "years in the log": sorted(years), "others": others.figures(), "stood still s": stop,
            "around that": frozen.figures()}
