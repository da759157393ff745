"""Finds and creates the collections of a pool, and checks that they are safe to open and fit the encoder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ruie_components.encoders import Encoder
from ruie_components.errors import StoreError
from ruie_components.store.connections import Connection
from ruie_components.types import Task

SPACE = "cosine"
_ENCODER, FINGERPRINT, _FORMAT, _LABELS = "ruie_encoder", "ruie_fingerprint", "ruie_format", "ruie_labels"
_PAGE = 1000


def create_collection(connection: Connection, pool: str, task: Task, encoder: Encoder) -> Any:
    """Create the collection of a pool and task."""
    return new_collection(connection, f"{pool}.{task}", encoder, labels=())


def new_collection(connection: Connection, name: str, encoder: Encoder, *, labels: Sequence[str] | None) -> Any:
    """Create a collection for an encoder's vectors; it keeps a list of labels unless that is ``None``."""
    kept = {} if labels is None else {_LABELS: json.dumps(labels)}
    collection = connection.client.get_or_create_collection(
        name,
        embedding_function=None,  # vectors are computed by the encoder; Chroma's default would load a model
        configuration={"hnsw": {"space": SPACE}},
        metadata={_ENCODER: encoder.name, FINGERPRINT: encoder.fingerprint, _FORMAT: 1, **kept},
    )
    _refuse_stored_function(collection, connection)
    _check(collection, connection, encoder)  # another process may have been faster on a server
    return collection


def get_collection(connection: Connection, name: str) -> Any | None:
    """A collection by its name, or ``None``; every collection is opened here.

    Raises:
        StoreError: It names a function that Chroma would build, and so perhaps run code from elsewhere.
    """
    from chromadb.errors import NotFoundError

    try:
        collection = connection.client.get_collection(name, embedding_function=None)
    except NotFoundError:
        return None
    _refuse_stored_function(collection, connection)
    return collection


def find_collection(connection: Connection, pool: str, task: Task, encoder: Encoder) -> Any | None:
    """The collection of a pool and task, or ``None``.

    Raises:
        StoreError: It was built with another encoder, has another distance, names an embedding function, or is not one
            of this package's.
    """
    collection = get_collection(connection, f"{pool}.{task}")
    if collection is not None:
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


def set_labels(connection: Connection, collection: Any, labels: Iterable[str]) -> None:
    """Make these the labels that a collection keeps."""
    stored = _stored(connection, collection)
    stored.modify(metadata={**stored.metadata, _LABELS: json.dumps(list(labels))})


def _stored(connection: Connection, collection: Any) -> Any:
    stored = get_collection(connection, collection.name)
    if stored is None:
        raise StoreError(f"collection {collection.name!r} in {connection.location} was deleted while it was open")
    return stored


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


def _refuse_stored_function(collection: Any, connection: Connection) -> None:
    """Refuse a collection whose configuration or schema names an embedding function.

    Chroma builds such a function by itself when rows are added, from whatever the database says: with a
    sentence-transformers function that may be a folder with code. This package brings its own vectors and stores no
    function. Read here are the raw values; ``collection.schema`` and ``collection.configuration`` would build.
    """
    model = collection._model
    for function in (*_functions(model.configuration_json), *_functions(model.serialized_schema)):
        named = function.get("name") if isinstance(function, dict) else function
        if named not in (None, "default"):
            raise StoreError(
                f"collection {collection.name!r} in {connection.location} names the embedding function {named!r}, "
                f"which Chroma would build and which may run code. Stores of ruie-components hold none, so this was "
                f"made or changed by another program. Nothing was loaded; use a store that you trust."
            )


def _functions(value: Any) -> Iterator[Any]:
    """Every embedding function that a configuration or schema names, however deep."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "embedding_function":
                yield inner
            yield from _functions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _functions(inner)


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
