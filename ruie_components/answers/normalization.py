"""Normalized text, in which the same words compare equal, with the way back to the original offsets."""

from __future__ import annotations

import re
import unicodedata
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d\u2043"
_SINGLE_QUOTES = "\u2018\u2019\u201a\u201b\u2032\u02bc`\u00b4\u2039\u203a"
_DOUBLE_QUOTES = '"\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb'
_INVISIBLE = "\u00ad\u0640\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\ufe0e\ufe0f"  # 0640: the Arabic tatweel
_TYPOGRAPHY = str.maketrans(
    dict.fromkeys(_DASHES, "-")
    | dict.fromkeys(_SINGLE_QUOTES, "'")
    | dict.fromkeys(_DOUBLE_QUOTES, "''")  # so that `` and '' of treebanks, and ", are one thing
    | dict.fromkeys(_INVISIBLE, "")
)
_MARKS = re.compile("[\u0300-\u036f\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed]")
"""Accents of Latin, Greek and Cyrillic letters, and the vowel marks of Hebrew and Arabic: writers leave them out."""


@lru_cache(maxsize=4096)
def _normalize_character(character: str) -> str:
    # Before NFKD, which would take quotes such as the acute accent apart, and after it, for what it brings up.
    character = unicodedata.normalize("NFKD", character.translate(_TYPOGRAPHY)).translate(_TYPOGRAPHY)
    return "".join(map(_plain, character.casefold()))


def _plain(character: str) -> str:
    if character.isspace():
        return " "
    return str(unicodedata.decimal(character)) if character.isdecimal() else character


@dataclass(frozen=True)
class NormalizedText:
    """A normalized text. ``offsets[i]`` is the offset of the original character that gave ``text[i]``."""

    text: str
    offsets: array[int]

    def original(self, start: int, end: int) -> tuple[int, int] | None:
        """The original offsets of a normalized range; None where it starts or ends within one original character."""
        offsets = self.offsets
        if start > 0 and offsets[start - 1] == offsets[start]:
            return None
        if end < len(offsets) and offsets[end - 1] == offsets[end]:
            return None
        return offsets[start], offsets[end - 1] + 1

    @cached_property
    def without_spaces(self) -> NormalizedText:
        """The same without any white space."""
        return self._keep([part != " " for part in self.text])

    @cached_property
    def without_marks(self) -> NormalizedText:
        """The same without accents and vowel marks."""
        return self._keep([_MARKS.match(part) is None for part in self.text])

    def _keep(self, kept: list[bool]) -> NormalizedText:
        offsets = array("L", (at for at, keep in zip(self.offsets, kept, strict=True) if keep))
        return NormalizedText("".join(part for part, keep in zip(self.text, kept, strict=True) if keep), offsets)


def _parts(text: str) -> Iterator[tuple[int, str]]:
    table = {character: _normalize_character(character) for character in set(text)}
    blank = True  # leading white space is left out
    for at, character in enumerate(text):
        for part in table[character]:
            if part != " " or not blank:
                yield at, part
            blank = part == " "


def normalize_with_offsets(text: str) -> NormalizedText:
    """Normalize a text, keeping for every character of the result where it came from."""
    offsets, parts = array("L"), []
    for at, part in _parts(text):
        offsets.append(at)
        parts.append(part)
    return NormalizedText("".join(parts), offsets)


def normalize(text: str) -> str:
    """Normalize case, white space, digits and typographic variants: NFKD, quotes and dashes as ASCII, single spaces.

    >>> normalize(" The  \u201cCaf\u00e9\u201d\u2014No. \uff11 ") == normalize("the ''CAFE\u0301''-no. 1")
    True
    """
    if text.isascii():
        return " ".join(text.lower().replace('"', "''").replace("`", "'").split())
    return "".join(part for _, part in _parts(text)).rstrip(" ")


def strip_marks(normalized: str) -> str:
    """A normalized text without accents and vowel marks.

    >>> strip_marks(normalize("Jos\u00e9"))
    'jose'
    """
    return _MARKS.sub("", normalized)
