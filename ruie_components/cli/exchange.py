"""``ruie import`` and ``ruie export``: imports annotations of other tools, exports results and pools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Annotated

import typer

from ruie_components.cli.console import console, errors, write_csv, write_json
from ruie_components.cli.options import AsJson, EncoderOption, Pool, results_file
from ruie_components.cli.pools import descriptions_beside
from ruie_components.errors import RowError, RuieError
from ruie_components.files import read_rows
from ruie_components.formats import Import, ImportReport, LabelMapping, formats, write_examples
from ruie_components.formats.graphml import write_graphml
from ruie_components.formats.importing import export as export_examples
from ruie_components.formats.label_studio import LabelStudioFormat, interface_beside
from ruie_components.formats.registry import format_names
from ruie_components.formats.table import COLUMNS, span_rows
from ruie_components.integers import counted
from ruie_components.progress import track
from ruie_components.store import DemonstrationStore
from ruie_components.types import Example, Task

SHOWN_PROBLEMS = 20
_OUT_ONLY = ("csv", "graphml")
_ENDINGS = {
    ".csv": "csv", ".tsv": "csv", ".graphml": "graphml", ".spacy": "docbin", ".jsonl": "jsonl", ".conll": "conll",
    ".parquet": "huggingface", ".jsonl.gz": "jsonl", ".conll.gz": "conll", ".csv.gz": "csv",
}  # fmt: skip

Tasks = Annotated[
    list[Task] | None,
    typer.Option("--task", "-t", help="Only this task; repeatable.", case_sensitive=False, show_default=False),
]


def import_annotations(
    files: Annotated[
        list[Path], typer.Argument(help="Files, or folders (brat, saved Hugging Face data sets).", exists=True)
    ],
    to: Annotated[
        Path | None,
        typer.Option("--to", help="File for the examples (.jsonl, .jsonl.gz).", dir_okay=False, show_default=False),
    ] = None,
    store: Annotated[
        str | None,
        typer.Option("--store", "-s", help="Store to add the examples to, instead of a file.", show_default=False),
    ] = None,
    pool: Pool = "default",
    format: Annotated[  # noqa: A002
        str | None,
        typer.Option(
            help=f"The format: {format_names()}. Default: guessed by content.",
            show_default=False,
        ),
    ] = None,
    mapping: Annotated[
        Path | None,
        typer.Option(
            help=r"TOML or JSON with \[rename], drop and \[describe] of labels.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    task: Tasks = None,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first problem.")] = False,
    encoding: Annotated[
        str | None,
        typer.Option(
            help="Encoding of files that are not UTF-8 and have no byte order mark, such as latin-1.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing --to.")] = False,
    encoder: EncoderOption = None,
    as_json: AsJson = False,
) -> None:
    """Import annotations of other tools as labelled examples.

    Unreadable rows are skipped and reported with file, line and field; --strict stops instead.

    For example: ruie import annotations.json --to rows.jsonl --mapping labels.toml
    """
    if (to is None) == (store is None):
        raise typer.BadParameter("give either --to FILE or --store STORE", param_hint="--to")
    if to is not None and to.exists():
        if any(to.samefile(file) for file in files):
            raise typer.BadParameter(f"{to} is one of the files to import: give another file", param_hint="--to")
        if not overwrite:
            raise RuieError(f"{to} exists: give another --to, or --overwrite")
    labels = LabelMapping.read(mapping) if mapping else LabelMapping()
    source = Import(files, format=format, mapping=labels, tasks=task, strict=strict, encoding=encoding)
    for path, name in _few(source.report.formats.items()):
        errors.print(f"{path}: {name}", style="dim", markup=False, soft_wrap=True)
    with track("import") as advance:
        examples = _counted(source, advance)
        first = next(examples, None)
        if first is None:  # nothing replaces an existing file, and no store is created
            written = 0
        elif to is not None:
            to.parent.mkdir(parents=True, exist_ok=True)
            written = write_examples(to, chain([first], examples))
            write_descriptions(to, labels.describe)
        elif store is not None:
            with closing(DemonstrationStore.create(path=store, pool=pool, encoder=encoder)) as opened:
                written = opened.add(chain([first], examples))
                if labels.describe and opened.tasks:
                    opened.describe_labels(labels.describe)
    report = source.report
    if as_json:
        write_json(console, {**asdict(report), "to": str(to or store), "written": written}, indent=2)
    else:
        _show(report, written, str(to or store))
    if not report.total:
        raise RuieError("no example was imported")


def _few(items: Iterable[tuple[str, str]], most: int = 10) -> Iterator[tuple[str, str]]:
    every = list(items)
    yield from every[:most]
    if len(every) > most:
        yield f"and {counted(len(every) - most, 'more file')}", every[most][1]


def _counted(examples: Iterable[Example], advance: Callable[[int], None]) -> Iterator[Example]:
    for example in examples:
        yield example
        advance(1)


def _show(report: ImportReport, written: int, where: str) -> None:
    for problem in report.problems[:SHOWN_PROBLEMS]:
        errors.print(problem, markup=False, soft_wrap=True)
    if report.skipped > SHOWN_PROBLEMS:
        errors.print(f"... and {counted(report.skipped - SHOWN_PROBLEMS, 'more problem')}")
    for note, count in report.notes.items():
        errors.print(f"note: {note} ({count:,})", markup=False, soft_wrap=True)
    counts, total = ", ".join(f"{count:,} {task}" for task, count in report.examples.items()), report.total
    texts = f"{counted(report.rows, 'text')} {'gives' if report.rows == 1 else 'give'}"
    examples = f"{counts} example{'s' * (total != 1)}" if total else "no examples"
    new = f", {written:,} new" if written != total else ""
    location = f", in {where}" if total else ""
    skipped = f" {counted(report.skipped, 'row')} skipped." if report.skipped else ""
    console.print(f"{texts} {examples}{new}{location}.{skipped}", markup=False, soft_wrap=True)


def export(
    file: Annotated[
        Path | None,
        typer.Argument(
            help="Results of `ruie extract --out`: a .jsonl file, or the folder of a corpus. Or labelled examples "
            "(.jsonl). Not with --store.",
            exists=True,
            show_default=False,
        ),
    ] = None,
    to: Annotated[Path | None, typer.Option("--to", help="File or folder to write.", show_default=False)] = None,
    format: Annotated[  # noqa: A002
        str | None,
        typer.Option(
            help=f"The format: {format_names(*_OUT_ONLY)}. Default: by the ending of --to.",
            show_default=False,
        ),
    ] = None,
    store: Annotated[
        str | None, typer.Option("--store", "-s", help="Store whose pool to export.", show_default=False)
    ] = None,
    pool: Pool = "default",
    task: Tasks = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an existing --to.")] = False,
    encoder: EncoderOption = None,
    as_json: AsJson = False,
) -> None:
    """Export results or a pool to another tool's format, to correct, count or plot them there.

    Import corrections with `ruie import` and `ruie sync`.

    For example: ruie export results.jsonl --to predictions.json --format label-studio
    """
    if to is None:
        raise typer.BadParameter("name the file or folder to write", param_hint="--to")
    if (file is None) == (store is None):
        raise typer.BadParameter("give either a file or --store", param_hint="FILE")
    name = format or next((each for end, each in _ENDINGS.items() if to.name.lower().endswith(end)), None)
    if name is None or name not in (*formats(), *_OUT_ONLY):
        known = format_names(*_OUT_ONLY)
        if name is None:
            raise typer.BadParameter(
                f"the name {to.name} does not say which format to write: name one of {known}", param_hint="--format"
            )
        raise typer.BadParameter(f"there is no format {name!r}; formats are {known}", param_hint="--format")
    interface = interface_beside(to) if name == LabelStudioFormat.name else None
    if not overwrite:
        if to.exists() and (not to.is_dir() or any(to.iterdir())):
            raise RuieError(f"{to} exists: give another --to, or --overwrite")
        if interface and interface.exists():
            raise RuieError(f"{interface} exists, and is written beside {to}: give another --to, or --overwrite")
    failed = 0
    left_out: dict[str, int] = {}
    descriptions: dict[str, str] = {}
    if file is not None:
        examples, failed, left_out = _of_file(results_file(file))
    else:
        examples, descriptions = _of_store(store, pool, encoder)
    if task:
        examples = [example for example in examples if example.task in task]
    if not examples:
        raise RuieError("there are no examples to export")
    notes = left_out | _write(to, name, examples)
    if name == "jsonl":
        write_descriptions(to, descriptions)
    if as_json:
        told = {"to": str(to), "format": name, "examples": len(examples), "failed": failed, "notes": notes}
        write_json(console, told, indent=2)
        return
    for note, count in notes.items():
        errors.print(f"note: {note} ({count:,})", markup=False, soft_wrap=True)
    if failed:
        errors.print(f"left out: {counted(failed, 'result')} with an error")
    console.print(f"{counted(len(examples), 'example')} in {to} ({name}).", markup=False, soft_wrap=True)
    if interface:
        console.print(f"The labelling interface for their project is in {interface}.", markup=False, soft_wrap=True)


def write_descriptions(path: Path, descriptions: dict[str, str]) -> None:
    """Write descriptions of labels beside a file of examples, where `ruie index` and `ruie sync` read them."""
    if descriptions:
        LabelMapping(describe=descriptions).write(descriptions_beside(path))


def _of_store(store: str | None, pool: str, encoder: str | None) -> tuple[list[Example], dict[str, str]]:
    with closing(DemonstrationStore.open(store, pool=pool, encoder=encoder)) as opened, track("read") as advance:
        return list(_counted(opened.examples(), advance)), opened.label_descriptions()


def _of_file(path: Path) -> tuple[list[Example], int, dict[str, int]]:
    """The examples of a file of results or examples, the number of failed results, and notes on others left out."""
    _, first = next(iter(read_rows(path)), ("", {}))
    if "extraction" not in first:
        return list(Import([path], strict=True)), 0, {}
    from ruie_components.extraction.results import read_results

    examples: list[Example] = []
    failed, left_out = 0, Counter[str]()
    for number, result in enumerate(read_results(path), start=1):
        extraction = result.extraction
        if result.error is not None:
            failed += 1
        elif not extraction.text.strip():
            left_out["results without a text are left out"] += 1
        elif extraction.task is Task.EAE and not extraction.events:
            left_out["results whose event is not in the text are left out"] += 1
        else:
            try:
                examples.append(result.to_example())
            except ValueError as error:
                raise RowError(f"{path}, result {number}: {error}") from error
    return examples, failed, dict(left_out)


def _write(to: Path, name: str, examples: list[Example]) -> dict[str, int]:
    to.parent.mkdir(parents=True, exist_ok=True)
    if name == "csv":
        rows = [row for example in examples for row in span_rows(example, example.id, example.metadata)]
        write_csv(to, list(dict.fromkeys([*COLUMNS, *(key for row in rows for key in row)])), rows)
        empty = sum(not example.spans for example in examples)
        return {"texts without spans have no row in a table of spans": empty} if empty else {}
    if name == "graphml":
        write_graphml(to, examples)
        without = sum(example.task in (Task.NER, Task.ED) for example in examples)
        return {"the graph has no edges for entities and event triggers": without} if without else {}
    return export_examples(to, examples, name)
