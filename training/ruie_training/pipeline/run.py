"""Runs every stage of a recipe in one folder. Finished stages are skipped; interrupted ones resume.

A run folder holds ``manifest.json``, ``metrics.jsonl`` and a folder for each stage with its ``stage.json``.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ruie_components.errors import RuieError
from ruie_components.files import atomic_write
from ruie_training.errors import RecipeError, RunError
from ruie_training.pipeline.context import Context
from ruie_training.pipeline.manifest import MANIFEST, StageRecord, collect, open_run, read_record, versions
from ruie_training.pipeline.reading import stages_of
from ruie_training.pipeline.stage import Stage
from ruie_training.pipeline.stages import STAGES
from ruie_training.recipes import hash_of

Action = Literal["skip", "run", "resume", "rerun"]
"""The action for a stage: it is done, new, interrupted, or was done with other settings."""

_POLL_SECONDS = 1.0
_FULL_DISK_BYTES = 32 * 2**20  # with less free space, a write failure counts as a full disk

Say = Callable[[str], None]


@dataclass(frozen=True)
class Planned:
    """A stage and its action."""

    stage: Stage[Any]
    hash: str
    inputs: dict[str, str]
    action: Action


def plan(context: Context, *, only: Sequence[str] = (), until: str | None = None) -> list[Planned]:
    """The plan of a run by stage; nothing is written.

    Args:
        context: Recipe, data and run folder.
        only: These stages and no others.
        until: This stage and those before it.

    Raises:
        RecipeError: The recipe has no such stage, or the stages contradict each other.
        RunError: The folder belongs to another recipe.
        DataError: A set is missing.
    """
    names = stages_of(context.recipe)
    for name in (*only, *([until] if until else [])):
        if name not in names:
            raise RecipeError(f"the recipe {context.recipe.name} has no stage {name!r}, only {', '.join(names)}")
        if until in names and names.index(name) > names.index(until):
            raise RecipeError(f"{name} comes after {until}: omit --until {until} or --stage {name}")
    open_run(context.run, context.recipe, write=False)
    hashes: dict[str, str] = {}
    planned = []
    for name in names:
        stage = STAGES[name]
        inputs = {read: hashes[read] for read in stage.reads if read in hashes}
        settings, data = stage.content(context.recipe), stage.data_hash(context)
        hashes[name] = hash_of({"settings": settings, "seed": context.recipe.seed, "data": data, "inputs": inputs})
        planned.append(Planned(stage, hashes[name], inputs, _action(context.folder(name), hashes[name])))
    last = names.index(until) if until else len(names)
    wanted = [at for i, at in enumerate(planned) if i <= last and (not only or at.stage.name in only)]
    _check_inputs(planned, wanted)
    return wanted


def _action(folder: Path, wanted: str) -> Action:
    record = read_record(folder)
    if record is None:
        return "run"
    if record.hash != wanted:
        return "rerun"
    return "skip" if record.status == "done" else "resume"


def _check_inputs(planned: Sequence[Planned], wanted: Sequence[Planned]) -> None:
    done = {at.stage.name for at in planned if at.action == "skip"} | {at.stage.name for at in wanted}
    for at in wanted:
        missing = [name for name in at.inputs if name not in done]
        if missing:
            raise RunError(
                f"the stage {at.stage.name} reads {', '.join(missing)}, not done yet or done with other settings: "
                f"run that first, or omit --stage"
            )


def run(
    context: Context, *, only: Sequence[str] = (), until: str | None = None, say: Say = lambda _: None
) -> dict[str, Any]:
    """Execute the plan of ``plan``.

    Args:
        context: Recipe, data and run folder.
        only: These stages and no others.
        until: This stage and those before it.
        say: Called with one line for each event.

    Returns:
        The manifest with the records of all stages of the recipe. A stage with other settings that was not run again
        has the status ``outdated``.

    Raises:
        RunError: The folder belongs to another recipe or can't be written.
        TrainingError: A stage can't train on its inputs.
    """
    planned = plan(context, only=only, until=until)
    for at in planned:
        if at.action != "skip" and context.process.is_first:
            try:
                at.stage.check(context)
            except RuieError as error:
                raise RunError(f"the stage {at.stage.name} can't run: {error}") from error
    if context.process.is_first:
        open_run(context.run, context.recipe, write=True)
        _write_manifest(context)
    for at in planned:
        if at.action == "skip":
            say(f"{at.stage.name}: done already")
            continue
        say(f"{at.stage.name}: {at.action}")
        _do(context, at)
        _wait_for(context, at, "done")
        record = read_record(context.folder(at.stage.name))
        say(f"{at.stage.name}: {record.seconds if record else 0:,.0f} s")
        if context.process.is_first:
            _write_manifest(context)
    return _manifest(context)


def _manifest(context: Context) -> dict[str, Any]:
    outdated = [at.stage.name for at in plan(context) if at.action == "rerun"]
    return collect(context.run, stages_of(context.recipe), outdated)


def _write_manifest(context: Context) -> None:
    """Write the current records to the manifest, so that an interrupted run has them, too."""
    manifest = _manifest(context)
    atomic_write(context.run / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def _do(context: Context, at: Planned) -> None:
    if context.process.is_first:
        record = _begin(context, at)
        start = time.monotonic()
        with _disk_errors(context.run, at.stage.name):
            try:
                report = at.stage.run(context)
            finally:
                record = record.model_copy(update={"seconds": round(record.seconds + time.monotonic() - start, 6)})
                record.write(context.folder(at.stage.name))
            done = record.model_copy(update={"status": "done", "report": report})
            done.write(context.folder(at.stage.name))
    elif at.stage.shared:
        _wait_for(context, at, "running", "done")
        at.stage.run(context)


def _begin(context: Context, at: Planned) -> StageRecord:
    """Create the folder of a stage; keep files of an interrupted run, and remove those of other settings."""
    folder = context.folder(at.stage.name)
    known = read_record(folder) if at.action == "resume" else None
    if at.action in ("run", "rerun") and folder.is_dir():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    record = known or StageRecord(
        stage=at.stage.name,
        hash=at.hash,
        status="running",
        seed=context.recipe.seed,
        inputs=at.inputs,
        versions=versions(),
    )
    record.write(folder)
    return record


def _wait_for(context: Context, at: Planned, *statuses: str) -> None:
    """Make all other processes wait until the first has started or finished the stage."""
    while not context.process.is_first:
        record = read_record(context.folder(at.stage.name))
        if record and record.hash == at.hash and record.status in statuses:
            return
        time.sleep(_POLL_SECONDS)


@contextmanager
def _disk_errors(folder: Path, stage: str) -> Iterator[None]:
    """Report a full disk or an unwritable file in plain words, whichever library raised it."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"the stage {stage} could not read or write {error.filename or folder}: {error.strerror or error}. "
            f"Finished work is kept; after fixing this, run the same command to resume."
        ) from error
    except Exception as error:  # safetensors and torch wrap the system's error in their own errors
        if isinstance(error, RuieError) or shutil.disk_usage(folder).free > _FULL_DISK_BYTES:
            raise
        raise RunError(
            f"the disk of {folder} is full, and the stage {stage} could not write ({error}). "
            "Free some space; the same command resumes from the last checkpoint."
        ) from error
