"""How an example is stored as a row of a Chroma collection, and read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from ruie_components.errors import StoreError, explain
from ruie_components.tokenization import text_hash
from ruie_components.types import Example

EXAMPLE, TEXT, LABELS, EVENT = "example", "text", "labels", "event"
_REMEMBERED, _LONGEST_REMEMBERED = 4096, 4096  # rows whose text and labels are kept; the longest, in characters


def metadata(example: Example) -> dict[str, Any]:
    """The metadata of a row: the whole example as JSON, and fields for searches, which do not read the JSON.

    The fields are its text's hash, the label of each annotation, and for EAE the type of its event. A row has no
    document of Chroma's: it would say the same again, and its full-text index took a quarter of the time of a build.
    """
    row: dict[str, Any] = {EXAMPLE: to_json(example), TEXT: text_hash(example.text)}
    if example.annotation_labels:  # Chroma refuses empty lists
        row[LABELS] = list(example.annotation_labels)
    if example.query.event:
        row[EVENT] = example.query.event.type
    return row


def row_filter(*, event_type: str | None = None, labels: Sequence[str] | None = None) -> dict[str, Any] | None:
    """A Chroma filter on rows, or ``None`` for all rows. Chroma takes one condition: give at most one.

    Args:
        event_type: Rows that are about an event of this type (EAE).
        labels: Rows that have an annotation with one of these labels; at least one.
    """
    if event_type is not None:
        return {EVENT: event_type}
    if labels is not None:
        conditions = [{LABELS: {"$contains": label}} for label in labels]
        return {"$or": conditions} if len(conditions) > 1 else conditions[0]
    return None


@dataclass(frozen=True)
class SearchOptions:
    """The rows that a search may return, and whether it returns their vectors."""

    vectors: bool = False
    """Whether hits have their vectors."""
    event_type: str | None = None
    """Only rows that are about an event of this type (EAE). Not together with ``labels``."""
    labels: tuple[str, ...] | None = None
    """Only rows that have an annotation with one of these labels."""
    ids: frozenset[str] | None = None
    """Only these rows."""

    @property
    def where(self) -> dict[str, Any] | None:
        """The Chroma filter on the metadata."""
        return row_filter(event_type=self.event_type, labels=self.labels)

    @property
    def is_filtered(self) -> bool:
        """Whether some rows are excluded."""
        return self.where is not None or self.ids is not None

    def allows(self, row_id: str, metadata: Mapping[str, Any]) -> bool:
        """Whether a search may return a row."""
        return (
            (self.ids is None or row_id in self.ids)
            and (self.event_type is None or metadata.get(EVENT) == self.event_type)
            and (self.labels is None or any(label in self.labels for label in metadata.get(LABELS) or ()))
        )


def to_json(example: Example) -> str:
    """The example's row as JSON, without loss."""
    return example.model_dump_json(by_alias=True, exclude_defaults=True)


def from_json(row_id: str, value: Any, location: str) -> Example:
    """The example of a row.

    Raises:
        StoreError: The row holds no valid example.
    """
    try:
        return Example.model_validate_json(value)
    except (ValidationError, TypeError) as error:
        problem = explain(error) if isinstance(error, ValidationError) else error
        raise StoreError(
            f"row {row_id} of {location} holds no readable example, so it was not written by this version of "
            f"ruie-components or is damaged: {problem}"
        ) from error


class _TextAndSchema(TypedDict):
    text: str
    schema: tuple[str, ...]


_ROW = TypeAdapter(_TextAndSchema)


def _text_and_schema(row: str) -> tuple[str, tuple[str, ...]]:
    """The text and the labels of a row as JSON: much faster than reading the whole example."""
    values = _ROW.validate_json(row)
    return values["text"], values["schema"]


_remembered = lru_cache(maxsize=_REMEMBERED)(_text_and_schema)


@dataclass(frozen=True)
class Hit:
    """A row that a search returned; its example is parsed on first use."""

    id: str
    score: float
    """Cosine, -1 to 1; the BM25 score where BM25 searched."""
    metadata: dict[str, Any]
    location: str
    vector: NDArray[np.float32] | None = None
    """``(d,)``, if the search was to return vectors."""

    @cached_property
    def example(self) -> Example:
        """The example."""
        return from_json(self.id, self.metadata.get(EXAMPLE), self.location)

    @property
    def text(self) -> str:
        """The example's text."""
        return self._row[0]

    @property
    def schema(self) -> Sequence[str]:
        """The labels that its annotations may have."""
        return self._row[1]

    @cached_property
    def _row(self) -> tuple[str, tuple[str, ...]]:
        try:
            row = self.metadata[EXAMPLE]
            return _remembered(row) if len(row) <= _LONGEST_REMEMBERED else _text_and_schema(row)
        except (KeyError, TypeError, ValueError):
            return self.example.text, self.example.labels  # raises an error that says what is wrong with the row

    @property
    def labels(self) -> Sequence[str]:
        """The labels of its annotations, one for each annotation."""
        return self.metadata.get(LABELS) or ()

    @property
    def event(self) -> str | None:
        """The type of the event that it is about, for EAE."""
        return self.metadata.get(EVENT)
