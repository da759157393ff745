"""Choices among similar examples: diverse ones (MMR), or ones that cover all labels."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ruie_components.selection.candidates import CandidateT, Choice
from ruie_components.types import Reason


def mmr(
    candidates: Sequence[CandidateT], k: int, lambda_mult: float, far: Sequence[int] | None = None
) -> list[Choice[CandidateT]]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998, equation 1).

    The next choice is the candidate with the largest
    ``lambda_mult * cos(query, candidate) - (1 - lambda_mult) * max cos(chosen, candidate)``.

    Args:
        candidates: Best first, with vectors.
        k: How many to choose.
        lambda_mult: 1 is similarity alone, 0 diversity alone; the first is the most similar in any case.
        far: How far each candidate's task is from the query's: the nearest are chosen first.

    Returns:
        The chosen candidates, in the order of choice.
    """
    if not candidates or k <= 0:
        return []
    scores = np.array([candidate.score for candidate in candidates])  # (n,)
    vectors = np.array([candidate.vector for candidate in candidates])  # (n, d)
    tasks = np.zeros(len(candidates), int) if far is None else np.asarray(far, int)  # (n,)
    chosen = [int(np.argmin(tasks))]  # the first of equals
    redundancies: list[float | None] = [None]
    closest = vectors @ vectors[chosen[0]]  # (n,), similarity to the most similar of the chosen
    while len(chosen) < min(k, len(candidates)):
        gain = lambda_mult * scores - (1 - lambda_mult) * closest
        left = np.delete(np.arange(len(candidates)), chosen)
        gain[chosen] = -np.inf
        gain[tasks > tasks[left].min()] = -np.inf
        best = int(np.argmax(gain))
        chosen.append(best)
        redundancies.append(float(closest[best]))
        closest = np.maximum(closest, vectors @ vectors[best])
    return [
        _choice("mmr", candidates, i, order, redundancy=redundancy)
        for order, (i, redundancy) in enumerate(zip(chosen, redundancies, strict=True), start=1)
    ]


def cover(candidates: Sequence[CandidateT], labels: Sequence[str], k: int) -> list[Choice[CandidateT]]:
    """The most similar candidates that together cover as many labels as possible, then the best of the rest.

    Greedy set cover: the next choice is the candidate with most uncovered labels; the first of equals.

    Args:
        candidates: Best first.
        labels: The labels to cover.
        k: How many to choose.

    Returns:
        The chosen candidates, in the order of choice.
    """
    missing = set(labels)
    has = [missing.intersection(candidate.labels) for candidate in candidates]
    left = list(range(len(candidates)))
    chosen: list[tuple[int, set[str]]] = []
    while len(chosen) < k and missing and left:
        best = max(left, key=lambda i: len(missing & has[i]))  # the first of equals
        if not (adds := missing & has[best]):
            break
        missing -= adds
        chosen.append((best, adds))
        left.remove(best)
    chosen += [(i, set()) for i in left[: k - len(chosen)]]
    return [
        _choice("label-coverage", candidates, i, order, labels=_sorted(has[i], labels), adds=_sorted(adds, labels))
        for order, (i, adds) in enumerate(chosen, start=1)
    ]


def _sorted(chosen: set[str], labels: Sequence[str]) -> tuple[str, ...]:
    return tuple(label for label in labels if label in chosen)


def _choice(method: str, candidates: Sequence[CandidateT], i: int, order: int, **details: Any) -> Choice[CandidateT]:
    candidate = candidates[i]
    reason = partial(
        Reason,
        method=method,
        order=order,
        candidates=len(candidates),
        similarity=candidate.score,
        similarity_rank=i + 1,
        **details,
    )
    return Choice(candidate, candidate.score, reason)
