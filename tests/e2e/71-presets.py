#!/usr/bin/env python3
"""The configurations in etc/presets/: valid, and right about their own samples, honest and forged.

A sample is a comment in the preset:

    # honest: --peer ADDR --header 'NAME: VALUE'... => CLIENT REASON
    # forged: --peer ADDR --header 'NAME: VALUE'... => CLIENT REASON

The arguments are those of explain. Whatever a forger claims to be is FORGED below.
"""

import collections
import glob
import http.client
import ipaddress
import json
import os
import re
import shlex
import shutil
import socket
import struct
import subprocess
import tempfile
import unittest

from servers import Nginx, TREE, Whoami, find, shipped
from shim import PATIENCE, Shim, program

FOLDER = os.path.join(TREE, "etc", "presets")
FORGED = "198.51.100.66"
SAMPLE = re.compile(r"^# (honest|forged): (.*) => (\S+) (\S+)$")
LOOKS_LIKE_SAMPLE = re.compile(r"^[#;]+\s*(honest|forged)\b", re.IGNORECASE)
PRESETS = sorted(os.path.basename(path) for path in glob.glob(os.path.join(FOLDER, "*.ini")))
LISTS = sorted(os.path.basename(path) for path in glob.glob(os.path.join(FOLDER, "*.txt")))
EXPECTED = {"alibaba-slb", "alibaba-cdn", "proxy-protocol", "cloudflare", "aws-cloudfront-alb", "squid",
            "azure-application-gateway", "google-cloud-lb", "kubernetes-ingress", "docker-bridge"}

Sample = collections.namedtuple("Sample", "kind arguments client reason text")


def read(*names):
    with open(os.path.join(FOLDER, *names), encoding="utf-8") as file:
        return file.read()


def run(*arguments):
    return subprocess.run([program(), *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=PATIENCE, text=True)


def samples(name):
    found = []
    for line in read(name).splitlines():
        match = SAMPLE.match(line)
        if match:
            kind, arguments, client, reason = match.groups()
            found.append(Sample(kind, shlex.split(arguments), client, reason, line))
        elif LOOKS_LIKE_SAMPLE.match(line):
            raise AssertionError("%s: no sample as the tests read it: %s" % (name, line))
    return found


class Presets(unittest.TestCase):
    def test_all_are_there(self):
        self.assertEqual({name[:-len(".ini")] for name in PRESETS}, EXPECTED)

    def test_valid_without_a_warning(self):
        for name in PRESETS:
            with self.subTest(name):
                result = run("check", "-c", os.path.join(FOLDER, name))
                self.assertEqual((result.returncode, result.stderr), (0, ""))
                self.assertIn("configuration is valid", result.stdout)
                self.assertIn("listens on unix:/run/fcgi-realip/fcgi-realip.sock; sends to ", result.stdout)

    def test_samples_of_both_kinds(self):
        for name in PRESETS:
            with self.subTest(name):
                self.assertEqual({sample.kind for sample in samples(name)}, {"honest", "forged"})

    def test_samples(self):
        for name in PRESETS:
            for sample in samples(name):
                with self.subTest(name, sample=sample.text):
                    self.check_sample(name, sample)

    def check_sample(self, name, sample):
        result = run("explain", "--json", "-c", os.path.join(FOLDER, name), *sample.arguments)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        answer = json.loads(result.stdout)
        self.assertEqual((answer["client"], answer["reason"]), (sample.client, sample.reason))
        self.assertIsNone(answer["rejected"])
        if sample.kind == "honest":
            self.assertNotIn(FORGED, sample.text)
            return
        self.assertIn(FORGED, sample.text.split("=>")[0])
        self.assertNotEqual(sample.client, FORGED)
        # What the application sees: nothing of the forger's, in no header that a preset reads.
        self.assertNotIn(FORGED, " ".join(value for value in answer["params"].values() if value))
        self.assertNotIn(FORGED, answer["remaining"] or "")
        forged = {argument.split(":")[0] for argument in sample.arguments if ":" in argument and FORGED in argument}
        for header in forged:
            parameter = "HTTP_" + header.upper().replace("-", "_")
            self.assertIn(parameter, answer["params"], "%s reaches the application as the forger wrote it" % header)

    def test_secrets_never_pass(self):
        for name in PRESETS:
            for sample in samples(name):
                given = {argument.split("=")[0] for argument in sample.arguments if argument.startswith("HTTP_")}
                if not given:
                    continue
                with self.subTest(name, sample=sample.text):
                    result = run("explain", "--json", "-c", os.path.join(FOLDER, name), *sample.arguments)
                    params = json.loads(result.stdout)["params"]
                    self.assertEqual({parameter: params.get(parameter, "kept") for parameter in given},
                                     dict.fromkeys(given))

    def test_comments(self):
        """Each says who writes what, why it selects as it does, and what forgers can try."""
        for name in PRESETS:
            with self.subTest(name):
                text = read(name)
                for part in ("# Who writes what:", "# What a forger can try:"):
                    self.assertIn(part, text)
                self.assertRegex(text, r"(?m)^# (Why |So each group )")

    def test_named_files_exist(self):
        for name in PRESETS + ["kubernetes-sidecar.yaml"]:
            for word in re.findall(r"[\w./-]+\.(?:ini|txt|yaml|conf)\b", read(name)):
                if word.startswith("/") or word in ("fcgi-realip.ini", "default.conf"):
                    continue
                with self.subTest(name, file=word):
                    self.assertTrue(os.path.exists(os.path.join(TREE if word.startswith("etc/") else FOLDER, word)))


class Lists(unittest.TestCase):
    def test_each_is_used(self):
        used = set()
        for name in PRESETS:
            used |= set(re.findall(r"^trust_file = (\S+)$", read(name), re.MULTILINE))
        self.assertEqual(used, set(LISTS))

    def test_origin_is_told(self):
        for name in LISTS:
            with self.subTest(name):
                text = read(name)
                self.assertRegex(text, r"(?m)^# Source: .+")
                self.assertRegex(text, r"(?m)^# Date: 20\d\d-\d\d-\d\d\b")
                self.assertRegex(text, r"(?m)^# Refresh: .*\bcurl\b")
                self.assertIn("https://", text)

    def test_blocks(self):
        """No block of a list holds another one, none is private; only placeholders are for documentation."""
        for name in LISTS:
            with self.subTest(name):
                blocks = [ipaddress.ip_network(line) for line in read(name).splitlines()
                          if line and not line.startswith("#")]
                self.assertGreater(len(blocks), 0)
                placeholder = "placeholder" in read(name)
                for i, block in enumerate(blocks):
                    self.assertEqual(placeholder, block.subnet_of(ipaddress.ip_network("192.0.2.0/24"))
                                     if block.version == 4 else False, block)
                    self.assertTrue(placeholder or block.is_global, block)
                    for other in blocks[:i]:
                        self.assertFalse(block.overlaps(other), "%s and %s" % (block, other))


class SideCar(unittest.TestCase):
    """kubernetes-sidecar.yaml and kubernetes-ingress.ini fit each other."""

    def test_names_and_paths(self):
        manifest, ini = read("kubernetes-sidecar.yaml"), read("kubernetes-ingress.ini")
        path = re.search(r"^address = unix:(\S+)$", ini, re.MULTILINE).group(1)
        self.assertIn("fastcgi_pass unix:%s;" % path, manifest)
        self.assertEqual(manifest.count("mountPath: %s\n" % os.path.dirname(path)), 2)
        self.assertIn('"serve", "-c", "/etc/fcgi-realip/fcgi-realip.ini"]', manifest)
        self.assertIn("mountPath: /etc/fcgi-realip\n", manifest)
        self.assertIn("kubectl create configmap fcgi-realip --from-file=fcgi-realip.ini=kubernetes-ingress.ini\n",
                      manifest)
        volumes = manifest[manifest.index("      volumes:"):]
        for name in set(re.findall(r"- name: (\S+)\n\s+mountPath:", manifest)):
            self.assertRegex(volumes, r"- name: %s\n" % name)
        self.assertIn("configMap:\n            name: fcgi-realip\n", volumes)

    def test_nginx_takes_its_server(self):
        if not find("nginx"):
            self.skipTest("NOT INSTALLED: nginx")
        body = re.search(r"  default\.conf: \|\n((?:    .*\n|\n)+)", read("kubernetes-sidecar.yaml")).group(1)
        folder = tempfile.mkdtemp(prefix="realip-preset-")
        self.addCleanup(shutil.rmtree, folder)
        shutil.copy("/etc/nginx/fastcgi_params", folder)
        with open(os.path.join(folder, "nginx.conf"), "w") as file:
            file.write("pid nginx.pid; error_log stderr; events {} http { access_log off;\n%s}\n" % body)
        result = subprocess.run([find("nginx"), "-t", "-p", folder, "-c", os.path.join(folder, "nginx.conf"),
                                 "-e", "stderr"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                timeout=PATIENCE)
        self.assertEqual(result.returncode, 0, result.stdout)


class ProxyProtocolNginx(Nginx):
    """nginx with the shipped file for the PROXY protocol."""

    def configure(self):
        for name in ("fastcgi.conf", "fastcgi_params"):
            shutil.copy(os.path.join("/etc/nginx", name), self.dir)
        self.write("site.conf", shipped("nginx/fcgi-realip-proxy-protocol.conf", [
            ("listen 80 proxy_protocol;", "listen 127.0.0.1:%d proxy_protocol;" % self.port),
            ("root /var/www/html", "root " + self.www),
            ("/run/fcgi-realip/fcgi-realip.sock", self.socket)]))
        temporary = "".join("%s_temp_path %s;\n" % (kind, self.path(kind))
                            for kind in ("client_body", "fastcgi", "proxy", "scgi", "uwsgi"))
        user = "user root;\n" if os.geteuid() == 0 else ""
        self.write("nginx.conf", "%sdaemon off; pid nginx.pid; error_log stderr warn; events {}\n"
                   "http { access_log off; %s include site.conf; }\n" % (user, temporary))
        self.spawn(find("nginx"), "-p", self.dir, "-c", self.path("nginx.conf"), "-e", "stderr")


def version_1(source, port):
    if source is None:
        return b"PROXY UNKNOWN\r\n"
    family, server = ("TCP6", "2001:db8::80") if ":" in source else ("TCP4", "192.0.2.80")
    return ("PROXY %s %s %s %d 80\r\n" % (family, source, server, port)).encode()


def version_2(source, port):
    signature = b"\r\n\r\n\x00\r\nQUIT\n"
    if source is None:
        return signature + b"\x20\x00\x00\x00"  # LOCAL, unspecified
    version = socket.AF_INET6 if ":" in source else socket.AF_INET
    server = "2001:db8::80" if ":" in source else "192.0.2.80"
    addresses = socket.inet_pton(version, source) + socket.inet_pton(version, server) + struct.pack("!HH", port, 80)
    unknown = b"\xea\x00\x03abc"  # a TLV that nobody knows, as balancers add theirs
    kind = b"\x21" if version == socket.AF_INET6 else b"\x11"
    return signature + b"\x21" + kind + struct.pack("!H", len(addresses + unknown)) + addresses + unknown


@unittest.skipUnless(Nginx.installed(), "NOT INSTALLED: nginx")
class ProxyProtocol(unittest.TestCase):
    """A balancer that speaks it, nginx, the shim and whoami, with the shipped files of both."""

    BALANCER = "127.0.0.1"
    DIRECT = "127.0.0.2"

    @classmethod
    def setUpClass(cls):
        cls.application = cls.enter_part(Whoami(processes=1))
        text = read("proxy-protocol.ini")
        for old, new in (("address = unix:/run/fcgi-realip/fcgi-realip.sock", "address = unix:{dir}/shim.sock"),
                         ("address = unix:/run/php/php-fpm.sock", "address = " + cls.application.address),
                         ("trust = 10.0.0.11, 10.0.0.12", "trust = " + cls.BALANCER)):
            assert old in text, old
            text = text.replace(old, new)
        cls.shim = cls.enter_part(Shim(text))
        cls.nginx = cls.enter_part(ProxyProtocolNginx("unix:%s/shim.sock" % cls.shim.dir))

    @classmethod
    def enter_part(cls, part):
        part.__enter__()
        cls.addClassCleanup(part.__exit__, None, None, None)
        return part

    def ask(self, prefix, headers=(), source=BALANCER, server=None):
        port = (server or self.nginx).port
        connection = http.client.HTTPConnection("127.0.0.1", port, source_address=(source, 0),
                                                timeout=PATIENCE)
        self.addCleanup(connection.close)
        connection.connect()
        connection.sock.sendall(prefix)
        connection.putrequest("GET", "/index.php?json")
        for name, value in headers:
            connection.putheader(name, value)
        connection.endheaders()
        response = connection.getresponse()
        body = response.read()
        self.assertEqual(response.status, 200, body[:500])
        return json.loads(body)["params"]

    def assert_client(self, params, client, port):
        self.assertEqual((params["REMOTE_ADDR"], params["REMOTE_PORT"]), (client, port))
        self.assertEqual(params["REALIP_REMOTE_ADDR"], self.BALANCER)
        self.assertEqual(params["REALIP_PROXIES"], self.BALANCER)

    def test_what_nginx_sends(self):
        """The same nginx in front of the application itself, without the shim."""
        with ProxyProtocolNginx(self.application.address) as nginx:
            for version in (version_1, version_2):
                for client, sent in (("203.0.113.7", "203.0.113.7:51342"), ("2001:db8::7", "[2001:db8::7]:51342"),
                                     (None, "")):
                    with self.subTest(version.__name__, client=client):
                        params = self.ask(version(client, 51342), [("X-Proxy-Protocol-Addr", FORGED)], server=nginx)
                        self.assertEqual(params["HTTP_X_PROXY_PROTOCOL_ADDR"], sent)
                        self.assertEqual(params["REMOTE_ADDR"], self.BALANCER)

    def test_clients(self):
        for version in (version_1, version_2):
            with self.subTest(version.__name__):
                self.assert_client(self.ask(version("203.0.113.7", 51342)), "203.0.113.7", "51342")
                self.assert_client(self.ask(version("2001:db8::7", 51343)), "2001:db8::7", "51343")

    def test_a_connection_of_the_balancer_itself(self):
        for version in (version_1, version_2):
            with self.subTest(version.__name__):
                params = self.ask(version(None, 0), [("X-Proxy-Protocol-Addr", FORGED)])
                self.assertEqual(params["REMOTE_ADDR"], self.BALANCER)
                self.assertNotIn(FORGED, params.values())

    def test_forged_headers(self):
        forged = [(name, FORGED) for name in ("X-Proxy-Protocol-Addr", "x-proxy-protocol-addr", "X-Forwarded-For",
                                              "X-Real-IP", "Forwarded", "X-Proxy-Protocol-Addr", "Client-IP")]
        for version in (version_1, version_2):
            with self.subTest(version.__name__):
                params = self.ask(version("203.0.113.7", 51342), forged)
                self.assert_client(params, "203.0.113.7", "51342")
                self.assertEqual([name for name, value in params.items() if FORGED in value], [])

    def test_forged_underscores(self):
        """nginx drops such a header before it could be one with the parameter."""
        params = self.ask(version_1("203.0.113.7", 51342), [("X_Proxy_Protocol_Addr", FORGED)])
        self.assert_client(params, "203.0.113.7", "51342")
        self.assertEqual([name for name, value in params.items() if FORGED in value], [])

    def test_forged_line_without_the_balancer(self):
        for version in (version_1, version_2):
            with self.subTest(version.__name__):
                params = self.ask(version(FORGED, 51342), [("X-Forwarded-For", FORGED)], self.DIRECT)
                self.assertEqual(params["REMOTE_ADDR"], self.DIRECT)
                self.assertNotIn("REALIP_REMOTE_ADDR", params)
                self.assertEqual([name for name, value in params.items() if FORGED in value], [])

    def test_no_line_at_all(self):
        with socket.create_connection(("127.0.0.1", self.nginx.port), timeout=PATIENCE) as connection:
            connection.sendall(b"GET /index.php?json HTTP/1.0\r\n\r\n")
            try:
                self.assertEqual(connection.recv(100), b"")
            except ConnectionResetError:
                pass


if __name__ == "__main__":
    unittest.main()
