"""Reads lines of an answer without ``label:``: tuples, tables, tags, ``span (label)``, ``label(head, tail)``."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise

from ruie_components.answers.label_matcher import LabelMatcher, skip_bullet
from ruie_components.types import Task

Row = tuple[str, tuple[str, ...], bool]
"""A label, its spans, and whether the label is in the schema."""

_GROUP = re.compile(r"[(\[<]([^()\[\]<>]*)[)\]>]")
_BETWEEN_GROUPS = re.compile(r"(?:\s|[,;.|*_`-]|and\b)*")
_BRACKET = re.compile(r"[()\[\]]")
_TAG = re.compile(
    r"<(?:\w{1,20} \w{1,20}=[\"']([^\"'<>]{1,80})[\"']|([^<>=/]{1,80}))>([^<>]+)</[^<>]{1,80}>"
    r"|\[([^\[\]]+)\]\(([^()]+)\)"
)
_ARROWS = r"\||<?-+\[:?|\]-+>|-{1,2}>| -{1,2}(?=\w)|\u2192|={1,2}>?"
_DASH = r" [-\u2013\u2014]+ "
_CELLS = re.compile(rf" ?(?:{_ARROWS}|[,;:\uff0c\uff1b\uff1a\u3001]) ?|{_DASH}")
_STRONG_CELLS = re.compile(rf" ?(?:{_ARROWS}) ?|{_DASH}")
_SEPARATED = re.compile(r"\s*(?:[,;&/|+]|and\b|or\b)")
_RULE_OF_TABLE = re.compile(r"[|\s:+=-]+")
_AROUND = "*_`\"'\u201c\u201d\u2018\u2019()[]<> \t"
_LONGEST = 1_000  # maximum characters of a line that is read as a tuple
_MOST_CELLS = 16
_MOST_KNOWN = 10_000  # lines whose rows are kept

_LABEL_COLUMNS = {
    *("type", "label", "role", "relation", "entity type", "event type", "relation type", "category", "class"),
    *("predicate", "relationship", "tag", "argument role"),
}
_SPAN_COLUMNS = {
    *("text", "span", "entity", "name", "mention", "value", "trigger", "word", "argument", "entity text"),
    *("entity name", "trigger word", "phrase"),
}
_HEAD_COLUMNS = {"head", "subject", "source", "entity 1", "entity1", "head entity", "arg1", "from"}
_TAIL_COLUMNS = {"tail", "object", "target", "entity 2", "entity2", "tail entity", "arg2", "to"}
_USUAL_COLUMNS = _LABEL_COLUMNS | _SPAN_COLUMNS | _HEAD_COLUMNS | _TAIL_COLUMNS


class LooseLines:
    """Reads lines without a leading label; remembers the columns of the current table."""

    def __init__(self, task: Task, matcher: LabelMatcher, contains: Callable[[str], bool]) -> None:
        self._pairs, self._matcher, self._contains = task is Task.RE, matcher, contains
        self._columns: list[str] | None = None
        self._known: dict[str, list[Row] | None] = {}  # rows of lines outside of tables: a model may repeat lines

    def read(self, line: str) -> list[Row] | None:
        """The rows of a line: empty for the header or rule of a table, None for any other line."""
        if len(line) > _LONGEST:
            return None
        if self._columns is None and line in self._known:
            return self._known[line]
        outside = self._columns is None
        rows = self._read(line)
        if outside and self._columns is None and len(self._known) < _MOST_KNOWN:
            self._known[line] = rows
        return rows

    def _read(self, line: str) -> list[Row] | None:
        bare = " ".join(line.replace("\t", " | ").split())
        if bare.startswith("|") or ("|" in bare and (self._columns or self._is_header(_cells(bare)))):
            rows = self._table_row(bare)
            if rows is not None:
                return rows
        else:
            self._columns = None
        bare = bare[skip_bullet(bare, 0, len(bare)) :].strip() if not bare.startswith(("(", "[", "<", "|")) else bare
        for read in (self._tags, self._groups, self._calls, self._labels_in_brackets, self._tuple, self._tuples):
            if rows := read(bare):
                return rows
        return None

    # tables

    def _table_row(self, line: str) -> list[Row] | None:
        cells = _cells(line)
        if _RULE_OF_TABLE.fullmatch(line):
            return []
        if self._columns is None:
            if self._is_header(cells):
                self._columns = _names(cells)
                return []
            self._columns = []
        if rows := self._row_by_columns(cells):
            return rows
        return [row] if (row := self._by_label(cells)) else None

    def _is_header(self, cells: list[str]) -> bool:
        labels = [self._matcher.plural(cell) for cell in cells]
        return sum(name in _USUAL_COLUMNS for name in _names(cells)) >= 2 or (len(cells) > 1 and all(labels))

    def _row_by_columns(self, cells: list[str]) -> list[Row]:
        if not self._columns or len(cells) != len(self._columns):
            return []
        labels = [self._matcher.plural(name) for name in self._columns]
        if all(labels) and not self._pairs:
            return [(label, (cell,), True) for label, cell in zip(labels, cells, strict=True) if label and cell]

        def column(names: set[str]) -> str | None:
            return next((cell for name, cell in zip(self._columns or (), cells, strict=True) if name in names), None)

        label = column(_LABEL_COLUMNS)
        sides = [column(_HEAD_COLUMNS), column(_TAIL_COLUMNS)] if self._pairs else [column(_SPAN_COLUMNS)]
        spans = tuple(side for side in sides if side)
        if label is None or len(spans) != 1 + self._pairs:
            return []
        known = self._matcher.known(label)
        return [(known or label, spans, known is not None)]

    # one line, one or several items

    def _groups(self, line: str) -> list[Row]:
        """``(Ada, works for, Corvex), (Ada, person)``."""
        parts = _GROUP.split(line)  # what is between the groups, and within them, in turn
        if len(parts) == 1 or _BETWEEN_GROUPS.fullmatch("".join(parts[::2])) is None:
            return []
        rows = [self._by_cells(within) for within in parts[1::2]]
        return [row for row in rows if row] if all(rows) else []

    def _calls(self, line: str) -> list[Row]:
        """``works for(Ada, Corvex); person(Ada)``."""
        rows: list[Row] = []
        for before, within in _bracketed(line):
            label = self._matcher.known(before.strip(" ,;*_`"))
            if label is None or not within.strip():
                return []
            rows.append((label, (within.strip(),), True))
        return rows

    def _tags(self, line: str) -> list[Row]:
        """``<person>Ada</person> met Bob``, ``<entity type="person">Ada</entity>``, ``[Ada](person) met Bob``."""
        if self._pairs or ("</" not in line and "](" not in line):
            return []
        rows: list[Row] = []
        for named, tag, tagged, linked, link in _TAG.findall(line):
            name = named or tag or link
            label = self._matcher.known(name)
            rows.append((label or name, (tagged or linked,), label is not None))
        return rows if any(known for _, _, known in rows) else []

    def _labels_in_brackets(self, line: str) -> list[Row]:
        """``Ada (person), Graz [city]``.

        Not where the text goes on between brackets, ``Ada (person) met Bob (person)``: the second span may begin
        anywhere.
        """
        rows: list[Row] = []
        parts = [] if self._pairs else _bracketed(line)
        for (one, _), (other, _) in pairwise(parts):
            words = one.split()[-1:]
            if not _SEPARATED.match(other) and words and self._contains(f"{words[0]} {other.strip()}"):
                return []
        for before, within in parts:
            label = self._matcher.known(within)
            span = before.strip(" ,;").removeprefix("and ").strip(" ,;*_`\"'\u201c\u201d")
            if label is None or not span:
                return []
            rows.append((label, (span,), True))
        return rows

    def _tuple(self, line: str) -> list[Row]:
        """``Ada -> works for -> Corvex``, ``Ada - person``, ``person = Ada``."""
        row = self._by_cells(line, strong=True) or self._by_cells(line)
        return [row] if row else []

    def _tuples(self, line: str) -> list[Row]:
        """Several tuples in a line: ``person = Ada, city = Graz``, ``Ada -> person; Graz -> city``."""
        for separator in ("; ", ", "):
            rows = [self._by_cells(part, strong=True) or self._by_cells(part) for part in line.split(separator)]
            if len(rows) > 1 and all(rows):
                return [row for row in rows if row]
        return []

    def _by_cells(self, line: str, *, strong: bool = False) -> Row | None:
        cells = (_STRONG_CELLS if strong else _CELLS).split(line, _MOST_CELLS)
        return self._by_label([cell.strip(_AROUND) for cell in cells])

    def _by_label(self, cells: list[str]) -> Row | None:
        """The row of cells, one of which is a label."""
        if len(cells) != 2 + self._pairs:
            return None
        known = [i for i, cell in enumerate(cells) if cell and self._matcher.known(cell)]
        if len(known) > 1:
            free = [i for i in known if not self._contains(cells[i])]
            known = free if len(free) == 1 else [i for i in known if i == (1 if self._pairs else len(cells) - 1)]
        if len(known) != 1:
            return None
        label = self._matcher.known(cells[known[0]])
        rest = [cell for i, cell in enumerate(cells) if i != known[0]]
        if label is None or not all(rest):
            return None
        return label, tuple(rest), True


def _cells(line: str) -> list[str]:
    return [cell.strip(_AROUND) for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def _names(cells: list[str]) -> list[str]:
    return [cell.casefold().replace("_", " ") for cell in cells]


def _bracketed(line: str) -> list[tuple[str, str]]:
    """The parts of ``a (b), c [d]`` as pairs; none where brackets nest, don't close, or something follows them."""
    brackets = _BRACKET.findall(line)
    kinds = "".join(brackets).replace("[", "(").replace("]", ")")
    if not brackets or kinds != "()" * (len(brackets) // 2):
        return []
    *parts, rest = _BRACKET.split(line)
    return list(zip(parts[::2], parts[1::2], strict=True)) if not rest.strip(" .,;*_`") else []
