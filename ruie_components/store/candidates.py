"""A pool as the source of candidates for some queries: searches by similarity and by BM25."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ruie_components.encoders import Encoder, Vectors
from ruie_components.selection.bm25 import LexicalIndex
from ruie_components.selection.token_weights import SAMPLE, weigh_tokens
from ruie_components.store import reading
from ruie_components.store.collections import GRAPH
from ruie_components.store.connections import chroma_errors
from ruie_components.store.open_pool import OpenPool
from ruie_components.store.records import Hit, SearchOptions
from ruie_components.store.search import EmptyCollectionError, Ranking, search_collection
from ruie_components.tokenization import text_hash
from ruie_components.types import Query, Task


class StoreSource:
    """The rows of a pool as candidates for queries (``CandidateSource``). Each query is encoded once.

    Args:
        pool: The pool.
        queries: The queries, of any tasks, mixed.

    Raises:
        TypeError: ``queries`` is not a list of queries.
    """

    def __init__(self, pool: OpenPool, queries: Sequence[Query]) -> None:
        if isinstance(queries, (Query, str)) or not all(isinstance(query, Query) for query in queries):
            raise TypeError(
                "search takes a Query, and search_many a list of them: Query(task=..., text=..., labels=[...]), "
                "or the `query` of an Example"
            )
        self.queries = queries
        self._pool = pool
        self._encoder: Encoder | None = None
        self._encoded: dict[int, NDArray[np.float32]] = {}
        self._rankings: dict[int, Ranking | None] = {}  # of searches without options

    def nearest(
        self,
        indices: Sequence[int],
        k: int,
        *,
        event_type: str | None = None,
        labels: Sequence[str] | None = None,
        ids: Sequence[str] | None = None,
        vectors: bool = False,
        at_most: int = 0,
    ) -> list[list[Hit]]:
        """The ``k`` most similar rows for each of some queries; see ``CandidateSource``.

        A search by labels or by a frequent event type costs ten times one without, where it goes through the index.

        Raises:
            ValueError: ``k`` is negative.
            StoreError: The pool has no example of a query's task, or can't be read.
        """
        if k < 0:
            raise ValueError(f"k must be >= 0, got {k}")
        hits: dict[int, list[Hit]] = {i: [] for i in indices}
        if k == 0:
            return list(hits.values())
        options = SearchOptions(
            vectors, event_type, None if labels is None else tuple(labels), None if ids is None else frozenset(ids)
        )
        for task, of_task in self._by_task(indices).items():
            with chroma_errors(self._pool.connection.location, "searching"):
                hits.update(zip(of_task, self._nearest(task, of_task, k, options, at_most), strict=True))
        return list(hits.values())

    def _nearest(
        self, task: Task, indices: Sequence[int], k: int, options: SearchOptions, at_most: int
    ) -> list[list[Hit]]:
        encoder, collection, rows = self._pool.searched(task)
        if rows is None and options.labels is not None:
            options = replace(
                options, labels=tuple(each for each in options.labels if reading.has_label(self._pool, task, each))
            )
            if not options.labels:
                return [[] for _ in indices]
        if rows is None and options.event_type is not None:
            rows = self._pool.rows_of_event(task, collection, options.event_type)
        encoded = self._encode(indices, encoder)
        own = [text_hash(self.queries[i].text) for i in indices]
        if rows is not None:
            return [rows.search(query, text, k, options) for query, text in zip(encoded, own, strict=True)]
        keeps = options == SearchOptions()
        fetch = at_most if at_most <= GRAPH["ef_search"] else 0  # as many are compared with a query in any case
        rankings = [self._rankings.get(i) if keeps else None for i in indices]
        known = self._pool.known_rows(collection)
        try:
            return search_collection(collection, encoded, own, k, options, fetch=fetch, rankings=rankings, known=known)
        except EmptyCollectionError as error:
            raise self._pool.missing(task) from error
        finally:
            if keeps:
                self._rankings.update(zip(indices, rankings, strict=True))

    def lexical(self, indices: Sequence[int], k: int) -> list[list[Hit]]:
        """The ``k`` best rows by BM25 for each of some queries.

        Raises:
            StoreError: The pool has no example of a query's task, or can't be read.
        """
        hits: dict[int, list[Hit]] = {i: [] for i in indices}
        for task, of_task in self._by_task(indices).items():
            index = self._lexical_index(task)
            best = {i: [(index.ids[row], score) for row, score in index.search(self.queries[i], k)] for i in of_task}
            collection = self._pool.collection(task)
            with chroma_errors(self._pool.connection.location, "reading"):
                known = self._pool.known_rows(collection)
                rows = known.read(collection, (row_id for row in best.values() for row_id, _ in row))
            for i, ranked in best.items():
                hits[i] = [
                    Hit(row_id, score, dict(rows[row_id]), collection.name)
                    for row_id, score in ranked
                    if row_id in rows
                ]
        return list(hits.values())

    def has_few(self, i: int, k: int) -> bool:
        """Whether it is known that fewer than ``k`` rows are of a query's event type (EAE); not for a small pool.

        Raises:
            StoreError: The pool has no example of the query's task, or can't be read.
        """
        query = self.queries[i]
        if query.event is None:
            return False
        with chroma_errors(self._pool.connection.location, "reading"):
            _, collection, rows = self._pool.searched(query.task)
            if rows is None:
                rows = self._pool.rows_of_event(query.task, collection, query.event.type)
                return rows is not None and len(rows) < k
        return False

    def ids(self, task: Task) -> Sequence[str]:
        """The ids of all rows of a task, sorted."""
        return reading.ids(self._pool, task)

    def token_weights(self, task: Task) -> Mapping[str, float]:
        """The weights of the tokens of a task's rows; counted once and kept with the store."""
        pool = self._pool
        return pool.cached(f"token weights {task}", task, lambda: weigh_tokens(reading.sample(pool, task, SAMPLE)))

    def _lexical_index(self, task: Task) -> LexicalIndex:
        pool = self._pool
        return pool.cached(f"bm25 {task}", task, lambda: LexicalIndex(reading.examples(pool, [task])))

    def _by_task(self, indices: Sequence[int]) -> dict[Task, list[int]]:
        by_task: dict[Task, list[int]] = {}
        for i in indices:
            by_task.setdefault(self.queries[i].task, []).append(i)
        return by_task

    def _encode(self, indices: Sequence[int], encoder: Encoder) -> Vectors:
        if encoder is not self._encoder:  # the pool was embedded again between two searches
            self._encoder, self._encoded, self._rankings = encoder, {}, {}
        new = [i for i in indices if i not in self._encoded]
        if new:
            vectors = encoder.encode_queries([self.queries[i] for i in new])
            self._encoded.update(zip(new, vectors, strict=True))
        return np.array([self._encoded[i] for i in indices])  # (n, d)
