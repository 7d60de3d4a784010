"""What functions say of how far they are."""

import json

from .support import WorkerCase


class Progress(WorkerCase):
    PROGRAM = """
        import asyncio, contextvars, threading, time, httpipe
        LEFT = []
        def says(text: str = "page 4"):
            httpipe.progress(0.4, text)
            return "did"
        def numbers(n: float): httpipe.progress(n)
        def nan(): httpipe.progress(float("nan"))
        def word(): httpipe.progress("half")
        def often(n: int):
            for i in range(n): httpipe.progress(i / n)
            httpipe.progress(1.0)
        def parts():
            httpipe.progress(0.1)
            yield 1
            httpipe.progress(0.9)
        @httpipe.batch(4)
        def several(n: list[int]) -> list[int]:
            httpipe.progress(0.5, "all")
            return n
        def thread():
            one = threading.Thread(target=httpipe.progress, args=(0.3, "alone"))
            one.start(); one.join()
            context = contextvars.copy_context()
            one = threading.Thread(target=context.run, args=(httpipe.progress, 0.4, "in its context"))
            one.start(); one.join()
            LEFT.append(context)
        def late():
            LEFT[-1].run(httpipe.progress, 0.5, "late")
            return 1
        def threads(size: int):
            context = contextvars.copy_context()
            def run(number):
                for i in range(200): context.copy().run(httpipe.progress, i / 200, "%d %d" % (number, i))
            all = [threading.Thread(target=run, args=(number,)) for number in range(4)]
            for one in all: one.start()
            return "x" * size
        httpipe.progress(0.5, "while it is loaded")
    """

    def told(self, *call):
        """Calls a function. Returns what it said before its end, and the end."""
        tag, found = self.worker.call(*call), []
        while True:
            message = self.worker.read()
            self.assertIsNotNone(message, self.worker.logged())
            if message[0] != tag:
                continue  # said by a thread of the call before, in time
            if message[1][:1] not in b"~+":
                return found, message[1]
            found.append(json.loads(message[1][1:]) if message[1][:1] == b"~" else message[1])

    def test_progress_is_a_number_and_perhaps_a_text(self):
        self.assertEqual(self.told("says"), ([{"fraction": 0.4, "text": "page 4"}], b'="did"'))
        self.assertEqual(self.told("numbers", {"n": 0.25}), ([{"fraction": 0.25}], b"=null"))
        for number, told in ((-3, 0.0), (7, 1.0)):
            self.assertEqual(self.told("numbers", {"n": number})[0], [{"fraction": told}])

    def test_a_text_is_cut_and_always_text(self):
        said, _ = self.told("says", {"text": "x" * 5000})
        self.assertEqual(said[0]["text"], "x" * 1024)
        said, _ = self.told("says", '{"text": "a\\ud800b\\u0000"}')
        self.assertEqual(said[0]["text"], "a?b\0")

    def test_what_is_no_number_fails_the_call(self):
        for name in ("nan", "word"):
            said, end = self.told(name)
            self.assertEqual((said, end[:1]), ([], b"!"), name)

    def test_what_is_said_again_and_again_is_said_seldom(self):
        said, _ = self.told("often", {"n": 20000})
        self.assertEqual(said[0]["fraction"], 0.0)
        self.assertGreater(said[-1]["fraction"], 0.985)
        self.assertLess(len(said), 10000)

    def test_a_stream_says_it_beside_its_parts(self):
        said, end = self.told("parts")
        self.assertEqual((said, end), ([{"fraction": 0.1}, b"+1", {"fraction": 0.9}], b"."))

    def test_every_call_of_a_batch_is_told(self):
        tags = [self.worker.call("several", {"n": n}) for n in range(3)]
        ended, told = set(), set()
        while len(ended) < 3:
            tag, message = self.worker.read()
            (told if message[:1] == b"~" else ended).add(tag)
        self.assertEqual((told, ended), (set(tags), set(tags)))

    def test_a_thread_speaks_in_the_context_of_its_call_only(self):
        self.assertEqual(self.told("thread")[0], [{"fraction": 0.4, "text": "in its context"}])
        self.assertEqual(self.told("late"), ([], b"=1"), "the call is over")

    def test_threads_never_cut_an_answer_in_two(self):
        for size in (10, 300_000):
            self.assertEqual(self.told("threads", {"size": size})[1], b'="' + b"x" * size + b'"')
            self.assertEqual(self.told("says")[1], b'="did"')


class AsyncProgress(WorkerCase):
    PROGRAM = """
        import asyncio, httpipe
        TURN = asyncio.Event
        async def one(n: float, name: str):
            httpipe.progress(n, name)
            await asyncio.sleep(0.05)
            httpipe.progress(n + 0.1, name + " again")
            await asyncio.to_thread(httpipe.progress, n + 0.2, name + " in a thread")
            return name
    """

    def test_calls_side_by_side_are_told_apart(self):
        tags = {self.worker.call("one", {"n": n / 2, "name": name}): name for n, name in ((0, "a"), (1, "b"))}
        told = {tag: [] for tag in tags}
        ended = set()
        while len(ended) < 2:
            tag, message = self.worker.read()
            if message[:1] == b"~":
                self.assertNotIn(tag, ended)
                told[tag].append(json.loads(message[1:])["text"])
            else:
                ended.add(tag)
        for tag, name in tags.items():
            self.assertEqual(told[tag], [name, name + " again", name + " in a thread"])
