"""What is served: targets, classes, scripts, decorators, and what is said of programs that cannot be served."""

import json
import os
import shutil
import tempfile

from .support import PATIENCE, Worker, WorkerCase


class Targets(WorkerCase):
    def names(self, text, target="program.py:*", files=()):
        return [one["name"] for one in self.start(text, target, files).describe()["functions"]]

    def test_a_star_is_what_the_module_defines(self):
        self.assertEqual(self.names("""
            import functools, operator
            from functools import reduce
            from os.path import join
            def one(): pass
            def _hidden(): pass
            class Thing: pass
            @functools.lru_cache(maxsize=None)
            def cached(n: int) -> int: return n
            two = one
            value = 3
        """), ["one", "cached", "two"])  # fmt: skip
        self.assertEqual(self.names("""
            from os.path import join
            __all__ = ["join", "Odd", "value", "later"]
            value = 3
            class Odd(Exception): pass
            def now(): pass
            def later(): pass
        """.replace('"join", ', "")), ["later"])  # fmt: skip

    def test_names(self):
        text = """
            import functools
            def mul(a: int, b: int) -> int: return a * b
            double = functools.partial(mul, b=2)
            class Calc:
                factor = 3
                def times(self, n: int) -> int: return self.factor * n
                @staticmethod
                def half(n: int) -> float: return n / 2
                @classmethod
                def three(cls, n: int) -> int: return cls.factor
            calc = Calc()
            times = calc.times
            class Adder:
                def __init__(self, n): self.n = n
                def __call__(self, n: int) -> int: return self.n + n
            add = Adder(5)
        """
        worker = self.start(text, "program.py:mul, double,times,add,Calc.half,Calc.three")
        self.assertEqual(worker.ask("mul", {"a": 2, "b": 3}), b"=6")
        self.assertEqual(worker.ask("double", {"a": 2}), b"=4")
        self.assertEqual(worker.ask("double", {"a": 2, "b": 5}), b"=10")
        self.assertEqual(worker.ask("times", {"n": 2}), b"=6")
        self.assertEqual(worker.ask("add", {"n": 2}), b"=7")
        self.assertEqual(worker.ask("half", {"n": 2}), b"=1.0")
        self.assertEqual(worker.ask("three", {"n": 2}), b"=3")
        self.assertEqual(worker.ask("add", {"n": "2"}), b"?n\nmust be a whole number, such as 42")

    def test_decorated_functions_keep_their_parameters(self):
        worker = self.start("""
            import functools
            def logged(f):
                @functools.wraps(f)
                def wrapper(*args, **kwargs):
                    print("called")
                    return f(*args, **kwargs)
                return wrapper
            @logged
            @functools.lru_cache()
            def fib(n: int) -> int:
                "The n-th."
                return n
        """, "program.py:fib")  # fmt: skip
        self.assertEqual(worker.ask("fib", {"n": 2}), b"=2")
        self.assertEqual(worker.ask("fib", {"m": 2}), b"?m\nis unknown")
        self.assertEqual(worker.describe()["functions"][0]["doc"], "The n-th.")

    def test_a_class(self):
        text = """
            import os
            class Base:
                def shared(self) -> str: return self.made
                def replaced(self) -> str: return "base"
                gone = None
            class Model(Base):
                COUNT = 3
                class Config: pass
                def __init__(self): self.made = "made"
                def setup(self): self.made += " and set up"
                def close(self): print("closed")
                def replaced(self) -> str: return "model"
                def _hidden(self): pass
                @property
                def size(self) -> int: return 1
                @staticmethod
                def half(n: int) -> float: return n / 2
        """
        worker = self.start(text, "program.py:Model")
        self.assertEqual([one["name"] for one in worker.describe()["functions"]], ["shared", "replaced", "half"])
        self.assertEqual(worker.ask("shared"), b'="made and set up"')
        self.assertEqual(worker.ask("replaced"), b'="model"')
        self.assertEqual(worker.finish(), ([], 0))
        self.assertEqual(worker.logged(), "closed\n")

    def test_modules_and_packages(self):
        files = {"pack/__init__.py": "", "pack/inner.py": "from . import other\ndef f() -> int: return other.VALUE\n",
                 "pack/other.py": "VALUE = 7\n"}  # fmt: skip
        worker = self.start("", "pack.inner:f", files)
        self.assertEqual(worker.ask("f"), b"=7")
        described = worker.describe()
        self.assertEqual([os.path.basename(file) for file in described["files"]], ["__init__.py", "inner.py", "other.py"])
        self.assertEqual(described["httpipe"], 1)

    def test_installed_packages_are_not_the_programs_own(self):
        worker = self.start("import sys\nsys.path.append('packages')\nimport thing\ndef f(): thing.fails()\n", files={
            "packages/thing.py": "def fails(): 1 / 0\n", "packages/thing-1.0.dist-info/METADATA": ""})  # fmt: skip
        self.assertEqual([os.path.basename(file) for file in worker.describe()["files"]], ["program.py"])
        self.assertRegex(worker.ask("f").decode(), r'"where":"[^"]*/program.py:4"')

    def test_a_file_in_another_directory(self):
        worker = self.start("", "some-where/my-calc.py:f", {
            "some-where/my-calc.py": "import beside, sys\ndef f() -> list: return [beside.VALUE, sys.argv]\n",
            "some-where/beside.py": "VALUE = 7\n"})  # fmt: skip
        path = os.path.join(os.path.realpath(worker.directory), "some-where/my-calc.py")
        self.assertEqual(worker.ask("f").decode(), '=[7,["%s"]]' % path)

    def test_a_script_that_serves(self):
        worker = self.start("""
            import httpipe, functools
            def fib(n: int) -> int:
                if n > 1000: raise httpipe.Error("too large for us", 413)
                return n
            if __name__ == "__main__":
                httpipe.serve(fib, plus=functools.partial(fib, n=7))
                print("after")
        """, "program.py")  # fmt: skip
        self.assertEqual(worker.ask("fib", {"n": 5}), b"=5")
        self.assertEqual(worker.ask("plus"), b"=7")
        self.assertEqual(worker.ask("fib", {"n": 1001}), b'!{"status":413,"message":"too large for us"}')
        self.assertEqual(worker.finish(), ([], 0))
        self.assertEqual(worker.logged(), "after\n")

    def test_serve_is_ignored_where_the_target_names_what_is_served(self):
        self.assertEqual(self.names("""
            import httpipe
            def a(): pass
            def b(): pass
            httpipe.serve(a)
        """, "program.py:b"), ["b"])  # fmt: skip

    def test_marks(self):
        functions = self.start("""
            import httpipe
            from typing import List
            @httpipe.pure
            def a(): pass
            @httpipe.batch(8)
            @httpipe.pure
            def b(n: List[int]): return n
            def c(): pass
        """).describe()["functions"]
        self.assertEqual([(one["pure"], one["batch"]) for one in functions], [(True, 0), (True, 8), (False, 0)])

    def test_the_description_of_parameters(self):
        one = self.start('''
            def f(a: int, b: str = "x", c=object(), d: float = float("nan"), *, e: bytes = b"", **rest: int) -> dict:
                """Says something.

                    And more.
                """
        ''').describe()["functions"][0]
        self.assertEqual(one["doc"], "Says something.\n\nAnd more.")
        self.assertEqual(one["rest"], {"type": "integer"})
        self.assertEqual(one["parameters"], [
            {"name": "a", "schema": {"type": "integer"}, "required": True, "bytes": False},
            {"name": "b", "schema": {"type": "string"}, "required": False, "bytes": False, "default": "x"},
            {"name": "c", "schema": {}, "required": False, "bytes": False},
            {"name": "d", "schema": {"type": "number"}, "required": False, "bytes": False},
            {"name": "e", "schema": {"type": "string", "contentEncoding": "base64"}, "required": False, "bytes": True,
             "default": ""},
        ])  # fmt: skip


class Refused(WorkerCase):
    def refused(self, text, kind, message, target="program.py:*", files=()):
        """The program is refused in these words, and ends with code 2. Returns file and line, and the text there."""
        worker = self.start(text, target, files)
        problem, code = worker.problem()
        self.assertEqual((problem["kind"], problem["message"], code), (kind, message, 2))
        self.assertIn(message, worker.logged())
        self.assertNotIn("<httpipe>", worker.logged())
        return os.path.basename(problem["where"]), problem["line"]

    def test_an_import_that_fails(self):
        place = self.refused("\nimport nothing_like_this\n", "import",
                             "the import failed: ModuleNotFoundError: No module named 'nothing_like_this'")  # fmt: skip
        self.assertEqual(place, ("program.py:2", "import nothing_like_this"))
        place = self.refused("import json\nimport helper", "import", "the import failed: ValueError: bad",
                             files={"helper.py": "import json\ndef f():\n    json.loads('1')\n    raise ValueError('bad')\nf()"})  # fmt: skip
        self.assertEqual(place, ("helper.py:4", "raise ValueError('bad')"))

    def test_the_last_frame_is_the_users_own(self):
        place = self.refused("import json\nVALUE = json.loads('{')\n", "import",
                             "the import failed: JSONDecodeError: Expecting property name enclosed in double quotes: "
                             "line 1 column 2 (char 1)")  # fmt: skip
        self.assertEqual(place, ("program.py:2", "VALUE = json.loads('{')"))

    def test_a_syntax_error(self):
        worker = self.start("def f(:\n    pass\n")
        problem, code = worker.problem()
        self.assertEqual((problem["kind"], problem["line"], code), ("import", "def f(:", 2))
        self.assertTrue(problem["where"].endswith("/program.py:1"))

    def test_an_import_that_leaves(self):
        self.refused("import sys\nsys.exit(3)", "import", "the import called sys.exit(3)")

    def test_names_that_are_not_there(self):
        text = "def fib(): pass\ndef echo(): pass\nclass Model: pass\nvalue = 3\n"
        self.refused(text, "missing", "`program.py` has no `fibb`; did you mean `fib`?", "program.py:fibb")
        self.refused(text, "missing", "`program.py` has no `zzz`; it has `fib`, `echo`, `Model`", "program.py:zzz")
        self.refused(text, "annotation", "`value` is no function, but int", "program.py:value")
        self.refused(text, "missing", "there is no function to serve", "program.py:Model")
        self.refused("", "missing", "`program.py` has no public function")
        self.refused("", "missing", "`program` names no function; write `program:NAME`", "program")
        self.refused("", "import", "the import failed: ModuleNotFoundError: No module named 'nowhere'", "nowhere:f")

    def test_files_that_are_not_there(self):
        worker = self.start("", "nowhere.py:f")
        problem, code = worker.problem()
        self.assertEqual((problem["kind"], code), ("missing", 2))
        self.assertTrue(problem["message"].startswith("there is no file `nowhere.py` in /"), problem)

    def test_a_file_with_the_name_of_a_module_that_python_uses(self):
        self.refused("", "missing", "`json.py` has the name of a module that Python itself uses; rename it", "json.py:f",
                     {"json.py": "def f(): pass"})  # fmt: skip

    def test_annotations(self):
        use = "use int, float, bool, str, bytes, list, dict, a dataclass, a TypedDict or a pydantic model"
        for text, message in (
            ("def f(n: complex): pass", "f(n): complex cannot come from JSON; " + use),
            ("from typing import Callable\ndef f(n: Callable): pass", "f(n): Callable cannot come from JSON; " + use),
            ("class Odd: pass\ndef f(n: Odd): pass", "f(n): Odd cannot come from JSON; " + use),
            ("import typing\nclass Pair(typing.NamedTuple): a: int\ndef f(n: Pair): pass",
             "f(n): Pair cannot come from JSON; " + use),
            ("from typing import List\ndef f(n: List[complex]): pass", "f(n): complex cannot come from JSON; " + use),
            ("from dataclasses import dataclass\n@dataclass\nclass P:\n    a: complex\ndef f(p: P): pass",
             "f(p): P.a: complex cannot come from JSON; " + use),
            ("from typing import Dict\ndef f(n: Dict[float, int]): pass",
             "f(n): names of JSON objects are strings, which float is not"),
            ("def f(*names): pass", "f(names): `*names` has no names that a caller could send; name its parameters, "
                                    "or use functools.wraps in its decorator"),
            ("def f(n: int): pass\nf.batch = 8", "f(n): a batch comes as a list; annotate it `list[int]`"),
            ("def f(n): pass\nf.batch = '8'", "`f.batch` is the largest number of calls in a batch, not '8'"),
            ("def x(): pass", "a function cannot be called `x`: the wire uses that name to cancel a call; rename it"),
            ("import enum\nclass E(enum.Enum):\n    A = object\ndef f(e: E): pass",
             "f(e): a choice of <class 'object'> has no JSON form"),
        ):  # fmt: skip
            with self.subTest(text):
                place, line = self.refused(text + "\n", "annotation", message)
                self.assertRegex(place, r"^program\.py:\d+$")
                self.assertTrue(line.startswith("def "), line)

    def test_annotations_that_cannot_be_read(self):
        worker = self.start("from __future__ import annotations\ndef f(n: Nowhere): pass\n")
        problem, code = worker.problem()
        self.assertEqual((problem["message"], code),
                         ("f: the annotation `n: Nowhere` cannot be read: name 'Nowhere' is not defined", 2))  # fmt: skip
        worker = self.start("from __future__ import annotations\ndef f(n: int) -> Nowhere: return n\n")
        self.assertEqual(worker.ask("f", {"n": 1}), b"=1")  # what it returns is only described

    def test_classes(self):
        text = "class A:\n    def __init__(self, n): pass\n    def f(self): pass\n"
        worker = self.start(text, "program.py:A")
        problem, code = worker.problem()
        self.assertEqual((problem["kind"], code), ("import", 2))
        self.assertRegex(problem["message"], r"^`A\(\)` failed: TypeError: .*missing 1 required positional argument: 'n'$")
        text = "class A:\n    def setup(self):\n        raise OSError('no model')\n    def f(self): pass\n"
        place = self.refused(text, "import", "`setup` failed: OSError: no model", "program.py:A")
        self.assertEqual(place, ("program.py:3", "raise OSError('no model')"))
        text = "class A:\n    async def setup(self):\n        raise OSError('no model')\n    def f(self): pass\n"
        place = self.refused(text, "import", "`setup` failed: OSError: no model", "program.py:A")
        self.assertEqual(place, ("program.py:3", "raise OSError('no model')"))
        text = "class A:\n    def f(self): pass\nclass B:\n    def f(self): pass\n"
        self.refused(text, "annotation", "two functions are called `f`; each needs a name of its own", "program.py:A,B")

    def test_scripts(self):
        self.refused("print('x')", "missing", "`program.py` ended without a call of `httpipe.serve`", "program.py")
        self.refused("1 / 0", "import", "`program.py` failed: ZeroDivisionError: division by zero", "program.py")
        self.refused("import httpipe\nhttpipe.serve(lambda: 1)", "import",
                     "`program.py` failed: TypeError: httpipe.serve got a function that has no name; write serve(NAME=…)",
                     "program.py")  # fmt: skip
        self.refused("import httpipe\ndef f(n: complex): pass\ntry:\n    httpipe.serve(f)\nexcept Exception:\n    pass\n",
                     "annotation", "f(n): complex cannot come from JSON; use int, float, bool, str, bytes, list, dict, "
                     "a dataclass, a TypedDict or a pydantic model", "program.py")  # fmt: skip

    def test_nobody_asks(self):
        worker = self.start("1 / 0")
        worker.process.stdin.close()
        self.assertEqual(worker.process.wait(PATIENCE), 2)

    def test_a_batch_takes_no_names_that_only_some_callers_send(self):
        mark = "import httpipe\nfrom typing import List\n@httpipe.batch(4)\n"
        for signature, why in [
            ("t: List[str], **options", "f(options): the calls of a batch may have other names each"),
            ("t: List[str], lang: List[str] = ['en']", "f(lang): the default ['en'] is for a whole batch"),
        ]:
            problem, code = self.start(mark + "def f(%s): return t" % signature).problem()
            self.assertIn(why, problem["message"])
            self.assertEqual((problem["line"][:5], code), ("def f", 2))
        self.start(mark + "def f(t: List[str], tags: List[List[str]] = []): return t").describe()

    def test_a_schema_that_json_cannot_write_is_told_with_its_parameter(self):
        for begin in ("", "async "):
            problem, code = self.start("""
                import sys, types
                class Adapter:  # as pydantic does with Field(lt=float("inf"))
                    def __init__(self, note): pass
                    def json_schema(self): return {"type": "number", "exclusiveMaximum": float("inf")}
                sys.modules["pydantic"] = types.SimpleNamespace(TypeAdapter=Adapter)
                class Price:
                    __get_pydantic_core_schema__ = None
                def price(p: Price): pass
                %sdef other(): pass
                """ % begin, "program.py:price,other").problem()  # fmt: skip
            self.assertIn("price(p): its JSON schema cannot be written: ", problem["message"])
            self.assertEqual((problem["line"], code), ("def price(p: Price): pass", 2))

    def test_what_is_not_utf8_is_shown_in_another_way(self):
        """The server reads JSON with texts that are UTF-8, and nothing else."""
        directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, directory)
        odd = os.path.join(os.fsencode(directory), b"caf\xe9")
        text = """
            def f(end: str = "\\udcff"):
                raise ValueError("\\ud801")
            f.__doc__ = "Half of a pair: \\ud800"
            """
        worker = Worker(text, "program.py:f", directory=os.fsdecode(odd))
        self.addCleanup(worker.end)
        description = worker.describe()
        for value in (description, json.loads(worker.ask("f")[1:])):
            json.dumps(value, ensure_ascii=False).encode()
        self.assertEqual(description["files"], [])
        self.assertEqual(description["functions"][0]["doc"], "Half of a pair: \\ud800")
        broken = Worker("import no_such_module", "program.py:f", directory=os.fsdecode(odd))
        self.addCleanup(broken.end)
        problem, code = broken.problem()
        json.dumps(problem, ensure_ascii=False).encode()
        self.assertIn("caf\\udce9/program.py:1", problem["where"])
        self.assertEqual((problem["line"], code), ("import no_such_module", 2))
