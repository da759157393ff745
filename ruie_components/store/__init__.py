"""Labelled examples in Chroma, and the nearest of them to a query."""

from ruie_components.store.base import DemonstrationStore
from ruie_components.store.integrity import rescue
from ruie_components.store.records import Hit

__all__ = ["DemonstrationStore", "Hit", "rescue"]
