"""GLiNER's training data: ``tokenized_text``, and ``ner`` as ``[first token, last token, label]``."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruie_components.errors import RowError
from ruie_components.files import atomic_text
from ruie_components.formats.base import (
    Document,
    Link,
    Reading,
    Sample,
    list_of,
    metadata_of,
    own_id,
    text_of,
)
from ruie_components.formats.json_rows import read_documents, write_lines
from ruie_components.formats.tags import OUTSIDE, tagged_document, tags_of_document
from ruie_components.types import Task

_TOKENS, _ENTITIES, _RELATIONS = "tokenized_text", "ner", "relations"
_KEYS = ("id", _TOKENS, _ENTITIES, _RELATIONS, "ner_labels", "ner_negatives", "rel_labels", "rel_negatives")


class GlinerFormat:
    """Rows of tokens with entities, which may overlap, and of GLiNER's relation models with relations between them.

    The last token of an entity belongs to it. ``ner_labels`` and ``rel_labels`` are labels of the schema.
    """

    name = "gliner"
    title = "GLiNER's training data: tokenized_text, ner and relations"

    def recognizes(self, sample: Sample) -> bool:
        """Whether rows have tokenized_text and ner."""
        return sample.each_row(_TOKENS, _ENTITIES)

    def read(self, path: Path, reading: Reading) -> Iterator[Document]:
        """Read one document per row."""
        return read_documents(path, reading, lambda location, row: [_document(location, row, reading)])

    def write(self, path: Path, documents: Iterable[Document], reading: Reading) -> int:
        """Write a JSON array, or JSON Lines if the name ends in ``.jsonl``."""
        rows = (_row(document, reading) for document in documents)
        if path.name.removesuffix(".gz").endswith(".jsonl"):
            return write_lines(path, rows)
        count = 0
        with atomic_text(path) as file:
            file.write("[")
            for row in rows:
                file.write(("," if count else "") + "\n" + json.dumps(row, ensure_ascii=False))
                count += 1
            file.write("\n]\n")
        return count


def _document(location: str, row: Mapping[str, Any], reading: Reading) -> Document:
    tokens = list_of(row.get(_TOKENS), location, _TOKENS)
    if not all(isinstance(token, str) for token in tokens) or not any(map(str.strip, tokens)):
        raise RowError(f"{location}: {_TOKENS}: expected words")
    words = [token for token in tokens if token.strip()]
    document = tagged_document(location, words, [OUTSIDE] * len(words))
    document.id, document.metadata = own_id(row.get("id")), metadata_of(row, _KEYS)
    offsets = _offsets(document.text, tokens)
    for index, value in enumerate(list_of(row.get(_ENTITIES), location, _ENTITIES)):
        field = f"{_ENTITIES}[{index}]"
        first, last, kind = _triple(value, location, field, len(tokens), "tokens")
        if first > last:
            raise RowError(f"{location}: {field}: the first token {first} comes after the last one {last}")
        start, end = offsets[first][0], offsets[last][1]
        if start >= end:
            raise RowError(f"{location}: {field}: the tokens {first} to {last} are white space")
        document.add_entity(kind, start, end)
    for index, value in enumerate(list_of(row.get(_RELATIONS), location, _RELATIONS)):
        field = f"{_RELATIONS}[{index}]"
        head, tail, kind = _triple(value, location, field, len(document.entities), "entities")
        document.relations.append(Link(kind, head, tail))
    document.tasks = frozenset({Task.NER, Task.RE} if row.get(_RELATIONS) is not None else {Task.NER})
    for task, key in ((Task.NER, "ner_labels"), (Task.RE, "rel_labels")):
        if row.get(key):
            labels = list_of(row[key], location, key)
            reading.schema.declare(task, [text_of(label, location, key, what="label") for label in labels])
    return document


def _offsets(text: str, tokens: list[str]) -> list[tuple[int, int]]:
    """The offsets of tokens that a text joins by spaces or nothing.

    Tokens of white space are not in the text: they begin where the next token does, and end where the last one does.
    """
    offsets, at = [], 0
    for token in tokens:
        if token.strip():
            start = at if text.startswith(token, at) else at + 1
            offsets.append((start, start + len(token)))
            at = start + len(token)
        else:
            offsets.append((-1, at))
    start = len(text)
    for index in range(len(tokens) - 1, -1, -1):
        start = offsets[index][0] if offsets[index][0] >= 0 else start
        offsets[index] = start, offsets[index][1]
    return offsets


def _triple(value: Any, location: str, field: str, count: int, what: str) -> tuple[int, int, str]:
    """Two indices below ``count`` and a label."""
    if not isinstance(value, list) or len(value) != 3:
        raise RowError(f"{location}: {field}: expected [index, index, label], got {value!r:.60}")
    for index in value[:2]:
        if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < count:
            raise RowError(f"{location}: {field}: expected indices of the {count} {what}, got {index!r:.60}")
    return value[0], value[1], text_of(value[2], location, field, what="label")


def _row(document: Document, reading: Reading) -> dict[str, Any]:
    tokens, _, _ = tags_of_document(document)
    words = [document.text[start:end] for start, end in tokens]
    reading.notes["events are left out"] += bool(document.events)
    reading.notes["other keys than the id are left out"] += bool(document.metadata)
    reading.notes["white space between tokens becomes one space"] += " ".join(words) != document.text
    starts, ends = [start for start, _ in tokens], [end for _, end in tokens]
    entities: list[list[Any]] = []
    numbers: dict[int, int] = {}  # of the mentions that are entities
    for index in document.entities:
        kind, start, end = document.mentions[index]
        first, last = bisect_right(ends, start), bisect_left(starts, end) - 1
        if first <= last:
            numbers[index] = len(entities)
            entities.append([first, last, kind])
    reading.notes["entities of white space are left out"] += len(document.entities) - len(entities)
    row: dict[str, Any] = {"id": document.id} if document.id is not None else {}
    row |= {_TOKENS: words, _ENTITIES: entities}
    if Task.RE in (document.tasks or ()):
        known = [each for each in document.relations if each.head in numbers and each.tail in numbers]
        reading.notes["relations between spans that are not entities are left out"] += len(document.relations) - len(
            known
        )
        row[_RELATIONS] = [[numbers[each.head], numbers[each.tail], each.type] for each in known]
    return row
