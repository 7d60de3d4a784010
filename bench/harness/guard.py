"""What it costs to keep strangers out and programs in: keys with a rate, TLS, and a sandbox.

Each is a pair of servers, with and without it, which are asked in turn; who is first changes with each turn. What
counts is the median of the differences of all turns of all pairs, against the most that each may cost; the quartiles are said.

    cargo build --release --features tls
    bench/run --scenario guard --exe target/release/httpipe

The fourth, the turns that tenants take, is too short for this: `cargo bench --bench micro -- tenants`.
"""

import subprocess
import time
from dataclasses import replace
from statistics import median, quantiles

from harness import load, places
from harness.install import say
from harness.parties import FIXED, Party
from harness.scenarios import Running, attempt, turned

CONNECTIONS = 16

# What is measured, and the most that it may add.
GATES = {
    "key and rate": (1.0, "µs of CPU a call"),
    "TLS": (4.0, "µs of CPU a call"),
    "sandbox": (0.4, "ms a start"),
}
# How often the servers of a pair take turns, and how many starts are one turn. wrk measures a second at least.
TURNS = {"key and rate": 3, "TLS": 3, "sandbox": 20}
STARTS_A_TURN = 40

# A fixed answer, so that all CPU is the server's.
FIXED_ANSWER = """\
listen = "127.0.0.1:{port}"
admin = "127.0.0.1:0"
{keys}

[[route]]
match = "GET /echo?num={{num:int}}"
text = '{{"result":"{fixed}"}}'
"""

# Each call is a process of its own, and waits for its start.
STARTS = """\
listen = "127.0.0.1:{port}"
admin = "127.0.0.1:0"

[pool.work]
command = ["cat"]
framing = "eof"
workers = 1
reply = "{{result}}"
{keys}

[[route]]
match = "GET /echo?num={{num:int}}"
send = "{{num}}"
"""


def server(name, config, keys="", prepare=None):
    """`prepare`: run in the directory of the server, before it starts; returns what callers send besides."""

    def commands(_, port, directory):
        if prepare:
            prepare(directory)
        file = directory / "httpipe.toml"
        file.write_text(config.format(port=port, keys=keys, fixed=FIXED))
        return [[places.HTTPIPE, "run", file]]

    return Party(f"httpipe, {name}", commands, fixed=FIXED if config is FIXED_ANSWER else None)


class Keyed(Party):
    """Callers that show a key, which is made with the configuration."""

    def start(self, work, port, directory, core=None):
        directory.mkdir(parents=True, exist_ok=True)
        command = [places.HTTPIPE, "key", "new", "bench", "--rate", "1000000/1s", "--calls", "1000"]
        made = subprocess.run(
            list(map(str, command)), cwd=directory, capture_output=True, text=True, check=True
        )
        self.headers["X-API-Key"] = made.stdout.split()[-1]
        return super().start(work, port, directory, core)


def with_certificate(directory):
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "30", "-subj", "/CN=localhost", "-keyout", "key.pem"]
    subprocess.run([*command, "-out", "cert.pem"], cwd=directory, capture_output=True, check=True)


def parties(what):
    """The server without it, and the one with it."""
    plain = server(f"no {what}", FIXED_ANSWER)
    if what == "key and rate":
        # The other one reads the field, too.
        plain.headers["X-API-Key"] = "hp_" + "a" * 36
        keyed = server(what, FIXED_ANSWER, 'callers = "keys.toml"')
        return plain, Keyed(keyed.name, keyed.commands, fixed=FIXED)
    if what == "TLS":
        tls = 'tls = { cert = "cert.pem", key = "key.pem" }'
        return plain, replace(server(what, FIXED_ANSWER, tls, with_certificate), secure=True)
    return server(f"no {what}", STARTS), server(what, STARTS, "sandbox = true")


def guard(options):
    """Says the medians; the document has no section for it."""
    for what in GATES:
        records = []
        for round_ in range(options.pairs):
            found = attempt(
                f"guard, {what} {round_ + 1}/{options.pairs}", lambda: pair(what, round_, options)
            )
            if found:
                records.append(found)
                yield found
        summary(what, records)


def pair(what, round_, options):
    """Both servers run, and are asked in turn: what the machine does meanwhile happens to both."""
    without, with_ = parties(what)
    found = {"what": what, "without": [], "with": []}
    with Running(without, "echo") as plain, Running(with_, "echo") as guarded:
        sides = [("without", plain), ("with", guarded)]
        asked = starts if what == "sandbox" else cpu
        for _, running in sides:
            running.warm_up() if asked is cpu else starts(running, options)
        for turn in range(round_, round_ + TURNS[what]):
            for name, running in turned(sides, turn):
                found[name].append(asked(running, options))
    return found


def cpu(running, options):
    """CPU of the server a call, in microseconds."""
    result = running.load(CONNECTIONS, options, seconds=1)
    if result["not_ok"] or result["failed"]:
        raise load.Wrong(f"{running.party.name}: {result}")
    return result["server_cpu_us"]


def starts(running, _options):
    """Milliseconds a call takes. Each call waits for the start of its process."""
    connection = load.connected(running.party, running.port)
    since = time.monotonic()
    for num in range(STARTS_A_TURN):
        load.ask(connection, running.party, running.work, num)
    took = time.monotonic() - since
    connection.close()
    return took * 1000 / STARTS_A_TURN


def summary(what, records):
    if not records:
        return
    most, unit = GATES[what]
    added = sorted(b - a for it in records for a, b in zip(it["without"], it["with"]))
    without, with_ = (median(took for it in records for took in it[name]) for name in ["without", "with"])
    low, _, high = quantiles(added, n=4)
    verdict = "within" if median(added) <= most else "OVER"
    say(
        f"{what}: {without:.2f} -> {with_:.2f} {unit}, {median(added):+.2f} "
        f"({low:+.2f} to {high:+.2f}), {verdict} {most:+.1f}"
    )
