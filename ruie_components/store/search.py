"""The nearest rows of one collection, the query's own text left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ruie_components.encoders import Vectors
from ruie_components.store.records import TEXT, Hit


@dataclass(frozen=True)
class Wanted:
    """Which rows are searched, and what of them comes back."""

    vectors: bool = False
    """Whether the rows come with their vectors."""
    where: dict[str, Any] | None = None
    """A Chroma filter on the metadata."""
    ids: list[str] | None = None
    """Only these rows."""

    @property
    def filtered(self) -> bool:
        """Whether not all rows may come."""
        return self.where is not None or self.ids is not None


class EmptyCollectionError(Exception):
    """A collection holds no row at all."""


_SPARE = 2  # rows fetched beyond k, since some may hold the query's own text; each costs as much as one that is kept
_AT_ONCE = 1000  # queries of one call
_ROWS = 30_000  # rows of one call: Chroma looks them up with as many SQL variables, and SQLite takes 32,766
_PAGE = 1000  # rows whose metadata is read in one call
_ALL = Wanted()


def nearest(
    collection: Any, queries: Vectors, own_texts: Sequence[str], k: int, wanted: Wanted = _ALL
) -> list[list[Hit]]:
    """The ``k`` nearest rows to each query, best first.

    Args:
        collection: A Chroma collection.
        queries: ``(n, d)``.
        own_texts: The ``text_hash`` of each query's text; rows that have it are left out.
        k: How many rows a query.
        wanted: Which rows, and what of them.

    Raises:
        EmptyCollectionError: It holds no row.
    """
    found: list[list[Hit]] = []
    for start in range(0, len(queries), _AT_ONCE):
        end = start + _AT_ONCE
        found += _some(collection, queries[start:end], own_texts[start:end], k, wanted)
    return found


def _some(collection: Any, queries: Vectors, own_texts: Sequence[str], k: int, wanted: Wanted) -> list[list[Hit]]:
    fetch = k + _SPARE
    found_again = len(queries) > 1 and len(queries) * fetch > collection.count()
    known: dict[str, dict[str, Any]] | None = {} if found_again else None
    pending = list(range(len(queries)))
    found: list[list[Hit]] = [[] for _ in pending]
    while pending:
        size = max(1, _ROWS // fetch)
        parts = [pending[start : start + size] for start in range(0, len(pending), size)]
        pages = [page for part in parts for page in _query(collection, queries[part], fetch, wanted, known)]
        for place, page in zip(pending, pages, strict=True):
            found[place] = [near for near in page if near.metadata.get(TEXT) != own_texts[place]][:k]
        lacking = [(place, len(page)) for place, page in zip(pending, pages, strict=True) if len(found[place]) < k]
        pending = [place for place, size in lacking if size >= fetch]  # the query's own text took the places
        ended = [(place, size) for place, size in lacking if size < fetch]  # Chroma has no more
        if ended and not wanted.filtered:
            _complete(collection, queries, own_texts, k, wanted, ended, found)
        fetch *= 4
    return found


def _complete(
    collection: Any,
    queries: Vectors,
    own_texts: Sequence[str],
    k: int,
    wanted: Wanted,
    ended: list[tuple[int, int]],
    found: list[list[Hit]],
) -> None:
    """Compare with every row where the approximate index gave fewer rows than there are: it can lose some."""
    total = collection.count()
    if total == 0:
        raise EmptyCollectionError
    lost = [place for place, size in ended if size < total]
    if not lost:
        return
    everything = collection.get(include=["metadatas", "embeddings"])
    matrix = np.asarray(everything["embeddings"], dtype=np.float32)  # (rows, d)
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    matrix = np.divide(matrix, lengths, out=np.zeros_like(matrix), where=lengths > 0)
    for place in lost:
        scores = matrix @ queries[place]  # (rows,)
        page = [
            Hit(row_id, float(score), metadata or {}, collection.name, vector if wanted.vectors else None)
            for row_id, score, metadata, vector in zip(
                everything["ids"], scores, everything["metadatas"], matrix, strict=True
            )
            if (metadata or {}).get(TEXT) != own_texts[place]
        ]
        found[place] = sorted(page, key=lambda near: (-near.score, near.id))[:k]


def _query(
    collection: Any, queries: Vectors, fetch: int, wanted: Wanted, known: dict[str, dict[str, Any]] | None
) -> list[list[Hit]]:
    """A page of rows for each query.

    Reading the metadata takes most of the time. With ``known`` it is read apart, and only of rows that are not in it.
    """
    include = ["distances", *(["embeddings"] if wanted.vectors else []), *(["metadatas"] if known is None else [])]
    answer = collection.query(
        query_embeddings=queries, n_results=fetch, include=include, where=wanted.where, ids=wanted.ids
    )
    if known is not None:
        found = dict.fromkeys(row_id for ids in answer["ids"] for row_id in ids if row_id not in known)
        known |= _metadatas(collection, list(found))
    pages = []
    for row, ids in enumerate(answer["ids"]):
        # a row that is not known was deleted by somebody in this moment
        metadatas = [known.get(row_id) for row_id in ids] if known is not None else _no_none(answer["metadatas"][row])
        embeddings = answer["embeddings"][row] if wanted.vectors else [None] * len(ids)
        page = [
            Hit(row_id, 1.0 - distance, metadata, collection.name, vector)
            for row_id, distance, metadata, vector in zip(
                ids, answer["distances"][row], metadatas, embeddings, strict=True
            )
            if metadata is not None
        ]
        pages.append(sorted(page, key=lambda near: (-near.score, near.id)))
    return pages


def _no_none(metadatas: list[dict[str, Any] | None]) -> list[dict[str, Any]]:
    """Empty metadata, which Chroma gives as None, as such: the row is somebody else's, and reading it says so."""
    return [metadata or {} for metadata in metadatas]


def _metadatas(collection: Any, ids: list[str]) -> dict[str, dict[str, Any]]:
    """The metadata of rows; those that are gone are left out."""
    found: dict[str, dict[str, Any]] = {}
    for start in range(0, len(ids), _PAGE):
        page = collection.get(ids=ids[start : start + _PAGE], include=["metadatas"])
        found |= {row_id: metadata or {} for row_id, metadata in zip(page["ids"], page["metadatas"], strict=True)}
    return found


def index_problem(collection: Any) -> str | None:
    """Why a collection can't be searched, or ``None`` where it can."""
    from chromadb.errors import ChromaError

    if not collection._model.dimension:
        return None  # nothing was ever written to it
    try:
        collection.query(query_embeddings=[[1.0] * collection._model.dimension], n_results=1, include=[])
    except ChromaError as error:
        return str(error)
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # of Chroma's Rust code; its type can't be imported
            raise
        return str(error)
    return None
