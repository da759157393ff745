"""``ruie adapt``: a pool's encoder is trained on the pool, and replaced if that gained anything."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ruie_components.progress import quiet_libraries

if TYPE_CHECKING:
    from ruie_training.adapt import Adaptation


def adapt(
    store: Annotated[str, typer.Option("--store", "-s", help="Folder of the store, or the URL of a Chroma server.")],
    name: Annotated[
        str | None, typer.Argument(metavar="POOL", help="Name of the pool. Default: default.", show_default=False)
    ] = None,
    pool: Annotated[str, typer.Option("--pool", help="The same, as the other commands take it.")] = "default",
    encoder: Annotated[
        str | None,
        typer.Option(
            help="The pool's encoder, where it is not the embedded one or one that the store keeps.",
            show_default=False,
        ),
    ] = None,
    teacher: Annotated[
        Path | None,
        typer.Option(
            help="Scored candidates of this pool: LLM preferences or rewards. Default: label agreement.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Also write the adapted encoder here; a server needs it.", show_default=False)
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only measure what it would gain.")] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Of one training.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Of all draws.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")] = False,
) -> None:
    """Train a pool's encoder on the pool itself, say what that gains, and embed the pool again if it gains anything.

    A kill at any moment loses nothing: the pool keeps its encoder until the new vectors are whole.
    """
    from ruie_components.store import DemonstrationStore

    quiet_libraries()
    with closing(DemonstrationStore.open(store, pool=name or pool, encoder=encoder)) as opened:
        found: Adaptation = opened.adapt(
            out=out, teacher=teacher, measure_only=dry_run, steps=steps, seed=seed, progress=True
        )
    if as_json:
        typer.echo(json.dumps(asdict(found)))
    else:
        _show(found)


def _show(found: Adaptation) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    console = Console(highlight=False)
    if found.gains:
        names = ("queries", "agreement@8", "", "coverage@8", "")
        table = Table("task", *(Column(name, justify="right") for name in names))
        for gain in found.gains:
            table.add_row(
                gain.task,
                f"{gain.queries:,}",
                f"{gain.agreement_before:.1f} -> {gain.agreement_after:.1f}",
                f"{gain.agreement_after - gain.agreement_before:+.1f}",
                f"{gain.coverage_before:.1f} -> {gain.coverage_after:.1f}",
                f"{gain.coverage_after - gain.coverage_before:+.1f}",
            )
        console.print(table)
    spent = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in found.seconds.items())
    console.print(found.reason + (f" ({spent})" if spent else ""), markup=False)
    if found.folder:
        console.print(f"written to {found.folder}", markup=False)
