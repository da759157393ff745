"""The labels of an annotation as a multiset, and F1 (the multiset Dice coefficient) and recall between multisets.

The labels are those of the task's annotations (``Example.annotation_labels``), repeats kept. Label F1@k and label
recall@k measure how well demonstrations fit a query.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int16]
"""How often each label occurs, ``(n, labels)``, one row per example."""


class Annotated(Protocol):
    """An ``Example`` or an ``Extraction``."""

    @property
    def annotation_labels(self) -> Sequence[str]:
        """The label of every annotation, repeats kept."""


def label_counts(annotated: Annotated) -> Counter[str]:
    """The labels of an annotation as a multiset."""
    return Counter(annotated.annotation_labels)


def label_f1(one: Counter[str], other: Counter[str]) -> float:
    """F1 of two label multisets: twice the labels in common over the sum of both sizes, 0 to 1.

    It is 1 for two empty multisets, and 0 if only one is empty.

    >>> label_f1(Counter(["person", "person", "city"]), Counter(["person"]))
    0.5
    """
    size = one.total() + other.total()
    return 2 * (one & other).total() / size if size else 1.0


def label_recall(labels: Iterable[str], demonstrations: Iterable[Counter[str]]) -> float:
    """The share of distinct labels that occur in any demonstration; NaN if there are no labels.

    >>> label_recall(["person", "city"], [Counter(["person"]), Counter(["person", "date"])])
    0.5
    """
    distinct = set(labels)
    return len(distinct & set().union(*demonstrations)) / len(distinct) if distinct else float("nan")


def count_matrix(multisets: Sequence[Sequence[str]], labels: Sequence[str]) -> Counts:
    """Multisets as rows of counts.

    Args:
        multisets: ``n`` of them; a label counts as often as it occurs.
        labels: The columns; every label of the multisets is among them.

    Returns:
        ``(n, labels)``.
    """
    column = {label: j for j, label in enumerate(labels)}
    matrix = np.zeros((len(multisets), len(labels)), np.int16)
    rows = np.repeat(np.arange(len(multisets)), np.array([len(each) for each in multisets], np.intp))
    columns = np.array([column[label] for each in multisets for label in each], np.intp)
    np.add.at(matrix, (rows, columns), 1)
    return matrix


def count_matrices(queries: Sequence[Annotated], examples: Sequence[Annotated]) -> tuple[Counts, Counts]:
    """The label multisets of queries and examples as rows of counts over one list of labels.

    Returns:
        Counts of shapes (queries, labels) and (examples, labels).
    """
    labels = list(dict.fromkeys(label for each in (*queries, *examples) for label in each.annotation_labels))
    return (
        count_matrix([each.annotation_labels for each in queries], labels),
        count_matrix([each.annotation_labels for each in examples], labels),
    )


def label_f1_matrix(queries: NDArray[np.number], examples: NDArray[np.number]) -> NDArray[np.float32]:
    """``label_f1`` of every query's multiset with every example's.

    Args:
        queries: Counts, (queries, labels).
        examples: Counts over the same labels, (examples, labels).

    Returns:
        (queries, examples), 0 to 1.

    >>> label_f1_matrix(np.array([[2, 1]]), np.array([[1, 0], [0, 0]])).tolist()
    [[0.5, 0.0]]
    """
    sizes = queries.sum(1)[:, None] + examples.sum(1)[None, :]
    f1 = common_labels(queries, examples)
    f1 *= 2
    np.divide(f1, sizes, out=f1, where=sizes > 0)
    f1[sizes == 0] = 1
    return f1


def common_labels(queries: NDArray[np.number], examples: NDArray[np.number]) -> NDArray[np.float32]:
    """The number of labels that each pair of multisets has in common (the sum of minima), (queries, examples).

    ``min(a, b)`` is the number of levels t = 1, 2, ... that both reach, so each level is one matrix product. The sums
    are small integers, exact in float32.
    """
    common = np.zeros((len(queries), len(examples)), np.float32)
    level = 1
    while True:
        columns = np.flatnonzero((queries >= level).any(0) & (examples >= level).any(0))
        if not len(columns):
            return common
        common += (queries[:, columns] >= level).astype(np.float32) @ (examples[:, columns] >= level).T.astype(
            np.float32
        )
        level += 1


def label_f1_at_k(f1: NDArray[np.floating], ranked: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Label F1@k: for each query the mean label F1 of its first k demonstrations, (queries,).

    Args:
        f1: From ``label_f1_matrix``, (queries, examples).
        ranked: Rows of the examples, best first, (queries, at least k or all); -1 means none.
        k: How many demonstrations count.
    """
    first = ranked[:, :k]
    hits = np.take_along_axis(f1, np.maximum(first, 0), 1).astype(np.float64) * (first >= 0)
    return np.asarray(hits.sum(1) / np.maximum((first >= 0).sum(1), 1))


def label_recall_at_k(queries: Counts, examples: Counts, ranked: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Label recall@k: for each query the share of its labels that occur among its first k demonstrations, (queries,).

    NaN for a query without labels.
    """
    first = ranked[:, :k]
    covered = ((examples[np.maximum(first, 0)] > 0) & (first >= 0)[:, :, None]).any(1)  # (queries, labels)
    needed = queries > 0
    sizes = needed.sum(1)
    share = (covered & needed).sum(1) / np.maximum(sizes, 1)
    return np.where(sizes == 0, np.nan, share)
