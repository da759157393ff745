"""From inputs to extractions: chooses demonstrations, writes the prompt, calls a chat model, reads its answer."""

from ruie_components.extraction.confidence import Confidence
from ruie_components.extraction.documents import Chunk, Chunking, ChunkResult, DocumentResult
from ruie_components.extraction.extractor import Extractor
from ruie_components.extraction.pool_state import PoolChangedWarning
from ruie_components.extraction.results import (
    AnswerTruncatedWarning,
    ChunkDemonstrations,
    Estimate,
    ExtractionResult,
    Usage,
    read_results,
)

__all__ = [
    "AnswerTruncatedWarning",
    "Chunk",
    "ChunkDemonstrations",
    "ChunkResult",
    "Chunking",
    "Confidence",
    "DocumentResult",
    "Estimate",
    "ExtractionResult",
    "Extractor",
    "PoolChangedWarning",
    "Usage",
    "read_results",
]
