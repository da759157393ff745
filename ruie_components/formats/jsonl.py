"""The project's own format: one example a line, ``.jsonl`` or ``.jsonl.gz``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from ruie_components.errors import RowError, explain
from ruie_components.files import atomic_text, read_rows
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


def write_examples(path: str | Path, examples: Iterable[Example]) -> int:
    """Write examples, one a line; the file takes its place only when all are written.

    Args:
        path: A ``.jsonl`` or ``.jsonl.gz`` file.
        examples: What to write.

    Returns:
        How many were written.
    """
    count = 0
    with atomic_text(path) as lines:
        for example in examples:
            lines.write(json.dumps(example.to_row(), ensure_ascii=False) + "\n")
            count += 1
    return count
