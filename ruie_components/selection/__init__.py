"""Selection: chooses the k demonstrations of a prompt from a pool."""

from ruie_components.selection.selector import Method, Selector

__all__ = ["Method", "Selector"]
