"""Many queries at a time: prompts in one search, requests side by side, finished results kept at once."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING

from ruie_components.errors import ChatModelError
from ruie_components.extraction.calling import holds_for_all
from ruie_components.extraction.journal import Journal
from ruie_components.extraction.results import ExtractionResult, failed
from ruie_components.progress import track
from ruie_components.prompts import Prompt
from ruie_components.retrieval import QueryInput
from ruie_components.types import Example, Query

if TYPE_CHECKING:
    from ruie_components.extraction.extractor import Extractor

Outcome = ExtractionResult | Exception

_SEARCHED_AT_ONCE = 256
"""Queries of one search: enough to encode in batches, few enough to keep their demonstrations in memory."""


_HOPELESS = 3
"""How many first requests must fail for a reason that holds for all before a run is given up."""


def extract_many(
    extractor: Extractor,
    queries: Iterable[QueryInput],
    *,
    progress: bool,
    concurrency: int,
    resume: Path | str | None,
) -> list[ExtractionResult]:
    """See ``Extractor.extract_many``."""
    queries = _checked(extractor, queries, concurrency)
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="ruie-extract")
    with Journal(resume, extractor) as journal, track("extract", total=len(queries), enabled=progress) as advance:
        run = _Run(queries, journal, advance)
        run.restore()
        try:
            for chunk in run.missing():
                prompts = extractor.prompts(chunk)
                jobs = {
                    pool.submit(_answer, extractor, prompt): (query, prompt)
                    for query, prompt in zip(chunk, prompts, strict=True)
                }
                for job in as_completed(jobs):
                    run.finish(*jobs[job], job.result())
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C what is under way ends, and nothing new begins
        journal.arrange(queries)
    return run.in_order()


async def aextract_many(
    extractor: Extractor,
    queries: Iterable[QueryInput],
    *,
    progress: bool,
    concurrency: int,
    resume: Path | str | None,
) -> list[ExtractionResult]:
    """See ``Extractor.aextract_many``."""
    queries = _checked(extractor, queries, concurrency)
    free = asyncio.Semaphore(concurrency)

    async def work(query: Query, prompt: Prompt | Exception) -> tuple[Query, Prompt | Exception, Outcome]:
        async with free:
            return query, prompt, await _aanswer(extractor, prompt)

    finished = await asyncio.to_thread(Journal, resume, extractor)
    with finished as journal, track("extract", total=len(queries), enabled=progress) as advance:
        run = _Run(queries, journal, advance)
        await asyncio.to_thread(run.restore)
        for chunk in run.missing():
            prompts = await asyncio.to_thread(extractor.prompts, chunk)
            jobs = [asyncio.ensure_future(work(*each)) for each in zip(chunk, prompts, strict=True)]
            try:
                for job in asyncio.as_completed(jobs):
                    run.finish(*await job)
            finally:
                for unfinished in jobs:
                    unfinished.cancel()
                await asyncio.gather(*jobs, return_exceptions=True)
        await asyncio.to_thread(journal.arrange, queries)
    return run.in_order()


class _Run:
    """What is finished, what is missing, and whether going on makes sense."""

    def __init__(self, queries: Sequence[Query], journal: Journal, advance: Callable[[int], None]) -> None:
        self._queries, self._journal, self._advance = queries, journal, advance
        self._times = Counter(queries)  # equal queries are asked once
        self._results: dict[Query, ExtractionResult] = {}
        self._hopeless: int | None = 0  # None once a request has shown that the model can be asked

    def restore(self) -> None:
        """Take the results that an earlier run has finished."""
        for query, finished in self._journal.restore(self._times):
            self._keep(query, finished)

    def missing(self) -> Iterator[tuple[Query, ...]]:
        """The queries that have no result yet, in chunks."""
        remaining = iter([query for query in self._times if query not in self._results])
        while chunk := tuple(itertools.islice(remaining, _SEARCHED_AT_ONCE)):
            yield chunk

    def finish(self, query: Query, prompt: Prompt | Exception, outcome: Outcome) -> None:
        """Keep the result of a query, or why there is none.

        Raises:
            ChatModelError: The first requests have all shown that the model can't be asked at all.
        """
        if isinstance(outcome, Exception):
            shown = None if isinstance(prompt, Exception) else prompt
            self._keep(query, failed(query, shown, outcome))
            if shown:
                self._give_up_if_hopeless(outcome)
        else:
            self._keep(query, outcome)
            self._hopeless = None
            self._journal.put(query, outcome)

    def _keep(self, query: Query, result: ExtractionResult) -> None:
        self._results[query] = result
        self._advance(self._times[query])

    def _give_up_if_hopeless(self, error: Exception) -> None:
        if self._hopeless is None or not (isinstance(error, ChatModelError) and holds_for_all(error)):
            self._hopeless = None
            return
        self._hopeless += 1
        if self._hopeless == _HOPELESS:
            raise error

    def in_order(self) -> list[ExtractionResult]:
        return [self._results[query] for query in self._queries]


def _checked(extractor: Extractor, queries: Iterable[QueryInput], concurrency: int) -> list[Query]:
    if concurrency < 1:
        raise ValueError(f"concurrency is {concurrency}; at least one request must be under way")
    if isinstance(queries, Query | Example | str | Mapping):
        raise TypeError(f"extract_many takes a list of queries, not one {type(queries).__name__}")
    return [extractor.retriever.query(query) for query in queries]


def _answer(extractor: Extractor, prompt: Prompt | Exception) -> Outcome:
    if isinstance(prompt, Exception):
        return prompt
    try:
        return extractor.answer(prompt)
    except Exception as error:  # whatever one request dies of, the other results are kept
        return error


async def _aanswer(extractor: Extractor, prompt: Prompt | Exception) -> Outcome:
    if isinstance(prompt, Exception):
        return prompt
    try:
        return await extractor.aanswer(prompt)
    except Exception as error:  # whatever one request dies of, the other results are kept
        return error
