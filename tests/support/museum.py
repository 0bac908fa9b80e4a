"""The spoofing museum: published ways to pass for another client, and what is right for each.

tests/e2e/80-museum.py sends each to real web servers with the shim behind them, and to the same servers with their own
module in its place, and holds the table in README.md against what comes out.

PROXY is the trusted proxy in front of the web server, which the forger has to come through; DIRECT a client that
reaches the web server itself. CLIENT is the address that the proxy reported for the forger, FORGED the one that the
forger wants to have.
"""

import collections

PROXY, PROXY_7239, DIRECT = "127.0.0.1", "127.0.0.3", "127.0.0.2"
CDN = "173.245.48.9"
CLIENT, FORGED = "203.0.113.7", "198.51.100.66"
UNIX = "unix"  # a source: the web server's own unix socket, which nobody trusts

# What all are told to trust; the web servers' modules have no groups, so that they trust the same with one header.
HOPS = "10.0.0.0/8"
INI = """
[listen]
address = unix:{dir}/shim.sock
# Apache as root has workers of another user
mode = 0666

[upstream]
address = %s

[proxy edge]
trust = 127.0.0.1, 10.0.0.0/8
{repeated}

[proxy rfc7239]
trust = 127.0.0.3
header = Forwarded
{repeated}

[proxy cdn]
trust = 173.245.48.9
header = CF-Connecting-IP
select = single
{repeated}
"""


def ini(address, repeated):
    """repeated: the line of that setting for each group, or nothing."""
    return (INI % address).replace("{repeated}", repeated)


# name       a row of the table
# published  where, or which kind of fault it is
# source     the peer of the web server
# lines      the request's header lines
# right      the client; None: REMOTE_ADDR is as the web server sent it, as for a unix socket
# why        of that
# header     the one that the modules are told to read
# fooled     what REMOTE_ADDR is, or begins with, if somebody falls for it
# leaks      parameters that are not to have FORGED in them; None: only REMOTE_ADDR is judged of the modules
# kept       parameters that the shim leaves as they are with its default settings, though nobody vouches for them
# doubt_behind web servers that leave nothing to tell the forgery by but that there are two headers of a name: neither
#            is believed there, and the client is the proxy
# application  what the modules are asked with, php or libfcgi; the shim is asked with both
Exhibit = collections.namedtuple("Exhibit", "name published source lines right why header fooled leaks kept doubt_behind "
                                            "application",
                                 defaults=("X-Forwarded-For", FORGED, None, (), (), "php"))

XFF = "X-Forwarded-For: "
PERILS = "Adam Pritchard, The perils of the \"real\" client IP"

EXHIBITS = (
    Exhibit("leftmost address forged", PERILS, PROXY, [XFF + "%s, %s" % (FORGED, CLIENT)], CLIENT,
            "proxies append, so only the right end is theirs"),
    Exhibit("a trusted address forged, too", PERILS, PROXY, [XFF + "%s, 10.9.9.9, %s" % (FORGED, CLIENT)], CLIENT,
            "the walk ends at the first hop that nobody trusts"),
    Exhibit("header lines repeated", PERILS, PROXY, [XFF + FORGED, XFF + CLIENT], CLIENT,
            "all lines are one list; libfcgi programs would read the first alone"),
    Exhibit("repeated, the proxy's own line last", PERILS, PROXY, [XFF + "%s, %s" % (FORGED, CLIENT), XFF + "10.0.0.1"],
            CLIENT, "all lines are one list; php would read the last alone"),
    Exhibit("`X_Forwarded_For` beside it", "name folding, as in CVE-2015-0219", PROXY,
            [XFF + CLIENT, "X_Forwarded_For: " + FORGED], CLIENT, "it is another header, which no proxy wrote"),
    Exhibit("`X.Forwarded.For` beside it", "name folding, as in CVE-2015-0219; php folds dots as well", PROXY,
            [XFF + CLIENT, "X.Forwarded.For: " + FORGED], CLIENT, "it is another header, which no proxy wrote",
            doubt_behind=("Lighttpd",)),
    Exhibit("mapped IPv6 for a trusted proxy", "IPv4-mapped addresses, as in CVE-2024-24790", PROXY,
            [XFF + "%s, %s, ::ffff:10.0.0.1" % (FORGED, CLIENT)], CLIENT, "::ffff:10.0.0.1 is 10.0.0.1 in all rules"),
    Exhibit("mapped IPv6 for the client", "IPv4-mapped addresses, as in CVE-2024-24790", PROXY,
            [XFF + "::ffff:" + CLIENT], CLIENT, "or a rule of the application's against the IPv4 address is evaded",
            fooled="::ffff:" + CLIENT),
    Exhibit("octal `010.0.0.1`", "leading zeros, as in CVE-2021-28918 and CVE-2021-29921", PROXY,
            [XFF + "%s, 010.0.0.1" % FORGED], PROXY, "10.0.0.1 to some, 8.0.0.1 to others: no address at all"),
    Exhibit("short `10.1`", "inet_aton's forms, as for CVE-2021-28918", PROXY, [XFF + "%s, 10.1" % FORGED], PROXY,
            "10.0.0.1 to some: no address at all"),
    Exhibit("a name, `localhost`", "names where addresses belong", PROXY, [XFF + "%s, localhost" % FORGED], PROXY,
            "whoever owns a name says what its address is"),
    Exhibit("`unknown` on the way", "skipping what is no address", PROXY, [XFF + "%s, unknown, 10.0.0.1" % FORGED],
            "10.0.0.1", "what stands left of it was written by somebody whom nobody knows"),
    Exhibit("empty elements", "list parsing", PROXY, [XFF + ", %s,, %s, ,10.0.0.1,," % (FORGED, CLIENT)], CLIENT,
            "they stand for nobody"),
    Exhibit("ports", "address parsing", PROXY, [XFF + "%s, %s:4711, 10.0.0.1:80" % (FORGED, CLIENT)], CLIENT,
            "some load balancers write them"),
    Exhibit("a port that is none", "address parsing", PROXY, [XFF + "%s, 10.0.0.1:99999" % FORGED], PROXY,
            "no proxy writes it: no address at all"),
    Exhibit("`Forwarded`: a comma in quotes", "RFC 7239, quoted strings", PROXY_7239,
            ['Forwarded: for=%s;host="x, for=%s"' % (CLIENT, FORGED)], CLIENT,
            "a proxy quotes what the client sent as Host", "Forwarded", kept=("HTTP_FORWARDED",)),
    Exhibit("`Forwarded`: an open quote", "RFC 7239, quoted strings", PROXY_7239,
            ['Forwarded: for=%s, for=", for=%s' % (FORGED, CLIENT)], CLIENT,
            "the forger's broken quote swallows nothing that the proxy wrote behind it", "Forwarded"),
    Exhibit("`Forwarded` beside `X-Forwarded-For`", "RFC 7239, or what is in use: which of the two", PROXY,
            [XFF + CLIENT, "Forwarded: for=" + FORGED], CLIENT, "this proxy writes the other one",
            kept=("HTTP_FORWARDED",)),
    Exhibit("`X-Forwarded-For` beside `Forwarded`", "RFC 7239, or what is in use: which of the two", PROXY_7239,
            ["Forwarded: for=" + CLIENT, XFF + FORGED], CLIENT, "this proxy writes the other one", "Forwarded"),
    Exhibit("`Connection: X-Forwarded-For`", "CVE-2022-31813", PROXY,
            [XFF + CLIENT, "Connection: close, X-Forwarded-For"], CLIENT,
            "the header is for this server: the forger must not become the proxy", fooled=PROXY),
    Exhibit("`Proxy` (httpoxy)", "CVE-2016-5385, https://httpoxy.org/", PROXY,
            [XFF + CLIENT, "Proxy: http://%s/" % FORGED], CLIENT, "as HTTP_PROXY it would be taken for a setting",
            leaks=("HTTP_PROXY",), application="libfcgi"),  # php drops it itself
    Exhibit("a CDN's header, past the CDN", PERILS, DIRECT, ["CF-Connecting-IP: " + FORGED], DIRECT,
            "the peer is not the CDN", "CF-Connecting-IP"),
    Exhibit("a CDN's header, at the load balancer", PERILS, PROXY,
            [XFF + CLIENT, "CF-Connecting-IP: " + FORGED], CLIENT, "the balancer's peer was not the CDN",
            "CF-Connecting-IP"),
    Exhibit("direct client, `X-Forwarded-For`", PERILS, DIRECT, [XFF + FORGED], DIRECT, "nobody vouches for it"),
    Exhibit("direct client, the header read by the application", PERILS, DIRECT,
            [XFF + FORGED, "Client-IP: " + FORGED, "X-Real-IP: " + FORGED, "True-Client-IP: " + FORGED], DIRECT,
            "applications look at these headers, too",
            leaks=("HTTP_X_FORWARDED_FOR", "HTTP_CLIENT_IP", "HTTP_X_REAL_IP", "HTTP_TRUE_CLIENT_IP")),
    Exhibit("a unix socket", "peers that have no address", UNIX, [XFF + FORGED], None, "no list has the word unix:"),
)


def request(exhibit):
    """Its bytes."""
    lines = ["GET /index.php?json HTTP/1.1", "Host: localhost", *exhibit.lines]
    if not any(line.startswith("Connection:") for line in lines):
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def verdict(exhibit, params, untouched):
    """What the application was made to believe, in a word or two. untouched: whether REMOTE_ADDR is the peer's."""
    address = params.get("REMOTE_ADDR", "")
    leaked = exhibit.leaks and any(FORGED in params.get(name, "") for name in exhibit.leaks)
    if address.startswith(exhibit.fooled) or leaked:
        return "fooled"
    if address == exhibit.right or exhibit.right is None and untouched:
        return "right"
    if address == exhibit.source:
        return "the proxy"
    return "`%s`" % address


def leaks(exhibit, params):
    """The parameters that have the forged address in them, and are not to behind the shim."""
    return [name for name, value in params.items() if FORGED in str(value) and name not in exhibit.kept]
