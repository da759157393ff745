"""Where the spans of an answer stand in the input: exactly, but for typography, or nearly."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from rapidfuzz import fuzz

from ruie_components.answers.folding import Folded, fold, fold_with_origins
from ruie_components.prompts import one_line
from ruie_components.tokenization import cuts_word
from ruie_components.types import Grounding

FUZZY_THRESHOLD = 90.0
"""The least similarity, of 100, at which a span counts as found. One replaced letter of ten, one left out of five."""
FUZZY_LENGTHS = range(5, 257)
"""Spans that are searched by similarity, in characters: chance matches below, slow above."""

# The characters that may be searched for one answer, about a nanosecond each. It makes grounding linear in text and
# answer whatever they hold; an answer of thousands of spans on a text of megabytes is the least that reaches it.
_BUDGET_FACTOR, _BUDGET_FLOOR = 500, 100_000_000
_HIT_COST, _FUZZY_COST = 1_000, 10  # of a hit that is looked at; of a character compared by similarity
_FOLD_COST = 300  # of a character of a span
_REMEMBERED = 1_000  # the longest span whose places are kept for the next time, in characters

_ARTICLE = re.compile(r"(?:the|an?) ")
_NUMBERS = re.compile(r"\d+")
_MARKUP, _QUOTES = "*_` \t", "\"'\u2018\u2019\u201c\u201d\u00ab\u00bb\u300c\u300d "
_COMMENT = re.compile(r"\s[(\[][^()\[\]]*[)\]]$")


class Place(NamedTuple):
    """Where a span stands in the text, and how it was found."""

    start: int
    end: int
    grounding: Grounding


class Mentions:
    """All the places of one span, best kind first, in the order of the text; found only as far as they are asked."""

    def __init__(self, places: Iterator[Place]) -> None:
        self._coming = places
        self._found: list[Place] = []

    def get(self, index: int) -> Place | None:
        """The place with this index, or None where there are fewer."""
        self._found += islice(self._coming, max(0, index + 1 - len(self._found)))
        return self._found[index] if index < len(self._found) else None

    def first(self, limit: int) -> list[Place]:
        """At most so many places."""
        self.get(limit - 1)
        return self._found[:limit]


class Grounder:
    """Finds spans in one text.

    Args:
        text: The text.
        answer_length: The length of the answer that is grounded; with the text's it bounds the work.
        threshold: The least similarity of 100; None turns the search by similarity off.
    """

    def __init__(self, text: str, *, answer_length: int = 0, threshold: float | None = FUZZY_THRESHOLD) -> None:
        self.text = text
        self._line = one_line(text)  # what the model was shown, at the same offsets
        self._threshold = threshold
        self._budget = _BUDGET_FLOOR + _BUDGET_FACTOR * (len(text) + answer_length)
        self._known: dict[str, Mentions] = {}
        self._nearly: dict[str, Place | None] = {}

    def holds(self, span: str) -> bool:
        """Whether the very characters stand in the text."""
        return next(self._in_line(one_line(span)), None) is not None

    def mentions(self, span: str) -> Mentions:
        """The places of a span: whole words before parts of words, but for typography where not exactly.

        Markup, quotes, a full stop or a bracketed comment around the span are taken off where it is not found with
        them.
        """
        found = self._known.get(span)
        if found is None:
            found = self._remember(span, Mentions(self._search(span)))
        return found

    def nearest(self, span: str) -> Place | None:
        """The most similar words of the text, if they are similar enough; numbers in them must be the same."""
        if len(span) > _REMEMBERED:
            return None
        if span not in self._nearly:
            self._nearly[span] = self._by_similarity(fold(span))
        return self._nearly[span]

    def places(self, span: str) -> Mentions:
        """The places of a span, by similarity where there are no others."""
        found = self.mentions(span)
        if found.get(0) is None and (near := self.nearest(span)):
            found = self._remember(span, Mentions(iter([near])))
        return found

    def _remember(self, span: str, found: Mentions) -> Mentions:
        if len(span) <= _REMEMBERED:
            self._known[span] = found
        return found

    @cached_property
    def _folded(self) -> Folded:
        return fold_with_origins(self.text)

    def _search(self, span: str) -> Iterator[Place]:
        self._budget -= _FOLD_COST * len(span)
        if self._budget < 0:
            return
        within: list[Place] = []  # found only as parts of words
        whole = False
        for variant in _variants(one_line(span)):
            seen: set[tuple[int, int]] = set()
            for search, grounding in self._searches:
                for start, end in search(variant):
                    if (start, end) in seen:
                        continue
                    seen.add((start, end))
                    if not self._cuts(start, end):
                        whole = True
                        yield Place(start, end, grounding)
                    elif len(within) < 100:
                        within.append(Place(start, end, grounding))
            if whole:
                return
        yield from within

    @cached_property
    def _searches(self) -> tuple[tuple[Callable[[str], Iterator[tuple[int, int]]], Grounding], ...]:
        return (
            (self._in_line, Grounding.EXACT),
            (self._in_folded, Grounding.NORMALISED),
            (self._in_squeezed, Grounding.NORMALISED),
        )

    def _in_line(self, span: str) -> Iterator[tuple[int, int]]:
        return self._find(self._line, span)

    def _in_folded(self, span: str) -> Iterator[tuple[int, int]]:
        folded = self._folded
        for found in self._find(folded.text, fold(span)):
            if place := folded.original(*found):
                yield place

    def _in_squeezed(self, span: str) -> Iterator[tuple[int, int]]:
        squeezed = self._folded.squeezed
        for found in self._find(squeezed.text, fold(span).replace(" ", "")):
            place = squeezed.original(*found)
            if place and not self._cuts(*place):  # words run into each other here, so only whole ones are sure
                yield place

    def _find(self, text: str, span: str) -> Iterator[tuple[int, int]]:
        at = 0
        while span and self._budget > 0:
            found = text.find(span, at)
            self._budget -= (found - at if found >= 0 else len(text) - at) + len(span) + _HIT_COST
            if found < 0:
                return
            yield found, found + len(span)
            at = found + 1

    def _cuts(self, start: int, end: int) -> bool:
        splits = end < len(self.text) and unicodedata.combining(self.text[end]) > 0
        return splits or cuts_word(self.text, start, end)

    def _by_similarity(self, span: str) -> Place | None:
        span = _ARTICLE.sub("", span, count=1) if _ARTICLE.match(span) else span
        text = self._folded.text
        cost = _FUZZY_COST * len(text)
        if self._threshold is None or len(span) not in FUZZY_LENGTHS or self._budget < cost or len(text) < len(span):
            return None
        self._budget -= cost
        near = fuzz.partial_ratio_alignment(span, text, score_cutoff=max(0.0, self._threshold - 15))
        if near is None:
            return None
        numbers = _NUMBERS.findall(span)
        best, best_score = None, self._threshold
        for start in _edges(text, near.dest_start):
            for end in _edges(text, near.dest_end):
                words = text[start:end]
                score = fuzz.ratio(span, words)
                if words and words == words.strip() and score >= best_score and _NUMBERS.findall(words) == numbers:
                    best, best_score = self._folded.original(start, end), score
        return Place(*best, Grounding.FUZZY) if best else None


def _edges(text: str, at: int) -> list[int]:
    """Where a word begins or ends near an offset: the two nearest on each side."""
    edges: list[int] = []
    for step in (-1, 1):
        places = range(at, max(-1, at - 40), -1) if step < 0 else range(at + 1, min(len(text) + 1, at + 40))
        edges += islice((place for place in places if _parts_words(text, place)), 3)
    return edges


def _parts_words(text: str, at: int) -> bool:
    return not cuts_word(text, at, len(text))


def _variants(span: str) -> list[str]:
    """The span as it is, then with less and less of what models put around spans."""
    bare = span.strip()
    plain = bare.strip(_MARKUP)
    unquoted = plain.strip(_QUOTES + _MARKUP)
    unstopped = unquoted.rstrip(".,;:!?\u3002\uff0c\uff1b ").rstrip(_QUOTES + _MARKUP)
    uncommented = _COMMENT.sub("", unstopped)
    return [variant for variant in dict.fromkeys((bare, plain, unquoted, unstopped, uncommented)) if variant]
