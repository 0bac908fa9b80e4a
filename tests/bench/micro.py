"""Microbenchmarks: decoding, deciding and rewriting alone, in nanoseconds and in instructions."""

import re
import subprocess

import instructions
from common import Failure, on_processors, one_processor

RANGES = (10, 1000, 100000)
RUNS, QUICK_RUNS = 5, 3  # times are absolute here: of several runs, the one that was disturbed least counts
STEPS = ("decode", "decide", "decide+rewrite", "decode+decide+rewrite")


def run_once(micro):
    """{(ranges, step): (best, median)} in ns."""
    command = [micro] + [word for count in RANGES for word in ("-r", str(count))]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    rows = re.findall(r"^ *(\d+) ranges +(\S+) +([\d.]+) best +([\d.]+) median ns$", done.stdout, re.M)
    if done.returncode != 0 or len(rows) != len(RANGES) * len(STEPS):
        raise Failure(f"bench-micro ended with status {done.returncode}:\n{done.stdout}")
    return {(int(count), step): (float(best), float(median)) for count, step, best, median in rows}


def measure(micro, runs):
    """[{ranges, step, best_ns, median_ns}]: the least of all runs' figures."""
    found = [run_once(micro) for _ in range(runs)]
    return [{"ranges": count, "step": step, "best_ns": min(run[count, step][0] for run in found),
             "median_ns": min(run[count, step][1] for run in found)} for count in RANGES for step in STEPS]


def benchmark(options, tools, folder):
    """Runs and prints it: ({times, instructions}, figures)."""
    with on_processors(one_processor(options).relay):
        times = measure(tools["micro"], QUICK_RUNS if options.quick else RUNS)
    print("\nmicrobenchmarks, ns a request: best of all batches, and their median in the least disturbed run\n  "
          f"{'trusted ranges':16}" + "".join(f"{step:>24}" for step in STEPS))
    for count in RANGES:
        row = [f"{time['best_ns']:.0f} / {time['median_ns']:.0f}" for time in times if time["ranges"] == count]
        print(f"  {count:<16,}" + "".join(f"{text:>24}" for text in row))
    counts = instructions.count_all(tools, options.command, folder + "/instructions")
    print(f"  instructions a request, by callgrind: decode, decide and rewrite {counts['micro']:.0f}; the whole shim, "
          f"without the kernel, {counts['shim']:.0f}", flush=True)
    figures = {"micro": time["median_ns"] for time in times
               if time["ranges"] == 1000 and time["step"] == "decide+rewrite"}
    return {"times": times, "instructions": counts}, figures
