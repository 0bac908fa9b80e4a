"""What is measured through relays: the points, and who is compared with whom at each."""

import argparse
from typing import NamedTuple

KB, MB = 1024, 1024 * 1024
TCP = ("direct", "haproxy", "nginx", "shim")
LARGE = ("direct", "haproxy", "splice", "nginx", "shim")


class Point(NamedTuple):
    name: str
    front: str        # kept or reconnect
    connections: int  # at a time, each with one request under way
    # A round takes some 0.1 s: a virtual machine's speed wanders within seconds, so what is compared must be close.
    requests: int
    answer: int = KB  # bytes
    body: int = 0     # bytes; 0: GET
    header: int = 0   # bytes of X-Forwarded-For; 0: the true chain alone, some 40
    relays: tuple = TCP
    bases: tuple = ("haproxy", "nginx")  # whom the others are compared with

    def load_options(self, scale):
        """For the load generator."""
        requests = max(int(self.requests * scale), self.connections)
        options = ["-n", requests, "-c", self.connections, "-l", self.answer, "-b", self.body, "-p", self.header]
        return [str(option) for option in options] + (["-r"] if self.front == "reconnect" else [])


POINTS = (
    Point("kept/1", "kept", 1, 4000),
    Point("kept/32", "kept", 32, 10000),
    Point("kept/256", "kept", 256, 10000),
    Point("reconnect/1", "reconnect", 1, 2000),
    Point("reconnect/32", "reconnect", 32, 4000),
    Point("reconnect/256", "reconnect", 256, 4000),
    Point("header-7k", "kept", 32, 6000, header=7 * KB),
    Point("answer-64k", "kept", 32, 2000, answer=64 * KB, relays=LARGE, bases=("haproxy", "splice", "nginx")),
    Point("answer-1m", "kept", 32, 160, answer=MB, relays=LARGE, bases=("haproxy", "splice", "nginx")),
    Point("body-1m", "kept", 32, 160, body=MB, relays=LARGE, bases=("haproxy", "splice", "nginx")),
    Point("ranges", "kept", 32, 10000, relays=("shim/10", "shim", "shim/100000"), bases=("shim/10",)),
)


def parse_point(text):
    """A point by its name, or kept/N or reconnect/N for any N."""
    for point in POINTS:
        if point.name == text:
            return point
    front, _, connections = text.partition("/")
    if front in ("kept", "reconnect") and connections.isdigit() and int(connections) > 0:
        return Point(text, front, int(connections), 10000 if front == "kept" else 4000)
    raise argparse.ArgumentTypeError(
        f"{text}: not kept/N, reconnect/N or one of {', '.join(point.name for point in POINTS)}")
