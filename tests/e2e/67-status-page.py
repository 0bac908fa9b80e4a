#!/usr/bin/env python3
"""The status page for people, as a browser would read it: whole without JavaScript, bound by its policy, with names that
the JSON has, and nothing of a peer's that is markup. tests/status/screenshot looks at it in a real browser."""

import base64
import hashlib
import html.parser
import re
import unittest

from status import StatusTest, ask_page, trusted

VOID = {"meta", "link", "br", "hr", "img", "input"}
FORMS = {"count", "plain", "rate", "time", "age", "bytes", "clock", "text"}


class Page(html.parser.HTMLParser):
    """elements: [tag, attributes, text directly inside]; rows: list name -> its rows as lists of text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.rows, self.list = [], [], {}, None
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), "twice: %s %r" % (tag, attributes)
        element = [tag, dict(attributes), ""]
        self.elements.append(element)
        if tag in VOID:
            return
        self.open.append(element)
        self.list = element[1].get("data-list", self.list)
        if tag == "tr" and any(one[0] == "tbody" for one in self.open) and self.list:
            self.rows.setdefault(self.list, []).append([])

    def handle_endtag(self, tag):
        assert self.open and self.open[-1][0] == tag, "</%s> inside of %r" % (tag, [one[0] for one in self.open])
        element = self.open.pop()
        if tag == "td" and self.list:
            self.rows[self.list][-1].append(element[2])
        if tag == "table":
            self.list = None

    def handle_data(self, text):
        if self.open:
            self.open[-1][2] += text

    def handle_comment(self, text):
        raise AssertionError("a comment: %r" % text)

    def all(self, attribute):
        return [element for element in self.elements if attribute in element[1]]

    def text_of(self, path):
        return [text for _, attributes, text in self.all("data-k") if attributes["data-k"] == path]


def find(data, path):
    for name in path.split("."):
        data = data[name]
    return data


class StatusPage(StatusTest):
    def page(self):
        response = ask_page(self.address, "html")
        self.assertEqual((response.status, response.end), (200, (0, 0)))
        self.assertEqual(response.head["content-type"], "text/html; charset=utf-8")
        self.head = response.head
        self.text = response.body.decode("utf-8")
        page = Page(self.text)
        self.assertEqual(page.open, [])
        return page

    def test_names_are_those_of_the_json(self):
        """Whatever the script looks up is there: numbers, lists and their columns; and every number is on the page."""
        self.hostile()
        page, status = self.page(), self.status()
        shown = {attributes["data-k"] for _, attributes, _ in page.all("data-k")}
        for path in shown:
            self.assertIsInstance(find(status, path), str if path == "version" else int, path)
        for _, attributes, _ in page.all("data-w"):
            self.assertIsInstance(find(status, attributes["data-w"]), int)
            self.assertIsInstance(find(status, attributes["data-of"]), int)
        for kind in ("data-chart", "data-peak"):
            self.assertEqual([attributes[kind] for _, attributes, _ in page.all(kind)], ["history"])
        self.assertLessEqual({attributes["data-f"] for _, attributes, _ in page.all("data-f")}, FORMS)
        self.assertEqual(len(page.all("data-f")), len(page.all("data-k")) + len(page.all("data-c")))
        lists = [attributes["data-list"] for _, attributes, _ in page.all("data-list")]
        self.assertEqual(lists, ["refused", "trust_files", "workers"])
        columns = [attributes["data-c"] for _, attributes, _ in page.all("data-c")]
        for name in lists:
            for key in status[name][0]:
                if key != "modified":
                    self.assertEqual(columns.pop(0), key)
        self.assertEqual(columns, [])
        numbers = {"%s.%s" % (section, name) for section, members in status.items() if isinstance(members, dict)
                   for name in members}
        self.assertEqual(numbers - shown, {"requests.status_page", "latency_us.sum"})

    def test_ids_of_the_script(self):
        page = self.page_of_nothing()
        script = next(text for tag, _, text in page.elements if tag == "script")
        ids = {attributes["id"] for _, attributes, _ in page.all("id")}
        self.assertLessEqual(set(re.findall(r'getElementById\("(\w+)"\)', script)), ids)
        for form in FORMS:
            self.assertRegex(script, r"\n    %s: \(" % form)
        for kind in re.findall(r'each\("(\w+)"', script):
            self.assertTrue(page.all("data-" + kind), kind)

    def page_of_nothing(self):
        self.begin()
        return self.page()

    def test_whole_without_script(self):
        self.begin(sections="[proxy f]\ntrust_file = %s\n" % self.trust_file("a.txt"))
        for _ in range(1234):
            self.ask(trusted("203.0.113.7"))
        page, status = self.page(), self.status()
        self.assertEqual(page.text_of("requests.answered"), ["1\u202f234"])
        self.assertEqual(page.text_of("requests.total"), ["1\u202f234"])
        self.assertEqual(page.text_of("decisions.untrusted-hop"), ["1\u202f234"])
        self.assertEqual(page.text_of("version"), [status["version"]])
        self.assertEqual(page.text_of("pid"), [str(self.shim.pid)])
        self.assertEqual(page.text_of("generation"), ["1"])
        self.assertRegex(page.text_of("latency_us.p50")[0], r"^\d[\d.]* (\u00b5s|ms|s)$")
        self.assertRegex(page.text_of("web_server.bytes_from")[0], r"^\d\d\d kB$")
        self.assertRegex(page.text_of("time")[0], r"^20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC$")
        self.assertRegex(page.text_of("uptime")[0], r"^(\d+ min )?\d+ s$")
        widths = {attributes["data-w"]: attributes["width"] for _, attributes, _ in page.all("data-w")}
        self.assertEqual((widths["requests.answered"], widths["requests.refused"]), ("100.0", "0.0"))
        self.assertEqual(page.rows["workers"][0][:2], ["0", str(self.shim.relay_pid)])
        self.assertEqual(page.rows["trust_files"][0][:3], ["f", self.folder + "/a.txt", "1"])
        self.assertNotIn("refused", page.rows)
        for _, _, text in page.all("data-k"):
            self.assertNotEqual(text, "")

    def test_chart(self):
        """A bar for each second in which a request ended."""
        self.begin()
        for _ in range(5):
            self.ask(trusted(None))
        status = self.wait(lambda: self.status() if sum(self.status()["history"]) == 5 else None)
        page = self.page()
        path = page.all("data-chart")[0][1]["d"]
        self.assertEqual(len(re.findall(r"M\d+ 100v-\d+h8V100z", path)), len([n for n in status["history"] if n]))
        self.assertIn("v-100h8", path)
        peak = page.all("data-peak")[0][2]
        self.assertEqual(peak, str(max(status["history"])))

    def test_nothing_of_a_peers_is_markup(self):
        path = self.hostile()
        page = self.page()
        self.assertEqual([tag for tag, _, _ in page.elements if tag == "script"], ["script"])
        self.assertEqual([tag for tag, _, _ in page.elements if tag == "b" and tag not in ("b",)], [])
        self.assertEqual(page.rows["refused"], [["", r'''<script>alert('"&\x5c\x00\x1b[2J\xff\x0a''', "3"]])
        self.assertEqual(page.rows["trust_files"][0][:3], ["odd", path.replace("\\", r"\x5c"), "1"])
        self.assertNotIn("<script>alert", self.text)
        self.assertNotIn("<b>\"", self.text)
        self.assertNotRegex(self.text, r"[\x00-\x09\x0b-\x1f\x7f]")

    def test_policy(self):
        """It allows the page's own style and script by their hashes, to ask the same server, and nothing else."""
        page = self.page_of_nothing()
        policy = dict(part.strip().split(" ", 1) for part in self.head["content-security-policy"].split(";"))
        hashes = {tag: "'sha256-%s'" % base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
                  for tag, _, text in page.elements if tag in ("style", "script")}
        self.assertEqual(policy, {
            "default-src": "'none'", "style-src": hashes["style"], "script-src": hashes["script"],
            "connect-src": "'self'", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'"})
        self.assertEqual(self.head["x-content-type-options"], "nosniff")
        self.assertEqual(self.head["referrer-policy"], "no-referrer")
        # What the policy would forbid is not there either.
        for tag, attributes, _ in page.elements:
            self.assertNotIn(tag, ("img", "link", "iframe", "object", "base", "form"))
            for name in attributes:
                self.assertFalse(name.startswith("on") or name in ("style", "src", "srcset", "action"), (tag, name))

    def test_no_url_leads_outside(self):
        page = self.page_of_nothing()
        links = [attributes["href"] for _, attributes, _ in page.all("href")]
        self.assertEqual(links, ["?", "?json", "?prometheus"])
        self.assertNotRegex(self.text, r"(?i)https?:|//[a-z]|url\(|@import|import\(")
        self.assertEqual(re.findall(r"fetch\(([^,]*),", self.text), ['"?json"'])
        self.assertNotIn("innerHTML", self.text)

    def test_small(self):
        self.begin()
        self.page()
        self.assertLess(len(self.text), 25000)


if __name__ == "__main__":
    unittest.main()
