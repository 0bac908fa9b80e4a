#!/usr/bin/env python3
"""Restarts behind nginx, with the configuration files that etc/ ships, under load: the shim is started again on a
socket that outlives it, as systemd's do, or hands its own over to a new process (upgrade). Not one request fails."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

import processes
import sameanswer
from load import HttpAsker, Load
from servers import Nginx, NginxKeep, Whoami
from shim import PATIENCE, Shim, is_sanitized, program, wait_for

CLIENT = "203.0.113.7"
TIMES = 5 if is_sanitized() else 20
INI = "%s[upstream]\naddress = %s\n%s\n[proxy edge]\ntrust = 127.0.0.1, ::1\n%s"

# As systemd does it: the socket is descriptor 3, and LISTEN_PID says whose.
ACTIVATED = ["sh", "-c", 'exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec "$@"', "sh"]


class Restarts(unittest.TestCase):
    server = None
    upstream = ""

    def setUp(self):
        self.stack = contextlib.ExitStack()
        self.addCleanup(self.stack.close)
        sameanswer.raise_descriptor_limit()
        self.application = self.stack.enter_context(Whoami())
        self.folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="realip-shim-"))
        os.chmod(self.folder, 0o755)  # nginx as root has workers of another user
        self.path = os.path.join(self.folder, "shim.sock")

    def check(self, status, body):
        try:
            seen = json.loads(body)["params"]["REMOTE_ADDR"]
        except (ValueError, KeyError):
            return "status %d: %r" % (status, body[:300])
        return None if status == 200 and seen == CLIENT else "status %d, %s" % (status, seen)

    def under_load(self, step):
        """step() so many times, while clients with kept connections and without ask all the time."""
        server = self.stack.enter_context(self.server("unix:" + self.path))

        def load(kept):
            headers = [(sameanswer.XFF, CLIENT)]
            return Load(lambda: HttpAsker(server.port, "/index.php?json", self.check, headers, kept), threads=6)
        with load(True) as kept, load(False) as single:
            for _ in range(TIMES):
                kept.wait_more(10)
                single.wait_more(10)
                step()
        self.assertEqual((kept.wrong[:5], single.wrong[:5]), ([], []))
        self.assertGreater(kept.done + single.done, 20 * TIMES)

    # ---- on a socket that outlives it ----

    def test_socket_activation(self):
        listener = self.stack.enter_context(socket.socket(socket.AF_UNIX))
        listener.bind(self.path)
        os.chmod(self.path, 0o666)
        listener.listen(1024)

        def start():
            return Shim(INI % ("", self.application.address, self.upstream, ""), directory=self.folder, stdin=listener,
                        wrapper=ACTIVATED, ready="ready: requests go to")
        running = [start()]
        self.addCleanup(lambda: running[0].stop())

        def restart():
            self.assertEqual(running[0].stop(), 0)
            running[0] = start()
        self.under_load(restart)

    @unittest.skipUnless(os.path.exists("/usr/bin/systemd-socket-activate"), "systemd-socket-activate is not installed")
    def test_systemd_socket_activate(self):
        """systemd's own launcher, to be sure that the above is what systemd does: it starts the shim when the first
        connection comes, and not again, so only once."""
        ini = os.path.join(self.folder, "fcgi-realip.ini")
        with open(ini, "w") as file:
            file.write(INI % ("", self.application.address, self.upstream, ""))
        with open(os.path.join(self.folder, "log"), "w") as log:
            process = subprocess.Popen(["systemd-socket-activate", "-l", self.path, program(), "serve", "-c", ini],
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: os.path.exists(self.path), what="the socket")
        os.chmod(self.path, 0o666)
        server = self.stack.enter_context(self.server("unix:" + self.path))
        ask = HttpAsker(server.port, "/index.php?json", self.check, [(sameanswer.XFF, CLIENT)])
        for _ in range(5):
            self.assertIsNone(ask())
        ask.close()
        process.send_signal(signal.SIGTERM)
        self.assertEqual(process.wait(PATIENCE), 0)

    # ---- without ----

    def upgrades(self, process=""):
        pid_file = os.path.join(self.folder, "pid")
        shim = Shim(INI % ("[listen]\naddress = unix:{dir}/shim.sock\nmode = 0666\n", self.application.address,
                           self.upstream, "[process]\npid_file = {dir}/pid\n" + process),
                    directory=self.folder)
        self.addCleanup(shim.stop)
        pids = [shim.pid]

        def end_the_last():
            for pid in pids[1:]:
                if processes.runs(pid):
                    os.kill(pid, signal.SIGTERM)
            for pid in pids[1:]:
                wait_for(lambda: not processes.runs(pid), what="process %d to end" % pid)
        self.addCleanup(end_the_last)
        wait_for(lambda: os.path.exists(pid_file), what="the pid file")

        def upgrade():
            done = subprocess.run([program(), "upgrade", "-c", shim.path], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True, timeout=PATIENCE)
            self.assertEqual(done.returncode, 0, done.stdout + shim.log())
            with open(pid_file) as file:
                pids.append(int(file.read()))
        self.under_load(upgrade)
        self.assertEqual(len(set(pids)), TIMES + 1)
        for pid in pids[:-1]:
            wait_for(lambda: not processes.runs(pid), what="process %d to end" % pid)
        self.assertTrue(os.path.exists(self.path))

    def test_upgrade(self):
        self.upgrades()

    def test_upgrade_of_workers(self):
        self.upgrades("workers = 2\n")


for server in (Nginx, NginxKeep):
    case = type("Restarts" + server.__name__, (Restarts,), {"server": server})
    globals()[case.__name__] = case
    case = type(case.__name__ + "UpstreamKept", (case,),
                {"upstream": "keepalive = on\nconnections = 3\nidle_timeout = 1h\nqueue_timeout = 2m"})
    globals()[case.__name__] = case
del Restarts, case  # the base class is no test

if __name__ == "__main__":
    if not Nginx.installed():
        print("SKIPPED: nginx is not installed")
        sys.exit(77)
    unittest.main()
