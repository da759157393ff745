"""From a model's answer to an extraction: read it, find its spans in the text, and keep what could not be used."""

from __future__ import annotations

from collections.abc import Sequence

from ruie_components.answers import json_form, linear
from ruie_components.answers.cleaning import answer_part
from ruie_components.answers.grounding import FUZZY_THRESHOLD, Grounder
from ruie_components.answers.items import Item, Reading
from ruie_components.answers.labels import Labels
from ruie_components.answers.resolving import Resolver
from ruie_components.errors import AnswerError
from ruie_components.prompts import NOTHING, one_line
from ruie_components.types import Demonstration, Extraction, Query, Rejected, Rejection


def parse(
    answer: str,
    query: Query,
    *,
    strict: bool = False,
    partial: bool = False,
    demonstrations: Sequence[Demonstration] = (),
    fuzzy_threshold: float | None = FUZZY_THRESHOLD,
) -> Extraction:
    """Read a model's answer, in the linear or the JSON form, and find its spans in the query's text.

    A span is looked for exactly, then without regard to case, white space and typography, then by similarity; whole
    words come before parts of words. What was answered several times stands at several places, in order; once the
    text has no more of them, repeats are dropped. The arguments of an event and the sides of a relation stand at the
    places nearest to the trigger and to each other. If the trigger of an EAE query isn't in the text, there is no
    event, and its arguments are rejected with it.

    A gold answer comes back with its very strings, except where the linear form itself is ambiguous: a span with
    white space or a semicolon at its end, or one that holds ``; label:`` of the schema. Which of several mentions was
    annotated no answer says, so offsets may differ there.

    Any string is read, in time linear in the answer and the text: an answer of thousands of spans that are not in a
    text of megabytes is grounded only as far as the work allows, and the rest counts as ungrounded.

    Args:
        answer: What the model said.
        query: What it was asked.
        strict: Raise instead of returning an extraction with rejected parts.
        partial: The answer is still being written: its last, unfinished item is left out.
        demonstrations: The demonstrations of the prompt. A span that stands in one of them, but not in the text,
            is rejected as leaked.
        fuzzy_threshold: The least similarity, of 100, at which a span counts as found; None for no such search.

    Returns:
        The extraction; ``rejected`` holds what is not in the text, not in the schema, or could not be read.

    Raises:
        AnswerError: In strict mode: the answer has parts that were rejected, or holds neither items nor ``None``.

    >>> query = Query(task="NER", text="Ada met Bob.", labels=["person"])
    >>> found = parse("Sure! Here you go: person: Ada; person: Eve", query)
    >>> [(entity.text, entity.start) for entity in found.entities], found.rejected[0].reason.value
    ([('Ada', 0)], 'ungrounded')
    """
    labels = Labels(query.labels)
    grounder = Grounder(query.text, answer_length=len(answer), threshold=fuzzy_threshold)
    reading = _read(answer, query, labels, grounder, partial=partial)
    resolver = Resolver(query, labels, grounder, demonstrations)
    for item in reading.items:
        resolver.add(item)
    found = resolver.extraction(answer)
    if strict:
        _check(found, reading, partial=partial)
    return found


def read_items(answer: str, query: Query) -> tuple[Item, ...]:
    """The items of an answer as they were written, not looked for in the text.

    A linear relation's span is ``head, tail`` in one string.

    >>> query = Query(task="RE", text="Ada met Bob.", labels=["meet"])
    >>> [(item.label, item.spans) for item in read_items("meet: Ada, Bob", query)]
    [('meet', ('Ada, Bob',))]
    """
    grounder = Grounder(query.text, answer_length=len(answer))
    return _read(answer, query, Labels(query.labels), grounder, partial=False).items


def as_linear(answer: str, query: Query) -> str:
    """The answer in the linear form: unchanged if it is in that form, otherwise what its JSON says.

    >>> query = Query(task="NER", text="Ada met Bob.", labels=["person"])
    >>> as_linear('{"entities": [{"type": "person", "text": "Ada"}]}', query)
    'person: Ada'
    """
    grounder = Grounder(query.text, answer_length=len(answer))
    reader = _Reader(query, Labels(query.labels), grounder)
    part = answer_part(answer, query.text, reader.has_items)
    if reader.json_start(part) is None:
        return answer
    items = reader.read(part, partial=False).items
    return "; ".join(f"{item.label}: {one_line(', '.join(item.spans))}" for item in items if item.label) or NOTHING


class _Reader:
    """Reads an answer in whichever form it has."""

    def __init__(self, query: Query, labels: Labels, grounder: Grounder) -> None:
        self._query, self._labels, self._grounder = query, labels, grounder

    def read(self, part: str, *, partial: bool) -> Reading:
        start = self.json_start(part)
        if start is not None:
            return json_form.read_items(part, self._query.task, self._labels, start=start, partial=partial)
        return linear.read(part, self._labels, self._grounder.holds, partial=partial)

    def json_start(self, part: str) -> int | None:
        """Where the JSON of an answer begins; None where it is in the linear form, its spans with brackets or not."""
        start = json_form.opening(part)
        if start is None:
            return None
        line = max(part.rfind("\n", 0, start), part.rfind(";", 0, start)) + 1
        if self._labels.at(part, line, start):
            return None  # "person: [Ada]"
        before = linear.read(part[:start], self._labels, self._grounder.holds)
        return None if any(item.known for item in before.items) else start

    def has_items(self, part: str) -> bool:
        reading = self.read(part, partial=False)
        return reading.says_nothing or any(item.known for item in reading.items)


def _read(answer: str, query: Query, labels: Labels, grounder: Grounder, *, partial: bool) -> Reading:
    reader = _Reader(query, labels, grounder)
    return reader.read(answer_part(answer, query.text, reader.has_items), partial=partial)


def _check(found: Extraction, reading: Reading, *, partial: bool) -> None:
    if found.rejected:
        shown = "; ".join(_describe(part) for part in found.rejected[:3])
        more = f"; and {len(found.rejected) - 3} more" if len(found.rejected) > 3 else ""
        raise AnswerError(f"{len(found.rejected)} part(s) of the answer can't be used: {shown}{more}", found.answer)
    if not reading.items and not reading.says_nothing and not partial:
        raise AnswerError(
            'the answer holds no item and does not say "None"; it should be like "label: span; label: span", '
            f"or the JSON of json_schema. It begins {found.answer[:80]!r}",
            found.answer,
        )


def _describe(part: Rejected) -> str:
    shown = repr(", ".join(part.spans)[:80])
    match part.reason:
        case Rejection.UNKNOWN_LABEL:
            return f"label {part.label[:80]!r} (of {shown}) is not in the schema"
        case Rejection.UNGROUNDED:
            return f"{part.label} {shown} does not stand in the input"
        case Rejection.LEAKED:
            return f"{part.label} {shown} stands in a demonstration, not in the input"
        case Rejection.UNREADABLE:
            return f"{part.answer[:80]!r} can't be read as an item"
