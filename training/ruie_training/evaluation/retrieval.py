"""Evaluates retrieval: agreement@k and coverage@k of each retriever on each set, with bootstrap intervals.

With an LLM also the log-likelihood of the gold answer, given the demonstrations of each retriever.

The pool is a set's train split. The queries are drawn from its dev split where the set is held in or extra, from its
test split where it is held out. A query's own text never counts as a demonstration.

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
from ruie_training.data.catalog import DataSet, Role
from ruie_training.evaluation.likelihood import likelihood_at
from ruie_training.evaluation.rankers import (
    Retriever,
    by_each_method,
    by_selection,
    in_every_table,
    rank_by_adapted,
    rank_by_bm25,
)
from ruie_training.evaluation.tables import AVERAGE, Figure
from ruie_training.mining.rank_lists import rank_by_encoder
from ruie_training.preferences.scorer import LikelihoodScorer

RESAMPLES = 1000


@dataclass(frozen=True)
class Measured:
    """Agreement, coverage and likelihood of each query at each k, by (method, k)."""

    agreement: Mapping[tuple[str, int], NDArray[np.float64]]
    coverage: Mapping[tuple[str, int], NDArray[np.float64]]
    seconds: Mapping[str, float]
    queries: int
    pool: int
    likelihood: Mapping[tuple[str, int], NDArray[np.float64]] = field(default_factory=dict)
    """Empty where no LLM was asked."""


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
        ks: How many demonstrations count.
        queries: The most queries, drawn by ``seed``. None: all.
        seed: Of the draw.
        llm: Says how likely the gold answers are.
        llm_queries: Of the queries, it is asked about at most so many. None: all.
    """
    split = "test" if dataset.role is Role.HELD_OUT else "dev"
    asked = dataset.examples(split, limit=queries, seed=seed)
    pool = dataset.examples("train")
    asked_labels, pool_labels = count_matrices(asked, pool)
    overlap = label_f1_matrix(asked_labels, pool_labels)
    agreement, coverage, seconds, chosen = {}, {}, {}, {}
    for name, retrieve in retrievers.items():
        start = time.perf_counter()
        found = retrieve(asked, pool, ks)
        seconds[name] = time.perf_counter() - start
        for k, rows in found.items():
            chosen[name, k] = rows
            agreement[name, k] = label_f1_at_k(overlap, rows, k)
            coverage[name, k] = label_recall_at_k(asked_labels, pool_labels, rows, k)
    likelihood = likelihood_at(llm, asked, pool, chosen, limit=llm_queries, seed=seed) if llm else {}
    return Measured(agreement, coverage, seconds, len(asked), len(pool), likelihood)


def resampled_means(values: NDArray[np.float64], seed: int = 0, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Means of so many draws with replacement, (resamples,); NaN values count as absent."""
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
    """A mean and its resampled means; all NaN where nothing is known."""

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
    for key in next(iter(measured.values())).agreement:
        rows = [_row(found, key, number) for number, found in enumerate(measured.values())]
        figures += [_figure(name, key, [row]) for name, row in zip(measured, rows, strict=True)]
        figures.append(_figure(AVERAGE, key, rows))
    return figures


@dataclass(frozen=True)
class _Row:
    """What a set says of one method and k."""

    agreement: _Mean
    coverage: _Mean
    likelihood: _Mean
    asked: int
    found: Measured


def _row(found: Measured, key: tuple[str, int], seed: int) -> _Row:
    likelihood = found.likelihood.get(key, np.full(found.queries, np.nan))
    return _Row(
        _Mean.of(100 * found.agreement[key], seed),
        _Mean.of(100 * found.coverage[key], seed),
        _Mean.of(likelihood, seed),
        int((~np.isnan(likelihood)).sum()),
        found,
    )


def _figure(name: str, key: tuple[str, int], rows: Sequence[_Row]) -> Figure:
    method, k = key
    agreement = _Mean.over([row.agreement for row in rows])
    coverage = _Mean.over([row.coverage for row in rows])
    likelihood = _Mean.over([row.likelihood for row in rows])
    asked = sum(row.asked for row in rows)
    return Figure(
        name,
        method,
        k,
        agreement.value,
        agreement.interval,
        coverage.value,
        coverage.interval,
        sum(row.found.queries for row in rows),
        sum(row.found.pool for row in rows),
        sum(row.found.seconds[method] for row in rows),
        likelihood.value if asked else None,
        likelihood.interval if asked else None,
        asked,
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
        ks: How many demonstrations count.
        queries: The most queries of each set. None: all.
        seed: Of the draw of queries.
        llm: Says how likely the gold answers are; without it that is not measured.
        llm_queries: Of the queries of a set, it is asked about at most so many. None: all.
        progress: Show a bar on stderr.
    """
    from rich.console import Console
    from rich.progress import track

    measured = {}
    sets = list(sets)
    for dataset in track(sets, "evaluating", console=Console(stderr=True), disable=not progress):
        measured[dataset.name] = measure(
            dataset, retrievers, ks, queries=queries, seed=seed, llm=llm, llm_queries=llm_queries
        )
    return summarise(measured)


def default_retrievers(
    encoders: Iterable[Any] = (None,), *, adapt: bool = False, every_method: bool = False
) -> dict[str, Retriever]:
    """Random, BM25's best, every encoder by label vote (the package's default), the oracle.

    Args:
        encoders: What ``load_encoder`` takes; None is the embedded encoder.
        adapt: Whether there is also every encoder adapted to a set's pool.
        every_method: Whether there are also BM25 by label vote, and the nearest by every encoder.
    """
    found: dict[str, Retriever] = {}
    if every_method:
        found["BM25, label-vote"] = by_selection("label-vote", rank_by_bm25)
    for source in encoders:
        encoder = load_encoder(source)
        name = encoder.name if encoder.name not in found else str(source)  # a trained one and its start may share it
        ranks = {name: rank_by_encoder(encoder)}
        if adapt:
            ranks[f"{name}, adapted"] = rank_by_adapted(encoder)
        for each, rank in ranks.items():
            found |= by_each_method(each, rank) if every_method else {each: by_selection("label-vote", rank)}
    return in_every_table(found)
