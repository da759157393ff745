"""The format interface, and the data between formats and examples: documents, labels in use, problems."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from ruie_components.errors import RowError
from ruie_components.files import json_values, open_text
from ruie_components.integers import counted
from ruie_components.types import Example, Task

MOST_PROBLEMS = 100
"""The number of problems that are kept with their text; all are counted."""


class Mention(NamedTuple):
    """Characters ``start`` to ``end`` of a document's text; its type is empty if it is only part of a relation."""

    type: str
    start: int
    end: int


@dataclass(slots=True)
class Link:
    """A relation between two mentions, by their indices."""

    type: str
    head: int
    tail: int


@dataclass(slots=True)
class Frame:
    """An event: the index of its trigger among the mentions, and ``(role, index)`` of its arguments."""

    type: str
    trigger: int
    arguments: list[tuple[str, int]] = field(default_factory=list)
    id: str | None = None


@dataclass(slots=True)
class Document:
    """A text with all its annotations, as in most annotation tools; it becomes one example per task.

    ``entities`` are the indices of the mentions that are entities: not triggers, and with a type. ``tasks`` are the
    tasks that the text was annotated for, if the format tells them.
    """

    location: str
    text: str
    mentions: list[Mention] = field(default_factory=list)
    entities: list[int] = field(default_factory=list)
    relations: list[Link] = field(default_factory=list)
    events: list[Frame] = field(default_factory=list)
    id: str | int | None = None
    metadata: dict[str, Any] = field(default_factory=dict)
    tasks: frozenset[Task] | None = None

    def add_entity(self, kind: str, start: int, end: int) -> int:
        """Add an entity; returns the index of its mention."""
        self.mentions.append(Mention(kind, start, end))
        self.entities.append(len(self.mentions) - 1)
        return len(self.mentions) - 1

    def add_mention(self, start: int, end: int) -> int:
        """Add a span that is not an entity; returns its index."""
        self.mentions.append(Mention("", start, end))
        return len(self.mentions) - 1


@dataclass
class Schema:
    """The labels in use, by task, and the roles by event type; as ordered sets."""

    labels: dict[Task, dict[str, None]] = field(default_factory=dict)
    roles: dict[str, dict[str, None]] = field(default_factory=dict)

    def declare(self, task: Task, labels: Iterable[str]) -> None:
        """Add labels of a task, even if no document has them."""
        self.labels.setdefault(task, {}).update(dict.fromkeys(labels))

    def declare_roles(self, event: str, roles: Iterable[str]) -> None:
        """Add roles of an event type."""
        self.roles.setdefault(event, {}).update(dict.fromkeys(roles))

    def collect(self, document: Document) -> None:
        """Add the labels of a document."""
        if document.entities:
            self.declare(Task.NER, [document.mentions[index].type for index in document.entities])
        if document.relations:
            self.declare(Task.RE, [relation.type for relation in document.relations])
        for event in document.events:
            self.declare(Task.ED, [event.type])
            self.declare_roles(event.type, [role for role, _ in event.arguments])
        for task in document.tasks or ():
            self.labels.setdefault(task, {})


@dataclass
class Reading:
    """A reader's report on its documents.

    Attributes:
        strict: Raise the first problem.
        encoding: The files' encoding, if it is not UTF-8 and has no byte order mark.
        problems: The first problems, each with file, line and field.
        count: The number of all problems.
        notes: What was changed or left out while reading, and how often.
        schema: The labels in use.
    """

    strict: bool = False
    encoding: str | None = None
    problems: list[str] = field(default_factory=list)
    count: int = 0
    notes: Counter[str] = field(default_factory=Counter)
    schema: Schema = field(default_factory=Schema)

    def problem(self, message: str) -> None:
        """Count a row that is skipped.

        Raises:
            RowError: In strict mode.
        """
        if self.strict:
            raise RowError(message)
        self.count += 1
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(message)


@dataclass(frozen=True)
class Sample:
    """The beginning of a file, from which a format recognizes its files."""

    path: Path
    encoding: str | None = None

    @cached_property
    def start(self) -> str:
        """The first 64 Ki characters; empty for a folder or a binary file."""
        if self.path.is_dir():
            return ""
        try:
            with open_text(self.path, "r", encoding=self.encoding) as file:
                return file.read(1 << 16)
        except (OSError, EOFError, ValueError, LookupError):
            return ""

    @cached_property
    def raw(self) -> bytes:
        """The first 16 bytes of a file."""
        if self.path.is_dir():
            return b""
        with self.path.open("rb") as file:
            return file.read(16)

    @cached_property
    def rows(self) -> list[Mapping[str, Any]]:
        """The first five JSON objects, if it holds JSON."""
        rows: list[Mapping[str, Any]] = []
        if self.start.lstrip()[:1] not in ("{", "["):
            return rows
        try:
            for _, value in json_values(self.path, encoding=self.encoding):
                if not isinstance(value, dict):
                    return []
                rows.append(value)
                if len(rows) == 5:
                    break
        except RowError:
            pass
        return rows

    def each_row(self, *keys: str) -> bool:
        """Whether it holds JSON objects, the first of which all have these keys."""
        return bool(self.rows) and all(key in row for row in self.rows for key in keys)


class Format(Protocol):
    """An annotation format. Add your own by the entry point ``ruie.formats``, which names an instance."""

    name: str
    """The value of ``--format``."""
    title: str
    """A description for lists."""

    def recognizes(self, sample: Sample) -> bool:
        """Whether a file or folder is in this format."""
        ...

    def read(self, path: Path, reading: Reading) -> Iterator[Document | Example]:
        """The documents or examples of a file or folder, one at a time.

        A row that can't be read is reported by ``reading.problem`` and skipped.

        Raises:
            RowError: The file can't be read further.
        """
        ...

    def write(self, path: Path, documents: Iterable[Document], reading: Reading) -> int:
        """Write documents to a file or folder; notes in ``reading.notes`` what the format can't represent.

        ``reading.schema`` has all labels.

        Returns:
            The number of documents.

        Raises:
            RuieError: This format can't be written.
        """
        ...


def check_span(document: Document, start: Any, end: Any, field_name: str) -> tuple[int, int]:
    """Check the offsets of a span.

    Raises:
        RowError: They are not integers, or outside the text; the message names file, line and field.
    """
    for value in (start, end):
        if not isinstance(value, int) or isinstance(value, bool):
            raise RowError(f"{document.location}: {field_name}: expected integers as offsets, got {value!r}")
    if not 0 <= start < end <= len(document.text):
        raise RowError(
            f"{document.location}: {field_name}: the span {start}:{end} is empty or outside the text, which has "
            f"{counted(len(document.text), 'character')}"
        )
    return start, end


def text_of(value: Any, location: str, field_name: str, *, what: str = "text") -> str:
    """A required string.

    Raises:
        RowError: It is not a string, or blank.
    """
    if not isinstance(value, str) or not value.strip():
        raise RowError(f"{location}: {field_name}: expected a {what}, got {_short(value)}")
    return value


def list_of(value: Any, location: str, field_name: str) -> list[Any]:
    """An optional list; empty if absent.

    Raises:
        RowError: It is something else.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise RowError(f"{location}: {field_name}: expected a list, got {_short(value)}")
    return value


def object_of(value: Any, location: str, field_name: str) -> Mapping[str, Any]:
    """A required JSON object.

    Raises:
        RowError: It is something else.
    """
    if not isinstance(value, dict):
        raise RowError(f"{location}: {field_name}: expected an object, got {_short(value)}")
    return value


def _short(value: Any) -> str:
    shown = "nothing" if value is None else repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def own_id(value: Any) -> str | int | None:
    """The id of a row, as in an example."""
    return value if isinstance(value, str | int) and not isinstance(value, bool) else None


def metadata_of(row: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    """The unknown keys of a row, and the content of its ``meta``."""
    left = {key: value for key, value in row.items() if key not in {*known, "meta"}}
    meta = row.get("meta")
    return {**meta, **left} if isinstance(meta, dict) else left | ({"meta": meta} if meta is not None else {})
