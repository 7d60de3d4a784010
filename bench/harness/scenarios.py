"""The scenarios: each is a function of the options that yields plain records."""

import json
import shutil
import subprocess
import time

from harness import load
from harness.install import environment, say
from harness.load import measured
from harness.parties import (
    CACHED,
    ELASTIC,
    FUNCTION,
    LEAST,
    PARTIES,
    TAKING_TURNS,
    THREADED,
    WIDE,
    WORKS,
)
from harness.places import PROBES, PROJECT, PYTHON, RUNS, WORKERS
from harness.processes import spent

# Failures, in words for the document.
failures = []


def attempt(what, measure):
    """What `measure` returns. Tries twice and then returns `None`, so that one bad moment does not
    cost a whole run."""
    for _ in range(2):
        say(what)
        try:
            return measure()
        except (RuntimeError, OSError, load.Wrong, subprocess.SubprocessError) as error:
            say(f"FAILED: {error}")
            # For a document: one line, and no directories of this machine.
            words = " ".join(str(error).replace(str(PROJECT), "…").split())
            failures.append(f"{what}: {words[:300]}")
    return None


class Running:
    """A party that runs and has answered once. It is stopped at the end of the `with`."""

    def __init__(self, party, work, core=None):
        self.party, self.work, self.core, self.port = party, work, core, load.free_port()
        since = time.monotonic()
        self.directory = RUNS / str(self.port)
        self.tree = party.start(work, self.port, self.directory, core)
        try:
            took = load.wait_for_first_answer(self.tree, party, work, self.port, since)
        except BaseException:
            self.tree.stop()
            raise
        self.first_answer_ms = took * 1000

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.tree.stop()
        if kind is None:
            # In a run of an hour the access logs would fill the disk.
            shutil.rmtree(self.directory, ignore_errors=True)

    def check(self):
        return load.checked_calls(self.party, self.work, self.port)

    def warm_up(self):
        """Warms the party up with checked calls under load. Returns their counts."""
        return load.checked_under_load(self.party, self.work, self.port, self.tree)

    def load(self, connections, options, work=None, seconds=None, text=None):
        return measured(
            self.tree,
            self.party,
            work or self.work,
            self.port,
            connections,
            seconds or options.seconds,
            threads=options.wrk_threads,
            core=self.core,
            text=text,
        )


def chosen(options):
    keys = options.only or list(PARTIES)
    return [(key, PARTIES[key]) for key in keys]


def turned(items, by):
    """The items, starting with another one each round, so that none always follows the same one."""
    by %= max(1, len(items))
    return items[by:] + items[:by]


def table(options):
    """Every party, both works, all numbers of connections; one record for each run."""
    for round_ in range(options.rounds):
        for key, party in turned(chosen(options), round_):
            # A limit works nothing out, so both works are the same to it.
            for work in ["echo"] if party.is_limit else WORKS:
                what = f"table {round_ + 1}/{options.rounds}: {party.name}, {work}"
                yield from attempt(what, lambda: visit(key, work, round_, options)) or []


def visit(key, work, round_, options):
    about = {"party": key, "work": work, "round": round_}
    with Running(PARTIES[key], work) as running:
        tree = running.tree
        start = {
            "kind": "start",
            **about,
            "first_answer_ms": running.first_answer_ms,
            "server_idle_mb": tree.server_rss_mb(),
            "idle_pss_mb": tree.pss_mb(),
        }
        before = running.warm_up()
        runs = []
        for connections in options.connections:
            result = running.load(connections, options)
            runs.append({"kind": "run", **about, "connections": connections, **result})
        start["pss_mb"] = tree.pss_mb()
        start["server_after_mb"] = tree.server_rss_mb()
        start["processes"] = len(tree.pids())
        after = running.check()
        start |= {name: before[name] + after[name] for name in after}
    return [start, *runs]


# The peers that have a target, each measured right before or after httpipe.
PAIRS = [
    ("httpipe", "uvicorn"),
    ("httpipe-json", "uvicorn"),
    ("httpipe", "granian-rsgi"),
    ("httpipe", "granian-asgi"),
    ("httpipe", "granian-wsgi"),
    ("httpipe", "mosec"),
    ("httpipe", "flask"),
    ("httpipe", "hyper-fixed"),
    # What is left to the rest, if HTTP and the pipe are as cheap as they can be.
    ("hyper-pipe", "uvicorn"),
    ("hyper-pipe", "hyper-fixed"),
]
PAIRED = PARTIES | {"hyper-pipe": LEAST}


def pairs(options):
    """httpipe and one peer, one right after the other, echo at 64 connections."""
    for round_ in range(options.pairs):
        for mine, theirs in PAIRS:
            if options.only and theirs not in options.only:
                continue
            what = f"pair {round_ + 1}/{options.pairs}: {mine} and {theirs}"
            record = attempt(what, lambda: pair(mine, theirs, round_, options))
            if record:
                yield record


def pair(mine, theirs, round_, options):
    order = [mine, theirs] if round_ % 2 == 0 else [theirs, mine]
    found = {key: one(PAIRED[key], "echo", 64, options) for key in order}
    return {"mine": mine, "theirs": theirs, "a": found[mine], "b": found[theirs]}


def one(party, work, connections, options, loaded_with=None):
    """One measured run of a party that was started for it."""
    with Running(party, work) as running:
        running.warm_up()
        return running.load(connections, options, work=loaded_with)


def rounds_of(name, parties, rounds, measure):
    """Measures several parties in rounds. Yields a record with what `measure` returns for each
    party, for every round in which all of them were measured."""
    for round_ in range(rounds):
        record = {}
        for key, party in turned(list(parties.items()), round_):
            what = f"{name} {round_ + 1}/{rounds}: {key}"
            record[key] = attempt(what, lambda: measure(party))
        if None not in record.values():
            yield record


def cache(options):
    """A cache hit against a fixed answer, 64 connections."""
    yield from rounds_of("cache", CACHED, options.pairs, lambda it: one(it, "fib", 64, options))


FUNCTIONS = {"httpipe-function": FUNCTION} | {
    key: PARTIES[key] for key in ["httpipe-1", "uvicorn"]
}


def functions(options):
    """A function, the same work as a loop over lines, and uvicorn: fib(10), 64 connections."""
    measure = lambda it: one(it, "fib", 64, options)  # noqa: E731
    yield from rounds_of("functions", FUNCTIONS, options.pairs, measure)


def turns(options):
    """What it costs that workers take turns, one call in each. Says the medians; the document has no
    section for it (`docs/decisions/0009-turns.md` has a table)."""
    for connections in options.connections:
        records = []
        measure = lambda it: one(it, "echo", connections, options)  # noqa: E731, B023
        name = f"turns, {connections} connections"
        for record in rounds_of(name, TAKING_TURNS, options.pairs, measure):
            records.append(record)
            yield {"connections": connections} | record
        for key in ["cpu_us", "server_cpu_us", "rps"]:
            values = {which: sorted(it[which][key] for it in records) for which in TAKING_TURNS}
            ratios = sorted(it["with"][key] / it["without"][key] for it in records)
            say(f"{connections} connections, {key}: " + ", ".join(
                f"{which} turns {middle(found):.1f}" for which, found in values.items()
            ) + f", ratio {middle(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


def middle(sorted_values):
    return sorted_values[len(sorted_values) // 2]


def threads(options):
    """The gain from a second thread, 64 connections, for calls and for cache hits."""
    for what, is_kept in [("a call", False), ("a cache hit", True)]:
        parties = {n: party for (n, kept), party in THREADED.items() if kept == is_kept}
        measure = lambda it: one(it, "fib" if is_kept else "echo", 64, options)  # noqa: E731
        for record in rounds_of(f"threads, {what}", parties, options.pairs, measure):
            yield {"what": what, "by_threads": {str(n): found for n, found in record.items()}}


PINNED = {key: PARTIES[key] for key in ["hyper-fixed", "httpipe", "httpipe-1"]} | {
    "hyper-pipe": LEAST,
    "pipe": None,
}


def pinned(options):
    """One connection, all processes on one core: what httpipe adds to HTTP and a pipe."""
    yield from rounds_of("pinned", PINNED, options.pairs, lambda it: on_one_core(it, options))


def on_one_core(party, options):
    if party is None:
        return pipe([PYTHON, WORKERS / "echo.py"], 1, core=0)
    with Running(party, "echo", core=0) as running:
        running.check()
        running.load(1, options, seconds=1)
        result = running.load(1, options)
    return {"p50_us": result["p50_ms"] * 1000, "cpu_us": result["cpu_us"]}


def pipe(command, in_flight, core=None, kind="pipe"):
    """Round trips through two pipes or a pair of sockets, and nothing else."""
    pin = [] if core is None else ["taskset", "-c", str(core)]
    # The results vary so little that one second is enough.
    probe = [*pin, PROBES / "wire", kind, in_flight, 1, *command]
    done = subprocess.run(
        list(map(str, probe)), env=environment(), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


# The program at the other end, and how it is connected.
WIRES = {
    "native echo (cat)": ("pipe", ["cat"]),
    "native echo, pair of sockets": ("socket", ["cat"]),
    "Python, `for line in sys.stdin: print(…, flush=True)`": (
        "pipe",
        [PYTHON, WORKERS / "wire_print.py"],
    ),
    "the same, pair of sockets": ("socket", [PYTHON, WORKERS / "wire_print.py"]),
    "Python, `readline`, `write`, `flush` on the buffers": (
        "pipe",
        [PYTHON, WORKERS / "wire_buffers.py"],
    ),
    "Python, one `os.read`, one `os.write`": ("pipe", [PYTHON, WORKERS / "wire_batches.py"]),
}


def wire(options):
    """The wire alone, with both ends on any core and on one core."""
    for round_ in range(options.rounds):
        for name, (kind, command) in WIRES.items():
            for in_flight, core in [(1, 0), (1, None), (16, None), (64, None)]:
                what = f"wire {round_ + 1}/{options.rounds}: {name}, {in_flight} in flight"
                found = attempt(what, lambda: pipe(command, in_flight, core, kind))
                about = {"child": name, "in_flight": in_flight, "pinned": core is not None}
                if found:
                    yield about | found


def mix(options):
    """1 call in 500 is a fib(24), 32 connections: how much that delays the short calls."""
    measure = lambda it: one(it, "fib", 32, options, loaded_with="mix")  # noqa: E731
    ours = {key: PARTIES[key] for key in ["httpipe", "httpipe-1"]}
    yield from rounds_of("mix", ours, options.pairs, measure)
    others = ["uvicorn", "granian-rsgi", "granian-wsgi", "flask-threads"]
    parties = {key: PARTIES[key] for key in others if key in dict(chosen(options))}
    yield from rounds_of("mix", parties, options.rounds if parties else 0, measure)


SHORT_CALLS = 20
HEAD_START = 0.5
# The long calls that httpipe alone is also measured beside, and how many seconds lie between them.
MANY_LONG = 50
MANY = {"httpipe-many": 0.05, "httpipe-at-once": 0}


def short(options):
    """Twenty fib(10) at once, half a second after 0, 1 or 2 long calls; the peers only as often as the
    table has rounds. httpipe alone also after 50."""
    long_num = long_enough()

    def beside(key, party, longs, round_, apart=0.05):
        what = f"short beside {longs} long {round_ + 1}/{options.pairs}: {party.name}"
        found = attempt(what, lambda: short_beside(party, longs, long_num, apart))
        about = {"party": key, "round": round_, "long": longs, "fib": long_num}
        return [about | found] if found else []

    parties = {"httpipe-elastic": ELASTIC} | {
        key: party
        for key, party in chosen(options)
        if not party.is_limit and not party.is_wrong and key not in ("httpipe-1", "httpipe-json")
    }
    for round_ in range(options.pairs):
        if round_ >= options.rounds:
            yield from beside("httpipe-elastic", ELASTIC, 2, round_)
            continue
        for longs in [0, 1, 2]:
            for key, party in turned(list(parties.items()), round_):
                yield from beside(key, party, longs, round_)
        for key, apart in MANY.items():
            yield from beside(key, WIDE, MANY_LONG, round_, apart)


def short_beside(party, longs, long_num, apart):
    # A new server for each, warmed by a single caller, because load would add workers.
    with Running(party, "fib") as running:
        # Wait for all workers, not only for the one that answered first.
        running.tree.wait_until_quiet(patience=3)
        load.checked_calls(party, "fib", running.port, connections=1, each=20)
        # Two are sent one after the other: at the same moment, one process might take both and leave
        # another one free.
        long_calls = load.Burst(party, "fib", running.port, [long_num] * longs, apart=apart)
        time.sleep(HEAD_START)
        took = load.Burst(party, "fib", running.port, [10] * SHORT_CALLS).finish()
        long_took = long_calls.finish()
    return {
        "p50_ms": (took[len(took) // 2 - 1] + took[len(took) // 2]) / 2,
        "max_ms": took[-1],
        "long_ms": long_took,
    }


def long_enough(seconds=1.2):
    """The `n` for which fib(n) takes this Python at least `seconds` without other load."""
    program = (
        "import time; from functions import fib; s = time.perf_counter(); fib(25);"
        "print(time.perf_counter() - s)"
    )
    done = subprocess.run(
        [PYTHON, "-c", program], env=environment(), capture_output=True, text=True, check=True
    )
    num, took = 25, float(done.stdout)
    while took < seconds:
        num, took = num + 1, took * 1.618
    return num


def idle_cpu(options):
    """The CPU time of an idle party, in milliseconds per second."""
    for key, party in chosen(options):
        cost = attempt(f"idle: {party.name}", lambda: while_nobody_asks(party, options))
        if cost is not None:
            yield {"party": key, "ms_a_second": cost * 1000}


def while_nobody_asks(party, options):
    with Running(party, "echo") as running:
        running.check()
        time.sleep(0.5)
        before, since = running.tree.cpu(), time.monotonic()
        time.sleep(options.seconds)
        return spent(before, running.tree.cpu()) / (time.monotonic() - since)


SCENARIOS = {
    "pairs": pairs,
    "pinned": pinned,
    "cache": cache,
    "functions": functions,
    "mix": mix,
    "short": short,
    "table": table,
    "threads": threads,
    "turns": turns,
    "wire": wire,
    "idle": idle_cpu,
}
