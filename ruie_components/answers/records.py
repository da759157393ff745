"""Reads items in lines of ``key: value``, as in YAML: ``- text: Ada`` and below it ``type: person``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from ruie_components.answers.json_keys import (
    END_NAMES,
    HEAD_NAMES,
    LABEL_NAMES,
    SPAN_NAMES,
    START_NAMES,
    TAIL_NAMES,
    key_name,
)
from ruie_components.answers.label_matcher import LabelMatcher, skip_bullet
from ruie_components.answers.loose_json import Object, Text

_LABEL_WORDS = ("type", "label", "role", "relation", "predicate", "category", "class", "tag", "kind", "property")
"""Parts of the names of labels; an answer without them has no record."""
_KEY = re.compile(r"([^\W\d_](?:\w|[ -](?=\w)){0,24})[*_`\"']{0,3} ?[:\uff1a][*_`\"']{0,3}(?=[ \t\r]|\Z|\n)")
_NEXT = re.compile(r"[ \t]*[,;|][ \t*_`\"']+")
_QUOTES = (("**", "**"), ("`", "`"), ('"', '"'), ("'", "'"), ("\u201c", "\u201d"), ("\u2018", "\u2019"))
_LABELS, _SPANS = frozenset(LABEL_NAMES), frozenset((*SPAN_NAMES, *HEAD_NAMES, *TAIL_NAMES))
_KEYS = _LABELS | _SPANS | frozenset((*START_NAMES, *END_NAMES))
_LONGEST = 1_000  # maximum characters of a line

_Pair = tuple[str, Text]


def read(answer: str, matcher: LabelMatcher, *, partial: bool = False) -> list[Object]:
    """The records of an answer; none unless one has a label of the schema and a span.

    A record ends before a bullet, after an empty line, and where a key repeats. Lines that begin with a label of the
    schema are no part of a record. If the first label has no span, labels are headings of lists, and there are none.

    Args:
        answer: The answer.
        matcher: Matches the labels of the schema.
        partial: The answer is still being written: the record at its end is not closed.
    """
    lower = answer.lower()
    if not any(word in lower for word in _LABEL_WORDS):
        return []
    records: list[Object] = []
    known = has_label = False
    last = len(answer.rstrip(" \t")) if partial else len(answer) + 1
    for record in _candidates(answer, matcher):
        record.closed = record.end < last
        records.append(record)
        keys = {key_name(key): value for key, value in record.pairs if isinstance(value, Text)}
        if not has_label and not _LABELS.isdisjoint(keys):
            has_label = True
            if record.closed and _SPANS.isdisjoint(keys):
                return []
        labels = [value for key, value in keys.items() if key in _LABELS and matcher.known(value.text)]
        known = known or not record.closed or (bool(labels) and not _SPANS.isdisjoint(keys))
    return records if known else []


def _candidates(answer: str, matcher: LabelMatcher) -> Iterator[Object]:
    """Runs of lines of keys and values that begin with a key of an item."""
    record: Object | None = None
    seen: set[str] = set()
    stars = False  # each line of the record may have a star for a bullet
    start = 0
    while start < len(answer):
        end = answer.find("\n", start) + 1 or len(answer)
        begin = skip_bullet(answer, start, end)
        pairs = _pairs(answer, begin, end) if end - start <= _LONGEST and not matcher.at(answer, start, end) else []
        names = {key_name(key) for key, _ in pairs}
        before = answer[start:begin].strip(" \t_`\"'")
        has_star = before.startswith("*") and answer[start:begin].lstrip()[1:2].isspace()  # else it is bold
        is_next = before.strip("* \t") or (has_star and not stars) or names & seen & _KEYS
        if record and (not pairs or is_next):
            yield record
            record = None
        if record or names & _KEYS:
            if record is None:
                record, seen, stars = Object(begin), set(), has_star
            record.pairs += pairs
            record.end = pairs[-1][1].end
            seen |= names
        start = end
    if record:
        yield record


def _pairs(answer: str, begin: int, end: int) -> list[_Pair]:
    """The keys of a line with their values: one, or several with a comma, a semicolon or a bar between them."""
    key = _KEY.match(answer, begin, end)
    if key is None:
        return []
    pairs: list[_Pair] = []
    for between in _NEXT.finditer(answer, key.end(), end):
        following = _KEY.match(answer, between.end(), end)
        if following and key_name(following[1]) in _KEYS:
            pairs.append((key[1], _value(answer, key.end(), between.start())))
            key = following
    return [*pairs, (key[1], _value(answer, key.end(), end))]


def _value(answer: str, start: int, end: int) -> Text:
    """A value without white space and quotes around it."""
    text = answer[start:end].strip(" \t\r\n,;")
    for opening, closing in _QUOTES:
        if len(text) > len(opening + closing) and text.startswith(opening) and text.endswith(closing):
            text = text.removeprefix(opening).removesuffix(closing)
    return Text(text, start, start + len(answer[start:end].rstrip()))
