"""Markdown tables as answers: a row is an item, a cell with a label of the schema says which."""

from __future__ import annotations

import re

from ruie_components.answers.items import Item
from ruie_components.answers.keys import HEAD, LABEL, SPAN, TAIL, kind_of_key
from ruie_components.answers.label_matcher import LabelMatcher

_RULE = re.compile(r"\s*\|?(?:\s*:?-+:?\s*\|)+\s*:?-*:?\s*")
_AROUND = "*_`\"' \t"


def is_table_line(line: str) -> bool:
    """Whether a line can be a row of a table: it starts with a bar and has another.

    >>> is_table_line("| Ada | person |"), is_table_line("Ada | person")
    (True, False)
    """
    bare = line.strip()
    return bare.startswith("|") and bare.count("|") >= 2


class TableReader:
    """Reads the lines of one table.

    Args:
        labels: The labels of the schema.
        sides: How many spans an item has: 2 for relations, else 1.
    """

    def __init__(self, labels: LabelMatcher, sides: int) -> None:
        self._labels, self._sides = labels, sides
        self._kinds: list[str | None] | None = None  # of the columns, from the heading

    def row(self, line: str) -> Item | None:
        """The item of a line; None for the heading and the rule below it."""
        if _RULE.fullmatch(line):
            return None
        cells = [cell.strip(_AROUND) for cell in line.strip().strip("|").split("|")]
        kinds = [kind_of_key(cell) for cell in cells]
        if self._kinds is None and LABEL in kinds and not any(map(self._labels.known, cells)):
            self._kinds = kinds
            return None
        return self._item(cells, line.strip())

    def _item(self, cells: list[str], raw: str) -> Item:
        kinds: list[str | None] = [None] * len(cells)
        if self._kinds and len(self._kinds) == len(cells):
            kinds = self._kinds
        index = kinds.index(LABEL) if LABEL in kinds else None
        if index is None:
            index = next((i for i, cell in enumerate(cells) if self._labels.known(cell)), None)
        if index is None:
            return Item("", (), raw, known=False)
        wanted = (HEAD, TAIL) if self._sides == 2 else (SPAN,)
        if all(kind in kinds for kind in wanted):
            spans = [cells[kinds.index(kind)] for kind in wanted]
        else:
            spans = [cell for i, cell in enumerate(cells) if i != index and cell and not cell.isdigit()][: self._sides]
        if len(spans) != self._sides or not all(spans):
            return Item("", (), raw, known=False)
        label = self._labels.known(cells[index])
        return Item(label or cells[index], tuple(spans), raw, known=label is not None)
