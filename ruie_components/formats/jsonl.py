"""The project's own format: one example per line, ``.jsonl`` or ``.jsonl.gz``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from ruie_components.errors import RowError
from ruie_components.files import atomic_text, read_rows
from ruie_components.formats.base import Document, Reading, Sample
from ruie_components.formats.convert import examples_of
from ruie_components.formats.json_rows import example_of, rows_of
from ruie_components.types import Example


def read_examples(path: str | Path) -> Iterator[Example]:
    """Read examples line by line, skipping empty lines.

    Args:
        path: A ``.jsonl`` or ``.jsonl.gz`` file in UTF-8.

    Raises:
        RowError: The file can't be read, or a row is not a valid example; the message names file, line and field.
    """
    for location, row in read_rows(path):
        yield example_of(location, row)


def write_examples(path: str | Path, examples: Iterable[Example]) -> int:
    """Write examples, one per line; the file appears only when all are written.

    Args:
        path: A ``.jsonl`` or ``.jsonl.gz`` file.
        examples: The examples.

    Returns:
        The number of examples.
    """
    count = 0
    with atomic_text(path) as lines:
        for example in examples:
            lines.write(json.dumps(example.to_row(), ensure_ascii=False) + "\n")
            count += 1
    return count


class JsonlFormat:
    """Rows of this project: JSON Lines, or a JSON array of the same objects."""

    name = "jsonl"
    title = "this project's rows: JSON Lines with task, text, schema"

    def recognizes(self, sample: Sample) -> bool:
        """Whether some row has a task, a text and a schema; reading then reports rows that lack one of them."""
        return any({"task", "text"} <= row.keys() and {"schema", "labels"} & row.keys() for row in sample.rows)

    def read(self, path: Path, reading: Reading) -> Iterator[Example]:
        """Read one example per row."""
        for location, row in rows_of(path, reading):
            try:
                example = example_of(location, row)
            except RowError as error:
                reading.problem(str(error))
            else:
                yield example

    def write(self, path: Path, documents: Iterable[Document], reading: Reading) -> int:
        """Write the examples of each document."""
        return write_examples(path, (each for document in documents for each in examples_of(document, reading.schema)))
