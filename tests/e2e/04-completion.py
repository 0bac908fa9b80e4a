#!/usr/bin/env python3
"""What shells complete, with the scripts that `fcgi-realip completion` prints, in these shells themselves."""

import os
import pty
import re
import select
import shutil
import subprocess
import tempfile
import time
import unittest

from shim import PATIENCE, program


def run(*arguments):
    return subprocess.run([program(), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=PATIENCE)


def commands():
    return re.findall(r"^  fcgi-realip \[?([a-z]+)\]? ", run("--help").stdout, re.MULTILINE)


def options(command):
    """The long and short ones, as its help names them, and those of help itself."""
    found = {"--help", "-h"}
    for letter, name in re.findall(r"^  (?:-(\w), |    )--([a-z-]+)", run(command, "--help").stdout, re.MULTILINE):
        found.update(["--" + name] + (["-" + letter] if letter else []))
    return found


def needs(shell):
    return unittest.skipUnless(shutil.which(shell), "NOT INSTALLED: " + shell)


class Completion(unittest.TestCase):
    shell = None

    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="realip-complete-")
        self.addCleanup(shutil.rmtree, self.dir)
        os.mkdir(os.path.join(self.dir, "etc dir"))
        for name in ("shop one.ini", "shop-two.ini", "etc dir/x.ini"):
            with open(os.path.join(self.dir, name), "w"):
                pass
        self.environment = {"PATH": os.path.dirname(program()) + ":" + os.environ["PATH"], "HOME": self.dir,
                            "TERM": "dumb", "LC_ALL": "C.UTF-8", "XDG_CONFIG_HOME": self.dir}
        if self.shell:
            printed = run("completion", self.shell)
            self.assertEqual((printed.returncode, printed.stderr), (0, ""))
            self.script = os.path.join(self.dir, "." + self.shell)
            with open(self.script, "w") as file:
                file.write(printed.stdout)

    def type(self, command, *lines):
        """Gives the shell these lines on a terminal; the last one is typed, with a tab, and gives what it becomes."""
        leader, follower = pty.openpty()
        self.addCleanup(os.close, leader)
        process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, cwd=self.dir,
                                   env=self.environment, start_new_session=True)
        os.close(follower)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        text, end = "", time.monotonic() + PATIENCE

        def wait(pattern):
            nonlocal text
            while not re.search(pattern, text):
                left = end - time.monotonic()
                self.assertGreater(left, 0, "no %r in what the shell wrote: %r" % (pattern, text))
                if select.select([leader], [], [], left)[0]:
                    text += os.read(leader, 65536).decode("utf-8", "replace")
            return re.search(pattern, text)
        for number, line in enumerate(lines[:-1]):
            os.write(leader, ("%s; echo made-it-$((%d + 1000))\n" % (line, number)).encode())
            wait("made-it-%d" % (number + 1000))
        # Back to the beginning of the line, to have it printed instead of run; "@" marks where the cursor was.
        os.write(leader, (lines[-1] + "\t@\x01printf '<%s>' made-it ").encode() + b"\n")
        return wait(r"<made-it>((?:<[^>]*>)+)").group(1)[1:-1].split("><")


class Usage(Completion):
    def test_usage(self):
        for arguments, why in ((("completion",), "for which shell"), (("completion", "tcsh"), "no completion for this shell"),
                               (("completion", "bash", "zsh"), "unexpected argument"),
                               (("completion", "--x"), "unknown option")):
            done = run(*arguments)
            self.assertEqual((done.returncode, done.stdout), (2, ""))
            self.assertIn(why, done.stderr)
        self.assertEqual(run("completion", "--help").returncode, 0)


@needs("bash")
class Bash(Completion):
    shell = "bash"

    def complete(self, *words):
        """What is offered for the last word."""
        script = 'source "$1"; shift; COMP_WORDS=(fcgi-realip "$@"); COMP_CWORD=$#; _fcgi_realip\n' \
                 'printf "%s\\n" "${COMPREPLY[@]}"'
        done = subprocess.run(["bash", "--norc", "-c", script, "bash", self.script, *words], cwd=self.dir,
                              env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return set(filter(None, done.stdout.split("\n")))

    def test_commands(self):
        self.assertEqual(self.complete(""), set(commands()) | options("serve") | {"--version", "-V"})
        self.assertEqual(self.complete("ch"), {"check"})
        self.assertEqual(self.complete("help", ""), set(commands()) | {"--help", "-h"})
        self.assertEqual(self.complete("help", "wh"), {"whoami"})
        self.assertEqual(self.complete("completion", ""), {"bash", "zsh", "fish", "--help", "-h"})
        self.assertEqual(self.complete("completion", "bash", "z"), set())
        known = re.search(r"write (\S+), (\S+), (\S+) or (\S+)", run("import", "x", "y").stderr).groups()
        self.assertEqual(self.complete("import", ""), set(known) | {"--help", "-h"})

    def test_options(self):
        self.assertGreater(len(commands()), 5)
        for command in commands():
            self.assertEqual(self.complete(command, "-"), options(command), command)
        self.assertEqual(self.complete("explain", "--peer", "10.0.0.1", "--he"), {"--help", "--header"})
        self.assertEqual(self.complete("-c", "shop-two.ini", "--"), {"--help", "--config"})

    def test_values(self):
        files = {"shop one.ini", "shop-two.ini"}
        for words in (("-c",), ("import", "nginx"), ("check", "-c"), ("check", "-v", "--config"), ("explain", "--config", "=")):
            self.assertEqual(self.complete(*words, "sh"), files, words)
        self.assertEqual(self.complete("explain", "--config", "="), {"shop one.ini", "shop-two.ini", "etc dir", ".bash"})
        for words in (("explain", "--peer"), ("whoami", "-l"), ("explain", "--header", "=")):
            self.assertEqual(self.complete(*words, "s"), set())

    def test_another_program(self):
        self.assertIn("fcgi-realip", self.complete("-c", "shop-two.ini", "--", "fcgi-real"))
        self.assertEqual(self.complete("serve", "--", "sh", "-c"), set())

    def test_typed(self):
        for typed, wanted in (("fcgi-realip ch", ["fcgi-realip", "check", "@"]),
                              ("fcgi-realip check --verb", ["fcgi-realip", "check", "--verbose", "@"]),
                              ("fcgi-realip check -c shop\\ o", ["fcgi-realip", "check", "-c", "shop one.ini", "@"]),
                              ("fcgi-realip check --config=shop-", ["fcgi-realip", "check", "--config=shop-two.ini", "@"]),
                              ("fcgi-realip check -c etc", ["fcgi-realip", "check", "-c", "etc dir/@"]),
                              ("fcgi-realip -- cat shop-", ["fcgi-realip", "--", "cat", "shop-two.ini", "@"])):
            self.assertEqual(self.type(["bash", "--norc", "-i"], "source .bash", typed), wanted)

    @needs("shellcheck")
    def test_shellcheck(self):
        done = subprocess.run(["shellcheck", "-s", "bash", self.script], stdout=subprocess.PIPE, text=True)
        self.assertEqual((done.returncode, done.stdout), (0, ""))


@needs("zsh")
class Zsh(Completion):
    shell = "zsh"
    CASES = (("fcgi-realip ch", ["fcgi-realip", "check", "@"]),
             ("fcgi-realip check --verb", ["fcgi-realip", "check", "--verbose", "@"]),
             ("fcgi-realip explain --par", ["fcgi-realip", "explain", "--param=@"]),
             ("fcgi-realip explain --peer 10.0.0.1 --js", ["fcgi-realip", "explain", "--peer", "10.0.0.1", "--json", "@"]),
             ("fcgi-realip check -c shop\\ o", ["fcgi-realip", "check", "-c", "shop one.ini", "@"]),
             ("fcgi-realip check --config=shop-", ["fcgi-realip", "check", "--config=shop-two.ini", "@"]),
             ("fcgi-realip -c shop-", ["fcgi-realip", "-c", "shop-two.ini", "@"]),
             ("fcgi-realip --vers", ["fcgi-realip", "--version", "@"]),
             ("fcgi-realip help wh", ["fcgi-realip", "help", "whoami", "@"]),
             ("fcgi-realip import ng", ["fcgi-realip", "import", "nginx", "@"]),
             ("fcgi-realip import nginx shop-", ["fcgi-realip", "import", "nginx", "shop-two.ini", "@"]),
             ("fcgi-realip completion z", ["fcgi-realip", "completion", "zsh", "@"]),
             ("fcgi-realip serve -- cat shop-", ["fcgi-realip", "serve", "--", "cat", "shop-two.ini", "@"]))

    def test_typed(self):
        """Found by its name in $fpath, as packages have it."""
        os.rename(self.script, os.path.join(self.dir, "_fcgi-realip"))
        for typed, wanted in self.CASES:
            self.assertEqual(self.type(["zsh", "-f", "-i"], "bindkey -e; fpath=($PWD $fpath); autoload -U compinit; "
                                       "compinit -u -D", typed), wanted)

    def test_sourced(self):
        self.assertEqual(self.type(["zsh", "-f", "-i"], "bindkey -e; autoload -U compinit; compinit -u -D; source ./.zsh",
                                   self.CASES[0][0]), self.CASES[0][1])

    def test_every_option(self):
        """The table's, by the words of the script: what is typed above shows that these are taken."""
        with open(self.script) as file:
            text = file.read()
        for command in commands():
            part = re.search(r"^    %s\)\n(.*?)^        ;;" % command, text, re.DOTALL | re.MULTILINE).group(1)
            found = set(re.findall(r"(?<=[{,'*])--?[a-z-]+(?=[=+,}'])", part)) - {"-s"}
            self.assertEqual(found, options(command), command)


@needs("fish")
class Fish(Completion):
    shell = "fish"

    def complete(self, line):
        done = subprocess.run(["fish", "--no-config", "-c", "source .fish; complete -C '%s'" % line], cwd=self.dir,
                              env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        return {offer.split("\t")[0] for offer in done.stdout.splitlines()}

    def test_commands(self):
        self.assertEqual(self.complete("fcgi-realip "), set(commands()))
        self.assertEqual(self.complete("fcgi-realip help "), set(commands()))
        self.assertEqual(self.complete("fcgi-realip completion "), {"bash", "zsh", "fish"})
        self.assertEqual(self.complete("fcgi-realip check "), set())

    def test_options(self):
        for command in commands():
            self.assertEqual(self.complete("fcgi-realip %s -" % command), options(command), command)
        self.assertEqual(self.complete("fcgi-realip -"), options("serve") | {"--version", "-V"})

    def test_values(self):
        for line in ("check -c sh", "-c sh", "explain --config sh", "import nginx sh"):
            self.assertEqual(self.complete("fcgi-realip " + line), {"shop one.ini", "shop-two.ini"})
        self.assertEqual(self.complete("fcgi-realip check --config=sh"),
                         {"--config=shop one.ini", "--config=shop-two.ini"})
        self.assertEqual(self.complete("fcgi-realip explain --peer sh"), set())

    def test_another_program(self):
        self.assertIn("fcgi-realip", self.complete("fcgi-realip serve -- fcgi-real"))
        self.assertIn("shop-two.ini", self.complete("fcgi-realip serve -- cat sh"))
        self.assertNotIn("--config", self.complete("fcgi-realip serve -- cat --"))


if __name__ == "__main__":
    unittest.main()
