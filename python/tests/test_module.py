"""The module as it is installed: `import httpipe`, `python -m httpipe`, and scripts that are started by hand."""

import os
import subprocess
import sys
import tempfile
import unittest

import httpipe

from .support import PYTHON


class Module(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.put("bin/httpipe", "#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
        os.chmod(os.path.join(self.directory.name, "bin/httpipe"), 0o755)

    def put(self, name, text):
        path = os.path.join(self.directory.name, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as file:
            file.write(text)
        return path

    def run_python(self, *arguments, path="bin"):
        path = os.path.join(self.directory.name, path) + ":/usr/bin:/bin"
        return subprocess.run([sys.executable, *arguments], capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": PYTHON, "PATH": path, "PYTHONDONTWRITEBYTECODE": "1"})  # fmt: skip

    def test_python_m_httpipe_is_the_program(self):
        done = self.run_python("-m", "httpipe", "run", "a b", "--watch")
        self.assertEqual((done.stdout, done.returncode), ("run\na b\n--watch\n", 0))

    def test_without_the_program(self):
        done = self.run_python("-m", "httpipe", path="nowhere")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, "^error: there is no program `httpipe` in .*, nor in PATH; install it again\n$")

    def test_a_script_that_is_started_by_hand_becomes_the_server(self):
        script = self.put("served.py", "import httpipe\ndef fib(n: int): pass\nprint('first')\nhttpipe.serve(fib)\n")
        done = self.run_python(script, "--listen", ":9000")
        self.assertEqual(done.stdout, "first\nrun\n%s\n--interpreter\n%s\n--listen\n:9000\n" % (script, sys.executable))
        done = self.run_python("-c", "import httpipe; httpipe.serve(print)")
        self.assertIn("RuntimeError: httpipe.serve is for scripts", done.stderr)

    def test_errors_have_a_status(self):
        error = httpipe.Error("no such user", 404)
        self.assertEqual((str(error), error.status), ("no such user", 404))
        self.assertEqual(httpipe.Error("wrong").status, 400)
        for status in (200, 399, 600):
            with self.assertRaises(ValueError):
                httpipe.Error("wrong", status)

    def test_marks(self):
        self.assertEqual(httpipe.batch(3)(lambda: 1).batch, 3)
        self.assertIs(httpipe.pure(lambda: 1).pure, True)
        for wrong in (0, -1, True, "3", print):
            with self.assertRaises(TypeError):
                httpipe.batch(wrong)
        self.assertEqual(httpipe.route(items=3, jobs=True)(lambda: 1).route, (3, True))
        for wrong in ({"items": -1}, {"items": True}, {"items": "3"}, {"jobs": 1}):
            with self.assertRaises(TypeError):
                httpipe.route(**wrong)

    def test_what_is_exported(self):
        self.assertEqual(sorted(httpipe.__all__), ["Error", "batch", "progress", "pure", "route", "serve"])
