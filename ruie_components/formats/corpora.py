"""Corpora of texts, read one document at a time: files, folders of text files, Hugging Face data sets."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ruie_components.errors import RowError
from ruie_components.files import text_lines
from ruie_components.formats.texts import Layout, guess_layout, read_texts

_TEXTS = (".txt", ".text", ".md")
_TABLES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".tab")
_DATASET_FILES = ("dataset_info.json", "dataset_dict.json")
HUGGING_FACE = "hf:"
"""The prefix of a Hugging Face data set's name."""


def is_corpus(source: str) -> bool:
    """Whether a string names a corpus that exists: a file, a folder, or ``hf:NAME``."""
    if source.startswith(HUGGING_FACE):
        return True
    try:
        return Path(source).exists()
    except (OSError, ValueError):  # a text that is too long for a file name, or has a NUL
        return False


def names_file(name: str) -> bool:
    """Whether a name has the ending of a file of a corpus."""
    return name.lower().removesuffix(".gz").endswith((*_TEXTS, *_TABLES))


def read_corpus(
    source: str | Path, *, text_key: str | None = None, encoding: str | None = None
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The documents of a corpus, one by one in a fixed order, each with its location.

    A document is a mapping, as from ``read_texts``: ``text``, perhaps ``id``, ``task``, ``labels`` and ``event``, and
    ``metadata`` with all other keys.

    Args:
        source: A file as ``read_texts`` reads it. A folder: each ``.txt`` and ``.md`` file in it or below is a
            document whose id is its path in the folder; files of JSON, CSV and TSV are read row by row. A folder that
            ``datasets`` saved, or ``hf:NAME`` or ``hf:NAME:SPLIT`` for ``datasets.load_dataset``.
        text_key: The key or column of the text.
        encoding: The encoding of files, if they are not UTF-8 and have no byte order mark.

    Raises:
        RowError: The corpus can't be read, has no documents, or a row has no text; the message names file and line.
        ImportError: ``datasets`` is not installed.
    """
    name = str(source)
    if name.startswith(HUGGING_FACE):
        yield from _read_dataset(name.removeprefix(HUGGING_FACE), text_key)
        return
    path = Path(source)
    if not path.exists():
        raise RowError(f"{path}: no such file or folder")
    if not path.is_dir():
        yield from read_texts(path, text_key=text_key, encoding=encoding)
    elif any((path / each).is_file() for each in _DATASET_FILES):
        yield from _read_saved(path, text_key)
    else:
        yield from _read_folder(path, text_key, encoding)


def count_documents(source: str | Path, *, encoding: str | None = None) -> int | None:
    """The approximate number of documents, for a progress bar, without reading texts; ``None`` if unknown."""
    path = Path(source)
    if path.is_dir():
        return None if any((path / each).is_file() for each in _DATASET_FILES) else sum(1 for _ in _files(path))
    if not path.is_file() or path.suffix == ".gz":
        return None
    if guess_layout(path, encoding=encoding) not in (Layout.JSONL, Layout.LINES):
        return None
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


def _files(folder: Path) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if names_file(name):
                yield Path(root, name)


def _read_folder(folder: Path, text_key: str | None, encoding: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    empty = True
    for path in _files(folder):
        empty = False
        if path.name.lower().removesuffix(".gz").endswith(_TABLES):
            yield from read_texts(path, text_key=text_key, encoding=encoding)
        else:
            text = "".join(text_lines(path, encoding=encoding))
            yield str(path), {"text": text, "id": path.relative_to(folder).as_posix()}
    if empty:
        raise RowError(f"{folder}: the folder has no files with the endings {', '.join((*_TEXTS, *_TABLES))}")


def _read_saved(folder: Path, text_key: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    datasets = _datasets()
    loaded = datasets.load_from_disk(str(folder))
    for split, rows in loaded.items() if isinstance(loaded, datasets.DatasetDict) else [("", loaded)]:
        yield from _rows(f"{folder}{':' if split else ''}{split}", rows, text_key)


def _read_dataset(name: str, text_key: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    path, _, split = name.partition(":")
    loaded = _datasets().load_dataset(path, split=split or "train", streaming=True)
    yield from _rows(f"{HUGGING_FACE}{name}", loaded, text_key)


def _rows(location: str, rows: Any, text_key: str | None) -> Iterator[tuple[str, dict[str, Any]]]:
    from ruie_components.formats.texts import of_row

    for number, row in enumerate(rows, start=1):
        yield f"{location}, row {number}", of_row(f"{location}, row {number}", dict(row), text_key)


def _datasets() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise ImportError(
            'a Hugging Face data set needs another package: pip install "ruie-components[corpora]"', name="datasets"
        ) from error
    return datasets
