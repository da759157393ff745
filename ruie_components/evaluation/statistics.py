"""F1 with intervals, and the difference of two selections on the same inputs with interval and p-value.

Both resample inputs (percentile bootstrap), within each data set, because the sets are fixed and the inputs are a
sample. The p-value is twice the share of resampled differences on the other side of 0, so it is below 0.05 where the
interval leaves out 0. Berg-Kirkpatrick et al. (2012) count resampled differences above twice the measured one instead,
which is the same for a symmetric distribution. A handful of inputs varies too little for either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
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
    resampled = _resample(inputs, tuple(inputs), seed)
    low, high = np.percentile(resampled.samples, [2.5, 97.5])
    return Interval(resampled.value, float(low), float(high))


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
    return _difference(*(_resample(side, tuple(one), seed) for side in (one, other)))


def paired_differences(settings: Mapping[str, Inputs], *, seed: int = 0) -> dict[tuple[str, str], Difference]:
    """``paired_difference`` of any two settings that have the same sets with the same numbers of inputs.

    Args:
        settings: The counts of each setting.
        seed: Of the resampling.

    Returns:
        By the two names, in the order of ``settings``: the first one's F1 less the second one's.
    """

    @cache
    def resampled(name: str, sets: tuple[str, ...]) -> _Resampled:
        return _resample(settings[name], sets, seed)

    return {
        (one, other): _difference(*(resampled(name, tuple(settings[one])) for name in (one, other)))
        for one, other in combinations(settings, 2)
        if _sizes(settings[one]) == _sizes(settings[other])
    }


class _Resampled(NamedTuple):
    value: float  # F1 of the inputs, in percent
    samples: NDArray[np.float64]  # F1 of every resample, (resamples,)


def _resample(inputs: Inputs, sets: Sequence[str], seed: int) -> _Resampled:
    """F1 of the inputs and of their resamples, drawn set by set in this order."""
    values = [100 * sum(counts, Counts()).f1 for counts in inputs.values() if counts]
    sets = [name for name in sets if inputs[name]]
    per_set = []
    for name, times in zip(sets, _times(tuple(len(inputs[name]) for name in sets), seed), strict=True):
        table = np.array([(c.tp, c.fn, c.fp) for c in inputs[name]], float)  # (inputs, 3)
        tp, fn, fp = (times @ table).T  # (resamples,) each
        per_set.append(200 * tp / np.maximum(2 * tp + fn + fp, 1))
    samples = np.asarray(np.mean(per_set, 0)) if per_set else np.zeros(RESAMPLES)
    return _Resampled(float(np.mean(values)) if values else 0.0, samples)


@lru_cache(maxsize=4)  # the settings of a run share few sizes of sets
def _times(sizes: tuple[int, ...], seed: int) -> list[NDArray[np.float64]]:
    """For sets of these sizes how many times each input is in each resample, (resamples, inputs) each."""
    generator = np.random.default_rng(seed)
    rows = np.arange(RESAMPLES)[:, None]
    times = []
    for size in sizes:
        drawn = generator.integers(0, size, (RESAMPLES, size)) + size * rows
        counted = np.bincount(drawn.ravel(), minlength=RESAMPLES * size)
        times.append(counted.reshape(RESAMPLES, size).astype(float))
    return times


def _difference(one: _Resampled, other: _Resampled) -> Difference:
    differences = one.samples - other.samples
    low, high = np.percentile(differences, [2.5, 97.5])
    # 1 is added, because a p-value by resampling is never 0 (Davison and Hinkley 1997, section 4.2)
    p = 2 * (min((differences <= 0).sum(), (differences >= 0).sum()) + 1) / (RESAMPLES + 1)
    return Difference(one.value - other.value, float(low), float(high), float(min(1.0, p)))


def _sizes(inputs: Inputs) -> dict[str, int]:
    return {name: len(counts) for name, counts in inputs.items()}
