"""Searches one collection for the rows most similar to queries, without rows of the query's own text.

The index returns ids and scores; the metadata of rows takes longer to read than the search, so it is read apart, and
only for rows that may be returned and are not known yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from threading import Lock
from typing import Any

from ruie_components.encoders import Vectors
from ruie_components.store.exact import read_rows
from ruie_components.store.records import TEXT, Hit, SearchOptions
from ruie_components.store.threads import despite_deletes, equal_parts, in_threads

_SPARE = 2  # rows fetched beyond k, since some may have the query's own text; each costs as much as one that is kept
_QUERIES = 1000  # queries in one call
_FEW = 8  # queries for which another thread is not worth it, unless a filter makes each ten times as expensive
_ROWS = 30_000  # rows in one call: Chroma looks them up with as many SQL variables, and SQLite takes 32,766
_PAGE = 1000  # rows whose metadata is read in one call
_KEPT = 8192  # rows whose metadata is kept in memory: 12 MB with examples of 700 characters


class EmptyCollectionError(Exception):
    """A collection has no rows."""


class KnownRows:
    """The metadata of rows that searches returned lately, in one state of a collection; threads may share it."""

    def __init__(self) -> None:
        self._metadata: dict[str, dict[str, Any]] = {}
        self._lock = Lock()

    def read(self, collection: Any, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
        """The metadata of rows by their ids, read where it is not known; rows that don't exist are left out."""
        wanted = dict.fromkeys(ids)
        with self._lock:
            rows = {row_id: self._metadata[row_id] for row_id in wanted if row_id in self._metadata}
        new = read_metadata(collection, [row_id for row_id in wanted if row_id not in rows])
        with self._lock:
            self._metadata |= new
            for row_id in list(islice(self._metadata, max(0, len(self._metadata) - _KEPT))):
                del self._metadata[row_id]  # the oldest
        return rows | new


@dataclass(frozen=True)
class Ranking:
    """The rows nearest to a query by the index, of any text."""

    rows: Sequence[tuple[str, float, Any]]
    """The id, score and vector (or ``None``) of each, best first."""
    fetch: int
    """How many rows the index was asked for; it may return fewer."""


_ALL = SearchOptions()


def search_collection(
    collection: Any,
    queries: Vectors,
    own_texts: Sequence[str],
    k: int,
    options: SearchOptions = _ALL,
    *,
    fetch: int = 0,
    rankings: list[Ranking | None] | None = None,
    known: KnownRows | None = None,
) -> list[list[Hit]]:
    """The ``k`` most similar rows for each query, best first.

    Args:
        collection: A Chroma collection.
        queries: ``(n, d)``.
        own_texts: The ``text_hash`` of each query's text; rows that have it are left out.
        k: How many rows for each query.
        options: The allowed rows, and whether hits have vectors.
        fetch: How many rows of the index to rank at least, for a later search with a larger ``k``.
        rankings: For each query the ranking of an earlier search with the same options, or ``None``; the new ones
            take their places.
        known: Metadata that earlier searches read; default: none.

    Raises:
        EmptyCollectionError: The collection has no rows.
    """
    hits: list[list[Hit]] = []
    ranked: list[Ranking | None] = [None] * len(queries) if rankings is None else rankings
    known = known or KnownRows()
    for start in range(0, len(queries), _QUERIES):
        part = slice(start, start + _QUERIES)
        search = _Search(collection, queries[part], own_texts[part], k, options, ranked[part], known)
        hits += search.run(fetch)
        ranked[part] = search.rankings
    return hits


class _Search:
    """One search of ``search_collection``; its arguments are that function's."""

    def __init__(
        self,
        collection: Any,
        queries: Vectors,
        own_texts: Sequence[str],
        k: int,
        options: SearchOptions,
        rankings: list[Ranking | None],
        known: KnownRows,
    ) -> None:
        self.collection, self.queries, self.own_texts = collection, queries, own_texts
        self.k, self.options, self.rankings, self.known = k, options, rankings, known

    def run(self, fetch: int) -> list[list[Hit]]:
        hits: list[list[Hit]] = [[] for _ in self.own_texts]
        pending, size = list(range(len(hits))), self.k + _SPARE
        while pending:
            rankings = self._rank(pending, size, fetch + _SPARE)
            pages = {i: ranking.rows[:size] for i, ranking in rankings.items()}
            metadata = self.known.read(self.collection, (row_id for page in pages.values() for row_id, _, _ in page))
            for i, page in pages.items():
                hits[i] = self._hits(page, self.own_texts[i], metadata)
            too_few = [i for i in pending if len(hits[i]) < self.k]
            pending = [i for i in too_few if len(pages[i]) >= size]  # rows of the query's own text filled the page
            # else the index returned all that it could find
            exhausted = [i for i in too_few if len(pages[i]) < size]
            if exhausted and not self.options.is_filtered:
                self._complete(exhausted, pages, hits)
            size *= 4
        return hits

    def _rank(self, pending: Sequence[int], size: int, fetch: int) -> dict[int, Ranking]:
        """Rankings of at least ``size`` rows; the index is asked for at least ``fetch`` where it is asked."""
        rankings = {i: ranking for i in pending if (ranking := self.rankings[i]) and ranking.fetch >= size}
        left, fetch = [i for i in pending if i not in rankings], max(size, fetch)
        parts = equal_parts(left, smallest=1 if self.options.is_filtered else _FEW, largest=max(1, _ROWS // fetch))
        for part, found in zip(parts, in_threads(partial(self._query, fetch=fetch), parts), strict=True):
            for i, ranking in zip(part, found, strict=True):
                rankings[i] = self.rankings[i] = ranking
        return rankings

    def _query(self, part: Sequence[int], fetch: int) -> list[Ranking]:
        """The rankings of some queries."""
        options = self.options
        response = despite_deletes(
            self.collection.query,
            query_embeddings=self.queries[list(part)],
            n_results=fetch,
            include=["distances", *(["embeddings"] if options.vectors else [])],
            where=options.where,
            ids=None if options.ids is None else list(options.ids),
        )
        rankings = []
        for row, (ids, distances) in enumerate(zip(response["ids"], response["distances"], strict=True)):
            vectors = response["embeddings"][row] if options.vectors else [None] * len(ids)
            rows = zip(ids, (1.0 - distance for distance in distances), vectors, strict=True)
            rankings.append(Ranking(sorted(rows, key=lambda one: (-one[1], one[0])), fetch))
        return rankings

    def _hits(
        self, page: Sequence[tuple[str, float, Any]], own_text: str, metadata: Mapping[str, dict[str, Any]]
    ) -> list[Hit]:
        """The first ``k`` rows of a page that have another text; rows that others have deleted are skipped."""
        hits = (
            Hit(row_id, score, dict(metadata[row_id]), self.collection.name, vector)
            for row_id, score, vector in page
            if row_id in metadata and metadata[row_id].get(TEXT) != own_text
        )
        return list(islice(hits, self.k))

    def _complete(self, exhausted: Sequence[int], pages: Mapping[int, Sequence[Any]], hits: list[list[Hit]]) -> None:
        """Compare with every row if the approximate index returned too few rows: it can lose some."""
        total = self.collection.count()
        if total == 0:
            raise EmptyCollectionError
        incomplete = [i for i in exhausted if len(pages[i]) < total]
        if not incomplete:
            return
        rows = read_rows(self.collection)
        for i in incomplete:
            hits[i] = rows.search(self.queries[i], self.own_texts[i], self.k, self.options)


def read_metadata(collection: Any, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The metadata of rows by their ids; rows that don't exist are left out."""

    def read(part: Sequence[str]) -> dict[str, dict[str, Any]]:
        page = collection.get(ids=list(part), include=["metadatas"])
        # Chroma returns None for rows without metadata, which another program wrote
        return {row_id: metadata or {} for row_id, metadata in zip(page["ids"], page["metadatas"], strict=True)}

    metadata_by_id: dict[str, dict[str, Any]] = {}
    for rows in in_threads(read, [ids[start : start + _PAGE] for start in range(0, len(ids), _PAGE)]):
        metadata_by_id |= rows
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
