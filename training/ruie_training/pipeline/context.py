"""What every stage of a run may use: the recipe, the data, the run folder, and this process."""

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
"""What mine, preferences and reward write into their folders."""
ENCODER, UNTRAINED = "encoder", "untrained"
"""Folders that the stage export writes: the trained encoder, and the encoder that it started from."""


@dataclass(frozen=True)
class Context:
    """A run: recipe, data, folder, process."""

    recipe: Recipe
    data: Path
    """What ``data.catalog.read_sets`` takes."""
    run: Path
    """The run folder."""
    process: Process = field(default_factory=Process)
    progress: bool = True
    tensorboard: bool = False
    pool: str = "default"
    """The pool, where ``data`` is a store."""

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
        """The sets trained on."""
        return choose_training_sets(self.all_sets, self.recipe.data)

    @cached_property
    def material(self) -> Material:
        """The examples trained on."""
        return read_material(self.sets, self.recipe.data, self.recipe.seed)

    @cached_property
    def training_hash(self) -> str:
        """A hash over the rows trained on."""
        return hash_sets(self.sets, "train")

    def folder(self, stage: str) -> Path:
        """The folder of a stage."""
        return self.run / stage

    def candidates(self, stage: str) -> Candidates:
        """What mine, preferences or reward wrote."""
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
    """A hash over splits of sets (all splits where none is named): 16 hexadecimal digits."""
    return hash_of([dataset.content_hash(*splits) for dataset in sets])
