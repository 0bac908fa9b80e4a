#!/usr/bin/env python3
"""Load and time with small figures; tests/load/run has the large ones."""

import unittest

import endurance


class Small(unittest.TestCase):
    def test_connections(self):
        endurance.run_connections(500, 3000)

    def test_slow(self):
        endurance.run_slow(20, 10, 1, 0.1)

    def test_requests(self):
        endurance.run_requests(20000, 5000)

    def test_large(self):
        endurance.run_large(50 << 20)

    def test_restarts(self):
        endurance.run_restarts(4, 0.05)

    def test_clocks(self):
        endurance.run_clocks(1.5)


if __name__ == "__main__":
    unittest.main()
