"""Builds examples of simple rows with fast checks, without pydantic, which takes several times as long.

All other rows (another task, other keys, a wrong value) are left to pydantic, which reports errors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from ruie_components.types import Entity, Example, Grounding, Labels, Task

_ROW = frozenset({"id", "dataset", "language", "task", "text", "schema", "entities"})
_ENTITY = {"text", "type", "start", "end"}
_EXACT, _NER = Grounding.EXACT, Task.NER  # to look up a member of an enumeration takes longer than all of a check
_ENTITY_FIELDS, _EXAMPLE_FIELDS = set(Entity.model_fields), set(Example.model_fields)
_LABELS: TypeAdapter[tuple[str, ...]] = TypeAdapter(Labels)
Model = TypeVar("Model", bound=BaseModel)


def entity_example(row: Mapping[str, Any]) -> Example | None:
    """The example of a simple row of named entities; ``None`` if pydantic has to check it."""
    if row.get("task") != "NER" or not row.keys() <= _ROW:
        return None
    schema, entities = row.get("schema"), row.get("entities", ())
    if type(schema) is not list or not isinstance(entities, list | tuple):
        return None
    own = {name: row.get(name) for name in ("id", "dataset", "language")}
    for value in own.values():
        if value is not None and not (type(value) is str and value.isascii()):
            return None
    text, spans = row.get("text"), []
    if type(text) is not str:
        return None
    for entity in entities:
        if type(entity) is not dict or entity.keys() != _ENTITY:
            return None
        kind, start, end, shown = entity["type"], entity["start"], entity["end"], entity["text"]
        if type(start) is not int or type(end) is not int or text[start:end] != shown or type(kind) is not str:
            return None
        spans.append((kind, start, end))
    try:
        return plain_example(text, tuple(schema), spans, **own)
    except TypeError:  # a label that is not a string
        return None


def plain_example(
    text: Any, labels: tuple[str, ...], spans: Sequence[tuple[str, int, int]], **own: Any
) -> Example | None:
    """The example of a text and its entities as ``(type, start, end)``; ``None`` if pydantic has to check it.

    Raises:
        TypeError: A label can't be hashed.
    """
    if type(text) is not str or not text or text.isspace() or not (text.isascii() or _encodable(text)):
        return None
    known = _checked_labels(labels)
    entities, length = [], len(text)
    for kind, start, end in spans:
        if not 0 <= start < end <= length or kind not in known:
            return None
        span = {"text": text[start:end], "start": start, "end": end, "grounding": _EXACT, "type": kind}
        entities.append(_build(Entity, span, _ENTITY_FIELDS))
    values: dict[str, Any] = {"task": _NER, "text": text, "labels": tuple(known), "entities": tuple(entities)}
    values |= {"relations": (), "events": (), "id": None, "dataset": None, "language": None, "metadata": {}, **own}
    return _build(Example, values, _EXAMPLE_FIELDS) if known else None


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@lru_cache(1024)
def _checked_labels(labels: tuple[str, ...]) -> dict[str, None]:
    """The labels as an ordered set; empty if pydantic would change or refuse one."""
    try:
        checked = _LABELS.validate_python(labels)
    except ValidationError:
        return {}
    return dict.fromkeys(checked) if checked == labels else {}


def _build(kind: type[Model], values: dict[str, Any], fields: set[str]) -> Model:
    """A model of checked values: ``model_construct`` without its look-up of defaults and aliases.

    All models of a kind share the set of their fields, which frozen models never change.
    """
    model = kind.__new__(kind)
    put = object.__setattr__
    put(model, "__dict__", values)
    put(model, "__pydantic_fields_set__", fields)
    put(model, "__pydantic_extra__", None)
    put(model, "__pydantic_private__", None)
    return model
