"""Long scoring jobs in parts: a killed run goes on with the next part, and several processes share the parts."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ruie_components.progress import track
from ruie_training.data.candidates import Candidates
from ruie_training.errors import RunError

_PATIENCE = 2.0  # seconds between two looks for the parts of other processes


@dataclass(frozen=True)
class Worker:
    """This process among those that torchrun or accelerate started."""

    rank: int = 0
    world: int = 1

    @classmethod
    def from_environment(cls) -> Worker:
        """What ``RANK`` and ``WORLD_SIZE`` say; one process where they are absent."""
        return cls(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))

    @property
    def is_first(self) -> bool:
        """Whether this process writes what only one may write."""
        return self.rank == 0


def score_in_parts(
    candidates: Candidates,
    score: Callable[[Candidates], Candidates],
    folder: Path,
    *,
    size: int = 500,
    worker: Worker | None = None,
    timeout: float = 24 * 3600,
    label: str | None = None,
) -> Candidates:
    """Score candidates part by part, each part a file.

    Args:
        candidates: What to score.
        score: Scores some of them; it may leave out queries, and count them in ``dropped``.
        folder: Where the parts lie. It belongs to these candidates and this way of scoring alone.
        size: Queries a part.
        worker: This process; each takes every ``world``-th part, and all get the whole result.
        timeout: Seconds to wait for the parts of other processes.
        label: Of a progress bar over the queries of this process's parts. None: no bar, as where ``score`` shows one.

    Returns:
        All parts, joined in order.

    Raises:
        RunError: A part can't be written or read, or another process did not write its part in time.
    """
    worker = worker or Worker()
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, len(candidates), size)
    paths = [folder / f"part-{start // size:05}.jsonl.gz" for start in starts]
    parts = [_slice(candidates, start, start + size) for start in starts]
    own = list(zip(parts, paths, strict=True))[worker.rank :: worker.world]
    with track(label or "", total=sum(len(part) for part, _ in own), enabled=label is not None) as advance:
        for part, path in own:
            if not path.is_file():
                score(part).save(path)
            advance(len(part))
    _wait(paths, timeout)
    return Candidates.join(Candidates.load(path) for path in paths)


def _slice(candidates: Candidates, start: int, end: int) -> Candidates:
    """Some queries; the first of them carry the counts of what was dropped on the way here, so that they count once."""
    part = slice(start, end)
    dropped = candidates.dropped if start == 0 else {}
    columns = candidates.query_ids[part], candidates.candidate_ids[part], candidates.scores[part]
    return Candidates(*columns, candidates.kind, dropped)


def _wait(paths: list[Path], timeout: float) -> None:
    end = time.monotonic() + timeout
    while missing := [path for path in paths if not path.is_file()]:
        if time.monotonic() > end:
            raise RunError(f"{missing[0]} did not appear within {timeout:,.0f} seconds: did another process fail?")
        time.sleep(_PATIENCE)
