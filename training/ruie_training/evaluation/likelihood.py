"""The likelihood of the gold answer after a ranker's demonstrations, by an LLM."""

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

    A query counts at a k only if the prompts of all methods fit the model's context, so that all methods are measured
    on the same queries.

    Args:
        llm: The model.
        queries: Examples with their gold answers.
        pool: The demonstrations.
        chosen: The pool's rows that each method chose, best first, (queries, k); -1 means none.
        limit: The maximum number of queries to score. None: all.
        seed: Of their random draw.

    Returns:
        By method and k, in nats per token, (queries,); NaN for a query that was not drawn or did not fit.
    """
    drawn = list(range(len(queries)))
    if limit is not None and limit < len(queries):
        drawn = sorted(random.Random(seed).sample(drawn, limit))  # noqa: S311  a draw, not a secret
    keys = list(chosen)
    # All in one call, so that a scorer reads common parts of prompts once.
    prompts = [([pool[row] for row in rows[i] if row >= 0], queries[i]) for rows in chosen.values() for i in drawn]
    scores = np.array(llm.likelihoods(prompts)).reshape(len(keys), len(drawn))
    likelihoods = {}
    for k in dict.fromkeys(k for _, k in keys):
        rows = [i for i, key in enumerate(keys) if key[1] == k]
        misfits = np.isnan(scores[rows]).any(0)  # (drawn,)
        for row in rows:
            values = np.full(len(queries), np.nan)
            values[drawn] = np.where(misfits, np.nan, scores[row])
            likelihoods[keys[row]] = values
    return likelihoods
