"""Reads a model's answer, linear or JSON: cleans and parses it, and grounds each span in the input."""

from ruie_components.answers.extraction_builder import MentionMode
from ruie_components.answers.grammar import Hold, grammar
from ruie_components.answers.grounding import FUZZY_THRESHOLD, Grounder, check_threshold
from ruie_components.answers.items import Item
from ruie_components.answers.parsing import as_linear, as_text, parse, parse_items
from ruie_components.answers.schema import json_schema

__all__ = [
    "FUZZY_THRESHOLD",
    "Grounder",
    "Hold",
    "Item",
    "MentionMode",
    "as_linear",
    "as_text",
    "check_threshold",
    "grammar",
    "json_schema",
    "parse",
    "parse_items",
]
