#!/usr/bin/env python3
"""Known requests give exactly the numbers that they must, and the status is shown to those who may see it alone."""

import json
import os
import signal
import threading
import unittest

import fcgi
from fcgi import ABORT, AUTHORIZER, PARAMS, STDIN, STDOUT, Client, begin, end, pairs, record, request
from processes import children
from relay import PLAIN, POST, change
from shim import PATIENCE, wait_for
from status import StatusTest, ask_page, page_params, some, trusted


class Counters(StatusTest):
    def test_nothing_has_happened(self):
        self.begin()
        status = self.status()
        self.assertEqual(some(status["requests"]), {})
        self.assertEqual(some(status["application"]), {})
        self.assertEqual(some(status["decisions"]), {})
        self.assertEqual(some(status["latency_us"]), {})
        self.assertEqual((status["refused"], status["trust_files"], status["generation"]), ([], [], 1))
        self.assertEqual(status["pid"], self.shim.pid)
        self.assertEqual(self.status()["requests"], dict(status["requests"], status_page=1))

    def test_answers_and_decisions(self):
        more = "".join("[proxy %s]\ntrust = 10.0.%d.0/24\nselect = %s\n" % (name, number, select)
                       for number, (name, select) in enumerate(
                           (("s", "single"), ("h", "hops:1"), ("l", "leftmost")), start=1))
        self.begin(sections=more)
        wanted = {}
        for count, (reason, params) in enumerate((
                ("untrusted-peer", PLAIN), ("untrusted-hop", trusted("192.0.2.7")),
                ("exhausted", trusted("10.0.0.9")), ("no-header", trusted(None)), ("malformed", trusted("?")),
                ("single", trusted("192.0.2.7", "10.0.1.1")), ("hops", trusted("192.0.2.7", "10.0.2.1")),
                ("leftmost", trusted("192.0.2.7", "10.0.3.1"))), start=1):
            for _ in range(count):
                self.assert_answer(self.ask(params))
            wanted[reason] = count
        status = self.status()
        self.assertEqual(some(status["decisions"]), wanted)
        self.assertEqual(some(status["requests"]), {
            "total": 36, "answered": 36, **some({"last_10_seconds": status["requests"]["last_10_seconds"]})})
        self.assertEqual(status["latency_us"]["count"], 36)
        times = [status["latency_us"][name] for name in ("p50", "p90", "p99", "p999", "max")]
        self.assertEqual(times, sorted(times))
        self.assertGreater(times[0], 0)
        self.assertLess(times[-1], PATIENCE * 1e6)
        self.assertEqual(some(status["refusals"]), {})

    def test_bytes(self):
        self.begin()
        sent = received = 0
        for size in (0, 10, 100000):
            wire = request(POST, b"x" * size)
            with Client(self.address) as client:
                client.send(wire)
                client.read_response()
                sent, received = sent + len(wire), received + len(client.received)
        self.app.wait_closed()
        status = self.status()
        ours = len(request(page_params("json")))
        self.assertEqual(status["web_server"]["bytes_from"], sent + ours)
        self.assertEqual(status["web_server"]["bytes_to"], received)
        self.assertEqual(status["application"]["bytes_to"], sum(len(one.received) for one in self.app.connections))
        self.assertEqual(status["application"]["bytes_from"], received)
        # The connections that asked whether it listens are counted, too.
        self.assertEqual(status["web_server"]["connections"], 1)
        again = self.status()["web_server"]
        self.assertEqual(again["accepted"], status["web_server"]["accepted"] + 1)

    def test_time_is_that_of_the_answer(self):
        """A quarter of a second in the application is one in the percentiles."""
        def script(connection):
            connection.read_request()
            threading.Event().wait(0.25)  # time that passes is what is tested
            connection.reply()
        self.begin(script)
        self.assert_answer(self.ask(PLAIN))
        latency = self.status()["latency_us"]
        self.assertGreaterEqual(latency["p50"], 250000)
        self.assertGreaterEqual(latency["sum"], 240000)
        self.assertLess(latency["sum"], PATIENCE * 1e6)

    def test_history(self):
        self.begin()
        for _ in range(5):
            self.ask(PLAIN)
        status = wait_for(lambda: self.status() if sum(self.status()["history"]) == 5 else None)
        self.assertEqual(len(status["history"]), 60)
        self.assertEqual(sum(status["history"][-10:]), status["requests"]["last_10_seconds"])


class Outcomes(StatusTest):
    def test_refusals_by_status(self):
        def script(connection):
            now = connection.read_request()
            if now.get("SCRIPT_NAME") == [b"/late"]:
                connection.read_eof()
            elif now.get("SCRIPT_NAME") == [b"/overloaded"]:
                connection.send(end(now.id, 0, fcgi.OVERLOADED))
        self.begin(script, upstream="read_timeout = 500ms\n",
                   sections="[proxy r]\ntrust = 10.9.9.9\nrequire_header = yes\n[access]\ndeny = 203.0.113.0/24\n"
                            "[limits]\nparams_size = 4k\n")
        self.assert_refusal(self.ask(change(PLAIN, REMOTE_ADDR="10.9.9.9")), 400)
        for _ in range(2):
            self.assert_refusal(self.ask(trusted("203.0.113.5")), 403)
        for _ in range(3):
            self.assert_refusal(self.ask(PLAIN + [("X", "x" * 5000)]), 431)
        for _ in range(4):
            self.assert_refusal(self.ask(PLAIN), 502)
        for _ in range(5):
            self.assert_refusal(self.ask(change(PLAIN, SCRIPT_NAME="/overloaded")), 503)
        self.assert_refusal(self.ask(change(PLAIN, SCRIPT_NAME="/late")), 504)
        status = self.status()
        self.assertEqual(status["refusals"], {"400": 1, "403": 2, "431": 3, "502": 4, "503": 5, "504": 1})
        self.assertEqual((status["requests"]["total"], status["requests"]["refused"]), (16, 16))
        self.assertEqual(some(status["decisions"]), {"no-header": 1, "denied": 2, "untrusted-peer": 10})
        self.assertEqual(some(status["time_outs"]), {"read": 1})
        self.assertEqual(status["refused"], [{"client": "203.0.113.5", "peer": "10.0.0.1", "count": 2},
                                             {"client": "10.9.9.9", "peer": "10.9.9.9", "count": 1}])
        self.assertEqual(status["latency_us"]["count"], 0)

    def test_aborted(self):
        def script(connection):
            connection.read_params()
            connection.read_body()  # of which there is no end
        self.begin(script)
        head = begin(keep=True) + record(PARAMS, pairs(PLAIN)) + record(PARAMS)
        with Client(self.address) as client:
            client.send(head + record(STDIN, b"the beginning"))
            self.wait_status("requests", in_flight=1)
        self.wait_status("requests", aborted=1, in_flight=0)
        client = self.client()
        client.send(head)
        self.wait_status("requests", in_flight=1)
        client.send(record(ABORT))
        self.assertEqual(client.read_response().end, (0, 0))
        self.assertEqual(some(self.wait_status("requests", aborted=2, in_flight=0)["refusals"]), {})
        # Who leaves inside the parameters has made no request.
        with Client(self.address) as half:
            half.send(begin() + record(PARAMS, pairs(PLAIN)))
            half.wait_sent()
        wait_for(lambda: self.status()["web_server"]["connections"] == 2)
        self.assertEqual(self.status()["requests"]["total"], 2)

    def test_broken_off(self):
        def script(connection):
            now = connection.read_request()
            connection.send(record(STDOUT, b"\r\nthe beginning", now.id))
            if now.get("SCRIPT_NAME") == [b"/silent"]:
                connection.read_eof()
        self.begin(script, upstream="read_timeout = 500ms\n")
        self.assert_cut(self.ask(PLAIN))
        self.assert_cut(self.ask(change(PLAIN, SCRIPT_NAME="/silent")))
        status = self.status()
        self.assertEqual((status["requests"]["total"], status["requests"]["broken"]), (2, 2))
        self.assertEqual(some(status["time_outs"]), {"read": 1})

    def test_whole_time_limit(self):
        def script(connection):
            now = connection.read_request()
            if now.get("SCRIPT_NAME") == [b"/begun"]:
                connection.send(record(STDOUT, b"\r\nthe beginning", now.id))
            connection.read_eof()
        self.begin(script, upstream="request_timeout = 500ms\n")
        self.assert_refusal(self.ask(PLAIN), 504)
        self.assert_cut(self.ask(change(PLAIN, SCRIPT_NAME="/begun")))
        status = self.status()
        self.assertEqual(some(status["time_outs"]), {"request": 2})
        self.assertEqual((status["requests"]["refused"], status["requests"]["broken"]), (1, 1))

    def test_authorizer_and_filter(self):
        def script(connection):
            connection.read_request()
            connection.reply()
        self.begin(script)
        self.assert_answer(self.ask(PLAIN, role=AUTHORIZER))
        self.assert_answer(self.ask(PLAIN, role=fcgi.FILTER, data=b"data"))
        self.assertEqual(self.status()["requests"]["answered"], 2)


class Application(StatusTest):
    def test_connects_reuses_retries(self):
        def dies_when_idle(connection):
            connection.read_request()
            connection.reply()
            connection.read_params()
        self.begin([dies_when_idle, fcgi.echo], upstream="keepalive = on\nconnections = 1\n")
        for _ in range(2):
            self.assert_answer(self.ask(PLAIN))
        self.assertEqual(some(self.status()["application"]).items() & {
            "connections": 1, "connects": 2, "reuses": 1, "retries": 1}.items(),
            {"connections": 1, "connects": 2, "reuses": 1, "retries": 1}.items())
        for _ in range(3):
            self.assert_answer(self.ask(PLAIN))
        found = self.status()
        self.assertEqual((found["application"]["reuses"], found["application"]["connects"]), (4, 2))
        self.assertEqual(found["requests"]["answered"], 5)

    def test_nobody_listens(self):
        self.begin(app="unix:/nonexistent/app.sock")
        for _ in range(3):
            self.assert_refusal(self.ask(PLAIN), 502)
        found = self.status()["application"]
        self.assertEqual(some(found), {"connects": 3, "connect_failures": 3})

    def test_no_connection_in_time(self):
        """Of a unix socket whose backlog is full, and of an address that never answers."""
        app = fcgi.Responder(backlog=0, accepting=False)
        self.addCleanup(app.close)
        with Client(app.address):  # which fills the backlog
            self.begin(app=app.address, upstream="connect_timeout = 300ms\n")
            self.assert_refusal(self.ask(PLAIN), 504)
            found = self.status()
        self.assertEqual(some(found["time_outs"]), {"connect": 1})
        self.assertEqual((found["application"]["connects"], found["application"]["connect_failures"]), (1, 1))

    def test_queue(self):
        free = threading.Event()
        self.addCleanup(free.set)

        def script(connection):
            connection.read_request()
            free.wait(PATIENCE)
            connection.reply()
        self.begin(script, upstream="connections = 1\nqueue = 2\n")
        clients = [self.client() for _ in range(4)]
        for client in clients[:3]:
            client.send(request(PLAIN))
        found = self.wait_status("queue", length=2)
        self.assertEqual((found["requests"]["in_flight"], found["application"]["connections"]), (3, 1))
        self.assert_refusal(clients[3].ask(PLAIN), 503)
        free.set()
        for client in clients[:3]:
            self.assert_answer(client.read_response())
        found = self.status()
        self.assertEqual(found["queue"], {"length": 0, "waits": 2, "overflows": 1})
        self.assertEqual((found["requests"]["answered"], found["requests"]["refused"]), (3, 1))

    def test_queue_time_out(self):
        free = threading.Event()
        self.addCleanup(free.set)

        def script(connection):
            connection.read_request()
            free.wait(PATIENCE)
            connection.reply()
        self.begin(script, upstream="connections = 1\nqueue_timeout = 300ms\n")
        first = self.client()
        first.send(request(PLAIN))
        self.wait_status("requests", in_flight=1)
        self.assert_refusal(self.ask(PLAIN), 503)
        free.set()
        self.assert_answer(first.read_response())
        found = self.status()
        self.assertEqual(some(found["time_outs"]), {"queue": 1})
        self.assertEqual(found["queue"], {"length": 0, "waits": 1, "overflows": 0})

    def test_header_time_out(self):
        self.begin(sections="[limits]\nheader_timeout = 300ms\n")
        client = self.client()
        client.send(begin())
        client.read_eof()
        found = self.status()
        self.assertEqual(some(found["time_outs"]), {"header": 1})
        self.assertEqual(found["requests"]["total"], 0)

    def test_nobody_takes_bytes(self):
        """Neither the application those of a request, nor the web server those of an answer."""
        def script(connection):
            now = connection.read_params()
            if now.get("SCRIPT_NAME") == [b"/deaf"]:
                connection.responder.wait(lambda: self.done, "the test")
                return
            connection.read_body()
            connection.reply(b"x" * 4000000)
        self.done = False
        self.begin(script, upstream="send_timeout = 500ms\n")
        client = self.client()
        sender = threading.Thread(target=self.send_for_ever, args=(client,), daemon=True)
        sender.start()
        found = self.wait_status("time_outs", send=1)
        self.done = True
        self.assertEqual(some(found["time_outs"]), {"send": 1})
        slow = self.client()
        slow.send(request(PLAIN))
        found = self.wait_status("time_outs", web_server=1)
        self.assertEqual(some(found["time_outs"]), {"send": 1, "web_server": 1})
        self.assertEqual(found["requests"]["aborted"], 1)
        client.close()
        sender.join(PATIENCE)

    @staticmethod
    def send_for_ever(client):
        try:
            client.send(begin() + record(PARAMS, pairs(change(POST, SCRIPT_NAME="/deaf"))) + record(PARAMS))
            for _ in range(200):
                client.send(record(STDIN, b"x" * 65528))
        except (OSError, AssertionError):
            pass  # it is closed in the middle


class Access(StatusTest):
    def test_loopback_alone(self):
        self.begin()
        for client in ("127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "[::1]"):
            self.assert_page(ask_page(self.address, client=client))
        for client in ("192.0.2.1", "10.0.0.1", "", "unix:", "localhost", "127.0.0.1x", "::2", "2130706433"):
            self.assert_refusal(ask_page(self.address, client=client), 403)
        missing = [pair for pair in page_params() if pair[0] != "REMOTE_ADDR"]
        self.assert_refusal(self.ask(missing), 403)
        status = self.status()
        self.assertEqual((status["requests"]["status_page"], status["requests"]["refused"]), (5, 9))
        self.assertEqual((status["refusals"]["403"], status["decisions"]["denied"]), (9, 9))
        self.assertEqual(status["application"]["connects"], 0)

    def test_forged(self):
        """Whatever a client sends itself, it does not become one that may look."""
        self.begin()
        headers = ("HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_CLIENT_IP", "HTTP_FORWARDED", "REALIP_REMOTE_ADDR",
                   "http_x_forwarded_for", "REMOTE.ADDR", "remote_addr")
        for name in headers:
            for value in ("127.0.0.1", "::1", "for=127.0.0.1", "127.0.0.1, 127.0.0.1", "unix:", ""):
                self.assert_refusal(ask_page(self.address, "", "192.0.2.1", (name, value)), 403)
        for chain in ("127.0.0.1, 203.0.113.7", "203.0.113.7", "127.0.0.1,203.0.113.7,10.0.0.2", "127.0.0.1, ?",
                      "127.0.0.1 203.0.113.7", "127.0.0.1, 127.0.0.256"):
            self.assert_refusal(ask_page(self.address, "", "10.0.0.1", ("HTTP_X_FORWARDED_FOR", chain)), 403)
        # Two copies are one list, and the last REMOTE_ADDR counts.
        self.assert_refusal(ask_page(self.address, "", "10.0.0.1", ("HTTP_X_FORWARDED_FOR", "127.0.0.1"),
                                     ("HTTP_X_FORWARDED_FOR", "203.0.113.7")), 403)
        self.assert_refusal(ask_page(self.address, "", "127.0.0.1", ("REMOTE_ADDR", "192.0.2.1")), 403)
        self.assertEqual(self.status()["requests"]["status_page"], 0)

    def test_judged_after_the_decision(self):
        self.start(sections=self.SECTIONS + "allow = 198.51.100.0/24\n")
        for _ in range(2):
            self.assert_page(ask_page(self.address, "", "10.0.0.1", ("HTTP_X_FORWARDED_FOR", "198.51.100.7")))
        self.assert_page(ask_page(self.address, client="198.51.100.1"))
        self.assert_refusal(ask_page(self.address, client="127.0.0.1"), 403)
        self.assert_refusal(ask_page(self.address, client="10.0.0.1"), 403)
        self.assert_refusal(ask_page(self.address, "", "198.51.100.1", ("HTTP_X_FORWARDED_FOR", "127.0.0.1"),
                                     ("REMOTE_ADDR", "127.0.0.1")), 403)

    def test_unix_clients(self):
        self.start(sections=self.SECTIONS + "allow = unix:\n")
        self.assert_page(ask_page(self.address, client="unix:"))
        self.assert_refusal(ask_page(self.address, client="127.0.0.1"), 403)

    def test_access_is_of_the_application(self):
        """Its lists neither open the page nor lock it."""
        self.begin(sections="[access]\nallow = 192.0.2.0/24\ndeny_direct = yes\n")
        self.assert_page(ask_page(self.address))
        self.assert_refusal(ask_page(self.address, client="192.0.2.1"), 403)
        self.assert_refusal(self.ask(change(PLAIN, REMOTE_ADDR="127.0.0.1")), 403)

    def test_what_cannot_be_believed_is_refused_here_too(self):
        self.begin(sections="[proxy b]\ntrust = 127.0.0.1\non_malformed = reject\n")
        self.assert_refusal(ask_page(self.address, "", "127.0.0.1", ("HTTP_X_FORWARDED_FOR", "?")), 400)
        self.assert_page(ask_page(self.address))

    def test_other_requests_are_the_applications(self):
        self.begin()
        names = ("/realip-statusx", "/realip-statu", "/REALIP-STATUS", "/realip-status/", "", "realip-status")
        for name in names:
            self.assert_answer(self.ask(page_params(SCRIPT_NAME=name), b"body"), b"body")
        self.assert_answer(self.ask([("REMOTE_ADDR", "127.0.0.1"), ("REQUEST_URI", "/realip-status"),
                                     ("PATH_INFO", "/realip-status")]))
        # An authorizer must never be told 200.
        self.ask(page_params(), role=AUTHORIZER)
        self.app.wait_requests(8)
        self.assertEqual(self.status()["requests"]["answered"], 8)

    def test_without_a_path_there_is_none(self):
        self.start(sections="[proxy a]\ntrust = 10.0.0.0/24\n")
        self.assert_answer(ask_page(self.address), b"")
        self.app.wait_requests(1)

    def test_when_all_is_full(self):
        def script(connection):
            connection.read_request()
            connection.read_eof()
        self.begin(script, sections="[limits]\nrequests = 1\n")
        first = self.client()
        first.send(request(PLAIN))
        self.wait_status("requests", in_flight=1)
        self.assert_refusal(self.ask(PLAIN), 503)
        self.assert_page(ask_page(self.address))
        self.assertEqual(some(self.status()["decisions"]), {"untrusted-peer": 1})

    def test_kept_connection_with_a_body(self):
        """The page and the application's answers take turns on one connection."""
        self.begin()
        client = self.client()
        for body in (b"", b"x" * 100000):
            self.assert_page(client.ask(page_params(), body, keep=True))
            self.assert_answer(client.ask(POST, b"body", keep=True), b"body")
        client.send(request(page_params("json"), keep=True) * 3)
        for _ in range(3):
            self.assertEqual(client.read_response().status, 200)

    def test_large_page(self):
        """More than a record holds, to a web server that reads slowly."""
        self.begin(sections="[proxy f]\n" + "".join(
            "trust_file = %s\n" % self.trust_file("%s-%d.txt" % ("x" * 200, i)) for i in range(400)))
        client = self.client()
        client.send(request(page_params("json"), keep=True))
        client.wait_sent()
        response = client.read_response()
        self.assertEqual(len(json.loads(response.body)["trust_files"]), 400)
        records = [found for found in response.records if found.type == STDOUT]
        self.assertEqual([len(found.content) for found in records[:-2]], [65528] * (len(records) - 2))
        self.assertEqual(records[-1].content, b"")
        self.assertGreater(len(records), 2)
        self.assert_answer(client.ask(PLAIN))


class Processes(StatusTest):
    WORKERS = "[process]\nworkers = 3\n"

    def workers(self):
        return self.status()["workers"]

    def test_one_status_for_all_workers(self):
        """Whoever answers, the numbers are those of all."""
        self.begin(sections=self.WORKERS, ready="ready: 3 workers")
        for number in range(12):
            client = self.client()
            for _ in range(1 + number):
                self.assert_answer(client.ask(PLAIN, keep=True))
        found = self.wait(lambda: self.whole_status(78))
        self.assertEqual(found["requests"]["answered"], 78)
        self.assertEqual(found["decisions"]["untrusted-peer"], 78)
        self.assertEqual(found["latency_us"]["count"], 78)
        self.assertEqual(found["web_server"]["connections"], 13)
        self.assertEqual([worker["number"] for worker in found["workers"]], [0, 1, 2])
        self.assertEqual(sum(worker["requests"] for worker in found["workers"]), 78)
        self.assertEqual({worker["pid"] for worker in found["workers"]}, set(children(self.shim.pid)))
        self.assertEqual(found["pid"], self.shim.pid)
        # Connections that are kept are dealt out, so more than one has served.
        self.assertGreater(len([worker for worker in found["workers"] if worker["requests"]]), 1)

    def whole_status(self, answered):
        found = self.status()
        return found if found["requests"]["answered"] == answered and found["web_server"]["connections"] == 13 else None

    def test_what_a_dead_worker_has_counted_stays(self):
        self.begin(sections=self.WORKERS, ready="ready: 3 workers")
        for _ in range(20):
            self.assert_answer(self.ask(PLAIN))
        before = self.status()
        self.assertEqual(before["requests"]["answered"], 20)
        victim = max(before["workers"], key=lambda worker: worker["requests"])
        self.assertGreater(victim["requests"], 0)
        os.kill(victim["pid"], signal.SIGKILL)
        self.shim.wait_log(r"starting another|next start in")
        gone = self.status()
        self.assertEqual(gone["requests"]["answered"], 20)
        next_one = self.wait(lambda: (lambda one: one if one["pid"] not in (0, victim["pid"]) else None)(
            self.workers()[victim["number"]]), "the next worker")
        self.assertEqual(next_one["requests"], victim["requests"])
        self.assertEqual(next_one["in_flight"], 0)
        for _ in range(5):
            self.assert_answer(self.ask(PLAIN))
        self.assertEqual(self.status()["requests"]["answered"], 25)

    def test_in_flight_of_a_dead_worker_is_gone(self):
        def script(connection):
            connection.read_request()
            connection.read_eof()
        self.begin(script, sections=self.WORKERS, ready="ready: 3 workers")
        client = self.client()
        client.send(request(PLAIN))
        found = self.wait_status("requests", in_flight=1)
        victim = next(worker for worker in found["workers"] if worker["in_flight"])
        os.kill(victim["pid"], signal.SIGKILL)
        self.wait_status("requests", in_flight=0)
        self.assertEqual(self.status()["requests"]["total"], 0)

    def test_reload(self):
        """A reload adds one to the generation; counters go on; [status] itself can change."""
        for workers in (1, 2):
            path = self.trust_file("list.txt")
            os.utime(path, (1000000000, 1000000000))
            self.begin(sections="[proxy f]\ntrust_file = %s\n[process]\nworkers = %d\n" % (path, workers),
                       ready="ready: ")
            self.assert_answer(self.ask(PLAIN))
            self.assertEqual(self.status()["generation"], 1)
            self.assertEqual(self.status()["trust_files"][0]["modified"], 1000000000)
            self.trust_file("list.txt", "192.0.2.0/24\n192.0.2.3\n")

            def is_new():  # all in one answer: the next one may come from a worker that has not read it yet
                file = self.status()["trust_files"][0]
                return file["entries"] == 2 and file["age"] < 3600
            self.wait(is_new)
            self.shim.write_ini(self.shim.ini_text.replace("/realip-status\n", "/realip-status\nallow = 198.51.100.1\n"))
            self.shim.signal(signal.SIGHUP)
            self.shim.wait_log("reloaded; configuration 2 is in force", count=workers)
            self.assertEqual([ask_page(self.address).status for _ in range(5)], [403] * 5)
            response = ask_page(self.address, "json", "198.51.100.1")
            status = json.loads(response.body)
            self.assertEqual(status["generation"], 2)
            self.assertEqual(status["requests"]["answered"], 1)
            self.stop_shim(self.shim)


if __name__ == "__main__":
    unittest.main()
