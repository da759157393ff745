"""How near a candidate is by its vector and by the words that it shares with the input, both together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ruie_components.words import words

K1, B = 1.5, 0.75
_ROUNDING = 1e-9  # scores that differ by less are equal


def count_words(text: str) -> Counter[str]:
    """How often each word stands in a text."""
    return Counter(words(text))


def order_by_both(scores: Sequence[float], texts: Sequence[Counter[str]], query: Counter[str]) -> NDArray[np.int64]:
    """Candidates by the sum of their scores and their BM25 scores, each with mean 0 and deviation 1.

    BM25 (Lucene's variant, k1 = 1.5, b = 0.75) counts over the candidates alone, so that no index of the pool is
    needed: a word that they all have in common tells nothing, one that few of them share with the input does.

    Args:
        scores: Of n candidates.
        texts: Their words.
        query: The words of the input.

    Returns:
        Places of the candidates, best first; equal ones in the order given, (n,).

    >>> rare, common = Counter(["the", "heron"]), Counter(["the", "boat"])
    >>> order_by_both([0.5, 0.5, 0.5], [common, rare, common], Counter(["a", "heron"])).tolist()
    [1, 0, 2]
    """
    both = _standardise(np.array(scores, float)) + _standardise(_bm25(texts, list(query)))
    return np.argsort(-both, kind="stable")


def _bm25(texts: Sequence[Counter[str]], asked: Sequence[str]) -> NDArray[np.float64]:
    often = np.array([[counts[word] for word in asked] for counts in texts], float).reshape(len(texts), len(asked))
    having = (often > 0).sum(0)  # (words,)
    rarity = np.log1p((len(texts) - having + 0.5) / (having + 0.5))
    lengths = np.array([counts.total() for counts in texts], float)[:, None]  # (n, 1)
    damped = often / (often + K1 * (1 - B + B * lengths / max(lengths.mean(), 1)))
    return np.asarray((damped * rarity).sum(1))  # a matrix product would round equal rows differently


def _standardise(values: NDArray[np.float64]) -> NDArray[np.float64]:
    deviation = values.std()
    return np.asarray((values - values.mean()) / (deviation if deviation > _ROUNDING else 1))
