"""A pool as the adaptation reads it: its rows by task, their labels, and the folds of the cross-validation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ruie_components.labels import Counts, count_matrices
from ruie_components.types import Example, Task

Rows = NDArray[np.int64]

SMALL, MIDDLE = 600, 2500
"""Rows up to which a pool is measured in five folds, and in three; a larger one holds out one part."""
HELD_OUT = 500
"""Rows that a larger pool holds out, at most a fifth."""


@dataclass(frozen=True)
class Pool:
    """The examples of a pool, of all its tasks."""

    examples: Sequence[Example]

    def __len__(self) -> int:
        return len(self.examples)

    @cached_property
    def labels(self) -> Counts:
        """The label counts of every row, (rows, labels)."""
        return count_matrices(self.examples, ())[0]

    @cached_property
    def text(self) -> Rows:
        """Rows with the same number have the same text, white space folded, and are never shown to each other."""
        places: dict[str, int] = {}
        folded = (" ".join(example.text.split()) for example in self.examples)
        return np.array([places.setdefault(text, len(places)) for text in folded], np.int64)

    @cached_property
    def tasks(self) -> dict[Task, Rows]:
        """The rows of each task."""
        return {
            task: rows
            for task in Task
            if len(rows := np.array([row for row, found in enumerate(self.examples) if found.task is task], np.int64))
        }

    @property
    def written_labels(self) -> list[str]:
        """Labels and event types, as they stand before a colon in what an encoder reads; each once, sorted."""
        found = {label for example in self.examples for label in example.annotation_labels}
        return sorted(found | {event.type for example in self.examples for event in example.events})

    def folds(self, most: int, seed: int) -> list[tuple[Rows, Rows]]:
        """Rows to train on and rows to measure with, once for each fold; rows of one text stay together.

        Args:
            most: Folds, at most. Small pools have more of them, as their figures are less sure; with one fold a fifth
                of the texts is held out.
            seed: Of the parting.
        """
        size = int(self.text.max()) + 1
        texts = np.random.default_rng(seed).permutation(size)[self.text]  # a number a text
        count = min(most, 5 if len(self) <= SMALL else 3 if len(self) <= MIDDLE else 1)
        if count == 1:
            tested = [texts < min(HELD_OUT, max(size // 5, 1))]
        else:
            tested = [texts % count == fold for fold in range(count)]
        return [(np.flatnonzero(~part), np.flatnonzero(part)) for part in tested]
