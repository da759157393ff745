"""Texts as bags of tokens: what an encoder of static token vectors sees of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Bags:
    """The distinct tokens of each text, one text after the other."""

    tokens: NDArray[np.int64]
    counts: NDArray[np.float32]
    """How often each stands in its text."""
    ends: NDArray[np.int64]
    """Text i is ``tokens[ends[i]:ends[i + 1]]``; (texts + 1,)."""

    def __len__(self) -> int:
        return len(self.ends) - 1

    def take(self, texts: NDArray[np.int64]) -> Bags:
        """Some of the texts, in the order given."""
        lengths = self.ends[texts + 1] - self.ends[texts]
        ends = np.concatenate([[0], np.cumsum(lengths)])
        places = np.repeat(self.ends[texts] - ends[:-1], lengths) + np.arange(ends[-1])
        return Bags(self.tokens[places], self.counts[places], ends)

    def times(self, repeats: float) -> NDArray[np.float32]:
        """How often each token counts in its text."""
        return np.asarray(self.counts ** np.float32(repeats), np.float32)

    def matrix(self, weights: NDArray[np.float32], repeats: float) -> Any:
        """Texts by tokens as a scipy CSR matrix, rows of unit length: TF-IDF where the weights are IDF."""
        from scipy.sparse import csr_matrix
        from sklearn.preprocessing import normalize

        values = self.times(repeats) * weights[self.tokens]
        return normalize(csr_matrix((values, self.tokens, self.ends), (len(self), len(weights))))


def bag_texts(tokenizer: Any, texts: Sequence[str], max_tokens: int) -> Bags:
    """Tokenize texts, cut them to ``max_tokens``, and count.

    Args:
        tokenizer: A ``tokenizers.Tokenizer``.
        texts: The texts.
        max_tokens: Longer ones are cut.
    """
    tokens, counts = [], []
    for encoding in tokenizer.encode_batch_fast(list(texts)):
        ids = np.array(encoding.ids[:max_tokens], np.int64)
        distinct, often = np.unique(ids, return_counts=True)
        tokens.append(distinct)
        counts.append(often)
    ends = np.concatenate([[0], np.cumsum([len(found) for found in tokens])]).astype(np.int64)
    return Bags(
        np.concatenate(tokens),
        np.concatenate(counts).astype(np.float32),
        ends,
    )
