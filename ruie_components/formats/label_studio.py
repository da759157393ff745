"""Label Studio's JSON: tasks with ``data``, and ``annotations`` or ``predictions`` of regions and relations."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruie_components.errors import RowError
from ruie_components.files import atomic_text, atomic_write
from ruie_components.formats.base import (
    Document,
    Link,
    Reading,
    Sample,
    check_span,
    list_of,
    object_of,
    own_id,
    text_of,
)
from ruie_components.formats.json_rows import read_documents
from ruie_components.types import Task

_MODEL = "ruie"


class LabelStudioFormat:
    """A list of tasks. Offsets are code points or UTF-16 units, as the text of each region shows.

    The first annotation of a task that was not cancelled counts. Predictions are read if a task has no ``annotations``,
    as in a file for import there.
    """

    name = "label-studio"
    title = "Label Studio JSON: tasks with annotations or predictions"

    def recognizes(self, sample: Sample) -> bool:
        """Whether rows have ``data`` and annotations or predictions."""
        return sample.each_row("data") and all(
            isinstance(row["data"], dict) and ({"annotations", "completions", "predictions"} & row.keys())
            for row in sample.rows
        )

    def read(self, path: Path, reading: Reading) -> Iterator[Document]:
        """Read one document per annotated task."""
        return read_documents(path, reading, lambda location, row: _documents(location, row, reading))

    def write(self, path: Path, documents: Iterable[Document], reading: Reading) -> int:
        """Write tasks with predictions, to be corrected there; events become regions and relations.

        The labelling interface that their project needs is written beside them, to ``interface_beside(path)``.
        """
        count = 0
        with atomic_text(path) as file:
            file.write("[")
            for document in documents:
                reading.notes["events are written as regions and relations, and read back as those"] += bool(
                    document.events
                )
                file.write(("," if count else "") + "\n" + json.dumps(_task(document), ensure_ascii=False))
                count += 1
            file.write("\n]\n")
        schema = reading.schema
        labels = [*schema.labels.get(Task.NER, ()), *schema.labels.get(Task.ED, ()), *schema.roles]
        relations = [*schema.labels.get(Task.RE, ()), *(role for roles in schema.roles.values() for role in roles)]
        atomic_write(interface_beside(path), labeling_config(labels, relations) + "\n")
        return count


def interface_beside(path: Path) -> Path:
    """The file of the labelling interface beside a file of tasks.

    >>> interface_beside(Path("predictions.json")).name
    'predictions.interface.xml'
    """
    return path.with_name(f"{path.stem}.interface.xml")


def labeling_config(labels: Iterable[str], relations: Iterable[str] = ()) -> str:
    """The XML of the labelling interface that a Label Studio project needs for a file of this format.

    Args:
        labels: The labels of regions; repeated ones are written once.
        relations: Those of relations between regions.

    >>> print(labeling_config(["person"], ["works for"]))
    <View>
      <Relations>
        <Relation value="works for"/>
      </Relations>
      <Labels name="label" toName="text">
        <Label value="person"/>
      </Labels>
      <Text name="text" value="$text"/>
    </View>
    """
    from xml.sax.saxutils import quoteattr

    regions = "".join(f"    <Label value={quoteattr(label)}/>\n" for label in dict.fromkeys(labels))
    links = "".join(f"    <Relation value={quoteattr(label)}/>\n" for label in dict.fromkeys(relations))
    return (
        f'<View>\n  <Relations>\n{links}  </Relations>\n  <Labels name="label" toName="text">\n{regions}  </Labels>\n'
        f'  <Text name="text" value="$text"/>\n</View>'
    )


def _documents(location: str, row: Mapping[str, Any], reading: Reading) -> Iterator[Document]:
    data = object_of(row.get("data"), location, "data")
    name = next((key for key in ("annotations", "completions", "predictions") if key in row), "annotations")
    versions = [
        (index, object_of(each, location, f"{name}[{index}]"))
        for index, each in enumerate(list_of(row.get(name), location, name))
    ]
    versions = [(index, each) for index, each in versions if not each.get("was_cancelled")]
    if not versions:
        reading.notes["tasks without an annotation, or with a cancelled one, are left out"] += 1
        return
    reading.notes["of several annotations of a task the first was read"] += len(versions) > 1
    index, version = versions[0]
    field = f"{name}[{index}].result"
    key, text = _text(data, location)
    document = Document(location, text)
    own = data.get("id", row.get("id"))
    document.id = own_id(own)
    document.metadata = {each: value for each, value in data.items() if each not in (key, "id", "meta")}
    if isinstance(data.get("meta"), dict):
        document.metadata |= data["meta"]
    _read_regions(document, list_of(version.get("result"), location, field), field, reading)
    tasks = {Task.NER} if document.entities or not document.relations else set()
    document.tasks = frozenset(tasks | {Task.RE})
    yield document


def _text(data: Mapping[str, Any], location: str) -> tuple[str, str]:
    if "text" in data:
        return "text", text_of(data["text"], location, "data.text")
    texts = {key: value for key, value in data.items() if isinstance(value, str)}
    if not texts:
        raise RowError(f"{location}: data.text: expected a text, got {sorted(data)}")
    key = max(texts, key=lambda each: len(texts[each]))
    return key, text_of(texts[key], location, f"data.{key}")


def _read_regions(document: Document, results: list[Any], field: str, reading: Reading) -> None:
    regions: dict[str, int] = {}
    links = []
    for index, each in enumerate(results):
        name = f"{field}[{index}]"
        result = object_of(each, document.location, name)
        match result.get("type"):
            case "relation":
                links.append((name, result))
            case "labels":
                at = _region(
                    document, object_of(result.get("value"), document.location, f"{name}.value"), name, reading
                )
                if isinstance(result.get("id"), str):
                    regions.setdefault(result["id"], at)
            case other:
                reading.notes[f"results of type {other!r:.40} are left out"] += 1
    for name, result in links:
        sides = []
        for side in ("from_id", "to_id"):
            if result.get(side) not in regions:
                raise RowError(f"{document.location}: {name}.{side}: there is no region {result.get(side)!r:.60}")
            sides.append(regions[result[side]])
        if result.get("direction") == "left":
            sides.reverse()
        labels = list_of(result.get("labels"), document.location, f"{name}.labels")
        reading.notes["relations without a label are left out"] += not labels
        for label in labels:
            document.relations.append(Link(text_of(label, document.location, f"{name}.labels"), *sides))


def _region(document: Document, value: Mapping[str, Any], name: str, reading: Reading) -> int:
    start, end = value.get("start"), value.get("end")
    shown = value.get("text")
    whole = isinstance(start, int) and isinstance(end, int) and start >= 0 and isinstance(shown, str)
    if whole and document.text[start:end] != shown:
        converted = _from_utf16(document.text, start), _from_utf16(document.text, end)
        if document.text[converted[0] : converted[1]] != shown:
            raise RowError(
                f"{document.location}: {name}.value: found {document.text[start:end]!r:.60} at {start}:{end}, "
                f"but the region's text is {shown!r:.60}"
            )
        reading.notes["offsets in UTF-16 units were converted"] += 1
        start, end = converted
    start, end = check_span(document, start, end, f"{name}.value")
    labels = list_of(value.get("labels"), document.location, f"{name}.value.labels")
    if not labels:
        return document.add_mention(start, end)
    indices = [
        document.add_entity(text_of(label, document.location, f"{name}.value.labels"), start, end) for label in labels
    ]
    return indices[0]


def _from_utf16(text: str, units: Any) -> int:
    r"""Convert an index in UTF-16 units to code points.

    >>> _from_utf16("a\U0001f600b", 3)
    2
    """
    return len(text.encode("utf-16-le", "surrogatepass")[: 2 * units].decode("utf-16-le", "replace"))


def _task(document: Document) -> dict[str, Any]:
    labels = {index: document.mentions[index].type for index in document.entities}
    labels |= {event.trigger: event.type for event in document.events}
    results: list[dict[str, Any]] = []
    for index, (_, start, end) in enumerate(document.mentions):
        value: dict[str, Any] = {"start": start, "end": end, "text": document.text[start:end]}
        value["labels"] = [labels[index]] if index in labels else []
        results.append({"id": f"r{index}", "from_name": "label", "to_name": "text", "type": "labels", "value": value})
    links = [(each.type, each.head, each.tail) for each in document.relations]
    links += [(role, event.trigger, index) for event in document.events for role, index in event.arguments]
    for kind, head, tail in links:
        results.append(
            {"type": "relation", "from_id": f"r{head}", "to_id": f"r{tail}", "direction": "right", "labels": [kind]}
        )
    data: dict[str, Any] = {"text": document.text}
    if document.id is not None:
        data["id"] = document.id
    if document.metadata:
        data["meta"] = document.metadata
    return {"data": data, "predictions": [{"model_version": _MODEL, "result": results}]}
