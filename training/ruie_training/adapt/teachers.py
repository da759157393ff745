"""What the encoder learns from: label agreement over whole batches, or scores that a scorer gave to candidates."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ruie_components.labels import label_f1_matrix
from ruie_training.adapt.pool import Pool, Rows
from ruie_training.data.candidates import Candidates, by_id
from ruie_training.errors import TrainingError

Scores = NDArray[np.float32]

CANDIDATES, RANDOM = 24, 8
"""What a scorer is asked about for each row: by BM25, and drawn from the rest of its task."""


class Teacher(Protocol):
    """Scores pairs of rows."""

    kind: str

    def scores(self, asked: Rows, shown: Rows) -> Scores:
        """Raw scores of queries and passages, (asked, shown); NaN where the teacher knows nothing."""
        ...

    def candidates(self, asked: Rows) -> Rows:
        """Rows that should be shown when these are asked; empty for a teacher that knows all pairs."""
        ...


class AgreementTeacher:
    """The Dice overlap of the label multisets, times ``scale``."""

    kind = "agreement"

    def __init__(self, pool: Pool, scale: float) -> None:
        self._labels, self._scale = pool.labels, np.float32(scale)

    def scores(self, asked: Rows, shown: Rows) -> Scores:
        """All pairs."""
        return self._scale * label_f1_matrix(self._labels[asked], self._labels[shown])

    def candidates(self, asked: Rows) -> Rows:  # noqa: ARG002  the protocol's
        """None: random rows do."""
        return np.zeros(0, np.int64)


class ScoredTeacher:
    """Scores of candidates, for each query with mean 0 and deviation 1, times ``scale``.

    Raises:
        TrainingError: None of the scored queries is in the pool.
    """

    def __init__(self, pool: Pool, scored: Candidates, scale: float = 2.0) -> None:
        from scipy.sparse import coo_matrix

        self.kind = scored.kind
        places = {example.content_id: row for row, example in enumerate(pool.examples)}
        rows, columns, values = [], [], []
        for query, ids, scores in scored:
            known = [(places[name], score) for name, score in zip(ids, scores, strict=True) if name in places]
            if query not in places or len(known) < 2:
                continue
            raw = np.array([score for _, score in known])
            deviation = raw.std()
            if deviation > 0:
                rows += [places[query]] * len(known)
                columns += [row for row, _ in known]
                values += (scale * (raw - raw.mean()) / deviation).tolist()
        if not rows:
            raise TrainingError(
                "none of the scored queries is in this pool with two candidates: score this pool's rows"
            )
        # 1e3 marks a score as known, since a sparse matrix can't tell 0 from nothing
        self._known: Any = coo_matrix((np.array(values, np.float32) + 1e3, (rows, columns)), (len(pool),) * 2).tocsr()

    def scores(self, asked: Rows, shown: Rows) -> Scores:
        """Known pairs; NaN for all others."""
        found = self._known[asked][:, shown].toarray()
        return np.where(found == 0, np.nan, found - 1e3).astype(np.float32)

    def candidates(self, asked: Rows) -> Rows:
        """The scored candidates of these rows."""
        return np.unique(self._known[asked].indices).astype(np.int64)


def teacher_of(pool: Pool, source: Any, *, scale: float, seed: int, progress: bool) -> Teacher:
    """A teacher from what a user gives.

    Args:
        pool: The pool.
        source: ``None`` or ``agreement``; a file of scored candidates or ``Candidates`` (preferences, rewards); or a
            ``preferences.Scorer``, which is then asked about BM25's and some random candidates of every row.
        scale: What agreement is multiplied by.
        seed: Of the random candidates.
        progress: Show bars on stderr.

    Raises:
        TrainingError: It is none of these, or can't be used for this pool.
    """
    if source is None or source == "agreement":
        return AgreementTeacher(pool, scale)
    if isinstance(source, str | Path):
        source = Candidates.load(source)
    if isinstance(source, Candidates):
        return ScoredTeacher(pool, source)
    if hasattr(source, "score") and hasattr(source, "kind"):
        from ruie_training.preferences import prefer

        mined = mine_candidates(pool, seed=seed, progress=progress)
        scored = prefer(mined, by_id(pool.examples), source, per_query=None, seed=seed, progress=progress)
        return ScoredTeacher(pool, scored)
    raise TrainingError(
        f"{type(source).__name__} is no teacher: give 'agreement', a file of scored candidates, or a Scorer"
    )


def mine_candidates(pool: Pool, *, seed: int, progress: bool) -> Candidates:
    """BM25's candidates of every row within its task, and random ones, which BM25 alone never shows."""
    from ruie_training.mining.bm25 import mine
    from ruie_training.mining.dense import add_random

    pools = [[pool.examples[row] for row in rows] for rows in pool.tasks.values()]
    parts = []
    for examples in pools:
        with suppress(TrainingError):  # a task with one text has no candidates
            parts.append(mine(examples, examples, k=CANDIDATES, progress=progress))
    if not parts:
        raise TrainingError("no row of the pool has another one to be compared with")
    return add_random(Candidates.join(parts), by_id(pool.examples), pools, RANDOM, seed)
