#!/usr/bin/env python3
"""The programs and libraries are built with what makes a fault in them harder to use."""

import os
import platform
import re
import shutil
import subprocess
import sys
import unittest

BUILD = os.path.dirname(os.environ["FCGI_REALIP"])
PROGRAM = os.environ["FCGI_REALIP"]
LIBRARIES = [os.path.join(BUILD, name) for name in ("libfcgi-realip.so", "libfcgi-realip-preload.so")]


def read(*arguments):
    return subprocess.run(arguments, stdout=subprocess.PIPE, text=True, check=True).stdout


class Hardening(unittest.TestCase):
    def test_position_independent(self):
        self.assertRegex(read("readelf", "-dW", PROGRAM), r"FLAGS_1\).* PIE")

    def test_relocations_are_read_only(self):
        for file in [PROGRAM] + LIBRARIES:
            self.assertIn("GNU_RELRO", read("readelf", "-lW", file), file)
            self.assertRegex(read("readelf", "-dW", file), r"BIND_NOW|FLAGS_1\).* NOW", file)

    def test_stack(self):
        for file in [PROGRAM] + LIBRARIES:
            self.assertRegex(read("readelf", "-lW", file), r"GNU_STACK .* RW +0x", file)
            self.assertIn("__stack_chk_fail", read("nm", "-D", file), file)

    def test_lengths_are_checked(self):
        with open(os.path.join(BUILD, "CMakeCache.txt")) as file:
            kind = re.search("^CMAKE_BUILD_TYPE:.*=(.*)", file.read(), re.MULTILINE).group(1)
        if kind and not kind.startswith("Rel"):
            self.skipTest("only with optimisation")
        for file in [PROGRAM] + LIBRARIES:
            self.assertRegex(read("nm", "-D", file), r"__\w+_chk\b", file)

    @unittest.skipUnless(platform.machine() == "x86_64", "x86 has it")
    def test_branches_land_where_they_may(self):
        self.assertIn("endbr64", read("objdump", "-d", "--disassemble=main", PROGRAM))


if __name__ == "__main__":
    missing = [name for name in ("readelf", "nm", "objdump") if shutil.which(name) is None]
    if missing:
        print("SKIPPED: not installed:", *missing)
        sys.exit(77)
    unittest.main()
