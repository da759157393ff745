"""BM25 over the examples of a pool, by bm25s."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruie_components import prompts
from ruie_components.keywords import KeywordStrategy
from ruie_components.prompts import Layout
from ruie_components.store.records import text_hash
from ruie_components.types import Example, Query
from ruie_components.words import words


class LexicalIndex:
    """BM25 (Lucene's variant, k1 = 1.5, b = 0.75) of queries against examples with their answers.

    Task and schema are left out on both sides: they are the same for all rows of most pools.

    Args:
        examples: The pool.
    """

    def __init__(self, examples: Iterable[Example]) -> None:
        self.ids: list[str] = []
        hashes: list[str] = []
        texts: list[list[str]] = []
        for example in examples:
            self.ids.append(example.content_id)
            hashes.append(text_hash(example.text))
            texts.append(words(prompts.render_passage(example, KeywordStrategy.NONE, Layout.INPUT)))
        self._hashes = np.array(hashes)
        self._index = _index(texts)

    def search(self, query: Query, k: int, threshold: float | None) -> list[tuple[str, float]]:
        """The ids and scores of the ``k`` best examples, best first, without those of the query's own text."""
        scores = self._scores(words(prompts.render_search_query(query, Layout.INPUT)))
        allowed = self._hashes != text_hash(query.text)
        if threshold is not None:
            allowed &= scores >= threshold
        places = np.flatnonzero(allowed)
        if len(places) > k:  # the k best and all that tie with the last of them, so that ids decide among equals
            least = np.partition(scores[places], len(places) - k)[len(places) - k]
            places = places[scores[places] >= least]
        ranked = sorted(
            ((self.ids[place], float(scores[place])) for place in places), key=lambda row: (-row[1], row[0])
        )
        return ranked[:k]

    def _scores(self, query: Sequence[str]) -> NDArray[np.float32]:
        known = [word for word in query if self._index is not None and word in self._index.vocab_dict]
        if not known:
            return np.zeros(len(self.ids), dtype=np.float32)
        scores: NDArray[np.float32] = self._index.get_scores(known)  # (examples,)
        return scores


def _index(texts: list[list[str]]) -> Any:
    import bm25s

    if not any(texts):
        return None
    index = bm25s.BM25(k1=1.5, b=0.75, method="lucene")
    index.index(texts, show_progress=False)
    return index
