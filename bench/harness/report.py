"""From records to tables, pictures and `docs/benchmarks.md`. Nothing here measures."""

import json
import os
import platform
from statistics import median

from harness.parties import ELASTIC, PARTIES
from harness.pictures import bars
from harness.places import DOCUMENT, PICTURES

NAMES = {key: party.name for key, party in PARTIES.items()} | {"httpipe-elastic": ELASTIC.name}
# The configuration that the comparisons are about, and its variants.
OURS = [key for key in NAMES if key.startswith("httpipe")]
LIMITS = [key for key, party in PARTIES.items() if party.is_limit]
# Peers whose result may be compared: they do the work, and their answers are right.
PEERS = [key for key, party in PARTIES.items() if key not in OURS + LIMITS and not party.is_wrong]


def machine():
    """What the numbers belong to."""
    model = "?"
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(pages / 2**30, 1),
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "?"),
    }


def markdown(results):
    """The whole document."""
    parts = [head(results), targets(results)]
    for scenario, write in SECTIONS.items():
        records = results["records"].get(scenario)
        if records:
            parts.append(write(records))
    parts += [worse(results), method(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_documents(results, text):
    """The document, its pictures, and the numbers they are made of."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    DOCUMENT.write_text(text)
    kept = json.dumps(results, separators=(",", ":"), ensure_ascii=False)
    (PICTURES / "results.json").write_text(kept + "\n")
    for name, picture in pictures(results).items():
        (PICTURES / name).write_text(picture)


def pictures(results):
    made = {}
    runs = of_kind(results, "run")
    if runs:
        at = most_like(runs, 64)
        costs = cells(runs, "cpu_us", work="echo", connections=at)
        title = f"CPU per request, echo, {at} connections (µs, server and workers; shorter is better)"
        made["cpu.svg"] = bars(title, named(costs), marked=marked())
    short = [record for record in results["records"].get("short", []) if record["long"] == 2]
    if short:
        waits = grouped(short, "party", "p50_ms")
        title = "20 short calls beside 2 long ones: median wait of a short one (ms, log scale)"
        made["short.svg"] = bars(title, named(waits), marked=marked(), is_log=True)
    return made


# Sections.


def head(results):
    about, settings = results["machine"], results["settings"]
    lines = [
        "# Benchmarks",
        "",
        "Written by `bench/run`; do not edit it by hand.",
        "",
        f"- **Machine**: {about['cores']} cores of {about['cpu']}, {about['memory_gb']} GB,"
        f" Linux {about['kernel']}, {about['system']}; load before the run"
        f" {settings['load_before']:.2f}",
        f"- **Date**: {results['date']}, **command**: `{settings['command']}`",
        f"- **Versions**: {', '.join(f'{k} {v}' for k, v in results['versions'].items())}",
        "",
        "The load generator runs on the same cores. Throughput moves with whatever else the host"
        " does; **CPU per request of the whole process tree is the steady figure**. Compare"
        " numbers of this page with each other only.",
    ]
    if settings["quick"]:
        lines += ["", "**A quick run: it shows that everything works, its numbers mean nothing.**"]
    if pictures(results):
        lines += [""] + [f"![{name}](benchmarks/{name})" for name in pictures(results)]
    return "\n".join(lines)


def targets(results):
    """What httpipe promises, and what came out."""
    rows = [
        [what, f"{value:.3g}{unit}", f"{'≤' if at_most else '≥'} {limit:g}{unit}", verdict]
        for what, value, limit, unit, at_most in promises(results)
        if value is not None
        for verdict in ["yes" if (value <= limit) == at_most or value == limit else "**no**"]
    ]
    if not rows:
        return ""
    title = "## What is promised\n\nMedians; a ratio is taken within each interleaved pair."
    return title + "\n\n" + grid(["", "measured", "promised", "kept"], rows)


def promises(results):
    """Each promise: what, measured, limit, unit, is the limit an upper one."""
    records = results["records"]
    pair = lambda theirs, mine="httpipe", value="cpu_us": ratio(  # noqa: E731
        records.get("pairs", []), mine, theirs, value
    )
    granian = [pair(key) for key in PEERS if key.startswith("granian") and pair(key)]
    yield "CPU per request against uvicorn, bare ASGI", pair("uvicorn"), 0.75, "", True
    json_ours = pair("uvicorn", "httpipe-json")
    yield "… with a worker that does JSON both ways", json_ours, 0.80, "", True
    yield "… against granian (its best mode)", max(granian, default=None), 0.50, "", True
    yield "… against mosec", pair("mosec"), 0.18, "", True
    yield "… against Flask + gunicorn", pair("flask"), 0.065, "", True
    yield "… against a fixed hyper answer", pair("hyper-fixed"), 2.3, "", True
    more = pair("uvicorn", value="rps")
    yield "throughput against uvicorn, bare ASGI", more, 1.3, " times", False
    pinned = [
        min(record["httpipe"]["p50_us"], record["httpipe-1"]["p50_us"])
        / (record["hyper-fixed"]["p50_us"] + record["pipe"]["p50_us"])
        for record in records.get("pinned", [])
    ]
    yield "one connection, one core: p50 against HTTP and pipe alone", mid(pinned), 1.25, "", True
    for log, limit in [("off", 1.3), ("on", 1.5)]:
        what = f"CPU of a cache hit against a fixed hyper answer, access log {log}"
        yield what, cache_ratio(records.get("cache", []), f"hit, access log {log}"), limit, "", True
    short = {
        key: value
        for key, value in grouped(
            [record for record in records.get("short", []) if record["long"] == 2],
            "party",
            "p50_ms",
        ).items()
        if key == "httpipe-elastic" or key in PEERS
    }
    ours = short.pop("httpipe-elastic", None)
    yield "20 short calls beside 2 long ones, 2..8 workers: p50", ours, 5, " ms", True
    if ours is not None and short:
        yield "… against the best peer", ours / min(short.values()), 1, "", True
    mix = records.get("mix", [])
    for value, limit, at_most in [("p99_ms", 1.5, True), ("rps", 1.3, False)]:
        found = grouped(mix, "party", value)
        both = "httpipe" in found and "httpipe-1" in found
        share = found["httpipe"] / found["httpipe-1"] if both else None
        kind = "p99" if at_most else "throughput"
        yield f"1 call in 500 long: {kind} against one in flight", share, limit, "", at_most
    starts = [r for r in of_kind(results, "start") if r["party"] == "httpipe"]
    for value, limit, when in [("server_idle_mb", 10, "idle"), ("server_after_mb", 30, "after load")]:
        memory = mid([record[value] for record in starts])
        yield f"resident memory of the server itself, {when}", memory, limit, " MB", True


def table(records):
    """Everybody at a glance, then by connections."""
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
    fib = cells(runs, "cpu_us", work="fib", connections=at)
    columns.append(("CPU µs, fib(10)", fib, "{:.1f}"))
    columns.append(("memory MB (PSS)", grouped(starts, "party", "pss_mb"), "{:.0f}"))
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
    """Whose answers were not right."""
    words = []
    for key in dict.fromkeys(record["party"] for record in starts):
        of_it = [record for record in starts if record["party"] == key]
        total = {name: sum(r[name] for r in of_it) for name in ["asked", "wrong", "unanswered"]}
        if total["wrong"] or total["unanswered"]:
            words.append(
                f"{NAMES[key]}: {total['wrong']} wrong and {total['unanswered']} unanswered of"
                f" {total['asked']} calls from 16 connections."
            )
    others = "Every answer of all others was checked before and after each visit, and right."
    return "**Wrong answers.** " + " ".join([*words, others])


def short(records):
    longs = sorted({record["long"] for record in records})
    rows = []
    for key in dict.fromkeys(record["party"] for record in records):
        row = [strong(key)]
        for long in longs:
            found = [r for r in records if r["party"] == key and r["long"] == long]
            p50, most = (mid([record[name] for record in found]) for name in ["p50_ms", "max_ms"])
            row.append(f"{p50:,.1f} / {most:,.1f}")
        rows.append(row)
    names = ["p50 / longest, ms", *(f"{long} long" for long in longs)]
    return (
        f"## Short calls beside long ones\n\n20 times fib(10) at once, half a second after 0, 1 or"
        f" 2 calls of fib({records[0]['fib']}), on a freshly started server with 2 workers"
        " (httpipe also with `2..8`, where it may start more).\n\n" + grid(names, rows)
    )


def mix(records):
    values = ["rps", "p50_ms", "p99_ms", "p999_ms", "cpu_us"]
    found = {value: grouped(records, "party", value) for value in values}
    rows = [
        [strong(key), *(f"{found[value][key]:,.1f}" for value in values)] for key in found["rps"]
    ]
    names = ["", "requests/s", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs"]
    return f"## One call in 500 is a fib(24), 32 connections\n\n{grid(names, rows)}"


def pinned(records):
    rows = [
        ["a fixed hyper answer", f"{mid([r['hyper-fixed']['p50_us'] for r in records]):.1f}"],
        ["a pipe to the same script", f"{mid([r['pipe']['p50_us'] for r in records]):.1f}"],
        ["**httpipe**", f"{mid([r['httpipe']['p50_us'] for r in records]):.1f}"],
        ["**httpipe, one in flight**", f"{mid([r['httpipe-1']['p50_us'] for r in records]):.1f}"],
    ]
    return "## One connection, everybody on one core\n\n" + grid(["", "p50 µs"], rows)


def cache(records):
    rows = []
    for what in dict.fromkeys(record["what"] for record in records):
        of_it = [record for record in records if record["what"] == what]
        name = {"hyper-fixed": "a fixed hyper answer"}.get(what, f"**httpipe**, {what}")
        values = [mid([record[value] for record in of_it]) for value in ["rps", "p99_ms", "cpu_us"]]
        rows.append([name, f"{values[0]:,.0f}", f"{values[1]:.1f}", f"{values[2]:.1f}"])
    names = ["", "requests/s", "p99 ms", "CPU µs"]
    return f"## A cache hit, 64 connections\n\n{grid(names, rows)}"


def wire(records):
    shapes = list(dict.fromkeys((r["in_flight"], r["pinned"]) for r in records))
    rows = []
    for child in dict.fromkeys(record["child"] for record in records):
        row = [child]
        for in_flight, is_pinned in shapes:
            of_it = [
                record
                for record in records
                if (record["child"], record["in_flight"], record["pinned"])
                == (child, in_flight, is_pinned)
            ]
            rate = mid([record["messages"] / record["seconds"] for record in of_it])
            row.append(f"{rate / 1000:,.0f}k · {mid([r['p50_us'] for r in of_it]):.1f} µs")
        rows.append(row)
    names = ["messages/s · round trip p50"] + [
        f"{in_flight} in flight{', both on one core' * is_pinned}" for in_flight, is_pinned in shapes
    ]
    return f"## The wire alone\n\nOne parent, one child, lines through two pipes.\n\n{grid(names, rows)}"


def idle(records):
    found = sorted((record["ms_a_second"], record["party"]) for record in records)
    rows = [[strong(key), f"{cost:.2f}"] for cost, key in found]
    return f"## While nobody asks\n\n{grid(['', 'CPU ms a second'], rows)}"


def growth(records):
    rows = [
        [
            record["what"],
            f"{record['size']:,}",
            f"{record['rps']:,.0f}",
            f"{record['p50_ms']:,.1f} / {record['p99_ms']:,.1f}",
            f"{record['cpu_us']:,.1f}",
            f"{record['server_mb']:,.0f}",
            f"{record['not_ok'] + record['failed']}",
        ]
        for record in records
    ]
    names = ["what grows", "to", "requests/s", "p50 / p99 ms", "CPU µs", "server MB", "not 200"]
    return (
        "## Costs grow as the work does\n\nhttpipe alone, two workers where nothing else is said."
        " Memory is that of the server itself.\n\n" + grid(names, rows)
    )


SECTIONS = {
    "table": table,
    "short": short,
    "mix": mix,
    "pinned": pinned,
    "cache": cache,
    "wire": wire,
    "idle": idle,
    "growth": growth,
}


def worse(results):
    """Every cell in which a peer that does the work is ahead of httpipe as it comes."""
    found = []
    runs = of_kind(results, "run")
    for work in ["echo", "fib"]:
        for count in sorted({run["connections"] for run in runs}):
            for value, words, is_less in [
                ("rps", "requests/s", False),
                ("p50_ms", "ms p50", True),
                ("p99_ms", "ms p99", True),
                ("p999_ms", "ms p99.9", True),
                ("cpu_us", "CPU µs", True),
            ]:
                values = cells(runs, value, work=work, connections=count)
                where = f"{work}, {count} connection{'s' * (count > 1)}"
                found += ahead(values, "httpipe", where, words, is_less)
    starts = of_kind(results, "start")
    for value, words in [("pss_mb", "MB"), ("first_answer_ms", "ms to the first answer")]:
        found += ahead(grouped(starts, "party", value), "httpipe", "start", words, True)
    short = results["records"].get("short", [])
    for long in sorted({record["long"] for record in short}):
        values = grouped([r for r in short if r["long"] == long], "party", "p50_ms")
        where = f"short calls beside {long} long"
        found += ahead(values, "httpipe-elastic", where, "ms p50", True)
    if not runs and not short:
        return ""
    lines = [f"- {line}" for line in found] or ["- Nowhere in what was measured here."]
    return (
        "## Where a peer is better\n\nFound by the script: each place where a peer with right"
        " answers is ahead of httpipe as it comes.\n\n" + "\n".join(lines) + "\n\nAnd what no"
        " table shows: as the work per call grows, all of these become equal. At 1 ms of Python a"
        " call the queue, the balance, memory and behaviour under faults are the difference, not"
        " the overhead. Who needs nothing but an ASGI application in one process has a simpler"
        " thing in uvicorn or granian: no second process, no wire, streaming, WebSockets, TLS."
    )


def ahead(values, ours, where, words, is_less):
    """Lines for the peers that beat ours."""
    if ours not in values:
        return []
    mine = values[ours]
    for key in PEERS:
        if key in values and (values[key] < mine if is_less else values[key] > mine):
            yield f"{where}: {NAMES[key]}, {values[key]:,.1f} {words} against {mine:,.1f}"


def method(results):
    settings = results["settings"]
    return f"""\
## How it is measured

- One command, `bench/run`, installs the peers below a directory of its own, starts each with the
  same Python functions (`bench/peers/functions.py`), checks its answers, and loads it with `wrk`.
- Interleaved: every round visits everybody, each alone on the machine, and begins with another;
  {settings['rounds']} rounds, {settings['seconds']:g} s each. The ratios under "What is promised"
  are of {settings['pairs']} pairs run one right after the other, in turned order.
- httpipe runs as a user would have it: all checks, metrics and access log on, the log to a file;
  two plain Python workers (`bench/workers/echo.py`, `bench/workers/fib.py`),
  `env = {{ PYTHONUNBUFFERED = "" }}`, `reply = "{{input}}|{{result}}"`, `in_flight = "auto"`, one
  thread. The peers run with access logs **off**, two workers, the quickest loop and parser they offer.
- CPU is the processes' own clocks, over the server, its workers and whatever they start; the
  load generator is not in it, nothing is subtracted.
- Memory is PSS of the whole tree after the runs. "First answer" runs from the start of the
  processes to the first right answer.
- mosec is asked by POST with a JSON body, the only way it knows. gunicorn's default workers close
  each connection. nginx has one worker process, uwsgi two behind it.
- The seed as written is measured although its answers are not right."""


# What sections are made of.


def of_kind(results, kind):
    return [r for r in results["records"].get("table", []) if r["kind"] == kind]


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


def ratio(records, mine, theirs, value):
    return mid(
        [
            record["a"][value] / record["b"][value]
            for record in records
            if (record["mine"], record["theirs"]) == (mine, theirs)
        ]
    )


def cache_ratio(records, what):
    of_round = {(record["round"], record["what"]): record["cpu_us"] for record in records}
    rounds = sorted({round_ for round_, _ in of_round})
    return mid([of_round[(r, what)] / of_round[(r, "hyper-fixed")] for r in rounds])


def strong(key):
    if key in OURS:
        return f"**{NAMES[key]}**"
    return f"*{NAMES[key]}*" if key in LIMITS else NAMES[key]


def named(values):
    return {NAMES[key]: value for key, value in values.items()}


def marked():
    return {NAMES[key] for key in OURS}


def grid(names, rows):
    lines = [names, ["---"] + ["---:"] * (len(names) - 1), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
