"""Asking: one call, many checked calls, wrk, and a burst of short calls.

wrk makes the load, because a generator in Python would be what is measured. What it receives is
only counted by status; that the answers are right is checked by calls of our own before each run.
"""

import http.client
import json
import re
import selectors
import socket
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from harness.install import environment
from harness.places import RUNS
from harness.processes import spent

# Questions of the echo work; the digits vary, as they would.
NUMBERS = range(1, 1001)


class Wrong(Exception):
    """An answer is wrong."""


def free_port():
    """A port that is free at the moment."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def check(party, work, num, status, body):
    """Raises `Wrong` unless this is the right answer to the question."""
    expected = party.expected(work, num)
    try:
        result = str(json.loads(body)["result"])
    except (ValueError, KeyError, TypeError):
        result = None
    if status != 200 or result != expected:
        raise Wrong(f"{work}({num}) is {status} {body[:80]!r}, not {expected}")


def connected(party, port):
    """A connection of `http.client`."""
    if not party.secure:
        return http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    anybody = ssl._create_unverified_context()
    return http.client.HTTPSConnection("127.0.0.1", port, timeout=5, context=anybody)


def ask(connection, party, work, num):
    """One checked call over an `http.client` connection."""
    method, path, body = party.request(work, num)
    headers = party.headers | ({"Content-Type": "application/json"} if body else {})
    connection.request(method, path, body, headers)
    response = connection.getresponse()
    check(party, work, num, response.status, response.read())


def wait_for_first_answer(tree, party, work, port, since, patience=60):
    """Waits for the first right answer. Returns the seconds since the start of the processes."""
    while True:
        connection = connected(party, port)
        try:
            ask(connection, party, work, 10)
            return time.monotonic() - since
        except (OSError, http.client.HTTPException, Wrong) as error:
            tree.check_alive()
            if time.monotonic() - since > patience:
                raise RuntimeError(f"{party.name}: no answer: {error}; {tree.last_words()}") from error
        finally:
            connection.close()
        time.sleep(0.002)


def checked_calls(party, work, port, connections=16, each=25):
    """Makes calls from many connections at once and checks each answer. Returns how many were
    asked, wrong and unanswered."""
    counts = {"asked": 0, "wrong": 0, "unanswered": 0}
    lock = threading.Lock()
    first = []

    def caller(offset):
        connection = connected(party, port)
        for i in range(each):
            num = (offset * each + i) * 7 % 1000 + 1 if work == "echo" else (offset + i) % 12
            kind = None
            try:
                ask(connection, party, work, num)
            except Wrong as error:
                kind = "wrong"
                first.append(str(error))
            except (OSError, http.client.HTTPException) as error:
                kind = "unanswered"
                first.append(repr(error))
                connection.close()
            with lock:
                counts["asked"] += 1
                if kind:
                    counts[kind] += 1
        connection.close()

    callers = [threading.Thread(target=caller, args=(i,)) for i in range(connections)]
    for thread in callers:
        thread.start()
    for thread in callers:
        thread.join()
    if first and not party.is_wrong:
        raise Wrong(f"{party.name}: {counts}: {first[0]}")
    return counts


# wrk.

SCRIPT = """\
local requests, at = {}, 0
init = function()
  wrk.method = "%(method)s"
  wrk.headers["Content-Type"] = %(content_type)s
  for name, value in pairs({%(headers)s}) do wrk.headers[name] = value end
  for index, path in ipairs({%(paths)s}) do
    requests[index] = wrk.format(nil, path, nil, ({%(bodies)s})[index])
  end
end
request = function()
  at = at %% #requests + 1
  return requests[at]
end
done = function(summary, latency)
  local errors = summary.errors
  io.stdout:write(string.format(
    "RESULT requests=%%d us=%%d p50=%%.3f p99=%%.3f p999=%%.3f status=%%d failed=%%d\\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    latency:percentile(99.9), errors.status,
    errors.connect + errors.read + errors.write + errors.timeout))
end
"""


def questions(work):
    """The questions that a run of wrk repeats."""
    if work == "echo":
        return list(NUMBERS)
    if work == "mix":
        # One call in 500 is a fib(24); the others cost next to nothing.
        return [1] * 250 + [24] + [1] * 249
    return [10]


# A script that asks numbers from 1 to `count`, which are too many to prepare. A large `step` makes
# large strides.
RANGE_SCRIPT = SCRIPT.partition("init = ")[0] + """\
at = %(first)d
request = function()
  at = (at + %(step)d) %% %(count)d
  return "GET %(path)s" .. (at + 1) .. " HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n"
end
""" + SCRIPT[SCRIPT.index("done = ") :]


def script(party, work, nums=None):
    """A script for wrk that repeats these questions."""
    asked = [party.request("fib" if work == "mix" else work, n) for n in nums or questions(work)]
    has_body = asked[0][2] is not None
    return SCRIPT % {
        "method": asked[0][0],
        "content_type": '"application/json"' if has_body else "nil",
        "headers": ",".join(f'["{name}"]="{value}"' for name, value in party.headers.items()),
        "paths": ",".join(f'"{path}"' for _, path, _ in asked),
        "bodies": ",".join(f"'{body}'" for _, _, body in asked) if has_body else "",
    }


def range_script(path, count, first=0, step=1):
    return RANGE_SCRIPT % {"path": path, "count": count, "first": first, "step": step}


def wrk(party, work, port, connections, seconds, threads=1, core=None, text=None):
    """One run of wrk: requests/s, latencies in ms, and failures. `text`: its script, if not that of
    the work."""
    # In the directory of this port, so that another run does not change it.
    file = RUNS / str(port) / "asks.lua"
    file.write_text(text or script(party, work))
    command = [] if core is None else ["taskset", "-c", str(core)]
    command += ["wrk", "-t", str(min(threads, connections)), "-c", str(connections)]
    command += ["-d", f"{max(1, round(seconds))}s", "--timeout", "20s", "-s", str(file)]
    command += [f"http{'s' if party.secure else ''}://127.0.0.1:{port}/"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True)
    found = re.search(r"^RESULT (.*)$", done.stdout, re.M)
    if not found:
        raise RuntimeError(f"wrk: {done.stdout}{done.stderr}")
    values = {name: float(text) for name, text in re.findall(r"(\w+)=(\S+)", found[1])}
    return {
        "requests": int(values["requests"]),
        "rps": values["requests"] / (values["us"] / 1e6),
        "p50_ms": values["p50"] / 1000,
        "p99_ms": values["p99"] / 1000,
        "p999_ms": values["p999"] / 1000,
        "not_ok": int(values["status"]),
        "failed": int(values["failed"]),
    }


def measured(tree, *arguments, **options):
    """A run of wrk, with the CPU time of the party's whole process tree in microseconds per
    request."""
    before = tree.cpu()
    result = wrk(*arguments, **options)
    tree.check_alive()
    after = tree.cpu()
    each = 1e6 / max(1, result["requests"])
    result["cpu_us"] = spent(before, after) * each
    result["server_cpu_us"] = (after[tree.server] - before[tree.server]) * each
    return result


def checked_under_load(party, work, port, tree):
    """Makes checked calls while wrk asks too. Warms the party up, and shows that its answers are
    right under load."""
    with ThreadPoolExecutor(1) as beside:
        checking = beside.submit(checked_calls, party, work, port)
        wrk(party, work, port, 16, 1)
        counts = checking.result()
    tree.check_alive()
    return counts


# Short calls beside long ones.


class Burst:
    """Calls that are sent at once, or `apart` seconds apart, each on its own connection. Their
    times begin when the connection is opened."""

    def __init__(self, party, work, port, nums, apart=0):
        self.party, self.work = party, work
        self.selector = selectors.DefaultSelector()
        self.open = {}
        self.milliseconds = []
        for num in nums:
            method, path, body = party.request(work, num)
            head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            if body:
                head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            start = time.perf_counter()
            connection = socket.create_connection(("127.0.0.1", port), timeout=30)
            connection.sendall((head + "\r\n" + (body or "")).encode())
            connection.setblocking(False)
            self.open[connection] = (num, start, bytearray())
            self.selector.register(connection, selectors.EVENT_READ)
            # Reads an answer that is already there before the other calls are sent.
            self.take(timeout=0)
            time.sleep(apart)

    def finish(self, patience=60):
        """Waits for the answers, checks them, and returns how long each took."""
        until = time.perf_counter() + patience
        while self.open:
            if time.perf_counter() > until:
                raise RuntimeError(f"{self.party.name}: {len(self.open)} calls without an answer")
            self.take(timeout=1)
        return sorted(self.milliseconds)

    def take(self, timeout):
        for key, _ in self.selector.select(timeout):
            self.read(key.fileobj)

    def read(self, connection):
        num, start, received = self.open[connection]
        piece = connection.recv(65536)
        received += piece
        body = body_of(bytes(received), ended=not piece)
        if body is None:
            return
        self.milliseconds.append((time.perf_counter() - start) * 1000)
        status = int(received.split(b" ", 2)[1])
        check(self.party, self.work, num, status, body)
        self.selector.unregister(connection)
        connection.close()
        del self.open[connection]


def body_of(received, ended):
    """The body of a complete HTTP/1.1 response; `None` if it is not complete yet."""
    head, end, rest = received.partition(b"\r\n\r\n")
    if not end:
        if ended:
            raise Wrong("the connection was closed without an answer")
        return None
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if length:
        whole = len(rest) >= int(length[1])
        return rest[: int(length[1])] if whole or ended else None
    if re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head):
        if not rest.endswith(b"0\r\n\r\n"):
            return None
        return b"".join(re.findall(rb"(?s)[0-9a-fA-F]+\r\n(.*?)\r\n", rest[:-5]))
    return rest if ended else None
