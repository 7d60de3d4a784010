"""What it costs that somebody looks: a page, sixteen pages, a tap, each against nobody.

A pair is two runs of wrk against one server, one right after the other: while those look, and while
nobody does. The order changes with each pair. The CPU time is that of the server alone.
"""

import contextlib
import re
import socket
import threading
import time
from pathlib import Path
from statistics import median

from harness.install import say
from harness.parties import Party, httpipe
from harness.scenarios import Running, attempt, turned

TOKEN = "bench"
# What is asked, how many ask it, and how much CPU a call may cost more.
LOOKS = {
    "one page": ("/events", 1, "1 %"),
    "sixteen pages": ("/events", 16, ""),
    "a tap": ("/tap", 1, "10 %"),
    "a masked tap": ("/tap?masked", 1, "10 %"),
}
# What measures workers ends so long after the last look.
AFTERWARDS = 7


def with_token(exe=None):
    """httpipe as it is compared with others, but those who look need a token; `exe`: another build."""
    plain = httpipe()

    def commands(work, port, directory):
        [[program, *arguments]] = plain(work, port, directory)
        config = Path(arguments[-1])
        config.write_text(f'admin_token = "{TOKEN}"\n' + config.read_text())
        return [[exe or program, *arguments]]

    return Party("httpipe" if exe is None else "httpipe of before", commands)


class Viewer:
    """Reads a stream of the admin listener and throws it away."""

    def __init__(self, where, path):
        self.bytes = 0
        self.connection = socket.create_connection(where, timeout=10)
        head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
        self.connection.sendall(head.encode())
        answer = self.connection.recv(1 << 16)
        if not answer.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"{path}: {answer[:100]!r}")
        self.connection.settimeout(None)
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        place = bytearray(1 << 20)
        with contextlib.suppress(OSError):
            while count := self.connection.recv_into(place):
                self.bytes += count

    def leave(self):
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)
        self.reader.join()
        self.connection.close()


@contextlib.contextmanager
def looking(running, path, count):
    viewers = [Viewer(admin_of(running), path) for _ in range(count)]
    try:
        yield viewers
    finally:
        for viewer in viewers:
            viewer.leave()


def admin_of(running):
    """Where the admin listener is, as the log of the server says."""
    log = (running.directory / "output-0.txt").read_text()
    return "127.0.0.1", int(re.search(r"admin listening on http://127\.0\.0\.1:(\d+)", log)[1])


def looks(options):
    """What it costs that somebody looks, and whether a server at which nobody looks sleeps. Says the
    medians; the document has no section for it."""
    for connections in options.connections:
        records = []
        for round_ in range(options.pairs):
            what = f"looks, {connections} connections, {round_ + 1}/{options.pairs}"
            found = attempt(what, lambda: pairs_of_one_server(connections, round_, options))
            for record in found or []:
                records.append(record)
                yield record
            if options.before:
                found = attempt(f"{what}: before", lambda: two_builds(connections, round_, options))
                if found:
                    records.append(found)
                    yield found
        summary(connections, records)
    asleep = attempt("nobody looks, nobody asks", lambda: wakings(options))
    if asleep:
        say("{seconds:.0f} s idle after a page was closed: woken {wakings} times".format(**asleep))
        yield asleep


def pairs_of_one_server(connections, round_, options):
    found = []
    with Running(with_token(), "echo") as running:
        running.warm_up()
        for what, (path, count, _) in turned(list(LOOKS.items()), round_):
            runs = {}
            for is_seen in [True, False] if round_ % 2 else [False, True]:
                with looking(running, path, count if is_seen else 0):
                    runs["with" if is_seen else "without"] = running.load(connections, options)
            found.append({"what": what, "connections": connections, **runs})
    return found


def two_builds(connections, round_, options):
    """This build and the one of `--before`, at which nobody looks."""
    builds = {"with": with_token(), "without": with_token(options.before.resolve())}
    runs = {}
    for name, party in turned(list(builds.items()), round_):
        with Running(party, "echo") as running:
            running.warm_up()
            runs[name] = running.load(connections, options)
    return {"what": "nobody, against before", "connections": connections, **runs}


def summary(connections, records):
    for what in dict.fromkeys(record["what"] for record in records):
        of_it = [record for record in records if record["what"] == what]
        words = []
        for value, unit in [("server_cpu_us", "µs"), ("p99_ms", "ms"), ("rps", "calls/s")]:
            ratios = sorted(record["with"][value] / record["without"][value] for record in of_it)
            without, seen = (median(it[of][value] for it in of_it) for of in ["without", "with"])
            words.append(
                f"{value} {without:,.2f} -> {seen:,.2f} {unit}, {(median(ratios) - 1) * 100:+.1f} %"
                f" ({(ratios[0] - 1) * 100:+.1f} to {(ratios[-1] - 1) * 100:+.1f})"
            )
        most = {name: limit for name, (_, _, limit) in LOOKS.items()}.get(what, "0.5 %")
        limit = f" [at most {most} CPU]" if most else ""
        say(f"{connections} connections, {what}{limit}: " + "; ".join(words))


def wakings(options):
    """How often any thread of a server ran within a minute, after a page was closed."""
    seconds = 5 if options.quick else 60
    with Running(with_token(), "echo") as running:
        running.check()
        with looking(running, "/events", 1):
            time.sleep(2)
        time.sleep(AFTERWARDS)
        before, since = switches(running.tree.server), time.monotonic()
        time.sleep(seconds)
        woken = switches(running.tree.server) - before
        return {"what": "idle", "seconds": time.monotonic() - since, "wakings": woken}


def switches(pid):
    """How often the threads of a process have left a processor."""
    texts = [file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/status")]
    found = re.findall(r"_ctxt_switches:\s+(\d+)", "".join(texts))
    return sum(map(int, found))
