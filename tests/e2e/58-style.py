#!/usr/bin/env python3
"""The sources are formatted as .clang-format says, and the shell scripts hold what shellcheck looks for."""

import os
import shutil
import subprocess
import unittest

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPTS = ("etc/quickstart", ".ci/run", "tests/fuzz/run", "tests/packages/run", "tests/packages/inside",
           "tests/packages/booted", "packages/debian/postinst", "packages/debian/prerm", "packages/debian/postrm")


def sources(*tops):
    for top in tops:
        for directory, _, names in os.walk(os.path.join(TREE, top)):
            for name in sorted(names):
                if name.endswith((".c", ".h")):
                    yield os.path.join(directory, name)


class Style(unittest.TestCase):
    def run_tool(self, *command):
        if shutil.which(command[0]) is None:
            self.skipTest(command[0] + " is not installed")
        done = subprocess.run(command, cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual(done.returncode, 0, done.stdout[-8000:])

    def test_format(self):
        files = list(sources("src", "include", "tests"))
        self.assertGreater(len(files), 20)
        self.run_tool("clang-format", "--dry-run", "-Werror", *files)

    def test_shell(self):
        self.run_tool("shellcheck", "-x", *SCRIPTS)


if __name__ == "__main__":
    unittest.main()
