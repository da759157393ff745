"""Labelled examples in Chroma, searched by similarity to a query."""

from ruie_components.store.base import DemonstrationStore
from ruie_components.store.index_check import IndexCheck
from ruie_components.store.integrity import rescue
from ruie_components.store.records import Hit
from ruie_components.store.syncing import SyncResult
from ruie_components.store.tuned import TunedSettings

__all__ = ["DemonstrationStore", "Hit", "IndexCheck", "SyncResult", "TunedSettings", "rescue"]
