"""CGI programs, one process a request: the shim with `cgi = PROGRAM` beside fcgiwrap, which rewrites nothing."""

import os
import pathlib
import shutil
import statistics

from common import Failure, Process, quartiles, run_load

# connections: how many times fcgiwrap's requests a second the shim is to serve, at least
MARKS = {2: 1.15, 8: 1.30}
REQUESTS = 400  # of a round, some 0.2 s
PROCESSES = 2


class Fcgiwrap:
    """As Debian's manual page has it, with two processes; that is as many programs as it runs at a time."""

    name = "fcgiwrap"
    sees = "peer"

    def __init__(self):
        self.path = shutil.which("fcgiwrap", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if self.path is None:
            raise Failure("fcgiwrap is not installed (Debian, Ubuntu: apt install fcgiwrap)")

    def start(self, folder, program):
        address = f"unix:{folder}/{self.name}.sock"
        return Process(self.name, [self.path, "-c", str(PROCESSES), "-s", address], address,
                       f"{folder}/{self.name}.log")


class Shim:
    """All checks and time-outs on, default settings; it finds the client, too."""

    name = "shim"
    sees = "client"
    config = """
[listen]
address = unix:{folder}/shim.sock

[upstream]
cgi = {program}

[proxy edge]
trust = 10.0.7.0/24, 172.16.44.0/24, 198.51.100.0/24
"""

    def __init__(self, command):
        self.command = command

    def start(self, folder, program):
        config = pathlib.Path(folder, "cgi.ini")
        config.write_text(self.config.format(folder=folder, program=program))
        return Process(self.name, self.command + ["serve", "-c", str(config)], f"unix:{folder}/shim.sock",
                       f"{folder}/cgi.log")


def make_servers(names, command):
    servers = []
    for number, name in enumerate(names.split(",")):
        if name not in ("fcgiwrap", "shim"):
            raise Failure(f"--cgi: {name}: not one of fcgiwrap, shim")
        server = Fcgiwrap() if name == "fcgiwrap" else Shim(command)
        if name in [other.name for other in servers]:
            server.name += f"-{number + 1}"
        servers.append(server)
    return servers


def measure(tools, servers, connections, requests, rounds, folder):
    """All rounds at so many connections: {server's name: [result, ...]}."""
    folder = pathlib.Path(folder, f"cgi-{connections}")
    folder.mkdir()
    results = {server.name: [] for server in servers}
    started = {}
    try:
        for server in servers:
            started[server.name] = server.start(folder, tools["program"])
        for number in range(rounds + 1):
            for server in servers:
                result = run_load(tools, started[server.name].address, server, ("reconnect", connections), requests,
                                  None, ("-f", tools["program"]))
                if number > 0:  # the first warms up
                    results[server.name].append(result)
                elif result["errors"]:
                    raise Failure(f"{server.name}, CGI, {connections} connections: {result['errors']} wrong answers:\n"
                                  f"{started[server.name].errors()}")
    finally:
        for process in started.values():
            process.stop()
    return results


def summarize(results):
    """Medians of every server's rounds, and the ratios of requests a second to the first one's, pair by pair."""
    base = next(iter(results.values()))
    summary = {}
    for name, rounds in results.items():
        ratios = [r["per_second"] / b["per_second"] for r, b in zip(rounds, base)]
        low, ratio, high = quartiles(ratios)
        summary[name] = {
            "errors": sum(r["errors"] for r in rounds),
            "per_second": statistics.median(r["per_second"] for r in rounds),
            "p50_us": statistics.median(r["latency_us"]["p50"] for r in rounds),
            "p99_us": statistics.median(r["latency_us"]["p99"] for r in rounds),
            "ratio_low": low, "ratio": ratio, "ratio_high": high,
        }
    return summary


def print_summary(connections, summary):
    for number, (name, row) in enumerate(summary.items()):
        ratio = f"{row['ratio']:.2f} ({row['ratio_low']:.2f} to {row['ratio_high']:.2f})" if number > 0 else ""
        print(f"{'CGI':10}{connections:6}  {name:12}{row['per_second']:9.0f}  {ratio:20}{row['p50_us']:9.0f}"
              f"{row['errors']:8}", flush=True)


def benchmark(tools, names, command, rounds, scale, folder):
    """Runs and prints all of it: [{connections, summary, rounds, mark, reached}]."""
    servers = make_servers(names, command)
    allowed = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(allowed[-2:]))
    points = []
    try:
        print(f"\nCGI, one process a request; {len(allowed[-2:])} processors, {rounds} rounds, requests a second, ratio "
              f"to {servers[0].name}'s\n{'':10}{'conns':>6}  {'through':12}{'req/s':>9}  {'ratio':20}{'p50 us':>9}"
              f"{'errors':>8}", flush=True)
        for connections, mark in MARKS.items():
            results = measure(tools, servers, connections, max(int(REQUESTS * scale), connections), rounds, folder)
            point = {"connections": connections, "summary": summarize(results), "rounds": results, "mark": mark}
            point["reached"] = point["summary"].get("shim", {}).get("ratio", 0) >= mark
            points.append(point)
            print_summary(connections, point["summary"])
    finally:
        os.sched_setaffinity(0, set(allowed))
    if servers[0].name == "fcgiwrap" and "shim" in [server.name for server in servers]:
        print("\nmarks: the shim's requests a second, to fcgiwrap's")
        for point in points:
            print(f"  {point['connections']} connections: {point['summary']['shim']['ratio']:.2f}, at least "
                  f"{point['mark']:.2f}: {'reached' if point['reached'] else 'NOT REACHED'}")
    return points
