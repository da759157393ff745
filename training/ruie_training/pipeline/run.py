"""A whole run: every stage of a recipe in one folder, skipped where done and unchanged, gone on with where killed.

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
from ruie_training.data.candidates import whole_file
from ruie_training.errors import RecipeError, RunError
from ruie_training.pipeline.manifest import MANIFEST, StageRecord, collect, open_run, read_record, versions
from ruie_training.pipeline.stages import STAGES, Context, Stage, stages_of
from ruie_training.recipes import hash_of

Action = Literal["skip", "run", "go on", "run again"]
"""What is done with a stage: it is done already, new, begun by a run that was killed, or done with other settings."""

_PATIENCE = 1.0  # seconds between two looks for what the first process does
_LITTLE = 32 * 2**20  # bytes: less free than this, and a failure to write is put down to a full disk

Say = Callable[[str], None]


@dataclass(frozen=True)
class Planned:
    """A stage and what will be done with it."""

    stage: Stage
    hash: str
    inputs: dict[str, str]
    action: Action


def plan(context: Context, *, only: Sequence[str] = (), until: str | None = None) -> list[Planned]:
    """What would be done, stage by stage; nothing is written.

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
            raise RecipeError(f"{name} comes after {until}: leave --until {until} or --stage {name} away")
    open_run(context.run, context.recipe, write=False)
    hashes: dict[str, str] = {}
    planned = []
    for name in names:
        stage = STAGES[name]
        inputs = {read: hashes[read] for read in stage.reads(context.recipe)}
        hashes[name] = _stage_hash(context, stage, inputs)
        planned.append(Planned(stage, hashes[name], inputs, _action(context.folder(name), hashes[name])))
    last = names.index(until) if until else len(names)
    wanted = [at for place, at in enumerate(planned) if place <= last and (not only or at.stage.name in only)]
    _check_inputs(planned, wanted)
    return wanted


def _stage_hash(context: Context, stage: Stage, inputs: dict[str, str]) -> str:
    recipe = context.recipe
    data: str | None = None
    if stage.name == "mine":
        data = context.data_hash
    elif stage.name == "evaluate":
        data = context.evaluation_hash
    return hash_of({"settings": stage.settings(recipe), "seed": recipe.seed, "data": data, "inputs": inputs})


def _action(folder: Path, wanted: str) -> Action:
    record = read_record(folder)
    if record is None:
        return "run"
    if record.hash != wanted:
        return "run again"
    return "skip" if record.status == "done" else "go on"


def _check_inputs(planned: Sequence[Planned], wanted: Sequence[Planned]) -> None:
    done = {at.stage.name for at in planned if at.action == "skip"} | {at.stage.name for at in wanted}
    for at in wanted:
        missing = [name for name in at.inputs if name not in done]
        if missing:
            raise RunError(
                f"the stage {at.stage.name} reads {', '.join(missing)}, not done yet or done with other settings: "
                f"run that first, or leave --stage away"
            )


def run(
    context: Context, *, only: Sequence[str] = (), until: str | None = None, say: Say = lambda _: None
) -> dict[str, Any]:
    """Do what ``plan`` plans.

    Args:
        context: Recipe, data and run folder.
        only: These stages and no others.
        until: This stage and those before it.
        say: Is told in a line what happens.

    Returns:
        The manifest with the records of all stages of the recipe. The status of one that was made with other settings,
        and was not done again now, is ``outdated``.

    Raises:
        RunError: The folder belongs to another recipe or can't be written.
        TrainingError: A stage can't train on what it is given.
    """
    planned = plan(context, only=only, until=until)
    if context.worker.is_first:
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
        if context.worker.is_first:
            _write_manifest(context)
    return _manifest(context)


def _manifest(context: Context) -> dict[str, Any]:
    outdated = [at.stage.name for at in plan(context) if at.action == "run again"]
    return collect(context.run, stages_of(context.recipe), outdated)


def _write_manifest(context: Context) -> None:
    """Put what the stages have recorded so far into the manifest, so that a killed run has it too."""
    manifest = _manifest(context)
    with whole_file(context.run / MANIFEST) as file:
        file.write(json.dumps(manifest, indent=1) + "\n")


def _do(context: Context, at: Planned) -> None:
    if context.worker.is_first:
        record = _begin(context, at)
        start = time.monotonic()
        with _disk_errors(context.run, at.stage.name):
            try:
                report = at.stage.work(context)
            finally:
                record = record.model_copy(update={"seconds": round(record.seconds + time.monotonic() - start, 6)})
                record.write(context.folder(at.stage.name))
            done = record.model_copy(update={"status": "done", "report": report})
            done.write(context.folder(at.stage.name))
    elif at.stage.shared:
        _wait_for(context, at, "running", "done")
        at.stage.work(context)


def _begin(context: Context, at: Planned) -> StageRecord:
    """A folder for the stage: what a killed run left is kept, what other settings made is removed."""
    folder = context.folder(at.stage.name)
    known = read_record(folder) if at.action == "go on" else None
    if at.action in ("run", "run again") and folder.is_dir():
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
    """Other processes than the first wait until it says that the stage is begun or done."""
    while not context.worker.is_first:
        record = read_record(context.folder(at.stage.name))
        if record and record.hash == at.hash and record.status in statuses:
            return
        time.sleep(_PATIENCE)


@contextmanager
def _disk_errors(folder: Path, stage: str) -> Iterator[None]:
    """Say in plain words that the disk is full, or that a file can't be written, whichever library met it."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"the stage {stage} could not read or write {error.filename or folder}: {error.strerror or error}. "
            f"What is done is kept; once this is mended, the same command goes on from there."
        ) from error
    except Exception as error:  # safetensors and torch wrap the system's error in their own
        if isinstance(error, RuieError) or shutil.disk_usage(folder).free > _LITTLE:
            raise
        raise RunError(
            f"the disk of {folder} is full, and the stage {stage} could not write ({error}). "
            "Free some space; the same command goes on from the last checkpoint."
        ) from error
