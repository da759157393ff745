"""The starter pool that comes with the package: demonstrations of all four tasks, written for this project (CC0)."""

from __future__ import annotations

from importlib.resources import as_file, files

from ruie_components.encoders import Encoder
from ruie_components.formats.jsonl import read_examples
from ruie_components.store import DemonstrationStore
from ruie_components.types import Example, Task

POOL = "starter"


def starter_examples(task: Task | str | None = None) -> list[Example]:
    """The starter pool's examples of one task, or of all four."""
    tasks = [Task(task)] if task else list(Task)
    with as_file(files("ruie_components").joinpath("assets", "starter_pool")) as folder:
        return [example for name in tasks for example in read_examples(folder / f"{name}.jsonl")]


def starter_store(encoder: Encoder | str | None = None) -> DemonstrationStore:
    """The starter pool as a store in memory."""
    return DemonstrationStore.create(starter_examples(), pool=POOL, encoder=encoder, progress=False)
