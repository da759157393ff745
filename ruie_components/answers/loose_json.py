"""Reads JSON as language models write it: fenced, truncated, with loose commas and quotes; one pass, no recursion.

``json.loads`` rejects all of this, and overflows the stack on deep nesting.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

OPENING = re.compile(r"""\{\s*(?:["'\u201c}{]|\w{1,40}["']?\s*:)|\[\s*(?:[{\[\]"'\u201c]|\(\s*["'])""")
"""Matches the beginning of something like JSON."""
MOST_NESTED = 1_000
"""How deep values may nest: as deep as ``json.loads`` reads them. A model that repeats an opening goes deeper."""

_NOT_SPACE = re.compile(r"\S")
_CLOSES = re.compile(r"\s*(?:[,:}\]]|$)")  # characters that may follow the closing quote of a string
_CLOSES_IN_TUPLE = re.compile(r"\s*(?:[,:}\])]|$)")
_TUPLE = re.compile(r"""\(\s*["']""")  # of Python: read as a list
_PAIR = re.compile(r""""([^"\\]*)"\s*:\s*"([^"\\]*)"(?=\s*[,}])""")  # the usual key and string, read at once
_FLAT = re.compile(rf"\{{\s*(?:{_PAIR.pattern}\s*,?\s*)++\}}")  # an object of such pairs only
_BARE = re.compile(r"[^{}\[\],:\"\n]+")
_QUOTES = {'"': re.compile(r'["\\]'), "'": re.compile(r"['\\]"), "\u201c": re.compile(r"[\u201d\u201c\"\\]")}


@dataclass(slots=True, eq=False)
class Object:
    """An object's keys and values in order, and its offsets; not ``closed`` if the text ends within it.

    A value without a key has the key ``""``; a key without a value has an empty ``Text``.
    """

    start: int
    end: int = -1
    closed: bool = False
    pairs: list[tuple[str, Value]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Array:
    """A list's values, and its offsets."""

    start: int
    end: int = -1
    closed: bool = False
    values: list[Value] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Text:
    """A string, or a bare word or number (not ``quoted``); not ``closed`` if the text ends within it."""

    text: str
    start: int
    end: int
    closed: bool = True
    quoted: bool = True


Value: TypeAlias = Object | Array | Text


class _Reader:
    """Builds values from tokens; brackets, colons and commas in the wrong position are left out, strings never."""

    def __init__(self) -> None:
        self._values: list[Value] = []
        self.open: list[Object | Array] = []
        self._tuples = 0  # the number of open parentheses
        self._objects = 0  # the number of open objects
        self._key: list[Text | None] = []  # the key without a value yet, for each open object or list
        self._last: Text | None = None  # a string that may turn out to be a key

    @property
    def in_tuple(self) -> bool:
        return self._tuples > 0

    @property
    def at_key(self) -> bool:
        """Whether a key of an object may follow."""
        return bool(self.open) and self._key[-1] is None and isinstance(self.open[-1], Object)

    def begin(self, kind: str, at: int) -> None:
        self.settle()
        value: Object | Array = Object(at) if kind == "{" else Array(at)
        self._put(value)
        self.open.append(value)
        self._key.append(None)
        self._objects += kind == "{"
        self._tuples += kind == "("

    def end(self, kind: str, at: int) -> None:
        self.settle()
        self._tuples -= kind == ")"
        self._drop_key()
        wanted = Object if kind == "}" else Array
        count = self._objects if kind == "}" else len(self.open) - self._objects
        while count and self.open:
            value = self.open.pop()
            self._key.pop()
            self._objects -= isinstance(value, Object)
            value.end = at + 1
            if isinstance(value, wanted):
                value.closed = True
                return

    def string(self, value: Text) -> None:
        self.settle()
        self._last = value

    def colon(self) -> None:
        if self._last is not None and isinstance(self.open[-1], Object) and self._key[-1] is None:
            self._key[-1], self._last = self._last, None

    def pair(self, key: str, value: Text) -> None:
        """A key with its string, where ``at_key``."""
        self.settle()
        if isinstance(top := self.open[-1], Object):
            top.pairs.append((key, value))

    def flat(self, value: Object) -> None:
        """A closed object, read at once."""
        self.settle()
        self._put(value)

    def comma(self) -> None:
        self.settle()
        self._drop_key()

    def _drop_key(self) -> None:
        """The innermost object's key has no value."""
        if self.open and (key := self._key[-1]) is not None and isinstance(top := self.open[-1], Object):
            top.pairs.append((key.text, Text("", key.start, key.end, closed=key.closed)))
            self._key[-1] = None

    def settle(self) -> None:
        """Take the last string as a value: no colon followed it."""
        if self._last is not None:
            value, self._last = self._last, None
            self._put(value)

    def _put(self, value: Value) -> None:
        if not self.open:
            self._values.append(value)
        elif isinstance(top := self.open[-1], Array):
            top.values.append(value)
        else:
            key = self._key[-1]
            top.pairs.append((key.text if key else "", value))
            self._key[-1] = None

    def take(self) -> Iterator[Value]:
        """The objects and lists of the top level since the last call."""
        values, self._values = self._values, []
        return (value for value in values if not isinstance(value, Text))

    def finish(self, end: int) -> None:
        self.settle()
        self._drop_key()
        for value in self.open:
            value.end = end


def read(text: str, start: int = 0) -> Iterator[Value]:
    """The objects and lists at the top level of a text, from ``start`` on; the caller reads the text between them.

    If they nest deeper than ``MOST_NESTED``, the rest of the text from there on is one more value, a ``Text``.
    """
    reader = _Reader()
    at = start
    while at < len(text) and len(reader.open) <= MOST_NESTED:
        if not reader.open:
            yield from reader.take()
            opening = OPENING.search(text, at)
            if opening is None:
                break
            at = opening.start()
        elif text[at].isspace():
            visible = _NOT_SPACE.search(text, at)
            if visible is None:
                break
            at = visible.start()
        at = _token(text, at, reader)
    too_deep = len(reader.open) > MOST_NESTED
    reader.finish(at if too_deep else len(text))
    yield from reader.take()
    if too_deep and at < len(text):
        yield Text(text[at:], at, len(text))


def _token(text: str, at: int, reader: _Reader) -> int:
    """Pass the token at an offset, which is no white space, to the reader; returns the offset behind it."""
    character = text[at]
    if character in _QUOTES:
        if reader.at_key and (pair := _PAIR.match(text, at)):
            reader.pair(pair[1], Text(pair[2], pair.start(2) - 1, pair.end()))
            return pair.end()
        value = _string(text, at, _CLOSES_IN_TUPLE if reader.in_tuple else _CLOSES)
        reader.string(value)
        return value.end
    if character == ",":
        reader.comma()
    elif character == ":":
        reader.colon()
    elif character == "{" and (flat := _FLAT.match(text, at)):
        pairs: list[tuple[str, Value]] = [
            (pair[1], Text(pair[2], pair.start(2) - 1, pair.end())) for pair in _PAIR.finditer(text, at, flat.end())
        ]
        reader.flat(Object(at, flat.end(), closed=True, pairs=pairs))
        return flat.end()
    elif character in "{[" or (character == "(" and _TUPLE.match(text, at)):
        reader.begin(character, at)
    elif character in "}]" or (character == ")" and reader.in_tuple):
        reader.end(character, at)
    elif bare := _BARE.match(text, at):
        reader.string(Text(bare[0].strip(), at, bare.end(), closed=bare.end() < len(text), quoted=False))
        return bare.end()
    return at + 1


def _string(text: str, start: int, closes: re.Pattern[str]) -> Text:
    """The string whose quote is at ``start``. A quote within it counts as text unless JSON continues after it."""
    quote = text[start]
    at = start + 1
    while mark := _QUOTES[quote].search(text, at):
        if mark[0] == "\\":
            at = mark.end() + 1
        elif closes.match(text, mark.end()):
            return Text(_unescape(text[start + 1 : mark.start()], quote), start, mark.end())
        else:
            at = mark.end()
    return Text(_unescape(text[start + 1 :], quote), start, len(text), closed=False)


def _unescape(raw: str, quote: str) -> str:
    if "\\" not in raw and '"' not in raw:
        return raw
    if quote == "'":
        raw = raw.replace("\\'", "'")
    try:
        return str(json.loads(f'"{raw}"', strict=False))
    except ValueError:
        return raw.replace('\\"', '"').replace("\\n", "\n")
