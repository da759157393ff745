"""Finding and making the collections of a pool, and checking whose they are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from ruie_components.encoders import Encoder
from ruie_components.errors import StoreError
from ruie_components.store.connections import Connection
from ruie_components.types import Task

SPACE = "cosine"
_ENCODER, FINGERPRINT, _FORMAT, _LABELS = "ruie_encoder", "ruie_fingerprint", "ruie_format", "ruie_labels"
_PAGE = 1000


def create_collection(connection: Connection, pool: str, task: Task, encoder: Encoder) -> Any:
    """Make the collection of a pool and task."""
    return new_collection(connection, f"{pool}.{task}", encoder, labels=())


def new_collection(connection: Connection, name: str, encoder: Encoder, *, labels: Sequence[str] | None) -> Any:
    """Make a collection for an encoder's vectors, which keeps a list of labels unless that is ``None``."""
    kept = {} if labels is None else {_LABELS: json.dumps(labels)}
    collection = connection.client.get_or_create_collection(
        name,
        embedding_function=None,  # vectors are computed by the encoder; Chroma's default would load a model
        configuration={"hnsw": {"space": SPACE}},
        metadata={_ENCODER: encoder.name, FINGERPRINT: encoder.fingerprint, _FORMAT: 1, **kept},
    )
    _check(collection, connection, encoder)  # another process may have been faster on a server
    return collection


def find_collection(connection: Connection, pool: str, task: Task, encoder: Encoder) -> Any | None:
    """The collection of a pool and task, or ``None``.

    Raises:
        StoreError: It was built with another encoder, has another distance, or is not one of this package's.
    """
    from chromadb.errors import NotFoundError

    try:
        collection = connection.client.get_collection(f"{pool}.{task}", embedding_function=None)
    except NotFoundError:
        return None
    _check(collection, connection, encoder)
    return collection


def kept_labels(connection: Connection, collection: Any) -> tuple[str, ...] | None:
    """The labels of all schemas ever written to a collection, or ``None`` where an older version made it."""
    kept = _stored(connection, collection).metadata.get(_LABELS)
    return None if kept is None else tuple(json.loads(kept))


def keep_labels(connection: Connection, collection: Any, labels: Iterable[str]) -> None:
    """Add to a collection's list of labels, if it has one.

    Chroma writes metadata as a whole, so the list is read again just before; on a server, of two writers in the same
    moment, the second may still undo the first.
    """
    known = kept_labels(connection, collection)
    if known is None:
        return
    both = list(dict.fromkeys([*known, *labels]))
    if len(both) > len(known):
        stored = _stored(connection, collection)
        stored.modify(metadata={**stored.metadata, _LABELS: json.dumps(both)})


def _stored(connection: Connection, collection: Any) -> Any:
    return connection.client.get_collection(collection.name, embedding_function=None)


def pools(connection: Connection) -> list[str]:
    """The names of the pools in a database, sorted."""
    names: set[str] = set()
    offset = 0
    while page := connection.client.list_collections(limit=_PAGE, offset=offset):
        for collection in page:
            name, _, task = collection.name.rpartition(".")
            if FINGERPRINT in (collection.metadata or {}) and task in set(Task):  # no half-made copy
                names.add(name)
        offset += len(page)
    return sorted(names)


def _check(collection: Any, connection: Connection, encoder: Encoder) -> None:
    metadata = collection.metadata or {}
    where = f"collection {collection.name!r} in {connection.location}"
    if FINGERPRINT not in metadata:
        raise StoreError(f"{where} was not made by ruie-components: choose another pool name")
    if metadata[FINGERPRINT] != encoder.fingerprint:
        raise StoreError(
            f"{where} was built with encoder {metadata.get(_ENCODER)!r} (fingerprint {metadata[FINGERPRINT]}), and "
            f"this is encoder {encoder.name!r} (fingerprint {encoder.fingerprint}): their vectors can't be compared. "
            f"Open it with its own encoder, or build another pool with this one."
        )
    space = _space(collection)
    if space != SPACE:
        raise StoreError(f"{where} measures distance by {space!r}, and this package needs {SPACE!r}: build it again")


def _space(collection: Any) -> str | None:
    configuration = collection.configuration_json or {}
    for index in ("hnsw", "spann"):
        if found := (configuration.get(index) or {}).get("space"):
            return str(found)
    return None
