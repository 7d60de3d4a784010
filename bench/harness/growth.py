"""Costs must grow as the work does and no faster: httpipe alone, with more and more of one thing.

Each record is one point: what grows, how far, and what a request costs there.
"""

import resource
import socket

from harness import load, places
from harness.install import say
from harness.parties import WORKERS, Party
from harness.scenarios import Running

CONNECTIONS = [64, 1000, 10_000]
IDLE = [0, 1000, 10_000]
WORKERS_MOST = [1, 16, 256]
BODIES = [100, 10_000, 1_000_000, 16_000_000]
KEPT = [1, 1000, 100_000, 1_000_000]

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
    """Whatever is sent comes back as it went; `num` says how long it is."""

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


def growth(options):
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    records = []
    for measure in [connections, idle_connections, workers, bodies, kept]:
        for record in measure(options, most):
            say("growth: {what}, {size}: {cpu_us:.1f} µs a request".format(**record))
            records.append(record)
    return records


def point(what, size, running, result):
    return {
        "what": what,
        "size": size,
        **result,
        "server_mb": running.tree.server_rss_mb(),
    }


def connections(options, most):
    """Busy ones; with two workers all but a few of them wait in the queue."""
    for count in CONNECTIONS:
        if count + 100 > most:
            continue
        with Running(server(), "echo") as running:
            running.warm_up(options)
            # Opening so many takes a while too.
            seconds = max(options.seconds, 10) if count > 1000 else None
            result = running.load(count, options, seconds=seconds)
            yield point("busy connections", count, running, result)


def idle_connections(options, most):
    for count in IDLE:
        if count + 100 > most:
            continue
        with Running(server(), "echo") as running:
            where = ("127.0.0.1", running.port)
            idle = [socket.create_connection(where, timeout=10) for _ in range(count)]
            running.warm_up(options)
            result = running.load(64, options)
            yield point("idle connections beside 64", count, running, result)
            for connection in idle:
                connection.close()


def workers(options, _):
    for count in WORKERS_MOST:
        with Running(server(workers=count), "echo") as running:
            running.check()
            running.warm_up(options)
            yield point("workers, 64 connections", count, running, running.load(64, options))


def bodies(options, _):
    party = server(bodies=True)
    for size in BODIES:
        with Running(party, "body") as running:
            text = load.script(party, "body", nums=[size])
            result = running.load(8, options, text=text)
            yield point("bytes each way, 8 connections", size, running, result)


def kept(options, _):
    path = "/echo?num="
    for count in KEPT:
        with Running(server(route='cache = "1h"'), "echo") as running:
            asked = 0
            while asked < count:
                text = load.range_script(path, count, first=asked)
                asked += running.load(64, options, seconds=1, text=text)["requests"]
            text = load.range_script(path, count, step=7919)
            result = running.load(64, options, text=text)
            yield point("kept answers, 64 connections", count, running, result)
