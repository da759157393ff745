"""Trains static token vectors on a pool with numpy and scipy, by the paper's divergence over a batch's passages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import vstack

from ruie_components.adaptation.adam import LazyAdam
from ruie_components.adaptation.pool import Pool, Rows
from ruie_components.adaptation.teachers import Teacher
from ruie_components.adaptation.token_bags import select_tokens
from ruie_components.errors import AdaptationError

Vectors = NDArray[np.float32]
_TINY = np.float32(1e-12)


@dataclass(frozen=True, kw_only=True)
class StaticTraining:
    """The numbers of the training, chosen on dev splits of held-in sets."""

    steps: int = 100
    queries: int = 128
    """A batch."""
    passages: int = 384
    """The passages of a batch: the teacher's candidates of its queries, and random rows."""
    learning_rate: float = 3e-2
    """Adam's learning rate, relative to the root mean square of the vectors' elements; it falls linearly to 0."""
    temperature: float = 0.05
    teacher_scale: float = 10.0
    """The factor of label F1."""
    seed: int = 0


def steps_for(rows: int) -> int:
    """The number of steps, which grows with the rows, so that 8,000 rows take less than a minute.

    >>> steps_for(30), steps_for(3000), steps_for(8000)
    (100, 150, 200)
    """
    return min(max(rows // 20, 100), 200)


def train_vectors(
    start: Vectors,
    pool: Pool,
    queries: Any,
    passages: Any,
    teacher: Teacher,
    settings: StaticTraining,
    *,
    rows: Rows,
    advance: Callable[[int], None] = lambda _: None,
) -> Vectors:
    """Train token vectors; tokens that occur in no training row keep their vectors.

    Args:
        start: Token vectors, (tokens, d).
        pool: The pool.
        queries: Token bags, CSR (rows, tokens): row i is the query of row i of the pool.
        passages: Token bags: row i is the passage of row i of the pool.
        teacher: Scores pairs of rows.
        settings: The numbers.
        rows: The training rows.
        advance: Called with the number of steps done since the last call.

    Returns:
        The trained vectors, (tokens, d).

    Raises:
        AdaptationError: The loss is not a finite number.
    """
    draw = np.random.default_rng(settings.seed)
    rate = settings.learning_rate * float(np.sqrt(np.square(start).mean()))
    vectors = start.copy()
    adam = LazyAdam(vectors, rate * (1 - np.arange(settings.steps) / settings.steps))
    parts = [part for part in (np.intersect1d(rows, each) for each in pool.tasks.values()) if len(part) > 1]
    chances = np.sqrt([len(part) for part in parts])
    for step in range(settings.steps):
        part = parts[draw.choice(len(parts), p=chances / chances.sum())]
        query_rows = draw.choice(part, min(settings.queries, len(part)), replace=False)
        passage_rows = _passages(query_rows, part, teacher, settings, draw)
        target = teacher.scores(query_rows, passage_rows)
        target[pool.text[query_rows][:, None] == pool.text[passage_rows][None, :]] = np.nan
        has_contrast = _contrast(target)
        if has_contrast.any():
            batch = queries[query_rows[has_contrast]], passages[passage_rows]
            used = _used_tokens(batch)
            batch = tuple(select_tokens(part, used) for part in batch)
            current = adam.rows(used, step)
            loss, gradient = divergence(*batch, current, target[has_contrast], settings.temperature)
            if not np.isfinite(loss):
                raise AdaptationError(f"the loss is {loss} at step {step}: lower the learning rate")
            adam.step(used, current, gradient, step)
        advance(1)
    adam.finish()
    return vectors


def divergence(
    queries: Any, passages: Any, vectors: Vectors, teacher: Vectors, temperature: float
) -> tuple[float, Vectors]:
    """KL(teacher || student), mean over queries, and its gradient by the token vectors (the paper's distillation loss).

    With token bags ``B`` and ``C`` of queries and passages and token vectors ``V``: sums ``U = B V`` and ``W = C V``,
    unit rows ``X = U / |U|`` and ``Y = W / |W|``, student scores ``S = X Y' / temperature``. Let ``p`` and ``t`` be the
    softmax of each row of student and teacher scores over the known pairs, and ``n`` the number of queries. Then

        loss  = sum(t (log t - log p)) / n
        dS    = (p - t) / n
        dX    = dS Y / temperature,          dY = dS' X / temperature
        dU    = (dX - (dX . X) X) / |U|,     dW likewise
        dV    = B' dU + C' dW

    Args:
        queries: Token bags, CSR (q, tokens).
        passages: Token bags, CSR (p, tokens).
        vectors: (tokens, d).
        teacher: Scores, (q, p); NaN for an unknown pair, which is left out on both sides.
        temperature: The divisor of cosines.

    Returns:
        The loss, and its gradient, (tokens, d).
    """
    x, x_inverse = _unit(queries @ vectors)
    y, y_inverse = _unit(passages @ vectors)
    unknown = np.isnan(teacher)
    log_target = _log_softmax(np.where(unknown, np.float32(-1e4), teacher))
    student = _log_softmax(np.where(unknown, np.float32(-1e4), (x @ y.T) / np.float32(temperature)))
    t = np.exp(log_target)
    loss = float((t * (log_target - student)).sum(dtype=np.float64) / len(x))
    ds: Vectors = np.asarray((np.exp(student) - t) / np.float32(len(x) * temperature), np.float32)
    du = _through_unit(ds @ y, x, x_inverse)
    dw = _through_unit(ds.T @ x, y, y_inverse)
    # one product of CSR, whose output rows stay in the cache; the transposed bags as they are would scatter over them
    bags = vstack((queries, passages)).T.tocsr()  # (tokens, q + p)
    return loss, np.asarray(bags @ np.concatenate([du, dw]), np.float32)


def _unit(sums: Vectors) -> tuple[Vectors, Vectors]:
    """Unit rows and their factors, (rows, 1); a row of zeros, from unknown tokens only, stays zero."""
    lengths = np.sqrt(np.einsum("nd,nd->n", sums, sums))[:, None]
    inverse = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > _TINY)
    return sums * inverse, inverse


def _through_unit(gradient: Vectors, unit: Vectors, inverse: Vectors) -> Vectors:
    gradient -= np.einsum("nd,nd->n", gradient, unit)[:, None] * unit
    gradient *= inverse
    return gradient


def _log_softmax(scores: Vectors) -> Vectors:
    shifted = scores - scores.max(1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(1, keepdims=True)))


def _passages(
    query_rows: Rows, rows: Rows, teacher: Teacher, settings: StaticTraining, draw: np.random.Generator
) -> Rows:
    known = np.intersect1d(teacher.candidates(query_rows), rows)
    rest = draw.choice(rows, min(max(settings.passages - len(known), 0), len(rows)), replace=False)
    return np.unique(np.concatenate([known, rest]))


def _used_tokens(bags: Sequence[Any]) -> Rows:
    """The tokens that occur in any of some bags, CSR (texts, tokens), ascending."""
    is_used = np.zeros(bags[0].shape[1], bool)
    for each in bags:
        is_used[each.indices] = True
    return np.flatnonzero(is_used)


def _contrast(scores: Vectors) -> NDArray[np.bool_]:
    """Queries for which the teacher distinguishes two passages."""
    lowest = np.where(np.isnan(scores), np.inf, scores).min(1)
    highest = np.where(np.isnan(scores), -np.inf, scores).max(1)
    return np.asarray(highest > lowest)
