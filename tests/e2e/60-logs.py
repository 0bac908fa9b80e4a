#!/usr/bin/env python3
"""The error log: its places, what becomes of it when they take nothing, and rotation."""

import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import unittest

import processes
from fcgi import Client
from relay import PLAIN, PROXIES, RelayTest, change
from shim import PATIENCE, program

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

PLAIN_LINE = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z fcgi-realip\[\d+\] (error|warning|info|debug): .*$")

# Each request with this peer is a line of the error log.
DENY = PROXIES + "[access]\ndeny = 203.0.113.66\n"
DENIED = change(PLAIN, REMOTE_ADDR="203.0.113.66")

# Puts the environment variable that systemd would set around the program.
JOURNAL = ["sh", "-c", 'JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2); export JOURNAL_STREAM; exec "$@"', "sh"]


def read(path):
    with open(path) as file:
        return file.read()


def count_refusals(text):
    return text.count('refused a request with 403: peer "203.0.113.66"')


class Logs(RelayTest):
    def refuse(self, count=1, params=None):
        """So many lines in the log."""
        with Client(self.address) as client:
            for _ in range(count):
                self.assert_refusal(client.ask(params or DENIED, keep=True), 403)

    def path(self, name):
        return os.path.join(self.shim.dir, name)

    def wait_opened(self):
        """The process that relays has the new file: the master, who is told first, has made it."""
        self.wait(lambda: self.path("error.log") in processes.open_files(self.shim.relay_pid))

    def assert_moved(self):
        """On standard error there is only what was said before the log was opened."""
        for line in self.shim.log().splitlines():
            self.assertRegex(line, "info: listening on |warning: running as root")

    def make_directory(self):
        directory = tempfile.mkdtemp(prefix="realip-log-")
        self.addCleanup(shutil.rmtree, directory)
        return directory

    @staticmethod
    def standard_error_to(fd):
        return ["sh", "-c", 'exec 2>/proc/%d/fd/%d; exec "$@"' % (os.getpid(), fd), "sh"]


class Places(Logs):
    def test_file(self):
        self.start(sections=DENY + "[log]\nerror = {dir}/error.log\n")
        self.assertEqual(os.stat(self.path("error.log")).st_mode & 0o7137, 0)
        self.refuse(2)
        lines = read(self.path("error.log")).splitlines()
        for line in lines:
            self.assertRegex(line, PLAIN_LINE)
        self.assertEqual(count_refusals("\n".join(lines)), 2)
        self.assert_moved()

    def test_file_is_appended_to(self):
        self.start(sections=DENY + "[log]\nerror = {dir}/error.log\n")
        directory = self.shim.dir
        self.refuse()
        before = read(self.path("error.log"))
        self.assertIn("ready: ", before)
        second = os.path.join(directory, "second.ini")
        with open(second, "w") as file:
            file.write(read(self.shim.path).replace("shim.sock", "second.sock"))
        again = subprocess.Popen([program(), "serve", "-c", second])
        try:
            self.wait(lambda: read(self.path("error.log")).count("ready: requests go to") == 2, what="the second one's line")
        finally:
            again.terminate()
            self.assertEqual(again.wait(PATIENCE), 0)
        self.assertTrue(read(self.path("error.log")).startswith(before))

    def test_file_that_cannot_be_opened(self):
        self.start()
        self.shim.write_ini(self.shim.ini_text.replace("shim.sock", "second.sock")
                            + "[log]\nerror = {dir}/none/error.log\n")
        done = subprocess.run([program(), "serve", "-c", self.shim.path], stderr=subprocess.PIPE, timeout=PATIENCE)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr.decode(),
                         r"error: cannot open the error log .*/none/error.log: No such file or directory\n$")

    def test_journal(self):
        """systemd's priorities, and neither time nor process, which the journal has of itself."""
        self.start(sections=DENY, wrapper=JOURNAL)
        self.refuse()
        self.shim.wait_log("^<6>refused a request with 403: ")
        self.app.close()
        with Client(self.address) as client:
            self.assert_refusal(client.ask(PLAIN), 502)
        self.shim.wait_log("^<3>no answer from the application")
        for line in self.shim.log().splitlines():
            self.assertRegex(line, "^<[3467]>[a-z]")

    def test_journal_variable_of_another_stream(self):
        self.start(sections=DENY, env={"JOURNAL_STREAM": "1:1"})
        self.refuse()
        self.shim.wait_log("Z fcgi-realip.*info: refused a request with 403: ")

    def test_syslog(self):
        """/dev/log is a socket of the test's in a mount namespace of its own."""
        unshare = ["unshare", "--mount", "--map-root-user"]
        if not shutil.which("unshare") or subprocess.run(
                [*unshare, "mount", "-t", "tmpfs", "none", "/dev"], stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("no mount namespaces here")
        directory = self.make_directory()
        service = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(service.close)
        service.bind(os.path.join(directory, "log"))
        service.settimeout(PATIENCE)
        inside = 'mount -t tmpfs none /dev; ln -s "$0/log" /dev/log; exec "$@"'
        self.start(sections=DENY + "[log]\nerror = syslog\n", wrapper=[*unshare, "sh", "-c", inside, directory])
        self.refuse()
        pattern = (r"^<30>[A-Z][a-z]{2} [ 1-3]\d \d\d:\d\d:\d\d fcgi-realip\[\d+\]: "
                   r'refused a request with 403: peer "203.0.113.66", client 203.0.113.66, denied')
        while True:
            text = service.recv(65536).decode()
            self.assertRegex(text, r"^<30>\w{3} [ \d]\d [\d:]{8} fcgi-realip\[\d+\]: [^\n]+\Z")
            if "refused" in text:
                break
        self.assertRegex(text, pattern)
        self.assert_moved()


class Stuck(Logs):
    """Nothing of this may hold up a single request: each is answered before the next is sent."""

    def test_full_disk(self):
        self.start(sections=DENY + "[log]\nerror = /dev/full\n")
        self.refuse(2000)
        self.assert_alive()

    def test_disk_with_room_again(self):
        """A limit of the file's size is as a disk that is full, and can be lifted."""
        self.start(sections=DENY + "[log]\nerror = {dir}/error.log\n")
        self.refuse(3)
        before = resource.prlimit(self.shim.relay_pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.shim.relay_pid, resource.RLIMIT_FSIZE, (1000, before[1]))
        self.refuse(2000)
        size = os.stat(self.path("error.log")).st_size
        self.assertEqual(size, 1000)
        resource.prlimit(self.shim.relay_pid, resource.RLIMIT_FSIZE, before)
        # Of itself, within the second.
        text = self.wait(lambda: "are missing here" in read(self.path("error.log")) and read(self.path("error.log")))
        told = re.search(r" warning: (\d+) lines of this log could not be written and are missing here\n", text)
        self.assertGreater(int(told.group(1)), 100)
        self.assertEqual(count_refusals(text) + int(told.group(1)), 2003)
        for line in text.splitlines():
            self.assertRegex(line, PLAIN_LINE)

    def test_stuck_pipe(self):
        """Standard error leads into a pipe that nobody reads. Its flags are not touched: others write to it, too."""
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.start(sections=DENY, wrapper=self.standard_error_to(writing))
        os.close(writing)
        self.refuse(3000)
        self.assert_alive()
        with open("/proc/%d/fdinfo/2" % self.shim.pid) as info:
            flags = int(re.search(r"flags:\s*(\d+)", info.read()).group(1), 8)
        self.assertFalse(flags & os.O_NONBLOCK)
        text = b""
        while b"are missing here" not in text:
            text += os.read(reading, 65536)
        told = re.search(rb" warning: (\d+) lines of this log", text)
        self.assertEqual(count_refusals(text.decode()) + int(told.group(1)), 3000)

    def test_fifo_without_reader(self):
        fifo = os.path.join(self.make_directory(), "fifo")
        os.mkfifo(fifo)
        self.start(sections=DENY + "[log]\nerror = %s\n" % fifo)
        self.refuse(3000)
        self.assert_alive()
        text = b""
        with open(fifo, "rb", buffering=0) as reader:
            while b"are missing here" not in text:
                text += reader.read(65536)
        told = re.search(rb" warning: (\d+) lines of this log", text)
        self.assertEqual(count_refusals(text.decode()) + int(told.group(1)), 3000)

    def test_reader_of_standard_error_ends(self):
        reading, writing = os.pipe()
        self.start(sections=DENY, wrapper=self.standard_error_to(writing))
        os.close(writing)
        self.refuse()
        os.close(reading)
        self.refuse(200)
        self.assert_alive()


class Reload(Logs):
    def reload(self, log, pattern):
        """The place of the log changes; waits for what the file `new` or standard error says of it."""
        self.shim.write_ini(self.shim.ini_text + log)
        self.shim.signal(signal.SIGHUP)

        def said():
            text = self.shim.log() + (read(self.path("new")) if os.path.isfile(self.path("new")) else "")
            return re.search(pattern, text)
        self.wait(said, pattern)

    def test_there_and_back(self):
        self.start(sections=DENY, sandbox=False)
        self.refuse()
        self.reload("[log]\nerror = {dir}/new\n", "reloaded; configuration 2 is in force")
        self.refuse(2)
        self.assertEqual(count_refusals(read(self.path("new"))), 2)
        self.reload("", "reloaded; configuration 3 is in force")
        self.refuse(3)
        self.shim.wait_log("refused a request", count=4)
        self.assertEqual(count_refusals(read(self.path("new"))), 2)

    def test_cannot_be_opened(self):
        self.start(sections=DENY)
        self.reload("[log]\nerror = {dir}/none/new\n",
                    "error: .*cannot open the error log .*/none/new: No such file or directory\n.*configuration 1 stays in force")
        self.refuse(2)
        self.shim.wait_log("refused a request", count=2)


class Workers(Logs):
    """The master and each worker log by themselves, in one file."""

    def ask_workers(self):
        """Requests until two processes have logged one."""
        def two():
            self.refuse()
            return len(set(re.findall(r"fcgi-realip\[(\d+)\] info: refused", read(self.path("error.log"))))) == 2
        self.wait(two, "lines of two workers")

    def test_rotation(self):
        self.start(sections=DENY + "[process]\nworkers = 2\n[log]\nerror = {dir}/error.log\n", ready=False)
        self.wait(lambda: os.path.exists(self.path("error.log")) and "ready: 2 workers" in read(self.path("error.log")))
        self.ask_workers()
        for i in range(3):
            os.rename(self.path("error.log"), self.path("error.log.%d" % i))
            self.shim.signal(signal.SIGUSR1)
            self.wait(lambda: os.path.exists(self.path("error.log")))
            self.ask_workers()
        pids = set(re.findall(r"started worker\[(\d+)\]", read(self.path("error.log.0"))))
        self.assertEqual(len(pids), 2)
        os.kill(int(pids.pop()), signal.SIGKILL)
        self.wait(lambda: "starting another" in read(self.path("error.log")) or "next start" in read(self.path("error.log")))
        self.assert_moved()


class Rotation(Logs):
    def test_under_load(self):
        """Each line is in one of the files, whole."""
        self.start(sections=DENY + "[log]\nerror = {dir}/error.log\n")
        done = threading.Event()
        sent = [0, 0]

        def load(number):
            with Client(self.address) as client:
                while not done.is_set():
                    self.assert_refusal(client.ask(DENIED, keep=True), 403)
                    sent[number] += 1
        threads = [threading.Thread(target=load, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        try:
            for i in range(20):
                os.rename(self.path("error.log"), self.path("error.log.%d" % i))
                self.shim.signal(signal.SIGUSR1)
                self.wait(lambda: os.path.exists(self.path("error.log"))
                          and count_refusals(read(self.path("error.log"))) > 5)
        finally:
            done.set()
            for thread in threads:
                thread.join()
        files = [read(self.path(name)) for name in os.listdir(self.shim.dir) if name.startswith("error.log")]
        self.assertEqual(len(files), 21)
        self.assertEqual(sum(map(count_refusals, files)), sum(sent))
        for line in "".join(files).splitlines():
            self.assertRegex(line, PLAIN_LINE)

    def test_cannot_be_opened(self):
        self.start(sections=DENY + "[log]\nerror = {dir}/error.log\n")
        os.rename(self.path("error.log"), self.path("old"))
        os.mkdir(self.path("error.log"))
        self.shim.signal(signal.SIGUSR1)
        self.wait(lambda: re.search(r"error: cannot reopen the error log .*/error.log: Is a directory; it goes on in "
                                    r"the old file\n$", read(self.path("old"))))
        self.refuse(3)
        self.assertEqual(count_refusals(read(self.path("old"))), 3)
        os.rmdir(self.path("error.log"))
        self.shim.signal(signal.SIGUSR1)
        self.wait_opened()
        self.refuse(2)
        self.assertEqual(count_refusals(read(self.path("error.log"))), 2)

    def test_standard_error_stays(self):
        self.start(sections=DENY)
        self.shim.signal(signal.SIGUSR1)
        self.refuse(2)
        self.shim.wait_log("refused a request", count=2)

    @unittest.skipUnless(shutil.which("logrotate") or os.path.exists("/usr/sbin/logrotate"), "logrotate is not installed")
    def test_logrotate(self):
        """The file in etc/logrotate, with this directory and process in the place of the service's."""
        self.start(sections=DENY + "[log]\nerror = {dir}/error.log\n")
        text = read(os.path.join(TREE, "etc/logrotate/fcgi-realip"))
        for was, now in (("/var/log/fcgi-realip/", self.shim.dir + "/"),
                         ("    su fcgi-realip fcgi-realip\n", ""),
                         ("systemctl list-units", "echo one.service"),
                         ('systemctl kill --kill-who=main --signal=USR1 "$unit"',
                          "kill -USR1 %d" % self.shim.pid)):
            self.assertIn(was, text)
            text = text.replace(was, now)
        with open(self.path("rotate.conf"), "w") as file:
            file.write(text)
        os.chmod(self.path("rotate.conf"), 0o644)
        tool = shutil.which("logrotate") or "/usr/sbin/logrotate"
        for i in range(1, 4):
            self.refuse(i)
            subprocess.run([tool, "--force", "--state", self.path("state"), self.path("rotate.conf")], check=True)
            self.wait(lambda: os.path.exists(self.path("error.log")))
        self.refuse(4)
        self.assertEqual(count_refusals(read(self.path("error.log"))), 4)
        self.assertEqual(count_refusals(read(self.path("error.log.1"))), 3)
        self.assertEqual(count_refusals(subprocess.run(["gzip", "-dc", self.path("error.log.2.gz")], check=True,
                                                       stdout=subprocess.PIPE, text=True).stdout), 2)


if __name__ == "__main__":
    unittest.main()
