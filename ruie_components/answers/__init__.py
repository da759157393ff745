"""How a model's answer is read: the linear and the JSON form, repaired, and each span grounded in the input."""

from ruie_components.answers.grounding import FUZZY_THRESHOLD, Grounder
from ruie_components.answers.items import Item
from ruie_components.answers.json_form import json_schema
from ruie_components.answers.parsing import as_linear, parse, read_items

__all__ = ["FUZZY_THRESHOLD", "Grounder", "Item", "as_linear", "json_schema", "parse", "read_items"]
