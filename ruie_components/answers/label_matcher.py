"""Matches labels in a model's answer with the labels of a schema."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

COLONS = ":\uff1a"
_PREFACE_ENDS = re.compile(rf"[{COLONS}]|[.!?](?=\s)")
_AROUND = "*_`#\"'\u2018\u2019\u201c\u201d \t"  # bold, code, heading and quotes around a label
_BULLET = re.compile(
    r"[\s>#*_`\"'\u201c\u2018\-\u2022\u00b7\u2013\u2014\u25cf\u25aa\u25e6|]*"
    r"(?:[(\[]?[0-9]{1,4}[.):\]]+\s*)?"
    r"[\s*_`\"'\u201c\u2018]*"
)
_UNKNOWN = re.compile(r"([^\W\d_][^\s:\uff1a;,.!?\"]*(?: [^\s:\uff1a;,.!?\"]+){0,5})[*_`\"]{0,3} ?[:\uff1a](?!//)")
_LONGEST_UNKNOWN = 80
_REMEMBERED = 10_000  # names whose label is cached

NOTHING_WORDS = frozenset(
    ("none", "null", "nothing", "n/a", "na", "nil", "empty", "[]", "{}", "()", "-", "\u2014", "\u65e0", "\u6ca1\u6709")
)
_LONGEST_NOTHING = max(map(len, NOTHING_WORDS))
_NOTHING = re.compile(
    r"none(?![\w-])(?!\s*[:\uff1a])|nothing(?: (?:was|is|to|could|can) [\w ]{1,30})?(?: \w+)?(?: here)?$", re.IGNORECASE
)
_THINGS = (
    *("entit", "relation", "event", "argument", "trigger", "mention", "label", "item", "match", "result", "answer"),
    *("information", "instance", "role", "person"),
)
_NEGATIONS = ("no", "not", "n't", "neither", "without")
_NOTHING_SENTENCE = re.compile(
    rf"(?:\w+[ ,]+){{0,6}}?(?:{'|'.join(_NEGATIONS)})\b[^.;:\n]{{0,60}}?\b(?:{'|'.join(_THINGS)})\w*[^;:\n]{{0,60}}",
    re.IGNORECASE,
)


class LabelMatch(NamedTuple):
    """A label at the head of a part of an answer, and the offset at which its span begins."""

    label: str
    known: bool
    body: int


def _key(label: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", label).casefold().replace("_", " ").replace("-", " ").split())


class LabelMatcher:
    """Matches names with the labels of a schema, regardless of case, white space, underscores and plural.

    Attributes:
        has_semicolons: A label contains a semicolon, so that it may extend beyond the end of a segment.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        self._exact = set(labels)
        self._by_key = {_key(label): label for label in reversed(labels)}
        self._by_name: dict[str, str | None] = {}
        self.has_semicolons = any(";" in label or "\uff1b" in label for label in labels)
        self._colons = max(sum(map(label.count, COLONS)) for label in labels)
        beginnings = {re.split(r"[\s_-]", label.strip())[0][:3].casefold() for label in labels}
        self._beginnings = re.compile("|".join(map(re.escape, {*beginnings, "people"})), re.IGNORECASE)
        self._longest = max(map(len, labels))
        self._reach = 40 + 2 * self._longest

    def known(self, name: str) -> str | None:
        """The label of the schema that a name stands for, or None."""
        if len(name) > self._reach + 40:
            return None
        if name not in self._by_name:
            if len(self._by_name) >= _REMEMBERED:
                self._by_name.clear()
            bare = name.strip()
            label = self._by_key.get(_key(bare)) or self._by_key.get(_key(bare.strip(_AROUND)))
            self._by_name[name] = bare if bare in self._exact else label
        return self._by_name[name]

    def may_be_in(self, line: str) -> bool:
        """Whether a line can hold a label of the schema: a quick test that most prose fails."""
        return not line.isascii() or self._beginnings.search(line) is not None

    def may_begin(self, text: str, start: int, end: int) -> bool:
        """Whether a segment can begin with a label of any schema: it has a colon, or a label may go on behind it."""
        return self.has_semicolons or _colon(text, start, end) >= 0

    def plural(self, name: str) -> str | None:
        """The label of a heading or key such as ``Persons`` or ``Cities``, or None."""
        if label := self.known(name):
            return label
        bare = name.strip(_AROUND).casefold()
        if bare == "people":
            return self.known("person")
        if not bare.endswith("s"):
            return None
        for ending, singular in (("ies", "y"), ("es", ""), ("s", "")):
            stem = bare.removesuffix(ending)
            if 1 < len(stem) < len(bare) and (label := self.known(stem + singular)):
                return label
        return None

    def at(self, text: str, start: int, end: int) -> LabelMatch | None:
        """The label of the schema, with its colon, that begins at ``start``, ignoring bullets and bold."""
        end = len(text) if self.has_semicolons else end  # a label may extend beyond the end of a segment
        stop = min(end, start + self._reach + 40)
        colon = _colon(text, start, stop)
        if colon < 0:
            return None
        while start < stop and text[start].isspace():
            start += 1
        if longest := self._longest_at(text, start, end, colon):
            return longest
        begin = skip_bullet(text, start, stop)
        return self._longest_at(text, begin, end, colon) if begin > start else None

    def _longest_at(self, text: str, begin: int, end: int, colon: int) -> LabelMatch | None:
        """The longest label of the schema with its colon that begins exactly here; ``colon`` is the first colon."""
        reach = min(end, begin + self._reach)
        if colon < begin:  # in the bullet
            colon = _colon(text, begin, reach)
        longest = None
        for more in range(self._colons, -1, -1):  # labels may contain colons themselves
            if not 0 <= colon < reach:
                break
            if label := self.known(text[begin:colon]):
                longest = LabelMatch(label, known=True, body=colon + 1)
            if more:
                colon = _colon(text, colon + 1, reach)
        return longest

    def within(self, text: str, start: int, end: int) -> LabelMatch | None:
        """The first label of the schema after a preface: ``Sure! person: Ada``, ``The result: person: Ada``."""
        prefaces = _PREFACE_ENDS.finditer(text, start, min(end, start + 200))
        for _, preface in zip(range(4), prefaces, strict=False):
            if match := self.at(text, preface.end(), end):
                return match
        return None


def _colon(text: str, start: int, end: int) -> int:
    """The offset of the first colon of a range, or -1."""
    colon = text.find(":", start, end)  # several times as fast as a regular expression
    wide = text.find("\uff1a", start, end if colon < 0 else colon)
    return colon if wide < 0 else wide


def unknown_at(text: str, start: int, end: int) -> LabelMatch | None:
    """Text that looks like a label of another schema: up to six words and a colon."""
    begin = skip_bullet(text, start, end)
    match = _UNKNOWN.match(text, begin, min(end, begin + _LONGEST_UNKNOWN))
    return LabelMatch(match[1], known=False, body=match.end()) if match else None


def skip_bullet(text: str, start: int, end: int) -> int:
    """The offset after the bullet, the number and the bold marker of a line."""
    match = _BULLET.match(text, start, end)
    return match.end() if match else start


def says_nothing(text: str) -> bool:
    """Whether a whole answer, or the span of a label, states that there is nothing: ``None`` and its variants.

    >>> says_nothing("None."), says_nothing("none (no entities)"), says_nothing("[]"), says_nothing("Nonetheless")
    (True, True, True, False)
    """
    if len(text) > 10_000:
        return False
    stripped = text.strip()
    bare = stripped.strip("*_`\"'. \t")
    if bare[:1] in ("n", "N") and _NOTHING.match(bare):
        return True
    return len(bare) <= _LONGEST_NOTHING and (bare.casefold() in NOTHING_WORDS or stripped in NOTHING_WORDS)


def is_nothing_sentence(line: str) -> bool:
    """Whether a line of an answer states in a sentence that there is nothing to extract.

    >>> is_nothing_sentence("No entities found."), is_nothing_sentence("The text does not mention any event.")
    (True, True)
    """
    bare = line.strip().strip("*_`\"'() \t")
    if len(bare) > 160:
        return False
    if bare.isascii():  # most lines lack one of the words, which is found out ten times as fast as by the pattern
        lower = bare.lower()
        if not (any(word in lower for word in _NEGATIONS) and any(word in lower for word in _THINGS)):
            return False
    return _NOTHING_SENTENCE.fullmatch(bare) is not None
