"""Starts workers as the server does, and speaks the wire with them."""

import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import textwrap
import unittest

PYTHON = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PATIENCE = 30
"""How long a test waits for bytes before it gives up (seconds)."""

with open(os.path.join(PYTHON, "boot.py")) as _file:
    BOOT = _file.read()
with open(os.path.join(PYTHON, "httpipe", "_worker.py"), "rb") as _file:
    LOOP = _file.read()


def framed(message):
    return len(message).to_bytes(4, "big") + message


class Worker:
    """A process with the worker's loop, in a directory of its own."""

    def __init__(self, text, target="program.py:*", files=(), directory=None):
        self.directory = directory or tempfile.mkdtemp()
        for name, content in {"program.py": text, **dict(files)}.items():
            path = os.path.join(self.directory, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(textwrap.dedent(content))
        self.log = tempfile.TemporaryFile(dir=self.directory)
        self.process = subprocess.Popen(
            [sys.executable, "-c", BOOT, target],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, cwd=self.directory,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}, bufsize=0,
        )  # fmt: skip
        self.rd = self.process.stdout.fileno()
        self.tag = 0
        self.buffer = bytearray()
        try:
            self.process.stdin.write(framed(LOOP))
        except BrokenPipeError:
            pass

    def send(self, message):
        data = memoryview(framed(message))
        while data:
            data = data[self.process.stdin.write(data) :]

    def read(self):
        """Returns the next message as (tag, rest); None at the end of the process."""
        while len(self.buffer) < 4 or len(self.buffer) < 4 + int.from_bytes(self.buffer[:4], "big"):
            ready, _, _ = select.select([self.rd], [], [], PATIENCE)
            if not ready:
                raise AssertionError("no answer; the log has:\n" + self.logged())
            data = os.read(self.rd, 1 << 20)
            if not data:
                if self.buffer:
                    raise AssertionError("half a message: %r" % self.buffer)
                return None
            self.buffer += data
        size = int.from_bytes(self.buffer[:4], "big")
        message = bytes(self.buffer[4 : 4 + size])
        del self.buffer[: 4 + size]
        tag, _, rest = message.partition(b" ")
        return tag.decode(), rest

    def call(self, function, arguments=None, raw=None):
        """Sends a call and returns its tag."""
        self.tag += 1
        if not isinstance(arguments, (bytes, str)):
            arguments = json.dumps(arguments or {})
        if isinstance(arguments, str):
            arguments = arguments.encode()
        message = b"%d %s %s" % (self.tag, function.encode(), arguments)
        self.send(message if raw is None else message + b"\n" + raw)
        return str(self.tag)

    def ends(self, function, arguments=None, raw=None):
        """Calls a function and returns all messages that answer it, as bytes."""
        tag = self.call(function, arguments, raw)
        found = []
        while not found or found[-1][:1] == b"+":
            message = self.read()
            if message is None:
                raise AssertionError("the worker ended; its log has:\n" + self.logged())
            assert message[0] == tag, (message, tag)
            found.append(message[1])
        return found

    def ask(self, function, arguments=None, raw=None):
        """Calls a function and returns its end as bytes."""
        return self.ends(function, arguments, raw)[-1]

    def describe(self):
        self.send(b'd ? {"version":1}')
        tag, rest = self.read()
        assert tag == "d", tag
        return json.loads(rest[1:])

    def problem(self):
        """Returns why the program is refused, and the exit code."""
        described = self.describe()
        return described["problem"], self.process.wait(PATIENCE)

    def logged(self):
        self.log.seek(0)
        return self.log.read().decode("utf-8", "replace")

    def finish(self):
        """Closes the wire, and returns what was still to be read and the exit code."""
        self.process.stdin.close()
        found = []
        while True:
            message = self.read()
            if message is None:
                return found, self.process.wait(PATIENCE)
            found.append(message)

    def end(self):
        for pipe in (self.process.stdin, self.process.stdout):
            pipe.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)


class WorkerCase(unittest.TestCase):
    """Tests that share one worker, whose program is `PROGRAM`."""

    PROGRAM = ""
    maxDiff = None

    @classmethod
    def setUpClass(cls):
        cls.worker = Worker(cls.PROGRAM)
        cls.addClassCleanup(cls.worker.end)

    def start(self, text, target="program.py:*", files=()):
        worker = Worker(text, target, files)
        self.addCleanup(worker.end)
        return worker

    def gives(self, function, arguments, result, raw=None):
        """The call has this result, which is compared as text."""
        self.assertEqual(self.worker.ask(function, arguments, raw).decode(), "=" + result)

    def refuses(self, function, arguments, name, why, raw=None):
        self.assertEqual(self.worker.ask(function, arguments, raw).decode(), "?%s\n%s" % (name, why))

    def fails(self, function, arguments, status, message):
        end = self.worker.ask(function, arguments)
        self.assertEqual(end[:1], b"!", end)
        told = json.loads(end[1:])
        self.assertEqual((told["status"], told["message"]), (status, message))
        return told
