"""Preference without an LLM: the label F1 of demonstration and query."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from ruie_components.labels import label_counts, label_f1
from ruie_components.types import Example
from ruie_training.data.candidates import Candidates, best_first
from ruie_training.preferences.scorer import Advance, Pair, ignore_progress


class LabelOverlap:
    """F1 of both label multisets (``ruie_components.labels.label_f1``), 0 to 1.

    >>> from ruie_components import Example
    >>> ada = {"text": "Ada", "type": "person", "start": 0, "end": 3}
    >>> one = Example(task="NER", text="Ada slept.", labels=["person"], entities=[ada])
    >>> none = Example(task="NER", text="Rain fell.", labels=["person"])
    >>> LabelOverlap().score([(one, one), (one, none), (none, none)])
    [1.0, 0.0, 1.0]
    """

    kind = "label-overlap"

    def score(self, pairs: Sequence[Pair], advance: Advance = ignore_progress) -> list[float]:
        """The label F1 of each pair; 1 for two empty multisets."""
        advance(len(pairs))
        return [label_f1(label_counts(demonstration), label_counts(query)) for demonstration, query in pairs]


def label_f1_of_ends(
    scored: Candidates,
    examples: Mapping[str, Example],
    top: int = 3,
    bottom: int = 8,
    *,
    mined: Candidates | None = None,
    seed: int = 0,
) -> dict[str, float]:
    """Label F1 of a teacher's best and worst candidates with their query, which shows what it can teach.

    Args:
        scored: Candidates with a teacher's scores.
        examples: Queries and candidates by id.
        top: How many are the best.
        bottom: How many are the worst. Queries with fewer candidates than both together are left out.
        mined: Other scores of the same candidates, such as BM25's, whose best are also reported.
        seed: Of the resampling.

    Returns:
        The mean label F1 over the queries, 0 to 1: of each end, of all scored candidates (the expectation of a random
        choice), and the bounds of a 95% interval, by resampling queries, of the difference between best and all. Empty
        if no query counts.
    """
    scorer = LabelOverlap()
    ranks = {query: {name: i for i, name in enumerate(ids)} for query, ids, _ in mined or ()}
    best, worst, every = f"the {top} best", f"the {bottom} worst", "all candidates"
    ranked = f"the {top} best by mining"
    means: defaultdict[str, list[float]] = defaultdict(list)
    for query, ids, scores in scored:
        if len(ids) < top + bottom:
            continue
        ordered, _ = best_first(ids, scores)
        f1 = dict(zip(ids, scorer.score([(examples[name], examples[query]) for name in ids]), strict=True))
        parts = {best: ordered[:top], worst: ordered[-bottom:], every: ids}
        if query in ranks:
            rank = ranks[query]
            by_rank = sorted((rank.get(name, len(rank)), i) for i, name in enumerate(ids))
            parts[ranked] = tuple(ids[i] for _, i in by_rank[:top])
        for part, names in parts.items():
            means[part].append(statistics.fmean(f1[name] for name in names))
    if not means:
        return {}
    gains = np.subtract(means[best], means[every])
    draws = np.random.default_rng(seed).integers(0, len(gains), (1000, len(gains)))
    low, high = np.percentile(gains[draws].mean(1), [2.5, 97.5])
    report = {f"label F1 of {part}": statistics.fmean(values) for part, values in means.items()}
    return report | {"best above all, low": float(low), "best above all, high": float(high)}
