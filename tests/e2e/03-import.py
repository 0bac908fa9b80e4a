#!/usr/bin/env python3
"""import: what it prints of each server's files, and that this finds the clients that the server itself finds."""

import http.client
import json
import os
import random
import re
import shutil
import subprocess
import tempfile
import unittest

from servers import PATH, ROOT, Process, find
from shim import PATIENCE, SANITIZER, free_port, program

MODULES = "/usr/lib/apache2/modules"
XFF = "X-Forwarded-For"

NGINX_END = """
# nginx leaves the header as it came, forgeries and all; these two lines do so, too.
# Without them the application sees in the header only what trusted proxies wrote.
# [realip]
# forwarded_for = keep
"""
APACHE_END = """
# mod_remoteip leaves in the header what it has not read; these two lines do so, too.
# Without them the application sees in the header only what trusted proxies wrote.
# [realip]
# forwarded_for = unconfirmed
"""
LIGHTTPD_END = """
# Where every hop is trusted, lighttpd stays with the peer; here the leftmost one is the client.
# lighttpd leaves the header as it came, forgeries and all; these two lines do so, too.
# Without them the application sees in the header only what trusted proxies wrote.
# [realip]
# forwarded_for = keep
"""
F5_END = """
# F5XFFHttpModule believes the header whoever sent it, and so lets every client choose its
# address. Here nobody is believed until the addresses of your BIG-IPs are filled in:
# [proxy bigip]
# trust = 192.0.2.1
"""
TITLES = {"nginx": "nginx", "apache": "Apache", "lighttpd": "lighttpd", "f5": "IIS"}
ENDS = {"nginx": NGINX_END, "apache": APACHE_END, "lighttpd": LIGHTTPD_END, "f5": F5_END}
PLACES = """\
# %s has different settings in different places; here all groups hold for every request.
# Where that matters, run one fcgi-realip for each, with the groups of that place only.
"""
NOTES = "#\n# What has no equal here, or is not in force:\n"
NGINX_SINGLE = "select = single ; nginx's default, real_ip_recursive off\n"
PRIVATE = "private_clients = no ; external proxies may not report private addresses\n"
REPEATED = "repeated = malformed ; lighttpd joins copies; one more is of another name, as X.Forwarded.For\n"
ACCEPT = "accept = for, proto ; lighttpd believes X-Forwarded-Proto, too; here SERVER_PORT follows it\n"


def head(server, name="main.conf"):
    return ("# %s, as fcgi-realip import %s reads it. Add [listen] and [upstream].\n"
            "# Take out of %s what is in here, or REMOTE_ADDR is changed before fcgi-realip sees it.\n"
            % (name, server, TITLES[server]))


class Sample:
    """A configuration, what is printed of it between the first lines and the last ones, and chains with the client
    that must be found: (peer, {header: value}, client)."""

    def __init__(self, server, text, output, clients=(), files=(), real=True):
        self.server = server
        self.text = text
        self.output = output
        self.clients = clients
        self.files = dict(files)
        self.real = real  # the server itself must take it


SAMPLES = {
    "nginx, the least": Sample(
        "nginx", "events {}\nhttp {\n    set_real_ip_from 10.0.0.1;\n}\n",
        "\n[proxy nginx]\ntrust = 10.0.0.1 ; main.conf:3\nheader = X-Real-IP ; nginx's default\n" + NGINX_SINGLE,
        [("10.0.0.1", {"X-Real-IP": "203.0.113.7"}, "203.0.113.7"),
         ("10.0.0.1", {XFF: "203.0.113.7"}, "10.0.0.1"),
         ("10.0.0.1", {"X-Real-IP": "203.0.113.7, 10.0.0.1"}, "10.0.0.1"),
         ("10.0.0.2", {"X-Real-IP": "203.0.113.7"}, "10.0.0.2")]),

    "nginx, all forms": Sample(
        "nginx", r"""events {}
http {
    # set_real_ip_from 192.0.2.1;
    log_format x "\"{;}\" $realip_remote_addr ${request}";
    set_real_ip_from 10.0.0.0/8; set_real_ip_from '2001:db8::/32';
    set_real_ip_from unix:; set_real_ip_from
        localhost ;
    real_ip_header "X-Forwarded-For";
    real_ip_recursive on;
    server { listen 127.0.0.1:18080; server_name a.example; location ~ "^/[a-z]{2}" { return 204; } }
}
""", NOTES + "# main.conf:4: log_format with $realip_remote_...: the application gets the peer as REALIP_REMOTE_ADDR and "
        "REALIP_REMOTE_PORT\n"
        "\n[proxy nginx]\ntrust = 10.0.0.0/8 ; main.conf:5\ntrust = 2001:db8::/32 ; main.conf:5\n"
        "trust = unix: ; main.conf:6\ntrust = localhost ; main.conf:6\n"
        "header = X-Forwarded-For ; main.conf:8\nselect = recursive ; main.conf:9: real_ip_recursive on\n",
        [("10.0.0.1", {XFF: "198.51.100.9, 203.0.113.7, 2001:db8::1, 10.9.9.9"}, "203.0.113.7"),
         ("unix:", {XFF: "203.0.113.7"}, "203.0.113.7"), ("127.0.0.1", {XFF: "203.0.113.7"}, "203.0.113.7"),
         ("10.0.0.1", {XFF: "203.0.113.7, unknown"}, "10.0.0.1")]),

    "nginx, blocks with the same settings are one group": Sample(
        "nginx", """events {}
http {
    server { listen 127.0.0.1:18080; server_name a.example;
        set_real_ip_from 10.0.0.1; set_real_ip_from 10.0.0.2; real_ip_header X-Forwarded-For; }
    server { listen 127.0.0.1:18080; server_name b.example;
        real_ip_header x-forwarded-for; set_real_ip_from 10.0.0.2; set_real_ip_from 10.0.0.1/32; }
}
""", "\n[proxy nginx]\n# the same in server b.example (main.conf:5)\n"
        "trust = 10.0.0.1 ; main.conf:4\ntrust = 10.0.0.2 ; main.conf:4\nheader = X-Forwarded-For ; main.conf:4\n"
        + NGINX_SINGLE),

    "nginx, blocks that differ": Sample(
        "nginx", """events {}
http {
    set_real_ip_from 10.0.0.0/8;
    real_ip_header X-Forwarded-For;
    server { listen 127.0.0.1:18080; server_name a.example; }
    server { listen 127.0.0.1:18080; server_name b.example; real_ip_recursive on;
        location /x { set_real_ip_from 192.0.2.1; set_real_ip_from 10.0.0.0/8; real_ip_header X-Client; }
    }
    server { listen 127.0.0.1:18080; }
}
stream { server { listen 127.0.0.1:18081; set_real_ip_from 192.0.2.9; proxy_pass 127.0.0.1:1; } }
""", NOTES + "# main.conf:11: set_real_ip_from 192.0.2.9: in a block \"stream\", which concerns no HTTP request\n"
        + PLACES % "nginx" + """
[proxy server-a.example-1]
# server a.example (main.conf:5)
trust = 10.0.0.0/8 ; main.conf:3
header = X-Forwarded-For ; main.conf:4
""" + NGINX_SINGLE + """
# server b.example (main.conf:6):
# all of its proxies are in groups above, whose settings count. Its own are:
# header = X-Forwarded-For ; main.conf:4
# select = recursive ; main.conf:6: real_ip_recursive on

[proxy location-x-3]
# location /x (main.conf:7)
trust = 192.0.2.1 ; main.conf:7
# trust = 10.0.0.0/8 ; main.conf:7: 10.0.0.0/8, main.conf:3, comes first and counts
header = X-Client ; main.conf:7
select = recursive ; main.conf:6: real_ip_recursive on
""", [("10.0.0.1", {XFF: "203.0.113.7, 10.0.0.2"}, "10.0.0.2"),
      ("192.0.2.1", {"X-Client": "203.0.113.7"}, "203.0.113.7")]),

    "nginx, places without proxies, and a header in force nowhere": Sample(
        "nginx", """events {}
http {
    server { listen 127.0.0.1:18080; real_ip_header X-Client; location /a {} }
    server { listen 127.0.0.1:18080; location /b { set_real_ip_from 10.0.0.1; } location /c {} }
}
""", NOTES + '# main.conf:3: "X-Client" of server is in force nowhere\n' + PLACES % "nginx"
        + "# Without trusted proxies there: 2, the first in main.conf:3\n"
        "\n[proxy nginx]\ntrust = 10.0.0.1 ; main.conf:4\nheader = X-Real-IP ; nginx's default\n" + NGINX_SINGLE),

    "nginx, PROXY protocol": Sample(
        "nginx", "events {}\nhttp {\n    set_real_ip_from 10.0.0.1;\n    real_ip_header proxy_protocol;\n}\n",
        "\n[proxy nginx]\ntrust = 10.0.0.1 ; main.conf:3\n"
        "header = X-Proxy-Protocol-Addr ; main.conf:4: real_ip_header proxy_protocol. Only nginx sees that, and has to "
        "pass it on, or any client can send this header: fastcgi_param HTTP_X_PROXY_PROTOCOL_ADDR "
        "$proxy_protocol_addr;\n" + NGINX_SINGLE,
        [("10.0.0.1", {"X-Proxy-Protocol-Addr": "203.0.113.7", XFF: "192.0.2.1"}, "203.0.113.7")]),

    "nginx, included files": Sample(
        "nginx", """events {}
http {
    include cdn.conf;
    include conf.d/*.conf;
    include none/*.conf;
    real_ip_header CF-Connecting-IP;
}
""", NOTES + "# main.conf:5: include {dir}/none/*.conf: there is no such file, so nothing of it is in here\n"
        "\n[proxy nginx]\ntrust = 198.51.100.0/24 ; {dir}/cdn.conf:2\ntrust = 2001:db8:1::/48 ; {dir}/conf.d/a.conf:1\n"
        "trust = 2001:db8:2::/48 ; {dir}/conf.d/b.conf:1\nheader = CF-Connecting-IP ; main.conf:6\n" + NGINX_SINGLE,
        [("198.51.100.1", {"CF-Connecting-IP": "203.0.113.7"}, "203.0.113.7")],
        {"cdn.conf": "# the CDN\nset_real_ip_from 198.51.100.0/24;\n",
         "conf.d/a.conf": "set_real_ip_from 2001:db8:1::/48;\n", "conf.d/b.conf": "set_real_ip_from 2001:db8:2::/48;\n"}),

    "nginx with Lua": Sample(
        "nginx", """server {
    access_by_lua_block {
        local a = "}" -- not this one: }
        local b = { [[ } ]], '\\'}' } --[[ nor
        this } ]]
    }
    set_real_ip_from 10.0.0.1;
}
""", "\n[proxy nginx]\ntrust = 10.0.0.1 ; main.conf:7\nheader = X-Real-IP ; nginx's default\n" + NGINX_SINGLE, real=False),

    "apache, internal and external proxies": Sample(
        "apache", r"""<IfModule mod_remoteip.c>
    RemoteIPHeader X-Forwarded-For
    RemoteIPInternalProxy 10.1 192.168.0.0/255.255.0.0 \
        2001:db8::/32
    remoteipTRUSTEDproxy "203.0.113.0/24" 10.1.2.3
    RemoteIPProxiesHeader X-Forwarded-By
</IfModule>
""", NOTES + "# main.conf:6: RemoteIPProxiesHeader X-Forwarded-By: the application gets the proxies, internal ones too, as "
        "REALIP_PROXIES\n" + """
[proxy apache]
trust = 10.1.0.0/16 ; main.conf:3
trust = 192.168.0.0/255.255.0.0 ; main.conf:3
trust = 2001:db8::/32 ; main.conf:3
header = X-Forwarded-For ; main.conf:2
select = recursive

[proxy apache-external]
trust = 203.0.113.0/24 ; main.conf:5: RemoteIPTrustedProxy
# trust = 10.1.2.3 ; main.conf:5: 10.1.0.0/16, main.conf:3, comes first and counts
header = X-Forwarded-For ; main.conf:2
select = recursive
""" + PRIVATE,
        [("10.1.2.3", {XFF: "198.51.100.9, 192.0.2.7, 192.168.9.9"}, "192.0.2.7"),
         ("10.1.2.3", {XFF: "10.9.9.9"}, "10.9.9.9"),
         ("203.0.113.1", {XFF: "192.0.2.7"}, "192.0.2.7"),
         ("203.0.113.1", {XFF: "192.0.2.7, 10.1.0.1"}, "203.0.113.1"),
         ("203.0.113.1", {XFF: "fd00::1"}, "203.0.113.1")]),

    "apache, lists in files": Sample(
        "apache", """RemoteIPHeader X-Client-IP
RemoteIPTrustedProxyList lists/cdn.txt
RemoteIPInternalProxyList {dir}/lb.txt
""", """
[proxy apache]
trust_file = {dir}/lb.txt ; main.conf:3
header = X-Client-IP ; main.conf:1
select = recursive

[proxy apache-external]
trust_file = {dir}/lists/cdn.txt ; main.conf:2: RemoteIPTrustedProxyList
header = X-Client-IP ; main.conf:1
select = recursive
""" + PRIVATE,
        [("10.0.0.1", {"X-Client-IP": "192.0.2.7, 203.0.113.9"}, "192.0.2.7"),
         ("203.0.113.9", {"X-Client-IP": "172.16.0.1"}, "203.0.113.9")],
        {"lists/cdn.txt": "# the CDN\n203.0.113.0/24 198.51.100.0/24\n", "lb.txt": "10.0.0.1 # left\n10.0.0.2\n"}),

    "apache, everybody": Sample(
        "apache", "RemoteIPHeader X-Forwarded-For\n", """
[proxy apache-external]
trust = 0.0.0.0/0 ; main.conf:1: a header without a list of proxies is believed from everybody
trust = ::/0 ; main.conf:1: a header without a list of proxies is believed from everybody
header = X-Forwarded-For ; main.conf:1
select = recursive
""" + PRIVATE,
        [("192.0.2.1", {XFF: "203.0.113.7, 198.51.100.9"}, "203.0.113.7"),
         ("192.0.2.1", {XFF: "203.0.113.7, 10.0.0.1"}, "192.0.2.1")]),

    "apache, virtual hosts": Sample(
        "apache", """RemoteIPHeader X-Forwarded-For
<VirtualHost *:80>
    ServerName a.example
    RemoteIPInternalProxy 10.0.0.1
</VirtualHost>
<VirtualHost *:80>
    ServerName "b.example"
    <IfDefine !NoProxy>
        RemoteIPInternalProxy 10.0.0.2
    </IfDefine>
    RemoteIPHeader X-Old
    RemoteIPHeader X-Client-IP
    <Directory />
        Require all granted
    </Directory>
</VirtualHost>
<IfModule !mod_remoteip.c>
    RemoteIPInternalProxy 10.0.0.3
</IfModule>
""", NOTES + """\
# main.conf:9: RemoteIPInternalProxy: in <IfDefine !NoProxy>, taken as if that held
# main.conf:11: RemoteIPHeader X-Old: replaced in line 12
# main.conf:18: RemoteIPInternalProxy: in <IfModule !mod_remoteip.c>, so not in here
""" + PLACES % "Apache" + """
# main server (main.conf:1):
# there everybody is believed. As a group that would hold for every request, so it is left out.

[proxy VirtualHost-a.example-2]
# VirtualHost a.example (main.conf:2)
trust = 10.0.0.1 ; main.conf:4
header = X-Forwarded-For ; main.conf:1
select = recursive

[proxy VirtualHost-b.example-3]
# VirtualHost b.example (main.conf:6)
trust = 10.0.0.2 ; main.conf:9
header = X-Client-IP ; main.conf:12
select = recursive
""", [("10.0.0.1", {XFF: "203.0.113.7"}, "203.0.113.7"), ("10.0.0.2", {"X-Client-IP": "203.0.113.7"}, "203.0.113.7"),
      ("192.0.2.1", {XFF: "203.0.113.7"}, "192.0.2.1")]),

    "apache, included files": Sample(
        "apache", """ServerRoot "{dir}/root"
Include remoteip.conf
IncludeOptional none/*.conf
<IfDefine X>
    IncludeOptional ${X}/*.conf
</IfDefine>
RemoteIPProxyProtocol Off
""", NOTES + """\
# main.conf:3: include {dir}/root/none/*.conf: there is no such file, so nothing of it is in here
# main.conf:5: IncludeOptional ${X}/*.conf: not read, for it names a variable
# main.conf:7: RemoteIPProxyProtocol Off: leave it in Apache, which alone sees the PROXY protocol; REMOTE_ADDR is then \
whom the balancer named

[proxy apache]
trust = 10.0.0.1 ; {dir}/root/remoteip.conf:2
header = X-Real-IP ; {dir}/root/remoteip.conf:1
select = recursive
""", [("10.0.0.1", {"X-Real-IP": "203.0.113.7"}, "203.0.113.7")],
        {"root/remoteip.conf": "RemoteIPHeader X-Real-IP\nRemoteIPInternalProxy 10.0.0.1\n"}),

    "lighttpd, a list": Sample(
        "lighttpd", """server.modules = ( "mod_extforward" )
server.document-root = "/var/empty" # var.x = ( "
extforward.forwarder = ( "10.0.0.1" => "trust",
    "10.1.0.0/16" => "Trust", # the others
    "10.1.2.3" => "untrusted" )
""", NOTES + '# main.conf:5: "10.1.2.3" => "untrusted": not trusted here as long as no other entry holds that address\n'
        """
[proxy lighttpd]
trust = 10.0.0.1 ; main.conf:3
trust = 10.1.0.0/16 ; main.conf:4
header = X-Forwarded-For ; lighttpd's default, which takes Forwarded-For where that is missing
select = recursive
""" + ACCEPT + REPEATED,
        [("10.0.0.1", {XFF: "198.51.100.9, 203.0.113.7, 10.1.9.9"}, "203.0.113.7"),
         ("10.0.0.2", {XFF: "203.0.113.7"}, "10.0.0.2")]),

    "lighttpd, everybody": Sample(
        "lighttpd", """server.modules = ( "mod_extforward" )
server.document-root = "/var/empty"
extforward.forwarder = ( "all" => "trust", "10.0.0.1" => "trust" )
extforward.headers = ( "X-Real-IP", "X-Forwarded-For" )
""", """
[proxy lighttpd]
trust = 0.0.0.0/0 ; main.conf:3: "all" => "trust"
trust = ::/0 ; main.conf:3: "all" => "trust"
header = X-Real-IP ; main.conf:4: the first of 2 in lighttpd's list, which takes the next, "X-Forwarded-For", where \
that is missing; here a group of proxies has one
select = single ; main.conf:3: with "all" every peer is trusted, but no other hop is; lighttpd also passes hops that \
the list names
""" + ACCEPT + REPEATED,
        [("192.0.2.1", {"X-Real-IP": "198.51.100.9, 203.0.113.7"}, "203.0.113.7"),
         ("2001:db8::1", {"X-Real-IP": "203.0.113.7"}, "203.0.113.7")]),

    "lighttpd, Forwarded": Sample(
        "lighttpd", """server.modules = ( "mod_extforward" )
server.document-root = "/var/empty"
extforward.forwarder = ( "10.0.0.1" => "trust" )
extforward.headers = ( "Forwarded" )
extforward.params = ( "host" => 1, "remote_user" => "enable" )
""", NOTES + '# main.conf:5: extforward.params "remote_user": has no equal\n' """
[proxy lighttpd]
trust = 10.0.0.1 ; main.conf:3
header = Forwarded ; main.conf:4
select = recursive
accept = for, proto, host ; main.conf:5: extforward.params "host"
""" + REPEATED, [("10.0.0.1", {"Forwarded": "for=203.0.113.7;host=a.example"}, "203.0.113.7")]),

    "lighttpd, conditions": Sample(
        "lighttpd", """server.modules = ( "mod_extforward" )
server.document-root = "/var/empty"
var.dir = "/srv" + "/www"
extforward.forwarder = ( "10.0.0.1" => "trust" )
extforward.params = ( "host" => "enable" )
$HTTP["host"] =~ "^{a}" {
    extforward.forwarder += ( "10.0.0.2" => "trust" )
    $SERVER["socket"] == "127.0.0.1:18080" { extforward.headers = ( "X-Client-IP" ) }
}
else $HTTP["host"] == "b.example" {
    extforward.forwarder = ( "all" => "trust" )
}
$HTTP["host"] == "c.example" {
    extforward.forwarder = ( "all" => "no" )
}
""", PLACES % "lighttpd" + """\
# Without trusted proxies there: 1, the first in main.conf:13

[proxy all-requests-1]
# all requests (main.conf:1)
trust = 10.0.0.1 ; main.conf:4
header = X-Forwarded-For ; lighttpd's default, which takes Forwarded-For where that is missing
select = recursive
accept = for, proto ; main.conf:5: extforward.params "host" counts with the header Forwarded only
repeated = malformed ; lighttpd joins copies; one more is of another name, as X.Forwarded.For

[proxy HTTP-host-a-2]
# $HTTP["host"] =~ "^{a}" (main.conf:6)
# trust = 10.0.0.1 ; main.conf:4: 10.0.0.1, main.conf:4, comes first and counts
trust = 10.0.0.2 ; main.conf:7
header = X-Forwarded-For ; lighttpd's default, which takes Forwarded-For where that is missing
select = recursive
accept = for, proto ; main.conf:5: extforward.params "host" counts with the header Forwarded only
repeated = malformed ; lighttpd joins copies; one more is of another name, as X.Forwarded.For

# $SERVER["socket"] == "127.0.0.1:18080" (main.conf:8):
# all of its proxies are in groups above, whose settings count. Its own are:
# header = X-Client-IP ; main.conf:8
# select = recursive
# accept = for, proto ; main.conf:5: extforward.params "host" counts with the header Forwarded only

# $HTTP["host"] == "b.example" (main.conf:10):
# there everybody is believed. As a group that would hold for every request, so it is left out.
""", [("10.0.0.2", {XFF: "203.0.113.7, 10.0.0.1"}, "203.0.113.7"), ("192.0.2.1", {XFF: "203.0.113.7"}, "192.0.2.1")]),

    "lighttpd, included files": Sample(
        "lighttpd", """server.modules = ( "mod_extforward" )
server.document-root = "/var/empty"
include "conf.d/*.conf"
var.x = "conf.d"
include var.x + "/more.inc"
include_shell "echo"
""", NOTES + """\
# main.conf:5: include var.x: not read, for it names a variable
# main.conf:6: include_shell echo: not read, for it is a command; import what it prints by itself

[proxy lighttpd]
trust = 10.0.0.1 ; {dir}/conf.d/a.conf:1
header = X-Forwarded-For ; lighttpd's default, which takes Forwarded-For where that is missing
select = recursive
""" + ACCEPT + REPEATED, [], {"conf.d/a.conf": 'extforward.forwarder = ( "10.0.0.1" => "trust" )\n', "conf.d/more.inc": ""}),

    "F5": Sample(
        "f5", "\ufeff[SETTINGS]\r\nHEADER=X-Client\r\nOTHER=1\r\n",
        NOTES + "# main.conf:3: OTHER: not a key of F5XFFHttpModule\n"
        "\n[SETTINGS]\nHEADER = X-Client ; main.conf:2\n", [("192.0.2.1", {"X-Client": "203.0.113.7"}, "192.0.2.1")]),
}

# (server, text, what is wrong with it): the messages, with FILE for the file's name.
ADDRESS = ("not an address; write an address, a block such as 192.0.2.0/24, loopback, link-local, private, unix: or a "
           "host name")
NO_NGINX = ("error: FILE: no set_real_ip_from in a place that HTTP requests come to, so nginx trusts no proxy and there "
            "is nothing to import")
NO_APACHE = "error: FILE: no RemoteIPHeader, so mod_remoteip believes no header and there is nothing to import"
NO_LIGHTTPD = "error: FILE: no extforward.forwarder that trusts anybody for a header, so there is nothing to import"
NO_F5 = "error: FILE: no HEADER in a section [SETTINGS], so there is nothing to import"
BAD = [
    ("nginx", "", [NO_NGINX]),
    ("nginx", "real_ip_header X;\n", [NO_NGINX, 'warning: FILE:1: "X" of the file is in force nowhere']),
    ("nginx", "stream { set_real_ip_from 10.0.0.1; }\n", [NO_NGINX, 'warning: FILE:1: set_real_ip_from 10.0.0.1: in a '
                                                         'block "stream", which concerns no HTTP request']),
    ("nginx", "set_real_ip_from 10.0.0.1\n",
     ['error: FILE:1: "set_real_ip_from": this statement has no end; write ";" behind it']),
    ("nginx", "\nhttp {\n server {\n }\n", ['error: FILE:2: "{": this block has no end; write "}" behind it']),
    ("nginx", "a;\n}\n", ['error: FILE:2: "}": no block is open that it could end']),
    ("nginx", "http { a }\n",
     ['error: FILE:1: "}": the statement before it has no end; write ";" behind that']),
    ("nginx", "a;;\n", ['error: FILE:1: ";": there is no statement before it; remove it']),
    ("nginx", 'a "x\ny;\n', ['error: FILE:1: ""x": this quote has no end']),
    ("nginx", 'a "x"y;\n', ['error: FILE:1: "y;": text right behind a quote; put a blank between']),
    ("nginx", "x_by_lua_block {\n { }\n", ['error: FILE:1: "{": this block of Lua has no end; write "}" behind it']),
    ("nginx", "a { " * 65 + "\n", ['error: FILE:1: "a": too many blocks within each other']),
    ("nginx", "set_real_ip_from 10.0.0.256;\nreal_ip_header Proxy;\nreal_ip_recursive maybe;\nreal_ip_header B;\n"
              "set_real_ip_from;\nset_real_ip_from 10.0.0.1 10.0.0.2;\nhttp { real_ip_header HTTP_X_A; }\n",
     ['error: FILE:1: set_real_ip_from = "10.0.0.256": ' + ADDRESS,
      'error: FILE:2: header = "Proxy": clients send this header to redirect the application\'s own requests (httpoxy), '
      "and it is always dropped; name the header that holds the client's address",
      'error: FILE:3: real_ip_recursive "maybe": neither on nor off',
      'error: FILE:4: "real_ip_header": given twice in this block, first in line 2; remove one',
      'error: FILE:5: "set_real_ip_from": takes one value, and has 0',
      'error: FILE:6: "set_real_ip_from": takes one value, and has 2',
      "error: FILE:7: header = \"HTTP_X_A\": a parameter's name; write the header's, X-A"]),
    ("nginx", "set_real_ip_from private;\n",
     ['error: FILE:1: set_real_ip_from "private": a host\'s name there, but a word for several networks here; write its '
      "address"]),
    ("nginx", "set_real_ip_from 10.0.0.1;\n\0\n", ["error: FILE:2: NUL byte in column 1; this is not a plain text file"]),
    ("apache", "", [NO_APACHE]),
    ("apache", "RemoteIPInternalProxy 10.0.0.1\nRemoteIPProxyProtocol On\n",
     [NO_APACHE, "warning: FILE:2: RemoteIPProxyProtocol On: leave it in Apache, which alone sees the PROXY protocol; "
      "REMOTE_ADDR is then whom the balancer named",
      "warning: FILE:1: the list of main server is in force nowhere"]),
    ("apache", "RemoteIPHeader\nRemoteIPHeader a b\nRemoteIPInternalProxy\n",
     ['error: FILE:1: "RemoteIPHeader": takes one value, and has 0',
      'error: FILE:2: "RemoteIPHeader": takes one value, and has 2',
      'error: FILE:3: "RemoteIPInternalProxy": takes one value or more, and has 0']),
    ("apache", "<Location />\nRemoteIPHeader x\n</Location>\n",
     ["error: FILE:2: RemoteIPHeader: Apache does not take it in <Location>"]),
    ("apache", "<IfModule x>\n</VirtualHost>\n",
     ['error: FILE:2: "</VirtualHost>": not the section that is open here']),
    ("apache", "</IfModule>\n", ['error: FILE:1: "</IfModule>": no section is open that it could end']),
    ("apache", "\n<IfModule x>\n", ['error: FILE:2: "IfModule": this section has no end']),
    ("apache", "<IfModule x\n", ['error: FILE:1: "<IfModule x": this section\'s first line does not end with ">"']),
    ("apache", "<A>\n" * 65, ['error: FILE:65: "<A>": too many sections within each other']),
    ("apache", 'RemoteIPHeader "x\n', ['error: FILE:1: ""x": this quote has no end']),
    ("apache", "RemoteIPHeader X-A\nRemoteIPInternalProxy ${LB} 10.0.0.1\n",
     ['error: FILE:2: RemoteIPInternalProxy "${LB}": a variable; write its value']),
    ("apache", "RemoteIPHeader X-A\nRemoteIPInternalProxy 10.256 \\\n 10.1.1.1.1\n",
     ['error: FILE:2: RemoteIPInternalProxy = "10.256": ' + ADDRESS,
      'error: FILE:2: RemoteIPInternalProxy = "10.1.1.1.1": ' + ADDRESS]),
    ("apache", "RemoteIPHeader X-A\nRemoteIPTrustedProxyList /nonexistent\n",
     ['error: FILE:2: trust_file = "/nonexistent": cannot read /nonexistent: No such file or directory']),
    ("apache", 'RemoteIPHeader X-A\nRemoteIPTrustedProxyList "/a b"\n',
     ['error: FILE:2: "/a b": a path with white space or commas cannot be a trust_file; rename the file']),
    ("lighttpd", "", [NO_LIGHTTPD]),
    ("lighttpd", 'extforward.forwarder = ("all" => "no", "10.0.0.1" => "trust")\n', [NO_LIGHTTPD]),
    ("lighttpd", 'extforward.forwarder = ("10.0.0.1" => "trust")\nextforward.hap-PROXY = "enable"\n',
     [NO_LIGHTTPD, "warning: FILE:2: extforward.hap-PROXY: leave it in lighttpd, which alone sees the PROXY protocol, with "
      "its forwarders; REMOTE_ADDR is then whom the balancer named",
      "warning: FILE:1: the list of all requests is in force nowhere"]),
    ("lighttpd", 'extforward.forwarder = ( var.x => "trust" )\n',
     ['error: FILE:1: "var.x": not a plain string; write the value itself, between quotes']),
    ("lighttpd", 'extforward.forwarder = ( "a" + "b" => "trust" )\n',
     ['error: FILE:1: "a": not a plain string; write the value itself, between quotes']),
    ("lighttpd", 'extforward.forwarder = var.x\n',
     ['error: FILE:1: "var.x": not a list; write it out between "(" and ")"']),
    ("lighttpd", 'extforward.forwarder = ( "lb.example" => "trust", "10.0.0.1" )\nextforward.headers = ( "a" => "b" )\n'
                 'extforward.params = ( "host" )\nextforward.headers = ( "X-A" )\nextforward.headers = ( "X-B" )\n',
     ['error: FILE:1: "lb.example": not an address, and lighttpd asks for no names; write an address',
      'error: FILE:1: "10.0.0.1": no "=>"; a forwarder is "ADDRESS" => "trust"',
      'error: FILE:2: "a": "=>" in a list of headers; write the names alone',
      'error: FILE:3: "host": no "=>"; a parameter is "NAME" => "enable"',
      'error: FILE:5: "extforward.headers": given twice in the same place; remove one']),
    ("lighttpd", 'extforward.forwarder = (\n"10.0.0.1" => "trust"\n"10.0.0.2" => "trust" )\n',
     ['error: FILE:3: ""10.0.0.2" => "trust" )": neither "," nor ")" behind an element']),
    ("lighttpd", 'extforward.forwarder = (\n', ['error: FILE:2: "(": this list has no end; write ")" behind it']),
    ("lighttpd", 'a = ( (\n', ['error: FILE:1: "(": this list has no end; write ")" behind it']),
    ("lighttpd", 'a = "x\n', ['error: FILE:1: ""x": this string has no end']),
    ("lighttpd", 'a = }\n', ['error: FILE:1: "}": not a value']),
    ("lighttpd", 'a =', ['error: FILE:2: "=": the file ends where a value should be']),
    ("lighttpd", 'a "x"\n', ['error: FILE:1: "a": no "=" behind it; write NAME = VALUE']),
    ("lighttpd", '\n}\n', ['error: FILE:2: "}": not the beginning of a statement']),
    ("lighttpd", '\n$HTTP["host"] == "a" {\n', ['error: FILE:2: "{": this block has no end; write "}" behind it']),
    ("lighttpd", '$HTTP["host"] == "a"\n', ['error: FILE:1: "$HTTP["host"] == "a"": no block behind this condition']),
    ("lighttpd", "a = @\n", ['error: FILE:1: "@": not in lighttpd\'s syntax as far as it is known here']),
    ("f5", "", [NO_F5]),
    ("f5", "[settings]\n", [NO_F5]),
    ("f5", "[SETTINGS]\nHEADER=X A\n",
     ['error: FILE:2: header = "X A": not a header\'s name; write the name alone, as in X-Forwarded-For']),
    ("f5", "[SETTINGS]\nheader=X-A\nHEADER=X-B\n",
     ["error: FILE:3: HEADER: given twice, first in line 2; remove one of the lines"]),
    ("f5", "[SETTINGS]\nHEADER=X-A\n X-B\n",
     ['error: FILE:3: "X-B": continues the line above, being indented; remove the white space']),
    ("f5", "HEADER=X-A\n",
     ['error: FILE:1: "HEADER=X-A": outside of any section; write a section such as [realip] above it']),
]


class ImportTest(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="realip-import-")
        self.addCleanup(shutil.rmtree, self.dir, ignore_errors=True)

    def write(self, name, text):
        path = os.path.join(self.dir, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8", newline="") as file:
            file.write(text)
        return path

    def run_program(self, *args, **options):
        """The finished process, run in the test's folder. A sanitizer's report fails the test."""
        options.setdefault("input", "")
        options.setdefault("stdout", subprocess.PIPE)
        done = subprocess.run([program(), *args], stderr=subprocess.PIPE, timeout=PATIENCE, cwd=self.dir,
                              encoding="utf-8", **options)
        self.assertIsNone(SANITIZER.search(done.stderr), done.stderr)
        return done

    def imported(self, server, name):
        done = self.run_program("import", server, name)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return done.stdout

    def check(self, name):
        done = self.run_program("check", "-c", name)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done

    def client(self, ini, peer, headers):
        arguments = [word for name, value in headers for word in ("--header", "%s: %s" % (name, value))]
        done = self.run_program("explain", "-c", ini, "--peer", peer, "--json", *arguments)
        self.assertEqual(done.returncode, 0, done.stderr)
        return json.loads(done.stdout)["client"]

    def unpack(self, sample):
        """The sample's files, and no others."""
        shutil.rmtree(self.dir)
        os.mkdir(self.dir)
        for name, text in sample.files.items():
            self.write(name, text)
        self.write("main.conf", sample.text.replace("{dir}", self.dir))


class Samples(ImportTest):
    def test_output(self):
        for name, sample in SAMPLES.items():
            with self.subTest(name):
                self.unpack(sample)
                self.assertEqual(self.imported(sample.server, "main.conf"),
                                 head(sample.server) + sample.output.replace("{dir}", self.dir) + ENDS[sample.server])

    def test_it_is_valid_and_finds_the_clients(self):
        for name, sample in SAMPLES.items():
            with self.subTest(name):
                self.unpack(sample)
                text = self.imported(sample.server, "main.conf")
                self.write("a.ini", text)
                self.check("a.ini")
                for peer, headers, client in sample.clients:
                    self.assertEqual(self.client("a.ini", peer, headers.items()), client, (peer, headers))
                if "# [realip]\n" in text:
                    whole = text.replace("# [realip]\n# forwarded_for", "[realip]\nforwarded_for")
                    self.write("a.ini", whole)
                    self.check("a.ini")

    def test_f5_completed(self):
        self.write("main.conf", "[SETTINGS]\nHEADER=X-Client\n")
        text = self.imported("f5", "main.conf").replace("# [proxy", "[proxy").replace("# trust", "trust")
        self.write("a.ini", text)
        self.assertEqual(self.check("a.ini").stderr, "")
        self.assertEqual(self.client("a.ini", "192.0.2.1", [("X-Client", "203.0.113.7")]), "203.0.113.7")

    def test_standard_input(self):
        self.write("cdn.conf", "set_real_ip_from 10.0.0.2;\n")
        done = self.run_program("import", "nginx", "-", input="include cdn.conf;\nset_real_ip_from 10.0.0.1;\n")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(done.stdout, head("nginx", "standard input") + NOTES +
                         "# standard input:1: include cdn.conf: not read, for it is unknown where relative paths start; "
                         "import it by itself\n"
                         "\n[proxy nginx]\ntrust = 10.0.0.1 ; standard input:2\nheader = X-Real-IP ; nginx's default\n"
                         + NGINX_SINGLE + NGINX_END)
        for server, text in (("apache", "RemoteIPHeader X-A\n"), ("f5", "[SETTINGS]\nHEADER=X-A\n"),
                             ("lighttpd", 'extforward.forwarder = ("10.0.0.1" => "trust")\n')):
            self.assertEqual(self.run_program("import", server, "-", input=text).returncode, 0)
        done = self.run_program("import", "apache", "-", input="RemoteIPHeader X-A\nRemoteIPTrustedProxyList a.txt\n")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, 'fcgi-realip: error: standard input:2: RemoteIPTrustedProxyList "a.txt": it is '
                         "unknown where relative paths start; write an absolute one\n")

    def test_names_of_strangers_stay_comments(self):
        """Neither a file's name nor a block's can end a comment."""
        self.write("a\n[access]\n.conf", "set_real_ip_from 10.0.0.1;\n"
                   "server { server_name 'x\n[access]\ndeny = 0.0.0.0/0'; set_real_ip_from 10.0.0.2; }\n")
        self.write("main.conf", "include a*.conf;\n" "server { server_name 'y]\n[z';"
                   "set_real_ip_from 10.0.0.3; real_ip_header X-B; }\n")
        text = self.imported("nginx", "main.conf")
        self.assertIn("(%s/a\\n[access]\\n.conf:2)" % self.dir, text)
        self.assertIn("# server x\\n[access]\\ndeny = 0.0.0.0/0 (", text)
        self.assertNotIn("\n[access]", text)
        self.assertEqual([line for line in text.splitlines() if line.startswith("[")],
                         ["[proxy server-x-access-deny-0.0.0.0-1]", "[proxy server-y-z-2]"])
        self.write("a.ini", text)
        self.check("a.ini")

    def test_many_places(self):
        """Names of groups stay within the limit; more groups than a configuration may have are refused."""
        self.write("main.conf", "".join("server { server_name %s%d.example; set_real_ip_from 10.0.%d.1; }\n"
                                        % ("x" * 60, i, i) for i in range(256)))
        self.write("a.ini", self.imported("nginx", "main.conf"))
        self.assertIn("trusts 256 groups of proxies with 256 address blocks", self.check("a.ini").stdout)
        with open(os.path.join(self.dir, "main.conf"), "a") as file:
            file.write("server { set_real_ip_from 10.1.0.1; }\n")
        done = self.run_program("import", "nginx", "main.conf")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, "fcgi-realip: error: main.conf: 257 different sets of proxies, but there may be 256 "
                         "groups; import its parts one by one\n")


class Mistakes(ImportTest):
    def test_input(self):
        for server, text, messages in BAD:
            with self.subTest((server, text[:200])):
                self.write("bad.conf", text)
                done = self.run_program("import", server, "bad.conf")
                lines = ["fcgi-realip: " + message.replace("FILE", "bad.conf") for message in messages]
                self.assertEqual(done.stderr.splitlines(), lines)
                self.assertEqual((done.returncode, done.stdout), (1, ""))

    def test_usage(self):
        where = "\nTry `fcgi-realip import --help`.\n"
        for args, message in [
            ((), "the server is missing: nginx, apache, lighttpd or f5"),
            (("ngin", "x"), 'unknown server "ngin"; did you mean "nginx"?'),
            (("iis",), 'unknown server "iis"; write nginx, apache, lighttpd or f5'),
            (("nginx",), "FILE is missing: the server's configuration, or - for standard input"),
            (("nginx", "a", "b"), 'unexpected argument "b"'),
            (("nginx", "-x"), 'unknown option "-x"'),
            (("--frobnicate", "nginx"), 'unknown option "--frobnicate"'),
        ]:
            with self.subTest(args):
                done = self.run_program("import", *args)
                self.assertEqual((done.returncode, done.stdout), (2, ""))
                self.assertEqual(done.stderr, "fcgi-realip: error: " + message + where)
        text = self.run_program("import", "--help")
        self.assertEqual((text.returncode, text.stderr), (0, ""))
        self.assertTrue(text.stdout.startswith("fcgi-realip import nginx|apache|lighttpd|f5 FILE\n"), text.stdout)
        self.assertEqual(self.run_program("help", "import").stdout, text.stdout)
        self.assertEqual(self.run_program("import", "nginx", "--help").stdout, text.stdout)

    def test_files_that_cannot_be_read(self):
        os.mkfifo(os.path.join(self.dir, "fifo"))
        for name, why in (("none", "No such file or directory"), (".", "it is a folder"),
                          ("fifo", "it is not a regular file")):
            for server in TITLES:
                done = self.run_program("import", server, name)
                self.assertEqual((done.returncode, done.stdout, done.stderr),
                                 (1, "", "fcgi-realip: error: %s: cannot read it: %s\n" % (name, why)))

    def test_output_that_cannot_be_written(self):
        self.write("main.conf", "set_real_ip_from 10.0.0.1;\n")
        with open("/dev/full", "w") as full:
            done = self.run_program("import", "nginx", "main.conf", stdout=full)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr,
                         "fcgi-realip: error: cannot write to standard output: No space left on device\n")

    def test_files_that_include_each_other(self):
        self.write("main.conf", "set_real_ip_from 10.0.0.1;\ninclude main.conf;\n")
        done = self.run_program("import", "nginx", "main.conf")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, 'fcgi-realip: error: %s/main.conf:2: "main.conf": too many files include each '
                         "other; break the circle\n" % self.dir)
        self.write("main.conf", "include main.conf;\ninclude main.conf;\n")
        done = self.run_program("import", "nginx", "main.conf")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("too many files include each other", done.stderr)

    def test_included_files_that_cannot_be_read(self):
        os.mkdir(os.path.join(self.dir, "sub"))
        self.write("bad.conf", "x {\n")
        self.write("main.conf", "set_real_ip_from 10.0.0.1;\ninclude sub;\n")
        self.assertIn("# main.conf:2: %s/sub: cannot be read (it is a folder); import it by itself\n" % self.dir,
                      self.imported("nginx", "main.conf"))
        self.write("main.conf", "set_real_ip_from 10.0.0.1;\ninclude bad.conf;\n")
        done = self.run_program("import", "nginx", "main.conf")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, 'fcgi-realip: error: %s/bad.conf:1: "{": this block has no end; write "}" behind '
                         "it\n" % self.dir)

    def test_a_list_that_the_ini_would_refuse(self):
        self.write("list.txt", "10.0.0.1\n10.0.0.256\n")
        self.write("main.conf", "RemoteIPHeader X-A\nRemoteIPTrustedProxyList list.txt\n")
        done = self.run_program("import", "apache", "main.conf")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertEqual(done.stderr, 'fcgi-realip: error: %s/list.txt:2: trust = "10.0.0.256": %s\n' % (self.dir, ADDRESS))

    def test_damaged_files(self):
        """Samples with bytes taken out or put in are printed or refused, and what is printed is valid."""
        chance = random.Random(3)
        printed = refused = 0
        for sample in SAMPLES.values():
            self.unpack(sample)
            text = sample.text.replace("{dir}", self.dir).replace("localhost", "10.7.7.7")
            for _ in range(12):
                damaged = list(text)
                for _ in range(chance.randint(1, 3)):
                    at = chance.randrange(len(damaged))
                    damaged[at:at + chance.choice((0, 1, 9))] = chance.choice(
                        ("", "{", "}", '"', "'", "\\", ";", "<", ">", "(", ")", "\n", "#", "$", ",", "="))
                self.write("main.conf", "".join(damaged))
                done = self.run_program("import", sample.server, "main.conf")
                # A damaged name may be a host's, which is asked for.
                if done.returncode == 0:
                    self.write("a.ini", done.stdout)
                    self.check("a.ini")
                    printed += 1
                else:
                    self.assertEqual((done.returncode, done.stdout), (1, ""), "".join(damaged))
                    self.assertRegex(done.stderr, r"\Afcgi-realip: (error|warning): \S*main\.conf|\Afcgi-realip: \w+: /")
                    refused += 1
        self.assertGreater(printed, 30)
        self.assertGreater(refused, 30)


class Nginx(Process):
    program = ("nginx",)
    text = """
        daemon off; master_process off; pid nginx.pid; error_log stderr warn; %s
        events {}
        http { access_log off; %s
            %s
            server { listen 127.0.0.1:%d; listen [::1]:%d; location / { return 200 "$remote_addr"; } }
        }
    """

    def __init__(self, settings):
        super().__init__()
        self.settings = settings
        self.port = free_port()

    def start(self):
        temporary = "".join("%s_temp_path %s;\n" % (kind, self.path(kind))
                            for kind in ("client_body", "fastcgi", "proxy", "scgi", "uwsgi"))
        self.write("main.conf", self.text % ("user root;" if ROOT else "", temporary, self.settings, self.port, self.port))
        self.spawn(find(*self.program), "-p", self.dir, "-c", self.path("main.conf"), "-e", "stderr")
        self.wait_listening("127.0.0.1:%d" % self.port)

    def ask(self, source, headers):
        """The client's address as the server sees it, of a request from a loopback address with these headers."""
        connection = http.client.HTTPConnection("::1" if ":" in source else "127.0.0.1", self.port, timeout=PATIENCE,
                                                source_address=(source, 0))
        try:
            connection.putrequest("GET", "/")
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders()
            answer = connection.getresponse()
            return self.read(answer)
        finally:
            connection.close()

    @staticmethod
    def read(answer):
        return answer.read().decode()


class Apache(Nginx):
    program = ("apache2", "httpd")

    @staticmethod
    def modules():
        return "".join("LoadModule %s_module %s/mod_%s.so\n" % (name, MODULES, name)
                       for name in ("mpm_event", "authz_core", "headers", "remoteip"))

    def start(self):
        self.write("main.conf", """%s%s
            ServerRoot %s
            ServerName localhost
            PidFile %s
            DefaultRuntimeDir %s
            ErrorLog %s
            Listen 127.0.0.1:%d
            Listen [::1]:%d
            %s
            Header always set X-Client "expr=%%{REMOTE_ADDR}"
            """ % (self.modules(), "User www-data\nGroup www-data\n" if ROOT else "", self.dir, self.path("apache.pid"),
                   self.dir, self.path("error.log"), self.port, self.port, self.settings))
        self.spawn(find(*self.program), "-d", self.dir, "-f", self.path("main.conf"), "-D", "FOREGROUND")
        self.wait_listening("127.0.0.1:%d" % self.port)

    @staticmethod
    def read(answer):
        answer.read()
        return answer.getheader("X-Client")


class Lighttpd(Nginx):
    program = ("lighttpd",)

    def start(self):
        self.write("index.shtml", '<!--#echo var="REMOTE_ADDR" -->')
        self.write("main.conf", """
            server.modules = ( "mod_extforward", "mod_ssi" )
            server.bind = "127.0.0.1"
            server.port = %d
            server.document-root = "%s"
            server.errorlog = "%s"
            index-file.names = ( "index.shtml" )
            ssi.extension = ( ".shtml" )
            $SERVER["socket"] == "[::1]:%d" { }
            %s
            """ % (self.port, self.dir, self.path("error.log"), self.port, self.settings))
        self.spawn(find(*self.program), "-D", "-f", self.path("main.conf"))
        self.wait_listening("127.0.0.1:%d" % self.port)


class RealServers(ImportTest):
    """The servers themselves take the samples, and find the client that the imported configuration finds."""

    def need(self, server):
        if not server.installed():
            self.skipTest("%s is not installed" % server.program[0])

    def assert_taken(self, name, *command):
        done = subprocess.run(command, cwd=self.dir, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=PATIENCE, text=True, env=dict(os.environ, PATH=PATH))
        self.assertEqual(done.returncode, 0, "%s: %s" % (name, done.stdout))

    def samples(self, server):
        found = [(name, sample) for name, sample in SAMPLES.items() if sample.server == server and sample.real]
        self.assertGreater(len(found), 4)
        for name, sample in found:
            self.unpack(sample)
            yield name

    def test_nginx_takes_the_samples(self):
        self.need(Nginx)
        module = "/usr/lib/nginx/modules/ngx_stream_module.so"  # a package of its own
        stream = "load_module %s; " % module if os.path.exists(module) else ""
        for name in self.samples("nginx"):
            if not stream:
                self.write("main.conf", re.sub("(?m)^stream .*", "", SAMPLES[name].text))
            self.assert_taken(name, find("nginx"), "-t", "-p", self.dir, "-c", os.path.join(self.dir, "main.conf"),
                              "-e", "stderr", "-g", "%spid %s/nginx.pid;" % (stream, self.dir))

    def test_apache_takes_the_samples(self):
        self.need(Apache)
        loads = [word for name in ("mpm_event", "authz_core", "remoteip")
                 for word in ("-C", "LoadModule %s_module %s/mod_%s.so" % (name, MODULES, name))]
        for name in self.samples("apache"):
            self.assert_taken(name, find(*Apache.program), "-t", "-d", self.dir, "-f", os.path.join(self.dir, "main.conf"),
                              *loads, "-c", "ServerName localhost", "-c", "ErrorLog %s/error.log" % self.dir)

    def test_lighttpd_takes_the_samples(self):
        self.need(Lighttpd)
        for name in self.samples("lighttpd"):
            self.assert_taken(name, find("lighttpd"), "-tt", "-f", os.path.join(self.dir, "main.conf"))

    TRUSTED = ("127.0.0.1", "::1", "10.0.0.1", "10.200.3.4", "2001:db8:1::5", "192.168.7.7")
    OTHERS = ("203.0.113.7", "198.51.100.9", "2001:db8:2::7", "172.16.0.9", "11.0.0.1")

    def random_chain(self, chance, junk):
        """junk: elements whose reading is no matter of the settings, besides the ones above."""
        chain = [chance.choice(self.TRUSTED + self.TRUSTED + self.OTHERS + junk) for _ in range(chance.randint(0, 5))]
        return chance.choice((", ", ",", " , ")).join([chance.choice(self.OTHERS), *chain])

    def compare(self, server, real, header, junk=(), count=120):
        chance = random.Random(header)
        self.need(real)
        seen = set()
        with real(server) as running:
            self.write("real.ini", self.imported(real.__name__.lower(), running.path("main.conf")))
            self.check("real.ini")
            for _ in range(count):
                source = chance.choice(("127.0.0.1", "127.0.0.1", "::1", "127.0.0.2"))
                headers = [(header, self.random_chain(chance, junk))]
                if chance.random() < 0.1:
                    headers = [("X-Other", "192.0.2.1")]
                client = running.ask(source, headers)
                self.assertEqual(self.client("real.ini", source, headers), client, (source, headers, server))
                seen.add(client)
        self.assertGreater(len(seen), 4)

    NGINX = "".join("set_real_ip_from %s; " % entry
                    for entry in ("127.0.0.1", "::1", "10.0.0.0/8", "2001:db8:1::/48", "192.168.0.0/16"))
    JUNK = ("unknown", "203.0.113.7:4711", "[2001:db8:2::7]:80", "1.2.3", "1.2.3.4.5")

    def test_nginx_recursive(self):
        self.compare(self.NGINX + "real_ip_header X-Forwarded-For; real_ip_recursive on;", Nginx, XFF, self.JUNK)

    def test_nginx_single(self):
        self.compare(self.NGINX + "real_ip_header X-Forwarded-For;", Nginx, XFF, self.JUNK)

    def test_nginx_default_header(self):
        self.compare(self.NGINX, Nginx, "X-Real-IP", self.JUNK)

    def test_nginx_other_header(self):
        self.compare(self.NGINX + "real_ip_header X-Client-IP; real_ip_recursive on;", Nginx, "X-Client-IP", self.JUNK)

    def test_apache_internal(self):
        self.compare("RemoteIPHeader X-Forwarded-For\n"
                     "RemoteIPInternalProxy 127.0.0.1 ::1 10 2001:db8:1::/48 192.168.0.0/255.255.0.0\n", Apache, XFF)

    def test_apache_external(self):
        self.compare("RemoteIPHeader X-Forwarded-For\nRemoteIPTrustedProxy 127.0.0.1 10.0.0.0/8 2001:db8:1::/48\n"
                     "RemoteIPInternalProxy ::1 192.168\nRemoteIPTrustedProxy 192.168.7.7\n", Apache, XFF)

    def test_apache_everybody(self):
        self.compare("RemoteIPHeader X-Client-IP\n", Apache, "X-Client-IP")

    LIGHTTPD = ('extforward.forwarder = ( "127.0.0.1" => "trust", "::1" => "trust", "10.0.0.0/8" => "trust",\n'
                '"2001:db8:1::/48" => "trust", "192.168.7.7" => "trust" )\n')

    def test_lighttpd(self):
        self.compare(self.LIGHTTPD, Lighttpd, XFF)

    def test_lighttpd_other_header(self):
        self.compare(self.LIGHTTPD + 'extforward.headers = ( "X-Client-IP" )\n', Lighttpd, "X-Client-IP")

    def test_lighttpd_everybody(self):
        self.compare('extforward.forwarder = ( "all" => "trust" )\n', Lighttpd, XFF)


if __name__ == "__main__":
    unittest.main()
