"""Hybrid rank: z-score fusion of the encoder's similarity and BM25."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ruie_components.lexical import score_documents
from ruie_components.tokenization import tokenize

_ROUNDING = 1e-9  # scores that differ by less are equal


class HybridScores(NamedTuple):
    """The scores of n candidates, each (n,)."""

    fused: NDArray[np.float64]
    bm25: NDArray[np.float64]


def count_tokens(text: str) -> Counter[str]:
    """How often each token occurs in a text."""
    return Counter(tokenize(text))


def hybrid_scores(
    scores: Sequence[float] | NDArray[np.floating],
    texts: Sequence[Counter[str]],
    query: Counter[str],
    token_weights: Mapping[str, float] | None = None,
) -> HybridScores:
    """The sum of similarity and BM25 of n candidates, each standardized to mean 0 and standard deviation 1.

    Args:
        scores: The candidates' similarity to the query, (n,).
        texts: The tokens of their texts, counted; BM25 uses only these texts.
        query: The tokens of the query's text, counted.
        token_weights: From ``weigh_tokens``: tokens that are rarely in or beside annotations count less in BM25.

    >>> rare, common = Counter(["the", "heron"]), Counter(["the", "boat"])
    >>> hybrid_scores([0.5, 0.5, 0.5], [common, rare, common], Counter(["a", "heron"])).fused.argmax()
    np.int64(1)
    """
    bm25 = score_documents(texts, query, token_weights)
    return HybridScores(_standardize(np.asarray(scores, float)) + _standardize(bm25), bm25)


def _standardize(values: NDArray[np.float64]) -> NDArray[np.float64]:
    deviation = values.std()
    return np.asarray((values - values.mean()) / (deviation if deviation > _ROUNDING else 1))
