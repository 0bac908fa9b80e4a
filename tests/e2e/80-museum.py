#!/usr/bin/env python3
"""The spoofing museum: every exhibit of tests/support/museum.py through each web server, with its shipped file, the
shim and php-fpm, and a libfcgi program; and through nginx, Apache and lighttpd with their own modules instead of the
shim. What those do is in the table of README.md, which is held against what they do here.

`80-museum.py --write` writes the table anew.
"""

import concurrent.futures
import http.client
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import unittest

import museum
from museum import EXHIBITS, FORGED, UNIX
from sameanswer import skip_unless_installed
from servers import APPLICATIONS, Apache, Caddy, Lighttpd, Nginx, Php, TREE, Whoami, find
from shim import PATIENCE, Shim, wait_for

README = os.path.join(TREE, "README.md")
BEGIN, END = "<!-- museum: written by tests/e2e/80-museum.py --write -->\n", "<!-- end of museum -->\n"
TRUSTED = (museum.PROXY, museum.PROXY_7239, museum.CDN, museum.HOPS)
SERVERS = (Nginx, Apache, Lighttpd, Caddy)
APPLICATION = {"php": Php, "libfcgi": Whoami}
VERSIONS = {  # a program's arguments, and what its version looks like there
    Nginx: ("-v", r"nginx/(\S+)"),
    Apache: ("-v", r"Apache/(\S+)"),
    Lighttpd: ("-v", r"lighttpd/(\S+)"),
    Caddy: ("version", r"^v?([\d.]+)"),
    Php: ("-v", r"PHP (\S+)"),
}


class OnUnixSocket:
    """What each server's own text looks like that makes it listen at a unix socket besides."""

    @staticmethod
    def nginx(path, text=""):
        index = "index index.php index.html;"
        return {"edits": [(index, "%s listen unix:%s; %s" % (index, path, text))]}

    @staticmethod
    def apache(_path, text=""):
        return {"extra": text}  # it cannot

    @staticmethod
    def lighttpd(path, text=""):
        return {"extra": '%s $SERVER["socket"] == "%s" { }' % (text, path)}

    @staticmethod
    def caddy(path):
        return {"edits": [("\troot * ", "\tbind 127.0.0.1 unix/%s\n\troot * " % path)]}


def realip(header):
    return "".join("set_real_ip_from %s; " % hop for hop in TRUSTED) + (
        "real_ip_header %s; real_ip_recursive on;" % header)


def remoteip(header):
    return "LoadModule remoteip_module /usr/lib/apache2/modules/mod_remoteip.so\nRemoteIPHeader %s\n" % header + (
        "RemoteIPInternalProxy %s\n" % " ".join(TRUSTED))


def extforward(header):
    text = 'server.modules += ( "mod_extforward" )\nextforward.forwarder = ( %s )\n' % ", ".join(
        '"%s" => "trust"' % hop for hop in TRUSTED)
    # The header alone; of X-Forwarded-For the default has it, and Forwarded-For.
    return text if header == "X-Forwarded-For" else text + 'extforward.headers = ( "%s" )\n' % header


MODULES = {Nginx: ("nginx realip", realip), Apache: ("Apache mod_remoteip", remoteip),
           Lighttpd: ("lighttpd mod_extforward", extforward)}


class Museum:
    """All servers, started once: .shim[SERVER, APPLICATION], and .module[SERVER, HEADER, APPLICATION] without the shim."""

    def __init__(self):
        self.parts = []
        # A server ends with the thread that started it, so these stay until the end.
        self.pool = concurrent.futures.ThreadPoolExecutor(32)
        self.sockets = tempfile.mkdtemp(prefix="realip-museum-")
        os.chmod(self.sockets, 0o755)
        self.shim, self.module = {}, {}
        for application in APPLICATIONS:
            address = self.enter(application(processes=8)).address
            os.chmod(address[len("unix:"):], 0o666)  # Apache as root has workers of another user
            self.start_all(application, address)
        for servers in (self.shim, self.module):
            for key, future in servers.items():
                servers[key] = future.result()

    def start_all(self, application, address):
        relay = self.enter(Shim(museum.INI % address))
        os.chmod(relay.dir, 0o755)
        for server in SERVERS:
            if server.installed():
                options = getattr(OnUnixSocket, server.__name__.lower())(self.unix(server, application))
                self.shim[server, application] = self.start(server, "unix:%s/shim.sock" % relay.dir, options)
        for server, (_, text) in MODULES.items():
            headers = {exhibit.header for exhibit in EXHIBITS if APPLICATION[exhibit.application] is application}
            for header in headers if server.installed() else ():
                options = getattr(OnUnixSocket, server.__name__.lower())(self.unix(server, application, header),
                                                                        text(header))
                if server is Apache:  # a kept connection would hold a process of the application
                    options["edits"] = [("enablereuse=on", "enablereuse=off")]
                self.module[server, header, application] = self.start(server, address, options)

    def unix(self, server, application, header="shim"):
        return os.path.join(self.sockets, "%s-%s-%s" % (server.__name__, application.__name__, header))

    def enter(self, part):
        part.__enter__()
        self.parts.append(part)
        return part

    def start(self, server, address, options):
        return self.pool.submit(lambda: self.enter(server(address, **options)))

    def close(self):
        for part in reversed(self.parts):
            part.__exit__(None, None, None)
        self.pool.shutdown()
        subprocess.run(["rm", "-rf", self.sockets], check=True)

    @staticmethod
    def ask(port, path, exhibit):
        """The parameters that the application saw, or a status that is not 200; None if this server has no unix socket."""
        if exhibit.source == UNIX:
            if not os.path.exists(path):
                return None
            sock = socket.socket(socket.AF_UNIX)
            sock.settimeout(PATIENCE)
            sock.connect(path)
        else:
            sock = socket.create_connection(("127.0.0.1", port), PATIENCE, (exhibit.source, 0))
        with sock:
            sock.sendall(museum.request(exhibit))
            response = http.client.HTTPResponse(sock)
            response.begin()
            body = response.read()
        return json.loads(body)["params"] if response.status == 200 else response.status

    def behind_shim(self, server, application, exhibit):
        return self.ask(self.shim[server, application].port, self.unix(server, application), exhibit)

    def behind_module(self, server, exhibit):
        application, header = APPLICATION[exhibit.application], exhibit.header
        return self.ask(self.module[server, header, application].port, self.unix(server, application, header), exhibit)


def version(part):
    if not part.installed():
        return None
    argument, pattern = VERSIONS[part]
    run = subprocess.run([find(*part.program), argument], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                         timeout=PATIENCE)
    return re.search(pattern, run.stdout, re.MULTILINE).group(1)


def module_verdict(server, exhibit):
    params = rooms.behind_module(server, exhibit)
    if params is None:
        return "cannot"
    if isinstance(params, int):
        return "status %d" % params
    return museum.verdict(exhibit, params, FORGED not in params["REMOTE_ADDR"])


def measured():
    """{server: [a word for each exhibit]} of the modules that are installed."""
    return {server: [module_verdict(server, exhibit) for exhibit in EXHIBITS]
            for server in MODULES if server.installed()}


def shim_word(exhibit):
    return "right" + "".join(", but fooled behind " + name.lower() for name in exhibit.not_behind)


def table(results):
    versions = {server: version(server) for server in MODULES}
    lines = ["| | fcgi-realip | " + " | ".join("%s %s" % (name, versions[server])
                                               for server, (name, _) in MODULES.items()) + " |\n", "|---" * 5 + "|\n"]
    for n, exhibit in enumerate(EXHIBITS):
        words = [shim_word(exhibit)] + [results[server][n] for server in MODULES]
        lines.append("| %s | %s |\n" % (exhibit.name, " | ".join(words)))
    return "".join(lines)


def written():
    with open(README, encoding="utf-8") as file:
        text = file.read()
    before, begin, rest = text.partition(BEGIN)
    block, end, after = rest.partition(END)
    assert begin and end, "README.md has no block for the museum's table"
    return before, block, after


def columns(block):
    """{the title of a column: its cells}"""
    rows = [[cell.strip() for cell in line.strip().strip("|").split(" | ")] for line in block.splitlines()]
    rows[0] = [cell.strip("| ") for cell in rows[0]]
    return {title: [row[n] for row in rows[2:]] for n, title in enumerate(rows[0])}


class ReadmeTable(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.columns = columns(written()[1])

    def test_exhibits_and_the_shim(self):
        names, shim = list(self.columns.values())[:2]
        self.assertEqual(names, [exhibit.name for exhibit in EXHIBITS])
        self.assertEqual(shim, [shim_word(exhibit) for exhibit in EXHIBITS])

    def test_modules(self):
        """Those of a version that the table does not have are printed."""
        for server, words in measured().items():
            title = "%s %s" % (MODULES[server][0], version(server))
            if title in self.columns:
                with self.subTest(title):
                    self.assertEqual(list(zip(self.columns[""], self.columns[title])),
                                     list(zip(self.columns[""], words)))
                continue
            print("%s is not in the table of README.md. It does this:" % title)
            for exhibit, word in zip(EXHIBITS, words):
                print("    %-45s %s" % (exhibit.name, word))


def exhibit_test(server, exhibit):
    def test(self):
        for application in APPLICATIONS:
            with self.subTest(application.__name__):
                params = rooms.behind_shim(server, application, exhibit)
                if params is None:
                    self.assertEqual((exhibit.source, server), (UNIX, Apache))  # it cannot listen at a unix socket
                    continue
                self.assertIsInstance(params, dict)
                self.check(server, exhibit, params)
    test.__doc__ = "%s (%s): %s" % (exhibit.name, exhibit.published, exhibit.why)
    return test


class Room(unittest.TestCase):
    """Behind one server, with the shim; a test for each exhibit."""

    def check(self, server, exhibit, params):
        if server.__name__ in exhibit.not_behind:
            # Nobody can tell it from a real one there. Should this ever change, README.md and SECURITY.md are wrong.
            self.assertEqual(params["REMOTE_ADDR"], FORGED)
            return
        if exhibit.right is None:
            self.assertNotIn("REALIP_REMOTE_ADDR", params)
            self.assertNotIn(FORGED, params["REMOTE_ADDR"])
        else:
            self.assertEqual(params["REMOTE_ADDR"], exhibit.right, exhibit.why)
        self.assertEqual(museum.leaks(exhibit, params), [])


def identifier(number, name):
    return "test_%02d_%s" % (number, re.sub(r"\W+", "_", name).strip("_").lower())


for room in SERVERS:
    tests = {identifier(n, exhibit.name): exhibit_test(room, exhibit) for n, exhibit in enumerate(EXHIBITS, 1)}
    case = type("Behind" + room.__name__, (Room,), tests)
    if not room.installed():
        case = unittest.skip("%s is not installed" % room.__name__)(case)
    globals()[case.__name__] = case
del case, Room  # the base class is no test


def setUpModule():
    global rooms
    rooms = Museum()


def tearDownModule():
    rooms.close()


def write():
    setUpModule()
    try:
        before, _, after = written()
        text = before + BEGIN + table(measured()) + END + after
        with open(README, "w", encoding="utf-8") as file:
            file.write(text)
    finally:
        tearDownModule()


if __name__ == "__main__":
    skip_unless_installed(Php, Nginx)
    if sys.argv[1:] == ["--write"]:
        write()
    else:
        unittest.main()
