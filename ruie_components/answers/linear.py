"""The linear format, ``type: span; type: span``, in the many ways in which small models write it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ruie_components.answers.items import Item, ParsedAnswer
from ruie_components.answers.label_matcher import LabelMatch, LabelMatcher, says_nothing, skip_bullet, unknown_at
from ruie_components.answers.tables import TableReader, is_table_line
from ruie_components.types import LINE_BREAKS

_SEPARATOR = re.compile(f"[;\uff1b{LINE_BREAKS}]")
_RULES = " \t`~-=_*#|>."  # lines of these alone separate things: rules, empty bullets, code fences
_FENCE = re.compile(r"```\w{0,20}")
_TAG = re.compile(r"</?(?:answer|output|result|response|final|final_answer)>", re.IGNORECASE)


@dataclass
class _OpenItem:
    """An item that later segments may continue."""

    head: LabelMatch
    start: int
    end: int


class _Reader:
    def __init__(self, text: str, labels: LabelMatcher, holds: Callable[[str], bool], sides: int) -> None:
        self._text, self._labels, self._holds, self._sides = text, labels, holds, sides
        self._open: _OpenItem | None = None
        self._heading: LabelMatch | None = None  # a label alone on its line, for the lines below it
        self._table: TableReader | None = None
        self.items: list[Item] = []
        self.nothing = False

    def close(self) -> None:
        if self._open is None:
            return
        head, start, end = self._open.head, self._open.start, self._open.end
        body = self._text[head.body : end].strip()
        if body.strip("*_`\"' \t"):
            self.items.append(self._item(head, body, self._text[start:end].strip()))
        self._open = None

    def _item(self, head: LabelMatch, body: str, raw: str) -> Item:
        # "Ada: person", the other way round
        if not head.known and self._sides == 1 and (label := self._labels.known(body)) and self._holds(head.label):
            return Item(label, (head.label,), raw)
        return Item(head.label, (body,), raw, known=head.known)

    def drop(self) -> None:
        self._open = None

    def line_start(self, start: int, end: int) -> None:
        self.close()
        head = self._labels.at(self._text, start, end) or self._labels.within(self._text, start, end)
        head = head or (None if self._heading else unknown_at(self._text, start, end))
        if head:
            self._heading = None
            self._begin(head, start, end)
        else:
            self._unlabelled(start, end)

    def table_line(self, start: int, end: int) -> bool:
        """Read a line as a row of a table, if it is one."""
        line = self._text[start:end]
        if not is_table_line(line):
            self._table = None
            return False
        self.close()
        self._table = self._table or TableReader(self._labels, self._sides)
        if item := self._table.row(line):
            self.items.append(item)
        return True

    def line_end(self) -> None:
        if self._open and not self._text[self._open.head.body : self._open.end].strip("*_`\"' \t"):
            self._heading = self._open.head if self._open.head.known else None
            self._open = None

    def go_on(self, start: int, end: int, *, at_semicolon: bool) -> None:
        """A segment behind a semicolon: a new item, or the rest of a span that holds a semicolon."""
        blank = not self._text[start:end].strip()
        if self._open and start < self._open.head.body:  # the label itself holds this semicolon
            self._open.end = end
        elif self._open is None:
            if not blank:
                self.line_start(start, end)
        elif not blank:
            self._add_segment(self._open, start, end)
        elif start == end == self._open.end + 1 and at_semicolon and self._holds(self._body(self._open, start)):
            self._open.end = start  # ";;", and the text has the span with a semicolon at its end

    def _add_segment(self, item: _OpenItem, start: int, end: int) -> None:
        head = self._labels.at(self._text, start, end) or unknown_at(self._text, start, end)
        if head is None or (not head.known and self._holds(self._body(item, end))):
            item.end = end
        else:
            self.close()
            self._begin(head, start, end)

    def _body(self, item: _OpenItem, end: int) -> str:
        return self._text[item.head.body : end].strip()

    def _begin(self, head: LabelMatch, start: int, end: int) -> None:
        if not head.known and says_nothing(self._text[head.body : end]):  # "Answer: None"
            self.nothing = True
        else:
            self._open = _OpenItem(head, start, end)

    def _unlabelled(self, start: int, end: int) -> None:
        raw = self._text[start:end].strip()
        if heading := self._labels.alone(self._text, start, end):
            self._heading = heading
        elif says_nothing(raw) and not self._heading:
            self.nothing = True
        elif not raw.strip(_RULES) or _FENCE.fullmatch(raw) or raw.endswith((":", "\uff1a")):
            return
        elif self._heading:
            span = self._text[skip_bullet(self._text, start, end) : end].strip()
            self.items.append(Item(self._heading.label, (span,), raw))
        elif self._sides == 1 and (behind := self._labels.behind(self._text, start, end)):
            label, span = behind
            self.items.append(Item(label, (span,), raw))
        else:
            self.items.append(Item("", (), raw, known=False))


def _segments(text: str) -> Iterator[tuple[bool, int, int, str]]:
    """Whether a line starts, start, end, and the separator behind the segment."""
    start, new_line = 0, True
    for separator in _SEPARATOR.finditer(text):
        yield new_line, start, separator.start(), separator[0]
        start, new_line = separator.end(), separator[0] not in ";\uff1b"
    yield new_line, start, len(text), ""


def read(
    text: str, labels: LabelMatcher, holds: Callable[[str], bool], *, sides: int = 1, partial: bool = False
) -> ParsedAnswer:
    """Read an answer in the linear format.

    A span may hold semicolons: an item ends only where a label of the schema with its colon follows, or what looks
    like a label of another schema and the text does not hold both pieces as they stand.

    Also read are headings with lists below them, Markdown tables, and labels behind their spans: ``Ada (person)``.

    Args:
        text: The answer.
        labels: The labels of the schema.
        holds: Whether the input holds these very characters.
        sides: How many spans an item has: 2 for relations, else 1.
        partial: The answer is still being written: what follows the last item that is surely finished is left out.

    Returns:
        The items in the order of the answer.
    """
    if "<" in text and not any(map(holds, {tag.lower() for tag in _TAG.findall(text)})):
        text = _TAG.sub(lambda tag: "\n" + " " * (len(tag[0]) - 1), text)  # of the same length, so that nothing moves
    reader = _Reader(text, labels, holds, sides)
    for new_line, start, end, separator in _segments(text):
        last = separator == ""
        if new_line and partial and last:
            break
        line_goes_on = separator in (";", "\uff1b")
        if new_line and not line_goes_on and reader.table_line(start, end):
            continue
        if new_line:
            if text[start:end].strip():
                reader.line_start(start, end)
        else:
            reader.go_on(start, end, at_semicolon=line_goes_on)
        if partial and last:
            reader.drop()
        elif not line_goes_on:
            reader.line_end()
            reader.close()
    return ParsedAnswer(tuple(reader.items), says_nothing=reader.nothing)
