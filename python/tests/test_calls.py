"""Results, errors and streams of functions that are not async."""

import json
import os
import threading
import unittest

from .support import WorkerCase, framed


class Results(WorkerCase):
    PROGRAM = """
        import collections, dataclasses, datetime, decimal, enum, pathlib, uuid, httpipe
        from typing import Annotated, Any, NamedTuple, Iterator

        class Colour(enum.Enum):
            RED = "red"
        class Name(str, enum.Enum):
            ANN = "ann"
        class Level(enum.IntEnum):
            LOW = 1
        class Pair(NamedTuple):
            a: int
            b: int
        @dataclasses.dataclass
        class Point:
            x: int
            tags: set
            inner: Any = None
        class Odd:
            pass
        class Text(str):
            pass
        LOOP = []
        LOOP.append(LOOP)
        DEEP = []
        for _ in range(100_000):
            DEEP = [DEEP]
        VALUES = {
            "big": 2**70, "float": 0.1, "text": "é", "none": None, "enum": [Colour.RED, Name.ANN, Level.LOW],
            "pair": Pair(1, 2), "point": Point(1, set("badce"), Point(2, set())), "bytes": [b"\\x00\\x01\\xff"],
            "date": [datetime.date(2024, 5, 17), datetime.datetime(2024, 5, 17, 8, tzinfo=datetime.timezone.utc)],
            "uuid": uuid.UUID(int=1), "decimal": decimal.Decimal("1.50"), "path": pathlib.Path("/a"),
            "many": [collections.deque([1]), range(3), {}.keys(), frozenset({1}), {"k": 1}.values(), (1,)],
            "keys": {1: "a", None: "b", True: "c", 1.5: "d"},
            "odd_keys": {datetime.date(2024, 5, 17): {Colour.RED: 1}, uuid.UUID(int=1): [{Level.LOW: 2}]},
            "mapping": collections.ChainMap({"a": 1}, {"b": 2}), "half": "a\\ud800", "subclass": Text("t"),
            "nan": [float("nan")], "inf": float("-inf"), "odd": {"a": [Odd()]}, "loop": LOOP, "deep": DEEP,
            "class": Point, "huge": 10**5000, "generator": (n for n in [1]), "exception": ValueError("x"),
            "odd_key": {Odd(): 1}, "nan_key": {float("nan"): 1},
        }
        def value(name: str): return VALUES[name]
        def raw(kind: str): return {"bytes": bytes, "bytearray": bytearray, "view": memoryview}[kind](b"\\x00\\n1")
        def image() -> Annotated[bytes, "image/png"]: return b"png"
        def large(size: int) -> bytes: return bytes(size)
        def echo(data: bytes) -> bytes: return data
        def length(text: str) -> int: return len(text)
        def text(size: int) -> str: return "é" * size
        def point() -> Point: return Point(1, set())
        def odd() -> Odd: return 1
    """

    def test_json_values_are_themselves(self):
        for name, result in (
            ("big", "1180591620717411303424"), ("float", "0.1"), ("text", '"é"'), ("none", "null"),
            ("enum", '["red","ann",1]'), ("pair", "[1,2]"), ("bytes", '["AAH/"]'), ("path", '"/a"'),
            ("point", '{"x":1,"tags":["a","b","c","d","e"],"inner":{"x":2,"tags":[],"inner":null}}'),
            ("date", '["2024-05-17","2024-05-17T08:00:00+00:00"]'), ("decimal", '"1.50"'),
            ("uuid", '"00000000-0000-0000-0000-000000000001"'), ("many", "[[1],[0,1,2],[],[1],[1],[1]]"),
            ("keys", '{"1":"c","null":"b","1.5":"d"}'), ("half", '"a\\ud800"'), ("subclass", '"t"'),
            ("odd_keys", '{"2024-05-17":{"red":1},"00000000-0000-0000-0000-000000000001":[{"1":2}]}'),
            ("mapping", '{"b":2,"a":1}'),
        ):  # fmt: skip
            with self.subTest(name):
                self.gives("value", {"name": name}, result)

    def test_what_has_no_json_form_fails_the_call(self):
        for name, error in (
            ("nan", "ValueError"), ("inf", "ValueError"), ("odd", "TypeError"), ("class", "TypeError"),
            ("generator", "TypeError"), ("exception", "TypeError"), ("odd_key", "TypeError"),
            ("nan_key", "ValueError"), ("loop", "RecursionError"), ("deep", "RecursionError"),
        ):  # fmt: skip
            with self.subTest(name):
                self.fails("value", {"name": name}, 500, "value failed: " + error)
        self.assertIn("a result of type Odd has no JSON form", self.worker.logged())

    def test_a_number_with_more_digits_than_python_writes(self):
        end = self.worker.ask("value", {"name": "huge"})
        if end[:1] == b"=":  # Python before 3.10.7 has no limit
            self.assertEqual(len(end), 5002)
        else:
            self.assertEqual(json.loads(end[1:])["message"], "value failed: ValueError")

    def test_bytes_are_raw(self):
        for kind in ("bytes", "bytearray", "view"):
            self.assertEqual(self.worker.ask("raw", {"kind": kind}), b"b\n\x00\n1")
        self.assertEqual(self.worker.ask("image"), b"bimage/png\npng")

    def test_large_messages(self):
        for size in (65_000, 65_536, 70_000, 1 << 20, 64 << 20):
            end = self.worker.ask("large", {"size": size})
            self.assertEqual((len(end), end[:3]), (size + 2, b"b\n\0"))
            body = b"\n x" * (size // 3)
            self.assertTrue(self.worker.ask("echo", {}, raw=body) == b"b\n" + body)
        self.gives("length", {"text": "x" * (8 << 20)}, str(8 << 20))
        self.assertEqual(len(self.worker.ask("text", {"size": 1 << 20})), (2 << 20) + 3)
        self.refuses("length", b'{"text":' + b"9" * 4000 + b"}", "text", "must be a string")

    def test_many_messages_in_any_pieces(self):
        asked = b"".join(
            len(message).to_bytes(4, "big") + message for message in (b'%d echo {}\n%s' % (n, b"x" * n) for n in range(900))
        )

        def write():
            at = 0
            for size in [1, 2, 3, 5, 7, 11] * 40 + [4096, 60_000, 70_000, 10, 1 << 20]:
                self.worker.process.stdin.write(asked[at : at + size])
                at += size

        thread = threading.Thread(target=write)
        thread.start()
        for n in range(900):
            self.assertEqual(self.worker.read(), (str(n), b"b\n" + b"x" * n))
        thread.join()

    def test_the_description_says_what_comes(self):
        returns = {one["name"]: one["returns"] for one in self.worker.describe()["functions"]}
        self.assertEqual(returns["image"], {"type": "string", "contentEncoding": "base64", "contentMediaType": "image/png"})
        self.assertEqual(returns["point"]["title"], "Point")
        self.assertEqual((returns["odd"], returns["value"]), (None, None))


class Numpy(WorkerCase):
    def test_arrays_and_their_numbers(self):
        try:
            import numpy  # noqa: F401
        except ImportError:
            self.skipTest("numpy is not installed")
        worker = self.start("""
            import numpy as np
            VALUES = {"array": np.arange(6).reshape(2, 3), "float32": np.float32(0.5), "float64": np.float64(1.5),
                      "int": np.int64(7), "bool": np.bool_(True), "nested": {"a": [np.int8(1), np.array([0.5])]},
                      "keys": {np.int64(3): 1}, "text": np.str_("x"), "date": np.datetime64("2024-05-17")}
            def value(name: str): return VALUES[name]
            def nan(): return np.array([np.nan])
            def total(v: list[float]) -> float: return np.array(v).sum()
        """.replace("list[float]", "list"))
        for name, result in (
            ("array", "[[0,1,2],[3,4,5]]"), ("float32", "0.5"), ("float64", "1.5"), ("int", "7"), ("bool", "true"),
            ("nested", '{"a":[1,[0.5]]}'), ("keys", '{"3":1}'), ("text", '"x"'), ("date", '"2024-05-17"'),
        ):  # fmt: skip
            self.assertEqual(worker.ask("value", {"name": name}).decode(), "=" + result)
        self.assertEqual(worker.ask("total", {"v": [1, 2.5]}), b"=3.5")
        self.assertEqual(worker.ask("nan")[:1], b"!")


class Errors(WorkerCase):
    PROGRAM = """
        import http, sys, httpipe, os, threading
        class Gone(Exception):
            status = 410
        class Wide(Exception):
            status = 302
        class Truth(Exception):
            status = True
        class Silent(Exception):
            status = 404
        class Unprintable(Exception):
            def __str__(self): raise RuntimeError("no text")
        class Hidden(Exception):
            @property
            def status(self): raise RuntimeError("no status")
        class Known(Exception):
            status = http.HTTPStatus.NOT_FOUND
        def divide(a: int, b: int) -> float:
            return deeper(a, b)
        def deeper(a, b):
            return a / b
        def own(status: int): raise httpipe.Error("too large for us", status)
        def plain(): raise httpipe.Error("wrong")
        def gone(): raise Gone("it went")
        def raises(name: str): raise eval(name)("secret")
        def silent(): raise Silent()
        def leaves(code: int): sys.exit(code)
        def interrupts(): raise KeyboardInterrupt
        def generator_exit(): raise GeneratorExit
        def recurses(): return recurses()
        def chained():
            try:
                1 / 0
            except ZeroDivisionError as error:
                raise LookupError("not there") from error
        def half(): raise httpipe.Error("a\\ud800", 400)
        def memory(): raise MemoryError
        def fine() -> int: return 1
    """

    def test_a_status_of_its_own(self):
        self.fails("own", {"status": 413}, 413, "too large for us")
        self.fails("plain", {}, 400, "wrong")
        self.fails("gone", {}, 410, "it went")
        self.fails("silent", {}, 404, "Silent")
        self.fails("raises", {"name": "Known"}, 404, "secret")
        self.fails("half", {}, 400, "a\\ud800")  # which the server would not take for text
        self.assertNotIn("Gone", self.worker.logged())

    def test_others_show_their_type_only(self):
        for name in ("Wide", "Truth", "Hidden", "Unprintable", "ValueError", "OSError"):
            self.fails("raises", {"name": name}, 500, "raises failed: " + name)
        self.fails("own", {"status": 200}, 500, "own failed: ValueError")
        self.fails("memory", {}, 500, "memory failed: MemoryError")

    def test_the_traceback_begins_with_the_program(self):
        told = self.fails("divide", {"a": 1, "b": 0}, 500, "divide failed: ZeroDivisionError")
        self.assertEqual(told["why"], "division by zero")
        self.assertRegex(told["where"], r"/program\.py:21$")
        log = self.worker.logged()
        self.assertIn("in deeper\n    return a / b", log)
        self.assertIn("ZeroDivisionError: division by zero", log)
        self.assertNotIn("<httpipe>", log)

    def test_the_causes_are_shown_too(self):
        self.fails("chained", {}, 500, "chained failed: LookupError")
        self.assertIn("The above exception was the direct cause", self.worker.logged())

    def test_what_would_end_a_program_fails_the_call(self):
        self.fails("leaves", {"code": 3}, 500, "leaves failed: SystemExit")
        self.fails("interrupts", {}, 500, "interrupts failed: KeyboardInterrupt")
        self.fails("generator_exit", {}, 500, "generator_exit failed: GeneratorExit")
        self.fails("recurses", {}, 500, "recurses failed: RecursionError")
        self.gives("fine", {}, "1")

    def test_a_function_that_is_not_there(self):
        self.fails("nope", {}, 500, "there is no function `nope`")

    def test_malformed_messages(self):
        self.worker.send(b"77")
        self.assertEqual(self.worker.read()[0], "77")
        self.worker.send(b"78 fine")
        self.assertEqual(self.worker.read(), ("78", b"=1"))
        self.worker.send(b"79 fine ")
        self.assertEqual(self.worker.read(), ("79", b"=1"))
        self.worker.send(b"5 x {}")  # no such call: no answer
        self.gives("fine", {}, "1")


class Streams(WorkerCase):
    PROGRAM = """
        import itertools, os, sys
        from typing import Iterator
        def count(n: int) -> Iterator[int]:
            for i in range(n):
                yield i
        def returned(n: int) -> Iterator[int]:
            return (i for i in range(n))
        def early(n: int):
            raise LookupError("early")
            yield n
        def later(n: int):
            yield n
            raise LookupError("later")
        def odd():
            yield 1
            yield object()
        def forever():
            try:
                for i in itertools.count():
                    yield i
            finally:
                print("closed")
        def leaves():
            yield 1
            sys.exit(3)
        def stubborn():
            while True:
                try:
                    yield 1
                except GeneratorExit:
                    pass
        def raw():
            yield b"ab"
        def fine() -> int: return 1
    """

    def test_parts_and_an_end(self):
        self.assertEqual(self.worker.ends("count", {"n": 3}), [b"+0", b"+1", b"+2", b"."])
        self.assertEqual(self.worker.ends("count", {"n": 0}), [b"."])
        self.assertEqual(self.worker.ends("returned", {"n": 1}), [b"+0", b"."])
        self.assertEqual(self.worker.ends("raw"), [b'+"YWI="', b"."])
        self.refuses("count", {"n": "3"}, "n", "must be a whole number, such as 42")

    def test_a_failure_before_and_after_the_first_part(self):
        ends = self.worker.ends("early", {"n": 1})
        self.assertEqual((len(ends), ends[0][:1]), (1, b"!"))
        ends = self.worker.ends("later", {"n": 1})
        self.assertEqual((ends[0], ends[1][:1], len(ends)), (b"+1", b"!", 2))
        self.assertEqual([end[:1] for end in self.worker.ends("odd")], [b"+", b"!"])
        self.assertEqual([end[:1] for end in self.worker.ends("leaves")], [b"+", b"!"])

    def test_a_caller_who_leaves_closes_the_generator(self):
        tag = self.worker.call("forever")
        self.assertEqual(self.worker.read(), (tag, b"+0"))
        self.worker.send(b"%s x {}" % tag.encode())
        self.assertEqual(self.until_end(tag), b".")
        self.assertIn("closed", self.worker.logged())
        self.gives("fine", {}, "1")

    def test_a_generator_that_will_not_close_fails(self):
        tag = self.worker.call("stubborn")
        self.worker.read()
        self.worker.send(b"%s x {}" % tag.encode())
        self.assertIn(b"stubborn failed: RuntimeError", self.until_end(tag))
        self.gives("fine", {}, "1")

    def test_calls_wait_for_the_end_of_a_stream_unless_they_are_taken_back(self):
        stream = self.worker.call("forever")
        self.worker.read()
        first, second, third = (self.worker.call("fine") for _ in range(3))
        for tag in (second, stream):
            self.worker.send(b"%s x {}" % tag.encode())
        found = []
        while len(found) < 4:
            tag, rest = self.worker.read()
            if rest[:1] != b"+":
                found.append((tag, rest))
        self.assertEqual(sorted(found), sorted([(second, b"."), (stream, b"."), (first, b"=1"), (third, b"=1")]))

    def until_end(self, tag):
        while True:
            answered, rest = self.worker.read()
            self.assertEqual(answered, tag)
            if rest[:1] != b"+":
                return rest

    def test_what_is_answered_beside_a_stream_does_not_wait_for_its_next_part(self):
        worker = self.start("""
            def parts():
                open("first").read()
                yield 1
                open("second").read()
            def other(): pass
            """)  # fmt: skip
        gates = [os.path.join(worker.directory, name) for name in ("first", "second")]
        for gate in gates:
            os.mkfifo(gate)
        parts = worker.call("parts")
        with open(gates[0], "w"):  # it has begun
            other = worker.call("other")
            worker.send(b"%s x {}" % other.encode())
        self.assertEqual([worker.read(), worker.read()], [(parts, b"+1"), (other, b".")])
        open(gates[1], "w").close()
        self.assertEqual(worker.read(), (parts, b"."))

    def test_the_kind_is_in_the_description(self):
        functions = {one["name"]: one for one in self.worker.describe()["functions"]}
        self.assertEqual({functions[name]["kind"] for name in ("count", "returned", "early")}, {"stream"})
        self.assertEqual(functions["count"]["returns"], {"type": "integer"})
        self.assertEqual((functions["fine"]["kind"], functions["fine"]["in_flight"]), ("sync", 1))


class Batches(WorkerCase):
    PROGRAM = """
        import httpipe
        from typing import List, Optional
        SIZES = []
        @httpipe.batch(4)
        def embed(text: List[str], scale: List[int] = None) -> List[int]:
            SIZES.append(len(text))
            if "boom" in text: raise LookupError("boom")
            if "less" in text: return [1]
            if "none" in text: return None
            if "text" in text: return "ab"
            return [len(t) * (s or 1) for t, s in zip(text, scale or [1] * len(text))]
        def mixed(n: List[int]):
            return [ValueError("odd") if i % 2 else object() if i == 8 else httpipe_error(i) if i == 4 else i for i in n]
        def httpipe_error(i): return httpipe.Error("not %d" % i, 404)
        mixed.batch = 100
        def sizes(): return SIZES[-1]
        def untyped(a, b=5): return [x + y for x, y in zip(a, b)]
        untyped.batch = 8
        def wait():
            open("gate").close()
        @httpipe.pure
        @httpipe.batch(16)
        def twice(n: List[int]) -> List[int]:
            SIZES.append(len(n))
            if 7 in n: raise LookupError("seven")
            return n[1:] if 9 in n else n
        @httpipe.pure
        @httpipe.batch(64)
        def takes(d: List[dict]) -> List[int]:
            given = [one.pop("n") for one in d]
            SIZES.append(len(given))
            if 2 in given: raise LookupError("two")
            return given
        @httpipe.pure
        @httpipe.batch(64)
        def down(status: List[int]) -> List[int]:
            SIZES.append(len(status))
            error = OSError("the database is down")
            if status[0]: error.status = status[0]
            raise error
        @httpipe.batch(8)
        def langs(text: List[str], lang: List[str] = None) -> List[str]:
            return [str(lang)] * len(text)
        @httpipe.batch(8)
        def sized(text: List[str], size=3) -> List[int]:
            return [len(one) * size for one in text]
        def runs():
            count = len(SIZES)
            del SIZES[:]
            return count
        @httpipe.route(items=100, jobs=True)
        def own(n: int) -> int: return n
    """

    def grouped(self, *calls):
        """Sends calls as one message, and returns their ends."""
        frames = b"".join(framed(b"%s %s" % (name, arguments)) for name, arguments in calls)
        self.worker.send(b"g * " + frames)
        tag, rest = self.worker.read()
        self.assertEqual((tag, rest[:1]), ("g", b"*"))
        ends, rest = [], rest[1:]
        while rest:
            size = int.from_bytes(rest[:4], "big")
            ends.append(rest[4 : 4 + size])
            rest = rest[4 + size :]
        return ends

    def together(self, function, several):
        """Sends calls while the worker is busy, and returns their ends in order."""
        gate = os.path.join(self.worker.directory, "gate")
        if not os.path.exists(gate):
            os.mkfifo(gate)
        busy = self.worker.call("wait")
        tags = [self.worker.call(function, arguments) for arguments in several]
        open(gate, "w").close()
        self.assertEqual(self.worker.read(), (busy, b"=null"))
        found = dict(self.worker.read() for _ in tags)
        return [found[tag] for tag in tags]

    def test_callers_see_elements(self):
        self.gives("embed", {"text": "abc"}, "3")
        self.gives("embed", {"text": "abc", "scale": 2}, "6")
        self.gives("untyped", {"a": 1, "b": 2}, "3")
        self.refuses("embed", {"text": ["abc"]}, "text", "must be a string")
        self.refuses("embed", {}, "text", "is missing")

    def test_what_waits_is_the_batch(self):
        ends = self.together("embed", [{"text": "x" * n} for n in range(6)])
        self.assertEqual(ends, [b"=%d" % n for n in range(6)])
        self.gives("sizes", {}, "2")
        self.together("embed", [{"text": "x" * 20_000} for n in range(3)])
        self.gives("sizes", {}, "3")
        ends = self.together("embed", [{"text": "ab"}, {"text": "ab", "scale": 3}])
        self.assertEqual(ends, [b"=2", b"=6"])

    def test_a_default_is_that_of_one_call_whoever_else_is_in_the_batch(self):
        self.gives("langs", {"text": "a"}, '"[None]"')
        ends = self.grouped((b"langs", b'{"text":"a"}'), (b"langs", b'{"text":"b","lang":"de"}'))
        self.assertEqual(ends, [b"=\"[None, 'de']\""] * 2)

    def test_what_a_function_keeps_for_itself_is_no_list(self):
        self.assertEqual(self.together("sized", [{"text": "ab"}, {"text": "c"}]), [b"=6", b"=3"])

    def test_no_answer_waits_for_the_next_call(self):
        gate = os.path.join(self.worker.directory, "gate")
        if not os.path.exists(gate):
            os.mkfifo(gate)
        self.worker.process.stdin.write(framed(b'a own {"n":1}') + framed(b"b wait {}"))
        self.assertEqual(self.worker.read(), ("a", b"=1"))
        open(gate, "w").close()
        self.assertEqual(self.worker.read(), ("b", b"=null"))

    def test_a_bad_input_fails_alone(self):
        ends = self.together("embed", [{"text": "a"}, {"text": 1}, {"text": "b"}])
        self.assertEqual(ends, [b"=1", b"?text\nmust be a string", b"=1"])

    def test_a_batch_that_raises_fails_all_of_it(self):
        ends = self.together("embed", [{"text": "a"}, {"text": "boom"}])
        self.assertEqual({end[:1] for end in ends}, {b"!"})
        self.assertIn(b"embed failed: LookupError", ends[0])

    def test_a_call_that_makes_a_batch_raise_fails_alone_if_all_may_run_twice(self):
        ends = self.together("twice", [{"n": n} for n in range(9)])
        self.assertEqual([end[:1] for end in ends], [b"="] * 7 + [b"!", b"="])
        ends = self.together("twice", [{"n": n} for n in (1, 9, 2)])
        self.assertEqual([end[:1] for end in ends], [b"=", b"!", b"="])

    def test_each_run_of_a_call_gets_the_arguments_that_its_caller_sent(self):
        for asked in (self.grouped, lambda *calls: self.together("takes", [json.loads(one) for _, one in calls])):
            ends = asked(*[(b"takes", b'{"d":{"n":%d}}' % n) for n in range(4)])
            self.assertEqual([end[:3] for end in ends], [b"=0", b"=1", b'!{"', b"=3"])

    def test_what_no_call_is_the_cause_of_is_not_tried_for_each_call(self):
        for status, most in [(0, 10), (503, 1)]:
            self.worker.ask("runs")
            ends = self.grouped(*[(b"down", b'{"status":%d}' % status) for _ in range(64)])
            self.assertEqual({end[:1] for end in ends}, {b"!"})
            self.assertEqual(len(ends), 64)
            self.gives("runs", {}, str(most))

    def test_calls_in_one_message_are_answered_by_one(self):
        ends = self.grouped((b"embed", b'{"text":"abc"}'), (b"twice", b'{"n":5}'), (b"embed", b'{"text":1}'),
                            (b"none", b""), (b"embed", b'{"text":"ab"}'))  # fmt: skip
        self.assertEqual(ends[:3], [b"=3", b"=5", b"?text\nmust be a string"])
        self.assertIn(b"there is no function `none`", ends[3])
        self.assertEqual(ends[4], b"=2")
        ends = self.grouped(*[(b"twice", b'{"n":%d}' % n) for n in range(16)])
        self.assertEqual([end[:1] for end in ends], [b"!" if n in (7, 9) else b"=" for n in range(16)])
        ends = self.grouped(*[(b"embed", b'{"text":"%s"}' % (b"x" * n)) for n in range(6)])
        self.assertEqual(ends, [b"=%d" % n for n in range(6)])
        self.gives("sizes", {}, "2")
        self.assertEqual(self.grouped(), [])

    def test_a_wrong_number_of_results(self):
        ends = self.together("embed", [{"text": "less"}, {"text": "a"}])
        self.assertEqual({end[:1] for end in ends}, {b"!"})
        self.assertIn("embed gave 1 results for 2 calls", self.worker.logged())
        self.assertEqual(self.worker.ask("embed", {"text": "none"})[:1], b"!")
        self.assertIn("embed gave NoneType for 1 calls, not a list", self.worker.logged())
        ends = self.together("embed", [{"text": "text"}, {"text": "a"}])
        self.assertEqual({end[:1] for end in ends}, {b"!"})

    def test_an_element_may_be_an_exception(self):
        ends = self.together("mixed", [{"n": n} for n in (0, 1, 4, 8)])
        self.assertEqual([end[:1] for end in ends], [b"=", b"!", b"!", b"!"])
        self.assertEqual(json.loads(ends[2][1:]), {"status": 404, "message": "not 4"})
        self.assertIn(b"mixed failed: ValueError", ends[1])

    def test_the_description(self):
        embed, *_, sizes = [one for one in self.worker.describe()["functions"] if one["name"] in ("embed", "sizes")]
        self.assertEqual((embed["batch"], embed["in_flight"], embed["returns"]), (4, 4, {"type": "integer"}))
        self.assertEqual(embed["parameters"][0]["schema"], {"type": "string"})
        self.assertEqual((embed["begins_at_once"], sizes["begins_at_once"]), (False, True))
        self.assertEqual((embed["takes_groups"], sizes["takes_groups"]), (True, False))
        own = next(one for one in self.worker.describe()["functions"] if one["name"] == "own")
        self.assertEqual([(one["items"], one["jobs"]) for one in (own, sizes)], [(100, True), (0, False)])


if __name__ == "__main__":
    unittest.main()
