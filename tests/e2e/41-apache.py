#!/usr/bin/env python3
"""Apache gives the same answers as every other web server."""

import unittest

from sameanswer import make_tests, skip_unless_installed
from servers import Apache

skip_unless_installed(Apache)
globals().update(make_tests(Apache))

if __name__ == "__main__":
    unittest.main()
