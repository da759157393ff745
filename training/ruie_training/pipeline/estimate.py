"""What a run would do, before it does: texts and pairs of each stage, and a rough time for this machine.

The time is floating-point operations over the speed of a matrix product measured here: right within a factor of three
or so, which tells minutes from days.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ruie_training.data.catalog import DataSet
from ruie_training.recipes import (
    SCRATCH,
    LocalModel,
    Models,
    Optimisation,
    Recipe,
    StaticModel,
    TransformerModel,
)

_PROMPT_TOKENS = {"own": 60, "shared": 170}  # of a prompt with one demonstration: after what is shared, and before
_PAIR_TOKENS = 180
_TEXT_TOKENS = 90
_EFFICIENCY = 0.3  # of a matrix product's speed that a whole model reaches
_BM25_SECONDS = 2e-4  # a query, against tens of thousands of demonstrations


@dataclass(frozen=True)
class Estimate:
    """What a stage would do."""

    stage: str
    amount: int
    unit: str
    seconds: float | None
    """None where this machine doesn't decide it."""


def estimate(recipe: Recipe, sets: Sequence[DataSet], speed: float | None = None) -> list[Estimate]:
    """Amounts and seconds of each stage.

    Args:
        recipe: The recipe.
        sets: The sets it trains on.
        speed: Floating-point operations a second; None: measured here.
    """
    speed = speed or measure_speed()
    pool = sum(min(found.rows["train"], recipe.data.pool_per_set or found.rows["train"]) for found in sets)
    queries = sum(_queries(found, recipe) for found in sets)
    mined = queries * recipe.mine.k
    found = [
        Estimate("mine", mined, f"pairs of {queries:,} queries and {pool:,} demonstrations", queries * _BM25_SECONDS)
    ]
    if recipe.models:
        found.append(_models(recipe.models, pool, speed))
    if recipe.preferences:
        pairs = queries * min(recipe.preferences.per_query, recipe.mine.k)
        found.append(Estimate("preferences", pairs, "pairs", _preference_seconds(recipe, pairs, speed)))
    if recipe.reward:
        part = recipe.reward
        size = _parameters(part.model, part.parameters, recipe.models and recipe.models.cross_encoder)
        steps = _steps(part.optimisation) * part.groups.size
        work = (3 * steps + mined) * _PAIR_TOKENS * 2 * size
        found.append(Estimate("reward", steps + mined, f"pairs, {steps:,} of them to train on", work / speed))
    if recipe.distil:
        distilled = recipe.distil
        size = _parameters(distilled.model, distilled.parameters, recipe.models and recipe.models.encoder)
        texts = _steps(distilled.optimisation) * (1 + distilled.groups.size)
        found.append(Estimate("distil", texts, "texts", 3 * texts * _TEXT_TOKENS * 2 * size / speed))
    return found


def _queries(dataset: DataSet, recipe: Recipe) -> int:
    limits = (dataset.rows["train"], recipe.data.pool_per_set, recipe.data.queries_per_set)
    return min(limit for limit in limits if limit is not None)


def _steps(optimisation: Optimisation) -> int:
    """Queries that go through the model in training."""
    return optimisation.steps * optimisation.batch_size * optimisation.accumulation


def _models(models: Models, pool: int, speed: float) -> Estimate:
    if models.language_model is None:
        return Estimate("models", pool, "texts", pool * 1e-3)
    tokens = _steps(models.language_model.optimisation) * sum(_PROMPT_TOKENS.values())
    work = 6 * tokens * _transformer(models.language_model, models.vocabulary)
    return Estimate("models", tokens, "tokens", work / speed)


def _preference_seconds(recipe: Recipe, pairs: int, speed: float) -> float | None:
    assert recipe.preferences is not None
    by = recipe.preferences.by
    if by.scorer in ("agreement", "bm25"):
        return pairs * 1e-5
    if not isinstance(by, LocalModel):
        return None
    size = _parameters(by.model, by.parameters, recipe.models and recipe.models.language_model)
    return pairs * _PROMPT_TOKENS["own"] * 2 * size / speed


def _parameters(model: str, billions: float | None, scratch: Any) -> float:
    if model != SCRATCH or scratch is None:
        return (billions or 0.1) * 1e9
    if isinstance(scratch, StaticModel):
        return float(scratch.random + scratch.svd) * 20  # a look-up costs little but the optimiser sees the whole table
    return float(_transformer(scratch, 0))


def _transformer(settings: TransformerModel, vocabulary: int) -> int:
    """Parameters that take part in a matrix product."""
    return 12 * settings.layers * settings.hidden**2 + vocabulary * settings.hidden


def measure_speed(size: int = 1024) -> float:
    """Floating-point operations a second that a model may reach here, from a matrix product of float32."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    matrix = torch.rand(size, size, device=device)
    for _ in range(2):
        matrix @ matrix  # the first ones warm up
    start = time.perf_counter()
    for _ in range(5):
        product = matrix @ matrix
    float(product[0, 0])  # waits for the device
    return 5 * 2 * size**3 / (time.perf_counter() - start) * _EFFICIENCY
