"""Suggests texts to annotate next: unlike the pool, with doubtful labels, and different from each other."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ruie_components.labels import label_f1
from ruie_components.progress import track
from ruie_components.retrieval import DemonstrationRetriever, QueryInput
from ruie_components.store import DemonstrationStore
from ruie_components.tokenization import text_hash
from ruie_components.types import Query, Task

NEIGHBOURS = 8
_BATCH = 256


@dataclass(frozen=True)
class Suggestion:
    """A text to annotate.

    Attributes:
        query: The text, with its id and metadata.
        novelty: 1 minus the cosine to the most similar example of the pool.
        doubt: 1 minus the mean label F1 between pairs of the eight most similar examples: 0 if all have the same
            labels.
    """

    query: Query
    novelty: float
    doubt: float


@dataclass(frozen=True)
class Suggestions:
    """Texts to annotate next, best first, and as many random texts for comparison."""

    chosen: list[Suggestion]
    random: list[Suggestion]


def suggest(
    store: DemonstrationStore,
    inputs: Iterable[QueryInput],
    n: int = 50,
    *,
    task: Task | str | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Suggestions:
    """Choose the texts that should help a pool most once they are annotated.

    A text scores by its rank in novelty and in doubt; the next choice is the one with the largest mean of that score
    and of the distance to the nearest chosen text (as in MMR). Texts of the pool and repeats are left out. Whether this
    beats random texts depends on the data; ``benchmarks/suggest.py`` measures it.

    Args:
        store: The pool.
        inputs: Texts, mappings with ``text``, or queries; one task. Their vectors are in memory together.
        n: How many.
        task: The task, if the pool has several.
        seed: Of the random texts.
        progress: Show a progress bar if it takes longer than a second.

    Raises:
        ValueError: ``n`` is not positive, or an input has no text or no task.
        StoreError: The pool has no example of the task, or can't be read.
    """
    if n < 1:
        raise ValueError(f"n must be >= 1, got {n}")
    retriever = DemonstrationRetriever(store, task=task)
    queries = _unlabelled(store, [retriever.query(each) for each in inputs])
    if not queries:
        return Suggestions([], [])
    rated: list[Suggestion] = []
    parts: list[NDArray[np.float32]] = []
    with track("suggest", total=len(queries), enabled=progress) as advance:
        for start in range(0, len(queries), _BATCH):
            batch = queries[start : start + _BATCH]
            parts.append(store.encoder.encode_queries(batch))
            for query, hits in zip(batch, store.nearest(batch, NEIGHBOURS), strict=True):
                labels = [Counter(hit.labels) for hit in hits]
                rated.append(Suggestion(query, 1 - max((hit.score for hit in hits), default=0.0), _doubt(labels)))
            advance(len(batch))
    order = _greedy(_ranks(rated), np.concatenate(parts), min(n, len(rated)))
    drawn = random.Random(seed).sample(rated, min(n, len(rated)))  # noqa: S311  no secret
    return Suggestions([rated[i] for i in order], drawn)


def _unlabelled(store: DemonstrationStore, queries: Sequence[Query]) -> list[Query]:
    tasks = {query.task for query in queries}
    if len(tasks) > 1:
        raise ValueError(f"the texts are of several tasks ({', '.join(sorted(tasks))}): suggest for one at a time")
    known = {text_hash(example.text) for task in tasks for example in store.examples(task)}
    unique = {text_hash(query.text): query for query in reversed(queries)}
    return [query for key, query in reversed(unique.items()) if key not in known]


def _doubt(labels: Sequence[Counter[str]]) -> float:
    pairs = [label_f1(one, other) for one, other in combinations(labels, 2)]
    return 1 - sum(pairs) / len(pairs) if pairs else 1.0


def _ranks(rated: Sequence[Suggestion]) -> NDArray[np.float64]:
    """The mean of both ranks, 0 to 1, ``(n,)``; equal values share a rank."""
    columns = np.array([[each.novelty, each.doubt] for each in rated])  # (n, 2)
    ranks = [np.searchsorted(np.sort(column), column, side="left") for column in columns.T]
    return np.asarray(np.mean(ranks, axis=0) / max(len(rated) - 1, 1), dtype=np.float64)


def _greedy(scores: NDArray[np.float64], vectors: NDArray[np.float32], n: int) -> list[int]:
    """Choose ``n`` texts by scores ``(m,)`` and unit vectors ``(m, d)``; returns their indices."""
    chosen: list[int] = []
    distance = np.ones(len(scores))  # to the nearest chosen text
    for _ in range(n):
        gain = scores + distance
        gain[chosen] = -np.inf
        best = int(np.argmax(gain))
        chosen.append(best)
        distance = np.minimum(distance, 1 - vectors @ vectors[best])
    return chosen
