"""Label Studio's CSV and TSV: a column for each key of the data, and JSON in the columns of the labels."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruie_components.formats.base import Reading, Sample
from ruie_components.formats.texts import table_rows

_COLUMNS = {"annotation_id", "annotator"}
_CANCELLED = "was_cancelled"


def has_table(sample: Sample) -> bool:
    """Whether a file begins with the header of such a table."""
    header = sample.start.partition("\n")[0].rstrip("\r")
    if not all(name in header for name in _COLUMNS):
        return False
    try:
        names = [next(csv.reader([header], delimiter=delimiter), []) for delimiter in ",\t"]
    except csv.Error:
        return False
    return any(_COLUMNS.issubset(each) for each in names)


def rows_of_table(path: Path, reading: Reading) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows with their locations, as those of JSON-MIN.

    Raises:
        RowError: The table can't be read further.
    """
    rows = table_rows(path, encoding=reading.encoding)
    _, header = next(rows)
    for location, cells in rows:
        row = {name: _value(name, cell) for name, cell in zip(header, cells, strict=True)}
        yield location, {name: value for name, value in row.items() if name in _COLUMNS or value not in ("", [])}


def _value(name: str, cell: str) -> Any:
    """The value of a cell: a list of regions, an id, or the cell."""
    if name == _CANCELLED:
        return cell.lower() == "true"
    if name == "id" and cell.isdecimal() and len(cell) < 20:
        return int(cell)
    if cell.startswith("["):
        try:
            regions = json.loads(cell)
        except (ValueError, RecursionError):
            return cell
        if all(isinstance(each, dict) and "start" in each for each in regions):
            return regions
    return cell
