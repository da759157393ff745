"""``ruie adapt``: trains a pool's encoder on the pool, and replaces it if that gained anything."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from ruie_components.adaptation import Adaptation
from ruie_components.cli.console import console, write_json
from ruie_components.cli.options import AsJson
from ruie_components.integers import counted
from ruie_components.store import DemonstrationStore, IndexCheck


def adapt(
    store: Annotated[str, typer.Option("--store", "-s", help="Folder of the store, or the URL of a Chroma server.")],
    name: Annotated[
        str | None, typer.Argument(metavar="POOL", help="Name of the pool. Default: default.", show_default=False)
    ] = None,
    pool: Annotated[str, typer.Option("--pool", help="The same, as in other commands.")] = "default",
    encoder: Annotated[
        str | None,
        typer.Option(
            help="The pool's encoder, unless it is the embedded one or kept by the store.",
            show_default=False,
        ),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            help="The encoder that the pool's was adapted from, unless it is the embedded one: a folder or a hub name.",
            show_default=False,
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            help="Scored candidates of this pool: LLM preferences or rewards. Default: labels.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write the adapted encoder here; a server needs it.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only measure the gain by label voting.")] = False,
    steps: Annotated[
        int | None,
        typer.Option(min=1, help="Steps of one training. Default: by the kind of encoder.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of all random draws.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Train a pool's encoder on the pool itself; if cross-validation shows a gain, embed the pool again.

    An interrupted run loses nothing: the pool keeps its encoder until the new vectors are complete.
    """
    with closing(DemonstrationStore.open(store, pool=name or pool, encoder=encoder)) as opened:
        result = opened.adapt(
            out=out, teacher=teacher, measure_only=dry_run, start=start, steps=steps, seed=seed, progress=True
        )
        check = opened.index_check
    if as_json:
        write_json(console, asdict(result) | index_figures(check))
    else:
        show_adaptation(result)
        show_index(check)


def show_adaptation(result: Adaptation) -> None:
    """Print the gain, measured by label voting, and whether the encoder was replaced."""
    if result.gains:
        names = ("queries", "label F1@8", "", "label recall@8", "")
        table = Table("task", *(Column(name, justify="right") for name in names), title="by label voting")
        for gain in result.gains:
            table.add_row(
                gain.task,
                f"{gain.queries:,}",
                f"{gain.label_f1_before:.1f} -> {gain.label_f1_after:.1f}",
                f"{gain.label_f1_after - gain.label_f1_before:+.1f}",
                f"{gain.label_recall_before:.1f} -> {gain.label_recall_after:.1f}",
                f"{gain.label_recall_after - gain.label_recall_before:+.1f}",
            )
        console.print(table)
    spent = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in result.seconds.items())
    console.print(result.reason + (f" ({spent})" if spent else ""), markup=False, soft_wrap=True)
    if result.folder:
        console.print(f"The encoder was written to {result.folder}.", markup=False, soft_wrap=True)


def index_figures(check: IndexCheck) -> dict[str, Any]:
    """The result of the last check of the index, as JSON values.

    The recall is ``None`` if no row was looked up, or searches compare with every row instead of using the index.
    """
    return {"index_recall": check.recall if check.checked and check.in_use else None, "index_checked": check.checked}


def show_index(check: IndexCheck) -> None:
    """Print the recall of the index, if searches use it and rows were looked up."""
    if check.checked and check.in_use:
        rows = counted(check.checked, "row")
        console.print(f"Index recall {check.recall:.4f} ({rows} looked up).", highlight=False)
