"""Whatever comes in, each call has exactly one end, in the right form. HTTPIPE_FUZZ_SEED makes another run."""

import json
import os
import random
import threading
import unittest

from .support import Worker

SEED = int(os.environ.get("HTTPIPE_FUZZ_SEED", "1"))
CALLS = int(os.environ.get("HTTPIPE_FUZZ_CALLS", "4000"))

SYNC = """
    import datetime, decimal, enum, uuid
    from dataclasses import dataclass, field
    from typing import *
    class Colour(enum.Enum):
        RED = "red"
        ONE = 1
        NONE = None
    @dataclass
    class Node:
        value: Union[int, str]
        next: Optional["Node"] = None
        tags: Dict[str, List[float]] = field(default_factory=dict)
        def __post_init__(self):
            if self.value == "refused": raise ValueError("refused")
    class Movie(TypedDict):
        title: str
        colours: List[Colour]
    def same(v): return v
    def node(v: Node): return v
    def movie(v: Movie): return v
    def nested(v: List[Dict[str, Tuple[int, Optional[bool]]]]): return v
    def choice(v: Literal["red", 1, True, None]): return v
    def times(v: Union[datetime.datetime, datetime.date, uuid.UUID, decimal.Decimal, None]): return v
    def several(a: int = 1, b: float = 2.0, *, c: str = "", **more: List[int]): return [a, b, c, more]
    def blob(v: bytes, n: int = 0): return v
    def parts(v: list):
        for part in v: yield part
    def strange(v):
        if isinstance(v, dict): return {tuple(v): 1}
        if isinstance(v, str): raise type(v, (Exception,), {"status": len(v)})(v) if v.isidentifier() else Exception(v)
        if isinstance(v, float): return v / 0.0
        return {v} if not isinstance(v, list) else object()
    def batch(v: List[int], w: List[str] = None): return [str(x) * (x % 3) if x % 5 else KeyError(x) for x in v]
    batch.batch = 7
"""
ASYNC = SYNC + """
    import asyncio
    async def later(v: List[int]): 
        await asyncio.sleep(0)
        return v
    async def ticks(v: list):
        for part in v:
            yield part
            await asyncio.sleep(0)
    async def embed(v: List[str]):
        await asyncio.sleep(0)
        return [len(x) for x in v] if "red" not in v else []
    embed.batch = 3
"""
NAMES = ["v", "v", "v", "a", "b", "c", "n", "w", "value", "next", "tags", "title", "colours", "", "é", "\ud800", "x y", "\n"]
TEXTS = ["", "red", "refused", "2024-05-17", "2024-05-17T08:30:00Z", "12345678-1234-5678-1234-567812345678", "1.50",
         "NaN", "AAD/", "😀", "\ud83d", "\x00\x1f", "a" * 300, "class", "fourhundred"]  # fmt: skip
RAW = ["NaN", "-Infinity", "1e999", "1" * 30, "-0", "1E400", "01", "+1", "tru", "'a'", "[1,]", "{,}", '"\x01"', "{}}",
       '"\\ud800"', "[" * 3000, "", " ", "\xff", "1.0", "-1e-400", '{"v":1,"v":[]}', "\ufeff{}"]  # fmt: skip


def value(rng, depth=0):
    kind = rng.randrange(12 if depth < 4 else 8)
    if kind < 8:
        return rng.choice([None, True, False, 0, 1, -5, 2**70, 0.5, 1e300, rng.randrange(1000), rng.choice(TEXTS)])
    if kind < 10:
        return [value(rng, depth + 1) for _ in range(rng.randrange(5))]
    return {rng.choice(NAMES): value(rng, depth + 1) for _ in range(rng.randrange(4))}


def arguments(rng):
    """Returns the text of arguments: most of them an object, some no JSON at all."""
    kind = rng.randrange(10)
    if kind == 0:
        return rng.choice(RAW)
    if kind == 1:
        return '{"v":%s}' % rng.choice(RAW)
    given = {"v": value(rng)}
    if kind < 4:
        given.update({rng.choice(NAMES): value(rng) for _ in range(3)})
    return json.dumps(given, ensure_ascii=kind < 8, separators=rng.choice([(",", ":"), (", ", " : ")]))


class Fuzz(unittest.TestCase):
    def check_end(self, rest):
        """The message has one of the forms of the wire. Returns true for an end."""
        kind, content = rest[:1], rest[1:]
        if kind in (b"=", b"+", b"!"):
            text = content.decode()  # strict UTF-8
            self.assertNotIn("\n", text)
            found = json.loads(text, parse_constant=self.fail)
            if kind == b"!":
                self.assertIn(found["status"], range(400, 600))
                self.assertIsInstance(found["message"], str)
        elif kind == b"?":
            name, why = content.decode().split("\n", 1)
            self.assertTrue(why)
        elif kind == b"b":
            self.assertIn(b"\n", content)
        else:
            self.assertEqual(rest, b".")
        return kind != b"+"

    def run_program(self, program, seed):
        rng = random.Random(seed)
        worker = Worker(program)
        self.addCleanup(worker.end)
        names = [one["name"] for one in worker.describe()["functions"]] + ["nope"]
        wanted, messages = {}, []
        for number in range(CALLS):
            tag, name, text = b"%d" % number, rng.choice(names), arguments(rng).encode("utf-8", "surrogatepass")
            message = tag + b" " + name.encode() + b" " + text
            if rng.randrange(8) == 0 or name == "blob" and rng.randrange(2):
                message += b"\n" + rng.randbytes(rng.choice([0, 1, 10, 100_000]))
            messages.append(message)
            wanted[tag.decode()] = name, text
            if rng.randrange(10) == 0:
                messages.append(b"%d x {}" % rng.randrange(number + 1))
        data = b"".join(len(message).to_bytes(4, "big") + message for message in messages)

        def write():
            at = 0
            while at < len(data):
                size = rng.choice([1, 10, 1000, 65_536, 300_000])
                at += worker.process.stdin.write(data[at : at + size])
            worker.process.stdin.close()

        thread = threading.Thread(target=write)
        thread.start()
        ends = {}
        while True:
            message = worker.read()
            if message is None:
                break
            tag, rest = message
            self.assertNotIn(tag, ends, "a second end, or a part after the end")
            if self.check_end(rest):
                ends[tag] = rest
        thread.join()
        self.assertEqual(worker.process.wait(), 0, worker.logged()[-3000:])
        self.assertEqual(set(ends), set(wanted))
        for tag, (name, text) in wanted.items():
            if name == "same" and ends[tag][:1] == b"=":
                self.assertEqual(json.loads(ends[tag][1:]), json.loads(text)["v"])

    def test_functions(self):
        self.run_program(SYNC, SEED)

    def test_async_functions(self):
        self.run_program(ASYNC, SEED + 1)
