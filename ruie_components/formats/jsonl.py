"""The project's own format: one example a line, ``.jsonl`` or ``.jsonl.gz``."""

from __future__ import annotations

import gzip
import io
import json
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from pydantic import ValidationError

from ruie_components.errors import RowError
from ruie_components.types import Example


def read_examples(path: str | Path) -> Iterator[Example]:
    """Read examples line by line; empty lines are passed over.

    Args:
        path: A ``.jsonl`` or ``.jsonl.gz`` file in UTF-8.

    Raises:
        RowError: The file can't be read, or a row is no valid example; the message names file, line and field.
    """
    for where, row in read_rows(path):
        try:
            yield Example.model_validate(row)
        except ValidationError as error:
            raise RowError(f"{where}: {explain(error)}") from error


def read_rows(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the objects of a ``.jsonl`` or ``.jsonl.gz`` file, each with its place: ``FILE, line N``.

    Raises:
        RowError: The file can't be read, or a line is no JSON object.
    """
    for where, line in read_lines(path):
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise RowError(f"{where}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise RowError(f"{where}: a row is an object with task, text and schema, not {type(row).__name__}")
        yield where, row


def read_lines(path: str | Path) -> Iterator[tuple[str, str]]:
    """Read the lines of a text file (``.gz`` too) that aren't blank, each with its place: ``FILE, line N``.

    Raises:
        RowError: The file can't be read, or is not UTF-8.
    """
    path = Path(path)
    number = 0
    try:
        with _open(path, "r") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield f"{path}, line {number}", line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise RowError(f"{path}, after line {number}: not UTF-8 ({error.reason})") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RowError(f"{path}, after line {number}: the file can't be read ({reason})") from error


def write_examples(path: str | Path, examples: Iterable[Example]) -> int:
    """Write examples, one a line; the file takes its place only when all are written.

    Args:
        path: A ``.jsonl`` or ``.jsonl.gz`` file.
        examples: What to write.

    Returns:
        How many were written.
    """
    path = Path(path)
    part = path.with_name(f".part-{os.getpid()}-{path.name}")  # keeps its ending, which says whether to compress
    count = 0
    try:
        with _open(part, "w") as lines:
            for example in examples:
                lines.write(json.dumps(example.to_row(), ensure_ascii=False) + "\n")
                count += 1
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count


@contextmanager
def _open(path: Path, mode: str) -> Iterator[IO[str]]:
    encoding = "utf-8-sig" if mode == "r" else "utf-8"  # some editors put a mark at the start
    if path.suffix == ".gz":
        with gzip.GzipFile(path, mode) as packed, io.TextIOWrapper(packed, encoding, newline="\n") as file:
            yield file
    else:
        with path.open(mode, encoding=encoding, newline="\n") as file:
            yield file


def explain(error: ValidationError, most: int = 3) -> str:
    """What is wrong with a row, field by field, in words for a person."""
    return "; ".join(f"{_field(found['loc'])}: {_message(found['msg'])}" for found in error.errors()[:most])


def _field(location: tuple[int | str, ...]) -> str:
    """A path such as ``entities[0].start``.

    >>> _field(("entities", 0, "start")), _field(())
    ('entities[0].start', 'row')
    """
    name = ""
    for part in location:
        name += f"[{part}]" if isinstance(part, int) else f".{part}"
    return name.removeprefix(".") or "row"


def _message(text: str) -> str:
    return text.removeprefix("Value error, ")
