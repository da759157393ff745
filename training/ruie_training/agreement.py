"""How well demonstrations fit a query by their gold labels: agreement@k and coverage@k, over whole sets at once.

Both look at the labels of the annotations that the task asks for (``Example.annotation_labels``), repeats kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ruie_components.types import Example

Counts = NDArray[np.int16]


def count_labels(queries: Sequence[Example], pool: Sequence[Example]) -> tuple[Counts, Counts]:
    """The label multisets of queries and pool as rows of counts over one list of labels.

    Returns:
        Counts of shapes (queries, labels) and (pool, labels).
    """
    places: dict[str, int] = {}
    for example in (*queries, *pool):
        for label in example.annotation_labels:
            places.setdefault(label, len(places))
    return _counts(queries, places), _counts(pool, places)


def _counts(examples: Sequence[Example], places: dict[str, int]) -> Counts:
    counts = np.zeros((len(examples), len(places)), np.int16)
    for row, example in enumerate(examples):
        for label in example.annotation_labels:
            counts[row, places[label]] += 1
    return counts


def dice(queries: Counts, pool: Counts) -> NDArray[np.float32]:
    """The Dice overlap of every query's label multiset with every pool row's, (queries, pool).

    Twice the common labels over the sum of both sizes. Two empty multisets agree: 1. An empty one and another: 0.

    >>> dice(np.array([[2, 1]], np.int16), np.array([[1, 0], [0, 0]], np.int16)).tolist()
    [[0.5, 0.0]]
    """
    overlap = np.zeros((len(queries), len(pool)), np.float32)
    for label in range(queries.shape[1]):
        rows = np.flatnonzero(queries[:, label])
        columns = np.flatnonzero(pool[:, label])
        common = np.minimum(queries[rows, label][:, None], pool[columns, label][None, :])
        overlap[np.ix_(rows, columns)] += common
    sizes = queries.sum(1)[:, None] + pool.sum(1)[None, :]
    return np.where(sizes == 0, np.float32(1), 2 * overlap / np.maximum(sizes, 1)).astype(np.float32)


def agreement_at(overlap: NDArray[np.float32], ranked: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """For each query the mean Dice overlap of its first k demonstrations, (queries,).

    Args:
        overlap: From ``dice``, (queries, pool).
        ranked: Pool rows best first, (queries, at least k or all that the pool has); -1 stands for none.
        k: How many demonstrations count.
    """
    first = ranked[:, :k]
    found = np.take_along_axis(overlap, np.maximum(first, 0), 1).astype(np.float64) * (first >= 0)
    return np.asarray(found.sum(1) / np.maximum((first >= 0).sum(1), 1))


def coverage_at(queries: Counts, pool: Counts, ranked: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """For each query the share of its distinct labels that occur among its first k demonstrations, (queries,).

    NaN for a query without labels: it has nothing to cover.
    """
    first = ranked[:, :k]
    shown = ((pool[np.maximum(first, 0)] > 0) & (first >= 0)[:, :, None]).any(1)  # (queries, labels)
    asked = queries > 0
    sizes = asked.sum(1)
    share = (shown & asked).sum(1) / np.maximum(sizes, 1)
    return np.where(sizes == 0, np.nan, share)
