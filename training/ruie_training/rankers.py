"""Ways to rank a pool for its queries, each a matrix of scores: random, BM25, an encoder, both together, the oracle.

They stand beside ``ruie_components.store`` on purpose: plain matrix products, so that a figure depends on no database.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ruie_components import prompts
from ruie_components.encoders import Encoder
from ruie_components.types import Example
from ruie_training.agreement import count_labels, dice

Scores = NDArray[np.float32]
Ranker = Callable[[Sequence[Example], Sequence[Example]], Scores]
"""Takes queries and pool, gives scores of shape (queries, pool); higher is better."""


def rank_randomly(seed: int = 0) -> Ranker:
    """Scores drawn at random: the floor."""

    def rank(queries: Sequence[Example], pool: Sequence[Example]) -> Scores:
        return np.random.default_rng(seed).random((len(queries), len(pool)), np.float32)

    return rank


def rank_by_bm25(queries: Sequence[Example], pool: Sequence[Example]) -> Scores:
    """BM25 as the paper mines by it: the query's unfinished block against the finished blocks of the pool."""
    import bm25s

    index = bm25s.BM25()
    blocks = [prompts.render_demonstration(example) for example in pool]
    index.index(bm25s.tokenize(blocks, stopwords=None, show_progress=False), show_progress=False)
    asked = [prompts.render_query(example.query) for example in queries]
    tokens = bm25s.tokenize(asked, stopwords=None, show_progress=False, return_ids=False)
    return np.stack([np.asarray(index.get_scores(words), np.float32) for words in tokens])


def rank_by_encoder(encoder: Encoder) -> Ranker:
    """Cosine of the encoder's vectors."""

    def rank(queries: Sequence[Example], pool: Sequence[Example]) -> Scores:
        asked = [prompts.render_search_query(example.query, encoder.layout) for example in queries]
        passages = [prompts.render_passage(example, encoder.keywords, encoder.layout) for example in pool]
        return encoder.encode_queries(asked) @ encoder.encode_passages(passages).T

    return rank


def rank_by_both(first: Ranker, second: Ranker, weight: float = 1.0) -> Ranker:
    """The sum of both scores, each with mean 0 and deviation 1 over a query's pool, the second times ``weight``."""

    def rank(queries: Sequence[Example], pool: Sequence[Example]) -> Scores:
        return standardise(first(queries, pool)) + np.float32(weight) * standardise(second(queries, pool))

    return rank


def standardise(scores: Scores) -> Scores:
    """Every row with mean 0 and deviation 1; a row of equal scores becomes 0."""
    deviation = scores.std(1, keepdims=True)
    return np.asarray((scores - scores.mean(1, keepdims=True)) / np.where(deviation > 0, deviation, 1), np.float32)


def rank_by_labels(queries: Sequence[Example], pool: Sequence[Example]) -> Scores:
    """The Dice overlap of the gold labels, which no retriever knows: the ceiling of agreement."""
    return dice(*count_labels(queries, pool))


def best(scores: Scores, queries: Sequence[Example], pool: Sequence[Example], k: int) -> NDArray[np.int64]:
    """The k best pool rows of each query, best first; equal scores in the pool's order.

    A row with the query's own text is left out. Where fewer than k are left, -1 fills up.

    Returns:
        Rows of the pool, (queries, k).
    """
    places: dict[str, list[int]] = {}
    for row, example in enumerate(pool):
        places.setdefault(example.text, []).append(row)
    scores = scores.copy()
    for query, example in enumerate(queries):
        scores[query, places.get(example.text, [])] = -np.inf
    ranked = np.full((len(queries), k), -1, np.int64)
    for query, row in enumerate(scores):
        order = _top(row, k)
        ranked[query, : len(order)] = order
    return ranked


def _top(row: Scores, k: int) -> NDArray[np.int64]:
    if k < len(row):
        limit = np.partition(row, len(row) - k)[len(row) - k]  # all that reach it, so that ties fall by order
        chosen = np.flatnonzero(row >= limit)
    else:
        chosen = np.arange(len(row))
    order = chosen[np.argsort(-row[chosen], kind="stable")][:k]
    return np.asarray(order[np.isfinite(row[order])], np.int64)


def oracle_and_floor(seed: int = 0) -> Mapping[str, Ranker]:
    """The rankers that every table has: random, BM25, oracle."""
    return {"random": rank_randomly(seed), "BM25": rank_by_bm25, "oracle": rank_by_labels}
