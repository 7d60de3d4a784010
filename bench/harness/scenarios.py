"""What is measured, each a function from options to a list of plain records."""

import json
import subprocess
import time

from harness import load
from harness.install import environment, say
from harness.load import measured
from harness.parties import CACHED, CACHED_SILENT, ELASTIC, PARTIES, WORKS
from harness.places import PROBES, PYTHON, RUNS, WORKERS
from harness.processes import spent


class Running:
    """A party that runs and has answered once; gone at the end of the `with`."""

    def __init__(self, party, work, core=None):
        self.party, self.work, self.port = party, work, load.free_port()
        since = time.monotonic()
        directory = RUNS / str(self.port)
        self.tree = party.start(work, self.port, directory, core)
        try:
            took = load.wait_for_first_answer(self.tree, party, work, self.port, since)
        except BaseException:
            self.tree.stop()
            raise
        self.first_answer_ms = took * 1000

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tree.stop()

    def check(self):
        return load.checked_calls(self.party, self.work, self.port)

    def load(self, connections, options, work=None, core=None, seconds=None, text=None):
        work = work or self.work
        return measured(
            self.tree,
            self.party,
            work,
            self.port,
            connections,
            seconds or options.seconds,
            threads=options.wrk_threads,
            core=core,
            text=text,
        )

    def warm_up(self, options):
        self.load(16, options, seconds=1)


def chosen(options):
    keys = options.only or list(PARTIES)
    return [(key, PARTIES[key]) for key in keys]


def turned(items, by):
    """Each round begins with another party, so that none always follows the same one."""
    by %= max(1, len(items))
    return items[by:] + items[:by]


def table(options):
    """Every party, both works, all numbers of connections; one record for each run."""
    records = []
    for round_ in range(options.rounds):
        for key, party in turned(chosen(options), round_):
            for work in WORKS:
                say(f"table {round_ + 1}/{options.rounds}: {party.name}, {work}")
                records += visit(key, party, work, round_, options)
    return records


def visit(key, party, work, round_, options):
    with Running(party, work) as running:
        start = {
            "kind": "start",
            "party": key,
            "work": work,
            "round": round_,
            "first_answer_ms": running.first_answer_ms,
            "server_idle_mb": running.tree.server_rss_mb(),
            "idle_pss_mb": running.tree.pss_mb(),
            **running.check(),
        }
        running.warm_up(options)
        runs = []
        for connections in options.connections:
            result = running.load(connections, options)
            about = {"kind": "run", "party": key, "work": work, "round": round_}
            runs.append({**about, "connections": connections, **result})
        start["pss_mb"] = running.tree.pss_mb()
        start["server_after_mb"] = running.tree.server_rss_mb()
        after = running.check()
        start |= {name: start[name] + after[name] for name in after}
    return [start, *runs]


# The peers that have a target, each measured right after httpipe.
PAIRS = [
    ("httpipe", "uvicorn"),
    ("httpipe-json", "uvicorn"),
    ("httpipe", "granian-rsgi"),
    ("httpipe", "granian-asgi"),
    ("httpipe", "granian-wsgi"),
    ("httpipe", "mosec"),
    ("httpipe", "flask"),
    ("httpipe", "hyper-fixed"),
]


def pairs(options):
    """httpipe and one peer, one right after the other, echo at 64 connections."""
    records = []
    for round_ in range(options.pairs):
        for mine, theirs in PAIRS:
            if options.only and theirs not in options.only:
                continue
            say(f"pair {round_ + 1}/{options.pairs}: {mine} and {theirs}")
            order = [mine, theirs] if round_ % 2 == 0 else [theirs, mine]
            found = {key: one(PARTIES[key], "echo", 64, options) for key in order}
            records.append(
                {"mine": mine, "theirs": theirs, "a": found[mine], "b": found[theirs]}
            )
    return records


def one(party, work, connections, options, **more):
    with Running(party, work) as running:
        running.check()
        running.warm_up(options)
        return running.load(connections, options, **more)


def cache(options):
    """A cache hit against an answer that nobody had to look up, 64 connections."""
    parties = {
        "hyper-fixed": PARTIES["hyper-fixed"],
        "hit, access log on": CACHED,
        "hit, access log off": CACHED_SILENT,
    }
    records = []
    for round_ in range(options.pairs):
        for name, party in turned(list(parties.items()), round_):
            say(f"cache {round_ + 1}/{options.pairs}: {name}")
            records.append({"what": name, "round": round_, **one(party, "fib", 64, options)})
    return records


def pinned(options):
    """One connection, everybody on one core: what httpipe adds to HTTP and a pipe."""
    records = []
    for round_ in range(options.pairs):
        say(f"pinned {round_ + 1}/{options.pairs}")
        record = {"round": round_}
        for key in ["hyper-fixed", "httpipe", "httpipe-1"]:
            with Running(PARTIES[key], "echo", core=0) as running:
                running.load(1, options, core=0, seconds=1)
                result = running.load(1, options, core=0)
            record[key] = {"p50_us": result["p50_ms"] * 1000, "cpu_us": result["cpu_us"]}
        record["pipe"] = pipe([PYTHON, WORKERS / "echo.py"], 1, options, core=0)
        records.append(record)
    return records


def pipe(command, in_flight, options, core=None):
    """Round trips through two pipes, with nothing else."""
    pin = [] if core is None else ["taskset", "-c", str(core)]
    probe = [*pin, PROBES / "wire", in_flight, options.seconds, *command]
    done = subprocess.run(
        list(map(str, probe)), env=environment(), capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


WIRES = {
    "native echo (cat)": ["cat"],
    "Python, `for line in sys.stdin: print(…, flush=True)`": [PYTHON, WORKERS / "wire_print.py"],
    "Python, `readline`, `write`, `flush` on the buffers": [PYTHON, WORKERS / "wire_buffers.py"],
    "Python, one `os.read`, one `os.write`": [PYTHON, WORKERS / "wire_batches.py"],
}


def wire(options):
    """The pipe alone, free and with both ends on one core."""
    records = []
    for round_ in range(options.rounds):
        say(f"wire {round_ + 1}/{options.rounds}")
        for name, command in WIRES.items():
            for in_flight, core in [(1, 0), (1, None), (16, None), (64, None)]:
                about = {"child": name, "in_flight": in_flight, "pinned": core is not None}
                records.append({**about, **pipe(command, in_flight, options, core)})
    return records


def mix(options):
    """1 call in 500 is a fib(24), 32 connections: what the short ones lose by it."""
    keys = [key for key in ["httpipe", "httpipe-1", "uvicorn", "granian-rsgi"]
            if not options.only or key in options.only or key.startswith("httpipe")]
    records = []
    for round_ in range(options.pairs):
        for key in turned(keys, round_):
            say(f"mix {round_ + 1}/{options.pairs}: {key}")
            with Running(PARTIES[key], "fib") as running:
                running.check()
                running.warm_up(options)
                result = running.load(32, options, work="mix")
            records.append({"party": key, "round": round_, **result})
    return records


SHORT_CALLS = 20
HEAD_START = 0.5


def short(options):
    """Twenty fib(10) at once, half a second after 0, 1 or 2 long calls."""
    long_num = long_enough()
    parties = dict(chosen(options))
    for limit in [key for key, party in parties.items() if party.is_limit or party.is_wrong]:
        del parties[limit]
    parties = {"httpipe-elastic": ELASTIC, **parties}
    records = []
    for round_ in range(options.rounds):
        for key, party in turned(list(parties.items()), round_):
            say(f"short beside long {round_ + 1}/{options.rounds}: {party.name}")
            for longs in [0, 1, 2]:
                found = short_beside(party, longs, long_num)
                records.append({"party": key, "long": longs, "fib": long_num, **found})
    return records


def short_beside(party, longs, long_num):
    # Fresh for each, and warmed by one caller only: a busy past would have made it grow.
    with Running(party, "fib") as running:
        load.checked_calls(party, "fib", running.port, connections=1, each=20)
        long_calls = load.Burst(party, "fib", running.port, [long_num] * longs)
        time.sleep(HEAD_START)
        took = load.Burst(party, "fib", running.port, [10] * SHORT_CALLS).finish()
        long_took = long_calls.finish()
    return {
        "p50_ms": (took[len(took) // 2 - 1] + took[len(took) // 2]) / 2,
        "max_ms": took[-1],
        "long_ms": long_took,
    }


def long_enough(seconds=1.5):
    """The fib that takes this Python at least so long when it is alone."""
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
    """What a party costs while nobody asks, in CPU milliseconds a second."""
    records = []
    for key, party in chosen(options):
        say(f"idle: {party.name}")
        with Running(party, "echo") as running:
            running.check()
            time.sleep(0.5)
            before, since = running.tree.cpu(), time.monotonic()
            time.sleep(options.seconds)
            cost = spent(before, running.tree.cpu()) / (time.monotonic() - since)
        records.append({"party": key, "ms_a_second": cost * 1000})
    return records


SCENARIOS = {
    "table": table,
    "pairs": pairs,
    "short": short,
    "mix": mix,
    "pinned": pinned,
    "cache": cache,
    "wire": wire,
    "idle": idle_cpu,
}
