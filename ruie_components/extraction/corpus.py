"""Extracts from a corpus of any size: one row per document, in order, in constant memory; resumes killed runs."""

from __future__ import annotations

import json
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from pydantic import ValidationError

from ruie_components.chat.retry import fails_for_all
from ruie_components.errors import RowError, RuieError, explain
from ruie_components.extraction import documents
from ruie_components.extraction.documents import Chunking, DocumentResult, Plan
from ruie_components.extraction.results import ExtractionResult, Usage, failed
from ruie_components.files import atomic_write, json_object
from ruie_components.progress import track
from ruie_components.prompts import MESSAGE_OVERHEAD, Message, Prompt, TokenCounter, estimate_tokens
from ruie_components.types import Example, Extraction, Query, Task

if TYPE_CHECKING:
    from ruie_components.extraction.extractor import Extractor

RESULTS, RUN, SUMMARY = "results.jsonl", "run.json", "summary.json"
"""The files of a run's folder."""

_SEARCHED_AT_ONCE = 128
"""The number of chunks whose demonstrations are searched together."""

_HOPELESS = 3
"""The number of successive documents that must fail for a reason that applies to all, before a run stops."""

Document = tuple[str, Mapping[str, Any]]
"""The location of a document, and the input of ``Extractor.extract``."""


@dataclass(frozen=True)
class Budget:
    """The limits of a run, resumed parts included. It stops before the document that would exceed a limit.

    A document's tokens are estimated before its requests: its prompts by the extractor's ``count_tokens``, its answers
    as long as the longest so far (for several requests, their mean). The actual use counts, even if it is higher.

    Args:
        calls: Requests, without repeats after network errors.
        tokens: Tokens read and written.
        cost: Money, in the currency of ``prices``.
        prices: Per million tokens read, and per million written.

    Raises:
        ValueError: A limit is negative, or there is a cost limit without prices.
    """

    calls: int | None = None
    tokens: int | None = None
    cost: float | None = None
    prices: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for name in ("calls", "tokens", "cost"):
            if (getattr(self, name) or 0) < 0:
                raise ValueError(f"a budget of {name} must be >= 0, got {getattr(self, name)}")
        if self.cost is not None and self.prices is None:
            raise ValueError("a budget of money needs prices: per million tokens read, and per million written")


@dataclass(frozen=True)
class Summary:
    """The totals of a run, resumed parts included.

    Attributes:
        documents: Rows in the results.
        resumed: Rows among them from earlier calls.
        failed: Documents with an error: no answer to the document or to some of its chunks.
        empty: Documents without a text.
        annotations: Entities, relations, events or arguments.
        calls: Requests.
        input_tokens: Tokens read, as the model counts them; else estimated.
        output_tokens: Tokens written, likewise.
        shared_tokens: Of the tokens read, those at the beginning of a prompt that the prompt before it began with too,
            in whole messages; estimated. A model that keeps the beginnings of prompts need not read them again.
        cost: By the budget's prices; ``None`` without prices.
        seconds: Duration of this call.
        complete: Whether every document of the corpus has its row.
        stopped: Why it is incomplete.
    """

    documents: int = 0
    resumed: int = 0
    failed: int = 0
    empty: int = 0
    annotations: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    shared_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0
    complete: bool = False
    stopped: str | None = None


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
    there is no server, no such model or no permission; these get no row.

    Args:
        extractor: The extractor.
        corpus: Documents, as ``formats.corpora.read_corpus`` reads them; the same ones in every call. A row's ``id`` is
            the document's, else its number in the corpus, from 0.
        out: The folder.
        chunking: How to cut long documents.
        concurrency: The number of concurrent requests.
        budget: The limits of the run.
        shard: ``(i, n)``: only documents whose number modulo ``n`` is ``i - 1``.
        retry_failed: Repeat documents whose row has an error.
        overwrite: Start over if the folder has results of other settings.
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
    with _locked(run.folder):
        _check_settings(run.folder, own, overwrite=overwrite)
        earlier = _earlier(run.folder, retry_failed=retry_failed)
        with track("extract", total=total and _share(total, shard), enabled=progress, rate=True) as advance:
            try:
                run.go(_numbered(corpus, shard), earlier, advance)
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
    run = _Run(extractor, Path(), chunking or Chunking(), Budget(), 1)
    try:
        for jobs in run.planned(_with_earlier(_numbered(corpus, shard), None)):
            yield from (prompt for job in jobs for prompt in job.prompts if isinstance(prompt, Prompt))
    finally:
        run.close()


def _share(total: int, shard: tuple[int, int] | None) -> int:
    return total if shard is None else -(-(total - shard[0] + 1) // shard[1])


def _numbered(corpus: Iterable[Document], shard: tuple[int, int] | None) -> Iterator[tuple[int, str, dict[str, Any]]]:
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


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise RuieError(f"another process is writing its results to {folder}: wait for it") from error


def _check_settings(folder: Path, own: Mapping[str, Any], *, overwrite: bool) -> None:
    path = folder / RUN
    if path.exists():
        known = json.loads(path.read_text("utf-8"))
        if different := sorted(_differences(known, own)):
            if not overwrite:
                raise RuieError(
                    f"{folder} holds a run with other settings ({', '.join(different)}): give another folder, or "
                    "--overwrite to begin anew"
                )
            for name in (RESULTS, _EARLIER, SUMMARY):
                (folder / name).unlink(missing_ok=True)
    elif (folder / RESULTS).exists():
        raise RuieError(f"{folder} has a {RESULTS} that is not of a run, or lost its {RUN}: give another folder")
    atomic_write(path, json.dumps(own, ensure_ascii=False, indent=1))


def _differences(known: Any, own: Any, name: str = "") -> Iterator[str]:
    if isinstance(known, dict) and isinstance(own, dict):
        for key in known.keys() | own.keys():
            yield from _differences(known.get(key), own.get(key), f"{name}.{key}".strip("."))
    elif known != own:
        yield name


_EARLIER = ".earlier.jsonl"


def _earlier(folder: Path, *, retry_failed: bool) -> Path | None:
    """The file of rows that are being retried; a killed call may leave it."""
    results, earlier = folder / RESULTS, folder / _EARLIER
    if retry_failed and results.exists() and not earlier.exists():
        results.rename(earlier)
    return earlier if earlier.exists() else None


def whole_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The complete rows of a results file, each with its end offset; a killed process may leave an unfinished row.

    Raises:
        RowError: A line before the last is not a row.
    """
    end = 0
    if not path.exists():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            end += len(line)
            yield end, json_object(f"{path}, line {number}", line.decode("utf-8", "surrogatepass"))


Outcome = ExtractionResult | Exception

_Item = tuple[int, str, dict[str, Any], dict[str, Any] | None]
"""A document's number, location and content, and the row that an earlier call wrote for it."""


def _with_earlier(corpus: Iterator[tuple[int, str, dict[str, Any]]], earlier: Path | None) -> Iterator[_Item]:
    rows = whole_rows(earlier) if earlier else iter(())
    for number, location, document in corpus:
        _, row = next(rows, (0, None))
        yield number, location, document, row


@dataclass
class _Job:
    """A document in progress."""

    query: Query
    row: dict[str, Any] | None = None
    """The row, if no request is needed."""
    plan: Plan | None = None
    prompts: Sequence[Prompt | Exception] = ()
    answers: Sequence[Future[Outcome] | None] = ()
    calls: int = 0
    tokens: int = 0
    """Estimated, for the budget."""
    shared: int = 0
    """Of them, those that the prompts before began with."""


class _Run:
    def __init__(
        self, extractor: Extractor, folder: Path, chunking: Chunking, budget: Budget, concurrency: int
    ) -> None:
        self.folder = folder
        self._extractor, self._chunking, self._budget = extractor, chunking, budget
        self._window = max(4 * concurrency, 32)  # chunks whose answers may wait for an earlier document
        self._executor = ThreadPoolExecutor(concurrency, thread_name_prefix="ruie-corpus")
        self._closed = threading.Event()
        self._jobs: deque[_Job] = deque()
        self._held: list[tuple[_Job, dict[str, Any]]] = []
        self._file: IO[str] | None = None
        self._done = Summary()
        self._longest = 0.0  # tokens of an answer: the highest average over a document's requests
        self._stopped: str | None = None
        key = extractor.retriever.text_key
        self._text_keys = (key,) if key else ("text", "input")
        self._last: list[Message] = []  # of the prompt before
        self._begin = time.monotonic()

    def go(
        self, corpus: Iterator[tuple[int, str, dict[str, Any]]], earlier: Path | None, advance: Callable[[int], None]
    ) -> None:
        """Process the corpus."""
        self._advance = advance
        items = _with_earlier(corpus, earlier)
        self._skip(items)
        self._file = (self.folder / RESULTS).open("a", encoding="utf-8", errors="surrogatepass", newline="\n")
        try:
            for jobs in self.planned(items):
                self._submit(jobs)
                if self._stopped:
                    break
        except Exception:  # a document can't be read: documents before it still get their rows
            self._finish(0)
            raise
        self._finish(0)
        self._write_held()
        self._done = replace(self._done, complete=self._stopped is None, stopped=self._stopped)
        if earlier and self._done.complete:
            earlier.unlink()

    def close(self) -> None:
        """Let no request begin or be repeated any more, and close the file."""
        self._closed.set()
        self._executor.shutdown(cancel_futures=True)
        if self._file:
            self._file.close()

    def summary(self) -> Summary:
        """The summary so far, which is also written to the folder."""
        seconds = round(time.monotonic() - self._begin, 3)
        summary = replace(
            self._done, seconds=seconds, cost=self._cost(self._done.input_tokens, self._done.output_tokens)
        )
        atomic_write(self.folder / SUMMARY, json.dumps(asdict(summary), indent=1) + "\n")
        return summary

    # Existing rows.

    def _skip(self, items: Iterator[_Item]) -> None:
        """Skip the documents that have rows, check that they are the same, and remove an unfinished row."""
        path, end = self.folder / RESULTS, 0
        for end, row in whole_rows(path):  # noqa: B007
            number, location, document, _ = next(items, (-1, "", {}, None))
            own_id, text = self._id_and_text(number, document)
            if number < 0:
                raise RuieError(f"{path} has more rows than the corpus has documents: give another folder")
            if row.get("id") != own_id or row["extraction"]["text"] != text:
                raise RuieError(
                    f"row {self._done.documents + 1} of {path} is of another document than {location}: the corpus has "
                    "changed since the run began; give another folder, or --overwrite to start over"
                )
            self._count(row)
            self._done = replace(self._done, resumed=self._done.resumed + 1)
            self._advance(1)
        if path.exists():
            with path.open("r+b") as file:
                file.truncate(end)

    def _id_and_text(self, number: int, document: Mapping[str, Any]) -> tuple[Any, Any]:
        """What a document's row has, without making its query."""
        query = document.get("query")
        if isinstance(query, Query | Example):
            return number if query.id is None else query.id, query.text
        text = next((document[name] for name in self._text_keys if isinstance(document.get(name), str)), None)
        return document.get("id", number), text

    def _count(self, row: Mapping[str, Any]) -> None:
        done, usage, extraction = self._done, row["usage"], row["extraction"]
        if extraction["task"] == Task.EAE:
            annotations = sum(len(event.get("arguments", ())) for event in extraction.get("events", ()))
        else:
            annotations = sum(len(extraction.get(name, ())) for name in ("entities", "relations", "events"))
        if row["calls"]:
            self._longest = max(self._longest, (usage["output_tokens"] or 0) / row["calls"])
        self._done = replace(
            done,
            documents=done.documents + 1,
            failed=done.failed + ("error" in row),
            empty=done.empty + (not extraction["text"].strip()),
            annotations=done.annotations + annotations,
            calls=done.calls + row["calls"],
            input_tokens=done.input_tokens + (usage["input_tokens"] or 0),
            output_tokens=done.output_tokens + (usage["output_tokens"] or 0),
            shared_tokens=done.shared_tokens + row.get("shared_tokens", 0),
        )

    # Documents in progress.

    def planned(self, items: Iterator[_Item]) -> Iterator[list[_Job]]:
        """Jobs with their prompts, grouped so that their demonstrations are searched together."""
        jobs: list[_Job] = []
        waiting = 0
        try:
            for item in items:
                jobs.append(self._job(*item))
                waiting += len(jobs[-1].plan.queries) if jobs[-1].plan else 0
                if waiting >= min(_SEARCHED_AT_ONCE, self._window) or len(jobs) >= _SEARCHED_AT_ONCE:
                    yield self._with_prompts(jobs)
                    jobs, waiting = [], 0
        except (RowError, OSError):  # a document can't be read: documents before it still get their rows
            if jobs:
                yield self._with_prompts(jobs)
            raise
        if jobs:
            yield self._with_prompts(jobs)

    def _job(self, number: int, location: str, document: dict[str, Any], earlier: dict[str, Any] | None) -> _Job:
        own_id, text = self._id_and_text(number, document)
        empty = isinstance(text, str) and not text.strip()
        try:
            query = self._extractor.retriever.query(document | ({self._text_keys[0]: "."} if empty else {}))
            query = query if query.id == own_id else query.model_copy(update={"id": own_id})
            if empty:
                return _Job(query, _row(_nothing(query, str(text)), 0))
            if earlier is not None and "error" not in earlier:
                return _Job(query, earlier)
            return _Job(query, plan=self._extractor.plan(query, self._chunking))
        except ValidationError as error:
            raise RowError(f"{location}: {explain(error)}") from error
        except (ValueError, TypeError) as error:
            raise RowError(f"{location}: {error}") from error

    def _with_prompts(self, jobs: list[_Job]) -> list[_Job]:
        queries = [query for job in jobs if job.plan for query in job.plan.queries]
        prompts = iter(self._extractor.prompts(queries))
        for job in jobs:
            if job.plan:
                job.prompts = [next(prompts) for _ in job.plan.queries]
                written = [prompt for prompt in job.prompts if isinstance(prompt, Prompt)]
                job.calls = len(written)
                job.tokens = sum(prompt.tokens for prompt in written)
                for prompt in written:
                    messages = prompt.messages
                    job.shared += _shared(self._last, messages, self._extractor.count_tokens)
                    self._last = messages
        return jobs

    def _submit(self, jobs: list[_Job]) -> None:
        for job in jobs:
            if job.calls and (reason := self._over_budget(job)):
                self._stopped = reason
                return
            job.answers = [
                self._executor.submit(self._ask, prompt) if isinstance(prompt, Prompt) else None
                for prompt in job.prompts
            ]
            self._jobs.append(job)
            self._finish(self._window)

    def _over_budget(self, job: _Job) -> str | None:
        """Why a document does not fit the budget, after all running requests have finished; ``None`` if it fits."""
        counts_answers = self._budget.tokens is not None or self._budget.cost is not None
        if counts_answers and self._jobs and not self._done.calls:
            self._finish(0)  # the first request runs alone: the length of answers is unknown before it
        if (reason := self._reason(job)) and self._jobs:
            self._finish(0)
            reason = self._reason(job)
        return reason

    def _reason(self, job: _Job) -> str | None:
        budget, done = self._budget, self._done
        calls = done.calls + job.calls + sum(other.calls for other in self._jobs)
        if budget.calls is not None and calls > budget.calls:
            return f"the budget of {budget.calls:,} calls"
        read = done.input_tokens + job.tokens + sum(other.tokens for other in self._jobs)
        written = done.output_tokens + math.ceil(self._longest * (calls - done.calls))
        if budget.tokens is not None and read + written > budget.tokens:
            return f"the budget of {budget.tokens:,} tokens"
        if budget.cost is not None and (self._cost(read, written) or 0.0) > budget.cost:
            return f"the budget of {budget.cost:,} of money"
        return None

    def _cost(self, read: int, written: int) -> float | None:
        prices = self._budget.prices
        return None if prices is None else (read * prices[0] + written * prices[1]) / 1_000_000

    def _ask(self, prompt: Prompt) -> Outcome:
        try:
            return self._extractor.answer(prompt, self._closed)
        except Exception as error:  # no error of one request may stop the others
            return error

    # Writing rows.

    def _finish(self, allowed: int) -> None:
        """Write the oldest documents until at most this many chunks are in progress."""
        while self._jobs and (allowed == 0 or sum(max(job.calls, 1) for job in self._jobs) > allowed):
            job = self._jobs[0]
            row, error = self._answered(job)
            self._jobs.popleft()
            if error is not None and fails_for_all(error):
                self._held.append((job, row))
                if len(self._held) == _HOPELESS:
                    self._jobs.clear()
                    self._held.clear()
                    raise error
                continue
            self._write_held()
            self._write(row)

    def _answered(self, job: _Job) -> tuple[dict[str, Any], Exception | None]:
        """The row of a document, and its error if no chunk was answered."""
        if job.row is not None or job.plan is None:
            return job.row or {}, None
        outcomes: list[Outcome] = [
            answer.result() if answer else prompt  # type: ignore[misc]  # in place of a prompt its error
            for answer, prompt in zip(job.answers, job.prompts, strict=True)
        ]
        calls = job.calls
        errors = [outcome for outcome in outcomes if isinstance(outcome, Exception)]
        hopeless = next((error for error in errors if fails_for_all(error)), None)
        if hopeless is None:
            for i, prompt in enumerate(job.prompts):
                if isinstance(prompt, Prompt) and isinstance(outcomes[i], Exception):
                    outcomes[i] = self._ask(prompt)
                    calls += 1
        results = [
            failed(query, prompt if isinstance(prompt, Prompt) else None, outcome)
            if isinstance(outcome, Exception)
            else _with_tokens(outcome)
            for query, prompt, outcome in zip(job.plan.queries, job.prompts, outcomes, strict=True)
        ]
        result = replace(documents.merge(job.plan, results), id=job.query.id)
        return _row(result, calls, job.shared), hopeless

    def _write_held(self) -> None:
        for _, row in self._held:
            self._write(row)
        self._held = []

    def _write(self, row: dict[str, Any]) -> None:
        if self._file is None:
            return
        self._file.write(json.dumps(row, ensure_ascii=False) + "\n")
        self._file.flush()
        self._count(row)
        self._advance(1)


def _row(result: DocumentResult, calls: int, shared: int = 0) -> dict[str, Any]:
    return {**result.to_row(), "calls": calls, "shared_tokens": shared}


def _shared(before: Sequence[Message], messages: Sequence[Message], count_tokens: TokenCounter) -> int:
    """The tokens of the messages that two prompts begin with."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(before, messages, strict=False))
    return sum(count_tokens(content) + MESSAGE_OVERHEAD for (_, content), _ in same)


def _nothing(query: Query, text: str) -> DocumentResult:
    """The result of a document without a text."""
    extraction = Extraction.model_construct(task=query.task, text=text, labels=query.labels)
    return DocumentResult(extraction, None, Usage(), id=query.id, metadata=dict(query.metadata))


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
