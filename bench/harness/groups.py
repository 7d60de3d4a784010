"""What it brings that a worker gets the calls that wait together: a logistic regression (scikit-learn),
with `batch = { most = 16 }` against the same program with groups of one.

A pair is two runs of wrk, one right after the other; the order changes with each pair.
"""

from statistics import median

from harness.install import say, virtual_environment
from harness.parties import WORKERS, Party
from harness.scenarios import Running, attempt, turned
from harness import places

CONNECTIONS = [16, 64]
SIZES = {"together": 16, "one by one": 1}

CONFIG = """\
listen = "127.0.0.1:{port}"
admin = "127.0.0.1:0"

[pool.work]
command = ["python3", "{script}"]
workers = 1
reply = "json"
batch = {{ most = {most} }}
start_timeout = "60s"

[[route]]
match = "GET /flowers?num={{num:int}}"
send = "{{num}}"
idempotent = true
"""


class Flowers(Party):
    def expected(self, _, num):
        return "setosa" if num % 2 else "virginica"


def server(most):
    def commands(_, port, directory):
        config = directory / "httpipe.toml"
        script = WORKERS / "flowers.py"
        config.write_text(CONFIG.format(port=port, script=script, most=most))
        return [[places.HTTPIPE, "run", config]]

    # Without compiled modules the import takes a minute.
    env = {"PYTHONDONTWRITEBYTECODE": ""}
    return Flowers(f"httpipe, at most {most} together", commands, env=env)


def groups(options):
    """Says the medians; the document has no section for it."""
    virtual_environment()
    for connections in CONNECTIONS:
        records = []
        for round_ in range(options.pairs):
            what = f"groups, {connections} connections, {round_ + 1}/{options.pairs}"
            found = attempt(what, lambda: pair(connections, round_, options))
            if found:
                records.append(found)
                yield found
        summary(connections, records)


def pair(connections, round_, options):
    runs = {"connections": connections}
    for name, most in turned(list(SIZES.items()), round_):
        with Running(server(most), "flowers") as running:
            running.warm_up()
            runs[name] = running.load(connections, options)
    return runs


def summary(connections, records):
    if not records:
        return
    ratios = sorted(it["together"]["rps"] / it["one by one"]["rps"] for it in records)
    rps = {name: median(it[name]["rps"] for it in records) for name in SIZES}
    p99 = {name: median(it[name]["p99_ms"] for it in records) for name in SIZES}
    say(
        f"{connections} connections: {rps['one by one']:,.0f} -> {rps['together']:,.0f} calls/s, "
        f"{median(ratios):.1f} times ({ratios[0]:.1f} to {ratios[-1]:.1f}) [at least 6]; "
        f"p99 {p99['one by one']:.1f} -> {p99['together']:.1f} ms"
    )
