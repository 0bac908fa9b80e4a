"""CGI programs, one process a request: the shim with `cgi = PROGRAM` beside fcgiwrap, which rewrites nothing."""

import os
import pathlib

from common import Failure, Process, find, on_processors, run_load, show_span, span, summarize_rounds

CONNECTIONS = (2, 8)
REQUESTS = 400  # of a round, some 0.2 s
ROUNDS, QUICK_ROUNDS = 41, 5
PROCESSES = 2


class Fcgiwrap:
    """As Debian's manual page has it, with two processes; that is as many programs as it runs at a time."""

    name = "fcgiwrap"
    sees = "peer"

    def __init__(self):
        self.path = find("fcgiwrap", "fcgiwrap")

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


def measure(tools, servers, connections, options, rounds, folder):
    """All rounds at so many connections: {server's name: [result, ...]}."""
    folder = pathlib.Path(folder, f"cgi-{connections}")
    folder.mkdir()
    results = {server.name: [] for server in servers}
    started = {}
    load = ["-n", str(max(int(REQUESTS * options.scale), connections)), "-c", str(connections), "-r", "-f",
            tools["program"]]
    try:
        for server in servers:
            started[server.name] = server.start(folder, tools["program"])
        for number in range(rounds + 1):
            for server in servers:
                result = run_load(tools["load"], started[server.name].address, server, load)
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
    """Medians of both, and the ratio of requests a second to fcgiwrap's, round by round."""
    summary = {name: summarize_rounds(rounds) for name, rounds in results.items()}
    summary["shim"]["to_fcgiwrap"] = span([r["per_second"] / b["per_second"]
                                           for r, b in zip(results["shim"], results["fcgiwrap"])])
    return summary


def benchmark(options, tools, folder):
    """Runs and prints it: ([{connections, summary, rounds}], figures)."""
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    servers = [Fcgiwrap(), Shim(options.command)]
    cpus = set(sorted(os.sched_getaffinity(0))[-2:])
    print(f"\nCGI, one process a request; {len(cpus)} processor{'s'[:len(cpus) > 1]}, {rounds} rounds, requests a second, "
          f"ratio to fcgiwrap's\n  {'at a time':11}{'through':12}{'req/s':>9}  {'ratio':22}{'p50 us':>9}{'errors':>8}",
          flush=True)
    documents, figures = [], {}
    with on_processors(cpus):
        for connections in CONNECTIONS:
            results = measure(tools, servers, connections, options, rounds, folder)
            summary = summarize(results)
            for name, row in summary.items():
                ratio = show_span(row["to_fcgiwrap"]) if "to_fcgiwrap" in row else ""
                print(f"  {connections:<11}{name:12}{row['per_second']:9.0f}  {ratio:22}{row['p50_us']:9.0f}"
                      f"{row['errors']:8}", flush=True)
            figures[f"cgi {connections}"] = summary["shim"]["to_fcgiwrap"]["ratio"]
            documents.append({"connections": connections, "summary": summary, "rounds": results})
    return documents, figures
