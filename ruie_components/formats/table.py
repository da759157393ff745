"""Flat rows, one per span, for CSV and data frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ruie_components.types import Example, Extraction, Span, Task

COLUMNS = ("id", "task", "item", "type", "role", "span", "start", "end", "text")
"""The keys of a row, before those of the metadata."""


def span_rows(
    annotated: Example | Extraction,
    own_id: str | int | None,
    metadata: Mapping[str, Any],
    *,
    confidence: Sequence[float | None] | None = None,
) -> list[dict[str, Any]]:
    """The rows of a text.

    Keys are ``COLUMNS``, then ``confidence`` if known, then those of the metadata (``metadata.KEY`` if it is one of
    ``COLUMNS``). ``item`` numbers the entities, relations or events of the text, so that the head and the tail of a
    relation share a number; ``role`` is "entity", "head", "tail", "trigger", or an argument's role.
    """
    own = {f"metadata.{key}" if key in COLUMNS else key: value for key, value in metadata.items()}
    spans = numbered_spans(annotated)
    return [
        {"id": own_id, "task": annotated.task.value, "item": item, "type": label, "role": role}
        | {"span": span.text, "start": span.start, "end": span.end, "text": annotated.text}
        | ({} if sure is None else {"confidence": sure})
        | own
        for (item, (label, role, span)), sure in zip(spans, confidence or [None] * len(spans), strict=True)
    ]


def numbered_spans(annotated: Example | Extraction) -> list[tuple[int, tuple[str, str, Span]]]:
    """Each span as ``(label, role, span)``, with the number of its entity, relation or event."""
    items: list[list[tuple[str, str, Span]]]
    match annotated.task:
        case Task.NER:
            items = [[(entity.type, "entity", entity)] for entity in annotated.entities]
        case Task.RE:
            items = [[(one.type, "head", one.head), (one.type, "tail", one.tail)] for one in annotated.relations]
        case _:
            items = [
                [
                    (event.type, "trigger", event.trigger),
                    *((event.type, argument.role, argument) for argument in event.arguments),
                ]
                for event in annotated.events
            ]
    return [(number, span) for number, item in enumerate(items) for span in item]
