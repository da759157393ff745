"""The ways to choose demonstrations."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache, partial
from typing import Any

import numpy as np

from ruie_components.integers import whole_number
from ruie_components.selection.candidates import (
    CandidatePool,
    CandidateSource,
    CandidateT,
    Choice,
    above,
    demonstrations,
    merge,
)
from ruie_components.selection.diversity import cover, mmr
from ruie_components.selection.hybrid import count_tokens, hybrid_scores
from ruie_components.selection.own_task import distances, similar
from ruie_components.selection.voting import vote_many
from ruie_components.types import Demonstration, Query, Reason, Task

DEFAULT_K = 4
"""The number of demonstrations unless another is given.

Eight, the paper's number, extracted no more with any LLM that was measured, and cost 1.7 times the tokens
(``docs/evaluation.md``).
"""


class Method(StrEnum):
    """How demonstrations are chosen."""

    SIMILARITY = "similarity"
    """The most similar by the encoder: the paper's way, and the default."""
    LABEL_VOTE = "label-vote"
    """kNN label voting: similar examples vote on the labels of the input, and the choice follows the votes."""
    HYBRID = "hybrid"
    """The best by similarity and BM25 together (z-score fusion); words that are rarely in annotations count less."""
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
    returns best first. Examples of another event type (EAE), and those whose schema has no label of the query, show
    another task: similarity, hybrid rank and MMR choose them last, where there are fewer than ``k`` others.

    Args:
        method: How to choose. The default is the one with the highest F1 of an LLM's extractions on dev sets
            (``docs/evaluation.md``).
        k: How many; all examples if the pool holds fewer.
        fetch_k: The number of most similar examples that label voting, hybrid rank, MMR and label coverage choose from,
            and similarity where some of the ``k`` nearest show another task. Default: ten times ``k``, at least 50. If
            fewer than ``k`` of them show the query's task, the whole pool is searched for more: by the event type
            (EAE), else by annotations with a label of the query; for label coverage by labels that none of them has.
        score_threshold: Rows with a lower score are left out, so there may be fewer than ``k``.
        lambda_mult: For MMR: 1 is similarity alone, 0 diversity alone.
        seed: For random choice.

    Raises:
        ValueError: ``method`` is unknown, ``k`` or ``fetch_k`` is out of range, or ``lambda_mult`` is not in 0 ... 1.
    """

    method: Method | str = Method.SIMILARITY
    k: int = DEFAULT_K
    fetch_k: int | None = None
    score_threshold: float | None = None
    lambda_mult: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in set(Method):
            raise ValueError(f"method {self.method!r} is unknown; there are: {', '.join(Method)}")
        # as int: the repr is part of a run's settings
        object.__setattr__(self, "k", whole_number("k", self.k, least=0))
        if self.fetch_k is not None:
            object.__setattr__(self, "fetch_k", whole_number("fetch_k", self.fetch_k, least=1))
        if not 0 <= self.lambda_mult <= 1:
            raise ValueError(f"lambda_mult must be between 0 (diversity) and 1 (similarity), got {self.lambda_mult}")

    def select(self, pool: CandidatePool, query: Query) -> list[Demonstration]:
        """The demonstrations for one query, best first.

        Args:
            pool: A ``DemonstrationStore``.
            query: The query.

        Raises:
            StoreError: The pool has no example of the query's task, or can't be read.
        """
        return self.select_many(pool, [query])[0]

    def select_many(self, pool: CandidatePool, queries: Sequence[Query]) -> list[list[Demonstration]]:
        """The demonstrations for many queries, which are encoded and looked up together.

        Raises:
            StoreError: The pool has no example of a query's task, or can't be read.
        """
        return demonstrations(self.choose(pool.candidates(queries)))

    def explain(self, pool: CandidatePool, query: Query) -> str:
        """The choices for a query and their reasons, as a text to print; programs read ``Demonstration.reason``.

        Args:
            pool: A ``DemonstrationStore``.
            query: The query.

        Raises:
            StoreError: The pool has no example of the query's task, or can't be read.
        """
        lines = [
            f"{demonstration.score:.3f}  {' '.join(demonstration.example.text.split())}\n       {demonstration.reason}"
            for demonstration in self.select(pool, query)
        ]
        return "\n".join(lines) or "no demonstrations"

    def choose(self, source: CandidateSource[CandidateT]) -> list[list[Choice[CandidateT]]]:
        """The candidates that are chosen for each query of a source, best first.

        Raises:
            StoreError: The source is a store that has no example of a query's task, or can't be read.
        """
        every, threshold = range(len(source.queries)), self.score_threshold
        if self.k == 0:
            return [[] for _ in every]
        match Method(self.method):
            case Method.LABEL_VOTE:
                chosen = vote_many(source, self.k, self.candidate_count, self.score_threshold)
            case Method.SIMILARITY:
                # most pools have few schemas, and then few candidates are enough; reading them is what takes time
                counts = sorted({self.k, min(3 * self.k, self.candidate_count), self.candidate_count})
                hits = similar(source, every, self.k, counts, score_threshold=threshold)
                chosen = [self._best(_by_similarity(hits[i]), query) for i, query in enumerate(source.queries)]
            case Method.HYBRID:
                token_counts, token_weights = cache(count_tokens), cache(source.token_weights)
                hits = similar(source, every, self.k, [self.candidate_count])
                chosen = [
                    self._best(self._fuse(hits[i], query, token_counts, token_weights(query.task)), query)
                    for i, query in enumerate(source.queries)
                ]
            case Method.MMR:
                hits = similar(source, every, self.k, [self.candidate_count], score_threshold=threshold, vectors=True)
                chosen = [
                    _ordered(mmr(hits[i], self.k, self.lambda_mult, distances(hits[i], query)), query)
                    for i, query in enumerate(source.queries)
                ]
            case Method.LABEL_COVERAGE:
                chosen = self._cover(source)
            case Method.RANDOM:
                chosen = [self._draw(source, i) for i in every]
            case Method.BM25:
                chosen = [_by_bm25(hits) for hits in self._above(source.lexical(every, self.k))]
        if self.method in (Method.SIMILARITY, Method.HYBRID, Method.MMR):
            return chosen  # in order: examples of another task come last, whatever their scores
        return [sorted(of_query, key=lambda choice: (-choice.score, choice.candidate.id)) for of_query in chosen]

    @property
    def candidate_count(self) -> int:
        """The number of most similar examples to choose from: ``fetch_k`` or its default, at least ``k``."""
        return max(self.k, self.fetch_k if self.fetch_k is not None else max(50, 10 * self.k))

    def _above(self, hits: list[list[CandidateT]]) -> list[list[CandidateT]]:
        return above(hits, self.score_threshold)

    def _best(self, choices: Sequence[Choice[CandidateT]], query: Query) -> list[Choice[CandidateT]]:
        """The ``k`` best of all candidates, with their positions."""
        return [
            choice._replace(reason=partial(choice.reason, order=n))
            for n, choice in enumerate(_ordered(choices, query)[: self.k], start=1)
        ]

    def _fuse(
        self,
        hits: Sequence[CandidateT],
        query: Query,
        token_counts: Callable[[str], Counter[str]],
        token_weights: Mapping[str, float],
    ) -> list[Choice[CandidateT]]:
        """All candidates with the scores of the hybrid rank instead of cosines."""
        if not hits:
            return []
        texts = [token_counts(hit.text) for hit in hits]
        scores = hybrid_scores([hit.score for hit in hits], texts, count_tokens(query.text), token_weights)
        ranks = np.argsort(np.argsort(-scores.fused, kind="stable"))
        return [
            Choice(
                hit,
                float(scores.fused[i]),
                partial(
                    Reason,
                    method="hybrid",
                    candidates=len(hits),
                    similarity=hit.score,
                    similarity_rank=i + 1,
                    bm25=float(scores.bm25[i]),
                    bm25_rank=1 + int(np.sum(scores.bm25 > scores.bm25[i])),
                    hybrid_rank=1 + int(ranks[i]),
                ),
            )
            for i, hit in enumerate(hits)
            if self.score_threshold is None or scores.fused[i] >= self.score_threshold
        ]

    def _cover(self, source: CandidateSource[CandidateT]) -> list[list[Choice[CandidateT]]]:
        hits = self._above(source.nearest(range(len(source.queries)), self.candidate_count))
        for (_, labels), indices in _uncovered(source.queries, hits).items():
            extra = self._above(source.nearest(indices, 1, labels=labels))
            for i, more in zip(indices, extra, strict=True):
                hits[i] = merge(hits[i], more)
        return [cover(candidates, query.labels, self.k) for candidates, query in zip(hits, source.queries, strict=True)]

    def _draw(self, source: CandidateSource[CandidateT], i: int) -> list[Choice[CandidateT]]:
        query = source.queries[i]
        ids = source.ids(query.task)
        order = random.Random(_seed(self.seed, query)).sample(range(len(ids)), len(ids))  # noqa: S311 - no secret
        chosen: list[CandidateT] = []
        for start in range(0, len(order), self.k):  # draw again if the query's own text was drawn
            drawn = [ids[j] for j in order[start : start + self.k]]
            hits: dict[Any, CandidateT] = {hit.id: hit for hit in source.nearest([i], len(drawn), ids=drawn)[0]}
            chosen += [hits[row_id] for row_id in drawn if row_id in hits]
            if len(chosen) >= self.k:
                break
        return [
            Choice(hit, hit.score, partial(Reason, method="random", order=n, similarity=hit.score))
            for n, hit in enumerate(self._above([chosen[: self.k]])[0], start=1)
        ]


def _ordered(choices: Sequence[Choice[CandidateT]], query: Query) -> list[Choice[CandidateT]]:
    """Examples of the query's own task first, then by score."""
    far = distances([choice.candidate for choice in choices], query)
    ranked = sorted(zip(far, choices, strict=True), key=lambda one: (one[0], -one[1].score, one[1].candidate.id))
    return [choice for _, choice in ranked]


def _by_similarity(hits: Sequence[CandidateT]) -> list[Choice[CandidateT]]:
    return [
        Choice(
            hit,
            hit.score,
            partial(Reason, method="similarity", similarity=hit.score, similarity_rank=n),
        )
        for n, hit in enumerate(hits, start=1)
    ]


def _by_bm25(hits: Sequence[CandidateT]) -> list[Choice[CandidateT]]:
    return [
        Choice(hit, hit.score, partial(Reason, method="bm25", order=n, bm25=hit.score, bm25_rank=n))
        for n, hit in enumerate(hits, start=1)
    ]


def _uncovered(
    queries: Sequence[Query], hits: Sequence[Sequence[CandidateT]]
) -> dict[tuple[Task, tuple[str, ...]], list[int]]:
    """For each task and single label, the indices of queries that ask for the label but have no hit with it."""
    indices: dict[tuple[Task, tuple[str, ...]], list[int]] = {}
    for i, (query, candidates) in enumerate(zip(queries, hits, strict=True)):
        covered = {label for candidate in candidates for label in candidate.labels}
        for label in query.labels:
            if label not in covered:
                indices.setdefault((query.task, (label,)), []).append(i)
    return indices


def _seed(seed: int, query: Query) -> int:
    content = f"{seed} {query.to_json()}".encode()
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
