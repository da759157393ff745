"""Choose the demonstrations for an LLM's prompt, and map its answer to spans of the input."""

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
from ruie_components.extraction import ExtractionResult, Extractor
from ruie_components.formats import read_examples, write_examples
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
