#!/usr/bin/env python3
"""Lighttpd gives the same answers as every other web server."""

import unittest

from sameanswer import make_tests, skip_unless_installed
from servers import Lighttpd

skip_unless_installed(Lighttpd)
globals().update(make_tests(Lighttpd))

if __name__ == "__main__":
    unittest.main()
