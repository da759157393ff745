"""IE INSTRUCTIONS, the files of InstructUIE and RUIE: ``TASK/dataset/SPLIT.json`` with ``labels.json`` beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruie_components.errors import RowError
from ruie_components.files import atomic_text, atomic_write, json_values
from ruie_components.formats.base import (
    Document,
    Frame,
    Link,
    Reading,
    Sample,
    list_of,
    metadata_of,
    object_of,
    own_id,
    text_of,
)
from ruie_components.formats.json_rows import read_documents
from ruie_components.types import Task

_KEYS = ("sentence", "entities", "relations", "events", "id")
_TASKS = {"NER": Task.NER, "RE": Task.RE, "EET": Task.ED, "ED": Task.ED, "EEA": Task.EAE, "EAE": Task.EAE}


class IeInstructionsFormat:
    """Rows with a ``sentence`` and its entities, relations or events, each with the text of its spans.

    ``pos`` is unreliable in these files. It is used if the text matches there, else the nearest mention without another
    annotation. The task of a file is the name of its grandparent folder, else derived from its rows.
    """

    name = "ie-instructions"
    title = "IE INSTRUCTIONS (InstructUIE, RUIE): TASK/dataset/SPLIT.json and labels.json"

    def recognizes(self, sample: Sample) -> bool:
        """Whether rows have a sentence and one of the lists."""
        return sample.each_row("sentence") and any(
            key in row for row in sample.rows for key in ("entities", "relations", "events")
        )

    def read(self, path: Path, reading: Reading) -> Iterator[Document]:
        """Read one document per row."""
        task = _TASKS.get(path.absolute().parent.parent.name)
        _declare_labels(path, task, reading)
        return read_documents(path, reading, lambda location, row: [_document(location, row, task)])

    def write(self, path: Path, documents: Iterable[Document], reading: Reading) -> int:
        """Write a list of sentences, and ``labels.json`` beside it unless entities and other annotations are mixed."""
        count = 0
        labels = path.with_name("labels.json")
        if path != labels:
            _write_labels(labels, reading)
        with atomic_text(path) as file:
            file.write("[")
            for document in documents:
                file.write(("," if count else "") + "\n" + json.dumps(_row(document), ensure_ascii=False))
                count += 1
            file.write("\n]\n")
        return count


def _write_labels(path: Path, reading: Reading) -> None:
    """Write the labels of the only task: a list, or event types with their roles."""
    by_task = reading.schema.labels
    if set(by_task) in ({Task.NER}, {Task.RE}):
        (labels,) = by_task.values()
        atomic_write(path, json.dumps(list(labels), ensure_ascii=False))
    elif set(by_task) == {Task.ED}:
        roles = {event: list(reading.schema.roles.get(event, ())) for event in by_task[Task.ED]}
        atomic_write(path, json.dumps(roles, ensure_ascii=False))


def _declare_labels(path: Path, task: Task | None, reading: Reading) -> None:
    beside = path.with_name("labels.json")
    if not beside.is_file():
        return
    labels: Any = [value for _, value in json_values(beside, encoding=reading.encoding)]
    if len(labels) == 1 and isinstance(labels[0], dict):
        for event, roles in labels[0].items():
            if not isinstance(roles, list) or not all(isinstance(role, str) for role in roles):
                raise RowError(f"{beside}: {event!r}: expected a list of roles")
            reading.schema.declare(Task.ED, [event])
            reading.schema.declare_roles(event, roles)
    elif all(isinstance(label, str) for label in labels):
        reading.schema.declare(task or Task.NER, labels) if task is not Task.EAE else None
    else:
        raise RowError(f"{beside}: expected a list of labels, or an object of event types with their roles")


class _Sentence:
    """A sentence for looking up spans."""

    def __init__(self, location: str, text: str) -> None:
        self.document = Document(location, text)
        self._taken: set[tuple[str, int]] = set()

    def find(self, value: Any, field_name: str, *, kind: str = "", share: bool = False) -> tuple[int, int]:
        """The offsets of ``name`` (or ``trigger``), near its ``pos``; each mention once, unless it may be shared."""
        row = object_of(value, self.document.location, field_name)
        name_key = "name" if "name" in row else "trigger"
        name = text_of(row.get(name_key), self.document.location, f"{field_name}.{name_key}", what="name")
        pos = row.get("pos")
        near = pos[0] if isinstance(pos, list) and pos and isinstance(pos[0], int) else 0
        starts = [(match.start(), match.end()) for match in re.finditer(re.escape(name), self.document.text)]
        if not starts:
            pattern = r"\s*".join(re.escape(part) for part in name.split())
            starts = [match.span() for match in re.finditer(pattern, self.document.text, re.IGNORECASE)]
        if not starts:
            raise RowError(f"{self.document.location}: {field_name}: {name!r:.60} is not in the sentence")
        free = [span for span in starts if share or (kind, span[0]) not in self._taken] or starts
        chosen = min(free, key=lambda span: abs(span[0] - near))
        self._taken.add((kind, chosen[0]))
        return chosen


def _document(location: str, row: Mapping[str, Any], task: Task | None) -> Document:
    sentence = _Sentence(location, text_of(row.get("sentence"), location, "sentence"))
    document = sentence.document
    document.id, document.metadata = own_id(row.get("id")), metadata_of(row, _KEYS)
    for index, value in enumerate(list_of(row.get("entities"), location, "entities")):
        kind = text_of(
            object_of(value, location, f"entities[{index}]").get("type"), location, f"entities[{index}].type"
        )
        document.add_entity(kind, *sentence.find(value, f"entities[{index}]", kind=kind))
    spans = {document.mentions[index][1:]: index for index in document.entities}
    for index, value in enumerate(list_of(row.get("relations"), location, "relations")):
        relation = object_of(value, location, f"relations[{index}]")
        kind = text_of(relation.get("type"), location, f"relations[{index}].type")
        sides = []
        for side in ("head", "tail"):
            at = sentence.find(relation.get(side), f"relations[{index}].{side}", share=True)
            if at not in spans:
                spans[at] = document.add_mention(*at)
            sides.append(spans[at])
        document.relations.append(Link(kind, *sides))
    for index, value in enumerate(list_of(row.get("events"), location, "events")):
        _add_event(sentence, value, f"events[{index}]")
    if task is not None:
        document.tasks = frozenset({task})
    elif document.events or "events" in row:
        document.tasks = frozenset({Task.ED, Task.EAE})
    else:
        document.tasks = frozenset(
            each for each, key in ((Task.NER, "entities"), (Task.RE, "relations")) if row.get(key) is not None
        )
    return document


def _add_event(sentence: _Sentence, value: Any, name: str) -> None:
    document = sentence.document
    event = object_of(value, document.location, name)
    kind = text_of(event.get("type"), document.location, f"{name}.type")
    trigger = {"name": event.get("trigger"), "pos": event.get("pos")}
    frame = Frame(kind, document.add_mention(*sentence.find(trigger, f"{name}.trigger", kind=kind, share=True)))
    for at, argument in enumerate(list_of(event.get("arguments"), document.location, f"{name}.arguments")):
        field = f"{name}.arguments[{at}]"
        role = text_of(object_of(argument, document.location, field).get("role"), document.location, f"{field}.role")
        frame.arguments.append((role, document.add_mention(*sentence.find(argument, field, share=True))))
    document.events.append(frame)


def _row(document: Document) -> dict[str, Any]:
    def named(index: int) -> dict[str, Any]:
        kind, start, end = document.mentions[index]
        return {"name": document.text[start:end], "type": kind, "pos": [start, end]}

    row: dict[str, Any] = {**({"id": document.id} if document.id is not None else {}), "sentence": document.text}
    tasks = document.tasks or frozenset()
    if Task.NER in tasks:
        row["entities"] = [named(index) for index in document.entities]
    if Task.RE in tasks:
        row["relations"] = [
            {"head": named(each.head), "type": each.type, "tail": named(each.tail)} for each in document.relations
        ]
    if tasks & {Task.ED, Task.EAE}:
        row["events"] = [
            {
                "trigger": named(event.trigger)["name"],
                "type": event.type,
                "pos": named(event.trigger)["pos"],
                "arguments": [
                    {"name": named(at)["name"], "role": role, "pos": named(at)["pos"]} for role, at in event.arguments
                ],
            }
            for event in document.events
        ]
    own = {*_KEYS, "meta"}
    row |= {key: value for key, value in document.metadata.items() if key not in own}
    hidden = {key: value for key, value in document.metadata.items() if key in own}
    return {**row, **({"meta": hidden} if hidden else {})}
