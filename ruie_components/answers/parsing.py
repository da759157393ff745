"""From a model's answer to an extraction: parses it, grounds its spans, and keeps rejected parts."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from ruie_components.answers import json_items, linear, loose_json, records, thoughts
from ruie_components.answers.cleaning import clean
from ruie_components.answers.extraction_builder import ExtractionBuilder, MentionMode
from ruie_components.answers.grounding import FUZZY_THRESHOLD, Grounder
from ruie_components.answers.items import Item, ParsedAnswer
from ruie_components.answers.json_items import JsonBlock
from ruie_components.answers.label_matcher import LabelMatcher, skip_bullet
from ruie_components.answers.loose_json import Value
from ruie_components.answers.thoughts import Thought
from ruie_components.errors import AnswerError
from ruie_components.integers import counted
from ruie_components.prompts import NOTHING, one_line
from ruie_components.types import Demonstration, Extraction, Query, Rejected, Rejection

_FINAL = re.compile(
    r"^[ \t*#_>]{0,9}(?:(?:so|thus|therefore|ok|okay)[ ,]{1,3})?(?:(?:here is |here's )?(?:the |my )?"
    r"(?:final|corrected|revised|actual|real|updated|improved)\b"
    r"(?: (?:answer|output|result|response|version|extraction|list)s?)?"
    r"|answer|correction|on second thoughts?|on reflection)[^:\uff1a;\n]{0,20}[:\uff1a]"
    r"|^(?:#{1,6}[ \t]{0,3}|\*\*|__)(?:(?:the|my) )?(?:final )?(?:answer|output|result|response)s?[ \t\r*_#]{0,9}$",
    re.IGNORECASE | re.MULTILINE,
)
_WORD = re.compile(r"\w")
_DRAFT = re.compile(
    r"\b(?:draft|(?:first|initial|previous) (?:thought|try|attempt|guess|version|answer|idea))\b", re.IGNORECASE
)
_LINE_REACH = 200  # characters of a line before a JSON value that tell whether the value is part of prose
_FENCE = re.compile(r"```\w{0,20}")


def parse(
    answer: Any,
    query: Query,
    *,
    strict: bool = False,
    partial: bool = False,
    demonstrations: Sequence[Demonstration] = (),
    fuzzy_threshold: float | None = FUZZY_THRESHOLD,
    mentions: MentionMode = "first",
) -> Extraction:
    """Read a model's answer, in the linear or the JSON format, and ground its spans in the query's text.

    A span is searched exactly, then ignoring case, white space and typography, then ignoring accents, then by
    similarity. If the text has several mentions of it, one rule for all tasks decides, in this order:

    1. the offsets in the answer, if the text there agrees with the span;
    2. the better match: exact before normalized before similar, whole words before parts of words;
    3. a mention without any label from this answer (for triggers and arguments: without the same label);
    4. a mention outside of the longer spans of the answer;
    5. a mention in the sentence of the anchor, which is the trigger for arguments, and the other side for a relation;
       a head before its tail;
    6. the mention nearest to the anchor; without an anchor the first.

    The sides of a relation are chosen together; for them 5 comes before 3. If the text has no more mentions, repeats
    are dropped. If the trigger of an EAE query isn't in the text, there is no event, and its arguments are rejected.

    Nothing of an answer is lost: everything except white space, markup, reasoning and prose around the items is a
    result or in ``rejected``. Of several complete answers the last counts, and the items of earlier drafts are rejected
    as superseded.

    Reasoning in a tag, such as ``<think>``, ends at its closing tag. Reasoning under a heading, such as
    ``**Thinking:**``, ends at a line that announces the answer, or else before the last paragraphs if they hold nothing
    but items; its first paragraph is always reasoning. Reasoning without an end holds no result, as the model has only
    shown drafts, or was cut off: the answer is rejected as unreadable.

    An answer that has no item and does not say ``None``, even an empty one, is rejected as unreadable.

    A gold answer is read with its exact strings, unless the linear format itself is ambiguous: a span with
    white space or a semicolon at its end, or one that contains ``; label:`` of the schema.

    Any string can be read, in time linear in answer and text. Each kind of search has a budget: of thousands of spans
    that are missing from a text of megabytes, the last ones are not searched by similarity. JSON that nests deeper than
    1,000 values, as a model's endless repetition does, is rejected from there on.

    Args:
        answer: The model's answer: a string; or an object with the content of the JSON format: a mapping, a list,
            a pydantic model, a tool call, a list of them, or a message with ``tool_calls`` or ``content``.
        query: The query.
        strict: Raise instead of returning an extraction with rejected parts.
        partial: The answer is still being written, or was truncated: its last, unfinished item is left out.
        demonstrations: The demonstrations of the prompt. A span that is in one of them, but not in the text, is
            rejected as leaked; so is one that the text has only inside of other words, as ``Titan`` in ``Titania``.
        fuzzy_threshold: The minimum similarity, of 100, of a match; None for no search by similarity.
        mentions: ``first`` assigns each span in the answer one mention; ``all`` adds its other mentions in the text
            that have no other label (entities, triggers, arguments).

    Returns:
        The extraction; ``rejected`` has the parts that are not in the text, not in the schema, or not readable.
        ``answer_ranges`` has the range of ``answer`` that each annotation was read from.

    Raises:
        AnswerError: In strict mode: parts of the answer were rejected, or it is empty.
        ValueError: ``mentions`` is something else, or ``fuzzy_threshold`` is not of 100.

    >>> query = Query(task="NER", text="Ada met Bob.", labels=["person"])
    >>> extraction = parse("Sure! Here you go: person: Ada; person: Eve", query)
    >>> [(entity.text, entity.start) for entity in extraction.entities], extraction.rejected[0].reason.value
    ([('Ada', 0)], 'ungrounded')
    """
    if mentions not in ("first", "all"):
        raise ValueError(f"mentions must be 'first' or 'all', got {mentions!r}")
    answer = as_text(answer)
    matcher = LabelMatcher(query.labels)
    grounder = Grounder(query.text, answer_length=len(answer), threshold=fuzzy_threshold)
    parsed = _Reader(query, matcher, grounder).read(answer, partial=partial)
    builder = ExtractionBuilder(query, matcher, grounder, demonstrations, mentions=mentions)
    for item in parsed.items:
        builder.add(item)
    extraction = builder.extraction(answer)
    if not parsed.items and not parsed.says_nothing and not partial:
        rejected = Rejected(reason=Rejection.UNREADABLE, answer=answer)
        extraction = extraction.model_copy(update={"rejected": (rejected,)})
    if strict:
        _check(extraction, parsed)
    return extraction


def as_text(answer: Any) -> str:
    """An answer as a string; mappings, models and tool calls become JSON."""
    if isinstance(answer, str):
        return answer
    if not isinstance(answer, BaseModel | Mapping | list | tuple) or hasattr(answer, "content"):
        calls = getattr(answer, "tool_calls", None)
        content = getattr(answer, "content", None)
        if calls:
            return as_text(calls)
        if isinstance(content, list | tuple):
            return "".join(part if isinstance(part, str) else str(part.get("text", "")) for part in content)
        if isinstance(content, str):
            return content
    if isinstance(answer, BaseModel | Mapping | list | tuple):
        return json.dumps(answer, ensure_ascii=False, default=_plain)
    raise TypeError(f"expected a string, a mapping, a list, a pydantic model or a message, got {type(answer).__name__}")


def _plain(value: object) -> object:
    """A value inside an object as ``json`` can write it."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, Mapping):
        return dict(value)
    function = getattr(value, "function", None)  # a tool call of the OpenAI client
    if function is not None:
        return {"name": getattr(function, "name", ""), "arguments": getattr(function, "arguments", "")}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    return str(value)


def parse_items(answer: Any, query: Query) -> tuple[Item, ...]:
    """The items of an answer as written, without grounding.

    A linear relation's span is ``head, tail`` in one string.

    >>> query = Query(task="RE", text="Ada met Bob.", labels=["meet"])
    >>> for item in parse_items("meet: Ada, Bob", query):
    ...     print(item.label, item.spans)
    meet ('Ada, Bob',)
    """
    text = as_text(answer)
    return _reader(text, query).read(text, partial=False).items


def as_linear(answer: str, query: Query) -> str:
    """The answer in the linear format: unchanged if it has that format, else converted from JSON.

    >>> query = Query(task="NER", text="Ada met Bob.", labels=["person"])
    >>> as_linear('{"entities": [{"type": "person", "text": "Ada"}]}', query)
    'person: Ada'
    """
    if "{" not in answer and "[" not in answer:
        return answer
    reader = _reader(answer, query)
    part = clean(answer, query.text, reader.has_items).answer
    if reader.json_start(part) is None:
        return answer
    items = [item for item in reader.read_part(part, partial=False).items if not item.superseded]
    return "; ".join(f"{item.label}: {one_line(', '.join(item.spans))}" for item in items if item.label) or NOTHING


def _reader(answer: str, query: Query) -> _Reader:
    return _Reader(query, LabelMatcher(query.labels), Grounder(query.text, answer_length=len(answer)))


class _Reader:
    """Reads an answer in either format."""

    def __init__(self, query: Query, matcher: LabelMatcher, grounder: Grounder) -> None:
        self._query, self._matcher, self._contains = query, matcher, grounder.contains

    def read(self, answer: str, *, partial: bool) -> ParsedAnswer:
        """The items of a whole message, drafts included."""
        cleaned = clean(answer, self._query.text, self.has_items)
        parsed = self.read_part(cleaned.answer, partial=partial)
        drafts = [item for beside in cleaned.beside for item in self._known(beside)]
        if not parsed.has_known_labels and drafts:
            return ParsedAnswer((*drafts, *parsed.items), parsed.says_nothing)
        return ParsedAnswer((*_superseded(drafts), *parsed.items), parsed.says_nothing)

    def read_part(self, part: str, *, partial: bool) -> ParsedAnswer:
        """The items of a cleaned answer. Of several complete answers the last counts, if a line announces it."""
        end = len(part)
        for final in reversed(list(_FINAL.finditer(part))):
            if self._matcher.at(part, final.start(), final.end()):
                continue
            section = part[final.end() : end]  # not the whole rest, which may hold many announcements
            unfinished = partial and end == len(part)
            end = final.start()
            if self._has_items(section, partial=unfinished):
                later = _moved(self._read_format(part[final.end() :], partial=partial), final.end())
                drafts = self._known(part[: final.start()])
                return ParsedAnswer((*_superseded(drafts), *later.items), later.says_nothing)
        thought = thoughts.find(part, self._matcher)
        if thought and self.json_start(part) is None and not self._known(part[: thought.start]):
            return self._read_thought(part, thought, partial=partial)
        return self._read_format(part, partial=partial)

    def _read_thought(self, part: str, thought: Thought, *, partial: bool) -> ParsedAnswer:
        """The items of an answer that begins with reasoning under a heading, and has no line that announces a result.

        While the answer is being written, its last paragraph may still be reasoning.
        """
        if thought.rest:  # the reasoning is the line
            end = thought.end + len(part[thought.end :].partition("\n")[0])
            drafts = self._known(part[thought.end : end])
            if not drafts:
                return self._read_format(part, partial=partial)
        else:
            whole = _moved(self._read_format(part[thought.end :], partial=partial), thought.end)
            begin = None if partial else thoughts.answer_after(part, thought.end, whole.items, self._matcher)
            end = len(part) if begin is None else begin
            drafts = [item for item in whole.items if item.known and item.answer_range[0] < end]
        later = _moved(self._read_format(part[end:], partial=partial), end)
        if not later.has_known_labels and not later.says_nothing:
            return ParsedAnswer(())
        return ParsedAnswer((*_superseded(drafts), *later.items), later.says_nothing)

    def _known(self, part: str) -> list[Item]:
        return [item for item in self._read_format(part, partial=False).items if item.known]

    def _read_format(self, part: str, *, partial: bool) -> ParsedAnswer:
        start = self.json_start(part)
        values: Iterable[Value]
        if start is not None:
            values = loose_json.read(part, start)
        elif not (values := records.read(part, self._matcher, partial=partial)):
            return self._linear(part, partial=partial)
        blocks = json_items.read_blocks(part, values, self._query, self._matcher, self._contains, partial=partial)
        return self._with_prose(part, blocks, lines_are_drafts=start is not None, partial=partial)

    def _linear(self, part: str, *, partial: bool = False) -> ParsedAnswer:
        return linear.read_items(part, self._query.task, self._matcher, self._contains, partial=partial)

    def _with_prose(self, part: str, blocks: list[JsonBlock], *, lines_are_drafts: bool, partial: bool) -> ParsedAnswer:
        """The items of blocks and of the lines around them; items are superseded by a later part of another kind.

        Args:
            part: The answer or a part of it.
            blocks: Its objects and lists.
            lines_are_drafts: Whether items of lines are superseded by a later block.
            partial: The answer is still being written.
        """
        groups: list[tuple[list[Item], bool]] = []  # items by part; is a part a draft if another follows?
        at, whole, single = 0, False, False  # did a whole answer precede, was the last part a single item?
        for block in [*blocks, None]:
            end = block.start if block else len(part)
            prose = False
            if _WORD.search(part, at, end) and _WORD.search(_FENCE.sub("", part[at:end])):
                parsed = _moved(self._linear(part[at:end], partial=partial and block is None), at)
                lines = [item for item in parsed.items if item.known]
                prose = not lines or len(lines) < len(parsed.items)
                if lines:
                    groups.append((lines, lines_are_drafts and block is not None))
                    single = False
            if block is None:
                break
            if groups and whole and block.is_whole and prose:
                groups[-1] = groups[-1][0], True
            follows = single and not block.is_whole
            if follows and (part.find("\n", at, end) < 0 or self._is_in_prose(part, block)):
                groups[-1][0].extend(block.items)  # "I found {...} and {...}": neither replaces the other
            else:
                groups.append((list(block.items), self._is_in_prose(part, block)))
            at, whole, single = block.end, whole or block.is_whole, not block.is_whole
        last = max((i for i, (items, _) in enumerate(groups) if any(item.known for item in items)), default=-1)
        items = [
            item._replace(superseded=True) if draft and i < last and item.known else item
            for i, (group, draft) in enumerate(groups)
            for item in group
        ]
        return ParsedAnswer(tuple(items), says_nothing=bool(blocks) and not items)

    def _is_in_prose(self, part: str, block: JsonBlock) -> bool:
        """Whether words before a JSON value on its line announce no answer: ``I thought of {}``, ``Draft: {}``."""
        begin = max(0, block.start - _LINE_REACH)
        begin = max(begin, part.rfind("\n", begin, block.start) + 1)
        line = part[skip_bullet(part, begin, block.start) : block.start].rstrip()
        announced = line.endswith((":", "\uff1a", "=")) and not _DRAFT.search(line)
        return _WORD.search(line) is not None and not announced

    def json_start(self, part: str) -> int | None:
        """The offset of the JSON in an answer; None for the linear format, with or without brackets around spans."""
        start = json_items.opening(part)
        if start is None:
            return None
        line = max(part.rfind("\n", 0, start), part.rfind(";", 0, start)) + 1
        if self._matcher.at(part, line, start):
            return None  # "person: [Ada]"
        before = self._linear(part[:start])
        if not before.has_known_labels:
            return start
        later = json_items.read_items(part, self._query, self._matcher, self._contains, start=start)
        return start if part[line:start].strip() == "" and later.has_known_labels else None

    def has_items(self, part: str) -> bool:
        """Whether a part of a message holds an item with a label of the schema, or says ``None``."""
        return self._has_items(part, partial=False)

    def _has_items(self, part: str, *, partial: bool) -> bool:
        parsed = self._read_format(part, partial=partial)
        return parsed.says_nothing or parsed.has_known_labels


def _moved(parsed: ParsedAnswer, by: int) -> ParsedAnswer:
    """The items of a part of an answer at the answer's offsets."""
    return ParsedAnswer(tuple(item.moved(by) for item in parsed.items), parsed.says_nothing)


def _superseded(items: Sequence[Item]) -> list[Item]:
    return [item._replace(superseded=True) for item in items]


def _check(extraction: Extraction, parsed: ParsedAnswer) -> None:
    if not extraction.rejected:
        return
    if not parsed.items:
        raise AnswerError(
            'the answer holds no item and does not say "None"; expected "label: span; label: span" or the JSON of '
            f"json_schema. It begins {extraction.answer[:80]!r}",
            extraction.answer,
        )
    shown = "; ".join(_describe(part) for part in extraction.rejected[:3])
    more = f"; and {len(extraction.rejected) - 3} more" if len(extraction.rejected) > 3 else ""
    raise AnswerError(
        f"{counted(len(extraction.rejected), 'part')} of the answer can't be used: {shown}{more}", extraction.answer
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
            return f"{part.answer[:80]!r} belongs to a draft that a later part of the answer replaces"
        case Rejection.UNREADABLE:
            return f"{part.answer[:80]!r} can't be read as an item"
