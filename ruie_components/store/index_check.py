"""Checks that the approximate index finds every row by its own vector, and repairs it otherwise.

An HNSW graph can lose rows: when links are pruned, when rows are deleted, and when a process is killed between two
writes. Such a row is stored but never found. Linking it again repairs nearly all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ruie_components.store.threads import despite_deletes, equal_parts, in_threads

_PAGE = 500
_FEW = 8  # rows for whose look-up another thread is not worth it
_HITS = 10  # rows with the same vector tie
_ROUNDING = 1e-5
_ROUNDS = 6  # of a repair, and of look-ups of all rows
_WORTH_ANOTHER = 0.8  # stop after a round that leaves more of the lost rows: linking again also cuts links of others
_SAMPLE, _SHARE = 256, 0.01  # rows checked after a write: this share of it, but at least this many
_GLANCE = 64  # rows looked up first, or the share: where 5% are lost, 26 of 27 samples of 64 have one of them
_LARGEST_SAMPLE = 2_000
_MANY = 0.05  # lost rows of a sample for which all written rows are looked up
_LARGEST_WHOLE = 20_000


@dataclass(frozen=True)
class IndexCheck:
    """The result of a check of a pool's index."""

    checked: int
    """The number of rows that were looked up."""
    unreachable: int
    """The number of rows that were not found."""
    repaired: int
    """How many fewer are not found after a repair; negative if linking rows again lost others."""
    in_use: bool = True
    """Whether searches use the index; in a small pool they compare with every row, and find all rows."""

    @property
    def recall(self) -> float:
        """The fraction of the checked rows that a search for their own vector now finds."""
        return 1 - (self.unreachable - self.repaired) / self.checked if self.checked else 1.0

    def __add__(self, other: IndexCheck) -> IndexCheck:
        return IndexCheck(
            self.checked + other.checked, self.unreachable + other.unreachable, self.repaired + other.repaired
        )


def check_all(collection: Any, advance: Callable[[int], None] = lambda _: None) -> IndexCheck:
    """Look up every row of a collection, and repair the index for rows that are not found."""
    return _check(collection, collection.get(include=[])["ids"], advance)


def check_written(collection: Any, written: Sequence[str]) -> IndexCheck:
    """Look up the written rows, of many an evenly spread sample: at first 64 or 1% of them.

    If these are all found, it is enough. If the sample loses more than 5%, all written rows are looked up, and
    the index is repaired; a look-up takes about as long as writing, and a repair looks up all at least once more. Fewer
    are only counted: linking a few rows again costs others their links. Of more than 20,000 rows only the sample is
    looked up. A write can also make the index lose rows that were there before; ``check_all`` finds those.
    """
    share = round(_SHARE * len(written))
    size = min(len(written), max(_SAMPLE, share), _LARGEST_SAMPLE)
    checked = [written[index] for index in np.linspace(0, len(written) - 1, size, dtype=int)] if size else []
    first = checked[:: max(1, size // max(_GLANCE, share))]
    lost = _unreachable(collection, first)
    if not lost:
        return IndexCheck(len(first), 0, 0)
    lost += _unreachable(collection, sorted(set(checked).difference(first)))
    if len(lost) > _MANY * size and len(written) <= _LARGEST_WHOLE:
        return _check(collection, written)
    return IndexCheck(size, len(lost), 0)


def _check(collection: Any, ids: Sequence[str], advance: Callable[[int], None] = lambda _: None) -> IndexCheck:
    """Look up rows, and repair the index as long as that is worth it."""
    lost = left = _unreachable(collection, ids, advance)
    for _ in range(_ROUNDS):
        if not left:
            break
        before = len(left)
        _repair(collection, left)
        left = _unreachable(collection, ids)  # all of them: new links may have pushed out the last link to another row
        if _WORTH_ANOTHER * before < len(left) <= before:  # if more are lost than before, this can't be the end
            break
    return IndexCheck(len(ids), len(lost), len(lost) - len(left))


def _repair(collection: Any, lost: Sequence[str]) -> None:
    """Link lost rows again, and those that are still lost once more."""
    for _ in range(_ROUNDS):
        if not lost:
            break
        before = len(lost)
        _link_again(collection, lost)
        lost = _unreachable(collection, lost)
        if len(lost) > _WORTH_ANOTHER * before:
            break


def _unreachable(collection: Any, ids: Sequence[str], advance: Callable[[int], None] = lambda _: None) -> list[str]:
    pages = equal_parts(ids, smallest=_FEW, largest=_PAGE)
    lost: list[str] = []
    for page, unreachable in zip(pages, in_threads(partial(_unreachable_of, collection), pages), strict=True):
        lost += unreachable
        advance(len(page))
    return lost


def _unreachable_of(collection: Any, ids: Sequence[str]) -> list[str]:
    page = despite_deletes(collection.get, ids=list(ids), include=["embeddings"])
    if not page["ids"]:
        return []
    hits = despite_deletes(
        collection.query, query_embeddings=page["embeddings"], n_results=_HITS, include=["distances"]
    )
    own = 1 - np.linalg.norm(np.asarray(page["embeddings"], np.float64), axis=1).round()  # (n,), 1 for zeros
    lost = []
    for row_id, distance, near, distances in zip(page["ids"], own, hits["ids"], hits["distances"], strict=True):
        among_equals = len(near) == _HITS and distances[-1] <= distance + _ROUNDING
        if row_id not in near and not among_equals:
            lost.append(row_id)
    return lost


def _link_again(collection: Any, lost: Sequence[str]) -> None:
    for start in range(0, len(lost), _PAGE):
        page = despite_deletes(collection.get, ids=list(lost[start : start + _PAGE]), include=["embeddings"])
        if page["ids"]:
            collection.update(ids=page["ids"], embeddings=page["embeddings"])  # the same vectors, but new links
