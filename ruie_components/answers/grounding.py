"""Finding the spans of an answer in the input: exactly, normalized, or by similarity."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from rapidfuzz import fuzz

from ruie_components.answers.normalization import NormalizedText, normalize, normalize_with_offsets, strip_marks
from ruie_components.prompts import one_line
from ruie_components.tokenization import cuts_word
from ruie_components.types import Grounding

FUZZY_THRESHOLD = 90.0
"""The lowest similarity, out of 100, at which a span matches. One replaced letter of ten, one left out of five."""
FUZZY_LENGTHS = range(5, 257)
"""Lengths of spans that are compared by similarity, in characters: chance matches below, slow above."""

# The characters that may be searched for one answer, about a nanosecond each. This makes grounding linear in text and
# answer whatever they hold; an answer of thousands of spans on a text of megabytes is the least that reaches it.
# Similarity has a budget of its own, so that invented spans never cost the real ones their exact match.
_BUDGET_FACTOR, _BUDGET_FLOOR = 500, 100_000_000
_HIT_COST, _FUZZY_COST = 1_000, 10  # of a hit that is looked at; of a character compared by similarity
_NORMALIZE_COST = 300  # of a character of a span
_REMEMBERED = 1_000  # the longest span whose matches are kept for the next time, in characters
_TRIGRAMS_FROM = 2_000  # characters of a text from which on its trigrams tell what it cannot hold

_ARTICLE = re.compile(r"(?:the|an?) ")
_NUMBERS = re.compile(r"\d+")
_MARKUP, _QUOTES = "*_` \t", "\"'\u2018\u2019\u201c\u201d\u00ab\u00bb\u300c\u300d "
_COMMENT = re.compile(r"\s[(\[][^()\[\]]*[)\]]$")
_JOINER = "\u200d"
_EXTENDS = re.compile("[\u200d\ufe0e\ufe0f\u20e3\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")
_REGIONAL = re.compile("[\U0001f1e6-\U0001f1ff]")


class SpanMatch(NamedTuple):
    """Where a span matches the text, and how."""

    start: int
    end: int
    grounding: Grounding


class Matches:
    """All matches of one span, best kind first, in the order of the text; searched only as far as needed."""

    def __init__(self, matches: Iterator[SpanMatch]) -> None:
        self._coming = matches
        self._known: list[SpanMatch] = []

    def get(self, index: int) -> SpanMatch | None:
        """The match with this index, or None where there are fewer."""
        self._known += islice(self._coming, max(0, index + 1 - len(self._known)))
        return self._known[index] if index < len(self._known) else None

    def first(self, limit: int) -> list[SpanMatch]:
        """At most so many matches."""
        self.get(limit - 1)
        return self._known[:limit]


class Grounder:
    """Finds spans in one text.

    Args:
        text: The text.
        answer_length: The length of the answer to ground; with the text's it bounds the work.
        threshold: The lowest similarity, out of 100; None turns matching by similarity off.
    """

    def __init__(self, text: str, *, answer_length: int = 0, threshold: float | None = FUZZY_THRESHOLD) -> None:
        self.text = text
        self._line = one_line(text)  # what the model was shown, at the same offsets
        self._threshold = threshold
        self._budget = self._fuzzy_budget = _BUDGET_FLOOR + _BUDGET_FACTOR * (len(text) + answer_length)
        self._matches: dict[str, Matches] = {}
        self._similar: dict[str, SpanMatch | None] = {}

    def holds(self, span: str) -> bool:
        """Whether the text holds these very characters."""
        return next(self._in_line(one_line(span)), None) is not None

    def mentions(self, span: str) -> Matches:
        """The mentions of a span: whole words before parts of words, normalized where there is no exact one.

        Markup, quotes, a full stop or a bracketed comment around the span are removed where it does not match with
        them. A match never starts or ends inside an emoji or a flag of several characters.
        """
        matches = self._matches.get(span)
        if matches is None:
            matches = self._remember(span, Matches(self._search(span)))
        return matches

    def grounds(self, span: str) -> bool:
        """Whether the text mentions a span, exactly or normalized."""
        return self.mentions(span).get(0) is not None

    def nearest(self, span: str) -> SpanMatch | None:
        """The most similar words of the text, if they are similar enough; numbers in them must be the same."""
        if len(span) > _REMEMBERED:
            return None
        if span not in self._similar:
            self._similar[span] = self._by_similarity(normalize(span))
        return self._similar[span]

    def matches(self, span: str) -> Matches:
        """The mentions of a span, or what is most similar where there are none."""
        matches = self.mentions(span)
        if matches.get(0) is None and (similar := self.nearest(span)):
            matches = self._remember(span, Matches(iter([similar])))
        return matches

    def at(self, span: str, start: int, end: int) -> SpanMatch | None:
        """The match of a span at offsets that an answer gives, where the text there agrees with it.

        An inclusive end and a wrong end are forgiven: the span decides how long the match is.
        """
        span = span.strip()
        for stop in dict.fromkeys((end, start + len(span), end + 1)):
            if 0 <= start < stop <= len(self.text):
                words = self.text[start:stop]
                if one_line(words) == one_line(span):
                    return SpanMatch(start, stop, Grounding.EXACT)
                if words == words.strip() and normalize(words) == normalize(span):
                    return SpanMatch(start, stop, Grounding.NORMALISED)
        return None

    def _remember(self, span: str, matches: Matches) -> Matches:
        if len(span) <= _REMEMBERED:
            self._matches[span] = matches
        return matches

    @cached_property
    def _normalized(self) -> NormalizedText:
        return normalize_with_offsets(self.text)

    @cached_property
    def _trigrams(self) -> frozenset[str]:
        text = self._normalized.without_marks.without_spaces.text
        return frozenset(map("".join, zip(text, text[1:], text[2:], strict=False)))

    def _may_hold(self, span: str) -> bool:
        """Whether every three characters of a span stand together somewhere: a quick no for spans that are absent."""
        if len(self.text) < _TRIGRAMS_FROM:
            return True
        plain = strip_marks(normalize(span)).replace(" ", "")
        return all(plain[at : at + 3] in self._trigrams for at in range(len(plain) - 2))

    def _search(self, span: str) -> Iterator[SpanMatch]:
        self._budget -= _NORMALIZE_COST * len(span)
        if self._budget < 0:
            return
        within: list[SpanMatch] = []  # only as parts of words
        whole = False
        for variant in filter(self._may_hold, _variants(one_line(span))):
            seen: set[tuple[int, int]] = set()
            for search, grounding in self._searches:
                for start, end in search(variant):
                    if (start, end) in seen or self._cuts_grapheme(start) or self._cuts_grapheme(end):
                        continue
                    seen.add((start, end))
                    if not (cuts_word(self.text, start, end) or self._cuts_marks(end)):
                        whole = True
                        yield SpanMatch(start, end, grounding)
                    elif len(within) < 100:
                        within.append(SpanMatch(start, end, grounding))
            if whole:
                return
        yield from within

    @cached_property
    def _searches(self) -> tuple[tuple[Callable[[str], Iterator[tuple[int, int]]], Grounding], ...]:
        return (
            (self._in_line, Grounding.EXACT),
            (self._in_normalized, Grounding.NORMALISED),
            (self._in_unspaced, Grounding.NORMALISED),
            (self._in_unmarked, Grounding.NORMALISED),
        )

    def _in_line(self, span: str) -> Iterator[tuple[int, int]]:
        return self._find(self._line, span)

    def _in_normalized(self, span: str) -> Iterator[tuple[int, int]]:
        return self._in(self._normalized, normalize(span), whole_words=False)

    def _in_unspaced(self, span: str) -> Iterator[tuple[int, int]]:
        # words run into each other here, so only whole ones are sure
        return self._in(self._normalized.without_spaces, normalize(span).replace(" ", ""), whole_words=True)

    def _in_unmarked(self, span: str) -> Iterator[tuple[int, int]]:
        return self._in(self._normalized.without_marks, strip_marks(normalize(span)), whole_words=True)

    def _in(self, normalized: NormalizedText, span: str, *, whole_words: bool) -> Iterator[tuple[int, int]]:
        for match in self._find(normalized.text, span):
            offsets = normalized.original(*match)
            if offsets is None:
                continue
            start, end = offsets[0], self._with_marks(offsets[1])
            if not whole_words or not cuts_word(self.text, start, end):
                yield start, end

    def _with_marks(self, end: int) -> int:
        """The end of a match behind the combining marks of its last letter."""
        while end < len(self.text) and unicodedata.combining(self.text[end]):
            end += 1
        return end

    def _find(self, text: str, span: str) -> Iterator[tuple[int, int]]:
        at = 0
        while span and self._budget > 0:
            hit = text.find(span, at)
            self._budget -= (hit - at if hit >= 0 else len(text) - at) + len(span) + _HIT_COST
            if hit < 0:
                return
            yield hit, hit + len(span)
            at = hit + 1

    def _cuts_marks(self, end: int) -> bool:
        return end < len(self.text) and unicodedata.combining(self.text[end]) > 0

    def _cuts_grapheme(self, offset: int) -> bool:
        """Whether an offset lies inside what a reader sees as one character."""
        text = self.text
        if not 0 < offset < len(text):
            return False
        if _EXTENDS.match(text[offset]):
            return True
        if text[offset - 1] == _JOINER and unicodedata.category(text[offset]) == "So":
            return True
        if _REGIONAL.match(text[offset]) is None:
            return False
        before = offset
        while before > 0 and _REGIONAL.match(text[before - 1]):
            before -= 1
        return (offset - before) % 2 == 1  # two regional indicators are one flag

    def _by_similarity(self, span: str) -> SpanMatch | None:
        span = _ARTICLE.sub("", span, count=1) if _ARTICLE.match(span) else span
        text = self._normalized.text
        cost = _FUZZY_COST * len(text)
        too_short = len(text) < len(span)
        if self._threshold is None or len(span) not in FUZZY_LENGTHS or self._fuzzy_budget < cost or too_short:
            return None
        self._fuzzy_budget -= cost
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
                    best, best_score = self._normalized.original(start, end), score
        return SpanMatch(*best, Grounding.FUZZY) if best else None


def _edges(text: str, at: int) -> list[int]:
    """Where a word begins or ends near an offset: the two nearest on each side."""
    edges: list[int] = []
    for step in (-1, 1):
        offsets = range(at, max(-1, at - 40), -1) if step < 0 else range(at + 1, min(len(text) + 1, at + 40))
        edges += islice((offset for offset in offsets if not cuts_word(text, offset, len(text))), 3)
    return edges


def _variants(span: str) -> list[str]:
    """The span as it is, then with less and less of what models put around spans."""
    bare = span.strip()
    plain = bare.strip(_MARKUP)
    unquoted = plain.strip(_QUOTES + _MARKUP)
    unstopped = unquoted.rstrip(".,;:!?\u3002\uff0c\uff1b ").rstrip(_QUOTES + _MARKUP)
    uncommented = _COMMENT.sub("", unstopped)
    return [variant for variant in dict.fromkeys((bare, plain, unquoted, unstopped, uncommented)) if variant]
