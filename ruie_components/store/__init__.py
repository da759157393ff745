"""Labelled examples in Chroma, and the nearest of them to a query."""

from ruie_components.store.base import DemonstrationStore
from ruie_components.store.integrity import rescue
from ruie_components.store.rows import Neighbour

__all__ = ["DemonstrationStore", "Neighbour", "rescue"]
