"""Reads tasks of Label Studio: which of their texts the regions are in, where, and what relates them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ruie_components.errors import RowError
from ruie_components.formats.base import (
    Document,
    Link,
    Reading,
    check_span,
    list_of,
    object_of,
    own_id,
    text_of,
)
from ruie_components.formats.label_studio_offsets import Place, has_text, is_offset, place
from ruie_components.types import Task

_TEXT = "text"
_REGION = "labels"  # the type of results that are spans of a plain text
_URL = re.compile(r"(?:[a-z][a-z0-9+.-]*://|/data/(?:upload|local-files)/)\S+")
_MIN_KEYS = {"annotation_id", "annotator"}
_MIN_OWN = {*_MIN_KEYS, "created_at", "updated_at", "lead_time", "agreement", "was_cancelled"}
_SEVERAL = "of several annotations of a task the first was read"


@dataclass
class _Task:
    """A task with the results of its first annotation, and where those are."""

    location: str
    data: Mapping[str, Any]
    at: str
    results: list[Mapping[str, Any]]

    @cached_property
    def regions(self) -> dict[str, list[Mapping[str, Any]]]:
        """The values of its regions, by the names of the texts (``to_name``) that they are in."""
        named: dict[str, list[Mapping[str, Any]]] = {}
        for index, result in enumerate(self.results):
            if result.get("type") == _REGION:
                value = object_of(result.get("value"), self.location, f"{self.at}[{index}].value")
                named.setdefault(str(result.get("to_name")), []).append(value)
        return named

    @property
    def texts(self) -> dict[str, str]:
        """The strings of its data that may be its text."""
        return {
            key: value for key, value in self.data.items() if key != "id" and isinstance(value, str) and value.strip()
        }


class TaskReader:
    """Reads the tasks of a file.

    The text of a task is the one that its regions fit: that of the name which they give, ``data.text``, or that of the
    key with which most other tasks of the file fit. Of regions in several texts those of one are read. An address in
    place of the text is a problem.

    Args:
        rows: Reads the rows of the file from its beginning.
        reading: Notes what is left out.
    """

    def __init__(self, rows: Callable[[], Iterable[tuple[str, Any]]], reading: Reading) -> None:
        self._rows, self._reading = rows, reading
        self._read: set[str | int | None] = set()  # the ids of rows of JSON-MIN, which has one for each annotation

    def documents(self, location: str, row: Mapping[str, Any]) -> Iterator[Document]:
        """The document of a task; none if it is not annotated, or by no regions.

        Raises:
            RowError: It can't be read; the message names file, line and field.
        """
        notes = self._reading.notes
        own = own_id(row.get("id"))
        if is_json_min(row) and own is not None and own in self._read:
            notes[_SEVERAL] += 1
            return
        task, versions = _task_of(location, row)
        if task is None:
            notes["tasks without an annotation, or with a cancelled one, are left out"] += 1
            return
        notes[_SEVERAL] += versions > 1
        kinds = dict.fromkeys(str(result.get("type")) for result in task.results)
        if kinds and _REGION not in kinds:
            notes[f"tasks that have no regions of type 'labels' but {', '.join(kinds):.60} are left out"] += 1
            return
        key, names = self._key_of(task)
        document = Document(location, _text(task, key, names))
        document.id = own_id(task.data["id"]) if "id" in task.data else own
        document.metadata = {each: value for each, value in task.data.items() if each not in (key, "id", "meta")}
        if isinstance(task.data.get("meta"), dict):
            document.metadata |= task.data["meta"]
        _read_results(document, task, names, self._reading)
        tasks = {Task.NER} if document.entities or not document.relations else set()
        document.tasks = frozenset(tasks | {Task.RE})
        self._read.add(own)
        yield document

    def _key_of(self, task: _Task) -> tuple[str, set[str]]:
        """The key of the text that is read, and the names by which regions say that they are in it."""
        usual = _TEXT if _TEXT in task.data else self._usual_key
        texts = task.texts
        keys: dict[str, str] = {}
        for name, regions in task.regions.items():
            possible = [name] if name in texts else [usual, *texts]
            keys[name] = next((key for key in possible if key in texts and _fit(texts[key], regions)), possible[0])
        counts = Counter({usual: 0})
        for name, regions in task.regions.items():
            counts[keys[name]] += len(regions)
        key = max(counts, key=counts.__getitem__)
        return key, {name for name in keys if keys[name] == key}

    @cached_property
    def _usual_key(self) -> str:
        """The key of the text where no region tells it: that which fits most tasks, then that of the longest texts."""
        votes: dict[str, list[int]] = {_TEXT: [0, 0]}
        with suppress(RowError):  # reading the tasks reports it
            for location, row in self._rows():
                with suppress(RowError):
                    task, _ = _task_of(location, object_of(row, location, "task"))
                    regions = list(task.regions.values()) if task else []
                    for key, text in task.texts.items() if task else ():
                        vote = votes.setdefault(key, [0, 0])
                        vote[0] += any(_fit(text, each, shown=True) for each in regions)
                        vote[1] += 1 if _URL.fullmatch(text) else len(text)
        return max(votes, key=votes.__getitem__)


def is_json_min(row: Mapping[str, Any]) -> bool:
    """Whether a row is one of JSON-MIN, which has the data and the regions at the same level."""
    return row.keys() >= _MIN_KEYS and not isinstance(row.get("data"), dict)


def _task_of(location: str, row: Mapping[str, Any]) -> tuple[_Task | None, int]:
    """A task with its first annotation that was not cancelled, and the number of those; ``None`` without one."""
    if is_json_min(row):
        return (None, 0) if row.get("was_cancelled") is True else (_of_json_min(location, row), 1)
    data = object_of(row.get("data"), location, "data")
    name = next((key for key in ("annotations", "completions", "predictions") if key in row), "annotations")
    versions = [
        (index, object_of(each, location, f"{name}[{index}]"))
        for index, each in enumerate(list_of(row.get(name), location, name))
    ]
    versions = [(index, each) for index, each in versions if not each.get("was_cancelled")]
    if not versions:
        return None, 0
    at = f"{name}[{versions[0][0]}].result"
    results = list_of(versions[0][1].get("result"), location, at)
    objects = [object_of(each, location, f"{at}[{index}]") for index, each in enumerate(results)]
    return _Task(location, data, at, objects), len(versions)


def _of_json_min(location: str, row: Mapping[str, Any]) -> _Task:
    data: dict[str, Any] = {key: value for key, value in row.items() if key not in _MIN_OWN}
    results: list[Mapping[str, Any]] = []
    names = []
    for key, value in list(data.items()):
        if isinstance(value, list) and value and all(isinstance(each, dict) and "start" in each for each in value):
            kinds = [next((kind for kind in each if kind.endswith(_REGION)), "") for each in value]
            results += [{"type": kind, "value": each} for kind, each in zip(kinds, value, strict=True)]
            names.append(key)
            del data[key]
    return _Task(location, data, names[0] if len(names) == 1 else "regions", results)


def _text(task: _Task, key: str, names: Iterable[str]) -> str:
    if key not in task.data and not task.texts:
        raise RowError(f"{task.location}: data.{key}: expected a text, got {sorted(task.data)}")
    text = text_of(task.data.get(key), task.location, f"data.{key}")
    regions = [region for name in names for region in task.regions[name]]
    if _URL.fullmatch(text) and not (regions and _fit(text, regions)):
        raise RowError(
            f"{task.location}: data.{key}: expected a text, got its address {text!r:.60}; the export does not hold the "
            f"text. Write the texts themselves into the tasks ({key}), and export again."
        )
    return text


def _read_results(document: Document, task: _Task, names: set[str], reading: Reading) -> None:
    """Add the regions of a task that name its text, and their relations."""
    regions: dict[str, int] = {}
    left: set[str | None] = set()  # the ids of results that are left out
    links = []
    shown = [result["value"] for result in task.results if _is_region(result, names)]
    places = iter(place(document.text, shown))
    for index, result in enumerate(task.results):
        name = f"{task.at}[{index}]"
        own = result.get("id") if isinstance(result.get("id"), str) else None
        match result.get("type"):
            case "relation":
                links.append((name, result))
            case "labels" if _is_region(result, names):
                at = _region(document, result["value"], next(places), name, reading)
                if own is not None:
                    regions.setdefault(own, at)
            case "labels":
                reading.notes["regions in another text of the task are left out"] += 1
                left.add(own)
            case other:
                reading.notes[f"results of type {other!r:.40} are left out"] += 1
                left.add(own)
    for name, result in links:
        _relation(document, result, name, regions, left - regions.keys(), reading)


def _is_region(result: Mapping[str, Any], names: set[str]) -> bool:
    return result.get("type") == _REGION and str(result.get("to_name")) in names


def _region(document: Document, value: Mapping[str, Any], placed: Place | None, name: str, reading: Reading) -> int:
    start, end = value.get("start"), value.get("end")
    if placed is not None:
        start, end, notes = placed
        reading.notes.update(notes)
    elif has_text(value) and is_offset(start) and is_offset(end):
        raise RowError(
            f"{document.location}: {name}.value: found {document.text[max(start, 0) : max(end, 0)]!r:.60} at "
            f"{start}:{end}, but the region's text is {value['text']!r:.60}. Label the span again in Label Studio "
            f"(task {document.id}), and export again."
        )
    start, end = check_span(document, start, end, f"{name}.value")
    labels = list_of(value.get("labels"), document.location, f"{name}.value.labels")
    if not labels:
        return document.add_mention(start, end)
    indices = [
        document.add_entity(text_of(label, document.location, f"{name}.value.labels"), start, end) for label in labels
    ]
    return indices[0]


def _relation(
    document: Document,
    result: Mapping[str, Any],
    name: str,
    regions: dict[str, int],
    left: set[str | None],
    reading: Reading,
) -> None:
    ids = [result.get(side) for side in ("from_id", "to_id")]
    known = [own for own in ids if isinstance(own, str)]
    if left.intersection(known):
        reading.notes["relations to results that are left out are left out too"] += 1
        return
    for side, own in zip(("from_id", "to_id"), ids, strict=True):
        if own not in known or own not in regions:
            raise RowError(f"{document.location}: {name}.{side}: there is no region {own!r:.60}")
    head, tail = (regions[own] for own in known)
    labels = list_of(result.get("labels"), document.location, f"{name}.labels")
    reading.notes["relations without a label are left out"] += not labels
    for label in labels:
        kind = text_of(label, document.location, f"{name}.labels")
        if result.get("direction") != "left":
            document.relations.append(Link(kind, head, tail))
        if result.get("direction") in ("left", "bi"):
            document.relations.append(Link(kind, tail, head))


def _fit(text: str, regions: Sequence[Mapping[str, Any]], *, shown: bool = False) -> bool:
    """Whether regions are in a text; that of an address, and any with ``shown``, must be said by some region."""
    if (shown or _URL.fullmatch(text)) and not any(map(has_text, regions)):
        return False
    return None not in place(text, regions)
