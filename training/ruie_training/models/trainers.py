"""Shared by the trainers of all stages: arguments, resuming, progress, metrics and new groups in each epoch."""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback
from transformers.trainer_callback import TrainerControl, TrainerState
from transformers.training_args import TrainingArguments

from ruie_components.progress import track
from ruie_training.data.groups import GroupRows
from ruie_training.errors import LossError, TrainingError
from ruie_training.models.settings import Optimisation
from ruie_training.processes import Process


def training_arguments(
    optimisation: Optimisation, folder: Path, *, seed: int, tensorboard: bool = False, **more: Any
) -> dict[str, Any]:
    """Keyword arguments for any ``TrainingArguments``.

    The last, smaller batch of an epoch is left out: the loss compares all rows of a batch, and every process needs
    the same number.

    Raises:
        TrainingError: This machine can't compute in the precision.
    """
    check_precision(optimisation)
    arguments = {
        "output_dir": str(folder / "checkpoints"),
        "max_steps": optimisation.steps,
        "learning_rate": optimisation.learning_rate,
        "warmup_steps": optimisation.warmup_steps,
        "weight_decay": optimisation.weight_decay,
        "per_device_train_batch_size": optimisation.batch_size,
        "gradient_accumulation_steps": optimisation.accumulation,
        "bf16": optimisation.precision == "bf16",
        "fp16": optimisation.precision == "fp16",
        "seed": seed,
        "data_seed": seed,
        "dataloader_drop_last": True,
        "save_steps": optimisation.checkpoint_steps,
        "save_total_limit": 2,
        "logging_steps": optimisation.log_steps,
        "logging_nan_inf_filter": False,  # a loss that is not a number must be noticed
        "report_to": ["tensorboard"] if tensorboard else [],
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
        "use_cpu": _uses_cpu(),
    }
    return {**arguments, **more}


def _uses_cpu() -> bool:
    """Whether to tell the trainer that it is on a CPU.

    Otherwise accelerate does not join processes on CPUs, and each trains separately; and bf16 is refused.
    """
    if torch.cuda.is_available():
        return False
    return Process.from_environment().world > 1 or not torch.accelerator.is_available()


def check_precision(optimisation: Optimisation, section: str = "") -> None:
    """Check that this machine can compute in a training's precision.

    Args:
        optimisation: How a model is trained.
        section: The section of the recipe, such as ``distil.optimisation``, for the message.

    Raises:
        TrainingError: ``fp16`` without a GPU, where the trainer would compute in float32 without a word.
    """
    if optimisation.precision == "fp16" and _uses_cpu():
        key = f"[{section}] precision" if section else "precision"
        raise TrainingError(f'{key} = "fp16" needs a GPU, and none is available: give "bf16" or "float32"')


def check_batch(rows: int, what: str, batch_size: int) -> None:
    """Check that there are enough rows for one batch of every process.

    Args:
        rows: The number of rows.
        what: Their name, for the message.
        batch_size: Rows per batch and process.

    Raises:
        TrainingError: There are fewer rows, so that an epoch would have no batch.
    """
    world = Process.from_environment().world
    if rows < batch_size * world:
        processes = f" (a batch of {batch_size:,} on each of {world} processes)" if world > 1 else ""
        raise TrainingError(
            f"{rows:,} {what} are left to train on, and one step takes {batch_size * world:,}{processes}: "
            "train on more, or make the batch smaller"
        )


def dataset_of(rows: GroupRows, batch_size: int) -> Dataset:
    """A data set of row numbers, which are rendered as groups of texts when they are read.

    Raises:
        TrainingError: There are fewer queries than one batch of all processes takes.
    """
    check_batch(len(rows.groups), "queries", batch_size)
    dataset = Dataset.from_dict({"row": list(range(len(rows.groups)))})
    dataset.set_transform(rows)
    return dataset


def train(trainer: Trainer) -> dict[str, float]:
    """Train from the last complete checkpoint, or from the start.

    Returns:
        ``steps``, ``seconds`` and mean ``loss`` of this call; the last logged loss if no step was left.

    Raises:
        TrainingError: The loss is not a finite number, or the started processes did not connect.
    """
    _check_world(trainer)
    trainer.remove_callback(PrinterCallback)  # the metrics file has its output
    checkpoint = last_checkpoint(Path(trainer.args.output_dir), discard=trainer.is_world_process_zero())
    if checkpoint and _step(checkpoint) >= trainer.args.max_steps:
        return _finished(trainer, checkpoint)
    started = time.monotonic()
    try:
        output = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except LossError as error:
        raise TrainingError(f"at step {trainer.state.global_step + 1}: {error}") from error
    if not math.isfinite(output.training_loss):
        raise TrainingError(
            f"the loss became {output.training_loss}: lower the learning rate, or train in bf16 or float32"
        )
    seconds = round(time.monotonic() - started, 3)
    return {"steps": output.global_step, "seconds": seconds, "loss": output.training_loss}


def _finished(trainer: Trainer, checkpoint: Path) -> dict[str, float]:
    """Load the weights of a run that was killed after its last step; the trainer would do one more step."""
    trainer._load_from_checkpoint(str(checkpoint))  # called by ``Trainer.train``; it has no public name
    state = TrainerState.load_from_json(str(checkpoint / "trainer_state.json"))
    losses = [line["loss"] for line in state.log_history if "loss" in line]
    return {"steps": state.global_step, "seconds": 0.0, "loss": losses[-1] if losses else 0.0}


def _check_world(trainer: Trainer) -> None:
    """Refuse separate processes: they would repeat the work and overwrite each other's files."""
    started, joined = Process.from_environment().world, trainer.args.world_size
    if joined != started:
        raise TrainingError(
            f"{started} processes were started, but {joined} train together: transformers and accelerate can't join "
            "processes on this device. Start one process, or hide the device (CUDA_VISIBLE_DEVICES, ACCELERATE_USE_CPU)"
        )


def last_checkpoint(folder: Path, *, discard: bool = False) -> Path | None:
    """The newest complete checkpoint of a folder; incomplete ones of a killed run are ignored.

    Args:
        folder: The folder of ``checkpoint-N``.
        discard: Whether to remove incomplete ones.
    """
    checkpoints = sorted(folder.glob("checkpoint-*"), key=_step, reverse=True)
    whole = None
    for path in checkpoints:
        if _is_whole(path):
            whole = whole or path
        elif discard:
            shutil.rmtree(path)
    return whole


def _step(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _is_whole(checkpoint: Path) -> bool:
    try:
        json.loads((checkpoint / "trainer_state.json").read_text("utf-8"))  # the trainer writes this file last
    except (OSError, ValueError):
        return False
    return True


class WithoutCard:
    """A mixin for trainers of sentence-transformers, without statistics for the model card, which take long.

    The export writes its own card.
    """

    def add_model_card_callback(self, default_args_dict: dict[str, Any]) -> None:
        """Add no callback."""


class FreshGroups(TrainerCallback):  # type: ignore[misc]  # transformers is not typed here
    """Draws new groups in each epoch."""

    def __init__(self, rows: GroupRows) -> None:
        self.rows = rows

    def on_epoch_begin(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: object
    ) -> None:
        """Set the rows' epoch; a resumed run begins within one."""
        self.rows.epoch = int(state.epoch or 0)


class MetricsFile(TrainerCallback):  # type: ignore[misc]  # transformers is not typed here
    """Appends every logged line to a JSONL file."""

    def __init__(self, path: Path, stage: str) -> None:
        self.path = path
        self.stage = stage

    def on_log(
        self,
        _args: TrainingArguments,
        state: TrainerState,
        _control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: object,
    ) -> None:
        """Write one line with stage, step and time; a loss that is not a number ends the training."""
        if not state.is_world_process_zero or not logs:
            return
        append_metrics(self.path, self.stage, {"step": state.global_step, **logs})
        wrong = [name for name, value in logs.items() if not math.isfinite(value)]
        if wrong:
            raise TrainingError(
                f"{', '.join(wrong)} is not a finite number at step {state.global_step} of stage {self.stage}: "
                "lower the learning rate, or train in bf16 or float32"
            )


def append_metrics(path: Path, stage: str, values: dict[str, Any]) -> None:
    """Append one line to a metrics file."""
    finite = {
        key: value if not isinstance(value, float) or math.isfinite(value) else str(value)
        for key, value in values.items()
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"stage": stage, "time": round(time.time(), 1), **finite}) + "\n")


class ProgressBar(TrainerCallback):  # type: ignore[misc]  # transformers is not typed here
    """A progress bar over the steps, to stderr, on the first process only."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.open = ExitStack()
        self.advance: Callable[[int], None] = lambda _: None

    def on_train_begin(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: object
    ) -> None:
        """Show the bar."""
        if state.is_world_process_zero:
            self.advance = self.open.enter_context(track(self.label, total=state.max_steps))
            self.advance(state.global_step)

    def on_step_end(
        self, _args: TrainingArguments, _state: TrainerState, _control: TrainerControl, **_: object
    ) -> None:
        """Advance the bar by one step."""
        self.advance(1)

    def on_train_end(
        self, _args: TrainingArguments, _state: TrainerState, _control: TrainerControl, **_: object
    ) -> None:
        """Remove the bar."""
        self.open.close()


def callbacks(
    stage: str, *, metrics: Path | None = None, progress: bool = False, rows: GroupRows | None = None
) -> Sequence[Any]:
    """The callbacks of a stage."""
    chosen: list[Any] = [FreshGroups(rows)] if rows else []
    if metrics:
        chosen.append(MetricsFile(metrics, stage))
    if progress:
        chosen.append(ProgressBar(stage))
    return chosen
