#!/usr/bin/env python3
"""Reloads behind nginx, with the configuration files that etc/ ships, under load: not one request fails, and what a
reload changes shows in the answers within a second."""

import json
import os
import re
import signal
import sys
import time
import unittest

from load import HttpAsker, Load
from sameanswer import XFF, Chain
from servers import Nginx, NginxKeep, Whoami
from shim import is_sanitized, wait_for

CLIENT, BEFORE = "203.0.113.7", "10.77.0.1"
RELOADS = 16 if is_sanitized() else 50  # even: the last one goes back
IN_FORCE = "configuration %d is in force"


class Reload(unittest.TestCase):
    """.chain: nginx, the shim, whoami; the client is CLIENT while 10.77.0.1 is trusted, else that."""

    server = None
    upstream = ""

    def setUp(self):
        self.chain = Chain(self.server, Whoami, self.upstream)
        self.addCleanup(self.chain.close)
        self.generation = 1
        self.trusting = self.chain.ini
        self.doubting = self.chain.ini.replace("10.0.0.0/8", "10.9.0.0/16")

    def check(self, status, body):
        """What is wrong with an answer, whatever the configuration."""
        try:
            seen = json.loads(body)["params"]["REMOTE_ADDR"]
        except (ValueError, KeyError):
            return "status %d: %r" % (status, body[:300])
        return None if status == 200 and seen in (CLIENT, BEFORE) else "status %d, %s" % (status, seen)

    def load(self, kept):
        headers = [(XFF, "%s, %s" % (CLIENT, BEFORE))]
        return Load(lambda: HttpAsker(self.chain.server.port, "/index.php?json", self.check, headers, kept), threads=6)

    def seen(self):
        answer = self.chain.ask("json", [(XFF, "%s, %s" % (CLIENT, BEFORE))])
        self.assertEqual(answer.status, 200, answer.body[:500])
        return answer.json()["params"]["REMOTE_ADDR"]

    def wait_seen(self, client):
        began = time.monotonic()
        wait_for(lambda: self.seen() == client, what="the reload to show")
        self.assertLess(time.monotonic() - began, 1)

    def reload(self, text):
        self.chain.shim.write_ini(text)
        self.chain.shim.signal(signal.SIGHUP)

    def under_load(self, step):
        """step(n) for each reload, while clients with kept connections and without ask all the time."""
        with self.load(True) as kept, self.load(False) as single:
            for n in range(RELOADS):
                step(n)
                kept.wait_more(5)
                single.wait_more(5)
        self.assertEqual((kept.wrong[:5], single.wrong[:5]), ([], []))
        self.assertGreater(kept.done + single.done, 10 * RELOADS)

    def test_reloads(self):
        def step(n):
            self.reload((self.doubting, self.trusting)[n % 2])
            self.wait_seen((BEFORE, CLIENT)[n % 2])
        self.under_load(step)
        self.chain.shim.wait_log(IN_FORCE % (RELOADS + 1))

    def test_invalid_files(self):
        """In between, files that are wrong."""
        def step(n):
            if n % 3:
                self.reload(self.chain.ini + "[nonsense\n")
                self.chain.shim.wait_log("error: .*stays in force", count=n - n // 3)
            else:
                self.reload((self.doubting, self.trusting)[n % 2])
                self.wait_seen((BEFORE, CLIENT)[n % 2])
        self.under_load(step)

    def test_trust_files(self):
        path = os.path.join(self.chain.shim.dir, "list.txt")

        def write(network):
            with open(path + ".new", "w") as file:
                file.write("127.0.0.1 ::1 %s\n" % network)
            os.rename(path + ".new", path)
        write("10.0.0.0/8")
        self.reload(re.sub("trust = .*", "trust_file = list.txt", self.chain.ini))
        self.chain.shim.wait_log(IN_FORCE % 2)

        def step(n):
            write(("10.9.0.0/16", "10.0.0.0/8")[n % 2])
            self.wait_seen((BEFORE, CLIENT)[n % 2])
        self.under_load(step)

    def test_another_application(self):
        """The application's address changes to and fro; in the end one of the two has gone, and nobody minds."""
        with Whoami() as other:
            first = self.chain.application

            def step(n):
                to = (other, first)[n % 2]
                self.reload(self.chain.ini.replace(first.address, to.address))
                self.chain.shim.wait_log("requests go to %s from now on" % re.escape(to.address), count=n // 2 + 1)
            self.under_load(step)
            self.assertEqual(self.seen(), CLIENT)
        self.assertEqual(self.seen(), CLIENT)


def kept(case):
    return type(case.__name__ + "UpstreamKept", (case,), {"upstream": "keepalive = on\nidle_timeout = 1h"})


for server in (Nginx, NginxKeep):
    case = type("Reload" + server.__name__, (Reload,), {"server": server})
    globals()[case.__name__] = case
    globals()[kept(case).__name__] = kept(case)
del Reload, case  # the base class is no test

if __name__ == "__main__":
    if not Nginx.installed():
        print("SKIPPED: nginx is not installed")
        sys.exit(77)
    unittest.main()
