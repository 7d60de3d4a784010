"""httpipe's worker: the loop that answers calls of Python functions.

`httpipe run calculate.py:fib` starts `python -c BOOT calculate.py:fib` and sends the text of this file as the first
message on stdin (`python/boot.py` reads it). So nothing has to be installed beside the program, and the loop always fits the
server that asks it. Standard library only, CPython 3.9 or later.

The wire: each message is its length (four bytes, big-endian) and that many bytes.

    in    TAG FUNCTION JSON         17 fib {"n":10}             JSON is an object: parameters by name
          TAG FUNCTION JSON\\nRAW    18 blur {"radius":2}\\n...   RAW is the value of the first parameter of type bytes
          TAG ? {"version":1}       describe the program; the first question that a worker gets
          TAG x {}                  nobody waits for call TAG any longer
    out   TAG =JSON                 a result
          TAG +JSON                 a part of a stream
          TAG ~JSON                 how far the call is: {"fraction":0.4,"text":"page 4"}
          TAG .                     the end of a stream, or of a call that was cancelled
          TAG bTYPE\\nRAW            bytes and their media type, which may be empty
          TAG !{"status":404,"message":"no such user"}         the call failed; 500 has "why" and "where" as well
          TAG ?NAME\\nWHY            a parameter is wrong; NAME is empty where JSON is not an object

Each call has exactly one end (`=`, `.`, `b`, `!` or `?`), and nothing after it. A part of a stream is always JSON.

Sections: what programs import · JSON · types · functions · wire · programs · loop · async loop · start · fork server.
"""

from __future__ import annotations

import _thread
import collections.abc
import contextvars
import enum
import faulthandler
import fcntl
import functools
import gc
import importlib
import inspect
import io
import json
import os
import re
import select
import signal
import stat
import sys
import time
import types
import typing
import warnings
from typing import Any, Callable, Iterable, Iterator, NamedTuple, NoReturn, TypeVar

__all__ = ["Error", "batch", "progress", "pure", "route", "serve"]

Anything = TypeVar("Anything", bound=Callable[..., Any])


class _Late:
    """A module that is imported when it is first needed: asyncio alone costs more than the rest of the start."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)


if typing.TYPE_CHECKING:
    import asyncio
    import base64
    import socket
    import traceback
else:
    asyncio, base64, socket, traceback = _Late("asyncio"), _Late("base64"), _Late("socket"), _Late("traceback")


# ---------------------------------------------------------------------------------------------------------------------
# What programs import


class Error(Exception):
    """A failure that the caller is told: `raise httpipe.Error("no such user", 404)`.

    Any other exception with an int `.status` from 400 to 599 is treated in the same way.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        if not 400 <= status <= 599:
            raise ValueError("the status of an error is from 400 to 599, not %r" % (status,))
        super().__init__(message)
        self.status = status


def batch(size: int) -> Callable[[Anything], Anything]:
    """Serves up to `size` calls with one call of the function, which takes lists and returns a list.

    Callers send and get single elements. An element of the result may be an exception: that call fails.
    """
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise TypeError("@httpipe.batch takes the largest number of calls, as in @httpipe.batch(32)")

    def mark(function: Anything) -> Anything:
        function.batch = size  # type: ignore[attr-defined]
        return function

    return mark


class Route(NamedTuple):
    """What callers may do with the routes that a function has of its own."""

    items: int
    jobs: bool


def route(*, items: int = 0, jobs: bool = False) -> Callable[[Anything], Anything]:
    """Lets callers send up to `items` calls in one request, and ask for calls as `jobs`.

    It is for the routes that a function has of its own: `@httpipe.route(items=1000, jobs=True)`. A `[[route]]` of the
    configuration says so itself. Jobs need `[jobs]` there, or `--jobs-file jobs.db`.
    """
    if isinstance(items, bool) or not isinstance(items, int) or items < 0:
        raise TypeError("@httpipe.route takes the most items of one request, as in @httpipe.route(items=1000)")
    if not isinstance(jobs, bool):
        raise TypeError("@httpipe.route takes jobs=True or jobs=False; other rules are for `[[route]]`")

    def mark(function: Anything) -> Anything:
        function.route = Route(items, jobs)  # type: ignore[attr-defined]
        return function

    return mark


def pure(function: Anything) -> Anything:
    """Says that a call may be run again after a failure, and changes nothing: its route is idempotent."""
    function.pure = True  # type: ignore[attr-defined]
    return function


def progress(fraction: float, text: str | None = None) -> None:
    """Says how far the call is, from 0 to 1, and perhaps in words: `httpipe.progress(0.4, "page 4")`.

    Those who look at a job see it, and those who take a stream as server-sent events. It may be said at any rate.
    Outside of a call nothing happens; nor in a thread, unless it runs in the context of the call, as those of
    `asyncio.to_thread` do.
    """
    number = float(fraction)
    if number != number:
        raise ValueError("httpipe.progress takes a number from 0 to 1, not NaN")
    running = _running.get()
    if running is not None:
        running.tell(min(max(number, 0.0), 1.0), None if text is None else str(text))


_at_serve: Callable[[list[tuple[str, Any]]], None] | None = None  # set while a script runs in a worker
_served_elsewhere = False  # set in a worker whose target names what is served


def serve(*functions: Callable[..., Any], **named: Callable[..., Any]) -> None:
    """Serves functions and classes; the last line of a script.

    In a worker it answers calls until there are no more. In a script that was started by hand it becomes
    `httpipe run SCRIPT`, with the same interpreter and the same arguments.
    """
    things: list[tuple[str, Any]] = []
    for function in functions:
        name = getattr(function, "__name__", "")
        if not name.isidentifier():
            raise TypeError("httpipe.serve got a %s that has no name; write serve(NAME=…)" % type(function).__name__)
        things.append((name, function))
    things += named.items()
    if _at_serve is not None:
        _at_serve(things)
    elif not _served_elsewhere:
        from httpipe._binary import become_server

        become_server()


# ---------------------------------------------------------------------------------------------------------------------
# JSON


def _refuse_constant(text: str) -> NoReturn:
    raise ValueError("%s is not JSON" % text)


_too_large: list[str] = []  # numbers with a point or an exponent that were read as infinite


def _read_number(text: str) -> float:
    number = float(text)
    if number - number != 0.0:
        _too_large.append(text)
    return number


_decoder = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_read_number)
_scan: Callable[[str, int], tuple[Any, int]] = getattr(_decoder, "scan_once")


def loads(text: str) -> Any:
    """Reads a JSON document. Digits of whole numbers are kept, NaN is refused, the last of equal names counts."""
    try:
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except StopIteration:
        pass
    return _decoder.decode(text)  # white space around it, or an error with its place


def _of(value: Any, module: str, *names: str) -> bool:
    """Returns true if `value` is of one of these types. A module that nobody imported has no values."""
    found = sys.modules.get(module)
    return found is not None and isinstance(value, tuple(getattr(found, name) for name in names))


def _json_form(value: Any) -> Any:
    """Returns what stands for a value that JSON does not know."""
    if isinstance(value, enum.Enum):
        return value.value
    if hasattr(type(value), "model_dump"):
        return value.model_dump(mode="json", by_alias=True)
    fields = getattr(type(value), "__dataclass_fields__", None)
    if fields is not None:
        dataclasses = sys.modules["dataclasses"]
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if _of(value, "datetime", "date", "time"):
        return value.isoformat()
    if _of(value, "uuid", "UUID") or _of(value, "decimal", "Decimal") or isinstance(value, os.PathLike):
        return str(value)
    if isinstance(value, collections.abc.Mapping):
        return dict(value)
    if isinstance(value, collections.abc.Set):
        try:
            return sorted(value)  # the same result in every worker
        except TypeError:
            return list(value)
    if isinstance(value, (collections.abc.Sequence, collections.abc.ValuesView)) or _of(value, "collections", "deque"):
        return list(value)
    for name in ("tolist", "item", "dict"):  # numpy's arrays, other arrays of one value, pydantic 1
        method = getattr(value, name, None)
        if callable(method) and not isinstance(value, type):
            return method()
    raise TypeError("a result of type %s has no JSON form" % type(value).__name__)


def _make_dumps(ensure_ascii: bool) -> Callable[[Any], str]:
    """Makes an encoder. `JSONEncoder.encode` makes a C encoder for each value; this makes it once."""
    encoder = json.JSONEncoder(
        separators=(",", ":"), check_circular=False, ensure_ascii=ensure_ascii, allow_nan=False, default=_json_form
    )
    try:
        quote = json.encoder.encode_basestring_ascii if ensure_ascii else json.encoder.encode_basestring
        make: Any = getattr(json.encoder, "c_make_encoder")
        encode = make(None, _json_form, quote, None, ":", ",", False, False, False)
        if "".join(encode({"a": [1, "é"]}, 0)) != encoder.encode({"a": [1, "é"]}):
            raise TypeError
    except (AttributeError, TypeError):
        return encoder.encode
    return lambda value: "".join(encode(value, 0))


dumps = _make_dumps(ensure_ascii=False)
_dumps_ascii = _make_dumps(ensure_ascii=True)


def _with_text_keys(value: Any) -> Any:
    """Returns a copy of `value` in which names are of types that JSON knows."""
    if isinstance(value, (str, int, float, type(None))):
        return value
    if isinstance(value, dict):
        return {
            key if isinstance(key, (str, int, float, type(None))) else _json_form(key): _with_text_keys(member)
            for key, member in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_with_text_keys(member) for member in value]
    return _with_text_keys(_json_form(value))


def to_json(value: Any) -> bytes:
    """Returns the JSON of a value. Raises what cannot be shown: `TypeError`, `ValueError` (NaN), `RecursionError`."""
    try:
        return dumps(value).encode()
    except UnicodeEncodeError:  # half of a surrogate pair is JSON only when it is escaped
        return _dumps_ascii(value).encode()
    except TypeError as error:
        if not str(error).startswith("keys must be"):
            raise
    return _dumps_ascii(_with_text_keys(value)).encode()


def _whole_text(value: Any) -> Any:
    """Returns a JSON value in which no text has half of a surrogate pair: `\\udce9`, with a backslash, stands for it."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_whole_text(name): _whole_text(member) for name, member in value.items()}
    return [_whole_text(member) for member in value] if isinstance(value, list) else value


def to_server(value: Any) -> bytes:
    """Returns the JSON of what the server itself reads, which takes no half of a surrogate pair.

    Names of files that are not UTF-8 have such halves. Results go to callers as they are: see `to_json`.
    """
    text = to_json(value)
    return to_json(_whole_text(loads(text.decode()))) if b"\\ud" in text else text


# ---------------------------------------------------------------------------------------------------------------------
# Types: an annotation becomes a JSON schema and a reader of JSON values


class Refused(Exception):
    """A value is not of its type. The place is inside the parameter: `.tags[2]`."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why, self.place = why, ""

    def inside(self, place: str) -> Refused:
        self.place = place + self.place
        return self

    def __str__(self) -> str:
        return (self.place + " " + self.why).strip()


class Problem(Exception):
    """The program cannot be served as it is. Told once, at start."""

    def __init__(self, kind: str, message: str, where: str = "", line: str = "") -> None:
        super().__init__(message)
        self.kind, self.message, self.where, self.line = kind, message, where, line


class Type(NamedTuple):
    """What values a parameter takes."""

    schema: dict[str, Any]
    read: Callable[[Any], Any] | None = None
    """Makes a value from JSON or raises `Refused`; None takes everything."""
    plain: type | None = None
    """The type whose instances are taken as they are, without a call of `read`."""


ANYTHING = Type({})
NOTHING = type(None)
MISSING = inspect.Parameter.empty
UNIONS = (typing.Union, getattr(types, "UnionType", typing.Union))
ARRAYS = {
    list: list, tuple: tuple, set: set, frozenset: frozenset,
    collections.abc.Sequence: list, collections.abc.MutableSequence: list, collections.abc.Collection: list,
    collections.abc.Iterable: list, collections.abc.Set: set, collections.abc.MutableSet: set,
}  # fmt: skip
OBJECTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
MEDIA_TYPE = r"[\w!#$&^.+-]+/[\w!#$&^.+-]+( *; *[\w!#$&^.+-]+=([\w!#$&^.+-]+|\"[ !#-~]*\"))*"
USE = "use int, float, bool, str, bytes, list, dict, a dataclass, a TypedDict or a pydantic model"


def _exactly(kind: type, name: str, why: str) -> Type:
    def read(value: Any) -> Any:
        if type(value) is kind:
            return value
        raise Refused(why)

    return Type({"type": name}, read, kind)


def _read_float(value: Any) -> float:
    if type(value) is int or type(value) is float:
        try:
            number = float(value)
            if number - number == 0.0:
                return number
        except OverflowError:
            pass
        raise Refused("is too large for a number")
    raise Refused("must be a number, such as 1.5")


def _read_bytes(value: Any) -> bytes:
    if type(value) is bytes:
        return value
    if type(value) is str:
        try:
            return base64.b64decode(value, validate=True)
        except ValueError:
            pass
    raise Refused("must be base64 in a string")


SIMPLE = {
    int: _exactly(int, "integer", "must be a whole number, such as 42"),
    str: _exactly(str, "string", "must be a string"),
    bool: _exactly(bool, "boolean", "must be `true` or `false`"),
    NOTHING: _exactly(NOTHING, "null", "must be `null`"),
    float: Type({"type": "number"}, _read_float),
    bytes: Type({"type": "string", "contentEncoding": "base64"}, _read_bytes),
    bytearray: Type({"type": "string", "contentEncoding": "base64"}, lambda value: bytearray(_read_bytes(value))),
}

_DATE = r"\d{4}-\d\d-\d\d"
_TIME = r"(\d\d:\d\d)(:\d\d)?(?:[.,](\d{1,6})\d*)?(Z|z|[+-]\d\d:?\d\d)?"


def _time_text(text: str, date: str = "") -> str:
    """Returns a time in the only form that `fromisoformat` of every Python takes. Raises `ValueError`."""
    found = re.fullmatch("(%s)%s" % (date, _TIME), text, re.ASCII)
    if not found:
        raise ValueError
    day, minutes, seconds, fraction, zone = found.groups()
    if zone:
        zone = "+00:00" if zone in "Zz" else zone if ":" in zone else zone[:3] + ":" + zone[3:]
    fraction = "." + fraction.ljust(6, "0") if fraction else ""
    return day.replace("t", "T").replace(" ", "T") + minutes + (seconds or ":00") + fraction + (zone or "")


def _from_text(why: str, form: str, make: Callable[[str], Any]) -> Type:
    def read(value: Any) -> Any:
        if type(value) is str:
            try:
                return make(value)
            except (ValueError, ArithmeticError):
                pass
        raise Refused(why)

    return Type({"type": "string", "format": form}, read)


def _text_type(note: Any) -> Type | None:
    """Returns the type of what JSON writes as a string: dates, UUID, Decimal."""
    module, name = getattr(note, "__module__", ""), getattr(note, "__qualname__", "")
    if module == "datetime" and name == "datetime":
        make = lambda text: note.fromisoformat(_time_text(text, _DATE + "[Tt ]"))
        return _from_text("must be a date and time, such as 2024-05-17T08:30:00Z", "date-time", make)
    if module == "datetime" and name == "time":
        return _from_text("must be a time, such as 08:30:00", "time", lambda text: note.fromisoformat(_time_text(text)))
    if module == "datetime" and name == "date":
        def make(text: str) -> Any:
            if not re.fullmatch(_DATE, text, re.ASCII):
                raise ValueError
            return note.fromisoformat(text)

        return _from_text("must be a date, such as 2024-05-17", "date", make)
    if module == "uuid" and name == "UUID":
        return _from_text("must be a UUID", "uuid", note)
    if module == "decimal" and name == "Decimal":
        def decimal(value: Any) -> Any:
            if type(value) is str or type(value) is int:
                try:
                    number = note(value)
                    if number.is_finite():
                        return number
                except ArithmeticError:
                    pass
            raise Refused("must be a decimal number in a string, such as \"1.50\"")

        return Type({"anyOf": [{"type": "string", "format": "decimal"}, {"type": "integer"}]}, decimal)
    return None


class Types:
    """Makes the type of one parameter. What contains itself has a name in the `$defs` of the schema."""

    def __init__(self) -> None:
        self._open: dict[Any, list[Any]] = {}  # those that are being made: name, reader once it is known, used?
        self._variables: dict[Any, Any] = {}  # what a TypeVar stands for: int, inside of Pair[int]
        self._defs: dict[str, dict[str, Any]] = {}  # `$defs`, and `definitions` of pydantic 1

    def whole(self, note: Any, where: str) -> Type:
        """Returns the type of a parameter, whose schema can stand alone."""
        kind = self.of(note, where)
        return kind._replace(schema={**kind.schema, **self._defs}) if self._defs else kind

    def _without_defs(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Moves the definitions of a schema to where its references look for them: the schema of the parameter."""
        for group in ("$defs", "definitions"):
            if group in schema:
                self._defs.setdefault(group, {}).update(schema.pop(group))
        return schema

    def of(self, note: Any, where: str) -> Type:
        """Returns the type of an annotation; `where` is the parameter or field that has it."""
        if note is MISSING or note is Any or note is object:
            return ANYTHING
        note = NOTHING if note is None else note
        try:
            if note in SIMPLE:
                return SIMPLE[note]
        except TypeError:  # unhashable: Literal[[]] and the like
            raise Problem("annotation", "%s: %r cannot come from JSON; %s" % (where, note, USE)) from None
        if type(note) is TypeVar:
            return self.of(self._variables.get(note, note.__bound__ or Any), where)
        if hasattr(note, "__supertype__"):  # NewType
            return self.of(note.__supertype__, where)
        if type(typing.get_origin(note) or note).__name__ == "TypeAliasType":  # type Tree = list[Tree]
            alias = typing.get_origin(note) or note
            return self._generic_named(note, alias, alias.__type_params__, lambda: self.of(alias.__value__, where))
        found = _text_type(note) or self._generic(note, where) or self._class(note, where)
        if found is None:
            raise Problem("annotation", "%s: %s cannot come from JSON; %s" % (where, _shown(note), USE))
        return found

    def _generic(self, note: Any, where: str) -> Type | None:
        origin, args = typing.get_origin(note), typing.get_args(note)
        base = origin or note
        if hasattr(note, "__metadata__"):
            return self._annotated(args, where)
        if origin in UNIONS:
            return _union([self.of(arg, where) for arg in args])
        if origin is typing.Literal:
            return _one_of(args, [_json_value(arg, where) for arg in args])
        if isinstance(base, type) and base in ARRAYS:
            return self._array(ARRAYS[base], args, where)
        if base in OBJECTS:
            return self._object(args, where)
        return None

    def _class(self, note: Any, where: str) -> Type | None:
        whole, note = note, note if isinstance(note, type) and not typing.get_args(note) else typing.get_origin(note)
        if not isinstance(note, type):
            return None
        variables = getattr(note, "__parameters__", ())
        if issubclass(note, enum.Enum):
            return _one_of(list(note), [_json_value(member.value, where) for member in note])
        if hasattr(note, "__get_pydantic_core_schema__") or hasattr(note, "__pydantic_validator__"):
            return self._pydantic(note)
        if hasattr(note, "parse_obj") and hasattr(note, "__fields__"):
            return self._pydantic_1(note)
        if hasattr(note, "__dataclass_fields__"):
            return self._generic_named(whole, note, variables, lambda: self._dataclass(note, where))
        if issubclass(note, dict) and hasattr(note, "__total__"):
            return self._generic_named(whole, note, variables, lambda: self._typed_dict(note, where))
        return None

    def _generic_named(self, whole: Any, kind: Any, variables: Any, make: Callable[[], Type]) -> Type:
        """Makes a type that may have variables, which are bound in `whole`, as in `Pair[int]`."""
        args = [self._variables.get(arg, arg) if type(arg) is TypeVar else arg for arg in typing.get_args(whole)]
        outer, self._variables = self._variables, dict(zip(variables, args))
        try:
            return self._named((kind, *args), kind.__name__, make)
        finally:
            self._variables = outer

    def _named(self, key: Any, name: str, make: Callable[[], Type]) -> Type:
        """Makes a type that may contain itself."""
        while any(state[0] == name and other != key for other, state in self._open.items()):
            name += "_"
        if key in self._open:
            state = self._open[key]
            state[2] = True
            return Type({"$ref": "#/$defs/" + name}, lambda value: state[1](value))
        state = self._open[key] = [name, None, False]
        try:
            made = make()
        finally:
            del self._open[key]
        state[1] = made.read or (lambda value: value)
        if not state[2]:
            return made
        self._defs.setdefault("$defs", {})[name] = made.schema
        about: dict[str, Any] = {key: made.schema[key] for key in ("type", "title") if key in made.schema}
        return Type({"$ref": "#/$defs/" + name, **about}, made.read, made.plain)

    def _annotated(self, args: tuple[Any, ...], where: str) -> Type:
        """`Annotated[int, Field(gt=0)]`: strict as `int`, then what pydantic says if the program uses it."""
        notes = args[1:]
        checked = any(hasattr(type(note), "__get_pydantic_core_schema__")
                      or type(note).__module__.partition(".")[0] in ("pydantic", "annotated_types") for note in notes)
        try:
            inner: Type | None = self.of(args[0], where)
        except Problem:
            if not checked:
                raise
            inner = None
        if checked and "pydantic" in sys.modules and hasattr(sys.modules["pydantic"], "TypeAdapter"):
            strict, outer = inner and inner.read, self._pydantic(typing.Annotated[args])
            return outer if strict is None else Type(outer.schema, lambda value: outer.read(strict(value)))  # type: ignore[misc]
        assert inner is not None
        text = next((note for note in notes if isinstance(note, str)), None)
        if text is None:
            return inner
        is_media_type = args[0] in (bytes, bytearray) and re.fullmatch(MEDIA_TYPE, text, re.ASCII)
        about = "contentMediaType" if is_media_type else "description"
        return inner._replace(schema={**inner.schema, about: text})

    def _array(self, make: type, args: tuple[Any, ...], where: str) -> Type:
        if make is tuple and args and args[-1] is not Ellipsis:
            return self._tuple([self.of(arg, where) for arg in args if arg != ()])
        item = self.of(args[0], where) if args else ANYTHING
        schema: dict[str, Any] = {"type": "array"}
        if item.schema:
            schema["items"] = item.schema
        if make in (set, frozenset):
            schema["uniqueItems"] = True
        plain, convert = item.plain, item.read

        def read(value: Any) -> Any:
            if type(value) is not list:
                raise Refused("must be an array")
            if convert is not None:
                made = []
                for index, element in enumerate(value):
                    try:
                        made.append(element if type(element) is plain else convert(element))
                    except Refused as refused:
                        raise refused.inside("[%d]" % index)
                value = made
            try:
                return value if make is list else make(value)
            except TypeError:
                raise Refused("must be an array of values that can be in a set") from None

        return Type(schema, read)

    def _tuple(self, items: list[Type]) -> Type:
        def read(value: Any) -> Any:
            if type(value) is not list or len(value) != len(items):
                raise Refused("must be an array of %d elements" % len(items))
            made = []
            for index, (element, item) in enumerate(zip(value, items)):
                try:
                    made.append(element if item.read is None else item.read(element))
                except Refused as refused:
                    raise refused.inside("[%d]" % index)
            return tuple(made)

        size = len(items)
        return Type({"type": "array", "prefixItems": [item.schema for item in items],
                     "minItems": size, "maxItems": size}, read)  # fmt: skip

    def _object(self, args: tuple[Any, ...], where: str) -> Type:
        keys = self._key(args[0], where) if args else None
        member = self.of(args[1], where) if args else ANYTHING
        schema: dict[str, Any] = {"type": "object"}
        if member.schema:
            schema["additionalProperties"] = member.schema

        def read(value: Any) -> Any:
            if type(value) is not dict:
                raise Refused("must be an object")
            if keys is None and member.read is None:
                return value
            made = {}
            for name, inner in value.items():
                try:
                    made[name if keys is None else keys(name)] = inner if member.read is None else member.read(inner)
                except Refused as refused:
                    raise refused.inside("[%s]" % dumps(name))
            return made

        return Type(schema, read)

    def _key(self, note: Any, where: str) -> Callable[[Any], Any] | None:
        """Returns what makes a key from the name of a member, which JSON writes as a string."""
        key = self.of(note, where)
        if key is ANYTHING or key.plain is str:
            return None
        if key.plain is int:
            def whole(name: str) -> int:
                if re.fullmatch(r"-?(0|[1-9]\d{0,4000})", name, re.ASCII):
                    return int(name)
                raise Refused("must have a name that is a whole number")

            return whole
        values = key.schema.get("enum", [])
        if key.schema.get("type") != "string" and not (values and all(isinstance(value, str) for value in values)):
            raise Problem("annotation", "%s: names of JSON objects are strings, which %s is not" % (where, _shown(note)))
        return key.read

    def _dataclass(self, note: Any, where: str) -> Type:
        hints = _hints(note, where)
        if "__init__" in vars(note) and not note.__dataclass_params__.init:
            hints = _hints(note.__init__, where)
        fields: dict[str, tuple[Type, bool]] = {}
        for name, parameter in inspect.signature(note).parameters.items():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            hint = hints.get(name, MISSING)
            hint = getattr(hint, "type", hint) if type(hint).__name__ == "InitVar" else hint
            fields[name] = self.of(hint, "%s: %s.%s" % (where, note.__name__, name)), parameter.default is MISSING
        schema, read_members = _members(note.__name__, fields)

        def read(value: Any) -> Any:
            members = read_members(value)
            try:
                return note(**members)
            except ValueError as error:  # what __post_init__ says of the values
                raise Refused(str(error) or "is refused") from None

        return Type(schema, read)

    def _pydantic(self, note: Any) -> Type:
        try:
            adapter = sys.modules["pydantic"].TypeAdapter(note)
            schema = self._without_defs(adapter.json_schema())
        except Exception as error:
            raise Problem("annotation", "pydantic does not know how %s comes from JSON: %s" % (_shown(note), error)) from None

        def read(value: Any) -> Any:
            try:
                return adapter.validate_python(value)
            except ValueError as error:
                raise _refuse_as_pydantic(error) from None

        return Type(schema, read)

    def _pydantic_1(self, note: Any) -> Type:
        def read(value: Any) -> Any:
            try:
                return note.parse_obj(value)
            except ValueError as error:
                raise _refuse_as_pydantic(error) from None

        return Type(self._without_defs(dict(note.schema())), read)

    def _typed_dict(self, note: Any, where: str) -> Type:
        fields: dict[str, tuple[Type, bool]] = {}
        for name, hint in _hints(note, where).items():
            required = name in note.__required_keys__
            for _ in range(3):  # Required[ReadOnly[Annotated[…]]]
                marker = getattr(typing.get_origin(hint), "_name", "") or ""
                if marker not in ("Required", "NotRequired", "ReadOnly"):
                    break
                required = required if marker == "ReadOnly" else marker == "Required"
                hint = typing.get_args(hint)[0]
            fields[name] = self.of(hint, "%s: %s[%r]" % (where, note.__name__, name)), required
        return Type(*_members(note.__name__, fields))


def _union(options: list[Type]) -> Type:
    """One of several types, the first that takes the value. A value that is of one of them already stays as it is."""
    schema = {"anyOf": [option.schema for option in options]}
    if any(option.read is None for option in options):
        return Type(schema)
    plain = {option.plain for option in options if option.plain}  # an int stays one in `float | int`
    others = [option.read for option in options if option.plain is not NOTHING]
    only = others[0] if len(others) == 1 else None  # Optional: what is wrong inside is said without "or `null`"
    reads = [only] if only else [option.read for option in options]

    def read(value: Any) -> Any:
        if type(value) in plain:
            return value
        refusals = []
        for attempt in reads:
            try:
                return attempt(value)  # type: ignore[misc]
            except Refused as refused:
                if len(reads) == 1:
                    raise
                refusals.append(str(refused))
        raise Refused(" or ".join(dict.fromkeys(refusals)))

    return Type(schema, read)


def _members(title: str, fields: dict[str, tuple[Type, bool]]) -> tuple[dict[str, Any], Callable[[Any], Any]]:
    """Returns schema and reader of an object with these fields and no others."""
    required = [name for name, (_, needed) in fields.items() if needed]
    schema: dict[str, Any] = {"type": "object", "title": title, "additionalProperties": False,
                              "properties": {name: kind.schema for name, (kind, _) in fields.items()}}  # fmt: skip
    if required:
        schema["required"] = required

    def read(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise Refused("must be an object")
        made = {}
        for name, member in value.items():
            if name not in fields:
                raise Refused("is unknown").inside("." + name)
            kind = fields[name][0]
            try:
                made[name] = member if kind.read is None else kind.read(member)
            except Refused as refused:
                raise refused.inside("." + name)
        for name in required:
            if name not in made:
                raise Refused("is missing").inside("." + name)
        return made

    return schema, read


def _json_value(value: Any, where: str) -> Any:
    """Returns the JSON value by which a caller names a member of an Enum or Literal."""
    value = value.value if isinstance(value, enum.Enum) else value
    if value is None or type(value) in (str, int, bool, float):
        return value
    for base in (str, int):
        if isinstance(value, base):
            return base(value)
    raise Problem("annotation", "%s: a choice of %r has no JSON form" % (where, value))


def _one_of(values: Iterable[Any], names: list[Any]) -> Type:
    """One of some values, each called by a JSON value. `true` is not 1, and 1.0 is not either."""
    choices = {(type(name), name): value for name, value in zip(names, values)}
    why = "must be one of " + ", ".join(map(dumps, names))

    def read(value: Any) -> Any:
        try:
            return choices[type(value), value]
        except (KeyError, TypeError):
            raise Refused(why) from None

    return Type({"enum": names}, read)


def _refuse_as_pydantic(error: Any) -> Refused:
    """Returns what pydantic says, or what a validator of the program said with a `ValueError` of its own."""
    if not hasattr(error, "errors"):
        return Refused(str(error) or "is refused")
    first = error.errors()[0]
    place = "".join("[%d]" % at if isinstance(at, int) else "." + str(at) for at in first["loc"] if at != "__root__")
    return Refused(first["msg"]).inside(place)


def _shown(note: Any) -> str:
    return note.__qualname__ if isinstance(note, type) and not typing.get_args(note) else repr(note).replace("typing.", "")


def _hints(thing: Any, where: str) -> dict[str, Any]:
    """Returns the annotations of a class or function, read as Python."""
    try:
        return typing.get_type_hints(thing, include_extras=True)
    except Exception as error:
        first = error
    hints: dict[str, Any] = {}
    for part in reversed(thing.__mro__[:-1]) if inspect.isclass(thing) else [thing]:
        try:
            notes = dict(vars(part).get("__annotations__") or part.__annotations__)
        except Exception:  # an unknown name, since Python 3.14
            raise Problem("annotation", "%s: its annotations cannot be read: %s" % (where, first)) from None
        scope = getattr(part, "__globals__", None) or vars(sys.modules[part.__module__])
        for name, note in notes.items():
            try:
                hints[name] = _hint(note, scope)
            except Exception as error:
                if name == "return":
                    continue  # it is only described
                message = "%s: the annotation `%s: %s` cannot be read: %s" % (where, name, note, error)
                raise Problem("annotation", message) from None
    return hints


def _hint(note: Any, scope: dict[str, Any]) -> Any:
    """Returns one annotation, which may be the text of one. Before Python 3.11, `InitVar` is no type in a text."""
    if isinstance(note, str):
        value = eval(note, scope)
        if typing.get_origin(value) is typing.ClassVar:
            return value
        if type(value).__name__ == "InitVar":
            return _hint(value.type, scope)
    stub = types.SimpleNamespace(__annotations__={"note": note}, __globals__=scope)
    return typing.get_type_hints(stub, include_extras=True)["note"]


# ---------------------------------------------------------------------------------------------------------------------
# Functions: arguments by name, from JSON


class BadParameter(Exception):
    """What the caller is told about a parameter; `name` is empty where the arguments as a whole are wrong."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, why)
        self.name, self.why = name, why


class Parameter(NamedTuple):
    name: str
    type: Type
    default: Any
    is_bytes: bool


class Function:
    """A function of the program: what it takes and how it is called."""

    def __init__(self, name: str, call: Callable[..., Any]) -> None:
        self.name, self.call = name, call
        self.inner = _innermost(call)
        self.batch: int = getattr(call, "batch", 0)
        self.pure: bool = bool(getattr(call, "pure", False))
        route = getattr(call, "route", None)
        self.route = route if isinstance(route, Route) else Route(0, False)
        if name == "x":
            raise self.problem("a function cannot be called `x`: the wire uses that name to cancel a call; rename it")
        if not callable(call):
            raise self.problem("`%s` is no function, but %s" % (name, type(call).__name__))
        if type(self.batch) is not int or self.batch < 0:
            raise self.problem("`%s.batch` is the largest number of calls in a batch, not %r" % (name, self.batch))
        hints = self._read_hints()
        self.returns = hints.get("return", MISSING)
        self.kind = self._kind()
        self.parameters: dict[str, Parameter] = {}
        self.rest: Type | None = None
        self.positional: list[Parameter] = []
        self._read_signature(hints)
        self._write_schemas()
        self.required = [name for name, parameter in self.parameters.items() if parameter.default is MISSING]
        self.head_of_bytes = b"b" + self._media_type().encode() + b"\n"
        self.raw = next((name for name, parameter in self.parameters.items() if parameter.is_bytes), None)
        self._reads = [(name, kind.plain, kind.read) for name, kind, _, _ in self.parameters.values()]

    def problem(self, message: str) -> Problem:
        """Returns a problem of this function, with the place where it is defined."""
        code = getattr(self.inner, "__code__", None)
        if code is None:
            return Problem("annotation", message)
        return Problem("annotation", message, *_place(code.co_filename, code.co_firstlineno, "def "))

    def _read_hints(self) -> dict[str, Any]:
        try:
            return _hints(self.inner, self.name)
        except Problem as problem:
            raise self.problem(problem.message) from None

    def _kind(self) -> str:
        if inspect.isasyncgenfunction(self.inner) or _returns(self.returns, "AsyncIterator", "AsyncGenerator"):
            return "async stream"
        if inspect.iscoroutinefunction(self.inner):
            return "async"
        if inspect.isgeneratorfunction(self.inner) or _returns(self.returns, "Iterator", "Generator"):
            return "stream"
        return "sync"

    def _media_type(self) -> str:
        """Returns the media type of `-> Annotated[bytes, "image/png"]`; empty where nothing is said."""
        schema = self._result_schema() or {}
        return str(schema.get("contentMediaType", ""))

    def _read_signature(self, hints: dict[str, Any]) -> None:
        try:
            signature = inspect.signature(self.call)
        except ValueError:
            raise self.problem("`%s` does not say what it takes; wrap it in a function that does" % self.name) from None
        for name, parameter in signature.parameters.items():
            where = "%s(%s)" % (self.name, name)
            if parameter.kind is parameter.VAR_POSITIONAL:
                raise self.problem("%s: `*%s` has no names that a caller could send; name its parameters, "
                                   "or use functools.wraps in its decorator" % (where, name))  # fmt: skip
            note = hints.get(name, MISSING)
            try:
                if parameter.kind is parameter.VAR_KEYWORD:
                    if self.batch:
                        raise Problem("annotation", "%s: the calls of a batch may have other names each; name what "
                                      "callers may send" % where)  # fmt: skip
                    self.rest = Types().whole(note, where)
                    continue
                kind = Types().whole(self._element(note, where) if self.batch else note, where)
                if self.batch and isinstance(parameter.default, (list, tuple)) and not _takes(kind, parameter.default):
                    raise Problem("annotation", "%s: the default %r is for a whole batch; write that of one call, such "
                                  "as None" % (where, parameter.default))  # fmt: skip
            except Problem as problem:
                raise self.problem(problem.message) from None
            if parameter.default is None and not _takes(kind, None):
                kind = _union([kind, SIMPLE[NOTHING]])
            is_bytes = any("contentEncoding" in schema for schema in [kind.schema, *kind.schema.get("anyOf", ())])
            self.parameters[name] = Parameter(name, kind, parameter.default, is_bytes)
            if parameter.kind is parameter.POSITIONAL_ONLY:
                self.positional.append(self.parameters[name])

    def _write_schemas(self) -> None:
        """Makes sure that each schema has a JSON form: pydantic writes a bound such as `inf` into it as it is."""
        schemas = {name: parameter.type.schema for name, parameter in self.parameters.items()}
        if self.rest is not None:
            schemas["**"] = self.rest.schema
        for name, schema in schemas.items():
            try:
                to_json(schema)
            except Exception as error:
                message = "%s(%s): its JSON schema cannot be written: %s" % (self.name, name, _text_of(error))
                raise self.problem(message) from None

    def _element(self, note: Any, where: str) -> Any:
        """Returns what one caller sends to a function that takes lists."""
        if note is MISSING:
            return note
        for option in (note, *typing.get_args(note)):  # list[str], or Optional[list[str]]
            if (typing.get_origin(option) or option) in (list, collections.abc.Sequence, collections.abc.Iterable):
                return (typing.get_args(option) or (MISSING,))[0]
        raise Problem("annotation", "%s: a batch comes as a list; annotate it `list[%s]`" % (where, _shown(note)))

    def arguments(self, given: Any) -> dict[str, Any]:
        """Returns the arguments by name. Raises `BadParameter`. Values are converted in place."""
        if type(given) is not dict:
            raise BadParameter("", "the arguments must be a JSON object")
        known = 0
        for name, plain, read in self._reads:
            if name in given:
                known += 1
                value = given[name]
                if type(value) is not plain and read is not None:
                    try:
                        given[name] = read(value)
                    except Refused as refused:
                        raise BadParameter(name, str(refused)) from None
        if known != len(given):
            self._take_rest(given)
        if known != len(self._reads):
            for name in self.required:
                if name not in given:
                    raise BadParameter(name, "is missing")
        return given

    def _take_rest(self, given: dict[str, Any]) -> None:
        for name in given:
            if name not in self.parameters:
                if self.rest is None:
                    raise BadParameter(name, "is unknown")
                try:
                    given[name] = given[name] if self.rest.read is None else self.rest.read(given[name])
                except Refused as refused:
                    raise BadParameter(name, str(refused)) from None

    def run(self, arguments: dict[str, Any]) -> Any:
        if not self.positional:
            return self.call(**arguments)
        ordered = [arguments.pop(parameter.name, parameter.default) for parameter in self.positional]
        return self.call(*ordered, **arguments)

    def run_batch(self, several: list[dict[str, Any]]) -> Any:
        """Calls the function once: with a list for each parameter, in which defaults stand for what is absent.

        So what a function gets for one call does not depend on which others are in the batch. A parameter
        without a type that nobody sent, such as `model=MODEL`, is the function's own.
        """
        return self.run({
            name: [arguments.get(name, parameter.default) for arguments in several]
            for name, parameter in self.parameters.items()
            if parameter.type.read is not None or any(name in arguments for arguments in several)
        })

    def results(self, value: Any, count: int) -> list[Any]:
        """Returns the elements that a batch gave, if there are as many as calls."""
        if isinstance(value, (str, bytes, collections.abc.Mapping)) or not hasattr(type(value), "__iter__"):
            raise TypeError("%s gave %s for %d calls, not a list" % (self.name, type(value).__name__, count))
        values = list(value)
        if len(values) != count:
            raise ValueError("%s gave %d results for %d calls" % (self.name, len(values), count))
        return values

    def describe(self) -> dict[str, Any]:
        parameters = []
        for name, kind, default, is_bytes in self.parameters.values():
            parameter = {"name": name, "schema": kind.schema, "required": default is MISSING, "bytes": is_bytes}
            if default is not MISSING:
                try:
                    parameter["default"] = loads(to_json(default).decode())
                except Exception:
                    pass  # the default is for Python only
            parameters.append(parameter)
        in_flight = self.batch or (64 if self.kind.startswith("async") else 1)
        return {"name": self.name, "doc": inspect.getdoc(self.inner) or "", "kind": self.kind, "batch": self.batch,
                "pure": self.pure, "parameters": parameters, "rest": None if self.rest is None else self.rest.schema,
                "returns": self._result_schema(), "in_flight": in_flight, **self.route._asdict()}  # fmt: skip

    def _result_schema(self) -> dict[str, Any] | None:
        note = self.returns
        try:
            if self.batch:
                note = self._element(note, "")
            elif self.kind.endswith("stream"):
                note = (typing.get_args(note) or (MISSING,))[0]
            schema = None if note is MISSING else Types().whole(note, "").schema
            to_json(schema)
            return schema
        except Exception:
            return None  # it need not come from JSON


def _innermost(call: Any) -> Any:
    """Returns the function inside decorators, partials, methods and callable objects."""
    for _ in range(100):
        if isinstance(call, functools.partial):
            call = call.func
        elif hasattr(call, "__wrapped__"):
            call = call.__wrapped__
        elif inspect.ismethod(call):
            call = call.__func__
        elif not inspect.isroutine(call) and inspect.ismethod(getattr(call, "__call__", None)):
            call = call.__call__
        else:
            break
    return call


def _returns(note: Any, *names: str) -> bool:
    return typing.get_origin(note) in [getattr(collections.abc, name) for name in names]


def _takes(kind: Type, value: Any) -> bool:
    if kind.read is None:
        return True
    try:
        kind.read(value)
        return True
    except Refused:
        return False


# ---------------------------------------------------------------------------------------------------------------------
# The wire

HUSH = 0.01
"""For how long a call does not say again what is the same within a hundredth (seconds)."""
LARGE = 65536
"""Messages beyond this are read into a buffer of their own size."""
PRIVATE = 1000
"""The wire gets descriptors from here on: far from those that programs close or open."""

Message = typing.Tuple[bytes, bytes, Any]
"""Tag, function, and what follows: bytes, or a view of the bytes of a large message."""


class Running:
    """A call that runs, or the calls of a batch, and what is said of it meanwhile. Any thread may say something."""

    __slots__ = ("wire", "tags", "said", "fraction", "text")

    def __init__(self, wire: Wire, *tags: bytes) -> None:
        self.wire, self.tags = wire, tags
        self.said, self.fraction = 0.0, -1.0
        self.text: str | None = ""
        _running.set(self)

    def tell(self, fraction: float, text: str | None) -> None:
        now = time.monotonic()
        if now - self.said < HUSH and text == self.text and abs(fraction - self.fraction) < 0.01:
            return
        told: dict[str, Any] = {"fraction": fraction}
        if text is not None:
            told["text"] = text[:1024].encode("utf-8", "replace").decode()
        message = b"~" + to_json(told)
        with self.wire.lock:
            if self.tags and not self.wire.left:
                self.wire.tell(self.tags, message)
        self.said, self.fraction, self.text = now, fraction, text

    def end(self) -> None:
        """Nothing is said of the call any longer. Comes before its answer."""
        with self.wire.lock:
            self.tags = ()


_running: contextvars.ContextVar[Running | None] = contextvars.ContextVar("httpipe_running", default=None)


class Wire:
    """Takes descriptors 0 and 1 for itself: then 0 is at its end, and 1 is stderr.

    So the program can print, and what it starts can write to descriptor 1; it is a line in the log.
    """

    def __init__(self) -> None:
        self.rd, self.wr = _take(0), _take(1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        _flush_by_line()
        self.left = False  # true in a child that the program forked
        self.lock = _thread.allocate_lock()  # held while anything is written
        self._part = b""  # the begin of a message
        self._out: list[bytes] = []
        self._poll = select.poll()
        self._poll.register(self.rd, select.POLLIN)
        os.register_at_fork(after_in_child=self._leave)

    def _leave(self) -> None:
        """What the program forks has no business with the wire."""
        if self.left:
            return
        self.left = True
        self.lock = _thread.allocate_lock()  # a thread that is not here may hold the other one
        self._out.clear()
        for descriptor in (self.rd, self.wr):
            try:
                os.close(descriptor)
            except OSError:
                pass
        self.rd = self.wr = -1

    def ready(self) -> bool:
        """Returns true if `read` would not wait."""
        return bool(self._poll.poll(0))

    def read(self) -> list[Message] | None:
        """Waits for messages. Returns None at the end."""
        data = os.read(self.rd, LARGE)
        if not data:
            return None
        if self._part:
            data = self._part + data
        at, size = 0, len(data)
        found: list[Message] = []
        while size - at >= 4:
            end = at + 4 + int.from_bytes(data[at : at + 4], "big")
            if end > size:
                if end - at > LARGE:
                    large = self._read_large(data[at + 4 :], end - at - 4)
                    if large is None:
                        return None
                    found.append(large)
                    at = size
                break
            message = data[at + 4 : end].split(b" ", 2)
            found.append(tuple(message) if len(message) == 3 else (*message, b"", b"")[:3])  # type: ignore[arg-type]
            at = end
        self._part = data[at:]
        return found

    def _read_large(self, begin: bytes, size: int) -> Message | None:
        """Reads the rest of a large message into one buffer: nothing is copied twice."""
        buffer = bytearray(size)
        buffer[: len(begin)] = begin
        view, have = memoryview(buffer), len(begin)
        while have < size:
            count = os.readv(self.rd, [view[have:]])
            if count == 0:
                return None
            have += count
        tag, name, _ = (bytes(buffer[:1024]) + b"  ").split(b" ", 2)
        return tag, name, view[len(tag) + len(name) + 2 :]

    def answer(self, tag: bytes, head: bytes, tail: Any = b"") -> None:
        """Puts a message into the next `flush`; a large one is written at once, and not copied."""
        start = (len(tag) + 1 + len(head) + len(tail)).to_bytes(4, "big") + tag + b" " + head
        if len(tail) < LARGE:
            self._out.append(start + tail)
        else:
            self._out.append(start)
            self.flush(tail)

    def tell(self, tags: tuple[bytes, ...], message: bytes) -> None:
        """Writes a message about each of these calls at once, before what waits for a `flush`. Needs the lock."""
        self._write(b"".join((len(tag) + 1 + len(message)).to_bytes(4, "big") + tag + b" " + message for tag in tags))

    def flush(self, tail: Any = b"") -> None:
        """Writes what waits, and then this."""
        if self.left:
            os._exit(0)  # a function forked, and its child came back: it has nothing to answer
        if self._out:
            data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
            self._out.clear()
            with self.lock:
                self._write(data)
                if tail:
                    self._write(tail)

    def _write(self, data: Any) -> None:
        done = os.write(self.wr, data)
        if done < len(data):
            view = memoryview(data)[done:]
            while view:
                view = view[os.write(self.wr, view) :]


def _flush_by_line() -> None:
    """What the program prints is in the log at once."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True, errors="backslashreplace")


def _take(descriptor: int) -> int:
    """Moves a descriptor to a number that nobody else uses and that children do not inherit."""
    for first in (PRIVATE, 100, 3):
        try:
            return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, first)
        except (OSError, ValueError):  # the limit of open files is lower
            continue
    raise OSError("no descriptor is left for the wire")


# ---------------------------------------------------------------------------------------------------------------------
# Programs: what is served, found by its name


class Program:
    """What a worker serves: functions by name, and what runs before the first call and after the last one."""

    def __init__(self, things: Iterable[tuple[str, Any]]) -> None:
        self.functions: dict[str, Function] = {}
        self.setups: list[Callable[[], Any]] = []
        self.closes: list[Callable[[], Any]] = []
        self.import_ms = 0.0
        self.unsafe: str | None = None  # why it must not be forked
        for name, thing in things:
            if inspect.isclass(thing):
                self._add_class(name, thing)
            else:
                self._add(name, thing)
        if not self.functions:
            raise Problem("missing", "there is no function to serve")

    def _add(self, name: str, call: Any) -> None:
        if name in self.functions:
            raise self.functions[name].problem("two functions are called `%s`; each needs a name of its own" % name)
        self.functions[name] = Function(name, call)

    def _add_class(self, name: str, kind: type) -> None:
        """Makes the object that all calls share. Its public methods are functions, inherited ones as well."""
        try:
            made = kind()
        except BaseException as error:
            raise problem_of(error, "`%s()`" % name) from None
        for method in _public_methods(kind):
            if method == "setup":
                self.setups.append(made.setup)
            elif method == "close":
                self.closes.append(made.close)
            else:
                self._add(method, getattr(made, method))

    @property
    def is_async(self) -> bool:
        calls = [*self.setups, *self.closes]
        return any(function.kind.startswith("async") for function in self.functions.values()) or any(
            inspect.iscoroutinefunction(call) for call in calls
        )

    def describe(self) -> dict[str, Any]:
        return {"httpipe": 1, "python": ".".join(map(str, sys.version_info[:3])), "prefix": sys.prefix,
                "executable": sys.executable, "functions": self._describe_functions(),
                "import_ms": round(self.import_ms, 1), "unsafe": self.unsafe, "files": _own_files()}  # fmt: skip


    def _describe_functions(self) -> list[dict[str, Any]]:
        functions = [one.describe() for one in self.functions.values()]
        for function in functions:
            # `Loop` reads one question, and begins with it at once. So the server may take back what is not read.
            is_plain = function["kind"] == "sync" and not self.is_async
            function["begins_at_once"] = is_plain and not function["batch"]
            # `Loop` runs one batch after the other. So the server may put it together.
            function["takes_groups"] = is_plain and bool(function["batch"])
        return functions


def _public_methods(kind: type) -> list[str]:
    """Returns the names of the methods of a class, those of its bases first, in the order of their definition."""
    names: dict[str, None] = {}
    for base in reversed(kind.__mro__[:-1]):
        for name, member in vars(base).items():
            if not name.startswith("_"):
                names.pop(name, None)
                if callable(member) and not inspect.isclass(member) or isinstance(member, (staticmethod, classmethod)):
                    names[name] = None
    return list(names)


def import_target(target: str) -> list[tuple[str, Any]]:
    """Imports `file.py:NAMES` or `package.module:NAMES`, and returns what they name."""
    path, _, names = target.rpartition(":")
    module = _import_file(path) if path.endswith(".py") else _import_module(path)
    if names == "*":
        chosen = _public_functions(module)
        if not chosen:
            raise Problem("missing", "`%s` has no public function" % path, module.__file__ or "")
    else:
        chosen = [name.strip() for name in names.split(",")]
    return [(name.rpartition(".")[2], _find(module, name, path)) for name in chosen]


def _import_file(path: str) -> types.ModuleType:
    full = os.path.abspath(path)
    if not os.path.isfile(full):
        raise Problem("missing", "there is no file `%s` in %s" % (path, os.getcwd()))
    name = os.path.basename(full)[:-3]
    if name in sys.modules:
        raise Problem("missing", "`%s` has the name of a module that Python itself uses; rename it" % path, full)
    util = importlib.import_module("importlib.util")
    spec = util.spec_from_file_location(name, full)
    module = sys.modules[name] = util.module_from_spec(spec)
    sys.path.insert(0, os.path.dirname(full))
    sys.argv = [full]
    spec.loader.exec_module(module)
    return typing.cast(types.ModuleType, module)


def _import_module(name: str) -> types.ModuleType:
    sys.path.insert(0, os.getcwd())
    sys.argv = [name]
    return importlib.import_module(name)


def _public_functions(module: types.ModuleType) -> list[str]:
    """Returns the names that `*` stands for: `__all__`, or the functions that the module itself defines."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return [name for name in listed if callable(getattr(module, name, None)) and not inspect.isclass(getattr(module, name))]
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or hasattr(value, "__wrapped__"))
        and getattr(value, "__module__", None) == module.__name__
    ]


def _find(module: types.ModuleType, name: str, path: str) -> Any:
    """Returns what a module calls `name`, which may have dots: `Model.predict`."""
    found: Any = module
    try:
        for part in name.split("."):
            found = getattr(found, part)
        return found
    except AttributeError:
        pass
    has = _public_functions(module) + [
        one for one, value in vars(module).items() if inspect.isclass(value) and value.__module__ == module.__name__
    ]
    close = importlib.import_module("difflib").get_close_matches(name, has, 1)
    message = "`%s` has no `%s`" % (path, name)
    if close:
        message += "; did you mean `%s`?" % close[0]
    elif has:
        message += "; it has " + ", ".join("`%s`" % one for one in has[:12]) + (", …" if len(has) > 12 else "")
    raise Problem("missing", message, module.__file__ or "")


def run_script(path: str) -> None:
    """Runs a script as `python SCRIPT` does. It calls `httpipe.serve`."""
    full = os.path.abspath(path)
    if not os.path.isfile(full):
        raise Problem("missing", "there is no file `%s` in %s" % (path, os.getcwd()))
    sys.path.insert(0, os.path.dirname(full))
    sys.argv = [full]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__file__ = full
    with open(full, "rb") as file:
        text = file.read()
    exec(compile(text, full, "exec", dont_inherit=True), main.__dict__)


def _is_own(path: str) -> bool:
    """Returns true for a file of the program, which is neither Python's nor an installed package's nor this one."""
    installed = path.startswith((os.path.dirname(os.__file__) + "/", *_places_of_packages()))
    return not installed and not path.startswith("<") and path != __file__


@functools.lru_cache(maxsize=None)
def _places_of_packages() -> tuple[str, ...]:
    """Returns the directories that pip has installed something into."""
    found = []
    for place in sys.path:
        try:
            if any(name.endswith(".dist-info") for name in os.listdir(place)):
                found.append(os.path.join(os.path.abspath(place), ""))
        except OSError:
            pass
    return tuple(found)


def _own_files() -> list[str]:
    """Returns the files of the program, without those whose names are not UTF-8: JSON has no way to say them."""
    files = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    paths = {os.path.abspath(file) for file in files if isinstance(file, str)}
    return sorted(path for path in paths if _is_own(path) and path == _whole_text(path))


def _place(path: str, line: int, begins: str = "") -> tuple[str, str]:
    """Returns `file:line` and the text of the line. With `begins`, the first line from there on that has it."""
    linecache = importlib.import_module("linecache")
    if begins:
        for later in range(line, line + 50):
            if begins in linecache.getline(path, later):
                line = later
                break
    return "%s:%d" % (path, line), linecache.getline(path, line).strip()


def _cut(shown: traceback.TracebackException | None) -> None:
    """Cuts the frames of this file, and of the machinery of imports, out of a traceback and its causes."""
    if shown is not None:
        shown.stack[:] = [
            frame for frame in shown.stack if frame.filename != __file__ and not frame.filename.startswith("<frozen importlib")
        ]
        for other in (shown.__cause__, shown.__context__, *(getattr(shown, "exceptions", None) or ())):
            _cut(other)


def _place_of(error: BaseException) -> tuple[str, str]:
    """Returns `file:line` of the last frame of the program's own code, and the text of that line."""
    if isinstance(error, SyntaxError) and error.filename and _is_own(error.filename):
        return "%s:%d" % (error.filename, error.lineno or 0), (error.text or "").strip()
    found = None
    trace = error.__traceback__
    while trace is not None:
        if _is_own(trace.tb_frame.f_code.co_filename):
            found = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        trace = trace.tb_next
    return _place(*found) if found else ("", "")


def _text_of(error: BaseException) -> str:
    """Returns what an exception says, as text that can be sent."""
    try:
        return str(error).encode("utf-8", "backslashreplace").decode()
    except Exception:
        return ""


def say(text: str) -> None:
    """Writes lines to the log of the worker, even where the program closed or replaced `sys.stderr`."""
    try:
        sys.stderr.flush()
    except Exception:
        pass
    try:
        os.write(2, text.encode("utf-8", "backslashreplace"))
    except OSError:
        pass


def say_traceback(error: BaseException) -> None:
    try:
        shown = traceback.TracebackException.from_exception(error)
        _cut(shown)
        say("".join(shown.format()))
    except Exception as worse:  # an exception whose text cannot be made
        say("%s (and its traceback cannot be shown: %s)\n" % (type(error).__name__, type(worse).__name__))


def problem_of(error: BaseException, doing: str) -> Problem:
    """Returns what is told of an exception at start: a problem as it is, others by their traceback in the log."""
    if isinstance(error, Problem):
        return error
    say_traceback(error)
    if isinstance(error, SystemExit):
        return Problem("import", "%s called sys.exit(%r)" % (doing, error.code), *_place_of(error))
    return Problem("import", "%s failed: %s: %s" % (doing, type(error).__name__, _text_of(error)), *_place_of(error))


# ---------------------------------------------------------------------------------------------------------------------
# The loop


class Loop:
    """Answers one call after the other."""

    def __init__(self, program: Program, wire: Wire) -> None:
        self.program, self.wire = program, wire
        self.functions = {name.encode(): function for name, function in program.functions.items()}
        self.waiting: list[tuple[bytes, Function | None, Any]] = []  # calls that are not begun, and groups of calls
        self.streaming: bytes | None = None  # the call whose stream is being made
        self.stopped = False  # its caller is gone
        self.at_end = False  # there will be no more messages
        self.ending = False  # SIGTERM has come

    def serve(self) -> None:
        """Answers calls until the server closes the wire. SIGTERM ends it as `sys.exit()` does."""
        signal.signal(signal.SIGTERM, self._terminate)
        masks: list[Any] = []  # a SIGTERM for a child whose handlers are not yet set waits
        os.register_at_fork(
            before=lambda: masks.append(signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})),
            after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, masks.pop()),
            after_in_child=lambda: self._forget_sigterm(masks.pop()),
        )
        self.run()

    def run(self) -> None:
        try:
            for setup in self.program.setups:
                setup()
        except BaseException as error:
            self._refuse(error)
        while not self.at_end:
            self._receive()
            while self.waiting and not self.ending:
                self.wire.flush()  # no answer waits for the next call, which may take long
                self._next()
            self.wire.flush()
            if self.ending:
                sys.exit(0)  # a function caught the exit
        for close in self.program.closes:
            close()

    def _refuse(self, error: BaseException) -> NoReturn:
        """Says that `setup` failed."""
        self._leave_if_over()
        refuse(self.wire, problem_of(error, "`setup`"))

    def _terminate(self, *_: Any) -> None:
        if not self.ending:
            self.ending = True
            sys.exit(0)

    def _forget_sigterm(self, mask: Any) -> None:
        """What a function forks ends by SIGTERM as usual."""
        if signal.getsignal(signal.SIGTERM) == self._terminate:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)

    def _receive(self) -> None:
        messages = self.wire.read()
        if messages is None:
            self.at_end = True
            return
        for tag, name, rest in messages:
            function = self.functions.get(name)
            if function is not None:
                self.waiting.append((tag, function, rest))
            elif name == b"*":
                self.waiting.append((tag, None, rest))  # a group
            elif name == b"x":
                self._stop(tag)
            else:
                self.wire.answer(tag, self._other(name))

    def _other(self, name: bytes) -> bytes:
        if name == b"?":
            return b"=" + to_server(self.program.describe())
        message = "there is no function `%s`" % name.decode("utf-8", "replace")
        return b"!" + to_server({"status": 500, "message": message})

    def _stop(self, tag: bytes) -> None:
        if tag == self.streaming:
            self.stopped = True
        for index, (waiting, _, _) in enumerate(self.waiting):
            if waiting == tag:
                del self.waiting[index]
                self.wire.answer(tag, b".")
                break

    def _next(self) -> None:
        tag, function, rest = self.waiting.pop(0)
        if function is None:
            self._group(tag, rest)
            return
        if function.batch:
            self._batch(function, [(tag, rest)])
            return
        running = Running(self.wire, tag)
        try:
            result = function.run(read_arguments(function, rest))
            if function.kind == "stream":
                self._stream(tag, result)
                end = b".", b""
            else:
                end = encode(function, result)
        except BadParameter as bad:
            end = refused(bad), b""
        except BaseException as error:
            self._leave_if_over()
            end = failed(function, error), b""
        running.end()
        self.wire.answer(tag, *end)

    def _leave_if_over(self) -> None:
        """Raises again what ends the process: SIGTERM, or anything in a child that a function forked."""
        if self.ending or self.wire.left:
            raise

    def _stream(self, tag: bytes, parts: Any) -> None:
        self.streaming, self.stopped = tag, False
        try:
            for part in parts:
                self.wire.answer(tag, b"+", to_json(part))
                self.wire.flush()
                if not self.at_end and self.wire.ready():
                    self._receive()
                    self.wire.flush()  # what it answered does not wait for the next part
                if self.stopped:
                    break
        finally:
            self.streaming = None
            if hasattr(parts, "close"):
                parts.close()

    def _batch(self, function: Function, calls: list[tuple[bytes, Any]]) -> None:
        """Runs what is in the pipe for this function as one call."""
        while len(calls) < function.batch:
            if not any(other is function for _, other, _ in self.waiting):
                if self.at_end or not self.wire.ready():
                    break
                self._receive()
                continue
            index = next(index for index, (_, other, _) in enumerate(self.waiting) if other is function)
            tag, _, rest = self.waiting.pop(index)
            calls.append((tag, rest))
        self.wire.flush()
        for end in self._ends(function, calls, *(tag for tag, _ in calls)):
            self.wire.answer(*end)

    def _group(self, tag: bytes, rest: Any) -> None:
        """Answers calls that came as one message with one message: their ends, in the same order.

        The server puts together what waits, so that after a crash it knows which calls were together.
        """
        ends: dict[bytes, tuple[bytes, Any]] = {}
        batches: dict[Function, list[tuple[bytes, Any]]] = {}
        for place, frame in enumerate(frames(rest)):
            name, _, arguments = frame.partition(b" ")
            function, number = self.functions.get(name), b"%d" % place
            if function is None:
                ends[number] = self._other(name), b""
            else:
                batches.setdefault(function, []).append((number, arguments))
        for function, calls in batches.items():
            for first in range(0, len(calls), function.batch or 1):
                several = calls[first : first + (function.batch or 1)]
                ends.update((number, (head, tail)) for number, head, tail in self._ends(function, several, tag))
        told = [b"".join(ends[b"%d" % place]) for place in range(len(ends))]
        self.wire.answer(tag, b"*", b"".join(len(one).to_bytes(4, "big") + one for one in told))

    def _ends(
        self, function: Function, calls: list[tuple[bytes, Any]], *tags: bytes
    ) -> list[tuple[bytes, bytes, Any]]:
        """Runs a batch, and returns how each of its calls ends. What is said meanwhile goes to `tags`."""
        good, bad = good_calls(function, calls)
        if not good:
            return bad
        running = Running(self.wire, *tags)
        parts = Parts(function, good, calls)
        while parts.part:
            try:
                parts.gave(function.run_batch(parts.arguments()))
            except BaseException as error:
                self._leave_if_over()
                parts.raised(error)
        running.end()
        return bad + parts.ends


def frames(rest: Any) -> Iterator[bytes]:
    """Returns the messages inside of a message, each after its length."""
    data, at = bytes(rest), 0
    while at < len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : end]
        at = end


def read_arguments(function: Function, rest: Any) -> dict[str, Any]:
    """Reads the arguments of a call. `rest` is bytes, or a view of the bytes of a large message."""
    raw = None
    if function.raw is not None:
        whole, start = (rest, 0) if type(rest) is bytes else (rest.obj, len(rest.obj) - len(rest))
        at = whole.find(b"\n", start) - start
        if at >= 0:
            rest, raw = rest[:at], bytes(rest[at + 1 :])
    _too_large.clear()
    try:
        text = str(rest, "utf-8")
        given = loads(text) if text else {}
    except RecursionError:
        raise BadParameter("", "the arguments are nested too deeply") from None
    except ValueError as error:
        if "integer string conversion" in str(error):
            most = sys.get_int_max_str_digits()
            raise BadParameter("", "a whole number has more than %d digits" % most) from None
        raise BadParameter("", "the arguments are not JSON: %s" % error) from None
    if raw is not None and type(given) is dict:
        if function.raw in given:
            raise BadParameter(function.raw or "", "is given twice")
        given[function.raw] = raw
    if not _too_large:
        return function.arguments(given)
    number = _too_large[0]
    _too_large.clear()
    function.arguments(given)  # says in which parameter it is, if that is a number
    raise BadParameter("", "a number is too large: %s" % (number if len(number) < 40 else number[:40] + "…"))


def encode(function: Function, result: Any) -> tuple[bytes, Any]:
    """Returns the end of a call that has a result."""
    if isinstance(result, (bytes, bytearray)):
        return function.head_of_bytes, result
    if isinstance(result, memoryview):
        return function.head_of_bytes, result.tobytes()
    return b"=", to_json(result)


def refused(bad: BadParameter) -> bytes:
    return b"?" + (bad.name.replace("\n", " ") + "\n" + bad.why).encode("utf-8", "backslashreplace")


def failed(function: Function, error: BaseException) -> bytes:
    """Returns the end of a call that failed: what its caller may know. The log gets the traceback."""
    status = _status_of(error)
    if status is not None:
        return b"!" + to_server({"status": status, "message": _text_of(error) or type(error).__name__})
    say_traceback(error)
    message = "%s failed: %s" % (function.name, type(error).__name__)
    where, _ = _place_of(error)
    return b"!" + to_server({"status": 500, "message": message, "why": _text_of(error), "where": where})


def _status_of(error: BaseException) -> int | None:
    """Returns the status that an exception chooses; None if it chooses none."""
    try:
        status = getattr(error, "status", None)
    except Exception:
        return None
    if isinstance(status, int) and not isinstance(status, bool) and 400 <= status <= 599:
        return int(status)
    return None


def good_calls(
    function: Function, calls: list[tuple[bytes, Any]]
) -> tuple[list[tuple[bytes, dict[str, Any]]], list[tuple[bytes, bytes, Any]]]:
    """Returns the calls of a batch with their arguments, and the ends of those whose parameters are wrong."""
    good: list[tuple[bytes, dict[str, Any]]] = []
    bad: list[tuple[bytes, bytes, Any]] = []
    for tag, rest in calls:
        try:
            good.append((tag, read_arguments(function, rest)))
        except BadParameter as wrong:
            bad.append((tag, refused(wrong), b""))
        except Exception as error:  # of a class of the program
            bad.append((tag, failed(function, error), b""))
    return good, bad


class Parts:
    """The calls of a batch, in parts that each run as one. First there is one part: all of them.

    Where calls may run twice, a part that fails is halved, and each half runs again: so one call fails no other. If
    the cause is no call, as when a database is down, that would be in vain for each of them. So no part is halved for
    an exception that says 5xx. All that is left fails once no part has worked on the way down to a single call and in
    three more, or once the halves have taken too long.
    """

    PATIENCE = 10.0  # seconds; the `timeout` of a pool is 30 if nothing is said

    def __init__(
        self, function: Function, good: list[tuple[bytes, dict[str, Any]]], calls: list[tuple[bytes, Any]]
    ) -> None:
        self.part = good  # the calls that run now; empty once all have ended
        self.ends: list[tuple[bytes, bytes, Any]] = []
        self.function = function
        self.texts = dict(calls)
        self.waiting: list[list[bytes]] = []
        self.in_vain = 0
        self.most_in_vain = len(good).bit_length() + 3
        self.began = time.monotonic()

    def arguments(self) -> list[dict[str, Any]]:
        return [arguments for _, arguments in self.part]

    def gave(self, value: Any) -> None:
        """The part has a result. Raises if it is none."""
        ends = batch_ends(self.function, value, len(self.part))
        self.ends += [(tag, *end) for (tag, _), end in zip(self.part, ends)]
        self.most_in_vain = sys.maxsize
        self._go_on()

    def raised(self, error: BaseException) -> None:
        """The part has failed."""
        tags = [tag for tag, _ in self.part]
        self.in_vain += 1
        is_over = self.in_vain >= self.most_in_vain or time.monotonic() - self.began > self.PATIENCE
        if is_over:
            tags += [tag for waiting in reversed(self.waiting) for tag in waiting]
            self.waiting = []
        if is_over or len(tags) == 1 or not self.function.pure or (_status_of(error) or 0) >= 500:
            end = failed(self.function, error)
            self.ends += [(tag, end, b"") for tag in tags]
        else:
            half = (len(tags) + 1) // 2
            self.waiting += [tags[half:], tags[:half]]
        self._go_on()

    def _go_on(self) -> None:
        self.part = []
        while self.waiting and not self.part:
            # Their arguments are read again: the function may have changed those that it got.
            calls = [(tag, self.texts[tag]) for tag in self.waiting.pop()]
            self.part, bad = good_calls(self.function, calls)
            self.ends += bad


def batch_ends(function: Function, value: Any, count: int) -> list[tuple[bytes, Any]]:
    """Returns the ends of the calls of a batch. An element without JSON form fails its own call only."""
    ends: list[tuple[bytes, Any]] = []
    for result in function.results(value, count):
        try:
            ends.append((failed(function, result), b"") if isinstance(result, Exception) else encode(function, result))
        except Exception as error:
            ends.append((failed(function, error), b""))
    return ends


# ---------------------------------------------------------------------------------------------------------------------
# The loop of programs with `async` functions


class AsyncLoop(Loop):
    """Runs the calls of `async` functions side by side in one event loop.

    Other functions run there as well: while one of them computes, everything else in this worker waits.
    """

    def __init__(self, program: Program, wire: Wire) -> None:
        super().__init__(program, wire)
        self.tasks: dict[bytes, tuple[asyncio.Task[Any], set[bytes]]] = {}  # a task, and the calls that want its result
        self.flushing = False

    def run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self.events = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self.events.create_future()
        try:
            for setup in self.program.setups:
                await _awaited(setup())
        except BaseException as error:
            self._refuse(error)
        self.events.add_reader(self.wire.rd, self._readable)
        os.register_at_fork(after_in_child=lambda: self.events.call_soon(self.wire.flush))  # a child that comes back ends
        await self.over
        while self.tasks:
            await asyncio.wait({task for task, _ in self.tasks.values()})
        self.wire.flush()
        for close in self.program.closes:
            await _awaited(close())

    def _readable(self) -> None:
        try:
            self._receive()
            for _ in range(100):  # what is in the pipe is the batch
                has_batch = any(function is not None and function.batch for _, function, _ in self.waiting)
                if self.at_end or not has_batch or not self.wire.ready():
                    break
                self._receive()
        except Exception as error:  # asyncio would log it and go on, and a question would have no answer
            self._break(error)
            return
        waiting, self.waiting = self.waiting, []
        batches: dict[Function, list[tuple[bytes, Any]]] = {}
        for tag, function, rest in waiting:
            if function is None:
                self._answer(tag, b"!", b'{"message":"calls come one by one here"}')
            elif function.batch:
                batches.setdefault(function, []).append((tag, rest))
            else:
                self._begin([tag], self._one(tag, function, rest))
        for function, calls in batches.items():
            good, bad = good_calls(function, calls)
            for end in bad:
                self._answer(*end)
            for first in range(0, len(good), function.batch):
                parts = Parts(function, good[first : first + function.batch], calls)
                self._begin([tag for tag, _ in parts.part], self._several(function, parts))
        if self.at_end:
            self.events.remove_reader(self.wire.rd)
            self.over.set_result(None)
        self._flush_soon()

    def _begin(self, tags: list[bytes], run: Any) -> None:
        running = Running(self.wire, *tags)  # the task has a copy of the context
        task = self.events.create_task(run)
        wanted = set(tags)
        for tag in tags:
            self.tasks[tag] = task, wanted
        task.add_done_callback(lambda task: self._finished(tags, running, task))

    def _finished(self, tags: list[bytes], running: Running, task: asyncio.Task[Any]) -> None:
        """Answers the calls of a task: here, since a task that is cancelled early runs no line of its own."""
        running.end()
        for tag in tags:
            del self.tasks[tag]
        if task.cancelled():
            ends = [(tag, b".", b"") for tag in tags]
        elif task.exception() is not None:
            return  # the process ends
        else:
            ends = task.result()
        if self.ending:
            self._break(SystemExit(0))
            return
        for end in ends:
            self._answer(*end)
        self._flush_soon()

    def _stop(self, tag: bytes) -> None:
        super()._stop(tag)
        if tag in self.tasks:
            task, wanted = self.tasks[tag]
            wanted.discard(tag)
            if not wanted:
                task.cancel()

    def _is_stopped(self, tag: bytes) -> bool:
        return self.ending or not self.tasks[tag][1]

    async def _one(self, tag: bytes, function: Function, rest: Any) -> list[tuple[bytes, bytes, Any]]:
        try:
            result = function.run(read_arguments(function, rest))
            if function.kind.startswith("async"):
                result = await _awaited(result)
            if function.kind.endswith("stream"):
                await self._parts(tag, result)
                return [(tag, b".", b"")]
            return [(tag, *encode(function, result))]
        except BadParameter as bad:
            return [(tag, refused(bad), b"")]
        except BaseException as error:
            self._leave_if_over()
            if isinstance(error, asyncio.CancelledError) and self._is_stopped(tag):
                raise
            return [(tag, failed(function, error), b"")]

    async def _parts(self, tag: bytes, parts: Any) -> None:
        try:
            if hasattr(type(parts), "__aiter__"):
                async for part in parts:
                    await self._part(tag, part)
            else:
                for part in parts:
                    await self._part(tag, part)
        finally:
            if hasattr(parts, "aclose"):
                await parts.aclose()
            elif hasattr(parts, "close"):
                parts.close()

    async def _part(self, tag: bytes, part: Any) -> None:
        if self._is_stopped(tag):
            raise asyncio.CancelledError  # again: the stream caught the first one
        self._answer(tag, b"+", to_json(part))
        self._flush()
        await asyncio.sleep(0)  # others have a turn, even if the stream never waits

    async def _several(self, function: Function, parts: Parts) -> list[tuple[bytes, bytes, Any]]:
        while parts.part:
            try:
                parts.gave(await _awaited(function.run_batch(parts.arguments())))
            except BaseException as error:
                self._leave_if_over()
                if isinstance(error, asyncio.CancelledError) and self._is_stopped(parts.part[0][0]):
                    raise
                parts.raised(error)
        return parts.ends

    def _answer(self, tag: bytes, head: bytes, tail: Any) -> None:
        try:
            self.wire.answer(tag, head, tail)
        except OSError as error:
            self._break(error)

    def _flush_soon(self) -> None:
        """Writes the answers of all calls that end in this round of the event loop at once."""
        if not self.flushing:
            self.flushing = True
            self.events.call_soon(self._flush)

    def _flush(self) -> None:
        self.flushing = False
        try:
            self.wire.flush()
        except OSError as error:
            self._break(error)

    def _break(self, error: BaseException) -> None:
        """Ends the loop, and answers nothing more."""
        self.ending = True
        if not self.over.done():
            self.over.set_exception(error)


async def _awaited(value: Any) -> Any:
    """Returns the result of a coroutine, or a value that is there already: a decorator may have waited for it."""
    return await value if inspect.isawaitable(value) else value


# ---------------------------------------------------------------------------------------------------------------------
# Start


def start(target: str, ready: Callable[[Program], None], wire: Wire) -> None:
    """Makes a program of what `target` names and calls `ready` with it.

    A script runs until it calls `httpipe.serve`, and goes on when `ready` returns. A problem is told and ends the
    process with code 2.
    """
    global _at_serve, _served_elsewhere
    began = time.perf_counter()
    was_served = False

    def make(things: list[tuple[str, Any]]) -> None:
        nonlocal was_served
        was_served = True
        try:
            program = Program(things)
        except BaseException as error:
            refuse(wire, problem_of(error, "reading what it serves"))
        program.import_ms = (time.perf_counter() - began) * 1000
        ready(program)

    _publish()
    if ":" in target:
        _served_elsewhere = True
        try:
            things = import_target(target)
        except BaseException as error:
            refuse(wire, problem_of(error, "the import"))
        make(things)
        return
    if not target.endswith(".py"):
        refuse(wire, Problem("missing", "`%s` names no function; write `%s:NAME`" % (target, target)))
    _at_serve = make
    try:
        run_script(target)
    except BaseException as error:
        if was_served and not isinstance(error, Problem):
            raise
        refuse(wire, problem_of(error, "`%s`" % target))
    if not was_served:
        refuse(wire, Problem("missing", "`%s` ended without a call of `httpipe.serve`" % target, os.path.abspath(target)))


def _publish() -> None:
    """Makes `import httpipe` work in the program: with what this file defines, whatever is installed."""
    module = types.ModuleType("httpipe", "Serves Python functions over HTTP.")
    for name in __all__:
        setattr(module, name, globals()[name])
        globals()[name].__module__ = "httpipe"
    module.__dict__["__all__"] = __all__
    sys.modules["httpipe"] = module


def refuse(wire: Wire, problem: Problem) -> NoReturn:
    """Answers the first question with why this program cannot be served, and ends the process."""
    say("%s%s\n" % (problem.where and problem.where + ": ", problem.message))
    end = {"status": 500, "message": problem.message,
           "problem": {"kind": problem.kind, "where": problem.where, "line": problem.line,
                       "message": problem.message}}  # fmt: skip
    messages: list[Message] | None = []
    while messages == []:
        messages = wire.read()
    for tag, _, _ in messages or ():
        wire.answer(tag, b"!" + to_server(end))
    wire.flush()
    sys.exit(2)


def main_worker(target: str) -> None:
    """A worker that was started by itself."""
    wire = Wire()
    if not faulthandler.is_enabled():
        faulthandler.enable()  # where the program was when it crashed
    start(target, lambda program: serve_calls(program, wire), wire)


def serve_calls(program: Program, wire: Wire) -> None:
    """Answers the calls of a program until the server closes the wire."""
    loop = AsyncLoop(program, wire) if program.is_async else Loop(program, wire)
    try:
        loop.serve()
    except BrokenPipeError:
        sys.exit(1)  # the server is gone


# ---------------------------------------------------------------------------------------------------------------------
# The fork server: loads the program once, and makes each worker by forking itself

PR_SET_PDEATHSIG = 1
FORK_SERVER = "httpipe-forks"
"""The name of a fork server in lists of processes."""
PACKET = 32768
"""A text for the server is sent in packets of this size."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
"""Devices that any number of processes may have open together."""


def main_fork_server(target: str) -> None:
    """A fork server. Its descriptor 0 is a socket; `Control` says what goes over it."""
    control = Control()
    if not faulthandler.is_enabled():
        faulthandler.enable()
    start(target, lambda program: serve_forks(program, control), control)  # type: ignore[arg-type]


class Control:
    """The socket between the server and its fork server, which carries whole packets.

    First the fork server describes the program, or says why it cannot be served: the answer to a question that is not
    asked, so `Wire` has methods of the same names. Then each packet from the server, with four descriptors, asks for a
    worker: its stdin, its stdout, its stderr, and a socket on which its birth is agreed upon:

        from the worker         its process id
        from the fork server    .       the process between the two has ended, so the worker is the server's child
        from any of the three   !WHY    instead of the above: there is no worker
        from the server         go      the worker is known, and may begin
    """

    def __init__(self) -> None:
        self.server = os.getppid()
        self.name = _rename(FORK_SERVER)
        self.socket = socket.socket(fileno=_take(0))
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)
        os.dup2(2, 1)
        _flush_by_line()
        self.at_fork = True  # close the socket in what the program forks while it is loaded
        os.register_at_fork(after_in_child=self._leave)

    def _leave(self) -> None:
        if self.at_fork:
            self.socket.close()

    def read(self) -> list[Message]:
        return [(b"", b"?", b"")]

    def answer(self, _tag: bytes, head: bytes, tail: Any = b"") -> None:
        text = head + tail
        self.socket.sendall(len(text).to_bytes(4, "big"))
        for at in range(0, len(text), PACKET):
            self.socket.sendall(text[at : at + PACKET])

    def flush(self) -> None:
        """Nothing is held back."""

    def descriptors(self) -> list[int]:
        """Waits for the next worker to make, and returns its descriptors. Ends with the server."""
        while True:
            packet, descriptors, _, _ = socket.recv_fds(self.socket, 16, 4, socket.MSG_CMSG_CLOEXEC)
            if not packet:
                os._exit(0)
            if len(descriptors) == 4:
                return descriptors
            for descriptor in descriptors:  # the limit of open files is too low for all
                os.close(descriptor)


def serve_forks(program: Program, control: Control) -> None:
    """Makes workers until the server closes the socket. Returns in a worker, at its end."""
    ctypes = _ctypes()
    gc.collect()
    objects = gc.get_objects()
    program.unsafe = "this Python has no `ctypes`" if ctypes is None else unsafe_to_fork(control.socket.fileno(), objects)
    generators = _random_generators(objects)
    del objects
    prctl = ctypes and ctypes.CDLL(None).prctl
    gc.freeze()  # no collection touches the pages that workers share
    control.answer(b"", b"=", to_server(program.describe()))
    control.at_fork = False
    while True:
        for number in (0, 1, 2):
            _keep_open(number)
        descriptors = control.descriptors()
        if _fork_twice(descriptors[3]):
            break
        for descriptor in descriptors:
            os.close(descriptor)
    control.socket.close()
    _rename(control.name)
    _be_born(descriptors, control.server, prctl)
    _draw_anew(generators)
    serve_calls(program, Wire())


def _rename(name: str) -> str:
    """Gives this process another name in lists of processes. Returns the one before."""
    try:
        with open("/proc/self/comm", "r+") as file:
            before = file.read().rstrip("\n")
            file.write(name)
            return before
    except OSError:
        return name


def _ctypes() -> Any:
    try:
        return importlib.import_module("ctypes")
    except ImportError:
        return None


def _keep_open(number: int) -> None:
    """Descriptors of workers must not get the number of a standard stream that the program closed."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)


def _fork_twice(birth: int) -> bool:
    """Forks a process that forks the worker and ends. Returns true in the worker.

    The kernel gives a process whose parent has ended to the server, which asked for that: so the worker is the
    server's own child, as if the server had started it.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # closed or replaced by the program
            pass
    between = _fork(birth)
    if between == 0:
        if _fork(birth) == 0:
            return True
        os._exit(0)
    if between is not None:
        try:
            os.waitpid(between, 0)
        except ChildProcessError:  # the program ignores SIGCHLD
            pass
        _tell(birth, ".")
    return False


def _fork(birth: int) -> int | None:
    """Forks. If that fails, tells the server why and returns None."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of threads: those of the process were found to be harmless, or were allowed
        try:
            return os.fork()
        except OSError as error:
            _tell(birth, "!" + str(error))
            return None


def _tell(birth: int, text: str) -> None:
    """Says something to the server if it still listens."""
    with socket.socket(fileno=os.dup(birth)) as it:
        try:
            it.send(text.encode(), socket.MSG_NOSIGNAL)
        except OSError:
            pass


def _be_born(descriptors: list[int], server: int, prctl: Any) -> None:
    """Makes this process a worker: its own group, its own streams, an end with the server's. Waits until the server
    knows it: nothing of the program runs in a worker that nobody watches."""
    *streams, birth = descriptors
    os.setpgid(0, 0)
    _tell(birth, str(os.getpid()))
    if os.read(birth, 16) != b"go":
        os._exit(0)  # the server has given this worker up, or is gone
    os.close(birth)
    if prctl:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != server:
        os._exit(0)
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        if descriptor != number:
            os.close(descriptor)


def _random_generators(objects: list[Any]) -> list[Any]:
    """Returns the generators of numpy that began with numbers of the system. A seed of the program's own is kept."""
    numpy = sys.modules.get("numpy.random")
    if numpy is None:
        return []

    def drawn(generator: Any) -> bool:
        bits = generator.bit_generator
        entropy = getattr(getattr(bits, "seed_seq", None) or getattr(bits, "_seed_seq", None), "entropy", 0)
        return isinstance(entropy, int) and entropy >= 1 << 64

    return [one.bit_generator for one in _instances(objects, numpy.Generator) if drawn(one)]


def _draw_anew(generators: list[Any]) -> None:
    """Gives this worker random numbers of its own. Python's `random` does this by itself at each fork."""
    numpy, torch = sys.modules.get("numpy.random"), sys.modules.get("torch")
    if numpy is not None:
        numpy.seed()
    for bits in generators:
        bits.state = type(bits)().state
    if torch is not None and hasattr(torch, "seed"):
        torch.seed()


def unsafe_to_fork(control: int, objects: list[Any]) -> str | None:
    """Returns why workers must not be forked from this process, or None if nothing speaks against it.

    A fork copies one thread, and shares what descriptors stand for. So a lock that another thread holds stays locked
    for ever in a worker, and workers that share a connection or the position in a file get each other's bytes.
    """
    threading = sys.modules.get("threading")
    if threading is not None:
        others = [one.name for one in threading.enumerate() if one is not threading.main_thread()]
        if others:
            return "the import started threads: " + _some(others)
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "cuda") and torch.cuda.is_initialized():
        return "the import initialised CUDA"
    processes = _children()
    if processes:
        return "the import started processes: " + _some(processes)
    if signal.getitimer(signal.ITIMER_REAL)[0]:
        return "the import started a timer"
    return _unsafe_objects(objects) or _unsafe_descriptors(control, objects) or _unsafe_threads()


def _some(names: list[str]) -> str:
    """Returns the first names, and how many others there are."""
    return ", ".join(names[:5]) + (" and %d more" % (len(names) - 5) if len(names) > 5 else "")


def _children() -> list[str]:
    """Returns the names of the processes that this one has started, with their ids."""
    try:
        with open("/proc/self/task/%d/children" % os.getpid()) as file:
            ids = file.read().split()
    except OSError:
        return []
    names = []
    for number in ids:
        try:
            with open("/proc/%s/stat" % number) as file:
                name, _, rest = file.read().partition("(")[2].rpartition(") ")
        except OSError:
            continue
        if not rest.startswith("Z"):
            names.append("%s (%s)" % (name, number))
    return names


def _unsafe_objects(objects: list[Any]) -> str | None:
    asyncio_events, tempfile = sys.modules.get("asyncio.base_events"), sys.modules.get("tempfile")
    kinds: list[tuple[type, Callable[[Any], bool], str]] = []
    if asyncio_events is not None:
        kinds.append((asyncio_events.BaseEventLoop, lambda loop: not loop.is_closed(), "the import made an event loop"))
    if tempfile is not None:
        why = "the import made a temporary %s, which the first worker to end would remove: %s"
        kinds += [
            (tempfile.TemporaryDirectory, lambda it: it._finalizer.alive, why.replace("%s", "directory", 1)),
            (tempfile._TemporaryFileWrapper, lambda it: it.delete and not it.file.closed, why.replace("%s", "file", 1)),
        ]
    for kind, matters, why in kinds:
        one: Any
        for one in _instances(objects, kind):
            if matters(one):
                return why % one.name if "%s" in why else why
    return None


def _instances(objects: list[Any], kind: type) -> list[Any]:
    """Returns the objects of a type. Asks types only: an object may be a proxy that does something when it is asked."""
    wanted = {one for one in set(map(type, objects)) if issubclass(one, kind)}
    return [one for one in objects if type(one) in wanted] if wanted else []


def _unsafe_descriptors(control: int, objects: list[Any]) -> str | None:
    read_by_python = {one.fileno() for one in _instances(objects, io.FileIO) if not one.closed}
    found = []
    for number in sorted(map(int, os.listdir("/proc/self/fd"))):
        if number < 3 or number == control:
            continue
        try:
            name, mode = os.readlink("/proc/self/fd/%d" % number), os.fstat(number).st_mode
            name = name.encode("utf-8", "replace").decode()  # any bytes may be in a path
            flags = fcntl.fcntl(number, fcntl.F_GETFL)
        except OSError:
            continue  # of the list itself
        if stat.S_ISREG(mode):
            shares_position = not flags & os.O_APPEND and (flags & os.O_ACCMODE or number in read_by_python)
            if shares_position:
                found.append("the file " + name)
        elif stat.S_ISSOCK(mode):
            found.append("a socket")
        elif stat.S_ISFIFO(mode):
            found.append("a pipe")
        elif not stat.S_ISDIR(mode) and name not in DEVICES:
            found.append(name)
    return "the import left open: " + _some(found) if found else None


def _unsafe_threads() -> str | None:
    """Looks for threads that Python does not know. Those that their library ends before a fork, as OpenBLAS does, are
    gone after a fork on trial."""

    def others() -> int:
        return len(os.listdir("/proc/self/task")) - 1

    if not others():
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trial = os.fork()
    if trial == 0:
        os._exit(0)
    end = time.monotonic() + 2
    try:
        while os.waitpid(trial, os.WNOHANG)[0] == 0:
            if time.monotonic() > end:
                os.kill(trial, signal.SIGKILL)
                os.waitpid(trial, 0)
                return "a process that was forked on trial hung"
            time.sleep(0.001)
    except ChildProcessError:  # the program ignores SIGCHLD
        pass
    left = 0
    for _ in range(50):  # a thread that has been joined takes a moment to go
        left = others()
        if not left:
            return None
        time.sleep(0.001)
    return "the import left %d thread%s of a library, which may hold a lock" % (left, "" if left == 1 else "s")
