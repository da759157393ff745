"""Makes a pool equal to a list of examples: plans the changes and applies them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ruie_components.errors import StoreError
from ruie_components.store import records
from ruie_components.store.collections import kept_descriptions, set_descriptions, set_labels
from ruie_components.store.connections import Connection, chroma_errors
from ruie_components.store.open_pool import OpenPool
from ruie_components.store.reading import PAGE, pages
from ruie_components.store.writing import Writer, batch_size
from ruie_components.tokenization import text_hash
from ruie_components.types import Example, Task


@dataclass(frozen=True)
class SyncResult:
    """How many rows a sync changed, or would change."""

    added: int = 0
    changed: int = 0
    """Replaced by a row with the same ``id``, or else with the same text; or the same content with other metadata."""
    removed: int = 0
    unchanged: int = 0

    def __add__(self, other: SyncResult) -> SyncResult:
        return SyncResult(
            self.added + other.added,
            self.changed + other.changed,
            self.removed + other.removed,
            self.unchanged + other.unchanged,
        )


@dataclass
class Plan:
    """The work of a sync on one task."""

    new: list[Example] = field(default_factory=list)
    """Rows that are not in the pool."""
    updated: list[Example] = field(default_factory=list)
    """Rows whose id or metadata in the pool differs."""
    stale: list[str] = field(default_factory=list)
    """The ids of the rows to remove."""
    replaced: int = 0
    """How many new rows replace a stale one."""
    unchanged: int = 0

    @property
    def steps(self) -> int:
        """How many rows are written or deleted."""
        return len(self.new) + len(self.updated) + len(self.stale)

    @property
    def result(self) -> SyncResult:
        """The numbers of the plan."""
        return SyncResult(
            added=len(self.new) - self.replaced,
            changed=self.replaced + len(self.updated),
            removed=len(self.stale) - self.replaced,
            unchanged=self.unchanged,
        )


def group_by_task(examples: Iterable[Example]) -> dict[Task, dict[str, Example]]:
    """Examples by task and content id; the first of several with the same content counts."""
    by_task: dict[Task, dict[str, Example]] = {}
    for example in examples:
        by_task.setdefault(example.task, {}).setdefault(example.content_id, example)
    return by_task


def make_plans(pool: OpenPool, targets: Mapping[Task, Mapping[str, Example]]) -> dict[Task, Plan]:
    """Plan the changes of each task's collection.

    Args:
        pool: The pool.
        targets: The target examples of each task, by content id.

    Raises:
        StoreError: The pool can't be read.
    """
    with chroma_errors(pool.connection.location, "comparing examples"):
        return {task: make_plan(pool.connection, pool.collections.get(task), targets.get(task, {})) for task in Task}


def make_plan(connection: Connection, collection: Any | None, target: Mapping[str, Example]) -> Plan:
    """Compare a collection with its target examples, by content id.

    A new row replaces a stale one that has the same ``id``, or else the same text; each stale row is replaced once.
    """
    plan = Plan()
    stale_by_id: dict[str, list[str]] = {}
    stale_by_text: dict[str, list[str]] = {}
    seen: set[str] = set()
    ids = collection.get(include=[])["ids"] if collection is not None else []
    for page_ids in pages(ids, PAGE):
        page = collection.get(ids=page_ids, include=["metadatas"])  # type: ignore[union-attr]
        for row_id, metadata in zip(page["ids"], page["metadatas"], strict=True):
            stored = (metadata or {}).get(records.EXAMPLE)
            if row_id not in target:
                plan.stale.append(row_id)
                stale_by_text.setdefault((metadata or {}).get(records.TEXT, ""), []).append(row_id)
                if (own := _own_id(stored)) is not None:
                    stale_by_id.setdefault(own, []).append(row_id)
                continue
            seen.add(row_id)
            if stored == records.to_json(target[row_id]) or _same(connection, row_id, stored, target[row_id]):
                plan.unchanged += 1
            else:
                plan.updated.append(target[row_id])
    plan.new = [example for row_id, example in target.items() if row_id not in seen]
    taken: set[str] = set()
    rest = [each for each in plan.new if not _take(stale_by_id.get(_key(each.id), []), taken)]
    left = [each for each in rest if not _take(stale_by_text.get(text_hash(each.text), []), taken)]
    plan.replaced = len(plan.new) - len(left)
    return plan


def apply_plans(
    pool: OpenPool,
    writer: Writer,
    plans: Mapping[Task, Plan],
    targets: Mapping[Task, Mapping[str, Example]],
    advance: Callable[[int], None],
) -> None:
    """Add, update and remove rows, in this order, so that an interruption loses nothing.

    Args:
        pool: The pool, locked for writing.
        writer: Its writer.
        plans: By task.
        targets: The target examples of each task.
        advance: Called with the number of rows done since the last call.
    """
    size = batch_size(pool.connection)
    descriptions: dict[str, str] = {}
    for collection in pool.collections.values():
        descriptions |= kept_descriptions(pool.connection, collection)
    with writer:
        for example in (example for plan in plans.values() for example in plan.new):
            writer.put(example)
            advance(1)
    for task, plan in plans.items():
        collection = pool.collections.get(task)
        if collection is None:
            continue
        if plan.updated or plan.stale:
            writer.begin()
        for updated in pages(plan.updated, size):
            metadatas = [records.metadata(example) for example in updated]
            collection.update(ids=[example.content_id for example in updated], metadatas=metadatas)
            advance(len(updated))
        if not targets.get(task):
            for other in (each for each in pool.collections if each is not task and descriptions):
                set_descriptions(pool.connection, pool.collections[other], descriptions)  # they hold for all tasks
            pool.connection.client.delete_collection(collection.name)
            del pool.collections[task]
            continue
        for stale in pages(plan.stale, size):
            collection.delete(ids=stale)
            advance(len(stale))
        labels = dict.fromkeys(label for example in targets[task].values() for label in example.labels)
        set_labels(pool.connection, collection, labels)


def _take(candidates: list[str], taken: set[str]) -> bool:
    chosen = next((row_id for row_id in candidates if row_id not in taken), None)
    if chosen is None:
        return False
    taken.add(chosen)
    return True


def _own_id(stored: Any) -> str | None:
    try:
        own = json.loads(stored).get("id")
    except (TypeError, ValueError, AttributeError):
        return None  # not readable, so it is replaced by its text, or removed
    return None if own is None else _key(own)


def _key(own: object) -> str:
    return json.dumps(own)  # the id 1 is not the id "1"


def _same(connection: Connection, row_id: str, stored: Any, example: Example) -> bool:
    try:
        return records.from_json(row_id, stored, connection.location).to_row() == example.to_row()
    except StoreError:
        return False  # a damaged row is written again
