"""Trains static token vectors on a pool: the paper's divergence, each query over all passages of its batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruie_training.adapt.pool import Pool, Rows
from ruie_training.adapt.teachers import Teacher
from ruie_training.errors import TrainingError
from ruie_training.static.bags import Bags

Vectors = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class StaticTraining:
    """The numbers of the training, chosen on dev splits of held-in sets."""

    steps: int = 100
    queries: int = 128
    """A batch."""
    passages: int = 384
    """A batch: what the teacher knows of its queries, and rows drawn at random."""
    learning_rate: float = 3e-2
    """Of Adam, relative to the root mean square of the vectors' numbers; it falls to 0 in a straight line."""
    temperature: float = 0.05
    teacher: float = 10.0
    """What the Dice overlap is multiplied by."""
    seed: int = 0


def steps_for(rows: int) -> int:
    """More steps for more rows, up to what keeps 8,000 of them within a minute.

    >>> steps_for(30), steps_for(3000), steps_for(8000)
    (100, 150, 200)
    """
    return min(max(rows // 20, 100), 200)


def train_vectors(
    start: Vectors,
    pool: Pool,
    queries: Bags,
    passages: Bags,
    teacher: Teacher,
    settings: StaticTraining,
    *,
    repeats: float,
    rows: Rows,
    advance: Callable[[int], None] = lambda _: None,
) -> Vectors:
    """Train token vectors; those of tokens that no trained row holds stay.

    Args:
        start: Weighted token vectors, (tokens, d).
        pool: The pool.
        queries: Row i is how row i of the pool is asked for.
        passages: Row i is how row i of the pool is shown.
        teacher: Scores pairs of rows.
        settings: The numbers.
        repeats: A token that occurs c times in a text counts ``c ** repeats`` times.
        rows: What is trained on.
        advance: Told about each step.

    Raises:
        TrainingError: The loss is not a finite number.
    """
    import torch

    draw = np.random.default_rng(settings.seed)
    table = torch.nn.Parameter(torch.from_numpy(start.copy()))
    rate = settings.learning_rate * float(np.sqrt(np.square(start).mean()))
    # fused: one pass over a table that may take 60 MB, instead of five
    optimizer = torch.optim.Adam([table], lr=rate, betas=(0.9, 0.99), fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 - step / settings.steps)
    kinds = [found for found in (np.intersect1d(rows, each) for each in pool.tasks.values()) if len(found) > 1]
    chances = np.sqrt([len(found) for found in kinds])
    for step in range(settings.steps):
        mine = kinds[draw.choice(len(kinds), p=chances / chances.sum())]
        asked = draw.choice(mine, min(settings.queries, len(mine)), replace=False)
        shown = _passages(asked, mine, teacher, settings, draw)
        wanted = teacher.scores(asked, shown)
        wanted[pool.text[asked][:, None] == pool.text[shown][None, :]] = np.nan
        learnt = _contrast(wanted)
        if learnt.any():
            batch, others = queries.take(asked[learnt]), passages.take(shown)
            scores = _embed(table, batch, batch.times(repeats)) @ _embed(table, others, others.times(repeats)).T
            loss = _divergence(scores / settings.temperature, torch.from_numpy(wanted[learnt]))
            if not torch.isfinite(loss):
                raise TrainingError(f"the loss is {loss.item()} at step {step}: lower the learning rate")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        schedule.step()
        advance(1)
    trained: Vectors = table.detach().numpy()
    return trained


def _embed(table: Any, texts: Bags, weights: Vectors) -> Any:
    """Unit vectors of texts, (texts, d), from the vectors of their tokens, each with its weight."""
    import torch
    from torch.nn import functional

    sums = functional.embedding_bag(
        torch.from_numpy(texts.tokens),
        table,
        torch.from_numpy(texts.ends[:-1]),
        mode="sum",
        per_sample_weights=torch.from_numpy(weights),
    )
    return functional.normalize(sums, dim=1)


def _passages(asked: Rows, rows: Rows, teacher: Teacher, settings: StaticTraining, draw: np.random.Generator) -> Rows:
    known = np.intersect1d(teacher.candidates(asked), rows)
    rest = draw.choice(rows, min(max(settings.passages - len(known), 0), len(rows)), replace=False)
    return np.unique(np.concatenate([known, rest]))


def _contrast(wanted: Vectors) -> NDArray[np.bool_]:
    """Queries that the teacher tells two passages apart for."""
    lowest = np.where(np.isnan(wanted), np.inf, wanted).min(1)
    highest = np.where(np.isnan(wanted), -np.inf, wanted).max(1)
    return np.asarray(highest > lowest)


def _divergence(scores: Any, wanted: Any) -> Any:
    """KL(teacher || student) over the pairs that the teacher knows, mean over queries (paper, distillation)."""
    from torch.nn import functional

    unknown = wanted.isnan()
    student = scores.masked_fill(unknown, -1e4).log_softmax(1)
    teacher = wanted.masked_fill(unknown, -1e4).log_softmax(1)
    return functional.kl_div(student, teacher, reduction="batchmean", log_target=True)
