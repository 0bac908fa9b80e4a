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


def state(pid):
    """The fields of /proc/PID/stat behind its name: the state, the parent, ..."""
    return read(pid, "stat").rpartition(b")")[2].split()


def runs(pid):
    """False if there is no such process, or only its zombie."""
    return state(pid)[:1] not in ([], [b"Z"])


def parent(pid):
    """None if there is no such process."""
    fields = state(pid)
    return int(fields[1]) if fields else None


def same_program(one, other):
    try:
        return os.path.samefile("/proc/%d/exe" % one, "/proc/%d/exe" % other)
    except OSError:
        return False


def open_files(pid):
    """What its descriptors lead to, a path or the like for each."""
    found = []
    for fd in os.listdir("/proc/%d/fd" % pid):
        try:
            found.append(os.readlink("/proc/%d/fd/%s" % (pid, fd)))
        except FileNotFoundError:
            pass  # closed meanwhile
    return found


def children(pid):
    """The processes that it has started and not reaped."""
    return sorted(int(child) for child in os.listdir("/proc") if child.isdigit() and parent(child) == pid)
