"""Commands that make pools."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ruie_components.cli.adapt import show_adaptation
from ruie_components.cli.console import console, write_json
from ruie_components.cli.options import AsJson, EncoderOption, Pool
from ruie_components.formats.jsonl import read_examples
from ruie_components.store import DemonstrationStore

WORTH_ADAPTING = 100
"""Rows from which on adapting is recommended."""
ADAPTING_GAINS = "label F1@8 53.5% after, 48.4% before"
"""The averages of the table in training/README.md."""


def index(
    files: Annotated[
        list[Path], typer.Argument(help="Files of labelled examples (.jsonl, .jsonl.gz).", exists=True, dir_okay=False)
    ],
    store: Annotated[str, typer.Option("--store", "-s", help="Folder of the store, or the URL of a Chroma server.")],
    pool: Pool = "default",
    encoder: EncoderOption = None,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="Then train the encoder on the pool, as `ruie adapt` does.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put labelled examples into a pool. Running it again adds only what is new; an interrupted run resumes."""
    examples = [example for file in files for example in read_examples(file)]
    with closing(DemonstrationStore.create(examples, path=store, pool=pool, encoder=encoder)) as built:
        counts = {str(task): built.count(task) for task in built.tasks}
        result = built.adapt(progress=True) if adapt else None
        name = built.encoder.name
        adapted = name.endswith(f", adapted to {pool}")
    if as_json:
        told = {"store": store, "pool": pool, "read": len(examples), "examples": counts, "encoder": name}
        if result:
            told["adaptation"] = asdict(result)
        write_json(console, told, indent=2)
        return
    held = ", ".join(f"{count:,} {task}" for task, count in counts.items()) or "nothing"
    console.print(
        f"Read {len(examples):,} examples. Pool {pool!r} in {store} now holds {held} (encoder: {name}).",
        markup=False,
        soft_wrap=True,
    )
    if result:
        show_adaptation(result)
    elif not adapted and sum(counts.values()) >= WORTH_ADAPTING:
        console.print(
            f"Next: ruie adapt --store {store} --pool {pool} trains the encoder on this pool, which takes about a "
            f"minute. On nine held-out sets the demonstrations agreed better with the inputs: {ADAPTING_GAINS}.",
            markup=False,
            soft_wrap=True,
        )
