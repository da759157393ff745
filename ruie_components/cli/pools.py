"""Commands that build pools: index and sync."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from ruie_components.cli.adapt import index_figures, show_adaptation, show_index
from ruie_components.cli.console import console, errors, write_json
from ruie_components.cli.options import AsJson, EncoderOption, Pool
from ruie_components.errors import RuieError
from ruie_components.formats import Import, LabelMapping
from ruie_components.integers import counted
from ruie_components.store import DemonstrationStore, IndexCheck, SyncResult
from ruie_components.types import Example

Files = Annotated[
    list[Path],
    typer.Argument(help="Labelled examples: .jsonl, or any format of `ruie import`.", exists=True),
]
Store = Annotated[str, typer.Option("--store", "-s", help="Folder of the store, or the URL of a Chroma server.")]


WORTH_ADAPTING = 100
"""Minimum rows for `ruie index` to recommend `ruie adapt`."""
ADAPTING_GAINS = "F1 of a small LLM 34.9% before, 38.5% after"
"""The averages in docs/evaluation.md."""


def index(
    files: Files,
    store: Store,
    pool: Pool = "default",
    encoder: EncoderOption = None,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="Then train the encoder on the pool, like `ruie adapt`.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Add labelled examples to a pool. Existing rows stay unchanged; an interrupted run resumes."""
    examples = _examples_in(files)
    with closing(DemonstrationStore.create(path=store, pool=pool, encoder=encoder)) as built:
        new = built.add(examples, progress=True)
        _describe(built, files)
        counts = {str(task): built.count(task) for task in built.tasks}
        result = built.adapt(progress=True) if adapt else None
        name, check = built.encoder.name, built.index_check
    if as_json:
        told = {"store": store, "pool": pool, "read": len(examples), "new": new, "examples": counts, "encoder": name}
        told |= index_figures(check)
        told |= {"adaptation": asdict(result)} if result else {}
        write_json(console, told, indent=2)
        return
    held = ", ".join(f"{count:,} {task}" for task, count in counts.items()) or "nothing"
    console.print(
        f"Read {counted(len(examples), 'example')}, {new:,} new. Pool {pool!r} in {store} now holds {held} "
        f"(encoder: {name}).",
        markup=False,
        soft_wrap=True,
    )
    show_index(check)
    if result:
        show_adaptation(result)
    elif sum(counts.values()) >= WORTH_ADAPTING and not name.endswith(f", adapted to {pool}"):
        console.print(
            f"Next: ruie adapt --store {store} --pool {pool} trains the encoder on this pool, in minutes and without "
            f"torch. Averages over seven dev sets: {ADAPTING_GAINS}.",
            markup=False,
            soft_wrap=True,
        )


def sync(
    files: Files,
    store: Store,
    pool: Pool = "default",
    encoder: EncoderOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would change.")] = False,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Allow files without examples to empty the pool.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a pool equal to files: add, replace and remove rows. An interrupted run resumes."""
    examples = _examples_in(files)
    if not examples and not allow_empty:
        raise RuieError(
            f"{', '.join(map(str, files))}: no examples, so every row of the pool would be removed; "
            f"pass --allow-empty to allow it"
        )
    if dry_run and not _exists(store):
        result, check = SyncResult(added=len({example.content_id for example in examples})), IndexCheck(0, 0, 0)
    else:
        with closing(DemonstrationStore.create(path=store, pool=pool, encoder=encoder)) as opened:
            result = opened.sync(examples, dry_run=dry_run, progress=True)
            check = opened.index_check
            if not dry_run:
                _describe(opened, files)
    if as_json:
        told = {"store": store, "pool": pool, "read": len(examples), "dry_run": dry_run, **asdict(result)}
        told |= {} if dry_run else index_figures(check)
        write_json(console, told, indent=2)
        return
    console.print(
        f"Pool {pool!r} in {store}{' would change' if dry_run else ''}: {result.added:,} added, {result.changed:,} "
        f"changed, {result.removed:,} removed, {result.unchanged:,} unchanged.",
        markup=False,
        soft_wrap=True,
    )
    show_index(check)


def _examples_in(files: list[Path]) -> list[Example]:
    """The examples of files, without any problems; prints the formats of other tools' files, and what was left out."""
    source = Import([file for file in files if file.is_dir() or file.stat().st_size], strict=True)
    for path, name in source.report.formats.items():
        if name != "jsonl":
            errors.print(f"{path}: {name}", style="dim", markup=False, soft_wrap=True)
    examples = list(source)
    for note, count in source.report.notes.items():
        errors.print(f"note: {note} ({count:,})", markup=False, soft_wrap=True)
    return examples


def descriptions_beside(path: Path) -> Path:
    """The file of a file's label descriptions: ``rows.labels.json`` beside ``rows.jsonl`` or ``rows.jsonl.gz``.

    >>> descriptions_beside(Path("news.train.jsonl.gz")).name
    'news.train.labels.json'
    """
    return path.with_name(f"{Path(path.name.removesuffix('.gz')).stem}.labels.json")


def _describe(store: DemonstrationStore, files: list[Path]) -> None:
    """Add the label descriptions beside these files to the pool."""
    beside = [path for file in files if (path := descriptions_beside(file)).is_file()]
    described = {label: text for path in beside for label, text in LabelMapping.read(path).describe.items()}
    if described and store.tasks:
        store.describe_labels(described)


def _exists(store: str) -> bool:
    return store.startswith(("http://", "https://")) or Path(store).expanduser().is_dir()
