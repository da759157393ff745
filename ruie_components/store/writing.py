"""Writes examples into a pool's collections: while one batch is written, the next one is encoded."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from ruie_components.encoders import Encoder
from ruie_components.store import records
from ruie_components.store.collections import create_collection, keep_labels
from ruie_components.store.connections import Connection
from ruie_components.store.index_check import IndexCheck, check_written
from ruie_components.types import Example, Task

_BATCH = 1000  # rows of one write; Chroma's own limit is larger


def batch_size(connection: Connection) -> int:
    """How many rows are read or written in one call."""
    return min(_BATCH, int(connection.client.get_max_batch_size()))


class Writer:
    """Takes examples one by one and writes those that are new; a context manager, at whose end all are written.

    Chroma releases the interpreter while it writes, so a thread of its own does that.

    Args:
        connection: Where the pool is; a folder must be locked for writing.
        pool: Its name.
        encoder: What embeds its rows.
        collections: Its collections; those that are created are added.
    """

    def __init__(self, connection: Connection, pool: str, encoder: Encoder, collections: dict[Task, Any]) -> None:
        self._connection, self._pool, self._encoder = connection, pool, encoder
        self._collections = collections
        self._size = batch_size(connection)
        self._waiting: dict[Task, dict[str, Example]] = {}
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ruie-write")
        self._pending: tuple[Task, dict[str, Example], Future[None]] | None = None
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
        """How many rows were new."""
        return sum(map(len, self.written.values()))

    def put(self, example: Example) -> None:
        """Write an example, at the latest at the end of the block."""
        batch = self._waiting.setdefault(example.task, {})
        batch.setdefault(example.content_id, example)
        if len(batch) >= self._size:
            self._write(example.task)

    def check(self) -> IndexCheck:
        """Look up some of the written rows through the index, and repair it where it lost one."""
        checks = [check_written(self._collections[task], ids) for task, ids in self.written.items()]
        return sum(checks, IndexCheck(0, 0, 0))

    def _write(self, task: Task) -> None:
        batch = self._waiting.pop(task)
        if task not in self._collections:
            self._finish()
            self._collections[task] = create_collection(self._connection, self._pool, task, self._encoder)
        collection = self._collections[task]
        known = set(collection.get(ids=list(batch), include=[])["ids"])
        if self._pending is not None and self._pending[0] is task:
            known |= self._pending[1].keys()
        new = {row_id: example for row_id, example in batch.items() if row_id not in known}
        if not new:
            return
        encoder = self._encoder
        rows = {
            "ids": list(new),
            "embeddings": encoder.encode_examples(list(new.values())),
            "documents": [records.document(example) for example in new.values()],
            "metadatas": [records.metadata(example) for example in new.values()],
        }
        labels = dict.fromkeys(label for each in new.values() for label in each.labels)

        def write() -> None:
            # before the rows, so that a kill in between leaves a label too many and not one too few
            keep_labels(self._connection, collection, labels)
            collection.add(**rows)  # ignores an id that another process on a server wrote in this moment

        self._finish()
        self._pending = task, new, self._thread.submit(write)

    def _finish(self) -> None:
        if self._pending is None:
            return
        task, new, future = self._pending
        self._pending = None
        future.result()
        self.written.setdefault(task, []).extend(new)
