"""Reads rows of an open pool: examples, a sample of them, ids, labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

from ruie_components.selection.token_weights import SAMPLE, sample_slices
from ruie_components.store import records
from ruie_components.store.collections import kept_labels
from ruie_components.store.connections import chroma_errors
from ruie_components.store.open_pool import OpenPool
from ruie_components.types import Example, Task

PAGE = 1000
"""Rows read per call."""

Item = TypeVar("Item")


def pages(items: Sequence[Item], size: int = PAGE) -> Iterator[Sequence[Item]]:
    """Parts of at most ``size`` items."""
    return (items[start : start + size] for start in range(0, len(items), size))


def count(pool: OpenPool, tasks: Iterable[Task]) -> int:
    """How many examples of these tasks there are."""
    pool.check_open()
    with chroma_errors(pool.connection.location, "counting"):
        return sum(pool.collections[task].count() for task in tasks if task in pool.collections)


def get(pool: OpenPool, ids: Iterable[str]) -> list[Example]:
    """The examples with these ids, in this order; unknown ids are skipped."""
    unique = list(dict.fromkeys(ids))
    examples: dict[str, Example] = {}
    with chroma_errors(pool.connection.location, "reading"):
        for page in pages(unique):
            for task in pool.tasks:
                examples |= _read(pool, pool.collections[task].get(ids=page, include=["metadatas"]))
    return [examples[row_id] for row_id in unique if row_id in examples]


def examples(pool: OpenPool, tasks: Iterable[Task]) -> Iterator[Example]:
    """All examples of some tasks.

    The list of rows is read at the start of a task: rows deleted meanwhile are skipped, and rows added meanwhile are
    left out.
    """
    pool.check_open()
    for task in tasks:
        if task not in pool.collections:
            continue
        with chroma_errors(pool.connection.location, "reading"):
            ids = pool.collections[task].get(include=[])["ids"]
        for page in pages(ids):
            pool.check_open()
            with chroma_errors(pool.connection.location, "reading"):
                rows = pool.collections[task].get(ids=page, include=["metadatas"])
            read = _read(pool, rows)
            yield from (read[row_id] for row_id in page if row_id in read)


def sample(pool: OpenPool, task: Task, size: int) -> list[Example]:
    """At most ``size`` examples of a task from all parts of the pool (``sample_slices``), the same ones each time."""
    collection = pool.collection(task)
    with chroma_errors(pool.connection.location, "reading"):
        parts = [
            collection.get(offset=part.start, limit=part.stop - part.start, include=["metadatas"])
            for part in sample_slices(collection.count(), size)
        ]
    return [example for part in parts for example in _read(pool, part).values()]


def long_text(pool: OpenPool, task: Task) -> str:
    """A text that nine of ten texts of a task, or of a sample of them, are not longer than; kept with the pool."""

    def read() -> str:
        texts = sorted((example.text for example in sample(pool, task, SAMPLE)), key=len)
        return texts[-(-len(texts) * 9 // 10) - 1]

    return pool.cached(f"long text {task}", task, read)


def labels(pool: OpenPool, task: Task) -> tuple[str, ...]:
    """All labels of the schemas of a task's examples, in the order in which they were added."""

    def read() -> tuple[str, ...]:
        with chroma_errors(pool.connection.location, "reading"):
            kept = kept_labels(pool.connection, pool.collections[task])
        if kept is not None:
            return kept
        return tuple(dict.fromkeys(label for example in examples(pool, [task]) for label in example.labels))

    return pool.cached(f"labels {task}", task, read)


def ids(pool: OpenPool, task: Task) -> list[str]:
    """The ids of all examples of a task, sorted."""
    collection = pool.collection(task)
    with chroma_errors(pool.connection.location, "reading"):
        return pool.cached(f"ids {task}", task, lambda: sorted(collection.get(include=[])["ids"]))


def has_label(pool: OpenPool, task: Task, label: str) -> bool:
    """Whether an example of this task has an annotation with this label."""
    collection = pool.collection(task)
    where = records.row_filter(labels=[label])
    with chroma_errors(pool.connection.location, "reading"):
        return pool.cached(
            f"has_label {task} {label}",
            task,
            lambda: bool(collection.get(where=where, limit=1, include=[])["ids"]),
        )


def _read(pool: OpenPool, page: Any) -> dict[str, Example]:
    return {
        row_id: records.from_json(row_id, (metadata or {}).get(records.EXAMPLE), pool.connection.location)
        for row_id, metadata in zip(page["ids"], page["metadatas"], strict=True)
    }
