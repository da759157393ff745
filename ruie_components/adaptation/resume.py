"""Keeps the intermediate results of an interrupted run in files for the next run."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ruie_components.files import atomic_path

Arrays = Mapping[str, NDArray[Any]]


class KeptArrays:
    """Arrays by name in files of a folder, for one key; files of other keys are removed.

    Args:
        folder: The folder, created on first use. None: nothing is kept.
        key: A hash of everything that the arrays depend on, usable as a file name.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._folder = folder / key if folder else None
        if folder and folder.is_dir():
            for other in folder.iterdir():
                if other.name != key:
                    shutil.rmtree(other, ignore_errors=True)

    def get(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """The kept arrays of a name, else the result of ``compute``, which is then kept."""
        if self._folder is None:
            return compute()
        if (known := self.read(name)) is not None:
            return known
        arrays = compute()
        path = self._folder / f"{name}.npz"
        with suppress(OSError):  # nothing is kept if the folder is not writable
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as part:
                np.savez(part, allow_pickle=False, **arrays)
        return arrays

    def read(self, name: str) -> Arrays | None:
        """The kept arrays of a name; ``None`` if they are absent, or damaged by an interruption."""
        if self._folder is None:
            return None
        try:
            with np.load(self._folder / f"{name}.npz", allow_pickle=False) as kept:
                return {key: kept[key] for key in kept.files}
        except (OSError, EOFError, ValueError, zipfile.BadZipFile):
            return None

    def clear(self) -> None:
        """Remove the kept arrays: the run is complete."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
