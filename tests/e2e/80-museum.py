#!/usr/bin/env python3
"""The spoofing museum: every exhibit of tests/support/museum.py through each web server, with its shipped files, the
shim and php-fpm, and a libfcgi program; and through nginx, Apache and lighttpd with their own modules instead of the
shim. What those do is in the table of README.md, which is held against what they do here.

The shim has `repeated` as the server's shipped INI has it: malformed behind lighttpd, the default behind the others. What
each does with the other setting is tried, too.

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
from servers import APPLICATIONS, Apache, Caddy, Haproxy, Lighttpd, Nginx, Php, TREE, Whoami, find
from shim import PATIENCE, Shim

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


def shipped_setting():
    """The line in etc/lighttpd/fcgi-realip.ini that is particular to lighttpd."""
    with open(os.path.join(TREE, "etc/lighttpd/fcgi-realip.ini"), encoding="utf-8") as file:
        return re.search(r"^repeated = .+$", file.read(), re.MULTILINE).group()


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
    """All servers, started once: .shim[SERVER, APPLICATION], .other[SERVER] with the other setting of `repeated`, and
    .module[SERVER, HEADER, APPLICATION] without the shim."""

    def __init__(self):
        self.parts = []
        # A server ends with the thread that started it, so these stay until the end.
        self.pool = concurrent.futures.ThreadPoolExecutor(32)
        self.sockets = tempfile.mkdtemp(prefix="realip-museum-")
        os.chmod(self.sockets, 0o755)
        self.shim, self.other, self.module = {}, {}, {}
        for application in APPLICATIONS:
            address = self.enter(application(processes=8)).address
            os.chmod(address[len("unix:"):], 0o666)  # Apache as root has workers of another user
            self.start_all(application, address)
        for servers in (self.shim, self.other, self.module):
            for key, future in servers.items():
                servers[key] = future.result()

    def start_all(self, application, address):
        joins, doubts = (self.start_shim(address, repeated) for repeated in ("", shipped_setting()))
        if application is Whoami and Haproxy.installed():
            self.other[Haproxy] = self.start(Haproxy, doubts, {})
        for server in SERVERS:
            if server.installed():
                usual, other = (doubts, joins) if server is Lighttpd else (joins, doubts)
                options = getattr(OnUnixSocket, server.__name__.lower())(self.unix(server, application))
                self.shim[server, application] = self.start(server, usual, options)
                if application is Whoami:
                    self.other[server] = self.start(server, other, {})
        for server, (_, text) in MODULES.items():
            headers = {exhibit.header for exhibit in EXHIBITS if APPLICATION[exhibit.application] is application}
            for header in headers if server.installed() else ():
                options = getattr(OnUnixSocket, server.__name__.lower())(self.unix(server, application, header),
                                                                        text(header))
                if server is Apache:  # a kept connection would hold a process of the application
                    options["edits"] = [("enablereuse=on", "enablereuse=off")]
                self.module[server, header, application] = self.start(server, address, options)

    def start_shim(self, address, repeated):
        """Where it listens."""
        relay = self.enter(Shim(museum.ini(address, repeated)))
        os.chmod(relay.dir, 0o755)
        return "unix:%s/shim.sock" % relay.dir

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

    def with_other_setting(self, server, exhibit):
        return self.ask(self.other[server].port, None, exhibit)

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
    return "right" + "".join(", but the proxy behind " + name.lower() for name in exhibit.doubt_behind)


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
        if server.__name__ in exhibit.doubt_behind:
            self.assertEqual(params["REMOTE_ADDR"], exhibit.source)
        elif exhibit.right is None:
            self.assertNotIn("REALIP_REMOTE_ADDR", params)
            self.assertNotIn(FORGED, params["REMOTE_ADDR"])
        else:
            self.assertEqual(params["REMOTE_ADDR"], exhibit.right, exhibit.why)
        self.assertEqual(museum.leaks(exhibit, params), [])


def two_lines(name, forged, honest, *others, source=museum.PROXY):
    return EXHIBITS[0]._replace(name="two lines of " + name, source=source,
                                lines=[*others, "%s: %s" % (name, forged), "%s: %s" % (name, honest)])


class OtherSetting(unittest.TestCase):
    """What the manual says of `repeated`: which servers join lines, and what it costs behind those that do not."""

    TWO_LINES = (  # each with the client if lines are joined, and the last one that is sure if not
        (two_lines("X-Forwarded-For", FORGED, museum.CLIENT), museum.PROXY),
        (two_lines("Forwarded", "for=" + FORGED, "for=" + museum.CLIENT, source=museum.PROXY_7239), museum.PROXY_7239),
        (two_lines("CF-Connecting-IP", FORGED, museum.CLIENT, museum.XFF + museum.CDN), museum.CDN),
    )

    def test_who_joins_lines(self):
        joins = {Nginx: Nginx.installed() and tuple(map(int, version(Nginx).split("."))) >= (1, 23),
                 Apache: True, Lighttpd: True, Caddy: True, Haproxy: False}
        for server in filter(lambda server: server.installed(), joins):
            for exhibit, doubt in self.TWO_LINES:
                with self.subTest(server.__name__ + ", " + exhibit.name):
                    ask = rooms.behind_shim if server is Lighttpd else rooms.with_other_setting
                    params = ask(server, *([Whoami] if server is Lighttpd else []), exhibit)
                    self.assertEqual(params["REMOTE_ADDR"], museum.CLIENT if joins[server] else doubt)

    def test_who_folds_names(self):
        """With its shipped file. Where a name is removed, or is another parameter, the true header is the only copy."""
        for server in rooms.other:
            for exhibit in EXHIBITS:
                if server is not Lighttpd and exhibit.published.startswith("name folding"):
                    with self.subTest(server.__name__ + ", " + exhibit.name):
                        self.assertEqual(rooms.with_other_setting(server, exhibit)["REMOTE_ADDR"], museum.CLIENT)

    @unittest.skipUnless(Lighttpd.installed(), "lighttpd is not installed")
    def test_folded_names_pass_where_copies_are_joined(self):
        """Should this ever change, README.md, SECURITY.md and the manual are wrong."""
        for exhibit in EXHIBITS:
            if "Lighttpd" in exhibit.doubt_behind:
                self.assertEqual(rooms.with_other_setting(Lighttpd, exhibit)["REMOTE_ADDR"], FORGED)

    @unittest.skipUnless(Lighttpd.installed(), "lighttpd is not installed")
    def test_a_folded_name_alone_passes(self):
        """With no header beside it there is nothing to tell it by: SECURITY.md says so."""
        alone = EXHIBITS[0]._replace(lines=["X.Forwarded.For: " + FORGED])
        self.assertEqual(rooms.behind_shim(Lighttpd, Whoami, alone)["REMOTE_ADDR"], FORGED)

    def test_shipped_configuration_is_valid(self):
        subprocess.run([os.environ["FCGI_REALIP"], "check", "-c", os.path.join(TREE, "etc/lighttpd/fcgi-realip.ini")], check=True,
                       stdout=subprocess.DEVNULL, timeout=PATIENCE)


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
