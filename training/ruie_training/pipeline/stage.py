"""What a stage of a run is. The stages themselves are in ``stages``, one file each."""

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
    """How much a stage would do, and roughly how long."""

    amount: int
    unit: str
    seconds: float | None
    """None where this machine doesn't decide it."""


class Workload:
    """What a run's estimates are made from: the sizes of its data, and the speed of this machine.

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
    """A stage: its section of the recipe, the stages that it reads, and what it does.

    A new stage is a subclass in a file of its own and an entry in ``stages.STAGES``.
    """

    name: ClassVar[str]
    """Also the name of its section of a recipe and of its folder."""
    settings_type: type[Settings]
    """What its section may hold."""
    reads: ClassVar[tuple[str, ...]] = ()
    """The stages whose folders it reads, as far as the recipe has them."""
    optional: ClassVar[bool] = True
    """Whether a recipe without its section has no such stage."""
    shared: ClassVar[bool] = False
    """Whether all processes take part. Otherwise the first one works and the others wait."""

    def settings(self, recipe: Recipe) -> Settings:
        """The recipe's section of this stage."""
        settings = recipe.section(self.settings_type)
        assert settings is not None
        return settings

    def content(self, recipe: Recipe) -> dict[str, Any]:
        """What of a recipe the result depends on, as JSON; half of what ``hash_of`` takes."""
        return {self.name: self.settings(recipe).content()}

    def data_hash(self, context: Context) -> str | None:  # noqa: ARG002  for subclasses
        """A hash over the data that it reads. None: it reads other stages only."""
        return None

    def validate(self, recipe: Recipe) -> None:
        """Check its section against the others.

        Raises:
            ValueError: They contradict each other.
        """

    def check(self, context: Context) -> None:
        """Check, before the run starts, what it needs from outside: models, servers, data.

        Raises:
            TrainingError: It can't work.
            DataError: There are no data for it.
        """

    def estimate(self, work: Workload) -> Estimate | None:  # noqa: ARG002  for subclasses
        """How much it would do; None where that takes a negligible time."""
        return None

    @abstractmethod
    def run(self, context: Context) -> Report:
        """Do it: read the folders of other stages, write its own, and return what to record."""
