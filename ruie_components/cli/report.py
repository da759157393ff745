"""``ruie report``: an HTML page of earlier results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ruie_components import scoring
from ruie_components.cli.console import console, errors, write_json
from ruie_components.cli.options import AsJson, EncoderOption, Pool, refuse_overwriting, results_file
from ruie_components.errors import RuieError
from ruie_components.formats import read_examples
from ruie_components.integers import counted
from ruie_components.store import DemonstrationStore
from ruie_components.types import Example, Extraction, Task

if TYPE_CHECKING:
    from ruie_components.extraction import ExtractionResult

_Key = tuple[Task, str, object]


def report(
    results: Annotated[
        Path,
        typer.Argument(help="Results of `ruie extract --out`: a .jsonl file, or the folder of a corpus.", exists=True),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The page to write.", dir_okay=False)] = Path("report.html"),
    gold: Annotated[
        Path | None,
        typer.Option(
            help="Labelled examples (.jsonl), shown beside results of the same texts.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option(
            "--store",
            "-s",
            help="The store that the results were extracted with. With it the page shows demonstrations and prompts.",
            show_default=False,
        ),
    ] = None,
    pool: Pool = "default",
    encoder: EncoderOption = None,
    title: Annotated[str, typer.Option(help="The title of the page.")] = "Extractions",
    as_json: AsJson = False,
) -> None:
    """Write an HTML page of results, with filters by text, label and problem.

    With --gold the page shows gold beside predicted annotations, and can be filtered by kind of error: missed,
    spurious, wrong label.

    For example: ruie report results.jsonl --store pool --gold test.jsonl --out report.html
    """
    from ruie_components import report as pages
    from ruie_components.extraction import read_results

    results = results_file(results)
    refuse_overwriting("--out", out, {"RESULTS": results, "--gold": gold})
    with ExitStack() as stack:
        opened = stack.enter_context(DemonstrationStore.open(store, pool=pool, encoder=encoder)) if store else None
        read = read_results(results, opened.get if opened else None)
    if not read:
        raise RuieError(f"{results} holds no results; `ruie extract --file TEXTS --out {results}` writes them")
    examples = _gold_of(read, read_examples(gold)) if gold else None
    summary: dict[str, object] = {"report": str(out), "results": len(read)}
    lead = ""
    if examples is not None:
        pairs = [
            (example, result.extraction) for example, result in zip(examples, read, strict=True) if example is not None
        ]
        if not pairs:
            raise RuieError(f"no example of {gold} has the text and task of a result in {results}")
        score = scoring.score([example for example, _ in pairs], [extraction for _, extraction in pairs], mode="span")
        summary |= {"gold": len(pairs), "precision": score.precision, "recall": score.recall, "f1": score.f1}
        lead = (
            f"F1 {score.f1:.1%} (precision {score.precision:.1%}, recall {score.recall:.1%}) on "
            f"{counted(len(pairs), 'result')} with gold annotations: label and offsets must be correct."
        )
    pages.write(out, read, gold=examples, title=title, lead=lead)
    if as_json:
        write_json(console, summary, indent=2)
        return
    without = sum(map(_lacks_demonstrations, read)) if store else 0
    if without:
        errors.print(
            f"The page has no prompt for {without:,} of {counted(len(read), 'result')}: some of the demonstrations are "
            f"not in {store}, pool {pool!r}.",
            markup=False,
            soft_wrap=True,
        )
    console.print(f"{counted(len(read), 'result')} in {out}. {lead}".rstrip(), markup=False, soft_wrap=True)


def _lacks_demonstrations(result: ExtractionResult) -> bool:
    """Whether the model was shown demonstrations that the store does not have."""
    if result.chunk_demonstrations:
        return sum(len(each.demonstrations) for each in result.chunk_demonstrations) < result.usage.demonstrations
    return result.prompt is None and bool(result.usage.demonstrations)


def _gold_of(results: Sequence[ExtractionResult], examples: Iterable[Example]) -> list[Example | None]:
    """The gold example of each result, with the same task, text and event; of several, the one with the result's id."""
    by_key: dict[_Key, list[Example]] = {}
    for example in examples:
        by_key.setdefault(_key(example), []).append(example)
    gold_examples: list[Example | None] = []
    for result in results:
        candidates = by_key.get(_key(result.extraction), [])
        same_id = [example for example in candidates if result.id is not None and example.id == result.id]
        gold_examples.append(next(iter([*same_id, *candidates]), None))
    return gold_examples


def _key(annotated: Example | Extraction) -> _Key:
    event = None
    if annotated.task is Task.EAE and annotated.events:
        event = (annotated.events[0].type, annotated.events[0].trigger.offsets)
    return annotated.task, annotated.text, event
