"""Distils label agreement into static token vectors: the paper's divergence, with two simple teachers.

A batch holds queries of one training set and passages of the same set: some that share rare words with a query, and
some drawn at random. The teacher's score of a pair is the Dice overlap of its gold labels, which asks for passages
that show the same annotations, plus the pair's exact TF-IDF cosine, which asks the vectors to keep words apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruie_components.labels import Counts, label_f1_matrix
from ruie_training.static.bags import Bags

Floats = NDArray[np.float32]
Places = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class StaticDistillation:
    """The numbers of a distillation."""

    steps: int = 500
    queries: int = 48
    """A batch."""
    hard: int = 4
    """Passages a query, drawn from the nearest ``mined`` by TF-IDF."""
    mined: int = 32
    drawn: int = 128
    """Random passages a batch."""
    mined_queries: int = 1500
    """At most so many queries of a set are trained on."""
    learning_rate: float = 7e-4
    weight_learning_rate: float = 2e-3
    """Of the logarithms of the tokens' weights."""
    temperature: float = 0.05
    agreement: float = 8.0
    """What the Dice overlap is multiplied by in the teacher's score."""
    lexical: float = 2.0
    """What the TF-IDF cosine, with mean 0 and deviation 1 over the batch, is multiplied by."""
    lexical_repeats: float = 0.5
    seed: int = 0


@dataclass(frozen=True)
class TrainingSet:
    """A set of examples as the distillation reads it; row i of each part is example i."""

    queries: Bags
    passages: Bags
    labels: Counts
    """From ``agreement.count_labels``."""
    text: Places
    """Examples with the same number have the same text and are never shown to each other."""


@dataclass(frozen=True)
class _Mined:
    queries: Places
    nearest: Places
    """(queries, mined)."""
    query_matrix: Any
    passage_matrix: Any


def distil(
    vectors: Floats,
    weights: Floats,
    sets: Mapping[str, TrainingSet],
    recipe: StaticDistillation,
    *,
    repeats: float,
    progress: bool = True,
) -> tuple[Floats, Floats]:
    """Train token vectors and weights on labelled sets.

    Args:
        vectors: Where they start, (tokens, d), not weighted.
        weights: The tokens' inverse document frequencies, (tokens,).
        sets: The training sets by name. A set is drawn in proportion to the root of its size, at most 4,000.
        recipe: The numbers.
        repeats: A token that occurs c times in a text counts ``c ** repeats`` times.
        progress: Show a bar on stderr.

    Returns:
        Vectors and weights, trained; one thread and one seed give the same bits again on the same machine.

    Raises:
        TrainingError: The loss is not a finite number.
    """
    import torch
    from rich.console import Console
    from rich.progress import track
    from torch.nn import functional

    from ruie_training.errors import TrainingError
    from ruie_training.models.losses import group_divergence

    table, change = vectors.copy(), np.zeros(len(weights), np.float32)  # change: of the logarithm of each weight
    table_steps, change_steps = _LazyAdam(table), _LazyAdam(change)
    batches = _batches(sets, _mine(sets, weights, recipe), recipe)
    steps = track(range(recipe.steps), "distilling", console=Console(stderr=True), disable=not progress)
    for step, (queries, passages, teacher) in zip(steps, batches, strict=False):
        used = np.unique(np.concatenate([queries.tokens, passages.tokens]))
        weight = (weights[used] * np.exp(change[used]))[:, None]
        rows = table[used] * weight
        parts = [_counted(bags, used, repeats) for bags in (queries, passages)]
        sums = [torch.from_numpy(part @ rows).requires_grad_() for part in parts]
        asked, shown = (functional.normalize(found, dim=1) for found in sums)
        groups = shown.expand(len(asked), *shown.shape)  # every query has all passages of the batch as its group
        loss = group_divergence(asked, groups, torch.from_numpy(teacher), recipe.temperature)
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss is {loss.item()} at step {step}: lower the learning rates")
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        gradient = sum(
            part.T @ found.grad.numpy() for part, found in zip(parts, sums, strict=True) if found.grad is not None
        )
        pace = _pace(step, recipe.steps)
        table_steps.step(used, gradient * weight, pace * recipe.learning_rate)
        change_steps.step(used, (gradient * rows).sum(1), pace * recipe.weight_learning_rate)
    return table, weights * np.exp(change)


class _LazyAdam:
    """Adam that touches only the rows of a batch, as ``torch.optim.SparseAdam``; changes ``values`` in place."""

    def __init__(self, values: Floats, betas: tuple[float, float] = (0.9, 0.99)) -> None:
        self.values, self.betas, self.steps = values, betas, 0
        self.mean, self.square = np.zeros_like(values), np.zeros_like(values)

    def step(self, rows: Places, gradient: Floats, learning_rate: float) -> None:
        self.steps += 1
        first, second = self.betas
        self.mean[rows] = first * self.mean[rows] + (1 - first) * gradient
        self.square[rows] = second * self.square[rows] + (1 - second) * gradient**2
        size = np.float32(learning_rate * np.sqrt(1 - second**self.steps) / (1 - first**self.steps))
        self.values[rows] -= size * self.mean[rows] / (np.sqrt(self.square[rows]) + np.float32(1e-8))


def _counted(bags: Bags, used: Places, repeats: float) -> Any:
    """How often each used token counts in each text: scipy CSR, (texts, used)."""
    from scipy.sparse import csr_matrix

    places = np.searchsorted(used, bags.tokens)
    return csr_matrix((bags.times(repeats), places, bags.ends), (len(bags), len(used)))


def _pace(step: int, steps: int, warm_up: int = 50) -> float:
    """The share of the learning rate: up over the first steps, then down to nothing."""
    return min(1.0, (step + 1) / warm_up) * (1 - step / steps)


def _mine(sets: Mapping[str, TrainingSet], weights: Floats, recipe: StaticDistillation) -> dict[str, _Mined]:
    """For some queries of every set its nearest passages by TF-IDF, its own text left out."""
    draw = np.random.default_rng(recipe.seed)
    mined = {}
    for name, found in sets.items():
        asked = found.queries.matrix(weights, recipe.lexical_repeats)
        shown = found.passages.matrix(weights, recipe.lexical_repeats)
        chosen = draw.permutation(len(found.text))[: recipe.mined_queries]
        many = min(recipe.mined, len(found.text))
        nearest = np.zeros((len(chosen), many), np.int64)
        for first in range(0, len(chosen), 250):
            part = chosen[first : first + 250]
            scores = (asked[part] @ shown.T).toarray()
            scores[found.text[part][:, None] == found.text[None, :]] = -1
            nearest[first : first + 250] = np.argsort(-scores, axis=1, kind="stable")[:, :many]
        mined[name] = _Mined(chosen, nearest, asked, shown)
    return mined


def _batches(
    sets: Mapping[str, TrainingSet], mined: Mapping[str, _Mined], recipe: StaticDistillation
) -> Iterator[tuple[Bags, Bags, Floats]]:
    """Queries, passages and the teacher's scores (queries, passages), without end."""
    draw = np.random.default_rng(recipe.seed)
    names = list(sets)
    sizes = np.sqrt([min(len(sets[name].text), 4000) for name in names])
    while True:
        name = names[draw.choice(len(names), p=sizes / sizes.sum())]
        found, candidates = sets[name], mined[name]
        rows = draw.choice(len(candidates.queries), min(recipe.queries, len(candidates.queries)), replace=False)
        asked = candidates.queries[rows]
        places = draw.integers(0, candidates.nearest.shape[1], (len(rows), recipe.hard))
        hard = np.take_along_axis(candidates.nearest[rows], places, 1).ravel()
        shown = np.unique(np.concatenate([hard, draw.integers(0, len(found.text), recipe.drawn)]))
        shown = shown[~np.isin(found.text[shown], found.text[asked])]
        if not len(shown):
            continue
        shared = (candidates.query_matrix[asked] @ candidates.passage_matrix[shown].T).toarray()
        shared = (shared - shared.mean(1, keepdims=True)) / (shared.std(1, keepdims=True) + 1e-6)
        teacher = recipe.agreement * label_f1_matrix(found.labels[asked], found.labels[shown]) + recipe.lexical * shared
        yield found.queries.take(asked), found.passages.take(shown), teacher.astype(np.float32)
