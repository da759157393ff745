"""The errors of a training run. Each message says what was wrong, where, and what to do."""

from ruie_components.errors import RuieError


class TrainingError(RuieError):
    """A stage can't train: too few candidates, a loss that is not a number, a model that doesn't fit."""


class LossError(TrainingError):
    """A loss is not a finite number; the trainer adds the step."""


class RecipeError(RuieError, ValueError):
    """A recipe can't be used: unknown or missing keys, values out of range. The message names file and key."""


class RunError(RuieError):
    """A run folder can't be used: it belongs to another recipe or other data, or can't be written."""
