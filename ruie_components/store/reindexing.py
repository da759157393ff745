"""Embeds a whole pool with another encoder; an interruption at any point loses nothing.

Each collection ``POOL.TASK`` is copied to ``POOL.TASK.next`` with the new vectors. When all copies are complete, the
empty collection ``POOL.switch`` is created as a mark: this single step makes the copies valid. Then each copy takes its
original's name, and the mark is deleted. Opening a pool with the mark finishes the work; the next call completes or
deletes copies without the mark.

A folder also keeps the encoder, in ``.ruie/encoders/FINGERPRINT``, so the store opens without naming it.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ruie_components.encoders import Encoder, OnnxEncoder, StaticEncoder
from ruie_components.errors import StoreError
from ruie_components.store import records
from ruie_components.store.collections import (
    FINGERPRINT,
    get_collection,
    keep_labels,
    kept_descriptions,
    kept_labels,
    kept_settings,
    new_collection,
    set_descriptions,
    set_settings,
)
from ruie_components.store.connections import Connection
from ruie_components.store.reading import pages
from ruie_components.types import Task

_PAGE = 500
_FINGERPRINT = re.compile(r"[0-9a-f]{16,128}")


def reindex(
    connection: Connection, pool: str, encoder: Encoder, *, advance: Callable[[int], None] = lambda _: None
) -> None:
    """Embed every collection of a pool again.

    Args:
        connection: The pool's database; a folder must be locked for writing.
        pool: Its name.
        encoder: The new encoder.
        advance: Called with the number of rows embedded since the last call.
    """
    finish(connection, pool)
    _keep(connection, encoder)
    for task in Task:
        if (old := get_collection(connection, f"{pool}.{task}")) is not None:
            _copy(connection, old, encoder, advance)
    connection.client.get_or_create_collection(_mark(pool), embedding_function=None)
    finish(connection, pool)
    _forget_unused(connection)


def rebuild(connection: Connection, pool: str, encoder: Encoder, damaged: set[str]) -> dict[str, int]:
    """Build the damaged indexes of a pool again, from its rows and with its own encoder.

    Args:
        connection: The pool's database, locked for writing.
        pool: Its name.
        encoder: The pool's encoder.
        damaged: The names of the collections whose index is damaged, copies among them.

    Returns:
        The names of the rebuilt collections, with their numbers of rows.
    """
    rebuilt: dict[str, int] = {}
    for task in Task:
        name = f"{pool}.{task}"
        copy = get_collection(connection, _next(name))
        if copy is not None and (copy.name in damaged or name not in damaged):
            connection.client.delete_collection(copy.name)  # it belongs to a reindexing that will start again
        if name in damaged and (old := get_collection(connection, name)) is not None:
            _copy(connection, old, encoder, lambda _: None)
            rebuilt[name] = old.count()
    connection.client.get_or_create_collection(_mark(pool), embedding_function=None)
    finish(connection, pool)
    return rebuilt


def finish(connection: Connection, pool: str) -> bool:
    """Replace the originals by their copies, if all copies are complete.

    Returns:
        Whether there was anything to do.
    """
    client = connection.client
    if get_collection(connection, _mark(pool)) is None:
        return False
    for task in Task:
        name = f"{pool}.{task}"
        if (copy := get_collection(connection, _next(name))) is not None:
            if get_collection(connection, name) is not None:
                client.delete_collection(name)
            copy.modify(name=name)
    client.delete_collection(_mark(pool))
    return True


def is_unfinished(connection: Connection, pool: str) -> bool:
    """Whether ``finish`` has work to do."""
    return get_collection(connection, _mark(pool)) is not None


def has_copies(connection: Connection, pool: str) -> bool:
    """Whether an interrupted ``reindex`` left copies, which the next one completes."""
    return any(get_collection(connection, _next(f"{pool}.{task}")) is not None for task in Task)


def kept_encoder(connection: Connection, pool: str) -> Path | None:
    """The folder of the encoder that is kept with a pool, or ``None``.

    Raises:
        StoreError: The pool's fingerprint is not valid, or its encoder lies outside the store's folder.
    """
    home = _home(connection)
    if home is None or not home.is_dir():
        return None
    for task in Task:
        if (collection := get_collection(connection, f"{pool}.{task}")) is not None:
            return _inside(home, str((collection.metadata or {}).get(FINGERPRINT, "")), collection.name)
    return None


def _inside(home: Path, fingerprint: str, name: str) -> Path | None:
    """The kept encoder's folder, if it and all of its files are inside the store."""
    if not _FINGERPRINT.fullmatch(fingerprint):
        raise StoreError(
            f"collection {name!r} gives {fingerprint!r} as the fingerprint of its encoder, and a fingerprint has only "
            f"hexadecimal digits. Nothing was opened. If you trust this store, open it with its encoder: encoder=..."
        )
    folder = home / fingerprint
    if not folder.is_dir():
        return None
    root = home.parent.parent.resolve()  # STORE/.ruie/encoders
    for path in (folder, *folder.rglob("*")):
        if not path.resolve().is_relative_to(root):
            raise StoreError(
                f"the encoder of collection {name!r} lies outside the store: {path} points to {path.resolve()}. "
                f"Nothing was opened. If you trust it, open the store with it: encoder=..."
            )
    return folder


def _copy(connection: Connection, old: Any, encoder: Encoder, advance: Callable[[int], None]) -> None:
    copy = get_collection(connection, _next(old.name))
    if copy is not None and (copy.metadata or {}).get(FINGERPRINT) != encoder.fingerprint:
        connection.client.delete_collection(copy.name)
        copy = None
    labels = kept_labels(connection, old)
    if copy is None:
        copy = new_collection(connection, _next(old.name), encoder, labels=labels, adapted=True)
    else:
        keep_labels(connection, copy, labels or ())
    if descriptions := kept_descriptions(connection, old):
        set_descriptions(connection, copy, descriptions)
    if (old.metadata or {}).get(FINGERPRINT) == encoder.fingerprint:  # only rebuilt; other vectors need new tuning
        copy = set_settings(connection, copy, kept_settings(old))
    row_ids = old.get(include=[])["ids"]
    copied = set(copy.get(include=[])["ids"])
    size = min(_PAGE, int(connection.client.get_max_batch_size()))
    changed = _changed(old, copy, sorted(copied.intersection(row_ids)), size)
    for page in pages(sorted(changed | copied.difference(row_ids)), size):
        copy.delete(ids=page)
    copied -= changed
    advance(len(copied.intersection(row_ids)))
    for page in pages([row_id for row_id in row_ids if row_id not in copied], size):
        _embed(connection, old, copy, page, encoder)
        advance(len(page))


def _changed(old: Any, copy: Any, ids: list[str], size: int) -> set[str]:
    """The copied rows whose id or metadata changed after they were copied."""
    changed: set[str] = set()
    for page in pages(ids, size):
        current, copied = (
            dict(zip(rows["ids"], rows["metadatas"], strict=True))
            for rows in (each.get(ids=page, include=["metadatas"]) for each in (old, copy))
        )
        changed.update(row_id for row_id in page if current[row_id] != copied[row_id])
    return changed


def _embed(connection: Connection, old: Any, copy: Any, ids: Sequence[str], encoder: Encoder) -> None:
    rows = old.get(ids=list(ids), include=["metadatas"])
    examples = [
        records.from_json(row_id, (metadata or {}).get(records.EXAMPLE), connection.location)
        for row_id, metadata in zip(rows["ids"], rows["metadatas"], strict=True)
    ]
    copy.upsert(
        ids=rows["ids"],
        embeddings=encoder.encode_examples(examples),
        metadatas=rows["metadatas"],
    )


def _home(connection: Connection) -> Path | None:
    """Where encoders are kept: in the store's folder; nowhere on a server or in memory."""
    return connection.folder / ".ruie" / "encoders" if connection.folder else None


def _keep(connection: Connection, encoder: Encoder) -> None:
    """Copy an exported encoder into the store's folder; encoders of other kinds are not kept."""
    home = _home(connection)
    if home is None or not isinstance(encoder, OnnxEncoder | StaticEncoder):
        return
    folder = home / encoder.fingerprint
    if folder.is_dir():
        return
    home.mkdir(parents=True, exist_ok=True)
    half = home / f"half-{os.getpid()}"
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(encoder.folder, half)
    half.replace(folder)  # complete or absent


def _forget_unused(connection: Connection) -> None:
    """Remove kept encoders that no collection of the folder uses."""
    home = _home(connection)
    if home is None or not home.is_dir():
        return
    used = {str((each.metadata or {}).get(FINGERPRINT)) for each in connection.client.list_collections()}
    for folder in home.iterdir():
        if folder.name not in used:
            shutil.rmtree(folder, ignore_errors=True)


def _next(name: str) -> str:
    return f"{name}.next"


def _mark(pool: str) -> str:
    return f"{pool}.switch"
