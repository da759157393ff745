"""The items of an answer as a model wrote them, before their spans are matched with the text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

Offsets = tuple[int, int]
"""Start (inclusive) and end (exclusive), in code points."""


class Item(NamedTuple):
    """One item of a raw answer.

    Attributes:
        label: The label of the schema, or another label as written; empty for text that is not an item.
        spans: One string in the linear format, where a relation's head and tail are still joined; one string a span
            in the JSON format.
        raw: The part of the answer from which the item was read.
        known: Whether the label is in the schema.
        answer_range: Where ``raw`` begins and ends in the answer.
        offsets: For each span the offsets that the answer gives, or None.
        superseded: The item belongs to a draft that a later part of the answer replaces.
    """

    label: str
    spans: tuple[str, ...]
    raw: str
    known: bool = True
    answer_range: Offsets = (0, 0)
    offsets: tuple[Offsets | None, ...] = ()
    superseded: bool = False

    def moved(self, by: int) -> Item:
        """The item in an answer that has so many characters more before it."""
        label, spans, raw, known, (start, end), offsets, superseded = self  # several times as fast as _replace
        return Item(label, spans, raw, known, (start + by, end + by), offsets, superseded)


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """The items of an answer in its order, and whether the answer states that there are none."""

    items: tuple[Item, ...]
    says_nothing: bool = False

    @property
    def has_known_labels(self) -> bool:
        """Whether an item has a label of the schema."""
        return any(item.known for item in self.items)
