"""What always holds, whatever happens: the rules, and who breaks one is written down."""

import collections
import ipaddress
import re

RULES = {
    "a": "REMOTE_ADDR is never an address left of the first untrusted hop, by the trust lists of one configuration",
    "b": "an untrusted peer's headers never change anything",
    "c": "what one request saw never shows in another",
    "d": "an application never gets a complete request that the client did not complete",
    "e": "a client never gets a clean end for an answer that the application did not end",
    "f": "a request reaches the application at most once; with GET or HEAD, twice, on a kept connection",
    "g": "there are never more connections to the application than [upstream] connections",
    "page": "what fails before its answer has begun gets a whole page and a clean end; what fails later, neither",
    "service": "every request comes to an end, and when all is over, all is as it was",
}


class Ledger:
    """What both sides know of all requests, and the rules that were broken."""

    def __init__(self, lists):
        self.broken = []                  # (rule, token, what)
        self.tallies = collections.Counter()
        self.exchanges = {}               # token: Exchange
        self.timeline = [lists]           # the trust lists of all configurations so far
        self.oldest = 0                   # the first of them that may still be in force

    def expect(self, exchanges):
        self.exchanges.update((one.token, one) for one in exchanges)

    def hold(self, rule, truth, token, told, *values):
        """Writes it down if the rule is broken; gives truth."""
        if not truth:
            self.broken.append((rule, token, told % values))
        return truth

    def report(self):
        return "\n".join("(%s) %s\n    %s: %s" % (rule, RULES[rule], token, told) for rule, token, told in self.broken)


# ---- who is the client: the documented loop, in so many words ----

Group = collections.namedtuple("Group", "name trust header")  # trust: "10.0.0.0/8 192.0.2.1"
PORT = re.compile(r"[1-9][0-9]{0,4}$")


def plain_address(text):
    """An address, mapped ones as what they are; None if it is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if "%" in text:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def read_element(text):
    """The address of a list's element: bare, or with a port."""
    host, _, port = text.rpartition(":")
    if text.startswith("["):
        inside, _, rest = text[1:].partition("]")
        fine = rest == "" or (rest[0] == ":" and PORT.match(rest[1:]) and int(rest[1:]) < 65536)
        return plain_address(inside) if fine and ":" in inside else None
    if text.count(":") == 1:
        return plain_address(host) if PORT.match(port) and int(port) < 65536 else None
    return plain_address(text)


def trusting_group(groups, address):
    best, bits = None, -1
    for group in groups:
        for network in map(ipaddress.ip_network, group.trust.split()):
            if address is not None and address in network and network.prefixlen > bits:
                best, bits = group, network.prefixlen
    return best


Decision = collections.namedtuple("Decision", "client trusted read")


def decide(groups, params):
    """The client's text, whether the peer was trusted, and {header: the elements that were read, left to right}."""
    peer = params["REMOTE_ADDR"][0]
    client, hop, read, unread = peer, plain_address(peer), {}, {}
    for group in groups:
        copies = ",".join(params.get(group.header, []))
        unread[group.header] = [part.strip(" \t") for part in copies.split(",") if part.strip(" \t")]
    while True:
        group = trusting_group(groups, hop)
        if group is None:
            return Decision(client, bool(read), read)
        taken = read.setdefault(group.header, [])
        element = unread[group.header].pop() if unread[group.header] else ""
        address = read_element(element)
        if address is None:
            return Decision(client, True, read)
        taken.insert(0, element)
        client, hop = peer if address == plain_address(peer) else str(address), address


# ---- what the application sees ----

OF_CLIENTS = {"HTTP_" + name for name in (
    "X_FORWARDED_FOR FORWARDED X_REAL_IP CLIENT_IP X_CLIENT_IP X_CLUSTER_CLIENT_IP TRUE_CLIENT_IP CF_CONNECTING_IP "
    "X_FORWARDED_PROTO X_FORWARDED_HOST X_FORWARDED_PORT").split()}


def is_dropped(name):
    return name == "HTTP_PROXY" or name.startswith("REALIP_")


def is_managed(name):
    return name in OF_CLIENTS or name in ("REMOTE_ADDR", "REMOTE_PORT") or is_dropped(name)


def as_dict(params):
    found = {}
    for name, value in params:
        found.setdefault(name, []).append(value)
    return found


def split(values):
    return [part.strip() for part in ",".join(values).split(",") if part.strip()]


def fits(groups, sent, got):
    """None if these lists make what the application got of what the web server sent; else what does not fit."""
    decision = decide(groups, as_dict(sent))
    seen = as_dict(got)
    if seen.get("REMOTE_ADDR") != [decision.client]:
        return "REMOTE_ADDR is %r, not %s" % (seen.get("REMOTE_ADDR"), decision.client)
    if decision.trusted:
        for group in groups:
            wanted = decision.read.get(group.header, [])
            if split(seen.get(group.header, [])) != wanted:
                return "%s is %r, confirmed is %r" % (group.header, seen.get(group.header), wanted)
    return None


DENIED = ipaddress.ip_network("198.51.100.240/28")  # [access] deny


def is_denied(client):
    address = plain_address(client)
    return address is not None and address in DENIED


def short(params):
    return ", ".join("%s=%s" % (name, value[:200]) for name, value in params)


def judge_params(ledger, exchange, got):
    """Rules a, b and c for the parameters of a request that has come to the application."""
    token, sent = exchange.token, exchange.params
    possible = ledger.timeline[exchange.first_list:]
    misfits = [fits(groups, sent, got) for groups in possible]
    ledger.hold("a", None in misfits, token, "%r of %s made %s", misfits, short(sent), short(got))
    decisions = [decide(groups, as_dict(sent)) for groups in possible]
    refused = all(is_denied(one.client) for one in decisions)
    ledger.hold("a", not refused, token, "it came, but %r is denied", decisions)
    if not any(one.trusted for one in decisions):
        wanted = [one for one in sent if one[0] not in OF_CLIENTS and not is_dropped(one[0])]
        ledger.hold("b", got == wanted, token, "sent %s, came %s", short(sent), short(got))
    others = [one for one in sent if not is_managed(one[0])]
    ledger.hold("c", [one for one in got if not is_managed(one[0])] == others, token, "sent %s, came %s",
                short(sent), short(got))


def judge_refusal(ledger, exchange, status):
    """403 is for clients that one of the configurations refuses."""
    if status == 403:
        clients = {decide(groups, as_dict(exchange.params)).client for groups in ledger.timeline[exchange.first_list:]}
        ledger.hold("a", any(map(is_denied, clients)), exchange.token, "403 for one of %r", clients)
