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
from ruie_components.store.exact import LARGEST, Rows, read_few, read_rows
from ruie_components.store.index_check import IndexCheck
from ruie_components.store.records import row_filter
from ruie_components.store.search import KnownRows
from ruie_components.types import Task

Cached = TypeVar("Cached")
_State = tuple[Any, ...]
"""A collection's id, the number of writes to its pool by this process, and perhaps its number of rows."""


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
    has_failed_write: bool = False
    """Whether a write of this store failed since, and may have left rows that nothing looked up."""
    _cache: dict[str, tuple[_State, Any]] = field(default_factory=dict)
    _rows: dict[Task, tuple[_State, Rows | None]] = field(default_factory=dict)
    _known_rows: dict[str, tuple[_State, KnownRows]] = field(default_factory=dict)
    _reads_rows: Lock = field(default_factory=Lock)
    _switches: Lock = field(default_factory=Lock)

    def load_collections(self, encoder: Encoder | None = None) -> None:
        """Read the pool's collections.

        Args:
            encoder: The encoder that they have now, if it is another one.

        Raises:
            StoreError: One of them can't be used with the encoder, or is not of this package.
        """
        encoder = encoder or self.encoder
        collections = {task: find_collection(self.connection, self.name, task, encoder) for task in Task}
        with self._switches:
            self.encoder = encoder
            self.collections = {task: collection for task, collection in collections.items() if collection is not None}

    def close(self) -> None:
        """Make it unusable, and forget what it has in memory."""
        self.closed = True
        self.collections = {}
        self._cache.clear()
        self._rows.clear()
        self._known_rows.clear()

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

    def searched(self, task: Task) -> tuple[Encoder, Any, Rows | None]:
        """What a search of a task needs, of one moment: the encoder, the collection, and the rows for an exact search.

        The rows are ``None`` where searches go through the index: if there are more than ``LARGEST``, or if others may
        write without this process's knowledge, as on a server. Rows are read again after each write of this process,
        whichever store of it wrote.

        Raises:
            StoreError: The task has no examples.
        """
        with self._switches:
            encoder, collection = self.encoder, self.collection(task)
        if not self.connection.is_private:
            return encoder, collection, None
        with self._reads_rows:
            state = self._state(collection)  # before reading: a write meanwhile makes it old
            before, rows = self._rows.get(task, (None, None))
            if before != state:
                known = rows if before and before[0] == collection.id else None
                rows = None if self.uses_index(collection) else read_rows(collection, known)
                self._rows[task] = state, rows
        if rows is not None and not len(rows):
            raise self.missing(task)
        return encoder, collection, rows

    def has_rows(self, task: Task) -> bool:
        """Whether a task has examples; in a folder or in memory it is counted once after each write."""
        collection = self.collections[task]
        key, state = f"has rows {task}", self._state(collection)
        before, known = self._cache.get(key, (None, None))
        if not self.connection.is_private or before != state:
            with chroma_errors(self.connection.location, "counting"):
                known = collection.count() > 0
            self._cache[key] = state, known
        return bool(known)

    def rows_of_event(self, task: Task, collection: Any, event_type: str) -> Rows | None:
        """The rows about an event of a type, for an exact search; ``None`` if there are more than ``FEW``.

        They are kept until a write of this process. On a server, where others may write, it is ``None``.

        Args:
            task: The task.
            collection: Its collection, from ``searched``.
            event_type: The type.
        """
        if not self.connection.is_private:
            return None

        # without the number of rows, which takes Chroma milliseconds to count: only this process writes
        key, state = f"rows of event {task} {event_type}", self._state(collection)
        before, rows = self._cache.get(key, (None, None))
        if before != state:
            rows = read_few(collection, row_filter(event_type=event_type))
            self._cache[key] = state, rows
        return rows

    def known_rows(self, collection: Any) -> KnownRows:
        """The rows of a collection that searches returned since the last write; none on a server, where others write.

        Ask for them before the search: rows that are read while this process writes belong to the state before.
        """
        if not self.connection.is_private:
            return KnownRows()
        state = self._state(collection)
        before, known = self._known_rows.get(collection.name, (None, None))
        if known is None or before != state:
            known = KnownRows()
            self._known_rows[collection.name] = state, known
        return known

    def uses_index(self, collection: Any) -> bool:
        """Whether searches of a collection go through the index."""
        return not self.connection.is_private or collection.count() > LARGEST

    def count_write(self) -> None:
        """Note that rows change, at the beginning and at the end of a write: what was computed from them is old."""
        self.connection.writes[self.name] += 1

    def _state(self, collection: Any) -> _State:
        return collection.id, self.connection.writes[self.name]

    def missing(self, task: Task) -> StoreError:
        """The error for a task without examples."""
        others = ", ".join(each for each in self.tasks if each is not task) or "none, it is empty"
        return StoreError(
            f"pool {self.name!r} in {self.connection.location} has no {task} examples to show; tasks it has: {others}"
        )

    def cached(self, key: str, task: Task, compute: Callable[[], Cached]) -> Cached:
        """The cached result of ``compute`` for this key, computed again after a write of this process.

        Writes of others on a server are noticed when the number of the task's examples changes.

        Raises:
            StoreError: The pool has no example of this task.
        """
        collection = self.collection(task)
        state = self._state(collection)
        if not self.connection.is_private:
            state = (*state, self._count(task))
        entry = self._cache.get(key)
        if entry is not None and entry[0] == state:
            cached: Cached = entry[1]
            return cached
        self._count(task)
        value = compute()
        self._cache[key] = state, value  # old already, if another thread changed rows meanwhile
        return value

    def _count(self, task: Task) -> int:
        """How many examples a task has: at least one."""
        with chroma_errors(self.connection.location, "counting"):
            count = int(self.collection(task).count())
        if count == 0:
            raise self.missing(task)
        return count
