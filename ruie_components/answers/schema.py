"""The JSON schema of an answer, for models that support one."""

from __future__ import annotations

from typing import Any

from ruie_components.prompts import JSON_NAMES, TASK_NAMES
from ruie_components.types import Query


def json_schema(query: Query) -> dict[str, Any]:
    """The JSON schema of a query's answer: for Ollama's ``format=`` and LangChain's ``with_structured_output``.

    >>> schema = json_schema(Query(task="NER", text="Ada met Bob.", labels=["person"]))
    >>> schema.get("title"), schema.get("required")
    ('entities', ['entities'])
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
