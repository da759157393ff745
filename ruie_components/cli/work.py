"""Commands that use a pool: retrieve, prompt, extract."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from ruie_components.cli import show
from ruie_components.cli.console import console, errors, write_json
from ruie_components.cli.options import (
    DEFAULT_METHOD,
    AsJson,
    EncoderOption,
    EventOption,
    K,
    LabelsOption,
    MaxTokens,
    Method,
    Pool,
    StorePath,
    TaskOption,
    TextArgument,
    defaults,
    opened,
    queries_in,
    selector,
    the_text,
)
from ruie_components.prompts import AnswerFormat, build_prompt

Format = Annotated[AnswerFormat, typer.Option("--answer-format", help="How answers are written.")]


def retrieve(
    text: TextArgument = None,
    store: StorePath = None,
    pool: Pool = "default",
    task: TaskOption = None,
    label: LabelsOption = None,
    event: EventOption = None,
    k: K = 8,
    method: Method = DEFAULT_METHOD,
    encoder: EncoderOption = None,
    as_json: AsJson = False,
) -> None:
    """Show the demonstrations chosen for a text, best first."""
    with opened(store, pool, encoder) as source:
        query = defaults(source, task, label, event).query(the_text(text))
        found = selector(method, k).select(source, query)
    if as_json:
        rows = [{"score": shown.score, "example": shown.example.to_row()} for shown in found]
        write_json(console, rows, indent=2)
    else:
        show.demonstrations(console, found)


def prompt(
    text: TextArgument = None,
    store: StorePath = None,
    pool: Pool = "default",
    task: TaskOption = None,
    label: LabelsOption = None,
    event: EventOption = None,
    k: K = 8,
    method: Method = DEFAULT_METHOD,
    answer_format: Format = AnswerFormat.LINEAR,
    max_tokens: MaxTokens = None,
    encoder: EncoderOption = None,
    as_json: AsJson = False,
) -> None:
    """Write the prompt for a text: as one string, or with --json as chat messages."""
    with opened(store, pool, encoder) as source:
        query = defaults(source, task, label, event).query(the_text(text))
        found = selector(method, k).select(source, query)
    built = build_prompt(query, found, answer_format=answer_format, max_tokens=max_tokens)
    if as_json:
        messages = [{"role": role, "content": content} for role, content in built.messages]
        write_json(console, {"messages": messages, "tokens": built.tokens, "dropped": built.dropped}, indent=2)
        return
    sys.stdout.write(f"{built.text}\n")
    dropped = f", {built.dropped} demonstrations dropped to fit the budget" if built.dropped else ""
    errors.print(f"[dim]about {built.tokens:,} tokens{dropped}[/]")


def extract(
    text: TextArgument = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            help="Texts: a row each of a .jsonl file, a line each of any other.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="JSONL file for the results. What it already holds is not asked again.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            "--model",
            "-m",
            help="ollama:NAME, or baseline: an offline floor that only copies from the demonstrations.",
        ),
    ] = "baseline",
    store: StorePath = None,
    pool: Pool = "default",
    task: TaskOption = None,
    label: LabelsOption = None,
    event: EventOption = None,
    k: K = 8,
    method: Method = DEFAULT_METHOD,
    answer_format: Format = AnswerFormat.LINEAR,
    max_tokens: MaxTokens = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report here.", show_default=False)] = None,
    encoder: EncoderOption = None,
    as_json: AsJson = False,
) -> None:
    """Extract from a text, a file or standard input, with a chat model."""
    from ruie_components.chat import load_chat_model
    from ruie_components.extraction import Extractor

    if text is not None and file is not None:
        raise typer.BadParameter("give a text or --file, not both", param_hint="TEXT")
    chat_model = load_chat_model(model)
    with ExitStack() as stack:
        source = stack.enter_context(opened(store, pool, encoder))
        asked = defaults(source, task, label, event)
        queries = queries_in(file, asked) if file else [asked.query(the_text(text))]
        extractor = Extractor(
            source, chat_model, selector=selector(method, k), answer_format=answer_format, max_tokens=max_tokens
        )
        results = extractor.extract_many(queries, progress=True, resume=out)
    if out is None:
        for result in results:
            show.result(console, result, as_json=as_json or bool(file))
    if report:
        from ruie_components import report as pages

        pages.write(report, results, lead=f"Model: {model}")
    failed = sum(result.error is not None for result in results)
    if failed:
        first = next(result.error for result in results if result.error)
        errors.print(
            f"[bold red]{failed} of {len(results)} texts failed;[/] the first: {escape(first or '')}", soft_wrap=True
        )
        raise typer.Exit(1)
    if out is not None:
        with out.open("rb") as lines:
            others = sum(1 for _ in lines) - len(results)
        behind = f", behind {others:,} of other texts or settings" if others else ""
        errors.print(f"{len(results):,} results in {out}{behind}", markup=False, soft_wrap=True)
