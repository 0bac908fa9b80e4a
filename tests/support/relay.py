"""The common ground of the relay's tests: a shim between a raw client and a raw (or libfcgi) application."""

import sys
import unittest

from fcgi import Client, Responder, as_list, echo
from shim import Shim, wait_for

# A request of which the shim changes nothing: its peer is trusted by nobody and it has no managed header.
PLAIN = [
    ("REQUEST_METHOD", "GET"),
    ("SCRIPT_NAME", "/index"),
    ("REMOTE_ADDR", "192.0.2.1"),
    ("REMOTE_PORT", "4711"),
]
POST = [("REQUEST_METHOD", "POST")] + PLAIN[1:]


PROXIES = """
[proxy test]
trust = 10.0.0.0/8
"""


def change(params, *more, **changed):
    """params with some values changed (None: taken out) and others behind them."""
    params = [(name, changed.get(name, value)) for name, value in params if changed.get(name, value) is not None]
    return params + list(more)


def tell_remote_addr(connection):
    """A script: the answer is who the client is."""
    while True:
        now = connection.read_request()
        if now is None:
            return
        connection.reply(now.get("REMOTE_ADDR")[0])
        if not now.keep:
            return


class RelayTest(unittest.TestCase):
    """start() gives self.shim, self.app and self.address; all is stopped and checked when the test ends."""

    maxDiff = 4000

    def start(self, script=echo, upstream="", sections=PROXIES, listen=None, app=None, address=None, sandbox=True,
              **options):
        """upstream: more lines for [upstream]; sections: more of the file; listen: the lines of [listen];
        app: what to connect to instead of a Responder of its own, which else runs script at address; sandbox: without
        one, and with one worker, there is no master, and a reload may do anything."""
        self.app = None
        if app is None:
            self.app = Responder(script, address)
            self.addCleanup(self.stop_app, self.app)
            app = self.app.address
        listen = listen or "address = unix:{dir}/shim.sock"
        ini = "[listen]\n%s\n\n[upstream]\naddress = %s\n%s\n\n%s\n" % (listen, app, upstream, sections)
        if not sandbox:
            ini += "[process]\nsandbox = no\n"
        self.shim = Shim(ini, **options)
        self.addCleanup(self.stop_shim, self.shim)
        self.address = "unix:%s/shim.sock" % self.shim.dir
        return self.shim

    def passed(self):
        outcome = getattr(self, "_outcome", None)
        return getattr(outcome, "success", True)

    def stop_app(self, app):
        app.close()
        if self.passed():
            app.raise_errors()
        elif app.errors:
            sys.stderr.write("the application's errors: %r\n" % app.errors)

    def stop_shim(self, shim):
        if not self.passed():
            sys.stderr.write("\n%s: the shim's log, its last 4000 characters:\n%s\n" % (self.id(), shim.log()[-4000:]))
        if shim.status is None:
            self.assertEqual(shim.stop(), 0, "exit status after TERM; log:\n" + shim.log())
        else:
            shim.stop()

    def client(self, address=None, **options):
        """A connected raw client, closed when the test ends."""
        client = Client(address or self.address, **options)
        self.addCleanup(client.close)
        return client

    def assert_answer(self, response, body=None, status=200):
        self.assertEqual(response.end, (0, 0), response)
        self.assertEqual(response.status, status, response)
        if body is not None:
            self.assertEqual(response.body, body, response)

    def assert_refusal(self, response, status):
        """A page of the shim's own: SPEC's form of it."""
        self.assertEqual(response.end, (0, 0), response)
        self.assertEqual(response.status, status, response)
        self.assertTrue(response.head["status"].startswith("%d " % status), response.head)
        self.assertEqual(response.head["content-type"], "text/plain", response.head)
        self.assertTrue(0 < len(response.body) < 500, response.body)
        self.assertEqual(response.stderr, b"")

    def assert_cut(self, response):
        """Response bytes came, then the connection closed without END_REQUEST."""
        self.assertIsNone(response.end, response)

    def assert_params(self, got, wanted):
        self.assertEqual(got, as_list(wanted))

    def assert_alive(self):
        """The shim still serves (with the application as it stands)."""
        self.assertTrue(self.shim.running(), self.shim.log())
        with Client(self.address) as client:
            response = client.ask(PLAIN)
        self.assertEqual(response.end, (0, 0), response)

    def wait(self, condition, what="the condition"):
        return wait_for(condition, what=what)
