"""Splits a text into sentences."""

from __future__ import annotations

import re
from bisect import bisect_right

_SENTENCE_END = re.compile(
    r"(?:[.!?\u2026\u061f\u0964]+[\"'\u201d\u2019)\]]*\s+(?=[^\sa-z])|[\u3002\uff01\uff1f]+[\u201d\u300d\u300f]?|\n\s*\n|\n(?=[^\sa-z]))"
)
_ABBREVIATION = re.compile(
    r"(?:\b(?:[A-Z]|Mr|Mrs|Ms|Dr|St|Prof|Jr|Sr|vs|Inc|Ltd|Co|Corp|No|Gen|Sen|Rep|Gov|Lt|Col|Capt|Rev|Mt|Ft|Jan|Feb"
    r"|Mar|Apr|Aug|Sept?|Oct|Nov|Dec|e\.g|i\.e|cf|al|Fig|approx)\.)$"
)
_LONGEST_ABBREVIATION = 8


class Sentences:
    """The sentences of a text, by rule: they end at end marks, not in abbreviations or before lower-case letters."""

    def __init__(self, text: str) -> None:
        self._starts = [0]
        for end in _SENTENCE_END.finditer(text):
            before = text[max(0, end.start() - _LONGEST_ABBREVIATION) : end.start() + 1]
            if not (end[0].startswith(".") and _ABBREVIATION.search(before)):
                self._starts.append(end.end())

    @property
    def starts(self) -> list[int]:
        """The offset of each sentence's first character; the first is 0."""
        return list(self._starts)

    def index(self, offset: int) -> int:
        """The number of the sentence that an offset is in."""
        return bisect_right(self._starts, offset) - 1
