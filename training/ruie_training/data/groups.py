"""From scored candidates to training groups: one positive and some negatives of each query."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from ruie_training.data.candidates import Candidates
from ruie_training.errors import TrainingError

Scored = tuple[str, float]
"""An id and its score."""


def split_by_score(
    ids: Sequence[str], scores: Sequence[float], top: int = 3, bottom: int = 16
) -> tuple[list[str], list[str]]:
    """The best candidates as positives and the worst as negatives (paper, section on the reward model).

    Args:
        ids: The candidates of one query.
        scores: A score for each; higher is better. Equal scores keep the given order.
        top: How many positives.
        bottom: How many negatives; -1 for all that are not positives.

    Returns:
        Positives best first, and negatives worst first. A positive is never a negative.

    Raises:
        ValueError: Not one score for each id, or a number out of range.

    >>> split_by_score(["a", "b", "c", "d"], [0.1, 0.4, 0.3, 0.2], top=1, bottom=2)
    (['b'], ['a', 'd'])
    """
    if top < 1 or bottom < -1:
        raise ValueError(f"top must be at least 1 and bottom at least 0, or -1 for the rest; got {top} and {bottom}")
    ranked = sorted(zip(ids, scores, strict=True), key=lambda scored: -scored[1])
    rest = [name for name, _ in reversed(ranked[top:])]
    return [name for name, _ in ranked[:top]], rest if bottom == -1 else rest[:bottom]


@dataclass(frozen=True)
class Groups:
    """The positives and negatives of each query, from which groups are drawn.

    Created by ``Groups.of``. A query that can't fill a group is left out and counted in ``dropped``.
    """

    queries: tuple[str, ...]
    positives: tuple[tuple[Scored, ...], ...]
    negatives: tuple[tuple[Scored, ...], ...]
    size: int
    """Passages per group: one positive and ``size - 1`` negatives."""
    seed: int
    dropped: Mapping[str, int]
    """The number of left-out queries, by reason."""

    @classmethod
    def of(cls, candidates: Candidates, *, top: int = 3, bottom: int = 16, size: int = 8, seed: int = 0) -> Groups:
        """Split the candidates of each query by their scores.

        Raises:
            TrainingError: A score is not a number, or no query has enough candidates.
        """
        dropped: Counter[str] = Counter()
        rows: list[tuple[str, tuple[Scored, ...], tuple[Scored, ...]]] = []
        for query, ids, scores in candidates:
            _check_scores(query, ids, scores)
            known = dict(zip(ids, scores, strict=True))
            positives, negatives = split_by_score(ids, scores, top, bottom)
            if len(negatives) < size - 1:
                dropped["fewer candidates than a group needs"] += 1
            elif known[positives[0]] == known[negatives[0]]:
                dropped["all candidates score alike"] += 1
            else:
                rows.append((query, _with_scores(positives, known), _with_scores(negatives, known)))
        if not rows:
            reasons = ", ".join(f"{reason}: {count:,}" for reason, count in dropped.items()) or "there are no queries"
            raise TrainingError(
                f"no query can be trained on ({reasons}). A group takes {size - 1} negatives beside {top} positives: "
                "mine from larger pools, score more candidates per query, or make the groups smaller."
            )
        queries, tops, bottoms = zip(*rows, strict=True)
        return cls(queries, tops, bottoms, size, seed, dict(dropped))

    def __len__(self) -> int:
        """The number of usable queries."""
        return len(self.queries)

    def draw(self, row: int, epoch: int) -> list[Scored]:
        """A group of one query, with the positive first; the same for the same seed, query and epoch.

        A positive that does not score higher than a negative is replaced by the best one, for equal scores at the
        border.
        """
        chance = random.Random(f"{self.seed} {epoch} {self.queries[row]}")  # noqa: S311  a draw, not a secret
        negatives = chance.sample(self.negatives[row], self.size - 1)
        positive = chance.choice(self.positives[row])
        if positive[1] <= max(score for _, score in negatives):
            positive = self.positives[row][0]
        return [positive, *negatives]


def _with_scores(ids: Iterable[str], scores: Mapping[str, float]) -> tuple[Scored, ...]:
    return tuple((name, scores[name]) for name in ids)


def _check_scores(query: str, ids: Sequence[str], scores: Sequence[float]) -> None:
    wrong = [name for name, score in zip(ids, scores, strict=True) if not math.isfinite(score)]
    if wrong:
        raise TrainingError(
            f"candidate {wrong[0]} of query {query} has a score that is not a finite number; score this query again "
            f"(the stage before this one wrote {len(wrong)} such scores for it)"
        )


class GroupRows:
    """The transform of a data set of row numbers, which draws groups and renders their texts.

    Texts are rendered only when a batch is read, so the data set stays small. The trainer's callback sets ``epoch`` at
    the start of each epoch, so that each epoch draws different groups.
    """

    def __init__(
        self,
        groups: Groups,
        query_text: Callable[[str], str],
        passage_text: Callable[[str], str],
        *,
        hard: bool = False,
    ) -> None:
        self.groups = groups
        self.query_text = query_text
        self.passage_text = passage_text
        self.hard = hard
        self.epoch = 0

    def __call__(self, batch: Mapping[str, Sequence[int]]) -> dict[str, list[Any]]:
        """Rows for a bi-encoder (a column for each passage), or with ``hard`` for a listwise cross-encoder."""
        drawn = [self.groups.draw(row, self.epoch) for row in batch["row"]]
        queries = [self.query_text(self.groups.queries[row]) for row in batch["row"]]
        passages = [[self.passage_text(name) for name, _ in group] for group in drawn]
        if self.hard:
            # ListNetLoss takes the softmax of its labels: 100 and zeros become one and zeros, so this is cross-entropy.
            labels = [[100.0, *repeat(0.0, self.groups.size - 1)] for _ in drawn]
            return {"query": queries, "passages": passages, "labels": labels}
        names = ["positive", *(f"negative_{i}" for i in range(1, self.groups.size))]
        columns = dict(zip(names, map(list, zip(*passages, strict=True)), strict=True))
        return {"query": queries, **columns, "label": [[score for _, score in group] for group in drawn]}
