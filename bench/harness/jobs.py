"""What jobs cost: how many are accepted, what a whole life takes, and what callers notice of them.

A job here is accepted once it is on the disk. So the numbers are those of the disk as much as those of
the server: they are said, and the document has no section for them.
"""

import http.client
import re
import time
from statistics import median

from harness import load, places
from harness.install import say
from harness.looks import admin_of
from harness.parties import Party
from harness.processes import spent
from harness.scenarios import Running, attempt, turned

# A number of this many digits is a question that takes ten seconds, or two thousandths of a second. Callers
# beside long jobs ask the latter: two of them that ask programs without any work keep all processors of a
# small machine busy, and a hundredth of their calls waits for a processor, whether there are jobs or not.
LONG, SHORT = 8, 6
PROGRAM = f"""\
import sys, time
for line in sys.stdin:
    number = line.strip()
    if len(number) >= {LONG}:
        time.sleep(10)
    elif len(number) == {SHORT}:
        time.sleep(0.002)
    print(number + "|" + number, flush=True)
"""
# Long jobs that wait, enough for every run.
FULL = 400
PATIENCE = 300


def with_jobs(workers, share):
    """httpipe with jobs over a program that is quick, except for long numbers."""

    def commands(work, port, directory):
        (directory / "program.py").write_text(PROGRAM)
        config = directory / "httpipe.toml"
        config.write_text(f"""\
listen = "127.0.0.1:{port}"
admin = "127.0.0.1:0"
log = {{ access = false }}
jobs = {{ length = 100000000, bytes = "16GiB" }}

[pool.work]
command = ["python3", "program.py"]
workers = {workers}
share = {share}
reply = "{{input}}|{{result}}"
timeout = "5m"

[[route]]
match = "GET /{work}?num={{num:int}}"
jobs = true
""")
        return [[places.HTTPIPE, "run", config]]

    return Party("httpipe", commands)


def jobs(options):
    """Jobs accepted a second, the CPU time of their whole life, and the calls beside long ones."""
    for connections in [1, 64]:
        found = [
            attempt(f"accepted from {connections}", lambda: accepted(connections, options))
            for _ in range(options.pairs)
        ]
        yield from (record for record in found if record)
        rates = sorted(record["rps"] for record in found if record)
        if rates:
            say(f"accepted from {connections} connections: {median(rates):,.0f} jobs/s")
    life = attempt("whole lives", lambda: lives(options))
    if life:
        say("whole lives: {rate:,.0f} jobs/s, {server_cpu_us:.0f} µs of the server each".format(**life))
        yield life
    beside = []
    for round_ in range(options.pairs):
        found = attempt(f"beside long jobs, {round_ + 1}/{options.pairs}", lambda: pair(round_, options))
        if found:
            beside.append(found)
            yield found
    ratios = sorted(it["with"]["p99_ms"] / it["without"]["p99_ms"] for it in beside)
    if ratios:
        say(
            f"p99 of callers beside a full share of 10 s jobs: {median(ratios):.2f} times that without"
            f" ({ratios[0]:.2f} to {ratios[-1]:.2f}) [at most 1.2]"
        )


def asking_for_jobs(party, nums):
    """A script of wrk with which each call becomes a job."""
    text = load.script(party, "echo", nums)
    return text.replace("init = function()\n", 'init = function()\n  wrk.headers["Prefer"] = "respond-async"\n')


def accepted(connections, options):
    with Running(with_jobs(2, 1), "echo") as running:
        nums = range(10 ** (LONG - 1), 10 ** (LONG - 1) + 1000)
        text = asking_for_jobs(running.party, nums)
        return {"what": "accepted", **right(running.load(connections, options, text=text))}


def lives(options):
    with Running(with_jobs(2, 1), "echo") as running:
        before, since = running.tree.cpu(), time.monotonic()
        text = asking_for_jobs(running.party, range(1, 1001))
        asked = right(running.load(64, options, text=text))["requests"]
        until = time.monotonic() + PATIENCE
        while numbers(running, "queued") or numbers(running, "running"):
            if time.monotonic() > until:
                raise RuntimeError(f"jobs still wait after {PATIENCE} s")
            time.sleep(0.1)
        took, after = time.monotonic() - since, running.tree.cpu()
        # wrk leaves without the last answers, and their jobs are done all the same.
        done = numbers(running, "succeeded")
        if done < asked:
            raise RuntimeError(f"{done} of {asked} jobs succeeded")
        server = after[running.tree.server] - before[running.tree.server]
        each = {"cpu_us": spent(before, after) * 1e6 / done, "server_cpu_us": server * 1e6 / done}
        return {"what": "life", "jobs": done, "rate": done / took, **each}


def pair(round_, options):
    """Callers of four workers, two of which have long jobs, or none."""
    runs = {}
    for name in turned(["with", "without"], round_):
        with Running(with_jobs(4, 0.5), "echo") as running:
            running.warm_up()
            if name == "with":
                connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
                for number in range(FULL):
                    path = f"/echo?num={10 ** (LONG - 1) + number}"
                    connection.request("GET", path, headers={"Prefer": "respond-async"})
                    response = connection.getresponse()
                    response.read()
                    if response.status != 202:
                        raise RuntimeError(f"a job is {response.status}")
                until = time.monotonic() + 10
                while numbers(running, "running") < 2 and time.monotonic() < until:
                    time.sleep(0.05)
            # As many callers as are workers without jobs: both have a worker for each.
            text = load.script(running.party, "echo", range(10 ** (SHORT - 1), 10 ** (SHORT - 1) + 1000))
            runs[name] = right(running.load(2, options, text=text))
    return {"what": "beside", **runs}


def right(result):
    if result["not_ok"] or result["failed"]:
        raise RuntimeError(f"not every call was answered well: {result}")
    return result


def numbers(running, state):
    """How many jobs are in this state."""
    connection = http.client.HTTPConnection(*admin_of(running), timeout=10)
    connection.request("GET", "/metrics")
    page = connection.getresponse().read().decode()
    connection.close()
    found = re.findall(rf'^httpipe_jobs{{[^}}]*state="{state}"[^}}]*}} (\d+)', page, re.M)
    return sum(map(int, found))
