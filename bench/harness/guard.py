"""What it costs to keep strangers out and programs in: keys with a rate, TLS, and a sandbox.

Each is a pair of runs, one right after the other, with and without it; the order changes with each pair. What
counts is the median of the differences, against the most that each may cost.

    cargo build --release --features tls
    bench/run --scenario guard --exe target/release/httpipe

The fourth, the turns that tenants take, is too short for this: `cargo bench --bench micro -- tenants`.
"""

import subprocess
from dataclasses import replace
from statistics import median

from harness import load, places
from harness.install import say
from harness.parties import FIXED, Party
from harness.scenarios import Running, attempt, turned

CONNECTIONS = 16

# What is measured, and the most that it may add.
GATES = {
    "key and rate": ("server_cpu_us", 1.0, "µs of CPU a call"),
    "TLS": ("server_cpu_us", 4.0, "µs of CPU a call"),
    "sandbox": ("start_ms", 0.4, "ms a start"),
}

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
    found = {"what": what}
    for name, party in turned(list(zip(["without", "with"], parties(what))), round_):
        with Running(party, "echo") as running:
            if what == "sandbox":
                running.load(1, options, seconds=1)
                result = running.load(1, options)
            else:
                running.warm_up()
                result = running.load(CONNECTIONS, options)
        if result["not_ok"] or result["failed"]:
            raise load.Wrong(f"{party.name}: {result}")
        # One call after the other, each with a start.
        found[name] = result | {"start_ms": 1000 / result["rps"]}
    return found


def summary(what, records):
    if not records:
        return
    key, most, unit = GATES[what]
    added = sorted(it["with"][key] - it["without"][key] for it in records)
    without, with_ = (median(it[name][key] for it in records) for name in ["without", "with"])
    verdict = "within" if median(added) <= most else "OVER"
    say(
        f"{what}: {without:.2f} -> {with_:.2f} {unit}, {median(added):+.2f} "
        f"({added[0]:+.2f} to {added[-1]:+.2f}), {verdict} {most:+.1f}"
    )
