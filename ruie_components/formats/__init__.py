"""One file per annotation format: rows to examples and back."""

from ruie_components.formats.jsonl import read_examples, write_examples

__all__ = ["read_examples", "write_examples"]
