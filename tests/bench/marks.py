"""The marks: what the benchmark's figures are to be. The one place that has them."""

from typing import NamedTuple


class Mark(NamedTuple):
    figure: str    # its name in the figures that the parts give
    what: str      # for people
    relation: str  # at most, at least, or report: nothing is asked of it
    limit: float = 0.0
    unit: str = ""


MARKS = (
    Mark("cpu kept/32", "CPU a request, both sides kept, 32 connections, to the cheapest", "at most", 1.00),
    Mark("cpu kept/256", "the same with 256 connections", "at most", 0.85),
    Mark("cpu reconnect/32", "CPU a request, front reconnects each time, 32 at a time, to the cheapest", "at most",
         0.45),
    Mark("cpu reconnect/256", "the same with 256 at a time", "at most", 0.50),
    Mark("latency", "latency added over direct, one connection, to what HAProxy adds", "at most", 0.85),
    Mark("cpu answer-1m", "CPU a GB, answers of 1 MB, to HAProxy with splice", "at most", 1.00),
    Mark("cpu header-7k", "CPU a request, X-Forwarded-For of 7 KB, to HAProxy", "at most", 0.90),
    Mark("cpu ranges", "CPU a request, 100,000 trusted ranges to 10", "at most", 1.10),
    Mark("loading", "time to load a file of 100,000 ranges", "at most", 0.20, " s"),
    Mark("memory", "memory of an idle kept front connection", "at most", 0.50, " KB"),
    Mark("micro", "decide and rewrite 1.1 KB of parameters, 3 hops", "at most", 400, " ns"),
    Mark("php one", "nginx, shim, php-fpm: requests a second to nginx realip, php-fpm, on one processor", "at least",
         1.10),
    Mark("php two", "the same on two processors", "report"),
    Mark("inprocess", "in-process middleware: requests a second to the bare libfcgi application", "at least", 0.98),
    Mark("cgi 2", "CGI programs, 2 at a time: requests a second to fcgiwrap's", "at least", 1.15),
    Mark("cgi 8", "CGI programs, 8 at a time: requests a second to fcgiwrap's", "at least", 1.30),
    Mark("workers kept/32", "two workers, requests a second to one's: 32 kept connections", "report"),
    Mark("workers kept/256", "the same with 256 kept connections", "report"),
    Mark("workers reconnect/256", "the same, front reconnects each time, 256 at a time", "report"),
)


def judge(figures):
    """The verdicts on those that were measured: [{figure, what, relation, limit, value, reached}]."""
    verdicts = []
    for mark in MARKS:
        if mark.figure in figures:
            value = figures[mark.figure]
            reached = {"at most": value <= mark.limit, "at least": value >= mark.limit, "report": True}[mark.relation]
            verdicts.append(dict(mark._asdict(), value=value, reached=reached))
    return verdicts


def show_value(value, unit):
    return f"{value:.0f}{unit}" if value >= 100 else f"{value:.2f}{unit}"


def print_verdicts(verdicts):
    print(f"\nmarks{'':81}{'measured':>9}  {'mark':18}")
    for verdict in verdicts:
        limit = show_value(verdict["limit"], verdict["unit"])
        mark, reached = "no mark", ""
        if verdict["relation"] != "report":
            mark, reached = f"{verdict['relation']} {limit}", "reached" if verdict["reached"] else "NOT REACHED"
        print(f"  {verdict['what']:84}{show_value(verdict['value'], verdict['unit']):>9}  {mark:18}{reached}")
