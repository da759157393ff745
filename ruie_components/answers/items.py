"""What the readers of both formats return: items as the model wrote them, before they are grounded in the text."""

from __future__ import annotations

from dataclasses import dataclass

Offsets = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Item:
    """One item of an answer.

    Attributes:
        label: The label of the schema, or the unknown one as it was written. Empty for a part that cannot be read.
        spans: One string in the linear format, where a relation's head and tail are still together; one for each span
            in the JSON format.
        raw: The part of the answer that it was read from.
        known: Whether the label is in the schema.
        offsets: For each span the offsets that the answer gives, or None.
        superseded: Whether it is part of a draft that a later part of the answer replaces.
    """

    label: str
    spans: tuple[str, ...]
    raw: str
    known: bool = True
    offsets: tuple[Offsets | None, ...] = ()
    superseded: bool = False


@dataclass(frozen=True, slots=True)
class ParsedAnswer:
    """The items of an answer, and whether it says that there are none."""

    items: tuple[Item, ...]
    says_nothing: bool = False
