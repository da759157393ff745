"""kNN label voting: similar examples vote on the labels of an input, and the choice follows the votes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial

import numpy as np
from numpy.typing import NDArray

from ruie_components.labels import count_matrix, label_f1_matrix
from ruie_components.selection.candidates import CandidateSource, CandidateT, Choice
from ruie_components.selection.hybrid import count_tokens, hybrid_scores
from ruie_components.selection.own_task import similar
from ruie_components.types import Query, Reason

COVERAGE = 3.0
"""The weight of covering all labels if no candidate votes for "no labels"; a label F1 of 1 has weight 1.

A larger weight covers more labels and agrees less. On dev splits of sets that are not held out, this is the smallest
integer with which label recall@8 exceeds BM25's, for the embedded encoder and for adapted ones.
"""

FULL_COVERAGE_K = 4
"""The smallest k with the full weight of coverage; it falls to 0 at k = 1.

Coverage is a property of a set. A set of one covers most with a long example of many labels, even if it is unlike the
input: with the full weight, label F1@1 was below that of the most similar example.
"""

_BATCH = 1000  # queries in one batch: their candidates, eighty times as many, are in memory together


def vote_many(
    source: CandidateSource[CandidateT], k: int, fetch_k: int, score_threshold: float | None = None
) -> list[list[Choice[CandidateT]]]:
    """Choose ``k`` candidates for each query of a source by label voting.

    A query that has fewer than ``k`` candidates of its own task also gets the ``k`` most similar examples of it.

    Args:
        source: The queries and their candidates.
        k: How many to choose.
        fetch_k: How many of the most similar examples vote.
        score_threshold: Candidates with a lower score don't vote and are not chosen.

    Returns:
        The chosen candidates of each query, in the order of choice.
    """
    chosen: list[list[Choice[CandidateT]]] = []
    for start in range(0, len(source.queries), _BATCH):
        indices = range(start, min(start + _BATCH, len(source.queries)))
        token_counts = cache(count_tokens)  # many queries have candidates in common
        token_weights = cache(source.token_weights)  # a store counts its rows for each
        for i, candidates in similar(source, indices, k, [fetch_k], score_threshold=score_threshold).items():
            query = source.queries[i]
            weights = token_weights(query.task)
            chosen.append(vote(candidates, query, k, token_counts=token_counts, token_weights=weights))
    return chosen


def vote(
    candidates: Sequence[CandidateT],
    query: Query,
    k: int,
    *,
    token_counts: Callable[[str], Counter[str]] = count_tokens,
    token_weights: Mapping[str, float] | None = None,
) -> list[Choice[CandidateT]]:
    """Choose candidates that agree with the labels that candidates vote for, and together cover these labels.

    The vote weight of the candidate of rank r is 1 / r. Candidates are ranked by hybrid rank; those of the query's own
    event type (EAE) come first. Votes count only for labels of the query's schema. A candidate whose annotations all
    have labels outside the schema has vote weight 0. If no candidate has a label of the schema, all candidates vote,
    with all their labels.

    Args:
        candidates: Best first; ties keep this order.
        query: The query.
        k: How many to choose.
        token_counts: ``count_tokens``, or a cached version of it.
        token_weights: From ``weigh_tokens``, for the pool and task.

    Returns:
        The chosen candidates, in the order of choice.
    """
    if not candidates:
        return []
    scores = [candidate.score for candidate in candidates]
    texts = [token_counts(candidate.text) for candidate in candidates]
    hybrid = hybrid_scores(scores, texts, count_tokens(query.text), token_weights)
    order: list[int] = np.argsort(-hybrid.fused, kind="stable").tolist()
    if query.event:
        event_type = query.event.type
        order.sort(key=lambda i: candidates[i].event != event_type)
    labels = [candidates[i].labels for i in order]
    names = sorted({label for each in labels for label in each})
    counts = count_matrix(labels, names)  # (candidates, names)
    votes = counts * np.array([name in query.labels for name in names], bool)
    vote_weights = 1 / np.arange(1.0, len(candidates) + 1)
    if votes.any():
        vote_weights *= votes.any(1) | ~counts.any(1)
    else:
        votes = counts
    label_f1 = expected_label_f1(counts, votes, vote_weights)
    chosen = choose(counts, votes, vote_weights, k, label_f1)
    ballot = _Ballot(scores, hybrid.bm25, order, names, counts, votes, vote_weights, label_f1, chosen)
    return [
        Choice(candidates[order[row]], scores[order[row]], partial(ballot.reason, position))
        for position, row in enumerate(chosen)
    ]


@dataclass(frozen=True)
class _Ballot:
    """The values of a vote, to explain its choices; arrays are by hybrid rank, but scores by similarity."""

    scores: Sequence[float]
    bm25: NDArray[np.float64]
    order: Sequence[int]
    names: Sequence[str]
    labels: NDArray[np.number]
    voted: NDArray[np.number]
    vote_weights: NDArray[np.float64]
    label_f1: NDArray[np.float64]
    chosen: Sequence[int]

    def reason(self, position: int) -> Reason:
        """The reason for a choice.

        Args:
            position: Its index in the order of choice.
        """
        row = self.chosen[position]
        i = self.order[row]
        earlier: NDArray[np.bool_] = np.any(self._has[self.chosen[:position]], axis=0)
        voted_for = [j for j in np.flatnonzero(self._has[row]).tolist() if self._is_voted[j]]
        return Reason(
            method="label-vote",
            order=position + 1,
            candidates=len(self.order),
            similarity=self.scores[i],
            similarity_rank=i + 1,
            bm25=float(self.bm25[i]),
            bm25_rank=1 + int((self.bm25 > self.bm25[i]).sum()),
            hybrid_rank=row + 1,
            vote_weight=float(self.vote_weights[row] / self.vote_weights.sum()),
            label_f1=float(self.label_f1[row]),
            labels=tuple(self.names[j] for j in voted_for),
            adds=tuple(self.names[j] for j in voted_for if not earlier[j]),
        )

    @cached_property
    def _has(self) -> NDArray[np.bool_]:
        return np.asarray(self.labels > 0)

    @cached_property
    def _is_voted(self) -> NDArray[np.bool_]:
        return np.asarray(self.vote_weights @ (self.voted > 0) > 0)


def expected_label_f1(
    labels: NDArray[np.number], voted: NDArray[np.number], vote_weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The mean label F1 between each candidate's labels and those that all candidates vote for, by vote weight, (n,).

    Args:
        labels: How often each candidate has each label, (n, labels).
        voted: How often each candidate votes for each label, (n, labels).
        vote_weights: The vote weight of each candidate, (n,); not all are 0.
    """
    # a matrix product would round equal rows differently
    return np.asarray((label_f1_matrix(labels, voted) * (vote_weights / vote_weights.sum())).sum(1))


def coverage_weight(k: int) -> float:
    """The weight of coverage for ``k`` choices, in proportion to the share of choices after the first.

    >>> [coverage_weight(k) for k in (1, 2, 4, 8)]
    [0.0, 2.0, 3.0, 3.0]
    """
    return COVERAGE * min(1.0, (1 - 1 / k) / (1 - 1 / FULL_COVERAGE_K))


def choose(
    labels: NDArray[np.number],
    voted: NDArray[np.number],
    vote_weights: NDArray[np.float64],
    k: int,
    label_f1: NDArray[np.float64] | None = None,
) -> list[int]:
    """Choose greedily by expected label F1 and coverage.

    The next choice is the candidate with the largest ``label_f1 + coverage_weight(k) * coverage``. Its label F1 is
    the mean label F1 (Dice) between its labels and the labels each candidate votes for, weighted by the vote weights:
    the expected label F1 with an input whose labels are those of a candidate drawn by vote weight, as in minimum Bayes
    risk decoding. Its coverage is the share of labels that it has and no earlier choice has, each label weighted by the
    square root of its votes. Votes for "no labels" count as one more label, which no candidate covers: an input that
    probably has no annotations needs no labels covered.

    Args:
        labels: How often each candidate has each label, (n, labels).
        voted: How often each candidate votes for each label, (n, labels).
        vote_weights: The vote weight of each candidate, (n,); not all are 0.
        k: How many to choose.
        label_f1: What ``expected_label_f1`` returns for these arguments, (n,), if it is known.

    Returns:
        Indices of candidates in the order of choice; all of them if there are at most k.

    >>> counts = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], float)
    >>> choose(counts, counts, np.array([1, 1 / 2, 1 / 3, 1 / 4]), 3)
    [0, 2, 1]
    """
    if not len(labels):
        return []
    if label_f1 is None:
        label_f1 = expected_label_f1(labels, voted, vote_weights)
    vote_weights = vote_weights / vote_weights.sum()
    has = labels > 0
    label_weights = np.sqrt(vote_weights @ (voted > 0))  # (labels,)
    label_weights /= max(label_weights.sum() + np.sqrt(vote_weights @ ~(voted > 0).any(1)), 1e-9)
    chosen: list[int] = []
    while len(chosen) < min(k, len(labels)):
        gain = label_f1 + coverage_weight(k) * (has * label_weights).sum(1)
        gain[chosen] = -np.inf
        best = int(np.argmax(gain))  # the first of equals
        chosen.append(best)
        label_weights[has[best]] = 0
    return chosen
