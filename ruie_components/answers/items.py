"""What the readers of both forms give: items as they were answered, before they are looked for in the text."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a model answered.

    ``spans`` holds one string in the linear form, where a relation's head and tail are still together, and one a span
    in the JSON form. An item without a label is a piece that could not be read.
    """

    label: str
    spans: tuple[str, ...]
    piece: str
    known: bool = True


@dataclass(frozen=True, slots=True)
class Reading:
    """The items of an answer, and whether it says that there are none."""

    items: tuple[Item, ...]
    says_nothing: bool = False
