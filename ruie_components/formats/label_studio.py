"""Label Studio's JSON: tasks with ``data``, and ``annotations`` or ``predictions`` of regions and relations.

``label_studio_tasks`` reads the tasks.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruie_components.files import atomic_text, atomic_write
from ruie_components.formats.base import Document, Reading, Sample
from ruie_components.formats.json_rows import documents_of_rows, rows_of
from ruie_components.formats.label_studio_table import has_table, rows_of_table
from ruie_components.formats.label_studio_tasks import TaskReader, is_json_min
from ruie_components.types import Task

_MODEL = "ruie"


class LabelStudioFormat:
    """A list of tasks. Offsets are counted as the texts of the regions show.

    The first annotation of a task that was not cancelled counts. Predictions are read if a task has no ``annotations``,
    as in a file for import there. JSON-MIN, CSV and TSV, which have no relations, are read too.
    """

    name = "label-studio"
    title = "Label Studio JSON, CSV and TSV: tasks with annotations or predictions"

    def recognizes(self, sample: Sample) -> bool:
        """Whether rows have ``data`` and annotations or predictions, or are those of JSON-MIN, CSV or TSV."""
        if not sample.rows:
            return has_table(sample)
        return all(map(_is_task, sample.rows)) or all(map(is_json_min, sample.rows))

    def read(self, path: Path, reading: Reading) -> Iterator[Document]:
        """Read one document per annotated task."""
        rows = rows_of_table if has_table(Sample(path, reading.encoding)) else rows_of
        tasks = TaskReader(lambda: rows(path, Reading(encoding=reading.encoding)), reading)
        return documents_of_rows(rows(path, reading), reading, tasks.documents)

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


def _is_task(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("data"), dict) and bool({"annotations", "completions", "predictions"} & row.keys())


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
