"""BM25: the tokens of queries and examples, word weights, and an index of a pool.

Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework: BM25 and Beyond", with k1 = 1.5 and b = 0.75. Word
weights are those of Lucene, or those of ``rank_bm25.BM25Okapi``, which the paper uses to mine candidates.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib.util import find_spec
from itertools import chain, repeat
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ruie_components import prompts
from ruie_components.tokenization import tokenize
from ruie_components.types import Example, Query

K1, B, EPSILON = 1.5, 0.75, 0.25
"""The defaults of rank_bm25."""

COMPILED_FROM = 100_000_000
"""Scores (queries x documents) above which numba pays off: every process first compiles for a few seconds."""

Weighting = Literal["lucene", "okapi"]


def query_tokens(query: Query) -> list[str]:
    """The tokens of a query that BM25 compares: those of its unfinished block (task, schema and input)."""
    return _tokenize_block(prompts.render_query(query))


def example_tokens(example: Example) -> list[str]:
    """The tokens of an example that BM25 compares: those of its finished block, with the answer."""
    return _tokenize_block(prompts.render_demonstration(example))


def _tokenize_block(block: str) -> list[str]:
    return [token for line in block.split("\n") for token in _tokenize_line(line)]


@lru_cache(maxsize=256)  # the lines with task and schema are the same in all blocks of a data set
def _tokenize_line(line: str) -> tuple[str, ...]:
    return tuple(tokenize(line))


def word_weights(documents_with_word: NDArray[np.integer], size: int, weighting: Weighting) -> NDArray[np.float64]:
    """Inverse document frequencies, (words,).

    Lucene's weights are never 0. Okapi's are negative for words in more than half of the documents; as in rank_bm25,
    these get a quarter of the mean weight. The absolute value is taken: in a pool of two or three documents the mean is
    negative, and a shared word would lower a score.

    Args:
        documents_with_word: How many documents contain each word, (words,).
        size: How many documents there are.
        weighting: "lucene" or "okapi".
    """
    odds = (size - documents_with_word + 0.5) / (documents_with_word + 0.5)
    if weighting == "lucene":
        return np.asarray(np.log1p(odds))
    weights = np.log(odds)
    if len(weights):
        weights[weights < 0] = EPSILON * abs(weights.mean())
    return np.asarray(weights)


def _saturate(frequencies: NDArray[np.floating], lengths: NDArray[np.floating], mean: float) -> NDArray[np.floating]:
    """The weight of a word's occurrences in documents of these lengths, 0 to 1, without the constant k1 + 1."""
    return np.asarray(frequencies / (frequencies + K1 * (1 - B + B * lengths / mean)))


def score_documents(
    documents: Sequence[Counter[str]], query: Counter[str], token_weights: Mapping[str, float] | None = None
) -> NDArray[np.float64]:
    """BM25 scores of a few documents, with Lucene's weights computed over these documents alone.

    It needs no index. A word that all documents contain has almost no weight. A word that the query repeats counts
    once.

    Args:
        documents: The tokens of n documents, counted.
        query: The tokens of the query, counted.
        token_weights: Factors of the word weights; 1 for a word that is not listed.

    Returns:
        (n,)

    >>> score_documents([Counter(["the", "boat"]), Counter(["the", "heron"])], Counter(["a", "heron"])).argmax()
    np.int64(1)
    """
    words = list(query)
    size = len(documents) * len(words)
    counts = chain.from_iterable(map(document.get, words, repeat(0)) for document in documents)
    frequencies = np.fromiter(counts, float, size).reshape(len(documents), len(words))
    weights = word_weights((frequencies > 0).sum(0), len(documents), "lucene")
    if token_weights:
        weights *= np.array([token_weights.get(word, 1.0) for word in words])
    lengths = np.array([document.total() for document in documents], float)[:, None]  # (n, 1)
    mean = max(float(lengths.mean()), 1) if len(documents) else 1
    # a matrix product would round equal scores differently
    return np.asarray((_saturate(frequencies, lengths, mean) * weights).sum(1))


class BM25Index:
    """BM25 scores of a pool of documents. A word counts as often as the query repeats it.

    Args:
        documents: The tokens of n documents.
        weighting: The weights of words: "okapi" scores as ``rank_bm25.BM25Okapi`` does, up to the rounding of float32;
            "lucene" is never negative, and omits the constant factor k1 + 1.
        compiled: Whether ``search`` uses numba. It is many times faster, after a few seconds of compilation.
        threads: For the compiled search. None: one per processor.

    Raises:
        ImportError: ``compiled`` is set, and numba is not installed.
    """

    def __init__(
        self,
        documents: Sequence[Sequence[str]],
        weighting: Weighting = "okapi",
        *,
        compiled: bool = False,
        threads: int | None = None,
    ) -> None:
        if compiled and find_spec("numba") is None:
            raise ImportError('the compiled search needs numba: pip install "ruie-components[train]"')
        self._threads = (threads or len(os.sched_getaffinity(0))) if compiled else 0
        self._compiled = compiled
        self._size = len(documents)
        self._words: dict[str, int] = {}
        ids = np.fromiter(
            (self._words.setdefault(word, len(self._words)) for word in chain.from_iterable(documents)), np.int64
        )
        lengths = np.array([len(document) for document in documents], float)
        # the matrix by words in compressed columns: documents and weights of word w are at indptr[w]:indptr[w + 1]
        cells, frequencies = np.unique(
            ids * self._size + np.repeat(np.arange(self._size), lengths.astype(int)), return_counts=True
        )
        words, self._documents = (cells // self._size, cells % self._size) if len(cells) else (cells, cells)
        documents_with_word = np.bincount(words, minlength=len(self._words))
        self._starts = np.concatenate([[0], np.cumsum(documents_with_word)])
        weights = word_weights(documents_with_word, self._size, weighting) * (K1 + 1 if weighting == "okapi" else 1)
        mean = float(lengths.mean()) if len(cells) else 1.0
        saturated = _saturate(frequencies.astype(float), lengths[self._documents], mean)
        self._weights = (saturated * weights[words]).astype(np.float32)

    def __len__(self) -> int:
        return self._size

    def scores(self, query: Sequence[str]) -> NDArray[np.float32]:
        """The score of every document, (n,); 0 if it shares no word with the query."""
        scores = np.zeros(self._size)
        for word, count in Counter(self._words[word] for word in query if word in self._words).items():
            cells = slice(self._starts[word], self._starts[word + 1])
            scores[self._documents[cells]] += count * self._weights[cells]
        return scores.astype(np.float32)

    def search(self, queries: Sequence[Sequence[str]], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k best documents of every query, best first; equal scores in any order.

        Args:
            queries: The tokens of every query.
            k: At most as many as there are documents.

        Returns:
            Document numbers and scores, both (queries, k).
        """
        import bm25s

        ids = [[self._words[word] for word in query if word in self._words] for query in queries]
        start, end = _common_ends(ids)
        shared = ids[0][:start] + ids[0][len(ids[0]) - end :]
        extra = len(self._words)  # the column of the shared words
        index: Any = bm25s.BM25(method="lucene", backend="numba" if self._compiled else "numpy")
        index.scores = self._with_column(shared)
        index.nonoccurrence_array = None
        index.unique_token_ids_set = set(range(extra + 1))
        rest = [[extra, *query[start : len(query) - end]] for query in ids]
        hits, scores = index.retrieve(rest, k=k, n_threads=self._threads, show_progress=False)
        return np.asarray(hits, np.int64), np.asarray(scores, np.float32)

    def _with_column(self, words: list[int]) -> dict[str, Any]:
        """The matrix with one more column: the contribution of ``words``, which all queries of a batch share.

        Task and schema are the same for all queries of a data set and occur in every document: separately they would
        cost more than all other words of a query together.
        """
        column = np.zeros(self._size, np.float64)
        for word in words:
            cells = slice(self._starts[word], self._starts[word + 1])
            column[self._documents[cells]] += self._weights[cells]
        return {
            "data": np.concatenate([self._weights, column.astype(np.float32)]),
            "indices": np.concatenate([self._documents, np.arange(self._size)]).astype(np.int32),
            "indptr": np.append(self._starts, self._starts[-1] + self._size).astype(np.int32),
            "num_docs": self._size,
        }


def pays_to_compile(queries: int, documents: int) -> bool:
    """Whether the compiled search is installed and worth its compilation."""
    return queries * documents >= COMPILED_FROM and find_spec("numba") is not None


def _common_ends(lists: Sequence[list[int]]) -> tuple[int, int]:
    """How many first and how many last items all lists have in common; the two never overlap."""
    start = _common_start(min(lists), max(lists))
    reverse = [items[::-1] for items in lists]
    end = _common_start(min(reverse), max(reverse))
    return start, min(end, min(map(len, lists)) - start)


def _common_start(one: Sequence[int], other: Sequence[int]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))
