"""The gain of adapting, by label voting and cross-validation on the pool itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ruie_components.adaptation.pool import Pool, Rows
from ruie_components.labels import label_f1_at_k, label_recall_at_k
from ruie_components.selection import Method, Selector
from ruie_components.selection.candidates import MatrixSource

Vectors = NDArray[np.float32]
K = 8
RECALL_WEIGHT = 0.5
"""The weight of label recall, relative to label F1, in the comparison of encoders.

By label F1 alone, encoders win that show hardly any labels except the most likely ones.
"""


@dataclass(frozen=True)
class Figures:
    """Label F1@k and label recall@k of each measured query, by row of the pool, in 0 to 1."""

    rows: Rows
    label_f1: NDArray[np.float64]
    label_recall: NDArray[np.float64]
    """NaN for a query without labels."""

    @property
    def objective(self) -> NDArray[np.float64]:
        """The objective of the comparison: label F1, and label recall if there are labels, (rows,)."""
        return self.label_f1 + RECALL_WEIGHT * np.nan_to_num(self.label_recall)


def measure(pool: Pool, queries: Rows, passages: Rows, encoded: Iterable[tuple[Vectors, Vectors]]) -> list[Figures]:
    """Choose demonstrations for queries by label voting, for each of some encoders.

    Stores choose by similarity by default, but label F1 by similarity selects encoders that are further from their
    start, with which an LLM extracts less (docs/evaluation.md).

    Args:
        pool: The pool.
        queries: Rows that are queries; no passage has the text of one.
        passages: Rows that may be chosen.
        encoded: For each encoder the vectors of the queries and of the passages.
    """
    parts = []
    for rows in pool.tasks.values():
        mine, theirs = np.flatnonzero(np.isin(queries, rows)), np.flatnonzero(np.isin(passages, rows))
        if len(mine) and len(theirs):
            asked = [pool.examples[row].query for row in queries[mine]]
            shown = [pool.examples[row] for row in passages[theirs]]
            parts.append((mine, theirs, MatrixSource(np.zeros((len(mine), len(theirs))), asked, shown)))
    figures = []
    for query_vectors, passage_vectors in encoded:
        f1 = np.full(len(queries), np.nan)
        recall = np.full(len(queries), np.nan)
        for mine, theirs, source in parts:
            scored = source.with_scores(query_vectors[mine] @ passage_vectors[theirs].T)
            for row, choices in zip(mine, Selector(Method.LABEL_VOTE, k=K).choose(scored), strict=True):
                chosen = passages[theirs][[choice.candidate.id for choice in choices]]
                query, ranked = queries[row : row + 1], np.arange(len(chosen))[None]
                f1[row] = label_f1_at_k(pool.label_f1(query, chosen), ranked, K).item()
                recall[row] = label_recall_at_k(pool.labels[query], pool.labels[chosen], ranked, K).item()
        known = ~np.isnan(f1)
        figures.append(Figures(queries[known], f1[known], recall[known]))
    return figures


def join(parts: Sequence[Figures]) -> Figures:
    """The figures of all folds."""
    return Figures(
        np.concatenate([part.rows for part in parts]),
        np.concatenate([part.label_f1 for part in parts]),
        np.concatenate([part.label_recall for part in parts]),
    )


@dataclass(frozen=True)
class Gain:
    """The gain of one task, or of all: percent, by label voting, over queries that the training has not seen."""

    task: str
    queries: int
    label_f1_before: float
    label_f1_after: float
    label_recall_before: float
    label_recall_after: float


def gains(pool: Pool, before: Figures, after: Figures) -> list[Gain]:
    """The gain of each task, and of all together if there are several."""
    chosen = {str(task): np.isin(before.rows, rows) for task, rows in pool.tasks.items()}
    if len(chosen) > 1:
        chosen["all"] = np.ones(len(before.rows), bool)
    return [
        Gain(
            name,
            int(rows.sum()),
            _percent(before.label_f1[rows]),
            _percent(after.label_f1[rows]),
            _percent(before.label_recall[rows]),
            _percent(after.label_recall[rows]),
        )
        for name, rows in chosen.items()
        if rows.any()
    ]


def sure_gain(before: Figures, after: Figures) -> float:
    """The mean gain in the objective over the queries, minus its standard error.

    The interpolation weight with the largest sure gain is chosen, or none if that is not above 0. So the more a pool's
    figures vary, the closer the encoder stays to the start. A limit of twice the standard error left most pools of 150
    rows unchanged, even those whose dev queries gained.
    """
    difference = after.objective - before.objective
    if len(difference) < 2:
        return 0.0
    return float(difference.mean() - difference.std(ddof=1) / np.sqrt(len(difference)))


def _percent(values: NDArray[np.float64]) -> float:
    known = values[~np.isnan(values)]
    return float(100 * known.mean()) if len(known) else float("nan")
