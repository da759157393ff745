"""A pool as adaptation reads it: its rows by task, their labels, and the folds of the cross-validation."""

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
"""Rows up to which a pool is measured in five folds, and in three; a larger one holds out one part."""
HELD_OUT = 500
"""Texts that a larger pool holds out, at most a fifth."""
MEASURED = 600
"""Queries that are measured, in all folds together: more would take longer than the training, and decide the same."""
MAX_ROWS = 20_000
"""Rows that are trained on; a larger pool is sampled."""


@dataclass(frozen=True)
class Pool:
    """The examples of a pool, of all its tasks."""

    examples: Sequence[Example]

    @classmethod
    def sample(cls, examples: Iterable[Example], limit: int = MAX_ROWS, seed: int = 0) -> Pool:
        """At most ``limit`` of the examples, each with the same chance, in one pass (reservoir sampling).

        Args:
            examples: Of any number; at most ``limit`` are in memory.
            limit: How many are kept.
            seed: Of the draw.
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
        """Rows with the same number have the same text, white space folded, and are never shown to each other."""
        numbers: dict[str, int] = {}
        folded = (" ".join(example.text.split()) for example in self.examples)
        return np.array([numbers.setdefault(text, len(numbers)) for text in folded], np.int64)

    @property
    def texts(self) -> int:
        """How many different texts there are."""
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
        """Labels and event types, as they precede a colon in what an encoder reads; each once, sorted."""
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

    @cached_property
    def event_types(self) -> NDArray[np.object_]:
        """The type of the event that each row is about (EAE), None elsewhere, (rows,)."""
        events = [example.query.event for example in self.examples]
        return np.array([event.type if event else None for event in events], object)

    def folds(self, limit: int, seed: int) -> list[tuple[Rows, Rows]]:
        """Rows to train on and queries to measure with, for each fold; rows of one text stay together.

        Args:
            limit: The maximum number of folds. Small pools have more of them, as their figures are less sure; with one
                fold a fifth of the texts is held out.
            seed: Of the division.
        """
        size = self.texts
        draw = np.random.default_rng(seed)
        texts = draw.permutation(size)[self.text]  # a number a text
        count = min(limit, 5 if len(self) <= SMALL else 3 if len(self) <= MIDDLE else 1)
        if count == 1:
            tested = [texts < min(HELD_OUT, max(size // 5, 1))]
        else:
            tested = [texts % count == fold for fold in range(count)]
        folds = []
        for part in tested:
            queries = np.flatnonzero(part)
            few = draw.choice(queries, min(len(queries), MEASURED // len(tested)), replace=False)
            folds.append((np.flatnonzero(~part), np.sort(few)))
        return folds
