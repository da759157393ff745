"""The linear form, ``type: span; type: span``, in the many ways in which small models write it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ruie_components.answers.items import Item, Reading
from ruie_components.answers.labels import Labelled, Labels, says_nothing, skip_bullet, unknown_at
from ruie_components.types import LINE_BREAKS

_SEPARATOR = re.compile(f"[;\uff1b{LINE_BREAKS}]")
_RULES = " \t`~-=_*#|>."  # lines of these alone part things: rules, empty bullets, code fences
_FENCE = re.compile(r"```\w{0,20}")


@dataclass
class _Open:
    """An item that later segments may go on with."""

    head: Labelled
    start: int
    end: int


class _Reader:
    def __init__(self, text: str, labels: Labels, holds: Callable[[str], bool]) -> None:
        self._text, self._labels, self._holds = text, labels, holds
        self._open: _Open | None = None
        self._header: Labelled | None = None  # a label alone on its line, for the lines below it
        self.items: list[Item] = []
        self.nothing = False

    def close(self) -> None:
        if self._open is None:
            return
        head, start, end = self._open.head, self._open.start, self._open.end
        body = self._text[head.body : end].strip()
        if body.strip("*_`\"' \t"):
            self.items.append(Item(head.label, (body,), self._text[start:end].strip(), known=head.known))
        self._open = None

    def drop(self) -> None:
        self._open = None

    def line_start(self, start: int, end: int) -> None:
        self.close()
        head = self._labels.at(self._text, start, end) or self._labels.within(self._text, start, end)
        head = head or (None if self._header else unknown_at(self._text, start, end))
        if head:
            self._header = None
            self._begin(head, start, end)
        else:
            self._unlabelled(start, end)

    def line_end(self) -> None:
        if self._open and not self._text[self._open.head.body : self._open.end].strip("*_`\"' \t"):
            self._header = self._open.head if self._open.head.known else None
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

    def _add_segment(self, item: _Open, start: int, end: int) -> None:
        head = self._labels.at(self._text, start, end) or unknown_at(self._text, start, end)
        if head is None or (not head.known and self._holds(self._body(item, end))):
            item.end = end
        else:
            self.close()
            self._begin(head, start, end)

    def _body(self, item: _Open, end: int) -> str:
        return self._text[item.head.body : end].strip()

    def _begin(self, head: Labelled, start: int, end: int) -> None:
        if not head.known and says_nothing(self._text[head.body : end]):  # "Answer: None"
            self.nothing = True
        else:
            self._open = _Open(head, start, end)

    def _unlabelled(self, start: int, end: int) -> None:
        piece = self._text[start:end].strip()
        if says_nothing(piece) and not self._header:
            self.nothing = True
        elif not piece.strip(_RULES) or _FENCE.fullmatch(piece) or piece.endswith((":", "\uff1a")):
            return
        elif self._header:
            span = self._text[skip_bullet(self._text, start, end) : end].strip()
            self.items.append(Item(self._header.label, (span,), piece))
        else:
            self.items.append(Item("", (), piece, known=False))


def _segments(text: str) -> Iterator[tuple[bool, int, int, str]]:
    """Whether a line begins, start, end, and the separator behind the segment."""
    start, new_line = 0, True
    for separator in _SEPARATOR.finditer(text):
        yield new_line, start, separator.start(), separator[0]
        start, new_line = separator.end(), separator[0] not in ";\uff1b"
    yield new_line, start, len(text), ""


def read(text: str, labels: Labels, holds: Callable[[str], bool], *, partial: bool = False) -> Reading:
    """Read an answer in the linear form.

    A span may hold semicolons: an item ends only where a label of the schema with its colon follows, or what looks
    like a label of another schema and the text does not hold both pieces as they stand.

    Args:
        text: The answer.
        labels: The labels of the schema.
        holds: Whether the very characters stand in the input.
        partial: The answer is still being written: what stands behind the last item that is surely finished is
            left out.

    Returns:
        The items in the order of the answer.
    """
    reader = _Reader(text, labels, holds)
    for new_line, start, end, separator in _segments(text):
        last = separator == ""
        if new_line and partial and last:
            break
        if new_line:
            if text[start:end].strip():
                reader.line_start(start, end)
        else:
            reader.go_on(start, end, at_semicolon=separator in (";", "\uff1b"))
        if partial and last:
            reader.drop()
        elif separator not in (";", "\uff1b"):
            reader.line_end()
            reader.close()
    return Reading(tuple(reader.items), says_nothing=reader.nothing)
