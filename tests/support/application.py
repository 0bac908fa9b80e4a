"""The common ground of tests with applications that the shim starts itself: tests/support/started.c, or any other.

Whatever a test does, in the end no process, file or socket of it may be left.
"""

import os
import re
import tempfile

import fcgi
import processes
from relay import PLAIN, PROXIES, RelayTest, change
from shim import Shim, wait_for

STARTED = os.path.join(os.path.dirname(os.environ["FCGI_TEST_APP"]), "fcgi-test-started")


class ApplicationTest(RelayTest):
    """launch() starts the shim with an application; ask() has it do something, see tests/support/started.c."""

    def launch(self, command=STARTED, upstream="", sections=PROXIES, env=None, **options):
        self.tmp = tempfile.mkdtemp(prefix="realip-tmp-")  # TMPDIR, which started programs inherit, and so a mark
        self.addCleanup(self.check_nothing_is_left, self.tmp)
        ini = "[listen]\naddress = unix:{dir}/shim.sock\n[upstream]\n%s%s\n%s\n" % (
            "command = %s\n" % command if command else "", upstream, sections)
        self.shim = Shim(ini, env={"TMPDIR": self.tmp, **(env or {})}, **options)
        self.addCleanup(self.stop_shim, self.shim)
        self.address = "unix:%s/shim.sock" % self.shim.dir
        return self.shim

    def check_nothing_is_left(self, tmp):
        wait_for(lambda: not processes.with_variable("TMPDIR", tmp), what="all processes to end")
        self.assertEqual(os.listdir(tmp), [])
        os.rmdir(tmp)

    def path(self, name):
        return os.path.join(self.shim.dir, name)

    def ask(self, script, argument="", body=b"", params=PLAIN, client=None):
        params = change(params, ("QUERY_STRING", argument), SCRIPT_NAME=script)
        return client.ask(params, body, keep=True) if client else fcgi.ask(self.address, params, body)

    def get(self, script, argument="", **options):
        response = self.ask(script, argument, **options)
        self.assert_answer(response)
        return response.body.decode()

    def lines(self, script):
        return sorted(self.get(script).splitlines())

    def send(self, script, argument=""):
        """A request whose answer is read later."""
        client = self.client()
        client.send(fcgi.request(change(PLAIN, ("QUERY_STRING", argument), SCRIPT_NAME=script)))
        return client

    def starts(self, at_least=1):
        """The processes that were started so far, according to the log, which may come a little later."""
        def find():
            return [int(pid) for pid in re.findall(r"info: started application [^\[]+\[(\d+)\]", self.shim.log())]
        wait_for(lambda: len(find()) >= at_least, what="%d starts" % at_least)
        return find()

    def pauses(self, log=None):
        log = self.shim.log() if log is None else log
        return [int(pause) for pause in re.findall(r"warning: .*; next start in (\d+) ms$", log, re.M)]

    def began(self, argument):
        """The processes that have got a /wait for this file."""
        folder, name = os.path.split(argument)
        return [int(entry[len(name) + 1:]) for entry in os.listdir(folder) if entry.startswith(name + ".")]

    def hold(self, count=1):
        """So many requests that processes work on until release()."""
        clients = [self.send("/wait", self.path("go")) for _ in range(count)]
        wait_for(lambda: len(self.began(self.path("go"))) >= count, what="the application to work on them")
        return clients

    def release(self):
        open(self.path("go"), "w").close()

    def wait_served(self):
        wait_for(lambda: self.ask("/pid").status == 200, what="the application to serve again")
