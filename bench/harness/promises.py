"""What httpipe promises: each row with the values of all rounds and the limit for their median.

A ratio is always taken within one round, between runs that followed each other; the median is
taken of the ratios. A row whose scenario did not run says so and is not left out.
"""

from dataclasses import dataclass
from functools import partial
from statistics import mean, median

from harness.parties import PARTIES

NOT_MEASURED = "not measured"
# What grows in the records of bodies: through httpipe, and through the least server that does the same.
EACH_WAY, EACH_WAY_LEAST = "bytes each way, 8 connections", "bytes each way, the least such server"


@dataclass
class Promise:
    what: str
    values: list
    limit: float
    unit: str = ""
    is_floor: bool = False

    def is_kept(self):
        found = median(self.values)
        return found >= self.limit if self.is_floor else found <= self.limit

    def row(self):
        promised = f"{'≥' if self.is_floor else '≤'} {self.limit:g}{self.unit}"
        if not self.values:
            return [self.what, NOT_MEASURED, "", "0", promised, ""]
        spread = f"{min(self.values):.3g}–{max(self.values):.3g}"
        found = f"{median(self.values):.3g}{self.unit}"
        kept = "yes" if self.is_kept() else "**no**"
        return [self.what, found, spread, str(len(self.values)), promised, kept]


NAMES = ["", "measured", "lowest–highest", "rounds", "promised", "kept"]


def promises(records, peers):
    """All promises, from the records of each scenario; `peers` are the peers to compare with."""
    yield from against_peers(records.get("pairs", []))
    yield from limits(records.get("pinned", []), records.get("cache", []))
    yield from functions(records.get("functions", []))
    yield from short(records.get("short", []), peers)
    yield from mix(records.get("mix", []))
    yield from threads(records.get("threads", []))
    yield from slowest(records.get("table", []), peers)
    yield from memory(records.get("table", []))
    yield from growth(records.get("growth", []))


def ratios_of(pairs, mine, theirs, value="cpu_us"):
    """One ratio for each pair of these two that was measured."""
    fitting = [pair for pair in pairs if (pair["mine"], pair["theirs"]) == (mine, theirs)]
    return [pair["a"][value] / pair["b"][value] for pair in fitting]


def against_peers(pairs):
    def cpu(theirs, mine="httpipe", value="cpu_us"):
        return ratios_of(pairs, mine, theirs, value)

    mode, granian = highest({key: cpu(key) for key in PARTIES if key.startswith("granian")})
    best = PARTIES[mode].name if mode else "granian, its best mode"
    yield Promise("CPU per request against uvicorn, bare ASGI", cpu("uvicorn"), 0.75)
    yield Promise("… with a worker that does JSON both ways", cpu("uvicorn", "httpipe-json"), 0.80)
    yield Promise(f"… against granian in its best mode ({best})", granian, 0.50)
    yield Promise("… against mosec", cpu("mosec"), 0.18)
    yield Promise("… against Flask + gunicorn", cpu("flask"), 0.065)
    yield Promise("… against a fixed hyper answer", cpu("hyper-fixed"), 2.3)
    throughput = cpu("uvicorn", value="rps")
    yield Promise("throughput against uvicorn, bare ASGI", throughput, 1.3, is_floor=True)


def functions(rounds):
    def cpu(theirs):
        return [it["httpipe-function"]["cpu_us"] / it[theirs]["cpu_us"] for it in rounds]

    yield Promise("CPU per call of a function against a loop over lines", cpu("httpipe-1"), 1.3)
    yield Promise("… against uvicorn with the same function", cpu("uvicorn"), 0.8)


def limits(pinned, cache):
    yield Promise(
        "one connection, one core: p50 against a fixed hyper answer plus a bare pipe round trip",
        [
            round_["httpipe"]["p50_us"] / (round_["hyper-fixed"]["p50_us"] + round_["pipe"]["p50_us"])
            for round_ in pinned
        ],
        1.4,
    )
    for log, limit in [("off", 1.3), ("on", 1.5)]:
        values = [
            round_[f"cache hit, access log {log}"]["cpu_us"] / round_["a fixed hyper answer"]["cpu_us"]
            for round_ in cache
        ]
        what = f"CPU of a cache hit against a fixed hyper answer, access log {log}"
        yield Promise(what, values, limit)


def short(records, peers):
    beside_two = [record for record in records if record["long"] == 2]
    waits = each_round(beside_two, "p50_ms")
    ours = [found["httpipe-elastic"] for found in waits if "httpipe-elastic" in found]
    yield Promise("20 short calls beside 2 long ones, 2..8 workers: p50", ours, 5, " ms")
    name, values = against_best("httpipe-elastic", waits, peers)
    yield Promise(f"… against the best peer ({name})", values, 1)
    for key, how in [("httpipe-many", ""), ("httpipe-at-once", ", all of them at once")]:
        of_it = [record for record in records if record["party"] == key]
        about = f"… beside 50 long ones, 2..64 workers{how}"
        for what, name, limit in [("p50", "p50_ms", 20), ("longest", "max_ms", 200)]:
            yield Promise(f"{about}: {what}", [record[name] for record in of_it], limit, " ms")
        what = f"{about}: all 50 are done, against 25 times two of them"
        yield Promise(what, long_done(of_it, beside_two), 1.05)


def long_done(many, beside_two):
    """How long it took until all long calls were done, against pair after pair of them: that is
    what they take where nothing is started for them and nobody steps back."""
    pair = {it["round"]: mean(it["long_ms"]) for it in beside_two if it["party"] == "httpipe-elastic"}
    return [
        max(record["long_ms"]) / (pair[record["round"]] * len(record["long_ms"]) / 2)
        for record in many
        if record["round"] in pair
    ]


def mix(records):
    rounds = [record for record in records if "httpipe" in record]
    for value, kind, limit, is_floor in [
        ("p99_ms", "p99", 1.5, False),
        ("rps", "throughput", 1.3, True),
    ]:
        values = [round_["httpipe"][value] / round_["httpipe-1"][value] for round_ in rounds]
        what = f"1 call in 500 a fib(24), 32 connections: {kind} against one in flight"
        yield Promise(what, values, limit, is_floor=is_floor)


def threads(records):
    runs = [record["by_threads"] for record in records if record["what"] == "a call"]
    values = [found["2"]["cpu_us"] / found["1"]["cpu_us"] for found in runs]
    yield Promise("CPU per call with `threads = 2` against 1, load generator on the same cores", values, 1.35)


def growth(records):
    by_round = partial(grown, records)

    def values(what, size, name):
        return list(by_round(what, size, name).values())

    few = by_round("workers, 64 connections", 2, "cpu_us")
    for size in [16, 64, 256]:
        many = by_round("workers, 64 connections", size, "cpu_us")
        found = [cost / few[round_] for round_, cost in many.items() if round_ in few]
        yield Promise(f"CPU per call at {size} workers against 2, 64 connections", found, 1.3)
    for what, limit in [("idle connections beside 64", 90), ("busy connections", 140)]:
        found = values(what, 10_000, "server_mb")
        yield Promise(f"memory of the server with 10,000 {what}", found, limit, " MB")
    found = values(EACH_WAY, 1_000_000, "server_cpu_us")
    yield Promise("CPU of the server for 1 MB each way", found, 700, " µs")


def grown(records, what, size, name):
    """A value of this point of growth in each round."""
    fitting = [it for it in records if (it["what"], it["size"]) == (what, size)]
    # Results that were kept from before there were rounds are of one.
    return {record.get("round", 0): record[name] for record in fitting}


def against_least(records, size):
    """What the least server that does the same as httpipe spends on a body of this size in each round,
    and how many times that httpipe spends."""
    least = grown(records, EACH_WAY_LEAST, size, "server_cpu_us")
    ours = grown(records, EACH_WAY, size, "server_cpu_us")
    ratios = [cost / least[round_] for round_, cost in ours.items() if round_ in least]
    return list(least.values()), ratios


def slowest(table, peers):
    """The p99.9 against that of the best peer, within each round."""
    runs = [record for record in table if record["kind"] == "run" and record["work"] == "echo"]
    for count in [8, 64, 256]:
        of_it = each_round([run for run in runs if run["connections"] == count], "p999_ms")
        name, values = against_best("httpipe", of_it, peers)
        what = f"p99.9 at {count} connections, echo, against the best peer ({name})"
        yield Promise(what, values, 1)


def memory(table):
    ours = [record for record in table if record["party"] == "httpipe"]
    starts = [record for record in ours if record["kind"] == "start"]
    most = max((run["connections"] for run in ours if run["kind"] == "run"), default=256)
    for value, limit, when in [
        ("server_idle_mb", 10, "idle"),
        ("server_after_mb", 30, f"after the run with {most} connections"),
    ]:
        values = [start[value] for start in starts]
        yield Promise(f"resident memory of the server process, {when}", values, limit, " MB")


def each_round(records, value):
    """The value of each party, for every round."""
    found = {}
    for record in records:
        found.setdefault(record["round"], {})[record["party"]] = record[value]
    return list(found.values())


def against_best(ours, rounds_, peers):
    """The name of the peer that is hardest to beat, and our value against its in each round."""
    ratios = {
        key: [found[ours] / found[key] for found in rounds_ if ours in found and key in found]
        for key in peers
    }
    nearest, values = highest(ratios)
    return PARTIES[nearest].name if nearest else "each", values


def highest(lists):
    """The name and the values of the list whose median is the highest."""
    found = {key: values for key, values in lists.items() if values}
    if not found:
        return None, []
    key = max(found, key=lambda name: median(found[name]))
    return key, found[key]
