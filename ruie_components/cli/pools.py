"""Commands that make pools."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from ruie_components.cli.console import console, write_json
from ruie_components.cli.options import AsJson, EncoderOption, Pool
from ruie_components.formats.jsonl import read_examples
from ruie_components.store import DemonstrationStore


def index(
    files: Annotated[
        list[Path], typer.Argument(help="Files of labelled examples (.jsonl, .jsonl.gz).", exists=True, dir_okay=False)
    ],
    store: Annotated[str, typer.Option("--store", "-s", help="Folder of the store, or the URL of a Chroma server.")],
    pool: Pool = "default",
    encoder: EncoderOption = None,
    as_json: AsJson = False,
) -> None:
    """Put labelled examples into a pool. Running it again adds only what is new; a killed run goes on."""
    examples = [example for file in files for example in read_examples(file)]
    with closing(DemonstrationStore.create(examples, path=store, pool=pool, encoder=encoder)) as built:
        counts = {str(task): built.count(task) for task in built.tasks}
        name = built.encoder.name
    if as_json:
        told = {"store": store, "pool": pool, "read": len(examples), "examples": counts, "encoder": name}
        write_json(console, told, indent=2)
        return
    held = ", ".join(f"{count:,} {task}" for task, count in counts.items()) or "nothing"
    console.print(
        f"Read {len(examples):,} examples. Pool {pool!r} in {store} now holds {held} (encoder: {name}).",
        markup=False,
        soft_wrap=True,
    )
