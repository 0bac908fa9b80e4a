#!/usr/bin/env python3
"""Listening sockets: several, of every kind, with their rights, and what lies at their paths before and after."""

import os
import pwd
import re
import socket
import stat
import unittest

import fcgi
from fcgi import request
from relay import PLAIN, POST, PROXIES, RelayTest
from shim import Shim, free_port


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


class Listen(RelayTest):
    def serve_all(self, *addresses):
        for address in addresses:
            with fcgi.Client(address) as client:
                self.assert_answer(client.ask(POST, address.encode()), address.encode())

    def refuses_to_start(self, listen, *patterns, **options):
        """The program says why and ends with status 1; gives its log."""
        shim = Shim("[listen]\n%s\n[upstream]\naddress = unix:/nowhere\n%s" % (listen, PROXIES), ready=False, **options)
        self.addCleanup(shim.stop)
        self.assertEqual(shim.wait_exit(), 1, shim.log())
        for pattern in patterns:
            self.assertRegex(shim.log(), pattern)
        return shim

    def test_several_addresses(self):
        ports = [free_port(), free_port()]
        self.start(listen="address = unix:{dir}/shim.sock, unix:{dir}/b.sock 127.0.0.1:%d\n   127.0.0.1:%d"
                          % tuple(ports))
        self.serve_all(self.address, "unix:%s/b.sock" % self.shim.dir, *("127.0.0.1:%d" % port for port in ports))

    @unittest.skipUnless(has_ipv6(), "no IPv6 here")
    def test_ipv6(self):
        port = free_port()
        self.start(listen="address = [::1]:%d" % port, address="[::1]:0")
        self.serve_all("[::1]:%d" % port)

    @unittest.skipUnless(has_ipv6(), "no IPv6 here")
    def test_both_families_on_one_port(self):
        port = free_port()
        self.start(listen="address = [::]:%d 0.0.0.0:%d\nallowed_clients = ::1 127.0.0.0/8" % (port, port))
        self.serve_all("[::1]:%d" % port, "127.0.0.1:%d" % port)

    # Rights

    def mode_of(self, path):
        return stat.S_IMODE(os.stat(path).st_mode)

    def test_mode(self):
        for lines, mode in (("", 0o660), ("mode = 0600", 0o600), ("mode = 0666", 0o666), ("mode = 0660", 0o660)):
            for umask in (0o000, 0o022, 0o077):
                before = os.umask(umask)
                try:
                    self.start(listen="address = unix:{dir}/shim.sock\n" + lines)
                finally:
                    os.umask(before)
                self.assertEqual(self.mode_of(self.shim.dir + "/shim.sock"), mode, (lines, umask))

    @unittest.skipUnless(os.geteuid() == 0, "only root may give files away")
    def test_owner_and_group(self):
        nobody = pwd.getpwnam("nobody")
        self.start(listen="address = unix:{dir}/shim.sock\nowner = nobody\ngroup = %d" % nobody.pw_gid)
        info = os.stat(self.shim.dir + "/shim.sock")
        self.assertEqual((info.st_uid, info.st_gid), (nobody.pw_uid, nobody.pw_gid))

    # What was there before

    def test_stale_socket_is_replaced(self):
        first = self.start()
        first.kill()
        first.status = None
        path = first.dir + "/shim.sock"
        self.assertTrue(os.path.exists(path))
        self.start(directory=first.dir)
        self.serve_all("unix:" + path)
        self.shim.stop()
        self.assertFalse(os.path.exists(path))
        first.status = 0

    def test_living_socket_is_not_taken(self):
        with fcgi.Responder() as other:
            path = other.address[len("unix:"):]
            self.refuses_to_start("address = " + other.address, re.escape(path), "(?i)listens|in use")
            self.assert_answer(fcgi.ask(other.address, POST, b"still mine"), b"still mine")

    def test_living_socket_with_a_full_queue_is_not_taken(self):
        with fcgi.Responder(accepting=False, backlog=0) as other:
            fillers = []
            try:
                while True:
                    filler = socket.socket(socket.AF_UNIX)
                    filler.setblocking(False)
                    fillers.append(filler)
                    filler.connect(other.address[len("unix:"):])
            except BlockingIOError:
                pass
            self.refuses_to_start("address = " + other.address, re.escape(other.address[len("unix:"):]))
            self.assertTrue(os.path.exists(other.address[len("unix:"):]))
            for filler in fillers:
                filler.close()

    def test_two_shims_on_one_path(self):
        self.start()
        self.refuses_to_start("address = " + self.address, re.escape(self.shim.dir))
        self.serve_all(self.address)

    def test_no_socket_is_never_removed(self):
        self.start()
        directory = self.shim.dir
        with open(directory + "/file", "w") as file:
            file.write("precious")
        os.mkdir(directory + "/folder")
        os.symlink(directory + "/file", directory + "/link")
        os.mkfifo(directory + "/pipe")
        for name in ("file", "folder", "link", "pipe"):
            self.refuses_to_start("address = unix:%s/%s" % (directory, name), re.escape(directory + "/" + name))
            self.assertTrue(os.path.lexists(directory + "/" + name))
        with open(directory + "/file") as file:
            self.assertEqual(file.read(), "precious")

    def test_missing_folder(self):
        self.refuses_to_start("address = unix:{dir}/no/such/folder/s.sock", r"/no/such/folder")

    def test_path_too_long(self):
        self.refuses_to_start("address = unix:{dir}/" + "x" * 108, "x" * 20)

    def test_longest_path(self):
        """107 bytes are what the system takes."""
        first = self.start()
        path = first.dir + "/" + "x" * (107 - len(first.dir) - 1)
        self.start(listen="address = unix:" + path)
        self.serve_all("unix:" + path)

    def test_port_in_use(self):
        with fcgi.Responder(address="127.0.0.1:0") as other:
            self.refuses_to_start("address = " + other.address, re.escape(other.address))

    def test_one_bad_address_leaves_nothing_of_the_others(self):
        with fcgi.Responder() as other:
            self.start()
            directory = self.shim.dir
            self.refuses_to_start("address = unix:%s/good.sock %s" % (directory, other.address))
            self.assertFalse(os.path.exists(directory + "/good.sock"))

    # What is there after

    def test_removed_at_exit(self):
        shim = self.start(listen="address = unix:{dir}/shim.sock unix:{dir}/b.sock")
        self.serve_all(self.address)
        shim.signal(15)
        self.assertEqual(shim.wait_exit(), 0)
        self.assertEqual(os.listdir(shim.dir), ["fcgi-realip.ini"])

    def test_not_removed_if_it_is_another_ones(self):
        shim = self.start()
        path = shim.dir + "/shim.sock"
        os.unlink(path)
        with fcgi.Responder(address="unix:" + path):
            shim.signal(15)
            self.assertEqual(shim.wait_exit(), 0)
            self.assert_answer(fcgi.ask("unix:" + path, POST, b"mine"), b"mine")

    def test_not_removed_if_it_was_replaced_by_a_file(self):
        shim = self.start()
        path = shim.dir + "/shim.sock"
        os.unlink(path)
        with open(path, "w") as file:
            file.write("precious")
        shim.signal(15)
        self.assertEqual(shim.wait_exit(), 0)
        self.assertTrue(os.path.exists(path))

    # Who may connect

    def from_address(self, source, port):
        """A request sent from this loopback address; what the shim does with it."""
        sock = socket.socket()
        sock.bind((source, 0))
        sock.settimeout(30)
        sock.connect(("127.0.0.1", port))
        with fcgi.Peer(sock) as peer:
            try:
                peer.send(request(PLAIN))
                found = peer.read_record()
            except ConnectionError:
                return "closed"
            return "answered" if found else "closed"

    def test_allowed_clients(self):
        port = free_port()
        self.start(listen="address = unix:{dir}/shim.sock 127.0.0.1:%d\nallowed_clients = 127.0.0.2, 127.0.1.0/24\n"
                          "   10.0.0.0/8" % port)
        for source, wanted in (("127.0.0.1", "closed"), ("127.0.0.2", "answered"), ("127.0.0.3", "closed"),
                               ("127.0.1.255", "answered"), ("127.0.2.1", "closed")):
            self.assertEqual(self.from_address(source, port), wanted, source)
        self.assertEqual(len(self.app.requests), 2)
        self.assertIn("127.0.0.1", self.shim.log())
        # Never for unix sockets.
        self.assert_alive()

    def test_all_of_loopback_without_a_list(self):
        port = free_port()
        self.start(listen="address = 127.0.0.1:%d" % port)
        for source in ("127.0.0.1", "127.9.9.9"):
            self.assertEqual(self.from_address(source, port), "answered")

    def test_open_tcp_without_a_list_is_refused(self):
        for address in ("0.0.0.0:%d", "[::]:%d", "192.0.2.1:%d"):
            self.refuses_to_start("address = " + address % free_port(), "allowed_clients", r"fcgi-realip\.ini:2")

    @unittest.skipUnless(os.path.exists("/proc/net/tcp"), "no /proc/net")
    def test_backlog(self):
        """A burst of connections waits in the queue of the socket, none is refused."""
        shim = self.start(listen="address = unix:{dir}/shim.sock\nbacklog = 200")
        shim.freeze()  # it accepts nothing now
        clients = []
        for _ in range(150):
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            sock.connect(shim.dir + "/shim.sock")
            clients.append(fcgi.Peer(sock))
        shim.thaw()
        for client in clients:
            client.send(request(PLAIN))
        for client in clients:
            self.assertTrue(client.read_record())
            client.close()


if __name__ == "__main__":
    unittest.main()
