"""What the server refuses before a worker sees it, a worker refuses in the same words: `python/refusals.json`."""

import json
import os
import re

from .support import PYTHON, WorkerCase

with open(os.path.join(PYTHON, "refusals.json")) as _file:
    ROWS = json.load(_file)


class Refusals(WorkerCase):
    def test_each_row(self):
        notes = [re.sub(r"\b(list|dict)\b", lambda found: found[0].capitalize(), row["annotation"]) for row in ROWS]
        worker = self.start("from typing import *\n" + "".join(
            "def f%d(v: %s): return v\n" % (number, note) for number, note in enumerate(notes)))  # fmt: skip
        functions = worker.describe()["functions"]
        for number, row in enumerate(ROWS):
            with self.subTest(row):
                end = worker.ask("f%d" % number, {"v": row["value"]})
                if "why" in row:
                    self.assertEqual(end.decode(), "?v\n" + row["why"])
                else:
                    self.assertEqual(json.loads(end[1:]), row["value"])
                self.assertEqual(functions[number]["parameters"][0]["schema"], row["schema"])
