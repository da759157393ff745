"""Doccano's JSON Lines: spans as ``[start, end, label]``, or ``entities`` and ``relations`` as objects."""

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

_KEYS = ("id", "text", "data", "label", "labels", "entities", "relations", "Comments")


class DoccanoFormat:
    """Rows of sequence labelling, of intents with slots and of relation extraction; ``data`` is an older ``text``."""

    name = "doccano"
    title = "Doccano JSON Lines: label(s) as [start, end, label], or entities and relations"

    def recognizes(self, sample: Sample) -> bool:
        """Whether rows have lists of spans, or entities with start_offset."""
        return any(map(_is_doccano, sample.rows)) and not sample.each_row("spans")

    def read(self, path: Path, reading: Reading) -> Iterator[Document]:
        """Read one document per row."""
        return read_documents(path, reading, lambda location, row: [_document(location, row, reading)])

    def write(self, path: Path, documents: Iterable[Document], reading: Reading) -> int:
        """Write rows with entities and relations; rows with only entities use ``label``."""
        return write_lines(path, (_row(document, reading) for document in documents))


def _is_doccano(row: Mapping[str, Any]) -> bool:
    for key in ("label", "labels"):
        value = row.get(key)
        spans = isinstance(value, list) and (not value or isinstance(value[0], list))
        if spans and {"text", "data", "meta"} & row.keys():
            return True
    entities = row.get("entities")
    if entities == []:
        return "text" in row and ("cats" in row or row.keys() >= {"relations", "Comments"})
    if _is_triples(entities):
        return "text" in row
    return isinstance(entities, list) and any(isinstance(each, dict) and "start_offset" in each for each in entities)


def _is_triples(entities: Any) -> bool:
    return isinstance(entities, list) and any(isinstance(each, list) for each in entities)


def _document(location: str, row: Mapping[str, Any], reading: Reading) -> Document:
    key = "data" if "data" in row and "text" not in row else "text"
    document = Document(location, text_of(row.get(key), location, key))
    document.id, document.metadata = own_id(row.get("id")), metadata_of(row, _KEYS)
    by_id: dict[Any, int] = {}
    triples = _is_triples(row.get("entities"))  # the slots of a project of intents
    for name in ("label", "labels", "entities") if triples else ("label", "labels"):
        for index, span in enumerate(list_of(row.get(name), location, name)):
            field = f"{name}[{index}]"
            if not isinstance(span, list) or len(span) != 3:
                raise RowError(f"{location}: {field}: expected [start, end, label], got {span!r:.60}")
            start, end = check_span(document, span[0], span[1], field)
            document.add_entity(text_of(span[2], location, field, what="label"), start, end)
    for index, value in enumerate([] if triples else list_of(row.get("entities"), location, "entities")):
        field = f"entities[{index}]"
        entity = object_of(value, location, field)
        start, end = check_span(document, entity.get("start_offset"), entity.get("end_offset"), field)
        label = text_of(entity.get("label"), location, f"{field}.label", what="label")
        by_id.setdefault(str(entity.get("id")), document.add_entity(label, start, end))
    for index, value in enumerate(list_of(row.get("relations"), location, "relations")):
        field = f"relations[{index}]"
        relation = object_of(value, location, field)
        sides = []
        for side in ("from_id", "to_id"):
            if str(relation.get(side)) not in by_id:
                raise RowError(f"{location}: {field}.{side}: there is no entity {relation.get(side)!r:.60}")
            sides.append(by_id[str(relation.get(side))])
        document.relations.append(Link(text_of(relation.get("type"), location, f"{field}.type"), *sides))
    reading.notes["comments are left out"] += bool(row.get("Comments"))
    document.tasks = frozenset({Task.NER, Task.RE} if "relations" in row else {Task.NER})
    return document


def _row(document: Document, reading: Reading) -> dict[str, Any]:
    reading.notes["events are left out"] += bool(document.events)
    reading.notes["spans of relations that are not entities get the label 'span'"] += any(
        not document.mentions[index].type for each in document.relations for index in (each.head, each.tail)
    )
    row: dict[str, Any] = {"id": document.id} if document.id is not None else {}
    row |= {"text": document.text}
    if Task.RE in (document.tasks or ()):
        used = {index for each in document.relations for index in (each.head, each.tail)}
        row["entities"] = [
            {"id": index, "label": kind or "span", "start_offset": start, "end_offset": end}
            for index, (kind, start, end) in enumerate(document.mentions)
            if kind or index in used
        ]
        row["relations"] = [
            {"id": index, "from_id": each.head, "to_id": each.tail, "type": each.type}
            for index, each in enumerate(document.relations)
        ]
    else:
        row["label"] = [[start, end, kind] for kind, start, end in (document.mentions[at] for at in document.entities)]
    return {**row, **({"meta": document.metadata} if document.metadata else {})}
