#!/usr/bin/env python3
"""Reload: what the file says counts from the next request on; nothing is closed, nothing is lost."""

import os
import re
import signal
import socket
import time
import unittest

import fcgi
import processes
from application import STARTED, ApplicationTest
from fcgi import PARAMS, STDIN, Responder, begin, pairs, record, request
from load import FcgiAsker, Load
from relay import PLAIN, POST, PROXIES, RelayTest, change
from shim import is_sanitized

CLIENT, PROXY = "203.0.113.7", "10.0.0.1"
VIA_PROXY = change(PLAIN, ("HTTP_X_FORWARDED_FOR", CLIENT), REMOTE_ADDR=PROXY)
IN_FORCE = r"info: .*configuration %d is in force"


def tell(name=""):
    """A script: the answer is the name, and who the client is."""
    def script(connection):
        while True:
            now = connection.read_request()
            if now is None:
                return
            connection.reply(("%s %s" % (name, now.get("REMOTE_ADDR")[0].decode())).strip().encode())
            if not now.keep:
                return
    return script


class ReloadTest(RelayTest):
    generation = 1

    def ini(self, upstream=None, sections=PROXIES, more="", listen="address = unix:{dir}/shim.sock"):
        return "[listen]\n%s\n\n[upstream]\n%s\n%s\n\n%s\n" % (
            listen, upstream or "address = " + self.app.address, more, sections)

    def reload(self, text):
        """Has the shim take over this file, and waits until it has."""
        self.shim.write_ini(text)
        self.shim.signal(signal.SIGHUP)
        self.wait_generation()

    def wait_generation(self):
        self.generation += 1
        self.shim.wait_log(IN_FORCE % self.generation)

    def refuse(self, text, *lines):
        """The shim says these lines, and goes on as before."""
        self.shim.write_ini(text)
        before = self.shim.log().count("not reloaded")
        self.shim.signal(signal.SIGHUP)
        self.shim.wait_log("error: .*: not reloaded; configuration %d stays in force" % self.generation,
                           count=before + 1)
        for line in lines:
            self.assertRegex(self.shim.log(), line)

    def who(self, client=None, params=VIA_PROXY):
        response = client.ask(params, keep=True) if client else fcgi.ask(self.address, params)
        self.assert_answer(response)
        return response.body.decode()


class Policy(ReloadTest):
    def test_a_kept_front_connection_sees_it(self):
        self.start(tell())
        client = self.client()
        self.assertEqual(self.who(client), CLIENT)
        self.reload(self.ini(sections="[proxy test]\ntrust = 10.9.0.0/16\n"))
        self.assertEqual(self.who(client), PROXY)
        self.reload(self.ini(sections="[proxy test]\ntrust = 10.0.0.0/8\n[access]\ndeny = %s\n" % CLIENT))
        self.assert_refusal(client.ask(VIA_PROXY, keep=True), 403)
        self.reload(self.ini())
        self.assertEqual(self.who(client), CLIENT)

    def test_more_groups_and_headers_than_before(self):
        self.start(tell())
        sections = PROXIES + "".join("[proxy p%d]\ntrust = 10.%d.0.1\nheader = X-H%d\n" % (n, n + 1, n) for n in range(50))
        self.reload(self.ini(sections=sections))
        params = change(PLAIN, ("HTTP_X_H49", CLIENT), REMOTE_ADDR="10.50.0.1")
        self.assertEqual(self.who(params=params), CLIENT)
        self.reload(self.ini())
        self.assertEqual(self.who(params=params), "10.50.0.1")

    def test_the_moment_is_the_end_of_the_parameters(self):
        self.start(tell())
        client = self.client()
        raw = pairs(VIA_PROXY)
        client.send(begin(keep=True) + record(PARAMS, raw))
        client.wait_sent()
        self.reload(self.ini(sections="[proxy test]\ntrust = 10.9.0.0/16\n"))
        client.send(record(PARAMS) + record(STDIN))
        self.assert_answer(client.read_response(), PROXY.encode())

    def test_a_smaller_limit_inside_the_parameters(self):
        self.start(tell())
        client = self.client()
        client.send(begin(keep=True) + record(PARAMS, pairs(PLAIN + [("X", "x" * 30000)])))
        client.wait_sent()
        self.reload(self.ini(sections=PROXIES + "[limits]\nparams_size = 4k\n"))
        client.send(record(PARAMS, pairs([("A", "b")])) + record(PARAMS) + record(STDIN))
        self.assert_refusal(client.read_response(), 431)
        self.assertEqual(self.who(client), CLIENT)

    def test_log_level(self):
        self.start(tell())
        denied = "[access]\ndeny = %s\n" % CLIENT
        self.reload(self.ini(sections=PROXIES + denied))
        self.assert_refusal(fcgi.ask(self.address, VIA_PROXY), 403)
        self.shim.wait_log("refused a request with 403")
        self.shim.write_ini(self.ini(sections=PROXIES + denied + "[log]\nlevel = warning\n"))
        self.shim.signal(signal.SIGHUP)
        refused = self.shim.log().count("refused a request")

        def is_quiet():
            self.assert_refusal(fcgi.ask(self.address, VIA_PROXY), 403)
            before, now = is_quiet.count, self.shim.log().count("refused a request")
            is_quiet.count = now
            return before == now
        is_quiet.count = refused
        self.wait(is_quiet, "the log to become quiet")


class Wrong(ReloadTest):
    def test_an_invalid_file(self):
        """All errors are said, with file and line, and nothing of it counts."""
        self.start(tell())
        bad = self.ini(sections="[proxy test]\ntrust = 10.0.0.300\n[log]\nlevel = loud\n")
        path = re.escape(self.shim.path)
        self.refuse(bad, "error: %s:9: trust = \"10.0.0.300\"" % path, "error: %s:11: level = \"loud\"" % path)
        self.assertEqual(self.who(), CLIENT)
        os.remove(self.shim.path)
        self.shim.signal(signal.SIGHUP)
        self.shim.wait_log("error: %s: cannot read the configuration: No such file" % path)
        self.reload(self.ini())
        self.assertEqual(self.who(), CLIENT)

    def test_no_application(self):
        self.start(tell())
        self.refuse("[listen]\naddress = unix:{dir}/shim.sock\n" + PROXIES, "no application to send to")
        self.assertEqual(self.who(), CLIENT)

    def test_programs_that_others_can_write(self):
        """What is refused at the start is refused here, too."""
        self.start(tell(), sandbox=False)
        root = os.path.join(os.path.dirname(self.shim.path), "cgi-bin")
        os.mkdir(root)
        os.chmod(root, 0o777)
        self.refuse(self.ini("cgi = script\ncgi_root = " + root),
                    r"error: .*cgi_root = .*: every user of this machine can write")
        self.assertEqual(self.who(), CLIENT)
        os.chmod(root, 0o755)
        self.reload(self.ini("cgi = script\ncgi_root = " + root))

    def test_listen_and_process_stay(self):
        self.start(tell())
        text = self.ini(listen="mode = 0666\naddress = unix:{dir}/other.sock",
                        sections=PROXIES + "[process]\nshutdown_timeout = 1s\n")
        self.reload(text)
        for line, key in ((2, r"\[listen\] mode"), (3, r"\[listen\] address"), (13, r"\[process\] shutdown_timeout")):
            self.assertRegex(self.shim.log(), "warning: %s:%d: %s has changed: that takes effect when the shim is "
                             "started again" % (re.escape(self.shim.path), line, key))
        self.assertEqual(self.who(), CLIENT)
        self.assertFalse(os.path.exists(self.shim.dir + "/other.sock"))
        self.reload(self.ini())
        self.assertEqual(len(re.findall("has changed: that takes effect", self.shim.log())), 3)
        self.assertEqual(self.shim.stop(), 0)

    def test_a_signal_as_early_as_can_be(self):
        """It neither ends the shim nor is lost."""
        for pause in (0.001, 0.003, 0.006, 0.01, 0.02):
            self.start(tell(), ready=False)
            time.sleep(pause)  # any moment will do, so no condition to wait for
            self.shim.signal(signal.SIGHUP)
            try:
                self.shim.wait_log("ready: requests go to")
            except AssertionError:
                self.assertEqual(self.shim.wait_exit(), -signal.SIGHUP)  # it had not even begun
                self.assertNotIn("fcgi-realip", self.shim.log())

    def test_signals_in_a_row(self):
        """While one load is under way, the next signals become one more."""
        self.start(tell())
        for n in range(20):
            self.shim.write_ini(self.ini(sections="[proxy test]\ntrust = 10.%d.0.0/16\n" % n))
            self.shim.signal(signal.SIGHUP)
        params = change(VIA_PROXY, REMOTE_ADDR="10.19.0.1")
        self.wait(lambda: self.who(params=params) == CLIENT, "the last one to count")

    def test_an_end_during_a_reload(self):
        for _ in range(5):
            self.start(tell())
            self.shim.signal(signal.SIGHUP)
            self.shim.signal(signal.SIGTERM)
            self.shim.signal(signal.SIGHUP)
            self.assertEqual(self.shim.wait_exit(), 0)


class Upstream(ReloadTest):
    def other(self, script=None, **options):
        app = Responder(script or tell("other"), **options)
        self.addCleanup(self.stop_app, app)
        return app

    def test_another_address(self):
        """Running requests end where they are, the next ones go elsewhere; kept connections are closed."""
        keep = "keepalive = on\nconnections = 4"
        self.start(tell("first"), upstream=keep)
        other = self.other()
        client = self.client()
        self.assertEqual(self.who(client), "first " + CLIENT)
        self.assertEqual(self.app.open, 1)
        self.reload(self.ini("address = " + other.address, more=keep))
        self.app.wait_closed()
        self.assertEqual(self.who(client), "other " + CLIENT)
        self.assertEqual(self.who(client), "other " + CLIENT)
        self.assertEqual(len(other.connections), 1)
        self.shim.wait_log("requests go to %s from now on" % re.escape(other.address))
        self.assertEqual(len(self.app.requests), 1)

    def test_a_running_request(self):
        """It ends where it is, and its connection is not kept."""
        keep = "keepalive = on\nconnections = 4"
        go = []

        def script(connection):
            connection.read_request()
            connection.responder.wait(lambda: go)
            connection.reply(b"late")
            self.assertIsNone(connection.read_request())
        self.start(script, upstream=keep)
        other = self.other()
        client, second = self.client(), self.client()
        client.send(request(VIA_PROXY, keep=True))
        self.app.wait_requests(1)
        self.reload(self.ini("address = " + other.address, more=keep))
        self.assertEqual(self.who(second), "other " + CLIENT)
        go.append(True)
        self.assert_answer(client.read_response(), b"late")
        self.app.wait_closed()
        self.assertEqual(self.who(client), "other " + CLIENT)

    def test_requests_that_wait(self):
        """They go to the new application, as many at a time as it may have, whatever the old one still does."""
        go = []

        def script(connection):
            connection.read_request()
            connection.responder.wait(lambda: go)
            connection.reply(b"late")
        self.start(script, upstream="connections = 1")
        other = self.other()
        first = self.client()
        first.send(request(VIA_PROXY))
        self.app.wait_requests(1)
        waiting = [self.client() for _ in range(5)]
        for client in waiting:
            client.send(request(VIA_PROXY))
            client.wait_sent()
        self.reload(self.ini("address = " + other.address, more="connections = 1"))
        for client in waiting:
            self.assert_answer(client.read_response(), b"other " + CLIENT.encode())
        self.assertEqual(other.most_open, 1)
        go.append(True)
        self.assert_answer(first.read_response(), b"late")

    def test_a_request_that_cannot_connect(self):
        """Its application has no room; it goes to the new one."""
        self.start(app="unix:{dir}/app.sock")
        full = socket.socket(socket.AF_UNIX)
        self.addCleanup(full.close)
        full.bind(self.shim.dir + "/app.sock")
        full.listen(0)
        client = self.client()
        fillers = []
        for _ in range(2):
            filler = socket.socket(socket.AF_UNIX)
            self.addCleanup(filler.close)
            filler.setblocking(False)
            try:
                filler.connect(self.shim.dir + "/app.sock")
            except BlockingIOError:
                break
            fillers.append(filler)
        client.send(request(VIA_PROXY))
        client.wait_sent()
        other = self.other()
        self.reload(self.ini("address = " + other.address))
        self.assert_answer(client.read_response(), b"other " + CLIENT.encode())

    def test_keepalive_on_and_off(self):
        self.start(tell())
        client = self.client()
        on = self.ini(more="keepalive = on\nconnections = 2")
        self.assertEqual(self.who(client), CLIENT)
        self.app.wait_closed()
        self.reload(on)
        for _ in range(3):
            self.assertEqual(self.who(client), CLIENT)
        self.assertEqual(self.app.open, 1)
        self.assertEqual(len(self.app.connections), 2)
        self.reload(self.ini())
        self.app.wait_closed()
        self.assertEqual(self.who(client), CLIENT)
        self.app.wait_closed()

    def test_a_request_that_asked_to_keep_nothing(self):
        """Its connection is not kept, although the file now says so: the application was told otherwise."""
        go = []

        def script(connection):
            now = connection.read_request()
            connection.responder.wait(lambda: go)
            connection.reply(b"keep" if now.keep else b"close")
            if now.keep:
                self.assertIsNone(connection.read_request())
            else:
                self.assertIsNone(connection.read_record())
        self.start(script)
        client = self.client()
        client.send(request(POST, keep=True))
        self.app.wait_requests(1)
        self.reload(self.ini(more="keepalive = on\nconnections = 2"))
        go.append(True)
        self.assert_answer(client.read_response(), b"close")
        self.app.wait_closed()
        self.assert_answer(client.ask(POST, keep=True), b"keep")

    def test_caps_and_queue(self):
        go = []

        def script(connection):
            while connection.read_request():
                connection.responder.wait(lambda: go)
                connection.reply()
        self.start(script, upstream="connections = 1\nqueue = 1")
        clients = [self.client() for _ in range(4)]
        clients[0].send(request(POST))
        self.app.wait_requests(1)
        clients[1].send(request(POST))
        clients[1].wait_sent()
        self.assert_refusal(self.client().ask(POST), 503)
        self.reload(self.ini(more="connections = 2\nqueue = 2"))
        self.app.wait_requests(2)  # who waited need not wait any more
        for client in clients[2:]:
            client.send(request(POST))
            client.wait_sent()
        self.assert_refusal(self.client().ask(POST), 503)
        self.reload(self.ini(more="connections = 1\nqueue = 0"))
        self.assert_refusal(self.client().ask(POST), 503)
        go.append(True)
        for client in clients:
            self.assert_answer(client.read_response())
        self.assertEqual(self.app.most_open, 2)

    def test_fewer_connections_than_are_kept(self):
        go = []

        def script(connection):
            while connection.read_request():
                connection.responder.wait(lambda: go)
                connection.reply()
        keep = "keepalive = on\nidle_timeout = 1h\n"
        self.start(script, upstream=keep + "connections = 4")
        clients = [self.client() for _ in range(4)]
        for client in clients:
            client.send(request(PLAIN, keep=True))
        self.app.wait_requests(4)
        self.reload(self.ini(more=keep + "connections = 3"))
        go.append(True)
        for client in clients:
            self.assert_answer(client.read_response())
        self.app.wait(lambda: self.app.open == 3)
        self.reload(self.ini(more=keep + "connections = 1"))
        self.app.wait(lambda: self.app.open == 1)
        self.assert_answer(clients[0].ask(PLAIN, keep=True))
        self.assertEqual(len(self.app.connections), 4)

    def test_time_limits(self):
        """They hold for what begins from now on; what runs keeps its time."""
        def script(connection):
            connection.read_request()
            connection.read_record()
        self.start(script, upstream="read_timeout = 1h")
        first = self.client()
        first.send(request(PLAIN))
        self.app.wait_requests(1)
        self.reload(self.ini(more="read_timeout = 200ms"))
        self.assert_refusal(self.client().ask(PLAIN), 504)
        self.assertTrue(first.is_quiet(0.3))

    def test_requests_limit(self):
        go = []

        def script(connection):
            connection.read_request()
            connection.responder.wait(lambda: go)
            connection.reply()
        self.start(script)
        first = self.client()
        first.send(request(PLAIN))
        self.app.wait_requests(1)
        self.reload(self.ini(sections=PROXIES + "[limits]\nrequests = 1\n"))
        self.assert_refusal(self.client().ask(PLAIN), 503)
        go.append(True)
        self.assert_answer(first.read_response())

    def test_back_and_forth_under_load(self):
        """No request is lost, and each reload is seen within a second."""
        for keep in ("", "keepalive = on\nconnections = 3"):
            self.generation = 1
            self.start(tell("first"), upstream=keep)
            other = self.other()
            bodies = (b"first " + CLIENT.encode(), b"other " + CLIENT.encode())

            def check(response):
                return None if response.end == (0, 0) and response.body in bodies else repr(response)
            with Load(lambda: FcgiAsker(self.address, VIA_PROXY, check), threads=4) as kept, \
                    Load(lambda: FcgiAsker(self.address, VIA_PROXY, check, kept=False), threads=4) as single:
                for n in range(25):
                    to = (other, self.app)[n % 2]
                    self.reload(self.ini("address = " + to.address, more=keep))
                    began = time.monotonic()
                    self.assertEqual(self.who(), ("other ", "first ")[n % 2] + CLIENT)
                    self.assertLess(time.monotonic() - began, 1)
                    kept.wait_more(20)
                    single.wait_more(20)
            self.assertEqual((kept.wrong, single.wrong), ([], []))
            self.assertEqual(self.shim.stop(), 0)


class Leaks(ReloadTest):
    def again(self, text):
        """Has the file read, whatever comes of it."""
        count = self.shim.log().count(" in force")
        self.shim.write_ini(text)
        self.shim.signal(signal.SIGHUP)
        self.shim.wait_log(" in force$", count=count + 1)

    def test_descriptors_and_memory(self):
        """Hundreds of reloads of all kinds leave nothing behind; AddressSanitizer's build looks for memory."""
        self.start(tell(), sandbox=False)
        with open(self.shim.dir + "/list.txt", "w") as file:
            file.write("10.0.0.0/8\n")
        sections = "[proxy test]\ntrust_file = list.txt\n"
        first = self.ini(sections=sections)
        texts = [first, self.ini(), self.ini(sections=sections, more="connections = 7"), self.ini("cgi = /bin/true"),
                 self.ini("cgi = script\ncgi_root = /usr/lib"), self.ini(sections="[proxy nonsense\n"),
                 self.ini("command = %s" % STARTED)]
        for round in range(6):
            for text in texts * 8:
                self.again(text)
            self.again(first)
            self.assertEqual(self.who(), CLIENT)
            if round == 0:
                self.wait(lambda: not processes.children(self.shim.pid), "the applications to end")
                descriptors, memory = self.shim.fds(), self.shim.rss()
        self.wait(lambda: self.shim.fds() <= descriptors, "%d descriptors" % descriptors)
        if not is_sanitized():
            self.assertLess(self.shim.rss(), memory + 1024 * 1024)


class Kinds(ApplicationTest, ReloadTest):
    """From one kind of application to another, and from one command to another."""

    def upstream(self, command, more=""):
        return "[listen]\naddress = unix:{dir}/shim.sock\n[upstream]\n%s\n%s\n%s\n" % (command, more, PROXIES)

    def test_another_command(self):
        """The new one is there before the old one goes, which may end its work; TERM comes when that is done."""
        self.launch("%s -t {dir}/term" % STARTED)
        old = self.get("/pid")
        waiting, = self.hold()
        self.reload(self.upstream("command = %s -t {dir}/other" % STARTED))
        new = self.get("/pid")
        self.assertNotEqual(new, old)
        self.assertIn(self.path("other"), self.lines("/arguments"))
        self.assertTrue(processes.runs(int(old)))
        self.assertFalse(os.path.exists(self.path("term")))
        self.release()
        self.assert_answer(waiting.read_response(), old.encode())
        self.wait(lambda: not processes.runs(int(old)), "the old one to end")
        with open(self.path("term")) as file:
            self.assertEqual(file.read(), "TERM\n")
        self.shim.wait_log(r"application fcgi-test-started\[%s\] exited with status 0" % old)
        self.assertEqual(self.get("/pid"), new)

    def test_the_same_command(self):
        """Nothing is started for a file that says the same of it."""
        self.launch()
        pid = self.get("/pid")
        self.reload(self.upstream("command = %s" % STARTED, "queue = 7"))
        self.assertEqual(self.get("/pid"), pid)
        self.assertEqual(len(self.starts()), 1)

    def test_processes_and_environment(self):
        self.launch(env={"PET": "cat"})
        self.assertNotIn("PET=cat", self.lines("/environ"))
        self.reload(self.upstream("command = %s" % STARTED, "environment = PET"))
        self.assertIn("PET=cat", self.lines("/environ"))
        self.reload(self.upstream("command = %s" % STARTED, "environment = PET\nprocesses = 3"))
        self.starts(5)
        self.wait(lambda: len(processes.children(self.shim.pid)) == 3, "three processes")

    def test_a_command_that_is_none(self):
        self.launch()
        pid = self.get("/pid")
        self.refuse(self.upstream("command = /nonexistent/program"), "cannot start the application /nonexistent/program")
        self.refuse(self.upstream("command = no-such-program-here"), "there is none in PATH")
        self.assertEqual(self.get("/pid"), pid)
        self.reload(self.upstream("command = %s" % STARTED, "queue = 9"))
        self.assertEqual(self.get("/pid"), pid)

    def test_one_that_does_not_mind_term(self):
        self.launch("%s -i" % STARTED, sections=PROXIES + "[process]\nshutdown_timeout = 300ms\n")
        old = self.get("/pid")
        began = time.monotonic()
        self.reload(self.upstream("command = %s" % STARTED))
        self.wait(lambda: not processes.runs(int(old)), "the old one to end")
        self.assertGreaterEqual(time.monotonic() - began, 0.3)
        self.shim.wait_log("warning: killing 1 processes of .*fcgi-test-started, which is not used any more")
        self.assert_answer(self.ask("/pid"))

    def test_the_end_with_two(self):
        """TERM while an old application still works: both end, and its request is answered."""
        self.launch("%s -t {dir}/term" % STARTED)
        old = self.get("/pid")
        waiting, = self.hold()
        self.reload(self.upstream("command = %s -t {dir}/other" % STARTED))
        self.get("/pid")
        self.shim.signal(signal.SIGTERM)
        self.release()
        self.assert_answer(waiting.read_response(), old.encode())
        self.assertEqual(self.shim.wait_exit(), 0)
        for name in ("term", "other"):
            with open(self.path(name)) as file:
                self.assertEqual(file.read(), "TERM\n", name)

    def test_a_kept_connection_to_the_old_one(self):
        """It ends before TERM: libfcgi does not hear it while it waits on one."""
        keep = "keepalive = on\nconnections = 1\nidle_timeout = 1h"
        self.launch(upstream=keep)
        old = self.get("/pid")
        self.reload(self.upstream("command = %s -t {dir}/other" % STARTED, keep))
        self.wait(lambda: not processes.runs(int(old)), "the old one to end")
        self.assertNotIn("killing", self.shim.log())

    def test_all_kinds(self):
        self.launch()
        app = Responder(tell("address"))
        self.addCleanup(self.stop_app, app)
        script = self.path("program")
        with open(script, "w") as file:
            file.write("#!/bin/sh\nprintf 'Content-Type: text/plain\\r\\n\\r\\ncgi %s' \"$REMOTE_ADDR\"\n")
        os.chmod(script, 0o755)
        client = self.client()
        kinds = {"command = %s" % STARTED: None, "address = " + app.address: "address " + CLIENT,
                 "cgi = " + script: "cgi " + CLIENT}
        for kind in list(kinds) * 2 + list(reversed(kinds)):
            self.reload(self.upstream(kind))
            response = client.ask(change(VIA_PROXY, SCRIPT_NAME="/pid"), keep=True)
            self.assert_answer(response, kinds[kind] and kinds[kind].encode())
            processes_left = 1 if kinds[kind] is None else 0
            self.wait(lambda: len(processes.children(self.shim.pid)) == processes_left, "the old one to end")

    def test_another_program(self):
        """A running CGI program ends under the old settings; max_processes counts at once."""
        def program(name):
            path = self.path(name)
            with open(path, "w") as file:
                file.write("#!/bin/sh\ntouch {dir}/%s.$$\nuntil test -e {dir}/go; do sleep 0.01; done\n"
                           "printf 'Content-Type: text/plain\\r\\n\\r\\n%s'\n".replace("{dir}", self.shim.dir)
                           % (name, name))
            os.chmod(path, 0o755)
            return path
        self.launch()
        one, two = program("one"), program("two")
        self.reload(self.upstream("cgi = " + one, "max_processes = 1"))
        clients = [self.client() for _ in range(3)]
        for client in clients[:2]:
            client.send(request(PLAIN))
        self.wait(lambda: len(self.began(self.path("one"))) == 1, "the program to run")
        self.reload(self.upstream("cgi = " + one, "max_processes = 2"))
        self.wait(lambda: len(self.began(self.path("one"))) == 2, "a second one to run")
        self.reload(self.upstream("cgi = " + two, "max_processes = 1"))
        clients[2].send(request(PLAIN))
        self.wait(lambda: len(self.began(self.path("two"))) == 1, "the new program to run")
        self.release()
        for client, name in zip(clients, (b"one", b"one", b"two")):
            self.assert_answer(client.read_response(), name)

    def test_back_and_forth_under_load(self):
        """From one command to another, and no request is lost. With -t: see endurance.py."""
        self.launch("%s -t {dir}/first" % STARTED, "processes = 2")

        def check(response):
            return None if response.end == (0, 0) and response.body.isdigit() else repr(response)
        params = change(PLAIN, SCRIPT_NAME="/pid")
        with Load(lambda: FcgiAsker(self.address, params, check), threads=4) as kept, \
                Load(lambda: FcgiAsker(self.address, params, check, kept=False), threads=4) as single:
            for n in range(20):
                self.reload(self.upstream("command = %s -t {dir}/%d" % (STARTED, n), "processes = 2"))
                kept.wait_more(10)
                single.wait_more(10)
        self.assertEqual((kept.wrong, single.wrong), ([], []))


if __name__ == "__main__":
    unittest.main()
