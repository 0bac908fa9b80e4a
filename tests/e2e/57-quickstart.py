#!/usr/bin/env python3
"""`sh etc/quickstart run` with everything installed: no apt, no network, the right answers, nothing left behind."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import unittest

from shim import PATIENCE, wait_for

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def processes_in(directory):
    """The processes that have the directory on their command line."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as file:
                if directory.encode() in file.read():
                    found.append(int(pid))
        except OSError:
            pass
    return found


class Quickstart(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="realip-quick-")
        self.addCleanup(shutil.rmtree, self.dir)
        self.tmp = os.path.join(self.dir, "tmp")
        self.bin = os.path.join(self.dir, "bin")
        os.mkdir(self.tmp)
        os.mkdir(self.bin)
        for name in ("apt-get", "sudo"):
            with open(os.path.join(self.bin, name), "w") as file:
                file.write("#!/bin/sh\necho called %s\nexit 1\n" % name)
            os.chmod(file.name, 0o755)

    def start(self, *arguments):
        # How it is built is not what this is about: as fast as can be.
        environment = dict(os.environ, TMPDIR=self.tmp, PATH=self.bin + ":" + os.environ["PATH"],
                           http_proxy="http://127.0.0.1:9", CMAKE_BUILD_TYPE="Debug")
        return subprocess.Popen(["sh", os.path.join(TREE, "etc", "quickstart"), *arguments], cwd=self.dir,
                                env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, text=True, start_new_session=True)

    def check_output(self, output):
        self.assertNotIn("called", output)
        rows = dict((name, []) for name in ("REMOTE_ADDR", "HTTP_X_FORWARDED_FOR", "REALIP_PROXIES"))
        for name, before, after in re.findall(r"^  ([A-Z_]+) +(\S.*?)  +(\S.*)$", output, re.MULTILINE):
            if name in rows:
                rows[name].append((before, after))
        self.assertEqual(rows["REMOTE_ADDR"], [("127.0.0.1", "203.0.113.7"), ("127.0.0.1", "203.0.113.7"),
                                               ("127.0.0.2", "127.0.0.2")], output)
        honest = "203.0.113.7, 10.0.0.1, 10.0.0.2"
        self.assertEqual(rows["HTTP_X_FORWARDED_FOR"], [(honest, honest), ("192.0.2.6, " + honest, honest),
                                                        ("192.0.2.6", "-")], output)
        proxies = "10.0.0.1, 10.0.0.2, 127.0.0.1"
        self.assertEqual(rows["REALIP_PROXIES"], [("-", proxies), ("-", proxies), ("-", "-")], output)

    def check_gone(self):
        self.assertEqual(os.listdir(self.tmp), [])
        self.assertEqual(processes_in(self.tmp), [])

    def test_once(self):
        process = self.start("run", "--once")
        output = process.communicate(timeout=600)[0]
        self.assertEqual(process.returncode, 0, output)
        self.check_output(output)
        self.check_gone()

    def test_until_interrupted(self):
        process = self.start("run")
        output = ""
        for line in process.stdout:
            output += line
            if "Ctrl-C" in line:
                break
        self.check_output(output)
        curl = re.search(r"^  (curl -H '.*)$", output[output.index("Try it:"):], re.MULTILINE).group(1)
        tried = subprocess.run(["sh", "-c", curl + " --silent --noproxy '*'"], stdout=subprocess.PIPE, text=True,
                               timeout=PATIENCE)
        self.assertTrue(tried.stdout.startswith("You are 203.0.113.7\n"), tried.stdout)
        explain = output[output.index("ask why:") + len("ask why:"):output.index("Ctrl-C")]
        asked = subprocess.run(["sh", "-c", explain], stdout=subprocess.PIPE, text=True, timeout=PATIENCE)
        self.assertIn("203.0.113.7", asked.stdout)
        os.killpg(process.pid, signal.SIGINT)
        self.assertEqual(process.wait(PATIENCE), 130)
        process.stdout.close()
        wait_for(lambda: not processes_in(self.tmp), what="its processes to end")
        self.check_gone()

    def test_usage(self):
        for arguments in ((), ("walk",), ("run", "--twice"), ("test", "x")):
            process = self.start(*arguments)
            output = process.communicate(timeout=PATIENCE)[0]
            self.assertEqual(process.returncode, 2)
            self.assertIn("sh etc/quickstart run [--once]", output)


if __name__ == "__main__":
    for needed in ("nginx", "curl", "cmake"):
        if shutil.which(needed, path=os.environ["PATH"] + ":/usr/sbin") is None:
            print("SKIPPED: %s is not installed" % needed)
            sys.exit(77)
    unittest.main()
