#!/usr/bin/env python3
"""gcc -fanalyzer and cppcheck find nothing in src/ but what is known, and said here, to be none."""

import concurrent.futures
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import unittest

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SRC = os.path.join(TREE, "src")
DATABASE = os.path.join(os.path.dirname(os.environ["FCGI_REALIP"]), "compile_commands.json")

GCC_OPTIONS = [
    "-fanalyzer",
    # Before gcc 13 it forgets an allocation that is stored in a struct which somebody else points to, and calls that
    # a leak; each of the hundreds of tests that allocate would show a real one to LeakSanitizer and valgrind.
    "-Wno-analyzer-malloc-leak",
]

CPPCHECK_OPTIONS = ["--quiet", "--enable=warning,performance,portability", "--inline-suppr", "--error-exitcode=1"]


def read_commands():
    """A command for each file in src/, as the build has it."""
    with open(DATABASE) as file:
        entries = {entry["file"]: entry for entry in json.load(file)}
    return {path: entry for path, entry in sorted(entries.items()) if path.startswith(SRC + os.sep)}


class Analyzers(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.commands = read_commands()
        self.assertGreater(len(self.commands), 20)

    @unittest.skipIf(shutil.which("gcc") is None, "gcc is not installed")
    def test_gcc(self):
        def check(entry):
            # Analysed as one file each: with link-time optimisation it would come when the program is linked.
            words = [word for word in shlex.split(entry["command"])[1:] if not re.match("-flto|-f.*fat-lto", word)]
            words[words.index("-o") + 1] = os.devnull
            done = subprocess.run(["gcc", *words, *GCC_OPTIONS], cwd=entry["directory"], stdout=subprocess.PIPE,
                                  stderr=subprocess.STDOUT, text=True)
            return done.stdout if done.returncode != 0 else ""
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            self.assertEqual("", "".join(pool.map(check, self.commands.values())))

    @unittest.skipIf(shutil.which("cppcheck") is None, "cppcheck is not installed")
    def test_cppcheck(self):
        done = subprocess.run(["cppcheck", *CPPCHECK_OPTIONS, f"--project={DATABASE}", f"--file-filter={SRC}/*"],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.assertEqual((0, ""), (done.returncode, done.stdout))


if __name__ == "__main__":
    if shutil.which("gcc") is None and shutil.which("cppcheck") is None:
        print("SKIPPED: neither gcc nor cppcheck is installed")
        sys.exit(77)
    unittest.main()
