"""Measures extraction with a language model: F1 for any selection of demonstrations."""

from ruie_components.evaluation.cache import AnswerCache, CachedChatModel
from ruie_components.evaluation.calibration import calibration_error, outcomes, reliability
from ruie_components.evaluation.data import EvaluationSet, read_set, split_pool
from ruie_components.evaluation.experiment import Condition, Measurement, Plan, measure
from ruie_components.evaluation.predictors import Correlation, correlations
from ruie_components.evaluation.selections import SELECTIONS
from ruie_components.evaluation.statistics import Interval, paired_difference
from ruie_components.evaluation.tune import Tuning

__all__ = [
    "SELECTIONS",
    "AnswerCache",
    "CachedChatModel",
    "Condition",
    "Correlation",
    "EvaluationSet",
    "Interval",
    "Measurement",
    "Plan",
    "Tuning",
    "calibration_error",
    "correlations",
    "measure",
    "outcomes",
    "paired_difference",
    "read_set",
    "reliability",
    "split_pool",
]
