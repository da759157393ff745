"""Shared by formats of JSON rows: reads each row by a function of the format, and writes JSON Lines."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ruie_components.errors import RowError, explain
from ruie_components.files import atomic_text, json_object, json_values, read_lines
from ruie_components.formats.base import Document, Reading
from ruie_components.formats.fast import entity_example
from ruie_components.types import Example


def rows_of(path: Path, reading: Reading) -> Iterator[tuple[str, Any]]:
    """The values of a JSON array or of JSON Lines, with their locations; a line that is not JSON is reported.

    Raises:
        RowError: An array can't be read further.
    """
    if not _is_lines(path, reading):
        yield from json_values(path, encoding=reading.encoding)
        return
    for location, line in read_lines(path, encoding=reading.encoding):
        try:
            yield location, json_object(location, line)
        except RowError as error:
            reading.problem(str(error))


def _is_lines(path: Path, reading: Reading) -> bool:
    if path.name.removesuffix(".gz").endswith((".jsonl", ".ndjson")):
        return True
    for location, line in read_lines(path, encoding=reading.encoding):
        try:
            json_object(location, line)
        except RowError:
            return False
        return True
    return False


def read_documents(
    path: Path, reading: Reading, read: Callable[[str, Mapping[str, Any]], Iterable[Document]]
) -> Iterator[Document]:
    """The documents that a function makes from each row of a file; a row with an error is reported."""
    return documents_of_rows(rows_of(path, reading), reading, read)


def documents_of_rows(
    rows: Iterable[tuple[str, Any]],
    reading: Reading,
    read: Callable[[str, Mapping[str, Any]], Iterable[Document]],
) -> Iterator[Document]:
    """The documents that a function makes from each of rows with their locations; a row with an error is reported."""
    for location, row in rows:
        try:
            if not isinstance(row, dict):
                raise RowError(f"{location}: expected a JSON object, got {type(row).__name__}")
            documents = list(read(location, row))
        except RowError as error:
            reading.problem(str(error))
        else:
            yield from documents


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write JSON Lines."""
    count = 0
    with atomic_text(path) as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return count


def example_of(location: str, row: Mapping[str, Any]) -> Example:
    """The example of a row of this project's format.

    Raises:
        RowError: It is not valid; the message names file, line and field.
    """
    if isinstance(row, dict) and (plain := entity_example(row)) is not None:
        return plain
    try:
        return Example.model_validate(row)
    except ValidationError as error:
        raise RowError(f"{location}: {explain(error)}") from error
