"""BM25 over a pool that is searched with many queries: bm25s, with the weights of rank_bm25's ``BM25Okapi``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruie_components.words import words

K1, B, EPSILON = 1.5, 0.75, 0.25
"""rank_bm25's defaults."""

COMPILED_FROM = 100_000_000
"""Scores (queries x documents) from which numba pays: every process compiles for some seconds first."""


def tokenize(text: str) -> list[str]:
    """Lower-case words; single characters where a script puts no spaces between words.

    >>> tokenize("Ada's 2nd letter: 北京, Zürich")
    ['ada', 's', '2nd', 'letter', '北', '京', 'zürich']
    """
    return [token for line in text.split("\n") for token in _tokenize_line(line)]


@lru_cache(maxsize=256)  # the lines with task and schema are the same in all blocks of a set
def _tokenize_line(line: str) -> tuple[str, ...]:
    return tuple(words(line))


class Bm25Index:
    """A BM25 index that scores as ``rank_bm25.BM25Okapi`` does, up to the rounding of float32.

    bm25s has no method that weighs words as BM25Okapi does, whose words of more than half of the documents keep a
    quarter of the mean weight. So the index is built with Lucene's weights, which are never 0, and each word's column
    is multiplied by the ratio of both weights.

    Args:
        documents: The tokens of every document.
        compiled: Search with numba. It is many times faster, after some seconds of compiling.
        threads: For the compiled search. None: one a processor.

    Raises:
        ValueError: There is no document, or none with a token.
    """

    def __init__(
        self, documents: Sequence[Sequence[str]], *, compiled: bool = False, threads: int | None = None
    ) -> None:
        import bm25s

        self._words: dict[str, int] = {}
        ids = [[self._words.setdefault(word, len(self._words)) for word in words] for words in documents]
        if not self._words:
            raise ValueError("BM25 needs at least one document with a word in it")
        self._threads = (threads or len(os.sched_getaffinity(0))) if compiled else 0
        self._size = len(ids)
        self._index: Any = bm25s.BM25(k1=K1, b=B, method="atire", idf_method="lucene", backend=_backend(compiled))
        self._index.index((ids, self._words), create_empty_token=False, show_progress=False)
        self._index.unique_token_ids_set = set(range(len(self._words) + 1))  # one more: the shared words of a batch
        self._columns: dict[str, Any] = dict(self._index.scores)
        self._columns["data"] = self._okapi_weights()

    def _okapi_weights(self) -> NDArray[np.float32]:
        """The scores of all words in all their documents, with BM25Okapi's weights instead of Lucene's."""
        found_in = np.diff(self._columns["indptr"])  # documents a word, (words,)
        odds = (self._size - found_in + 0.5) / (found_in + 0.5)
        okapi = np.log(odds)
        okapi[okapi < 0] = EPSILON * okapi.mean()
        return np.asarray(self._columns["data"] * np.repeat(okapi / np.log1p(odds), found_in), np.float32)

    def search(self, queries: Sequence[Sequence[str]], k: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The k best documents of every query, best first; of equal scores any.

        Args:
            queries: The tokens of every query; a word that occurs twice counts twice.
            k: At most as many as there are documents.

        Returns:
            Document numbers and scores, both (queries, k).
        """
        known = self._words
        ids = [[known[word] for word in words if word in known] for words in queries]
        start, end = _shared(ids)
        shared = ids[0][:start] + ids[0][len(ids[0]) - end :]
        extra = len(known)
        self._index.scores = self._with_column(shared)
        rest = [[extra, *words[start : len(words) - end]] for words in ids]
        found, scores = self._index.retrieve(rest, k=k, n_threads=self._threads, show_progress=False)
        return np.asarray(found, np.int64), np.asarray(scores, np.float32)

    def _with_column(self, words: list[int]) -> dict[str, Any]:
        """The index and one more column: what ``words``, which all queries of a batch have, add to each document.

        Task and schema are the same for all queries of a set and stand in every document, so that they would cost more
        than all other words of a query together.
        """
        data, indices, indptr = (self._columns[name] for name in ("data", "indices", "indptr"))
        column = np.zeros(self._size)
        for word in words:
            part = slice(indptr[word], indptr[word + 1])
            column[indices[part]] += data[part]
        return {
            **self._columns,
            "data": np.concatenate([data, column.astype(data.dtype)]),
            "indices": np.concatenate([indices, np.arange(self._size, dtype=indices.dtype)]),
            "indptr": np.append(indptr, indptr[-1] + self._size).astype(indptr.dtype),
        }


def pays_to_compile(queries: int, documents: int) -> bool:
    """Whether the compiled search is there and worth its compilation."""
    return queries * documents >= COMPILED_FROM and find_spec("numba") is not None


def _backend(compiled: bool) -> str:
    if compiled and find_spec("numba") is None:
        raise ImportError('the compiled search needs numba: pip install "ruie-components[train]"')
    return "numba" if compiled else "numpy"


def _shared(lists: Sequence[list[int]]) -> tuple[int, int]:
    """How many first and how many last items all lists have in common; the two never overlap."""
    first, last = min(lists), max(lists)
    start = _common(first, last)
    turned = [words[::-1] for words in lists]
    end = _common(min(turned), max(turned))
    return start, min(end, min(map(len, lists)) - start)


def _common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many first items two lists have in common."""
    pairs = enumerate(zip(first, second, strict=False))
    return next((place for place, (one, other) in pairs if one != other), min(len(first), len(second)))
