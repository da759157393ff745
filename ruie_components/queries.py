"""From what a user passes (a string, a mapping, an Example, a Query) to a Query."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ruie_components.store import DemonstrationStore
from ruie_components.types import EventQuery, Example, Query, Task

QueryInput = Query | Example | Mapping[str, Any] | str
"""A query; an example, whose query is meant; a mapping with ``text`` and perhaps ``task``, ``labels``, ``event``
(or with a ``query``); or a text alone."""


def as_query(value: Query | Example) -> Query:
    """A query as it is; of an example its query.

    Raises:
        TypeError: Anything else.
    """
    if isinstance(value, Example):
        return value.query
    if not isinstance(value, Query):
        raise TypeError(
            f'{type(value).__name__} is no query: give Query(task="NER", text="...", labels=["..."]), for example. '
            "Texts and mappings are read by what create_extraction_chain returns."
        )
    return value


@dataclass(frozen=True)
class QueryDefaults:
    """What holds where an input doesn't say.

    Without a task the only task of the store's pool is meant; without labels, all the labels of that task in the pool.
    """

    store: DemonstrationStore
    task: Task | str | None = None
    labels: Sequence[str] | None = None
    event: EventQuery | Mapping[str, Any] | None = None
    text_key: str | None = None
    """The key of a mapping that holds the text; ``text`` or else ``input`` if not given."""

    def query(self, value: QueryInput, **given: Any) -> Query:
        """The query that is meant. ``given`` (task, labels, event) goes before what the value says.

        Raises:
            ValueError: No text, no task, or no labels to be found; or a query that is not valid.
        """
        given = {name: chosen for name, chosen in given.items() if chosen is not None}
        if isinstance(value, Mapping) and isinstance(value.get("query"), Query | Example):
            value = value["query"]
        if isinstance(value, Example):
            value = value.query
        if isinstance(value, Query):
            return Query.model_validate({**dict(value), **given}) if given else value
        said = {"text": value} if isinstance(value, str) else self._read(value)
        return self._complete({**said, **given})

    def _read(self, value: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise TypeError(f"{type(value).__name__} is no input: give a text, a mapping with a text, or a Query")
        keys = (self.text_key,) if self.text_key else ("text", "input")
        text = next((value[key] for key in keys if isinstance(value.get(key), str)), None)
        if text is None:
            raise ValueError(f"the input has no text under {' or '.join(map(repr, keys))}; it has {sorted(value)}")
        labels = value.get("labels", value.get("schema"))
        said = {"text": text, "labels": labels, "task": value.get("task"), "event": value.get("event")}
        return {name: chosen for name, chosen in said.items() if chosen is not None}

    def _complete(self, said: dict[str, Any]) -> Query:
        task = Task(said.get("task") or self.task or self._only_task())
        labels = said.get("labels", self.labels)
        if isinstance(labels, str):
            raise ValueError(f"labels is the string {labels!r}; give a list of labels")
        if labels is None and not (labels := self.store.labels(task)):
            raise ValueError(f"pool {self.store.pool!r} has no {task} labels to look for: give labels=[...]")
        event = said.get("event", self.event) if task is Task.EAE else said.get("event")
        return Query(task=task, text=said["text"], labels=tuple(labels), event=event)

    def _only_task(self) -> Task:
        tasks = list(self.store.tasks)
        if len(tasks) != 1:
            held = ", ".join(tasks) or "no task"
            raise ValueError(
                f'which task? pool {self.store.pool!r} holds {held}: give task="NER" (--task NER), for example'
            )
        return Task(tasks[0])
