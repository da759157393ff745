"""Extracts from a corpus of any size: one row per document, in order, in constant memory; resumes killed runs."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ruie_components.chat.retry import fails_for_all
from ruie_components.extraction import documents
from ruie_components.extraction.budget import Budget, Spent
from ruie_components.extraction.documents import Chunking
from ruie_components.extraction.jobs import AT_ONCE, Document, Item, ItemWithRow, Job, JobMaker, Outcome
from ruie_components.extraction.pool_state import pool_state, warn_if_changed
from ruie_components.extraction.results import ExtractionResult, failed
from ruie_components.extraction.run_folder import (
    RESULTS,
    SUMMARY,
    Summary,
    changed,
    check_same,
    check_settings,
    keep_settings,
    locked,
    remove_results,
    retry_file,
    row_of,
    whole_part,
    whole_rows,
    with_earlier_use,
)
from ruie_components.files import atomic_write
from ruie_components.progress import track
from ruie_components.prompts import Prompt, estimate_tokens

if TYPE_CHECKING:
    from ruie_components.extraction.extractor import Extractor

_HOPELESS = 3
"""The number of successive documents that must fail for a reason that applies to all, before a run stops."""

_INTERRUPTED = "an interruption"


def extract_corpus(
    extractor: Extractor,
    corpus: Iterable[Document],
    out: Path | str,
    *,
    chunking: Chunking | None = None,
    concurrency: int = 4,
    budget: Budget | None = None,
    shard: tuple[int, int] | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
    progress: bool = True,
    total: int | None = None,
) -> Summary:
    """Extract from every document of a corpus into a folder.

    ``out/results.jsonl`` gets one row per document, in the order of the corpus, written as soon as it and all earlier
    ones are finished. A call with the same corpus, folder and settings continues after the last complete row, however
    the earlier call ended. Texts of any length are cut into chunks. Memory does not grow with the corpus.

    A failed document gets a row with an ``error``. The run ends with an error only if successive documents fail because
    there is no server, no such model or no permission; these get no row. With ``retry_failed`` a document keeps its
    earlier row until there is a new one, and also where only the earlier one has an answer.

    ``out/run.json`` keeps the settings, and which rows the pool had. If it has others in a later call, that call warns
    (``PoolChangedWarning``) and goes on.

    Args:
        extractor: The extractor.
        corpus: Documents, as ``formats.corpora.read_corpus`` reads them; the same ones in every call. A row's ``id`` is
            the document's, else its number in the corpus, from 0.
        out: The folder.
        chunking: How to cut long documents.
        concurrency: The number of concurrent requests.
        budget: The limits of the run.
        shard: ``(i, n)``: only documents whose number modulo ``n`` is ``i - 1``.
        retry_failed: Repeat documents whose row has an error, or whose answer was truncated or empty.
        overwrite: Start over if the folder has results.
        progress: Whether to show progress on stderr.
        total: The number of documents, for the progress bar.

    Raises:
        RuieError: The folder has results of other settings or of another corpus, or another process is writing it.
        RowError: A document can't be read or is not a valid input; the message names file and line. Earlier rows are
            kept.
        ChatModelError: The model can't be used.
    """
    if concurrency < 1:
        raise ValueError(f"concurrency must be >= 1, got {concurrency}")
    run = _Run(extractor, Path(out), chunking or Chunking(), budget or Budget(), concurrency)
    own = _settings(extractor, chunking or Chunking(), shard)
    with locked(run.folder):
        earlier = check_settings(run.folder, own, overwrite=overwrite)
        now = pool_state(extractor.store, extractor.retriever.task)
        warn_if_changed(str(run.folder), extractor.store.pool, earlier, now)
        if overwrite:
            remove_results(run.folder)
        keep_settings(run.folder, own, [*earlier, now])
        with track("extract", total=total and _share(total, shard), enabled=progress, rate=True) as advance:
            try:
                run.go(_numbered(corpus, shard), retry_file(run.folder, retry_failed=retry_failed), advance)
            except BaseException as error:
                run.stop(str(error) or _INTERRUPTED)
                raise
            finally:
                run.close()
        return run.summary()


def corpus_prompts(
    extractor: Extractor,
    corpus: Iterable[Document],
    *,
    chunking: Chunking | None = None,
    shard: tuple[int, int] | None = None,
) -> Iterator[Prompt]:
    """The prompts that ``extract_corpus`` would send for a corpus, chunk by chunk, without calling a model.

    Documents without a text and chunks that are too long for ``max_tokens`` have none.

    Raises:
        RowError: A document can't be read or is not a valid input; the message names file and line.
    """
    maker = JobMaker(extractor, chunking or Chunking())
    for jobs in maker.jobs(maker.with_earlier(_numbered(corpus, shard), None)):
        yield from (prompt for job in jobs for prompt in job.prompts if isinstance(prompt, Prompt))


def _share(total: int, shard: tuple[int, int] | None) -> int:
    return total if shard is None else -(-(total - shard[0] + 1) // shard[1])


def _numbered(corpus: Iterable[Document], shard: tuple[int, int] | None) -> Iterator[Item]:
    if shard is not None and not 1 <= shard[0] <= shard[1]:
        raise ValueError(f"a shard is one of 1/n to n/n, got {shard[0]}/{shard[1]}")
    for number, (location, row) in enumerate(corpus):
        if shard is None or number % shard[1] == shard[0] - 1:
            yield number, location, dict(row)


def _settings(extractor: Extractor, chunking: Chunking, shard: tuple[int, int] | None) -> dict[str, Any]:
    settings = {"extractor": extractor.settings, "chunking": asdict(chunking), "shard": shard and list(shard)}
    retriever = extractor.retriever
    settings["defaults"] = {
        "task": retriever.task,
        "labels": retriever.labels,
        "event": retriever.event and retriever.event.model_dump(),
    }
    return dict(json.loads(json.dumps(settings)))


class _Run:
    def __init__(
        self, extractor: Extractor, folder: Path, chunking: Chunking, budget: Budget, concurrency: int
    ) -> None:
        self.folder = folder
        self._path = folder / RESULTS  # where rows are written: there, or beside it in a retry
        self._earlier = 0  # the number of rows that a retry replaces
        self._extractor, self._budget = extractor, budget
        self._window = max(4 * concurrency, 32)  # chunks whose answers may wait for an earlier document
        self._maker = JobMaker(extractor, chunking, min(AT_ONCE, self._window))
        self._executor = ThreadPoolExecutor(concurrency, thread_name_prefix="ruie-corpus")
        self._closed = threading.Event()
        self._pending: deque[Job] = deque()
        self._held: list[dict[str, Any]] = []
        self._file: IO[str] | None = None
        self._done = Summary()
        self._spent = Spent()
        self._longest = 0.0  # tokens of an answer: the highest average over a document's requests
        self._stopped: str | None = None
        self._begin = time.monotonic()

    def go(self, corpus: Iterator[Item], retry: Path | None, advance: Callable[[int], None]) -> None:
        """Process the corpus; in a retry, write rows to another file until there is one for each earlier row."""
        self._advance = advance
        if retry:
            self._path = retry
            for _, row in whole_rows(self.folder / RESULTS):
                self._earlier += 1
                self._spend(row)  # also of rows that the retry has not come to
        items = self._maker.with_earlier(corpus, self.folder / RESULTS if retry else None)
        self._skip(items)
        self._open()
        try:
            for jobs in self._maker.jobs(items):
                self._submit(jobs)
                if self._stopped:
                    break
        except Exception:  # a document can't be read: documents before it still get their rows
            self._finish(0)
            raise
        self._finish(0)
        self._write_held()
        self._done = replace(self._done, complete=self._stopped is None)

    def stop(self, reason: str) -> None:
        """Say why the run ends early."""
        self._stopped = reason

    def close(self) -> None:
        """Let no request begin or be repeated any more; close the file, with a row for each earlier one."""
        self._closed.set()
        self._executor.shutdown(cancel_futures=True)
        if self._file is None:
            return  # it ended before it changed anything
        if self._is_retry:
            self._keep_earlier()
        self._file.close()
        self._write_summary(self.summary())

    def summary(self) -> Summary:
        """The summary so far."""
        cost = self._budget.price_of(self._done.input_tokens, self._done.output_tokens)
        seconds = round(time.monotonic() - self._begin, 3)
        return replace(self._done, seconds=seconds, cost=cost, stopped=self._stopped)

    def _write_summary(self, summary: Summary) -> None:
        atomic_write(self.folder / SUMMARY, json.dumps(asdict(summary), indent=1) + "\n")

    # Existing rows.

    def _skip(self, items: Iterator[ItemWithRow]) -> None:
        """Skip the documents that have rows, check that they are the same, and remove an unfinished row."""
        path, end = self._path, 0
        for end, row in whole_rows(path):  # noqa: B007
            if (item := next(items, None)) is None:
                raise changed(path, "there are more rows than documents")
            number, location, document, earlier = item
            own = self._maker.id_and_text(number, document)
            check_same(path, self._done.documents + 1, row, own, location)
            self._count(row)
            self._spend(row, earlier)
            self._done = replace(self._done, resumed=self._done.resumed + 1)
            self._advance(1)
        if path.exists():
            _cut(path, end)

    def _count(self, row: dict[str, Any]) -> None:
        self._done = self._done.with_row(row)
        if row["calls"]:
            self._longest = max(self._longest, (row["usage"]["output_tokens"] or 0) / row["calls"])

    def _spend(self, row: Mapping[str, Any], earlier: Mapping[str, Any] | None = None) -> None:
        """Count what a row took towards the budget, less what the earlier row took that it holds."""
        held = earlier or {"calls": 0, "usage": {}}
        used, before = row["usage"], held["usage"]
        read, written = ((used[name] or 0) - (before.get(name) or 0) for name in ("input_tokens", "output_tokens"))
        self._spent = self._spent.plus(row["calls"] - held["calls"], read, written)

    # Documents in progress.

    def _submit(self, jobs: list[Job]) -> None:
        for job in jobs:
            if job.calls and (reason := self._over_budget(job)):
                self._stopped = reason
                return
            job.answers = [
                self._executor.submit(self._ask, prompt) if isinstance(prompt, Prompt) else None
                for prompt in job.prompts
            ]
            self._pending.append(job)
            self._finish(self._window)

    def _over_budget(self, job: Job) -> str | None:
        """Why a document does not fit the budget, after all running requests have finished; ``None`` if it fits."""
        counts_answers = self._budget.tokens is not None or self._budget.cost is not None
        if counts_answers and self._pending and not self._done.calls:
            self._finish(0)  # the first request runs alone: the length of answers is unknown before it
        if (reason := self._reason(job.calls, job.tokens)) and self._pending:
            self._finish(0)
            reason = self._reason(job.calls, job.tokens)
        return reason

    def _reason(self, calls: int, tokens: int) -> str | None:
        """Why further requests, which read these tokens, do not fit the budget."""
        spent = self._spent
        calls += spent.calls + sum(job.calls for job in self._pending)
        read = spent.read + tokens + sum(job.tokens for job in self._pending)
        return self._budget.exceeded(calls, read, spent.written + math.ceil(self._longest * (calls - spent.calls)))

    def _ask(self, prompt: Prompt) -> Outcome:
        try:
            return self._extractor.answer(prompt, self._closed)
        except Exception as error:  # no error of one request may stop the others
            return error

    # Writing rows.

    @property
    def _is_retry(self) -> bool:
        return self._path.name != RESULTS

    def _open(self) -> None:
        """Open the file of rows. If that is the results, a killed run leaves a summary that says so."""
        self._file = self._path.open("a", encoding="utf-8", errors="surrogatepass", newline="\n")
        if not self._is_retry:
            self._write_summary(replace(self.summary(), complete=False, stopped=_INTERRUPTED))

    def _keep_earlier(self) -> None:
        """Add the earlier rows that a retry did not come to, so that none is missing."""
        if self._file:
            self._file.close()
        count, end = whole_part(self._path)  # Ctrl-C may have come while a row was written
        _cut(self._path, end)
        self._open()
        for _, row in islice(whole_rows(self.folder / RESULTS), count, None):
            self._append(row)
            self._done = replace(self._done, resumed=self._done.resumed + 1)
        self._replace_earlier()

    def _replace_earlier(self) -> None:
        """Put the rows of a retry in place of the earlier ones, and go on there."""
        if self._file:
            self._file.close()
        self._path = self._path.replace(self.folder / RESULTS)
        self._open()

    def _finish(self, allowed: int) -> None:
        """Write the oldest documents until at most this many chunks are in progress."""
        while self._pending and (allowed == 0 or sum(max(job.calls, 1) for job in self._pending) > allowed):
            job = self._pending[0]
            row, error = self._answered(job)
            self._pending.popleft()
            if error is not None and fails_for_all(error):
                self._held.append(row)
                if len(self._held) == _HOPELESS:
                    self._pending.clear()
                    self._held.clear()
                    raise error
                continue
            self._write_held()
            self._write(row)

    def _answered(self, job: Job) -> tuple[dict[str, Any], Exception | None]:
        """The row of a document, and its error if no chunk was answered."""
        if job.row is not None or job.plan is None:
            return job.row or {}, None
        outcomes: list[Outcome] = [
            answer.result() if answer else prompt  # type: ignore[misc]  # in place of a prompt its error
            for answer, prompt in zip(job.answers, job.prompts, strict=True)
        ]
        errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        hopeless = next((error for error in errors if fails_for_all(error)), None)
        if len(errors) < len(outcomes):
            hopeless = None  # the model answers: what failed is this chunk
        again, tokens = 0, 0
        for i, prompt in enumerate(job.prompts if hopeless is None else ()):
            if isinstance(prompt, Prompt) and isinstance(outcomes[i], Exception):
                if self._reason(again + 1, tokens + prompt.tokens):
                    break
                outcomes[i] = self._ask(prompt)
                again, tokens = again + 1, tokens + prompt.tokens
        results = [
            failed(query, prompt if isinstance(prompt, Prompt) else None, outcome)
            if isinstance(outcome, Exception)
            else _with_tokens(outcome)
            for query, prompt, outcome in zip(job.plan.queries, job.prompts, outcomes, strict=True)
        ]
        earlier = job.earlier
        result = replace(documents.merge(job.plan, results), id=job.query.id)
        shared = job.shared / max(job.tokens, 1) * (result.usage.input_tokens or 0)  # of the tokens as the model counts
        row = row_of(result, job.calls + again, round(shared))
        self._spend(row)
        if earlier and earlier["extraction"].get("answer", "").strip() and all(result.error for result in results):
            return {**earlier, "calls": earlier["calls"] + row["calls"]}, hopeless
        return with_earlier_use(row, earlier) if earlier else row, hopeless

    def _write_held(self) -> None:
        for row in self._held:
            self._write(row)
        self._held = []

    def _write(self, row: dict[str, Any]) -> None:
        if self._is_retry and self._done.documents >= self._earlier:
            self._replace_earlier()
        self._append(row)
        self._advance(1)

    def _append(self, row: dict[str, Any]) -> None:
        if self._file is None:
            return
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()
        self._count(row)


def _cut(path: Path, end: int) -> None:
    with path.open("r+b") as file:
        file.truncate(end)


def _with_tokens(result: ExtractionResult) -> ExtractionResult:
    """The result, with estimated tokens if the model counts none."""
    usage = result.usage
    if usage.input_tokens is not None and usage.output_tokens is not None:
        return result
    read = result.prompt.tokens if result.prompt else 0
    return replace(
        result,
        usage=replace(
            usage,
            input_tokens=read if usage.input_tokens is None else usage.input_tokens,
            output_tokens=estimate_tokens(result.extraction.answer)
            if usage.output_tokens is None
            else usage.output_tokens,
        ),
    )
