"""Scores some candidates of every query (paper, pipeline step 2)."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from ruie_components.progress import track
from ruie_components.types import Example
from ruie_training.data.candidates import Candidates, best_first
from ruie_training.errors import TrainingError
from ruie_training.preferences.scorer import Pair, Scorer

Choice = Literal["random", "top", "spread"]

OTHER_SET = -100.0
"""The penalty of a candidate of another task or data set, added to its score (paper, pipeline step 2)."""

_CHUNK = 4096  # pairs per call: many, so that a demonstration's queries are together


def prefer(
    candidates: Candidates,
    examples: Mapping[str, Example],
    scorer: Scorer,
    *,
    per_query: int | None = 32,
    choose: Choice = "random",
    seed: int = 0,
    may_be_empty: bool = False,
    progress: bool = True,
) -> Candidates:
    """Score some candidates of every query.

    Args:
        candidates: Mined candidates, best first.
        examples: All queries and candidates by ``content_id``: ``candidates.by_id``.
        scorer: Scores the pairs.
        per_query: How many candidates of a query to score; None: all.
        choose: How to choose them, see ``choose_candidates``.
        seed: Of the random choice.
        may_be_empty: Whether no pair may fit, as in a shard of a larger job, which ends with ``check_scored``.
        progress: Show a bar on stderr.

    Returns:
        The scored candidates, best first; ``dropped`` also counts pairs that don't fit the model's context, and
        queries without a scored candidate.

    Raises:
        TrainingError: An id is not among ``examples``, a score is infinite, nothing could be scored, or the scorer
            failed.
    """
    chosen = choose_candidates(candidates, per_query=per_query, choose=choose, seed=seed)
    _check_ids(chosen, examples)
    positions = [(row, i) for row, ids in enumerate(chosen.candidate_ids) for i in range(len(ids))]
    # All queries of a demonstration together, so that a scorer can read the demonstration once.
    positions.sort(key=lambda at: chosen.candidate_ids[at[0]][at[1]])
    scores: dict[tuple[int, int], float] = {}
    with track(f"preferences ({scorer.kind})", total=len(positions), enabled=progress) as advance:
        for start in range(0, len(positions), _CHUNK):
            part = positions[start : start + _CHUNK]
            pairs = [(examples[chosen.candidate_ids[row][i]], examples[chosen.query_ids[row]]) for row, i in part]
            values = scorer.score(pairs, advance)
            _check_scores(values, pairs)
            penalised = (score + _penalty(pair) for score, pair in zip(values, pairs, strict=True))
            scores.update(zip(part, penalised, strict=True))
    scored = _collect(chosen, scores, scorer.kind)
    if not may_be_empty:
        check_scored(scored)
    return scored


def check_scored(scored: Candidates) -> None:
    """Check that anything was scored.

    Raises:
        TrainingError: No query has a candidate with a score; the message counts dropped pairs.
    """
    if not len(scored):
        reasons = ", ".join(f"{reason}: {count:,}" for reason, count in scored.dropped.items())
        raise TrainingError(
            f"no pair could be scored ({reasons}): every prompt with its answer is longer than the model's context. "
            "Use a model with a longer context, or shorter texts"
        )


def choose_candidates(
    candidates: Candidates, *, per_query: int | None = 32, choose: Choice = "random", seed: int = 0
) -> Candidates:
    """Some candidates of every query, in their order.

    Args:
        candidates: Best first.
        per_query: The number of candidates kept per query; None: all.
        choose: ``random`` (the paper's 32 of 100; independent of other queries), ``top`` (the
            best), or ``spread`` (at even distances from the best to the worst).
        seed: Of the random draw.
    """
    if per_query is not None and per_query < 1:
        raise ValueError(f"per_query must be at least 1, or None for all candidates; got {per_query}")
    ids, scores = [], []
    for query, names, values in candidates:
        kept = range(len(names)) if per_query is None else _choose(query, len(names), per_query, choose, seed)
        ids.append(tuple(names[i] for i in kept))
        scores.append(tuple(values[i] for i in kept))
    return Candidates(candidates.query_ids, tuple(ids), tuple(scores), candidates.kind, candidates.dropped)


def _choose(query: str, size: int, count: int, choose: Choice, seed: int) -> Sequence[int]:
    if size <= count or choose == "top":
        return range(min(size, count))
    if choose == "spread":
        return [i * (size - 1) // max(count - 1, 1) for i in range(count)]
    return sorted(random.Random(f"{seed} {query}").sample(range(size), count))  # noqa: S311  a draw, not a secret


def _check_ids(candidates: Candidates, examples: Mapping[str, Example]) -> None:
    wanted = {*candidates.query_ids, *(name for ids in candidates.candidate_ids for name in ids)}
    missing = wanted - examples.keys()
    if missing:
        raise TrainingError(
            f"{len(missing)} of {len(wanted)} ids of the candidates are not among the examples, such as "
            f"{min(missing)}: the candidates were mined from other data; mine again"
        )


def _check_scores(scores: Sequence[float], pairs: Sequence[Pair]) -> None:
    if len(scores) != len(pairs):
        raise TrainingError(f"the scorer returned {len(scores)} scores for {len(pairs)} pairs")
    wrong = [i for i, score in enumerate(scores) if math.isinf(score)]
    if wrong:
        demonstration, query = pairs[wrong[0]]
        raise TrainingError(
            f"{len(wrong)} of {len(pairs)} scores are infinite, the first for demonstration {demonstration.content_id} "
            f"and query {query.content_id}: the model's numbers overflow; load it in float32 or bf16"
        )


def _penalty(pair: Pair) -> float:
    demonstration, query = pair
    same = (demonstration.task, demonstration.dataset) == (query.task, query.dataset)
    return 0.0 if same else OTHER_SET


def _collect(chosen: Candidates, scores: Mapping[tuple[int, int], float], kind: str) -> Candidates:
    dropped: Counter[str] = Counter(chosen.dropped)
    rows = []
    for row, (query, ids, _) in enumerate(chosen):
        values = [scores[row, i] for i in range(len(ids))]
        kept = [i for i, value in enumerate(values) if not math.isnan(value)]
        if len(kept) < len(ids):
            dropped["pair: longer than the model's context"] += len(ids) - len(kept)
        if kept:
            rows.append((query, *best_first([ids[i] for i in kept], [values[i] for i in kept])))
        else:
            dropped["query: no candidate could be scored"] += 1
    queries, names, best = zip(*rows, strict=True) if rows else ((), (), ())
    return Candidates(queries, names, best, kind, dict(dropped))
