"""The tables of the document, each from the records of one scenario, and their helpers."""

from math import log
from statistics import median

from harness.parties import ELASTIC, PARTIES, WIDE

NAMES = {key: party.name for key, party in PARTIES.items()} | {
    "httpipe-elastic": ELASTIC.name,
    "httpipe-many": WIDE.name,
    "httpipe-at-once": f"{WIDE.name}, the long ones at once",
}
# The configuration that the comparisons are about, and its variants.
OURS = [key for key in NAMES if key.startswith("httpipe")]
LIMITS = [key for key, party in PARTIES.items() if party.is_limit]
# Its name in tables that also have httpipe with more workers.
TWO_WORKERS = {"httpipe": "httpipe, 2 workers"}
# Peers that can be compared: they do the work, and their answers are right.
PEERS = [key for key, party in PARTIES.items() if key not in OURS + LIMITS and not party.is_wrong]


def table(records):
    """All parties in one table, then one table for each number of connections."""
    runs = [record for record in records if record["kind"] == "run"]
    starts = [record for record in records if record["kind"] == "start"]
    at = most_like(runs, 64)
    rps = cells(runs, "rps", work="echo", connections=at)
    best = cells(runs, "rps", work="echo", connections=at, of=max)
    columns = [
        (f"{name} ms", cells(runs, value, work="echo", connections=at), "{:.1f}")
        for name, value in [("p50", "p50_ms"), ("p99", "p99_ms"), ("p99.9", "p999_ms")]
    ]
    columns.append(("CPU µs", cells(runs, "cpu_us", work="echo", connections=at), "{:.1f}"))
    # A limit works nothing out: its echo is its fib.
    fib = {key: cost for key, cost in columns[3][1].items() if key in LIMITS}
    fib |= cells(runs, "cpu_us", work="fib", connections=at)
    columns.append(("CPU µs, fib(10)", fib, "{:.1f}"))
    columns.append(("memory MB (PSS)", grouped(starts, "party", "pss_mb"), "{:.0f}"))
    columns.append(("processes", grouped(starts, "party", "processes"), "{:.0f}"))
    columns.append(("first answer ms", grouped(starts, "party", "first_answer_ms"), "{:.0f}"))
    cost = columns[3][1]
    order = sorted(rps, key=lambda key: cost.get(key, 0))
    rows = [
        [strong(key), f"{rps[key]:,.0f} ({best[key]:,.0f})"]
        + [form.format(found[key]) if key in found else "" for _, found, form in columns]
        for key in order
    ]
    names = ["", "requests/s median (best)", *(name for name, _, _ in columns)]
    parts = [f"## Echo, {at} connections", grid(names, rows)]
    for work in ["echo", "fib"]:
        parts += [by_connections(runs, work, order)]
    return "\n\n".join(parts + [truth(starts)])


def by_connections(runs, work, order):
    counts = sorted({run["connections"] for run in runs})
    rows = []
    for key in order:
        row = [strong(key)]
        if key not in {run["party"] for run in runs if run["work"] == work}:
            continue
        for count in counts:
            found = {
                value: cells(runs, value, work=work, connections=count).get(key)
                for value in ["rps", "p50_ms", "p99_ms", "p999_ms", "cpu_us"]
            }
            shown = "{rps:,.0f} · {p50_ms:.2f} / {p99_ms:.1f} / {p999_ms:.1f} · {cpu_us:.1f}"
            row.append(shown.format(**found) if None not in found.values() else "")
        rows.append(row)
    title = "Echo" if work == "echo" else "fib(10)"
    names = ["", *(f"{count} connection{'s' * (count > 1)}" for count in counts)]
    about = "requests/s · p50 / p99 / p99.9 in ms · CPU µs a request"
    return f"## {title} by connections\n\n{about}\n\n{grid(names, rows)}"


def truth(starts):
    """The parties that gave wrong answers."""
    words = []
    for key in dict.fromkeys(record["party"] for record in starts):
        of_it = [record for record in starts if record["party"] == key]
        total = {name: sum(r[name] for r in of_it) for name in ["asked", "wrong", "unanswered"]}
        if total["wrong"] or total["unanswered"]:
            words.append(
                f"{NAMES[key]}: {total['wrong']} wrong and {total['unanswered']} unanswered of"
                f" {total['asked']} calls from 16 connections."
            )
    others = "All checked calls of the others, before and after each visit, were right."
    return "**Wrong answers.** " + " ".join([*words, others])


def short(records):
    longs = sorted({record["long"] for record in records})
    rows = []
    for key in dict.fromkeys(record["party"] for record in records):
        row = [f"**{TWO_WORKERS[key]}**" if key in TWO_WORKERS else strong(key)]
        for long in longs:
            found = [r for r in records if r["party"] == key and r["long"] == long]
            if not found:
                row.append("")
                continue
            p50, most = (mid([record[name] for record in found]) for name in ["p50_ms", "max_ms"])
            row.append(f"{p50:,.1f} / {most:,.1f}")
        rows.append(row)
    names = ["p50 / longest, ms", *(f"{long} long" for long in longs)]
    return (
        f"## Short calls beside long ones\n\n20 times fib(10) at once, half a second after 0, 1, 2"
        f" or 50 calls of fib({records[0]['fib']}) that came 50 ms apart unless the row says otherwise,"
        " on a freshly started server with 2 workers"
        " (httpipe also with `2..8` and `2..64`, where it may start more).\n\n" + grid(names, rows)
    )


def mix(records):
    values = ["rps", "p50_ms", "p99_ms", "p999_ms", "cpu_us"]
    rows = [
        [strong(key), *(f"{mid([run[value] for run in runs]):,.1f}" for value in values)]
        for key, runs in by_name(records).items()
    ]
    names = ["", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs"]
    return f"## One call in 500 is a fib(24), 32 connections\n\n{grid(names, rows)}"


def pinned(records):
    rows = [
        [PINNED_NAMES[key], f"{mid([run['p50_us'] for run in runs]):.1f}"]
        for key, runs in by_name(records).items()
    ]
    least = [
        round_["hyper-pipe"]["p50_us"] / (round_["hyper-fixed"]["p50_us"] + round_["pipe"]["p50_us"])
        for round_ in records
        if "hyper-pipe" in round_
    ]
    return "" if not least else (
        "## One connection, all processes on one core\n\nThe load generator too: what httpipe adds to"
        " HTTP and a pipe. Put together they cost more than one after the other: with neither check,"
        f" count, limit nor log (`bench/probes/src/bin/hyper-pipe.rs`) {mid(least):.2f} times their sum.\n\n"
        + grid(["", "p50 µs"], rows)
    )


PINNED_NAMES = {
    "hyper-fixed": "*a fixed hyper answer*",
    "pipe": "*a pipe to the same script, no HTTP*",
    "hyper-pipe": "*hyper and that pipe, nothing checked*",
    "httpipe": "**httpipe**",
    "httpipe-1": "**httpipe, one in flight**",
}


def cache(records):
    rows = []
    for what, runs in by_name(records).items():
        rps, p99, cpu = (mid([run[value] for run in runs]) for value in ["rps", "p99_ms", "cpu_us"])
        name = f"*{what}*" if "hyper" in what else f"**httpipe**, {what}"
        rows.append([name, f"{rps:,.0f}", f"{p99:.1f}", f"{cpu:.1f}"])
    names = ["", "requests/s", "p99 ms", "CPU µs"]
    return f"## Cache hits and fixed answers, 64 connections\n\n{grid(names, rows)}"


def threads(records):
    rows = []
    for what in dict.fromkeys(record["what"] for record in records):
        rounds = [record["by_threads"] for record in records if record["what"] == what]
        for value, unit in [("rps", "requests/s"), ("p99_ms", "p99 ms"), ("cpu_us", "CPU µs")]:
            one, two = (mid([found[n][value] for found in rounds]) for n in ["1", "2"])
            ratio = mid([found["2"][value] / found["1"][value] for found in rounds])
            rows.append([f"{what}, {unit}", f"{one:,.1f}", f"{two:,.1f}", f"{ratio:.2f}"])
    return (
        "## A second thread, 64 connections\n\n`threads = 2` against 1, with the load generator"
        " on the same cores: what threads are worth shows only where there are cores to spare."
        "\n\n" + grid(["", "1 thread", "2 threads", "ratio of pairs"], rows)
    )


def wire(records):
    shapes = list(dict.fromkeys((r["in_flight"], r["pinned"]) for r in records))
    rows = []
    for child in dict.fromkeys(record["child"] for record in records):
        row = [child]
        for in_flight, is_pinned in shapes:
            about = (child, in_flight, is_pinned)
            of_it = [r for r in records if (r["child"], r["in_flight"], r["pinned"]) == about]
            rate = mid([record["messages"] / record["seconds"] for record in of_it])
            trip, cost = (mid([r[name] for r in of_it]) for name in ["p50_us", "child_cpu_us"])
            row.append(f"{rate / 1000:,.0f}k · {trip:.1f} · {cost:.1f}" if of_it else "")
        rows.append(row)
    names = [""] + [
        f"{in_flight} in flight{', both on one core' * is_pinned}" for in_flight, is_pinned in shapes
    ]
    return (
        "## The wire alone\n\nOne parent, one child, lines through two pipes (or one pair of"
        " sockets), no HTTP.\n\nmessages/s · round trip p50 in µs · CPU µs of the child a message"
        "\n\n" + grid(names, rows)
    )


def idle(records):
    found = sorted((record["ms_a_second"], record["party"]) for record in records)
    rows = [[strong(key), f"{cost:.2f}"] for cost, key in found]
    return f"## CPU while idle\n\n{grid(['', 'CPU ms a second'], rows)}"


def growth(records):
    rows = [
        [
            record["what"],
            f"{record['size']:,}",
            f"{record['rps']:,.0f}",
            shown(record["p50_ms"]) + " / " + shown(record["p99_ms"]),
            shown(record["cpu_us"]),
            shown(record["server_cpu_us"]),
            shown(record["server_mb"]),
            f"{record['not_ok'] + record['failed']}",
        ]
        for record in points(records)
    ]
    names = ["what grows", "to", "requests/s", "p50 / p99 ms", "CPU µs a request"]
    names += ["server only", "server MB", "not 200"]
    return (
        "## How costs grow\n\nhttpipe alone, with two workers unless noted otherwise. The least such server is"
        " hyper and two pipes that check nothing (`bench/probes/src/bin/hyper-body.rs`). Memory is that of the server itself.\n\n" + grid(names, rows) + "\n\n"
        "How the CPU of one request grows, as a power of what grows, over the steepest tenfold"
        " step or more. 0 is none at all, a quadratic cost would be 1; for bytes, where the work"
        " itself grows, it would be 2.\n\n" + grid(["what grows", "power", "quadratic"], powers(records))
    )


def books(records):
    rows = [[f"{record['size']:,}", f"{record['cpu_us'] * 1000:,.0f}"] for record in records]
    return (
        "## The pool's books alone\n\nOne call in and one out, while others wait: what a pool decides, without"
        " connections, pipes and processes.\n\n" + grid(["calls that wait", "CPU ns a call"], rows)
    )


def seed(records):
    alone = "one process, nothing in front"
    rows = []
    for name, runs in by_name(records).items():
        seconds = mid([run["seconds"] for run in runs])
        ratio = mid([record[name]["seconds"] / record[alone]["seconds"] for record in records])
        rows.append([f"*{name}*" if name == alone else f"`{name}`", f"{seconds:.2f}", f"{ratio:.2f}"])
    return (
        "## The seed's switches\n\nfib(1), fib(2), … fib(33), all asked at once, with the configurations of"
        " [examples/seed](../examples/seed): seconds until the last answer.\n\n"
        + grid(["", "seconds", "against one process"], rows)
    )


def powers(records):
    """The steepest growth of each kind, and whether it is close to quadratic."""
    rows = []
    for what, points in curves(records).items():
        power = max(steepness(points), default=None)
        if power is not None:
            is_quadratic = power > quadratic_power(what) - 0.4
            rows.append([what, f"{power:.2f}", "**yes**" if is_quadratic else "no"])
    return rows


def steepness(points):
    for i, (less, cheap) in enumerate(points):
        for more, dear in points[i + 1 :]:
            if more >= 10 * less:
                yield log(dear / cheap) / log(more / less)


def quadratic_power(what):
    return 2 if what.startswith("bytes") else 1


def points(records):
    """One record for each point: the medians of its rounds, and all answers that were not 200."""
    by_point = {}
    for record in records:
        by_point.setdefault((record["what"], record["size"]), []).append(record)
    names = ["rps", "p50_ms", "p99_ms", "cpu_us", "server_cpu_us", "server_mb"]
    for (what, size), of_it in by_point.items():
        found = {name: mid([it[name] for it in of_it if it[name] is not None]) for name in names}
        failed = {name: sum(it[name] for it in of_it) for name in ["not_ok", "failed"]}
        yield {"what": what, "size": size} | found | failed


def curves(records):
    """(size, CPU per request) for everything that grows, without size 0, which has no ratio."""
    found = {}
    for record in points(records):
        if record["size"] > 0:
            found.setdefault(record["what"], []).append((record["size"], record["cpu_us"]))
    return found


SECTIONS = {
    "table": table,
    "short": short,
    "mix": mix,
    "pinned": pinned,
    "cache": cache,
    "threads": threads,
    "wire": wire,
    "idle": idle,
    "growth": growth,
    "books": books,
    "seed": seed,
}


# Helpers.


def most_like(runs, connections):
    """The number of connections nearest to this one."""
    return min({run["connections"] for run in runs}, key=lambda count: abs(count - connections))


def mid(values):
    return median(values) if values else None


def grouped(records, by, value, of=median):
    groups = {}
    for record in records:
        groups.setdefault(record[by], []).append(record[value])
    return {key: of(values) for key, values in groups.items()}


def cells(runs, value, of=median, **where):
    fitting = [run for run in runs if all(run[name] == wanted for name, wanted in where.items())]
    return grouped(fitting, "party", value, of)


def by_name(records):
    """Turns records of rounds into the runs of each party."""
    found = {}
    for record in records:
        for name, run in record.items():
            found.setdefault(name, []).append(run)
    return found


def shown(value):
    if value is None:
        return "–"
    return f"{value:,.1f}" if value >= 10 else f"{value:.2f}"


def strong(key):
    if key in OURS:
        return f"**{NAMES[key]}**"
    return f"*{NAMES[key]}*" if key in LIMITS else NAMES[key]


def grid(names, rows):
    lines = [names, ["---"] + ["---:"] * (len(names) - 1), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
