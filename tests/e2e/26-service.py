#!/usr/bin/env python3
"""A process of a service: whom it becomes, where it leaves its process id, what it tells the service manager."""

import fcntl
import grp
import os
import pwd
import re
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import unittest

import fcgi
from fcgi import PATIENCE, request
from relay import PLAIN, POST, PROXIES, RelayTest
from shim import Shim, program, wait_for

OTHER = "daemon"  # an ordinary user that every Debian has
ROOT = os.geteuid() == 0


def status_of(pid, task=None):
    """What /proc says of the process, or of one of its threads: name -> list of words."""
    path = "/proc/%d/status" % pid if task is None else "/proc/%d/task/%s/status" % (pid, task)
    with open(path) as file:
        return {name: rest.split() for name, _, rest in (line.partition(":") for line in file)}


def children(pid):
    """The processes that it has started and that live."""
    with open("/proc/%d/task/%d/children" % (pid, pid)) as file:
        return [int(word) for word in file.read().split()]


def may_mount():
    return ROOT and subprocess.run(["unshare", "--mount", "mount", "--bind", "/etc/group", "/etc/group"],
                                   stderr=subprocess.DEVNULL).returncode == 0


class ServiceTest(RelayTest):
    def setUp(self):
        """self.run is a folder that belongs to the user that the shim becomes."""
        self.run_folder = tempfile.mkdtemp(prefix="realip-run-")
        self.addCleanup(shutil.rmtree, self.run_folder)
        os.chmod(self.run_folder, 0o755)
        if ROOT:
            os.chown(self.run_folder, self.id_of(OTHER), -1)

    @staticmethod
    def id_of(user):
        return pwd.getpwnam(user).pw_uid

    def in_run(self, name):
        return os.path.join(self.run_folder, name)

    def begin(self, process="", upstream=None, listen="", **options):
        """A shim with its socket in the run folder."""
        self.app = None
        if upstream is None:
            self.app = fcgi.Responder()
            self.addCleanup(self.stop_app, self.app)
            os.chmod(self.app.directory, 0o755)
            os.chmod(self.app.address[len("unix:"):], 0o666)
            upstream = "address = " + self.app.address
        self.address = "unix:" + self.in_run("shim.sock")
        self.shim = Shim("[listen]\naddress = %s\n%s\n[upstream]\n%s\n%s[process]\n%s\n"
                         % (self.address, listen, upstream, PROXIES, process), **options)
        self.addCleanup(self.stop_shim, self.shim)
        return self.shim

    def assert_refused(self, pattern, *arguments, **options):
        """It does not start, says why, and leaves nothing."""
        shim = self.begin(*arguments, ready=False, **options)
        self.assertEqual(shim.wait_exit(), 1, shim.log())
        self.assertRegex(shim.log(), pattern)
        return shim


@unittest.skipUnless(ROOT, "only root can become another user")
class Privileges(ServiceTest):
    def assert_is(self, user, group, groups):
        """Every thread of the shim is this user, for good."""
        for task in os.listdir("/proc/%d/task" % self.shim.pid):
            status = status_of(self.shim.pid, task)
            self.assertEqual(status["Uid"], [str(user)] * 4)
            self.assertEqual(status["Gid"], [str(group)] * 4)
            self.assertEqual(sorted(map(int, status["Groups"])), sorted(groups))
            for which in ("CapPrm", "CapEff", "CapInh", "CapAmb"):
                self.assertEqual(int(status[which][0], 16), 0, which)
            self.assertEqual(status["NoNewPrivs"], ["1"])

    def test_becomes_user(self):
        other = pwd.getpwnam(OTHER)
        self.begin("user = %s\npid_file = %s" % (OTHER, self.in_run("pid")))
        self.assert_is(other.pw_uid, other.pw_gid, os.getgrouplist(OTHER, other.pw_gid))
        self.assert_alive()
        self.shim.signal(signal.SIGTERM)
        self.assertEqual(self.shim.wait_exit(), 0)
        self.assertNotIn("running as root", self.shim.log())
        self.assertEqual(os.listdir(self.run_folder), [])

    def test_all_workers_become_user(self):
        other = pwd.getpwnam(OTHER)
        self.begin("user = %s\nworkers = 3\npid_file = %s" % (OTHER, self.in_run("pid")), ready="ready: 3 workers")
        master, workers = self.shim.pid, children(self.shim.pid)
        self.assertEqual(len(workers), 3)
        for self.shim.pid in workers + [master]:
            self.assert_is(other.pw_uid, other.pw_gid, os.getgrouplist(OTHER, other.pw_gid))
        self.assert_alive()
        self.assertEqual(self.shim.stop(), 0)
        self.assertEqual(os.listdir(self.run_folder), [])

    def test_sockets_are_the_users(self):
        other = pwd.getpwnam(OTHER)
        for listen, owner, group in (("", other.pw_uid, other.pw_gid), ("group = www-data", other.pw_uid, None),
                                     ("owner = root", 0, other.pw_gid)):
            self.begin("user = " + OTHER, listen=listen)
            info = os.stat(self.in_run("shim.sock"))
            group = grp.getgrnam("www-data").gr_gid if group is None else group
            self.assertEqual((info.st_uid, info.st_gid), (owner, group))
            self.shim.stop()

    def test_group(self):
        self.begin("user = %s\ngroup = www-data" % OTHER)
        group = grp.getgrnam("www-data").gr_gid
        self.assert_is(self.id_of(OTHER), group, os.getgrouplist(OTHER, group))

    def test_a_user_without_an_entry(self):
        """As in containers: it has the one group, and nothing of root's."""
        os.chown(self.run_folder, 54321, -1)
        self.begin("user = 54321\ngroup = 54322")
        self.assert_is(54321, 54322, [54322])
        self.assert_alive()

    @unittest.skipUnless(may_mount(), "no file systems can be mounted here")
    def test_supplementary_groups(self):
        """Those of the list of groups, and none that the launcher had."""
        groups = os.path.join(self.run_folder, "group")
        with open("/etc/group") as before, open(groups, "w") as after:
            after.write(before.read() + "realip-a:x:54001:root,%s\nrealip-b:x:54002:%s\nrealip-c:x:54003:root\n"
                        % (OTHER, OTHER))
        primary = pwd.getpwnam(OTHER).pw_gid
        own = os.getgrouplist(OTHER, primary)
        self.begin("user = " + OTHER, wrapper=["unshare", "--mount", "sh", "-c",
                                               'mount --bind %s /etc/group && exec setpriv --groups 54003,54004 "$@"'
                                               % groups, "sh"])
        self.assert_is(self.id_of(OTHER), primary, own + [54001, 54002])

    def test_way_back(self):
        """A launcher that has the kernel keep the capabilities: found out, and nothing is served."""
        self.assert_refused("error: cannot become user %s: making sure of it: it could become root again" % OTHER,
                            "user = " + OTHER, wrapper=["setpriv", "--securebits", "+no_setuid_fixup"])

    def test_capabilities_that_are_kept(self):
        drop = ",".join("-" + name for name in ("setuid", "setpcap"))
        # Without CAP_SETUID nobody becomes another user, so it does not come to that; with it, see above.
        self.assert_refused("error: cannot become user %s: setting the user: " % OTHER, "user = " + OTHER,
                            wrapper=["setpriv", "--inh-caps", drop, "--bounding-set", drop])
        self.assert_refused("error: cannot become user %s: setting the supplementary groups: " % OTHER,
                            "user = " + OTHER, wrapper=["setpriv", "--inh-caps", "-setgid", "--bounding-set", "-setgid"])

    def as_other(self):
        other = pwd.getpwnam(OTHER)
        return ["setpriv", "--reuid", str(other.pw_uid), "--regid", str(other.pw_gid), "--clear-groups"]

    def test_not_root(self):
        """Nothing can be done, and nothing needs to be: it is an ordinary user already."""
        folder = tempfile.mkdtemp(prefix="realip-ini-")
        self.addCleanup(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        for user, warns in ((OTHER, False), ("www-data", True)):
            self.begin("user = " + user, wrapper=self.as_other(), directory=folder)
            self.assertEqual(status_of(self.shim.pid)["Uid"], [str(self.id_of(OTHER))] * 4)
            self.shim.wait_log("info: ready: ")
            self.assertEqual("user = www-data is not obeyed: only root can become another user, and this is " + OTHER
                             in self.shim.log(), warns)
            self.assert_alive()
            self.shim.stop()

    def test_root_is_warned(self):
        self.begin()
        self.shim.wait_log(r"warning: running as root: name an ordinary user in \[process\] user, or start as one")
        self.assertEqual(status_of(self.shim.pid)["Uid"], ["0"] * 4)

    def test_root_by_name(self):
        """Who says so knows."""
        self.begin("user = root")
        self.assert_alive()
        self.assertEqual(self.shim.stop(), 0)
        self.assertNotIn("warning", self.shim.log())

    def script(self, name, text):
        path = self.in_run(name)
        with open(path, "w") as file:
            file.write("#!/bin/sh\nprintf 'Status: 200 OK\\r\\n\\r\\n'\n" + text)
        os.chmod(path, 0o755)
        return path

    def test_programs_are_the_user(self):
        path = self.script("who", "id -u; id -g; id -G; grep NoNewPrivs /proc/self/status\n")
        self.begin("user = " + OTHER, upstream="cgi = " + path)
        other = pwd.getpwnam(OTHER)
        self.assert_alive()
        self.assert_is(other.pw_uid, other.pw_gid, os.getgrouplist(OTHER, other.pw_gid))
        words = fcgi.ask(self.address, PLAIN).body.decode().split()
        self.assertEqual(words[:2], [str(other.pw_uid), str(other.pw_gid)])
        self.assertEqual(words[-2:], ["NoNewPrivs:", "1"])

    def test_programs_of_who_says_nothing(self):
        """Those of mail systems live by their set-group-ID bit."""
        path = self.script("who", "grep NoNewPrivs /proc/self/status\n")
        self.begin(upstream="cgi = " + path)
        self.assertEqual(fcgi.ask(self.address, PLAIN).body.decode().split(), ["NoNewPrivs:", "0"])

    def test_started_application(self):
        """Its socket is reached through /proc, which belongs to root in a process that was root."""
        self.begin("user = " + OTHER, upstream="command = %s whoami" % program(), env={"TMPDIR": self.run_folder})
        response = fcgi.ask(self.address, PLAIN)
        self.assert_answer(response)
        self.assertIn(b"192.0.2.1", response.body)


class NotRoot(ServiceTest):
    @unittest.skipIf(ROOT, "only for an ordinary user")
    def test_no_new_privileges(self):
        self.begin()
        self.assertEqual(status_of(self.shim.pid)["NoNewPrivs"], ["1"])
        self.assertEqual(self.shim.stop(), 0)
        self.assertNotIn("running as root", self.shim.log())


class CoreDumps(ServiceTest):
    def limits(self, process):
        """Of the shim and its workers, which are started with others."""
        ready = "ready: 2 workers" if "workers" in process else "ready: "
        # AddressSanitizer would see to it by itself.
        options = os.environ.get("ASAN_OPTIONS", "") + ":disable_coredump=0"
        self.begin(process, wrapper=("prlimit", "--core=4096:8192"), ready=ready, env={"ASAN_OPTIONS": options})
        found = []
        for pid in [self.shim.pid] + children(self.shim.pid):
            with open("/proc/%d/limits" % pid) as file:
                found += re.findall(r"Max core file size +(\w+) +(\w+)", file.read())
        self.shim.stop()
        return found

    def test_none_by_default(self):
        self.assertEqual(self.limits(""), [("0", "8192")] * 2)
        self.assertEqual(self.limits("workers = 2"), [("0", "8192")] * 3)

    def test_as_the_system_lets_it(self):
        self.assertEqual(self.limits("core_dumps = yes"), [("4096", "8192")] * 2)


class Writers(ServiceTest):
    """cgi_root: nothing in it is run if somebody else can put it there."""

    def setUp(self):
        super().setUp()
        if ROOT:
            os.chown(self.run_folder, 0, 0)
        self.top = self.in_run("srv")
        self.root = os.path.join(self.top, "cgi")
        os.makedirs(self.root)

    def check(self, root, wrapper=(), process=""):
        """The errors of `check`, without what is the same in all."""
        path = self.in_run("check.ini")
        with open(path, "w") as file:
            file.write("[upstream]\ncgi = script\ncgi_root = %s\n%s[process]\n%s\n" % (root, PROXIES, process))
        done = subprocess.run([*wrapper, program(), "check", "-c", path], stdout=subprocess.DEVNULL,
                              stderr=subprocess.PIPE, text=True, timeout=PATIENCE)
        self.assertEqual(done.returncode, 1 if done.stderr else 0)
        return done.stderr.replace('fcgi-realip: error: %s:3: cgi_root = "%s": ' % (path, root), "").strip()

    def assert_both(self, root, who, where, remedy, **options):
        """check and serve say it."""
        self.assertEqual(self.check(root, **options), "%s can write %s, and so put programs there; take the right away, %s"
                         % (who, where, remedy) if who else "")
        upstream = "cgi = script\ncgi_root = " + root
        if who:
            self.assert_refused(re.escape("error: cgi_root = %s: %s can write %s, and so have programs run as this user"
                                          % (root, who, where)), upstream=upstream, **options)
        else:
            self.begin(upstream=upstream, **options)
            self.shim.stop()
        self.assertFalse(os.path.exists(self.in_run("shim.sock")))

    EVERY = "every user of this machine"

    def test_ordinary(self):
        self.assert_both(self.root, "", "", "")
        self.assert_both(self.root + "/", "", "", "")

    @unittest.skipUnless(os.path.isdir("/usr/lib"), "no /usr/lib")
    def test_of_the_system(self):
        self.assertEqual(self.check("/usr/lib"), "")

    def test_everybody(self):
        os.chmod(self.root, 0o757)
        self.assert_both(self.root, self.EVERY, self.root, "chmod o-w")
        os.chmod(self.root, 0o1777)  # sticky: no help, new programs can be put there
        self.assert_both(self.root, self.EVERY, self.root, "chmod o-w")

    def test_on_the_way(self):
        os.chmod(self.top, 0o777)
        self.assert_both(self.root, self.EVERY, self.top, "chmod o-w")
        os.chmod(self.top, 0o1777)  # nobody else can replace what is in it
        self.assert_both(self.root, "", "", "")

    def test_symbolic_links(self):
        """Whoever can put another link in the place of one decides, and so does whoever writes what it leads to."""
        loose, links = self.in_run("loose"), self.in_run("links")
        os.mkdir(loose)
        os.mkdir(links)
        os.symlink("../srv/./cgi", os.path.join(links, "near"))
        os.symlink(os.path.join(links, "near"), os.path.join(loose, "far"))
        os.symlink(os.path.join(loose, "far"), self.in_run("start"))
        self.assert_both(self.in_run("start"), "", "", "")
        os.chmod(loose, 0o777)
        self.assert_both(self.in_run("start"), self.EVERY, loose, "chmod o-w")
        os.chmod(loose, 0o755)
        os.chmod(self.top, 0o777)
        self.assert_both(self.in_run("start"), self.EVERY, self.top, "chmod o-w")

    def test_endless_links(self):
        os.symlink("b", self.in_run("a"))
        os.symlink("a", self.in_run("b"))
        self.assertIn("Too many levels of symbolic links", self.check(self.in_run("a")))

    @unittest.skipUnless(ROOT, "only root may give files away")
    def test_groups(self):
        os.chmod(self.root, 0o775)
        self.assertEqual(self.check(self.root), "")  # root's own group
        other = pwd.getpwnam(OTHER)
        os.chown(self.root, 0, other.pw_gid)
        who = "%s, by the group %s," % (OTHER, grp.getgrgid(other.pw_gid).gr_name)
        self.assert_both(self.root, who, self.root, "chmod g-w")
        # The user that runs the programs, and the owner, can do what they like anyway.
        self.assertEqual(self.check(self.root, process="user = " + OTHER), "")
        os.chown(self.root, other.pw_uid, other.pw_gid)
        self.assert_both(self.root, "", "", "")
        os.chown(self.root, 0, 54321)
        self.assert_both(self.root, "whoever is in the group 54321, which has no name here,", self.root, "chmod g-w")

    @unittest.skipUnless(may_mount(), "no file systems can be mounted here")
    def test_members(self):
        groups = self.in_run("group")
        with open("/etc/group") as before, open(groups, "w") as after:
            after.write(before.read() + "realip-a:x:54001:root\nrealip-b:x:54002:root,%s\n" % OTHER)
        wrapper = ["unshare", "--mount", "sh", "-c", 'mount --bind %s /etc/group && exec "$@"' % groups, "sh"]
        os.chmod(self.root, 0o2775)
        os.chown(self.root, 0, 54001)
        self.assert_both(self.root, "", "", "", wrapper=wrapper)
        os.chown(self.root, 0, 54002)
        self.assert_both(self.root, OTHER + ", by the group realip-b,", self.root, "chmod g-w", wrapper=wrapper)

    def set_list(self, tag, number, rights):
        """An access control list with one named entry; as acl(5) and the kernel have it."""
        entries = [(0x01, 7, 0xffffffff), (tag, rights, number), (0x04, 5, 0xffffffff), (0x10, 7, 0xffffffff),
                   (0x20, 5, 0xffffffff)]
        if tag == 0x08:
            entries[1], entries[2] = entries[2], entries[1]
        data = (2).to_bytes(4, "little") + b"".join(kind.to_bytes(2, "little") + right.to_bytes(2, "little")
                                                    + ident.to_bytes(4, "little") for kind, right, ident in entries)
        try:
            os.setxattr(self.root, "system.posix_acl_access", data)
        except OSError as error:
            self.skipTest("no access control lists here: %s" % error)

    def test_access_control_lists(self):
        other = pwd.getpwnam(OTHER)
        self.set_list(0x02, other.pw_uid, 7)
        self.assert_both(self.root, "another user, by an access control list,", self.root, "setfacl -b")
        if ROOT:
            self.assertEqual(self.check(self.root, process="user = " + OTHER), "")
        self.set_list(0x02, other.pw_uid, 5)
        self.assert_both(self.root, "", "", "")
        self.set_list(0x08, other.pw_gid, 7)
        self.assertIn("setfacl -b", self.check(self.root))


class PidFile(ServiceTest):
    def setUp(self):
        super().setUp()
        self.pid_file = self.in_run("pid")
        self.line = "pid_file = %s\n" % self.pid_file

    def read(self):
        with open(self.pid_file) as file:
            return file.read()

    def begin_with_file(self, **options):
        shim = self.begin(self.line, **options)
        own = "%d\n" % shim.pid
        wait_for(lambda: os.path.exists(self.pid_file) and self.read() == own, what="the pid file")
        return shim

    def test_life(self):
        before = os.umask(0o077)
        try:
            shim = self.begin_with_file()
        finally:
            os.umask(before)
        self.assertEqual(stat.S_IMODE(os.stat(self.pid_file).st_mode), 0o644)
        self.assertEqual(sorted(os.listdir(self.run_folder)), ["pid", "shim.sock"])
        self.assert_alive()
        shim.signal(signal.SIGTERM)
        self.assertEqual(shim.wait_exit(), 0)
        self.assertEqual(os.listdir(self.run_folder), [])

    def test_never_half_written(self):
        """Whoever sees the file finds the number in it."""
        seen, stop = [], threading.Event()

        def watch():
            while not stop.is_set():
                try:
                    seen.append(self.read())
                except FileNotFoundError:
                    pass
        thread = threading.Thread(target=watch)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(stop.set)
        wanted = set()
        for _ in range(6):
            own = "%d\n" % self.begin_with_file().pid
            wanted.add(own)
            wait_for(lambda: own in seen, what="somebody to see the file")
            self.shim.stop()
        stop.set()
        thread.join(PATIENCE)
        self.assertEqual(set(seen), wanted)

    def test_left_behind(self):
        """Of a process that was killed, whoever has its number now."""
        first = self.begin_with_file()
        first.kill()
        first.status = 0
        for text in (self.read(), "1\n", "", "99999999", "%d\n" % os.getpid()):
            with open(self.pid_file, "w") as file:
                file.write(text)
            self.begin_with_file()
            self.shim.stop()
            self.assertNotIn("warning: pid_file", self.shim.log())
        self.assertFalse(os.path.exists(self.pid_file))

    def test_of_a_living_process(self):
        """Taken over with a word, and the first one leaves it alone in the end."""
        first = self.begin_with_file()
        self.address = "unix:" + self.in_run("second.sock")
        second = Shim("[listen]\naddress = %s\n[upstream]\naddress = %s\n%s[process]\n%s"
                      % (self.address, self.app.address, PROXIES, self.line))
        self.addCleanup(self.stop_shim, second)
        second.wait_log("warning: pid_file %s was that of process %d, which still runs" % (self.pid_file, first.pid))
        self.assertEqual(self.read(), "%d\n" % second.pid)
        self.assertEqual(first.stop(), 0)
        self.assertEqual(self.read(), "%d\n" % second.pid)
        self.assertEqual(second.stop(), 0)
        self.assertFalse(os.path.exists(self.pid_file))

    def test_with_workers(self):
        """It is the master's, and stays when a worker goes."""
        shim = self.begin(self.line + "workers = 2", ready="ready: 2 workers")
        wait_for(lambda: os.path.exists(self.pid_file), what="the pid file")
        self.assertEqual(self.read(), "%d\n" % shim.pid)
        for worker, number in zip(children(shim.pid), (signal.SIGKILL, signal.SIGTERM)):
            os.kill(worker, number)
        shim.wait_log("started worker", count=4)
        self.assertEqual(self.read(), "%d\n" % shim.pid)
        self.assertEqual(shim.stop(), 0)
        self.assertEqual(os.listdir(self.run_folder), [])

    def test_locked_while_it_lives(self):
        """So that whoever reads it can tell."""
        self.begin_with_file()
        with open(self.pid_file) as file:
            with self.assertRaises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            self.shim.stop()
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)

    def test_anothers_file_is_not_removed(self):
        shim = self.begin_with_file()
        os.unlink(self.pid_file)
        with open(self.pid_file, "w") as file:
            file.write("precious")
        self.assertEqual(shim.stop(), 0)
        self.assertEqual(self.read(), "precious")

    def test_what_is_no_pid_file_is_not_touched(self):
        def write(text):
            with open(self.pid_file, "w") as file:
                file.write(text)
        precious = self.in_run("precious")
        for make in (lambda: write("precious\n"), lambda: write("12 34\n"), lambda: write("0\n"), lambda: write("-1"),
                     lambda: write("1\n\n"), lambda: os.mkdir(self.pid_file), lambda: os.mkfifo(self.pid_file),
                     lambda: os.symlink(precious, self.pid_file)):
            make()
            before = os.lstat(self.pid_file)
            self.assert_refused("error: cannot write pid_file %s: .*no pid file; remove it or choose" % self.pid_file,
                                self.line)
            after = os.lstat(self.pid_file)
            self.assertEqual((before.st_ino, before.st_mtime_ns), (after.st_ino, after.st_mtime_ns))
            self.assertEqual(os.listdir(self.run_folder), ["pid"])
            os.rmdir(self.pid_file) if os.path.isdir(self.pid_file) else os.unlink(self.pid_file)

    def test_no_folder(self):
        self.assert_refused("error: cannot write pid_file /nonexistent/pid: .*: No such file or directory",
                            "pid_file = /nonexistent/pid")

    @unittest.skipUnless(ROOT, "root alone becomes another user")
    def test_folder_of_another_user(self):
        os.chown(self.run_folder, 0, 0)
        self.assert_refused("error: cannot write pid_file %s: making a file in its folder: Permission denied"
                            % self.pid_file, self.line + "user = " + OTHER)

    def test_start_that_fails(self):
        self.assert_refused("cannot", self.line, upstream="command = /nonexistent/program")
        self.assertEqual(os.listdir(self.run_folder), [])


class Notify(ServiceTest):
    """The test is the service manager."""

    def listen(self, address):
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.settimeout(PATIENCE)
        self.manager.bind(address)
        if ROOT and address[0] != "\0":
            os.chmod(address, 0o666)

    def is_quiet(self):
        self.manager.setblocking(False)
        try:
            return self.manager.recv(4096)
        except BlockingIOError:
            return True
        finally:
            self.manager.settimeout(PATIENCE)

    def managed(self, process="", env=None, **options):
        return self.begin(process, env={"NOTIFY_SOCKET": self.in_run("notify"), **(env or {})}, ready=False, **options)

    def test_life(self):
        self.listen(self.in_run("notify"))
        shim = self.managed("pid_file = " + self.in_run("pid"))
        self.assertEqual(self.manager.recv(4096), b"READY=1")
        self.assertTrue(os.path.exists(self.in_run("pid")))  # whoever waited for the word finds all in its place
        client = self.client()
        self.assert_answer(client.ask(POST, b"x", keep=True), b"x")
        self.assertIs(self.is_quiet(), True)
        shim.signal(signal.SIGTERM)
        self.assertEqual(self.manager.recv(4096), b"STOPPING=1")
        self.assertEqual(shim.wait_exit(), 0)
        self.assertIs(self.is_quiet(), True)

    def test_stopping_is_said_at_once(self):
        """While the last requests run."""
        self.listen(self.in_run("notify"))
        go = threading.Event()
        self.addCleanup(go.set)
        app = fcgi.Responder(lambda connection: (connection.read_request(), go.wait(PATIENCE), connection.reply(b"late")))
        self.addCleanup(self.stop_app, app)
        shim = self.managed(upstream="address = " + app.address)
        self.assertEqual(self.manager.recv(4096), b"READY=1")
        client = self.client()
        client.send(request(POST, b"x"))
        app.wait_requests(1)
        shim.signal(signal.SIGTERM)
        self.assertEqual(self.manager.recv(4096), b"STOPPING=1")
        self.assertTrue(shim.running())
        go.set()
        self.assert_answer(client.read_response(), b"late")
        self.assertEqual(shim.wait_exit(), 0)

    def test_abstract_socket(self):
        name = "fcgi-realip-test-notify-%d" % os.getpid()
        self.listen("\0" + name)
        self.managed(env={"NOTIFY_SOCKET": "@" + name})
        self.assertEqual(self.manager.recv(4096), b"READY=1")

    @unittest.skipUnless(ROOT, "root alone becomes another user")
    def test_as_another_user(self):
        self.listen(self.in_run("notify"))
        self.managed("user = " + OTHER)
        self.assertEqual(self.manager.recv(4096), b"READY=1")

    def test_start_that_fails(self):
        self.listen(self.in_run("notify"))
        self.managed(upstream="command = /nonexistent/program")
        self.assertEqual(self.shim.wait_exit(), 1)
        self.assertIs(self.is_quiet(), True)

    def test_watchdog(self):
        self.listen(self.in_run("notify"))
        shim = self.managed(env={"WATCHDOG_USEC": "400000"})
        words = [self.manager.recv(4096) for _ in range(4)]
        self.assertEqual(words, [b"READY=1"] + [b"WATCHDOG=1"] * 3)
        shim.freeze()  # it says nothing any more, after one or two words that are still due
        self.manager.settimeout(1)
        with self.assertRaises(socket.timeout):
            for _ in range(5):
                self.manager.recv(4096)
        self.manager.settimeout(PATIENCE)
        shim.thaw()
        self.assertEqual(self.manager.recv(4096), b"WATCHDOG=1")

    def test_workers(self):
        """The master speaks for all, once all of them serve."""
        self.listen(self.in_run("notify"))
        self.managed("workers = 3", env={"WATCHDOG_USEC": "400000"})
        words = [self.manager.recv(4096) for _ in range(4)]
        self.assertEqual(sorted(words), [b"READY=1"] + [b"WATCHDOG=1"] * 3)
        self.assertEqual(len(children(self.shim.pid)), 3)
        self.assert_alive()
        self.shim.signal(signal.SIGTERM)
        words = [self.manager.recv(4096)]
        while words[-1] == b"WATCHDOG=1":
            words.append(self.manager.recv(4096))
        self.assertEqual(words[-1], b"STOPPING=1")
        self.assertEqual(self.shim.wait_exit(), 0)
        self.assertNotEqual(self.is_quiet(), b"STOPPING=1")

    def test_watchdog_of_another_process(self):
        self.listen(self.in_run("notify"))
        for variables in ({"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "0"}):
            shim = self.managed(env=variables)
            self.assertEqual(self.manager.recv(4096), b"READY=1")
            self.assert_alive()
            self.assertIs(self.is_quiet(), True)
            shim.stop()
            self.assertEqual(self.manager.recv(4096), b"STOPPING=1")

    def test_nobody_listens(self):
        for path, why in ((self.in_run("nobody"), "cannot tell the service manager READY=1: No such file"),
                          ("relative", "cannot use NOTIFY_SOCKET"), ("/" + "x" * 200, "cannot use NOTIFY_SOCKET")):
            shim = self.begin(env={"NOTIFY_SOCKET": path})
            shim.wait_log("warning: " + why)
            self.assert_alive()
            shim.stop()


if __name__ == "__main__":
    unittest.main()
