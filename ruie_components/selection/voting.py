"""Choosing by a vote: the nearest examples say which labels an input may have, and the demonstrations follow them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ruie_components.labels import count_matrix, label_f1_matrix
from ruie_components.selection.hybrid import hybrid_scores
from ruie_components.tokenization import tokenize
from ruie_components.types import Query

COVERAGE = 3.0
"""What showing all labels counts where nobody votes for nothing; full agreement with every voter counts 1.

More shows more labels and agrees less. On dev splits of sets that are not held out this is the least whole number with
which coverage@8 is above BM25's, for the embedded encoder and for adapted ones.
"""


class Voter(Protocol):
    """A near example, as the vote looks at it."""

    @property
    def text(self) -> str:
        """Its text."""

    @property
    def score(self) -> float:
        """How near it is by the encoder."""

    @property
    def labels(self) -> Sequence[str]:
        """The labels of its annotations, one for each annotation."""

    @property
    def event(self) -> str | None:
        """The type of the event that it is about, for EAE."""


def count_tokens(text: str) -> Counter[str]:
    """How often each token occurs in a text."""
    return Counter(tokenize(text))


Near = TypeVar("Near", bound=Voter)


def elect(
    candidates: Sequence[Near],
    query: Query,
    k: int,
    *,
    word_counts: Callable[[str], Counter[str]] = count_tokens,
    token_weights: Mapping[str, float] | None = None,
) -> list[Near]:
    """The candidates that agree best with what the nearest say of the query's labels, and together show these labels.

    The candidate of rank r has a vote of 1 / r. Ranks are by score and shared words together; those about the query's
    own event type (EAE) come first. A vote counts for the labels that the query asks for; a candidate that has
    annotations, but none of those labels, doesn't vote. Where no candidate has any of them, all vote with what they
    have.

    Args:
        candidates: Of equals the first one is taken.
        query: What is asked for.
        k: How many to choose.
        word_counts: ``count_tokens``, or one that remembers for many queries.
        token_weights: From ``weigh_tokens``, for the pool and task.

    Returns:
        The chosen, in the order of choice.
    """
    if not candidates:
        return []
    scores = [candidate.score for candidate in candidates]
    texts = [word_counts(candidate.text) for candidate in candidates]
    order = np.argsort(-hybrid_scores(scores, texts, count_tokens(query.text), token_weights), kind="stable")
    candidates = [candidates[i] for i in order]
    if query.event:
        about = query.event.type
        candidates = sorted(candidates, key=lambda candidate: candidate.event != about)
    shown = [Counter(candidate.labels) for candidate in candidates]
    asked = [Counter(label for label in candidate.labels if label in query.labels) for candidate in candidates]
    votes = 1 / np.arange(1.0, len(candidates) + 1)
    if any(asked):
        votes *= [bool(inside) or not whole for inside, whole in zip(asked, shown, strict=True)]
    else:
        asked = shown
    names = sorted({label for counts in shown for label in counts})
    return [candidates[place] for place in choose(count_matrix(shown, names), count_matrix(asked, names), votes, k)]


def choose(shown: NDArray[np.number], voted: NDArray[np.number], votes: NDArray[np.float64], k: int) -> list[int]:
    """Greedy choice by expected agreement and coverage.

    The next one is the candidate with the largest ``agreement + COVERAGE * coverage``. Its agreement is the mean Dice
    overlap of its labels with those of every voter, weighed by the votes: its expected agreement with an input whose
    labels are those of a voter drawn by the votes, as in minimum Bayes risk decoding. Its coverage is the share of the
    labels that it is first to show, each label weighed by the root of its votes. Votes for no label at all weigh as one
    label more, which nothing shows: an input in which there is probably nothing needs no labels shown.

    Args:
        shown: How often each candidate has each label, (n, labels).
        voted: How often each candidate votes for each label, (n, labels).
        votes: The weight of each candidate's vote, (n,); not all are 0.
        k: How many to choose.

    Returns:
        Candidates in the order of choice; all of them where there are no more than k.

    >>> counts = np.array([[1, 0], [1, 0], [0, 1], [1, 0]], float)
    >>> choose(counts, counts, np.array([1, 1 / 2, 1 / 3, 1 / 4]), 3)
    [0, 2, 1]
    """
    if not len(shown):
        return []
    votes = votes / votes.sum()
    agreement = (label_f1_matrix(shown, voted) * votes).sum(
        1
    )  # (n,); a matrix product would round equal rows differently
    has = shown > 0
    worth = np.sqrt(votes @ (voted > 0))  # (labels,)
    worth /= max(worth.sum() + np.sqrt(votes @ ~(voted > 0).any(1)), 1e-9)
    chosen: list[int] = []
    while len(chosen) < min(k, len(shown)):
        gain = agreement + COVERAGE * (has * worth).sum(1)
        gain[chosen] = -np.inf
        best = int(np.argmax(gain))  # the nearest of equals
        chosen.append(best)
        worth[has[best]] = 0
    return chosen
