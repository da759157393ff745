"""Preference without an LLM: how well the gold labels of demonstration and query agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ruie_training.preferences.scorer import Pair


class LabelAgreement:
    """The Dice overlap of both label multisets, from 0 to 1, as ``ruie_training.agreement.dice`` measures it.

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
        return [_dice(demonstration.annotation_labels, query.annotation_labels) for demonstration, query in pairs]


def _dice(labels: Sequence[str], others: Sequence[str]) -> float:
    if not labels and not others:
        return 1.0
    common = Counter(labels) & Counter(others)
    return 2 * common.total() / (len(labels) + len(others))
