"""How likely an LLM finds the gold answer after a ranker's demonstrations."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from ruie_components.types import Example
from ruie_training.preferences.scorer import LikelihoodScorer

Key = tuple[str, int]
"""Method and k."""


def likelihood_at(
    llm: LikelihoodScorer,
    queries: Sequence[Example],
    pool: Sequence[Example],
    chosen: Mapping[Key, NDArray[np.int64]],
    *,
    limit: int | None = None,
    seed: int = 0,
) -> dict[Key, NDArray[np.float64]]:
    """The average log-likelihood of each query's gold answer, given its first k demonstrations, best last.

    A query counts at a k only where the prompts of all methods fit the model's context, so that all methods are
    measured on the same queries.

    Args:
        llm: The model.
        queries: Examples with their gold answers.
        pool: The demonstrations.
        chosen: The pool's rows that each method chose, best first, (queries, k); -1 stands for none.
        limit: Of the queries, at most so many are asked. None: all.
        seed: Of their draw.

    Returns:
        By method and k, in nats a token, (queries,); NaN for a query that was not asked or did not fit.
    """
    asked = list(range(len(queries)))
    if limit is not None and limit < len(queries):
        asked = sorted(random.Random(seed).sample(asked, limit))  # noqa: S311  a draw, not a secret
    keys = list(chosen)
    # All in one call: a scorer then reads what prompts have in common once.
    shown = [
        ([pool[row] for row in rows[query] if row >= 0], queries[query]) for rows in chosen.values() for query in asked
    ]
    scores = np.array(llm.likelihoods(shown)).reshape(len(keys), len(asked))
    found = {}
    for k in dict.fromkeys(k for _, k in keys):
        rows = [place for place, key in enumerate(keys) if key[1] == k]
        misfits = np.isnan(scores[rows]).any(0)  # (asked,)
        for row in rows:
            values = np.full(len(queries), np.nan)
            values[asked] = np.where(misfits, np.nan, scores[row])
            found[keys[row]] = values
    return found
