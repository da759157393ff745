"""Converts documents to examples, one per task, and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from ruie_components.errors import RowError, explain
from ruie_components.formats.base import Document, Frame, Link, Reading, Schema
from ruie_components.formats.fast import plain_example
from ruie_components.types import Example, Span, Task

_TASKS = tuple(Task)
_EVENT = "#"  # between the ids of document and event in the id of an EAE example


def examples_of(document: Document, schema: Schema, tasks: frozenset[Task] | None = None) -> Iterator[Example]:
    """The examples of a document: one per task of the schema, and for EAE one per event.

    Args:
        document: A text with its annotations.
        schema: The labels of all documents.
        tasks: Only these.

    Raises:
        RowError: The document is not a valid example; the message names file, line and field.
    """
    for task in _TASKS:
        wanted = (tasks is None or task in tasks) and (document.tasks is None or task in document.tasks)
        if task is Task.EAE and wanted:
            yield from _argument_examples(document, schema)
        elif wanted and (labels := schema.labels.get(task)):
            if task is Task.NER and not document.metadata and (plain := _plain(document, labels)) is not None:
                yield plain
                continue
            yield _example(document, task, labels, _ANNOTATIONS[task](document))


def _plain(document: Document, labels: Iterable[str]) -> Example | None:
    spans = [document.mentions[index] for index in document.entities]
    return plain_example(document.text, tuple(labels), spans, id=document.id)


def _example(
    document: Document, task: Task, labels: Iterable[str], annotations: Mapping[str, Any], suffix: str = ""
) -> Example:
    row: dict[str, Any] = {"task": task, "text": document.text, "labels": tuple(labels), **annotations}
    if document.id is not None:
        row["id"] = f"{document.id}{suffix}" if suffix else document.id
    if document.metadata:
        row["metadata"] = document.metadata
    try:
        return Example(**row)
    except ValidationError as error:
        raise RowError(f"{document.location}: {explain(error)}") from error


def _span(document: Document, index: int) -> dict[str, Any]:
    _, start, end = document.mentions[index]
    return {"text": document.text[start:end], "start": start, "end": end}


def _entities(document: Document) -> dict[str, Any]:
    return {
        "entities": [{**_span(document, index), "type": document.mentions[index].type} for index in document.entities]
    }


def _relations(document: Document) -> dict[str, Any]:
    return {
        "relations": [
            {"type": each.type, "head": _span(document, each.head), "tail": _span(document, each.tail)}
            for each in document.relations
        ]
    }


def _events(document: Document) -> dict[str, Any]:
    unique = dict.fromkeys((each.type, document.mentions[each.trigger][1:]) for each in document.events)
    spans = {document.mentions[each.trigger][1:]: each.trigger for each in document.events}
    return {"events": [{"type": kind, "trigger": _span(document, spans[at])} for kind, at in unique]}


_ANNOTATIONS = {Task.NER: _entities, Task.RE: _relations, Task.ED: _events}


def _argument_examples(document: Document, schema: Schema) -> Iterator[Example]:
    for number, event in enumerate(document.events, start=1):
        roles = schema.roles.get(event.type)
        if not roles:
            continue
        arguments = [{**_span(document, index), "role": role} for role, index in event.arguments]
        annotated = {"type": event.type, "trigger": _span(document, event.trigger), "arguments": arguments}
        suffix = f"{_EVENT}{event.id or f'E{number}'}"
        yield _example(document, Task.EAE, roles, {"events": [annotated]}, suffix)


@dataclass
class _Group:
    document: Document
    by_span: dict[tuple[int, int], int] = field(default_factory=dict)
    frames: dict[tuple[str, int, int], list[Frame]] = field(default_factory=dict)

    def mention(self, span: Span) -> int:
        """The mention of a span; an existing entity is reused, so that relations are between entities."""
        index = self.by_span.get(span.offsets)
        if index is None:
            index = self.by_span[span.offsets] = self.document.add_mention(*span.offsets)
        return index


def documents_of(examples: Iterable[Example], reading: Reading) -> list[Document]:
    """Join the examples of each text and ``id`` to documents, all in memory.

    Examples of one task whose schemas have a label in common are documents of their own, as each is annotated
    completely. ``reading`` collects their labels, and notes what a document can't represent.
    """
    groups: dict[tuple[str | None, str, int], list[Example]] = {}
    annotated: dict[tuple[str | None, str, Task, str], int] = {}  # the number of a text's documents that have a label
    for example in examples:
        text, number = (_document_id(example), example.text), 0
        if example.task is not Task.EAE:  # which has an example per event
            own = [(*text, example.task, label) for label in example.labels]
            number = max((annotated.get(each, 0) for each in own), default=0)
            annotated |= dict.fromkeys(own, number + 1)
        groups.setdefault((*text, number), []).append(example)
    return [_document(members, reading) for members in groups.values()]


def _document_id(example: Example) -> str | None:
    if example.id is None:
        return None
    own = str(example.id)
    return own.rpartition(_EVENT)[0] or own if example.task is Task.EAE else own


def _document(examples: list[Example], reading: Reading) -> Document:
    first = examples[0]
    same = [each for each in examples if each.task is not Task.EAE]
    document = Document("", first.text, id=same[0].id if same else _document_id(first))
    document.tasks = frozenset(each.task for each in examples)
    document.metadata = {key: value for each in reversed(examples) for key, value in each.metadata.items()}
    group = _Group(document)
    order = list(Task)
    for example in sorted(examples, key=lambda each: order.index(each.task)):
        _note_extras(example, reading)
        if example.task is not Task.EAE:
            reading.schema.declare(example.task, example.labels)
        entities = dict.fromkeys((entity.type, *entity.offsets) for entity in example.entities)
        for kind, start, end in entities:
            group.by_span[start, end] = document.add_entity(kind, start, end)
        reading.notes["repeated entities are written once"] += len(example.entities) - len(entities)
        for relation in example.relations:
            document.relations.append(Link(relation.type, group.mention(relation.head), group.mention(relation.tail)))
        _add_events(group, example, reading)
    return document


def _add_events(group: _Group, example: Example, reading: Reading) -> None:
    for event in example.events:
        reading.schema.declare_roles(event.type, example.labels if example.task is Task.EAE else ())
        reading.schema.declare(Task.ED, [event.type])
        key = (event.type, *event.trigger.offsets)
        bare = [frame for frame in group.frames.get(key, []) if not frame.arguments]
        if bare and example.task is Task.EAE:
            frame = bare[0]
        else:
            frame = Frame(event.type, group.document.add_mention(*event.trigger.offsets))
            group.document.events.append(frame)
            group.frames.setdefault(key, []).append(frame)
        if example.task is Task.EAE and example.id is not None:
            frame.id = str(example.id).rpartition(_EVENT)[2]
        frame.arguments += [(argument.role, group.mention(argument)) for argument in event.arguments]


def _note_extras(example: Example, reading: Reading) -> None:
    for name in ("dataset", "language"):
        if getattr(example, name) is not None:
            reading.notes[f"the row's {name!r} is left out"] += 1
