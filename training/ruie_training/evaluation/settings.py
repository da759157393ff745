"""The section ``[evaluate]`` of a recipe."""

from __future__ import annotations

from ruie_components.types import Task
from ruie_training.data.catalog import Role
from ruie_training.data.settings import Positive, Section


class Evaluate(Section):
    """Which sets retrieval is measured on, and how."""

    sets: tuple[str, ...] | None = None
    """``TASK/NAME`` of each set. None: all sets that meet the conditions of the other keys."""
    roles: tuple[Role, ...] = (Role.HELD_OUT,)
    """Roles of the sets. Rows without a catalog always match: their dev split is measured."""
    tasks: tuple[Task, ...] | None = None
    """Tasks of the sets. None: all."""
    k: Positive = 8
    """Demonstrations of each query."""
    queries: Positive | None = 300
    """Queries of each set. None: all."""
    likelihood: bool = False
    """Also measure the likelihood of the gold answers, by the LLM of ``[preferences.scorer]``."""
    likelihood_queries: Positive | None = 100
    """Queries of each set that the LLM scores. None: all."""
