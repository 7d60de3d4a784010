"""What a call costs the worker, in CPU time of its process: `python3 python/speed.py [CALLS]`.

Compares programs that answer `fib(10)` one call at a time: a plain loop over lines, a loop that reads and writes JSON
by hand, and the worker. The last column is what is beyond the plain loop.
"""

import os
import resource
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))

FIB = """
def fib(n: int) -> int:
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a

def same(n: int) -> int:
    return n

def concat(text: str, times: int, loud: bool = False, scale: float = 1.0) -> str:
    return text
"""
LINES = """
import sys
from calculate import fib
for line in sys.stdin:
    print(fib(int(line)), flush=True)
"""
JSON = """
import json, sys
from calculate import fib
for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps({"id": asked["id"], "result": fib(asked["n"])}), flush=True)
"""


def framed(message):
    return len(message).to_bytes(4, "big") + message


def read_line(pipe):
    return pipe.readline()


def read_frame(pipe):
    return pipe.read(int.from_bytes(pipe.read(4), "big"))


def cpu(command, directory, first, question, read, calls):
    """Returns the CPU time of a call in microseconds: that of many calls less that of one."""
    times = []
    for count in (1, calls):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        with subprocess.Popen(command, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            process.stdin.write(first)
            for _ in range(count):
                process.stdin.write(question)
                process.stdin.flush()
                read(process.stdout)
            process.stdin.close()
            process.wait()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return (times[1] - times[0]) / (calls - 1) * 1e6


def main():
    calls = int(sys.argv[1]) if len(sys.argv) > 1 else 50_000
    with open(os.path.join(HERE, "boot.py")) as file:
        boot = file.read()
    with open(os.path.join(HERE, "httpipe", "_worker.py"), "rb") as file:
        loop = framed(file.read())
    with tempfile.TemporaryDirectory() as directory:
        for name, text in (("calculate", FIB), ("lines", LINES), ("by_hand", JSON)):
            with open(os.path.join(directory, name + ".py"), "w") as file:
                file.write(text)
        worker = [sys.executable, "-c", boot, "calculate.py:*"]
        ways = [
            ("line loop, fib(10)", [sys.executable, "lines.py"], b"", b"10\n", read_line),
            ("JSON loop by hand, fib(10)", [sys.executable, "by_hand.py"], b"", b'{"id":17,"n":10}\n', read_line),
            ("worker, fib(10)", worker, loop, framed(b'17 fib {"n":10}'), read_frame),
            ("worker, same(10)", worker, loop, framed(b'17 same {"n":10}'), read_frame),
            ("worker, four parameters", worker, loop,
             framed(b'17 concat {"text":"hello","times":3,"loud":true,"scale":1.5}'), read_frame),
        ]  # fmt: skip
        print("Python %d.%d.%d, %d calls, median of 5" % (*sys.version_info[:3], calls))
        plain = None
        for name, command, first, question, read in ways:
            cost = sorted(cpu(command, directory, first, question, read, calls) for _ in range(5))[2]
            plain = plain or cost
            print("%-28s %6.2f us   %+6.2f us   x %.2f" % (name, cost, cost - plain, cost / plain))


if __name__ == "__main__":
    main()
