"""Adapts a store's encoder to the store's own pool, and measures the gain. It needs only numpy and scipy."""

from ruie_components.adaptation.encoders import AdaptableEncoder
from ruie_components.adaptation.measure import Gain
from ruie_components.adaptation.pool import Pool
from ruie_components.adaptation.teachers import PairScorer, ScoredCandidates, TeacherSource, score_candidates
from ruie_components.adaptation.work import AdaptablePool, Adaptation, adapt

__all__ = [
    "AdaptableEncoder",
    "AdaptablePool",
    "Adaptation",
    "Gain",
    "PairScorer",
    "Pool",
    "ScoredCandidates",
    "TeacherSource",
    "adapt",
    "score_candidates",
]
