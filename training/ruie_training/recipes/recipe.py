"""A recipe: name, seed, data, and a section for each of its stages."""

from __future__ import annotations

import hashlib
import json
from typing import TypeVar

from pydantic import Field

from ruie_training.data.settings import Data, Section, Seed

Settings = TypeVar("Settings", bound=Section)


class Recipe(Section):
    """A recipe of a run. An absent section (None) means that the run does not have this stage.

    The sections are declared by the stages: ``pipeline.reading`` adds a field for each, under the stage's name.
    """

    name: str = Field(min_length=1)
    """The recipe's name; a run folder belongs to one recipe."""
    description: str = ""
    """One or two sentences for the model card."""
    seed: Seed = 123
    """The seed of all random draws."""
    data: Data = Data()
    """The section ``[data]``."""

    def section(self, kind: type[Settings]) -> Settings | None:
        """The section of a type, such as ``Distil``; None if the recipe has none."""
        return next((value for _, value in self if isinstance(value, kind)), None)

    def content_hash(self) -> str:
        """A hash of everything except the description: 16 hexadecimal digits."""
        return hash_of(self.model_dump(mode="json", exclude={"description"}))


def hash_of(value: object) -> str:
    """A hash of a JSON value, regardless of the order of keys: 16 hexadecimal digits."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:16]
