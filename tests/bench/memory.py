"""Memory of idle kept connections: what each costs the relay, once it has served a request."""

import pathlib
import statistics

from common import Failure, Load, Process, memory_bytes, one_processor, on_processors, raise_open_files
from servers import OPEN_FILES, make_relay

RELAYS = ("haproxy", "nginx", "shim")
BEFORE = 500  # connections that are there already, so that what is needed once is not counted
COUNT = 5000
WINDOW = 32  # requests at a time, while they are opened: as connections come about, not all in one moment
ROUNDS, QUICK_ROUNDS = 3, 1


def open_idle(tools, process, relay, count):
    """A load generator with so many connections, each of which has served one request and idles."""
    load = Load(tools["load"], process.address, relay, ["-n", "1", "-c", str(count), "-w", str(WINDOW)])
    load.warm_up()
    return load


def measure_relay(tools, relay, folder):
    """Bytes a connection."""
    folder.mkdir()
    app = f"unix:{folder}/app.sock"
    with Process("responder", [tools["responder"], app], app, f"{folder}/responder.log"):
        with relay.start(folder, app, WINDOW if relay.name == "shim" else BEFORE + COUNT) as process:
            with open_idle(tools, process, relay, BEFORE) as first:
                before = memory_bytes(process.pid)
                with open_idle(tools, process, relay, COUNT) as second:
                    after = memory_bytes(process.pid)
                    errors = second.run()["errors"] + first.run()["errors"]
    if errors:
        raise Failure(f"{relay.name}: {errors} wrong answers")
    return (after - before) / COUNT


def benchmark(options, tools, folder):
    """Runs and prints it: ([{relay, bytes, rounds}], figures)."""
    raise_open_files(OPEN_FILES)
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    relays = [make_relay(name, options.command) for name in RELAYS]
    results = {relay.name: [] for relay in relays}
    print(f"\nmemory of an idle kept connection: {COUNT:,} of them, opened {WINDOW} at a time, {rounds} starts each")
    with on_processors(one_processor(options).relay):
        for number in range(rounds):
            for relay in relays:
                results[relay.name].append(measure_relay(tools, relay, pathlib.Path(folder, f"{relay.name}-{number}")))
    documents, figures = [], {}
    for name, found in results.items():
        bytes_each = statistics.median(found)
        print(f"  {name:10}{bytes_each / 1024:8.2f} KB", flush=True)
        documents.append({"relay": name, "bytes": bytes_each, "rounds": found})
        if name == "shim":
            figures["memory"] = bytes_each / 1024
    return documents, figures
