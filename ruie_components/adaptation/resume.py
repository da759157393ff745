"""What an interrupted run has computed, kept in files for the next run."""

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
    """Arrays by name in files of a folder, which belong to one key; those of any other key are removed.

    Args:
        folder: Created when it is needed. None: nothing is kept.
        key: A hash of everything that the arrays depend on, usable as a file name.
    """

    def __init__(self, folder: Path | None, key: str) -> None:
        self._folder = folder / key if folder else None
        if folder and folder.is_dir():
            for other in folder.iterdir():
                if other.name != key:
                    shutil.rmtree(other, ignore_errors=True)

    def get(self, name: str, compute: Callable[[], Arrays]) -> Arrays:
        """The arrays that were kept under a name, or what ``compute`` returns, which is kept from now on."""
        if self._folder is None:
            return compute()
        path = self._folder / f"{name}.npz"
        try:
            with np.load(path, allow_pickle=False) as kept:
                return {key: kept[key] for key in kept.files}
        except (OSError, EOFError, ValueError, zipfile.BadZipFile):
            pass  # absent, or broken by whatever interrupted the run
        arrays = compute()
        with suppress(OSError):  # a folder that can't be written to keeps nothing
            self._folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(path) as part:
                np.savez(part, allow_pickle=False, **arrays)
        return arrays

    def clear(self) -> None:
        """Remove what was kept: the run is complete."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)
