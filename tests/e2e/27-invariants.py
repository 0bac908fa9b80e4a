#!/usr/bin/env python3
"""Random histories of clients, an application, reloads and faults against the rules of model_rules.py.

SEED=n HISTORIES=m runs others, or more; ONLY=k of them runs the history k alone, as often as REPEAT says. Two for
each five more, h0 and so on, are of those in which somebody hangs.
"""

import asyncio
import os
import random
import tempfile
import time
import unittest

from model_hang import HangingHistory, HangingWorld
from model_plan import History
from model_world import World

SEED = os.environ.get("SEED", "1")
HISTORIES = int(os.environ.get("HISTORIES", "1000"))
AT_ONCE = 4           # worlds of a kind
SHRINK_SECONDS = 20
ONLY = os.environ.get("ONLY")
REPEAT = int(os.environ.get("REPEAT", "10"))


class Kind:
    """Of histories, and the worlds for them."""

    def __init__(self, prefix, history, world, count, in_a_world):
        self.prefix, self.history, self.world, self.count = prefix, history, world, count
        self.worlds = max(4, count // in_a_world)  # of which each is one shim's life

    def draw(self, number):
        name = "%s.%s%d" % (SEED, self.prefix, number)
        return self.history(random.Random(name), name)

    async def run_one(self, world, histories, calm=False):
        with tempfile.TemporaryDirectory(prefix="model-") as directory:
            return await self.world(SEED, world, calm).run_in(directory, histories)

    def run(self, *arguments):
        return asyncio.run(self.run_one(*arguments))

    async def run_all(self):
        """[(kind, world, what came of it)]"""
        gate = asyncio.Semaphore(AT_ONCE)

        async def run_in_turn(world):
            async with gate:
                ledger = await self.run_one(world, [self.draw(one) for one in range(world, self.count, self.worlds)])
                ledger.exchanges.clear()
                return self, world, ledger
        return await asyncio.gather(*map(run_in_turn, range(self.worlds)))


KINDS = {"": Kind("", History, World, HISTORIES, 250),
         "h": Kind("h", HangingHistory, HangingWorld, 2 * HISTORIES // 5, 100)}


def look_up(name):
    """The kind of a history, and its number."""
    kind = KINDS[name[:1] if name[:1] in KINDS else ""]
    return kind, int(name[len(kind.prefix):])


async def run_all():
    return sum(await asyncio.gather(*(kind.run_all() for kind in KINDS.values())), [])


def fails_alone(kind, world, number, chosen):
    """The report, if the exchanges of this history break a rule with nothing else going on, in one of a few runs."""
    for _ in range(4):
        history = kind.draw(number)
        history.exchanges = [history.exchanges[i] for i in chosen]
        ledger = kind.run(world, [history], True)
        if ledger.broken:
            return "%r\n%s" % (history, ledger.report())
    return None


def shrink(kind, world, number):
    """The shortest part of the history that still breaks a rule; or a word why there is none."""
    chosen = list(range(len(kind.draw(number).exchanges)))
    report = fails_alone(kind, world, number, chosen)
    if not report:
        return "%r\n    (alone, it breaks no rule)" % kind.draw(number)
    limit = time.monotonic() + SHRINK_SECONDS
    for one in list(chosen):
        if time.monotonic() > limit:
            break
        fewer = [i for i in chosen if i != one]
        shorter = fewer and fails_alone(kind, world, number, fewer)
        if shorter:
            chosen, report = fewer, shorter
    return report


class Invariants(unittest.TestCase):
    def check(self, kind, world, ledger):
        if not ledger.broken:
            return
        told = ["world %s%d, %r" % (kind.prefix, world, kind.world(SEED, world)), ledger.report()[:6000]]
        names = {token.split("-")[0] for _, token, _ in ledger.broken if token.startswith(SEED + ".")}
        for name in sorted(names)[:3]:
            only = name.split(".")[1]
            told += ["history %s (SEED=%s HISTORIES=%d ONLY=%s):" % (name, SEED, HISTORIES, only),
                     shrink(kind, world, look_up(only)[1])]
        told.append("Again: SEED=%s HISTORIES=%d" % (SEED, HISTORIES))
        self.fail("\n".join(told))

    def test_rules_hold(self):
        began, total = time.monotonic(), {}
        if ONLY:
            kind, number = look_up(ONLY)
            for _ in range(REPEAT):
                world = number % kind.worlds
                self.check(kind, world, kind.run(world, [kind.draw(number)]))
            return
        for kind, world, ledger in asyncio.run(run_all()):
            self.check(kind, world, ledger)
            for what, times in ledger.tallies.items():
                total[what] = total.get(what, 0) + times
        print("seed %s, %d histories, %.1f s: %r" % (SEED, HISTORIES, time.monotonic() - began, total))
        if HISTORIES >= 600:
            for what in ("answered", "elsewhere", "aborted", "closed", "reloads", "wrong reloads", "kills", "outages",
                         403, 502, 503, 504, "hung", "limit header", "limit queue", "limit read", "limit request"):
                self.assertGreater(total.get(what, 0), 0, "the histories are too tame: %r" % total)


if __name__ == "__main__":
    unittest.main()
