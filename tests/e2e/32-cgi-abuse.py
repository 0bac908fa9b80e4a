"""CGI programs where the machine is short of something."""

import importlib.util
import os
import resource
import sys
import unittest

from fcgi import request
from shim import Shim, wait_for


def load(name):
    """The tests of another file."""
    spec = importlib.util.spec_from_file_location("cgi", os.path.join(os.path.dirname(os.path.abspath(__file__)), name))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cgi = load("31-cgi.py")


class Threads(unittest.TestCase):
    def test_none(self):
        """It does not start, and says why; else the first request would end it."""
        stack = 10 ** 14  # bytes: of such threads there cannot be any
        hard = resource.getrlimit(resource.RLIMIT_STACK)[1]
        if hard != resource.RLIM_INFINITY and hard < stack:
            self.skipTest("the limit of stacks cannot be raised")
        code = ("import os, resource, sys\n"
                "resource.setrlimit(resource.RLIMIT_STACK, (%d, %d))\n"
                "os.execv(sys.argv[1], sys.argv[1:])\n" % (stack, hard))
        shim = Shim("[listen]\naddress = unix:{dir}/s\n[upstream]\ncgi = printenv\n", ready=False,
                    wrapper=(sys.executable, "-c", code))
        try:
            self.assertEqual(shim.wait_exit(), 1)
            self.assertRegex(shim.log(), "error: cgi: cannot have 4 threads to start programs with: .*LimitNPROC")
        finally:
            shim.stop()


class Descriptors(cgi.CgiTest):
    def test_each_too_few(self):
        """Whichever is the first that cannot be had, it is a 503, and only for as long as there are too few."""
        self.start()
        needed = self.shim.fds()
        for more in range(7, 18):
            with self.subTest(more=more):
                self.start(nofile=needed + more)
                self.check_shortage(more >= 14)

    def check_shortage(self, enough_for_one):
        self.put("hang", cgi.SH + 'printf "X: y\\r\\n\\r\\n"\nexec sleep 1000\n')
        clients = [self.client() for _ in range(3)]
        refused = 0
        for client in clients:
            client.send(request(self.params("hang"), b"x" * 1000))
            head = client.read_record().content
            self.assertIn(head[:11], (b"X: y\r\n\r\n", b"Status: 503"))
            refused += head.startswith(b"Status")
        self.assertGreater(refused, 0)
        for client in clients:
            client.close()
        wait_for(lambda: not cgi.children(self.shim.pid), what="the programs to be gone")
        if enough_for_one:
            # Connections that have ended may be closed only now.
            wait_for(lambda: self.ask("program", b"abc", [("QUERY_STRING", "echo")]).status == 200, what="an answer")


if __name__ == "__main__":
    unittest.main()
