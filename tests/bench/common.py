"""What the benchmarks share: servers as processes, the load generator, building both."""

import json
import os
import pathlib
import shlex
import signal
import socket
import statistics
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
TOOLS = {"load": ["load.c", "latency.c", "bench.c"], "responder": ["responder.c", "bench.c"],
         "program": ["-static", "program.c"]}


class Failure(Exception):
    """The benchmark could not be run: the text says why."""


# ---- processes

def cpu_ns(pid):
    """CPU time of a process and all its descendants so far, in nanoseconds.

    The process's CPU clock counts all threads, ended ones too, by the scheduler's own clock; utime and stime
    would be in steps of 10 ms. See clock_getcpuclockid(3) for the number.
    """
    try:
        total = time.clock_gettime_ns((~pid << 3) | 2)
        for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
            total += sum(cpu_ns(int(child)) for child in (task / "children").read_text().split())
    except OSError as error:
        raise Failure(f"process {pid} ended in the middle of a round") from error
    return total


class Process:
    """A server process that listens on a unix socket; ended with the block."""

    def __init__(self, name, command, address, log):
        self.name, self.address, self.log = name, address, log
        with open(log, "wb") as errors:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors,
                                            start_new_session=True)
        self.pid = self.process.pid
        self.wait_until_it_listens(address.removeprefix("unix:"))

    def wait_until_it_listens(self, path):
        deadline = time.monotonic() + 10
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(path) == 0:
                    return
            if self.process.poll() is not None:
                raise Failure(f"{self.name} ended with status {self.process.returncode}:\n{self.errors()}")
            if time.monotonic() > deadline:
                self.stop()
                raise Failure(f"{self.name} does not listen on {path} after 10 s:\n{self.errors()}")
            time.sleep(0.01)

    def errors(self):
        return pathlib.Path(self.log).read_text(errors="replace")[-2000:]

    def stop(self):
        """Ends it, and whatever it leaves behind: fcgiwrap's processes outlive their parent. What it printed."""
        if self.process.returncode is not None:
            return None
        self.process.send_signal(signal.SIGTERM)
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


# ---- the load generator

def run_load(tools, address, relay, point, requests, pid, options=()):
    """One round of one relay: what the load generator says, and, of the relay's process if there is a pid, its CPU
    time a request in us."""
    front, connections = point
    command = [tools["load"], "-g", "-n", str(requests), "-c", str(connections), "-e", relay.sees, *options]
    if front == "reconnect":
        command.append("-r")
    load = subprocess.Popen(command + [address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        if load.stdout.readline() != "ready\n":
            raise Failure(f"{relay.name}: the load generator ended early: {shlex.join(command)} {address}")
        before = cpu_ns(pid) if pid else 0
        load.stdin.write("\n")
        load.stdin.flush()
        line = load.stdout.readline()
        after = cpu_ns(pid) if pid else 0
        load.stdin.write("\n")
        load.stdin.close()
        if not line:
            raise Failure(f"{relay.name}: the load generator ended early: {shlex.join(command)} {address}")
        result = json.loads(line)
        load.wait(timeout=10)
    finally:
        if load.poll() is None:
            load.kill()
        load.wait()
    if pid:
        result["cpu_us"] = (after - before) / 1000 / max(result["requests"], 1)
    return result


def logged(process):
    errors = process.errors()
    return f"\n{process.name} logged:\n{errors}" if errors else ""


def quartiles(values):
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3


# ---- building

def build_tools(folder):
    """Load generator, responder and CGI program: from the environment, else built here."""
    tools = {}
    for name, sources in TOOLS.items():
        tools[name] = os.environ.get(f"BENCH_{name.upper()}")
        if tools[name] is None:
            tools[name] = f"{folder}/bench-{name}"
            command = shlex.split(os.environ.get("CC", "cc")) + ["-std=c11", "-O2", "-D_GNU_SOURCE", "-o", tools[name]]
            words = [word if word.startswith("-") else HERE / word for word in sources]
            built = subprocess.run(command + words, stderr=subprocess.PIPE, text=True)
            if built.returncode != 0:
                raise Failure(f"bench-{name} does not build: {shlex.join(command)}\n{built.stderr}")
    return tools
