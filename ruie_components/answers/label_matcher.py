"""Recognising the labels of a schema in what a model wrote."""

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
_NOTHING_SENTENCE = re.compile(
    r"(?:there (?:are|is|were|was) )?(?:no|not any|nothing)(?: [\w-]+){0,3}?"
    r"(?: (?:entit(?:y|ies)|relations?(?:hips?)?|events?|arguments?|triggers?|mentions?|items?|labels?|matches|spans?"
    r"|information|annotations?|results?|extract(?:ed)?|found))(?: [\w',-]+){0,12}",
    re.IGNORECASE,
)
_BRACKETED = re.compile(r"(?P<span>[^()\[\]\n]+?)\s*[(\[](?P<label>[^()\[\]\n]+)[)\]]\W{0,3}")
_DASHED = re.compile(r"(?P<span>[^\n]+?)\s+(?:-+>?|\u2013|\u2014|\u2192|=>|=)\s+(?P<label>[^\n]+?)\W{0,3}")


class LabelMatch(NamedTuple):
    """A label at the start of a part of an answer, and where its span begins."""

    label: str
    known: bool
    body: int


def _key(label: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", label).casefold().replace("_", " ").split())


class LabelMatcher:
    """Recognises the labels of a schema, whatever their case, white space and underscores; the longest first."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._exact = set(labels)
        self._by_key = {_key(label): label for label in reversed(labels)}
        self._known: dict[str, str | None] = {}  # of names looked up before
        self._semicolons = any(";" in label or "\uff1b" in label for label in labels)
        self._colons = 2 + max(len(_COLON.findall(label)) for label in labels)
        self._reach = 40 + 2 * max(map(len, labels))

    def known(self, name: str) -> str | None:
        """The label of the schema that is meant, or None."""
        if name not in self._known:
            bare = name.strip()
            label = self._by_key.get(_key(bare)) or self._by_key.get(_key(bare.strip(_AROUND)))
            self._known[name] = bare if bare in self._exact else label
        return self._known[name]

    def at(self, text: str, start: int, end: int) -> LabelMatch | None:
        """The label of the schema, with its colon, that begins at ``start``, bullets and bold left aside."""
        end = len(text) if self._semicolons else end  # a label may go on behind the end of a piece
        stop = min(end, start + self._reach + 40)
        if _COLON.search(text, start, stop) is None:
            return None
        while start < stop and text[start].isspace():
            start += 1
        begins = dict.fromkeys((start, skip_bullet(text, start, stop)))
        for begin in begins:
            match = None
            colons = _COLON.finditer(text, begin, min(end, begin + self._reach))
            for _, colon in zip(range(self._colons), colons, strict=False):
                if label := self.known(text[begin : colon.start()]):
                    match = LabelMatch(label, known=True, body=colon.end())
            if match:
                return match
        return None

    def within(self, text: str, start: int, end: int) -> LabelMatch | None:
        """The first label of the schema behind a preface: ``Sure! person: Ada``, ``The result: person: Ada``."""
        prefaces = _PREFACE_ENDS.finditer(text, start, min(end, start + 200))
        for _, preface in zip(range(4), prefaces, strict=False):
            if match := self.at(text, preface.end(), end):
                return match
        return None

    def alone(self, text: str, start: int, end: int) -> LabelMatch | None:
        """The label that is all of a line, as a heading for the lines below: ``**Person**``, ``### Person``."""
        label = self.known(text[start:end].strip().strip("#*_`= \t"))
        return LabelMatch(label, known=True, body=end) if label else None

    def behind(self, text: str, start: int, end: int) -> tuple[str, str] | None:
        """The label of the schema that follows its span, with the span: ``Ada (person)``, ``Ada - person``.

        >>> LabelMatcher(["person"]).behind("- Ada (Person)", 0, 14)
        ('person', 'Ada')
        """
        part = text[skip_bullet(text, start, end) : end].strip()
        match = _BRACKETED.fullmatch(part) or _DASHED.fullmatch(part)
        label = self.known(match["label"]) if match else None
        return (label, match["span"].strip(_AROUND)) if match and label else None


def unknown_at(text: str, start: int, end: int) -> LabelMatch | None:
    """What looks like a label outside the schema: up to six words and a colon."""
    begin = skip_bullet(text, start, end)
    match = _UNKNOWN.match(text, begin, min(end, begin + _LONGEST_UNKNOWN))
    return LabelMatch(match[1], known=False, body=match.end()) if match else None


def skip_bullet(text: str, start: int, end: int) -> int:
    """The offset behind the bullet, the number and the bold marker of a line."""
    match = _BULLET.match(text, start, end)
    return match.end() if match else start


def says_nothing(text: str) -> bool:
    """Whether a whole answer, or the span of a label, says that there is nothing: ``None``, and what may follow it.

    >>> says_nothing("None."), says_nothing("none (no entities)"), says_nothing("[]"), says_nothing("Nonetheless")
    (True, True, True, False)
    >>> says_nothing("No entities found."), says_nothing("There are no relations in the text."), says_nothing("No. 5")
    (True, True, False)
    """
    bare = text.strip().strip("*_`\"'. \t")
    if bare.casefold() in NOTHING_WORDS or text.strip() in NOTHING_WORDS:
        return True
    return bool(_NOTHING.match(bare) or _NOTHING_SENTENCE.fullmatch(bare))
