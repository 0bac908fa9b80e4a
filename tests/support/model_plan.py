"""Random histories, made before anything runs: what the web server does, and what the application does about it.

All is drawn from the seed, so the same seed is the same script. What the machine makes of its timing is not.
"""

import random

from fcgi import GET_VALUES, PARAMS, STDERR, STDIN, STDOUT, begin, end, pairs, record, stream

LAN = "10.0.0.0/8", "10.0.0.0/9", "10.9.0.0/16 192.0.2.0/24", "10.0.0.0/8 2001:db8:1::/48 198.51.100.7"
CDN = "203.0.113.0/24", "203.0.113.128/25", "2001:db8:2::/48 203.0.113.9"
JUNK = "unknown", "_hidden", "10.1.2.300", "010.1.2.3", "10.1.2.3:0", "[10.1.2.3]", "fe80::1%eth0", "10.1.2", "x y"

SENDS = (["whole"] * 16 + ["cut", "abort", "pipelined"] * 3
         + ["questions", "strangers", "half_close", "reset", "late_abort", "unread", "slow_reader", "garbage"])
# What the application does with one request ...
ACTS = (["whole"] * 30 + ["early", "early_drain", "die", "die_late", "half", "half", "almost", "junk", "junk_inside",
                          "protocol_error", "late_error", "empty"])
# ... and with its connection after a whole answer.
THEN = ["stay"] * 10 + ["close", "close_soon", "close_at_next", "close_at_next", "trailing", "late_stray"]


def cut(rng, most=4):
    """Where to cut something, as shares of its length, and how many seconds to pause there."""
    return [(rng.random(), rng.choice([0, 0, 0.001, 0.004])) for _ in range(rng.randrange(most + 1))]


def pieces(data, cuts):
    """[(start, stop, pause)]"""
    points = sorted((int(share * len(data)), pause) for share, pause in cuts)
    found, last = [], 0
    for at, pause in points + [(len(data), 0)]:
        if at > last:
            found.append((last, at, pause))
            last = at
    return found


def address(rng):
    """Of a load balancer, a CDN or a client."""
    return rng.choice(["10.%d.0.%d" % (rng.choice([1, 9, 200]), rng.randrange(1, 9)),
                       "203.0.113.%d" % rng.randrange(256), "198.51.100.%d" % rng.randrange(256),
                       "192.0.2.%d" % rng.randrange(256),
                       "2001:db8:%d::%x" % (rng.randrange(4), rng.randrange(1, 999)), "::ffff:10.1.0.3"])


def element(rng):
    text = address(rng)
    if rng.random() < 0.05:
        return rng.choice(JUNK)
    if rng.random() < 0.15:
        text = "[%s]:%d" % (text, rng.randrange(1, 65536)) if ":" in text else "%s:%d" % (text, rng.randrange(1, 65536))
    return rng.choice(["", " ", "\t"]) + text


def chain(rng):
    return ",".join(element(rng) for _ in range(rng.randrange(1, 6)))


class Exchange:
    """One request, its answer, and what has become of both."""

    def __init__(self, rng, token):
        self.token = token
        self.method = rng.choice(["GET", "GET", "HEAD", "POST", "POST", "PUT", "DELETE", "get", "PROPFIND"])
        self.keep = rng.random() < 0.75
        self.id = rng.choice([1, 1, 1, 2, 255, 256, 65535])
        size = rng.choice([0, 0, 1, 100, 1000, 8000, 70000, 150000]) if self.method != "HEAD" else 0
        self.body = self.marked(b"body", size)
        self.send, self.send_cuts, self.share = rng.choice(SENDS), cut(rng), rng.random()
        self.at_boundary = rng.random() < 0.6
        self.padding, self.record_size = rng.choice([0, 0, 7, 255]), rng.choice([65535, 65535, 8000, 500])
        self.closes = rng.choice(["close", "half", "reset"])
        self.pause = rng.choice([0, 0, 0.002, 0.03])
        self.act, self.act_cuts, self.act_share = rng.choice(ACTS), cut(rng), rng.random()
        self.again = rng.choice(["whole", "whole", "die", "half"])
        self.then, self.then_pause = rng.choice(THEN), rng.choice([0, 0.0005, 0.002])
        self.act_padding, self.act_size = rng.choice([0, 0, 8, 255]), rng.choice([65528, 65528, 4000, 300])
        self.app_status = rng.choice([0, 0, 0, 1, 255])
        self.error = rng.choice([1, 2, 3])
        self.noise = rng.random() < 0.15
        self.stderr = self.marked(b"error", rng.choice([0, 0, 0, 50, 9000]))
        self.answer = b"" if self.act == "empty" else b"Content-Type: text/plain\r\n\r\n" + self.marked(
            b"answer", rng.choice([1, 50, 1000, 9000, 70000, 150000]))
        self.params = self.draw_params(rng)
        self.stranger = rng.choice([3, 300, 4000])
        self.follower = None
        self.forget()

    @classmethod
    def plain(cls, token):
        """One that nothing happens to."""
        one = cls(random.Random(token), token)
        one.method, one.keep, one.send, one.act, one.then, one.follower = "GET", False, "whole", "whole", "stay", None
        one.params = [("REQUEST_METHOD", "GET"), ("TOKEN", token), ("REMOTE_ADDR", "192.0.2.1")]
        one.answer = one.answer or b"Content-Type: text/plain\r\n\r\n"
        return one

    def forget(self):
        """As if it had never happened."""
        self.sent_params = self.sent_all = self.aborted = self.overlaps = False
        self.arrivals, self.came_kept = 0, False  # how often the application got it; on a connection used before?
        self.ended = None        # what the application's END_REQUEST says, just before it goes out
        self.said, self.hung = 0, False  # how many bytes the application wrote; will it write no more?
        self.left = False        # has the application closed a connection on which this had come?
        self.released = False    # is such a connection gone, or another request on it?
        self.gave_up = False     # may the web server miss the answer, or want none?
        self.ended_early = False  # its end came before all of it was sent
        self.first_list, self.began = 0, 0
        if self.follower:
            self.follower.forget()

    def marked(self, what, size):
        """Bytes of which every part tells whose they are."""
        mark = b"%s of %s, " % (what, self.token.encode())
        return (mark * (size // len(mark) + 1))[:size]

    def draw_params(self, rng):
        fixed = [("REQUEST_METHOD", self.method), ("TOKEN", self.token), ("REMOTE_ADDR", address(rng)),
                 ("FILL", (self.token + ".") * rng.choice([0, 0, 1, 20, 300, 8000]))]
        found = [("HTTP_X_FORWARDED_FOR", chain(rng)) for _ in range(rng.choice([0, 1, 1, 1, 2]))]
        found += [("HTTP_CF_CONNECTING_IP", element(rng).strip())] if rng.random() < 0.4 else []
        found += [one for one in (("HTTP_X_REAL_IP", "192.0.2.66"), ("REALIP_REMOTE_ADDR", "192.0.2.66"),
                                  ("HTTP_PROXY", "http://192.0.2.66"), ("REMOTE_PORT", "4711"),
                                  ("HTTP_X_FORWARDED_PROTO", "https"), ("HTTP_COOKIE", self.token))
                  if rng.random() < 0.2]
        for one in fixed:
            found.insert(rng.randrange(len(found) + 1), one)
        return found

    @property
    def repeatable(self):
        return self.method in ("GET", "HEAD")

    def records(self):
        raw = pairs(self.params)
        found = [begin(self.id, keep=self.keep)]
        found += self.cut_up(PARAMS, raw) + [record(PARAMS, id=self.id, padding=self.padding)]
        return found + self.cut_up(STDIN, self.body) + [record(STDIN, id=self.id)]

    def cut_up(self, kind, content):
        size = self.record_size
        return [record(kind, content[i:i + size], self.id, self.padding) for i in range(0, len(content), size)]

    def answer_records(self, id):
        """STDOUT and STDERR, without the end."""
        out = stream(STDOUT, self.answer, id, self.act_size, self.act_padding)
        said = stream(STDERR, self.stderr, id, 8000)
        half = len(self.answer[:len(self.answer) // self.act_size * self.act_size]) // 2
        at = half // self.act_size * (self.act_size + 8 + self.act_padding)
        return out[:at] + said + out[at:] + record(STDOUT, id=id)

    def end_record(self, id):
        return end(id, self.app_status, self.error if self.act == "late_error" else 0)

    def __repr__(self):
        told = "%s %s id=%d keep=%d %d bytes; send=%s" % (self.token, self.method, self.id, self.keep, len(self.body),
                                                        self.send)
        if self.send in ("cut", "reset", "abort"):
            told += " at %.4f, %s" % (self.share, self.closes)
        told += "; act=%s at %.4f, again=%s, then=%s; answer of %d and %d bytes" % (
            self.act, self.act_share, self.again, self.then, len(self.answer), len(self.stderr))
        return told + (" + " + repr(self.follower) if self.follower else "")


class History:
    """What one web server does, one exchange after the other."""
    exchange = Exchange
    most = 5

    def __init__(self, rng, name):
        self.name = name
        self.tcp = rng.random() < 0.4
        self.exchanges = []
        for number in range(rng.randrange(1, self.most + 1)):
            one = self.exchange(rng, "%s-%d" % (name, number))
            if one.send == "pipelined":
                one.keep = True
                one.follower = self.exchange(rng, "%s-%d+" % (name, number))
                one.follower.id = one.id % 65535 + 1
            self.exchanges.append(one)

    def all(self):
        for one in self.exchanges:
            yield one
            if one.follower:
                yield one.follower

    def __repr__(self):
        return "\n".join("    %r" % one for one in self.exchanges)


def with_noise(rng, exchange, strangers):
    """The request's bytes with records between them that do not belong to it, [where each of its own records ends],
    and how many answers the others have."""
    out, stops, questions = b"", [], 0
    for number, one in enumerate(exchange.records()):
        out += one
        stops.append(len(out))
        if rng.random() > 0.4:
            continue
        if strangers:
            out += rng.choice([record(STDIN, b"of a stranger", exchange.stranger), record(STDIN, id=exchange.stranger),
                               record(PARAMS, pairs({"TOKEN": "stranger"}), exchange.stranger),
                               record(99, b"?", exchange.id)])
        else:
            out += rng.choice([record(GET_VALUES, pairs([("FCGI_MPXS_CONNS", "")]), 0, 3), record(77, b"?", 0)])
            questions += 1
    return out, stops, questions
