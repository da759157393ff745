"""A pool for adaptation: its rows by task, their labels, and the folds of the cross-validation."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ruie_components.labels import Counts, count_matrices, label_f1_matrix
from ruie_components.types import Example, Task

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]

SMALL, MIDDLE = 600, 2500
"""The maximum rows of pools that are measured in five folds, and in three; a larger one holds out one part."""
HELD_OUT = 500
"""The number of texts that a larger pool holds out, at most a fifth."""
MEASURED = 600
"""The number of measured queries in all folds: more would take longer than the training, with the same decision."""
MAX_ROWS = 20_000
"""The maximum number of training rows; a larger pool is sampled."""


def held_out(texts: int) -> int:
    """The number of texts that the only fold of a pool of so many texts holds out."""
    return min(HELD_OUT, max(texts // 5, 1))


@dataclass(frozen=True)
class Pool:
    """The examples of a pool, of all its tasks."""

    examples: Sequence[Example]

    @classmethod
    def sample(cls, examples: Iterable[Example], limit: int = MAX_ROWS, seed: int = 0) -> Pool:
        """At most ``limit`` of the examples, with equal probability, in one pass (reservoir sampling).

        Args:
            examples: Any number of examples; at most ``limit`` are in memory.
            limit: How many to keep.
            seed: Of the random draw.
        """
        draw = random.Random(seed)  # noqa: S311  a sample, not a secret
        kept: list[Example] = []
        for number, example in enumerate(examples):
            if number < limit:
                kept.append(example)
            elif (index := draw.randrange(number + 1)) < limit:
                kept[index] = example
        return cls(kept)

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def text(self) -> Rows:
        """The number of each row's text; rows with equal texts (white space collapsed) are never paired."""
        numbers: dict[str, int] = {}
        folded = (" ".join(example.text.split()) for example in self.examples)
        return np.array([numbers.setdefault(text, len(numbers)) for text in folded], np.int64)

    @property
    def texts(self) -> int:
        """The number of different texts."""
        return int(self.text.max()) + 1 if len(self) else 0

    @cached_property
    def tasks(self) -> dict[Task, Rows]:
        """The rows of each task."""
        of_task = {
            task: np.array([row for row, example in enumerate(self.examples) if example.task is task], np.int64)
            for task in Task
        }
        return {task: rows for task, rows in of_task.items() if len(rows)}

    @property
    def written_labels(self) -> list[str]:
        """Labels and event types, which precede a colon in encoded texts; without repeats, sorted."""
        labels = {label for example in self.examples for label in example.annotation_labels}
        return sorted(labels | {event.type for example in self.examples for event in example.events})

    @cached_property
    def labels(self) -> Counts:
        """The label counts of every row, (rows, labels)."""
        return count_matrices(self.examples, ())[0]

    @property
    def same_labels(self) -> bool:
        """Whether all rows have the same labels."""
        return len(np.unique(self.labels, axis=0)) < 2

    def label_f1(self, queries: Rows, passages: Rows) -> Scores:
        """Label F1 of pairs of rows, (queries, passages)."""
        return label_f1_matrix(self.labels[queries], self.labels[passages])

    def folds(self, limit: int, seed: int) -> list[tuple[Rows, Rows]]:
        """Training rows and measured queries of each fold; rows with equal texts stay together.

        Args:
            limit: The maximum number of folds. Small pools have more folds, because their figures vary more; with one
                fold a fifth of the texts is held out.
            seed: Of the split.
        """
        size = self.texts
        draw = np.random.default_rng(seed)
        texts = draw.permutation(size)[self.text]  # a number per text
        count = min(limit, 5 if len(self) <= SMALL else 3 if len(self) <= MIDDLE else 1)
        tested = [texts < held_out(size)] if count == 1 else [texts % count == fold for fold in range(count)]
        folds = []
        for part in tested:
            queries = np.flatnonzero(part)
            few = draw.choice(queries, min(len(queries), MEASURED // len(tested)), replace=False)
            folds.append((np.flatnonzero(~part), np.sort(few)))
        return folds
