"""``ruie extract CORPUS --out RUN`` and ``ruie merge``: corpora of any size."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ruie_components.cli import show
from ruie_components.cli.console import console, errors, write_json
from ruie_components.cli.options import AsJson
from ruie_components.errors import ChatModelError
from ruie_components.integers import counted
from ruie_components.progress import track

if TYPE_CHECKING:
    from ruie_components.extraction.documents import Chunking
    from ruie_components.extraction.extractor import Extractor
    from ruie_components.extraction.run_folder import Summary


_NEVER = 1 << 62  # tokens of a chunk if documents are not cut


@dataclass(frozen=True)
class CorpusOptions:
    """The options of ``ruie extract`` for corpora only."""

    max_calls: int | None = None
    max_total_tokens: int | None = None
    max_cost: float | None = None
    price: tuple[float, float] | None = None
    shard: str | None = None
    retry_failed: bool = False
    parquet: bool = False
    openai_batch: str | None = None

    @property
    def given(self) -> str:
        """The first given option, as written on the command line; empty if there is none."""
        return next(self._given(), "")

    @property
    def without_requests(self) -> str:
        """The first given option that means nothing where requests are only written; empty if there is none."""
        return next((name for name in self._given() if name not in ("--shard", "--openai-batch")), "")

    def _given(self) -> Iterator[str]:
        for name, value in asdict(self).items():
            if value is not None and value is not False:
                yield f"--{name.replace('_', '-')}"

    @property
    def shard_of(self) -> tuple[int, int] | None:
        """The two numbers of ``--shard``."""
        if self.shard is None:
            return None
        i, _, n = self.shard.partition("/")
        if not (i.isdecimal() and n.isdecimal() and 1 <= int(i) <= int(n)):
            raise typer.BadParameter(f"expected I/N such as 1/4, got {self.shard!r}", param_hint="--shard")
        return int(i), int(n)


def chosen(text: str | None, out: Path | None) -> bool:
    """Whether the argument is an existing corpus, with a folder for the results.

    A path that is given without such a folder, or that does not exist, is a usage error and not a text.
    """
    from ruie_components.formats.corpora import is_corpus

    if text and not any(map(str.isspace, text)):
        _check_path(text, out)
    of_corpus = text is not None and out is not None and is_corpus(text)
    if of_corpus and out is not None and (out.is_file() or out.suffix.lower() in (".jsonl", ".csv", ".tsv")):
        raise typer.BadParameter(
            "the results of a corpus are a folder; for a single file of results, give the texts with --file",
            param_hint="--out",
        )
    if of_corpus and text is not None and out is not None and out.resolve().is_relative_to(Path(text).resolve()):
        raise typer.BadParameter(
            f"{out} is inside {text}, so that the results would be read as texts", param_hint="--out"
        )
    if not of_corpus and out is not None and out.is_dir():
        raise typer.BadParameter(
            f"{out} is a folder, which only a corpus can be written to"
            + (f"; there is no file {text!r}" if text else ""),
            param_hint="--out",
        )
    return of_corpus


def _check_path(word: str, out: Path | None) -> None:
    """Check that a text of one word does not look like a path that can't be read as a corpus."""
    from ruie_components.formats.corpora import HUGGING_FACE, is_corpus, names_file

    if not is_corpus(word) and (word.endswith("/") or names_file(word)):
        raise typer.BadParameter(f"there is no {word}", param_hint="TEXT")
    if is_corpus(word) and out is None:
        what = "a data set" if word.startswith(HUGGING_FACE) else "a folder" if Path(word).is_dir() else "a file"
        give = "give it with --file, or add --out RUN" if what == "a file" else "add --out RUN"
        raise typer.BadParameter(f"{word} is {what}: {give}", param_hint="TEXT")


def run(
    extractor: Extractor,
    source: str,
    out: Path,
    options: CorpusOptions,
    chunking: Chunking | None,
    *,
    concurrency: int,
    text_key: str | None,
    encoding: str | None,
    body: Mapping[str, Any],
    overwrite: bool,
    as_json: bool,
) -> None:
    """Extract from a corpus, and print the summary; or write requests with more keys in their ``body``."""
    from ruie_components.extraction.budget import Budget
    from ruie_components.extraction.corpus import extract_corpus
    from ruie_components.extraction.documents import Chunking
    from ruie_components.extraction.run_folder import RESULTS, whole_part
    from ruie_components.formats.corpora import count_documents, read_corpus

    documents = read_corpus(source, text_key=text_key, encoding=encoding)
    if options.openai_batch is not None:
        _write_requests(extractor, documents, out, options, chunking, body, as_json=as_json)
        return
    try:
        summary = extract_corpus(
            extractor,
            documents,
            out,
            chunking=chunking or Chunking(max_tokens=_NEVER),
            concurrency=concurrency,
            budget=Budget(options.max_calls, options.max_total_tokens, options.max_cost, options.price),
            shard=options.shard_of,
            retry_failed=options.retry_failed,
            overwrite=overwrite,
            total=count_documents(source, encoding=encoding),
        )
    except (KeyboardInterrupt, ChatModelError):
        _say_kept(whole_part(out / RESULTS)[0], out, overwrite=overwrite)
        raise
    if options.parquet:
        from ruie_components.extraction.parquet import write_parquet

        write_parquet(out / RESULTS)
    _say(summary, out, as_json=as_json)
    if summary.failed or not summary.complete:
        raise typer.Exit(1)


def _write_requests(
    extractor: Extractor,
    documents: Iterator[tuple[str, dict[str, Any]]],
    out: Path,
    options: CorpusOptions,
    chunking: Chunking | None,
    body: Mapping[str, Any],
    *,
    as_json: bool,
) -> None:
    from ruie_components.chat.openai_batch import write_requests
    from ruie_components.extraction.corpus import corpus_prompts
    from ruie_components.extraction.documents import Chunking

    prompts = corpus_prompts(
        extractor, documents, chunking=chunking or Chunking(max_tokens=_NEVER), shard=options.shard_of
    )
    with track("write requests") as advance:
        passed = (prompt for prompt in prompts if advance(1) is None)
        paths = write_requests(passed, out, options.openai_batch or "", options=body)
    if as_json:
        write_json(console, [str(path) for path in paths])
    errors.print(
        f"{counted(len(paths), 'file')} of requests in {out}. Send them as batches, put the answers into a folder, "
        "and read them with the same command and -m openai-batch:FOLDER instead of --openai-batch and any "
        "--model-option.",
        markup=False,
        soft_wrap=True,
    )


def merge(
    shards: Annotated[list[Path], typer.Argument(help="The folders of all shards.", exists=True, file_okay=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the merged run.", file_okay=False)],
    parquet: Annotated[bool, typer.Option("--parquet", help="Also write results.parquet.")] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an --out with a run of other settings or another corpus.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Merge the shards of a corpus, extracted with --shard, in the corpus's order.

    For example: ruie merge RUN-1 RUN-2 RUN-3 --out RUN
    """
    from ruie_components.extraction.merging import merge_runs
    from ruie_components.extraction.run_folder import RESULTS

    summary = merge_runs(shards, out, overwrite=overwrite)
    if parquet:
        from ruie_components.extraction.parquet import write_parquet

        write_parquet(out / RESULTS)
    _say(summary, out, as_json=as_json)


def _say_kept(count: int, out: Path, *, overwrite: bool) -> None:
    command = "the same command without --overwrite" if overwrite else "the same command"
    if count:
        errors.print(
            f"documents with a row in {out}: {count:,}; {command} resumes", style="yellow", markup=False, soft_wrap=True
        )


def _first_error(out: Path) -> str:
    """Why the first document failed that has an error; empty if none has."""
    from ruie_components.extraction.run_folder import RESULTS

    with (out / RESULTS).open(encoding="utf-8") as lines:
        return next((error for line in lines if '"error"' in line and (error := json.loads(line).get("error"))), "")


def _say(summary: Summary, out: Path, *, as_json: bool) -> None:
    if as_json:
        write_json(console, json.loads(json.dumps(asdict(summary))), indent=1)
        return
    rate = (summary.documents - summary.resumed) / summary.seconds if summary.seconds else 0.0
    parts = [f"{counted(summary.documents, 'document')} in {out}"]
    parts += [f"{summary.resumed:,} of them from before"] if summary.resumed else []
    parts += [counted(summary.annotations, "annotation")]
    unfinished = show.counts(summary.failed, summary.truncated, summary.unanswered)
    parts += [f"{unfinished} (--retry-failed asks again)"] if unfinished else []
    parts += [f"{summary.empty:,} without a text"] if summary.empty else []
    parts += [
        f"{counted(summary.calls, 'call')}, {summary.input_tokens:,} tokens read, {summary.output_tokens:,} written"
    ]
    if summary.shared_tokens:
        parts += [f"{summary.shared_tokens:,} of the tokens read repeat the beginning of the previous prompt"]
    parts += [f"cost {summary.cost:,.4f}"] if summary.cost is not None else []
    parts += [f"{summary.seconds:,.1f} s, {rate:,.1f} documents/s"] if rate else []
    errors.print("; ".join(parts), markup=False, soft_wrap=True)
    if summary.failed and (error := _first_error(out)):
        errors.print(f"the first failure: {error}", style="yellow", markup=False, soft_wrap=True)
    if summary.stopped:
        errors.print(
            f"stopped by {summary.stopped}; the same command with a higher one resumes",
            style="yellow", markup=False, soft_wrap=True,
        )  # fmt: skip
