"""Distils label F1 into static token vectors: the paper's divergence, with two simple teachers.

A batch has queries and passages of one training set: some passages share rare words with a query, and some are random.
The teacher's score of a pair is the F1 of its gold labels, which rewards passages with the same annotations, plus the
pair's exact TF-IDF cosine, which distinguishes words. It needs only numpy and scipy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from ruie_components.adaptation.adam import LazyAdam
from ruie_components.adaptation.token_bags import select_tokens
from ruie_components.adaptation.training import divergence
from ruie_components.labels import Counts, label_f1_matrix
from ruie_components.progress import track
from ruie_training.errors import TrainingError

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]

_WARM_UP = 50  # steps
_MINED_AT_ONCE = 250  # queries


@dataclass(frozen=True, kw_only=True)
class StaticDistillation:
    """The numbers of a distillation."""

    steps: int = 500
    queries: int = 48
    """Per batch."""
    hard: int = 4
    """Passages per query, drawn from the nearest ``mined`` by TF-IDF."""
    mined: int = 32
    drawn: int = 128
    """Random passages per batch."""
    mined_queries: int = 1500
    """The maximum number of training queries of a set."""
    learning_rate: float = 7e-4
    weight_learning_rate: float = 2e-3
    """The learning rate of the logarithms of the token weights."""
    temperature: float = 0.05
    label_f1: float = 8.0
    """The factor of label F1 in the teacher's score."""
    lexical: float = 2.0
    """The factor of the TF-IDF cosine, standardized over the batch, in the teacher's score."""
    lexical_exponent: float = 0.5
    """The exponent of counts in the TF-IDF cosine."""
    seed: int = 0


@dataclass(frozen=True)
class TrainingSet:
    """A set of examples for the distillation; row i of each part is example i."""

    queries: Any
    """Token bags of raw counts, CSR (examples, tokens)."""
    passages: Any
    """Token bags of raw counts, CSR (examples, tokens)."""
    labels: Counts
    """From ``ruie_components.labels.count_matrices``, (examples, labels)."""
    text: Rows
    """(examples,); examples with the same number have the same text and are never paired."""

    def __len__(self) -> int:
        return len(self.text)


@dataclass(frozen=True)
class _Mined:
    queries: Rows
    """(queries,): rows of the set."""
    nearest: Rows
    """(queries, mined): rows of the set."""
    query_tfidf: Any
    """CSR (examples, tokens), as ``passage_tfidf``."""
    passage_tfidf: Any


def distil(
    vectors: Vectors,
    weights: Vectors,
    sets: Mapping[str, TrainingSet],
    recipe: StaticDistillation,
    *,
    count_exponent: float,
    progress: bool = True,
) -> tuple[Vectors, Vectors]:
    """Train token vectors and weights on labelled sets.

    Args:
        vectors: The initial vectors, (tokens, d), not weighted.
        weights: The tokens' inverse document frequencies, (tokens,).
        sets: The training sets by name. A set is drawn in proportion to the square root of its size, at most 4,000.
        recipe: The numbers.
        count_exponent: A token that occurs c times in a text counts ``c ** count_exponent`` times.
        progress: Show a bar on stderr.

    Returns:
        The trained vectors and weights; with one thread they are reproducible by seed on the same machine.

    Raises:
        TrainingError: The loss is not a finite number.
    """
    table, logarithms = vectors.copy(), np.zeros((len(weights), 1), np.float32)  # of the factor of each weight
    pace = _pace(recipe.steps)
    table_adam = LazyAdam(table, pace * recipe.learning_rate)
    weight_adam = LazyAdam(logarithms, pace * recipe.weight_learning_rate)
    batches = _batches(sets, _mine(sets, weights, recipe), recipe)
    with track("distilling", total=recipe.steps, enabled=progress) as advance:
        for step, (*bags, teacher) in zip(range(recipe.steps), batches, strict=False):
            used = np.unique(np.concatenate([part.indices for part in bags])).astype(np.int64)
            queries, passages = (select_tokens(part.power(count_exponent), used) for part in bags)
            current, logarithm = table_adam.rows(used, step), weight_adam.rows(used, step)
            weight = weights[used][:, None] * np.exp(logarithm)  # (used, 1)
            weighted = current * weight
            loss, gradient = divergence(queries, passages, weighted, teacher, recipe.temperature)
            if not np.isfinite(loss):
                raise TrainingError(f"the loss is {loss} at step {step}: lower the learning rates")
            weight_adam.step(used, logarithm, (gradient * weighted).sum(1, keepdims=True), step)
            table_adam.step(used, current, gradient * weight, step)
            advance(1)
    table_adam.finish()
    weight_adam.finish()
    return table, weights * np.exp(logarithms[:, 0])


def _pace(steps: int) -> NDArray[np.float64]:
    """The factor of each step's learning rate, rising over the first steps, then falling to 0; (steps,)."""
    step = np.arange(steps)
    return np.minimum(1.0, (step + 1) / _WARM_UP) * (1 - step / steps)


def _mine(sets: Mapping[str, TrainingSet], weights: Vectors, recipe: StaticDistillation) -> dict[str, _Mined]:
    """The nearest passages by TF-IDF for some queries of every set, without those of the query's text."""
    draw = np.random.default_rng(recipe.seed)
    mined = {}
    for name, dataset in sets.items():
        queries = weigh_bags(dataset.queries, weights, recipe.lexical_exponent)
        passages = weigh_bags(dataset.passages, weights, recipe.lexical_exponent)
        chosen = draw.permutation(len(dataset))[: recipe.mined_queries]
        nearest = np.zeros((len(chosen), min(recipe.mined, len(dataset))), np.int64)
        for start in range(0, len(chosen), _MINED_AT_ONCE):
            batch = chosen[start : start + _MINED_AT_ONCE]
            scores = (queries[batch] @ passages.T).toarray()
            scores[dataset.text[batch][:, None] == dataset.text[None, :]] = -1
            best = np.argsort(-scores, axis=1, kind="stable")[:, : nearest.shape[1]]
            nearest[start : start + _MINED_AT_ONCE] = best
        mined[name] = _Mined(chosen, nearest, queries, passages)
    return mined


def weigh_bags(bags: Any, weights: Vectors, exponent: float = 1.0) -> Any:
    """Token bags with weighted tokens and rows of unit length: TF-IDF where the weights are IDF.

    Args:
        bags: Token bags, CSR (texts, tokens).
        weights: (tokens,).
        exponent: The exponent of the counts.

    Returns:
        A scipy CSR matrix, float32 (texts, tokens); a row without a weighted token stays zero.
    """
    values = bags.data ** np.float32(exponent) * weights[bags.indices]
    weighted = csr_matrix((values, bags.indices, bags.indptr), bags.shape)
    lengths = np.sqrt(np.asarray(weighted.multiply(weighted).sum(1)).ravel())
    inverse = np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    weighted.data *= np.repeat(inverse, np.diff(weighted.indptr)).astype(np.float32)
    return weighted


def _batches(
    sets: Mapping[str, TrainingSet], mined: Mapping[str, _Mined], recipe: StaticDistillation
) -> Iterator[tuple[Any, Any, Vectors]]:
    """An endless stream of token bags of queries and passages with the teacher's scores, (queries, passages)."""
    draw = np.random.default_rng(recipe.seed)
    names = list(sets)
    sizes = np.sqrt([min(len(dataset), 4000) for dataset in sets.values()])
    while True:
        name = names[draw.choice(len(names), p=sizes / sizes.sum())]
        dataset, candidates = sets[name], mined[name]
        rows = draw.choice(len(candidates.queries), min(recipe.queries, len(candidates.queries)), replace=False)
        queries = candidates.queries[rows]
        columns = draw.integers(0, candidates.nearest.shape[1], (len(rows), recipe.hard))
        hard = np.take_along_axis(candidates.nearest[rows], columns, 1).ravel()
        passages = np.unique(np.concatenate([hard, draw.integers(0, len(dataset), recipe.drawn)]))
        passages = passages[~np.isin(dataset.text[passages], dataset.text[queries])]
        if not len(passages):
            continue
        lexical = (candidates.query_tfidf[queries] @ candidates.passage_tfidf[passages].T).toarray()
        lexical = (lexical - lexical.mean(1, keepdims=True)) / (lexical.std(1, keepdims=True) + 1e-6)
        label_f1 = label_f1_matrix(dataset.labels[queries], dataset.labels[passages])
        teacher = recipe.label_f1 * label_f1 + recipe.lexical * lexical
        yield dataset.queries[queries], dataset.passages[passages], teacher.astype(np.float32)
