"""Load: threads that ask without a pause, and remember what was not as it should be."""

import http.client
import threading

from fcgi import Client
from shim import PATIENCE, wait_for


class Load:
    """A context manager: while it lasts, an asker for each thread, made by make_asker(), is called again and again. It
    returns None, or what was wrong; what it raises is wrong, too."""

    def __init__(self, make_asker, threads=8):
        self.done = 0
        self.wrong = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(make_asker,), daemon=True) for _ in range(threads)]

    def _run(self, make_asker):
        asker = make_asker()
        while not self._over.is_set():
            try:
                fault = asker()
            except (OSError, AssertionError, http.client.HTTPException) as error:
                fault = repr(error)
                asker.close()
            with self._lock:
                self.done += 1
                if fault:
                    self.wrong.append(fault)
        asker.close()

    def wait_more(self, count):
        """Until so many more requests are done."""
        goal = self.done + count
        wait_for(lambda: self.done >= goal or self.wrong, what="%d more requests" % count)

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE)
            if thread.is_alive():
                self.wrong.append("a thread that does not end: its request is never answered")


class HttpAsker:
    """Asks a web server, on one kept connection or on one each time; check(status, body) says what is wrong."""

    def __init__(self, port, path, check, headers=(), kept=True):
        self.port, self.path, self.check, self.headers, self.kept = port, path, check, dict(headers), kept
        self.connection = None

    def __call__(self):
        if self.connection is None:
            self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        self.connection.request("GET", self.path, headers=self.headers)
        answer = self.connection.getresponse()
        fault = self.check(answer.status, answer.read())
        if not self.kept or answer.will_close:
            self.close()
        return fault

    def close(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


class FcgiAsker:
    """The same with FastCGI; check(response)."""

    def __init__(self, address, params, check, kept=True):
        self.address, self.params, self.check, self.kept = address, params, check, kept
        self.client = None

    def __call__(self):
        if self.client is None:
            self.client = Client(self.address)
        fault = self.check(self.client.ask(self.params, keep=self.kept))
        if not self.kept:
            self.close()
        return fault

    def close(self):
        if self.client is not None:
            self.client.close()
        self.client = None
