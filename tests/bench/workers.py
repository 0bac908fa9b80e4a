"""Workers: how many requests a second the shim relays with `workers = 2`, to the same with one.

All processors are for all programs, as in use: load generator and application need their part of them, too, so that
two workers on two processors cannot be twice as fast as one.
"""

import os
import pathlib

from common import Failure, Process, run_load, show_span, span, summarize_rounds
from points import parse_point
from servers import Shim

POINTS = ("kept/32", "kept/256", "reconnect/256")
COUNTS = (1, 2)
ROUNDS, QUICK_ROUNDS = 21, 5


class Workers(Shim):
    def __init__(self, command, count):
        super().__init__(command, name=f"workers-{count}")
        self.config = Shim.config + f"\n[process]\nworkers = {count}\n"


def measure(tools, point, shims, rounds, scale, folder):
    """{shim's name: [result, ...]}."""
    folder = pathlib.Path(folder, point.name.replace("/", "-"))
    folder.mkdir()
    app = f"unix:{folder}/app.sock"
    results, started = {shim.name: [] for shim in shims}, []
    with Process("responder", [tools["responder"], app], app, f"{folder}/responder.log"):
        try:
            for shim in shims:
                started.append(shim.start(folder, app, point.connections))
            for number in range(rounds + 1):
                for shim, process in zip(shims, started):
                    result = run_load(tools["load"], process.address, shim, point.load_options(2 * scale),
                                      [process.pid])
                    if number > 0:  # the first warms up
                        results[shim.name].append(result)
                    elif result["errors"]:
                        raise Failure(f"{shim.name}, {point.name}: {result['errors']} wrong answers\n"
                                      f"{process.errors()}")
        finally:
            for process in started:
                process.stop()
    return results


def benchmark(options, tools, folder):
    """Runs and prints it: ([{point, summary, ratio, rounds}], figures)."""
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    shims = [Workers(options.command, count) for count in COUNTS]
    print(f"\nworkers, {len(os.sched_getaffinity(0))} processors for all programs, {rounds} rounds: requests a second, "
          f"ratio to one worker's; CPU time of all the shim's processes\n  {'point':15}{'':11}{'req/s':>9}  {'ratio':22}"
          f"{'CPU us':>8}{'p50 us':>9}{'errors':>8}")
    documents, figures = [], {}
    for point in map(parse_point, POINTS):
        results = measure(tools, point, shims, rounds, options.scale, folder)
        one, two = results.values()
        ratio = span([b["per_second"] / a["per_second"] for a, b in zip(one, two)])
        summary = {name: summarize_rounds(found) for name, found in results.items()}
        for number, (name, row) in enumerate(summary.items()):
            print(f"  {point.name:15}{name:11}{row['per_second']:9.0f}  {show_span(ratio) if number else '':22}"
                  f"{row['cpu_us']:8.2f}{row['p50_us']:9.1f}{row['errors']:8}", flush=True)
        figures[f"workers {point.name}"] = ratio["ratio"]
        documents.append({"point": point._asdict(), "summary": summary, "ratio": ratio, "rounds": results})
    return documents, figures
