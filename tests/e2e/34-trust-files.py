#!/usr/bin/env python3
"""Trust files that change while the shim runs, in all the ways in which files do."""

import os
import shutil
import signal
import time
import unittest

import fcgi
from relay import PLAIN, RelayTest, change
from shim import Shim, wait_for

STAYS = r"warning: %s: its old list of %d addresses and blocks stays in force"
PATIENCE_MS = 1000  # from a change to answers that show it


def tell(connection):
    now = connection.read_request()
    connection.reply(now.get("REMOTE_ADDR")[0])


class TrustTest(RelayTest):
    def start_with(self, path="list.txt", sections="", text="10.1.0.0/16\n"):
        """A shim that trusts what the file at this path holds, from its folder; in .folder, with links resolved."""
        self.start(tell, sections="[proxy a]\ntrust = 192.0.2.0/24\n", ready=None)
        self.folder = os.path.realpath(self.shim.dir)
        os.makedirs(os.path.dirname(self.path(path)), exist_ok=True)
        if text is not None:
            self.write(path, text)
        self.ini = self.shim.ini_text.replace("trust = 192.0.2.0/24", "trust_file = " + path) + sections
        self.shim.write_ini(self.ini)
        self.shim.signal(signal.SIGHUP)
        self.shim.wait_log("configuration 2 is in force")

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)

    def replace(self, name, text):
        """Atomically, as most editors and every tool that knows better."""
        self.write(name + ".new", text)
        os.rename(self.path(name + ".new"), self.path(name))

    def trusted(self, number):
        """Is 10.NUMBER.0.1 a proxy? And is it the only one of its kind?"""
        def is_trusted(n):
            params = change(PLAIN, ("HTTP_X_FORWARDED_FOR", "203.0.113.7"), REMOTE_ADDR="10.%d.0.1" % n)
            response = fcgi.ask(self.address, params)
            self.assert_answer(response)
            return response.body == b"203.0.113.7"
        return is_trusted(number) and not is_trusted(number - 1)

    def wait_trusted(self, number):
        began = time.monotonic()
        wait_for(lambda: self.trusted(number), what="10.%d.0.0/16 to be trusted" % number)
        self.assertLess(1000 * (time.monotonic() - began), PATIENCE_MS)

    def assert_stays(self, count=1):
        self.shim.wait_log(STAYS % (self.path("list.txt"), 1), count=count)


class Changes(TrustTest):
    def test_replaced(self):
        self.start_with()
        for n in range(2, 7):
            self.replace("list.txt", "10.%d.0.0/16\n" % n)
            self.wait_trusted(n)
            self.shim.wait_log(r"info: %s has changed: 1 addresses and blocks are in force" % self.path("list.txt"), count=n - 1)

    def test_written_in_place(self):
        self.start_with()
        for n in range(2, 5):
            self.write("list.txt", "10.%d.0.0/16\n" % n)
            self.wait_trusted(n)

    def test_emptied(self):
        self.start_with()
        self.write("list.txt", "")
        self.shim.wait_log(r"warning: %s:9: trust_file = .list.txt.: .* holds no entry" % self.shim.path)
        self.assert_stays()
        self.assertTrue(self.trusted(1))
        self.write("list.txt", "10.2.0.0/16\n")
        self.wait_trusted(2)

    def test_removed(self):
        self.start_with()
        for n in range(2, 5):
            os.remove(self.path("list.txt"))
            self.assert_stays(n - 1)
            self.assertTrue(self.trusted(n - 1))
            self.write("list.txt", "10.%d.0.0/16\n" % n)
            self.wait_trusted(n)

    def test_removed_for_a_moment(self):
        """So short that nobody notices: what is there in the end counts."""
        self.start_with()
        for n in range(2, 12):
            os.remove(self.path("list.txt"))
            self.write("list.txt", "10.%d.0.0/16\n" % n)
        self.wait_trusted(11)

    def test_broken(self):
        self.start_with()
        self.replace("list.txt", "10.2.0.0/16\n10.3.0.0/160\n")
        self.shim.wait_log(r"error: %s:2: trust = .10.3.0.0/160." % self.path("list.txt"))
        self.assert_stays()
        self.assertTrue(self.trusted(1))
        self.replace("list.txt", "10.4.0.0/16\n")
        self.wait_trusted(4)

    def test_unreadable(self):
        self.start_with()
        os.remove(self.path("list.txt"))
        os.mkdir(self.path("list.txt"))
        self.shim.wait_log("cannot read .*: it is a folder")
        os.rmdir(self.path("list.txt"))
        self.write("list.txt", "10.2.0.0/16\n")
        self.wait_trusted(2)

    def test_another_is_broken(self):
        """What is wrong with one file does not keep the other from counting."""
        self.start_with()
        self.write("other.txt", "10.50.0.0/16\n")
        self.ini += "[proxy b]\ntrust_file = other.txt\n"
        self.shim.write_ini(self.ini)
        self.shim.signal(signal.SIGHUP)
        self.wait_trusted(50)
        self.replace("list.txt", "nonsense, all of it\n")
        self.replace("other.txt", "10.60.0.0/16\n")
        self.wait_trusted(60)
        self.assert_stays()
        self.assertTrue(self.trusted(1))

    def test_touched(self):
        """A file that says the same as before is no event."""
        self.start_with()
        os.utime(self.path("list.txt"))
        self.replace("list.txt", "10.1.0.0/16 # the same\n")
        self.write("unrelated.txt", "10.9.0.0/16\n")
        self.replace("list.txt", "10.2.0.0/16\n")
        self.wait_trusted(2)
        self.assertEqual(self.shim.log().count("in force"), 2)

    def test_while_the_file_is_being_edited(self):
        """The half-edited INI is not looked at."""
        self.start_with()
        self.shim.write_ini("[proxy a\ntrust = 10.77.0.0/16")
        self.replace("list.txt", "10.2.0.0/16\n")
        self.wait_trusted(2)
        os.remove(self.shim.path)
        self.replace("list.txt", "10.3.0.0/16\n")
        self.wait_trusted(3)
        self.shim.write_ini(self.ini.replace("list.txt", "other.txt"))
        self.write("other.txt", "10.4.0.0/16\n")
        self.replace("list.txt", "10.5.0.0/16\n")
        self.wait_trusted(5)
        self.shim.signal(signal.SIGHUP)
        self.wait_trusted(4)
        self.replace("other.txt", "10.6.0.0/16\n")
        self.wait_trusted(6)

    def test_written_all_the_time(self):
        """Who never stops writing is heard all the same."""
        self.start_with()
        began = time.monotonic()
        n = 1
        while "has changed" not in self.shim.log():
            n = n % 200 + 1
            self.replace("list.txt", "10.%d.0.0/16\n" % n)
            self.assertLess(1000 * (time.monotonic() - began), PATIENCE_MS)
        self.wait_trusted(n)

    def test_manual(self):
        self.start_with(sections="[realip]\ntrust_reload = manual\n")
        self.replace("list.txt", "10.2.0.0/16\n")
        self.shim.write_ini(self.ini.replace("manual", "watch"))
        time.sleep(0.6)  # for what must not happen there is no condition
        self.assertTrue(self.trusted(1))
        self.shim.signal(signal.SIGHUP)
        self.wait_trusted(2)
        self.replace("list.txt", "10.3.0.0/16\n")
        self.wait_trusted(3)
        self.shim.write_ini(self.ini)
        self.shim.signal(signal.SIGHUP)
        self.shim.wait_log("reloaded; configuration 4 is in force")
        self.replace("list.txt", "10.4.0.0/16\n")
        time.sleep(0.6)
        self.assertTrue(self.trusted(3))

    def test_from_the_start(self):
        """Without any signal before."""
        self.start_with()
        directory = self.shim.dir
        self.shim.signal(signal.SIGTERM)
        self.assertEqual(self.shim.wait_exit(), 0)
        self.shim = Shim(self.ini, directory=directory)
        self.addCleanup(self.stop_shim, self.shim)
        self.replace("list.txt", "10.2.0.0/16\n")
        self.wait_trusted(2)


class Links(TrustTest):
    def test_a_config_map(self):
        """As Kubernetes replaces a ConfigMap: the files are links through ..data, which is one to a folder."""
        def fill(n):
            os.mkdir(self.path("map/..v%d" % n))
            self.write("map/..v%d/list.txt" % n, "10.%d.0.0/16\n" % n)
            os.symlink("..v%d" % n, self.path("map/..data_tmp"))
            os.rename(self.path("map/..data_tmp"), self.path("map/..data"))
        self.start_with("map/old.txt")
        fill(1)
        os.symlink("..data/list.txt", self.path("map/list.txt"))
        self.ini = self.ini.replace("old.txt", "list.txt")
        self.shim.write_ini(self.ini)
        self.shim.signal(signal.SIGHUP)
        self.shim.wait_log("configuration 3 is in force")
        for n in range(2, 7):
            fill(n)
            self.wait_trusted(n)
            shutil.rmtree(self.path("map/..v%d" % (n - 1)))
        self.write("map/..v6/list.txt", "10.9.0.0/16\n")
        self.wait_trusted(9)

    def test_a_link_to_elsewhere(self):
        """The file that it leads to is written to, replaced, and the link is turned."""
        self.start_with("links/list.txt")
        for folder in "ab":
            os.makedirs(self.path("far/" + folder))
            self.write("far/%s/list.txt" % folder, "10.%d.0.0/16\n" % (2 if folder == "a" else 12))
        os.symlink(self.path("far/a/list.txt"), self.path("links/new"))
        os.rename(self.path("links/new"), self.path("links/list.txt"))
        self.wait_trusted(2)
        self.write("far/a/list.txt", "10.3.0.0/16\n")
        self.wait_trusted(3)
        self.replace("far/a/list.txt", "10.4.0.0/16\n")
        self.wait_trusted(4)
        os.symlink("../far/b/list.txt", self.path("links/new"))
        os.rename(self.path("links/new"), self.path("links/list.txt"))
        self.wait_trusted(12)
        self.replace("far/b/list.txt", "10.14.0.0/16\n")
        self.wait_trusted(14)

    def test_a_folder_that_is_replaced(self):
        self.start_with("one/two/list.txt")
        for n in range(2, 5):
            os.makedirs(self.path("next/two"))
            self.write("next/two/list.txt", "10.%d.0.0/16\n" % n)
            os.rename(self.path("one"), self.path("gone%d" % n))
            os.rename(self.path("next"), self.path("one"))
            self.wait_trusted(n)
        self.replace("one/two/list.txt", "10.9.0.0/16\n")
        self.wait_trusted(9)

    def test_a_folder_that_comes_back(self):
        self.start_with("one/two/list.txt")
        shutil.rmtree(self.path("one"))
        self.shim.wait_log("stays in force")
        self.assertTrue(self.trusted(1))
        os.makedirs(self.path("one/two"))
        self.write("one/two/list.txt", "10.2.0.0/16\n")
        self.wait_trusted(2)
        self.replace("one/two/list.txt", "10.3.0.0/16\n")
        self.wait_trusted(3)

    def test_links_in_a_circle(self):
        self.start_with()
        os.symlink("b", self.path("a"))
        os.symlink("a", self.path("b"))
        os.symlink("a", self.path("c"))
        os.rename(self.path("c"), self.path("list.txt"))
        self.shim.wait_log("Too many levels of symbolic links")
        self.replace("list.txt", "10.2.0.0/16\n")
        self.wait_trusted(2)

    def test_nothing_is_left_open(self):
        self.start_with("one/two/list.txt")
        self.replace("one/two/list.txt", "10.2.0.0/16\n")
        self.wait_trusted(2)
        descriptors = self.shim.fds()
        for n in range(3, 60):
            self.replace("one/two/list.txt", "10.%d.0.0/16\n" % n)
            if n % 10 == 0:
                self.wait_trusted(n)
        self.wait_trusted(59)
        wait_for(lambda: self.shim.fds() <= descriptors, what="%d descriptors" % descriptors)


if __name__ == "__main__":
    unittest.main()
