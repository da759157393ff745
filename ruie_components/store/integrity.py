"""Checks a store's folder before Chroma opens it, and reads the examples of a damaged one.

Chroma crashes on some half-written files, and silently omits the lost rows with others.
"""

from __future__ import annotations

import shutil
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from ruie_components.errors import StoreError
from ruie_components.files import atomic_write
from ruie_components.store import records
from ruie_components.types import Example, Task

DATABASE = "chroma.sqlite3"

_HEADER = struct.Struct("<iQQQQ")  # hnswlib: version, offset, room, rows, bytes a row; 64 more bytes follow
_HEADER_SIZE, _HEADER_VERSION = 100, 1
_INDEXES = """
    SELECT segments.id, collections.name, max_seq_id.seq_id IS NOT NULL FROM segments
    JOIN collections ON collections.id = segments.collection
    LEFT JOIN max_seq_id ON max_seq_id.segment_id = segments.id
    WHERE segments.scope = 'VECTOR' AND segments.type = 'urn:chroma:segment/vector/hnsw-local-persisted'
"""
_EXAMPLES = """
    SELECT embeddings.embedding_id, embedding_metadata.string_value FROM embedding_metadata
    JOIN embeddings ON embeddings.id = embedding_metadata.id
    JOIN segments ON segments.id = embeddings.segment_id
    JOIN collections ON collections.id = segments.collection
    WHERE embedding_metadata.key = ? AND collections.name = ? ORDER BY embeddings.id
"""


def check_folder(folder: Path) -> dict[str, str]:
    """Check that the database is readable and that every written index is complete.

    Returns:
        The collections with a damaged index, and the damage.

    Raises:
        StoreError: The database is damaged.
    """
    return {collection: problem for collection, (_, problem) in _damaged(folder).items()}


def reset_damaged(folder: Path) -> None:
    """Remove damaged indexes, so that Chroma can open their collections and rebuild them from the rows.

    A mark in the folder names the collections without an index until ``forget_damage``. Chroma must not have the folder
    open.
    """
    damaged = _damaged(folder)
    if not damaged:
        return
    for collection, (_, problem) in damaged.items():
        mark_damaged(folder, collection, problem)
    with _database(folder) as database:
        for segment, _ in damaged.values():
            shutil.rmtree(folder / segment, ignore_errors=True)
            database.execute("DELETE FROM max_seq_id WHERE segment_id = ?", (segment,))
        database.commit()


def mark_damaged(folder: Path, collection: str, problem: str) -> None:
    """Mark a collection's index for a rebuild."""
    mark = _mark(folder, collection)
    mark.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(mark, problem)


def forget_damage(folder: Path, collection: str) -> None:
    """Remove the mark of a collection whose index is complete."""
    _mark(folder, collection).unlink(missing_ok=True)


def _mark(folder: Path, collection: str) -> Path:
    return folder / ".ruie" / "rebuild" / collection


def _damaged(folder: Path) -> dict[str, tuple[str, str]]:
    """The index folder's name and its damage, by collection."""
    if not (folder / DATABASE).exists():
        return {}
    with _database(folder) as database:
        database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        try:
            indexes = database.execute(_INDEXES).fetchall()
        except sqlite3.OperationalError:  # an empty database, or the tables of another Chroma version
            return {}
    damaged: dict[str, tuple[str, str]] = {}
    for segment, collection, written in indexes:
        if (mark := _mark(folder, collection)).is_file():
            damaged[collection] = segment, mark.read_text("utf-8")
        elif written and (problem := _index_problem(folder / segment)) is not None:
            damaged[collection] = segment, problem
    return damaged


def rescue(folder: str | Path, pool: str = "default") -> Iterator[Example]:
    """The examples of a folder whose store can't be opened, read from its database without Chroma.

    Args:
        folder: The store's folder.
        pool: The pool's name.

    Raises:
        StoreError: The database itself can't be read, or there is no such pool.
    """
    folder = Path(folder)
    with _database(folder) as database:
        existing = {name for (name,) in database.execute("SELECT name FROM collections")}
        for name in _collections_of(pool, existing, folder):
            for row_id, value in database.execute(_EXAMPLES, (records.EXAMPLE, name)):
                yield records.from_json(row_id, value, str(folder))


def _collections_of(pool: str, existing: set[str], folder: Path) -> list[str]:
    # copies with other vectors may be incomplete, but only complete ones outlive the original
    names = {task: (f"{pool}.{task}", f"{pool}.{task}.next") for task in Task}
    chosen = [next((name for name in names[task] if name in existing), None) for task in Task]
    if not any(chosen):
        parted = (name.removesuffix(".next").rpartition(".") for name in existing)
        known = ", ".join(sorted({known for known, _, task in parted if task in set(Task)})) or "none"
        raise StoreError(f"there is no pool {pool!r} in {folder}; it has: {known}")
    return [name for name in chosen if name]


@contextmanager
def _database(folder: Path) -> Iterator[sqlite3.Connection]:
    path = (folder / DATABASE).resolve()
    try:
        # not mode=ro: after a kill during a write SQLite must first roll back the unfinished part
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True)) as database:
            yield database
    except sqlite3.Error as error:
        raise StoreError(
            f"{path} is damaged or not a Chroma database ({error}). Nothing was changed; restore it from a backup, or "
            f"build the store again from its examples in another folder."
        ) from error


def _index_problem(folder: Path) -> str | None:
    names = ("header.bin", "data_level0.bin", "length.bin", "link_lists.bin", "index_metadata.pickle")
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        return f"{folder / missing[0]} is missing"
    with (folder / "index_metadata.pickle").open("rb") as labels:  # its end is checked, but it is never loaded
        labels.seek(max(0, labels.seek(0, 2) - 1))
        if labels.read() != b".":
            return f"{folder / 'index_metadata.pickle'} is truncated"
    header = (folder / "header.bin").read_bytes()
    if len(header) < _HEADER_SIZE:
        return f"{folder / 'header.bin'} is truncated"
    version, _, _, count, row_size = _HEADER.unpack_from(header)
    if version != _HEADER_VERSION or len(header) != _HEADER_SIZE:
        return None  # written by a Chroma version with an unknown file format
    for name, size in (("data_level0.bin", count * row_size), ("length.bin", count * 4)):
        if (folder / name).stat().st_size != size:
            return f"{folder / name} has {(folder / name).stat().st_size:,} bytes instead of {size:,}"
    return None
