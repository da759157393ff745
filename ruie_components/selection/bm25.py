"""BM25 over the examples of a pool."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ruie_components.lexical import BM25Index, example_tokens, query_tokens
from ruie_components.tokenization import text_hash
from ruie_components.types import Example, Query


class LexicalIndex:
    """A BM25 index of a pool's examples, with Lucene's weighting.

    Args:
        examples: The pool.
    """

    def __init__(self, examples: Iterable[Example]) -> None:
        examples = list(examples)
        self.ids = [example.content_id for example in examples]
        self._hashes = np.array([text_hash(example.text) for example in examples])
        # Okapi's weight of a word in one of two rows is 0, and pools can be that small
        self._index = BM25Index([example_tokens(example) for example in examples], "lucene")

    def search(self, query: Query, k: int) -> list[tuple[int, float]]:
        """The indices and scores of the ``k`` best examples, best first, without examples of the query's own text."""
        scores = self._index.scores(query_tokens(query))
        rows = np.flatnonzero(self._hashes != text_hash(query.text))
        if len(rows) > k:  # keep ties with the last of the k best, so that ids break ties
            lowest = np.partition(scores[rows], len(rows) - k)[len(rows) - k]
            rows = rows[scores[rows] >= lowest]
        ranked = sorted(rows.tolist(), key=lambda i: (-scores[i], self.ids[i]))
        return [(i, float(scores[i])) for i in ranked[:k]]
