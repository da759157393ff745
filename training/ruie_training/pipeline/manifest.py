"""The records of a run folder: its recipe, and the record of each stage."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Collection, Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from ruie_components.files import atomic_write
from ruie_training.errors import RunError
from ruie_training.recipes import Recipe

MANIFEST, RECORD = "manifest.json", "stage.json"
_PACKAGES = ("ruie-components", "torch", "transformers", "sentence-transformers", "datasets", "bm25s", "onnxruntime")


class StageRecord(BaseModel):
    """The record of one stage, ``stage.json`` in its folder."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    hash: str
    """Covers the stage's settings, the data and the hashes of stages it reads; an equal hash means: not run again."""
    status: Literal["running", "done"]
    seed: int
    inputs: Mapping[str, str]
    versions: Mapping[str, str]
    seconds: float = 0.0
    """Seconds of all attempts, except one that was killed before writing its record."""
    report: Mapping[str, Any] = {}
    """Counts and figures; ``dropped`` counts left-out rows, by reason."""

    def write(self, folder: Path) -> None:
        """Write it atomically."""
        atomic_write(folder / RECORD, self.model_dump_json(indent=1) + "\n")


def read_record(folder: Path) -> StageRecord | None:
    """The record in a stage's folder, or None.

    Raises:
        RunError: The file is not a record.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        return StageRecord.model_validate_json(path.read_text("utf-8"))
    except ValidationError as error:
        raise RunError(f"{path} is not a record of a stage; remove {folder} to run this stage again") from error


def versions() -> dict[str, str]:
    """The versions of the packages of a run."""
    installed = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            installed[package] = version(package)
        except PackageNotFoundError:
            installed[package] = "absent"
    return installed


def open_run(folder: Path, recipe: Recipe, *, write: bool) -> None:
    """Check that a folder is new or belongs to this recipe, and write its manifest.

    A changed recipe with the same name may resume: stages affected by the change run again.

    Raises:
        RunError: The folder belongs to another recipe, is not a run folder, or can't be written.
    """
    path = folder / MANIFEST
    if path.is_file():
        _check_owner(path, recipe)
    elif folder.is_dir() and not all(map(_is_unfinished_manifest, folder.iterdir())):
        raise RunError(f"{folder} is not empty and not a run folder: it has no {MANIFEST}. Give another folder.")
    if not write:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(
            f"the run folder {folder} can't be created: {error.strerror}; give another with --out"
        ) from error
    content = {
        "recipe": recipe.name,
        "recipe_hash": recipe.content_hash(),
        "seed": recipe.seed,
        "settings": recipe.model_dump(mode="json"),
        "versions": versions(),
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    try:
        atomic_write(path, json.dumps(content, indent=1) + "\n")
    except OSError as error:
        raise RunError(
            f"the run folder {folder} can't be written: {error.strerror}; free some space, or give another with --out"
        ) from error


def _is_unfinished_manifest(path: Path) -> bool:
    """Whether ``atomic_write`` is at it in another process, or was when it was killed."""
    return path.name.startswith(".") and path.name.endswith(f"-{MANIFEST}")


def _check_owner(path: Path, recipe: Recipe) -> None:
    try:
        owner = json.loads(path.read_text("utf-8"))["recipe"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{path} is not the manifest of a run; give another folder") from error
    if owner != recipe.name:
        raise RunError(
            f"{path.parent} holds a run of the recipe {owner!r}, not of {recipe.name!r}: give another folder with --out"
        )


def collect(folder: Path, stages: Iterable[str], outdated: Collection[str] = ()) -> dict[str, Any]:
    """The manifest with the records of stages, as one JSON value.

    Args:
        folder: The run folder.
        stages: Their names; stages without a record are left out.
        outdated: Names of stages whose record is for other settings; their status becomes ``outdated``.
    """
    manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
    records = {stage: read_record(folder / stage) for stage in stages}
    manifest["stages"] = {
        stage: record.model_dump(mode="json") | ({"status": "outdated"} if stage in outdated else {})
        for stage, record in records.items()
        if record
    }
    return manifest
