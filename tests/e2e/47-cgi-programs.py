#!/usr/bin/env python3
"""Real CGI programs behind nginx, with the files of etc/cgi/ and etc/nginx/cgi.conf: a shell script, gitweb, cgit, and
git's own, through which a repository is cloned and pushed to."""

import http.client
import os
import shutil
import subprocess
import tempfile
import unittest

from sameanswer import skip_unless_installed
from servers import Nginx, shipped
from shim import PATIENCE, Shim

skip_unless_installed(Nginx)

PROGRAMS = {"gitweb": "/usr/share/gitweb/gitweb.cgi", "cgit": "/usr/lib/cgit/cgit.cgi",
            "git": "/usr/lib/git-core/git-http-backend"}
CLIENT = "203.0.113.7"
SCRIPT = """#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
printf '%s|' "$REMOTE_ADDR" "$SCRIPT_NAME" "$PATH_INFO" "$QUERY_STRING" "$REQUEST_METHOD" "$CONTENT_LENGTH"
exec cat
"""
# nginx sends no more of a body once the answer has begun.
LENGTH = """#!/bin/sh
length=$(wc -c)
printf 'Content-Type: text/plain\\r\\n\\r\\n%s' "$length"
"""


class CgiNginx(Nginx):
    file = "nginx/cgi.conf"

    def __init__(self, directory):
        super().__init__("unix:%s/fcgi-realip.sock" % directory, edits=[
            *(("/run/fcgi-realip/%s.sock" % name, "%s/%s.sock" % (directory, name)) for name in PROGRAMS),
            ("/usr/lib$fastcgi_script_name", directory + "$fastcgi_script_name"),
            ("/etc/gitweb.conf", directory + "/gitweb.conf"), ("/etc/cgitrc", directory + "/cgitrc"),
            ("/srv/git;", directory + "/repositories;")])


def needs(name):
    return unittest.skipUnless(os.access(PROGRAMS[name], os.X_OK), PROGRAMS[name] + " is not installed")


class Programs(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="programs-")
        os.chmod(self.dir, 0o755)
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)
        self.address = "http://127.0.0.1:%d" % self.serve()

    def serve(self):
        server = CgiNginx(self.dir)
        server.__enter__()
        self.addCleanup(server.stop)
        return server.port

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text, mode=0o644):
        os.makedirs(os.path.dirname(self.path(name)), exist_ok=True)
        with open(self.path(name), "w") as file:
            file.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)

    def start(self, name, *edits):
        """The shim of etc/cgi/NAME.ini."""
        ini = shipped("cgi/%s.ini" % name, [("/run/fcgi-realip", self.dir), *edits])
        shim = Shim(ini)
        self.addCleanup(self.stop, shim)
        return shim

    def stop(self, shim):
        if not getattr(getattr(self, "_outcome", None), "success", True):
            print(shim.log())
        self.assertEqual(shim.stop(), 0, shim.log())

    def ask(self, target, method="GET", body=None, headers=()):
        connection = http.client.HTTPConnection(self.address[len("http://"):], timeout=PATIENCE)
        try:
            connection.request(method, target, body, {"X-Forwarded-For": "198.51.100.66, " + CLIENT, **dict(headers)})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def git(self, *arguments, where="."):
        settings = ["user.name=A U Thor", "user.email=author@example.com", "init.defaultBranch=main", "gc.auto=0",
                    "http.postBuffer=65536"]
        environment = {"PATH": os.environ["PATH"], "HOME": self.dir, "LC_ALL": "C", "GIT_CONFIG_NOSYSTEM": "1"}
        result = subprocess.run(["git", *(word for setting in settings for word in ("-c", setting)), *arguments],
                                cwd=self.path(where), env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, timeout=4 * PATIENCE)
        self.assertEqual(result.returncode, 0, result.stdout.decode(errors="replace"))
        return result.stdout.decode()

    def make_repository(self):
        """repositories/project.git, with one commit; work/ has it checked out."""
        os.makedirs(self.path("repositories"))
        self.git("init", "-q", "--bare", "repositories/project.git")
        self.git("config", "http.receivepack", "true", where="repositories/project.git")
        self.write("repositories/project.git/description", "A project for a test\n")
        self.git("init", "-q", "work")
        self.write("work/README", "read me first\n")
        self.git("add", "README", where="work")
        self.git("commit", "-q", "-m", "The first of all commits", where="work")
        self.git("push", "-q", self.path("repositories/project.git"), "main", where="work")

    def test_directory_of_programs(self):
        self.write("cgi-bin/hello", SCRIPT, 0o755)
        self.write("cgi-bin/plain", SCRIPT)
        self.start("cgi-bin", ("/usr/lib/cgi-bin", self.path("cgi-bin")))
        self.assertEqual(self.ask("/cgi-bin/hello?a=b"), (200, CLIENT + "|/cgi-bin/hello||a=b|GET||"))
        self.assertEqual(self.ask("/cgi-bin/hello/x%20y", "POST", "the body"),
                         (200, CLIENT + "|/cgi-bin/hello|/x y||POST|8|the body"))
        self.write("cgi-bin/length", LENGTH, 0o755)
        self.assertEqual(self.ask("/cgi-bin/length", "POST", "x" * 3000000), (200, "3000000"))
        self.assertEqual(self.ask("/cgi-bin/none")[0], 404)
        self.assertEqual(self.ask("/cgi-bin/plain")[0], 403)

    @needs("gitweb")
    @needs("git")
    def test_gitweb(self):
        self.make_repository()
        self.write("gitweb.conf", '$projectroot = "%s";\n' % self.path("repositories"))
        self.start("gitweb")
        for target, wanted in (("/gitweb", "A project for a test"), ("/gitweb/", "project.git"),
                               ("/gitweb/project.git", "The first of all commits"),
                               ("/gitweb?p=project.git;a=summary", "The first of all commits"),
                               ("/gitweb/project.git/blob_plain/main:/README", "read me first\n")):
            status, body = self.ask(target)
            self.assertEqual(status, 200, body)
            self.assertIn(wanted, body)
        status, body = self.ask("/gitweb?p=none.git;a=summary")
        self.assertEqual(status, 404)
        self.assertIn("No such project", body)
        self.assertEqual(self.ask("/gitweb/static/gitweb.css")[0], 200)

    @needs("cgit")
    @needs("git")
    def test_cgit(self):
        self.make_repository()
        self.write("cgitrc", "virtual-root=/cgit\nscan-path=%s\n" % self.path("repositories"))
        self.start("cgit")
        for target, wanted in (("/cgit", "project.git"), ("/cgit/", "A project for a test"),
                               ("/cgit/project.git/log/", "The first of all commits"),
                               ("/cgit/project.git/plain/README", "read me first\n")):
            status, body = self.ask(target)
            self.assertEqual(status, 200, body)
            self.assertIn(wanted, body)
        self.assertEqual(self.ask("/cgit/none.git")[0], 404)

    @needs("git")
    def test_clone_and_push(self):
        """Both ways at once, in chunks of unknown number: git talks while it is told."""
        self.make_repository()
        self.start("git")
        address = self.address + "/git/project.git"
        self.git("clone", "-q", address, "clone")
        self.assertEqual(self.git("log", "--format=%s", where="clone"), "The first of all commits\n")
        with open(self.path("clone/large"), "wb") as file:
            file.write(os.urandom(3000000))
        self.git("add", "large", where="clone")
        self.git("commit", "-q", "-m", "A large file", where="clone")
        self.git("push", "-q", "origin", "main", where="clone")
        self.assertEqual(self.git("log", "--format=%s", "main", where="repositories/project.git"),
                         "A large file\nThe first of all commits\n")
        self.git("clone", "-q", address, "again")
        with open(self.path("clone/large"), "rb") as one, open(self.path("again/large"), "rb") as other:
            self.assertTrue(one.read() == other.read())


if __name__ == "__main__":
    unittest.main()
