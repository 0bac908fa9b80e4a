#!/usr/bin/env python3
"""The hot path needs no more instructions than tests/bench/instructions.json says, give or take 5 %.

Skipped, loudly, where the baseline is of another compiler, build or machine: tests/bench/instructions.py has the rules,
and the command that raises the baseline on purpose.
"""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SCRIPT = os.path.join(TREE, "tests", "bench", "instructions.py")
sys.path.insert(0, os.path.dirname(SCRIPT))

import instructions


def judge(factor, **changed):
    """Status and text for the baseline's own counts times the factor, in a build that differs in what is given."""
    baseline = json.loads(instructions.BASELINE.read_text())
    counts = {name: count * factor for name, count in baseline["counts"].items()}
    with contextlib.redirect_stdout(io.StringIO()) as text:
        status = instructions.compare(counts, dict(baseline["build"], **changed))
    return status, text.getvalue()


def check_judgement():
    """A test that lets everything pass would look the same as one that has nothing to say."""
    assert judge(1.04)[0] == 0
    status, text = judge(1.06)
    assert status == 1 and "FAILED" in text and "--raise" in text, text
    status, text = judge(1.06, compiler_version="1.2.3")
    assert status == 77 and "NOT JUDGED" in text and "compiler_version 1.2.3" in text, text
    assert judge(1.0, architecture="other")[0] == 77


def main():
    check_judgement()
    if shutil.which("valgrind") is None:
        print("SKIPPED: valgrind is not installed")
        return 77
    return subprocess.run([sys.executable, SCRIPT, "--bin", os.environ["FCGI_REALIP"]]).returncode


if __name__ == "__main__":
    sys.exit(main())
