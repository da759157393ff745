"""An open pool, as the modules of this package share it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

from ruie_components.encoders import Encoder
from ruie_components.errors import StoreError
from ruie_components.store.collections import find_collection
from ruie_components.store.connections import Connection, chroma_errors
from ruie_components.store.exact import LARGEST, Rows, read_rows
from ruie_components.store.index_check import IndexCheck
from ruie_components.types import Task

Cached = TypeVar("Cached")


@dataclass
class OpenPool:
    """A pool's connection, name, encoder and collections, and cached values computed from its rows."""

    connection: Connection
    name: str
    encoder: Encoder
    collections: dict[Task, Any] = field(default_factory=dict)
    """Its Chroma collections by task; a task without examples has none."""
    closed: bool = False
    index_check: IndexCheck = field(default_factory=lambda: IndexCheck(0, 0, 0))
    """The result of the last check of its index."""
    _cache: dict[str, tuple[int, Any]] = field(default_factory=dict)
    _writes: int = 0
    _rows: dict[Task, tuple[tuple[Any, int] | None, Rows | None]] = field(default_factory=dict)
    _reads_rows: Lock = field(default_factory=Lock)

    def load_collections(self) -> None:
        """Read the pool's collections.

        Raises:
            StoreError: One of them can't be used with the encoder, or is not of this package.
        """
        collections = {task: find_collection(self.connection, self.name, task, self.encoder) for task in Task}
        self.collections = {task: collection for task, collection in collections.items() if collection is not None}

    def check_open(self) -> None:
        """Raise ``StoreError`` if the pool is closed or its connection is no longer usable."""
        if self.closed:
            raise StoreError("the store is closed")
        if (problem := self.connection.problem()) is not None:
            raise StoreError(problem)

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that have a collection."""
        self.check_open()
        return tuple(task for task in Task if task in self.collections)

    def collection(self, task: Task) -> Any:
        """The collection of a task.

        Raises:
            StoreError: The task has no examples.
        """
        self.check_open()
        if task not in self.collections:
            raise self.missing(task)
        return self.collections[task]

    def rows(self, task: Task) -> Rows | None:
        """The rows of a task in memory, for exact search; ``None`` where searches go through the index.

        They do if there are more than ``LARGEST`` rows, or if others may write without this process's knowledge, as on
        a server. Rows are read again after each write of this process, whichever store of it wrote.

        Raises:
            StoreError: The task has no examples.
        """
        collection = self.collection(task)
        if self.connection.writes is None:
            return None
        with self._reads_rows:
            state = collection.id, self.connection.writes()  # before reading: a write meanwhile makes it old
            before, rows = self._rows.get(task, (None, None))
            if before != state:
                known = rows if before and before[0] == collection.id else None
                rows = None if self.uses_index(task) else read_rows(collection, known)
                self._rows[task] = state, rows
        if rows is not None and not len(rows):
            raise self.missing(task)
        return rows

    def uses_index(self, task: Task) -> bool:
        """Whether searches go through the index."""
        return self.connection.writes is None or self.collection(task).count() > LARGEST

    def missing(self, task: Task) -> StoreError:
        """The error for a task without examples."""
        others = ", ".join(each for each in self.tasks if each is not task) or "none, it is empty"
        return StoreError(
            f"pool {self.name!r} in {self.connection.location} has no {task} examples to show; tasks it has: {others}"
        )

    def cached(self, key: str, task: Task, compute: Callable[[], Cached]) -> Cached:
        """The cached result of ``compute`` for this key, computed again when the number of the task's examples changes.

        Writes through this store clear the cache; writes of others on a server are noticed when the count changes.

        Raises:
            StoreError: The pool has no example of this task.
        """
        collection = self.collection(task)
        with chroma_errors(self.connection.location, "counting"):
            count = collection.count()
        if count == 0:
            raise self.missing(task)
        entry = self._cache.get(key)
        if entry is not None and entry[0] == count:
            cached: Cached = entry[1]
            return cached
        writes = self._writes
        value = compute()
        if writes == self._writes:  # otherwise another thread changed rows meanwhile
            self._cache[key] = count, value
        return value

    def clear_cache(self) -> None:
        """Clear the cached values, because rows change."""
        self._writes += 1
        self._cache.clear()
