"""Which examples show the query's own task: the same event type (EAE), or a schema with one of the query's labels."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from ruie_components.selection.candidates import Candidate, CandidateSource, CandidateT, above, merge
from ruie_components.types import Query, Task


class Distance(IntEnum):
    """How far an example's task is from the query's; sorts the nearest first."""

    OWN = 0
    """It has a label of the query in its schema and, for EAE, the query's event type."""
    OTHER_EVENT = 1
    """Its event is of another type, with other roles (EAE)."""
    OTHER_SCHEMA = 2
    """Its schema has no label of the query."""


def distances(candidates: Sequence[Candidate], query: Query) -> list[Distance]:
    """How far each candidate's task is from the query's."""
    labels, event_type = set(query.labels), query.event.type if query.event else None
    return [
        Distance.OTHER_SCHEMA
        if labels.isdisjoint(candidate.schema)
        else Distance.OTHER_EVENT
        if event_type is not None and candidate.event != event_type
        else Distance.OWN
        for candidate in candidates
    ]


def own(candidates: Sequence[Candidate], query: Query) -> int:
    """How many candidates show the query's own task."""
    return distances(candidates, query).count(Distance.OWN)


def add_own(
    source: CandidateSource[CandidateT],
    candidates: dict[int, list[CandidateT]],
    indices: Sequence[int],
    k: int,
    *,
    score_threshold: float | None = None,
    vectors: bool = False,
) -> None:
    """Add the ``k`` most similar examples of the query's own task in the whole pool to the candidates of some queries.

    Args:
        source: The queries and the pool.
        candidates: By the query's index, best first.
        indices: The queries.
        k: How many are added at most.
        score_threshold: Examples with a lower score are not added.
        vectors: Whether the candidates need vectors.
    """
    queries: dict[tuple[Task, str | tuple[str, ...]], list[int]] = {}  # that one search serves
    for i in indices:
        query = source.queries[i]
        queries.setdefault((query.task, query.event.type if query.event else query.labels), []).append(i)
    for (_, shared), of_search in queries.items():
        event_type, labels = (shared, None) if isinstance(shared, str) else (None, shared)
        found = source.nearest(of_search, k, event_type=event_type, labels=labels, vectors=vectors)
        for i, more in zip(of_search, above(found, score_threshold), strict=True):
            candidates[i] = merge(candidates[i], more)


def own_first(candidates: Sequence[CandidateT], query: Query, k: int) -> list[CandidateT]:
    """The candidates of the query's own task; where there are fewer than ``k``, others follow, the nearest task first.

    Args:
        candidates: Best first; the order among equals stays.
        query: The query.
        k: How many are needed.
    """
    far = distances(candidates, query)
    ordered = [candidates[i] for i in sorted(range(len(far)), key=far.__getitem__)]
    return ordered[: max(far.count(Distance.OWN), k)]
