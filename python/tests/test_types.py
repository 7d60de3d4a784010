"""Arguments: what each annotation takes, and what callers are told of values that it does not."""

import json
import sys
import unittest

from .support import WorkerCase


class Scalars(WorkerCase):
    PROGRAM = """
        from typing import Any, Optional, Union

        def whole(n: int) -> Any: return [type(n).__name__, n]
        def number(x: float) -> Any: return [type(x).__name__, x]
        def truth(b: bool) -> Any: return b
        def text(s: str) -> Any: return s
        def nothing(v: None) -> Any: return v
        def anything(v) -> Any: return v
        def maybe(n: Optional[int] = 3) -> Any: return n
        def implied(n: int = None) -> Any: return n
        def either(v: Union[float, int, str]) -> Any: return [type(v).__name__, v]
        def blob(data: bytes, note: str = "") -> Any: return [len(data), note]
        def two(a: int, b: int = 2, *, c: int = 3) -> Any: return [a, b, c]
        def order(a: int = 1, b: int = 2, /, c: int = 3, **more: int) -> Any: return [a, b, c, more]
    """

    def test_an_int_is_a_whole_number_and_nothing_else(self):
        self.gives("whole", {"n": 5}, '["int",5]')
        self.gives("whole", {"n": -(2**70)}, '["int",%d]' % -(2**70))
        for wrong in ("1.0", "1e3", "true", "null", '"5"', "[5]", "{}"):
            self.refuses("whole", '{"n":%s}' % wrong, "n", "must be a whole number, such as 42")

    def test_a_float_takes_whole_numbers_and_nothing_that_is_infinite(self):
        self.gives("number", {"x": 5}, '["float",5.0]')
        self.gives("number", {"x": 0.1}, '["float",0.1]')
        for wrong in ("true", "null", '"5"', "[]"):
            self.refuses("number", '{"x":%s}' % wrong, "x", "must be a number, such as 1.5")
        for large in ("1e999", "-1e999", "1" + "0" * 400):
            self.refuses("number", '{"x":%s}' % large, "x", "is too large for a number")
        self.refuses("number", '{"x":1.5e999 1}', "", "the arguments are not JSON: Expecting ',' delimiter: line 1 column 14 (char 13)")
        self.gives("number", {"x": 1.5}, '["float",1.5]')

    def test_a_number_that_python_reads_as_infinite_is_none_anywhere(self):
        for value in ("1e999", "-1.5e999", '[1,{"a":1e999}]'):
            number = value.partition('"a":')[2][:-2] or value
            self.refuses("anything", '{"v":%s}' % value, "", "a number is too large: " + number)
        self.refuses("anything", '{"v":1%s.0}' % ("0" * 400), "", "a number is too large: 1" + "0" * 39 + "…")
        self.gives("anything", '{"v":1e308}', "1e+308")

    def test_the_others_are_strict_too(self):
        self.gives("truth", {"b": False}, "false")
        self.refuses("truth", {"b": 0}, "b", "must be `true` or `false`")
        self.gives("text", {"s": "é\n\u2028"}, '"é\\n\u2028"')
        self.refuses("text", {"s": 1}, "s", "must be a string")
        self.gives("nothing", {"v": None}, "null")
        self.refuses("nothing", {"v": 0}, "v", "must be `null`")

    def test_no_annotation_takes_any_json(self):
        for value in ('{"a":[1,2.5,null,true,"x"]}', "[]", "1180591620717411303424", '""'):
            self.gives("anything", '{"v":%s}' % value, value)

    def test_optional(self):
        self.gives("maybe", {}, "3")
        self.gives("maybe", {"n": None}, "null")
        self.gives("implied", {"n": None}, "null")
        self.gives("implied", {"n": 4}, "4")
        self.refuses("maybe", {"n": "4"}, "n", "must be a whole number, such as 42")

    def test_a_union_keeps_what_fits_exactly(self):
        self.gives("either", {"v": 1}, '["int",1]')
        self.gives("either", {"v": 1.5}, '["float",1.5]')
        self.gives("either", {"v": "1"}, '["str","1"]')
        self.refuses("either", {"v": []}, "v",
                     "must be a number, such as 1.5 or must be a whole number, such as 42 or must be a string")  # fmt: skip

    def test_bytes_come_raw_or_as_base64(self):
        self.gives("blob", {}, '[4,""]', raw=b"\x00\n\xff ")
        self.gives("blob", {"note": "n"}, '[0,"n"]', raw=b"")
        self.gives("blob", {"data": "AAD/"}, '[3,""]')
        self.refuses("blob", {"data": "AA=D/"}, "data", "must be base64 in a string")
        self.refuses("blob", {"data": "AAD/"}, "data", "is given twice", raw=b"x")
        self.refuses("blob", {}, "data", "is missing")

    def test_names_are_checked(self):
        self.gives("two", {"a": 1, "c": 5}, "[1,2,5]")
        self.refuses("two", {"b": 1}, "a", "is missing")
        self.refuses("two", {"a": 1, "d": 1}, "d", "is unknown")
        self.refuses("two", {"a": 1, "": 1}, "", "is unknown")
        self.refuses("two", {"a": 1, "x\ny": 1}, "x y", "is unknown")

    def test_positional_only_and_further_names(self):
        self.gives("order", {}, "[1,2,3,{}]")
        self.gives("order", {"b": 5}, "[1,5,3,{}]")
        self.gives("order", {"b": 5, "z": 6, "y": 7}, '[1,5,3,{"z":6,"y":7}]')
        self.refuses("order", {"z": "6"}, "z", "must be a whole number, such as 42")

    def test_what_is_no_object_or_no_json(self):
        for text in ("[]", "1", '"a"', "null"):
            self.refuses("two", text, "", "the arguments must be a JSON object")
        for text in ("{", '{"a":1}}', '{"a":NaN}', '{"a":-Infinity}', "{'a':1}", '{"a":01}'):
            self.assertTrue(self.worker.ask("two", text).startswith(b"?\nthe arguments are not JSON: "), text)
        self.assertTrue(self.worker.ask("two", b'{"a":"\xff"}').startswith(b"?\nthe arguments are not JSON: "))

    def test_white_space_and_equal_names(self):
        self.gives("two", ' \r\n{\n "a" : 1 }\t', "[1,2,3]")
        self.gives("two", '{"a":1,"a":9}', "[9,2,3]")  # the last one counts, as everywhere in Python

    def test_too_deep_is_refused_and_the_worker_lives(self):
        for text in ("[" * 200_000, '{"v":' + "[" * 200_000 + "]" * 200_000 + "}", '{"v":' * 100_000):
            end = self.worker.ask("anything", text)
            self.assertIn(end.split(b": ")[0], (b"?\nthe arguments are nested too deeply", b"?\nthe arguments are not JSON"))
        self.gives("whole", {"n": 1}, '["int",1]')

    def test_digits_beyond_the_limit_of_python(self):
        end = self.worker.ask("whole", '{"n":%s}' % ("1" * 5000))
        if end[:1] == b"?":  # 3.10.7 and later have the limit
            self.assertEqual(end, b"?\na whole number has more than 4300 digits")

    def test_half_a_surrogate_pair_comes_back_escaped(self):
        self.gives("text", '{"s":"a\\ud800b"}', '"a\\ud800b"')
        self.gives("text", '{"s":"\\ud83d\\ude00"}', '"😀"')
        self.refuses("two", '{"a":1,"\\ud800":1}', "\\ud800", "is unknown")


class Containers(WorkerCase):
    PROGRAM = """
        from __future__ import annotations
        import collections.abc, datetime, decimal, enum, uuid
        from dataclasses import dataclass, field, InitVar
        from typing import *

        class Colour(enum.Enum):
            RED = "red"
            BLUE = "blue"
        class Level(enum.IntEnum):
            LOW = 1
            HIGH = 2

        @dataclass
        class Point:
            x: float
            y: float = 0.0
        @dataclass
        class Line:
            ends: Tuple[Point, Point]
            names: List[str] = field(default_factory=list)
            scale: InitVar[int] = 1
            kind: ClassVar[str] = "line"
            length: float = field(init=False, default=0.0)
            def __post_init__(self, scale: int) -> None:
                if scale < 1:
                    raise ValueError("scale must be at least 1")
                self.length = (self.ends[1].x - self.ends[0].x) * scale
        @dataclass
        class Tree:
            value: int
            children: List[Tree] = field(default_factory=list)
            parent: Optional["Tree"] = None
        class Movie(TypedDict, total=False):
            title: str
            year: int
        class Rated(Movie):
            stars: float
        Name = NewType("Name", str)

        def lists(v: List[int]): return v
        def bare(v: list): return v
        def nested(v: Dict[str, List[Optional[int]]]): return v
        def by_number(v: Dict[int, str]): return [type(k).__name__ for k in v]
        def pair(v: Tuple[int, str]): return type(v).__name__ + str(v)
        def row(v: Tuple[int, ...]): return str(v)
        def bag(v: Set[str]): return [type(v).__name__, sorted(v)]
        def sequence(v: collections.abc.Sequence[int]): return sum(v)
        def choice(v: Literal["a", 1, None]): return [type(v).__name__, v]
        def colour(v: Colour = Colour.RED): return v.name
        def level(v: Level): return v.name
        def line(v: Line): return v
        @dataclass
        class Left:
            right: Optional[Right] = None
        @dataclass
        class Right:
            left: Optional[Left] = None
        T = TypeVar("T")
        @dataclass
        class Pair(Generic[T]):
            a: T
            b: T
        def tree(v: Tree): return v
        def forest(v: List[Tree]): return v
        def left(v: Left): return v
        def generic(v: Pair[int], w: Pair[List[str]] = None): return v
        def movie(v: Movie): return v
        def rated(v: Rated): return v
        def name(v: Name): return v
        def day(v: datetime.date): return v
        def moment(v: datetime.datetime): return v
        def hour(v: datetime.time): return v
        def ident(v: uuid.UUID): return v
        def money(v: decimal.Decimal): return v
        def members(v: List[Union[Point, str]]): return v
        def picture(v: Annotated[bytes, "a picture"]) -> Annotated[bytes, "text/html; charset=utf-8"]: return v
        def described(v: Annotated[int, "how many"]): return v
    """

    def test_places_are_named(self):
        self.gives("lists", {"v": [1, 2]}, "[1,2]")
        self.refuses("lists", {"v": [1, "2"]}, "v", "[1] must be a whole number, such as 42")
        self.refuses("lists", {"v": {"a": 1}}, "v", "must be an array")
        self.gives("bare", {"v": [1, "2", None]}, '[1,"2",null]')
        self.gives("nested", {"v": {"a": [1, None]}}, '{"a":[1,null]}')
        self.refuses("nested", {"v": {"a b": [1, True]}}, "v", '["a b"][1] must be a whole number, such as 42')
        self.refuses("nested", {"v": [1]}, "v", "must be an object")
        self.gives("by_number", {"v": {"1": "a", "-2": "b"}}, '["int","int"]')
        self.refuses("by_number", {"v": {"1.5": "a"}}, "v", '["1.5"] must have a name that is a whole number')

    def test_tuples_and_sets(self):
        self.gives("pair", {"v": [1, "a"]}, '"tuple(1, \'a\')"')
        self.refuses("pair", {"v": [1]}, "v", "must be an array of 2 elements")
        self.refuses("pair", {"v": [1, 2]}, "v", "[1] must be a string")
        self.gives("row", {"v": [1, 2, 3]}, '"(1, 2, 3)"')
        self.gives("bag", {"v": ["b", "a", "b"]}, '["set",["a","b"]]')
        self.gives("sequence", {"v": [1, 2]}, "3")

    def test_choices(self):
        self.gives("choice", {"v": 1}, '["int",1]')
        self.gives("choice", {"v": None}, '["NoneType",null]')
        for wrong in (True, 1.0, "b", [], {}):
            self.refuses("choice", {"v": wrong}, "v", 'must be one of "a", 1, null')
        self.gives("colour", {"v": "blue"}, '"BLUE"')
        self.refuses("colour", {"v": "BLUE"}, "v", 'must be one of "red", "blue"')
        self.gives("level", {"v": 2}, '"HIGH"')
        for wrong in (True, 1.0, "1", 3):
            self.refuses("level", {"v": wrong}, "v", "must be one of 1, 2")

    def test_dataclasses(self):
        ends = [{"x": 1}, {"x": 3, "y": 1}]
        self.gives("line", {"v": {"ends": ends, "scale": 2}},
                   '{"ends":[{"x":1.0,"y":0.0},{"x":3.0,"y":1.0}],"names":[],"length":4.0}')  # fmt: skip
        self.refuses("line", {"v": {}}, "v", ".ends is missing")
        self.refuses("line", {"v": {"ends": ends, "length": 1}}, "v", ".length is unknown")
        self.refuses("line", {"v": {"ends": [{"x": 1}, {"x": "3"}]}}, "v", ".ends[1].x must be a number, such as 1.5")
        self.refuses("line", {"v": {"ends": ends, "scale": 0}}, "v", "scale must be at least 1")
        self.refuses("line", {"v": 1}, "v", "must be an object")

    def test_a_type_that_contains_itself(self):
        self.gives("tree", {"v": {"value": 1, "children": [{"value": 2}]}},
                   '{"value":1,"children":[{"value":2,"children":[],"parent":null}],"parent":null}')  # fmt: skip
        self.refuses("tree", {"v": {"value": 1, "children": [{"value": 2, "children": [{}]}]}}, "v",
                     ".children[0].children[0].value is missing")  # fmt: skip
        deep = '{"value":1,"children":[' * 5000 + "]}" * 5000
        self.assertIn(self.worker.ask("tree", '{"v":%s}' % deep)[:1], b"?!")
        self.gives("lists", {"v": []}, "[]")

    def test_types_that_contain_each_other_and_generic_ones(self):
        self.gives("left", {"v": {"right": {"left": {}}}}, '{"right":{"left":{"right":null}}}')
        self.refuses("left", {"v": {"right": {"left": {"left": 1}}}}, "v", ".right.left.left is unknown")
        self.gives("forest", {"v": [{"value": 1}]}, '[{"value":1,"children":[],"parent":null}]')
        self.gives("generic", {"v": {"a": 1, "b": 2}}, '{"a":1,"b":2}')
        self.refuses("generic", {"v": {"a": 1, "b": "2"}}, "v", ".b must be a whole number, such as 42")
        self.refuses("generic", {"v": {"a": 1, "b": 2}, "w": {"a": ["x"], "b": [1]}}, "w", ".b[0] must be a string")

    def test_typed_dicts(self):
        self.gives("movie", {"v": {"year": 1999}}, '{"year":1999}')
        self.refuses("movie", {"v": {"year": "1999"}}, "v", ".year must be a whole number, such as 42")
        self.refuses("movie", {"v": {"director": "x"}}, "v", ".director is unknown")
        self.refuses("rated", {"v": {}}, "v", ".stars is missing")
        self.gives("name", {"v": "x"}, '"x"')

    def test_dates_are_the_same_on_every_python(self):
        for text, result in (
            ("2024-05-17T08:30:00Z", "2024-05-17T08:30:00+00:00"),
            ("2024-05-17t08:30:00.5z", "2024-05-17T08:30:00.500000+00:00"),
            ("2024-05-17 08:30", "2024-05-17T08:30:00"),
            ("2024-05-17T08:30:00.123456789+0200", "2024-05-17T08:30:00.123456+02:00"),
        ):
            self.gives("moment", {"v": text}, '"%s"' % result)
        for wrong in ("2024-05-17", "20240517T083000Z", "2024-02-30T08:30:00", "2024-W20-5T08:30", "", 1715934600, None):
            self.refuses("moment", {"v": wrong}, "v", "must be a date and time, such as 2024-05-17T08:30:00Z")
        self.gives("day", {"v": "2024-05-17"}, '"2024-05-17"')
        for wrong in ("20240517", "2024-05-17T00:00:00", "2024-13-01", "２０２４-05-17", 1):
            self.refuses("day", {"v": wrong}, "v", "must be a date, such as 2024-05-17")
        self.gives("hour", {"v": "08:30"}, '"08:30:00"')
        self.refuses("hour", {"v": "25:00"}, "v", "must be a time, such as 08:30:00")

    def test_other_texts(self):
        self.gives("ident", {"v": "12345678-1234-5678-1234-567812345678"}, '"12345678-1234-5678-1234-567812345678"')
        self.refuses("ident", {"v": "1234"}, "v", "must be a UUID")
        self.gives("money", {"v": "1.50"}, '"1.50"')
        self.gives("money", {"v": 2}, '"2"')
        for wrong in (1.5, "NaN", "Infinity", "x", None, True):
            self.refuses("money", {"v": wrong}, "v", 'must be a decimal number in a string, such as "1.50"')

    def test_unions_of_objects(self):
        self.gives("members", {"v": [{"x": 1}, "a"]}, '[{"x":1.0,"y":0.0},"a"]')
        self.refuses("members", {"v": [{"z": 1}]}, "v", "[0] .z is unknown or must be a string")

    def test_the_schema_says_the_same(self):
        functions = {one["name"]: one for one in self.worker.describe()["functions"]}
        schema = lambda name: functions[name]["parameters"][0]["schema"]
        self.assertEqual(schema("lists"), {"type": "array", "items": {"type": "integer"}})
        self.assertEqual(schema("pair"), {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}],
                                          "minItems": 2, "maxItems": 2})  # fmt: skip
        self.assertEqual(schema("colour"), {"enum": ["red", "blue"]})
        self.assertEqual(functions["colour"]["parameters"][0]["default"], "red")
        self.assertEqual(schema("described"), {"type": "integer", "description": "how many"})
        self.assertEqual(schema("moment"), {"type": "string", "format": "date-time"})
        self.assertEqual(schema("picture"), {"type": "string", "contentEncoding": "base64", "description": "a picture"})
        self.assertEqual(functions["picture"]["returns"]["contentMediaType"], "text/html; charset=utf-8")
        tree = schema("tree")
        self.assertEqual(tree["$ref"], "#/$defs/Tree")
        self.assertEqual(tree["$defs"]["Tree"]["properties"]["children"]["items"], {"$ref": "#/$defs/Tree"})
        forest = schema("forest")
        self.assertEqual((forest["type"], forest["items"]["$ref"], forest["items"]["title"]), ("array", "#/$defs/Tree", "Tree"))
        self.assertEqual(set(forest["$defs"]), {"Tree"})
        self.assertEqual(schema("left")["$defs"]["Left"]["properties"]["right"]["anyOf"][0]["title"], "Right")
        self.assertEqual(schema("movie")["additionalProperties"], False)
        self.assertEqual(schema("rated")["required"], ["stars"])


class NewerPython(WorkerCase):
    @unittest.skipIf(sys.version_info < (3, 10), "needs Python 3.10")
    def test_unions_with_bars_and_keyword_only_fields(self):
        worker = self.start("""
            from dataclasses import dataclass
            @dataclass(kw_only=True, slots=True)
            class Place:
                name: str
                height: int | None = None
            def place(v: Place | str): return v
        """)
        self.assertEqual(worker.ask("place", {"v": {"name": "x"}}), b'={"name":"x","height":null}')
        self.assertEqual(worker.ask("place", {"v": "x"}), b'="x"')

    @unittest.skipIf(sys.version_info < (3, 11), "needs Python 3.11")
    def test_not_required(self):
        for future in ("", "from __future__ import annotations"):
            worker = self.start(future + """
from typing import NotRequired, Required, TypedDict
class Movie(TypedDict):
    title: str
    year: NotRequired[int]
class Part(TypedDict, total=False):
    number: Required[int]
    colour: str
def movie(v: Movie, p: Part): return [v, p]
            """)
            self.assertEqual(worker.ask("movie", {"v": {"title": "x"}, "p": {"number": 1}}), b'=[{"title":"x"},{"number":1}]')
            self.assertEqual(worker.ask("movie", {"v": {"year": 1}, "p": {"number": 1}}), b"?v\n.title is missing")
            self.assertEqual(worker.ask("movie", {"v": {"title": "x"}, "p": {}}), b"?p\n.number is missing")

    @unittest.skipIf(sys.version_info < (3, 12), "needs Python 3.12")
    def test_type_aliases_that_contain_themselves(self):
        worker = self.start("""
            type Json = None | int | str | list[Json] | dict[str, Json]
            type Pairs[T] = list[tuple[T, T]]
            def tree(v: Json): return v
            def pairs(v: Pairs[int]): return v
            def first[T: int](v: T): return v
        """)
        self.assertEqual(worker.ask("tree", {"v": [1, {"a": ["b", None]}]}), b'=[1,{"a":["b",null]}]')
        self.assertEqual(worker.ask("tree", {"v": [1.5]})[:1], b"?")
        self.assertEqual(worker.ask("first", {"v": "a"}), b"?v\nmust be a whole number, such as 42")
        self.assertEqual(worker.ask("pairs", {"v": [[1, "a"]]}), b"?v\n[0][1] must be a whole number, such as 42")


class Pydantic(WorkerCase):
    def setUp(self):
        try:
            import pydantic
        except ImportError:
            self.skipTest("pydantic is not installed")
        self.version = int(pydantic.VERSION.partition(".")[0])

    def test_models(self):
        worker = self.start("""
            from typing import List, Optional
            from pydantic import BaseModel, Field
            class Item(BaseModel):
                name: str
                price: float = Field(gt=0)
            class Order(BaseModel):
                items: List[Item]
                note: Optional[str] = None
            def total(order: Order) -> float: return sum(item.price for item in order.items)
            def same(orders: List[Order]) -> List[Order]: return orders
        """)
        self.assertEqual(worker.ask("total", {"order": {"items": [{"name": "a", "price": 2}]}}), b"=2.0")
        end = worker.ask("total", {"order": {"items": [{"name": "a", "price": -2}]}}).decode()
        self.assertTrue(end.startswith("?order\n.items[0].price "), end)
        self.assertEqual(worker.ask("same", {"orders": [{"items": []}]}), b'=[{"items":[],"note":null}]')
        group = "$defs" if self.version == 2 else "definitions"
        for function in worker.describe()["functions"]:  # also inside of a list
            self.assertIn("Item", function["parameters"][0]["schema"][group])

    def test_annotated_is_strict_and_checked(self):
        if self.version < 2:
            self.skipTest("pydantic 1 has no type adapter")
        worker = self.start("""
            from typing import Annotated
            from pydantic import Field
            def fib(n: Annotated[int, Field(ge=0, le=1000)]) -> int: return n
        """)
        self.assertEqual(worker.ask("fib", {"n": 10}), b"=10")
        self.assertEqual(worker.ask("fib", {"n": "10"}), b"?n\nmust be a whole number, such as 42")
        self.assertEqual(worker.ask("fib", {"n": 1001}), b"?n\nInput should be less than or equal to 1000")
        self.assertEqual(worker.describe()["functions"][0]["parameters"][0]["schema"]["maximum"], 1000)


if __name__ == "__main__":
    unittest.main()
