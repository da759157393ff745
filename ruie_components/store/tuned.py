"""The settings that tuning chose for a pool and task, kept in the collection's metadata."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ruie_components.errors import StoreError, explain
from ruie_components.prompts import AnswerFormat, Order
from ruie_components.selection import DEFAULT_K, Method
from ruie_components.store.collections import kept_settings, set_settings
from ruie_components.store.open_pool import OpenPool
from ruie_components.types import Task


class TunedSettings(BaseModel):
    """How to choose and show demonstrations, and how to write answers.

    The defaults are those of the package.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: Method = Method.SIMILARITY
    k: int = Field(default=DEFAULT_K, ge=0, le=1000)
    order: Order = Order.SIMILAR_LAST
    answer_format: AnswerFormat = AnswerFormat.LINEAR
    mode: Literal["completion", "chat"] | None = None
    """For a GGUF file: whether the model reads one string or messages; ``None``: as the file says."""

    def __str__(self) -> str:
        parts = [self.method.value, f"k={self.k}", self.order.value, self.answer_format.value]
        return " ".join(parts + ([self.mode] if self.mode else []))


def tuned_settings(pool: OpenPool, task: Task) -> TunedSettings | None:
    """The tuned settings of a task; ``None`` if it was not tuned.

    Raises:
        StoreError: They can't be read.
    """
    if task not in pool.collections:
        return None
    kept = kept_settings(pool.collections[task])
    if kept is None:
        return None
    try:
        return TunedSettings.model_validate_json(kept)
    except ValidationError as error:
        raise StoreError(
            f"the tuned settings of {task} in pool {pool.name!r} can't be read ({explain(error)}): tune it again, or "
            "remove them with store.set_tuned(task, None)"
        ) from error


def set_tuned_settings(pool: OpenPool, task: Task, settings: TunedSettings | None) -> None:
    """Keep the tuned settings of a task, or remove them."""
    collection = pool.collections[task]
    pool.collections[task] = set_settings(
        pool.connection, collection, None if settings is None else settings.model_dump_json()
    )
