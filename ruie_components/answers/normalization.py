"""Normalized text: case, width, typography and vowel marks folded, with the offsets of the original characters."""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d\u2043"
_SINGLE_QUOTES = "\u2018\u2019\u201a\u201b\u2032\u02bc`\u00b4\u2039\u203a"
_DOUBLE_QUOTES = '"\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb'
_INVISIBLE = "\u00ad\u034f\u061c\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\ufe0e\ufe0f"
_RANGES_OF_VOWEL_MARKS = (
    (0x0591, 0x05BD),  # Hebrew cantillation and vowel points
    (0x05BF, 0x05C7),
    (0x0610, 0x061A),  # Arabic signs
    (0x0640, 0x0640),  # tatweel, which only elongates a word
    (0x064B, 0x065F),  # Arabic vowel marks, hamza above and below after decomposition
    (0x0670, 0x0670),
    (0x06D6, 0x06ED),
)
_NOT_MARKS = {0x05BE, 0x05C0, 0x05C3, 0x05C6, 0x06DD, 0x06DE, 0x06E5, 0x06E6, 0x06E9}
_VOWEL_MARKS = "".join(
    chr(code) for first, last in _RANGES_OF_VOWEL_MARKS for code in range(first, last + 1) if code not in _NOT_MARKS
)
_TYPOGRAPHY = str.maketrans(
    dict.fromkeys(_DASHES, "-")
    | dict.fromkeys(_SINGLE_QUOTES, "'")
    | dict.fromkeys(_DOUBLE_QUOTES, "''")  # the treebank quotes `` and '' and a double quote become equal
    | dict.fromkeys(_INVISIBLE + _VOWEL_MARKS, "")
)
_ACCENTS = "".join(map(chr, range(0x0300, 0x0370)))
_WITHOUT_ACCENTS = str.maketrans(
    {**dict.fromkeys(_ACCENTS, ""), "\u0142": "l", "\u00f8": "o", "\u0111": "d", "\u0131": "i", "\u0127": "h"}
)


@lru_cache(maxsize=4096)
def _normalize_character(character: str) -> str:
    # Translate before NFKD, which would decompose quotes such as the acute accent, and again for what NFKD yields.
    character = unicodedata.normalize("NFKD", character.translate(_TYPOGRAPHY)).translate(_TYPOGRAPHY)
    parts = []
    for part in character.casefold():
        digit = unicodedata.decimal(part, None) if part > "\x7f" else None
        parts.append(" " if part.isspace() else part if digit is None else str(digit))
    return "".join(parts)


def is_dropped(character: str) -> bool:
    """Whether normalization drops a character that belongs to the one before it: a vowel mark, a joiner, an accent."""
    return character > "\x7f" and (not _normalize_character(character) or character in _ACCENTS)


@dataclass(frozen=True)
class NormalizedText:
    """A normalized text. ``offsets[i]`` is the offset of the original character of ``text[i]``."""

    text: str
    offsets: array[int]

    def original(self, start: int, end: int) -> tuple[int, int] | None:
        """The original offsets of a normalized range; None if the range begins or ends within one character."""
        offsets = self.offsets
        if start > 0 and offsets[start - 1] == offsets[start]:
            return None
        if end < len(offsets) and offsets[end - 1] == offsets[end]:
            return None
        return offsets[start], offsets[end - 1] + 1

    @cached_property
    def without_spaces(self) -> NormalizedText:
        """Without any white space."""
        kept = array("L", (i for i, part in zip(self.offsets, self.text, strict=True) if part != " "))
        return NormalizedText(self.text.replace(" ", ""), kept)

    @cached_property
    def without_accents(self) -> NormalizedText:
        """Without accents: ``José`` as ``jose``."""
        kept = array("L", (i for i, part in zip(self.offsets, self.text, strict=True) if part not in _ACCENTS))
        return NormalizedText(strip_marks(self.text), kept)


def strip_marks(normalized: str) -> str:
    """A normalized text without accents; kept characters map one to one."""
    return normalized if normalized.isascii() else normalized.translate(_WITHOUT_ACCENTS)


def _parts(text: str) -> Iterator[tuple[int, str]]:
    table = {character: _normalize_character(character) for character in set(text)}
    blank = True  # skip leading white space
    for i, character in enumerate(text):
        for part in table[character]:
            if part != " " or not blank:
                yield i, part
            blank = part == " "


def normalize_with_offsets(text: str) -> NormalizedText:
    """Normalize a text, and keep the original offset of every character."""
    offsets, parts = array("L"), []
    for i, part in _parts(text):
        offsets.append(i)
        parts.append(part)
    return NormalizedText("".join(parts), offsets)


def normalize(text: str) -> str:
    """Fold case, white space and typographic variants: NFKD, ASCII quotes and dashes, single spaces.

    Digits of any script become ASCII digits; Arabic and Hebrew vowel marks and invisible characters are dropped.

    >>> normalize(" The  \u201cCaf\u00e9\u201d\u2014No. \uff11 ") == normalize("the ''CAFE\u0301''-no. 1")
    True
    """
    if text.isascii():
        return " ".join(text.lower().replace('"', "''").replace("`", "'").split())
    return "".join(part for _, part in _parts(text)).rstrip(" ")
