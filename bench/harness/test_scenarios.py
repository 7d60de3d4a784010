"""The order and the failures of measurements, without any server."""

import contextlib
import io
import unittest

from harness import scenarios


class Rounds(unittest.TestCase):
    def setUp(self):
        scenarios.failures.clear()

    def test_begin_each_with_another_party(self):
        seen = []
        measure = lambda party: seen.append(party) or party  # noqa: E731
        with contextlib.redirect_stderr(io.StringIO()):
            records = list(scenarios.rounds_of("x", {"a": 1, "b": 2}, 2, measure))
        self.assertEqual((seen, records), ([1, 2, 2, 1], [{"a": 1, "b": 2}] * 2))

    def test_are_left_out_where_one_failed_twice_and_it_is_said(self):
        def fails(_):
            raise RuntimeError(f"{scenarios.PROJECT}/x\n is not there")

        with contextlib.redirect_stderr(io.StringIO()):
            records = list(scenarios.rounds_of("x", {"a": 1}, 1, fails))
        self.assertEqual((records, scenarios.failures), ([], ["x 1/1: a: …/x is not there"] * 2))


if __name__ == "__main__":
    unittest.main()
