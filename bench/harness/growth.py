"""Costs must grow as the work does and no faster: httpipe alone, with more and more of one thing.

Each record is one point of one round: what grows, how far, and what a request costs there. Bodies
also go through the least server that does the same, right before or after httpipe.
"""

import contextlib
import os
import re
import resource
import selectors
import signal
import socket
import subprocess
import time
from pathlib import Path

from harness import load, places, promises
from harness.parties import KEEPS_FREED, WORKERS, Party
from harness.processes import spent
from harness.scenarios import Running, attempt, turned

CONNECTIONS = [1, 8, 64, 1000, 10_000]
IDLE = [0, 1000, 10_000]
WORKERS_MOST = [1, 2, 16, 64, 256]
BODIES = [100, 1000, 10_000, 100_000, 1_000_000, 16 * 2**20]
COMPARED_BODIES = [100, 100_000, 1_000_000]
KEPT = [1, 100, 10_000, 1_000_000]
WAITING = [10, 100, 1000, 10_000]

CONFIG = """\
listen = "127.0.0.1:{port}"
admin = "127.0.0.1:0"
limits = {{ connections = 20000, body = "17MiB", idle_timeout = "10m" }}

[cache]
memory = "2GiB"

[pool.work]
command = {command}
workers = {workers}
{answer}
message_max = "17MiB"
queue = {{ length = 20000, bytes = "1GiB", wait = "60s" }}
env = {{ PYTHONUNBUFFERED = "" }}

[[route]]
match = "{match}"
pool = "work"
{route}
"""


class Bodies(Party):
    """Bodies that come back unchanged; `num` is their length."""

    def request(self, _, num):
        return "POST", "/", '{"result":"%s"}' % self.expected(_, num)

    def expected(self, _, num):
        return "7" * num


def server(work="echo", workers=2, route="", bodies=False):
    def commands(_, port, directory):
        script = WORKERS / f"{work}.py"
        values = {
            "command": '["cat"]' if bodies else f'["python3", "{script}"]',
            "answer": "" if bodies else 'reply = "{input}|{result}"',
            "match": "POST /" if bodies else f"GET /{work}?num={{num:int}}",
        }
        config = directory / "httpipe.toml"
        config.write_text(CONFIG.format(port=port, workers=workers, route=route, **values))
        return [[places.HTTPIPE, "run", config]]

    return (Bodies if bodies else Party)("httpipe", commands)


def hyper_body(_, port, __):
    return [[places.PROBES / "hyper-body", port, 2, "cat"]]


# One call in a worker: so has httpipe it where nothing shows which question an answer is for, as with `cat`.
LEAST_FOR_BODIES = Bodies("hyper and two pipes, nothing checked", hyper_body, env=KEEPS_FREED)


def growth(options):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    connections = [count for count in CONNECTIONS if count + 100 <= most]
    for kinds, rounds in [
        ([("busy connections", connections, busy)], 1),
        ([("idle connections beside 64", [n for n in IDLE if n + 200 <= most], beside_idle)], 1),
        ([("calls that wait in the queue", [n for n in WAITING if n + 100 <= most], waiting)], 1),
        # They are compared with each other, and one run is not like the next.
        ([("workers, 64 connections", WORKERS_MOST, workers)], options.rounds),
        (
            [
                (promises.EACH_WAY, BODIES, bodies),
                (promises.EACH_WAY_LEAST, COMPARED_BODIES, bodies_of_least),
            ],
            options.rounds,
        ),
        ([("kept answers, 64 connections", KEPT[:-1] if options.quick else KEPT, kept)], 1),
    ]:
        for round_, size, what, measure in visits(kinds, rounds):
            name = f"growth: {what}, {size}, {round_ + 1}/{rounds}"
            found = attempt(name, lambda: measure(size, options))
            if found:
                yield {"what": what, "size": size, "round": round_, **found}


def visits(kinds, rounds):
    """What is measured, in its order. Kinds that grow together follow each other at each size, so
    that they can be compared, and another one begins each round."""
    every = dict.fromkeys(size for _, sizes, _ in kinds for size in sizes)
    for round_ in range(rounds):
        for size in turned(list(every), round_):
            for what, sizes, measure in turned(kinds, round_):
                if size in sizes:
                    yield round_, size, what, measure


def ended(running, result):
    return result | {"server_mb": running.tree.server_rss_mb()}


def busy(count, options):
    """There are two workers, so nearly all calls wait in the queue."""
    with Running(server(), "echo") as running:
        running.warm_up()
        # Opening this many connections takes a while.
        seconds = max(options.seconds, 10) if count > 1000 else None
        return ended(running, running.load(count, options, seconds=seconds))


def beside_idle(count, options):
    with Running(server(), "echo") as running:
        where = ("127.0.0.1", running.port)
        idle = [socket.create_connection(where, timeout=10) for _ in range(count)]
        running.warm_up()
        result = ended(running, running.load(64, options))
        for connection in idle:
            connection.close()
    return result


def waiting(count, _):
    """`count` calls arrive while the workers are stopped, and are answered once they go on: calls
    join and leave the queue at every length up to this one."""
    with Running(server(), "echo") as running:
        running.warm_up()
        where = ("127.0.0.1", running.port)
        callers = [socket.create_connection(where, timeout=60) for _ in range(count)]
        running.tree.wait_until_quiet()
        held = [pid for pid in running.tree.pids() if is_python(pid)]
        before = running.tree.cpu()
        for pid in held:
            os.kill(pid, signal.SIGSTOP)
        try:
            for num, caller in enumerate(callers):
                caller.sendall(b"GET /echo?num=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % num)
            running.tree.wait_until_quiet()
        finally:
            for pid in held:
                os.kill(pid, signal.SIGCONT)
        since = time.monotonic()
        not_ok = wrong_answers(callers)
        took = time.monotonic() - since
        after = running.tree.cpu()
        of_server = after[running.tree.server] - before[running.tree.server]
        result = {
            "rps": count / took,
            "p50_ms": None,
            "p99_ms": None,
            "cpu_us": spent(before, after) * 1e6 / count,
            "server_cpu_us": of_server * 1e6 / count,
            "not_ok": not_ok,
            "failed": 0,
        }
        return ended(running, result)


def is_python(pid):
    return Path(f"/proc/{pid}/comm").read_text().startswith("python")


def wrong_answers(callers):
    """Reads an answer from each and counts those that are not what its caller asked for."""
    wrong = 0
    with selectors.DefaultSelector() as selector:
        for num, caller in enumerate(callers):
            selector.register(caller, selectors.EVENT_READ, num)
        while selector.get_map():
            ready = selector.select(timeout=60)
            if not ready:
                raise RuntimeError(f"{len(selector.get_map())} calls without an answer")
            for key, _ in ready:
                # An answer this short comes in one piece.
                text = key.fileobj.recv(65536)
                is_right = text.startswith(b"HTTP/1.1 200") and b'"%d"' % key.data in text
                wrong += not is_right
                selector.unregister(key.fileobj)
                key.fileobj.close()
    return wrong


def books(_):
    """Each waiting call needs a connection, so the longest queues are measured without any: by the
    micro-benchmark of the pool's books, one call in and one out at each length. It compiles a release
    build."""
    return attempt("the pool's books alone", books_alone) or []


def books_alone():
    command = ["cargo", "bench", "--locked", "--", "state: a call behind"]
    done = subprocess.run(command, cwd=places.PROJECT, capture_output=True, text=True, check=True)
    nothing = {"p50_ms": None, "p99_ms": None, "server_mb": None, "not_ok": 0, "failed": 0}
    points = []
    for size, nanoseconds in re.findall(r"behind (\d+) that wait +([\d.]+) ns", done.stdout):
        cost = {"cpu_us": float(nanoseconds) / 1000, "server_cpu_us": float(nanoseconds) / 1000}
        about = {"what": "calls that wait, the pool's books alone", "size": int(size)}
        points.append(about | nothing | cost | {"rps": 1e9 / float(nanoseconds)})
    return points


def workers(count, options):
    with Running(server(workers=count), "echo") as running:
        running.tree.wait_until_quiet()
        running.warm_up()
        return ended(running, running.load(64, options))


def bodies(size, options):
    return through(server(bodies=True), size, options)


def bodies_of_least(size, options):
    return through(LEAST_FOR_BODIES, size, options)


def through(party, size, options):
    """Bodies of this size, there and back. That they come back whole is checked once: wrk only counts."""
    with Running(party, "body") as running:
        with contextlib.closing(load.connected(party, running.port)) as connection:
            load.ask(connection, party, "body", size)
        text = load.script(running.party, "body", nums=[size])
        running.load(8, options, seconds=1, text=text)
        # Calls under way at the end have cost something but do not count, so there must be many
        # others.
        seconds = max(options.seconds, 10) if size > 1_000_000 else None
        return ended(running, running.load(8, options, seconds=seconds, text=text))


def kept(count, options):
    path = "/echo?num="
    with Running(server(route='cache = "1h"'), "echo") as running:
        asked = 0
        while asked < count:
            text = load.range_script(path, count, first=asked)
            asked += running.load(64, options, seconds=1, text=text)["requests"]
        text = load.range_script(path, count, step=7919)
        return ended(running, running.load(64, options, text=text))
