#!/usr/bin/env python3
"""Random histories of clients, an application, reloads and faults against the rules of model_rules.py.

SEED=n HISTORIES=m runs others, or more; ONLY=k of them runs the history k alone, as often as REPEAT says.
"""

import asyncio
import os
import random
import tempfile
import time
import unittest

from model_plan import History
from model_world import World

SEED = os.environ.get("SEED", "1")
HISTORIES = int(os.environ.get("HISTORIES", "1000"))
A_WORLD = 250         # histories in one shim's life, unless there are few
AT_ONCE = 4           # worlds
SHRINK_SECONDS = 20
ONLY = os.environ.get("ONLY")
REPEAT = int(os.environ.get("REPEAT", "10"))


def draw(number):
    name = "%s.%d" % (SEED, number)
    return History(random.Random(name), name)


async def run_one(number, histories, calm=False):
    with tempfile.TemporaryDirectory(prefix="model-") as directory:
        return await World(SEED, number, calm).run_in(directory, histories)


def run(*arguments):
    return asyncio.run(run_one(*arguments))


async def run_all(worlds):
    """[(number, its histories' numbers)] -> [(number, what came of it)]"""
    gate = asyncio.Semaphore(AT_ONCE)

    async def run_in_turn(number, numbers):
        async with gate:
            ledger = await run_one(number, [draw(one) for one in numbers])
            ledger.exchanges.clear()
            return number, ledger
    return await asyncio.gather(*(run_in_turn(*world) for world in worlds))


def fails_alone(world, number, chosen):
    """The report, if the exchanges of this history break a rule with nothing else going on, in one of a few runs."""
    for _ in range(4):
        history = draw(number)
        history.exchanges = [history.exchanges[i] for i in chosen]
        ledger = run(world, [history], True)
        if ledger.broken:
            return "%r\n%s" % (history, ledger.report())
    return None


def shrink(world, number):
    """The shortest part of the history that still breaks a rule; or a word why there is none."""
    chosen = list(range(len(draw(number).exchanges)))
    report = fails_alone(world, number, chosen)
    if not report:
        return "%r\n    (alone, it breaks no rule)" % draw(number)
    limit = time.monotonic() + SHRINK_SECONDS
    for one in list(chosen):
        if time.monotonic() > limit:
            break
        fewer = [i for i in chosen if i != one]
        shorter = fewer and fails_alone(world, number, fewer)
        if shorter:
            chosen, report = fewer, shorter
    return report


class Invariants(unittest.TestCase):
    def check(self, world, ledger):
        if not ledger.broken:
            return
        told = ["world %d, %r" % (world, World(SEED, world)), ledger.report()[:6000]]
        names = {token.split("-")[0] for _, token, _ in ledger.broken if token.startswith(SEED + ".")}
        for name in sorted(names)[:3]:
            number = name.split(".")[1]
            told += ["history %s (SEED=%s HISTORIES=%d ONLY=%s):" % (name, SEED, HISTORIES, number),
                     shrink(world, int(number))]
        told.append("Again: SEED=%s HISTORIES=%d" % (SEED, HISTORIES))
        self.fail("\n".join(told))

    def test_rules_hold(self):
        began, total = time.monotonic(), {}
        count = max(4, HISTORIES // A_WORLD)
        if ONLY:
            for _ in range(REPEAT):
                number = int(ONLY) % count
                self.check(number, run(number, [draw(int(ONLY))]))
            return
        worlds = [(number, range(number, HISTORIES, count)) for number in range(count)]
        for number, ledger in asyncio.run(run_all(worlds)):
            self.check(number, ledger)
            for what, times in ledger.tallies.items():
                total[what] = total.get(what, 0) + times
        print("seed %s, %d histories, %.1f s: %r" % (SEED, HISTORIES, time.monotonic() - began, total))
        if HISTORIES >= 600:
            for what in ("answered", "elsewhere", "aborted", "closed", "reloads", "wrong reloads", "kills", "outages",
                         403, 502, 503):
                self.assertGreater(total.get(what, 0), 0, "the histories are too tame: %r" % total)


if __name__ == "__main__":
    unittest.main()
