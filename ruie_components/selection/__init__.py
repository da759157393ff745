"""From a store's examples to the k demonstrations of a prompt."""

from ruie_components.selection.selector import Method, Selector

__all__ = ["Method", "Selector"]
