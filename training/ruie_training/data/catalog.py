"""Labelled rows for training and evaluation, as data sets with splits and roles.

Three sources are understood (``read_sets``):

1. **Your own rows**: a ``.jsonl`` or ``.jsonl.gz`` file, or a folder of such files, one ``Example`` per line. They
   become one set for each task and ``dataset`` of the rows. A fifth of the texts, chosen by a hash, is the dev split;
   the rest is the train split. In a folder with ``train.jsonl`` the files ``dev.jsonl`` (or ``valid.jsonl``,
   ``validation.jsonl``) and ``test.jsonl`` are splits, too: dev replaces the fifth, and test is not read.
2. **A store**: the folder of a ``DemonstrationStore``; one of its pools, split in the same way.
3. **A folder with a catalog**, where sets have roles: ``catalog.json`` and ``TASK/NAME/{train,dev,test}.jsonl.gz``,
   or ``.jsonl``.
   The catalog is a JSON list with an object for each set::

       [{"task": "NER", "dataset": "news", "role": "held-in", "language": "en", "permissive": true,
         "licence": "CC-BY-4.0", "source": "https://example.org/news", "rows": {"train": 800, "dev": 100}}]

   ``task``, ``dataset`` and ``role`` (``held-in``, ``held-out``, ``extra``) are required. The others serve the model
   card and the conditions of a recipe; missing numbers of rows are counted in the files.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ruie_components.errors import RuieError, explain
from ruie_components.files import read_lines
from ruie_components.formats.jsonl import read_examples
from ruie_components.integers import counted
from ruie_components.tokenization import text_hash
from ruie_components.types import Example, Task

CATALOG = "catalog.json"
_DATABASE = "chroma.sqlite3"  # every store folder has this file
_SUFFIXES = (".jsonl.gz", ".jsonl")
_DEV_NAMES, _TEST_NAMES = frozenset({"dev", "valid", "validation"}), frozenset({"test"})  # of files beside train
_DEV_SHARE = 5  # without splits, every fifth text is in the dev split


class DataError(RuieError, ValueError):
    """Data are missing or unreadable, or no set meets the conditions of a recipe."""


class Role(StrEnum):
    """The permitted use of a set."""

    HELD_IN = "held-in"
    """For training (train split) and model selection (dev split)."""
    HELD_OUT = "held-out"
    """For final evaluation only; its train split serves as a pool."""
    EXTRA = "extra"
    """For training, and evaluated separately."""
    OWN = "own"
    """Rows without a catalog: the train split is for training, the dev split for evaluation."""


class DataSet(BaseModel):
    """A data set: its catalog entry and its splits."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    task: Task
    dataset: str
    role: Role
    language: str = ""
    permissive: bool | None = None
    licence: str = "not stated"
    source: str = "not stated"
    domain: str = ""
    rows: Mapping[str, int] = {}
    folder: Path = Path()
    splits: Mapping[str, tuple[Example, ...]] = Field(default={}, exclude=True, repr=False)
    """The rows of each split, unless they are files in ``folder``."""

    @property
    def name(self) -> str:
        """``TASK/NAME``, which is also the folder's name in a data folder."""
        return f"{self.task}/{self.dataset}"

    def examples(self, split: str = "train", limit: int | None = None, seed: int = 0) -> list[Example]:
        """The rows of a split.

        Args:
            split: ``train``, ``dev`` or ``test``.
            limit: The maximum number of rows, drawn without replacement and kept in the file's order. None: all.
            seed: Of the random draw.

        Raises:
            DataError: There is no such split.
            RowError: A row is not a valid example; the message names file, line and field.
        """
        rows = list(self.splits[split]) if split in self.splits else list(read_examples(self._file(split)))
        if limit is None or limit >= len(rows):
            return rows
        chosen = sorted(random.Random(seed).sample(range(len(rows)), limit))  # noqa: S311  a draw, not a secret
        return [rows[index] for index in chosen]

    def size(self, split: str) -> int:
        """The number of rows of a split.

        Raises:
            DataError: There is no such split.
        """
        if split in self.splits:
            return len(self.splits[split])
        return self.rows[split] if split in self.rows else sum(1 for _ in read_lines(self._file(split)))

    def content_hash(self, *splits: str) -> str:
        """A hash over the content of splits (by default all), in hexadecimal digits.

        Raises:
            DataError: There is no such split.
        """
        digest = hashlib.sha256()
        if self.splits:
            for split in splits or sorted(self.splits):
                digest.update("\n".join(example.content_id for example in self.splits[split]).encode("utf-8"))
        else:
            every = (path for suffix in _SUFFIXES for path in self.folder.glob(f"*{suffix}"))
            paths = [self._file(split) for split in splits] or sorted(every)
            for path in paths:
                digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def _file(self, split: str) -> Path:
        paths = [self.folder / f"{split}{suffix}" for suffix in _SUFFIXES]
        path = next((path for path in paths if path.is_file()), None)
        if self.splits or path is None:
            known = (
                ", ".join(sorted(self.splits)) if self.splits else f"there is no file {' or '.join(map(str, paths))}"
            )
            raise DataError(f"{self.name} has no split {split!r}: {known}")
        return path


def read_sets(source: str | Path, pool: str = "default") -> list[DataSet]:
    """The data sets of a folder with a catalog, of files with rows, or of a store.

    Args:
        source: See the top of this module.
        pool: The pool, if ``source`` is a store.

    Raises:
        DataError: There are no data, or a catalog is not valid.
        RowError: A row is not a valid example; the message names file, line and field.
        StoreError: The store can't be read, or has no such pool.
    """
    path = Path(source)
    if (path / CATALOG).is_file():
        return read_catalog(path)
    if (path / _DATABASE).is_file():
        from ruie_components.store import DemonstrationStore

        with DemonstrationStore.open(path, pool=pool) as store:
            return own_sets(store.examples(), pool)
    files = [path] if path.is_file() else sorted((*path.glob("*.jsonl"), *path.glob("*.jsonl.gz")))
    if not files:
        raise DataError(
            f"{path} holds no data: expected a .jsonl or .jsonl.gz file or a folder of such files (one example per "
            f"line), a store, or a folder with {CATALOG}"
        )
    train, dev = _files_of_splits(files)
    name = path.name.partition(".")[0]
    return own_sets(_rows_of(train), name, dev=_rows_of(dev) if dev else None)


def _files_of_splits(files: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The files to train on, and those of a dev split if there are any, by their names."""
    names = {file: file.name.partition(".")[0].lower() for file in files}
    if "train" not in names.values():
        return list(files), []
    train = [file for file, name in names.items() if name not in _DEV_NAMES | _TEST_NAMES]
    return train, [file for file, name in names.items() if name in _DEV_NAMES]


def _rows_of(files: Iterable[Path]) -> Iterable[Example]:
    return (example for file in files for example in read_examples(file))


def own_sets(examples: Iterable[Example], name: str, *, dev: Iterable[Example] | None = None) -> list[DataSet]:
    """Rows without a catalog as data sets, one for each task and ``dataset``.

    A set of so few texts that none is in its dev split, or all are, is for training only; see ``measurable``.

    Args:
        examples: The rows.
        name: The set's name for rows without ``dataset``.
        dev: The rows of the dev split. None: a fifth of the texts.

    Raises:
        DataError: No set has different texts for a train and a dev split.
    """
    groups: defaultdict[tuple[Task, str], dict[str, list[Example]]] = defaultdict(lambda: {"train": [], "dev": []})
    for example in examples:
        digest = hashlib.sha256(text_hash(example.text).encode("utf-8")).digest()
        split = "dev" if dev is None and digest[0] % _DEV_SHARE == 0 else "train"
        groups[example.task, example.dataset or name][split].append(example)
    if dev is None:
        for each in groups.values():
            if not each["train"]:
                each.update(train=each["dev"], dev=[])
    for example in dev or ():
        groups[example.task, example.dataset or name]["dev"].append(example)
    sets = [
        DataSet(task=task, dataset=dataset, role=Role.OWN, splits={split: tuple(rows) for split, rows in each.items()})
        for (task, dataset), each in groups.items()
    ]
    if not measurable(sets):
        rows = sum(len(part) for each in sets for part in each.splits.values())
        raise DataError(
            f"{name} has {counted(rows, 'row')}, too few for a train and a dev split: give at least some tens of "
            "different texts"
        )
    return sets


def measurable(sets: Iterable[DataSet]) -> list[DataSet]:
    """The sets without those rows without a catalog that are too few for a train and a dev split."""
    return [each for each in sets if each.role is not Role.OWN or all(each.splits.values())]


def read_catalog(folder: str | Path) -> list[DataSet]:
    """Every set of a data folder, in the catalog's order.

    Raises:
        DataError: There is no catalog, it is not valid, or has a set twice; the message names the set and the field.
    """
    folder = Path(folder)
    path = folder / CATALOG
    if not path.is_file():
        raise DataError(f"{folder} has no {CATALOG}: give a folder of data sets with their catalog")
    try:
        sets = TypeAdapter(list[DataSet]).validate_python(json.loads(path.read_text("utf-8")))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a valid catalog: {error}") from error
    except ValidationError as error:
        raise DataError(f"{path} is not a valid catalog: {explain(error)}") from error
    repeated = [name for name, count in Counter(each.name for each in sets).items() if count > 1]
    if repeated:  # with two roles, a set could be trained on and held out
        raise DataError(f"{path} lists {', '.join(repeated)} more than once: give each set one entry")
    return [each.model_copy(update={"folder": folder / each.task / each.dataset}) for each in sets]


def choose(
    sets: Iterable[DataSet],
    *,
    names: Iterable[str] | None = None,
    roles: Iterable[Role | str] | None = None,
    permissive: bool | None = None,
    languages: Iterable[str] | None = None,
    tasks: Iterable[Task | str] | None = None,
    purpose: str = "",
) -> list[DataSet]:
    """The sets that meet every condition; None is no condition.

    A set without a catalog (role ``own``) meets all conditions on role, licence and language, which are unknown.

    Args:
        sets: The sets to choose from.
        names: ``TASK/NAME`` of each.
        roles: Their roles.
        permissive: Whether their licence is permissive.
        languages: Language codes, as in the catalog.
        tasks: Their tasks.
        purpose: The purpose of the sets, for error messages, such as "the stage evaluate".

    Raises:
        DataError: A name is unknown, or no set is left; the message names the condition that leaves none.
    """
    known = chosen = list(sets)
    purpose = f"{purpose}: " if purpose else ""
    wanted = None if names is None else list(names)
    unknown = sorted(set(wanted or ()) - {each.name for each in known})
    if unknown:
        raise DataError(
            f"{purpose}unknown set {', '.join(unknown)}; the sets are {', '.join(each.name for each in known)}"
        )
    conditions: Sequence[tuple[str, Iterable[object] | None]] = (
        ("name", wanted),
        ("role", roles),
        ("permissive", None if permissive is None else (permissive,)),
        ("language", languages),
        ("task", tasks),
    )
    for attribute, allowed in conditions:
        if allowed is None:
            continue
        values = {str(value) for value in allowed}
        exempt = attribute in ("role", "permissive", "language")
        left = [
            each for each in chosen if str(getattr(each, attribute)) in values or (exempt and each.role is Role.OWN)
        ]
        if not left:
            present = ", ".join(sorted({str(getattr(each, attribute)) for each in chosen})) or "none"
            raise DataError(
                f"{purpose}no set has {attribute} {' or '.join(sorted(values))}; the sets that meet the other "
                f"conditions have {present}"
            )
        chosen = left
    if not chosen:
        raise DataError(f"{purpose}there are no sets")
    return chosen


def training_sets(folder: str | Path) -> list[DataSet]:
    """The sets for training weights that ship: permissive, and not held out."""
    return choose(read_catalog(folder), roles=(Role.HELD_IN, Role.EXTRA), permissive=True)
