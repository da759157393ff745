"""The ways to choose demonstrations."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from ruie_components.selection.bm25 import LexicalIndex
from ruie_components.selection.candidates import StoreSource, above, rank
from ruie_components.selection.diversity import cover, mmr
from ruie_components.selection.hybrid import hybrid_scores
from ruie_components.selection.voting import count_tokens, vote_many
from ruie_components.store import DemonstrationStore, Hit, records
from ruie_components.types import Demonstration, Query, Task


class Method(StrEnum):
    """How demonstrations are chosen."""

    LABEL_VOTE = "label-vote"
    """kNN label voting: similar examples vote on the labels of the input, and the choice follows the votes."""
    SIMILARITY = "similarity"
    """The most similar by the encoder: the paper's way."""
    HYBRID = "hybrid"
    """The best by similarity and BM25 together (z-score fusion)."""
    MMR = "mmr"
    """Similar ones that differ from each other (maximal marginal relevance)."""
    LABEL_COVERAGE = "label-coverage"
    """Similar ones that together cover all labels of the schema, where the pool has them and k is large enough."""
    RANDOM = "random"
    """A random choice; the same for the same query, seed and pool."""
    BM25 = "bm25"
    """The best by BM25: those that share the rarest words with the input."""


@dataclass(frozen=True)
class Selector:
    """Chooses the demonstrations for a query; a row with the query's own text is never among them.

    Scores are cosines of the encoder's vectors; for ``hybrid`` and ``bm25`` they are those of the method. Every method
    returns best first.

    Args:
        method: How to choose.
        k: How many; all there are where the pool holds fewer.
        fetch_k: For label voting, hybrid rank, MMR and label coverage: how many of the most similar to choose from.
            Default: ten times ``k``, at least 50. Label coverage searches the whole pool for labels that none of them
            has, label voting for examples of the query's event type (EAE), where fewer than ``k`` of them are about
            it.
        score_threshold: Rows with a lower score are left out, so there may be fewer than ``k``.
        lambda_mult: For MMR: 1 is similarity alone, 0 diversity alone.
        seed: For random choice.

    Raises:
        ValueError: ``method`` is unknown, ``k`` or ``fetch_k`` is out of range, or ``lambda_mult`` is not in 0 ... 1.
    """

    method: Method | str = Method.LABEL_VOTE
    k: int = 8
    fetch_k: int | None = None
    score_threshold: float | None = None
    lambda_mult: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in set(Method):
            raise ValueError(f"method {self.method!r} is unknown; there are: {', '.join(Method)}")
        if not isinstance(self.k, int) or self.k < 0:
            raise ValueError(f"k must be a whole number >= 0, got {self.k!r}")
        if self.fetch_k is not None and (not isinstance(self.fetch_k, int) or self.fetch_k < 1):
            raise ValueError(f"fetch_k must be a whole number >= 1, got {self.fetch_k!r}")
        if not 0 <= self.lambda_mult <= 1:
            raise ValueError(f"lambda_mult must be between 0 (diversity) and 1 (similarity), got {self.lambda_mult}")

    def select(self, store: DemonstrationStore, query: Query) -> list[Demonstration]:
        """The demonstrations for one query, best first.

        Raises:
            StoreError: The pool has no example of the query's task, or can't be read.
        """
        return self.select_many(store, [query])[0]

    def select_many(self, store: DemonstrationStore, queries: Sequence[Query]) -> list[list[Demonstration]]:
        """The demonstrations for many queries, which are encoded and looked up together.

        Raises:
            StoreError: The pool has no example of a query's task, or can't be read.
        """
        if self.k == 0:
            return [[] for _ in queries]
        match Method(self.method):
            case Method.LABEL_VOTE:
                chosen = vote_many(StoreSource(store, queries, self.score_threshold), self.k, self.width)
            case Method.SIMILARITY:
                chosen = self._above(store.nearest(queries, self.k))
            case Method.HYBRID:
                hits = store.nearest(queries, self.width)
                chosen = self._above([self._fuse(*each) for each in zip(hits, queries, strict=True)])
            case Method.MMR:
                hits = self._above(store.nearest(queries, self.width, vectors=True))
                chosen = [mmr(candidates, self.k, self.lambda_mult) for candidates in hits]
            case Method.LABEL_COVERAGE:
                chosen = self._cover(store, queries)
            case Method.RANDOM:
                chosen = self._above([self._draw(store, query) for query in queries])
            case Method.BM25:
                return self._lexical(store, queries)
        return records.demonstrations([sorted(hits, key=rank) for hits in chosen])

    @property
    def width(self) -> int:
        """How many of the most similar are chosen from: ``fetch_k`` or its default, at least ``k``."""
        return max(self.k, self.fetch_k if self.fetch_k is not None else max(50, 10 * self.k))

    def _above(self, hits: list[list[Hit]]) -> list[list[Hit]]:
        return above(hits, self.score_threshold)

    def _fuse(self, hits: list[Hit], query: Query) -> list[Hit]:
        """The best by hybrid rank, with its scores instead of cosines."""
        if not hits:
            return []
        texts = [count_tokens(hit.text) for hit in hits]
        scores = hybrid_scores([hit.score for hit in hits], texts, count_tokens(query.text))
        ranked = [replace(hit, score=float(score)) for hit, score in zip(hits, scores, strict=True)]
        return sorted(ranked, key=rank)[: self.k]

    def _cover(self, store: DemonstrationStore, queries: Sequence[Query]) -> list[list[Hit]]:
        hits = self._above(store.nearest(queries, self.width))
        for (task, label), indices in _uncovered(queries, hits).items():
            if not store.has_label(task, label):
                continue
            where = records.label_filter(label)
            extra = self._above(store.nearest([queries[i] for i in indices], 1, where=where))
            for i, more in zip(indices, extra, strict=True):
                hits[i] = sorted({hit.id: hit for hit in [*hits[i], *more]}.values(), key=rank)
        return [cover(candidates, query.labels, self.k) for candidates, query in zip(hits, queries, strict=True)]

    def _draw(self, store: DemonstrationStore, query: Query) -> list[Hit]:
        ids = store.ids(query.task)
        order = random.Random(_seed(self.seed, query)).sample(range(len(ids)), len(ids))  # noqa: S311 - no secret
        chosen: list[Hit] = []
        for start in range(0, len(order), self.k):  # draws again where the query's own text was drawn
            drawn = [ids[i] for i in order[start : start + self.k]]
            hits = {hit.id: hit for hit in store.nearest([query], len(drawn), ids=drawn)[0]}
            chosen += [hits[row_id] for row_id in drawn if row_id in hits]
            if len(chosen) >= self.k:
                break
        return chosen[: self.k]

    def _lexical(self, store: DemonstrationStore, queries: Sequence[Query]) -> list[list[Demonstration]]:
        ranked = [_lexical_index(store, query.task).search(query, self.k, self.score_threshold) for query in queries]
        examples = {example.content_id: example for example in store.get(row[0] for rows in ranked for row in rows)}
        return [
            [Demonstration(example=examples[row_id], score=score) for row_id, score in rows if row_id in examples]
            for rows in ranked
        ]


def _uncovered(queries: Sequence[Query], hits: Sequence[Sequence[Hit]]) -> dict[tuple[Task, str], list[int]]:
    """For each task and label, the indices of the queries that ask for the label and have no hit with it."""
    indices: dict[tuple[Task, str], list[int]] = {}
    for i, (query, candidates) in enumerate(zip(queries, hits, strict=True)):
        covered = {label for candidate in candidates for label in candidate.labels}
        for label in query.labels:
            if label not in covered:
                indices.setdefault((query.task, label), []).append(i)
    return indices


def _seed(seed: int, query: Query) -> int:
    content = f"{seed} {query.to_json()}".encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")


def _lexical_index(store: DemonstrationStore, task: Task) -> LexicalIndex:
    return store.remember(f"bm25 {task}", task, lambda: LexicalIndex(store.examples(task)))
