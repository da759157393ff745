"""Matches the spans of an answer with the text: exactly, apart from typography, or by similarity."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from rapidfuzz import fuzz

from ruie_components.answers.normalization import (
    NormalizedText,
    is_dropped,
    normalize,
    normalize_with_offsets,
    strip_marks,
)
from ruie_components.prompts import one_line
from ruie_components.tokenization import cuts_word
from ruie_components.types import Grounding

FUZZY_THRESHOLD = 90.0
"""The minimum similarity, of 100, of a match: one replaced letter in ten, or one omitted in five."""
FUZZY_LENGTHS = range(5, 257)
"""Lengths, in characters, of spans that are searched by similarity: shorter ones match by chance, longer are slow."""

# The characters that each kind of search may read for one answer, about a nanosecond each. The budgets make grounding
# linear in text and answer. They are separate, so that spans which are not in the text can't use up what the exact
# search needs for those which are.
_BUDGET_FACTOR = 100
_BUDGET_FLOORS = {"exact": 1_000_000_000, "normalized": 400_000_000, "loose": 400_000_000, "similar": 600_000_000}
_HIT_COST, _SIMILARITY_COST = 1_000, 10  # of a hit that is looked at; of a character compared by similarity
_NORMALIZATION_COST = 300  # of a character of a span
_REMEMBERED = 1_000  # the longest span whose matches are kept, in characters
_MOST_WITHIN_WORDS = 100
_MOST_EXTENDED = 16  # characters that combine with the one before them

_ARTICLE = re.compile(r"(?:the|an?) ")
_NUMBERS = re.compile(r"\d+")
_MARKUP, _QUOTES = "*_` \t", "\"'\u2018\u2019\u201c\u201d\u00ab\u00bb\u300c\u300d "
_COMMENT = re.compile(r"\s[(\[][^()\[\]]*[)\]]$")
_LONGEST_FLAGS = 256  # letters of flags in a row
_JOINER = "\u200d"


class SpanMatch(NamedTuple):
    """Offsets of the text that match a span, and how."""

    start: int
    end: int
    grounding: Grounding


class Matches:
    """All matches of one span, best kind first, in the order of the text; computed only as far as they are read."""

    def __init__(self, matches: Iterator[SpanMatch]) -> None:
        self._coming = matches
        self._read: list[SpanMatch] = []

    def get(self, i: int) -> SpanMatch | None:
        """The match with this index, or None where there are fewer."""
        if i < len(self._read):
            return self._read[i]
        self._read += islice(self._coming, i + 1 - len(self._read))
        return self._read[i] if i < len(self._read) else None

    def first(self, limit: int) -> list[SpanMatch]:
        """At most ``limit`` matches."""
        self.get(limit - 1)
        return self._read[:limit]


def check_threshold(threshold: float | None) -> None:
    """Raise ``ValueError`` if a minimum similarity is not of 100: 0.9 would accept spans that are made up."""
    if threshold is not None and not 1 < threshold <= 100:
        raise ValueError(f"fuzzy_threshold is a similarity of 100, such as 90, or None; got {threshold!r}")


class Grounder:
    """Matches spans with one text.

    Args:
        text: The text.
        answer_length: The length of the answer that is grounded; with the text's it bounds the work.
        threshold: The minimum similarity, of 100; None turns the search by similarity off.
    """

    def __init__(self, text: str, *, answer_length: int = 0, threshold: float | None = FUZZY_THRESHOLD) -> None:
        self.text = text
        self._line = one_line(text)  # the text as the model saw it, at the same offsets
        check_threshold(threshold)
        self._threshold = threshold
        work = _BUDGET_FACTOR * (len(text) + answer_length)
        self._budgets = {kind: floor + work for kind, floor in _BUDGET_FLOORS.items()}
        self._exact_matches: dict[str, Matches] = {}
        self._similar: dict[str, SpanMatch | None] = {}

    def contains(self, span: str) -> bool:
        """Whether the text has exactly these characters."""
        return next(self._in_line(one_line(span)), None) is not None

    def mentions(self, span: str) -> Matches:
        """The matches of a span without similarity: whole words before parts of words, exact ones first.

        Markup, quotes, HTML entities, a full stop or a bracketed comment around the span are taken off where it does
        not match with them.
        """
        matches = self._exact_matches.get(span)
        if matches is None:
            matches = self._remember(span, Matches(self._search(span)))
        return matches

    def most_similar(self, span: str) -> SpanMatch | None:
        """The most similar words of the text, if they are similar enough; numbers in them must be the same."""
        if len(span) > _REMEMBERED:
            return None
        if span not in self._similar:
            self._similar[span] = self._by_similarity(normalize(span))
        return self._similar[span]

    def matches(self, span: str) -> Matches:
        """The matches of a span; by similarity if there are no others."""
        matches = self.mentions(span)
        if matches.get(0) is None and (similar := self.most_similar(span)):
            matches = self._remember(span, Matches(iter([similar])))
        return matches

    def has_only_within_words(self, span: str) -> bool:
        """Whether the text has a span, but nowhere as whole words: ``Titan`` in ``Titania slept``."""
        match = self.mentions(span).get(0)  # whole words come first
        return match is not None and self._cuts(match.start, match.end)

    def has_as_words(self, span: str) -> bool:
        """Whether the text has a span as whole words."""
        return self.mentions(span).get(0) is not None and not self.has_only_within_words(span)

    def at(self, span: str, start: int, end: int) -> SpanMatch | None:
        """The match of a span at the offsets in an answer, if the text there agrees with the span.

        If the end does not agree, because it is inclusive or missing, the length of the span decides.
        """
        if len(span) > _REMEMBERED:
            return None
        bare = span.strip()
        for stop in dict.fromkeys((end, start + len(bare), end + 1)):
            if 0 <= start < stop <= len(self.text) and stop - start <= 4 * len(span) + 16:
                words = self._line[start:stop]
                if words == bare:
                    return SpanMatch(start, stop, Grounding.EXACT)
                if words.strip() == words and normalize(words) == normalize(bare):
                    return SpanMatch(start, stop, Grounding.NORMALISED)
        return None

    def _remember(self, span: str, matches: Matches) -> Matches:
        if len(span) <= _REMEMBERED:
            self._exact_matches[span] = matches
        return matches

    @cached_property
    def _normalized(self) -> NormalizedText:
        return normalize_with_offsets(self.text)

    def _search(self, span: str) -> Iterator[SpanMatch]:
        within_words: list[SpanMatch] = []
        whole = False
        for variant in _variants(one_line(span)):
            seen: set[tuple[int, int]] = set()
            for search, grounding in self._searches:
                for start, end in search(variant):
                    if (start, end) in seen:
                        continue
                    seen.add((start, end))
                    if any(_is_inside_emoji(self.text, offset) for offset in (start, end)):
                        continue
                    if not self._cuts(start, end):
                        whole = True
                        yield SpanMatch(start, end, grounding)
                    elif len(within_words) < _MOST_WITHIN_WORDS:
                        within_words.append(SpanMatch(start, end, grounding))
            if whole:
                return
        yield from within_words

    @cached_property
    def _searches(self) -> tuple[tuple[Callable[[str], Iterator[tuple[int, int]]], Grounding], ...]:
        return (
            (self._in_line, Grounding.EXACT),
            (self._in_normalized, Grounding.NORMALISED),
            (self._without_spaces, Grounding.NORMALISED),
            (self._without_accents, Grounding.NORMALISED),
        )

    def _in_line(self, span: str) -> Iterator[tuple[int, int]]:
        return self._find(self._line, span, "exact")

    def _normalize(self, span: str, kind: str) -> str:
        """The normalized span; empty if the budget is used up."""
        self._budgets[kind] -= _NORMALIZATION_COST * len(span)
        return normalize(span) if self._budgets[kind] > 0 else ""

    def _in_normalized(self, span: str) -> Iterator[tuple[int, int]]:
        normalized = self._normalized
        for hit in self._find(normalized.text, self._normalize(span, "normalized"), "normalized"):
            if offsets := self._original(normalized, *hit):
                yield offsets

    def _without_spaces(self, span: str) -> Iterator[tuple[int, int]]:
        searched = self._normalize(span, "loose").replace(" ", "")
        return self._whole_words(self._normalized.without_spaces, searched) if searched else iter(())

    def _without_accents(self, span: str) -> Iterator[tuple[int, int]]:
        normalized = self._normalize(span, "loose")
        if not normalized or (normalized.isascii() and self._normalized.text.isascii()):
            return iter(())
        return self._whole_words(self._normalized.without_accents, strip_marks(normalized))

    def _whole_words(self, searched: NormalizedText, span: str) -> Iterator[tuple[int, int]]:
        """Only whole words: without spaces words join, and without accents parts of words mean little."""
        for hit in self._find(searched.text, span, "loose"):
            offsets = self._original(searched, *hit)
            if offsets and not self._cuts(*offsets):
                yield offsets

    def _original(self, normalized: NormalizedText, start: int, end: int) -> tuple[int, int] | None:
        """The offsets in the original text, including vowel marks and accents of the last character."""
        offsets = normalized.original(start, end)
        if offsets is None:
            return None
        first, last = offsets
        if last < len(self.text) and self.text[last] > "\x7f":
            stop = min(len(self.text), last + _MOST_EXTENDED)
            while last < stop and unicodedata.category(self.text[last]) == "Mn" and is_dropped(self.text[last]):
                if (
                    normalized is self._normalized
                    and unicodedata.combining(self.text[last]) == 230
                    and ("\u0300" <= self.text[last] < "\u0370")
                ):
                    break  # an accent that is not in the span
                last += 1
        return first, last

    def _find(self, text: str, span: str, kind: str) -> Iterator[tuple[int, int]]:
        at = 0
        while span and self._budgets[kind] > 0:
            hit = text.find(span, at)
            self._budgets[kind] -= (hit - at if hit >= 0 else len(text) - at) + len(span) + _HIT_COST
            if hit < 0:
                return
            yield hit, hit + len(span)
            at = hit + 1

    def _cuts(self, start: int, end: int) -> bool:
        """Whether offsets are inside a word or inside one visible character."""
        if any(0 < offset < len(self.text) and _is_accent(self.text[offset]) for offset in (start, end)):
            return True
        return cuts_word(self.text, start, end)

    def _by_similarity(self, span: str) -> SpanMatch | None:
        span = _ARTICLE.sub("", span, count=1) if _ARTICLE.match(span) else span
        if self._threshold is None or len(span) not in FUZZY_LENGTHS:
            return None
        text = self._normalized.text
        cost = _SIMILARITY_COST * len(text)
        if self._budgets["similar"] < cost or len(text) < len(span):
            return None
        self._budgets["similar"] -= cost
        alignment = fuzz.partial_ratio_alignment(span, text, score_cutoff=max(0.0, self._threshold - 15))
        if alignment is None:
            return None
        numbers = _NUMBERS.findall(span)
        best, best_score = None, self._threshold
        for start in _edges(text, alignment.dest_start):
            for end in _edges(text, alignment.dest_end):
                words = text[start:end]
                score = fuzz.ratio(span, words)
                if words and words == words.strip() and score >= best_score and _NUMBERS.findall(words) == numbers:
                    best, best_score = self._original(self._normalized, start, end), score
        return SpanMatch(*best, Grounding.FUZZY) if best else None


def _is_inside_emoji(text: str, offset: int) -> bool:
    """Whether an offset is inside an emoji sequence or a flag."""
    if not 0 < offset < len(text) or max(text[offset], text[offset - 1]) <= "\u2000":
        return False
    after, before = text[offset], text[offset - 1]
    if after == _JOINER:
        return offset + 1 < len(text) and _is_pictograph(text[offset + 1])
    if before == _JOINER:
        return _is_pictograph(after)
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return _is_pictograph(before) or "\U000e0020" <= before <= "\U000e007f"
    if _is_flag_letter(after) and _is_flag_letter(before):
        run = 0
        while run < _LONGEST_FLAGS and run < offset and _is_flag_letter(text[offset - 1 - run]):
            run += 1
        return run % 2 == 1
    return False


def _is_accent(character: str) -> bool:
    return character > "\x7f" and unicodedata.category(character) in ("Mn", "Me")


def _is_pictograph(character: str) -> bool:
    return character > "\u2000" and unicodedata.category(character) in ("So", "Sk", "Mn")


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _edges(text: str, at: int) -> list[int]:
    """Where a word begins or ends near an offset: the nearest three on each side."""
    edges: list[int] = []
    for step in (-1, 1):
        offsets = range(at, max(-1, at - 40), -1) if step < 0 else range(at + 1, min(len(text) + 1, at + 40))
        edges += islice((offset for offset in offsets if not cuts_word(text, offset, len(text))), 3)
    return edges


def _variants(span: str) -> list[str]:
    """The span, then variants without the decorations that models put around spans."""
    bare = span.strip()
    plain = bare.strip(_MARKUP)
    unquoted = plain.strip(_QUOTES + _MARKUP)
    unstopped = unquoted.rstrip(".,;:!?\u3002\uff0c\uff1b ").rstrip(_QUOTES + _MARKUP)
    uncommented = _COMMENT.sub("", unstopped)
    variants = [bare, plain, unquoted, unstopped, uncommented]
    if any(mark in bare for mark in "&<>"):
        variants += [html.unescape(bare), html.unescape(unstopped), html.escape(unquoted, quote=False)]
    return [variant for variant in dict.fromkeys(variants) if variant]
