"""Where label voting takes its candidates from: a store, or a matrix of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ruie_components.selection.token_weights import SAMPLE, weigh_tokens
from ruie_components.store import DemonstrationStore, Hit, records
from ruie_components.tokenization import text_hash
from ruie_components.types import Example, Query, Task


class Candidate(Protocol):
    """A similar example, as label voting reads it."""

    @property
    def id(self) -> str | int:
        """Breaks ties between equal scores. All candidates of a source have ids of one type."""

    @property
    def text(self) -> str:
        """Its text."""

    @property
    def score(self) -> float:
        """Its similarity to the query."""

    @property
    def labels(self) -> Sequence[str]:
        """The labels of its annotations, one for each annotation."""

    @property
    def event(self) -> str | None:
        """The type of its event, for EAE."""


CandidateT = TypeVar("CandidateT", bound=Candidate)


class CandidateSource(Protocol[CandidateT]):
    """Queries and the examples that are similar to them."""

    @property
    def queries(self) -> Sequence[Query]:
        """The queries."""

    def nearest(self, indices: Sequence[int], k: int, event_type: str | None = None) -> list[list[CandidateT]]:
        """The ``k`` most similar examples for each of some queries, without those of the query's own text.

        Args:
            indices: Which of ``queries``.
            k: How many examples for each query.
            event_type: Only examples of this event type (EAE).

        Returns:
            Candidates sorted by ``rank``, one list for each index.
        """

    def token_weights(self, task: Task) -> Mapping[str, float]:
        """The weights from ``weigh_tokens`` for the examples of a task."""


def rank(candidate: Candidate) -> tuple[float, str | int]:
    """The sort key for best first; the id breaks ties."""
    return -candidate.score, candidate.id


@dataclass(frozen=True)
class StoreSource:
    """The rows of a store as candidates.

    Args:
        store: The store.
        queries: The queries.
        score_threshold: Rows with a lower score are left out.
    """

    store: DemonstrationStore
    queries: Sequence[Query]
    score_threshold: float | None = None

    def nearest(self, indices: Sequence[int], k: int, event_type: str | None = None) -> list[list[Hit]]:
        """The ``k`` most similar rows for each of some queries; see ``CandidateSource``."""
        where = records.event_filter(event_type) if event_type is not None else None
        return above(self.store.nearest([self.queries[i] for i in indices], k, where=where), self.score_threshold)

    def token_weights(self, task: Task) -> Mapping[str, float]:
        """The weights of the tokens of a task's rows; counted once and kept with the store."""
        store = self.store
        return store.remember(f"token weights {task}", task, lambda: weigh_tokens(store.sample(task, SAMPLE)))


def above(hits: list[list[Hit]], score_threshold: float | None) -> list[list[Hit]]:
    """The hits of each query without those that score lower than the threshold."""
    if score_threshold is None:
        return hits
    return [[hit for hit in of_query if hit.score >= score_threshold] for of_query in hits]


class MatrixCandidate(NamedTuple):
    """An example of a ``MatrixSource``; ``id`` is its column in the matrix."""

    id: int
    score: float
    example: Example

    @property
    def text(self) -> str:
        """Its text."""
        return self.example.text

    @property
    def labels(self) -> Sequence[str]:
        """The labels of its annotations, one for each annotation."""
        return self.example.annotation_labels

    @property
    def event(self) -> str | None:
        """The type of its event, for EAE."""
        return _event_type(self.example)


@dataclass(frozen=True)
class MatrixSource:
    """Examples as candidates by a matrix of scores, so that evaluation runs the voting that ships.

    Args:
        scores: Similarity of each query to each example, (queries, examples).
        queries: The queries.
        examples: The examples, of one task.
    """

    scores: NDArray[np.floating]
    queries: Sequence[Query]
    examples: Sequence[Example]

    def nearest(self, indices: Sequence[int], k: int, event_type: str | None = None) -> list[list[MatrixCandidate]]:
        """The ``k`` most similar examples for each of some queries; see ``CandidateSource``."""
        allowed = np.ones(len(self.examples), bool) if event_type is None else self._event_types == event_type
        return [self._nearest(i, k, allowed) for i in indices]

    def token_weights(self, task: Task) -> Mapping[str, float]:  # noqa: ARG002 - the examples are of one task
        """The weights of the tokens of a sample of the examples."""
        return self._token_weights

    def _nearest(self, i: int, k: int, allowed: NDArray[np.bool_]) -> list[MatrixCandidate]:
        scores = self.scores[i]
        columns = np.flatnonzero(allowed & (self._hashes != text_hash(self.queries[i].text)) & np.isfinite(scores))
        if k < len(columns):  # keep ties with the last of the k best, so that the order of the examples decides
            lowest = np.partition(scores[columns], len(columns) - k)[len(columns) - k]
            columns = columns[scores[columns] >= lowest]
        best = columns[np.argsort(-scores[columns], kind="stable")][:k].tolist()
        return [MatrixCandidate(column, float(scores[column]), self.examples[column]) for column in best]

    @cached_property
    def _hashes(self) -> NDArray[np.str_]:
        return np.array([text_hash(example.text) for example in self.examples], str)

    @cached_property
    def _event_types(self) -> NDArray[np.object_]:
        return np.array([_event_type(example) for example in self.examples], object)

    @cached_property
    def _token_weights(self) -> dict[str, float]:
        return weigh_tokens(self.examples[:: max(1, len(self.examples) // SAMPLE)][:SAMPLE])


def _event_type(example: Example) -> str | None:
    event = example.query.event
    return event.type if event else None
