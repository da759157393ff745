"""Annotation formats: converts annotations to examples and back, with one file per format."""

from ruie_components.formats.base import Document, Format, Frame, Link, Mention, Reading, Sample
from ruie_components.formats.importing import Import, ImportReport, export
from ruie_components.formats.jsonl import read_examples, write_examples
from ruie_components.formats.mapping import LabelMapping
from ruie_components.formats.registry import formats, get_format, guess_format
from ruie_components.formats.texts import Layout, guess_layout, read_texts

__all__ = [
    "Document",
    "Format",
    "Frame",
    "Import",
    "ImportReport",
    "LabelMapping",
    "Layout",
    "Link",
    "Mention",
    "Reading",
    "Sample",
    "export",
    "formats",
    "get_format",
    "guess_format",
    "guess_layout",
    "read_examples",
    "read_texts",
    "write_examples",
]
