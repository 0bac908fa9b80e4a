#!/usr/bin/env python3
"""What `cmake --install` puts where, and the Debian packages of it. tests/packages/run installs these, too."""

import os
import re
import shutil
import stat
import subprocess
import tempfile
import unittest

from shim import is_sanitized, program

TREE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.dirname(program())
PACKAGES = ["fcgi-realip", "libfcgi-realip-dev", "libfcgi-realip-preload", "libfcgi-realip0"]
CONFFILES = ["etc/fcgi-realip/fcgi-realip.ini", "etc/logrotate.d/fcgi-realip"]
SHELLS = {"bash": "bash-completion/completions/fcgi-realip", "zsh": "zsh/site-functions/_fcgi-realip",
          "fish": "fish/vendor_completions.d/fcgi-realip.fish"}


def read(*parts):
    with open(os.path.join(*parts), encoding="utf-8") as file:
        return file.read()


def run(*command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300, **options)


def cached(name):
    return re.search(r"^%s:\w+=(.*)$" % name, read(BUILD, "CMakeCache.txt"), re.MULTILINE).group(1)


def files_below(top):
    """The paths of everything but directories."""
    return sorted(os.path.relpath(os.path.join(folder, name), top)
                  for folder, _, names in os.walk(top) for name in names)


def etc(folder):
    return sorted(os.listdir(os.path.join(TREE, "etc", folder)))


VERSION = re.search(r"^project\(\S+ VERSION (\S+)", read(TREE, "CMakeLists.txt"), re.MULTILINE).group(1)


def wanted(lib):
    """All that is installed, below the prefix."""
    return sorted(
        ["bin/fcgi-realip", "include/fcgi_realip.h", "share/man/man1/fcgi-realip.1", "share/man/man3/fcgi_realip.3",
         "share/man/man5/fcgi-realip.ini.5", "share/doc/fcgi-realip/examples/fcgi-realip.ini"]
        + ["share/" + path for path in SHELLS.values()]
        + ["%s/%s" % (lib, name) for name in
           ("libfcgi-realip.a", "libfcgi-realip.so", "libfcgi-realip.so.0", "libfcgi-realip.so." + VERSION,
            "libfcgi-realip-preload.so", "pkgconfig/fcgi-realip.pc", "cmake/fcgi-realip/fcgi-realip-config.cmake",
            "cmake/fcgi-realip/fcgi-realip-config-version.cmake",
            "cmake/fcgi-realip/fcgi-realip-config-%s.cmake" % (cached("CMAKE_BUILD_TYPE") or "RelWithDebInfo").lower())]
        + ["lib/systemd/system/" + name for name in etc("systemd")]
        + ["share/fcgi-realip/presets/" + name for name in etc("presets")]
        + ["share/doc/fcgi-realip/examples/%s/%s" % (folder, name)
           for folder in ("apache", "caddy", "cgi", "haproxy", "lighttpd", "logrotate", "nginx") for name in etc(folder)])


class Install(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="realip-install-")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        before = os.umask(0o022)  # CMake makes directories by it
        cls.addClassCleanup(os.umask, before)

    def install(self, name, *arguments, build=BUILD):
        """Into a folder of its own; gives the folder."""
        top = os.path.join(self.dir, name)
        done = run("cmake", "--install", build, *arguments, env=dict(os.environ, DESTDIR=top))
        self.assertEqual(done.returncode, 0, done.stdout)
        return top

    def test_files(self):
        top = self.install("all")
        prefix = cached("CMAKE_INSTALL_PREFIX").lstrip("/")
        self.assertEqual(files_below(top), [os.path.join(prefix, path) for path in wanted(cached("CMAKE_INSTALL_LIBDIR"))])
        prefix = os.path.join(top, prefix)
        for folder, _, names in os.walk(prefix):
            self.assertEqual(stat.S_IMODE(os.stat(folder).st_mode), 0o755, folder)
            for name in names:
                mode = stat.S_IMODE(os.stat(os.path.join(folder, name)).st_mode)
                self.assertIn(mode, (0o755,) if folder.endswith("/bin") else (0o644, 0o755) if ".so" in name else (0o644,),
                              name)

        # What is installed works where it is.
        installed = os.path.join(prefix, "bin/fcgi-realip")
        self.assertEqual(run(installed, "--version").stdout, "fcgi-realip %s\n" % VERSION)
        for shell, path in SHELLS.items():
            self.assertEqual(read(prefix, "share", path), run(installed, "completion", shell).stdout)
        presets = [name for name in etc("presets") if name.endswith(".ini")]
        self.assertGreater(len(presets), 8)
        for name in presets:
            done = run(installed, "check", "-c", os.path.join(prefix, "share/fcgi-realip/presets", name))
            self.assertEqual(done.returncode, 0, done.stdout)

    def test_names_the_program(self):
        """By the path that it was installed at."""
        top = os.path.join(self.install("elsewhere", "--prefix", "/opt/shim"), "opt/shim")
        named = []
        for path in files_below(top):
            if path.startswith("share/doc/fcgi-realip/examples/") or path.startswith("lib/systemd/system/"):
                text = read(top, path)
                self.assertNotIn("/usr/local/bin/fcgi-realip", text, path)
                named += [path] if "/opt/shim/bin/fcgi-realip" in text else []
                source = path.replace("share/doc/fcgi-realip/examples/", "").replace("lib/systemd/system/", "systemd/")
                self.assertEqual(text.replace("/opt/shim/bin/", "/usr/local/bin/"), read(TREE, "etc", source))
        self.assertIn("lib/systemd/system/fcgi-realip@.service", named)
        self.assertIn("share/doc/fcgi-realip/examples/apache/fcgid.conf", named)

    def test_absolute_folders(self):
        """Outside of the prefix, as GNUInstallDirs lets them be."""
        build = os.path.join(self.dir, "build")
        done = run("cmake", "-S", TREE, "-B", build, "-DBUILD_TESTING=OFF", "-DCMAKE_INSTALL_PREFIX=/opt/shim",
                   "-DCMAKE_INSTALL_BINDIR=/opt/programs", "-DCMAKE_INSTALL_DOCDIR=/opt/doc")
        self.assertEqual(done.returncode, 0, done.stdout)
        for made in ["fcgi-realip"] + ["packages/completion." + shell for shell in SHELLS]:
            shutil.copy(os.path.join(BUILD, made), os.path.join(build, made))
        top = self.install("absolute", "--component", "fcgi-realip", build=build)
        self.assertEqual(run(os.path.join(top, "opt/programs/fcgi-realip"), "--version").returncode, 0)
        for path in ("opt/shim/lib/systemd/system/fcgi-realip.service", "opt/doc/examples/apache/fcgid.conf"):
            self.assertIn("/opt/programs/fcgi-realip", read(top, path))

    def test_components(self):
        """Named after the packages; together they are everything, and no file is in two."""
        parts = {name: files_below(self.install(name, "--component", name)) for name in PACKAGES}
        prefix = cached("CMAKE_INSTALL_PREFIX").lstrip("/")
        self.assertEqual(sorted(sum(parts.values(), [])),
                         [os.path.join(prefix, path) for path in wanted(cached("CMAKE_INSTALL_LIBDIR"))])
        self.assertEqual(len(parts["libfcgi-realip0"]), 2)
        self.assertEqual(len(parts["libfcgi-realip-preload"]), 1)


@unittest.skipIf(is_sanitized(), "nobody packages this build")
@unittest.skipUnless(shutil.which("dpkg-shlibdeps") and shutil.which("file"), "NOT INSTALLED: dpkg-dev, file")
class Packages(unittest.TestCase):
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.dir = tempfile.mkdtemp(prefix="realip-packages-")
        cls.addClassCleanup(shutil.rmtree, cls.dir)
        before = os.umask(0o022)
        cls.addClassCleanup(os.umask, before)
        # With make, CPack would first build everything again, for seconds in which there is nothing to do.
        done = run("cpack", "-G", "DEB", "--config", os.path.join(BUILD, "CPackConfig.cmake"), "-B", cls.dir,
                   "-D", "CPACK_CMAKE_GENERATOR=Ninja")
        assert done.returncode == 0, done.stdout
        cls.packages = {name.split("_")[0]: os.path.join(cls.dir, name) for name in sorted(os.listdir(cls.dir))
                        if name.endswith(".deb")}

    def field(self, package, name):
        return run("dpkg-deb", "-f", self.packages[package], name).stdout.strip()

    def files(self, package):
        listing = run("dpkg-deb", "-c", self.packages[package]).stdout.splitlines()
        for line in listing:
            self.assertRegex(line, r" root/root ")
        return {line.split(" ./", 1)[1].split(" -> ")[0] for line in listing if line[0] != "d"}

    def test_packages(self):
        self.assertEqual(sorted(self.packages), PACKAGES)
        for package in PACKAGES:
            self.assertTrue(self.field(package, "Version").startswith(VERSION + "-"), package)
            self.assertIn("libc6", self.field(package, "Depends") + ("libc6" if package.endswith("-dev") else ""))
        depends = self.field("fcgi-realip", "Depends")
        for library in ("libuv1", "libinih1", "libseccomp2", "liburing2", "adduser"):
            self.assertIn(library, depends)
        self.assertIn("libfcgi-realip0 (= %s)" % self.field("libfcgi-realip0", "Version"),
                      self.field("libfcgi-realip-dev", "Depends"))
        # Whoever preloads it has libfcgi, or does without it.
        self.assertNotIn("libfcgi0", self.field("libfcgi-realip-preload", "Depends"))

    def test_files(self):
        found = {package: self.files(package) for package in PACKAGES}
        for package in PACKAGES:
            self.assertLessEqual({"usr/share/doc/%s/copyright" % package,
                                  "usr/share/doc/%s/changelog.Debian.gz" % package}, found[package])
            self.assertEqual(sorted(path for path in found[package] if not path.startswith("usr/")),
                             CONFFILES if package == "fcgi-realip" else [])
        every = set().union(*found.values())
        self.assertEqual(sum(map(len, found.values())), len(every))
        for path in wanted(cached("CMAKE_INSTALL_LIBDIR")):
            path = re.sub(r"(share/man/.*)", r"\1.gz", path).replace("zsh/site-functions", "zsh/vendor-completions")
            self.assertTrue(any(name.endswith(path.split("/", 1)[1]) for name in every), path)
        self.assertIn("usr/bin/fcgi-realip", found["fcgi-realip"])

    def test_control(self):
        control = os.path.join(self.dir, "control")
        run("dpkg-deb", "-e", self.packages["fcgi-realip"], control)
        self.assertEqual(read(control, "conffiles").split(), ["/" + path for path in CONFFILES])
        for name in ("postinst", "prerm", "postrm"):
            self.assertEqual(stat.S_IMODE(os.stat(os.path.join(control, name)).st_mode), 0o755)
        top = os.path.join(self.dir, "content")
        run("dpkg-deb", "-x", self.packages["fcgi-realip"], top)
        for path, source in zip(CONFFILES, ("etc/fcgi-realip.ini", "etc/logrotate/fcgi-realip")):
            self.assertEqual(read(top, path), read(TREE, source))
        unit = [path for path in files_below(top) if path.endswith("/fcgi-realip.service")]
        self.assertIn("ExecStart=/usr/bin/fcgi-realip serve", read(top, unit[0]))

    @unittest.skipUnless(shutil.which("lintian"), "NOT INSTALLED: lintian")
    def test_lintian(self):
        """No error. Of warnings each version has its own; tests/packages/run has none on Debian 12."""
        done = run("lintian", "--allow-root", "--fail-on", "error", *self.packages.values())
        self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    unittest.main()
