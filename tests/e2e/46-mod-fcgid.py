#!/usr/bin/env python3
"""Apache's mod_fcgid starts the shim, which starts the application: with the files in etc/apache, and what is left when
one of the three ends."""

import http.client
import json
import os
import pwd
import re
import shutil
import signal
import sys
import tempfile
import unittest
import urllib.request

import processes
from servers import ROOT, Apache, shipped
from shim import PATIENCE, SANITIZER, program, wait_for

STARTED = os.path.join(os.path.dirname(os.environ["FCGI_TEST_APP"]), "fcgi-test-started")
LINE = '"/usr/local/bin/fcgi-realip -c /etc/fcgi-realip/fcgid.ini -- /usr/bin/php-cgi"'
MISSING = [what for what, is_there in (
    ("apache2", Apache.installed()), ("libapache2-mod-fcgid", os.path.exists("/usr/lib/apache2/modules/mod_fcgid.so")),
    ("php-cgi", shutil.which("php-cgi"))) if not is_there]
if MISSING:
    sys.stderr.write("NOT INSTALLED: %s\n" % " ".join(MISSING))
    sys.exit(77)


class Fcgid(Apache):
    """application: instead of /usr/bin/php-cgi. Everything that it starts has TMPDIR = .tmp in its environment."""

    modules = ("mpm_event", "authz_core", "dir", "mime", "fcgid")

    def __init__(self, application="/usr/bin/php-cgi", edits=(), ini_edits=(), most=1):
        self.tmp = tempfile.mkdtemp(prefix="realip-tmp-")
        os.chmod(self.tmp, 0o777)  # Apache as root starts programs as another user
        super().__init__("unix:unused", edits)
        # One process: the next request may come before mod_fcgid has the process of the last one back.
        self.extra = "FcgidIPCDir %s\nFcgidProcessTableFile %s\nFcgidInitialEnv TMPDIR %s\n" \
                     "FcgidMaxProcessesPerClass %d\n" % (
                         self.folder("sockets"), self.path("table"), self.tmp, most)
        self.application = application
        self.ini_edits = ini_edits

    def folder(self, name):
        os.mkdir(self.path(name))
        os.chmod(self.path(name), 0o777)
        return self.path(name)

    def site(self):
        shutil.copy(program(), self.path("fcgi-realip"))  # where every user can get at it
        shutil.copy(STARTED, self.path("started"))
        self.write("fcgid.ini", shipped("apache/fcgid.ini", [("trust = 192.0.2.10, 192.0.2.11", "trust = 127.0.0.1"),
                                                             *self.ini_edits]))
        line = '"%s -c %s -- %s"' % (self.path("fcgi-realip"), self.path("fcgid.ini"),
                                     self.application.replace("{dir}", self.dir))
        return shipped("apache/fcgid.conf", [
            ("<VirtualHost *:80>", "<VirtualHost *:%d>" % self.port), ("/var/www/html", self.www), (LINE, line),
            *self.edits])

    def processes(self):
        """Shims and applications, and not Apache's own."""
        return processes.with_variable("TMPDIR", self.tmp)

    def shims(self):
        return [pid for pid in self.processes() if b"fcgid.ini" in processes.read(pid, "cmdline")]

    def applications(self):
        return sorted(set(self.processes()) - set(self.shims()))

    def stop(self):
        try:
            super().stop()
        finally:
            shutil.rmtree(self.tmp, ignore_errors=True)

    def ask(self, path="index.php?json", body=None, **headers):
        request = urllib.request.Request("http://127.0.0.1:%d/%s" % (self.port, path), body, headers)
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            return response.read()

    def serves(self):
        try:
            return bool(self.ask())
        except (OSError, http.client.HTTPException):
            return False


class ModFcgid(unittest.TestCase):
    def start(self, *arguments, **options):
        server = Fcgid(*arguments, **options)
        self.addCleanup(self.finish, server)
        server.__enter__()
        return server

    def finish(self, server):
        """Whatever has happened: when Apache has stopped, nothing that it started is left."""
        text = server.log()
        if server.process:
            self.stop(server)
            text = server.log()
        server.stop()
        self.assertIsNone(SANITIZER.search(text), text)

    def signal(self, server, number):
        """Tells Apache to end what it has started, and waits for that."""
        before = server.processes()
        parents = {pid: processes.parent(pid) for pid in server.shims()}
        server.process.send_signal(number)

        def ended():
            # Apache waits for a few seconds until it kills mod_fcgid's process, which on a machine that stood still may
            # have told nobody yet.
            for pid in [pid for pid, parent in parents.items() if processes.parent(pid) not in (parent, None)]:
                del parents[pid]
                if os.path.exists("/proc/%d/fd/0" % pid):  # nor does it know it from TERM
                    try:
                        os.kill(pid, signal.SIGTERM)
                    except ProcessLookupError:
                        pass  # it was just ending
            return not any(processes.runs(pid) for pid in before)
        wait_for(ended, what="all that Apache had started to end")

    def stop(self, server):
        self.signal(server, server.stop_signal)
        server.process.wait(PATIENCE)
        server.end()
        wait_for(lambda: not server.processes(), what="all that Apache started to end")
        self.assertEqual(os.listdir(server.tmp), [])

    def test_client(self):
        server = self.start()
        for forwarded, client in (("203.0.113.7", "203.0.113.7"), ("198.51.100.9, 203.0.113.7", "203.0.113.7"),
                                  ("127.0.0.1", "127.0.0.1"), ("nonsense", "127.0.0.1"), ("", "127.0.0.1")):
            seen = json.loads(server.ask(**{"X-Forwarded-For": forwarded}))["params"]
            self.assertEqual((seen["REMOTE_ADDR"], seen["REALIP_REMOTE_ADDR"]), (client, "127.0.0.1"), forwarded)
        body = b"x" * 3000000  # larger than what mod_fcgid takes of itself
        self.assertEqual(json.loads(server.ask(body=body))["body_length"], len(body))
        self.assertEqual(len(server.ask("index.php?size=3000000")), 3000000)
        self.assertEqual((len(server.shims()), len(server.applications())), (1, 1))
        if ROOT:
            for pid in server.processes():
                self.assertEqual(os.stat("/proc/%d" % pid).st_uid, pwd.getpwnam("www-data").pw_uid)

    def test_untrusted_peer(self):
        server = self.start(ini_edits=[("trust = 127.0.0.1", "trust = 192.0.2.10")])
        seen = json.loads(server.ask(**{"X-Forwarded-For": "203.0.113.7"}))["params"]
        self.assertEqual(seen["REMOTE_ADDR"], "127.0.0.1")
        self.assertNotIn("HTTP_X_FORWARDED_FOR", seen)

    def test_limits_of_a_line(self):
        """mod_fcgid's FCGID_PATH_MAX and FCGID_CMDLINE_MAX, with room for paths of one's own."""
        text = shipped("apache/fcgid.conf", [])
        line = re.search(r'^    FcgidWrapper "(.*)" \.php$', text, re.MULTILINE).group(1)
        self.assertEqual('"%s"' % line, LINE)
        self.assertLess(len(line), 512 / 2)
        self.assertLess(len(line.split()[0]), 256 / 2)

    def test_end_of_php_after_so_many_requests(self):
        """Apache does not notice."""
        server = self.start(edits=[("PHP_FCGI_MAX_REQUESTS 1000", "PHP_FCGI_MAX_REQUESTS 3")],
                            ini_edits=[("level = warning", "level = info")])
        for _ in range(20):
            self.assertTrue(server.ask())
        self.assertEqual(len(server.shims()), 1)
        ends = re.findall(r"php-cgi\[\d+\] exited with status 0 after \d+ ms; starting another", server.log())
        self.assertEqual(len(ends), 6)
        self.assertNotIn("warning", re.sub(r"\[fcgid:warn\].*", "", server.log()))

    def test_graceful_restart(self):
        server = self.start()
        server.ask()
        before = server.processes()
        self.assertEqual(len(before), 2)
        self.signal(server, signal.SIGUSR1)
        wait_for(server.serves, what="the new ones to serve")
        self.assertFalse(set(before) & set(server.processes()))
        self.stop(server)

    def test_term_reaches_the_application(self):
        server = self.start("{dir}/started -t {dir}/noted/term")
        server.folder("noted")
        server.ask("index.php")
        self.stop(server)
        with open(server.path("noted/term")) as file:
            self.assertEqual(file.read(), "TERM\n")

    def test_application_that_does_not_mind_term(self):
        """It ends all the same, by the shim or with it."""
        server = self.start("{dir}/started -i")
        server.ask("index.php")
        self.assertEqual(len(server.applications()), 1)
        self.stop(server)

    def test_kill_of_the_shim(self):
        """As mod_fcgid does it, should it have to."""
        for application in ("/usr/bin/php-cgi", "{dir}/started -i"):
            with self.subTest(application):
                server = self.start(application, most=2)  # a killed one counts for some seconds
                server.ask("index.php")
                shims, applications = server.shims(), server.applications()
                self.assertEqual((len(shims), len(applications)), (1, 1))
                os.kill(shims[0], signal.SIGKILL)
                wait_for(lambda: not processes.runs(applications[0]), what="the application to end")
                wait_for(server.serves, what="the next ones to serve")
                self.assertEqual(len(server.shims()), 1)


if __name__ == "__main__":
    unittest.main()
