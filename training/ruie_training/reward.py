"""The public name of the split into positives and negatives by score (paper, pipeline step 3)."""

from ruie_training.data.groups import split_by_score

__all__ = ["split_by_score"]
