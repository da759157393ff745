"""The Extractor: retrieval, prompt, chat model and answer in one object, for one text or many."""

from __future__ import annotations

import asyncio
import copy
import threading
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Self

from ruie_components import answers
from ruie_components.chat import AnyChatModel, ChatModel, Constraint, Response, as_chat_model, retry
from ruie_components.chat.closing import ClosableStream
from ruie_components.errors import ChatModelError, RuieError, StoreError
from ruie_components.extraction import batch, documents, streaming
from ruie_components.extraction.confidence import agreement, from_tokens
from ruie_components.extraction.documents import Chunking, DocumentResult, Plan
from ruie_components.extraction.results import (
    Estimate,
    ExtractionResult,
    Usage,
    identified,
    usage_of,
    warn_if_cut,
    warn_truncated,
)
from ruie_components.extraction.resume import ResumeFile
from ruie_components.extraction.streaming import GrowingAnswer
from ruie_components.integers import whole_number
from ruie_components.prompts import AnswerFormat, Order, Prompt, TokenCounter, build_prompt, estimate_tokens
from ruie_components.retrieval import DemonstrationRetriever, QueryInput
from ruie_components.selection import Selector
from ruie_components.selection.fixed import covering
from ruie_components.store import DemonstrationStore
from ruie_components.tokenization import text_hash
from ruie_components.types import Demonstration, EventQuery, Example, Query, Rejected, Rejection, Task


class Extractor:
    """Extracts with a chat model, which is shown the best demonstrations of a store.

    ```python
    extractor = Extractor(store, "ollama:llama3.1:8b")
    extractor.extract("Fly me to Rome").extraction.entities
    ```

    Args:
        store: The pool of demonstrations.
        model: A name such as ``"ollama:llama3.1:8b"`` (see ``load_chat_model``), a LangChain chat model, a LlamaIndex
            LLM, a ``ChatModel``, or a function from a list of ``(role, content)`` pairs to the answer's text.
        k: The number of demonstrations; 0 for none. Default: the selector's own, which is 4 by default.
        selector: How demonstrations are chosen. Default, also of ``k``, ``answer_format`` and ``order``: the settings
            that ``ruie tune`` chose for this pool, else ``Selector()``.
        task: The task of inputs without one. Default: the pool's only task.
        labels: The labels of inputs without any. Default: all labels of the task in the pool.
        event: For EAE, the event of inputs without one.
        answer_format: How answers are written: "linear", the paper's way, or "json".
        order: Where the most similar demonstration is shown: "similar-last", next to the input, or "similar-first".
        hold: The restriction of answers by a grammar, for models that support one: "labels", the labels of the schema,
            or "spans", also parts of the text that begin and end at word boundaries. Default: none; parts of an answer
            that are not in the schema or the text are rejected.
        max_tokens: The budget of the whole prompt; the least similar demonstrations are dropped until it fits.
        count_tokens: Counts the tokens of a string, for the budget.
        instruction: Your own instruction instead of the task's.
        descriptions: Descriptions of labels to show: ``True`` for those of the pool, or your own by label.
        fuzzy_threshold: The minimum similarity, of 100, of an answer's span and the text; ``None`` for exact and
            normalized matches only.
        mentions: "first": one mention per item of the answer. "all": entities, triggers and arguments also get the
            other mentions of their spans.
        retries: How often to repeat a request after a temporary failure.
        fixed: The number of demonstrations that are the same for all inputs of a task and come first, before the ``k``
            selected ones: examples of the pool that show its labels. A selected one that is also fixed is shown once,
            and one with the input's own text is left out. A model that caches the beginnings of prompts reads less.

    Raises:
        TypeError: ``model`` is not a chat model, or ``selector`` not a ``Selector``.
        ValueError: ``k`` or ``fixed`` is negative; ``fuzzy_threshold`` is not of 100; ``answer_format``, ``order``,
            ``hold`` or the model's name is unknown; or ``hold`` is given and the model takes no grammar.
        ImportError: The model needs a package that is not installed; the message names it.
    """

    def __init__(
        self,
        store: DemonstrationStore,
        model: AnyChatModel,
        *,
        k: int | None = None,
        selector: Selector | None = None,
        task: Task | str | None = None,
        labels: Sequence[str] | None = None,
        event: EventQuery | Mapping[str, Any] | None = None,
        answer_format: AnswerFormat | str | None = None,
        order: Order | str | None = None,
        hold: answers.Hold | None = None,
        max_tokens: int | None = None,
        count_tokens: TokenCounter = estimate_tokens,
        instruction: str | None = None,
        descriptions: bool | Mapping[str, str] = False,
        fuzzy_threshold: float | None = answers.FUZZY_THRESHOLD,
        mentions: Literal["first", "all"] = "first",
        retries: int = 2,
        fixed: int = 0,
    ) -> None:
        answers.check_threshold(fuzzy_threshold)
        self.retriever = DemonstrationRetriever(store, selector, k, task, labels, event)
        tuned = self.retriever.tuned
        self.model = _in_mode(as_chat_model(model), tuned.mode)
        self.answer_format = AnswerFormat(answer_format or tuned.answer_format)
        self.order = Order(order or tuned.order)
        self.hold = check_hold(hold, self.model)
        self.max_tokens = max_tokens
        self.count_tokens = count_tokens
        self._chunk_lengths: dict[Task, int] = {}
        self.instruction = instruction
        self.descriptions = self.store.label_descriptions() if descriptions is True else dict(descriptions or {})
        self.fuzzy_threshold = fuzzy_threshold
        self.mentions = mentions
        self.retries = retries
        self.fixed = whole_number("fixed", fixed, least=0)
        self._fixed: dict[Task, list[Demonstration]] = {}

    @property
    def store(self) -> DemonstrationStore:
        """The pool of demonstrations."""
        return self.retriever.store

    @property
    def selector(self) -> Selector:
        """How demonstrations are chosen."""
        return self.retriever.selector

    def __repr__(self) -> str:
        return f"Extractor({self.model.name!r}, pool={self.store.pool!r}, {self.selector!r})"

    def with_model(self, model: AnyChatModel) -> Self:
        """The same extractor with another chat model."""
        other = copy.copy(self)
        other.model = _in_mode(as_chat_model(model), self.retriever.tuned.mode)
        check_hold(self.hold, other.model)
        return other

    def extract(self, query: QueryInput) -> ExtractionResult:
        """Extract from one text.

        Args:
            query: A text; a mapping with ``text`` and perhaps ``task``, ``labels``, ``event``; an example, which stands
                for its query; or a query.

        Raises:
            ValueError: The text is empty, or its task or labels are unknown; the message lists the choices.
            ChatModelError: The model can't be reached or used.
            PromptTooLongError: Instruction and input alone are over ``max_tokens``.
            StoreError: The store has no such task, or can't be read.
        """
        return self.answer(self.prompt(query))

    async def aextract(self, query: QueryInput) -> ExtractionResult:
        """``extract`` without blocking the event loop."""
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

        A query that fails does not stop the others: its result has no spans and an ``error``. A run is aborted only if
        its first three requests all fail because of no server, a timeout, no such model or no permission.

        Args:
            queries: Inputs as for ``extract``; tasks may be mixed. Equal queries share a request.
            progress: Whether to show a progress bar on stderr if the work takes longer than a second.
            concurrency: The number of concurrent requests.
            resume: A JSON Lines file. Every result is written to it at once; a later call with the same file and
                settings repeats only missing, failed, empty and truncated results.

        Raises:
            ValueError: An input has no text, or its task or labels are unknown.
            RowError: ``resume`` is a file with other content.
            ChatModelError: The model can't be used.
        """
        resolved = self.queries(queries)
        resumed = self._resume_file(resume)
        return batch.run(
            resolved, resumed, prompts=self.prompts, answer=self.answer, progress=progress, concurrency=concurrency
        )

    async def aextract_many(
        self,
        queries: Iterable[QueryInput],
        *,
        progress: bool = True,
        concurrency: int = 4,
        resume: Path | str | None = None,
    ) -> list[ExtractionResult]:
        """``extract_many`` without blocking the event loop."""
        resolved = await asyncio.to_thread(self.queries, queries)
        resumed = self._resume_file(resume)
        return await batch.arun(
            resolved, resumed, prompts=self.prompts, answer=self.aanswer, progress=progress, concurrency=concurrency
        )

    def extract_document(
        self,
        query: QueryInput,
        chunking: Chunking | None = None,
        *,
        progress: bool = True,
        concurrency: int = 4,
        resume: Path | str | None = None,
    ) -> DocumentResult:
        """Extract from one text of any length, chunk by chunk, merged with the offsets of the document.

        The text is cut at sentence ends. Each chunk is shown with the sentences before it and has its own
        demonstrations. Relations and arguments are extracted within a chunk and its context. A failed chunk is repeated
        once at the end, then reported: the result's ``error`` names it, and the extraction has the annotations of the
        others.

        Args:
            query: An input as for ``extract``. For EAE only chunks with the trigger are used.
            chunking: How to cut it. Default: ``Chunking()``, about as long as the pool's examples.
            progress: Whether to show a progress bar on stderr if the work takes longer than a second.
            concurrency: The number of concurrent requests.
            resume: A JSON Lines file of finished chunks, as for ``extract_many``.

        Raises:
            ValueError: The text is empty, or its task or labels are unknown; the message lists the choices.
            ChatModelError: The model can't be used.
            PromptTooLongError: The instruction alone is over ``max_tokens``.
            StoreError: The store has no such task, or can't be read.
        """
        options: dict[str, Any] = {"progress": progress, "concurrency": concurrency, "resume": resume}
        return self.extract_documents([query], chunking, **options)[0]

    async def aextract_document(
        self,
        query: QueryInput,
        chunking: Chunking | None = None,
        *,
        progress: bool = True,
        concurrency: int = 4,
        resume: Path | str | None = None,
    ) -> DocumentResult:
        """``extract_document`` without blocking the event loop."""
        options: dict[str, Any] = {"concurrency": concurrency, "resume": resume}
        plans = [await asyncio.to_thread(self.plan, query, chunking)]
        queries = documents.queries_of(plans)
        results = await self.aextract_many(queries, progress=progress, **options)
        if again := documents.failures(results):
            with suppress(ChatModelError):
                retried = await self.aextract_many([queries[i] for i in again], progress=False, **options)
                results = documents.replaced(results, again, retried)
        return documents.merge_all(plans, results)[0]

    def extract_documents(
        self,
        queries: Iterable[QueryInput],
        chunking: Chunking | None = None,
        *,
        progress: bool = True,
        concurrency: int = 4,
        resume: Path | str | None = None,
    ) -> list[DocumentResult]:
        """``extract_document`` for several texts, whose chunks are processed together.

        For more texts than fit in memory use ``extract_corpus``.
        """
        options: dict[str, Any] = {"concurrency": concurrency, "resume": resume}
        plans = [self.plan(query, chunking) for query in queries]
        chunks = documents.queries_of(plans)
        results = self.extract_many(chunks, progress=progress, **options)
        if again := documents.failures(results):
            with suppress(ChatModelError):
                retried = self.extract_many([chunks[i] for i in again], progress=False, **options)
                results = documents.replaced(results, again, retried)
        return documents.merge_all(plans, results)

    def stream(self, query: QueryInput | Prompt) -> Iterator[ExtractionResult]:
        """Extract from one text while the model writes: results grow, and the last one is complete."""
        prompt = self.prompt(query)
        pieces = retry.stream(self.model, prompt, constraint=self.constraint(prompt), retries=self.retries)
        return streaming.stream(pieces, self._growing(prompt))

    def astream(self, query: QueryInput | Prompt) -> ClosableStream[ExtractionResult]:
        """``stream`` without blocking the event loop. To end it early, ``break`` or ``aclose()`` it."""
        return ClosableStream(self._astream(query))

    async def _astream(self, query: QueryInput | Prompt) -> AsyncGenerator[ExtractionResult, None]:
        prompt = await asyncio.to_thread(self.prompt, query)
        pieces = retry.astream(self.model, prompt, constraint=self.constraint(prompt), retries=self.retries)
        async for result in streaming.astream(pieces, self._growing(prompt)):
            yield result

    def estimate(self, queries: Iterable[QueryInput]) -> Estimate:
        """The requests and the prompt tokens of a run, without calling the model.

        Args:
            queries: Inputs as for ``extract_many``.

        Raises:
            ValueError: An input has no text, or its task or labels are unknown.
        """
        different = list(dict.fromkeys(self.queries(queries)))
        written = [prompt.tokens for prompt in self.prompts(different) if isinstance(prompt, Prompt)]
        return Estimate(len(written), sum(written), max(written, default=0), len(different) - len(written))

    # The steps, to be composed in other ways.

    def queries(self, values: Iterable[QueryInput]) -> list[Query]:
        """The queries of inputs.

        Raises:
            TypeError: ``values`` is one input instead of several.
            ValueError: An input has no text, or its task or labels are unknown.
        """
        if isinstance(values, Query | Example | str | Mapping):
            raise TypeError(f"expected a list of inputs, got one {type(values).__name__}")
        return [self.retriever.query(value) for value in values]

    def plan(self, query: QueryInput, chunking: Chunking | None = None) -> Plan:
        """Cut a document into chunks; with ``max_tokens`` they take at most half of the budget after the instruction.

        Demonstrations, the fixed ones too, get the other half.

        Raises:
            ValueError: The text is empty, or its task or labels can't be told.
            PromptTooLongError: The instruction alone is over ``max_tokens``.
        """
        known = self.retriever.query(query)
        chunking = chunking or Chunking()
        limit = chunking.max_tokens if chunking.max_tokens is not None else self._chunk_tokens(known.task)
        if self.max_tokens is not None:
            short = known.model_copy(update={"text": "."})
            room = (self.max_tokens - self._build(short, ()).tokens) // 2
            limit = max(1, min(limit, room))
        return documents.plan(known, replace(chunking, max_tokens=limit), self.count_tokens)

    def _chunk_tokens(self, task: Task) -> int:
        """The length of a chunk for the examples of the pool, which is read once."""
        if task not in self._chunk_lengths:
            try:
                long = self.count_tokens(self.store.long_text(task))
            except StoreError:  # no examples; a store that can't be read is an error when demonstrations are chosen
                return documents.LONGEST_CHUNK
            self._chunk_lengths[task] = min(max(long, documents.SHORTEST_CHUNK), documents.LONGEST_CHUNK)
        return self._chunk_lengths[task]

    def prompt(self, query: QueryInput | Prompt) -> Prompt:
        """Choose the demonstrations and write the prompt; a prompt is returned unchanged."""
        if isinstance(query, Prompt):
            return query
        known = self.retriever.query(query)
        return self.write(known, self.retriever.retrieve(known))

    def prompts(self, queries: Sequence[Query]) -> list[Prompt | Exception]:
        """The prompts of many queries, searched together, or the error of a prompt that can't be written."""
        chosen = self.retriever.retrieve_many(queries)
        return [
            demonstrations if isinstance(demonstrations, Exception) else self._try_to_write(query, demonstrations)
            for query, demonstrations in zip(queries, chosen, strict=True)
        ]

    def write(self, query: Query, demonstrations: Sequence[Demonstration]) -> Prompt:
        """Write the prompt for a query with given demonstrations, best first, behind the fixed ones."""
        fixed = _without_texts(self.fixed_demonstrations(query.task), [query.text])
        return self._build(query, _without_texts(demonstrations, [each.example.text for each in fixed]), fixed)

    def _build(
        self, query: Query, demonstrations: Sequence[Demonstration], fixed: Sequence[Demonstration] = ()
    ) -> Prompt:
        return build_prompt(
            query,
            demonstrations,
            fixed=fixed,
            answer_format=self.answer_format,
            max_tokens=self.max_tokens,
            count_tokens=self.count_tokens,
            instruction=self.instruction,
            order=self.order,
            descriptions=self.descriptions,
        )

    def fixed_demonstrations(self, task: Task) -> list[Demonstration]:
        """The demonstrations that come first for every input of a task; chosen once, at the first prompt.

        Raises:
            StoreError: The pool can't be read.
        """
        if not self.fixed:
            return []
        if task not in self._fixed:
            examples = covering(self.store.examples(task), self.fixed)
            self._fixed[task] = [Demonstration(example=example, score=0.0) for example in examples]
        return self._fixed[task]

    def _try_to_write(self, query: Query, demonstrations: Sequence[Demonstration]) -> Prompt | RuieError | ValueError:
        try:
            return self.write(query, demonstrations)
        except (RuieError, ValueError) as error:
            return error

    def answer(self, prompt: Prompt, stopped: threading.Event | None = None) -> ExtractionResult:
        """Complete a prompt and read the answer; ``stopped``, set by another thread, ends the wait for a retry."""
        start = time.perf_counter()
        response = retry.complete(
            self.model, prompt, constraint=self.constraint(prompt), retries=self.retries, stopped=stopped
        )
        return self.read(prompt, response, _seconds(response, start))

    async def aanswer(self, prompt: Prompt) -> ExtractionResult:
        """``answer`` without blocking the event loop."""
        start = time.perf_counter()
        response = await retry.acomplete(self.model, prompt, constraint=self.constraint(prompt), retries=self.retries)
        return self.read(prompt, response, _seconds(response, start))

    def read(
        self, prompt: Prompt, response: Response, seconds: float = 0.0, *, partial: bool = False
    ) -> ExtractionResult:
        """Read the response to a prompt; from a truncated or unfinished (``partial``) one, only the finished items."""
        extraction = answers.parse(
            response.text,
            prompt.query,
            demonstrations=prompt.demonstrations,
            partial=partial or response.truncated,
            fuzzy_threshold=self.fuzzy_threshold,
            mentions=self.mentions,
        )
        if response.truncated:
            warn_truncated(response.text)
        if not partial and not getattr(self.model, "tells_cut_prompts", False):
            warn_if_cut(self.model.name, prompt, response.input_tokens)
        usage = usage_of(
            prompt,
            input_tokens=response.input_tokens,
            output_tokens=response.output_tokens,
            seconds=seconds,
            truncated=response.truncated,
        )
        if response.truncated and not partial and not (extraction.annotations or extraction.rejected):
            rejected = Rejected(reason=Rejection.UNREADABLE, answer=response.text)
            extraction = extraction.model_copy(update={"rejected": (rejected,)})
        sure = from_tokens(extraction, response.tokens)
        return identified(ExtractionResult(extraction, prompt, usage, confidence=sure), prompt.query)

    def agree(self, result: ExtractionResult, samples: int | Sequence[ExtractionResult] = 5) -> ExtractionResult:
        """The result with the share of sampled answers that have each annotation, as its confidence.

        For models without token probabilities. It takes ``samples`` more requests, whose tokens and seconds are added
        to the result's usage.

        ```python
        sampling = Extractor(store, load_chat_model("ollama:llama3.1:8b", temperature=0.7))
        sampling.agree(extractor.extract("Fly me to Rome")).confidence
        ```

        Args:
            result: A result of this extractor or another one.
            samples: How many answers to the result's prompt to sample, or the results of sampled answers, of which
                failed ones are left out.

        Raises:
            ValueError: There is no sample. Or answers are to be sampled and the result has no prompt, or the model's
                temperature is 0, so that all answers are equal.
            ChatModelError: The model can't be reached or used.
        """
        if not isinstance(samples, Iterable):
            samples = self._samples(result, whole_number("samples", samples, least=0))
        answered = [one for one in samples if one.error is None]
        confidence = agreement(result.extraction, [one.extraction for one in answered])
        of_prompt = {name: getattr(result.usage, name) for name in ("demonstrations", "dropped", "truncated")}
        usage = replace(Usage.total([one.usage for one in (result, *answered)]), **of_prompt)
        return replace(result, confidence=confidence, usage=usage)

    def _samples(self, result: ExtractionResult, count: int) -> list[ExtractionResult]:
        if result.prompt is None:
            raise ValueError("the result has no prompt to sample answers for")
        if self.model.settings.get("temperature") in (0, 0.0):
            raise ValueError(
                f"the temperature of {self.model.name!r} is 0, so that every answer is the same: give it one, such as "
                "temperature=0.7"
            )
        return [self.answer(result.prompt) for _ in range(count)]

    def constraint(self, prompt: Prompt) -> Constraint | None:
        """The constraint on an answer, as far as the model supports one; other models have only the instruction."""
        if self.hold is not None:
            return Constraint(grammar=answers.grammar(prompt.query, self.answer_format, self.hold))
        if self.answer_format is not AnswerFormat.JSON or "json_schema" not in self.model.constraints:
            return None
        return Constraint(json_schema=answers.json_schema(prompt.query))

    def _growing(self, prompt: Prompt) -> GrowingAnswer[ExtractionResult]:
        start = time.perf_counter()

        def read(response: Response, *, partial: bool) -> ExtractionResult:
            return self.read(prompt, response, time.perf_counter() - start, partial=partial)

        return GrowingAnswer(read, lambda result: (result.extraction.spans, result.extraction.rejected))

    def _resume_file(self, path: Path | str | None) -> ResumeFile:
        return ResumeFile(path, settings=self.settings, get_examples=self.store.get, write_prompt=self.write)

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that determines a result except the query and the pool's rows; resuming needs equal settings."""
        return {
            "model": self.model.name,
            "model_settings": dict(self.model.settings),
            "pool": self.store.pool,
            "encoder": self.store.encoder.fingerprint,
            "selector": repr(self.selector),
            "answer_format": self.answer_format.value,
            "order": self.order.value,
            "hold": self.hold,
            "max_tokens": self.max_tokens,
            "instruction": self.instruction,
            **({"descriptions": self.descriptions} if self.descriptions else {}),
            **({"fixed": self.fixed} if self.fixed else {}),
            "fuzzy_threshold": self.fuzzy_threshold,
            "mentions": self.mentions,
        }


def _in_mode(model: ChatModel, mode: str | None) -> ChatModel:
    """The model in the tuned mode, if it can read both one string and messages."""
    return model.with_mode(mode) if mode and getattr(model, "is_auto", False) else model  # type: ignore[attr-defined]


def _without_texts(demonstrations: Sequence[Demonstration], texts: Sequence[str]) -> Sequence[Demonstration]:
    """The demonstrations of other texts."""
    hashes = {text_hash(text) for text in texts}
    return [each for each in demonstrations if text_hash(each.example.text) not in hashes] if hashes else demonstrations


def check_hold(hold: answers.Hold | None, model: ChatModel) -> answers.Hold | None:
    """What answers are held to.

    Raises:
        ValueError: There is no such thing to hold them to, or the model takes no grammar.
    """
    if hold not in (None, "labels", "spans"):
        raise ValueError(f"hold must be 'labels', 'spans' or None, got {hold!r}")
    if hold is not None and "grammar" not in model.constraints:
        raise ValueError(
            f"the chat model {model.name!r} takes no grammar, so its answers can't be held to {hold}: leave hold out, "
            "or take gguf:PATH, or openai:MODEL with the base_url of a llama.cpp or vLLM server"
        )
    return hold


def _seconds(response: Response, start: float) -> float:
    """The duration of a request; for a cached answer that of the original request."""
    return time.perf_counter() - start if response.seconds is None else response.seconds
