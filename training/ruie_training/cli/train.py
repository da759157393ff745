"""``ruie train``: trains an encoder by a recipe on labelled rows. Torch is imported only if a stage needs it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from ruie_components.integers import counted
from ruie_components.progress import quiet_libraries

train_app = typer.Typer(help="Train an encoder by a recipe.", no_args_is_help=True, pretty_exceptions_enable=False)

_EPILOG = (
    "Several GPUs: torchrun --nproc-per-node N -m ruie_training RECIPE --data DATA --out RUN. "
    "Keys of a recipe: ruie train --keys."
)


def _print_keys(value: bool) -> None:
    if value:
        from ruie_training.pipeline.reading import describe_keys

        typer.echo(describe_keys())
        raise typer.Exit


@train_app.command(epilog=_EPILOG)
def train(
    recipe: Annotated[str, typer.Argument(help="A TOML file, or the name of a recipe of this package.")],
    data: Annotated[
        Path,
        typer.Option(
            help="Labelled rows: a .jsonl file (one example per line) or a folder of such files; the folder of a "
            'store; or a folder with catalog.json, a JSON list of {"task": "NER", "dataset": "news", "role": '
            '"held-in"|"held-out"|"extra"}, and TASK/DATASET/{train,dev,test}.jsonl.gz.'
        ),
    ],
    out: Annotated[Path, typer.Option(help="Run folder: a new one, or one of the same recipe to resume.")],
    pool: Annotated[str, typer.Option(help="Pool to read if --data is a store.")] = "default",
    stage: Annotated[list[str] | None, typer.Option(help="Run only this stage; repeatable.")] = None,
    until: Annotated[str | None, typer.Option(help="Run the stages up to this one.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan with amounts and rough times, without running it.")
    ] = False,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also log for TensorBoard.")] = False,
    progress: Annotated[bool, typer.Option(help="Show progress bars.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print the manifest, or the plan, as JSON.")] = False,
    keys: Annotated[  # noqa: ARG001  its callback acts
        bool,
        typer.Option("--keys", callback=_print_keys, is_eager=True, help="Print every key of a recipe, and exit."),
    ] = False,
) -> None:
    """Train an encoder: mine, preferences, reward, distil, export, evaluate.

    Usually use `ruie adapt`: it trains the encoder on your pool in a minute. Use `ruie train` for an encoder of many
    pools, a transformer, or an LLM's preferences.
    """
    from rich.console import Console

    from ruie_training.errors import RecipeError
    from ruie_training.pipeline.context import Context
    from ruie_training.pipeline.reading import read_recipe
    from ruie_training.processes import Process

    if tensorboard and find_spec("tensorboard") is None:
        raise ImportError("--tensorboard needs TensorBoard: pip install tensorboard")
    process = Process.from_environment()
    console = Console(stderr=True, quiet=not process.is_first, highlight=False)

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    try:
        context = Context(read_recipe(recipe), data, out, process, progress and process.is_first, tensorboard, pool)
        if dry_run:
            _print_plan(context, say, only=stage or (), until=until, as_json=as_json)
            return
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true")
        import datasets  # noqa: F401  only imported libraries are silenced
        import transformers  # noqa: F401

        from ruie_training.pipeline.run import run

        quiet_libraries()

        manifest = run(context, only=stage or (), until=until, say=say)
    except RecipeError as error:
        raise typer.BadParameter(str(error)) from error
    if as_json and process.is_first:
        typer.echo(json.dumps(manifest))
    elif process.is_first:
        _print_results(out, manifest["stages"])


def _print_plan(context: Any, say: Any, *, only: Sequence[str], until: str | None, as_json: bool) -> None:
    from ruie_training.pipeline.run import plan
    from ruie_training.pipeline.stage import Workload

    planned, work = plan(context, only=only, until=until), Workload(context)
    estimates = [(at, at.stage.estimate(work)) for at in planned]
    if as_json:
        rows = [
            {"stage": at.stage.name, "action": at.action} | (vars(estimate) if estimate else {})
            for at, estimate in estimates
        ]
        typer.echo(json.dumps({"recipe": context.recipe.name, "stages": rows}))
        return
    say(f"{context.recipe.name}: {counted(len(context.sets), 'set')}; this is a plan, nothing is run")
    for at, estimate in estimates:
        amount = f"{estimate.amount:,} {estimate.unit}" if estimate else ""
        known = estimate is not None and estimate.seconds is not None
        duration = f", about {readable(estimate.seconds)}" if known else ""  # type: ignore[union-attr, arg-type]
        say(f"{at.stage.name:12} {at.action:10} {amount}{duration}")


def _print_results(out: Path, stages: Mapping[str, Any]) -> None:
    """The figures, the encoder's folder, and the lines that use it."""
    measured = out / "evaluate" / "results.md"
    if stages.get("evaluate", {}).get("status") == "done" and measured.is_file():
        typer.echo(measured.read_text("utf-8").split("\n\n")[0] + "\n")
    if stages.get("export", {}).get("status") == "done":
        encoder = out / "export" / "encoder"
        typer.echo(f"encoder: {encoder}")
        typer.echo(f"to use it: ruie index ROWS.jsonl --store STORE --encoder {encoder}")
        typer.echo(f'in Python: DemonstrationStore.create(examples, path="STORE", encoder="{encoder}")')


def readable(seconds: float) -> str:
    """A duration in words.

    >>> readable(5400), readable(90), readable(3)
    ('1.5 hours', '1.5 minutes', '3 seconds')
    """
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(seconds, 1):.0f} seconds"
