"""Selection: chooses the k demonstrations of a prompt from a pool."""

from ruie_components.selection.selector import DEFAULT_K, Method, Selector

__all__ = ["DEFAULT_K", "Method", "Selector"]
