"""Writes examples to a pool's collections; encodes the next batch while one is written."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from ruie_components.store import records
from ruie_components.store.collections import create_collection, keep_labels
from ruie_components.store.connections import Connection, chroma_errors
from ruie_components.store.open_pool import OpenPool
from ruie_components.types import Example, Task

_BATCH = 2000  # rows per write; Chroma's limit is larger, and every write takes time of its own
_ALL_IDS = 16  # reading the ids of so many times as many rows takes less time than looking up the ids of a batch


def batch_size(connection: Connection) -> int:
    """How many rows to read or write per call."""
    return min(_BATCH, int(connection.client.get_max_batch_size()))


def writing_mark(pool: OpenPool) -> Path | None:
    """The file that exists while a process changes rows of the pool, and remains if it is killed or fails."""
    folder = pool.connection.folder
    return folder / ".ruie" / f"writing-{pool.name}" if folder else None


@contextmanager
def writing(pool: OpenPool, doing: str) -> Iterator[Writer]:
    """A block in which no other process has the pool's folder open, and a writer for it.

    Args:
        pool: The pool.
        doing: The operation, for error messages.
    """
    with pool.connection.writing(), chroma_errors(pool.connection.location, doing):
        mark = writing_mark(pool)
        is_unchecked = mark is not None and mark.exists()  # an earlier write was interrupted
        writer = Writer(pool)
        try:
            yield writer
        except BaseException:
            pool.has_failed_write |= writer.has_begun
            raise
        finally:
            if writer.has_begun:
                pool.count_write()
        if mark is not None and not is_unchecked:  # after an error it stays until the whole index is checked
            mark.unlink(missing_ok=True)


class Writer:
    """Takes examples one by one and writes the new ones; as a context manager, it finishes writing on exit.

    Another thread writes, beside encoders and servers that release the interpreter; Chroma in this process holds it.

    Args:
        pool: The pool, locked for writing; collections that are created are added to it.
    """

    def __init__(self, pool: OpenPool) -> None:
        self._pool = pool
        self._size = batch_size(pool.connection)
        self._waiting: dict[Task, dict[str, Example]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ruie-write")
        self._pending: tuple[Task, dict[str, Example], Future[None]] | None = None
        self._ids: dict[Task, set[str]] = {}  # all ids of a task, where they were read or all written by this writer
        self.has_begun = False
        """Whether rows or their index may have changed."""
        self.written: dict[Task, list[str]] = {}
        """The ids of the rows that were new."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                for task in list(self._waiting):
                    self._write(task)
            self._finish()
        finally:
            self._thread.shutdown()

    @property
    def new(self) -> int:
        """The number of new rows."""
        return sum(map(len, self.written.values()))

    def begin(self) -> None:
        """Mark the pool as being written; before rows or their index change."""
        self.has_begun = True
        self._pool.count_write()
        if (mark := writing_mark(self._pool)) is not None:
            mark.touch()

    def put(self, example: Example) -> None:
        """Write an example, at the end of the block at the latest."""
        batch = self._waiting.setdefault(example.task, {})
        batch.setdefault(example.content_id, example)
        if len(batch) >= self._size:
            self._write(example.task)

    def _write(self, task: Task) -> None:
        batch = self._waiting.pop(task)
        pool = self._pool
        if task not in pool.collections:
            self._finish()
            pool.collections[task] = create_collection(pool.connection, pool.name, task, pool.encoder)
        collection = pool.collections[task]
        known = self._known(task, collection, list(batch))
        new = {row_id: example for row_id, example in batch.items() if row_id not in known}
        if not new:
            return
        rows = {
            "ids": list(new),
            "embeddings": pool.encoder.encode_examples(list(new.values())),
            "metadatas": [records.metadata(example) for example in new.values()],
        }
        labels = dict.fromkeys(label for each in new.values() for label in each.labels)

        def write() -> None:
            self.begin()
            # before the rows: a kill in between leaves a label too many rather than one too few
            keep_labels(pool.connection, collection, labels)
            collection.add(**rows)  # ignores ids that another process has written to a server meanwhile

        self._finish()
        self._pending = task, new, self._thread.submit(write)
        if task in self._ids:
            self._ids[task] |= new.keys()

    def _known(self, task: Task, collection: Any, batch: list[str]) -> set[str]:
        """The ids that the collection has, or will have after the pending write: all of them, or those of a batch."""
        if task not in self._ids and self._pool.connection.is_private and collection.count() <= _ALL_IDS * len(batch):
            self._finish()
            self._ids[task] = set(collection.get(include=[])["ids"])
        if task in self._ids:
            return self._ids[task]
        known = set(collection.get(ids=batch, include=[])["ids"])
        if self._pending is not None and self._pending[0] is task:
            known |= self._pending[1].keys()
        return known

    def _finish(self) -> None:
        if self._pending is None:
            return
        task, new, future = self._pending
        self._pending = None
        future.result()
        self.written.setdefault(task, []).extend(new)
