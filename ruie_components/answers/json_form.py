"""The JSON form of an answer: its schema, and its items in whichever of the usual shapes a model chose."""

from __future__ import annotations

from itertools import chain
from typing import Any

from ruie_components.answers.items import Item, Reading
from ruie_components.answers.labels import Labels
from ruie_components.answers.loose_json import OPENING, Array, Object, Text, Value, read
from ruie_components.prompts import JSON_NAMES, TASK_NAMES
from ruie_components.types import Query, Task

_LABEL_NAMES = ("type", "label", "role", "relation", "entity_type", "event_type", "category", "class")
_SPAN_NAMES = ("text", "span", "trigger", "entity", "name", "value", "mention", "argument", "word")
_HEAD_NAMES = ("head", "subject", "source", "from")
_TAIL_NAMES = ("tail", "object", "target", "to")


def json_schema(query: Query) -> dict[str, Any]:
    """The JSON schema of a query's answer: for Ollama's ``format=`` and LangChain's ``with_structured_output``.

    >>> schema = json_schema(Query(task="NER", text="Ada met Bob.", labels=["person"]))
    >>> schema["properties"]["entities"]["items"]["properties"]["type"]
    {'type': 'string', 'enum': ['person']}
    """
    name, (label, *spans) = JSON_NAMES[query.task]
    properties: dict[str, Any] = {label: {"type": "string", "enum": list(query.labels)}}
    properties |= {span: {"type": "string"} for span in spans}
    item = {"type": "object", "properties": properties, "required": [label, *spans], "additionalProperties": False}
    return {
        "title": name,
        "description": f"{TASK_NAMES[query.task]}: spans copied from the input exactly as they are written there.",
        "type": "object",
        "properties": {name: {"type": "array", "items": item}},
        "required": [name],
        "additionalProperties": False,
    }


def opening(answer: str) -> int | None:
    """Where something like JSON begins in an answer, or None."""
    found = OPENING.search(answer)
    return found.start() if found else None


def read_items(answer: str, task: Task, labels: Labels, *, start: int = 0, partial: bool = False) -> Reading:
    """Read an answer in the JSON form: an object with a list of items, a bare list, or items one after another.

    Also read are objects whose keys are labels, ``{"person": ["Ada"]}``, and the usual other names of the keys.

    Args:
        answer: The answer.
        task: The task, which says how many spans an item has.
        labels: The labels of the schema.
        start: Where the JSON begins.
        partial: The answer is still being written: items that are not closed are left out. Otherwise such an item is
            read as far as its strings are whole.

    Returns:
        The items in the order of the answer; ``says_nothing`` where a list is empty or there is nothing in it.
    """
    reader = _ItemReader(answer, task, labels, partial=partial)
    values = read(answer, start)
    reader.walk(values)
    return Reading(tuple(reader.items), says_nothing=bool(values) and not reader.items)


class _ItemReader:
    def __init__(self, answer: str, task: Task, labels: Labels, *, partial: bool) -> None:
        self._answer, self._labels, self._partial = answer, labels, partial
        label, *spans = JSON_NAMES[task][1]
        self._label_names = dict.fromkeys((label, *_LABEL_NAMES), None)
        self._span_names: tuple[dict[str, None], ...]
        if task is Task.RE:
            self._span_names = (dict.fromkeys(_HEAD_NAMES, None), dict.fromkeys(_TAIL_NAMES, None))
        else:
            self._span_names = (dict.fromkeys((*spans, *_SPAN_NAMES), None),)
        self.items: list[Item] = []

    def walk(self, values: list[Object | Array]) -> None:
        """Read items in document order, with a stack of our own: nesting may be as deep as it likes."""
        waiting: list[tuple[Value, str | None]] = [(value, None) for value in reversed(values)]
        while waiting:
            value, label = waiting.pop()
            if isinstance(value, Text):
                self._text(value, label)
            elif isinstance(value, Array):
                if not self._pair(value, label):
                    waiting += [(inner, label) for inner in reversed(value.values)]
            elif not self._object(value, label):
                inner = [(each, self._labels.known(key) or label) for key, each in value.pairs]
                kept = [(each, under) for each, under in inner if under or not isinstance(each, Text)]
                if value.pairs and not kept:
                    self._unreadable(value)
                waiting += reversed(kept)

    def _object(self, value: Object, label: str | None) -> bool:
        """Read an object as an item, if it is one."""
        named = dict(reversed(value.pairs))
        written = next((named[name] for name in self._label_names if isinstance(named.get(name), Text)), None)
        said = written.text if isinstance(written, Text) else label
        found = [next((named[name] for name in names if name in named), None) for names in self._span_names]
        if said is None or None in found:
            return False
        spans = [texts(each) for each in found if each is not None]
        if not all(spans):
            return False
        whole = value.closed or all(each.closed for each in [*chain(*spans), written] if isinstance(each, Text))
        if not whole or (self._partial and not value.closed):
            self._unreadable(value)
            return True
        # One span name may hold a list of spans, each an item of its own; a head and a tail belong together.
        rows = [(each.text,) for each in spans[0]] if len(spans) == 1 else [tuple(each[0].text for each in spans)]
        for row in rows:
            self._add(said, row, value)
        return True

    def _pair(self, value: Array, label: str | None) -> bool:
        """Read ``[head, tail]`` under a relation's label."""
        texts_ = [each for each in value.values if isinstance(each, Text)]
        if label is None or len(self._span_names) != 2 or len(texts_) != 2 or len(value.values) != 2:
            return False
        if value.closed or not self._partial:
            self._add(label, (texts_[0].text, texts_[1].text), value)
        return True

    def _text(self, value: Text, label: str | None) -> None:
        if self._partial and not value.closed:
            return
        head = self._labels.at(value.text, 0, len(value.text))
        if head and label is None:
            self._add(head.label, (value.text[head.body :].strip(),), value)
        elif label is not None and value.closed:
            self._add(label, (value.text,), value)
        else:
            self._unreadable(value)

    def _add(self, label: str, spans: tuple[str, ...], value: Value) -> None:
        known = self._labels.known(label)
        self.items.append(Item(known or label, spans, self._answer[value.start : value.end], known=known is not None))

    def _unreadable(self, value: Value) -> None:
        if value.end <= len(self._answer) and not (self._partial and not value.closed):
            self.items.append(Item("", (), self._answer[value.start : value.end], known=False))


def texts(value: Value) -> list[Text]:
    """The strings that a key of an item holds: one, several of a list, or the ``text`` of an object."""
    if isinstance(value, Text):
        return [value]
    if isinstance(value, Array):
        return [each for each in value.values if isinstance(each, Text)]
    return [each for name, each in value.pairs if name in _SPAN_NAMES and isinstance(each, Text)][:1]
