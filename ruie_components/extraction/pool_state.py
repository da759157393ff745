"""The states of the pool that the rows of a run were made with."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from ruie_components.integers import counted
from ruie_components.store import DemonstrationStore
from ruie_components.types import Task

PoolState = dict[str, Any]
"""The number of rows and their digest, by task."""


class PoolChangedWarning(UserWarning):
    """Rows of one run come from different states of the pool."""


def pool_state(store: DemonstrationStore, task: Task | None) -> PoolState:
    """The state of a pool, or of one task of it, as JSON can hold it; a task without rows has none.

    Raises:
        StoreError: The pool can't be read.
    """
    states = {each: store.row_state(each) for each in (store.tasks if task is None else (task,))}
    return {str(each): {"rows": rows, "digest": digest} for each, (rows, digest) in states.items() if rows}


def distinct(states: Sequence[PoolState]) -> list[PoolState]:
    """The states without repeats, in their order."""
    return [state for i, state in enumerate(states) if state not in states[:i]]


def differing(one: PoolState, other: PoolState) -> str:
    """How two states differ, such as ``NER: 120 examples then, 125 now``; empty if they are the same."""
    parts = []
    for task in dict.fromkeys([*one, *other]):
        before, after = one.get(task, {}), other.get(task, {})
        if before != after:
            same = before.get("rows") == after.get("rows")
            now = "other ones now" if same else f"{after.get('rows', 0):,} now"
            parts.append(f"{task}: {counted(before.get('rows', 0), 'example')} then, {now}")
    return "; ".join(parts)


def warn_if_changed(where: str, pool: str, earlier: Sequence[PoolState], now: PoolState) -> None:
    """Warn if the rows of a run were made with another state of the pool than the next ones will be."""
    changes = [change for state in earlier if (change := differing(state, now))]
    if changes:
        warnings.warn(
            f"the pool {pool!r} has changed since rows in {where} were made ({changes[0]}), so earlier and later rows "
            "come from different demonstrations: to make all with the pool as it is, start over with --overwrite "
            "(overwrite=True)",
            PoolChangedWarning,
            stacklevel=3,
        )


def warn_if_merged(runs: Sequence[tuple[Any, Mapping[str, Any]]], key: str) -> None:
    """Warn if the rows of merged runs were made with different states of the pool.

    Args:
        runs: The folder and the settings of each.
        key: The key of the states in the settings.
    """
    known = [(folder, state) for folder, settings in runs for state in settings.get(key) or ()]
    for folder, state in known[1:]:
        first, before = known[0]
        if state != before:
            counts = "; ".join(
                f"{task}: {before.get(task, {}).get('rows', 0):,} and {state.get(task, {}).get('rows', 0):,} examples"
                for task in dict.fromkeys([*before, *state])
                if before.get(task) != state.get(task)
            )
            other = f"rows in {first} and {folder}" if folder != first else f"the rows in {first}"
            warnings.warn(
                f"{other} were made with different states of the pool ({counts}), so they come from different "
                "demonstrations: to make all with one pool, extract the older ones again with --overwrite",
                PoolChangedWarning,
                stacklevel=3,
            )
            return
