"""Hugging Face token classification: ``tokens`` and ``ner_tags``, as JSON, Parquet, Arrow or a saved data set.

All but JSON need ``datasets``: ``pip install "ruie-components[formats]"``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from ruie_components.errors import RowError, RuieError
from ruie_components.files import atomic_path
from ruie_components.formats.base import Document, Reading, Sample, list_of, metadata_of, own_id
from ruie_components.formats.json_rows import read_documents, write_lines
from ruie_components.formats.tags import OUTSIDE, TAG, tagged_document, tags_of_document
from ruie_components.integers import counted
from ruie_components.types import Task

_TOKENS = ("tokens", "words")
_TAGS = ("ner_tags", "tags", "labels", "ner")
_JSON_NAMES = "JSON does not have their names; give the Parquet or Arrow file"
_COLUMN_NAMES = "the file does not have their names; cast the column to a list of ClassLabel"
_SAVED = ("dataset_info.json", "dataset_dict.json")


class HuggingFaceFormat:
    """Rows of tokens and tags. Tags are strings, or numbers that the data set's features name."""

    name = "huggingface"
    title = "Hugging Face token classification: JSON, Parquet, Arrow, or a folder of save_to_disk"

    def recognizes(self, sample: Sample) -> bool:
        """Whether rows have tokens and tags, or it is a saved data set."""
        if sample.path.is_dir():
            return any((sample.path / name).is_file() for name in _SAVED)
        if sample.path.suffix in (".parquet", ".arrow"):
            return True
        return bool(sample.rows) and all(map(_is_tagged, sample.rows))

    def read(self, path: Path, reading: Reading) -> Iterator[Document]:
        """Read one document per row; from a saved DatasetDict all splits."""
        if not path.is_dir() and path.suffix not in (".parquet", ".arrow"):
            return read_documents(path, reading, lambda location, row: [_document(location, row, None, _JSON_NAMES)])
        return _read_columns(path, reading)

    def write(self, path: Path, documents: Iterable[Document], reading: Reading) -> int:
        """Write JSON Lines, Parquet (``.parquet``), or a folder like ``save_to_disk``, with ClassLabel names."""
        rows = (_row(document, reading) for document in documents)
        if path.name.removesuffix(".gz").endswith((".jsonl", ".json")):
            return write_lines(path, rows)
        datasets = _datasets()
        table = list(rows)
        labels = dict.fromkeys(tag for row in table for tag in row["ner_tags"])
        kinds = sorted({tag[2:] for tag in labels if tag != "O"} | set(reading.schema.labels.get(Task.NER, ())))
        names = ["O", *(f"{scheme}-{kind}" for kind in kinds for scheme in "BI")]
        features = {"id": datasets.Value("string"), "tokens": datasets.Sequence(datasets.Value("string"))}
        features["ner_tags"] = datasets.Sequence(datasets.ClassLabel(names=names))
        columns: dict[str, list[Any]] = {"id": [None if row.get("id") is None else str(row["id"]) for row in table]}
        columns |= {"tokens": [row["tokens"] for row in table]}
        columns |= {"ner_tags": [[names.index(tag) for tag in row["ner_tags"]] for row in table]}
        data = datasets.Dataset.from_dict(columns, features=datasets.Features(features))
        with atomic_path(path) as part:
            if path.suffix == ".parquet":
                data.to_parquet(str(part))
            else:
                data.save_to_disk(str(part))
        return len(table)


def _is_tagged(row: Mapping[str, Any]) -> bool:
    """Whether a row has tokens, and a tag of each; some files have lists of spans there."""
    tags = row.get(_key(row, _TAGS) or "")
    nested = isinstance(tags, list) and any(isinstance(tag, list | dict) for tag in tags)
    return _key(row, _TOKENS) is not None and _key(row, _TAGS) is not None and not nested


def _key(row: Mapping[str, Any], names: Sequence[str]) -> str | None:
    return next((name for name in names if name in row), None)


def _document(location: str, row: Mapping[str, Any], names: Sequence[str] | None, without: str) -> Document:
    """The document of a row.

    Args:
        location: Of the row.
        row: With tokens and tags.
        names: Of tags that are numbers.
        without: What to say of numbers without names.
    """
    tokens_key, tags_key = _key(row, _TOKENS), _key(row, _TAGS)
    if tokens_key is None or tags_key is None:
        raise RowError(f"{location}: expected tokens and ner_tags, got {sorted(row)}")
    tokens = list_of(row[tokens_key], location, tokens_key)
    tags = list_of(row[tags_key], location, tags_key)
    if len(tokens) != len(tags):
        raise RowError(f"{location}: {tags_key}: {counted(len(tags), 'tag')} for {counted(len(tokens), 'token')}")
    if not tokens or not all(isinstance(token, str) for token in tokens) or not any(map(str.strip, tokens)):
        raise RowError(f"{location}: {tokens_key}: expected words")
    if names is not None:
        if not all(isinstance(tag, int) and 0 <= tag < len(names) for tag in tags):
            raise RowError(f"{location}: {tags_key}: expected numbers from 0 to {len(names) - 1}")
        tags = [names[tag] for tag in tags]
    elif not all(isinstance(tag, str) for tag in tags):
        raise RowError(f"{location}: {tags_key}: the tags are numbers, and {without}, or write the names into the rows")
    pairs = [(token, tag) for token, tag in zip(tokens, tags, strict=True) if token.strip()]
    try:
        document = tagged_document(location, [token for token, _ in pairs], [tag for _, tag in pairs])
    except ValueError as error:
        raise RowError(f"{location}: {tags_key}: {error}") from error
    document.id, document.metadata = own_id(row.get("id")), metadata_of(row, ("id", tokens_key, tags_key))
    document.tasks = frozenset({Task.NER})
    return document


def _read_columns(path: Path, reading: Reading) -> Iterator[Document]:
    for source, features, rows in _tables(path, reading):
        tags_key = _key(features, _TAGS) or ""
        feature = features.get(tags_key)
        names = getattr(getattr(feature, "feature", None), "names", None)
        if names and OUTSIDE in names and not any(map(TAG.fullmatch, names)):
            names = [name if name == OUTSIDE else f"I-{name}" for name in names]
            reading.notes["tags have no B- and I-: neighbours of one type are one entity"] += 1
        if names:
            reading.schema.declare(Task.NER, dict.fromkeys(name[2:] for name in names if name[1:2] == "-"))
        for number, row in enumerate(rows):
            location = f"{source}, row {number}"
            try:
                document = _document(location, row, names, _COLUMN_NAMES)
                document.metadata = _in_json(document.metadata)
            except RowError as error:
                reading.problem(str(error))
            except (TypeError, ValueError) as error:
                reading.problem(f"{location}: {error}")
            else:
                yield document


def _in_json(metadata: dict[str, Any]) -> dict[str, Any]:
    """Metadata in values of JSON: times in ISO 8601.

    Raises:
        TypeError: There is a value of another type, such as bytes.
    """

    def plain(value: Any) -> str:
        if isinstance(value, date | time):
            return value.isoformat()
        if isinstance(value, timedelta | Decimal):
            return str(value)
        raise TypeError(f"metadata can't hold a value of type {type(value).__name__}")

    return dict(json.loads(json.dumps(metadata, default=plain)))


def _tables(path: Path, reading: Reading) -> Iterator[tuple[str, Mapping[str, Any], Iterable[Mapping[str, Any]]]]:
    """``(location, features, rows)`` of each split."""
    datasets = _datasets()
    import pyarrow as pa
    import pyarrow.parquet as parquet

    try:
        if path.is_dir():
            saved = datasets.load_from_disk(str(path))
            splits = saved if isinstance(saved, datasets.DatasetDict) else {"": saved}
            reading.notes[f"splits were read together: {', '.join(splits)}"] += len(splits) > 1
            for name, split in splits.items():
                yield f"{path}/{name}" if name else str(path), split.features, split
        elif path.suffix == ".parquet":
            file = parquet.ParquetFile(path)
            rows = (row for batch in file.iter_batches(1000) for row in batch.to_pylist())
            yield str(path), datasets.Features.from_arrow_schema(file.schema_arrow), rows
        else:
            with pa.memory_map(str(path)) as mapped, pa.ipc.open_stream(mapped) as stream:
                rows = (row for batch in stream for row in batch.to_pylist())
                yield str(path), datasets.Features.from_arrow_schema(stream.schema), rows
    except (pa.ArrowException, OSError, ValueError, TypeError, KeyError) as error:
        if isinstance(error, RowError):
            raise
        raise RowError(f"{path}: can't be read as a data set ({type(error).__name__}: {error})") from error


def _datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise RuieError('these files need datasets: pip install "ruie-components[formats]"') from error
    return datasets


def _row(document: Document, reading: Reading) -> dict[str, Any]:
    tokens, tags, lost = tags_of_document(document)
    words = [document.text[start:end] for start, end in tokens]
    reading.notes["nested and crossing entities are left out"] += lost
    reading.notes["relations and events are left out"] += bool(document.relations or document.events)
    reading.notes["other keys than the id are left out"] += bool(document.metadata)
    reading.notes["white space between tokens becomes one space"] += " ".join(words) != document.text
    row: dict[str, Any] = {"id": document.id} if document.id is not None else {}
    return {**row, "tokens": words, "ner_tags": tags}
