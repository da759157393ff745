"""Preference without an LLM: how well the gold labels of demonstration and query agree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ruie_components.labels import label_counts, label_f1
from ruie_components.types import Example
from ruie_training.data.candidates import Candidates, best_first
from ruie_training.preferences.scorer import Pair


class LabelAgreement:
    """The Dice overlap of both label multisets, from 0 to 1, as ``ruie_components.labels.label_f1`` measures it.

    >>> from ruie_components import Example
    >>> ada = {"text": "Ada", "type": "person", "start": 0, "end": 3}
    >>> one = Example(task="NER", text="Ada slept.", labels=["person"], entities=[ada])
    >>> none = Example(task="NER", text="Rain fell.", labels=["person"])
    >>> LabelAgreement().score([(one, one), (one, none), (none, none)])
    [1.0, 0.0, 1.0]
    """

    kind = "agreement"

    def score(self, pairs: Sequence[Pair]) -> list[float]:
        """The overlap of each pair; two empty multisets agree."""
        return [label_f1(label_counts(demonstration), label_counts(query)) for demonstration, query in pairs]


def agreement_of_ends(
    scored: Candidates, examples: Mapping[str, Example], top: int = 3, bottom: int = 8
) -> dict[str, float]:
    """How well the labels of a teacher's best and worst candidates agree with the query's: what it can teach.

    Args:
        scored: Candidates with a teacher's scores.
        examples: Queries and candidates by id.
        top: How many are the best.
        bottom: How many are the worst. A query with fewer candidates than both together doesn't count.

    Returns:
        The mean Dice overlap of each end, 0 to 1; empty where no query counts.
    """
    judge = LabelAgreement()
    best: list[float] = []
    worst: list[float] = []
    for query, ids, scores in scored:
        if len(ids) < top + bottom:
            continue
        ordered, _ = best_first(ids, scores)
        for chosen, found in ((ordered[:top], best), (ordered[-bottom:], worst)):
            found.extend(judge.score([(examples[name], examples[query]) for name in chosen]))
    if not best:
        return {}
    return {
        f"label agreement of the {top} best": sum(best) / len(best),
        f"label agreement of the {bottom} worst": sum(worst) / len(worst),
    }
