#!/usr/bin/env python3
"""The documents say what the program does: settings, defaults, options, examples, file names, shown output."""

import json
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import unittest

from shim import PATIENCE, program

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGES = ("docs/fcgi-realip.1", "docs/fcgi-realip.ini.5")

# In the manual: .It Cm KEY No = TYPE Pq default: TEXT
SETTING = re.compile(r"^\.It Cm (\S+) No = (.+) Pq default: (.+)$")
SECTION = re.compile(r"^\.Ss \[(\w+)(?: NAME)?\]")
# In the source: {"section", "key", &type_..., .initial = "TEXT" or .unset = "TEXT", ...
ROW = re.compile(r'\{"(\w+)", "(\w+)", &type_(.*?)\.help = ', re.DOTALL)
TEXT = re.compile(r'\.(?:initial|unset) = "([^"]*)"')


def read(name):
    with open(os.path.join(TREE, name), encoding="utf-8") as file:
        return file.read()


def run(*arguments, cwd=None):
    return subprocess.run([program(), *arguments], cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=PATIENCE, text=True)


def settings_of_source():
    """(section, key) -> the default as text, or what not being set means."""
    return {(section, key): TEXT.search(row).group(1)
            for section, key, row in ROW.findall(read("src/config/settings.c"))}


def settings_of_page():
    found, section = {}, None
    for line in read("docs/fcgi-realip.ini.5").splitlines():
        match = SECTION.match(line)
        if match:
            section = match.group(1)
        elif line.startswith((".Ss", ".Sh")):
            section = None
        match = SETTING.match(line)
        if match:
            assert (section, match.group(1)) not in found, line
            found[section, match.group(1)] = match.group(3)
    return found


def part_of_page(page, heading):
    """The lines between a heading (.Ss or .Sh) and the next one."""
    lines = read(page).splitlines()
    start = next(i for i, line in enumerate(lines) if line[4:] == heading and line.startswith((".Sh ", ".Ss ")))
    end = next((i for i in range(start + 1, len(lines)) if lines[i].startswith((".Sh ", ".Ss "))), len(lines))
    return lines[start + 1:end]


def blocks_of_readme(language):
    return re.findall(r"^```%s\n(.*?)^```$" % language, read("README.md"), re.DOTALL | re.MULTILINE)


def plain(macro_line):
    """The words of a mdoc line without macros and escapes."""
    return " ".join(re.sub(r"\\&", "", macro_line).split()[1:])


class Folder(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="realip-manual-")
        self.addCleanup(shutil.rmtree, self.folder)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path


class Settings(Folder):
    MINIMAL = "[proxy p]\ntrust = 192.0.2.1\n"

    def test_every_setting_is_in_the_page_and_no_other(self):
        self.assertGreater(len(settings_of_source()), 35)
        self.assertEqual(sorted(settings_of_page()), sorted(settings_of_source()))

    def test_defaults_are_those_of_the_source(self):
        self.assertEqual(settings_of_page(), settings_of_source())

    def test_defaults_written_out_change_nothing(self):
        """A file with the page's defaults means what a file without them does."""
        source = read("src/config/settings.c")
        sections = {"proxy": ["trust = 192.0.2.1"]}
        for (section, key), text in settings_of_page().items():
            if '.unset = "%s"' % text not in source or section == "SETTINGS":
                sections.setdefault(section, []).append("%s = %s" % (key, text))
        self.assertGreater(sum(map(len, sections.values())), 25)
        full = "".join("[%s]\n%s\n" % ("proxy p" if name == "proxy" else name, "\n".join(lines))
                       for name, lines in sections.items())
        results = [run("check", "-v", "-c", self.write("a.ini", text)) for text in (full, self.MINIMAL)]
        for result in results:
            self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertEqual(results[0].stdout, results[1].stdout)

    def test_what_is_in_effect_without_a_setting(self):
        """Every unset setting that check -v shows as a comment says there what the page says."""
        shown = run("check", "-v", "-c", self.write("minimal.ini", self.MINIMAL)).stdout
        comments, section = {}, None
        for line in shown.splitlines():
            heading = re.match(r"\[(\w+)", line)
            section = heading.group(1) if heading else section
            comment = re.match(r"# (\w+) is not set: (.*)$", line)
            if comment:
                comments[section, comment.group(1)] = comment.group(2)
        self.assertGreater(len(comments), 5)
        self.assertEqual({place: text for place, text in settings_of_page().items() if place in comments}, comments)

    def test_words(self):
        """The words that a setting takes, as its error lists them, are all in its part of the page."""
        page = read("docs/fcgi-realip.ini.5")
        for section, key in settings_of_source():
            name = "proxy p" if section == "proxy" else section
            more = "" if section == "proxy" else self.MINIMAL
            text = "[%s]\n%s%s = //\n%s" % (name, "trust = 192.0.2.1\n" if section == "proxy" and key != "trust" else "",
                                            key, more)
            result = run("check", "-c", self.write("wrong.ini", text))
            match = re.search(r"not one of its words; write (.*)", result.stderr)
            if not match:
                continue
            start = page.index(".It Cm %s No =" % key)
            part = page[start:].split(".It Cm %s No =" % key)[1]
            part = re.split(r"^\.It Cm \S+ No = |^\.Ss ", part, flags=re.MULTILINE)[0]
            for word in re.split(r", | or ", match.group(1)):
                self.assertRegex(part, r"\b%s\b" % word.split(":")[0], (key, word))


class Facts(Folder):
    def test_reasons(self):
        ours = set(re.findall(r'\[REASON_\w+\] = "([a-z-]+)"', read("src/realip/decide.c")))
        page = set()
        for line in part_of_page("docs/fcgi-realip.ini.5", "Reasons"):
            if line.startswith(".It "):
                page.update(plain(line).split(" , "))
        self.assertEqual(page, ours)

    def test_statuses(self):
        ours = re.findall(r'\{(\d{3}), "', read("src/base/page.h"))
        page = [plain(line) for line in part_of_page("docs/fcgi-realip.ini.5", "REFUSALS") if line.startswith(".It ")]
        self.assertEqual(page, ours)

    def test_client_address_headers(self):
        """All that the page lists are removed from an untrusted peer's request, and it lists all."""
        lines = part_of_page("docs/fcgi-realip.ini.5", "WHAT THE APPLICATION SEES")
        text = " ".join(lines)
        names = re.search(r"The client-address headers are (.*?), and every group", text).group(1).split(", ")
        params = {"HTTP_" + re.sub("[^A-Z0-9]", "_", name.upper()) for name in names}
        self.assertEqual(params, set(re.findall(r'\{"(HTTP_\w+)", NAME_(?:CLIENT_HEADER|X_FORWARDED_\w+)\}',
                                                read("src/realip/policy.c"))))
        ini = self.write("a.ini", "[proxy p]\ntrust = 192.0.2.1\n")
        arguments = [word for name in names + ["X-Other"] for word in ("--header", name + ": 192.0.2.7")]
        result = run("explain", "-c", ini, "--peer", "198.51.100.1", "--json", *arguments)
        self.assertEqual(json.loads(result.stdout)["params"], dict.fromkeys(params))

    def test_limits(self):
        page = " ".join(read("docs/fcgi-realip.ini.5").split())
        constants = {}
        for name in ("src/realip/policy.h", "src/realip/workspace.h", "src/relay/upstream.h", "src/relay/relay.c"):
            constants.update(re.findall(r"#define (\w+)\s+(\d+)", read(name)))
        for sentence, name, factor in (
                ("any number of groups, up to %d", "POLICY_MAX_GROUPS", 1),
                ("1 to %d", "POLICY_MAX_ELEMENTS", 1),
                ("more than %d parameters", "REALIP_MAX_PARAMS", 1),
                ("the request has no more than %d KiB", "UPSTREAM_RETAIN_MAX", 1024),
                ("%d seconds at most", "LINGER_MS", 1000)):
            self.assertIn(sentence % (int(constants[name]) // factor), page)

    def test_examples_are_valid(self):
        self.write("cdn.txt", "198.51.100.0/24\n")
        examples = re.findall(r"^\.Bd -literal -offset indent\n(\[.*?)^\.Ed$", read("docs/fcgi-realip.ini.5"),
                              re.DOTALL | re.MULTILINE)
        self.assertGreater(len(examples), 3)
        for text in examples + blocks_of_readme("ini"):
            result = run("check", "-c", self.write("example.ini", text.replace("\\e", "\\")))
            # The programs of the examples need not be on this machine.
            errors = [line for line in result.stderr.splitlines() if "error" in line
                      and not re.search("no such file; install|not in PATH; install|no such directory; create", line)]
            self.assertEqual(errors, [], text)
            self.assertIn(result.returncode, (0, 1), text)

    def test_sample_has_every_setting(self):
        """etc/fcgi-realip.ini names every setting with the page's default, and is valid with all of them in force."""
        sample = read("etc/fcgi-realip.ini")
        found, section = {}, None
        for line in sample.splitlines():
            match = re.match(r"#?\[(\w+)", line)
            if match:
                section = match.group(1)
            match = re.match(r"#?(\w+) = (.+)$", line)
            if match:
                found[section, match.group(1)] = match.group(2)
        page = settings_of_page()
        self.assertEqual(sorted(found), sorted(page))
        source = read("src/config/settings.c")
        for place, text in page.items():
            if '.initial = "%s"' % text in source and '.unset = "%s"' % text not in source:
                self.assertEqual(found[place], text, place)


class Commands(Folder):
    def page_options(self):
        options = set()
        for line in part_of_page("docs/fcgi-realip.1", "DESCRIPTION"):
            if line.startswith(".It Fl "):
                words = line.split()[2:]
                options.update(re.sub("^-?", lambda m: "--" if m.group() else "-", word)
                               for i, word in enumerate(words) if i == 0 or words[i - 1] == "Fl")
        return options

    def test_commands(self):
        overview = run("--help").stdout
        commands = re.findall(r"^  fcgi-realip \[?([a-z]+)\]? ", overview, re.MULTILINE)
        self.assertIn("serve", commands)
        page = [plain(line) for line in part_of_page("docs/fcgi-realip.1", "DESCRIPTION") if line.startswith(".It Cm ")]
        self.assertEqual([line.split()[1] for line in page], commands)

    def test_options(self):
        commands = re.findall(r"^  fcgi-realip \[?([a-z]+)\]? ", run("--help").stdout, re.MULTILINE)
        options = {"--help", "-h", "--version", "-V"}
        for command in commands:
            for letter, name in re.findall(r"^  (?:-(\w), |    )--([a-z-]+)", run(command, "--help").stdout, re.MULTILINE):
                options.add("--" + name)
                if letter:
                    options.add("-" + letter)
        self.assertGreater(len(options), 10)
        self.assertEqual(self.page_options(), options)
        self.assertEqual([run(option).returncode for option in ("-h", "-V", "--help", "--version")], [0] * 4)

    def test_json_keys(self):
        ini = self.write("a.ini", "[proxy p]\ntrust = 192.0.2.1\n")
        result = run("explain", "-c", ini, "--peer", "192.0.2.1", "--json")
        page = [plain(line).split()[1] for line in part_of_page("docs/fcgi-realip.1", "JSON") if line.startswith(".It ")]
        self.assertEqual(page, list(json.loads(result.stdout)))

    def test_lint(self):
        mandoc = shutil.which("mandoc")
        if not mandoc:
            self.skipTest("mandoc is not installed")
        for page in PAGES:
            # In the pages' own folder, where mandoc finds what they refer to.
            folder, name = os.path.split(os.path.join(TREE, page))
            result = subprocess.run([mandoc, "-Tlint", "-Wall", name], cwd=folder, text=True, timeout=PATIENCE,
                                    stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            # Which other manuals are installed, and whether their index is up to date, is the machine's affair.
            ours = [line for line in result.stdout.splitlines()
                    if "mandoc.db" not in line and "referenced manual not found" not in line]
            self.assertEqual(ours, [])

    def test_no_long_lines(self):
        for page in PAGES:
            self.assertEqual([line for line in read(page).splitlines() if len(line) > 80 or line != line.rstrip()], [])


class Readme(Folder):
    def test_local_links(self):
        links = re.findall(r"\]\(([^)]+)\)", read("README.md"))
        local = [link for link in links if not link.startswith("https://")]
        self.assertGreater(len(local), 5)
        for link in local:
            self.assertTrue(os.path.exists(os.path.join(TREE, link)), link)

    def test_cited_files(self):
        cited = set(re.findall(r"(?<![\w/.])(?:src|include|tests|etc|docs)/[\w./-]*", read("README.md")))
        cited |= set(re.findall(r"(?<![\w/.])(?:src|tests|docs)/[\w./-]*[\w/]", "".join(map(read, PAGES))))
        self.assertGreater(len(cited), 10)
        for name in cited:
            self.assertTrue(os.path.exists(os.path.join(TREE, name)), name)

    def test_folders_of_the_source(self):
        cited = read("README.md")
        for part in sorted(os.listdir(os.path.join(TREE, "src"))):
            if os.path.isdir(os.path.join(TREE, "src", part)) and part != "base":
                self.assertIn("`src/%s/`" % part, cited)

    def test_quickstart_commands(self):
        usage = subprocess.run(["sh", os.path.join(TREE, "etc/quickstart"), "--help"], text=True,
                               stdout=subprocess.PIPE, timeout=PATIENCE).stdout
        commands = re.findall(r"^    sh etc/quickstart (\w+)", read("README.md"), re.MULTILINE)
        self.assertEqual(commands[:2], ["run", "test"])
        for command in commands:
            self.assertRegex(usage, r"quickstart %s\b" % command)

    def test_web_server_lines(self):
        """What the README quotes stands, line by line and in this order, in the file that it names before."""
        for language, name in (("nginx", "etc/nginx/fcgi-realip.conf"), ("apache", "etc/apache/fcgi-realip.conf"),
                               ("lighttpd", "etc/lighttpd/fcgi-realip.conf"), ("caddy", "etc/caddy/Caddyfile"),
                               ("haproxy", "etc/haproxy/haproxy.cfg")):
            blocks = blocks_of_readme(language)
            self.assertEqual(len(blocks), 1, language)
            lines = iter([line.strip() for line in read(name).splitlines()])
            for line in blocks[0].splitlines():
                self.assertIn(line.strip(), lines, "not in %s, or not in this order" % name)

    def test_shown_output(self):
        """A command behind "$ " prints what is shown below it, with the README's own INI file."""
        ini = [block for block in blocks_of_readme("ini") if "[proxy" in block]
        self.assertEqual(len(ini), 1)
        self.write("fcgi-realip.ini", ini[0])
        consoles = blocks_of_readme("console")
        self.assertGreater(len(consoles), 0)
        for block in consoles:
            command, shown = re.fullmatch(r"\$ ((?:[^\n]*\\\n)*[^\n]*\n)(.*)", block, re.DOTALL).groups()
            words = shlex.split(command.replace("\\\n", " "))
            self.assertEqual(words[0], "fcgi-realip")
            result = run(*words[1:], cwd=self.folder)
            self.assertEqual((result.returncode, result.stderr), (0, ""))
            self.assertEqual(shown, result.stdout)


if __name__ == "__main__":
    unittest.main()
