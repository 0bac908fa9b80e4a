"""Sweeps: the n-th call of each kind that a scenario makes fails, for every n, and the shim must bear it.

After each fault: it runs, every client got a full and right answer or a clean error, the descriptors are as before,
little processor time was used, and the same scenario then runs without an error. AddressSanitizer's build looks at
memory when the shim ends.
"""

import errno as E
import os
import signal
import tempfile
import time

from faults import ALWAYS, Faults
from fcgi import Client, Closed, request
from relay import PLAIN
from shim import Shim, accepts, cpu_seconds, fd_count, wait_for

MEMORY, NUMBERS = (E.ENOMEM,), (E.EMFILE, E.ENFILE)

# What each call can fail with, as its manual page says. Left out are kill (of a child that is not reaped it cannot
# fail), close and epoll_wait's errors that mean a mistake of the program.
ERRORS = {
    **dict.fromkeys(("malloc", "calloc", "realloc", "reallocarray", "strdup", "strndup", "vasprintf",
                     "open_memstream"), MEMORY),
    **dict.fromkeys(("open", "openat"), NUMBERS + (E.EACCES, E.ENOMEM, E.EIO)),
    **dict.fromkeys(("fdopen", "mkostemp", "mkdtemp"), (E.ENOMEM, E.EMFILE)),
    **dict.fromkeys(("fstat", "stat", "lstat", "readlink", "realpath", "access"), (E.EIO, E.ENOMEM)),
    **dict.fromkeys(("chmod", "fchmod", "lchown", "rename", "unlink", "unlinkat", "rmdir"), (E.EROFS, E.EIO)),
    "flock": (E.EINTR, E.ENOLCK),
    **dict.fromkeys(("fcntl", "ioctl"), (E.ENOMEM, E.EMFILE)),
    "dup2": (E.EMFILE, E.EBUSY),
    **dict.fromkeys(("socket", "socketpair", "pipe2", "eventfd", "epoll_create1", "signalfd", "inotify_init1"),
                    NUMBERS + MEMORY),
    "accept4": (E.EMFILE, E.ENFILE, E.ECONNABORTED, E.EINTR, E.ENOMEM, E.EPROTO, E.EPERM),
    "connect": (E.EAGAIN, E.ECONNREFUSED, E.ETIMEDOUT, E.ENOENT, E.EACCES, E.ENOBUFS),
    "bind": (E.EADDRINUSE, E.ENOMEM), "listen": (E.EADDRINUSE,),
    **dict.fromkeys(("shutdown", "getsockname"), (E.ENOTCONN, E.ENOBUFS)),
    **dict.fromkeys(("getsockopt", "setsockopt"), (E.ENOBUFS, E.ENOPROTOOPT)),
    **dict.fromkeys(("recv", "recvmsg"), (E.ECONNRESET, E.EINTR, E.EAGAIN, E.ENOMEM, E.ETIMEDOUT)),
    **dict.fromkeys(("send", "sendto", "sendmsg"), (E.EPIPE, E.EINTR, E.EAGAIN, E.ECONNRESET, E.ENOBUFS, E.ENOMEM)),
    **dict.fromkeys(("read", "readv", "pread"), (E.EIO, E.EINTR, E.EAGAIN)),
    **dict.fromkeys(("write", "writev", "pwrite"), (E.ENOSPC, E.EINTR, E.EAGAIN, E.EPIPE, E.EIO)),
    "splice": (E.EPIPE, E.EINTR, E.EAGAIN, E.ECONNRESET, E.ENOMEM, E.EINVAL),
    "poll": (E.EINTR, E.ENOMEM), "epoll_wait": (E.EINTR,), "epoll_ctl": (E.ENOMEM, E.ENOSPC),
    **dict.fromkeys(("fork", "vfork"), (E.EAGAIN, E.ENOMEM)),
    "execve": (E.ENOMEM, E.EAGAIN, E.EACCES, E.ENOENT, E.ETXTBSY),
    "waitpid": (E.EINTR,), "waitid": (E.EINTR,),  # only where they wait
    "chdir": (E.ENOENT, E.EACCES), "setsid": (E.EPERM,), "prctl": (E.EPERM, E.ENOSYS),
    **dict.fromkeys(("getrlimit", "setrlimit"), (E.EPERM,)),
    **dict.fromkeys(("setuid", "setgroups", "setresuid", "setresgid"), (E.EAGAIN, E.EPERM)),
    "pidfd_open": (E.EMFILE, E.ENFILE, E.ENOMEM, E.ENOSYS), "close_range": (E.ENOSYS,),
    "getaddrinfo": (-3, -10),  # EAI_AGAIN, EAI_MEMORY
    "io_uring_queue_init": (E.EPERM, E.ENOSYS, E.EINVAL) + NUMBERS + MEMORY, "io_uring_register": (E.EINVAL,),
    "io_uring_submit": (E.EAGAIN, E.EBUSY),
    "uv:pipe2": NUMBERS, "uv:eventfd": NUMBERS, "uv:epoll_create1": NUMBERS, "uv:calloc": MEMORY,
    "uv:realloc": MEMORY, "uv:malloc": MEMORY, "uv:inotify_init1": NUMBERS,
    "uv:inotify_add_watch": (E.ENOSPC, E.ENOMEM),
    "uv:pthread_create": (E.EAGAIN,), "uv:read": (E.EINTR,), "uv:write": (E.EINTR,),
}

# What moves bytes, and may move fewer.
MOVES = ("recv", "recvmsg", "send", "sendmsg", "read", "readv", "write", "writev", "pread", "pwrite", "splice",
         "io_uring_submit")

# Whoever has met one of these does without from then on.
LASTING = ("io_uring_submit",)

# Those that fail for a while in every run, and not only in the whole one.
OUTAGES = ("accept4", "socket", "calloc", "epoll_ctl", "vfork", "write")

LIMITS = "send_timeout = 300ms\nread_timeout = 300ms\nqueue_timeout = 1s\n"
HEADER = "[limits]\nheader_timeout = 1s\n"


class Wrong(AssertionError):
    """An answer that is neither right nor a clean error."""


def judge(response, body):
    """"ok", "refused" or "cut"; Wrong."""
    if response is None or response.end is None:
        return "cut"
    if response.end != (0, 0):
        raise Wrong("ended with %r" % (response.end,))
    if response.status == 200:
        if body is not None and response.body != body:
            raise Wrong("a clean end behind %d of %d bytes" % (len(response.body), len(body)))
        return "ok"
    if not (400 <= response.status < 600 and response.head["content-type"] == "text/plain"):
        raise Wrong("not a refusal: %r" % response)
    return "refused"


def ask(address, *requests):
    """Each a (params, body, what must come back), on one connection as long as it is kept; the verdicts."""
    verdicts = []
    try:
        with Client(address) as client:
            for i, (params, body, wanted) in enumerate(requests):
                response = client.ask(params, body, keep=i + 1 < len(requests), size=20000, timeout=5)
                verdicts.append(judge(response, wanted))
    except (Closed, OSError) as error:
        verdicts.append("cut")
        assert not isinstance(error, TimeoutError), error
    return verdicts


class Scenario:
    """A shim and what is asked of it: traffic() gives verdicts. Subclasses say which."""

    upstream = ""
    listen = "address = unix:{dir}/shim.sock"
    sections = "[proxy test]\ntrust = 10.0.0.0/8\n[log]\naccess = {dir}/access.log\n" + HEADER
    env = {}
    files = {}  # more of them, in {dir}
    impossible = ()  # (call, errno) that the kernel does not give here
    least = 20  # faults that are to be met
    chosen = ()  # calls; in runs that are not the whole one only these fail, with each of their errors

    def __init__(self, responder):
        self.responder = responder
        self.faults = Faults()
        self.shim = None
        self.descriptors = None
        self.faulty = ""  # the call that may fail
        self.reached = 0  # faults that were met

    @property
    def address(self):
        return "unix:%s/shim.sock" % self.shim.dir

    def pids(self):
        """The process that relays, and its master if it has one."""
        return {self.shim.pid, self.shim.relay_pid}

    def count(self):
        """Descriptors."""
        return sum(map(fd_count, self.pids()))

    def cpu(self):
        """Seconds of processor time."""
        return sum(map(cpu_seconds, self.pids()))

    def ini(self):
        return "[listen]\n%s\n[upstream]\n%s\n%s\n%s" % (
            self.listen, self.upstream or "address = " + self.responder.address, LIMITS, self.sections)

    def launch(self, ready=None):
        self.directory = tempfile.TemporaryDirectory(prefix="realip-")
        for name, text in self.files.items():
            with open(os.path.join(self.directory.name, name), "w") as file:
                file.write(text)
        self.shim = Shim(self.ini(), env={**self.faults.env, **self.env}, ready=ready, directory=self.directory.name)

    def start(self):
        self.launch()
        self.resume()
        self.resume()
        self.descriptors = self.quiet()

    def quiet(self):
        """The number of descriptors once it does not change any more."""
        last = [None, 0]

        def same():
            now = self.count()
            last[:] = [now, last[1] + 1 if now == last[0] else 0]
            return last[1] > 2
        wait_for(same, 5, "the descriptors to settle")
        return last[0]

    def resume(self):
        """Until all is well again."""
        seen = []
        self.faulty = ""

        def well():
            seen[:] = self.traffic()
            return all(verdict == "ok" for verdict in seen)
        wait_for(well, 5, "service to resume")
        return seen

    def once(self, name, **fault):
        """One fault: what is wrong after it, or None."""
        used = self.cpu()
        self.faulty = name
        try:
            with self.faults.fail(name, **fault):
                self.traffic()
            if self.faults.hits(name) == 0:
                return None  # this run had fewer calls
            self.reached += 1
            text = self.settle()
            used = self.cpu() - used if text is None else 0
            allowed = 5 if "most" in fault else 0.5  # a call for each few bytes costs something
            return "%.2f s of processor time" % used if used > allowed else text
        except (AssertionError, OSError) as error:
            return self.describe(error)

    @staticmethod
    def sample(count):
        """Which of so many calls fail in every run, and not only in the whole one."""
        return sorted({1, count})

    def outage(self, name, error):
        """It fails for a while, whoever calls: what is wrong, or None."""
        try:
            with self.faults.fail(name, error=error, times=ALWAYS), Client(self.address) as client:
                used = self.endure(client)
                self.reached += self.faults.hits(name) > 0
                self.faults.clear(name)
                if used > 0.3:
                    return "it spins: %.2f s of processor time" % used
                try:
                    judge(client.read_response(timeout=5), None)
                except (Closed, ConnectionError):
                    pass
            return self.settle()
        except (AssertionError, OSError) as error:
            return self.describe(error)

    def endure(self, client):
        """A request while the fault lasts; the processor time of a good while."""
        began, used = time.monotonic(), self.cpu()
        try:
            client.send(request(PLAIN))
        except ConnectionError:
            pass  # closed at once
        client.is_quiet(0.4)
        time.sleep(max(0, 0.4 - (time.monotonic() - began)))  # this long, whatever comes
        return self.cpu() - used

    def settle(self):
        """After a fault: what is wrong, or None."""
        if not self.shim.running():
            return "it ended with status %s" % self.shim.process.returncode
        self.resume()
        wait_for(lambda: self.count() <= self.descriptors, 5, "%d descriptors, not %d" % (
            self.descriptors, self.count()))
        return None

    def describe(self, error):
        if not self.shim.running():
            return "it ended with status %s" % self.shim.process.returncode
        return "%s: %s" % (type(error).__name__, (str(error).splitlines() or [""])[0][:300])

    def end(self):
        """What is wrong at the end, or None."""
        try:
            status = self.shim.stop()
            return None if status == 0 else "exit status %s, log:\n%s" % (status, self.shim.log()[-1500:])
        except AssertionError as error:
            return str(error)[:6000]
        finally:
            self.directory.cleanup()

    def counts(self):
        """How often a run of the scenario makes each call."""
        before = self.faults.calls()
        self.resume()
        self.quiet()
        return {name: n - before.get(name, 0) for name, n in self.faults.calls().items() if n > before.get(name, 0)}


class Start(Scenario):
    """What fails is the start: it ends with a message, or serves."""

    ready = "info: ready: "
    name = ""  # the call that may fail

    def start(self):
        pass

    def end(self):
        return None

    def is_ready(self):
        """It says so, unless it is the saying that fails."""
        return self.ready in self.shim.log() or (
            time.monotonic() > self.began + 1 and accepts(self.address))

    def serve(self):
        """Starts, serves and ends; what is wrong, or None."""
        self.began = time.monotonic()
        self.launch(ready=False)
        try:
            wait_for(lambda: not self.shim.running() or self.is_ready(), 10, "the start")
            if self.shim.running():
                self.resume()
                return super().end()
        except (AssertionError, OSError) as error:
            if self.shim.running():
                return self.describe(error) + "\n" + str(error)[:3000]
        finally:
            self.directory.cleanup()
        return self.judge_exit()

    def judge_exit(self):
        """libuv gives up by abort() where it cannot have what it begins with."""
        try:
            status = self.shim.wait_exit()
        except AssertionError as error:
            return str(error)[:6000]
        if status == -signal.SIGABRT and self.name.startswith("uv:"):
            return None
        return None if status == 1 and "error: " in self.shim.log() else "exit status %s" % status

    def once(self, name, **fault):
        self.name = name
        with self.faults.fail(name, **fault):
            text = self.serve()
        self.reached += self.faults.hits(name) > 0
        self.shim.kill()
        return text

    @staticmethod
    def sample(count):
        return ((count + 1) // 2,)

    outage = None

    def counts(self):
        before = self.faults.calls()
        text = self.serve()
        assert text is None, text
        return {name: n - before.get(name, 0) for name, n in self.faults.calls().items() if n > before.get(name, 0)}


class Sweep:
    """Runs one scenario with all its faults; .wrong says what was found."""

    def __init__(self, scenario, whole, report=None):
        self.scenario, self.whole, self.report = scenario, whole, report
        self.wrong, self.counts = [], {}

    def note(self, name, fault, text):
        where = "%s: %s %s at 0x%x: %s" % (type(self.scenario).__name__, name, fault,
                                            self.scenario.faults.where(name), text)
        self.wrong.append(where)
        if self.report:
            self.report(where)

    def one(self, name, **fault):
        self.tell(name, fault, self.scenario.once(name, **fault))

    def tell(self, name, fault, text):
        if text is None:
            if name in LASTING and not isinstance(self.scenario, Start):
                self.again()
            return
        self.note(name, fault, text + "\n" + self.scenario.shim.log()[-600:])
        self.again()

    def again(self):
        text = self.scenario.end()
        if text:
            self.wrong.append(text)
        self.scenario.start()

    def run(self):
        try:
            return self.run_all()
        finally:
            if self.scenario.shim:
                self.scenario.shim.kill()
            self.scenario.faults.close()

    def run_all(self):
        self.scenario.start()
        self.counts = self.scenario.counts()
        chosen = () if self.whole else self.scenario.chosen
        for name, count in sorted(self.counts.items()):
            if chosen and name not in chosen:
                continue
            errors = [error for error in ERRORS.get(name, ()) if (name, error) not in self.scenario.impossible]
            for error in errors if self.whole or chosen else errors[:1]:
                for n in range(1, count + 1) if self.whole else self.scenario.sample(count):
                    self.one(name, error=error, first=n)
            lasting = [error for error in errors if error not in (E.EINTR, E.EAGAIN)]
            for error in lasting[:1] if self.scenario.outage and (self.whole or name in OUTAGES) else ():
                self.tell(name, {"error": error, "times": ALWAYS}, self.scenario.outage(name, error))
            if self.whole and errors:
                self.leaks(name)
        for name in MOVES:
            if name in self.counts and (name in chosen or not chosen):
                for most in range(1, 41) if self.whole else (9,):
                    self.one(name, most=most, times=ALWAYS)
        text = self.scenario.end()
        if text:
            self.wrong.append("%s: at the end: %s" % (type(self.scenario).__name__, text))
        return self

    def leaks(self, name):
        """Has the sanitizer look at what these faults left."""
        text = self.scenario.end()
        if text:
            self.note(name, "any", "at the end: " + text)
        self.scenario.start()
