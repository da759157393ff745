"""Doccano's JSON Lines: spans as ``[start, end, label]``, or ``entities``, ``annotations`` and relations as objects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruie_components.errors import RowError
from ruie_components.files import json_values
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

_LISTS = ("label", "labels", "entities", "annotations")  # keys of spans
_KEYS = ("id", "doc_id", "text", "data", *_LISTS, "relations", "Comments")
_LABEL_FILE = "label_config.json"
_NUMBERS = (
    "labels are numbers, which older exports have in place of names: put the project's label file beside the export as "
    'label_config.json, or name the numbers by a mapping ([rename] 2 = "person")'
)


class DoccanoFormat:
    """Rows of sequence labelling, of intents with slots and of relation extraction; ``data`` is an older ``text``.

    Older exports have the number of a label in place of its name. The names are those of ``label_config.json`` beside
    the export, which Doccano's page of labels exports; without that file the numbers are the labels.
    """

    name = "doccano"
    title = "Doccano JSON Lines: label(s) as [start, end, label], or entities, annotations and relations"

    def recognizes(self, sample: Sample) -> bool:
        """Whether rows have lists of spans, or entities or annotations with start_offset."""
        return any(map(_is_doccano, sample.rows)) and not sample.each_row("spans")

    def read(self, path: Path, reading: Reading) -> Iterator[Document]:
        """Read one document per row.

        Raises:
            RowError: The label file beside it can't be read.
        """
        names = _label_names(path.with_name(_LABEL_FILE), reading)
        return read_documents(path, reading, lambda location, row: [_document(location, row, names, reading)])

    def write(self, path: Path, documents: Iterable[Document], reading: Reading) -> int:
        """Write rows with entities and relations; rows with only entities use ``label``."""
        return write_lines(path, (_row(document, reading) for document in documents))


def _is_doccano(row: Mapping[str, Any]) -> bool:
    for key in ("label", "labels"):
        value = row.get(key)
        spans = isinstance(value, list) and (not value or isinstance(value[0], list))
        if spans and {"text", "data", "meta"} & row.keys():
            return True
    match row:
        case {"entities": []}:
            return "text" in row and bool({"cats", "doc_id"} & row.keys() or row.keys() >= {"relations", "Comments"})
        case {"annotations": []}:
            return row.keys() >= {"id", "text"}
        case {"entities": [[*_], *_]}:
            return "text" in row
        case {"entities": [{"start_offset": _}, *_]} | {"annotations": [{"start_offset": _}, *_]}:
            return True
    return False


def _label_names(path: Path, reading: Reading) -> dict[str, str]:
    """The names of labels by their numbers, from a label file; empty if there is none, or it has no numbers."""
    if not path.is_file():
        return {}
    labels = [value for _, value in json_values(path, encoding=reading.encoding)]
    return {
        str(label["id"]): label["text"]
        for label in labels
        if isinstance(label, dict) and _is_number(label.get("id")) and isinstance(label.get("text"), str)
    }


def _is_own(value: Any) -> bool:
    """Whether an annotation says who made it."""
    return isinstance(value, dict) and value.get("user") is not None


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


class _Row:
    """A row with the names of labels that are numbers."""

    def __init__(self, location: str, row: Mapping[str, Any], names: Mapping[str, str], reading: Reading) -> None:
        key = "data" if "data" in row and "text" not in row else "text"
        self.document = Document(location, text_of(row.get(key), location, key))
        self.by_id: dict[str, int] = {}  # mentions by the ids of their entities
        self._known: dict[tuple[str, int, int], int] = {}  # several people may have annotated the same span
        self._names, self._reading = names, reading

    def label(self, value: Any, field: str) -> str:
        """The name of a label."""
        if not _is_number(value):
            return text_of(value, self.document.location, field, what="label")
        name = self._names.get(str(value))
        self._reading.notes[_NUMBERS] += name is None
        return str(value) if name is None else name

    def add_list(self, span: list[Any], field: str) -> None:
        """Add a span ``[start, end, label]``."""
        if len(span) != 3:
            raise RowError(f"{self.document.location}: {field}: expected [start, end, label], got {span!r:.60}")
        start, end = check_span(self.document, span[0], span[1], field)
        self.document.add_entity(self.label(span[2], field), start, end)

    def add_object(self, value: Any, field: str) -> None:
        """Add a span with ``start_offset`` and ``end_offset``, once even if several people annotated it."""
        span = object_of(value, self.document.location, field)
        start, end = check_span(self.document, span.get("start_offset"), span.get("end_offset"), field)
        name = "label" if span.get("label_name") is None else "label_name"
        mention = self.label(span.get(name), f"{field}.{name}"), start, end
        if mention not in self._known or not _is_own(span):
            self._known[mention] = self.document.add_entity(*mention)
        self.by_id.setdefault(str(span.get("id")), self._known[mention])


def _document(location: str, row: Mapping[str, Any], names: Mapping[str, str], reading: Reading) -> Document:
    spans = _Row(location, row, names, reading)
    document = spans.document
    document.id = own_id(row.get("id", row.get("doc_id")))
    document.metadata = metadata_of(row, _KEYS)
    users = {
        str(each.get("user")) for each in list_of(row.get("annotations"), location, "annotations") if _is_own(each)
    }
    reading.notes["annotations of several people of one text were read together"] += len(users) > 1
    for name in _LISTS:
        for index, value in enumerate(list_of(row.get(name), location, name)):
            field = f"{name}[{index}]"
            if isinstance(value, list):
                spans.add_list(value, field)
            elif name.startswith("label"):
                raise RowError(f"{location}: {field}: expected [start, end, label], got {value!r:.60}")
            else:
                spans.add_object(value, field)
    for index, value in enumerate(list_of(row.get("relations"), location, "relations")):
        field = f"relations[{index}]"
        relation = object_of(value, location, field)
        sides = []
        for side in ("from_id", "to_id"):
            if str(relation.get(side)) not in spans.by_id:
                raise RowError(f"{location}: {field}.{side}: there is no entity {relation.get(side)!r:.60}")
            sides.append(spans.by_id[str(relation.get(side))])
        document.relations.append(Link(spans.label(relation.get("type"), f"{field}.type"), *sides))
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
