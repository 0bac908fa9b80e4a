#!/usr/bin/env python3
"""clang-tidy, as .clang-tidy says, finds nothing in src/."""

import concurrent.futures
import json
import os
import shutil
import subprocess
import sys
import unittest

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.dirname(os.environ["FCGI_REALIP"])
# Of each function; clang's own limit of 225000 takes three times as long. TIDY_NODES=225000 looks that far.
NODES = os.environ.get("TIDY_NODES", "75000")


class Tidy(unittest.TestCase):
    def test_src(self):
        with open(os.path.join(BUILD, "compile_commands.json")) as file:
            known = {entry["file"] for entry in json.load(file)}
        files = sorted(path for path in known if path.startswith(os.path.join(TREE, "src") + os.sep))
        self.assertGreater(len(files), 20)

        def check(path):
            # The build's compiler may be gcc, with options that clang ignores.
            options = ["-Wno-ignored-optimization-argument",
                       "-Xclang", "-analyzer-config", "-Xclang", "max-nodes=" + NODES]
            done = subprocess.run(["clang-tidy", "--quiet", *("--extra-arg=" + option for option in options),
                                   "-p", BUILD, path],
                                  cwd=TREE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            return done.returncode, done.stdout
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            results = list(pool.map(check, files))
        found = [text for status, text in results if status != 0]
        if found:
            self.fail("\n".join(found))


if __name__ == "__main__":
    if shutil.which("clang-tidy") is None:
        print("SKIPPED: clang-tidy is not installed")
        sys.exit(77)
    unittest.main()
