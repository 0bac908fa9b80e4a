"""The relays that are measured: each gives what it needs to start, for a number of connections.

All of them have one process with one thread for the requests, and get and give away the same bytes over unix
sockets. HAProxy and nginx relay TCP connections, and know nothing of requests: they open one to the application for
each that the web server opens. The shim keeps its connections to the application.
"""

import os
import pathlib
import re
import shlex
import subprocess

from common import Failure, Process, find

OPEN_FILES = 16000  # two for each of 5,000 connections, and room


def trusted_ranges(count):
    """Ranges spread over both address families as those of large networks are; none holds a client or a hop."""
    for i in range(count):
        if i % 8 == 0:
            yield f"2{400 + i % 500}:{i >> 8:x}:{i & 255:x}00::/{40 + i % 9}\n"
        else:
            block = (11 << 24) + i * (150 << 24) // count & ~0xFFF
            yield f"{block >> 24}.{block >> 16 & 255}.{block >> 8 & 255}.0/{20 + i % 5}\n"


class Relay:
    sees = "peer"  # the REMOTE_ADDR that the application sees through it

    def start(self, folder, app, connections):
        """A started Process that relays to the address app, or None for direct."""
        raise NotImplementedError


class Direct(Relay):
    name = "direct"

    def start(self, folder, app, connections):
        return None


class Haproxy(Relay):
    name = "haproxy"
    splice = ""
    config = """
global
    nbthread 1
    maxconn {most}
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen bench
    bind unix@{front}
    maxconn {most}
{splice}
    server app unix@{app}
"""

    def __init__(self):
        self.path = find("haproxy", "haproxy")

    def start(self, folder, app, connections):
        front = f"{folder}/{self.name}.sock"
        config = pathlib.Path(folder, f"{self.name}.cfg")
        config.write_text(self.config.format(front=front, app=app.removeprefix("unix:"), splice=self.splice,
                                             most=max(4000, connections + 100)))
        return Process(self.name, [self.path, "-db", "-f", str(config)], "unix:" + front, f"{folder}/{self.name}.log")


class HaproxySplice(Haproxy):
    name = "splice"
    splice = "    option splice-auto\n    option splice-request\n    option splice-response"


class Nginx(Relay):
    """nginx's stream module, with what a configuration of it takes at the least."""

    name = "nginx"
    config = """
{module}
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile {files};
pid {folder}/nginx.pid;
error_log stderr;
events {{ worker_connections {files}; }}
stream {{
    access_log off;
    server {{
        listen unix:{folder}/nginx.sock;
        proxy_pass {app};
        proxy_connect_timeout 5s;
        proxy_timeout 60s;
    }}
}}
"""

    def __init__(self):
        self.path = find("nginx", "nginx")
        self.module = load_stream_module(self.path)

    def start(self, folder, app, connections):
        config = pathlib.Path(folder, "nginx.conf")
        config.write_text(self.config.format(folder=folder, app=app, module=self.module, user=nginx_user(),
                                             files=OPEN_FILES))
        return Process(self.name, [self.path, "-p", str(folder), "-c", str(config), "-e", "stderr"],
                       f"unix:{folder}/nginx.sock", f"{folder}/nginx.log")


def nginx_user():
    """As root nginx's workers would become another user, who cannot get into the folder."""
    return "user root;" if os.geteuid() == 0 else ""


def load_stream_module(nginx):
    """The line that loads it, where it is a module of its own (Debian), or nothing, where it is built in."""
    built = subprocess.run([nginx, "-V"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    if "--with-stream=dynamic" not in shlex.split(built):
        if "--with-stream" in shlex.split(built):
            return ""
        raise Failure("this nginx has no stream module")
    folder = re.search(r"--modules-path=(\S+)", built)
    module = pathlib.Path(folder[1] if folder else "/usr/lib/nginx/modules", "ngx_stream_module.so")
    if not module.exists():
        raise Failure(f"{module} is not there (Debian, Ubuntu: apt install libnginx-mod-stream)")
    return f"load_module {module};"


class Shim(Relay):
    """All checks and time-outs on (they are by default), default log level, and a trust list."""

    sees = "client"
    config = """
[listen]
address = unix:{folder}/{file}.sock

[upstream]
address = {app}
connections = {connections}
keepalive = on
request_timeout = 300s

[proxy edge]
trust = 10.0.7.0/24, 172.16.44.0/24, 198.51.100.0/24
trust_file = {folder}/{file}.trusted
"""

    def __init__(self, command, ranges=1000, name="shim"):
        self.command, self.ranges, self.name = command, ranges, name

    def write(self, folder, app, connections):
        """Its INI file."""
        file = self.name.replace("/", "-")
        config = pathlib.Path(folder, f"{file}.ini")
        pathlib.Path(folder, f"{file}.trusted").write_text("".join(trusted_ranges(self.ranges)))
        config.write_text(self.config.format(folder=folder, file=file, app=app, connections=connections))
        return config

    def start(self, folder, app, connections):
        config = self.write(folder, app, connections)
        return Process(self.name, self.command + ["serve", "-c", str(config)], f"unix:{config.with_suffix('.sock')}",
                       f"{config.with_suffix('.log')}")


def make_relay(name, command):
    """One of those that points.py names."""
    simple = {kind.name: kind for kind in (Direct, Haproxy, HaproxySplice, Nginx)}
    if name in simple:
        return simple[name]()
    if name == "shim":
        return Shim(command)
    if re.fullmatch(r"shim/[0-9]+", name):
        return Shim(command, int(name.partition("/")[2]), name)
    raise Failure(f"{name}: not a relay (direct, haproxy, splice, nginx, shim, or shim/N with N trusted ranges)")
