"""Relays: CPU time, requests a second and latency of each, on one processor and on two."""

import pathlib
import statistics

from common import Failure, Process, logged, on_processors, one_processor, pin, run_load, show_span, span, \
    summarize_rounds, two_processors
from points import MB, POINTS
from servers import make_relay

MARKED = ("kept/1", "kept/32", "kept/256", "reconnect/32", "reconnect/256", "header-7k", "answer-1m", "ranges")
ROUNDS = {"one": 41, "two": 15}
QUICK_ROUNDS = {"one": 9, "two": 3}


def measure_round(tool, relay, process, app, point, scale, placement):
    address, pids = (process.address, [process.pid]) if process else (app, [])
    with on_processors(placement.others):
        return run_load(tool, address, relay, point.load_options(scale), pids)


def measure_rounds(tools, started, responder, point, rounds, scale, placement):
    """All rounds of one point: {relay's name: [result, ...]}."""
    results = {relay.name: [] for relay, _ in started}
    pin(responder.pid, placement.others)
    for _, process in started:
        if process:
            pin(process.pid, placement.relay)
    for number in range(rounds + 1):
        for relay, process in started:
            result = measure_round(tools["load"], relay, process, responder.address, point, scale, placement)
            if number > 0:  # the first warms up
                results[relay.name].append(result)
            elif result["errors"]:
                raise Failure(f"{relay.name}, {point.name}: {result['errors']} wrong answers")
    return results


def measure_point(tools, relays, point, rounds, scale, placements, folder):
    """{placement's name: {relay's name: [result, ...]}}, with one start of every relay."""
    folder = pathlib.Path(folder, point.name.replace("/", "-"))
    folder.mkdir()
    app = f"unix:{folder}/app.sock"
    started, results = [], {}
    with Process("responder", [tools["responder"], "-l", str(point.answer), app], app,
                 f"{folder}/responder.log") as responder:
        try:
            for relay in relays:
                started.append((relay, relay.start(folder, app, point.connections)))
            for placement in placements:
                results[placement.name] = measure_rounds(tools, started, responder, point, rounds[placement.name],
                                                         scale, placement)
        except Failure as failure:
            logs = "".join(logged(process) for _, process in started if process)
            raise Failure(f"{failure}{logs}") from failure
        finally:
            for _, process in started:
                if process:
                    process.stop()
    return results


# ---- what comes out

def summarize(point, results):
    """Medians of every relay's rounds, and the ratios of CPU time to each base's, pair by pair."""
    summary = {}
    for name, rounds in results.items():
        row = summary[name] = summarize_rounds(rounds)
        if "cpu_us" not in row:
            continue
        if point.answer + point.body >= MB // 16:
            row["cpu_ms_gb"] = row["cpu_us"] * 1e6 / (point.answer + point.body)
        row["ratios"] = {base: span([r["cpu_us"] / b["cpu_us"] for r, b in zip(rounds, results[base])])
                         for base in point.bases if base in results and base != name}
        if "direct" in results:
            row["added_us"] = statistics.median(r["latency_us"]["p50"] - d["latency_us"]["p50"]
                                                for r, d in zip(rounds, results["direct"]))
    return summary


def added_latency(results):
    """What the shim adds to direct's median latency, to what HAProxy adds, round by round; None: not measured."""
    if not {"direct", "haproxy", "shim"} <= results.keys():
        return None
    added = [[rounds["latency_us"]["p50"] - direct["latency_us"]["p50"] for rounds in pair]
             for direct, *pair in zip(results["direct"], results["shim"], results["haproxy"])]
    return span([shim / max(haproxy, 0.01) for shim, haproxy in added])


def find_figures(point, summary, latency):
    """What the marks ask for."""
    ratios = {name: row.get("ratios", {}) for name, row in summary.items()}
    shim, figures = ratios.get("shim", {}), {}
    if point.name in ("kept/32", "kept/256", "reconnect/32", "reconnect/256") and {"haproxy", "nginx"} <= shim.keys():
        # The cheapest of the two is the one that the shim looks worse beside.
        figures[f"cpu {point.name}"] = max(shim["haproxy"]["ratio"], shim["nginx"]["ratio"])
    if point.name == "answer-1m" and "splice" in shim:
        figures["cpu answer-1m"] = shim["splice"]["ratio"]
    if point.name == "header-7k" and "haproxy" in shim:
        figures["cpu header-7k"] = shim["haproxy"]["ratio"]
    if point.name == "ranges" and "shim/10" in ratios.get("shim/100000", {}):
        figures["cpu ranges"] = ratios["shim/100000"]["shim/10"]["ratio"]
    if point.name == "kept/1" and latency:
        figures["latency"] = latency["ratio"]
    return figures


# ---- what people see

def print_head(bases, two):
    columns = "".join(f"{'to ' + base:21}" for base in bases)
    print(f"\n{'point':15}{'through':13}{'CPU us':>8}{'ms/GB':>7}  {columns}{'req/s':>8}{'p50 us':>9}{'errors':>8}", end="")
    print(f"  | two: CPU us  {'to ' + bases[0]:11}{'req/s':>8}{'p50 us':>9}" if two else "", flush=True)


def show_row(point, name, row):
    cpu = f"{row['cpu_us']:8.2f}" if "cpu_us" in row else f"{'-':>8}"
    gb = f"{row['cpu_ms_gb']:7.0f}" if "cpu_ms_gb" in row else f"{'':7}"
    ratios = row.get("ratios", {})
    columns = "".join(f"{show_span(ratios[base]) if base in ratios else '':21}" for base in point.bases)
    return (f"{point.name:15}{name:13}{cpu}{gb}  {columns}{row['per_second']:8.0f}{row['p50_us']:9.1f}"
            f"{row['errors']:8}")


def show_two(point, row):
    cpu = f"{row['cpu_us']:8.2f}" if "cpu_us" in row else f"{'-':>8}"
    ratio = row.get("ratios", {}).get(point.bases[0])
    return f"  |     {cpu}  {'%.2f' % ratio['ratio'] if ratio else '':11}{row['per_second']:8.0f}{row['p50_us']:9.1f}"


def print_point(point, summaries, latencies):
    two = summaries.get("two", {})
    for name, row in summaries["one"].items():
        print(show_row(point, name, row) + (show_two(point, two[name]) if name in two else ""), flush=True)
    if point.connections == 1:
        for placement, latency in latencies.items():
            if latency:
                added = ", ".join(f"{name} {row['added_us']:.1f} us" for name, row in summaries[placement].items()
                                  if "added_us" in row)
                print(f"{'':15}latency added over direct, {placement} processor{'s'[:placement != 'one']}: {added}; "
                      f"the shim's to HAProxy's: {show_span(latency)}", flush=True)


def choose_relays(options, point, command):
    return [make_relay(name, command) for name in (options.relays or point.relays)]


def choose_rounds(options):
    if options.rounds:
        return {"one": options.rounds, "two": max(options.rounds // 3, 1)}
    return QUICK_ROUNDS if options.quick else ROUNDS


def benchmark(options, tools, folder):
    """Runs and prints it: ([{point, summary, rounds}], figures)."""
    points = options.point or [point for point in POINTS if not options.quick or point.name in MARKED]
    placements = [one_processor(options)] + [two for two in [two_processors(options)] if two and not options.one]
    rounds = choose_rounds(options)
    print(f"relays: {rounds['one']} rounds with everything on one processor"
          + (f", {rounds['two']} with the relay on another than the rest" if len(placements) > 1 else ""))
    documents, figures, bases = [], {}, None
    for point in points:
        if point.bases != bases:
            bases = point.bases
            print_head(bases, len(placements) > 1)
        relays = choose_relays(options, point, options.command)
        results = measure_point(tools, relays, point, rounds, options.scale, placements, folder)
        summaries = {placement: summarize(point, rows) for placement, rows in results.items()}
        latencies = {placement: added_latency(rows) for placement, rows in results.items()}
        print_point(point, summaries, latencies)
        figures.update(find_figures(point, summaries["one"], latencies["one"]))
        documents.append({"point": point._asdict(), "summary": summaries, "latency_added": latencies,
                          "rounds": results})
    return documents, figures
