"""Choose the demonstrations for an LLM's prompt, and map its answer to spans of the input."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ruie_components._version import __version__
from ruie_components.encoders import Encoder, load_encoder
from ruie_components.errors import (
    AnswerError,
    ChatModelError,
    EncoderError,
    PromptTooLongError,
    RowError,
    RuieError,
    StoreError,
)
from ruie_components.retrieval import DemonstrationRetriever
from ruie_components.selection import Selector
from ruie_components.store import DemonstrationStore
from ruie_components.types import (
    Argument,
    Demonstration,
    Entity,
    Event,
    EventQuery,
    Example,
    Extraction,
    Grounding,
    Query,
    Reason,
    Rejected,
    Rejection,
    Relation,
    Span,
    Task,
)

if TYPE_CHECKING:
    from ruie_components.extraction import ExtractionResult, Extractor
    from ruie_components.formats import read_examples, write_examples

__all__ = [
    "AnswerError",
    "Argument",
    "ChatModelError",
    "Demonstration",
    "DemonstrationRetriever",
    "DemonstrationStore",
    "Encoder",
    "EncoderError",
    "Entity",
    "Event",
    "EventQuery",
    "Example",
    "Extraction",
    "ExtractionResult",
    "Extractor",
    "Grounding",
    "PromptTooLongError",
    "Query",
    "Reason",
    "Rejected",
    "Rejection",
    "Relation",
    "RowError",
    "RuieError",
    "Selector",
    "Span",
    "StoreError",
    "Task",
    "__version__",
    "load_encoder",
    "read_examples",
    "write_examples",
]

_ON_DEMAND = {
    "ExtractionResult": "ruie_components.extraction",
    "Extractor": "ruie_components.extraction",
    "read_examples": "ruie_components.formats",
    "write_examples": "ruie_components.formats",
}
"""Names whose modules are imported when they are first used: a process that only retrieves needs none of them, and they
take as long to import as all the rest."""


def __getattr__(name: str) -> Any:
    if name not in _ON_DEMAND:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_ON_DEMAND[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
