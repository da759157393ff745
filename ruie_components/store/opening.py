"""Opens a pool: connects, finishes an interrupted reindexing, checks the collections, and repairs damaged indexes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ruie_components.encoders import load_encoder
from ruie_components.errors import StoreError
from ruie_components.store import reindexing
from ruie_components.store.connections import chroma_errors, connect
from ruie_components.store.healing import DamagedIndexError, heal
from ruie_components.store.open_pool import OpenPool

_POOL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,500}")


def open_pool(path: str | Path | None, name: str, encoder: Any, client: Any, *, create: bool) -> OpenPool:
    """Open a pool; its collections need not exist yet.

    Args:
        path: As for ``connect``.
        name: The pool's name.
        encoder: As for ``load_encoder``; ``None``: the one stored with the pool, else the embedded one.
        client: As for ``connect``.
        create: As for ``connect``.

    Raises:
        StoreError: The name is not valid, the location can't be used or is in use by another process, or the pool was
            built with another encoder.
    """
    if not _POOL.fullmatch(name) or ".." in name or not name[-1].isalnum():
        raise StoreError(
            f"pool name {name!r} can't be used: use letters, digits, single dots, '_' and '-', with a letter or "
            f"digit at both ends, at most 500"
        )
    try:
        return _open_once(path, name, encoder, client, create=create)
    except DamagedIndexError:  # it is marked now; Chroma must restart to open it
        return _open_once(path, name, encoder, client, create=create)


def _open_once(path: str | Path | None, name: str, encoder: Any, client: Any, *, create: bool) -> OpenPool:
    loaded = None if encoder is None else load_encoder(encoder)
    connection = connect(path, client, create=create)
    try:
        with chroma_errors(connection.location, "opening"):
            if reindexing.is_unfinished(connection, name):
                with connection.writing():
                    reindexing.finish(connection, name)
            pool = OpenPool(connection, name, loaded or load_encoder(reindexing.kept_encoder(connection, name)))
            pool.load_collections()
            heal(pool)
    except BaseException:
        connection.close()
        raise
    return pool
