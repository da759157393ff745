"""``ruie train``: a recipe and a data folder become an encoder. Torch is imported only once a stage needs it."""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ruie_components.progress import quiet_libraries

if TYPE_CHECKING:
    from rich.console import Console

    from ruie_training.pipeline.run import Planned
    from ruie_training.pipeline.stages import Context

train_app = typer.Typer(help="Train an encoder by a recipe.", no_args_is_help=True, pretty_exceptions_enable=False)


@train_app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or the name of a recipe of this package.")],
    data: Annotated[Path, typer.Option(help="Folder of data sets with catalog.json.")],
    out: Annotated[Path, typer.Option(help="Run folder; new, or of the same recipe to go on with.")],
    stage: Annotated[list[str] | None, typer.Option(help="Do this stage only; may be repeated.")] = None,
    until: Annotated[str | None, typer.Option(help="Do the stages up to this one.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be done, how many pairs and about how long; do nothing.")
    ] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also log for TensorBoard.")] = False,
    progress: Annotated[bool, typer.Option(help="Show progress bars.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest, or the plan, as JSON.")] = False,
) -> None:
    """Train an encoder: mine, preferences, reward, distil, export, evaluate.

    Several GPUs: torchrun --nproc-per-node N -m ruie_training RECIPE --data FOLDER --out RUN
    """
    from rich.console import Console

    from ruie_training.errors import RecipeError
    from ruie_training.pipeline.shards import Worker
    from ruie_training.pipeline.stages import Context
    from ruie_training.recipes import read_recipe

    if tensorboard and find_spec("tensorboard") is None:
        raise ImportError("--tensorboard needs TensorBoard: pip install tensorboard")
    worker = Worker.from_environment()
    console = Console(stderr=True, quiet=not worker.is_first, highlight=False)
    try:
        context = Context(read_recipe(recipe), data, out, worker, progress and worker.is_first, tensorboard)
        if dry_run:
            _print_plan(context, console, only=stage or (), until=until, as_json=as_json)
            return
        _keep_quiet()
        from ruie_training.pipeline.run import run

        manifest = run(context, only=stage or (), until=until, say=lambda line: console.print(line, markup=False))
    except RecipeError as error:
        raise typer.BadParameter(str(error)) from error
    if as_json and worker.is_first:
        typer.echo(json.dumps(manifest))


def _keep_quiet() -> None:
    """Without the bars and notes of the libraries; the run has its own."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
    import datasets  # noqa: F401
    import transformers  # noqa: F401

    quiet_libraries()


def _print_plan(context: Context, console: Console, *, only: Any, until: str | None, as_json: bool) -> None:
    from ruie_training.pipeline.estimate import Estimate, estimate
    from ruie_training.pipeline.run import plan

    planned = plan(context, only=only, until=until)
    estimates = {found.stage: found for found in estimate(context.recipe, context.sets)}
    if as_json:
        rows = [_plan_row(at, estimates.get(at.stage.name)) for at in planned]
        typer.echo(json.dumps({"recipe": context.recipe.name, "stages": rows}))
        return
    console.print(f"{context.recipe.name}: {len(context.sets)} sets, nothing is done now")
    nothing = Estimate("", 0, "", None)
    for at in planned:
        found = estimates.get(at.stage.name, nothing)
        amount = f"{found.amount:,} {found.unit}" if found.unit else ""
        duration = f", about {readable(found.seconds)}" if found.seconds is not None else ""
        console.print(f"{at.stage.name:12} {at.action:10} {amount}{duration}", markup=False, soft_wrap=True)


def _plan_row(at: Planned, found: Any) -> dict[str, Any]:
    row: dict[str, Any] = {"stage": at.stage.name, "action": at.action}
    return row | ({"amount": found.amount, "unit": found.unit, "seconds": found.seconds} if found else {})


def readable(seconds: float) -> str:
    """A duration in words.

    >>> readable(5400), readable(90), readable(3)
    ('1.5 hours', '1.5 minutes', '3 seconds')
    """
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(seconds, 1):.0f} seconds"
