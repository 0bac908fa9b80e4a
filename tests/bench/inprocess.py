"""Inside the application: what fcgi_realip_accept_r adds to a request of a program on libfcgi."""

import os
import pathlib
import re
import subprocess

from common import Failure

MARK_NS = 1000
REQUESTS = 10000
CONFIG = """
[proxy edge]
trust = 10.0.0.0/8, 172.16.44.0/24, 198.51.100.0/24
"""


def benchmark(program, cpu, scale, folder):
    """Runs and prints it, on one processor: {"added_ns", "mark_ns", "reached"}."""
    config = pathlib.Path(folder, "inprocess.ini")
    config.write_text(CONFIG)
    command = [program, "measure", str(config), f"{folder}/inprocess.sock", str(max(int(REQUESTS * scale), 100))]
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(allowed) if cpu is None else cpu})
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    os.sched_setaffinity(0, allowed)
    median = re.search(r"^median .* ([+-][0-9]+) ns$", done.stdout, re.M)
    if done.returncode != 0 or median is None:
        raise Failure(f"{program} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    added = int(median[1])
    reached = added <= MARK_NS
    print(f"\nin process: {done.stdout}  added: {added} ns, at most {MARK_NS} ns: "
          f"{'reached' if reached else 'NOT REACHED'}", flush=True)
    return {"added_ns": added, "mark_ns": MARK_NS, "reached": reached}
