"""The Extractor: selection, prompt, chat model and answer in one object, for one text or many."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ruie_components import answers
from ruie_components.errors import AnswerError, RuieError
from ruie_components.extraction import many, streaming
from ruie_components.extraction.calling import (
    Answer,
    aask,
    ask,
    check_model,
    model_name,
    model_settings,
    schema_options,
)
from ruie_components.extraction.results import ExtractionResult, usage_of, warn_of_cut
from ruie_components.prompts import AnswerFormat, Prompt, TokenCounter, build_prompt, estimate_tokens
from ruie_components.retrieval import DemonstrationRetriever, QueryInput
from ruie_components.selection import Selector
from ruie_components.store import DemonstrationStore
from ruie_components.types import Demonstration, Extraction, Query, Rejected, Rejection


class Extractor:
    """Extracts with a chat model that is shown the best demonstrations of a store.

    Args:
        store: Where the demonstrations are.
        model: Anything with ``invoke(messages)`` (every LangChain chat model), or a function from a list of
            ``(role, content)`` pairs to the answer's text.
        k: How many demonstrations; 0 for none. The selector's own number where one is given, else 8.
        selector: How they are chosen; ``Selector()`` if not given.
        answer_format: How answers are written: "linear", the paper's way, or "json".
        max_tokens: The budget of the whole prompt; the least similar demonstrations are dropped until it fits.
        count_tokens: Counts the tokens of a string, for the budget.
        instruction: An instruction of your own instead of the task's.
        fuzzy_threshold: The least similarity, of 100, at which a span counts as found in the text; None for exact
            and folded search alone.
        retries: How often a transport error is tried again.

    Raises:
        TypeError: ``model`` can't be asked, or ``selector`` is no ``Selector``.
        ValueError: ``k`` is negative, or ``answer_format`` unknown.
    """

    def __init__(
        self,
        store: DemonstrationStore,
        model: Any,
        *,
        k: int | None = None,
        selector: Selector | None = None,
        answer_format: AnswerFormat | str = AnswerFormat.LINEAR,
        max_tokens: int | None = None,
        count_tokens: TokenCounter = estimate_tokens,
        instruction: str | None = None,
        fuzzy_threshold: float | None = answers.FUZZY_THRESHOLD,
        retries: int = 2,
    ) -> None:
        check_model(model)
        self.retriever = DemonstrationRetriever(store, selector, k)
        self.model = model
        self.answer_format = AnswerFormat(answer_format)
        self.max_tokens = max_tokens
        self.count_tokens = count_tokens
        self.instruction = instruction
        self.fuzzy_threshold = fuzzy_threshold
        self.retries = retries

    @property
    def store(self) -> DemonstrationStore:
        """Where the demonstrations are."""
        return self.retriever.store

    @property
    def selector(self) -> Selector:
        """How demonstrations are chosen."""
        return self.retriever.selector

    def extract(self, query: QueryInput) -> ExtractionResult:
        """Extract from one text. A plain string asks for the pool's only task and all its labels.

        Raises:
            ChatModelError: The model can't be reached or used.
            PromptTooLongError: Instruction and input alone are over ``max_tokens``.
            StoreError: The store has no such task, or can't be read.
        """
        return self.answer(self.prompt(query))

    async def aextract(self, query: QueryInput) -> ExtractionResult:
        """``extract`` without blocking the loop."""
        return await self.aanswer(await asyncio.to_thread(self.prompt, query))

    def extract_many(
        self,
        queries: Iterable[QueryInput],
        *,
        progress: bool = True,
        concurrency: int = 4,
        resume: Path | str | None = None,
    ) -> list[ExtractionResult]:
        """Extract from many texts, in their order.

        A query that fails does not stop the others: its result has no spans and an ``error``. Only a run whose first
        three requests all find no server, a silent one, no such model or no right to ask it ends with that error.

        Args:
            queries: What to extract from which texts; tasks may be mixed. Equal ones are asked once.
            progress: Whether to show a bar on stderr once the work takes longer than a second.
            concurrency: How many requests are under way at a time.
            resume: A JSON Lines file. Every finished result is written to it at once; a later call with the same
                file and settings asks only for what is missing or failed.

        Raises:
            RowError: ``resume`` is a file of something else.
            ChatModelError: The model can't be asked at all.
        """
        return many.extract_many(self, queries, progress=progress, concurrency=concurrency, resume=resume)

    async def aextract_many(
        self,
        queries: Iterable[QueryInput],
        *,
        progress: bool = True,
        concurrency: int = 4,
        resume: Path | str | None = None,
    ) -> list[ExtractionResult]:
        """``extract_many`` without blocking the loop."""
        return await many.aextract_many(self, queries, progress=progress, concurrency=concurrency, resume=resume)

    # The steps, for those who put them together in another way (the LangChain chain does).

    def prompt(self, query: QueryInput) -> Prompt:
        """Choose the demonstrations and write the prompt."""
        query = self.retriever.query(query)
        return self.write(query, self.retriever.retrieve(query))

    def prompts(self, queries: Sequence[Query]) -> list[Prompt | Exception]:
        """The prompts of many queries, searched in one go; where one can't be written, its error instead."""
        return [
            chosen if isinstance(chosen, Exception) else self._try_to_write(query, chosen)
            for query, chosen in zip(queries, self.retriever.retrieve_many(queries), strict=True)
        ]

    def write(self, query: Query, demonstrations: Sequence[Demonstration]) -> Prompt:
        """Write the prompt for a query with given demonstrations, best first."""
        return build_prompt(
            query,
            demonstrations,
            answer_format=self.answer_format,
            max_tokens=self.max_tokens,
            count_tokens=self.count_tokens,
            instruction=self.instruction,
        )

    def _try_to_write(self, query: Query, demonstrations: Sequence[Demonstration]) -> Prompt | RuieError | ValueError:
        try:
            return self.write(query, demonstrations)
        except (RuieError, ValueError) as error:
            return error

    def answer(self, prompt: Prompt, **options: Any) -> ExtractionResult:
        """Ask the model and read its answer. ``options`` go to the model's ``invoke``."""
        start = time.perf_counter()
        said = ask(self.model, prompt.messages, retries=self.retries, **self.options(prompt), **options)
        return self.read(prompt, said, time.perf_counter() - start)

    async def aanswer(self, prompt: Prompt, **options: Any) -> ExtractionResult:
        """``answer`` without blocking the loop."""
        start = time.perf_counter()
        said = await aask(self.model, prompt.messages, retries=self.retries, **self.options(prompt), **options)
        return self.read(prompt, said, time.perf_counter() - start)

    def stream(self, prompt: Prompt, **options: Any) -> Iterator[ExtractionResult]:
        """Ask the model and read its answer as it comes: results that grow, the last one whole."""
        return streaming.stream(self, prompt, **options)

    def astream(self, prompt: Prompt, **options: Any) -> AsyncIterator[ExtractionResult]:
        """``stream`` without blocking the loop."""
        return streaming.astream(self, prompt, **options)

    def options(self, prompt: Prompt) -> dict[str, Any]:
        """What the model's ``invoke`` is told beside the messages: the JSON schema, where the model takes one."""
        if self.answer_format is not AnswerFormat.JSON:
            return {}
        return schema_options(self.model, lambda: answers.json_schema(prompt.query))

    def read(self, prompt: Prompt, said: Answer, seconds: float = 0.0, *, partial: bool = False) -> ExtractionResult:
        """Read an answer to a prompt; of one that is cut or still being written (``partial``) the finished items."""
        extraction = answers.parse(
            said.text,
            prompt.query,
            demonstrations=prompt.demonstrations,
            partial=partial or said.cut,
            fuzzy_threshold=self.fuzzy_threshold,
        )
        if said.cut:
            warn_of_cut(said.text)
        return ExtractionResult(
            extraction=extraction if partial else _with_what_says_nothing(extraction, prompt.query),
            prompt=prompt,
            usage=usage_of(
                prompt,
                input_tokens=said.input_tokens,
                output_tokens=said.output_tokens,
                seconds=seconds,
                cut=said.cut,
            ),
        )

    @property
    def settings(self) -> dict[str, Any]:
        """What decides a result beside the query and the pool's rows: results of other settings can't be resumed."""
        return {
            "model": model_name(self.model),
            "model_settings": model_settings(self.model),
            "pool": self.store.pool,
            "encoder": self.store.encoder.fingerprint,
            "selector": repr(self.selector),
            "answer_format": self.answer_format.value,
            "max_tokens": self.max_tokens,
            "instruction": self.instruction,
            "fuzzy_threshold": self.fuzzy_threshold,
        }


def _with_what_says_nothing(extraction: Extraction, query: Query) -> Extraction:
    """The extraction, where it is empty with an answer rejected that neither has items nor says ``None``."""
    if extraction.annotations or extraction.rejected:
        return extraction
    try:
        answers.parse(extraction.answer, query, strict=True)
    except AnswerError:
        rejected = Rejected(reason=Rejection.UNREADABLE, answer=extraction.answer)
        return extraction.model_copy(update={"rejected": (rejected,)})
    return extraction
