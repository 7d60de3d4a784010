"""The document from made-up results: `python3 -m unittest discover -s bench`.

A full run takes most of an hour; what it found must not be lost or bent on the way to paper.
"""

import unittest

from harness import promises, report, sections
from harness.parties import CACHED, PARTIES
from harness.pictures import panels
from harness.scenarios import FUNCTIONS, PAIRS, PINNED, WIRES
from harness.seed import ASKED


def run(rps=1000.0, cpu_us=10.0, p99_ms=2.0, **more):
    latencies = {"p50_ms": 1.0, "p99_ms": p99_ms, "p999_ms": 3.0}
    cost = {"rps": rps, "cpu_us": cpu_us, "server_cpu_us": 1.0}
    return {"requests": 100, "not_ok": 0, "failed": 0, **latencies, **cost, **more}


def visit(party, cpu_us):
    about = {"party": party, "work": "echo", "round": 0}
    memory = {"server_idle_mb": 5, "idle_pss_mb": 5, "pss_mb": 9, "server_after_mb": 8}
    truth = {"asked": 800, "wrong": 0, "unanswered": 0}
    start = {"kind": "start", "first_answer_ms": 9, "processes": 4, **memory, **truth}
    counts = [8, 64, 256]
    runs = [{"kind": "run", "connections": it, **run(cpu_us=cpu_us)} | about for it in counts]
    return [start | about, *runs]


def burst(party, round_, p50_ms):
    took = {"p50_ms": p50_ms, "max_ms": p50_ms, "long_ms": [1000.0, 2000.0]}
    return {"party": party, "round": round_, "long": 2, "fib": 30, **took}


def growing(what, size, cpu_us):
    return {"what": what, "size": size, "server_mb": 9.0, **run(cpu_us=cpu_us)}


def everything():
    """One round of each scenario. httpipe is better than each peer, except in memory."""
    ratios = {"what": "a call", "by_threads": {"1": run(), "2": run(rps=1500.0)}}
    records = {
        "pairs": [
            {"mine": a, "theirs": b, "a": run(cpu_us=5.0), "b": run()} for a, b in PAIRS
        ],
        "pinned": [{key: {"p50_us": 10.0, "cpu_us": 5.0} for key in PINNED}],
        "cache": [{what: run() for what in CACHED}],
        "functions": [{key: run() for key in FUNCTIONS}],
        "mix": [{"httpipe": run(rps=2000.0), "httpipe-1": run()}, {"uvicorn": run()}],
        "short": [
            burst("httpipe-elastic", 0, 2.0),
            burst("uvicorn", 0, 900.0),
            burst("httpipe-many", 0, 2.0),
            burst("httpipe-at-once", 0, 2.0),
        ],
        "table": visit("httpipe", 5.0) + visit("uvicorn", 20.0),
        "threads": [ratios],
        "wire": [
            {"child": name, "in_flight": 1, "pinned": False, "messages": 9, "seconds": 1,
             "p50_us": 5.0, "child_cpu_us": 1.0}
            for name in WIRES
        ],
        "idle": [{"party": key, "ms_a_second": 0.1} for key in PARTIES],
        "growth": [growing("workers, 64 connections", size, 10.0) for size in [2, 16, 64, 256]]
        + [growing("idle connections beside 64", 10_000, 10.0)]
        + [growing("busy connections", 10_000, 10.0)]
        + [growing(promises.EACH_WAY, 1_000_000, 10.0) | {"server_cpu_us": 9.0}]
        + [growing(promises.EACH_WAY_LEAST, 1_000_000, 8.0) | {"server_cpu_us": 6.0}],
        "seed": [{key: {"seconds": 1.0} for key in ASKED}],
        "books": [growing("the pool's books alone", 1, 0.2)],
    }
    settings = {"load_before": 0, "command": "bench/run", "quick": False, "only": None}
    settings |= {"pairs": 7, "rounds": 3, "seconds": 2}
    return {
        "date": "today",
        "machine": report.machine(),
        "versions": {"python": "3"},
        "settings": settings,
        "minutes": {"table": 1.0},
        "failures": [],
        "records": records,
    }


class TheDocument(unittest.TestCase):
    def test_has_every_section_and_every_promise(self):
        text = report.markdown(everything())
        self.assertEqual(text.count("\n## "), len(sections.SECTIONS) + 5)
        self.assertNotIn(promises.NOT_MEASURED, text)
        self.assertEqual(set(report.pictures(everything())), {"cpu.svg", "short.svg", "growth.svg"})

    def test_says_what_was_not_measured(self):
        results = everything()
        results["records"] = {}
        self.assertEqual(report.markdown(results).count(promises.NOT_MEASURED), 34)

    def test_says_what_the_least_server_costs(self):
        self.assertIn("cost 0.50 times the CPU of uvicorn and 0.50 times", report.markdown(everything()))
        results = everything()
        results["records"]["pairs"] = [pair for pair in results["records"]["pairs"] if pair["mine"] == "httpipe"]
        self.assertNotIn("cost 0.50 times", report.markdown(results))

    def test_says_what_the_least_server_takes_for_large_bodies(self):
        text = report.markdown(everything())
        self.assertIn("take 6 µs of the server's CPU, and httpipe takes 1.50 times", text)
        results = everything()
        results["records"]["growth"].pop()
        self.assertNotIn("hyper and two pipes with", report.markdown(results))

    def test_says_where_a_peer_is_better(self):
        results = everything()
        self.assertIn("- Nowhere in what was measured here.", report.markdown(results))
        results["records"]["table"] += visit("granian-wsgi", 4.0)
        self.assertIn("echo, 256 connections: granian, WSGI, 4.0 CPU µs", report.markdown(results))

    def test_says_what_went_wrong(self):
        results = everything()
        results["records"]["cache"][0]["cache hit, access log on"]["not_ok"] = 3
        results["failures"].append("idle: mosec: no answer")
        text = report.markdown(results)
        self.assertIn("3 answers that were not 200", text)
        self.assertIn("- idle: mosec: no answer", text)


class APromise(unittest.TestCase):
    def test_is_a_median_of_ratios_and_no_ratio_of_medians(self):
        costs = [(5.0, 10.0), (40.0, 50.0), (9.0, 10.0)]
        pairs = [
            {"mine": "httpipe", "theirs": "uvicorn", "a": run(cpu_us=a), "b": run(cpu_us=b)}
            for a, b in costs
        ]
        first = next(promises.promises({"pairs": pairs}, []))
        self.assertEqual(first.row()[1:], ["0.8", "0.5–0.9", "3", "≤ 0.75", "**no**"])

    def test_is_kept_at_its_limit(self):
        self.assertTrue(promises.Promise("x", [2.0], 2.0).is_kept())
        self.assertTrue(promises.Promise("x", [2.0], 2.0, is_floor=True).is_kept())
        self.assertFalse(promises.Promise("x", [1.9], 2.0, is_floor=True).is_kept())

    def test_counts_the_mode_of_granian_that_is_hardest_to_beat(self):
        pairs = [
            {"mine": "httpipe", "theirs": key, "a": run(cpu_us=10.0), "b": run(cpu_us=cost)}
            for key, cost in [("granian-rsgi", 40.0), ("granian-wsgi", 25.0)]
        ]
        third = list(promises.promises({"pairs": pairs}, []))[2]
        self.assertEqual((third.values, "WSGI" in third.what), ([0.4], True))

    def test_compares_short_calls_with_the_best_peer(self):
        records = [burst("httpipe-elastic", 0, 2.0), burst("flask", 0, 90.0)]
        records.append(burst("granian-wsgi", 0, 1.0))
        rows = list(promises.short(records, sections.PEERS))
        self.assertEqual((rows[1].values, rows[1].is_kept()), ([2.0], False))

    def test_compares_the_slowest_calls_with_the_best_peer_of_the_same_round(self):
        def visited(party, round_, p999_ms):
            about = {"kind": "run", "party": party, "work": "echo", "connections": 64}
            return about | {"round": round_, "p999_ms": p999_ms}

        table = [visited("httpipe", 0, 2.0), visited("flask", 0, 90.0), visited("uvicorn", 0, 4.0)]
        table += [visited("uvicorn", 1, 6.0), visited("httpipe", 1, 9.0)]
        # Of a peer's round without ours nothing can be said.
        table.append(visited("uvicorn", 2, 1.0))
        few, some, many = promises.slowest(table, sections.PEERS)
        self.assertEqual((few.values, some.values, many.values), ([], [0.5, 1.5], []))
        self.assertIn("uvicorn", some.what)

    def test_compares_all_long_calls_with_pairs_of_them_in_the_same_round(self):
        beside_two = [burst("httpipe-elastic", 0, 1.0), burst("httpipe-elastic", 1, 1.0)]
        many = burst("httpipe-many", 0, 1.0) | {"long_ms": [1000.0, 2000.0, 3000.0, 3300.0]}
        many |= {"long": 50}
        done = [it for it in promises.short([*beside_two, many], []) if "are done" in it.what]
        self.assertEqual([it.values for it in done], [[1.1], []])


class Growth(unittest.TestCase):
    def test_is_a_ratio_within_each_round_and_a_median_in_the_table(self):
        costs = [(2, 0, 10.0), (16, 0, 20.0), (16, 1, 90.0), (2, 1, 30.0), (2, 2, 40.0)]
        what = "workers, 64 connections"
        records = [growing(what, size, cost) | {"round": round_} for size, round_, cost in costs]
        self.assertEqual(next(promises.growth(records)).values, [2.0, 3.0])
        self.assertEqual(sections.curves(records), {what: [(2, 30.0), (16, 55.0)]})
        self.assertIn("| 2 | 1,000 |", sections.growth(records))

    def test_of_bodies_is_compared_with_the_least_server_within_each_round(self):
        costs = [(promises.EACH_WAY, 0, 20.0), (promises.EACH_WAY_LEAST, 0, 10.0)]
        costs += [(promises.EACH_WAY_LEAST, 1, 30.0), (promises.EACH_WAY, 1, 90.0)]
        # Of a round without the other nothing can be said.
        costs += [(promises.EACH_WAY, 2, 5.0)]
        records = [
            growing(what, 1000, 1.0) | {"round": round_, "server_cpu_us": cost}
            for what, round_, cost in costs
        ]
        self.assertEqual(promises.against_least(records, 1000), ([10.0, 30.0], [2.0, 3.0]))
        self.assertEqual(promises.against_least(records, 100), ([], []))

    def test_is_quadratic_where_each_request_costs_more_the_more_there_are(self):
        steady = [growing("workers", size, 10.0) for size in [1, 10, 100]]
        self.assertEqual(sections.powers(steady), [["workers", "0.00", "no"]])
        # The growth is only between 10 and 100; the points before must not hide it.
        late = [growing("workers", 1, 10.0), growing("workers", 10, 10.0)]
        late.append(growing("workers", 100, 100.0))
        self.assertEqual(sections.powers(late), [["workers", "1.00", "**yes**"]])
        in_bytes = [growing("bytes", size, float(size)) for size in [10, 100]]
        self.assertEqual(sections.powers(in_bytes), [["bytes", "1.00", "no"]])

    def test_has_a_picture_even_of_one_point(self):
        self.assertIn("<circle", panels("x", {"workers": [(1, 10.0)]}, lambda _: 1))


if __name__ == "__main__":
    unittest.main()
