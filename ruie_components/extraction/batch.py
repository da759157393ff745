"""Many queries: searched together, requested concurrently, every finished result saved at once."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from ruie_components.chat.retry import fails_for_all
from ruie_components.errors import ChatModelError
from ruie_components.extraction.results import ExtractionResult, failed, identified
from ruie_components.extraction.resume import ResumeFile
from ruie_components.progress import track
from ruie_components.prompts import Prompt
from ruie_components.types import Query

Outcome = ExtractionResult | Exception

_SEARCHED_AT_ONCE = 256
"""Queries per search: enough to encode in batches, few enough to keep their demonstrations in memory."""

_HOPELESS = 3
"""The number of first requests that must fail for a reason that applies to all, before a run is aborted."""

WritePrompts = Callable[[Sequence[Query]], Sequence[Prompt | Exception]]
"""The prompts of queries, or the error of a prompt that can't be written."""


def run(
    queries: Sequence[Query],
    resume: ResumeFile,
    *,
    prompts: WritePrompts,
    answer: Callable[[Prompt, threading.Event], ExtractionResult],
    progress: bool,
    concurrency: int,
) -> list[ExtractionResult]:
    """The results of queries in their order; see ``Extractor.extract_many``.

    Args:
        queries: The queries; equal ones share a request.
        resume: The file of finished results, not yet opened.
        prompts: Writes prompts.
        answer: Answers a prompt; the event ends its wait for a retry.
        progress: Whether to show a progress bar.
        concurrency: The number of concurrent requests.
    """

    def outcome(prompt: Prompt | Exception) -> Outcome:
        if isinstance(prompt, Exception):
            return prompt
        try:
            return answer(prompt, stopped)
        except Exception as error:  # a failed request must not lose the other results
            return error

    stopped = threading.Event()
    pool = ThreadPoolExecutor(_checked(concurrency), thread_name_prefix="ruie-extract")
    with resume, track("extract", total=len(queries), enabled=progress) as advance:
        state = _Run(queries, resume, advance)
        state.restore()
        try:
            for chunk in state.missing():
                written = prompts(chunk)
                jobs = {
                    pool.submit(outcome, prompt): (query, prompt) for query, prompt in zip(chunk, written, strict=True)
                }
                for job in as_completed(jobs):
                    state.finish(*jobs[job], job.result())
        finally:
            stopped.set()  # after Ctrl-C running requests finish, and no new one starts or is repeated
            pool.shutdown(cancel_futures=True)
        resume.arrange(queries)
    return state.in_order()


async def arun(
    queries: Sequence[Query],
    resume: ResumeFile,
    *,
    prompts: WritePrompts,
    answer: Callable[[Prompt], Awaitable[ExtractionResult]],
    progress: bool,
    concurrency: int,
) -> list[ExtractionResult]:
    """``run`` without blocking the event loop."""
    free = asyncio.Semaphore(_checked(concurrency))

    async def outcome(query: Query, prompt: Prompt | Exception) -> tuple[Query, Prompt | Exception, Outcome]:
        if isinstance(prompt, Exception):
            return query, prompt, prompt
        async with free:
            try:
                return query, prompt, await answer(prompt)
            except Exception as error:  # a failed request must not lose the other results
                return query, prompt, error

    await asyncio.to_thread(resume.open)
    with resume, track("extract", total=len(queries), enabled=progress) as advance:
        state = _Run(queries, resume, advance)
        await asyncio.to_thread(state.restore)
        for chunk in state.missing():
            written = await asyncio.to_thread(prompts, chunk)
            jobs = [asyncio.ensure_future(outcome(*each)) for each in zip(chunk, written, strict=True)]
            try:
                for job in asyncio.as_completed(jobs):
                    state.finish(*await job)
            finally:
                for unfinished in jobs:
                    unfinished.cancel()
                await asyncio.gather(*jobs, return_exceptions=True)
        await asyncio.to_thread(resume.arrange, queries)
    return state.in_order()


def _checked(concurrency: int) -> int:
    if concurrency < 1:
        raise ValueError(f"concurrency must be >= 1, got {concurrency}")
    return concurrency


class _Run:
    """The finished and missing results of a run, and whether to continue it."""

    def __init__(self, queries: Sequence[Query], resume: ResumeFile, advance: Callable[[int], None]) -> None:
        self._queries, self._resume, self._advance = queries, resume, advance
        self._counts = Counter(queries)  # equal queries share a request
        self._results: dict[Query, ExtractionResult] = {}
        self._hopeless: int | None = 0  # None once any request was answered

    def restore(self) -> None:
        """Take over the finished results of an earlier run."""
        for query, result in self._resume.restore(self._counts):
            self._keep(query, result)

    def missing(self) -> Iterator[tuple[Query, ...]]:
        """The queries without a result, in chunks."""
        remaining = iter([query for query in self._counts if query not in self._results])
        while chunk := tuple(itertools.islice(remaining, _SEARCHED_AT_ONCE)):
            yield chunk

    def finish(self, query: Query, prompt: Prompt | Exception, outcome: Outcome) -> None:
        """Save the result or the error of a query.

        Raises:
            ChatModelError: The first requests all failed for a reason that applies to every request.
        """
        if isinstance(outcome, Exception):
            shown = None if isinstance(prompt, Exception) else prompt
            self._keep(query, failed(query, shown, outcome))
            if shown:
                self._give_up_if_hopeless(outcome)
        else:
            self._keep(query, outcome)
            self._hopeless = None
            self._resume.put(query, identified(outcome, query))

    def _keep(self, query: Query, result: ExtractionResult) -> None:
        self._results[query] = result
        self._advance(self._counts[query])

    def _give_up_if_hopeless(self, error: Exception) -> None:
        if self._hopeless is None or not (isinstance(error, ChatModelError) and fails_for_all(error)):
            self._hopeless = None
            return
        self._hopeless += 1
        if self._hopeless == _HOPELESS:
            raise error

    def in_order(self) -> list[ExtractionResult]:
        return [identified(self._results[query], query) for query in self._queries]
