"""Preference without an LLM: the label F1 of demonstration and query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ruie_components.labels import label_counts, label_f1
from ruie_components.types import Example
from ruie_training.data.candidates import Candidates, best_first
from ruie_training.preferences.scorer import Pair


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

    def score(self, pairs: Sequence[Pair]) -> list[float]:
        """The label F1 of each pair; 1 for two empty multisets."""
        return [label_f1(label_counts(demonstration), label_counts(query)) for demonstration, query in pairs]


def label_f1_of_ends(
    scored: Candidates, examples: Mapping[str, Example], top: int = 3, bottom: int = 8
) -> dict[str, float]:
    """The label F1 of a teacher's best and worst candidates with their query: what the teacher can teach.

    Args:
        scored: Candidates with a teacher's scores.
        examples: Queries and candidates by id.
        top: How many are the best.
        bottom: How many are the worst. Queries with fewer candidates than both together don't count.

    Returns:
        The mean label F1 of each end, 0 to 1; empty where no query counts.
    """
    scorer = LabelOverlap()
    best: list[float] = []
    worst: list[float] = []
    for query, ids, scores in scored:
        if len(ids) < top + bottom:
            continue
        ordered, _ = best_first(ids, scores)
        best += scorer.score([(examples[name], examples[query]) for name in ordered[:top]])
        worst += scorer.score([(examples[name], examples[query]) for name in ordered[-bottom:]])
    if not best:
        return {}
    return {
        f"label F1 of the {top} best": sum(best) / len(best),
        f"label F1 of the {bottom} worst": sum(worst) / len(worst),
    }
