"""Mention assignment: chooses one of several mentions of a predicted span in the text.

One rule for all tasks. The order of preference among the mentions of a span:

1. the mention at the offsets in the answer, if the text there agrees with the span;
2. the better match: exact before normalized before similar, whole words before parts of words;
3. a free mention, without the same label from this answer (for entities: without any label);
4. a mention outside of the longer spans of the answer (``Zappa`` outside of ``Frank Zappa``);
5. a mention in the sentence of the anchor, which is an event's trigger or the other side of a relation; a head before
   its tail if both orders are possible;
6. the mention nearest to the anchor, or without an anchor the first.

Relations choose both sides at once: 5 comes before 3, since a pair from two sentences is rarely meant.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from itertools import product
from typing import NamedTuple

from ruie_components.answers.grounding import Grounder, SpanMatch
from ruie_components.answers.items import Item, Offsets
from ruie_components.answers.sentences import Sentences

_MOST_MENTIONS = 12  # mentions of one span among which the nearest is searched


class PredictedSpan(NamedTuple):
    """A label and a span of an answer, the offsets that the answer gives for it, and the item it was read from."""

    label: str
    span: str
    item: Item
    offsets: Offsets | None = None


class AssignedSpan(NamedTuple):
    """A label, the mention of the text that was assigned to it, and the item it was read from."""

    label: str
    match: SpanMatch
    item: Item


class MentionAssigner:
    """Assigns mentions of one text to the predicted spans of one answer."""

    def __init__(self, grounder: Grounder) -> None:
        self._grounder = grounder
        self._used_pairs: defaultdict[tuple[Offsets, Offsets], set[str]] = defaultdict(set)
        self._used_mentions: set[Offsets] = set()
        self._exhausted: set[tuple[str, str, str]] = set()  # label, head and tail whose pairs are all used

    @cached_property
    def _sentences(self) -> Sentences:
        return Sentences(self._grounder.text)

    def in_order(self, predicted: Sequence[PredictedSpan], *, many_labels: bool) -> list[AssignedSpan]:
        """Assign mentions without an anchor: the first prediction of a span gets its first mention, etc.

        Spans with offsets choose first, then longer spans. If the text has no more mentions, repeats of a label are
        dropped.

        Args:
            predicted: All predicted spans; each matches the text.
            many_labels: Several labels of one span share a mention (a trigger of two events) instead of having one
                each.
        """
        within = bytearray(len(self._grounder.text))  # characters of the assigned spans
        labels_at: defaultdict[Offsets, set[str]] = defaultdict(set)
        next_mention: defaultdict[tuple[str, str, int], int] = defaultdict(int)
        exhausted: set[tuple[str, str]] = set()  # label and span whose mentions are all assigned
        assigned: dict[int, AssignedSpan] = {}

        def assign(i: int, match: SpanMatch) -> None:
            label, _, item, _ = predicted[i]
            labels_at[match[:2]].add(label)
            within[match.start : match.end] = b"\1" * (match.end - match.start)
            assigned[i] = AssignedSpan(label, match, item)

        def choose(label: str, span: str) -> SpanMatch | None:
            for choice in (0, 1, 2):  # a free mention outside of longer spans; a free one; one without this label
                key = (span, label if many_labels or choice == 2 else "", choice)
                while match := self._grounder.matches(span).get(next_mention[key]):
                    next_mention[key] += 1
                    taken = labels_at[match[:2]]
                    if label in taken or (taken and not many_labels and choice < 2):
                        continue
                    if choice == 0 and not taken and within[match.start] and within[match.end - 1]:
                        continue
                    return match
            exhausted.add((label, span))
            return None

        for i, (label, span, _, offsets) in enumerate(predicted):
            match = self._grounder.at(span, *offsets) if offsets else None
            if match and label not in labels_at[match[:2]]:
                assign(i, match)
        for i in sorted(range(len(predicted)), key=lambda i: -len(predicted[i].span)):
            label, span, *_ = predicted[i]
            if i not in assigned and (label, span) not in exhausted and (match := choose(label, span)):
                assign(i, match)
        return [assigned[i] for i in sorted(assigned)]

    def near(self, predicted: Sequence[PredictedSpan], trigger: SpanMatch | None) -> list[AssignedSpan]:
        """Assign mentions with the trigger of an event as their anchor; one mention may have several roles."""
        assigned: dict[tuple[str, Offsets], AssignedSpan] = {}
        for label, span, item, offsets in predicted:
            given = self._grounder.at(span, *offsets) if offsets else None
            matches = [given] if given and (label, given[:2]) not in assigned else self._best(span)
            free = [match for match in matches if (label, match[:2]) not in assigned]
            if free:
                match = min(free, key=lambda match: self._from_anchor(match, trigger)) if trigger else free[0]
                assigned[label, match[:2]] = AssignedSpan(label, match, item)
        return list(assigned.values())

    def pair(self, head: PredictedSpan, tail: PredictedSpan) -> tuple[SpanMatch, SpanMatch] | None:
        """The mentions of a relation's sides; None if a side does not match or every pair already has the relation."""
        key = (head.label, head.span, tail.span)
        if key in self._exhausted and not (head.offsets or tail.offsets):
            return None
        pairs = [
            pair
            for pair in product(self._sides(head), self._sides(tail))
            if head.label not in self._used_pairs[pair[0][:2], pair[1][:2]]
        ]
        if not pairs:
            self._exhausted.add(key)
            return None
        best = min(pairs, key=lambda pair: self._pair_cost(*pair))
        self._used_pairs[best[0][:2], best[1][:2]].add(head.label)
        self._used_mentions |= {best[0][:2], best[1][:2]}
        return best

    def _pair_cost(self, head: SpanMatch, tail: SpanMatch) -> tuple[float, ...]:
        forward, backward = (head[:2], tail[:2]), (tail[:2], head[:2])
        return (
            head[:2] == tail[:2],
            self._sentences.index(head.start) != self._sentences.index(tail.start),
            head.start > tail.start,
            bool(self._used_pairs.get(forward)) or bool(self._used_pairs.get(backward)),
            _distance(head, tail),
            sum(side[:2] in self._used_mentions for side in (head, tail)),
            head.start,
        )

    def _sides(self, predicted: PredictedSpan) -> list[SpanMatch]:
        given = self._grounder.at(predicted.span, *predicted.offsets) if predicted.offsets else None
        return [given] if given else self._best(predicted.span)

    def _from_anchor(self, match: SpanMatch, anchor: SpanMatch) -> tuple[bool, int]:
        other_sentence = self._sentences.index(match.start) != self._sentences.index(anchor.start)
        return other_sentence, _distance(match, anchor)

    def _best(self, span: str) -> list[SpanMatch]:
        """The first mentions of a span that match as exactly as the best one."""
        matches = self._grounder.matches(span).first(_MOST_MENTIONS)
        return [match for match in matches if match.grounding == matches[0].grounding]


def _distance(one: SpanMatch, other: SpanMatch) -> int:
    """The characters between two mentions; 0 where they overlap."""
    return max(0, other.start - one.end, one.start - other.end)
