"""From inputs to extractions: choose demonstrations, write the prompt, call a chat model, read its answer."""

from ruie_components.extraction.confidence import Confidence
from ruie_components.extraction.documents import Chunk, Chunking, ChunkResult, DocumentResult
from ruie_components.extraction.extractor import Extractor
from ruie_components.extraction.results import AnswerTruncatedWarning, Estimate, ExtractionResult, Usage, read_results

__all__ = [
    "AnswerTruncatedWarning",
    "Chunk",
    "ChunkResult",
    "Chunking",
    "Confidence",
    "DocumentResult",
    "Estimate",
    "ExtractionResult",
    "Extractor",
    "Usage",
    "read_results",
]
