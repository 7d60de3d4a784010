"""The order and the failures of measurements, without any server."""

import contextlib
import io
import unittest

from harness import growth, scenarios


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


class Growth(unittest.TestCase):
    def test_measures_what_is_compared_one_after_the_other_at_each_size(self):
        kinds = [("ours", [1, 2, 3], None), ("least", [1, 3], None)]
        seen = [visit[:3] for visit in growth.visits(kinds, 2)]
        first = [(0, 1, "ours"), (0, 1, "least"), (0, 2, "ours"), (0, 3, "ours"), (0, 3, "least")]
        then = [(1, 2, "ours"), (1, 3, "least"), (1, 3, "ours"), (1, 1, "least"), (1, 1, "ours")]
        self.assertEqual(seen, first + then)


if __name__ == "__main__":
    unittest.main()
