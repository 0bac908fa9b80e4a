"""CGI programs where the machine is short of something."""

import resource
import sys
import unittest

from shim import Shim


class Shortage(unittest.TestCase):
    def test_no_threads(self):
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


if __name__ == "__main__":
    unittest.main()
