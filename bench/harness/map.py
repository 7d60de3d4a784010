"""`httpipe map` beside what else runs a program for many inputs: xargs, GNU parallel, and GNU parallel with
`--pipe`, which gives a block of lines to each process.

Each way gets inputs of its own number, because some take a thousand times as long for one; the table has
what one input costs. The output of each run is held against what it must be.
"""

import os
import resource
import shutil
import subprocess
import time
from statistics import median

from harness import load
from harness.install import environment, gnu_parallel, say
from harness.places import MAP_PAGE, RUNS
from harness import places
from harness.scenarios import attempt, turned

# One process for each input.
ONE = """\
import sys
print(sys.argv[1] + "|" + str(int(sys.argv[1]) * 2))
"""
# One process for many, as httpipe wants it.
LOOP = """\
import sys
for line in sys.stdin:
    number = line.strip()
    print(number + "|" + str(int(number) * 2), flush=True)
"""
FUNCTION = """\
def double(n: int) -> int:
    return n * 2
"""
MANY, FEW = 100_000, 1000
PROMISED = 8  # seconds for MANY inputs

REPLY = "{input}|{result}"
LINE = "{0}|{1}"
# How it is shown, its command, how many inputs, whether they are in order, and a line of its output.
WAYS = {
    "`xargs -P2 -n1 python3 one.py`": (["xargs", "-P2", "-n1", "python3", "one.py"], FEW, False, LINE),
    "`parallel -j2 -k python3 one.py`": (["parallel", "--will-cite", "-j2", "-k", "python3", "one.py"], FEW, True, LINE),
    "`parallel -j2 -k /bin/echo`": (["parallel", "--will-cite", "-j2", "-k", "/bin/echo"], FEW, True, "{0}"),
    "`parallel --pipe -j2 -k python3 loop.py`": (
        # Blocks of a megabyte would be one block.
        ["parallel", "--will-cite", "--pipe", "--block", "50k", "-j2", "-k", "python3", "loop.py"],
        MANY, True, LINE,
    ),
    "`httpipe map -- python3 loop.py`": (
        ["map", "--workers", "2", "--quiet", "--reply", REPLY, "-o", "out", "--", "python3", "loop.py"],
        MANY, True, '{{"result":"{1}"}}',
    ),
    "`httpipe map double.py:double`": (
        ["map", "double.py:double", "--workers", "2", "--quiet", "-o", "out"], MANY, True, "{1}",
    ),
}
WITHOUT = {
    "`xargs": "nothing says which input failed; no order",
    "`parallel -j2": "`--joblog` says which failed",
    "`parallel --pipe": "a crash costs a block of lines; nothing matches answers",
    "`httpipe": "each failure with its input; a crash costs one line; `--resume`",
}


def map_(options):
    """Yields a record for each run, and prints the table."""
    if not gnu_parallel():
        say("SKIPPED: GNU parallel is not there and cannot be fetched; its rows are left out")
    ways = [name for name in WAYS if gnu_parallel() or not name.startswith("`parallel")]
    found = {name: [] for name in ways}
    for round_ in range(options.pairs):
        for name in turned(ways, round_):
            record = attempt(f"map {round_ + 1}/{options.pairs}: {name}", lambda: run(name, options))
            if record:
                found[name].append(record)
                yield record
    text = table(found)
    print(text)
    for name in (name for name in ways if name.startswith("`httpipe") and found[name]):
        each = median(it["seconds"] / it["inputs"] for it in found[name])
        say(f"{name}: {MANY:,} inputs in {each * MANY:.1f} s [at most {PROMISED}]")
    if not options.quick and not options.no_docs:
        write(text)


def run(name, options):
    command, count, is_ordered, line = WAYS[name]
    count = count // 10 if options.quick else count
    directory = RUNS / "map"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    for file, text in {"one.py": ONE, "loop.py": LOOP, "double.py": FUNCTION}.items():
        (directory / file).write_text(text)
    (directory / "in").write_text("".join(f"{number}\n" for number in range(count)))
    if command[0] == "map":
        command = [str(places.HTTPIPE), *command]
    before, since = cpu(), time.monotonic()
    with open(directory / "in") as source, open(directory / "written", "w") as written:
        done = subprocess.run(
            command, stdin=source, stdout=written, stderr=subprocess.PIPE, cwd=directory, env=environment()
        )
    took, spent = time.monotonic() - since, cpu() - before
    if done.returncode != 0:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stderr.decode()[-300:]}")
    out = directory / ("out" if "out" in command else "written")
    got, wanted = out.read_text().splitlines(), [line.format(n, 2 * n) for n in range(count)]
    if got != wanted and (is_ordered or sorted(got) != sorted(wanted)):
        raise load.Wrong(f"{name} wrote {len(got)} lines for {count}, or others")
    return {"what": name, "inputs": count, "seconds": took, "cpu_seconds": spent}


def cpu():
    """CPU seconds of all processes that have ended below this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(found):
    lines = [
        "| | an input takes | its CPU | 100,000 inputs | |",
        "|---|---:|---:|---:|---|",
    ]
    for name, records in found.items():
        if not records:
            continue
        each = median(it["seconds"] / it["inputs"] for it in records)
        spent = median(it["cpu_seconds"] / it["inputs"] for it in records)
        whole = duration(each * MANY)
        about = next(text for start, text in WITHOUT.items() if name.startswith(start))
        lines.append(f"| {name} | {small(each)} | {small(spent)} | {whole} | {about} |")
    processors = os.cpu_count()
    lines += ["", f"Medians on {processors} processors; 1000 inputs where each is a process, 100,000 elsewhere."]
    return "\n".join(lines) + "\n"


def small(seconds):
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.0f} µs"


def duration(seconds):
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.1f} s"


BEGIN, END = "<!-- bench/run --scenario map writes this -->\n", "<!-- to here -->\n"


def write(text):
    """Puts the table into its page."""
    page = MAP_PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    MAP_PAGE.write_text(f"{before}{BEGIN}{text}{END}{after}")
