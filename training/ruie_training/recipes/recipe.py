"""A recipe: name, seed, data, and a section for each of its stages."""

from __future__ import annotations

import hashlib
import json
from typing import TypeVar

from pydantic import Field

from ruie_training.data.settings import Data, Section

Settings = TypeVar("Settings", bound=Section)


class Recipe(Section):
    """A whole run. A section that is absent (None) is a stage that the run doesn't have.

    The sections are declared by the stages: ``pipeline.reading`` adds a field for each, under the stage's name.
    """

    name: str = Field(min_length=1)
    """The recipe's name; a run folder belongs to one."""
    description: str = ""
    """One or two sentences for the model card."""
    seed: int = 123
    """Of all draws."""
    data: Data = Data()
    """The section ``[data]``."""

    def section(self, kind: type[Settings]) -> Settings | None:
        """The section of a kind, such as ``Distil``; None where the recipe has none."""
        return next((value for _, value in self if isinstance(value, kind)), None)

    def content_hash(self) -> str:
        """A hash of everything but the description: 16 hexadecimal digits."""
        return hash_of(self.model_dump(mode="json", exclude={"description"}))


def hash_of(value: object) -> str:
    """A hash of a JSON value: 16 hexadecimal digits, whatever the order of its keys."""
    canonical = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode("utf-8")).hexdigest()[:16]
