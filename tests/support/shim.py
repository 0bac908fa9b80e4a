"""Starts the program under test with a configuration of its own, and watches it.

The environment variable FCGI_REALIP names the program. Nothing here sleeps and hopes: every wait is for a
condition, with a time limit that a busy machine or a sanitizer build does not reach.
"""

import errno
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

import processes

PATIENCE = 30.0  # seconds: how long to wait for what ought to come at once

SANITIZER = re.compile(
    r"ERROR: (Address|Leak|Thread|Memory)Sanitizer|UndefinedBehaviorSanitizer|: runtime error: |SUMMARY: \w+Sanitizer"
)


def program():
    """The program under test; run only through the build's tests, or with FCGI_REALIP set by hand."""
    path = os.environ.get("FCGI_REALIP")
    if not path:
        sys.exit("FCGI_REALIP is not set: it names the fcgi-realip program to test")
    return path


def wait_for(condition, timeout=PATIENCE, what="the condition"):
    """Calls condition until it gives something true, and returns that; AssertionError after timeout seconds."""
    end = time.monotonic() + timeout
    pause = 0.0005
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= end:
            raise AssertionError("waited %.0f s in vain for %s" % (timeout, what))
        time.sleep(pause)
        pause = min(pause * 2, 0.02)


def is_unbound(port):
    """True if no socket of any address has the port now."""
    for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        try:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.bind((host, port))
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                return False
    return True


_reserved = []  # the sockets that hold this process's ports


def free_port():
    """A TCP port that nobody uses, and that none of the tests which run beside this one is given before this process
    ends. It is not one of those that the kernel hands out, to connections and to whoever binds port 0: one of them
    could be taken between this moment and the one when the server under test binds it."""
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            first, last = map(int, file.read().split())
    except OSError:
        first, last = 32768, 60999
    below, behind = range(10000, first), range(last + 1, 65536)
    ports = below if len(below) > 1000 else behind if len(behind) > 1000 else range(10000, 65536)
    for port in random.SystemRandom().sample(ports, min(len(ports), 1000)):
        # A name in the abstract namespace goes with the process that holds it, however that ends.
        holder = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            holder.bind("\0fcgi-realip-test-port-%d" % port)
        except OSError:
            holder.close()
            continue
        if is_unbound(port):
            _reserved.append(holder)
            return port
        holder.close()
    raise AssertionError("no free TCP port")


def connect(address, timeout=PATIENCE):
    """A connected socket. address: "unix:PATH", "HOST:PORT" or "[V6]:PORT", as in the INI file."""
    if address.startswith("unix:"):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        target = address[len("unix:"):]
    else:
        host, port = address.rsplit(":", 1)
        host = host.strip("[]")
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        target = (host, int(port))
    sock.settimeout(timeout)
    try:
        sock.connect(target)
    except OSError:
        sock.close()
        raise
    return sock


def accepts(address):
    """True if somebody listens at address now."""
    try:
        connect(address).close()
        return True
    except OSError:
        return False


def fd_count(pid):
    """How many descriptors the process has open."""
    return len(os.listdir("/proc/%d/fd" % pid))


def rss_bytes(pid, field="VmRSS"):
    """The resident memory of the process; VmHWM: the most that it ever was."""
    with open("/proc/%d/status" % pid) as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no %s for process %d" % (field, pid))


def cpu_seconds(pid):
    """The processor time, user and system, that the process has used."""
    with open("/proc/%d/stat" % pid) as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def is_sanitized():
    """True if the program under test was built with AddressSanitizer: memory figures then mean little."""
    with open(program(), "rb") as binary:
        return b"__asan_init" in binary.read()


def listen_addresses(ini_text):
    """The addresses of the [listen] section, in its order."""
    addresses, section, key = [], None, None
    for line in ini_text.splitlines():
        text = re.split(r"\s;", line)[0].strip()
        if not text or text[0] in "#;":
            continue
        if text[0] == "[":
            section, key = text[1:].split("]")[0].strip().lower(), None
        elif section == "listen":
            if not line[0].isspace() and "=" in text:
                key, text = (part.strip() for part in text.split("=", 1))
            if key == "address":
                addresses += re.split(r"[\s,]+", text.strip())
    return [address for address in addresses if address]


class Shim:
    """`fcgi-realip serve -c FILE`, up and listening; a context manager that stops it and checks how it ended.

    ini_text     the whole INI file; {dir} in it becomes the private directory .dir
    args         more arguments, after `serve -c FILE`
    env          variables to add to the environment
    ready        None: wait until every [listen] address accepts; a regular expression: until the log has it;
                 False: do not wait
    directory    use this directory instead of a new one (and leave it there)
    nofile       limit of open descriptors for the program
    wrapper      arguments to put before the program, for example a tracer's
    stdin        what is its standard input
    """

    def __init__(self, ini_text, args=(), env=None, ready=None, directory=None, nofile=None, wrapper=(),
                 stdin=subprocess.DEVNULL):
        self.own_dir = directory is None
        self.dir = directory or tempfile.mkdtemp(prefix="realip-")
        self.path = os.path.join(self.dir, "fcgi-realip.ini")
        self.ini_text = ini_text.replace("{dir}", self.dir)
        self.write_ini(self.ini_text)
        command = [*wrapper, program(), "serve", "-c", self.path, *args]
        if nofile is not None:
            command = ["sh", "-c", 'ulimit -n %d; exec "$@"' % nofile, "sh"] + command
        self.status = None
        self._checked = False
        self._text = []
        self._lock = threading.Condition()
        try:
            self.process = subprocess.Popen(
                command, env=dict(os.environ, **(env or {})), stdin=stdin, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, cwd=self.dir)
        except OSError:
            self._forget_dir()
            raise
        self.pid = self.process.pid
        self._relay_pid = None
        self._reader = threading.Thread(target=self._collect, daemon=True)
        self._reader.start()
        try:
            self._wait_ready(ready)
        except BaseException:
            self.kill()
            self._forget_dir()
            raise

    def write_ini(self, text):
        """Replaces the configuration file; {dir} becomes the private directory. Signal HUP to have it read."""
        with open(self.path, "w") as file:
            file.write(text.replace("{dir}", self.dir))

    def _collect(self):
        with self.process.stderr as stream:
            while True:
                data = os.read(stream.fileno(), 65536)
                if not data:
                    break
                with self._lock:
                    self._text.append(data.decode("utf-8", "backslashreplace"))
                    self._lock.notify_all()

    def _wait_ready(self, ready):
        if ready is False:
            return
        if ready is not None:
            self.wait_log(ready)
            return
        for address in listen_addresses(self.ini_text):
            def answered():
                if not self.running():
                    self._reader.join(PATIENCE)
                    raise AssertionError("the program ended at its start with status %s:\n%s"
                                         % (self.process.returncode, self.log()))
                return accepts(address)
            try:
                wait_for(answered, what="the shim to listen at " + address)
                self._settle(address)
            except AssertionError as error:
                raise AssertionError("%s\nlog:\n%s" % (error, self.log())) from None

    @staticmethod
    def _settle(address):
        """Until it has accepted and closed all connections that only asked whether it listens: a test may count
        descriptors from now on. They are accepted in their order, so a last one stands for all."""
        with connect(address) as sock:
            try:
                sock.shutdown(socket.SHUT_WR)
                if sock.recv(1):
                    raise AssertionError("it speaks first")
            except socket.timeout:
                raise AssertionError("a connection that has ended stays open") from None
            except OSError:
                pass  # closed at once: a client that may not connect

    def running(self):
        return self.process.poll() is None

    def log(self):
        """All that it wrote to standard error so far."""
        with self._lock:
            return "".join(self._text)

    def wait_log(self, pattern, timeout=PATIENCE, count=1):
        """Waits until the log holds the pattern count times; returns the last match."""
        regex = re.compile(pattern, re.MULTILINE)
        end = time.monotonic() + timeout
        with self._lock:
            while True:
                text = "".join(self._text)
                matches = list(regex.finditer(text))
                if len(matches) >= count:
                    return matches[count - 1]
                left = end - time.monotonic()
                ended = not self._reader.is_alive()
                if left <= 0 or ended:
                    raise AssertionError("%s while waiting for %r in the log:\n%s"
                                         % ("program ended" if ended else "%.0f s passed" % timeout, pattern, text))
                self._lock.wait(min(left, 0.25))

    @property
    def relay_pid(self):
        """The process that relays, the first one that serves: with a sandbox the master's child."""
        if self._relay_pid is None or not processes.runs(self._relay_pid):
            own = [pid for pid in processes.children(self.pid) if processes.same_program(pid, self.pid)]
            self._relay_pid = own[0] if own else self.pid
        return self._relay_pid

    def fds(self):
        return fd_count(self.relay_pid)

    def rss(self, field="VmRSS"):
        return rss_bytes(self.relay_pid, field)

    def signal(self, number):
        self.process.send_signal(number)

    def freeze(self):
        """Stops what relays where it is; from when this returns it does nothing more, until thaw()."""
        os.kill(self.relay_pid, signal.SIGSTOP)
        wait_for(lambda: self.state() == "T", what="the shim to stop")

    def thaw(self):
        os.kill(self.relay_pid, signal.SIGCONT)

    def state(self):
        """The letter of its state, of what relays: R runs, S waits, T is stopped, Z has ended."""
        with open("/proc/%d/stat" % self.relay_pid) as stat:
            return stat.read().rpartition(")")[2].split()[0]

    def wait_exit(self, timeout=PATIENCE):
        """The exit status, once it ends of itself; AssertionError if it does not, or after a sanitizer's report."""
        try:
            self.status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError("still running after %.0f s, log:\n%s" % (timeout, self.log())) from None
        self._reader.join(PATIENCE)
        self._check_sanitizers()
        return self.status

    def stop(self, timeout=PATIENCE):
        """Sends TERM unless it has ended already; returns the exit status."""
        if self.status is None:
            if self.running():
                self.signal(signal.SIGTERM)
            try:
                self.wait_exit(timeout)
            except AssertionError:
                self.kill()
                raise
        self._forget_dir()
        return self.status

    def kill(self):
        """Ends it whatever it does; no checks."""
        if self.running():
            self.process.kill()
        self.status = self.process.wait()
        self._reader.join(PATIENCE)

    def _check_sanitizers(self):
        if not self._checked:
            self._checked = True
            if SANITIZER.search(self.log()):
                raise AssertionError("sanitizer report:\n" + self.log())

    def _forget_dir(self):
        if self.own_dir:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None:
            sys.stderr.write("the shim's log, its last 4000 characters:\n%s\n" % self.log()[-4000:])
            try:
                self.stop()
            except AssertionError as second:
                sys.stderr.write("and then: %s\n" % str(second)[-2000:])
            return False
        known = self.status is not None
        status = self.stop()
        if not known and status != 0:
            raise AssertionError("exit status %s after TERM, log:\n%s" % (status, self.log()))
        return False
