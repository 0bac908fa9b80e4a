"""Loading: how long the shim needs for its configuration with a trust list of some length, `fcgi-realip check`."""

import pathlib
import statistics
import subprocess
import time

from common import Failure, on_processors, one_processor
from servers import Shim

COUNTS = (10, 1000, 100000)
ROUNDS, QUICK_ROUNDS = 11, 5


def check_once(shim, config):
    began = time.perf_counter()
    done = subprocess.run(shim.command + ["check", "-c", str(config)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    taken = time.perf_counter() - began
    if done.returncode != 0:
        raise Failure(f"{config}: check ended with status {done.returncode}:\n{done.stdout[-2000:]}")
    return taken


def benchmark(options, tools, folder):
    """Runs and prints it: ([{ranges, seconds, rounds}], figures)."""
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    shims = [Shim(options.command, count, f"loading-{count}") for count in COUNTS]
    configs = [shim.write(pathlib.Path(folder), f"unix:{folder}/app.sock", 32) for shim in shims]
    results = [[] for _ in shims]
    with on_processors(one_processor(options).relay):
        for _ in range(rounds):
            for shim, config, found in zip(shims, configs, results):
                found.append(check_once(shim, config))
    print("\nloading a file of trusted ranges: `fcgi-realip check`, the whole process, median of "
          f"{rounds}")
    documents = []
    for shim, found in zip(shims, results):
        documents.append({"ranges": shim.ranges, "seconds": statistics.median(found), "rounds": found})
        print(f"  {shim.ranges:7,} ranges {documents[-1]['seconds'] * 1000:8.1f} ms", flush=True)
    return documents, {"loading": documents[-1]["seconds"]}
