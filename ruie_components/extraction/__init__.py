"""From queries to extractions: choose demonstrations, write the prompt, ask a chat model, read its answer."""

from ruie_components.extraction.calling import Answer
from ruie_components.extraction.extractor import Extractor
from ruie_components.extraction.results import AnswerCutWarning, ExtractionResult, Usage

__all__ = ["Answer", "AnswerCutWarning", "ExtractionResult", "Extractor", "Usage"]
