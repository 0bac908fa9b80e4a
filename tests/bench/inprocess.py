"""Inside the application: a program on libfcgi with fcgi_realip_accept_r beside the same with FCGX_Accept_r."""

import pathlib
import statistics

from common import Failure, Process, on_processors, one_processor, pin, run_load, show_span, span, \
    summarize_rounds, two_processors
from servers import trusted_ranges

REQUESTS = 6000
ROUNDS, QUICK_ROUNDS = 41, 7
CONFIG = """
[proxy edge]
trust = 10.0.7.0/24, 172.16.44.0/24, 198.51.100.0/24
trust_file = {folder}/inprocess.trusted
"""


class Application:
    def __init__(self, name, sees, program, folder, arguments=()):
        self.name, self.sees = name, sees
        self.path = f"{folder}/{name}.sock"
        self.command, self.log = [program, self.path, *arguments], f"{folder}/{name}.log"

    def start(self):
        return Process(self.name, self.command, "unix:" + self.path, self.log)


def make_applications(program, folder):
    pathlib.Path(folder, "inprocess.trusted").write_text("".join(trusted_ranges(1000)))
    config = pathlib.Path(folder, "inprocess.ini")
    config.write_text(CONFIG.format(folder=folder))
    return [Application("bare", "peer", program, folder),
            Application("middleware", "client", program, folder, [str(config)])]


def measure(tools, started, rounds, scale, placement):
    """{application's name: [result, ...]}; one connection, kept: a program on libfcgi serves one at a time."""
    results = {application.name: [] for application, _ in started}
    options = ["-n", str(max(int(REQUESTS * scale), 1)), "-c", "1"]
    for _, process in started:
        pin(process.pid, placement.relay)
    for number in range(rounds + 1):
        for application, process in started:
            with on_processors(placement.others):
                result = run_load(tools["load"], process.address, application, options, [process.pid])
            if number > 0:  # the first warms up
                results[application.name].append(result)
            elif result["errors"]:
                raise Failure(f"{application.name}: {result['errors']} wrong answers\n{process.errors()}")
    return results


def summarize(results):
    pairs = list(zip(results["middleware"], results["bare"]))
    return {
        "applications": {name: summarize_rounds(rounds) for name, rounds in results.items()},
        "per_second": span([with_["per_second"] / bare["per_second"] for with_, bare in pairs]),
        "added_ns": statistics.median(1000 * (with_["cpu_us"] - bare["cpu_us"]) for with_, bare in pairs),
    }


def print_summary(placement, summary):
    for name, row in summary["applications"].items():
        with_ = name == "middleware"
        print(f"  {placement:5}{name:12}{row['per_second']:9.0f}  {show_span(summary['per_second']) if with_ else '':22}"
              f"{row['cpu_us']:8.2f}  {'%+.0f ns' % summary['added_ns'] if with_ else '':10}{row['errors']:8}", flush=True)


def benchmark(options, tools, folder):
    """Runs and prints it: ([{processors, summary, rounds}], figures)."""
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    placements = [one_processor(options)] + [two for two in [two_processors(options)] if two and not options.one]
    print(f"\nin process: one kept connection, {rounds} rounds, requests a second, ratio to the bare application's; its "
          f"CPU time\n  {'':5}{'':12}{'req/s':>9}  {'ratio':22}{'CPU us':>8}  {'added':10}{'errors':>8}")
    documents, figures, started = [], {}, []
    try:
        for application in make_applications(tools["application"], folder):
            started.append((application, application.start()))
        for placement in placements:
            results = measure(tools, started, rounds, options.scale, placement)
            summary = summarize(results)
            print_summary(placement.name, summary)
            documents.append({"processors": placement.name, "summary": summary, "rounds": results})
    finally:
        for _, process in started:
            process.stop()
    figures["inprocess"] = documents[0]["summary"]["per_second"]["ratio"]
    return documents, figures
