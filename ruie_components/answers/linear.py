"""Reads the items of an answer in the linear format, ``type: span; type: span``, and its many variants."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.entities import html5

from ruie_components.answers.items import Item, ParsedAnswer
from ruie_components.answers.label_matcher import (
    LabelMatch,
    LabelMatcher,
    is_nothing_sentence,
    says_nothing,
    skip_bullet,
    unknown_at,
)
from ruie_components.answers.loose_lines import LooseLines
from ruie_components.types import LINE_BREAKS, Task

_HTML_ENTITY = "&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});"
_SEPARATOR = re.compile(f"{_HTML_ENTITY}|[;\uff1b{LINE_BREAKS}]")
_RULES = " \t`~-=_*#|>.:"  # a line of only these is a separator: a rule, an empty bullet, a code fence
_FENCE = re.compile(r"```\w{0,20}")
_MARKUP = "*_`\"'# \t"
_SEMICOLONS = (";", "\uff1b")


@dataclass(slots=True)
class _Open:
    """An item that later segments may continue."""

    head: LabelMatch
    start: int
    end: int


class _Reader:
    def __init__(self, text: str, task: Task, matcher: LabelMatcher, contains: Callable[[str], bool]) -> None:
        self._text, self._matcher, self._contains = text, matcher, contains
        self._loose = LooseLines(task, matcher, contains)
        self._pairs = task is Task.RE
        self._open: _Open | None = None
        self._header: LabelMatch | None = None  # a label alone on its line, for the lines below it
        self.items: list[Item] = []
        self.nothing = False

    def _add(self, label: str, spans: tuple[str, ...], start: int, end: int, *, known: bool = True) -> None:
        raw = self._text[start:end].lstrip()
        start = end - len(raw)
        raw = raw.rstrip()
        self.items.append(Item(label, spans, raw, known, (start, start + len(raw))))

    def close(self) -> None:
        if self._open is None:
            return
        head, start, end = self._open.head, self._open.start, self._open.end
        body = self._text[head.body : end].strip()
        if body.strip(_MARKUP):
            self._close_item(head, body, start, end)
        self._open = None

    def _close_item(self, head: LabelMatch, body: str, start: int, end: int) -> None:
        if not head.known and not self._pairs and (label := self._matcher.known(body.rstrip(". "))):
            self._add(label, (head.label,), start, end)  # "Ada: person"
        elif not head.known and (rows := self._loose.read(self._text[start:end])):
            for label, spans, known in rows:
                self._add(label, spans, start, end, known=known)
        else:
            self._add(head.label, (body,), start, end, known=head.known)

    def drop(self) -> None:
        self._open = None

    def line(self, start: int, end: int) -> bool:
        """Read a whole line without a leading label; False if its segments must be read one by one."""
        bare = self._text[start:end].strip()
        if not bare or not (self._matcher.may_be_in(bare) or "|" in bare) or self._matcher.at(self._text, start, end):
            return False
        name = bare[skip_bullet(bare, 0, len(bare)) :].rstrip(":\uff1a \t*_`")
        if label := self._matcher.plural(name):
            self._header = LabelMatch(label, known=True, body=end)  # "**Person**", "## Persons:"
            return True
        rows = self._loose.read(bare)
        if rows is None or (rows and self._header and self._contains(name)):
            return False
        for row_label, spans, known in rows:
            self._add(row_label, spans, start, end, known=known)
        return True

    def line_start(self, start: int, end: int) -> None:
        self.close()
        head = None
        if self._matcher.may_begin(self._text, start, end):
            head = self._matcher.at(self._text, start, end) or self._matcher.within(self._text, start, end)
            head = head or (None if self._header else unknown_at(self._text, start, end))
        if head:
            self._header = None
            self._begin(head, start, end)
        else:
            self._unlabelled(start, end)

    def line_end(self) -> None:
        if self._open and not self._text[self._open.head.body : self._open.end].strip(_MARKUP):
            self._header = self._open.head if self._open.head.known else None
            self._open = None

    def go_on(self, start: int, end: int, *, at_semicolon: bool) -> None:
        """A segment after a semicolon: a new item, or the rest of a span that contains a semicolon."""
        blank = not self._text[start:end].strip()
        if self._open and start < self._open.head.body:  # the label itself has this semicolon
            self._open.end = end
        elif self._open is None:
            if not blank:
                self.line_start(start, end)
        elif not blank:
            self._add_segment(self._open, start, end)
        elif start == end == self._open.end + 1 and at_semicolon and self._contains(self._body(self._open, start)):
            self._open.end = start  # ";;", and the text has the span with a semicolon at its end

    def _add_segment(self, item: _Open, start: int, end: int) -> None:
        head = self._matcher.at(self._text, start, end) or unknown_at(self._text, start, end)
        if head is None or (not head.known and self._contains(self._body(item, end))):
            item.end = end
        else:
            self.close()
            self._begin(head, start, end)

    def _body(self, item: _Open, end: int) -> str:
        return self._text[item.head.body : end].strip()

    def _begin(self, head: LabelMatch, start: int, end: int) -> None:
        if not head.known:
            body = self._text[head.body : end]
            if says_nothing(body) or is_nothing_sentence(body):  # "Answer: None"
                self.nothing = True
                return
        self._open = _Open(head, start, end)

    def _unlabelled(self, start: int, end: int) -> None:
        line = self._text[start:end].strip()
        if says_nothing(line) and not self._header:
            self.nothing = True
        elif not line.strip(_RULES) or line.endswith((":", "\uff1a")) or (line[0] == "`" and _FENCE.fullmatch(line)):
            return
        elif self._header and not is_nothing_sentence(line):
            span = self._text[skip_bullet(self._text, start, end) : end].strip()
            self._add(self._header.label, (span,), start, end)
        elif is_nothing_sentence(line):
            self.nothing = True
        else:
            self._add("", (), start, end, known=False)


def _segments(text: str) -> Iterator[tuple[bool, int, int, str]]:
    """Whether a line begins, start, end, and the separator after the segment. HTML entities separate nothing."""
    start, new_line = 0, True
    for separator in _SEPARATOR.finditer(text):
        end, next_start = separator.span()
        written = separator[0]
        if len(written) > 1:
            if written[1] == "#" or written[1:] in html5:
                continue
            end = next_start - 1
            written = ";"
        yield new_line, start, end, written
        start, new_line = next_start, written not in _SEMICOLONS
    yield new_line, start, len(text), ""


_LINE_END = re.compile(f"[{LINE_BREAKS}]|$(?!.)", re.DOTALL)


def read_items(
    text: str, task: Task, matcher: LabelMatcher, contains: Callable[[str], bool], *, partial: bool = False
) -> ParsedAnswer:
    """Read an answer in the linear format.

    A span may contain semicolons: an item ends only where a label of the schema with its colon follows, or text that
    looks like a label of another schema, unless the input contains both parts literally. Lines without a leading label
    are read as tuples, table rows or ``span (label)`` if possible; a label alone on its line is the heading of the
    lines below it.

    Args:
        text: The answer.
        task: The task.
        matcher: Matches the labels of the schema.
        contains: Whether the text has exactly these characters.
        partial: The answer is still being written: everything after the last certainly finished item is left out.

    Returns:
        The items in the order of the answer.
    """
    reader = _Reader(text, task, matcher, contains)
    skip = 0  # a line that was read as a whole ends here
    for new_line, start, end, separator in _segments(text):
        if start < skip:
            continue
        last = separator == ""
        if new_line and partial and last:
            break
        ends_line = separator not in _SEMICOLONS
        if new_line:
            stop = end
            if not ends_line:
                match = _LINE_END.search(text, end)
                stop = match.start() if match else len(text)
            if not (partial and stop == len(text)) and reader.line(start, stop):
                skip = stop + 1
                continue
            if not text[start:end].isspace() and start < end:
                reader.line_start(start, end)
        else:
            reader.go_on(start, end, at_semicolon=not ends_line)
        if partial and last:
            reader.drop()
        elif ends_line:
            reader.line_end()
            reader.close()
    return ParsedAnswer(tuple(reader.items), says_nothing=reader.nothing)
