#!/usr/bin/env python3
"""Caddy gives the same answers as every other web server."""

import unittest

from sameanswer import make_tests, skip_unless_installed
from servers import Caddy

skip_unless_installed(Caddy)
globals().update(make_tests(Caddy))

if __name__ == "__main__":
    unittest.main()
