"""Teachers of adaptation: label F1 of all pairs, or given scores of some pairs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix

from ruie_components.adaptation.pool import Pool, Rows
from ruie_components.errors import AdaptationError, RowError
from ruie_components.files import read_rows
from ruie_components.integers import counted
from ruie_components.lexical import BM25Index, example_tokens, query_tokens
from ruie_components.progress import track
from ruie_components.types import Example

Scores = NDArray[np.float32]
ScoredCandidates: TypeAlias = Iterable[tuple[str, Sequence[str], Sequence[float]]]
"""For each query its id, the ids of some candidates, and their scores. Ids are ``Example.content_id``."""

LEXICAL, RANDOM = 24, 8
"""The pairs that a scorer scores for each row: candidates by BM25, and random ones of its task."""
_PAIRS = 4096  # pairs per call of a scorer
_DEVIATION = 2.0
_KNOWN = np.float32(1e3)  # added to scores in a sparse matrix, which can't distinguish 0 from absent


@runtime_checkable
class PairScorer(Protocol):
    """Scores how well demonstrations suit queries, like the scorers of ``ruie_training.preferences``."""

    def score(self, pairs: Sequence[tuple[Example, Example]]) -> Sequence[float]:
        """A score for each pair of demonstration and query, higher is better; NaN if unknown."""
        ...


TeacherSource: TypeAlias = PairScorer | ScoredCandidates | str | Path | None


class Teacher(Protocol):
    """Scores pairs of rows."""

    def scores(self, queries: Rows, passages: Rows) -> Scores:
        """Scores of queries and passages, (queries, passages); NaN if unknown."""
        ...

    def candidates(self, queries: Rows) -> Rows:
        """Rows that should be passages for these queries; empty for a teacher that knows all pairs."""
        ...


class LabelTeacher:
    """Label F1, times ``scale``."""

    def __init__(self, pool: Pool, scale: float) -> None:
        self._pool, self._scale = pool, np.float32(scale)

    def scores(self, queries: Rows, passages: Rows) -> Scores:
        """Scores of all pairs, (queries, passages)."""
        return self._scale * self._pool.label_f1(queries, passages)

    def candidates(self, queries: Rows) -> Rows:  # noqa: ARG002  the protocol's
        """Empty: random rows are enough."""
        return np.zeros(0, np.int64)


class ScoredTeacher:
    """Scores of candidates, for each query with mean 0 and standard deviation ``scale``.

    A repeated query or candidate counts once, with its last score: files of several runs may be joined.

    Raises:
        AdaptationError: No query of the pool has two candidates with different scores.
    """

    def __init__(self, pool: Pool, scored: ScoredCandidates, scale: float = _DEVIATION) -> None:
        row_of = {example.content_id: row for row, example in enumerate(pool.examples)}
        of_query: dict[int, dict[int, float]] = {}  # a sparse matrix would add up repeats
        for query, ids, scores in scored:
            if query in row_of:
                of_query.setdefault(row_of[query], {}).update(
                    (row_of[name], score)
                    for name, score in zip(ids, scores, strict=True)
                    if name in row_of and math.isfinite(score)
                )
        rows: list[int] = []
        columns: list[int] = []
        values: list[float] = []
        for row, known in of_query.items():
            raw = np.array(list(known.values()))
            if len(known) > 1 and (deviation := raw.std()) > 0:
                rows += [row] * len(known)
                columns += known
                values += (scale * (raw - raw.mean()) / deviation).tolist()
        if not rows:
            raise AdaptationError(
                "the teacher has no usable scores for this pool: no row has two candidates with different, finite "
                "scores; score this pool's rows"
            )
        entries = np.array(values, np.float32) + _KNOWN
        self._known: Any = coo_matrix((entries, (rows, columns)), (len(pool),) * 2).tocsr()

    def scores(self, queries: Rows, passages: Rows) -> Scores:
        """Scores of the known pairs; NaN for all others."""
        entries = self._known[queries][:, passages].toarray()
        return np.where(entries == 0, np.nan, entries - _KNOWN).astype(np.float32)

    def candidates(self, queries: Rows) -> Rows:
        """The scored candidates of these rows."""
        return np.unique(self._known[queries].indices).astype(np.int64)


def load_teacher(pool: Pool, source: TeacherSource, *, scale: float, seed: int, progress: bool = False) -> Teacher:
    """Make a teacher from a user's argument.

    Args:
        pool: The pool.
        source: ``None``: label F1. A JSON Lines file of scored candidates (preferences, rewards), or the same as an
            iterable. A ``PairScorer``, which then scores some lexical and some random candidates of every row.
        scale: The factor of label F1.
        seed: Of the random candidates.
        progress: Show a bar on stderr while a ``PairScorer`` works.

    Raises:
        AdaptationError: It is something else, or has no usable scores for this pool.
        RowError: A line of the file can't be read; the message names file and line.
    """
    if source is None:
        return LabelTeacher(pool, scale)
    if isinstance(source, str | Path):
        return ScoredTeacher(pool, read_scored(Path(source)))
    if isinstance(source, PairScorer):
        return ScoredTeacher(pool, score_candidates(pool, source, seed, progress=progress))
    if isinstance(source, Iterable):
        return ScoredTeacher(pool, source)
    raise AdaptationError(
        f"{type(source).__name__} is not a teacher: give None for label F1, a file of scored candidates, or an object "
        f"with score(pairs)"
    )


def read_scored(path: Path) -> Iterator[tuple[str, Sequence[str], Sequence[float]]]:
    """Scored candidates of a JSON Lines file (``.gz`` too): ``query``, ``ids`` and ``scores``; a header is skipped.

    Raises:
        RowError: The file or a line can't be read; the message names file and line.
    """
    for location, row in read_rows(path):
        if "candidates" in row:
            continue
        try:
            query, ids, scores = str(row["query"]), list(map(str, row["ids"])), list(map(float, row["scores"]))
        except (ValueError, KeyError, TypeError) as error:
            raise RowError(f"{location}: not a row of scored candidates: {error!r}") from error
        if len(ids) != len(scores):
            raise RowError(f"{location}: {counted(len(ids), 'id')}, but {counted(len(scores), 'score')}")
        yield query, ids, scores


def score_candidates(
    pool: Pool, scorer: PairScorer, seed: int, *, progress: bool = False
) -> list[tuple[str, Sequence[str], Sequence[float]]]:
    """A scorer's scores for some lexical and some random candidates of every row, within the row's task.

    Raises:
        AdaptationError: The scorer returns too few or too many scores.
    """
    draw = np.random.default_rng(seed)
    pairs: list[tuple[int, int]] = []  # demonstration, query
    for rows in pool.tasks.values():
        index = BM25Index([example_tokens(pool.examples[row]) for row in rows])
        for row in rows:
            allowed = pool.text[rows] != pool.text[row]
            similarity = np.where(allowed, index.scores(query_tokens(pool.examples[row].query)), -np.inf)
            lexical = rows[np.argsort(-similarity, kind="stable")[: min(LEXICAL, allowed.sum())]]
            rest = np.setdiff1d(rows[allowed], lexical)
            chosen = [*lexical, *draw.choice(rest, min(RANDOM, len(rest)), replace=False)]
            pairs += [(int(demonstration), int(row)) for demonstration in chosen]
    pairs.sort()  # all queries of a demonstration together, so that a scorer can read the demonstration once
    scored: dict[int, tuple[list[str], list[float]]] = {}
    with track("teacher", total=len(pairs), enabled=progress) as advance:
        for start in range(0, len(pairs), _PAIRS):
            part = pairs[start : start + _PAIRS]
            given = list(scorer.score([(pool.examples[passage], pool.examples[query]) for passage, query in part]))
            if len(given) != len(part):
                raise AdaptationError(f"the teacher returned {len(given)} scores for {len(part)} pairs")
            for (passage, query), score in zip(part, given, strict=True):
                names, scores = scored.setdefault(query, ([], []))
                names.append(pool.examples[passage].content_id)
                scores.append(float(score))
            advance(len(part))
    return [(pool.examples[query].content_id, *columns) for query, columns in scored.items()]
