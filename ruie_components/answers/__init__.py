"""How a model's answer is read: the linear and the JSON format, repaired, and each span grounded in the input."""

from ruie_components.answers.format import json_schema
from ruie_components.answers.grounding import FUZZY_THRESHOLD, Grounder
from ruie_components.answers.items import Item
from ruie_components.answers.parsing import Answer, as_linear, parse, parse_items

__all__ = ["FUZZY_THRESHOLD", "Answer", "Grounder", "Item", "as_linear", "json_schema", "parse", "parse_items"]
