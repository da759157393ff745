"""Text folded so that the same words compare equal, with the way back to the original offsets."""

from __future__ import annotations

import unicodedata
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d\u2043"
_SINGLE_QUOTES = "\u2018\u2019\u201a\u201b\u2032\u02bc`\u00b4\u2039\u203a"
_DOUBLE_QUOTES = '"\u201c\u201d\u201e\u201f\u2033\u00ab\u00bb'
_INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff\ufe0e\ufe0f"
_TYPOGRAPHY = str.maketrans(
    dict.fromkeys(_DASHES, "-")
    | dict.fromkeys(_SINGLE_QUOTES, "'")
    | dict.fromkeys(_DOUBLE_QUOTES, "''")  # so that `` and '' of treebanks, and ", are one thing
    | dict.fromkeys(_INVISIBLE, "")
)


@lru_cache(maxsize=4096)
def _fold_character(character: str) -> str:
    # Before NFKD, which would take quotes such as the acute accent apart, and after it, for what it brings up.
    character = unicodedata.normalize("NFKD", character.translate(_TYPOGRAPHY)).translate(_TYPOGRAPHY)
    return "".join(" " if part.isspace() else part for part in character.casefold())


@dataclass(frozen=True)
class Folded:
    """A folded text. ``origins[i]`` is the offset in the original of the character that gave ``text[i]``."""

    text: str
    origins: array[int]

    def original(self, start: int, end: int) -> tuple[int, int] | None:
        """The original's offsets of a folded range; None where the range begins or ends within one character."""
        origins = self.origins
        if start > 0 and origins[start - 1] == origins[start]:
            return None
        if end < len(origins) and origins[end - 1] == origins[end]:
            return None
        return origins[start], origins[end - 1] + 1

    @cached_property
    def squeezed(self) -> Folded:
        """Without any white space."""
        kept = array("L", (at for at, part in zip(self.origins, self.text, strict=True) if part != " "))
        return Folded(self.text.replace(" ", ""), kept)


def _parts(text: str) -> Iterator[tuple[int, str]]:
    table = {character: _fold_character(character) for character in set(text)}
    blank = True  # leading white space is left out
    for at, character in enumerate(text):
        for part in table[character]:
            if part != " " or not blank:
                yield at, part
            blank = part == " "


def fold_with_origins(text: str) -> Folded:
    """Fold a text, keeping for every character of the result where it came from."""
    origins, parts = array("L"), []
    for at, part in _parts(text):
        origins.append(at)
        parts.append(part)
    return Folded("".join(parts), origins)


def fold(text: str) -> str:
    """Fold case, white space and typographic variants: NFKD, quotes and dashes as ASCII, one space for many.

    >>> fold(" The  \u201cCaf\u00e9\u201d\u2014No. \uff11 ") == fold("the ''CAFE\u0301''-no. 1")
    True
    """
    if text.isascii():
        return " ".join(text.lower().replace('"', "''").replace("`", "'").split())
    return "".join(part for _, part in _parts(text)).rstrip(" ")
