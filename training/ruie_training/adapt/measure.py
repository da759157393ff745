"""What adapting gains, by cross-validation on the pool itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ruie_components.labels import label_f1_at_k, label_f1_matrix, label_recall_at_k
from ruie_components.types import Task
from ruie_training.adapt.pool import Pool, Rows
from ruie_training.evaluation.rankers import vote

Vectors = NDArray[np.float32]
K = 8
COVERAGE_WORTH = 0.5
"""A point of coverage counts half a point of agreement where encoders are compared.

By agreement alone the choice falls on encoders that show hardly any label but the likeliest ones.
"""


@dataclass(frozen=True)
class Figures:
    """Agreement and coverage of each measured query, by row of the pool, in 0 to 1; NaN: no labels to cover."""

    rows: Rows
    agreement: NDArray[np.float64]
    coverage: NDArray[np.float64]

    @property
    def worth(self) -> NDArray[np.float64]:
        """What encoders are compared by: agreement, and coverage where there are labels to cover, (rows,)."""
        return self.agreement + COVERAGE_WORTH * np.nan_to_num(self.coverage)


def measure(pool: Pool, asked: Rows, shown: Rows, queries: Vectors, passages: Vectors, k: int = K) -> Figures:
    """Choose for each asked row among the shown rows of its task, by label vote, as the package does by default.

    Args:
        pool: The pool.
        asked: Rows that are queries, none of whose texts is shown.
        shown: Rows that may be found.
        queries: Vectors of the asked rows.
        passages: Vectors of the shown rows.
        k: How many demonstrations count.
    """
    agreement = np.full(len(asked), np.nan)
    coverage = np.full(len(asked), np.nan)
    for rows in pool.tasks.values():
        mine, theirs = np.flatnonzero(np.isin(asked, rows)), np.flatnonzero(np.isin(shown, rows))
        if not len(mine) or not len(theirs):
            continue
        scores = queries[mine] @ passages[theirs].T
        queried, offered = ([pool.examples[row] for row in chosen] for chosen in (asked[mine], shown[theirs]))
        ranked = vote(scores, queried, offered, k)
        labels, others = pool.labels[asked[mine]], pool.labels[shown[theirs]]
        agreement[mine] = label_f1_at_k(label_f1_matrix(labels, others), ranked, k)
        coverage[mine] = label_recall_at_k(labels, others, ranked, k)
    known = ~np.isnan(agreement)
    return Figures(asked[known], agreement[known], coverage[known])


def join(parts: Sequence[Figures]) -> Figures:
    """The figures of all folds."""
    return Figures(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.agreement for part in parts]),
        np.concatenate([part.coverage for part in parts]),
    )


@dataclass(frozen=True)
class Gain:
    """What was measured of one task, or of all: percent, over queries that the training had not seen."""

    task: str
    queries: int
    agreement_before: float
    agreement_after: float
    coverage_before: float
    coverage_after: float


def gains(pool: Pool, before: Figures, after: Figures) -> list[Gain]:
    """The gain of each task, and of all of them together where there are several."""
    chosen: Mapping[str, NDArray[np.bool_]] = {str(task): np.isin(before.rows, rows) for task, rows in _tasks(pool)}
    if len(chosen) > 1:
        chosen = {**chosen, "all": np.ones(len(before.rows), bool)}
    return [
        Gain(
            name,
            int(rows.sum()),
            _percent(before.agreement[rows]),
            _percent(after.agreement[rows]),
            _percent(before.coverage[rows]),
            _percent(after.coverage[rows]),
        )
        for name, rows in chosen.items()
        if rows.any()
    ]


def _tasks(pool: Pool) -> list[tuple[Task, Rows]]:
    return list(pool.tasks.items())


def _percent(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(100 * known.mean()) if len(known) else float("nan")


def is_a_gain(before: Figures, after: Figures) -> bool:
    """Whether ``worth`` rose by more than twice the standard error of the difference, query by query."""
    difference = after.worth - before.worth
    if len(difference) < 2:
        return False
    return bool(difference.mean() > max(2 * difference.std(ddof=1) / np.sqrt(len(difference)), 1e-9))
