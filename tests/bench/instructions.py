#!/usr/bin/env python3
"""What a request costs in instructions: a count that does not depend on what else the machine does.

    tests/bench/instructions.py --bin PATH/fcgi-realip [--raise]

Two counts, by callgrind, a request each: micro, what bench-micro does (decode, decide and rewrite 1.1 KB of parameters,
three hops), and shim, what the whole shim needs in its own process to relay such a request on a kept connection to an
application on another; the kernel's part is not in it. Both are the difference of a long and a short run by the
difference of their requests, so that the start does not count.

instructions.json is the baseline: the counts, and what they hold for (compiler, build type, architecture, libraries).
The test e2e-53-instructions compares: a count of more than 5 % over the baseline fails. If that is on purpose, say
why in the commit and take the new counts along with --raise, which writes the file anew. Elsewhere than where the
baseline was taken the counts are shown, nothing is judged, and the exit status is 77.
"""

import argparse
import json
import os
import pathlib
import platform
import re
import subprocess
import sys
import tempfile

sys.dont_write_bytecode = True

from common import Failure, Process, find, find_programs, run_load
from servers import Shim

BASELINE = pathlib.Path(__file__).resolve().parent / "instructions.json"
ALLOWED = 1.05
MICRO = (2000, 6000)  # requests of the short and the long run
SHIM = (500, 2500)


def describe_build(build):
    """What the counts depend on beside the sources: of a build folder and of this machine."""
    cache = pathlib.Path(build, "CMakeCache.txt").read_text()
    compiler = next(pathlib.Path(build, "CMakeFiles").glob("*/CMakeCCompiler.cmake")).read_text()
    named = {name: re.search(rf'set\({name} "([^"]*)"\)', compiler)[1]
             for name in ("CMAKE_C_COMPILER_ID", "CMAKE_C_COMPILER_VERSION")}
    libuv = subprocess.run(["pkg-config", "--modversion", "libuv"], stdout=subprocess.PIPE, text=True).stdout.strip()
    valgrind = subprocess.run([find("valgrind", "valgrind"), "--version"], stdout=subprocess.PIPE, text=True).stdout
    return {
        "compiler": named["CMAKE_C_COMPILER_ID"], "compiler_version": named["CMAKE_C_COMPILER_VERSION"],
        "build_type": re.search(r"^CMAKE_BUILD_TYPE:\w+=(.*)$", cache, re.M)[1],
        "flags": re.search(r"^CMAKE_C_FLAGS:\w+=(.*)$", cache, re.M)[1],
        "architecture": platform.machine(), "libuv": libuv, "libc": " ".join(platform.libc_ver()),
        "valgrind": valgrind.strip(),
        # libc chooses its copying and searching functions by these.
        "processor": [flag for flag in ("avx2", "bmi2") if flag in read_processor_flags()],
    }


def read_processor_flags():
    return re.findall(r"^(?:flags|Features)\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)[:1][0].split()


def callgrind(command):
    return [find("valgrind", "valgrind"), "--tool=callgrind", "--callgrind-out-file=/dev/null", *command]


def read_count(text):
    found = re.search(r"^==\d+== Collected : (\d+)$", text, re.M)
    if found is None:
        raise Failure(f"callgrind did not say how much it counted:\n{text[-2000:]}")
    return int(found[1])


def count_micro(micro, requests):
    done = subprocess.run(callgrind([micro, "-r", "1000", "-n", str(requests)]), stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise Failure(f"bench-micro under callgrind ended with status {done.returncode}:\n{done.stdout[-2000:]}")
    return read_count(done.stdout)


def count_shim(tools, command, requests, folder):
    """One run of the shim, with one connection on which so many requests follow each other."""
    os.mkdir(folder)
    app = f"unix:{folder}/app.sock"
    shim = Shim(callgrind(command))
    shim.config += "\n[process]\nsandbox = no\n"  # valgrind itself calls what is forbidden in it
    with Process("responder", [tools["responder"], app], app, f"{folder}/responder.log"):
        with shim.start(folder, app, 1) as process:
            result = run_load(tools["load"], process.address, shim, ["-n", str(requests), "-c", "1"])
            process.stop()
            if result["errors"]:
                raise Failure(f"the shim under callgrind: {result['errors']} wrong answers:\n{process.errors()}")
            return read_count(process.errors())


def count_all(tools, command, folder):
    """{"micro", "shim"}: instructions a request. The folder is made."""
    os.mkdir(folder)
    micro = [count_micro(tools["micro"], requests) for requests in MICRO]
    shim = [count_shim(tools, command, requests, f"{folder}/{requests}") for requests in SHIM]
    return {"micro": round((micro[1] - micro[0]) / (MICRO[1] - MICRO[0]), 1),
            "shim": round((shim[1] - shim[0]) / (SHIM[1] - SHIM[0]), 1)}


def compare(counts, build):
    """Prints it. 0: within what is allowed, 1: not, 77: the baseline is of another build or machine."""
    baseline = json.loads(BASELINE.read_text())
    other = [f"{key} {build.get(key)}, not {value}" for key, value in baseline["build"].items() if build.get(key) != value]
    status = 0
    for name, count in counts.items():
        ratio = count / baseline["counts"][name]
        print(f"{name:6}{count:9.1f} instructions a request, baseline {baseline['counts'][name]:9.1f}, "
              f"{100 * (ratio - 1):+.1f} %")
        if ratio > ALLOWED:
            status = 1
    if other:
        print(f"NOT JUDGED: the baseline is of another build or machine: {'; '.join(other)}")
        return 77
    if all(count * ALLOWED < baseline["counts"][name] for name, count in counts.items()):
        print("All counts are far below the baseline: --raise would keep what was gained.")
    if status:
        print(f"FAILED: more than {100 * (ALLOWED - 1):.0f} % over the baseline. If that is on purpose, say why in the "
              "commit and add\nwhat `tests/bench/instructions.py --bin PATH/fcgi-realip --raise` writes.")
    return status


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", required=True, help="the fcgi-realip of a release build")
    parser.add_argument("--raise", action="store_true", dest="raised", help="write the counts as the new baseline")
    options = parser.parse_args()
    build = pathlib.Path(options.bin).resolve().parent
    if re.search(r"^SANITIZE:BOOL=ON$", (build / "CMakeCache.txt").read_text(), re.M):
        print("NOT JUDGED: programs with sanitizers do not run under callgrind")
        return 77
    try:
        with tempfile.TemporaryDirectory(prefix="fcgi-realip-bench-") as folder:
            counts = count_all(find_programs(options.bin), [options.bin], folder + "/counts")
        described = describe_build(build)
    except Failure as failure:
        print(f"instructions: {failure}", file=sys.stderr)
        return 2
    if options.raised:
        BASELINE.write_text(json.dumps({"counts": counts, "build": described}, indent=1) + "\n")
        print(f"{BASELINE}: {counts}")
        return 0
    return compare(counts, described)


if __name__ == "__main__":
    sys.exit(main())
