"""Adapts a store's encoder to the store's own pool, and says what that gained."""

from ruie_training.adapt.measure import Gain
from ruie_training.adapt.work import Adaptation, adapt_store

__all__ = ["Adaptation", "Gain", "adapt_store"]
