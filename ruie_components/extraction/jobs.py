"""Documents of a corpus as jobs: their chunks, their prompts, and how many tokens these have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ruie_components.errors import RowError, RuieError, explain
from ruie_components.extraction.documents import Chunking, DocumentResult, Plan
from ruie_components.extraction.results import ExtractionResult, Usage
from ruie_components.extraction.run_folder import changed, check_same, is_finished, row_of, whole_rows
from ruie_components.prompts import MESSAGE_OVERHEAD, Message, Prompt, TokenCounter
from ruie_components.types import Example, Extraction, Query

if TYPE_CHECKING:
    from ruie_components.extraction.extractor import Extractor

AT_ONCE = 128
"""The number of chunks whose demonstrations are searched together."""

Document = tuple[str, Mapping[str, Any]]
"""The location of a document, and the input of ``Extractor.extract``."""

Outcome = ExtractionResult | Exception
"""The result of a request."""

Item = tuple[int, str, dict[str, Any]]
"""A document's number, location and content."""

ItemWithRow = tuple[int, str, dict[str, Any], dict[str, Any] | None]
"""The same, and the row that an earlier call wrote for it."""


@dataclass
class Job:
    """A document in progress."""

    query: Query
    row: dict[str, Any] | None = None
    """The row, if no request is needed."""
    earlier: dict[str, Any] | None = None
    """The row that an earlier call wrote, if it is asked about again."""
    plan: Plan | None = None
    prompts: Sequence[Prompt | Exception] = ()
    answers: Sequence[Future[Outcome] | None] = ()
    calls: int = 0
    tokens: int = 0
    """Estimated, for the budget."""
    shared: int = 0
    """Of them, those that the prompts before began with."""


class JobMaker:
    """Makes jobs of the documents of a corpus, in order.

    Args:
        extractor: The extractor that chooses demonstrations and writes prompts.
        chunking: How to cut long documents.
        at_once: The number of chunks whose demonstrations are searched together.
    """

    def __init__(self, extractor: Extractor, chunking: Chunking, at_once: int = AT_ONCE) -> None:
        self._extractor, self._chunking, self._at_once = extractor, chunking, at_once
        key = extractor.retriever.text_key
        self._text_keys = (key,) if key else ("text", "input")
        self._last: Sequence[Message] = []  # of the prompt before

    def id_and_text(self, number: int, document: Mapping[str, Any]) -> tuple[Any, Any]:
        """The id and text that a document's row has, without making its query."""
        query = document.get("query")
        if isinstance(query, Query | Example):
            return number if query.id is None else query.id, query.text
        text = next((document[name] for name in self._text_keys if isinstance(document.get(name), str)), None)
        return document.get("id", number), text

    def with_earlier(self, corpus: Iterable[Item], earlier: Path | None) -> Iterator[ItemWithRow]:
        """Join documents with the rows of an earlier call, in the same order.

        Args:
            corpus: The documents.
            earlier: The file of the rows; there may be fewer of them.

        Raises:
            RowError: A line of the file is not a row.
            RuieError: A row is of another document, or there are more rows than documents.
        """
        rows = enumerate(whole_rows(earlier), start=1) if earlier else iter(())
        for number, location, document in corpus:
            count, (_, row) = next(rows, (0, (0, None)))
            if earlier and row is not None:
                check_same(earlier, count, row, self.id_and_text(number, document), location)
            yield number, location, document, row
        if earlier and next(rows, None):
            raise changed(earlier, "there are more rows than documents")

    def jobs(self, items: Iterable[ItemWithRow]) -> Iterator[list[Job]]:
        """Jobs with their prompts, in groups whose demonstrations are searched together.

        Raises:
            RowError: A document can't be read or is not a valid input; the jobs before it come first.
        """
        group: list[Job] = []
        waiting = 0
        try:
            for item in items:
                group.append(self._job(*item))
                waiting += len(group[-1].plan.queries) if group[-1].plan else 0
                if waiting >= self._at_once or len(group) >= AT_ONCE:
                    yield self._with_prompts(group)
                    group, waiting = [], 0
        except (RuieError, OSError):  # a document can't be read: documents before it still get their rows
            if group:
                yield self._with_prompts(group)
            raise
        if group:
            yield self._with_prompts(group)

    def _job(self, number: int, location: str, document: dict[str, Any], earlier: dict[str, Any] | None) -> Job:
        own_id, text = self.id_and_text(number, document)
        empty = isinstance(text, str) and not text.strip()
        try:
            query = self._extractor.retriever.query(document | ({self._text_keys[0]: "."} if empty else {}))
            query = query if query.id == own_id else query.model_copy(update={"id": own_id})
            if empty:
                return Job(query, row_of(_nothing(query, str(text)), 0))
            if earlier is not None and is_finished(earlier):
                return Job(query, earlier)
            return Job(query, earlier=earlier, plan=self._extractor.plan(query, self._chunking))
        except ValidationError as error:
            raise RowError(f"{location}: {explain(error)}") from error
        except (ValueError, TypeError) as error:
            raise RowError(f"{location}: {error}") from error

    def _with_prompts(self, group: list[Job]) -> list[Job]:
        queries = [query for job in group if job.plan for query in job.plan.queries]
        prompts = iter(self._extractor.prompts(queries))
        for job in group:
            if job.plan:
                job.prompts = [next(prompts) for _ in job.plan.queries]
                written = [prompt for prompt in job.prompts if isinstance(prompt, Prompt)]
                job.calls = len(written)
                job.tokens = sum(prompt.tokens for prompt in written)
                for prompt in written:
                    messages = prompt.messages
                    job.shared += _shared(self._last, messages, self._extractor.count_tokens)
                    self._last = messages
        return group


def _shared(before: Sequence[Message], messages: Sequence[Message], count_tokens: TokenCounter) -> int:
    """The tokens of the messages that two prompts begin with."""
    same = takewhile(lambda pair: pair[0] == pair[1], zip(before, messages, strict=False))
    return sum(count_tokens(content) + MESSAGE_OVERHEAD for (_, content), _ in same)


def _nothing(query: Query, text: str) -> DocumentResult:
    """The result of a document without a text."""
    extraction = Extraction.model_construct(task=query.task, text=text, labels=query.labels)
    return DocumentResult(extraction, None, Usage(), id=query.id, metadata=dict(query.metadata))
