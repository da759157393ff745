"""The interface of stages; the stages are in ``stages``, one file each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Generic, TypeVar

from ruie_training.data.settings import Section
from ruie_training.pipeline.context import Context
from ruie_training.pipeline.speed import measure_speed
from ruie_training.recipes import Recipe

Report = dict[str, Any]
Settings = TypeVar("Settings", bound=Section)


@dataclass(frozen=True)
class Estimate:
    """The estimated work and time of a stage."""

    amount: int
    unit: str
    seconds: float | None
    """Seconds; None if they don't depend on this machine."""


class Workload:
    """The basis of a run's estimates: the sizes of its data, and the speed of this machine.

    Args:
        context: The run.
        speed: Floating-point operations per second. None: measured when needed.
    """

    def __init__(self, context: Context, speed: float | None = None) -> None:
        self.recipe = context.recipe
        data = context.recipe.data
        sizes = [dataset.size("train") for dataset in context.sets]
        pools = [min(size, data.pool_per_set or size) for size in sizes]
        self.pool = sum(pools)
        """Demonstrations."""
        self.queries = sum(min(size, data.queries_per_set or size) for size in pools)
        self._speed = speed

    @cached_property
    def speed(self) -> float:
        """Floating-point operations per second."""
        return self._speed or measure_speed()


class Stage(ABC, Generic[Settings]):
    """A stage: its section of the recipe, the stages that it reads, and its work.

    A new stage is a subclass in its own file and an entry in ``stages.STAGES``.
    """

    name: ClassVar[str]
    """Its name, and that of its section and its folder."""
    settings_type: type[Settings]
    """The type of its section."""
    reads: ClassVar[tuple[str, ...]] = ()
    """The stages whose folders it reads, if the recipe has them."""
    optional: ClassVar[bool] = True
    """Whether a recipe may omit its section, and thus the stage."""
    shared: ClassVar[bool] = False
    """Whether all processes take part. Otherwise only the first works, and the others wait."""

    def settings(self, recipe: Recipe) -> Settings:
        """The recipe's section of this stage."""
        settings = recipe.section(self.settings_type)
        assert settings is not None
        return settings

    def content(self, recipe: Recipe) -> dict[str, Any]:
        """The parts of a recipe that determine the result, as JSON; one half of the hash."""
        return {self.name: self.settings(recipe).content()}

    def data_hash(self, context: Context) -> str | None:  # noqa: ARG002  for subclasses
        """A hash over the data that it reads. None: it reads only other stages."""
        return None

    def validate(self, recipe: Recipe) -> None:
        """Check its section against other sections.

        Raises:
            ValueError: They contradict each other.
        """

    def check(self, context: Context) -> None:
        """Check its requirements before the run starts: models, servers, data.

        Raises:
            TrainingError: A requirement is not met.
            DataError: It has no data.
        """

    def estimate(self, work: Workload) -> Estimate | None:  # noqa: ARG002  for subclasses
        """Its estimated work; None if the time is negligible."""
        return None

    @abstractmethod
    def run(self, context: Context) -> Report:
        """Run it: read the folders of other stages, write its own, and return its figures for the record."""
