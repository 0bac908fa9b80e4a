"""Which processes there are, for tests that count what is left."""

import os


def read(pid, name):
    """A file of /proc/PID; empty if the process is gone meanwhile."""
    try:
        with open("/proc/%s/%s" % (pid, name), "rb") as file:
            return file.read()
    except OSError:
        return b""


def with_variable(name, value):
    """The ids of all living processes that were started with this variable. A zombie has none any more."""
    wanted = ("%s=%s" % (name, value)).encode()
    return sorted(int(pid) for pid in os.listdir("/proc")
                  if pid.isdigit() and wanted in read(pid, "environ").split(b"\0"))


def runs(pid):
    """False if there is no such process, or only its zombie."""
    state = read(pid, "stat").rpartition(b")")[2].split()
    return bool(state) and state[0] != b"Z"
