#!/usr/bin/env python3
"""nginx, without and with kept connections to the shim, gives the same answers as every other web server."""

import unittest

from sameanswer import make_tests, skip_unless_installed
from servers import Nginx, NginxKeep

skip_unless_installed(Nginx)
globals().update(make_tests(Nginx, NginxKeep))

if __name__ == "__main__":
    unittest.main()
