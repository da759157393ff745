"""Searches one collection for the rows most similar to queries, without rows of the query's own text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ruie_components.encoders import Vectors
from ruie_components.store.exact import read_rows
from ruie_components.store.records import TEXT, Hit, SearchOptions
from ruie_components.store.threads import THREADS, in_threads

_SPARE = 2  # rows fetched beyond k, since some may have the query's own text; each costs as much as one that is kept
_QUERIES = 1000  # queries in one call
_FEW = 8  # queries for which another thread is not worth it
_ROWS = 30_000  # rows in one call: Chroma looks them up with as many SQL variables, and SQLite takes 32,766
_PAGE = 1000  # rows whose metadata is read in one call


class EmptyCollectionError(Exception):
    """A collection has no rows."""


_ALL = SearchOptions()


def search_collection(
    collection: Any, queries: Vectors, own_texts: Sequence[str], k: int, options: SearchOptions = _ALL
) -> list[list[Hit]]:
    """The ``k`` most similar rows for each query, best first.

    Args:
        collection: A Chroma collection.
        queries: ``(n, d)``.
        own_texts: The ``text_hash`` of each query's text; rows that have it are left out.
        k: How many rows for each query.
        options: The allowed rows, and whether hits have vectors.

    Raises:
        EmptyCollectionError: The collection has no rows.
    """
    hits: list[list[Hit]] = []
    for start in range(0, len(queries), _QUERIES):
        end = start + _QUERIES
        hits += _search_batch(collection, queries[start:end], own_texts[start:end], k, options)
    return hits


def _search_batch(
    collection: Any, queries: Vectors, own_texts: Sequence[str], k: int, options: SearchOptions
) -> list[list[Hit]]:
    fetch = k + _SPARE
    rows_repeat = len(queries) > 1 and len(queries) * fetch > collection.count()
    known: dict[str, dict[str, Any]] | None = {} if rows_repeat else None
    pending = list(range(len(queries)))
    hits: list[list[Hit]] = [[] for _ in pending]
    while pending:
        size = min(max(1, _ROWS // fetch), max(_FEW, -(-len(pending) // THREADS)))
        parts = [queries[pending[start : start + size]] for start in range(0, len(pending), size)]
        pages = _query(collection, parts, fetch, options, known)
        for i, page in zip(pending, pages, strict=True):
            hits[i] = [hit for hit in page if hit.metadata.get(TEXT) != own_texts[i]][:k]
        too_few = [(i, len(page)) for i, page in zip(pending, pages, strict=True) if len(hits[i]) < k]
        pending = [i for i, size in too_few if size >= fetch]  # rows of the query's own text filled the page
        exhausted = [(i, size) for i, size in too_few if size < fetch]  # Chroma returned all that it could find
        if exhausted and not options.is_filtered:
            _complete(collection, queries, own_texts, k, options, exhausted, hits)
        fetch *= 4
    return hits


def _complete(
    collection: Any,
    queries: Vectors,
    own_texts: Sequence[str],
    k: int,
    options: SearchOptions,
    exhausted: list[tuple[int, int]],
    hits: list[list[Hit]],
) -> None:
    """Compare with every row if the approximate index returned too few rows: it can lose some."""
    total = collection.count()
    if total == 0:
        raise EmptyCollectionError
    incomplete = [i for i, size in exhausted if size < total]
    if not incomplete:
        return
    rows = read_rows(collection)
    for i in incomplete:
        hits[i] = rows.search(queries[i], own_texts[i], k, options)


def _query(
    collection: Any, parts: list[Vectors], fetch: int, options: SearchOptions, known: dict[str, dict[str, Any]] | None
) -> list[list[Hit]]:
    """A page of rows for each query; the parts of the queries are searched side by side.

    With ``known``, metadata is read separately, and only for rows that are not in ``known``.
    """
    include = ["distances", *(["embeddings"] if options.vectors else []), *(["metadatas"] if known is None else [])]

    def search(part: Vectors) -> Any:
        return collection.query(
            query_embeddings=part,
            n_results=fetch,
            include=include,
            where=options.where,
            ids=None if options.ids is None else list(options.ids),
        )

    responses = list(in_threads(search, parts)) if len(parts) > 1 else [search(parts[0])]
    if known is not None:
        found = (row_id for response in responses for ids in response["ids"] for row_id in ids)
        known |= read_metadata(collection, list(dict.fromkeys(row_id for row_id in found if row_id not in known)))
    return [page for response in responses for page in _pages(response, collection.name, options, known)]


def _pages(
    response: Any, location: str, options: SearchOptions, known: Mapping[str, dict[str, Any]] | None
) -> list[list[Hit]]:
    """The hits of each query of a response, best first."""
    pages = []
    for row, ids in enumerate(response["ids"]):
        if known is None:  # Chroma returns None for rows without metadata, which another program wrote
            metadatas = [metadata or {} for metadata in response["metadatas"][row]]
        else:  # None: another process has deleted the row
            metadatas = [known.get(row_id) for row_id in ids]
        embeddings = response["embeddings"][row] if options.vectors else [None] * len(ids)
        page = [
            Hit(row_id, 1.0 - distance, metadata, location, vector)
            for row_id, distance, metadata, vector in zip(
                ids, response["distances"][row], metadatas, embeddings, strict=True
            )
            if metadata is not None
        ]
        pages.append(sorted(page, key=lambda hit: (-hit.score, hit.id)))
    return pages


def read_metadata(collection: Any, ids: list[str]) -> dict[str, dict[str, Any]]:
    """The metadata of rows by their ids; rows that don't exist are left out."""
    metadata_by_id: dict[str, dict[str, Any]] = {}
    for start in range(0, len(ids), _PAGE):
        page = collection.get(ids=ids[start : start + _PAGE], include=["metadatas"])
        metadata_by_id |= {
            row_id: metadata or {} for row_id, metadata in zip(page["ids"], page["metadatas"], strict=True)
        }
    return metadata_by_id


def index_problem(collection: Any) -> str | None:
    """Why a collection can't be searched, or ``None`` if it can."""
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
