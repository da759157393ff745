"""Exact search: compares a query with every row of a collection, whose rows are in memory.

In a small collection exact search is faster than the approximate index, and it loses no row. The index may lose rows
whose vectors are nearly equal, such as texts made from one template.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ruie_components.encoders import Vectors
from ruie_components.store.records import TEXT, Hit, SearchOptions
from ruie_components.store.threads import despite_deletes

LARGEST = 10_000
"""The largest collection of which a store keeps the rows in memory: with vectors of 1,024 dimensions 40 MB, twice that
while they are read, and their metadata. What bounds it is the time to read the rows, which a new process spends before
its first search. After a write the next search reads all metadata and the new vectors: 85 ms for one row added to
2,000. CPU time by ``benchmarks/exact.py``, 1,024 dimensions, with other work on another core:

| rows | lost after repair | index, 8 rows, ms | 80 rows | exact, 8 rows, ms | 80 rows | reading the rows, ms |
|---:|---:|---:|---:|---:|---:|---:|
| 500 | 0 | 2.9 | 7.9 | 0.2 | 0.4 | 100 |
| 2,000 | 15 | 4.1 | 7.2 | 0.7 | 0.9 | 265 |
| 5,000 | 5 | 7.0 | 13.0 | 2.8 | 3.2 | 1,057 |
| 5,000, another run | 433 | 8.0 | 13.6 | 2.9 | 3.7 | 910 |
| 10,000 | 6 | 11.1 | 16.8 | 6.9 | 6.4 | 1,747 |

How many rows the index loses differs from run to run. Of 7,641 adapted rows of ED/GENIA2011 it was 986
(``benchmarks/index_graph.py DATA ED/GENIA2011``): there what is exact is not only faster.
"""
FEW = 100
"""The largest number of rows that are kept in memory for a filter. Reading them takes about as long as one search of a
larger collection by that filter, and comparing a query with them a hundredth of it (``benchmarks/event_types.py``)."""
_PAGE = 500  # vectors read in one call: Chroma returns them as lists of numbers, eight times as large


class Rows:
    """The rows of a collection, as they were when they were read.

    Args:
        location: The collection's name, for messages.
        vectors: The vector of each row, of length 1 or 0, by its id.
        metadata: The metadata of each row, by its id.
    """

    def __init__(self, location: str, vectors: Mapping[str, Vectors], metadata: Mapping[str, dict[str, Any]]) -> None:
        self._location = location
        self._ids = sorted(vectors)  # so that of rows with equal scores the first id comes first
        self._index = {row_id: i for i, row_id in enumerate(self._ids)}
        self._metadata = [metadata[row_id] for row_id in self._ids]
        self._matrix = np.array([vectors[row_id] for row_id in self._ids], dtype=np.float32)  # (rows, d)
        self._matrix.flags.writeable = False  # hits share it

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def vectors(self) -> dict[str, Vectors]:
        """The vector of each row, ``(d,)``, by its id."""
        return dict(zip(self._ids, self._matrix, strict=True))

    def search(self, query: Vectors, own_text: str, k: int, options: SearchOptions) -> list[Hit]:
        """The ``k`` most similar rows, best first.

        Args:
            query: ``(d,)``.
            own_text: The ``text_hash`` of the query's text; rows that have it are left out.
            k: How many.
            options: The allowed rows, and whether hits have vectors.
        """
        if not self._ids:
            return []
        # not a product of matrices, which may give equal rows scores that differ in the last digit
        scores = np.einsum("nd,d->n", self._matrix, query)
        hits: list[Hit] = []
        for i in np.argsort(-scores, kind="stable").tolist():
            if len(hits) == k:
                break
            row_id, metadata = self._ids[i], self._metadata[i]
            if metadata.get(TEXT) != own_text and options.allows(row_id, metadata):
                vector = self._matrix[i] if options.vectors else None
                hits.append(Hit(row_id, float(scores[i]), dict(metadata), self._location, vector))
        return hits


def read_rows(collection: Any, known: Rows | None = None) -> Rows:
    """Read all rows of a collection.

    Args:
        collection: A Chroma collection.
        known: The same collection as it was before. Vectors that it has are not read again, since a row's id is a hash
            of what its vector is computed from.
    """
    page = collection.get(include=["metadatas"])
    metadata = {row_id: row or {} for row_id, row in zip(page["ids"], page["metadatas"], strict=True)}
    vectors = {row_id: vector for row_id, vector in (known.vectors if known else {}).items() if row_id in metadata}
    new = [row_id for row_id in metadata if row_id not in vectors]
    for start in range(0, len(new), _PAGE):
        page = despite_deletes(collection.get, ids=new[start : start + _PAGE], include=["embeddings"])
        vectors |= _unit_vectors(page)
    return Rows(collection.name, vectors, metadata)


def read_few(collection: Any, where: Mapping[str, Any] | None) -> Rows | None:
    """Read the rows of a collection that a Chroma filter allows; ``None`` if there are more than ``FEW``."""
    if len(collection.get(where=where, limit=FEW + 1, include=[])["ids"]) > FEW:
        return None
    page = despite_deletes(collection.get, where=where, include=["metadatas", "embeddings"])
    return Rows(collection.name, _unit_vectors(page), dict(zip(page["ids"], page["metadatas"], strict=True)))


def _unit_vectors(page: Mapping[str, Any]) -> dict[str, Vectors]:
    """The vectors of a page of Chroma's by their ids, each divided by its length; zeros stay zeros."""
    if not page["ids"]:
        return {}
    matrix = np.asarray(page["embeddings"], dtype=np.float32)
    lengths = np.linalg.norm(matrix, axis=1, keepdims=True)
    unit: Vectors = np.divide(matrix, lengths, out=np.zeros_like(matrix), where=lengths > 0)
    return dict(zip(page["ids"], unit, strict=True))
