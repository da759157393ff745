"""Which examples show the query's own task: the same event type (EAE), or a schema with one of the query's labels."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from ruie_components.selection.candidates import Candidate, CandidateSource, CandidateT, above, merge
from ruie_components.types import Query, Task


class Distance(IntEnum):
    """How far an example's task is from the query's; sorts the nearest first."""

    OWN = 0
    """For EAE its event is of the query's type; else its schema has a label of the query."""
    OTHER_EVENT = 1
    """Its event is of another type; some of its roles are the query's (EAE)."""
    OTHER_SCHEMA = 2
    """Its schema has no label of the query."""


def distances(candidates: Sequence[Candidate], query: Query) -> list[Distance]:
    """How far each candidate's task is from the query's."""
    labels, event_type = set(query.labels), query.event.type if query.event else None

    def distance(candidate: Candidate) -> Distance:
        if event_type is not None and candidate.event == event_type:
            return Distance.OWN
        if labels.isdisjoint(candidate.schema):
            return Distance.OTHER_SCHEMA
        return Distance.OWN if event_type is None else Distance.OTHER_EVENT

    return [distance(candidate) for candidate in candidates]


def similar(
    source: CandidateSource[CandidateT],
    indices: Sequence[int],
    k: int,
    counts: Sequence[int],
    *,
    score_threshold: float | None = None,
    vectors: bool = False,
) -> dict[int, list[CandidateT]]:
    """The most similar examples for some queries, with more where fewer than ``k`` of them show the query's own task.

    These are searched in the whole pool: by the type of the query's event, or else by annotations with its labels. If
    the pool is known to have fewer than ``k`` of them, only the largest number is searched.

    Args:
        source: The queries and the pool.
        indices: Which of the source's queries.
        k: How many examples should show the query's own task.
        counts: How many of the most similar examples to take: each number where the one before brings too few.
        score_threshold: Examples with a lower score are left out.
        vectors: Whether the candidates need vectors.

    Returns:
        By the query's index, best first, whatever their task.
    """
    hits: dict[int, list[CandidateT]] = {i: [] for i in indices}

    def search(wanted: Sequence[int], count: int) -> list[int]:
        """Take the nearest of some queries; returns those for which they are too few of the own task."""
        found = above(source.nearest(wanted, count, vectors=vectors, at_most=counts[-1]), score_threshold)
        hits.update(zip(wanted, found, strict=True))
        return [i for i in wanted if len(hits[i]) == count and _count_own(hits[i], source.queries[i]) < k]

    few = {i for i in indices if source.has_few(i, k)}
    wanted = [i for i in indices if i not in few]
    for count in counts[:-1]:
        wanted = search(wanted, count)
    wanted = search([*wanted, *sorted(few)], counts[-1])
    queries: dict[tuple[Task, str | tuple[str, ...]], list[int]] = {}  # that one search serves
    for i in wanted:
        query = source.queries[i]
        queries.setdefault((query.task, query.event.type if query.event else query.labels), []).append(i)
    for (_, shared), of_search in queries.items():
        event_type, labels = (shared, None) if isinstance(shared, str) else (None, shared)
        more = source.nearest(of_search, k, event_type=event_type, labels=labels, vectors=vectors)
        for i, own in zip(of_search, above(more, score_threshold), strict=True):
            hits[i] = merge(hits[i], own)
    return hits


def _count_own(candidates: Sequence[Candidate], query: Query) -> int:
    return distances(candidates, query).count(Distance.OWN)
