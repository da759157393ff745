"""The context of a run for its stages: recipe, data, run folder, and process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from ruie_training.data.candidates import Candidates
from ruie_training.data.catalog import DataSet, read_sets
from ruie_training.data.sampling import Material, choose_training_sets, read_material
from ruie_training.processes import Process
from ruie_training.recipes import Recipe, hash_of

CANDIDATES = "candidates.jsonl.gz"
"""The file of candidates in the folders of mine, preferences and reward."""
ENCODER, UNTRAINED = "encoder", "untrained"
"""Folders of the stage export: the trained encoder, and its starting point."""


@dataclass(frozen=True)
class Context:
    """A run: recipe, data, folder, process."""

    recipe: Recipe
    data: Path
    """The source for ``data.catalog.read_sets``."""
    run: Path
    """The run folder."""
    process: Process = field(default_factory=Process)
    progress: bool = True
    tensorboard: bool = False
    pool: str = "default"
    """The pool, if ``data`` is a store."""

    @property
    def metrics(self) -> Path:
        """The JSONL file that all stages append to."""
        return self.run / "metrics.jsonl"

    @cached_property
    def all_sets(self) -> list[DataSet]:
        """Every set of the data."""
        return read_sets(self.data, self.pool)

    @cached_property
    def sets(self) -> list[DataSet]:
        """The training sets."""
        return choose_training_sets(self.all_sets, self.recipe.data)

    @cached_property
    def material(self) -> Material:
        """The training examples."""
        return read_material(self.sets, self.recipe.data, self.recipe.seed)

    @cached_property
    def training_hash(self) -> str:
        """A hash over the training rows."""
        return hash_sets(self.sets, "train")

    def folder(self, stage: str) -> Path:
        """The folder of a stage."""
        return self.run / stage

    def candidates(self, stage: str) -> Candidates:
        """The candidates of mine, preferences or reward."""
        return Candidates.load(self.folder(stage) / CANDIDATES)

    def training_options(self) -> dict[str, Any]:
        """Keyword options of every function that trains."""
        return {
            "seed": self.recipe.seed,
            "metrics": self.metrics,
            "progress": self.progress,
            "tensorboard": self.tensorboard,
        }


def hash_sets(sets: Sequence[DataSet], *splits: str) -> str:
    """A hash over splits of sets (by default all): 16 hexadecimal digits."""
    return hash_of([dataset.content_hash(*splits) for dataset in sets])
