"""Reads the items of an answer in the linear format, ``type: span; type: span``, and its many variants."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.entities import html5
from typing import NamedTuple, TypeVar

from ruie_components.answers.items import Item, ParsedAnswer
from ruie_components.answers.json_keys import LABEL_RANKS, PAIR_NAMES, SPAN_NAMES, key_name
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
_SPACE = re.compile(r"[ \t]*")
_KEYED = re.compile(r"(?P<key>[^\W\d_](?:\w|[ -](?=\w)){0,24})[*_`\"']{0,3} ?[:\uff1a][*_`\"' \t]{0,4}(?=\S)")
_TYPED = re.compile(rf"{_KEYED.pattern}(?P<label>.{{1,200}})")
_SPAN_KEYS = frozenset((*SPAN_NAMES, *PAIR_NAMES))
_SENTENCE_ENDS = (".", "!", "?", "\u3002", "\uff01", "\uff1f")
_MOST_WORDS = 12  # of a span that is not in the text
_OTHER_LABEL = re.compile(r"[\w/&-]+(?: [\w/&-]+){0,5}")  # words of a label that is not in the schema
_MARK = re.compile(r"(#){1,6}[ \t]|(\*)\*(?=[^*])[^\n]*\*\*[:\uff1a]?$|[^\n]*(:)[*_]{0,2}$")
_MOST_KNOWN, _LONGEST_KNOWN = 10_000, 1_000  # segments that are remembered, and their longest, in characters

_Value = TypeVar("_Value")


@dataclass(slots=True)
class _Open:
    """An item that later segments may continue; its span begins at ``body``."""

    label: str
    known: bool
    body: int
    start: int
    end: int


class _Header(NamedTuple):
    """The label of the lines below it."""

    label: str
    known: bool = True
    key: str = ""  # before the label, as in "Type: person"
    mark: str = ""  # "#" or "*" of Markdown, or ":"


class _Loose(NamedTuple):
    """A line that may be a heading, a tuple or the row of a table."""

    bare: str
    name: str  # without bullet, colon and bold
    heading: _Header | None  # what it consists of


class _Words(NamedTuple):
    """What a segment without a label is."""

    says_nothing: bool
    is_sentence: bool  # in a sentence
    is_markup: bool  # a rule, an empty bullet, a code fence, or an announcement that ends in a colon


class _Reader:
    def __init__(self, text: str, task: Task, matcher: LabelMatcher, contains: Callable[[str], bool]) -> None:
        self._text, self._matcher, self._contains = text, matcher, contains
        self._loose = LooseLines(task, matcher, contains)
        self._pairs = task is Task.RE
        self._open: _Open | None = None
        self._header: _Header | None = None
        self._before_header = 0  # how many items were read before the header
        self._spans_first = False  # types follow their spans: "1. Ada", and below it "Type: person"
        self._loose_lines: dict[str, _Loose | None] = {}
        self._line_heads: dict[str, LabelMatch | None] = {}
        self._segment_heads: dict[str, LabelMatch | None] = {}
        self._words: dict[str, _Words] = {}
        self.items: list[Item] = []
        self.nothing = False

    def _remember(self, known: dict[str, _Value], start: int, end: int, read: Callable[[int, int], _Value]) -> _Value:
        """What a function reads of a segment; looked up if the segment repeats, as in a model's endless repetition."""
        if end - start > _LONGEST_KNOWN or self._matcher.has_semicolons:  # then a label may extend beyond the segment
            return read(start, end)
        segment = self._text[start:end]
        if segment in known:
            return known[segment]
        value = read(start, end)
        if len(known) < _MOST_KNOWN:
            known[segment] = value
        return value

    def _add(self, label: str, spans: tuple[str, ...], start: int, end: int, *, known: bool = True) -> None:
        raw = self._text[start:end].lstrip()
        start = end - len(raw)
        raw = raw.rstrip()
        self.items.append(Item(label, spans, raw, known, (start, start + len(raw))))

    def close(self) -> None:
        item, self._open = self._open, None
        if item is None:
            return
        body = self._text[item.body : item.end].strip()
        if body.strip(_MARKUP):
            self._close_item(item, body)

    def _close_item(self, item: _Open, body: str) -> None:
        start, end = item.start, item.end
        if item.known:
            self._add(item.label, (body,), start, end)
        elif not self._pairs and (label := self._matcher.known(body.rstrip(". "))):
            self._add(label, (item.label,), start, end)  # "Ada: person"
        elif rows := self._loose.read(self._text[start:end]):
            for label, spans, known in rows:
                self._add(label, spans, start, end, known=known)
        else:
            self._add(item.label, (body,), start, end, known=False)

    def drop(self) -> None:
        self._open = None

    def line(self, start: int, end: int) -> bool:
        """Read a whole line without a leading label; False if its segments must be read one by one."""
        line = self._remember(self._loose_lines, start, end, self._loose_line)
        if line is None:
            return False
        if line.heading and line.heading.key:
            return self._typed(line.heading, start, end)
        if line.heading:
            self._set_header(line.heading)
            return True
        rows = self._loose.read(line.bare)
        if rows is None or (rows and self._header and self._contains(line.name)):
            return False
        for label, spans, known in rows:
            self._add(label, spans, start, end, known=known)
        return True

    def _loose_line(self, start: int, end: int) -> _Loose | None:
        bare = self._text[start:end].strip()
        if not bare:
            return None
        name = bare[skip_bullet(bare, 0, len(bare)) :].rstrip(":\uff1a \t*_`")
        typed = self._typed_heading(name)
        if not (typed or self._matcher.may_be_in(bare) or "|" in bare) or self._matcher.at(self._text, start, end):
            return None
        label = self._matcher.plural(name)  # "**Person**", "## Persons:"
        return _Loose(bare, name, _Header(label, mark=_mark(bare)) if label else typed)

    def _typed_heading(self, name: str) -> _Header | None:
        """The heading of a line such as ``Type: person``; none if its key may be a span: ``Class: product``."""
        typed = _TYPED.fullmatch(name)
        if typed is None or key_name(typed["key"]) not in LABEL_RANKS or self._contains(typed["key"]):
            return None
        label = self._matcher.plural(typed["label"])
        if label is None and (says_nothing(typed["label"]) or not _OTHER_LABEL.fullmatch(typed["label"])):
            return None
        return _Header(label or typed["label"], label is not None, typed["key"])

    def _typed(self, heading: _Header, start: int, end: int) -> bool:
        """Read ``Type: person``: a heading, or the label of the span above it; False if it is neither.

        Below a span it is no heading, as the next span would get its label.
        """
        above = self.items[-1] if self.items and self._header is None else None
        if above and not above.known and self._may_be_span(above):
            self._spans_first = True
            return self._label_above(above, heading, start, end)
        if self._spans_first or (self._header and not self._header.key and not heading.known):
            return False
        if not heading.known:
            self._add(heading.key, (heading.label,), start, end, known=False)
        self._set_header(heading)
        return True

    def _set_header(self, header: _Header | None) -> None:
        self._header, self._before_header = header, len(self.items)

    def _may_be_span(self, item: Item) -> bool:
        """Whether an item that is no result may be a span: it is in the text, or a few words that end no sentence."""
        if item.label:
            return key_name(item.label) in _SPAN_KEYS
        if len(item.raw) > _LONGEST_KNOWN:
            return False
        is_sentence = item.raw.endswith(_SENTENCE_ENDS) or len(item.raw.split()) > _MOST_WORDS
        return not is_sentence or self._contains(_bare(item.raw))

    def _label_above(self, above: Item, heading: _Header, start: int, end: int) -> bool:
        """Label the span of the line above, if that has a bullet, and the label's line is indented more, or bold."""
        first, last = above.answer_range
        marks = above.raw[: skip_bullet(above.raw, 0, len(above.raw))].rstrip()
        is_below = self._text.count("\n", last, start) == 1 and not self._text[last:start].strip()
        belongs = marks.endswith(("*", "_", "#")) and len(marks) > 1
        belongs = belongs or (bool(marks) and _indent(self._text, start) > _indent(self._text, first))
        if above.label or self._pairs or not (is_below and belongs):
            return False
        self.items.pop()
        self._add(heading.label, (_bare(above.raw),), first, end, known=heading.known)
        return True

    def line_start(self, start: int, end: int) -> None:
        self.close()
        head = self._remember(self._line_heads, start, end, self._line_head)
        if head and (head.known or not self._header):
            self._header = None
            self._begin(head, start, end)
        else:
            self._unlabelled(start, end)

    def _line_head(self, start: int, end: int) -> LabelMatch | None:
        """The label that a line begins with, maybe after a preface; ``body`` counts from the line's start."""
        if not self._matcher.may_begin(self._text, start, end):
            return None
        head = self._matcher.at(self._text, start, end) or self._matcher.within(self._text, start, end)
        return _counted_from(start, head or unknown_at(self._text, start, end))

    def line_end(self) -> None:
        if self._open and not self._text[self._open.body : self._open.end].strip(_MARKUP):
            line = self._text[self._open.start : self._open.end]
            self._set_header(_Header(self._open.label, mark=_mark(line.strip())) if self._open.known else None)
            self._open = None

    def go_on(self, start: int, end: int, *, at_semicolon: bool) -> None:
        """A segment after a semicolon: a new item, or the rest of a span that contains a semicolon."""
        blank = not self._text[start:end].strip()
        item = self._open
        if item and start < item.body:  # the label itself has this semicolon
            item.end = end
        elif item is None:
            if not blank:
                self.line_start(start, end)
        elif not blank:
            self._add_segment(item, start, end)
        elif start == end == item.end + 1 and at_semicolon and self._contains(self._body(item, start)):
            item.end = start  # ";;", and the text has the span with a semicolon at its end

    def _add_segment(self, item: _Open, start: int, end: int) -> None:
        head = self._remember(self._segment_heads, start, end, self._segment_head)
        if head is None or (not head.known and self._contains(self._body(item, end))):
            item.end = end
        else:
            self.close()
            self._begin(head, start, end)

    def _segment_head(self, start: int, end: int) -> LabelMatch | None:
        """The label that a segment begins with; ``body`` counts from the segment's start."""
        return _counted_from(start, self._matcher.at(self._text, start, end) or unknown_at(self._text, start, end))

    def _body(self, item: _Open, end: int) -> str:
        return self._text[item.body : end].strip()

    def _begin(self, head: LabelMatch, start: int, end: int) -> None:
        if not head.known:
            body = self._text[start + head.body : end]
            if says_nothing(body) or is_nothing_sentence(body):  # "Answer: None"
                self.nothing = True
                return
        self._open = _Open(head.label, head.known, start + head.body, start, end)

    def _unlabelled(self, start: int, end: int) -> None:
        words = self._remember(self._words, start, end, self._read_words)
        if words.says_nothing and not (self._header and self._header.known):
            self.nothing = self.nothing or self._header is None
        elif self._header and self._is_other_heading(self._header, start, end):
            line = self._text[start:end].strip()
            self._add("", (), start, end, known=False)
            self._set_header(_Header(_bare(line), known=False, mark=_mark(line)))
        elif words.is_markup:
            return
        elif words.is_sentence:
            self.nothing = True
        elif self._header:
            span = self._without_key(self._text[skip_bullet(self._text, start, end) : end].strip())
            self._add(self._header.label, (span,), start, end, known=self._header.known)
        else:
            self._add("", (), start, end, known=False)

    def _is_other_heading(self, header: _Header, start: int, end: int) -> bool:
        """Whether a line is a heading that is no label of the schema, and is marked as the header is: ``**Other**``."""
        line = self._text[start:end].strip()
        mark, name = _mark(line), _bare(line)
        if mark not in ("#", header.mark) or not mark or key_name(name) in _SPAN_KEYS or self._contains(name):
            return False
        return mark != ":" or (len(self.items) > self._before_header and bool(_OTHER_LABEL.fullmatch(name)))

    def _without_key(self, span: str) -> str:
        """The span of a line that names it: ``Text: Ada``."""
        keyed = _KEYED.match(span)
        if keyed is None or key_name(keyed["key"]) not in _SPAN_KEYS or self._contains(span):
            return span
        return span[keyed.end() :]

    def _read_words(self, start: int, end: int) -> _Words:
        line = self._text[start:end].strip()
        is_markup = (
            not line.strip(_RULES)
            or line.endswith((":", "\uff1a"))
            or (line[0] == "`" and bool(_FENCE.fullmatch(line)))
        )
        return _Words(says_nothing(line), not is_markup and is_nothing_sentence(line), is_markup)


def _indent(text: str, offset: int) -> int:
    """The white space at the beginning of the line of an offset."""
    start = text.rfind("\n", 0, offset) + 1
    match = _SPACE.match(text, start)
    return match.end() - start if match else 0


def _mark(line: str) -> str:
    """What marks a whole line as a heading: ``#``, ``*`` if it is bold, or a colon at its end."""
    match = _MARK.match(line)
    return (match[1] or match[2] or match[3]) if match else ""


def _bare(line: str) -> str:
    """A line without its bullet, and without the colon and the bold at its end."""
    return line[skip_bullet(line, 0, len(line)) :].rstrip(_MARKUP + ":\uff1a")


def _counted_from(start: int, head: LabelMatch | None) -> LabelMatch | None:
    return LabelMatch(head.label, head.known, head.body - start) if head else None


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
    are read as tuples, table rows or ``span (label)`` if possible; a label alone on its line, also with a key as in
    ``Type: person``, is the heading of the lines below it.

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
