"""From a text, a mapping, an Example or a Query to a Query and its demonstrations."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakSet

from pydantic import ValidationError

from ruie_components.errors import RuieError, explain
from ruie_components.selection import Selector
from ruie_components.store import DemonstrationStore, TunedSettings
from ruie_components.types import Demonstration, EventQuery, Example, Query, Task

_LOG = logging.getLogger(__name__)
_WARNED: WeakSet[DemonstrationStore] = WeakSet()
"""The stores for which a warning about tuned settings was logged."""

QueryInput = Query | Example | Mapping[str, Any] | str
"""A query; an example, which stands for its query; a mapping with ``text`` and perhaps ``task``, ``labels`` (or
``schema``), ``event``, ``id`` and ``metadata``, or with a ``query``; or a plain text."""


class DemonstrationRetriever:
    """The demonstrations of a pool for an input, best first.

    A plain text is enough if the pool determines the rest: the task defaults to the pool's only task, and the labels to
    all labels of that task in the pool. Values of an input take precedence over the arguments here, and the arguments
    of a call over both.

    Args:
        store: The pool.
        selector: How demonstrations are chosen. Default: the settings that ``ruie tune`` chose for the task, else
            ``Selector()``, by similarity. Where the pool holds several tasks, tuned settings need ``task``.
        k: How many. Default: the selector's own number, 8 where the pool was not tuned.
        task: The task of inputs without one.
        labels: The labels of inputs without any.
        event: For event argument extraction, the event of inputs without one: its ``type`` and ``trigger``.
        text_key: The key under which mappings hold the text. Default: ``text``, else ``input``.

    Raises:
        TypeError: ``store`` is not a ``DemonstrationStore``, or ``selector`` not a ``Selector``.
        ValueError: ``k`` is negative, ``labels`` is a string, or ``task`` or ``event`` is not valid.

    >>> ada = {"text": "Ada", "type": "person", "start": 0, "end": 3}
    >>> example = Example(task="NER", text="Ada slept.", labels=["person"], entities=[ada])
    >>> with DemonstrationStore.create([example], progress=False) as store:
    ...     retriever = DemonstrationRetriever(store, k=4)
    ...     demonstrations = retriever.retrieve("Bob slept.")
    ...     query = retriever.query("Bob slept.")
    >>> demonstrations[0].example.text, query.labels
    ('Ada slept.', ('person',))
    """

    def __init__(
        self,
        store: DemonstrationStore,
        selector: Selector | None = None,
        k: int | None = None,
        task: Task | str | None = None,
        labels: Sequence[str] | None = None,
        event: EventQuery | Mapping[str, Any] | None = None,
        *,
        text_key: str | None = None,
    ) -> None:
        if not isinstance(store, DemonstrationStore):
            raise TypeError(
                f"expected a DemonstrationStore as store, got {type(store).__name__}: DemonstrationStore.open(PATH), "
                "for example"
            )
        if selector is not None and not isinstance(selector, Selector):
            raise TypeError(f'expected a Selector, got {type(selector).__name__}; use Selector("mmr"), for example')
        self.store = store
        self.task = None if task is None else Task(task)
        self.tuned = store.tuned(self.task) or TunedSettings()
        if self.task is None:
            _warn_of_tuned(store)
        self.selector = _with_k(selector or Selector(self.tuned.method, self.tuned.k), k)
        self.labels = None if labels is None else _label_list(labels)
        self.event = None if event is None else EventQuery.model_validate(event)
        self.text_key = text_key

    def __repr__(self) -> str:
        given = {"task": self.task and self.task.value, "labels": self.labels, "event": self.event}
        settings = "".join(f", {name}={value!r}" for name, value in given.items() if value is not None)
        return f"DemonstrationRetriever(pool={self.store.pool!r}, {self.selector!r}{settings})"

    def query(
        self,
        value: QueryInput,
        *,
        task: Task | str | None = None,
        labels: Sequence[str] | None = None,
        event: EventQuery | Mapping[str, Any] | None = None,
    ) -> Query:
        """The query of an input.

        Args:
            value: An input.
            task: The task; it overrides the input's.
            labels: The labels; they override the input's.
            event: The event; it overrides the input's.

        Raises:
            TypeError: The input is of another kind.
            ValueError: The input has no text; the pool holds several tasks, or no labels, and none is given; or the
                query is not valid. The message lists the choices.
        """
        given = {"task": task, "labels": labels, "event": event}
        given = {name: chosen for name, chosen in given.items() if chosen is not None}
        if isinstance(value, Mapping) and isinstance(value.get("query"), Query | Example):
            value = value["query"]
        if isinstance(value, Example):
            value = value.query
        if isinstance(value, Query):
            return _query({**dict(value), **given}) if given else value
        own = {"text": value} if isinstance(value, str) else self._read(value)
        return self._complete({**own, **given})

    def retrieve(
        self,
        value: QueryInput,
        *,
        k: int | None = None,
        task: Task | str | None = None,
        labels: Sequence[str] | None = None,
        event: EventQuery | Mapping[str, Any] | None = None,
    ) -> list[Demonstration]:
        """The demonstrations for an input, best first; none of them has the input's own text.

        Args:
            value: An input.
            k: How many, for this input.
            task: As for ``query``.
            labels: As for ``query``.
            event: As for ``query``.

        Raises:
            TypeError: As for ``query``.
            ValueError: As for ``query``; or ``k`` is negative.
            StoreError: The pool has no example of the task, or can't be read.
        """
        query = self.query(value, task=task, labels=labels, event=event)
        return _with_k(self.selector, k).select(self.store, query)

    def explain(
        self,
        value: QueryInput,
        *,
        k: int | None = None,
        task: Task | str | None = None,
        labels: Sequence[str] | None = None,
        event: EventQuery | Mapping[str, Any] | None = None,
    ) -> str:
        """The demonstrations for an input with the reason for each, as a text to print.

        Programs read ``Demonstration.reason``. Arguments and errors are those of ``retrieve``.
        """
        query = self.query(value, task=task, labels=labels, event=event)
        return _with_k(self.selector, k).explain(self.store, query)

    async def aretrieve(
        self,
        value: QueryInput,
        *,
        k: int | None = None,
        task: Task | str | None = None,
        labels: Sequence[str] | None = None,
        event: EventQuery | Mapping[str, Any] | None = None,
    ) -> list[Demonstration]:
        """``retrieve`` in a thread, without blocking the event loop."""
        return await asyncio.to_thread(self.retrieve, value, k=k, task=task, labels=labels, event=event)

    def retrieve_many(
        self,
        values: Sequence[QueryInput],
        *,
        k: int | None = None,
        task: Task | str | None = None,
        labels: Sequence[str] | None = None,
        event: EventQuery | Mapping[str, Any] | None = None,
    ) -> list[list[Demonstration] | Exception]:
        """The demonstrations for many inputs, which are encoded and searched together.

        Arguments are those of ``retrieve``.

        Returns:
            For each input its demonstrations, or the error that ``retrieve`` would raise for it.

        Raises:
            ValueError: ``k`` is negative.
        """
        selector = _with_k(self.selector, k)
        read: list[Query | Exception] = []
        for value in values:
            try:
                read.append(self.query(value, task=task, labels=labels, event=event))
            except (RuieError, ValueError, TypeError) as error:
                read.append(error)
        queries = [query for query in read if isinstance(query, Query)]
        chosen = iter(_select_each(selector, self.store, queries))
        return [next(chosen) if isinstance(query, Query) else query for query in read]

    def _read(self, value: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise TypeError(
                f"expected a text, a mapping with a text, a Query or an Example, got {type(value).__name__}"
            )
        keys = (self.text_key,) if self.text_key else ("text", "input")
        text = next((value[key] for key in keys if isinstance(value.get(key), str)), None)
        if text is None:
            raise ValueError(
                f"the input has no text under {' or '.join(map(repr, keys))}; it has {sorted(value)}: name the key of "
                "the text with text_key"
            )
        labels = value.get("labels", value.get("schema"))
        own = {"text": text, "labels": labels}
        own |= {name: value.get(name) for name in ("task", "event", "id", "metadata")}
        return {name: chosen for name, chosen in own.items() if chosen is not None}

    def _complete(self, known: dict[str, Any]) -> Query:
        task = Task(known.get("task") or self.task or self._only_task())
        labels = known.get("labels", self.labels)
        labels = self.store.labels(task) if (of_pool := labels is None) else _label_list(labels)
        if not labels:
            empty = f"pool {self.store.pool!r} has no {task} labels" if of_pool else "the list of labels is empty"
            raise ValueError(f"{empty}: give labels=[...]{'' if of_pool else ', or none for those of the pool'}")
        event = known.get("event", self.event) if task is Task.EAE else known.get("event")
        own: dict[str, Any] = {name: known[name] for name in ("id", "metadata") if name in known}
        return _query({"task": task, "text": known["text"], "labels": labels, "event": event, **own})

    def _only_task(self) -> Task:
        tasks = list(self.store.tasks)
        if len(tasks) != 1:
            choices = ", ".join(tasks) or "no task"
            raise ValueError(
                f'which task? pool {self.store.pool!r} holds {choices}: give task="NER" (--task NER), for example'
            )
        return Task(tasks[0])


def _warn_of_tuned(store: DemonstrationStore) -> None:
    """Say that settings are not used where it is open which task they would be for."""
    tasks = store.tasks
    tuned = [task for task in tasks if store.tuned(task)]
    if tuned and len(tasks) > 1 and store not in _WARNED:
        _WARNED.add(store)
        _LOG.warning(
            "the settings that ruie tune chose for %s are not used: pool %r holds several tasks; give task=%r",
            " and ".join(tuned),
            store.pool,
            str(tuned[0]),
        )


def _query(fields: Mapping[str, Any]) -> Query:
    try:
        return Query.model_validate(fields)
    except ValidationError as error:
        raise ValueError(explain(error, whole="")) from error


def _label_list(labels: Any) -> tuple[str, ...]:
    if isinstance(labels, str | Mapping):
        kind = "string" if isinstance(labels, str) else "mapping"
        raise ValueError(f"labels: expected a list of labels, got the {kind} {labels!r:.80}")
    return tuple(labels)


def _with_k(selector: Selector, k: int | None) -> Selector:
    return selector if k is None else replace(selector, k=k)


def _select_each(
    selector: Selector, store: DemonstrationStore, queries: Sequence[Query]
) -> list[list[Demonstration] | Exception]:
    """The demonstrations of many queries, searched together; for a query that fails, its error."""
    try:
        return [*selector.select_many(store, queries)]
    except (RuieError, ValueError) as error:
        # a query of a task that the pool lacks must not fail the others
        return [error] if len(queries) == 1 else [_select_each(selector, store, [query])[0] for query in queries]
