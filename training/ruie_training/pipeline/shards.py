"""Scores in shards: an interrupted run resumes with the next shard, and several processes share the work."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from ruie_components.progress import track
from ruie_training.data.candidates import Candidates
from ruie_training.errors import RunError
from ruie_training.processes import Process

_POLL_SECONDS = 2.0


def score_in_shards(
    candidates: Candidates,
    score: Callable[[Candidates], Candidates],
    folder: Path,
    *,
    size: int = 500,
    process: Process | None = None,
    timeout: float = 24 * 3600,
    label: str | None = None,
) -> Candidates:
    """Score candidates shard by shard, each shard a file.

    Args:
        candidates: The candidates to score.
        score: Scores a shard. It may leave out queries, and count them in ``dropped``.
        folder: The folder of the shards, only for these candidates and this scoring.
        size: Queries per shard.
        process: This process. Each process scores every ``world``-th shard, and all return the whole result.
        timeout: Seconds to wait for the shards of other processes.
        label: Of a progress bar over the queries of this process. None: no bar, if ``score`` shows one.

    Returns:
        All shards, joined in order.

    Raises:
        RunError: A shard can't be written or read, or another process did not write its shard in time.
    """
    process = process or Process()
    folder.mkdir(parents=True, exist_ok=True)
    parts = [(start, min(start + size, len(candidates))) for start in range(0, len(candidates), size)]
    paths = [folder / f"queries-{start:07}-{end:07}.jsonl.gz" for start, end in parts]  # the same queries for any size
    shards = [_slice(candidates, start, end) for start, end in parts]
    own = list(zip(shards, paths, strict=True))[process.rank :: process.world]
    with track(label or "", total=sum(len(shard) for shard, _ in own), enabled=label is not None) as advance:
        for shard, path in own:
            if not path.is_file():
                score(shard).save(path)
            advance(len(shard))
    deadline = time.monotonic() + timeout
    while missing := [path for path in paths if not path.is_file()]:
        if time.monotonic() > deadline:
            raise RunError(f"{missing[0]} did not appear within {timeout:,.0f} seconds: did another process fail?")
        time.sleep(_POLL_SECONDS)
    return Candidates.join(Candidates.load(path) for path in paths)


def _slice(candidates: Candidates, start: int, end: int) -> Candidates:
    """Some queries. Only the first shard has the counts of dropped rows, so that they count once."""
    part = slice(start, end)
    dropped = candidates.dropped if start == 0 else {}
    columns = candidates.query_ids[part], candidates.candidate_ids[part], candidates.scores[part]
    return Candidates(*columns, candidates.kind, dropped)
