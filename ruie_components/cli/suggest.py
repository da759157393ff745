"""``ruie suggest``: chooses texts of a file to annotate next."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ruie_components.cli.console import console, errors, write_json
from ruie_components.cli.options import AsJson, EncoderOption, Encoding, Pool, TaskOption, defaults, opened, queries_in
from ruie_components.errors import RuieError
from ruie_components.integers import counted
from ruie_components.suggestion import Suggestion
from ruie_components.suggestion import suggest as suggest_texts


def suggest(
    file: Annotated[
        Path,
        typer.Argument(help="Unlabelled texts: JSON Lines, JSON, CSV, TSV or lines.", exists=True, dir_okay=False),
    ],
    store: Annotated[str, typer.Option("--store", "-s", help="Folder of the store, or the URL of a Chroma server.")],
    pool: Pool = "default",
    n: Annotated[int, typer.Option("-n", min=1, help="How many texts.")] = 50,
    task: TaskOption = None,
    seed: Annotated[int, typer.Option(help="Seed of the random texts for comparison.")] = 0,
    encoding: Encoding = None,
    encoder: EncoderOption = None,
    as_json: AsJson = False,
) -> None:
    """Choose texts of a file to annotate next: unlike the pool, with doubtful labels, and different from each other.

    Random texts are rated for comparison.

    For example: ruie suggest texts.jsonl --store pool -n 50 --json
    """
    with opened(store, pool, encoder) as source:
        queries = queries_in(file, defaults(source, task, None, None), encoding=encoding)
        if not queries:
            raise RuieError(f"{file}: there are no texts in it")
        suggestions = suggest_texts(source, queries, n, task=task, seed=seed, progress=True)
    if not suggestions.chosen:
        raise RuieError(f"{file}: every text is already in the pool")
    if as_json:
        write_json(console, {"suggested": _rows(suggestions.chosen), "random": _rows(suggestions.random)}, indent=2)
        return
    for each in suggestions.chosen:
        own = "" if each.query.id is None else f"{each.query.id}  "
        text = " ".join(each.query.text.split())
        console.print(f"{each.novelty:.2f}  {each.doubt:.2f}  {own}{text}", markup=False, soft_wrap=True)
    beside = f"Means {_means(suggestions.chosen)}; of as many random ones {_means(suggestions.random)}."
    told = f"{counted(len(suggestions.chosen), 'text')}, best first: novelty, doubt, text. {beside}"
    if len(suggestions.chosen) < min(n, len(queries)):
        told += " All others are in the pool, or repeat a text."
    errors.print(told, style="dim", markup=False, soft_wrap=True)


def _rows(suggestions: Sequence[Suggestion]) -> list[dict[str, object]]:
    return [
        {"id": each.query.id, "text": each.query.text, "novelty": each.novelty, "doubt": each.doubt}
        for each in suggestions
    ]


def _means(suggestions: Sequence[Suggestion]) -> str:
    novelty = sum(each.novelty for each in suggestions) / len(suggestions)
    return f"{novelty:.2f}, {sum(each.doubt for each in suggestions) / len(suggestions):.2f}"
