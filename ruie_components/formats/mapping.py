"""A mapping of labels from TOML or JSON: new names, labels to leave out, descriptions."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ruie_components.errors import RowError, explain
from ruie_components.files import atomic_write
from ruie_components.formats.base import Document, Schema
from ruie_components.types import Example, Label, Task


class LabelMapping(BaseModel):
    """New names and descriptions of the labels of entities, relations, events and roles.

    As a TOML file::

        drop = ["misc"]
        [rename]
        PER = "person"
        [describe]
        person = "A human with a name."

    >>> LabelMapping(rename={"PER": "person"}).name("PER")
    'person'
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rename: dict[str, Label] = Field(default_factory=dict)
    """From labels in files to labels of examples. Labels may be merged."""
    drop: tuple[str, ...] = ()
    """Labels in files to leave out, with all their annotations."""
    describe: dict[str, str] = Field(default_factory=dict)
    """Descriptions by label of the examples."""

    @classmethod
    def read(cls, path: str | Path) -> LabelMapping:
        """Read a ``.toml`` or ``.json`` file.

        Raises:
            RowError: It can't be read, or has other content.
        """
        path = Path(path)
        try:
            content = path.read_text("utf-8-sig")
            values = json.loads(content) if path.suffix.lower() == ".json" else tomllib.loads(content)
            return cls.model_validate(values)
        except ValidationError as error:
            raise RowError(f"{path}: {explain(error)}") from error
        except (ValueError, OSError, RecursionError) as error:
            raise RowError(f"{path}: the mapping can't be read: {error}") from error

    def write(self, path: str | Path) -> None:
        """Write it as JSON."""
        values = self.model_dump(exclude_defaults=True)
        atomic_write(path, json.dumps(values, ensure_ascii=False, indent=2) + "\n")

    def name(self, label: str) -> str | None:
        """The new name of a label; ``None`` if it is left out."""
        return None if label in self.drop else self.rename.get(label, label)

    @property
    def is_empty(self) -> bool:
        """Whether it neither renames nor drops labels."""
        return not self.rename and not self.drop

    def renamed(self, schema: Schema) -> Schema:
        """The schema with the new names."""
        labels = {
            task: dict.fromkeys(name for label in each if (name := self.name(label)) is not None)
            for task, each in schema.labels.items()
        }
        mapped = Schema(labels)
        for event, roles in schema.roles.items():
            if (name := self.name(event)) is not None:
                mapped.declare_roles(name, [own for role in roles if (own := self.name(role)) is not None])
        return mapped

    def document(self, document: Document) -> Document:
        """The document with the new names, changed in place."""
        if self.is_empty:
            return document
        kept = []
        for index in document.entities:
            name = self.name(document.mentions[index].type)
            document.mentions[index] = document.mentions[index]._replace(type=name or "")
            if name is not None:
                kept.append(index)
        document.entities = kept
        for relation in document.relations:
            relation.type = self.name(relation.type) or ""
        for event in document.events:
            event.type = self.name(event.type) or ""
        document.relations = [each for each in document.relations if each.type]
        document.events = [each for each in document.events if each.type]
        for event in document.events:
            event.arguments = [(name, at) for role, at in event.arguments if (name := self.name(role)) is not None]
        return document

    def example(self, example: Example) -> Example | None:
        """The example with the new names; ``None`` if it has no labels left.

        Raises:
            ValueError: The result is not a valid example.
        """
        if self.is_empty:
            return example
        row = example.to_row()
        event = example.task is Task.EAE
        row["schema"] = [name for label in row["schema"] if (name := self.name(label)) is not None]
        if not row["schema"]:
            return None
        for field in ("entities", "relations", "events"):
            if field in row:
                row[field] = self._annotations(row[field])
        if event and not row.get("events"):
            return None
        return Example.model_validate(row)

    def _annotations(self, annotations: list[dict[str, Any]]) -> list[dict[str, Any]]:
        kept = []
        for each in annotations:
            if (name := self.name(each["type"])) is None:
                continue
            if "arguments" in each:
                each["arguments"] = [
                    {**argument, "role": role}
                    for argument in each["arguments"]
                    if (role := self.name(argument["role"])) is not None
                ]
            kept.append({**each, "type": name})
        return kept
