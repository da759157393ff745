"""langextract's examples as JSON: ``text`` and ``extractions``, each with its class and text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruie_components.errors import RowError
from ruie_components.formats.base import (
    Document,
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

_KEYS = ("text", "extractions", "document_id")
_ATTRIBUTES = "attributes"
_ALIGNED = "match_"  # the beginning of alignment_status: match_exact, match_fuzzy and others


class LangextractFormat:
    """Example data and annotated documents. Texts of extractions without an interval are looked up in order.

    An aligned extraction is the text at its interval, also where its own text differs; one that was not aligned, and is
    not in the text, is left out. Attributes are kept in the example's metadata, because they are not entities.
    """

    name = "langextract"
    title = "langextract's examples and annotated documents"

    def recognizes(self, sample: Sample) -> bool:
        """Whether rows have a text and extractions."""
        return sample.each_row("text", "extractions")

    def read(self, path: Path, reading: Reading) -> Iterator[Document]:
        """Read one document per row."""
        return read_documents(path, reading, lambda location, row: [_document(location, row, reading)])

    def write(self, path: Path, documents: Iterable[Document], reading: Reading) -> int:
        """Write rows like langextract's annotated documents."""
        return write_lines(path, (_row(document, reading) for document in documents))


def _document(location: str, row: Mapping[str, Any], reading: Reading) -> Document:
    document = Document(location, text_of(row.get("text"), location, "text"), tasks=frozenset({Task.NER}))
    document.id, document.metadata = own_id(row.get("document_id")), metadata_of(row, _KEYS)
    attributes: dict[str, Any] = {}
    last: dict[str, int] = {}  # the end of a text's last mention
    for index, value in enumerate(list_of(row.get("extractions"), location, "extractions")):
        field = f"extractions[{index}]"
        each = object_of(value, location, field)
        kind = text_of(each.get("extraction_class"), location, f"{field}.extraction_class")
        shown = text_of(each.get("extraction_text"), location, f"{field}.extraction_text")
        span = _aligned(document, each, shown, field, reading) or _looked_up(document.text, shown, last.get(shown, 0))
        if span is None and "char_interval" in each and each["char_interval"] is None:
            reading.notes["extractions that are not in the text are left out"] += 1
            continue
        if span is None:
            raise RowError(f"{location}: {field}.extraction_text: {shown!r:.60} is not in the text")
        last[shown] = span[1]
        if each.get("attributes"):
            attributes[str(len(document.entities))] = each["attributes"]
        document.add_entity(kind, *span)
    if attributes:
        document.metadata[_ATTRIBUTES] = attributes
    return document


def _aligned(
    document: Document, extraction: Mapping[str, Any], shown: str, field: str, reading: Reading
) -> tuple[int, int] | None:
    """The interval of an extraction, if its text is there, or langextract says that it was aligned."""
    interval = extraction.get("char_interval")
    start = interval.get("start_pos") if isinstance(interval, dict) else None
    if not isinstance(interval, dict) or not isinstance(start, int):
        return None
    if document.text.startswith(shown, max(start, 0)):
        return max(start, 0), max(start, 0) + len(shown)
    if not str(extraction.get("alignment_status")).lower().startswith(_ALIGNED):
        return None
    span = check_span(document, start, interval.get("end_pos"), f"{field}.char_interval")
    reading.notes["extractions whose text differs are the text at their interval"] += 1
    return span


def _looked_up(text: str, shown: str, after: int) -> tuple[int, int] | None:
    start = text.find(shown, after)
    start = text.find(shown) if start < 0 else start  # a mention may have several classes
    return None if start < 0 else (start, start + len(shown))


def _row(document: Document, reading: Reading) -> dict[str, Any]:
    reading.notes["relations and events are left out"] += bool(document.relations or document.events)
    reading.notes["other keys than attributes are left out"] += bool(document.metadata.keys() - {_ATTRIBUTES})
    attributes = document.metadata.get(_ATTRIBUTES)
    extractions = []
    for number, index in enumerate(document.entities):
        kind, start, end = document.mentions[index]
        own = attributes.get(str(number)) if isinstance(attributes, dict) else None
        extractions.append(
            {
                "extraction_class": kind,
                "extraction_text": document.text[start:end],
                "char_interval": {"start_pos": start, "end_pos": end},
                "attributes": own or {},
            }
        )
    row: dict[str, Any] = {"document_id": document.id} if document.id is not None else {}
    return {**row, "text": document.text, "extractions": extractions}
