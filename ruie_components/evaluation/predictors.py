"""Predictors of F1: rank correlations of cheap measures of demonstrations with the F1 of extraction.

The cheap measures are label F1@k, label recall@k, and word F1 of the texts. Each is correlated (Spearman) in four ways,
for every model and task:

- over sets x selections: a point is a measured condition;
- the same, minus the mean of the condition's set, which removes the difference between hard and easy sets;
- over single inputs: a point is an input under a condition;
- the same, minus the mean of the input: whether better demonstrations of one input give a better answer.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ruie_components.evaluation.experiment import Measurement
from ruie_components.scoring import Counts

PREDICTORS: Mapping[str, str] = {
    "label_f1": "label F1@k",
    "label_recall": "label recall@k",
    "shared_words": "shared words",
}
"""The fields of ``Measurement`` that may predict F1, and their names in tables."""

_LEAST_POINTS = 4  # three points have a perfect rank order in one of three cases by chance


@dataclass(frozen=True)
class Correlation:
    """The correlation of a measure with F1.

    Attributes:
        model: The chat model.
        task: The task, or ``all``.
        over: The definition of a point.
        predictor: A key of ``PREDICTORS``, or the name of a further measure.
        points: How many points there are.
        rho: Spearman's rank correlation, -1 to 1; NaN for fewer than four points, or if a side never varies.
    """

    model: str
    task: str
    over: str
    predictor: str
    points: int
    rho: float


@dataclass(frozen=True)
class _Point:
    group: str  # the set, or the input
    task: str
    f1: float
    values: tuple[float, ...]  # one for each predictor


Further = Mapping[str, Sequence[Sequence[float]]]
"""Further measures by their names in tables: for each measurement a value for each of its inputs."""


def correlations(measurements: Sequence[Measurement], further: Further | None = None) -> list[Correlation]:
    """The correlations of a run, for every model and task, and for all tasks together if there are several.

    Conditions without demonstrations have no values and are left out.

    Args:
        measurements: The measurements.
        further: More measures than those of ``PREDICTORS``.
    """
    further = further or {}
    names = [*PREDICTORS, *further]
    points = [_inputs(one, [values[i] for values in further.values()]) for i, one in enumerate(measurements)]
    measured = []
    for model in dict.fromkeys(one.condition.model for one in measurements):
        shown = [i for i, one in enumerate(measurements) if one.condition.model == model and one.condition.k]
        conditions = [_condition(measurements[i], points[i]) for i in shown]
        inputs = [point for i in shown for point in points[i]]
        tasks = list(dict.fromkeys(point.task for point in conditions))
        for task in [*tasks, *(["all"] if len(tasks) > 1 else [])]:
            for over, every, is_centred in (
                ("sets x selections", conditions, False),
                ("sets x selections, less the set's mean", conditions, True),
                ("inputs", inputs, False),
                ("inputs, less the input's mean", inputs, True),
            ):
                taken = [point for point in every if task in ("all", point.task)]
                for name, count, rho in _rank_correlations(taken, names, is_centred=is_centred):
                    measured.append(Correlation(model, task, over, name, count, rho))
    return measured


def correlation_table(measured: Sequence[Correlation]) -> str:
    """The correlations as a Markdown table; empty if there are too few points."""
    if all(math.isnan(one.rho) for one in measured):
        return ""
    several = len({one.model for one in measured}) > 1
    names = [PREDICTORS.get(name, name) for name in dict.fromkeys(one.predictor for one in measured)]
    heads = [*(["model"] if several else []), "task", "over", "points", *names]
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    rows: dict[tuple[str, str, str], list[Correlation]] = {}
    for one in measured:
        rows.setdefault((one.model, one.task, one.over), []).append(one)
    for (model, task, over), row in rows.items():
        if all(math.isnan(one.rho) for one in row):
            continue
        values = ["" if math.isnan(one.rho) else f"{one.rho:+.2f}" for one in row]
        points = max(one.points for one in row)
        lines.append(f"| {' | '.join([*([model] if several else []), task, over, str(points), *values])} |")
    return "\n".join(["What predicts F1 (Spearman's rank correlation with span F1):", "", *lines])


def _inputs(one: Measurement, further: Sequence[Sequence[float]]) -> list[_Point]:
    columns = [*(getattr(one, name) for name in PREDICTORS), *further]
    return [
        _Point(f"{one.condition.dataset} {i}", str(example.task), counts.f1, tuple(float(each[i]) for each in columns))
        for i, (example, counts) in enumerate(zip(one.examples, one.counts(), strict=True))
    ]


def _condition(one: Measurement, inputs: Sequence[_Point]) -> _Point:
    f1 = sum(one.counts(), Counts()).f1
    columns = np.array([point.values for point in inputs]).T
    values = tuple(float(np.nanmean(each)) if not np.isnan(each).all() else math.nan for each in columns)
    return _Point(one.condition.dataset, inputs[0].task, f1, values)


def _rank_correlations(
    points: Sequence[_Point], names: Sequence[str], *, is_centred: bool
) -> Iterator[tuple[str, int, float]]:
    from scipy.stats import spearmanr  # takes a second to import

    table = np.array([(point.f1, *point.values) for point in points], float).reshape(-1, 1 + len(names))
    if is_centred and len(table):
        _, groups = np.unique([point.group for point in points], return_inverse=True)
        sums = np.zeros((groups.max() + 1, table.shape[1]))
        np.add.at(sums, groups, table)
        means = sums / np.bincount(groups)[:, None]
        table = np.round(table - means[groups], 12)  # values that differ only by rounding errors must tie
    for column, name in enumerate(names, 1):
        pairs = table[~np.isnan(table[:, [0, column]]).any(1)][:, [0, column]]
        varies = len(pairs) >= _LEAST_POINTS and (np.ptp(pairs, axis=0) > 1e-12).all()
        yield name, len(pairs), float(spearmanr(pairs[:, 0], pairs[:, 1]).statistic) if varies else math.nan
