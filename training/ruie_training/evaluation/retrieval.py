"""Evaluates retrieval: label F1@k and label recall@k of each retriever on each set, with bootstrap intervals.

With an LLM also the log-likelihood of the gold answer, given the demonstrations of each retriever.

The pool is a set's train split. The queries are drawn from its dev split if the set is held-in or extra, from its test
split if it is held-out. A query's own text never counts as a demonstration.

``ruie evaluate retrieval --data FOLDER --held-out --out FOLDER`` prints the table and writes results.json, results.md
and results.png.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruie_components.encoders import load_encoder
from ruie_components.labels import count_matrices, label_f1_at_k, label_f1_matrix, label_recall_at_k
from ruie_components.progress import track
from ruie_training.data.catalog import DataSet, Role
from ruie_training.evaluation.likelihood import likelihood_at
from ruie_training.evaluation.rankers import (
    Retriever,
    by_each_method,
    by_selection,
    in_every_table,
    rank_by_adapted,
    rank_by_bm25,
    rank_by_encoder,
)
from ruie_training.evaluation.tables import AVERAGE, Figure
from ruie_training.preferences.scorer import LikelihoodScorer

RESAMPLES = 1000


@dataclass(frozen=True)
class Measured:
    """Label F1, label recall and likelihood of each query at each k, by (method, k); each array is (queries,)."""

    label_f1: Mapping[tuple[str, int], NDArray[np.float64]]
    label_recall: Mapping[tuple[str, int], NDArray[np.float64]]
    seconds: Mapping[str, float]
    queries: int
    pool: int
    likelihood: Mapping[tuple[str, int], NDArray[np.float64]] = field(default_factory=dict)
    """In nats per token; empty without an LLM."""


def measure(
    dataset: DataSet,
    retrievers: Mapping[str, Retriever],
    ks: Sequence[int],
    *,
    queries: int | None = 500,
    seed: int = 0,
    llm: LikelihoodScorer | None = None,
    llm_queries: int | None = None,
) -> Measured:
    """Choose from a set's train split for queries of its dev split (held-in, extra) or test split (held-out).

    Args:
        dataset: The set.
        retrievers: Methods by name.
        ks: Numbers of demonstrations.
        queries: The maximum number of queries, drawn by ``seed``. None: all.
        seed: Of the draw.
        llm: Scores the gold answers.
        llm_queries: The maximum number of queries that it scores. None: all.
    """
    split = "test" if dataset.role is Role.HELD_OUT else "dev"
    examples = dataset.examples(split, limit=queries, seed=seed)
    pool = dataset.examples("train")
    query_labels, pool_labels = count_matrices(examples, pool)
    pair_f1 = label_f1_matrix(query_labels, pool_labels)  # (queries, pool)
    label_f1, label_recall, seconds, chosen = {}, {}, {}, {}
    for name, retrieve in retrievers.items():
        start = time.perf_counter()
        retrieved = retrieve(examples, pool, ks)
        seconds[name] = time.perf_counter() - start
        for k, rows in retrieved.items():
            chosen[name, k] = rows
            label_f1[name, k] = label_f1_at_k(pair_f1, rows, k)
            label_recall[name, k] = label_recall_at_k(query_labels, pool_labels, rows, k)
    likelihood = likelihood_at(llm, examples, pool, chosen, limit=llm_queries, seed=seed) if llm else {}
    return Measured(label_f1, label_recall, seconds, len(examples), len(pool), likelihood)


def resampled_means(values: NDArray[np.float64], seed: int = 0, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Means of bootstrap draws, (resamples,); NaN values count as absent."""
    known = values[~np.isnan(values)]
    if not len(known):
        return np.full(resamples, np.nan)
    draws = np.random.default_rng(seed).integers(0, len(known), (resamples, len(known)))
    return np.asarray(known[draws].mean(1))


def interval(means: NDArray[np.float64]) -> tuple[float, float]:
    """The middle 95% of resampled means."""
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


@dataclass(frozen=True)
class _Mean:
    """A mean and its resampled means; all NaN without values."""

    value: float
    draws: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[np.float64], seed: int) -> _Mean:
        """Of queries; NaN values count as absent. The same seed draws the same queries for every method of a set."""
        known = values[~np.isnan(values)]
        return cls(float(known.mean()) if len(known) else math.nan, resampled_means(values, seed))

    @classmethod
    def over(cls, means: Sequence[_Mean]) -> _Mean:
        """Of sets, each with the same weight; sets without a mean are left out."""
        known = [mean for mean in means if not math.isnan(mean.value)]
        if not known:
            return cls(math.nan, np.full(RESAMPLES, np.nan))
        return cls(float(np.mean([mean.value for mean in known])), np.mean([mean.draws for mean in known], 0))

    @property
    def interval(self) -> tuple[float, float]:
        return interval(self.draws)


def summarise(measured: Mapping[str, Measured]) -> list[Figure]:
    """Figures of every set, method and k, and the average over the sets, each set with the same weight."""
    figures = []
    for key in next(iter(measured.values())).label_f1:
        rows = [_row(each, key, number) for number, each in enumerate(measured.values())]
        figures += [_figure(name, key, [row]) for name, row in zip(measured, rows, strict=True)]
        figures.append(_figure(AVERAGE, key, rows))
    return figures


@dataclass(frozen=True)
class _Row:
    """The figures of a set for one method and k."""

    label_f1: _Mean
    label_recall: _Mean
    likelihood: _Mean
    scored: int
    """The number of queries that the LLM has scored."""
    measured: Measured


def _row(measured: Measured, key: tuple[str, int], seed: int) -> _Row:
    likelihood = measured.likelihood.get(key, np.full(measured.queries, np.nan))
    return _Row(
        _Mean.of(100 * measured.label_f1[key], seed),
        _Mean.of(100 * measured.label_recall[key], seed),
        _Mean.of(likelihood, seed),
        int((~np.isnan(likelihood)).sum()),
        measured,
    )


def _figure(name: str, key: tuple[str, int], rows: Sequence[_Row]) -> Figure:
    method, k = key
    label_f1 = _Mean.over([row.label_f1 for row in rows])
    label_recall = _Mean.over([row.label_recall for row in rows])
    likelihood = _Mean.over([row.likelihood for row in rows])
    scored = sum(row.scored for row in rows)
    return Figure(
        name,
        method,
        k,
        label_f1.value,
        label_f1.interval,
        label_recall.value,
        label_recall.interval,
        sum(row.measured.queries for row in rows),
        sum(row.measured.pool for row in rows),
        sum(row.measured.seconds[method] for row in rows),
        likelihood.value if scored else None,
        likelihood.interval if scored else None,
        scored,
    )


def evaluate(
    sets: Iterable[DataSet],
    retrievers: Mapping[str, Retriever],
    ks: Sequence[int] = (8,),
    *,
    queries: int | None = 500,
    seed: int = 0,
    llm: LikelihoodScorer | None = None,
    llm_queries: int | None = None,
    progress: bool = True,
) -> list[Figure]:
    """Measure every retriever on every set.

    Args:
        sets: The sets.
        retrievers: Methods by name, in the order of the table's columns.
        ks: Numbers of demonstrations.
        queries: The maximum number of queries of each set. None: all.
        seed: Of the draw of queries.
        llm: Scores the gold answers; by default their likelihood is not measured.
        llm_queries: The maximum number of queries of a set that it scores. None: all.
        progress: Show a bar on stderr.
    """
    measured = {}
    sets = list(sets)
    with track("evaluating", total=len(sets), enabled=progress) as advance:
        for dataset in sets:
            measured[dataset.name] = measure(
                dataset, retrievers, ks, queries=queries, seed=seed, llm=llm, llm_queries=llm_queries
            )
            advance(1)
    return summarise(measured)


def default_retrievers(
    encoders: Iterable[Any] = (None,), *, adapt: bool = False, every_method: bool = False
) -> dict[str, Retriever]:
    """Random, BM25, every encoder by similarity (the package's default), the oracle.

    Args:
        encoders: As for ``load_encoder``; None is the embedded encoder.
        adapt: Whether to add every encoder adapted to a set's pool.
        every_method: Whether to add BM25 and every encoder by label voting.
    """
    retrievers: dict[str, Retriever] = {}
    if every_method:
        retrievers["BM25, label-vote"] = by_selection("label-vote", rank_by_bm25)
    for source in encoders:
        encoder = load_encoder(source)
        name = (
            encoder.name if encoder.name not in retrievers else str(source)
        )  # a trained encoder and its start may share a name
        ranks = {name: rank_by_encoder(encoder)}
        if adapt:
            ranks[f"{name}, adapted"] = rank_by_adapted(encoder)
        for each, rank in ranks.items():
            retrievers |= by_each_method(each, rank) if every_method else {each: by_selection("similarity", rank)}
    return in_every_table(retrievers)
