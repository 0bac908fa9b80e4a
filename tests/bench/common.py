"""What the benchmarks share: processors, servers as processes, the load generators."""

import contextlib
import json
import os
import pathlib
import re
import resource
import shlex
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time

PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"  # where Debian keeps servers
PROGRAMS = ("load", "load-http", "responder", "program", "micro", "application")


class Failure(Exception):
    """The benchmark could not be run: the text says why."""


def find(name, package):
    path = shutil.which(name, path=PATH)
    if path is None:
        raise Failure(f"{name} is not installed (Debian, Ubuntu: apt install {package})")
    return path


def raise_open_files(wanted):
    """Lets this process, and all that it starts, have so many open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Failure(f"{wanted} open files are needed, and the limit here is {hard} (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


# ---- processors

@contextlib.contextmanager
def on_processors(cpus):
    """What is started meanwhile runs on these."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


class Placement:
    """Which processors the relay runs on, and which the load generator and the application do."""

    def __init__(self, name, relay, others):
        self.name, self.relay, self.others = name, relay, others


def one_processor(options):
    cpu = max(os.sched_getaffinity(0)) if options.cpu is None else options.cpu
    return Placement("one", {cpu}, {cpu})


def two_processors(options):
    """The relay has one to itself; None where there is only one."""
    one = one_processor(options).relay
    others = os.sched_getaffinity(0) - one
    return Placement("two", one, {max(others)}) if others else None


def processes_below(pid):
    """A process and all its descendants."""
    yield pid
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            yield from processes_below(int(child))


def pin(pid, cpus):
    """Puts a process and all its descendants, with all their threads, on these processors."""
    for process in processes_below(pid):
        for task in pathlib.Path(f"/proc/{process}/task").iterdir():
            os.sched_setaffinity(int(task.name), cpus)


# ---- processes

def cpu_ns(pid):
    """CPU time of a process and all its descendants so far, in nanoseconds.

    The process's CPU clock counts all threads, ended ones too, by the scheduler's own clock; utime and stime
    would be in steps of 10 ms. See clock_getcpuclockid(3) for the number.
    """
    try:
        return sum(time.clock_gettime_ns((~process << 3) | 2) for process in processes_below(pid))
    except OSError as error:
        raise Failure(f"process {pid} ended in the middle of a round") from error


def memory_bytes(pid):
    """Memory of a process and all its descendants that no file backs, a shared page by how many share it."""
    total = 0
    for process in processes_below(pid):
        text = pathlib.Path(f"/proc/{process}/smaps_rollup").read_text()
        total += sum(int(n) for n in re.findall(r"^Pss_(?:Anon|Shmem): +([0-9]+) kB$", text, re.M)) * 1024
    return total


class Process:
    """A server process that listens on a unix socket, or on a port of 127.0.0.1; ended with the block."""

    def __init__(self, name, command, address, log):
        self.name, self.address, self.log = name, address, log
        with open(log, "wb") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                                            start_new_session=True)
        self.pid = self.process.pid
        self.wait_until_it_listens(address)

    def wait_until_it_listens(self, address):
        deadline = time.monotonic() + 10
        host, _, port = address.rpartition(":")
        family, to = (socket.AF_UNIX, port) if host == "unix" else (socket.AF_INET, (host, int(port or 0)))
        while True:
            with socket.socket(family) as probe:
                if probe.connect_ex(to) == 0:
                    return
            if self.process.poll() is not None:
                raise Failure(f"{self.name} ended with status {self.process.returncode}:\n{self.errors()}")
            if time.monotonic() > deadline:
                self.stop()
                raise Failure(f"{self.name} does not listen on {address} after 10 s:\n{self.errors()}")
            time.sleep(0.01)

    def errors(self):
        return pathlib.Path(self.log).read_text(errors="replace")[-2000:]

    def stop(self):
        """Ends it, and whatever it leaves behind: fcgiwrap's processes outlive their parent. What it printed."""
        if self.process.returncode is not None:
            return None
        self.process.send_signal(signal.SIGTERM)
        if self.process.returncode is not None:
            print(f"bench: {self.name} had ended by itself, with status {self.process.returncode}", file=sys.stderr)
            return None
        deadline = time.monotonic() + 5
        while os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
            if time.monotonic() > deadline:
                break
            time.sleep(0.005)
        os.killpg(self.pid, signal.SIGKILL)  # not reaped yet: the number is still its own
        return self.process.communicate()[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


# ---- the load generators

class Load:
    """A load generator that has answered its first request on each connection: what follows is counted.

    relay: who is measured, .name and .sees. options: of the generator. pids: the processes whose CPU time, with that
    of their descendants, is counted.
    """

    def __init__(self, tool, address, relay, options, pids=()):
        self.name, self.pids = relay.name, pids
        self.command = [tool, "-g", "-e", relay.sees, *options, address]
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def read_line(self):
        line = self.process.stdout.readline()
        if not line:
            raise Failure(f"{self.name}: the load generator ended early: {shlex.join(self.command)}")
        return line

    def next_step(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def warm_up(self):
        if self.read_line() != "ready\n":
            raise Failure(f"{self.name}: the load generator did not start: {shlex.join(self.command)}")

    def run(self):
        """What the load generator says, and, if there are pids, the CPU time a request in us, theirs and its sum."""
        before = list(map(cpu_ns, self.pids))
        self.next_step()
        line = self.read_line()
        after = list(map(cpu_ns, self.pids))
        result = json.loads(line)
        if self.pids:
            each = [(b - a) / 1000 / max(result["requests"], 1) for a, b in zip(before, after)]
            result.update(cpu_us=sum(each), cpu_us_each=each)
        self.next_step()
        self.process.stdin.close()
        self.process.wait(timeout=10)
        return result

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def run_load(tool, address, relay, options, pids=()):
    """One round of one relay: see Load.run."""
    with Load(tool, address, relay, options, pids) as load:
        load.warm_up()
        return load.run()


# ---- figures

def logged(process):
    errors = process.errors()
    return f"\n{process.name} logged:\n{errors}" if errors else ""


def quartiles(values):
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3


def span(values):
    """Of ratios of neighbouring rounds: the median, and between what and what the middle half lies."""
    low, middle, high = quartiles(values)
    return {"ratio": middle, "low": low, "high": high}


def show_span(ratio):
    return f"{ratio['ratio']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def summarize_rounds(rounds):
    """Medians of a relay's rounds."""
    row = {
        "errors": sum(r["errors"] for r in rounds),
        "requests": sum(r["requests"] for r in rounds),
        "per_second": statistics.median(r["per_second"] for r in rounds),
        "p50_us": statistics.median(r["latency_us"]["p50"] for r in rounds),
        "p99_us": statistics.median(r["latency_us"]["p99"] for r in rounds),
    }
    if "cpu_us" in rounds[0]:
        row["cpu_us"] = statistics.median(r["cpu_us"] for r in rounds)
    return row


# ---- the benchmark's programs

def find_programs(shim):
    """Those that were built with this fcgi-realip (cmake --build BUILD --target bench-programs)."""
    folder = pathlib.Path(shim).resolve().parent / "tests" / "bench"
    programs = {name: str(folder / f"bench-{name}") for name in PROGRAMS}
    return {name: path for name, path in programs.items() if os.access(path, os.X_OK)}
