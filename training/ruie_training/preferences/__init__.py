"""Preferences: scores each candidate as a demonstration for a query (paper, pipeline step 2).

Scorers: ``local`` (a transformers model, torch), ``served`` (a server with OpenAI-style completions), ``outcome`` (any
chat model), ``label_overlap`` (no model). Each module imports only its own dependencies.
"""

from ruie_training.preferences.label_overlap import LabelOverlap, label_f1_of_ends
from ruie_training.preferences.prefer import OTHER_SET, check_scored, choose_candidates, prefer
from ruie_training.preferences.scorer import (
    Advance,
    LikelihoodScorer,
    Pair,
    Scorer,
    ScoresMissingError,
    Shown,
    alone,
    ignore_progress,
    prompt_and_answer,
)

__all__ = [
    "OTHER_SET",
    "Advance",
    "LabelOverlap",
    "LikelihoodScorer",
    "Pair",
    "Scorer",
    "ScoresMissingError",
    "Shown",
    "alone",
    "check_scored",
    "choose_candidates",
    "ignore_progress",
    "label_f1_of_ends",
    "prefer",
    "prompt_and_answer",
]
