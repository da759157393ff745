"""Rankings of a pool for many queries at once, as matrices of scores and lists of rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ruie_components.encoders import Encoder
from ruie_components.tokenization import text_hash
from ruie_components.types import Example

Scores = NDArray[np.float32]
Rows = NDArray[np.int64]
Ranker = Callable[[Sequence[Example], Sequence[Example]], Scores]
"""Takes queries and pool, gives scores of shape (queries, pool); higher is better."""


def rank_by_encoder(encoder: Encoder) -> Ranker:
    """Cosine of the encoder's vectors."""

    def rank(queries: Sequence[Example], pool: Sequence[Example]) -> Scores:
        return encoder.encode_queries([example.query for example in queries]) @ encoder.encode_examples(pool).T

    return rank


def best(scores: Scores, queries: Sequence[Example], pool: Sequence[Example], k: int) -> Rows:
    """The k best pool rows of each query, best first; equal scores in the pool's order.

    A row with the query's own text is left out. Where fewer than k are left, -1 fills up.

    Returns:
        Rows of the pool, (queries, k).
    """
    rows_of_text: dict[str, list[int]] = {}
    for row, example in enumerate(pool):
        rows_of_text.setdefault(text_hash(example.text), []).append(row)
    scores = scores.copy()
    for query, example in enumerate(queries):
        scores[query, rows_of_text.get(text_hash(example.text), [])] = -np.inf
    ranked = np.full((len(queries), k), -1, np.int64)
    for query, row in enumerate(scores):
        order = _top(row, k)
        ranked[query, : len(order)] = order
    return ranked


def _top(row: Scores, k: int) -> Rows:
    if k < len(row):
        limit = np.partition(row, len(row) - k)[len(row) - k]  # all that reach it, so that ties fall by order
        chosen = np.flatnonzero(row >= limit)
    else:
        chosen = np.arange(len(row))
    order = chosen[np.argsort(-row[chosen], kind="stable")][:k]
    return np.asarray(order[np.isfinite(row[order])], np.int64)
