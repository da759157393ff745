"""Mention assignment: which mention of a span an item means, where the text has several.

One rule for all tasks, in this order of precedence:

1. Offsets that the answer gives, where the text there agrees with the span.
2. Better matches: exact before normalized before similar, whole words before parts of words.
3. For a relation and for an argument: the sentence of the other side, or of the trigger.
4. For a relation: head and tail in the order in which the answer names them.
5. Mentions that no earlier item with this label took, before taken ones.
6. For a relation and for an argument: the nearest to the other side, or to the trigger. Else the first in the text.

Entities and triggers have no other side. Longer spans choose first, and a mention inside another assigned span comes
after all others: of ``Frank Zappa`` and ``Zappa`` the second is a mention of its own where the text has one. Repeats of
an item take the next mention; once the text has no more, they are dropped.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from ruie_components.answers.grounding import Grounder, SpanMatch
from ruie_components.answers.items import Offsets

_MOST_MENTIONS = 16  # of one span that are compared
_SENTENCE_END = re.compile(
    r"[.!?\u2026]+[\"'\u201d\u2019)\]]*\s+(?=[\"'\u201c\u2018(\[]?[A-Z\u00c0-\u00de\d])|[\u3002\uff01\uff1f]|\n\s*"
)


class PredictedSpan(NamedTuple):
    """A label and a span of an answer, the part of the answer they were read from, and the offsets it gives."""

    label: str
    span: str
    raw: str
    offsets: Offsets | None = None


class AssignedSpan(NamedTuple):
    """A label, and the mention of its span in the text."""

    label: str
    match: SpanMatch
    raw: str


class Sentences:
    """The sentences of a text, roughly: full stops before a capital letter, line breaks, ideographic full stops.

    >>> sentences = Sentences("Ann left. Bob paid Dr. Ann.")
    >>> sentences.index(0), sentences.index(10), sentences.index(19)
    (0, 1, 1)
    """

    def __init__(self, text: str) -> None:
        ends = [end for end in _SENTENCE_END.finditer(text) if not _is_title(text, end.start())]
        self._starts = [0, *(end.end() for end in ends)]

    def index(self, offset: int) -> int:
        """The number of the sentence at an offset."""
        return bisect_right(self._starts, offset) - 1


def _is_title(text: str, stop: int) -> bool:
    word = re.search(r"(\w+)$", text[max(0, stop - 6) : stop])
    return word is not None and (word[1] in ("Dr", "Mr", "Mrs", "Ms", "Prof", "St", "No", "Gen", "Sen", "Rep", "vs"))


def assign_in_order(
    predicted: Sequence[PredictedSpan], grounder: Grounder, *, many_labels: bool, all_mentions: bool = False
) -> list[AssignedSpan]:
    """Assign a mention to each entity or trigger.

    Args:
        predicted: All predicted spans; each has a match.
        grounder: Finds the matches.
        many_labels: Items of one span with several labels mean the same mention (a trigger of two events), instead of
            one mention each (two entities).
        all_mentions: Also assign the label to every other mention of the span that no item took.
    """
    within = bytearray(len(grounder.text))  # characters of the spans that are assigned
    labels_at: defaultdict[tuple[int, int], set[str]] = defaultdict(set)
    next_match: defaultdict[tuple[str, str, int], int] = defaultdict(int)

    def take(label: str, match: SpanMatch) -> None:
        labels_at[match[:2]].add(label)
        within[match.start : match.end] = b"\1" * (match.end - match.start)

    def choose(label: str, span: str) -> SpanMatch | None:
        for choice in (0, 1, 2):  # a free mention of its own; a free mention; a mention without this label
            key = (span, label if many_labels or choice == 2 else "", choice)
            while match := grounder.matches(span).get(next_match[key]):
                next_match[key] += 1
                taken = labels_at[match[:2]]
                if label in taken or (taken and not many_labels and choice < 2):
                    continue
                if choice == 0 and not taken and within[match.start] and within[match.end - 1]:
                    continue
                return match
        return None

    assigned: dict[int, AssignedSpan] = {}
    given = {i: match for i, one in enumerate(predicted) if (match := _given(one, grounder))}
    for i, match in given.items():
        if predicted[i].label not in labels_at[match[:2]]:
            take(predicted[i].label, match)
            assigned[i] = AssignedSpan(predicted[i].label, match, predicted[i].raw)
    for i in sorted(range(len(predicted)), key=lambda i: -len(predicted[i].span)):
        label, span, raw, _ = predicted[i]
        if i not in given and (match := choose(label, span)):
            take(label, match)
            assigned[i] = AssignedSpan(label, match, raw)
    spans = [assigned[i] for i in sorted(assigned)]
    if all_mentions:
        for label, span, raw, _ in dict.fromkeys(predicted):
            for match in _best(grounder, span, limit=len(grounder.text)):
                if not labels_at[match[:2]] and not (within[match.start] and within[match.end - 1]):
                    take(label, match)
                    spans.append(AssignedSpan(label, match, raw))
    return spans


def assign_near(
    predicted: Sequence[PredictedSpan],
    grounder: Grounder,
    sentences: Sentences,
    trigger: SpanMatch | None,
    *,
    all_mentions: bool = False,
) -> list[AssignedSpan]:
    """Assign a mention to each argument of an event, in the sentence of the trigger and near it if possible."""
    assigned: dict[tuple[str, tuple[int, int]], AssignedSpan] = {}
    for one in predicted:
        label, span, raw, _ = one
        match = _given(one, grounder)
        free = [match] if match else _best(grounder, span)
        free = [match for match in free if (label, match[:2]) not in assigned]
        if trigger:
            home = sentences.index(trigger.start)
            free.sort(key=lambda match: (sentences.index(match.start) != home, _distance(match, trigger)))
        for match in free if all_mentions and not one.offsets else free[:1]:
            assigned[label, match[:2]] = AssignedSpan(label, match, raw)
    return list(assigned.values())


class RelationAssigner:
    """Assigns mentions to the two sides of relations, one relation after the other.

    Args:
        grounder: Finds the matches.
        sentences: The sentences of the text.
    """

    def __init__(self, grounder: Grounder, sentences: Sentences) -> None:
        self._grounder, self._sentences = grounder, sentences
        self._taken: set[tuple[str, tuple[int, int], tuple[int, int]]] = set()
        self._used: set[tuple[int, int]] = set()

    def assign(self, head: PredictedSpan, tail: PredictedSpan) -> tuple[SpanMatch, SpanMatch] | None:
        """The mentions of head and tail; None where a side is not in the text or every pair is taken."""
        heads, tails = self._candidates(head), self._candidates(tail)
        free = [pair for pair in product(heads, tails) if (head.label, pair[0][:2], pair[1][:2]) not in self._taken]
        best = min(free, key=self._rank, default=None)
        if best:
            self._taken.add((head.label, best[0][:2], best[1][:2]))
            self._used |= {best[0][:2], best[1][:2]}
        return best

    def _candidates(self, side: PredictedSpan) -> list[SpanMatch]:
        match = _given(side, self._grounder)
        return [match] if match else _best(self._grounder, side.span)

    def _rank(self, pair: tuple[SpanMatch, SpanMatch]) -> tuple[bool, bool, bool, int, int]:
        head, tail = pair
        return (
            head[:2] == tail[:2],
            self._sentences.index(head.start) != self._sentences.index(tail.start),
            head.start > tail.start,
            (head[:2] in self._used) + (tail[:2] in self._used),
            _distance(head, tail),
        )


def _given(predicted: PredictedSpan, grounder: Grounder) -> SpanMatch | None:
    return grounder.at(predicted.span, *predicted.offsets) if predicted.offsets else None


def _best(grounder: Grounder, span: str, limit: int = _MOST_MENTIONS) -> list[SpanMatch]:
    """The first matches of a span that are as good as the best of them."""
    matches = grounder.matches(span).first(limit)
    return [match for match in matches if match.grounding == matches[0].grounding]


def _distance(one: SpanMatch, other: SpanMatch) -> int:
    """The characters between two spans; 0 where they overlap."""
    return max(0, other.start - one.end, one.start - other.end)
