"""``CandidateSource``, the interface of selection to a pool, and its implementation over a matrix of scores."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ruie_components.selection.bm25 import LexicalIndex
from ruie_components.selection.token_weights import sample_slices, weigh_tokens
from ruie_components.tokenization import text_hash
from ruie_components.types import Demonstration, Example, Query, Reason, Task


class Candidate(Protocol):
    """An example that may be chosen for a query."""

    @property
    def id(self) -> str | int:
        """Breaks ties between equal scores. All candidates of a source have ids of one type."""

    @property
    def text(self) -> str:
        """Its text."""

    @property
    def score(self) -> float:
        """Its similarity to the query; its BM25 score where BM25 searched."""

    @property
    def labels(self) -> Sequence[str]:
        """The labels of its annotations, one for each annotation."""

    @property
    def schema(self) -> Sequence[str]:
        """The labels that its annotations may have."""

    @property
    def event(self) -> str | None:
        """The type of its event, for EAE."""

    @property
    def vector(self) -> NDArray[np.float32] | None:
        """Its vector, (d,), if the search was asked for vectors."""

    @property
    def example(self) -> Example:
        """The example."""


CandidateT = TypeVar("CandidateT", bound=Candidate)


class CandidateSource(Protocol[CandidateT]):
    """A pool with some queries. A candidate for a query never has the query's own text."""

    @property
    def queries(self) -> Sequence[Query]:
        """The queries; other methods take their indices."""

    def nearest(
        self,
        indices: Sequence[int],
        k: int,
        *,
        event_type: str | None = None,
        labels: Sequence[str] | None = None,
        ids: Sequence[Any] | None = None,
        vectors: bool = False,
        at_most: int = 0,
    ) -> list[list[CandidateT]]:
        """The ``k`` most similar examples for each of some queries.

        Args:
            indices: Which of ``queries``.
            k: How many examples for each query.
            event_type: Only examples of this event type (EAE).
            labels: Only examples that have an annotation with one of these labels. Not together with ``event_type``.
            ids: Only these examples.
            vectors: Whether the candidates need vectors.
            at_most: The largest ``k`` that the same queries may be asked for next; a source may rank as many at once.

        Returns:
            Candidates sorted by ``rank``, one list for each index.
        """

    def lexical(self, indices: Sequence[int], k: int) -> list[list[CandidateT]]:
        """The ``k`` best examples by BM25 for each of some queries, with BM25 scores."""

    def has_few(self, i: int, k: int) -> bool:
        """Whether it is known, without a search, that fewer than ``k`` examples are of a query's event type (EAE)."""

    def ids(self, task: Task) -> Sequence[Any]:
        """The ids of all examples of a task, in an order that depends only on the examples."""

    def token_weights(self, task: Task) -> Mapping[str, float]:
        """The weights from ``weigh_tokens`` for the examples of a task."""


class CandidatePool(Protocol):
    """Anything that makes a ``CandidateSource`` for queries, such as a ``DemonstrationStore``."""

    def candidates(self, queries: Sequence[Query]) -> CandidateSource[Any]:
        """The pool as the source of candidates for these queries."""


class Choice(NamedTuple, Generic[CandidateT]):
    """A candidate that was chosen."""

    candidate: CandidateT
    score: float
    """The score it is ordered by: its similarity, or the method's own score."""
    reason: Callable[..., Reason]


def rank(candidate: Candidate) -> tuple[float, str | int]:
    """The sort key for best first; the id breaks ties."""
    return -candidate.score, candidate.id


def merge(candidates: Sequence[CandidateT], more: Sequence[CandidateT]) -> list[CandidateT]:
    """Candidates of two searches, best first, each once."""
    return sorted({each.id: each for each in [*candidates, *more]}.values(), key=rank)


def above(candidates: list[list[CandidateT]], score_threshold: float | None) -> list[list[CandidateT]]:
    """The candidates of each query without those that score lower than the threshold."""
    if score_threshold is None:
        return candidates
    return [[each for each in of_query if each.score >= score_threshold] for of_query in candidates]


def demonstrations(chosen: Sequence[Sequence[Choice[CandidateT]]]) -> list[list[Demonstration]]:
    """The demonstrations of many queries; an example that several of them have is read once."""
    examples: dict[str | int, Example] = {}
    for choice in (choice for of_query in chosen for choice in of_query):
        if choice.candidate.id not in examples:
            examples[choice.candidate.id] = choice.candidate.example
    return [
        [  # already validated when they were read
            Demonstration.model_construct(
                example=examples[choice.candidate.id], score=choice.score, reason=choice.reason()
            )
            for choice in of_query
        ]
        for of_query in chosen
    ]


class MatrixCandidate(NamedTuple):
    """An example of a ``MatrixSource``; ``id`` is its column in the matrix, ``labels`` those of its annotations."""

    id: int
    score: float
    example: Example
    labels: tuple[str, ...]
    vector: NDArray[np.float32] | None = None

    @property
    def text(self) -> str:
        """Its text."""
        return self.example.text

    @property
    def schema(self) -> Sequence[str]:
        """The labels that its annotations may have."""
        return self.example.labels

    @property
    def event(self) -> str | None:
        """The type of its event, for EAE."""
        return _event_type(self.example)


class _Known:
    """What is computed from the examples of a ``MatrixSource``, when it is needed."""

    def __init__(self, examples: Sequence[Example]) -> None:
        self.examples = examples

    @cached_property
    def labels(self) -> list[tuple[str, ...]]:
        return [example.annotation_labels for example in self.examples]

    @cached_property
    def text_numbers(self) -> dict[str, int]:
        numbers: dict[str, int] = {}
        for example in self.examples:
            numbers.setdefault(text_hash(example.text), len(numbers))
        return numbers

    @cached_property
    def texts(self) -> NDArray[np.int64]:
        return np.array([self.text_numbers[text_hash(example.text)] for example in self.examples], np.int64)

    @cached_property
    def event_types(self) -> NDArray[np.object_]:
        return np.array([_event_type(example) for example in self.examples], object)

    @cached_property
    def event_counts(self) -> Counter[str | None]:
        return Counter(self.event_types)

    @cached_property
    def ids(self) -> list[int]:
        return sorted(range(len(self.examples)), key=lambda column: self.examples[column].content_id)

    @cached_property
    def lexical_index(self) -> LexicalIndex:
        return LexicalIndex(self.examples)

    @cached_property
    def token_weights(self) -> dict[str, float]:
        return weigh_tokens(example for part in sample_slices(len(self.examples)) for example in self.examples[part])


@dataclass(frozen=True)
class MatrixSource:
    """Examples as candidates by a matrix of scores, so that evaluation runs the same selection as retrieval.

    Args:
        scores: Similarity of each query to each example, (queries, examples); an infinite score excludes the example.
        queries: The queries.
        examples: The examples, of one task.
        vectors: The vectors of the examples, (examples, d); only MMR needs them.
    """

    scores: NDArray[np.floating]
    queries: Sequence[Query]
    examples: Sequence[Example]
    vectors: NDArray[np.float32] | None = None
    _known: _Known = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_known", _Known(self.examples))

    def with_scores(self, scores: NDArray[np.floating]) -> MatrixSource:
        """The same queries and examples with other scores and no vectors; what was computed from the rest is kept."""
        other = replace(self, scores=scores, vectors=None)
        object.__setattr__(other, "_known", self._known)
        return other

    def nearest(
        self,
        indices: Sequence[int],
        k: int,
        *,
        event_type: str | None = None,
        labels: Sequence[str] | None = None,
        ids: Sequence[int] | None = None,
        vectors: bool = False,
        at_most: int = 0,  # noqa: ARG002 - every example is ranked
    ) -> list[list[MatrixCandidate]]:
        """The ``k`` most similar examples for each of some queries; see ``CandidateSource``.

        Raises:
            ValueError: Vectors are needed, and the source has none.
        """
        if vectors and self.vectors is None:
            raise ValueError("MMR needs vectors: give MatrixSource the vectors of its examples")
        allowed = np.ones(len(self.examples), bool) if event_type is None else self._known.event_types == event_type
        if labels is not None:
            wanted = set(labels)
            allowed = allowed & np.array([bool(wanted.intersection(each)) for each in self._known.labels])
        if ids is not None:
            allowed = allowed & np.isin(np.arange(len(self.examples)), ids)
        return [self._nearest(i, k, allowed) for i in indices]

    def lexical(self, indices: Sequence[int], k: int) -> list[list[MatrixCandidate]]:
        """The ``k`` best examples by BM25 for each of some queries."""
        return [
            [self._candidate(column, score) for column, score in self._known.lexical_index.search(self.queries[i], k)]
            for i in indices
        ]

    def has_few(self, i: int, k: int) -> bool:
        """Whether fewer than ``k`` examples are of a query's event type (EAE)."""
        event = self.queries[i].event
        return event is not None and self._known.event_counts[event.type] < k

    def ids(self, task: Task) -> Sequence[int]:  # noqa: ARG002 - the examples are of one task
        """The columns of all examples, in the order of a store's ids."""
        return self._known.ids

    def token_weights(self, task: Task) -> Mapping[str, float]:  # noqa: ARG002 - the examples are of one task
        """The weights of the tokens of a sample of the examples."""
        return self._known.token_weights

    def _nearest(self, i: int, k: int, allowed: NDArray[np.bool_]) -> list[MatrixCandidate]:
        scores = self.scores[i]
        own = self._known.text_numbers.get(text_hash(self.queries[i].text), -1)
        columns = np.flatnonzero(allowed & (self._known.texts != own) & np.isfinite(scores))
        if k < len(columns):  # keep ties with the last of the k best, so that the order of the examples decides
            lowest = np.partition(scores[columns], len(columns) - k)[len(columns) - k]
            columns = columns[scores[columns] >= lowest]
        best = columns[np.argsort(-scores[columns], kind="stable")][:k].tolist()
        return [self._candidate(column, float(scores[column])) for column in best]

    def _candidate(self, column: int, score: float) -> MatrixCandidate:
        vector = None if self.vectors is None else self.vectors[column]
        return MatrixCandidate(column, score, self.examples[column], self._known.labels[column], vector)


def _event_type(example: Example) -> str | None:
    event = example.query.event
    return event.type if event else None
