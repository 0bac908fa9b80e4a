"""Has the shim's system calls fail when a test says so: tests/support/faults.h, preloaded.

    faults = Faults()
    shim = Shim(ini, env=faults.env)
    with faults.fail("recv", errno.EINTR, first=3):    # the third call from now on
        ...

A call is named as in C, with "uv:" before it if libuv makes it.
"""

import contextlib
import ctypes
import mmap
import os
import struct
import tempfile

LIBRARY = os.path.join(os.path.dirname(os.environ["FCGI_TEST_APP"]), "libfcgi-test-faults.so")
HEAD, FAULT = struct.Struct("q"), struct.Struct("QQQQqQQ")
CALLERS = ("", "uv:")
ALWAYS = 1 << 62
STOPS = -1  # instead of an errno: the process stands still, and then makes the call
STOPS_BEHIND = -2  # the other way round; epoll_wait alone


def _names():
    found, at = [], (ctypes.c_char_p * 1000).in_dll(ctypes.CDLL(LIBRARY), "fault_names")
    for name in at:
        if name is None:
            return found
        found.append(name.decode())


class Faults:
    def __init__(self):
        names = [caller + name for name in _names() for caller in CALLERS]
        self.places = {name: HEAD.size + FAULT.size * i for i, name in enumerate(names)}
        self.file = tempfile.NamedTemporaryFile(prefix="faults-")
        self.file.truncate(HEAD.size + FAULT.size * len(names))
        self.map = mmap.mmap(self.file.fileno(), 0)
        asan = "verify_asan_link_order=0"
        if os.environ.get("ASAN_OPTIONS"):
            asan = os.environ["ASAN_OPTIONS"] + ":" + asan
        self.env = {"LD_PRELOAD": LIBRARY, "FAULTS_CONTROL": self.file.name, "ASAN_OPTIONS": asan}

    def close(self):
        self.map.close()
        self.file.close()

    def _get(self, name):
        return FAULT.unpack_from(self.map, self.places[name])

    def calls(self):
        """How often each was called so far, those that were."""
        return {name: self._get(name)[0] for name in self.places if self._get(name)[0]}

    def hits(self, name):
        return self._get(name)[5]

    def where(self, name):
        """The caller of the last one that failed, an address for addr2line."""
        return self._get(name)[6]

    def set(self, name, error=0, first=1, times=1, most=0):
        """From the call 'first' on (1: the next), so many times, fails with the errno, or moves so many bytes at
        most."""
        place, calls = self.places[name], self._get(name)[0]
        FAULT.pack_into(self.map, place, calls, calls + first, 0, most, error, 0, 0)
        struct.pack_into("Q", self.map, place + 16, times)  # from now on it counts

    def clear(self, name):
        struct.pack_into("Q", self.map, self.places[name] + 16, 0)

    @contextlib.contextmanager
    def fail(self, name, *args, **options):
        self.set(name, *args, **options)
        try:
            yield
        finally:
            self.clear(name)

    def shift(self, seconds):
        """The time of day, from now on, by so much away from the true one."""
        HEAD.pack_into(self.map, 0, seconds)
