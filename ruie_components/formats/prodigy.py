"""Prodigy's JSON Lines: ``spans`` and ``relations`` of accepted texts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruie_components.errors import RowError
from ruie_components.formats.base import (
    Document,
    Link,
    Reading,
    Sample,
    check_span,
    list_of,
    metadata_of,
    object_of,
    own_id,
    text_of,
)
from ruie_components.formats.json_rows import read_documents, write_lines
from ruie_components.types import Task

_KEYS = ("id", "text", "spans", "relations", "tokens", "answer")
_OWN = ("_input_hash", "_task_hash", "_view_id", "_session_id", "_annotator_id", "_timestamp", "_is_binary", "config")


_VIEWS = ("choice", "classification")  # interfaces without spans


class ProdigyFormat:
    """Rows with ``answer: accept``, or without an answer; others are left out.

    So are rows of interfaces without spans, and those that show one span to accept or reject: their other spans are not
    annotated. Of the rows of several annotators for a text those of the first are read.
    """

    name = "prodigy"
    title = "Prodigy JSON Lines: spans and relations of accepted texts"

    def recognizes(self, sample: Sample) -> bool:
        """Whether rows have a text, and spans or Prodigy's own keys."""
        return sample.each_row("text") and all({"spans", "answer", "_input_hash"} & row.keys() for row in sample.rows)

    def read(self, path: Path, reading: Reading) -> Iterator[Document]:
        """Read one document per accepted row."""
        annotators: dict[tuple[Any, Any], Any] = {}  # of a text in an interface, the first
        return read_documents(path, reading, lambda location, row: _documents(location, row, reading, annotators))

    def write(self, path: Path, documents: Iterable[Document], reading: Reading) -> int:
        """Write rows with spans, relations and ``answer: accept``."""
        return write_lines(path, (_row(document, reading) for document in documents))


def _documents(
    location: str, row: Mapping[str, Any], reading: Reading, annotators: dict[tuple[Any, Any], Any]
) -> Iterator[Document]:
    view, annotator = own_id(row.get("_view_id")), own_id(row.get("_annotator_id"))
    if row.get("answer", "accept") != "accept":
        reading.notes["rows that were rejected or ignored are left out"] += 1
        return
    if view in _VIEWS:
        reading.notes[f"rows of the interface {view!r}, which has no spans, are left out"] += 1
        return
    if row.get("_is_binary") is True:
        reading.notes["rows with one span to accept or reject (_is_binary) are left out"] += 1
        return
    document = Document(location, text_of(row.get("text"), location, "text"))
    document.id = own_id(row.get("id"))
    document.metadata = metadata_of(row, _KEYS + _OWN)
    for index, value in enumerate(list_of(row.get("spans"), location, "spans")):
        _add_span(document, value, f"spans[{index}]")
    spans = {document.mentions[index][1:]: index for index in document.entities}
    for index, value in enumerate(list_of(row.get("relations"), location, "relations")):
        field = f"relations[{index}]"
        relation = object_of(value, location, field)
        sides = [_side(document, row, relation, side, field, spans) for side in ("head", "child")]
        document.relations.append(Link(text_of(relation.get("label"), location, f"{field}.label"), *sides))
    document.tasks = frozenset(
        task for task, key in ((Task.NER, "spans"), (Task.RE, "relations")) if key in row
    ) or frozenset({Task.NER})
    text = own_id(row.get("_input_hash"))
    if text is not None and annotators.setdefault((text, view), annotator) != annotator:
        reading.notes["of several annotators of a text the first was read"] += 1
        return
    yield document


def _add_span(document: Document, value: Any, field: str) -> None:
    span = object_of(value, document.location, field)
    start, end = check_span(document, span.get("start"), span.get("end"), field)
    document.add_entity(text_of(span.get("label"), document.location, f"{field}.label", what="label"), start, end)


def _side(
    document: Document,
    row: Mapping[str, Any],
    relation: Mapping[str, Any],
    side: str,
    field: str,
    spans: dict[tuple[Any, ...], int],
) -> int:
    """A side of a relation: its span if the row has it, else the entity that contains its token."""
    if isinstance(relation.get(f"{side}_span"), dict):
        given = relation[f"{side}_span"]
        offsets = check_span(document, given.get("start"), given.get("end"), f"{field}.{side}_span")
    else:
        tokens = list_of(row.get("tokens"), document.location, "tokens")
        number = relation.get(side)
        if not isinstance(number, int) or not 0 <= number < len(tokens) or not isinstance(tokens[number], dict):
            raise RowError(f"{document.location}: {field}.{side}: there is no token {number!r:.60}")
        token = check_span(document, tokens[number].get("start"), tokens[number].get("end"), f"tokens[{number}]")
        around = [at for at in spans if at[0] <= token[0] and token[1] <= at[1]]
        offsets = min(around, key=lambda at: at[1] - at[0]) if around else token
    if offsets not in spans:
        spans[offsets] = document.add_mention(*offsets)
    return spans[offsets]


def _row(document: Document, reading: Reading) -> dict[str, Any]:
    reading.notes["events are left out"] += bool(document.events)

    def span(index: int) -> dict[str, Any]:
        kind, start, end = document.mentions[index]
        return {"start": start, "end": end, **({"label": kind} if kind else {})}

    row: dict[str, Any] = {"id": document.id} if document.id is not None else {}
    row |= {"text": document.text}
    tasks = document.tasks or frozenset()
    if Task.NER in tasks:
        row["spans"] = [span(index) for index in document.entities]
    if Task.RE in tasks:
        row["relations"] = [
            {"label": each.type, "head_span": span(each.head), "child_span": span(each.tail)}
            for each in document.relations
        ]
    return {**row, **({"meta": document.metadata} if document.metadata else {}), "answer": "accept"}
