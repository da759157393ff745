"""Commands that use a pool: retrieve, prompt, extract."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from ruie_components.cli import corpus, show
from ruie_components.cli.console import console, errors, write_csv, write_json
from ruie_components.cli.options import (
    AsJson,
    EncoderOption,
    Encoding,
    EventOption,
    HoldOption,
    K,
    LabelsOption,
    MaxTokens,
    Method,
    ModelName,
    ModelOptions,
    Pool,
    StorePath,
    TaskOption,
    TextArgument,
    chat_model,
    defaults,
    model_options,
    opened,
    queries_in,
    refuse_overwriting,
    selector,
    the_text,
)
from ruie_components.errors import RuieError
from ruie_components.extraction.documents import Chunking
from ruie_components.extraction.results import ExtractionResult
from ruie_components.extraction.resume import count_others, write_results
from ruie_components.formats.corpora import HUGGING_FACE
from ruie_components.formats.table import COLUMNS
from ruie_components.integers import counted
from ruie_components.prompts import AnswerFormat, Order, build_prompt

if TYPE_CHECKING:
    from ruie_components.extraction import Extractor

Format = Annotated[
    AnswerFormat | None,
    typer.Option(
        "--answer-format", help="How answers are written. Default: as tuned, else linear.", show_default=False
    ),
]


_NOT_WRITTEN = (".xlsx", ".xls", ".ods", ".parquet", ".html")  # kinds of files that the results are not


class Mentions(StrEnum):
    """The mentions of a span that count."""

    FIRST = "first"
    ALL = "all"


def retrieve(
    text: TextArgument = None,
    store: StorePath = None,
    pool: Pool = "default",
    task: TaskOption = None,
    label: LabelsOption = None,
    event: EventOption = None,
    k: K = None,
    method: Method = None,
    encoder: EncoderOption = None,
    explain: Annotated[
        bool, typer.Option("--explain", help="Explain each choice: ranks, votes, and added labels.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the demonstrations for a text, best first.

    Example: ruie retrieve "Fly me to Rome" --store pool -k 4 --explain
    """
    with opened(store, pool, encoder) as source:
        retriever = defaults(source, task, label, event, method, k)
        query = retriever.query(the_text(text))
        chosen = retriever.retrieve(query)
    if as_json:
        rows = [{"score": shown.score, "example": shown.example.to_row()} for shown in chosen]
        if explain:
            for row, shown in zip(rows, chosen, strict=True):
                row["reason"] = shown.reason.model_dump(mode="json") if shown.reason else None
        write_json(console, rows, indent=2)
    else:
        show.demonstrations(console, chosen, explain=explain)


def prompt(
    text: TextArgument = None,
    store: StorePath = None,
    pool: Pool = "default",
    task: TaskOption = None,
    label: LabelsOption = None,
    event: EventOption = None,
    k: K = None,
    method: Method = None,
    answer_format: Format = None,
    max_tokens: MaxTokens = None,
    encoder: EncoderOption = None,
    as_json: AsJson = False,
) -> None:
    """Write the prompt for a text: as one string, or with --json as chat messages."""
    with opened(store, pool, encoder) as source:
        retriever = defaults(source, task, label, event, method, k)
        query = retriever.query(the_text(text))
        chosen = retriever.retrieve(query)
        written = answer_format or retriever.tuned.answer_format
        order = retriever.tuned.order
    built = build_prompt(query, chosen, answer_format=written, max_tokens=max_tokens, order=order)
    if as_json:
        messages = [{"role": role, "content": content} for role, content in built.messages]
        write_json(console, {"messages": messages, "tokens": built.tokens, "dropped": built.dropped}, indent=2)
        return
    sys.stdout.write(f"{built.text}\n")
    dropped = f", {counted(built.dropped, 'demonstration')} dropped to fit the budget" if built.dropped else ""
    errors.print(f"[dim]about {built.tokens:,} tokens{dropped}[/]")


def extract(
    text: Annotated[
        str | None,
        typer.Argument(
            help="The text. With --out RUN, also a corpus: a file, a folder, or hf:NAME of a Hugging Face data set. "
            "Without it, standard input is read.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--file",
            "-f",
            help="Texts: JSON Lines, a JSON array, CSV or TSV with a header, or one text per line; guessed by content.",
            exists=True,
            dir_okay=False,
            show_default=False,
        ),
    ] = None,
    text_key: Annotated[
        str | None,
        typer.Option(help="Key or column of the text in --file. Default: text, or input.", show_default=False),
    ] = None,
    encoding: Encoding = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File for results: JSON Lines with everything, or .csv with one row per span. For a corpus, a folder. "
            "An interrupted run resumes from it.",
            show_default=False,
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start over, in place of the results in --out.")
    ] = False,
    model: ModelName = None,
    model_option: ModelOptions = None,
    store: StorePath = None,
    pool: Pool = "default",
    task: TaskOption = None,
    label: LabelsOption = None,
    event: EventOption = None,
    k: K = None,
    method: Method = None,
    answer_format: Format = None,
    order: Annotated[
        Order | None,
        typer.Option(
            help="Position of the most similar demonstration. Default: as tuned, else similar-last.",
            show_default=False,
        ),
    ] = None,
    hold: Annotated[
        HoldOption,
        typer.Option(
            help="Restrict answers by a grammar to the schema's labels, or also to spans of the text; for gguf:PATH "
            "and servers of llama.cpp and vLLM."
        ),
    ] = HoldOption.NONE,
    max_tokens: MaxTokens = None,
    descriptions: Annotated[
        bool, typer.Option("--descriptions", help="Show the pool's descriptions of labels to the model.")
    ] = False,
    fixed: Annotated[
        int,
        typer.Option(
            min=0,
            help="Number of demonstrations shared by all texts, shown before the -k chosen ones, for models that keep "
            "the beginnings of prompts.",
        ),
    ] = 0,
    mentions: Annotated[
        Mentions, typer.Option(help="Assign an item of the answer the first mention of its span, or all mentions.")
    ] = Mentions.FIRST,
    concurrency: Annotated[int, typer.Option(min=1, help="Number of concurrent requests.")] = 4,
    chunk_tokens: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Maximum tokens of a chunk; longer texts are cut at sentence ends; 0: never. Default: as long as "
            "the pool's long examples, 64 to 512.",
            show_default=False,
        ),
    ] = None,
    context_sentences: Annotated[
        int, typer.Option(min=0, help="Sentences shown before a chunk.")
    ] = Chunking.context_sentences,
    passes: Annotated[int, typer.Option(min=1, help="Number of passes over a text, each with different chunks.")] = 1,
    max_calls: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="For a corpus: stop before more requests. All limits count the whole run, with its resumed parts and "
            "retries.",
            show_default=False,
        ),
    ] = None,
    max_total_tokens: Annotated[
        int | None,
        typer.Option(min=0, help="For a corpus: stop before more tokens read and written.", show_default=False),
    ] = None,
    max_cost: Annotated[
        float | None,
        typer.Option(min=0, help="For a corpus: stop before a higher cost, by --price.", show_default=False),
    ] = None,
    price: Annotated[
        tuple[float, float] | None,
        typer.Option(help="Prices per million tokens read and written.", show_default=False),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="For a corpus: only every Nth document; see ruie merge.", show_default=False),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="For a corpus: repeat failed, truncated and empty answers.")
    ] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="For a corpus: also write results.parquet.")] = False,
    openai_batch: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="For a corpus: write OpenAI batch files for this model instead of calling it; --model-option sets "
            "keys of the requests, and null removes one.",
            show_default=False,
        ),
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report to this file.", show_default=False)] = None,
    encoder: EncoderOption = None,
    as_json: AsJson = False,
) -> None:
    """Extract from a text, a file, standard input, or a whole corpus, with a chat model.

    For example: ruie extract "Fly me to Rome" --task NER -m ollama:llama3.1:8b

    A corpus: ruie extract articles/ --out RUN --store pool -m ollama:llama3.1:8b --max-calls 10000
    """
    from ruie_components.extraction import Extractor

    if text is not None and file is not None:
        raise typer.BadParameter("give a text or --file, not both", param_hint="TEXT")
    if out is not None:
        for each in dict.fromkeys((out, _complete_results(out))):
            refuse_overwriting("--out", each, {"--file": file})
    if report is not None:
        beside = {} if out is None else {"--out": out, "the complete results of --out": _complete_results(out)}
        refuse_overwriting("--report", report, {"--file": file, **beside})
    of_corpus = corpus.chosen(text, out)
    if out is not None and not of_corpus and out.suffix.lower() in _NOT_WRITTEN:
        raise typer.BadParameter(
            f"results are JSON Lines (.jsonl), or a table of spans (.csv, .tsv), and not {out.suffix}",
            param_hint="--out",
        )
    options = corpus.CorpusOptions(
        max_calls, max_total_tokens, max_cost, price, shard, retry_failed, parquet, openai_batch
    )
    if options.given and not of_corpus:
        raise typer.BadParameter(f"{options.given} is for a corpus: give one, and --out RUN", param_hint="TEXT")
    if max_cost is not None and price is None and openai_batch is None:
        raise typer.BadParameter("it needs --price too, such as --price 0.15 0.60", param_hint="--max-cost")
    if encoding is not None and text is not None and (not of_corpus or text.startswith(HUGGING_FACE)):
        raise typer.BadParameter("it is for files and standard input", param_hint="--encoding")
    others = [("--overwrite", overwrite), ("--model", model)]
    if openai_batch is not None and (
        name := options.without_requests or next((option for option, given in others if given), "")
    ):
        raise typer.BadParameter(
            f"{name} has no meaning with --openai-batch, which writes requests and sends none: leave it out",
            param_hint="--openai-batch",
        )
    if of_corpus and report is not None:
        raise typer.BadParameter(
            f"a corpus has no page of its own: call ruie report {out}/results.jsonl --out {report} afterwards",
            param_hint="--report",
        )
    chunking = None if chunk_tokens == 0 else Chunking(chunk_tokens, context_sentences, passes)
    body = model_options(model_option or []) if openai_batch else {}
    answering = chat_model("baseline", None) if openai_batch else chat_model(model, model_option)
    with ExitStack() as stack:
        source = stack.enter_context(opened(store, pool, encoder))
        retriever = defaults(source, task, label, event)
        queries = []
        if not of_corpus:
            queries = (
                queries_in(file, retriever, text_key, encoding) if file else [retriever.query(the_text(text, encoding))]
            )
        extractor = Extractor(
            source,
            answering,
            k=k,
            selector=selector(method),
            answer_format=answer_format,
            order=order,
            hold=hold.value_or_none,
            max_tokens=max_tokens,
            mentions=mentions.value,
            descriptions=descriptions,
            fixed=fixed,
            task=task,
            labels=label or None,
            event=retriever.event,
        )
        if of_corpus and text is not None and out is not None:
            corpus.run(
                extractor, text, out, options, chunking,
                concurrency=concurrency, text_key=text_key, encoding=encoding, body=body, overwrite=overwrite,
                as_json=as_json,
            )  # fmt: skip
            return
        resume = _resume_path(out, extractor, overwrite) if out else None
        results: Sequence[ExtractionResult]
        is_cut = chunking and any(len(extractor.plan(query, chunking).queries) > 1 for query in queries)
        chunks = out and out.with_name(f"{out.name}.chunks.jsonl")
        if chunks and (is_cut or overwrite):
            _check_own(chunks, extractor, overwrite)
        if is_cut:
            results = extractor.extract_documents(queries, chunking, concurrency=concurrency, resume=chunks)
            if resume:
                write_results(resume, extractor.settings, queries, results)
        else:
            results = extractor.extract_many(queries, progress=True, concurrency=concurrency, resume=resume)
    if out is None:
        for result in results:
            show.result(console, result, as_json=as_json or bool(file))
    elif resume != out:
        rows = [row for result in results for row in result.to_rows()]
        write_csv(out, list(dict.fromkeys([*COLUMNS, *(name for row in rows for name in row)])), rows)
    if report:
        from ruie_components import report as pages

        pages.write(report, results, lead=f"Model: {answering.name}")
    failed = sum(result.error is not None for result in results)
    truncated = sum(result.usage.truncated for result in results)
    unanswered = sum(result.unanswered for result in results)
    resumed = sum(result.resumed for result in results)
    if out is not None and as_json:
        told = {"out": str(out), "results": len(results), "resumed": resumed, "failed": failed}
        write_json(console, {**told, "truncated": truncated, "unanswered": unanswered}, indent=2)
    elif out is not None and (unfinished := show.counts(0, truncated, unanswered)):
        errors.print(f"{unfinished}; the same command asks again", style="yellow", markup=False, soft_wrap=True)
    if failed:
        first = next(result.error for result in results if result.error)
        errors.print(
            f"[bold red]{failed:,} of {counted(len(results), 'text')} failed;[/] the first: {escape(first or '')}",
            soft_wrap=True,
        )
        raise typer.Exit(1)
    if out is not None and not as_json:
        _say_where(out, resume or out, len(results), resumed)


def _complete_results(out: Path) -> Path:
    """The file of complete results: ``--out`` itself, or a file beside a table, which can't hold them."""
    return out.with_name(f"{out.name}.results.jsonl") if out.suffix.lower() in (".csv", ".tsv") else out


def _resume_path(out: Path, extractor: Extractor, overwrite: bool) -> Path:
    """The file of complete results, after a check that --out holds nothing else.

    Raises:
        RuieError: Without --overwrite: it holds results of other settings, or --out is a table of something else.
    """
    path = _complete_results(out)
    if out.exists() and not path.exists() and not overwrite:
        raise RuieError(
            f"{out} exists and has no {path.name} beside it, so it is not a table of results: give another --out, or "
            "--overwrite to replace it"
        )
    _check_own(path, extractor, overwrite)
    return path


def _check_own(path: Path, extractor: Extractor, overwrite: bool) -> None:
    """Check that a file holds only results of these settings; with --overwrite delete it if it holds any results."""
    others = count_others(path, extractor.settings)
    if overwrite:
        path.unlink(missing_ok=True)
    elif others:
        raise RuieError(
            f"{path} holds {counted(others, 'result')} made with another model or other settings: give another --out, "
            "or --overwrite to replace what it holds"
        )


def _say_where(out: Path, resume: Path, count: int, resumed: int) -> None:
    with resume.open("rb") as lines:
        others = sum(1 for _ in lines) - count
    after = f", after {others:,} of other texts" if others > 0 and resume == out else ""
    complete = "" if resume == out else f"; complete results in {resume}"
    before = f", {resumed:,} of them from before" if resumed else ""
    if count and resumed == count:
        before = ", all from before, so the model was not called"
    errors.print(f"{counted(count, 'result')} in {out}{before}{after}{complete}", markup=False, soft_wrap=True)
