"""JSON as language models write it: fenced, cut off, with loose commas and quotes; read in one pass, without recursion.

``json.loads`` refuses all of that, and runs out of stack on deep nesting.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TypeAlias

OPENING = re.compile(r"""\{\s*(?:["'\u201c}]|\w{1,40}["']?\s*:)|\[\s*(?:[{\[\]"'\u201c])""")
"""Where something like JSON begins."""

_SPACE = re.compile(r"\s*")
_CLOSES = re.compile(r"\s*(?:[,:}\]]|$)")  # what may stand behind the quote that ends a string
_BARE = re.compile(r"[^{}\[\],:\"\n]+")
_QUOTES = {'"': re.compile(r'["\\]'), "'": re.compile(r"['\\]"), "\u201c": re.compile(r"[\u201d\u201c\"\\]")}


@dataclass(slots=True, eq=False)
class Object:
    """An object's keys and values in order, and where it stands; not ``closed`` where the text ends within it."""

    start: int
    end: int = -1
    closed: bool = False
    pairs: list[tuple[str, Value]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Array:
    """A list's values, and where it stands."""

    start: int
    end: int = -1
    closed: bool = False
    values: list[Value] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class Text:
    """A string, or a bare word; not ``closed`` where the text ends within it."""

    text: str
    start: int
    end: int
    closed: bool = True


Value: TypeAlias = Object | Array | Text


class _Reader:
    """Puts tokens together to values; what doesn't fit is left out."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self._open: list[Object | Array] = []
        self._objects = 0  # how many of the open ones are objects
        self._key: list[str | None] = []  # for each open one, the key that waits for its value
        self._last: Text | None = None  # a string that may turn out to be a key

    @property
    def inside(self) -> bool:
        return bool(self._open)

    def begin(self, kind: str, at: int) -> None:
        self.settle()
        value: Object | Array = Object(at) if kind == "{" else Array(at)
        self._put(value)
        self._open.append(value)
        self._key.append(None)
        self._objects += kind == "{"

    def end(self, kind: str, at: int) -> None:
        self.settle()
        wanted = Object if kind == "}" else Array
        count = self._objects if kind == "}" else len(self._open) - self._objects
        while count and self._open:
            value = self._open.pop()
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
        if self._last is not None and isinstance(self._open[-1], Object) and self._key[-1] is None:
            self._key[-1], self._last = self._last.text, None

    def comma(self) -> None:
        self.settle()
        self._key[-1] = None

    def settle(self) -> None:
        """The last string is a value."""
        if self._last is not None:
            value, self._last = self._last, None
            self._put(value)

    def _put(self, value: Value) -> None:
        if not self._open:
            self.values.append(value)
        elif isinstance(top := self._open[-1], Array):
            top.values.append(value)
        elif (key := self._key[-1]) is not None:
            top.pairs.append((key, value))
            self._key[-1] = None

    def finish(self, end: int) -> None:
        self.settle()
        for value in self._open:
            value.end = end


def read(text: str, start: int = 0) -> list[Object | Array]:
    """All objects and lists that stand at the top of a text, from ``start`` on; what is between them is left out."""
    reader = _Reader()
    at = start
    while at < len(text):
        if not reader.inside:
            opening = OPENING.search(text, at)
            if opening is None:
                break
            at = opening.start()
        at = _token(text, at, reader)
    reader.finish(len(text))
    return [value for value in reader.values if not isinstance(value, Text)]


def _token(text: str, at: int, reader: _Reader) -> int:
    """Give the reader the token at an offset; returns where the next one begins."""
    character = text[at]
    if character in "{[":
        reader.begin(character, at)
    elif character in "}]":
        reader.end(character, at)
    elif character == ":":
        reader.colon()
    elif character == ",":
        reader.comma()
    elif character in _QUOTES:
        value = _string(text, at)
        reader.string(value)
        return value.end
    elif (space := _SPACE.match(text, at)) and space.end() > at:
        return space.end()
    elif bare := _BARE.match(text, at):
        reader.string(Text(bare[0].strip(), at, bare.end(), closed=bare.end() < len(text)))
        return bare.end()
    return at + 1


def _string(text: str, start: int) -> Text:
    """The string whose quote is at ``start``. A quote within it counts as text unless JSON goes on there."""
    quote = text[start]
    at = start + 1
    while found := _QUOTES[quote].search(text, at):
        if found[0] == "\\":
            at = found.end() + 1
        elif _CLOSES.match(text, found.end()):
            return Text(_unescape(text[start + 1 : found.start()], quote), start, found.end())
        else:
            at = found.end()
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
