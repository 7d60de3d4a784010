"""The switches that the seed's author added later, as configuration: fib(1..33) asked all at once, beside
the same work in one process with nothing in front of it.

The configurations are those of `examples/seed`, each with its own program.
"""

import subprocess
import time

from harness import load, places
from harness.install import environment
from harness.parties import Party
from harness.scenarios import Running, rounds_of

EXAMPLES = places.PROJECT / "examples" / "seed"
NUMS = range(1, 34)


def switched(switch):
    """httpipe with the configuration `examples/seed/SWITCH.toml`."""

    def commands(_, port, directory):
        text = (EXAMPLES / f"{switch}.toml").read_text()
        for program in ["calculate.py", "known.py"]:
            text = text.replace(f'"{program}"', f'"{EXAMPLES / program}"')
        config = directory / "httpipe.toml"
        config.write_text(f'listen = "127.0.0.1:{port}"\nadmin = "127.0.0.1:0"\n' + text)
        return [[places.HTTPIPE, "run", config]]

    return Party(f"httpipe, {switch}.toml", commands)


ALONE = "one process, nothing in front"
ASKED = {ALONE: None} | {f"{switch}.toml": switched(switch) for switch in ["parallel", "cache", "kept"]}


def seed(options):
    """Seconds until fib(1..33) are answered that were asked at once."""
    yield from rounds_of("seed", ASKED, options.rounds, all_at_once)


def all_at_once(party):
    if party is None:
        return {"seconds": one_process()}
    with Running(party, "fib") as running:
        running.tree.wait_until_quiet(patience=3)
        since = time.monotonic()
        load.Burst(party, "fib", running.port, NUMS).finish()
        return {"seconds": time.monotonic() - since}


def one_process():
    text = "".join(f"{num}\n" for num in NUMS)
    command = ["python3", str(EXAMPLES / "calculate.py")]
    since = time.monotonic()
    subprocess.run(command, input=text, env=environment(), capture_output=True, text=True, check=True)
    return time.monotonic() - since
