"""The whole extraction as one LangChain Runnable."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.callbacks import (
    AsyncCallbackManagerForChainRun,
    CallbackManagerForChainRun,
)
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import get_executor_for_config, patch_config
from langchain_core.runnables.utils import gather_with_concurrency
from typing_extensions import override

from ruie_components.errors import RuieError
from ruie_components.extraction import ExtractionResult, Extractor
from ruie_components.prompts import Prompt
from ruie_components.retrieval import DemonstrationRetriever, QueryInput
from ruie_components.store import DemonstrationStore
from ruie_components.types import EventQuery, Query, Task


def create_extraction_chain(
    model: Any,
    store: DemonstrationStore,
    *,
    task: Task | str | None = None,
    labels: Sequence[str] | None = None,
    event: EventQuery | Mapping[str, Any] | None = None,
    **options: Any,
) -> ExtractionChain:
    """A Runnable from an input to an ``ExtractionResult``.

    Args:
        model: A LangChain chat model.
        store: Where the demonstrations are.
        task: The task of inputs that name none; the pool's only task if not given.
        labels: What inputs that name no labels ask for; all labels of the task in the pool if not given.
        event: For EAE, the event of inputs that name none.
        options: Those of ``Extractor``: ``k``, ``selector``, ``answer_format``, ``max_tokens``, ``count_tokens``,
            ``instruction``, ``fuzzy_threshold``, ``retries``.

    .. code-block:: python

        chain = create_extraction_chain(load_chat_model("ollama:llama3.1:8b"), store, task="NER", k=8)
        chain.invoke("Ada Lovelace met Charles Babbage.").extraction.entities
        chain.batch([{"text": "Ada slept.", "labels": ["person"]}, query])
        for growing in chain.stream("Ada Lovelace met Charles Babbage."):
            print(growing.extraction.entities)
    """
    defaults = DemonstrationRetriever(store, task=task, labels=labels, event=event)
    return ExtractionChain(Extractor(store, model, **options), defaults)


class ExtractionChain(Runnable[QueryInput, ExtractionResult]):
    """An ``Extractor`` as a Runnable: invoke, batch, stream and their async twins.

    The input is a ``Query``, a mapping with ``text`` (and perhaps ``task``, ``labels``, ``event``), or a text. The
    chat model's run is a child of the chain's, so that callbacks, tags and tracing reach it. ``stream`` yields
    results that grow by finished items: at first by one, in a long answer by a tenth of it; the last one is whole
    and has the usage.
    """

    def __init__(self, extractor: Extractor, defaults: DemonstrationRetriever) -> None:
        self.extractor = extractor
        self.defaults = defaults

    @override
    def invoke(self, input: QueryInput, config: RunnableConfig | None = None, **kwargs: Any) -> ExtractionResult:
        """Extract from one input. ``kwargs`` go to the chat model."""
        return self._call_with_config(self._invoke, input, config, **kwargs)

    @override
    async def ainvoke(self, input: QueryInput, config: RunnableConfig | None = None, **kwargs: Any) -> ExtractionResult:
        """``invoke`` without blocking the loop."""
        return await self._acall_with_config(self._ainvoke, input, config, **kwargs)

    @override
    def batch(
        self,
        inputs: list[QueryInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[ExtractionResult]:
        """Extract from many inputs: one search for all, then up to ``max_concurrency`` requests at a time."""
        return self._batch_with_config(self._batch, inputs, config, return_exceptions=return_exceptions, **kwargs)

    @override
    async def abatch(
        self,
        inputs: list[QueryInput],
        config: RunnableConfig | list[RunnableConfig] | None = None,
        *,
        return_exceptions: bool = False,
        **kwargs: Any,
    ) -> list[ExtractionResult]:
        """``batch`` without blocking the loop."""
        return await self._abatch_with_config(
            self._abatch, inputs, config, return_exceptions=return_exceptions, **kwargs
        )

    @override
    def stream(
        self, input: QueryInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[ExtractionResult]:
        """Extract from one input; yields results that grow."""
        yield from self.transform(iter([input]), config, **kwargs)

    @override
    async def astream(
        self, input: QueryInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[ExtractionResult]:
        """``stream`` without blocking the loop."""

        async def inputs() -> AsyncIterator[QueryInput]:
            yield input

        async for result in self.atransform(inputs(), config, **kwargs):
            yield result

    @override
    def transform(
        self, input: Iterator[QueryInput], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[ExtractionResult]:
        """``stream`` with an input that comes in pieces."""
        yield from self._transform_stream_with_config(input, self._transform, config, **kwargs)

    @override
    async def atransform(
        self, input: AsyncIterator[QueryInput], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[ExtractionResult]:
        """``transform`` without blocking the loop."""
        async for result in self._atransform_stream_with_config(input, self._atransform, config, **kwargs):
            yield result

    # What runs inside LangChain's runs; the chat model's run is a child of each.

    def _invoke(
        self, value: QueryInput, run_manager: CallbackManagerForChainRun, config: RunnableConfig, **kwargs: Any
    ) -> ExtractionResult:
        return self.extractor.answer(self._prompt(value), config=_child(config, run_manager), **kwargs)

    async def _ainvoke(
        self, value: QueryInput, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig, **kwargs: Any
    ) -> ExtractionResult:
        prompt = await asyncio.to_thread(self._prompt, value)
        return await self.extractor.aanswer(prompt, config=_child(config, run_manager), **kwargs)

    def _batch(
        self,
        values: list[QueryInput],
        run_manager: list[CallbackManagerForChainRun],
        config: list[RunnableConfig],
        **kwargs: Any,
    ) -> list[Exception | ExtractionResult]:
        def answer(prompt: Prompt | Exception, one: RunnableConfig) -> Exception | ExtractionResult:
            if isinstance(prompt, Exception):
                return prompt
            try:
                return self.extractor.answer(prompt, config=one, **kwargs)
            except Exception as error:  # LangChain raises or returns it, as the caller of batch asked
                return error

        with get_executor_for_config(config[0]) as executor:
            return list(executor.map(answer, self._prompts(values), map(_child, config, run_manager)))

    async def _abatch(
        self,
        values: list[QueryInput],
        run_manager: list[AsyncCallbackManagerForChainRun],
        config: list[RunnableConfig],
        **kwargs: Any,
    ) -> list[Exception | ExtractionResult]:
        async def answer(prompt: Prompt | Exception, one: RunnableConfig) -> Exception | ExtractionResult:
            if isinstance(prompt, Exception):
                return prompt
            try:
                return await self.extractor.aanswer(prompt, config=one, **kwargs)
            except Exception as error:  # LangChain raises or returns it, as the caller of abatch asked
                return error

        prompts = await asyncio.to_thread(self._prompts, values)
        runs = map(answer, prompts, map(_child, config, run_manager))
        return await gather_with_concurrency(config[0].get("max_concurrency"), *runs)

    def _transform(
        self,
        pieces: Iterator[QueryInput],
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Iterator[ExtractionResult]:
        value = _whole(list(pieces))
        yield from self.extractor.stream(self._prompt(value), config=_child(config, run_manager), **kwargs)

    async def _atransform(
        self,
        pieces: AsyncIterator[QueryInput],
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[ExtractionResult]:
        value = _whole([piece async for piece in pieces])
        prompt = await asyncio.to_thread(self._prompt, value)
        async for result in self.extractor.astream(prompt, config=_child(config, run_manager), **kwargs):
            yield result

    def _prompt(self, value: QueryInput) -> Prompt:
        return self.extractor.prompt(self.defaults.query(value))

    def _prompts(self, values: Sequence[QueryInput]) -> list[Prompt | Exception]:
        """The prompts of many inputs; where one can't be written, its error instead."""
        read = [self._try_to_read(value) for value in values]
        written = iter(self.extractor.prompts([query for query in read if isinstance(query, Query)]))
        return [next(written) if isinstance(query, Query) else query for query in read]

    def _try_to_read(self, value: QueryInput) -> Query | Exception:
        try:
            return self.defaults.query(value)
        except (RuieError, ValueError, TypeError) as error:
            return error


def _child(
    config: RunnableConfig, run_manager: CallbackManagerForChainRun | AsyncCallbackManagerForChainRun
) -> RunnableConfig:
    return patch_config(config, callbacks=run_manager.get_child())


def _whole(pieces: list[Any]) -> Any:
    """One input out of the pieces in which a step before this one streamed it."""
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = whole + piece
    return whole
