"""Texts without annotations: JSON Lines, a JSON array, CSV, TSV, or one text per line."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from enum import StrEnum
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ruie_components.errors import RowError
from ruie_components.files import json_object, json_values, read_lines, read_rows, text_lines
from ruie_components.integers import counted

_TEXT_KEYS = ("text", "input", "sentence", "content", "document")
_QUERY_KEYS = ("id", "task", "labels", "schema", "event", "metadata")
_ANNOTATIONS = {"entities", "relations", "events"}
_LARGEST_FIELD = 1 << 24


class Layout(StrEnum):
    """The layout of a file of texts."""

    JSONL = "JSON Lines"
    JSON = "a JSON array"
    CSV = "CSV with a header"
    TSV = "TSV with a header"
    LINES = "one text per line"


def guess_layout(path: str | Path, *, encoding: str | None = None) -> Layout:
    """Guess the layout of a file by its content, and in doubt by its name.

    Raises:
        RowError: The file can't be read.
    """
    path = Path(path)
    ending = Path(path.name.removesuffix(".gz")).suffix.lower()
    if ending in (".jsonl", ".ndjson"):
        return Layout.JSONL
    first, second = (*(line for _, line in islice(read_lines(path, encoding=encoding), 2)), "", "")[:2]
    match first.lstrip()[:1]:
        case "{" if _is_json(lambda: json_object("", first)):
            return Layout.JSONL
        case "{" | "[" if ending == ".json" or _is_json(lambda: next(json_values(path, encoding=encoding))[1]):
            return Layout.JSON
    if ending in (".csv", ".tsv", ".tab"):
        return Layout.CSV if _delimiter(first) != "\t" else Layout.TSV
    for layout, delimiter in ((Layout.TSV, "\t"), (Layout.CSV, _delimiter(first))):
        names = [name.strip().lower() for name in first.split(delimiter)]
        # a text of one line may begin with "Text, "; a table continues with as many cells
        if len(names) > 1 and any(name.strip('"') in _TEXT_KEYS for name in names) and second.count(delimiter):
            return layout
    return Layout.LINES


def _is_json(read: Callable[[], Any]) -> bool:
    try:
        return isinstance(read(), dict | str)
    except (RowError, StopIteration):
        return False


def _delimiter(header: str) -> str:
    return max(",\t;", key=header.count)


def read_texts(
    path: str | Path, layout: Layout | None = None, *, text_key: str | None = None, encoding: str | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The texts of a file, one at a time, each with its location: ``FILE, line N``.

    A text is a mapping for ``DemonstrationRetriever.query`` and ``Extractor.extract``. It has ``text``; if present
    ``id`` and, in JSON, ``task``, ``labels`` and ``event``; and ``metadata`` with all other keys or columns. The event
    of a labelled EAE row is its annotated event.

    Args:
        path: A ``.jsonl``, ``.json``, ``.csv``, ``.tsv`` or text file, each also with ``.gz``.
        layout: Its layout; by default that of ``guess_layout``.
        text_key: The key or column of the text; by default ``text``, or else input, sentence, content or document.
        encoding: Its encoding, if it is not UTF-8 and has no byte order mark.

    Raises:
        RowError: The file can't be read, or a row has no text; the message names file and line.
    """
    path = Path(path)
    match layout or guess_layout(path, encoding=encoding):
        case Layout.LINES:
            yield from ((location, {"text": line}) for location, line in read_lines(path, encoding=encoding))
        case Layout.JSONL:
            for location, row in read_rows(path, encoding=encoding):
                yield location, of_row(location, row, text_key)
        case Layout.JSON:
            for location, value in json_values(path, encoding=encoding):
                if not isinstance(value, dict | str):
                    raise RowError(f"{location}: expected a text or an object, got {type(value).__name__}")
                yield location, {"text": value} if isinstance(value, str) else of_row(location, value, text_key)
        case _:
            yield from _read_table(path, text_key, encoding)


def of_row(location: str, row: dict[str, Any], text_key: str | None) -> dict[str, Any]:
    """The text of a row, its values for the query, and the rest as ``metadata``; see ``read_texts``.

    A null is an empty text, as an empty cell of a table is.

    Raises:
        RowError: The row has no text; the message begins with the location.
    """
    key = _key_of_text(row, text_key)
    if key is None:
        wanted = text_key or "text"
        raise RowError(f"{location}: the row has no text under {wanted!r}; its keys are {sorted(row)}")
    text = "" if row[key] is None else row[key]
    if not isinstance(text, str):
        raise RowError(f"{location}: {key}: expected a text, got {type(text).__name__}")
    own = {name: row[name] for name in _QUERY_KEYS if row.get(name) is not None}
    labelled = "task" in row and ("schema" in row or "labels" in row)
    others = {
        name: value
        for name, value in row.items()
        if name not in _QUERY_KEYS and name != key and not (labelled and name in _ANNOTATIONS)
    }
    if not isinstance(own.get("metadata", {}), dict):
        others["metadata"] = own.pop("metadata")
    if not isinstance(own.get("id", ""), str | int) or isinstance(own.get("id"), bool):
        others["id"] = own.pop("id")
    if others:
        own["metadata"] = {**own.get("metadata", {}), **others}
    return {"text": text, **_event_of(row), **own}


def _event_of(row: dict[str, Any]) -> dict[str, Any]:
    """The event of a labelled EAE row, so that test sets can be used as inputs."""
    match row:
        case {"task": "EAE", "events": [{"type": kind, "trigger": {"text": trigger, "start": start}}]}:
            return {"event": {"type": kind, "trigger": trigger, "start": start}}
        case _:
            return {}


def _key_of_text(row: Any, text_key: str | None) -> str | None:
    if text_key is not None:
        return text_key if text_key in row else None
    return next((key for key in _TEXT_KEYS if key in row), None)


def _read_table(path: Path, text_key: str | None, encoding: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    rows = table_rows(path, encoding=encoding)
    _, header = next(rows)
    by_name = {name.lower(): name for name in reversed(header)}
    column_name = _key_of_text(set(header) if text_key else by_name, text_key)
    if column_name is None:
        wanted = text_key or "text"
        raise RowError(
            f"{path}, line 1: there is no column {wanted!r}; the columns are {', '.join(map(repr, header))}. "
            f"A table needs a header; name the column of the text with --text-key (text_key=)."
        )
    column = header.index(column_name if text_key else by_name[column_name])
    for location, cells in rows:
        others = {name: cell for at, (name, cell) in enumerate(zip(header, cells, strict=True)) if at != column}
        own_id = next((others.pop(name) for name in list(others) if name.lower() == "id"), "")
        row: dict[str, Any] = {"text": cells[column]} | ({"id": own_id} if own_id else {})
        yield location, row | ({"metadata": others} if others else {})


def table_rows(path: Path, *, encoding: str | None = None) -> Iterator[tuple[str, list[str]]]:
    """The rows of a CSV or TSV file, each with its location; the header comes first, blank rows are left out.

    Raises:
        RowError: The file can't be read, or a row has not as many columns as the header.
    """
    csv.field_size_limit(max(csv.field_size_limit(), _LARGEST_FIELD))  # the module's default limit is 128 KiB
    lines = text_lines(path, encoding=encoding)
    head = list(islice(lines, 1))
    delimiter = _delimiter(head[0] if head else "")
    rows = csv.reader(chain(head, lines), delimiter=delimiter, strict=True)
    number = 1
    try:
        header = [name.strip() for name in next(rows, [])]
        yield f"{path}, line 1", header
        for cells in rows:
            number, last = rows.line_num, number
            if not any(cells):
                continue
            location = f"{path}, line {last + 1}"
            if len(cells) != len(header):
                raise RowError(f"{location}: {counted(len(cells), 'column')}, but the header has {len(header)}")
            yield location, cells
    except csv.Error as error:
        raise RowError(f"{path}, line {number + 1}: not a row of a table: {error}") from error
