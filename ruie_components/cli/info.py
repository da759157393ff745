"""``ruie info``: what a pool holds and how it chooses."""

from __future__ import annotations

from contextlib import closing
from typing import Annotated, Any, NamedTuple

import typer
from rich.table import Column, Table
from rich.text import Text

from ruie_components.cli.adapt import index_figures, show_index
from ruie_components.cli.console import console, write_json
from ruie_components.cli.options import AsJson, EncoderOption, Pool
from ruie_components.store import DemonstrationStore
from ruie_components.store.tuned import TunedSettings


class _Held(NamedTuple):
    """What a pool holds of a task."""

    examples: int
    labels: tuple[str, ...]
    tuned: TunedSettings | None


def info(
    store: Annotated[str, typer.Option("--store", "-s", help="Folder of the store, or the URL of a Chroma server.")],
    pool: Pool = "default",
    check_index: Annotated[
        bool,
        typer.Option("--check-index", help="Look up every row through the index, and repair it where rows are lost."),
    ] = False,
    encoder: EncoderOption = None,
    as_json: AsJson = False,
) -> None:
    """Show what a pool holds: examples and labels by task, the encoder, tuned settings, and the store's other pools."""
    with closing(DemonstrationStore.open(store, pool=pool, encoder=encoder)) as opened:
        tasks = {task: _Held(opened.count(task), opened.labels(task), opened.tuned(task)) for task in opened.tasks}
        others = [name for name in opened.pools if name != pool]
        descriptions, name = opened.label_descriptions(), opened.encoder.name
        check = opened.check_index(progress=True) if check_index else None
    if as_json:
        told: dict[str, Any] = {"store": store, "pool": pool, "encoder": name, "other_pools": others}
        told["tasks"] = {
            task: each._asdict() | {"tuned": each.tuned.model_dump(mode="json") if each.tuned else None}
            for task, each in tasks.items()
        }
        write_json(console, told | {"descriptions": descriptions} | (index_figures(check) if check else {}), indent=2)
        return
    console.print(f"Pool {pool!r} in {store} (encoder: {name}).", markup=False, soft_wrap=True)
    table = Table("task", Column("examples", justify="right"), "labels", "tuned")
    for task, each in tasks.items():
        labels = Text(", ".join(each.labels))  # "[CLS]" is no markup
        table.add_row(task, f"{each.examples:,}", labels, str(each.tuned or "no"))
    console.print(table)
    if descriptions:
        console.print(f"Described labels: {', '.join(descriptions)}.", markup=False, soft_wrap=True)
    if others:
        console.print(f"Other pools here: {', '.join(others)}.", markup=False, soft_wrap=True)
    if check and check.in_use:
        show_index(check)
    elif check:
        console.print("Searches compare with every row, so the index loses nothing.")
