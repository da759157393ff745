"""Ways to rank a pool for its queries: random, BM25, an encoder, one adapted to the pool, the oracle.

A ranker returns a matrix of scores, by which a ``Selector`` chooses. Scores are exact, so no figure depends on an
approximate index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruie_components.encoders import Encoder
from ruie_components.labels import count_matrices, label_f1_matrix
from ruie_components.lexical import BM25Index, example_tokens, query_tokens
from ruie_components.selection import Selector
from ruie_components.selection.candidates import MatrixCandidate, MatrixSource
from ruie_components.types import Example

Scores = NDArray[np.float32]
Rows = NDArray[np.int64]
Ranker = Callable[[Sequence[Example], Sequence[Example]], Scores]
"""Takes queries and pool, returns scores of shape (queries, pool); higher is better."""
Retriever = Callable[[Sequence[Example], Sequence[Example], Sequence[int]], Mapping[int, Rows]]
"""Takes queries, pool and several k, returns for each k the chosen rows of the pool, best first, (queries, k).

A row with the query's own text is left out. If fewer than k are left, the rest is -1.
"""


def rank_randomly(seed: int = 0) -> Ranker:
    """Random scores: the lower bound."""

    def rank(queries: Sequence[Example], pool: Sequence[Example]) -> Scores:
        return np.random.default_rng(seed).random((len(queries), len(pool)), np.float32)

    return rank


def rank_by_bm25(queries: Sequence[Example], pool: Sequence[Example]) -> Scores:
    """BM25 as ``Selector(method="bm25")`` computes it."""
    index = BM25Index([example_tokens(example) for example in pool], "lucene")
    rows, values = index.search([query_tokens(example.query) for example in queries], len(pool))
    scores = np.zeros((len(queries), len(pool)), np.float32)
    np.put_along_axis(scores, rows, values, axis=1)
    return scores


def rank_by_encoder(encoder: Encoder) -> Ranker:
    """Cosine of the encoder's vectors."""

    def rank(queries: Sequence[Example], pool: Sequence[Example]) -> Scores:
        return encoder.encode_queries([example.query for example in queries]) @ encoder.encode_examples(pool).T

    return rank


def rank_by_labels(queries: Sequence[Example], pool: Sequence[Example]) -> Scores:
    """Label F1 with the gold labels, which no retriever knows: the upper bound."""
    return label_f1_matrix(*count_matrices(queries, pool))


def rank_by_adapted(source: Any = None, **options: Any) -> Ranker:
    """Cosine of an encoder adapted to the pool, or of the original encoder if that gained nothing.

    Args:
        source: As for ``load_encoder``.
        **options: Options of ``DemonstrationStore.adapt``.
    """

    def rank(queries: Sequence[Example], pool: Sequence[Example]) -> Scores:
        from ruie_components.store import DemonstrationStore

        with DemonstrationStore.create(pool, encoder=source, progress=False) as store:
            store.adapt(**options)
            return rank_by_encoder(store.encoder)(queries, pool)

    return rank


def once(rank: Ranker) -> Ranker:
    """The same ranker, which caches the scores of the last set."""
    last: list[Any] = []

    def remembered(queries: Sequence[Example], pool: Sequence[Example]) -> Scores:
        if not (last and last[0] is queries and last[1] is pool):
            last[:] = queries, pool, rank(queries, pool)
        scores: Scores = last[2]
        return scores

    return remembered


def by_selection(method: str, rank: Ranker) -> Retriever:
    """The choices of ``Selector(method)`` by a ranker's scores instead of an encoder's cosines.

    Args:
        method: ``label-vote``, ``similarity`` ...
        rank: The ranker.
    """

    def retrieve(queries: Sequence[Example], pool: Sequence[Example], ks: Sequence[int]) -> dict[int, Rows]:
        scores = rank(queries, pool)
        return {k: select(method, scores, queries, pool, k) for k in ks}

    return retrieve


def select(method: str, scores: Scores, queries: Sequence[Example], pool: Sequence[Example], k: int) -> Rows:
    """The choices of ``Selector(method, k=k)`` by exact scores, best first.

    Args:
        method: ``label-vote``, ``similarity`` ...
        scores: (queries, pool).
        queries: The queries.
        pool: The examples to choose from.
        k: How many demonstrations.

    Returns:
        Rows of the pool, (queries, k), padded with -1.
    """
    source = MatrixSource(scores, [example.query for example in queries], pool)
    return _rows([[choice.candidate for choice in chosen] for chosen in Selector(method, k=k).choose(source)], k)


def by_scores(rank: Ranker) -> Retriever:
    """The examples with the highest scores, whatever their task: what BM25, chance and the oracle choose."""

    def retrieve(queries: Sequence[Example], pool: Sequence[Example], ks: Sequence[int]) -> dict[int, Rows]:
        source = MatrixSource(rank(queries, pool), [example.query for example in queries], pool)
        return {k: _rows(source.nearest(range(len(queries)), k), k) for k in ks}

    return retrieve


def _rows(chosen: Sequence[Sequence[MatrixCandidate]], k: int) -> Rows:
    rows = np.full((len(chosen), k), -1, np.int64)
    for i, candidates in enumerate(chosen):
        rows[i, : len(candidates)] = [candidate.id for candidate in candidates]
    return rows


def by_each_method(name: str, rank: Ranker) -> dict[str, Retriever]:
    """A ranker by similarity, the default, under its name, and by label voting under ``NAME, label-vote``."""
    scores = once(rank)
    return {name: by_selection("similarity", scores), f"{name}, label-vote": by_selection("label-vote", scores)}


def in_every_table(middle: Mapping[str, Retriever], *, seed: int = 0) -> dict[str, Retriever]:
    """Random and BM25, then the given retrievers, then the oracle."""
    floor = {
        "random": by_scores(rank_randomly(seed)),
        "BM25": by_scores(rank_by_bm25),
    }
    return {**floor, **middle, "oracle": by_scores(rank_by_labels)}
