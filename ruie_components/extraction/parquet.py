"""Writes the results of a run as a Parquet file, one row per document."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from typing import Any

from ruie_components.extraction.results import ExtractionResult
from ruie_components.extraction.run_folder import whole_rows
from ruie_components.files import atomic_path

_GROUP = 5_000  # rows in memory at a time


def write_parquet(results: Path | str) -> Path:
    """Write ``results.parquet`` beside a file of results.

    Columns: ``id`` (as text), ``task``, ``text``, ``spans`` (a list of ``item``, ``type``, ``role``, ``span``,
    ``start``, ``end``), ``answer``, ``error``, ``calls``, ``input_tokens``, ``output_tokens``, ``metadata`` (JSON).

    Args:
        results: The JSON Lines file of a run.

    Returns:
        The file that was written.

    Raises:
        ImportError: pyarrow is not installed.
        RowError: A row of the file is not from a run.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise ImportError(
            'Parquet needs another package: pip install "ruie-components[corpora]"', name="pyarrow"
        ) from error
    text, number = pa.string(), pa.int64()
    span = pa.struct(
        [("item", number), ("type", text), ("role", text), ("span", text), ("start", number), ("end", number)]
    )
    schema = pa.schema(
        {"id": text, "task": text, "text": text, "spans": pa.list_(span), "answer": text, "error": text}
        | {"calls": number, "input_tokens": number, "output_tokens": number, "metadata": text}
    )
    path = Path(results).with_suffix(".parquet")
    rows = (row for _, row in whole_rows(Path(results)))
    with atomic_path(path) as part, pq.ParquetWriter(part, schema) as writer:
        while group := list(islice(rows, _GROUP)):
            writer.write_table(pa.Table.from_pylist([_flat(row) for row in group], schema))
    return path


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    extraction, usage = row["extraction"], row["usage"]
    names = ("item", "type", "role", "span", "start", "end")
    spans = ExtractionResult.from_row(row).to_rows() if extraction["text"].strip() else []
    return {
        "id": str(row["id"]),
        "task": extraction["task"],
        "text": extraction["text"],
        "spans": [{name: one[name] for name in names} for one in spans],
        "answer": extraction.get("answer", "").encode("utf-8", "replace").decode(),
        "error": row.get("error"),
        "calls": row["calls"],
        "input_tokens": usage["input_tokens"],
        "output_tokens": usage["output_tokens"],
        "metadata": json.dumps(row.get("metadata") or {}, ensure_ascii=False),
    }
