"""Choice among similar examples: diverse ones (MMR), or ones that cover all labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ruie_components.store import Hit


def mmr(candidates: Sequence[Hit], k: int, lambda_mult: float) -> list[Hit]:
    """Maximal marginal relevance (Carbonell and Goldstein 1998, equation 1).

    The next choice is the candidate with the largest
    ``lambda_mult * cos(query, candidate) - (1 - lambda_mult) * max cos(chosen, candidate)``.

    Args:
        candidates: Best first, with vectors.
        k: How many to choose.
        lambda_mult: 1 is similarity alone, 0 diversity alone; the first is the most similar in any case.

    Returns:
        The chosen candidates, in the order of choice.
    """
    if not candidates or k <= 0:
        return []
    scores = np.array([candidate.score for candidate in candidates])  # (n,)
    vectors = np.array([candidate.vector for candidate in candidates])  # (n, d)
    chosen = [0]
    closest = vectors @ vectors[0]  # (n,), similarity to the most similar of the chosen
    while len(chosen) < min(k, len(candidates)):
        gain = lambda_mult * scores - (1 - lambda_mult) * closest
        gain[chosen] = -np.inf
        best = int(np.argmax(gain))
        chosen.append(best)
        closest = np.maximum(closest, vectors @ vectors[best])
    return [candidates[i] for i in chosen]


def cover(candidates: Sequence[Hit], labels: Sequence[str], k: int) -> list[Hit]:
    """The most similar candidates that together cover as many labels as possible, then the best of the rest.

    Greedy set cover: the next choice is the candidate with most labels not covered yet; of equals, the first.

    Args:
        candidates: Best first.
        labels: The labels to cover.
        k: How many to choose.
    """
    missing = set(labels)
    left = list(candidates)
    chosen: list[Hit] = []
    while len(chosen) < k and missing and left:
        best = max(left, key=lambda candidate: len(missing.intersection(candidate.labels)))  # the first of equals
        if missing.isdisjoint(best.labels):
            break
        missing.difference_update(best.labels)
        chosen.append(best)
        left.remove(best)
    return chosen + left[: k - len(chosen)]
