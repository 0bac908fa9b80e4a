#!/usr/bin/env python3
"""Haproxy gives the same answers as every other web server."""

import unittest

from sameanswer import make_tests, skip_unless_installed
from servers import Haproxy

skip_unless_installed(Haproxy)
globals().update(make_tests(Haproxy))

if __name__ == "__main__":
    unittest.main()
