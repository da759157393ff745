"""Candidates: for every query the possible demonstrations, as ids and scores; texts are joined late.

Mining creates them with BM25 scores; preferences and the reward model replace the scores.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruie_components.errors import RowError
from ruie_components.files import atomic_text, open_text
from ruie_components.integers import counted
from ruie_components.types import Example
from ruie_training.errors import RunError

_VERSION = 1


@dataclass(frozen=True)
class Candidates:
    """The candidates of every query, best first.

    Raises:
        ValueError: The three columns are of different lengths.
    """

    query_ids: tuple[str, ...]
    """``Example.content_id`` of every query."""
    candidate_ids: tuple[tuple[str, ...], ...]
    """For every query the ``content_id`` of its candidates."""
    scores: tuple[tuple[float, ...], ...]
    """For every query a score for each candidate, higher is better."""
    kind: str = "bm25"
    """The kind of the scores."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """The number of left-out rows, by reason."""

    def __post_init__(self) -> None:
        rows = len(self.query_ids), len(self.candidate_ids), len(self.scores)
        if len(set(rows)) != 1:
            raise ValueError(f"queries, candidates and scores differ in length: {rows}")
        for query, ids, scores in self:
            if len(ids) != len(scores):
                raise ValueError(
                    f"query {query} has {counted(len(ids), 'candidate')}, but {counted(len(scores), 'score')}"
                )

    def __len__(self) -> int:
        return len(self.query_ids)

    def __iter__(self) -> Iterator[tuple[str, tuple[str, ...], tuple[float, ...]]]:
        """Query id, candidate ids, scores."""
        return zip(self.query_ids, self.candidate_ids, self.scores, strict=True)

    @property
    def pairs(self) -> int:
        """How many (candidate, query) pairs there are."""
        return sum(map(len, self.candidate_ids))

    def shard(self, index: int, count: int) -> Candidates:
        """Every ``count``-th query from ``index`` on, for one of several machines; ``join`` puts shards together.

        Only the first shard has the counts of dropped rows, so that a join counts them once.
        """
        if not 0 <= index < count:
            raise ValueError(f"there is no shard {index} of {count}; shards count from 0")
        part = slice(index, None, count)
        dropped = self.dropped if index == 0 else {}
        return Candidates(self.query_ids[part], self.candidate_ids[part], self.scores[part], self.kind, dropped)

    @staticmethod
    def join(parts: Iterable[Candidates]) -> Candidates:
        """All queries of all parts, in the order of the parts; counts of dropped rows are added up."""
        parts = list(parts)
        kinds = {part.kind for part in parts}
        if len(kinds) != 1:
            raise ValueError(f"only candidates with one kind of score can be joined, not {sorted(kinds) or 'none'}")
        dropped: Counter[str] = Counter()
        for part in parts:
            dropped.update(part.dropped)
        return Candidates(
            tuple(query for part in parts for query in part.query_ids),
            tuple(ids for part in parts for ids in part.candidate_ids),
            tuple(scores for part in parts for scores in part.scores),
            kinds.pop(),
            dict(dropped),
        )

    def save(self, path: str | Path) -> None:
        """Write a JSONL file (gzipped if the name ends with ``.gz``): a header, then one query per line.

        The file appears only when it is complete.

        Raises:
            RunError: It can't be written (disk full, no such folder, no permission).
        """
        path = Path(path)
        header = {"candidates": self.kind, "version": _VERSION, "queries": len(self), "dropped": dict(self.dropped)}
        try:
            with atomic_text(path) as lines:
                lines.write(json.dumps(header) + "\n")
                for query, ids, scores in self:
                    row = {"query": query, "ids": ids, "scores": scores}
                    lines.write(json.dumps(row, separators=(",", ":")) + "\n")
        except OSError as error:
            raise RunError(f"{path} can't be written: {error}. Free some space or give another folder") from error

    @classmethod
    def load(cls, path: str | Path) -> Candidates:
        """Read a file from ``save``.

        Raises:
            RunError: There is no such file, or it is incomplete.
            RowError: A line can't be read; the message names file and line.
        """
        path = Path(path)
        if not path.is_file():
            raise RunError(f"there are no candidates at {path}: run the stage that writes them")
        known: dict[str, str] = {}  # one string for an id that occurs in many lists
        queries: list[str] = []
        candidates: list[tuple[str, ...]] = []
        scores: list[tuple[float, ...]] = []
        with open_text(path, "r") as lines:
            header = _read_header(path, lines.readline())
            for number, line in enumerate(lines, 2):
                try:
                    row = json.loads(line)
                    ids = tuple(known.setdefault(name, name) for name in row["ids"])
                    values = tuple(map(float, row["scores"]))
                    queries.append(str(row["query"]))
                except (ValueError, KeyError, TypeError) as error:
                    raise RowError(f"{path}, line {number}: not a row of candidates: {error!r}") from error
                if len(ids) != len(values):
                    raise RowError(
                        f"{path}, line {number}: {counted(len(ids), 'id')}, but {counted(len(values), 'score')}"
                    )
                candidates.append(ids)
                scores.append(values)
        if len(queries) != header["queries"]:
            raise RunError(f"{path} is incomplete: {len(queries)} of {header['queries']} queries; write it again")
        return cls(tuple(queries), tuple(candidates), tuple(scores), header["candidates"], header["dropped"])


def by_id(*groups: Iterable[Example]) -> dict[str, Example]:
    """All examples by ``content_id``; of several with the same content the first counts.

    Mining leaves out rows of earlier sets, so the first one is that of the mined candidates.
    """
    examples: dict[str, Example] = {}
    for group in groups:
        for example in group:
            examples.setdefault(example.content_id, example)
    return examples


def best_first(ids: Sequence[str], scores: Sequence[float]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Ids and scores by descending score; equal scores keep their order."""
    order = sorted(range(len(ids)), key=lambda i: -scores[i])
    return tuple(ids[i] for i in order), tuple(scores[i] for i in order)


def _read_header(path: Path, line: str) -> dict[str, Any]:
    try:
        header = json.loads(line)
    except ValueError:
        header = None
    if not isinstance(header, dict) or not {"candidates", "version", "queries", "dropped"} <= header.keys():
        raise RowError(f"{path}, line 1: not the header of a file of candidates")
    if header["version"] != _VERSION:
        raise RunError(f"{path} has version {header['version']}, and this program reads version {_VERSION}")
    return header
