"""F1 with intervals, and the difference of two selections on the same inputs with interval and p-value.

Both resample inputs (bootstrap; Berg-Kirkpatrick et al. 2012 for the paired test), within each data set, because the
sets are fixed and the inputs are a sample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ruie_components.scoring import Counts

RESAMPLES = 2000


class Interval(NamedTuple):
    """A value and its 95% interval, in percent."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.1f} [{self.low:.1f}, {self.high:.1f}]"


class Difference(NamedTuple):
    """A difference in percentage points, its 95% interval, and a two-sided p-value."""

    value: float
    low: float
    high: float
    p: float

    def __str__(self) -> str:
        return f"{self.value:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


Inputs = Mapping[str, Sequence[Counts]]
"""For each data set the counts of its inputs, in one order."""


def f1_interval(inputs: Inputs, *, seed: int = 0) -> Interval:
    """Micro F1 of each set, averaged over the sets, in percent.

    Args:
        inputs: The counts.
        seed: Of the resampling.

    >>> f1_interval({"a": [Counts(1, 0, 0), Counts(1, 0, 0)]})
    Interval(value=100.0, low=100.0, high=100.0)
    """
    samples = _averages(inputs, _draws(inputs, seed))
    low, high = np.percentile(samples, [2.5, 97.5])
    return Interval(_f1(inputs), float(low), float(high))


def paired_difference(one: Inputs, other: Inputs, *, seed: int = 0) -> Difference:
    """The difference of F1 between ``one`` and ``other``, over the same inputs.

    Args:
        one: The counts of one selection.
        other: Those of the other, of the same inputs in the same order.
        seed: Of the resampling.

    Raises:
        ValueError: The two have different sets or numbers of inputs.
    """
    if _sizes(one) != _sizes(other):
        raise ValueError("the two sides of a paired comparison must have the same inputs")
    draws = _draws(one, seed)
    differences = _averages(one, draws) - _averages(other, draws)
    low, high = np.percentile(differences, [2.5, 97.5])
    # 1 is added, because a p-value by resampling is never 0 (Davison and Hinkley 1997, section 4.2)
    p = 2 * (min((differences <= 0).sum(), (differences >= 0).sum()) + 1) / (RESAMPLES + 1)
    return Difference(_f1(one) - _f1(other), float(low), float(high), float(min(1.0, p)))


def paired_differences(settings: Mapping[str, Inputs], *, seed: int = 0) -> dict[tuple[str, str], Difference]:
    """``paired_difference`` of any two settings that have the same sets with the same numbers of inputs.

    Args:
        settings: The counts of each setting.
        seed: Of the resampling.

    Returns:
        By the two names, in the order of ``settings``: the first one's F1 less the second one's.
    """
    return {
        (one, other): paired_difference(settings[one], settings[other], seed=seed)
        for one, other in combinations(settings, 2)
        if _sizes(settings[one]) == _sizes(settings[other])
    }


def _draws(inputs: Inputs, seed: int) -> dict[str, NDArray[np.int64]]:
    generator = np.random.default_rng(seed)
    return {name: generator.integers(0, size, (RESAMPLES, size)) for name, size in _sizes(inputs).items() if size}


def _sizes(inputs: Inputs) -> dict[str, int]:
    return {name: len(counts) for name, counts in inputs.items()}


def _averages(inputs: Inputs, draws: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float64]:
    per_set = []
    for name, drawn in draws.items():
        table = np.array([(c.tp, c.fn, c.fp) for c in inputs[name]], float)  # (inputs, 3)
        tp, fn, fp = table[drawn].sum(1).T  # (resamples,) each
        per_set.append(200 * tp / np.maximum(2 * tp + fn + fp, 1))
    return np.asarray(np.mean(per_set, 0)) if per_set else np.zeros(RESAMPLES)


def _f1(inputs: Inputs) -> float:
    values = [100 * sum(counts, Counts()).f1 for counts in inputs.values() if counts]
    return float(np.mean(values)) if values else 0.0
