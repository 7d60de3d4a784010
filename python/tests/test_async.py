"""Programs with `async` functions."""

import json
import signal
import sys

from .support import PATIENCE, WorkerCase


class Async(WorkerCase):
    PROGRAM = """
        import asyncio, functools, sys, httpipe
        from typing import AsyncIterator, List
        EVENTS = {}
        def event(name): return EVENTS.setdefault(name, asyncio.Event())
        async def wait(name: str) -> str:
            await event(name).wait()
            return name
        async def release(name: str):
            event(name).set()
        async def ticks(n: int) -> AsyncIterator[int]:
            try:
                for i in range(n):
                    yield i
                    await asyncio.sleep(0.001)
            finally:
                print("closed")
        async def tight(n: int):
            for i in range(n): yield i
        async def busy():
            while True: yield 1
        async def early():
            raise LookupError("x")
            yield 1
        async def later():
            yield 1
            raise LookupError("x")
        def quick(n: int) -> int: return n
        def parts(n: int):
            for i in range(n): yield i
        async def divide(a: int, b: int): return a / b
        async def leaves(): sys.exit(3)
        async def odd(): raise asyncio.CancelledError
        async def stubborn():
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                return "anyway"
        async def endless():
            while True:
                try:
                    yield 1
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    print("goes on")
        async def inner():
            try:
                await asyncio.wait_for(asyncio.sleep(60), 60)
            finally:
                print("cleaned")
        @httpipe.batch(3)
        async def embed(text: List[str]) -> List[int]:
            await event("embed").wait()
            return [len(t) for t in text] + [len(text)] * 0
        @httpipe.pure
        @httpipe.batch(4)
        async def takes(d: List[dict]) -> List[int]:
            given = [one.pop("n") for one in d]
            if 2 in given: raise LookupError("two")
            return given
        def logged(f):
            @functools.wraps(f)
            def wrapper(*args, **kwargs):
                return f(*args, **kwargs)
            return wrapper
        @logged
        async def decorated(n: int) -> int: return n
        async def large(size: int) -> bytes: return bytes(size)
    """

    def test_calls_run_side_by_side(self):
        waiting = [self.worker.call("wait", {"name": "a"}) for _ in range(5)]
        self.gives("quick", {"n": 1}, "1")
        released = self.worker.call("release", {"name": "a"})
        found = dict(self.worker.read() for _ in range(6))
        self.assertEqual(found, {released: b"=null", **{tag: b'="a"' for tag in waiting}})

    def test_streams(self):
        self.assertEqual(self.worker.ends("ticks", {"n": 2}), [b"+0", b"+1", b"."])
        self.assertEqual(self.worker.ends("tight", {"n": 3}), [b"+0", b"+1", b"+2", b"."])
        self.assertEqual(self.worker.ends("parts", {"n": 2}), [b"+0", b"+1", b"."])
        self.assertEqual([end[:1] for end in self.worker.ends("early")], [b"!"])
        self.assertEqual([end[:1] for end in self.worker.ends("later")], [b"+", b"!"])

    def test_a_stream_that_never_waits_lets_others_run(self):
        for function in ("tight", "parts"):
            stream = self.worker.call(function, {"n": 10_000_000})
            quick = self.worker.call("quick", {"n": 1})
            self.worker.send(b"%s x {}" % stream.encode())
            ends = {}
            while len(ends) < 2:
                tag, rest = self.worker.read()
                if rest[:1] != b"+":
                    ends[tag] = rest
            self.assertEqual(ends, {stream: b".", quick: b"=1"})

    def test_errors(self):
        self.fails("divide", {"a": 1, "b": 0}, 500, "divide failed: ZeroDivisionError")
        self.refuses("divide", {"a": 1}, "b", "is missing")
        self.fails("leaves", {}, 500, "leaves failed: SystemExit")
        self.fails("odd", {}, 500, "odd failed: CancelledError")
        self.assertNotIn("<httpipe>", self.worker.logged())
        self.gives("decorated", {"n": 1}, "1")
        self.assertEqual(len(self.worker.ask("large", {"size": 1 << 22})), (1 << 22) + 2)

    def test_cancel(self):
        calls = [self.worker.call(name) for name in ("inner", "stubborn")] + [self.worker.call("wait", {"name": "never"})]
        self.gives("quick", {"n": 1}, "1")  # they have begun
        for tag in calls:
            self.worker.send(b"%s x {}" % tag.encode())
        found = dict(self.worker.read() for _ in calls)
        self.assertEqual([found[tag] for tag in calls], [b".", b'="anyway"', b"."])
        self.assertIn("cleaned", self.worker.logged())

    def test_a_stream_that_catches_the_cancel_ends_at_its_next_part(self):
        tag = self.worker.call("endless")
        self.assertEqual(self.worker.read(), (tag, b"+1"))
        self.worker.send(b"%s x {}" % tag.encode())
        self.assertEqual(self.worker.read(), (tag, b"."))
        self.assertIn("goes on", self.worker.logged())

    def test_a_stream_that_never_waits_lets_others_have_a_turn(self):
        stream = self.worker.call("busy")
        quick = self.worker.call("quick", {"n": 1})
        answers = (self.worker.read() for _ in range(10_000))
        self.assertIn((quick, b"=1"), answers)
        self.worker.send(b"%s x {}" % stream.encode())
        while self.worker.read() != (stream, b"."):
            pass

    def test_cancel_before_the_first_line(self):
        tag = "9999"
        messages = b'9999 wait {"name":"never"}', b"9999 x {}"
        self.worker.process.stdin.write(b"".join(len(one).to_bytes(4, "big") + one for one in messages))
        self.assertEqual(self.worker.read(), (tag, b"."))
        self.worker.send(b"9999 x {}")
        self.gives("quick", {"n": 1}, "1")

    def test_batches(self):
        first = self.worker.call("embed", {"text": "a"})
        self.gives("quick", {"n": 1}, "1")
        self.worker.send(b"%s x {}" % first.encode())
        self.assertEqual(self.worker.read(), (first, b"."))
        tags = [self.worker.call("embed", {"text": "x" * n}) for n in range(5)]
        wrong = self.worker.call("embed", {"text": 1})
        self.assertEqual(self.worker.read(), (wrong, b"?text\nmust be a string"))
        self.worker.send(b"%s x {}" % tags[0].encode())  # one of several: the others go on
        released = self.worker.call("release", {"name": "embed"})
        found = dict(self.worker.read() for _ in range(6))
        self.assertEqual(found.pop(released), b"=null")
        self.assertEqual([found[tag] for tag in tags[1:]], [b"=1", b"=2", b"=3", b"=4"])

    def test_each_run_of_a_call_gets_the_arguments_that_its_caller_sent(self):
        calls = [b'%d takes {"d":{"n":%d}}' % (1000 + n, n) for n in range(4)]
        self.worker.process.stdin.write(b"".join(len(one).to_bytes(4, "big") + one for one in calls))
        found = dict(self.worker.read() for _ in calls)
        self.assertEqual([found["100%d" % n][:3] for n in range(4)], [b"=0", b"=1", b'!{"', b"=3"])

    def test_the_description(self):
        functions = {one["name"]: one for one in self.worker.describe()["functions"]}
        kinds = {name: functions[name]["kind"] for name in ("wait", "ticks", "quick", "parts", "decorated")}
        self.assertEqual(kinds, {"wait": "async", "ticks": "async stream", "quick": "sync", "parts": "stream",
                                 "decorated": "async"})  # fmt: skip
        self.assertEqual((functions["wait"]["in_flight"], functions["embed"]["in_flight"]), (64, 3))
        self.assertFalse(functions["quick"]["begins_at_once"])  # what waits beside it has been read

    def test_calls_in_flight_are_answered_after_the_end_of_the_wire(self):
        worker = self.start(self.PROGRAM)
        first = worker.call("wait", {"name": "a"})
        second = worker.call("release", {"name": "a"})
        found, code = worker.finish()
        self.assertEqual((dict(found), code), ({first: b'="a"', second: b"=null"}, 0))

    def test_sigterm_cleans_up_and_answers_nothing(self):
        worker = self.start(self.PROGRAM + """
        import atexit
        atexit.register(lambda: print("at exit"))
        """)
        worker.call("inner")
        worker.ends_of = worker.call("quick", {"n": 1})
        self.assertEqual(worker.read()[1], b"=1")
        worker.process.send_signal(signal.SIGTERM)
        self.assertEqual(worker.process.wait(PATIENCE), 0)
        self.assertIsNone(worker.read())
        self.assertIn("cleaned\nat exit\n", worker.logged())

    def test_a_function_that_catches_the_exit_ends_all_the_same(self):
        worker = self.start("""
            import os, signal
            async def catches():
                try:
                    os.kill(os.getpid(), signal.SIGTERM)
                except SystemExit:
                    print("caught")
        """)
        worker.call("catches")
        self.assertIsNone(worker.read())
        self.assertEqual(worker.process.wait(PATIENCE), 0)
        self.assertEqual(worker.logged(), "caught\n")

    def test_setup_and_close_may_be_async(self):
        worker = self.start("""
            import asyncio
            class Service:
                async def setup(self):
                    self.loop = asyncio.get_running_loop()
                async def close(self):
                    print("closed")
                def same(self) -> bool:
                    return self.loop is asyncio.get_running_loop()
        """, "program.py:Service")  # fmt: skip
        self.assertEqual(worker.ask("same"), b"=true")
        self.assertEqual(worker.finish(), ([], 0))
        self.assertEqual(worker.logged(), "closed\n")

    def test_a_child_of_a_fork_answers_nothing(self):
        worker = self.start("""
            import os
            async def fork() -> int:
                child = os.fork()
                return child and os.waitpid(child, 0)[1]
            async def fork_later() -> int:
                await asyncio.sleep(0.01)
                return await fork()
        """.replace("import os", "import os, asyncio"))
        self.assertEqual(worker.ask("fork"), b"=0")
        self.assertEqual(worker.ask("fork_later"), b"=0")
        self.assertEqual(json.loads(worker.ask("fork")[1:]), 0)
        self.assertEqual(worker.finish(), ([], 0))
        if sys.version_info < (3, 14):  # which forgets the loop at a fork, and says so
            self.assertNotIn("Traceback", worker.logged())


