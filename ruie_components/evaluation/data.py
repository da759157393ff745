"""Evaluation data: a pool, and labelled inputs that are not in it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruie_components.formats import read_examples
from ruie_components.integers import counted
from ruie_components.store import DemonstrationStore
from ruie_components.tokenization import text_hash
from ruie_components.types import Example, Task


@dataclass(frozen=True)
class EvaluationSet:
    """A pool of demonstrations and labelled inputs of one task.

    Attributes:
        name: Such as ``NER/mit-movie``.
        pool: The demonstrations to choose from.
        inputs: The inputs with their gold annotations.
    """

    name: str
    pool: tuple[Example, ...]
    inputs: tuple[Example, ...]

    @property
    def task(self) -> Task:
        """The task of its inputs."""
        return self.inputs[0].task


def read_set(
    folder: str | Path, name: str, *, split: str = "test", inputs: int = 100, pool: int | None = 4000, seed: int = 0
) -> EvaluationSet:
    """Read a data set: ``FOLDER/NAME/train.jsonl(.gz)`` is the pool, another split has the inputs.

    Rows without annotations are left out: they neither help as demonstrations nor count in F1.

    Args:
        folder: The folder of data sets.
        name: The set's folder in it, such as ``NER/mit-movie``.
        split: The split of the inputs.
        inputs: How many inputs, drawn by the seed.
        pool: How many rows of the pool at most, drawn by the seed.
        seed: Of the random draws.

    Raises:
        FileNotFoundError: A split is missing.
        RowError: A row is not a valid example.
        ValueError: No row of a split has annotations.
    """
    base = Path(folder) / name
    rows = _draw(_annotated(base, "train"), pool, seed)
    taken = {text_hash(example.text) for example in rows}
    drawn = _draw((one for one in _annotated(base, split) if text_hash(one.text) not in taken), inputs, seed + 1)
    return _checked(name, rows, drawn)


def split_pool(
    store: DemonstrationStore, task: Task | str | None = None, *, inputs: int = 100, seed: int = 0, least: int = 8
) -> EvaluationSet:
    """Split your own pool: some rows are inputs, the others the pool. Rows with equal texts stay together.

    Args:
        store: The pool.
        task: The task; the pool's only one if not given.
        inputs: How many inputs, at most a quarter of the rows.
        seed: Of the random draw.
        least: How many annotated rows the pool needs.

    Raises:
        ValueError: The pool has several tasks and none is given, or it has too few rows or texts of the task.
    """
    tasks = list(store.tasks)
    if task is None and len(tasks) != 1:
        raise ValueError(f"pool {store.pool!r} holds {', '.join(tasks) or 'no task'}: give the task")
    chosen = Task(task or tasks[0])
    if chosen not in tasks:
        raise ValueError(f"pool {store.pool!r} holds no {chosen} rows; it holds {', '.join(tasks) or 'nothing'}")
    rows = [example for example in store.examples(chosen) if example.annotations]
    held = f"pool {store.pool!r} has {counted(len(rows), f'annotated {chosen} row')}"
    if len(rows) < least:
        raise ValueError(f"{held}, and at least {least} are needed to hold a quarter of them out: annotate more")
    order = random.Random(seed).sample(rows, len(rows))  # noqa: S311 - no secret
    drawn, rest = split_by_text(order, min(inputs, len(rows) // 4))
    if not drawn:
        raise ValueError(f"{held} of too few different texts to hold a quarter of them out: annotate more texts")
    return EvaluationSet(f"{chosen}/{store.pool}", tuple(rest), tuple(drawn))


def split_by_text(rows: Sequence[Example], limit: int) -> tuple[list[Example], list[Example]]:
    """Split rows in two parts, so that rows with equal texts (white space collapsed) are in the same part.

    Args:
        rows: The rows.
        limit: The maximum number of rows in the first part. Texts are taken in their order, except for those with more
            rows than are left.

    Returns:
        The rows of the first part and the others, both in their order.

    >>> texts = ["Ada slept.", "Bob sang.", "Ada  slept.", "Cyd ran."]
    >>> rows = [Example(task="NER", text=text, labels=["person"]) for text in texts]
    >>> [[row.text for row in part] for part in split_by_text(rows, 2)]
    [['Ada slept.', 'Ada  slept.'], ['Bob sang.', 'Cyd ran.']]
    """
    hashes = [text_hash(example.text) for example in rows]
    first: set[str] = set()
    for text, count in Counter(hashes).items():
        if count <= limit:
            first.add(text)
            limit -= count
    parts: tuple[list[Example], list[Example]] = [], []
    for text, example in zip(hashes, rows, strict=True):
        parts[text not in first].append(example)
    return parts


def encoder_of(store: DemonstrationStore) -> Any:
    """The encoder by which a part of a pool is measured: the pool's own.

    ``None``, the embedded one, for an adapted encoder: it was trained on the whole pool, inputs included.
    """
    adapted_from = getattr(getattr(store.encoder, "config", None), "adapted_from", None)
    return store.encoder if adapted_from is None else None


def _annotated(folder: Path, split: str) -> Iterable[Example]:
    for suffix in (".jsonl.gz", ".jsonl"):
        if (path := folder / f"{split}{suffix}").is_file():
            return [example for example in read_examples(path) if example.annotations]
    raise FileNotFoundError(f"there is no {split}.jsonl or {split}.jsonl.gz in {folder}")


def _draw(examples: Iterable[Example], count: int | None, seed: int) -> list[Example]:
    rows = sorted(examples, key=lambda example: example.content_id)
    random.Random(seed).shuffle(rows)  # noqa: S311 - no secret
    return rows if count is None else rows[:count]


def _checked(name: str, pool: Sequence[Example], inputs: Sequence[Example]) -> EvaluationSet:
    for part, rows in (("pool", pool), ("inputs", inputs)):
        if not rows:
            raise ValueError(f"{name} has no annotated row for the {part}")
    return EvaluationSet(name, tuple(pool), tuple(inputs))
