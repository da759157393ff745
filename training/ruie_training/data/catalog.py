"""The sets of a data folder: what ``catalog.json`` says of them, and their splits as examples.

A data folder holds ``catalog.json`` and ``TASK/NAME/{train,dev,test}.jsonl.gz``, one row of an ``Example`` a line.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from ruie_components.errors import RuieError
from ruie_components.formats.jsonl import read_examples
from ruie_components.types import Example, Task


class DataError(RuieError, ValueError):
    """A data folder, a set or a split is missing, or the catalog can't be read."""


class Role(StrEnum):
    """What a set may be used for."""

    HELD_IN = "held-in"
    """Trained on (its train split), and chosen by (its dev split)."""
    HELD_OUT = "held-out"
    """Measured at the end only; its train split serves as a pool."""
    EXTRA = "extra"
    """Trained on, and measured apart."""


class DataSet(BaseModel):
    """One set of a data folder, as its catalog describes it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    task: Task
    dataset: str
    role: Role
    language: str
    permissive: bool
    licence: str
    source: str
    domain: str = ""
    rows: Mapping[str, int]
    folder: Path = Path()

    @property
    def name(self) -> str:
        """``TASK/NAME``, which is also the folder's name."""
        return f"{self.task}/{self.dataset}"

    def examples(self, split: str = "train", limit: int | None = None, seed: int = 0) -> list[Example]:
        """The rows of a split.

        Args:
            split: ``train``, ``dev`` or ``test``.
            limit: At most so many rows, drawn without replacement and kept in the file's order. None: all.
            seed: Of the draw.

        Raises:
            DataError: There is no such split.
            RowError: A row is no valid example; the message names file, line and field.
        """
        path = self.folder / f"{split}.jsonl.gz"
        if not path.is_file():
            raise DataError(f"{self.name} has no split {split!r}: there is no file {path}")
        rows = list(read_examples(path))
        if limit is None or limit >= len(rows):
            return rows
        chosen = sorted(random.Random(seed).sample(range(len(rows)), limit))  # noqa: S311  a draw, not a secret
        return [rows[index] for index in chosen]


def read_catalog(folder: str | Path) -> list[DataSet]:
    """Every set of a data folder, in the catalog's order.

    Raises:
        DataError: There is no catalog, or it has another form.
    """
    folder = Path(folder)
    path = folder / "catalog.json"
    if not path.is_file():
        raise DataError(f"{folder} is no data folder: it holds no catalog.json; give the folder with the sets")
    try:
        sets = TypeAdapter(list[DataSet]).validate_python(json.loads(path.read_text("utf-8")))
    except (json.JSONDecodeError, ValidationError) as error:
        raise DataError(f"{path} can't be read as a catalog: {error}") from error
    return [found.model_copy(update={"folder": folder / found.task / found.dataset}) for found in sets]


def choose(
    sets: Iterable[DataSet],
    *,
    names: Iterable[str] | None = None,
    roles: Iterable[Role | str] | None = None,
    permissive: bool | None = None,
    languages: Iterable[str] | None = None,
    tasks: Iterable[Task | str] | None = None,
) -> list[DataSet]:
    """The sets that meet every condition given; a condition that is None lets all pass.

    Raises:
        DataError: A name is not in the catalog, or nothing is left.
    """
    sets = list(sets)
    wanted = None if names is None else list(names)
    unknown = sorted(set(wanted or ()) - {found.name for found in sets})
    if unknown:
        raise DataError(f"no such set: {', '.join(unknown)}. There are: {', '.join(found.name for found in sets)}")
    allowed_roles = None if roles is None else {Role(role) for role in roles}
    allowed_tasks = None if tasks is None else {Task(task) for task in tasks}
    allowed_languages = None if languages is None else set(languages)
    chosen = [
        found
        for found in sets
        if (wanted is None or found.name in wanted)
        and (allowed_roles is None or found.role in allowed_roles)
        and (permissive is None or found.permissive == permissive)
        and (allowed_languages is None or found.language in allowed_languages)
        and (allowed_tasks is None or found.task in allowed_tasks)
    ]
    if not chosen:
        known = ", ".join(sorted({found.language for found in sets}))
        raise DataError(
            f"no set of the catalog meets all the conditions: drop one, or name the sets. Its languages are {known}"
        )
    return chosen


def training_sets(folder: str | Path) -> list[DataSet]:
    """What weights that ship may be trained on: permissive sets that are not held out."""
    return choose(read_catalog(folder), roles=(Role.HELD_IN, Role.EXTRA), permissive=True)
