#!/usr/bin/env python3
"""Applications that the shim starts itself: what they are given, what happens when they end, how they are stopped.

Whatever a test does, in the end no process, file or socket of it may be left.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

import fcgi
import processes
from application import STARTED, ApplicationTest
from relay import PLAIN, POST, PROXIES, change
from shim import cpu_seconds, is_sanitized, wait_for

LONG = "[process]\nshutdown_timeout = 10m\n"  # nobody waits for that, so what waits for it fails
PHP_CGI = shutil.which("php-cgi")


class Given(ApplicationTest):
    """What a started application has, and has not."""

    def test_requests_go_to_it(self):
        self.launch()
        params = change(PLAIN, ("HTTP_X_FORWARDED_FOR", "198.51.100.9, 203.0.113.7"), REMOTE_ADDR="10.0.0.1")
        self.assertIn("REMOTE_ADDR=203.0.113.7\n", self.get("/params", params=params))
        body = bytes(range(256)) * 1000
        response = self.ask("/echo", body=body, params=POST)
        self.assert_answer(response, body)

    def test_arguments(self):
        """Quotes hold words together, and no shell sees them."""
        self.launch("%s '-x  y' \"it's\" $HOME \"\" a\"b c\"d *" % STARTED)
        self.assertEqual(self.get("/arguments").splitlines(), [STARTED, "-x  y", "it's", "$HOME", "", "ab cd", "*"])

    def test_behind_the_dashes(self):
        """It overrides what the file says."""
        self.launch(None, "address = unix:/nonexistent/app.sock", args=["--", STARTED, "-c", "two words", "--", "-x"])
        self.assertEqual(self.get("/arguments").splitlines(), [STARTED, "-c", "two words", "--", "-x"])

    def test_name_in_path(self):
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        os.symlink(STARTED, os.path.join(folder, "my-application"))
        self.launch("my-application x", env={"PATH": "/nonexistent:%s:/usr/bin:/bin" % folder})
        self.assertEqual(self.get("/arguments").splitlines(), ["my-application", "x"])

    def test_works_where_the_shim_does(self):
        self.launch()
        self.assertEqual(self.get("/directory"), os.path.realpath(self.shim.dir))

    def test_environment(self):
        """What programs need, and what the file names. Nothing else."""
        secret = {"SECRET": "1", "LD_DEBUG_OUTPUT": "/x", "LISTEN_FDS": "1", "LISTEN_PID": "1", "LISTEN_FDNAMES": "x",
                  "NOTIFY_SOCKET": "@x", "PHP_FCGI_CHILDREN": "4", "FCGI_ROLE": "RESPONDER"}
        wanted = {"LC_TIME": "C", "LANG": "C", "TZ": "UTC", "HOME": "/h", "USER": "u", "LOGNAME": "l", "NAMED": "a=b c",
                  "OTHER": ""}
        self.launch(upstream="environment = NAMED, OTHER ABSENT\n", env={**secret, **wanted})
        everything = dict(os.environ, TMPDIR=self.tmp, **wanted)
        self.assertEqual(self.lines("/environ"), sorted(
            "%s=%s" % item for item in everything.items()
            if item[0] in wanted or item[0] in ("PATH", "TMPDIR") or item[0].startswith("LC_")))

    def test_descriptors(self):
        """The listener, where it may talk to, and the connection of this request: nothing else that the shim has."""
        self.launch(upstream="processes = 2\n", wrapper=["sh", "-c", 'exec "$@" 9</dev/null', "sh"])
        self.assertTrue(os.path.exists("/proc/%d/fd/9" % self.shim.pid))
        clients = self.hold(1) + [self.client()]
        found = self.get("/fds", client=clients[1]).splitlines()
        self.assertEqual([line.partition(":")[0] for line in found], ["0 socket", "1 pipe", "2 pipe", "3 socket"])
        self.assertEqual(found[1][2:], found[2][2:])
        self.release()
        self.assert_answer(clients[0].read_response())

    def test_limit_of_open_files(self):
        """The shim raises its own, and only its own."""
        limited = ["sh", "-c", 'ulimit -Sn 300; ulimit -Hn 400; exec "$@"', "sh"]
        self.launch("/bin/sh -c 'ulimit -Sn >&2; ulimit -Hn; exec %s'" % STARTED, wrapper=limited)
        self.get("/pid")
        for limit in (300, 400):
            self.shim.wait_log(r"info: application sh\[\d+\]: %d$" % limit)
        with open("/proc/%d/limits" % self.shim.pid) as limits:
            self.assertRegex(limits.read(), r"Max open files +400 +400 ")

    def test_what_it_says(self):
        """Line by line in the log, marked, and nothing in it can pretend to be the log's."""
        self.launch()
        pid = self.get("/pid")
        for script, text, shown in (("/say", "one line", "one line"), ("/print", "standard output", "standard output"),
                                    ("/say", "a\rb\x1b[31mc", r"a\x0db\x1b[31mc"),
                                    ("/say", "first\nsecond", "first\n")):
            self.get(script, text)
            self.shim.wait_log(r" info: application fcgi-test-started\[%s\]: %s" % (pid, re.escape(shown)))
        self.shim.wait_log(r"\.\d{3}Z fcgi-realip\[%d\] info: application fcgi-test-started\[%s\]: second$"
                           % (self.shim.pid, pid))

    def test_processes(self):
        """So many requests at a time, and one more waits."""
        self.launch(upstream="processes = 4\n")
        clients = self.hold(4)
        self.assertEqual(sorted(self.began(self.path("go"))), sorted(self.starts(4)))
        fifth = self.send("/pid")
        self.release()
        for client in clients + [fifth]:
            self.assert_answer(client.read_response())
        self.assertEqual(len(self.starts()), 4)

    def test_kept_connections(self):
        """One process, whose connection is kept: whoever comes next gets it."""
        self.launch(upstream="keepalive = on\nidle_timeout = 10m\n", sections=PROXIES + LONG)
        clients = [self.client() for _ in range(3)]
        pid = self.get("/pid")
        for turn in range(30):
            params = POST if turn % 2 else PLAIN
            self.assertEqual(self.get("/pid", params=params, client=clients[turn % 3]), pid)
        waiting = self.hold(1) + [self.send("/pid") for _ in range(5)]
        self.release()
        for client in waiting:
            self.assert_answer(client.read_response(), pid.encode())

    def test_kept_connection_of_a_process_that_ends(self):
        """It goes with the process; the next request does not wait for it."""
        self.launch(upstream="keepalive = on\nidle_timeout = 10m\n", sections=PROXIES + LONG)
        for params in (PLAIN, POST):
            before = self.get("/finish", "0")
            self.shim.wait_log(r"application fcgi-test-started\[%s\] exited with status 0 .*; starting another$"
                               % before)
            self.assertNotEqual(self.get("/pid", params=params), before)
        self.assertEqual(self.pauses(), [])


class Ends(ApplicationTest):
    """What happens when a process ends."""

    def test_crash_loop(self):
        """Pauses that grow, a line that says it all, and requests that are refused at once."""
        self.launch("/bin/sh -c 'echo; echo no database; echo; exit 3'")
        self.shim.wait_log(r" warning: application sh\[\d+\] exited with status 3 after \d+ ms, its last words: "
                           r"no database; next start in 100 ms$")
        self.assert_refusal(self.ask("/pid"), 502)
        self.shim.wait_log(r" error: no answer from the application at /bin/sh: .*; application sh\[\d+\] exited with "
                           r"status 3 after \d+ ms, its last words: no database$")
        self.shim.wait_log("next start in 800 ms")
        used = cpu_seconds(self.shim.pid)
        self.shim.wait_log("next start in 1600 ms")
        self.assertLess(cpu_seconds(self.shim.pid) - used, 0.5)
        self.assertEqual(self.pauses()[:5], [100, 200, 400, 800, 1600])
        self.assertLessEqual(len(self.starts()), len(self.pauses()) + 1)

    def test_program_that_does_nothing(self):
        """Status 0 is no excuse."""
        self.launch("true")
        self.shim.wait_log(r" warning: application true\[\d+\] exited with status 0 after \d+ ms and said nothing; "
                           "next start in 100 ms$")
        self.shim.wait_log("next start in 800 ms")
        pause, wanted = 0, []
        log = self.shim.log()
        for lived in re.findall(r"application true\[\d+\] exited with status 0 after (\d+) ms", log):
            # Whom a slow machine has let live for a second may have done something.
            pause = 0 if int(lived) >= 1000 else max(100, 2 * pause)
            wanted.append(pause)
        self.assertEqual(self.pauses(log), [pause for pause in wanted if pause])
        self.assertLessEqual(log.count("started application"), len(wanted) + 1)

    def test_crash(self):
        """Its request is refused, the next one is served by its successor."""
        self.launch()
        before = self.get("/pid")
        for number, name in ((6, "Aborted"), (9, "Killed")):
            self.assert_refusal(self.ask("/crash", str(number)), 502)
            self.shim.wait_log(r"warning: application fcgi-test-started\[%s\] was ended by signal %d \(%s\) after \d+ "
                               "ms and said nothing; next start in 100 ms$" % (before, number, name))
            self.wait_served()
            after = self.get("/pid")
            self.assertNotEqual(after, before)
            before = after
        self.assertEqual(self.pauses(), [100, 100])

    def test_others_serve_on(self):
        """While one process lives no request is refused."""
        self.launch(upstream="processes = 2\n")
        self.assert_refusal(self.ask("/crash", "6"), 502)
        for _ in range(30):
            self.get("/pid")
        self.starts(3)
        clients = self.hold(2)
        self.release()
        for client in clients:
            self.assert_answer(client.read_response())

    def test_who_waits_for_a_process_that_dies(self):
        """Nobody waits for the end of the pause."""
        self.launch(upstream="connections = 3\n")
        clients = self.hold(1) + [self.send("/pid"), self.send("/pid")]
        for client in clients:
            client.wait_sent()
        os.kill(self.began(self.path("go"))[0], signal.SIGKILL)
        for client in clients:
            self.assert_refusal(client.read_response(), 502)
        self.wait_served()

    def test_normal_end(self):
        """With requests waiting, connected and not: none is refused, and none waits for a pause."""
        for cap in ("connections = 3\n", ""):
            with self.subTest(cap=cap):
                self.launch(upstream=cap)
                clients = [self.send("/finish", "0") for _ in range(9)]
                answers = [client.read_response() for client in clients]
                for answer in answers:
                    self.assert_answer(answer)
                self.assertEqual(len({answer.body for answer in answers}), 9)
                self.assertEqual(self.pauses(), [])

    def test_posts_to_processes_that_end(self):
        """On a kept connection they would meet one that is about to end, and could not be sent again."""
        self.launch(upstream="processes = 2\nkeepalive = on\n")
        clients = [self.client() for _ in range(40)]
        for client in clients:
            client.send(fcgi.request(change(POST, ("QUERY_STRING", "0"), SCRIPT_NAME="/finish")))
        for client in clients:
            self.assert_answer(client.read_response())
        self.assertEqual(self.pauses(), [])

    def test_ends_in_quick_succession(self):
        """Who ends as it should is replaced at once, but not as fast as can be."""
        self.launch()
        began = time.monotonic()
        for _ in range(30):
            self.get("/finish", "0")
        self.assertGreater(time.monotonic() - began, 28 * 0.018)
        self.assertEqual(self.pauses(), [])

    def test_end_with_another_status_behind_an_answer(self):
        self.launch()
        self.get("/finish", "4")
        self.shim.wait_log(r"warning: application fcgi-test-started\[\d+\] exited with status 4 after \d+ ms and said "
                           "nothing; next start in 100 ms$")
        self.wait_served()

    def test_what_it_started_ends_with_it(self):
        self.launch()
        child = int(self.get("/child"))
        self.assertTrue(processes.runs(child))
        self.get("/finish", "0")
        wait_for(lambda: not processes.runs(child), what="its child to end")
        self.get("/pid")

    def test_descriptors_of_many_restarts(self):
        self.launch()
        self.get("/finish", "0")
        idle = wait_for(lambda: self.get("/pid") and self.shim.fds(), what="it to serve")
        for _ in range(30):
            self.get("/finish", "0")
        wait_for(lambda: self.get("/pid") and self.shim.fds() <= idle, what="as many descriptors as before")

    @unittest.skipUnless(PHP_CGI, "NOT INSTALLED: php-cgi")
    def test_php_max_requests(self):
        """Thirty requests, three for each process, on one process and on two: no failure and no pause."""
        php = os.path.join(os.path.dirname(__file__), "..", "support", "www", "index.php")
        params = change(PLAIN, ("SCRIPT_FILENAME", os.path.realpath(php)), ("REDIRECT_STATUS", "200"),
                        ("QUERY_STRING", "json"))
        for upstream in ("", "processes = 2\n", "keepalive = on\n"):
            with self.subTest(upstream=upstream):
                self.launch("php-cgi -n", "environment = PHP_FCGI_MAX_REQUESTS\n" + upstream,
                            env={"PHP_FCGI_MAX_REQUESTS": "3", "PHP_FCGI_CHILDREN": "2"})
                clients = [fcgi.Client(self.address) for _ in range(30)]
                for client in clients:
                    client.send(fcgi.request(params))
                for client in clients:
                    self.assert_answer(client.read_response())
                    client.close()
                self.assertEqual(self.pauses(), [])
                self.starts(10)


class CannotStart(ApplicationTest):
    """A program that cannot be run."""

    def make(self, name, text, mode=0o755):
        folder = tempfile.mkdtemp(prefix="realip-")
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, name)
        with open(path, "w") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def assert_fails(self, command, why):
        self.launch(command, ready=False)
        self.assertEqual(self.shim.wait_exit(), 1)
        self.assertRegex(self.shim.log(), r" error: cannot start the application %s%s\n\Z" % (re.escape(command), why))

    def test_at_the_start(self):
        """The server does not start, and says what to do."""
        self.assert_fails("/nonexistent/app", ": No such file or directory; is it installed, and is that its path[?]")
        self.assert_fails("no-such-application", ": there is none in PATH; install it, or write its absolute path")
        self.assert_fails(self.make("app", "#!/bin/sh\n", 0o644),
                          ": Permission denied; may the user that runs the shim execute it[?]")
        self.assert_fails(self.make("app", "echo\n"), ": Exec format error; a script needs a first line like #!/bin/sh")
        self.assert_fails(self.make("app", "#!/nonexistent\n"),
                          ": No such file or directory; the interpreter or dynamic linker that it names is missing")

    def test_no_folder_for_the_socket(self):
        self.launch(STARTED, ready=False, env={"TMPDIR": "/nonexistent"})
        self.assertEqual(self.shim.wait_exit(), 1)
        self.assertIn("error: cannot make a private socket: making a folder in /nonexistent: No such file or directory",
                      self.shim.log())

    @unittest.skipIf(is_sanitized(), "AddressSanitizer itself needs /proc")
    def test_without_proc(self):
        hidden = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh"]
        if subprocess.run([*hidden, "true"], capture_output=True).returncode:
            self.skipTest("only who may mount can hide /proc")
        self.launch(STARTED, ready=False, wrapper=hidden)
        self.assertEqual(self.shim.wait_exit(), 1)
        self.assertRegex(self.shim.log(), r"error: cannot make a private socket: in the folder /\S+: No such file or "
                                          r"directory \(/proc is not mounted, and it takes that\)\n\Z")

    def test_later(self):
        """Pauses, until it can be run again."""
        path = self.make("app", "")
        shutil.copy(STARTED, path)
        self.launch(path)
        pid = int(self.get("/pid"))
        os.rename(path, path + ".away")
        os.kill(pid, signal.SIGKILL)
        failure = "cannot start the application %s: No such file or directory; is it installed, and is that its path[?]"
        failure %= path
        self.shim.wait_log(r" warning: %s; next start in 200 ms$" % failure)
        self.assert_refusal(self.ask("/pid"), 502)
        self.shim.wait_log(" error: no answer from the application at %s: .*; %s" % (path, failure))
        os.rename(path + ".away", path)
        self.wait_served()

    def test_one_of_two(self):
        """The other serves on, whatever comes on whatever connection."""
        path = self.make("app", "")
        shutil.copy(STARTED, path)
        self.launch(path, "processes = 2\nkeepalive = on\nidle_timeout = 10m\n", PROXIES + LONG)
        clients = self.hold(2)
        self.release()
        for client in clients:
            self.assert_answer(client.read_response())
        dies, lives = self.began(self.path("go"))
        os.rename(path, path + ".away")
        os.kill(dies, signal.SIGKILL)
        self.shim.wait_log("warning: cannot start the application")
        for params in (POST, PLAIN, POST, POST):
            self.assertEqual(self.get("/pid", params=params), str(lives))

    def test_nothing_behind_the_dashes(self):
        self.launch(None, args=["--"], ready=False)
        self.assertEqual(self.shim.wait_exit(), 2)
        self.assertIn("error: the application to start is missing: write it behind `--`", self.shim.log())


class Stops(ApplicationTest):
    """TERM to the shim."""

    def stop(self, *numbers):
        for number in numbers or (signal.SIGTERM,):
            self.shim.signal(number)
        self.assertEqual(self.shim.wait_exit(), 0)

    def noting(self):
        """A command that notes TERM in a file of its own, and the file."""
        folder = tempfile.mkdtemp(prefix="realip-term-")
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "noted")
        return "%s -t %s" % (STARTED, path), path

    def assert_noted(self, path, count=1):
        with open(path) as file:
            self.assertEqual(file.read(), "TERM\n" * count)

    def test_term_reaches_an_idle_application_at_once(self):
        command, path = self.noting()
        self.launch(command, "processes = 3\n", PROXIES + LONG)
        clients = self.hold(3)
        self.release()
        for client in clients:
            self.assert_answer(client.read_response())
        idle = self.client()
        self.get("/pid", client=idle)
        self.stop()
        self.assert_noted(path, 3)

    def test_running_requests_end_first(self):
        command, path = self.noting()
        self.launch(command, sections=PROXIES + LONG)
        client = self.hold(1)[0]
        self.shim.signal(signal.SIGTERM)
        self.shim.wait_log("TERM: no new requests, 1 running")
        self.assertFalse(os.path.exists(path))
        self.release()
        self.assert_answer(client.read_response())
        self.assertEqual(self.shim.wait_exit(), 0)
        self.assert_noted(path)

    def test_requests_on_their_way_end_first(self):
        """Parameters of which the rest comes behind the signal."""
        command, path = self.noting()
        self.launch(command, sections=PROXIES + LONG)
        whole = fcgi.request(PLAIN)
        client = self.client()
        client.send(whole[:30])
        client.wait_sent()
        self.shim.signal(signal.SIGTERM)
        self.shim.wait_log("TERM: no new requests, 0 running")
        client.send(whole[30:])
        self.assert_answer(client.read_response())
        self.assertEqual(self.shim.wait_exit(), 0)
        self.assert_noted(path)

    def test_requests_that_wait_for_a_successor(self):
        """Processes that end as they should are replaced until the last request is answered."""
        self.launch(sections=PROXIES + LONG)
        clients = self.hold(1) + [self.send("/finish", "0") for _ in range(3)]
        for client in clients:
            client.wait_sent()
        self.shim.signal(signal.SIGTERM)
        self.shim.wait_log("TERM: no new requests, 4 running")
        self.release()
        for client in clients:
            self.assert_answer(client.read_response())
        self.assertEqual(self.shim.wait_exit(), 0)
        self.assertEqual(self.pauses(), [])

    def test_kept_connections_are_closed_before_term(self):
        """A libfcgi program that waits on one for its next request would not notice TERM."""
        folder = tempfile.mkdtemp(prefix="realip-term-")
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "order")
        keeper = os.path.join(os.path.dirname(fcgi.__file__), "keeper.py")
        self.launch("%s -B %s %s" % (sys.executable, keeper, path), "keepalive = on\nidle_timeout = 10m\n",
                    PROXIES + LONG)
        self.assertEqual(self.get("/kept"), "kept")
        self.stop()
        with open(path) as file:
            self.assertEqual(file.read(), "closed")

    def test_application_that_does_not_mind_term(self):
        self.launch(STARTED + " -i", sections=PROXIES + "[process]\nshutdown_timeout = 1s\n")
        self.wait_served()
        self.stop()
        self.assertIn("warning: killing 1 processes of %s\n" % STARTED, self.shim.log())

    def test_running_request_that_does_not_end(self):
        """TERM comes when half of shutdown_timeout is over."""
        command, path = self.noting()
        self.launch(command, sections=PROXIES + "[process]\nshutdown_timeout = 5s\n")
        client = self.hold(1)[0]
        self.shim.signal(signal.SIGTERM)
        self.assert_refusal(client.read_response(), 502)
        self.assertEqual(self.shim.wait_exit(), 0)
        self.assert_noted(path)

    def test_second_signal(self):
        self.launch(STARTED + " -i", sections=PROXIES + LONG)
        self.wait_served()
        self.shim.signal(signal.SIGTERM)
        self.shim.wait_log("TERM: no new requests")
        self.stop(signal.SIGINT)

    def test_grandchildren(self):
        """The whole group, though only the leader is told to end."""
        command, path = self.noting()
        self.launch(command, sections=PROXIES + LONG)
        child = int(self.get("/child"))
        self.stop()
        wait_for(lambda: not processes.runs(child), what="its child to end")
        self.assert_noted(path)

    def test_between_two_starts(self):
        self.launch("false", sections=PROXIES + LONG)
        self.shim.wait_log("next start in 800 ms")
        self.stop()

    def test_kill_of_the_shim(self):
        """Not even that leaves a process or a file behind."""
        self.launch(STARTED + " -i", "processes = 2\n")
        self.wait_served()
        wait_for(lambda: len(processes.with_variable("TMPDIR", self.tmp)) == 3, what="all processes")
        self.shim.kill()
        wait_for(lambda: not processes.with_variable("TMPDIR", self.tmp), what="the application to end")


if __name__ == "__main__":
    unittest.main()
