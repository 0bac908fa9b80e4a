"""Real web servers and applications for the end-to-end tests, each a context manager.

The web servers run with the very configuration files that etc/ ships. What differs in a test is replaced as plain
text and nothing else is touched: the port, the path of the shim's socket (HAProxy: its address) and the document
root. Around it comes what these files leave to the distribution's own main configuration: paths for logs, process
ids and temporary files, and the modules to load.

All run as the current user in directories of their own, on free ports, and end with the test.
"""

import glob
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile

from shim import PATIENCE, SANITIZER, accepts, free_port, program, wait_for

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
WWW = os.path.join(TREE, "tests", "support", "www")
SHIPPED_SOCKET = "/run/fcgi-realip/fcgi-realip.sock"
SHIPPED_ADDRESS = "127.0.0.1:9001"  # HAProxy's way to the shim
SHIPPED_ROOT = "/var/www/html"
PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"  # where Debian keeps servers
ROOT = os.geteuid() == 0
BODY_MAX = 64 * 1024 * 1024


def find(*names):
    """The path of the first of these programs that is installed, or None. A name may be a pattern."""
    for name in names:
        for directory in PATH.split(":"):
            for path in sorted(glob.glob(os.path.join(directory, name)), reverse=True):
                if os.access(path, os.X_OK) and os.path.isfile(path):
                    return path
    return None


def shipped(name, replacements):
    """The text of etc/NAME with some of its text replaced. What is to be replaced must be there."""
    with open(os.path.join(TREE, "etc", name)) as file:
        text = file.read()
    for old, new in replacements:
        if old not in text:
            raise AssertionError("etc/%s does not have %r: bring tests/support/servers.py up to date" % (name, old))
        text = text.replace(old, new)
    return text


class Process:
    """A server process in the foreground with a directory of its own; .log() is what it wrote."""

    program = None  # names or patterns, for find()
    stop_signal = signal.SIGTERM

    @classmethod
    def installed(cls):
        return find(*cls.program) is not None

    def __init__(self):
        self.process = None
        self.dir = tempfile.mkdtemp(prefix="realip-%s-" % type(self).__name__.lower())
        os.chmod(self.dir, 0o755)  # Apache as root reads it as another user

    def path(self, name):
        return os.path.join(self.dir, name)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)
        return self.path(name)

    def spawn(self, path, *arguments, env=None):
        # Should the test be killed, its servers end with it.
        guard = [find("setpriv"), "--pdeathsig", "TERM"] if find("setpriv") else []
        with open(self.path("output.log"), "ab") as log:
            self.process = subprocess.Popen(
                [*guard, path, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.dir,
                env=dict(os.environ, **(env or {})), start_new_session=True)

    def wait_listening(self, address):
        def listening():
            if self.process.poll() is not None:
                raise AssertionError("%s ended at its start with status %d:\n%s"
                                     % (type(self).__name__, self.process.returncode, self.log()))
            return accepts(address)
        wait_for(listening, what="%s to listen at %s" % (type(self).__name__, address))

    def log(self):
        text = ""
        for path in sorted(glob.glob(self.path("*.log"))):
            with open(path, errors="backslashreplace") as file:
                text += file.read()
        return text

    def end(self):
        """Ends the process and what it started; its directory stays."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        self.process = None

    def stop(self):
        try:
            self.end()
        finally:
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind, error, trace):
        if kind is not None:
            sys.stderr.write("%s's log, its last 3000 characters:\n%s\n" % (type(self).__name__, self.log()[-3000:]))
        self.stop()
        return False

    def start(self):
        raise NotImplementedError


class Server(Process):
    """A web server in front of a FastCGI application at `address`, "unix:PATH" or "HOST:PORT": .port on 127.0.0.1.

    folds_dots  whether X.Forwarded.For of a request becomes HTTP_X_FORWARDED_FOR, as X-Forwarded-For does
    keeps       whether it keeps connections to the application
    streams     whether it hands a request on before all of a small body is there
    tcp         whether its shipped file reaches the shim by TCP, not by a unix socket
    maps        whether a client of an IPv6 socket that takes IPv4 too is ::ffff:a.b.c.d to it
    edits       further replacements in the shipped file, for a test that wants something of its own
    extra       text for the server's main configuration
    host        the address to listen at; ::ffff:127.0.0.1 is an IPv6 socket for IPv4 clients
    """

    folds_dots = False
    keeps = False
    streams = False
    tcp = False
    maps = False

    def __init__(self, address, edits=(), extra="", host="127.0.0.1"):
        super().__init__()
        self.host = host
        self.address = address
        self.edits = list(edits)
        self.extra = extra
        self.port = free_port()
        self.www = self.path("www")
        shutil.copytree(WWW, self.www)

    @property
    def socket(self):
        assert self.address.startswith("unix:"), self.address
        return self.address[len("unix:"):]

    @property
    def bracketed(self):
        return "[%s]" % self.host if ":" in self.host else self.host

    def start(self):
        self.configure()
        self.wait_listening("%s:%d" % (self.bracketed, self.port))

    def configure(self):
        raise NotImplementedError


class Nginx(Server):
    program = ("nginx",)
    maps = True
    file = "nginx/fcgi-realip.conf"

    def configure(self):
        for name in ("fastcgi.conf", "fastcgi_params"):
            shutil.copy(os.path.join("/etc/nginx", name), self.dir)
        self.write("site.conf", shipped(self.file, [
            ("listen 80;", "listen %s:%d%s;" % (self.bracketed, self.port, " ipv6only=off" if ":" in self.host else "")),
            ("root " + SHIPPED_ROOT, "root " + self.www),
            (SHIPPED_SOCKET, self.socket),
            *self.edits]))
        user = "user %s;\n" % pwd.getpwuid(0).pw_name if ROOT else ""
        temporary = "".join("%s_temp_path %s;\n" % (kind, self.path(kind))
                            for kind in ("client_body", "fastcgi", "proxy", "scgi", "uwsgi"))
        self.write("nginx.conf", user + """
            daemon off;
            worker_processes 2;
            pid nginx.pid;
            error_log stderr warn;
            events { worker_connections 2048; }
            http {
                access_log off;
                client_max_body_size %d;
                %s
                %s
                include site.conf;
            }
            """ % (BODY_MAX, temporary, self.extra))
        self.spawn(find(*self.program), "-p", self.dir, "-c", self.path("nginx.conf"), "-e", "stderr")


class NginxKeep(Nginx):
    file = "nginx/fcgi-realip-keepalive.conf"
    keeps = True


class Apache(Server):
    program = ("apache2", "httpd")
    stop_signal = signal.SIGTERM
    keeps = True
    streams = True
    modules = ("mpm_event", "authz_core", "dir", "mime", "proxy", "proxy_fcgi")
    more_modules = ()

    def site(self):
        return shipped("apache/fcgi-realip.conf", [
            ("<VirtualHost *:80>", "<VirtualHost *:%d>" % self.port),
            (SHIPPED_ROOT, self.www),
            (SHIPPED_SOCKET, self.socket),
            *self.edits])

    def configure(self):
        self.write("site.conf", self.site())
        self.write("mime.types", "text/html html\n")
        modules = "".join("LoadModule %s_module /usr/lib/apache2/modules/mod_%s.so\n" % (name, name)
                          for name in self.modules + tuple(self.more_modules))
        user = "User www-data\nGroup www-data\n" if ROOT else ""  # Apache's workers refuse to be root
        self.write("apache.conf", modules + user + """
            ServerRoot %s
            ServerName localhost
            PidFile %s
            DefaultRuntimeDir %s
            TypesConfig mime.types
            ErrorLog %s
            Listen %s:%d
            ListenBacklog 2048
            ServerLimit 4
            ThreadLimit 256
            ThreadsPerChild 256
            MaxRequestWorkers 1024
            %s
            Include site.conf
            """ % (self.dir, self.path("apache.pid"), self.dir, self.path("error.log"),
                   self.bracketed, self.port, self.extra))
        self.spawn(find(*self.program), "-d", self.dir, "-f", self.path("apache.conf"), "-D", "FOREGROUND")


class Lighttpd(Server):
    program = ("lighttpd",)
    folds_dots = True
    maps = True

    def site(self):
        return shipped("lighttpd/fcgi-realip.conf", [(SHIPPED_SOCKET, self.socket), *self.edits])

    def configure(self):
        self.write("site.conf", self.site())
        os.mkdir(self.path("uploads"))
        self.write("lighttpd.conf", """
            server.bind = "%s"
            server.set-v6only = "disable"
            server.port = %d
            server.document-root = "%s"
            server.upload-dirs = ( "%s" )
            server.errorlog = "%s"
            server.max-connections = 2048
            server.max-fds = 8192
            index-file.names = ( "index.php" )
            %s
            include "site.conf"
            """ % (self.bracketed, self.port, self.www, self.path("uploads"), self.path("error.log"), self.extra))
        self.spawn(find(*self.program), "-D", "-f", self.path("lighttpd.conf"))


class Caddy(Server):
    program = ("caddy",)
    streams = True

    def configure(self):
        self.write("Caddyfile", """{
            admin off
            auto_https off
            default_bind %s
            %s
            }
            """ % (self.bracketed, self.extra) + shipped("caddy/Caddyfile", [
                (":80 {", ":%d {" % self.port),
                (SHIPPED_ROOT, self.www),
                ("unix/" + SHIPPED_SOCKET, "unix/" + self.socket),
                # On a slow machine a thousand requests at once do not all have their turn within its 3 s.
                ("header_up -*_*\n", "header_up -*_*\n\t\tdial_timeout 2m\n"),
                *self.edits]))
        home = self.path("home")
        os.mkdir(home)
        self.spawn(find(*self.program), "run", "--config", self.path("Caddyfile"), "--adapter", "caddyfile",
                   env={"HOME": home, "XDG_DATA_HOME": home, "XDG_CONFIG_HOME": home})


class Haproxy(Server):
    program = ("haproxy",)
    maps = True
    keeps = True
    tcp = True

    def configure(self):
        address = self.address
        if address.startswith("unix:"):
            address = "unix@" + self.socket
        self.write("haproxy.cfg", """
            global
                maxconn 4096
                log stderr local0
            defaults
                timeout connect 2m
                timeout client 2m
                timeout server 2m
                log global
                %s
            """ % self.extra + shipped("haproxy/haproxy.cfg", [
                ("bind :80", "bind %s:%d" % (self.bracketed, self.port)),
                ("docroot " + SHIPPED_ROOT, "docroot " + self.www),
                (SHIPPED_ADDRESS + " proto", address + " proto"),
                *self.edits]))
        self.spawn(find(*self.program), "-db", "-f", self.path("haproxy.cfg"))


SERVERS = (Nginx, NginxKeep, Apache, Lighttpd, Caddy, Haproxy)


class Php(Process):
    """php-fpm with a pool of its own on the unix socket .address; its page is tests/support/www/index.php."""

    program = ("php-fpm8*", "php-fpm")

    def __init__(self, processes=4):
        super().__init__()
        self.processes = processes
        self.address = "unix:" + self.path("php.sock")

    def start(self):
        settings = [
            "[global]",
            "error_log = " + self.path("error.log"),
            "daemonize = no",
            "[www]",
            *(["user = root", "group = root"] if ROOT else []),
            "listen = " + self.path("php.sock"),
            "listen.mode = 0666",
            "listen.backlog = 4096",
            "pm = static",
            "pm.max_children = %d" % self.processes,
            "catch_workers_output = yes",
            "php_admin_value[post_max_size] = %d" % BODY_MAX,
            "php_admin_value[sys_temp_dir] = " + self.dir,
        ]
        self.write("php-fpm.conf", "\n".join(settings) + "\n")
        self.spawn(find(*self.program), "-y", self.path("php-fpm.conf"), "-n", *(["-R"] if ROOT else []))
        self.wait_listening(self.address)


class Whoami(Process):
    """The program's own application, on libfcgi, on the unix socket .address."""

    program = ()

    @classmethod
    def installed(cls):
        return True

    def __init__(self, processes=4):
        super().__init__()
        self.processes = processes
        self.address = "unix:" + self.path("whoami.sock")

    def start(self):
        self.spawn(program(), "whoami", "-l", self.address, "-n", str(self.processes))
        self.wait_listening(self.address)

    def end(self):
        process = self.process
        super().end()
        if process is not None and (process.returncode != 0 or SANITIZER.search(self.log())):
            raise AssertionError("whoami ended with status %d:\n%s" % (process.returncode, self.log()))


APPLICATIONS = (Php, Whoami)
