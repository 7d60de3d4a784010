"""Makes `docs/benchmarks.md` and its pictures from records. Measures nothing."""

import json
import os
import platform
import re

from harness import promises
from harness.pictures import bars, panels
from harness.places import DOCUMENT, PICTURES
from harness.sections import (
    NAMES,
    OURS,
    PEERS,
    SECTIONS,
    TWO_WORKERS,
    by_name,
    cells,
    curves,
    grid,
    grouped,
    mid,
    most_like,
    quadratic_power,
)


def machine():
    """The machine on which the numbers were measured."""
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
        "kernel": ".".join(platform.release().split(".")[:2]),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", "?"),
    }


def markdown(results):
    """The whole document."""
    parts = [head(results), promised(results), went_wrong(results)]
    for scenario, write in SECTIONS.items():
        records = results["records"].get(scenario)
        if records:
            parts.append(dated(write(records), results.get("origins", {}).get(scenario)))
    parts += [worse(results), method(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def dated(section, origin):
    """A section with its origin below each heading, if that is another run than the last one."""
    if origin is None:
        return section
    note = f"*Measured on {origin['date']} with httpipe {origin['httpipe']}.*"
    return re.sub(r"(?m)^(## .*)$", lambda found: f"{found[1]}\n\n{note}", section)


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
        names = {TWO_WORKERS.get(key, NAMES[key]): wait for key, wait in waits.items()}
        title = "20 short calls beside 2 long ones: median wait of a short one (ms, log scale)"
        ours = marked() | set(TWO_WORKERS.values())
        made["short.svg"] = bars(title, names, marked=ours, is_log=True)
    points = [point for name in ["growth", "books"] for point in results["records"].get(name, [])]
    if points:
        title = "CPU per request as one thing grows (µs); dashed: what a quadratic cost would be"
        made["growth.svg"] = panels(title, curves(points), quadratic_power)
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
        f"- **Date**: {results['date']}, **command**: `{settings['command']}`"
        f", which took {sum(results.get('minutes', {}).values()):.0f} minutes",
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


def promised(results):
    """What httpipe promises, and what came out."""
    rows = [promise.row() for promise in promises.promises(results["records"], PEERS)]
    return (
        "## What is promised\n\nMedians; a ratio is taken within each interleaved pair, and the"
        " lowest and the highest of them show how steady it is.\n\n"
        + grid(promises.NAMES, rows)
        + least(results["records"].get("pairs", []))
        + least_for_bodies(results["records"].get("growth", []))
    )


def least(pairs):
    """What a server spends that does nothing but HTTP and the pipe."""
    against = {theirs: promises.ratios_of(pairs, "hyper-pipe", theirs) for theirs in ["uvicorn", "hyper-fixed"]}
    if not all(against.values()):
        return ""
    return (
        "\n\nHyper and a pipe to the same script, with neither check, count, limit nor log"
        " (`bench/probes/src/bin/hyper-pipe.rs`), measured in the same way, cost"
        f" {mid(against['uvicorn']):.2f} times the CPU of uvicorn and {mid(against['hyper-fixed']):.2f} times that"
        " of the fixed hyper answer. So much is left of these promises for all that httpipe adds."
    )


def least_for_bodies(growth):
    """What a server spends on large bodies that only passes them on."""
    costs, ratios = promises.against_least(growth, 1_000_000)
    if not ratios:
        return ""
    return (
        "\n\nFor 1 MB each way, hyper and two pipes with neither check, count, limit nor log"
        " (`bench/probes/src/bin/hyper-body.rs`; one call in a worker, as httpipe has it there) take"
        f" {mid(costs):,.0f} µs of the server's CPU, and httpipe takes {mid(ratios):.2f} times what they take in the"
        " same round. With that the goal for 1 MB is to be compared."
    )


def went_wrong(results):
    """The section about failures during the measurements."""
    lines = [f"- {failure}" for failure in results.get("failures", [])]
    for scenario, records in results["records"].items():
        runs = [run for run in runs_in(records)]
        refused = sum(run["not_ok"] for run in runs)
        failed = sum(run["failed"] for run in runs)
        if refused or failed:
            lines.append(
                f"- {scenario}: {refused:,} answers that were not 200 and {failed:,} failed"
                f" connections of {sum(run.get('requests', 0) for run in runs):,} requests:"
                f" {', '.join(sorted(troubled(records)))}"
            )
    if not lines:
        return ""
    return "## What went wrong while measuring\n\n" + "\n".join(lines)


def runs_in(records):
    """Every run under load in these records, at any depth."""
    if isinstance(records, list):
        for record in records:
            yield from runs_in(record)
    elif isinstance(records, dict):
        if "not_ok" in records:
            yield records
        for value in records.values():
            yield from runs_in(value)


def troubled(records, name="?"):
    """The names of the parties whose runs had failures or answers that were not 200."""
    if isinstance(records, list):
        return set().union(*(troubled(record, name) for record in records))
    if not isinstance(records, dict):
        return set()
    name = records.get("party", records.get("what", name))
    own = {NAMES.get(name, name)} if records.get("not_ok") or records.get("failed") else set()
    keys = {"a": records.get("mine"), "b": records.get("theirs")}
    return own.union(*(troubled(value, keys.get(key) or key) for key, value in records.items()))


def worse(results):
    """Every cell in which a peer that does the work is ahead of httpipe with its defaults."""
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
    mixed = by_name(results["records"].get("mix", []))
    for value, words, is_less in [("rps", "requests/s", False), ("p99_ms", "ms p99", True)]:
        values = {key: mid([run[value] for run in runs_]) for key, runs_ in mixed.items()}
        found += ahead(values, "httpipe", "1 call in 500 long", words, is_less)
    nobody = grouped(results["records"].get("idle", []), "party", "ms_a_second")
    found += ahead(nobody, "httpipe", "while nobody asks", "CPU ms a second", True)
    if not runs and not short:
        return ""
    lines = [f"- {line}" for line in found] or ["- Nowhere in what was measured here."]
    return (
        "## Where a peer is better\n\nFound by the script: each place where a peer with right"
        " answers is ahead of httpipe as it comes.\n\n" + "\n".join(lines) + "\n\nAnd what no"
        " table shows: as the work per call grows, all of these become equal. At 1 ms of Python a"
        " call the queue, the balance, memory and behaviour under faults are the difference, not"
        " the overhead. For nothing but an ASGI application in one process, uvicorn or granian is"
        " simpler: no second process, no wire, and WebSockets included."
    )


def ahead(values, ours, where, words, is_less):
    """Lines for the peers that are better than ours."""
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
  {settings['rounds']} rounds, {settings['seconds']:g} s each. The ratios under "What is promised" are of
  {settings['pairs']} pairs, each of runs right one after the other, in turned order.
- Answers are checked, by 400 calls from 16 connections, while `wrk` warms the server up, and once
  more after the table's runs. In the measured runs `wrk` counts what is not 200; the page says so
  where that was not 0.
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


# Helpers.


def of_kind(results, kind):
    return [r for r in results["records"].get("table", []) if r["kind"] == kind]


def named(values):
    return {NAMES[key]: value for key, value in values.items()}


def marked():
    return {NAMES[key] for key in OURS}
