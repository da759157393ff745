"""The base class of a recipe's sections, and the section ``[data]``.

Every key of a recipe is a field with a docstring; ``ruie train --keys`` prints them.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import pydantic_core
from pydantic import BaseModel, ConfigDict, Field

from ruie_components.types import Task
from ruie_training.data.catalog import Role

SCRATCH = "scratch"
"""The model name for the one that the stage ``models`` makes."""

Positive = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""The seeds that numpy takes."""


class Section(BaseModel):
    """A table of a recipe: unknown keys are refused, values are checked."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    operational: ClassVar[frozenset[str]] = frozenset()
    """Keys that change how a result is computed, but not the result: changing them runs no stage again."""

    def content(self) -> dict[str, Any]:
        """All keys except the operational ones as JSON, at any depth: they determine the result of a stage."""
        return {
            name: value.content() if isinstance(value, Section) else pydantic_core.to_jsonable_python(value)
            for name, value in self
            if name not in self.operational
        }


class Data(Section):
    """Which data sets are trained on, and how much of each."""

    sets: tuple[str, ...] | None = None
    """``TASK/NAME`` of each set. None: all sets that meet the conditions of the other keys."""
    roles: tuple[Role, ...] = (Role.HELD_IN,)
    """``held-in``, ``held-out``, ``extra``. Rows without a catalog have no role and always match."""
    permissive: bool | None = None
    """Only sets whose licence is (true) or is not (false) permissive. None: both."""
    tasks: tuple[Task, ...] | None = None
    """``NER``, ``RE``, ``ED``, ``EAE``. None: all."""
    languages: tuple[str, ...] | None = None
    """Language codes as the catalog writes them. None: all."""
    pool_per_set: Positive | None = None
    """Demonstrations drawn from each set. None: all."""
    queries_per_set: Positive | None = None
    """Training queries drawn from each pool. None: all rows of the pool."""
    empty_share: float = Field(0.05, ge=0, le=1)
    """The largest share of a pool that rows without annotations may have."""
