"""One shim, one application and many web servers at once, while configurations change and processes die."""

import asyncio
import os
import random
import signal
import sys

import processes
from model_application import Application, Upstream
from model_front import Player
from model_plan import CDN, LAN, Exchange, History
from model_rules import DENIED, Group, Ledger
from shim import Shim, fd_count, free_port


def draw_lists(rng):
    return [Group("lan", rng.choice(LAN), "HTTP_X_FORWARDED_FOR"),
            Group("cdn", rng.choice(CDN), "HTTP_CF_CONNECTING_IP")]


def write_lists(groups):
    headers = {"HTTP_X_FORWARDED_FOR": "X-Forwarded-For", "HTTP_CF_CONNECTING_IP": "CF-Connecting-IP"}
    return "".join("[proxy %s]\ntrust = %s\nheader = %s\n" % (one.name, one.trust, headers[one.header])
                   for one in groups)


class World:
    """number: each has settings of its own, drawn from the seed too."""
    at_once = 32          # histories
    calm_between = 0.05   # seconds at most, between one thing that happens to the shim and the next
    reloads = 2           # to one of each of the other things
    player = Player
    limits = "queue_timeout = 10s\nread_timeout = 8s\nsend_timeout = 8s\n[limits]\nheader_timeout = 5s\n"

    def __init__(self, seed, number, calm=False):
        self.rng = random.Random("%s/%s" % (seed, number))
        self.calm = calm                      # no reloads, no faults
        self.keepalive = number % 4 != 3
        self.toggles = number % 4 == 2        # reloads change it
        self.workers = [1, 2, 2, 1][number % 4]
        self.kills = self.workers > 1 and not calm
        self.header_timeout = True            # may be reached on a busy machine
        self.cap = self.rng.choice([2, 3, 8]) * self.workers
        self.tcp = self.rng.random() < 0.4
        self.idle = self.rng.choice([20, 300])
        self.queue = self.rng.choice([32, 200])
        self.ledger = Ledger(draw_lists(self.rng))
        self.generation = 1

    def __repr__(self):
        return "keepalive=%d workers=%d connections=%d tcp=%d idle_timeout=%dms queue=%d" % (
            self.keepalive, self.workers, self.cap, self.tcp, self.idle, self.queue)

    def ini(self, groups, more=""):
        return ("[listen]\naddress = unix:{dir}/shim.sock 127.0.0.1:%d\n[upstream]\naddress = %s\nkeepalive = %s\n"
                "connections = %d\nqueue = %d\nidle_timeout = %dms\n%s[process]\nworkers = %d\n[access]\ndeny = %s\n"
                "[log]\nlevel = info\n%s%s" % (
                    self.port, self.application.address, "on" if self.keepalive else "off", self.cap, self.queue,
                    self.idle, self.limits, self.workers, DENIED, write_lists(groups), more))

    # ---- what happens to the shim ----

    async def wait(self, condition, seconds=10):
        limit = asyncio.get_running_loop().time() + seconds
        while not condition() and asyncio.get_running_loop().time() < limit:
            await asyncio.sleep(0.005)
        return condition()

    async def reload(self):
        """Other trust lists. From the signal on both may count; when all workers say so, only the new ones."""
        self.signal_reload()
        latest = len(self.ledger.timeline) - 1
        told = "reloaded; configuration %d is in force" % self.generation
        if await self.wait(lambda: self.shim.log().count(told) >= self.workers):
            self.ledger.oldest = latest
        else:
            self.ledger.hold("service", False, "(all)", "not reloaded: %s", self.shim.log()[-2000:])

    async def reload_and_kill(self):
        """Which lists count is known again after the next reload."""
        self.signal_reload()
        await self.kill()

    def signal_reload(self):
        groups = draw_lists(self.rng)
        self.ledger.timeline.append(groups)
        if self.toggles and self.rng.random() < 0.3:
            self.keepalive = not self.keepalive
        self.shim.write_ini(self.ini(groups))
        self.shim.signal(signal.SIGHUP)
        self.generation += 1
        self.ledger.tallies["reloads"] += 1

    async def reload_wrong(self):
        """A file that is not valid changes nothing."""
        self.shim.write_ini(self.ini(self.ledger.timeline[-1], "[proxy third]\ntrust = 10.0.0.300\n"))
        self.shim.signal(signal.SIGHUP)
        self.ledger.tallies["wrong reloads"] += 1
        count = self.ledger.tallies["wrong reloads"]
        await self.wait(lambda: self.shim.log().count("not reloaded; configuration") >= count)

    async def kill(self):
        """A worker ends at once; another one takes its place."""
        workers = processes.children(self.shim.pid)
        started = self.shim.log().count("ready: requests go")
        os.kill(self.rng.choice(workers), signal.SIGKILL)
        self.ledger.tallies["kills"] += 1
        ready = await self.wait(lambda: self.shim.log().count("ready: requests go") > started)
        self.ledger.hold("service", ready, "(all)", "no worker in the place of the one that died")

    async def refuse(self):
        """Nobody listens for a moment."""
        self.application.refuse()
        await asyncio.sleep(self.rng.random() * 0.01)
        await self.application.listen()
        self.ledger.tallies["outages"] += 1

    async def disturb(self):
        while not self.played:
            await asyncio.sleep(self.rng.random() * self.calm_between)
            await self.rng.choice([self.reload] * self.reloads + [self.reload_wrong, self.refuse]
                                  + ([self.kill, self.reload_and_kill] if self.kills else []))()

    # ---- running ----

    def answer(self, application):
        """What serves a connection to the application."""
        return Upstream(application)

    async def play_all(self, histories):
        gate = asyncio.Semaphore(self.at_once)

        async def play(history):
            async with gate:
                self.ledger.expect(history.all())
                try:
                    await asyncio.wait_for(self.player(self, history).play(), 120)
                except OSError as error:
                    self.ledger.hold("service", False, history.name, "%r", error)
                except asyncio.TimeoutError:
                    self.ledger.hold("service", False, history.name, "does not come to its end")
        await asyncio.gather(*(play(one) for one in histories))

    async def settle(self, before):
        """All that was opened is closed, and as many requests as the cap allows are served at once."""
        if not self.ledger.hold("service", self.shim.running(), "(all)", "the shim has ended"):
            return
        same = await self.wait(lambda: self.descriptors() <= before and not self.application.open)
        self.ledger.hold("service", same, "(all)", "%d descriptors, %d before; %d application connections are open; %s",
                         self.descriptors(), before, len(self.application.open), self.descriptor_names())
        count = min(4 * self.cap, (self.cap + self.queue) // self.workers)  # one worker may get them all
        plain = [History(random.Random(1), "last") for _ in range(count)]
        for number, one in enumerate(plain):
            one.exchanges = [Exchange.plain("last.%d" % number)]
        before = self.ledger.tallies.copy()
        await self.play_all(plain)
        became = self.ledger.tallies - before
        self.ledger.hold("service", became["answered"] == count, "(all)", "the last %d requests: %r", count, became)

    def pids(self):
        return processes.children(self.shim.pid) if self.workers > 1 else [self.shim.relay_pid]

    def descriptors(self):
        try:
            return sum(map(fd_count, self.pids()))
        except FileNotFoundError:  # one has just died
            return sys.maxsize

    def descriptor_names(self):
        found = {}
        for pid in self.pids():
            directory = "/proc/%d/fd/" % pid
            try:
                found[pid] = sorted(os.readlink(directory + number) for number in os.listdir(directory))
            except FileNotFoundError:
                found[pid] = "changes"
        return found

    def note_mistake(self, loop, context):
        """Of this program."""
        self.application.mistakes.append(context.get("exception") or RuntimeError(context["message"]))

    async def run_in(self, directory, histories):
        address = "127.0.0.1:%d" % free_port() if self.tcp else "unix:%s/app.sock" % directory
        self.application = Application(self.ledger, address, self.cap, self.answer)
        asyncio.get_running_loop().set_exception_handler(self.note_mistake)
        await self.application.listen()
        self.port = free_port()
        self.path = os.path.join(directory, "shim.sock")
        self.shim = await asyncio.to_thread(Shim, self.ini(self.ledger.timeline[0]), directory=directory)
        try:
            await self.run_through(histories)
            status = await asyncio.to_thread(self.shim.stop)
            self.ledger.hold("service", status == 0, "(all)", "exit status %r after TERM", status)
        except BaseException:
            self.shim.kill()
            sys.stderr.write("the shim's log, its last 4000 characters:\n%s\n" % self.shim.log()[-4000:])
            raise
        if self.application.mistakes:
            raise self.application.mistakes[0]
        return self.ledger

    async def run_through(self, histories):
        await self.wait(lambda: self.shim.log().count("ready: requests go") >= self.workers)
        before = self.descriptors()
        self.played = self.calm
        disturbing = asyncio.ensure_future(self.disturb())
        await self.play_all(histories)
        self.played = True
        await disturbing
        await self.settle(before)
        await self.application.end()
