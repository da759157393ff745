"""Checks the indexes of an open pool, and rebuilds those that are damaged from the pool's rows."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from ruie_components.errors import StoreError
from ruie_components.store import reindexing
from ruie_components.store.exact import LARGEST
from ruie_components.store.index_check import IndexCheck, check_all, check_written
from ruie_components.store.integrity import forget_damage, mark_damaged
from ruie_components.store.open_pool import OpenPool
from ruie_components.store.search import index_problem
from ruie_components.store.threads import in_threads
from ruie_components.store.writing import writing, writing_mark
from ruie_components.types import Task

_LOG = logging.getLogger(__name__)


class DamagedIndexError(StoreError):
    """An index that can't be loaded and is marked for a rebuild."""


def heal(pool: OpenPool) -> None:
    """Rebuild damaged indexes of a pool in a folder from its rows, and check the index after an interrupted write.

    Raises:
        DamagedIndexError: An index can't be loaded; it is marked, and the next opening of the pool rebuilds it.
    """
    folder = pool.connection.folder
    if folder is None:
        return
    is_rebuilt = _rebuild(pool)
    collections = list(pool.collections.values())
    problems = list(in_threads(index_problem, collections))  # the longest part of opening a pool: it loads all indexes
    for collection, problem in zip(collections, problems, strict=True):
        if problem is not None:
            with pool.connection.writing():
                mark_damaged(folder, collection.name, problem)
            raise DamagedIndexError(
                f"the index of {collection.name} in {folder} is damaged ({problem}); close the other stores of this "
                f"process that have it open, and open it again: it is rebuilt from its rows"
            )
    mark = writing_mark(pool)
    if is_rebuilt or (mark is not None and mark.exists()):
        rows = sum(collection.count() for collection in pool.collections.values())
        _LOG.warning("looking up the %d rows of %s: a write was interrupted, or an index was rebuilt", rows, folder)
        try:
            check_index(pool)
        except StoreError:
            _LOG.info("the index of %s is not checked while other processes have it open", folder)


def _rebuild(pool: OpenPool) -> bool:
    """Rebuild the damaged indexes; returns whether there were any."""
    folder, damaged = pool.connection.folder, pool.connection.damaged_indexes()
    names = {name for task in Task for name in (f"{pool.name}.{task}", f"{pool.name}.{task}.next")}
    problems = {name: problem for name, problem in damaged.items() if name in names}
    if not problems or folder is None:
        return False
    with pool.connection.writing():
        rebuilt = reindexing.rebuild(pool.connection, pool.name, pool.encoder, set(problems))
        for name in problems:
            forget_damage(folder, name)
            del damaged[name]
        pool.load_collections()
    for name, count in rebuilt.items():
        _LOG.warning(
            "the index of %s in %s was damaged (%s); it was rebuilt from the %d rows, and nothing is lost",
            *(name, folder, problems[name], count),
        )
    return True


def check_index(pool: OpenPool, advance: Callable[[int], None] = lambda _: None) -> None:
    """Look up every row by its own vector, and repair the index for rows that are not found."""
    with writing(pool, "checking the index") as writer:
        writer.begin()
        _check_every_row(pool, advance)


def check_new_rows(pool: OpenPool, new: Mapping[Task, Sequence[str]]) -> None:
    """Look up rows that were just added, where searches use the index, and repair it if it lost some.

    All rows of a task are new where none was looked up before: it was small enough for exact search until now, or a
    write of this store failed.

    Args:
        pool: The pool, locked for writing.
        new: The ids of the new rows of each task.
    """
    checks = {}
    for task in pool.collections if pool.has_failed_write else new:  # the failed write may have been to another task
        collection, ids = pool.collections[task], new.get(task, ())
        if pool.uses_index(collection):
            was_small = pool.connection.is_private and collection.count() - len(ids) <= LARGEST
            every = was_small or pool.has_failed_write
            checks[task] = check_written(collection, collection.get(include=[])["ids"] if every else ids)
    pool.has_failed_write = False
    _record(pool, checks)


def check_embedded_again(pool: OpenPool, *, resumed: bool) -> None:
    """``check_new_rows`` for a pool all of whose rows were written again; all are looked up if that was resumed."""
    if resumed:
        _check_every_row(pool, lambda _: None)
        return
    check_new_rows(pool, {task: each.get(include=[])["ids"] for task, each in pool.collections.items()})
    _forget_interruption(pool)


def _check_every_row(pool: OpenPool, advance: Callable[[int], None]) -> None:
    _record(pool, {task: check_all(collection, advance) for task, collection in pool.collections.items()})
    _forget_interruption(pool)


def _forget_interruption(pool: OpenPool) -> None:
    """Note that what an earlier, interrupted write may have done to the index is mended."""
    pool.has_failed_write = False
    if (mark := writing_mark(pool)) is not None:
        mark.unlink(missing_ok=True)


def _record(pool: OpenPool, checks: Mapping[Task, IndexCheck]) -> None:
    """Keep the sum of the tasks' checks with the pool, and log a warning if searches use an index that lost rows.

    Where searches use the index of a task, only the checks of such tasks are summed.
    """
    used = {task: check for task, check in checks.items() if pool.uses_index(pool.collections[task])}
    check = sum((used or checks).values(), IndexCheck(0, 0, 0))
    check = pool.index_check = replace(check, in_use=bool(used))
    if check.unreachable and used:
        _LOG.warning(
            "%d of %d rows in %s could not be found through the index; %d of them were repaired (recall now %.4f)",
            check.unreachable,
            check.checked,
            pool.connection.location,
            check.repaired,
            check.recall,
        )
        if check.checked < sum(pool.collections[task].count() for task in used):
            _LOG.warning(
                "the other rows of %s were not looked up; DemonstrationStore.check_index() or ruie info --check-index "
                "looks all up and repairs the index",
                pool.connection.location,
            )
