"""The labels of a schema, recognised in what a model wrote."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

COLONS = ":\uff1a"
_COLON = re.compile(f"[{COLONS}]")
_PREFACE_ENDS = re.compile(rf"[{COLONS}]|[.!?](?=\s)")
_AROUND = "*_`\"'\u2018\u2019\u201c\u201d \t"  # bold, code and quotes around a label
_BULLET = re.compile(
    r"[\s>#*_`\"'\u201c\u2018\-\u2022\u00b7\u2013\u2014\u25cf\u25aa\u25e6|]*"
    r"(?:[(\[]?[0-9]{1,4}[.):\]]+\s*)?"
    r"[\s*_`\"'\u201c\u2018]*"
)
_UNKNOWN = re.compile(r"([^\W\d_][^\s:\uff1a;,.!?\"]*(?: [^\s:\uff1a;,.!?\"]+){0,5})[*_`\"]{0,3} ?[:\uff1a](?!//)")
_LONGEST_UNKNOWN = 80

NOTHING_WORDS = frozenset(("none", "null", "nothing", "n/a", "na", "nil", "empty", "[]", "{}", "()", "-", "\u65e0"))
_NOTHING = re.compile(r"none(?![\w-])(?!\s*[:\uff1a])", re.IGNORECASE)


class Labelled(NamedTuple):
    """A label at the head of a piece of an answer, and where what it labels begins."""

    label: str
    known: bool
    body: int


def _key(label: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", label).casefold().replace("_", " ").split())


class Labels:
    """Recognises the labels of a schema, whatever their case, white space and underscores; the longest first."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._exact = set(labels)
        self._by_key = {_key(label): label for label in reversed(labels)}
        self._known: dict[str, str | None] = {}  # of names that were asked about
        self._semicolons = any(";" in label or "\uff1b" in label for label in labels)
        self._colons = 2 + max(len(_COLON.findall(label)) for label in labels)
        self._reach = 40 + 2 * max(map(len, labels))

    def known(self, name: str) -> str | None:
        """The label of the schema that is meant, or None."""
        if name not in self._known:
            bare = name.strip()
            found = self._by_key.get(_key(bare)) or self._by_key.get(_key(bare.strip(_AROUND)))
            self._known[name] = bare if bare in self._exact else found
        return self._known[name]

    def at(self, text: str, start: int, end: int) -> Labelled | None:
        """The label of the schema, with its colon, that begins at ``start``, bullets and bold left aside."""
        end = len(text) if self._semicolons else end  # a label may go on behind the end of a piece
        stop = min(end, start + self._reach + 40)
        if _COLON.search(text, start, stop) is None:
            return None
        while start < stop and text[start].isspace():
            start += 1
        begins = dict.fromkeys((start, skip_bullet(text, start, stop)))
        for begin in begins:
            found = None
            colons = _COLON.finditer(text, begin, min(end, begin + self._reach))
            for _, colon in zip(range(self._colons), colons, strict=False):
                if label := self.known(text[begin : colon.start()]):
                    found = Labelled(label, known=True, body=colon.end())
            if found:
                return found
        return None

    def within(self, text: str, start: int, end: int) -> Labelled | None:
        """The first label of the schema behind a preface: ``Sure! person: Ada``, ``The result: person: Ada``."""
        prefaces = _PREFACE_ENDS.finditer(text, start, min(end, start + 200))
        for _, preface in zip(range(4), prefaces, strict=False):
            if found := self.at(text, preface.end(), end):
                return found
        return None


def unknown_at(text: str, start: int, end: int) -> Labelled | None:
    """What looks like a label that no schema is asked about: up to six words and a colon."""
    begin = skip_bullet(text, start, end)
    found = _UNKNOWN.match(text, begin, min(end, begin + _LONGEST_UNKNOWN))
    return Labelled(found[1], known=False, body=found.end()) if found else None


def skip_bullet(text: str, start: int, end: int) -> int:
    """Behind the bullet, the number and the bold marker of a line."""
    found = _BULLET.match(text, start, end)
    return found.end() if found else start


def says_nothing(text: str) -> bool:
    """Whether a whole answer, or the span of a label, says that there is nothing: ``None``, and what may follow it.

    >>> says_nothing("None."), says_nothing("none (no entities)"), says_nothing("[]"), says_nothing("Nonetheless")
    (True, True, True, False)
    """
    bare = text.strip().strip("*_`\"'. \t")
    return bare.casefold() in NOTHING_WORDS or text.strip() in NOTHING_WORDS or bool(_NOTHING.match(bare))
