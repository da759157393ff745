"""From a model's answer to an extraction: parse it, ground its spans, and keep what could not be used."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import BaseModel

from ruie_components.answers import linear, loose_json
from ruie_components.answers.cleaning import answer_part
from ruie_components.answers.extraction_builder import ExtractionBuilder
from ruie_components.answers.grounding import FUZZY_THRESHOLD, Grounder
from ruie_components.answers.items import Item, ParsedAnswer
from ruie_components.answers.json_items import JSONItemReader, json_start
from ruie_components.answers.label_matcher import LabelMatcher
from ruie_components.answers.loose_json import Array, Object
from ruie_components.errors import AnswerError
from ruie_components.prompts import NOTHING, one_line
from ruie_components.types import Demonstration, Extraction, Query, Rejected, Rejection, Task

Answer = str | Mapping[str, Any] | Sequence[Any] | BaseModel
"""A model's answer: a string, or what structured output returns: a mapping, a list, or a pydantic object."""

_LINE_REACH = 200  # characters of a line before a JSON value that tell whether the value is part of prose
_PROSE = re.compile(r"[^\W\d_]{2,}")


def parse(
    answer: Answer,
    query: Query,
    *,
    strict: bool = False,
    partial: bool = False,
    demonstrations: Sequence[Demonstration] = (),
    fuzzy_threshold: float | None = FUZZY_THRESHOLD,
    mentions: Literal["first", "all"] = "first",
) -> Extraction:
    """Parse a model's answer, in the linear or the JSON format, and ground its spans in the query's text.

    A span matches exactly, else without regard to case, white space and typography, else by similarity; whole words
    come before parts of words. Which mention an item means, ``mention_assignment`` describes. If the trigger of an EAE
    query is not in the text, there is no event, and its arguments are rejected with it.

    Nothing disappears: every part of an answer that is not white space, markup or prose around the items ends in the
    extraction or in ``rejected``. A gold answer comes back with its very strings, except where the linear format itself
    is ambiguous: a span with white space or a semicolon at its end, or one that holds ``; label:`` of the schema.

    Any answer is read, in time linear in the answer and the text: of thousands of spans that a text of megabytes does
    not hold, only as many are compared by similarity as the work allows.

    Args:
        answer: What the model wrote, or the mapping, list or pydantic object of structured output or a tool call.
        query: What it was asked.
        strict: Raise instead of returning an extraction with rejected parts.
        partial: The answer is still being written: its last, unfinished item is left out.
        demonstrations: The demonstrations of the prompt. A span that occurs in one of them, but not in the text, is
            rejected as leaked.
        fuzzy_threshold: The lowest similarity, out of 100, at which a span matches; None turns similarity off.
        mentions: ``"first"``: one mention for each item. ``"all"``: an entity, trigger or argument also gets the
            other mentions of its span that no item took.

    Returns:
        The extraction; ``rejected`` holds what is not in the text, not in the schema, or could not be read.

    Raises:
        AnswerError: In strict mode: the answer has parts that were rejected, or holds neither items nor ``None``.
        ValueError: ``mentions`` is neither.

    >>> query = Query(task="NER", text="Ada met Bob.", labels=["person"])
    >>> extraction = parse("Sure! Here you go: person: Ada; person: Eve", query)
    >>> [(entity.text, entity.start) for entity in extraction.entities], extraction.rejected[0].reason.value
    ([('Ada', 0)], 'ungrounded')
    """
    if mentions not in ("first", "all"):
        raise ValueError(f"mentions must be 'first' or 'all', got {mentions!r}")
    text = _as_text(answer)
    labels = LabelMatcher(query.labels)
    grounder = Grounder(query.text, answer_length=len(text), threshold=fuzzy_threshold)
    parsed = _Parser(query, labels, grounder).parse(text, partial=partial)
    builder = ExtractionBuilder(query, labels, grounder, demonstrations, all_mentions=mentions == "all")
    for item in parsed.items:
        builder.add(item)
    extraction = builder.extraction(text)
    if strict:
        _check(extraction, parsed, partial=partial)
    if partial or parsed.items or parsed.says_nothing:
        return extraction
    rejected = Rejected(reason=Rejection.UNREADABLE, answer=text)  # an empty answer says nothing, not even "None"
    return extraction.model_copy(update={"rejected": (rejected,)})


def parse_items(answer: Answer, query: Query) -> tuple[Item, ...]:
    """The items of an answer as they were written, not grounded in the text.

    A linear relation's span is ``head, tail`` in one string.

    >>> query = Query(task="RE", text="Ada met Bob.", labels=["meet"])
    >>> [(item.label, item.spans) for item in parse_items("meet: Ada, Bob", query)]
    [('meet', ('Ada, Bob',))]
    """
    text = _as_text(answer)
    grounder = Grounder(query.text, answer_length=len(text))
    return _Parser(query, LabelMatcher(query.labels), grounder).parse(text, partial=False).items


def as_linear(answer: str, query: Query) -> str:
    """The answer in the linear format: unchanged if it is in that format, otherwise what its JSON says.

    >>> query = Query(task="NER", text="Ada met Bob.", labels=["person"])
    >>> as_linear('{"entities": [{"type": "person", "text": "Ada"}]}', query)
    'person: Ada'
    """
    grounder = Grounder(query.text, answer_length=len(answer))
    parser = _Parser(query, LabelMatcher(query.labels), grounder)
    part = answer_part(answer, query.text, parser.has_items)
    if parser.json_start(part) is None:
        return answer
    items = parser.parse_part(part, partial=False).items
    return "; ".join(f"{item.label}: {one_line(', '.join(item.spans))}" for item in items if item.label) or NOTHING


def _as_text(answer: Answer) -> str:
    """An answer as a string; structured output as JSON. A tool call is read by its arguments."""
    if isinstance(answer, str):
        return answer
    if isinstance(answer, BaseModel):
        answer = answer.model_dump(mode="json")
    if isinstance(answer, Sequence):
        answer = [_arguments(each) for each in answer]
    return json.dumps(_arguments(answer), ensure_ascii=False, default=str)


def _arguments(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping) and "args" in value and "name" in value:
        return value["args"]
    return value


class _Parser:
    """Parses an answer in whichever format it has."""

    def __init__(self, query: Query, labels: LabelMatcher, grounder: Grounder) -> None:
        self._query, self._labels, self._grounder = query, labels, grounder
        self._sides = 2 if query.task is Task.RE else 1

    def parse(self, answer: str, *, partial: bool) -> ParsedAnswer:
        """The items of a whole message."""
        return self.parse_part(answer_part(answer, self._query.text, self.has_items), partial=partial)

    def parse_part(self, part: str, *, partial: bool) -> ParsedAnswer:
        """The items of the part of a message that answers the query."""
        start = self.json_start(part)
        return self._linear(part, partial=partial) if start is None else self._json(part, start, partial=partial)

    def _linear(self, part: str, *, partial: bool = False) -> ParsedAnswer:
        return linear.read(part, self._labels, self._grounder.holds, sides=self._sides, partial=partial)

    def _json(self, part: str, start: int, *, partial: bool) -> ParsedAnswer:
        """The items of all JSON values of a part, and the linear ones between and behind them.

        A value inside a line of prose is a draft if a later part of the answer has items of its own.
        """
        values = loose_json.read(part, start)
        groups: list[tuple[bool, list[Item]]] = []  # whether it may be a draft, and its items
        at = start
        for value in values:
            groups += self._between(part, at, value.start)
            reader = JSONItemReader(part, self._query, self._labels, self._grounder, partial=partial)
            reader.read([value])
            groups.append((self._is_in_prose(part, value), reader.items))
            at = value.end
        groups += self._between(part, at, len(part), partial=partial)
        last = max((i for i, (_, items) in enumerate(groups) if any(item.known for item in items)), default=-1)
        items = [
            replace(item, superseded=True) if draft and i < last else item
            for i, (draft, group) in enumerate(groups)
            for item in group
        ]
        return ParsedAnswer(tuple(items), says_nothing=bool(values) and not items)

    def _between(self, part: str, start: int, end: int, *, partial: bool = False) -> list[tuple[bool, list[Item]]]:
        """Linear items outside of JSON values; other words there are prose."""
        items = [item for item in self._linear(part[start:end], partial=partial).items if item.known]
        return [(False, items)] if items else []

    def _is_in_prose(self, part: str, value: Object | Array) -> bool:
        begin = max(0, value.start - _LINE_REACH)
        line = part[max(begin, part.rfind("\n", begin, value.start) + 1) : value.start].rstrip()
        return bool(_PROSE.search(line)) and not line.endswith((":", "="))

    def json_start(self, part: str) -> int | None:
        """Where the JSON of an answer starts; None where it is in the linear format, its spans in brackets or not."""
        start = json_start(part)
        if start is None:
            return None
        line = max(part.rfind("\n", 0, start), part.rfind(";", 0, start)) + 1
        if self._labels.at(part, line, start):
            return None  # "person: [Ada]"
        return None if any(item.known for item in self._linear(part[:start]).items) else start

    def has_items(self, part: str) -> bool:
        """Whether a part of a message holds an item or says ``None``."""
        parsed = self.parse_part(part, partial=False)
        return parsed.says_nothing or any(item.known for item in parsed.items)


def _check(extraction: Extraction, parsed: ParsedAnswer, *, partial: bool) -> None:
    if extraction.rejected:
        shown = "; ".join(map(_describe, extraction.rejected[:3]))
        more = f"; and {len(extraction.rejected) - 3} more" if len(extraction.rejected) > 3 else ""
        raise AnswerError(
            f"{len(extraction.rejected)} part(s) of the answer can't be used: {shown}{more}", extraction.answer
        )
    if not parsed.items and not parsed.says_nothing and not partial:
        raise AnswerError(
            'the answer holds no item and does not say "None"; expected "label: span; label: span", or the JSON of '
            f"json_schema; it starts with {extraction.answer[:80]!r}",
            extraction.answer,
        )


def _describe(part: Rejected) -> str:
    shown = repr(", ".join(part.spans)[:80])
    match part.reason:
        case Rejection.UNKNOWN_LABEL:
            return f"label {part.label[:80]!r} (of {shown}) is not in the schema"
        case Rejection.UNGROUNDED:
            return f"{part.label} {shown} is not in the input"
        case Rejection.LEAKED:
            return f"{part.label} {shown} is in a demonstration, not in the input"
        case Rejection.SUPERSEDED:
            return f"{part.answer[:80]!r} is a draft that the rest of the answer replaces"
        case Rejection.UNREADABLE:
            return f"{part.answer[:80]!r} can't be read as an item"
