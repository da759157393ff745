"""Samples a recipe's training examples: sets, rows of each, and queries among them."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ruie_components.types import Example
from ruie_training.data.candidates import by_id
from ruie_training.data.catalog import DataSet, choose
from ruie_training.data.settings import Data


@dataclass(frozen=True)
class Material:
    """Pools and queries of all sets of a recipe."""

    pool: Sequence[Example]
    queries: Sequence[Example]
    dropped: Mapping[str, int]

    @cached_property
    def examples(self) -> dict[str, Example]:
        """Every example by ``content_id``."""
        return by_id(self.pool)


def choose_training_sets(sets: Sequence[DataSet], data: Data) -> list[DataSet]:
    """The training sets of a recipe, by name.

    Raises:
        DataError: A set is unknown, or none is left.
    """
    chosen = choose(
        sets,
        names=data.sets,
        roles=None if data.sets else data.roles,
        permissive=data.permissive,
        tasks=data.tasks,
        languages=data.languages,
        purpose="section [data] of the recipe",
    )
    return sorted(chosen, key=lambda dataset: dataset.name)


def read_material(sets: Sequence[DataSet], data: Data, seed: int) -> Material:
    """Read the pools and draw the queries, reproducibly by seed.

    Raises:
        DataError: A set has no train split.
        RowError: A row is not a valid example.
    """
    pool: list[Example] = []
    queries: list[Example] = []
    dropped: Counter[str] = Counter()
    for dataset in sets:
        chance = random.Random(f"{seed} {dataset.name}")  # noqa: S311  a draw, not a secret
        rows = dataset.examples("train")
        kept = _thin_empty(rows, data.empty_share, chance)
        dropped["row: no annotations, beyond the share of such rows"] += len(rows) - len(kept)
        own = _draw(kept, data.pool_per_set, chance)
        pool += own
        queries += _draw(own, data.queries_per_set, chance)
    return Material(pool, queries, {reason: count for reason, count in dropped.items() if count})


def _thin_empty(rows: Sequence[Example], share: float, chance: random.Random) -> list[Example]:
    """All annotated rows, and empty ones up to at most ``share``."""
    empty = [i for i, row in enumerate(rows) if not row.annotation_labels]
    annotated = len(rows) - len(empty)
    limit = len(empty) if share == 1 else int(share / (1 - share) * annotated)
    left_out = set(chance.sample(empty, max(0, len(empty) - limit)))
    return [row for i, row in enumerate(rows) if i not in left_out]


def _draw(rows: Sequence[Example], limit: int | None, chance: random.Random) -> list[Example]:
    if limit is None or limit >= len(rows):
        return list(rows)
    return [rows[i] for i in sorted(chance.sample(range(len(rows)), limit))]
