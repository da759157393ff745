"""Tasks, spans, labelled examples, queries and extractions: frozen, validated, in Unicode code points.

All offsets count code points (``str`` indices in Python), end-exclusive: ``text[span.start:span.end] == span.text``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from enum import StrEnum
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    StrictInt,
    model_validator,
)
from typing_extensions import TypeAliasType

from ruie_components.integers import counted

LINE_BREAKS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
"""Every character at which ``str.splitlines`` would break a line."""

_SURROGATE = re.compile("[\ud800-\udfff]")


class Task(StrEnum):
    """The four extraction tasks."""

    NER = "NER"
    """Named entity recognition: spans with a type."""
    RE = "RE"
    """Relation extraction: a head span, a relation type, a tail span."""
    ED = "ED"
    """Event detection: trigger spans with an event type."""
    EAE = "EAE"
    """Event argument extraction: for one given trigger, spans with a role."""

    @classmethod
    def _missing_(cls, value: object) -> Task:
        for task in cls:
            if str(value).upper() == task.value:
                return task
        raise ValueError(f"unknown task {value!r}; there are {', '.join(cls)}")


def _encodable(text: str) -> str:
    """Refuse characters that no file, database or server accepts, here, where the error can name the field."""
    if not text.isascii() and (match := _SURROGATE.search(text)):
        raise ValueError(
            f"{match[0]!r} at {match.start()} is half of a surrogate pair, not a character: read the text as "
            "UTF-8, with errors='replace' if it is damaged"
        )
    return text


@lru_cache(4096)  # every row has the same labels
def _clean_label(label: str) -> str:
    label = _encodable(label.strip())
    if not label:
        raise ValueError("a label is empty; give every label a name")
    if len(label.splitlines()) > 1:
        raise ValueError(f"label {label!r} contains a line break; the prompt lists all labels on one line")
    return label


def _clean_labels(labels: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(labels))  # repeated labels are dropped


def _json_object(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Refuse values that JSON or UTF-8 can't represent: they would be lost or changed when the row is written."""
    if values:
        try:
            json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
        except (ValueError, RecursionError) as error:  # UnicodeEncodeError is a ValueError
            raise ValueError(f"can't be written as JSON in UTF-8 ({error})") from None
    return values


# named types, so that signatures and help() show the name instead of a validator's address
Text = TypeAliasType("Text", Annotated[str, AfterValidator(_encodable)])
"""A string without halves of surrogate pairs."""
Label = TypeAliasType("Label", Annotated[str, AfterValidator(_clean_label)])
"""A label on one line, without white space around it."""
Labels = TypeAliasType("Labels", Annotated[tuple[Label, ...], AfterValidator(_clean_labels)])
"""Labels without repeats, in order."""
Metadata = TypeAliasType("Metadata", Annotated[dict[str, JsonValue], AfterValidator(_json_object)])
"""Keys and values that JSON can hold."""

_SCHEMA = AliasChoices("schema", "labels")  # rows say ``schema``, which is a method of pydantic's models


class Grounding(StrEnum):
    """How an answer's span was matched with the input."""

    EXACT = "exact"
    """The input has exactly these characters."""
    NORMALISED = "normalised"
    """Matched without regard to case, white space and typographic variants."""
    FUZZY = "fuzzy"
    """Matched by similarity above a threshold."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, use_attribute_docstrings=True)


class Span(_Frozen):
    """Characters ``start`` (inclusive) to ``end`` (exclusive) of a text."""

    text: str = Field(min_length=1)
    """The characters themselves."""
    start: int = Field(ge=0)
    """The offset of the first character, in code points."""
    end: int = Field(ge=1)
    """The offset after the last character."""
    grounding: Grounding = Grounding.EXACT
    """How the span was matched in the text."""

    @model_validator(mode="after")
    def _length_fits(self) -> Self:
        if self.end - self.start != len(self.text):
            raise ValueError(
                f"span {self.text!r} has {counted(len(self.text), 'character')}, but start {self.start} and end "
                f"{self.end} hold {self.end - self.start}; offsets are code points and end is exclusive"
            )
        return self

    @property
    def offsets(self) -> tuple[int, int]:
        """``(start, end)``."""
        return self.start, self.end


class Entity(Span):
    """A named entity."""

    type: Label
    """The entity's type."""


class Relation(_Frozen):
    """A relation of a type from a head to a tail."""

    type: Label
    """The relation's type."""
    head: Span
    """The span that the relation starts from."""
    tail: Span
    """The span that it leads to."""


class Argument(Span):
    """A participant of an event."""

    role: Label
    """Its role in the event."""


class Event(_Frozen):
    """An event: its type, the span that triggers it, and its arguments."""

    type: Label
    """The event's type."""
    trigger: Span
    """The span that expresses the event."""
    arguments: tuple[Argument, ...] = ()
    """Its arguments (EAE)."""


class EventQuery(_Frozen):
    """The event whose arguments are to be extracted."""

    type: Label
    """The event's type."""
    trigger: str = Field(min_length=1)
    """The text of its trigger."""
    start: int | None = Field(default=None, ge=0)
    """The trigger's offset; None means its first occurrence in the text."""


def _check_event(task: Task, event: EventQuery | None, text: str) -> None:
    if task is Task.EAE and event is None:
        raise ValueError(
            'task EAE needs the event whose arguments to extract: event={"type": ..., "trigger": ...} '
            '(--event "type: trigger")'
        )
    if task is not Task.EAE and event is not None:
        raise ValueError(f"task {task} takes no event; only EAE does")
    if event and event.start is not None:
        at_start = text[event.start : event.start + len(event.trigger)]
        if at_start != event.trigger:
            raise ValueError(f"event.start {event.start} is not the offset of {event.trigger!r}: found {at_start!r}")


class Query(_Frozen):
    """An extraction request: a text, a task, and the labels to look for.

    ``id`` and ``metadata`` are the user's and come back with the result. They do not count in comparisons: queries that
    differ only in them are equal.

    Raises:
        pydantic.ValidationError: A ``ValueError``: empty text or schema, an event missing for EAE, or half a
            surrogate pair.

    >>> Query(task="NER", text="Ada met Bob.", labels=["person"]).labels
    ('person',)
    """

    task: Task
    """The task."""
    text: Text
    """The text to extract from."""
    labels: Labels = Field(validation_alias=_SCHEMA, serialization_alias="schema", min_length=1)
    """The labels to look for: the schema. Rows call it ``schema``."""
    event: EventQuery | None = None
    """For EAE, the event whose arguments to extract."""
    id: Text | StrictInt | None = None
    """The user's own id of the input."""
    metadata: Metadata = Field(default_factory=dict)
    """Other data that the user keeps with the input."""

    if TYPE_CHECKING:  # type checkers see what pydantic converts

        def __init__(
            self,
            *,
            task: Task | str,
            text: str,
            labels: Sequence[str],
            event: EventQuery | Mapping[str, Any] | None = None,
            id: str | int | None = None,  # noqa: A002  the field's name
            metadata: Mapping[str, Any] = ...,
        ) -> None: ...

    def __eq__(self, other: object) -> bool:
        return self._content == other._content if isinstance(other, Query) else NotImplemented

    def __hash__(self) -> int:
        return hash(self._content)

    @property
    def _content(self) -> tuple[Task, str, tuple[str, ...], EventQuery | None]:
        return self.task, self.text, self.labels, self.event

    @model_validator(mode="after")
    def _valid(self) -> Self:
        if not self.text.strip():
            raise ValueError("text is empty: there is nothing to extract from")
        _check_event(self.task, self.event, self.text)
        return self

    def to_json(self) -> str:
        """The query as JSON, without ``id`` and ``metadata``; equal for equal queries."""
        return self.model_dump_json(by_alias=True, exclude={"id", "metadata"})


_FIELD_OF_TASK: dict[str, str] = {Task.NER: "entities", Task.RE: "relations", Task.ED: "events", Task.EAE: "events"}


class _Annotated(_Frozen):
    """A text and its annotations."""

    task: Task
    """The task."""
    text: Text
    """The text."""
    labels: Labels = Field(validation_alias=_SCHEMA, serialization_alias="schema", min_length=1)
    """The labels that annotations may have: the schema. Rows call it ``schema``."""
    entities: tuple[Entity, ...] = ()
    """For NER, the entities."""
    relations: tuple[Relation, ...] = ()
    """For RE, the relations."""
    events: tuple[Event, ...] = ()
    """For ED, the events with their triggers; for EAE, one event with its arguments."""

    @property
    def spans(self) -> tuple[Span, ...]:
        """All annotated spans, in the order of the annotations; for relations head then tail."""
        spans: list[Span] = list(self.entities)
        for relation in self.relations:
            spans += [relation.head, relation.tail]
        for event in self.events:
            spans += [event.trigger, *event.arguments]
        return tuple(spans)

    @property
    def annotations(self) -> list[tuple[str, tuple[Span, ...]]]:
        """The task's annotations in order, as ``(label, spans)``: head and tail for a relation, else one span."""
        match self.task:
            case Task.NER:
                return [(entity.type, (entity,)) for entity in self.entities]
            case Task.RE:
                return [(relation.type, (relation.head, relation.tail)) for relation in self.relations]
            case Task.ED:
                return [(event.type, (event.trigger,)) for event in self.events]
            case Task.EAE:
                return [(argument.role, (argument,)) for event in self.events for argument in event.arguments]

    @property
    def annotation_labels(self) -> tuple[str, ...]:
        """The label of each of ``annotations``, repeats kept."""
        return tuple(label for label, _ in self.annotations)

    def _check_spans(self) -> None:
        for name in ("entities", "relations", "events"):
            if getattr(self, name) and name != _FIELD_OF_TASK[self.task]:
                raise ValueError(
                    f"task {self.task} keeps its annotations in {_FIELD_OF_TASK[self.task]!r}, not {name!r}"
                )
        for span in self.spans:
            if self.text[span.start : span.end] != span.text:
                raise ValueError(
                    f"span {span.text!r} is not the text at {span.start}:{span.end}; "
                    f"found {self.text[span.start : span.end]!r}"
                )
        unknown = sorted(set(self.annotation_labels) - set(self.labels))
        if unknown:
            raise ValueError(f"labels {unknown} are annotated but not in the schema {list(self.labels)}")


class Example(_Annotated):
    """A labelled example: a demonstration of a pool, or a row of a test set.

    ``Example.model_validate(row)`` reads a row of a data file. The row key ``schema`` is the attribute ``labels``,
    because pydantic reserves ``schema``. ``id``, ``dataset`` and ``language`` say where an example came from, and
    ``metadata`` holds the row's other keys; none of them is part of the example's content.

    Raises:
        pydantic.ValidationError: A ``ValueError``: offsets that don't fit the text, labels outside the schema,
            annotations of another task, a misspelt key, half a surrogate pair.

    >>> row = {"id": 7, "task": "NER", "text": "Ada slept.", "schema": ["person"], "source": "diary"}
    >>> example = Example.model_validate(row)
    >>> example.metadata, example.to_row() == row
    ({'source': 'diary'}, True)
    """

    id: Text | StrictInt | None = None
    """The user's own id of the row."""
    dataset: Text | None = None
    """The data set that it came from."""
    language: Text | None = None
    """The language of its text."""
    metadata: Metadata = Field(default_factory=dict)
    """The row's other keys."""

    if TYPE_CHECKING:  # type checkers see what pydantic converts

        def __init__(
            self,
            *,
            task: Task | str,
            text: str,
            labels: Sequence[str],
            entities: Sequence[Entity | Mapping[str, Any]] = (),
            relations: Sequence[Relation | Mapping[str, Any]] = (),
            events: Sequence[Event | Mapping[str, Any]] = (),
            id: str | int | None = None,  # noqa: A002  the field's name
            dataset: str | None = None,
            language: str | None = None,
            metadata: Mapping[str, Any] = ...,
        ) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _keep_other_keys(cls, row: Any) -> Any:
        if not isinstance(row, Mapping) or (row.keys() <= _ROW_KEYS and isinstance(row.get("metadata", {}), Mapping)):
            return row
        others = {key: value for key, value in row.items() if key not in _ROW_KEYS}
        for key in others:
            _check_spelling(key, row)
        metadata = row.get("metadata", {})
        if not isinstance(metadata, Mapping):  # a key of that name with another content
            metadata = {"metadata": metadata}
        if both := sorted(metadata.keys() & others.keys()):
            raise ValueError(f"key {both[0]!r} is in the row and in its metadata; keep one of them")
        known = {key: value for key, value in row.items() if key in _ROW_KEYS}
        return {**known, "metadata": {**metadata, **others}}

    @model_validator(mode="after")
    def _valid(self) -> Self:
        if not self.text.strip():
            raise ValueError("text is empty: an example needs a text")
        self._check_spans()
        if self.task is Task.EAE and len(self.events) != 1:
            raise ValueError(f"an EAE example must have exactly one event; this one has {len(self.events)}")
        return self

    @cached_property
    def query(self) -> Query:
        """The query that this example answers: the example without its annotations."""
        event = None
        if self.task is Task.EAE:
            (annotated,) = self.events
            trigger = annotated.trigger
            event = EventQuery(type=annotated.type, trigger=trigger.text, start=trigger.start)
        # its parts are already validated; validating again would cost more than reading the example
        return Query.model_construct(
            task=self.task, text=self.text, labels=self.labels, event=event, id=self.id, metadata=self.metadata
        )

    @cached_property
    def content_id(self) -> str:
        """A hash of text, schema and annotations: 32 hexadecimal digits, the same on every machine."""
        content = self.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=_NO_CONTENT)
        canonical = json.dumps(content, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()[:32]

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values, which are not validated. Cached properties are computed again."""
        copied = super().model_copy(update=update, deep=deep)
        for name in ("query", "content_id"):
            copied.__dict__.pop(name, None)
        return copied

    def __hash__(self) -> int:
        return hash((self.task, self.text, self.labels, self.entities, self.relations, self.events))

    def to_row(self) -> dict[str, Any]:
        """A row for a data file, which ``Example.model_validate`` reads back; the keys of ``metadata`` are in it."""
        row = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        inside = {key: row["metadata"][key] for key in self.metadata if key in _ROW_KEYS}
        others = {key: value for key, value in row.pop("metadata", {}).items() if key not in inside}
        return {**row, **({"metadata": inside} if inside else {}), **others}


_ROW_KEYS = frozenset(Example.model_fields) | {"schema"}
_NO_CONTENT = {"id", "dataset", "language", "metadata"}


def _check_spelling(key: str, row: Mapping[str, Any]) -> None:
    """Refuse a misspelt key, whose annotations would be lost."""
    task = str(row.get("task")).upper()
    missing = [name for name in ("task", "text", "schema", _FIELD_OF_TASK.get(task, "task")) if name not in row]
    missing = [name for name in missing if name != "schema" or "labels" not in row]
    if missing and (meant := get_close_matches(str(key).lower(), missing, n=1, cutoff=0.8)):
        raise ValueError(f"unknown key {key!r}; did you mean {meant[0]!r}?")


class Reason(_Frozen):
    """Why a demonstration was chosen: the values that the selection method used; others are ``None`` or empty.

    Ranks start at 1 and are among the candidates that it was chosen from.
    """

    method: str
    """``label-vote``, ``similarity`` ... as ``Selector`` names them."""
    order: int
    """Its position in the order of choice, from 1. Demonstrations stay in it by similarity; else they go by score."""
    candidates: int | None = None
    """How many candidates there were."""
    similarity: float | None = None
    """The cosine with the query."""
    similarity_rank: int | None = None
    """Its rank by the cosine."""
    bm25: float | None = None
    """The BM25 score: words shared with the query, rare ones weighing more."""
    bm25_rank: int | None = None
    """Its rank by the BM25 score."""
    hybrid_rank: int | None = None
    """The rank by similarity and BM25 together."""
    vote_weight: float | None = None
    """Its share of all votes on the labels of the query, 0 to 1."""
    label_f1: float | None = None
    """Label F1 between its labels and those that the candidates vote for, expected by vote weight, 0 to 1."""
    redundancy: float | None = None
    """The cosine with the most similar earlier choice (MMR)."""
    labels: tuple[str, ...] = ()
    """Those of its labels that candidates vote for, or that the query asks for."""
    adds: tuple[str, ...] = ()
    """Those of ``labels`` that no earlier choice has."""

    def __str__(self) -> str:
        """A readable summary in one line.

        >>> print(Reason(method="hybrid", order=1, candidates=50, similarity=0.5, similarity_rank=3))
        hybrid, choice 1 of 50 candidates: similarity 0.500 (rank 3)
        """
        parts = []
        for name, value, rank in (
            ("similarity", self.similarity, self.similarity_rank),
            ("BM25", self.bm25, self.bm25_rank),
        ):
            if value is not None:
                parts.append(f"{name} {value:.3f}" + (f" (rank {rank})" if rank else ""))
        if self.hybrid_rank is not None:
            parts.append(f"hybrid rank {self.hybrid_rank}")
        if self.vote_weight is not None:
            parts.append(f"{100 * self.vote_weight:.1f}% of the votes")
        if self.label_f1 is not None:
            parts.append(f"expected label F1 {self.label_f1:.2f}")
        if self.redundancy is not None:
            parts.append(f"{self.redundancy:.3f} similar to an earlier choice")
        if self.adds:
            parts.append(f"adds {', '.join(self.adds)}")
        elif self.labels:
            parts.append(f"repeats {', '.join(self.labels)}")
        number = f" of {counted(self.candidates, 'candidate')}" if self.candidates else ""
        head = f"{self.method}, choice {self.order}{number}"
        return f"{head}: {', '.join(parts)}" if parts else head


class Demonstration(_Frozen):
    """An example chosen for a prompt."""

    example: Example
    """The example."""
    score: float
    """The score it was chosen by; higher is better."""
    reason: Reason | None = Field(default=None, repr=False)
    """Why a ``Selector`` chose it. Not part of equality."""

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Demonstration):
            return NotImplemented
        return self.score == other.score and self.example == other.example

    def __hash__(self) -> int:
        return hash((self.example, self.score))


class Rejection(StrEnum):
    """Why a part of an answer was rejected."""

    UNGROUNDED = "ungrounded"
    """Its span is not in the input."""
    LEAKED = "leaked"
    """Its span is in a demonstration of the prompt, and in the input not at all or only inside of other words."""
    UNKNOWN_LABEL = "unknown label"
    """Its label is not in the schema."""
    UNREADABLE = "unreadable"
    """It is not in the answer format."""
    SUPERSEDED = "superseded"
    """It belongs to a draft that a later part of the answer replaces."""


class Rejected(_Frozen):
    """A rejected part of an answer, kept so that nothing is lost."""

    reason: Rejection
    """Why it was rejected."""
    label: str = ""
    """Its label, as far as it was read."""
    spans: tuple[str, ...] = ()
    """The texts of its spans, as far as they were read."""
    answer: str = ""
    """The part of the answer it was read from."""


class Extraction(_Annotated):
    """The annotations extracted from a text, and the rejected parts of the answer.

    Every span in ``entities``, ``relations`` and ``events`` is in ``text`` at its offsets. For EAE ``events`` holds the
    query's one event with its arguments.
    """

    rejected: tuple[Rejected, ...] = ()
    """The rejected parts of the answer."""
    answer: str = ""
    """The model's answer, unchanged."""
    answer_ranges: tuple[tuple[int, int], ...] = Field(default=(), exclude=True, repr=False)
    """For each of ``annotations`` the start and end of the part of ``answer`` that it was read from.

    Empty if the extraction was not read from an answer. Not part of rows or of equality.
    """

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Extraction):
            return NotImplemented
        return all(
            getattr(self, name) == getattr(other, name) for name in type(self).model_fields if name != "answer_ranges"
        )

    def __hash__(self) -> int:
        return hash((self.task, self.text, self.annotation_labels, self.answer))

    @model_validator(mode="after")
    def _valid(self) -> Self:
        self._check_spans()
        return self
