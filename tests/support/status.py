"""The common ground of the status's tests: asks a shim for its status as a web server would."""

import json
import os
import shutil
import tempfile

import fcgi
from fcgi import Client
from relay import PLAIN, RelayTest, change
from servers import Nginx
from shim import wait_for

STATUS = "[status]\npath = /realip-status\n"


def page_params(query="", client="127.0.0.1", *more, **changed):
    """A request for the status page."""
    params = [("REQUEST_METHOD", "GET"), ("SCRIPT_NAME", "/realip-status"), ("QUERY_STRING", query),
              ("REMOTE_ADDR", client)]
    params = [(name, changed.get(name, value)) for name, value in params]
    return params + list(more)


def ask_page(address, query="", client="127.0.0.1", *more, **changed):
    """The response of the status page, on a connection of its own."""
    with Client(address) as connection:
        return connection.ask(page_params(query, client, *more, **changed))


def read_status(address):
    """The status as JSON has it."""
    response = ask_page(address, "json")
    assert response.status == 200, response
    return json.loads(response.body)


def some(numbers):
    """Those that are not 0."""
    return {name: value for name, value in numbers.items() if value}


def trusted(chain, peer="10.0.0.1"):
    """A request from a trusted peer with this header; None: without."""
    params = change(PLAIN, REMOTE_ADDR=peer)
    return params if chain is None else params + [("HTTP_X_FORWARDED_FOR", chain)]


class NginxStatus(Nginx):
    file = "nginx/fcgi-realip-status.conf"


class StatusTest(RelayTest):
    SECTIONS = "[proxy a]\ntrust = 10.0.0.0/24\n" + STATUS

    def begin(self, script=fcgi.echo, sections="", **options):
        return self.start(script, sections=self.SECTIONS + sections, **options)

    def status(self):
        return read_status(self.address)

    def wait_status(self, section, **wanted):
        """Until the numbers are these; returns the whole status."""
        def reached():
            found = self.status()
            return found if all(found[section][name] == value for name, value in wanted.items()) else None
        try:
            return wait_for(reached)
        except AssertionError:
            self.fail("wanted %r, got %r" % (wanted, self.status()[section]))

    def ask(self, params, body=b"", **options):
        with Client(self.address) as client:
            return client.ask(params, body, **options)

    def assert_page(self, response):
        self.assertEqual((response.end, response.status), ((0, 0), 200), response)
        self.assertTrue(response.body.startswith(b"fcgi-realip "), response)

    def trust_file(self, name, text="192.0.2.0/24\n"):
        if not hasattr(self, "folder"):
            self.folder = tempfile.mkdtemp(prefix="realip-trust-")
            self.addCleanup(shutil.rmtree, self.folder)
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text)
        return path

    HOSTILE = "<script>alert('\"&\\\x00\x1b[2J\xff\n"

    def hostile(self):
        """A shim that knows nasty names, and clients who sent some."""
        path = self.trust_file("odd<b>\"&\\\xe4.txt")
        os.utime(path, (1000000000, 1000000000))
        self.begin(sections="[proxy odd]\ntrust_file = %s\n[access]\ndeny_direct = yes\n" % path)
        for _ in range(3):
            self.assert_refusal(self.ask(change(PLAIN, REMOTE_ADDR=self.HOSTILE)), 403)
        return path
