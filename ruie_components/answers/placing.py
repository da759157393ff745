"""Which of the places of a span an answer means, where the text has several."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from ruie_components.answers.grounding import Grounder, Place

_MOST_MENTIONS = 8  # of one span, where the nearest is looked for


class Answered(NamedTuple):
    """A label and a span of an answer, and the piece of the answer they were read from."""

    label: str
    span: str
    piece: str


class Placed(NamedTuple):
    """A label, and the place in the text that was found for it."""

    label: str
    place: Place
    piece: str


def in_order(answered: Sequence[Answered], grounder: Grounder, *, many_labels: bool) -> list[Placed]:
    """Give each answer a place of its span: the first answer the first place, the second answer the second.

    Longer spans choose first, and a place within another answered span comes after all others: of ``Frank Zappa`` and
    ``Zappa`` the second is a mention of its own where the text has one. Where the text has no more places, repeats of
    a label are left out.

    Args:
        answered: All answers; each span has a place.
        grounder: Finds the places.
        many_labels: Answers of one span with several labels mean the same place (a trigger of two events), instead of
            one place each (two mentions).
    """
    within = bytearray(len(grounder.text))  # characters of the spans that are placed
    labels_at: defaultdict[tuple[int, int], set[str]] = defaultdict(set)
    next_mention: defaultdict[tuple[str, str, int], int] = defaultdict(int)

    def choose(label: str, span: str) -> Place | None:
        for choice in (0, 1, 2):  # a free place of its own; a free place; a place without this label
            key = (span, label if many_labels or choice == 2 else "", choice)
            while place := grounder.places(span).get(next_mention[key]):
                next_mention[key] += 1
                taken = labels_at[place[:2]]
                if label in taken or (taken and not many_labels and choice < 2):
                    continue
                if choice == 0 and not taken and within[place.start] and within[place.end - 1]:
                    continue
                return place
        return None

    placed: dict[int, Placed] = {}
    for index in sorted(range(len(answered)), key=lambda index: -len(answered[index].span)):
        label, span, piece = answered[index]
        if place := choose(label, span):
            labels_at[place[:2]].add(label)
            within[place.start : place.end] = b"\1" * (place.end - place.start)
            placed[index] = Placed(label, place, piece)
    return [placed[index] for index in sorted(placed)]


def near(answered: Sequence[Answered], grounder: Grounder, trigger: Place | None) -> list[Placed]:
    """Give each answer the place of its span that is nearest to the trigger and has not its label yet."""
    placed: dict[tuple[str, tuple[int, int]], Placed] = {}
    for label, span, piece in answered:
        places = _best(grounder, span)
        free = [place for place in places if (label, place[:2]) not in placed]
        if free:
            place = min(free, key=lambda place: _distance(place, trigger)) if trigger else free[0]
            placed[label, place[:2]] = Placed(label, place, piece)
    return list(placed.values())


def pairs(head: str, tail: str, grounder: Grounder) -> list[tuple[Place, Place]]:
    """The places of a relation's sides, nearest to each other first; empty where a side is not in the text."""
    found = product(_best(grounder, head), _best(grounder, tail))
    return sorted(found, key=lambda pair: (pair[0][:2] == pair[1][:2], _distance(*pair)))


def _best(grounder: Grounder, span: str) -> list[Place]:
    """The first places of a span that are found as exactly as the best of them."""
    places = grounder.places(span).first(_MOST_MENTIONS)
    return [place for place in places if place.grounding == places[0].grounding]


def _distance(one: Place, other: Place) -> int:
    """The characters between two places; 0 where they overlap."""
    return max(0, other.start - one.end, one.start - other.end)
