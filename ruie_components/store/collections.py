"""Finds and creates the collections of a pool, and checks that they are safe to open and fit the encoder."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ruie_components.encoders import Encoder
from ruie_components.errors import StoreError
from ruie_components.store.connections import Connection
from ruie_components.types import Task

SPACE = "cosine"
GRAPH = {"max_neighbors": 64, "ef_construction": 100, "ef_search": 400, "sync_threshold": 100}
"""Links of a row, candidates when a row is linked, candidates of a search, and the number of new rows with which the
index is written to its files. Chroma's defaults are 16, 100, 100 and 1,000.

A process that opens a folder links the rows that are not in the index files first, which takes as long as adding them:
up to 999 rows of each task by Chroma's default. The smallest threshold that Chroma allows is its batch size, 100.

With few links a graph loses rows whose vectors lie close together: of 7,000 texts that differ in one word Chroma's own
lost 2,535 and this one 12. ``benchmarks/index_graph.py`` measured, against exact search, the recall of the first 8 and
of the first 80 (200 queries of the dev split of NER/mit-movie-trivia, 7,035 rows), the rows that a search for their own
vector does not find, before any repair, and CPU time:

| links, ef_construction, ef_search | recall@8 | recall@80 | rows lost | build, s | one search, ms |
|---|---:|---:|---:|---:|---:|
| 16, 100, 100 (Chroma's) | 0.974 | 0.923 | 1 | 8.1 | 2.3 |
| 16, 100, 400 | 0.994 | 0.993 | 0 | 7.4 | 4.2 |
| 32, 200, 400 | 0.999 | 0.999 | 0 | 14.9 | 4.8 |
| 64, 100, 400 | 0.998 | 0.998 | 0 | 9.9 | 5.1 |
| 64, 200, 400 | 1.000 | 0.999 | 0 | 16.2 | 4.7 |
"""
ADAPTED = {"ef_construction": 200}
"""What differs for vectors of an adapted encoder. Adapting moves all vectors of a pool closer together: the mean of the
7,035 unit vectors grows from 0.36 to 0.71 in length. By the same script:

| links, ef_construction, ef_search | recall@8 | recall@80 | rows lost | build, s | one search, ms |
|---|---:|---:|---:|---:|---:|
| 16, 100, 100 (Chroma's) | 0.886 | 0.857 | 179 | 4.2 | 1.5 |
| 16, 100, 400 | 0.958 | 0.955 | 145 | 4.5 | 1.9 |
| 32, 200, 400 | 0.984 | 0.983 | 27 | 5.2 | 2.0 |
| 64, 100, 400 | 0.980 | 0.978 | 2 | 3.9 | 2.0 |
| 64, 200, 400 | 0.988 | 0.987 | 0 | 5.8 | 2.7 |
"""
_ENCODER, FINGERPRINT, _FORMAT, _LABELS = "ruie_encoder", "ruie_fingerprint", "ruie_format", "ruie_labels"
_TUNED = "ruie_tuned"

_DESCRIPTIONS = "ruie_descriptions"
_PAGE = 1000


def create_collection(connection: Connection, pool: str, task: Task, encoder: Encoder) -> Any:
    """Create the collection of a pool and task."""
    return new_collection(connection, f"{pool}.{task}", encoder, labels=())


def new_collection(
    connection: Connection, name: str, encoder: Encoder, *, labels: Sequence[str] | None, adapted: bool = False
) -> Any:
    """Create a collection for an encoder's vectors.

    Args:
        connection: The database.
        name: Its name.
        encoder: The encoder.
        labels: The labels that it keeps, or ``None``.
        adapted: Whether the vectors may be those of an adapted encoder, which lie close together.

    Raises:
        StoreError: There is a collection of this name that doesn't fit.
    """
    kept = {} if labels is None else {_LABELS: json.dumps(labels)}
    collection = connection.client.get_or_create_collection(
        name,
        embedding_function=None,  # the encoder computes the vectors; Chroma's default function would load a model
        configuration={"hnsw": {"space": SPACE, **GRAPH, **(ADAPTED if adapted else {})}},
        metadata={_ENCODER: encoder.name, FINGERPRINT: encoder.fingerprint, _FORMAT: 1, **kept},
    )
    _refuse_stored_function(collection, connection)
    _check(collection, connection, encoder)  # on a server another process may have created it
    return collection


def get_collection(connection: Connection, name: str) -> Any | None:
    """A collection by its name, or ``None``. Every collection is opened by this function.

    Raises:
        StoreError: It names a function that Chroma would build, which could run foreign code.
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
    """The labels of all schemas ever written to a collection, or ``None`` if an older version made it."""
    kept = _stored(connection, collection).metadata.get(_LABELS)
    return None if kept is None else tuple(json.loads(kept))


def keep_labels(connection: Connection, collection: Any, labels: Iterable[str]) -> None:
    """Add to a collection's list of labels, if it has one.

    Chroma replaces all metadata at once, so the list is read again just before. If two processes write to a server at
    the same moment, the second may still undo the first.
    """
    known = kept_labels(connection, collection)
    if known is None:
        return
    both = list(dict.fromkeys([*known, *labels]))
    if len(both) > len(known):
        stored = _stored(connection, collection)
        stored.modify(metadata={**stored.metadata, _LABELS: json.dumps(both)})


def set_labels(connection: Connection, collection: Any, labels: Iterable[str]) -> None:
    """Replace a collection's list of labels."""
    stored = _stored(connection, collection)
    stored.modify(metadata={**stored.metadata, _LABELS: json.dumps(list(labels))})


def kept_settings(collection: Any) -> str | None:
    """The tuned settings that a collection keeps, as JSON, or ``None``."""
    kept = (collection.metadata or {}).get(_TUNED)
    return None if kept is None else str(kept)


def set_settings(connection: Connection, collection: Any, settings: str | None) -> Any:
    """Replace the tuned settings of a collection; returns the updated collection."""
    stored = _stored(connection, collection)
    metadata = {name: value for name, value in stored.metadata.items() if name != _TUNED}
    stored.modify(metadata=metadata if settings is None else {**metadata, _TUNED: settings})
    return _stored(connection, collection)


def kept_descriptions(connection: Connection, collection: Any) -> dict[str, str]:
    """The descriptions of labels that a collection keeps."""
    return dict(json.loads(_stored(connection, collection).metadata.get(_DESCRIPTIONS) or "{}"))


def set_descriptions(connection: Connection, collection: Any, descriptions: Mapping[str, str]) -> None:
    """Replace the descriptions of a collection."""
    stored = _stored(connection, collection)
    stored.modify(metadata={**stored.metadata, _DESCRIPTIONS: json.dumps(dict(descriptions))})


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
            if FINGERPRINT in (collection.metadata or {}) and task in set(Task):  # without incomplete copies
                names.add(name)
        offset += len(page)
    return sorted(names)


def _refuse_stored_function(collection: Any, connection: Connection) -> None:
    """Refuse a collection whose configuration or schema names an embedding function.

    Chroma builds such a function from the database when rows are added; a sentence-transformers function may name a
    folder with code. This package brings its own vectors and stores no function. This check reads the raw values,
    because ``collection.schema`` and ``collection.configuration`` would build the function.
    """
    model = collection._model
    for function in (*_functions(model.configuration_json), *_functions(model.serialized_schema)):
        named = function.get("name") if isinstance(function, dict) else function
        if named not in (None, "default"):
            raise StoreError(
                f"collection {collection.name!r} in {connection.location} names the embedding function {named!r}, "
                f"which Chroma would build and which may run code. Stores of ruie-components hold none, so another "
                f"program made or changed it. Nothing was loaded; use a store that you trust."
            )


def _functions(value: Any) -> Iterator[Any]:
    """Every embedding function that a configuration or schema names, at any depth."""
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
        raise StoreError(f"{where} was not created by ruie-components: choose another pool name")
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
        if space := (configuration.get(index) or {}).get("space"):
            return str(space)
    return None
