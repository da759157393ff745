"""The whole extraction as one LangChain Runnable."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from typing import Any, Literal

from langchain_core.callbacks import (
    AsyncCallbackManagerForChainRun,
    CallbackManagerForChainRun,
    Callbacks,
)
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import get_executor_for_config, patch_config
from langchain_core.runnables.utils import gather_with_concurrency
from langchain_core.tools import BaseTool, StructuredTool
from pydantic import BaseModel, Field, create_model
from typing_extensions import override

from ruie_components import answers
from ruie_components.chat import AnyChatModel
from ruie_components.chat.closing import ClosableStream
from ruie_components.errors import RuieError
from ruie_components.extraction import ExtractionResult, Extractor
from ruie_components.langchain.chat_models import to_runnable
from ruie_components.prompts import AnswerFormat, Order, Prompt, TokenCounter, estimate_tokens
from ruie_components.retrieval import QueryInput
from ruie_components.selection import Selector
from ruie_components.store import DemonstrationStore
from ruie_components.types import EventQuery, Query, Task


def create_extraction_chain(
    model: AnyChatModel,
    store: DemonstrationStore,
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
    fuzzy_threshold: float | None = answers.FUZZY_THRESHOLD,
    mentions: Literal["first", "all"] = "first",
    retries: int = 2,
) -> ExtractionChain:
    """Create a Runnable from an input to an ``ExtractionResult``.

    Args:
        model: A LangChain chat model, or another model, as for ``Extractor``.
        store: The pool of demonstrations.
        k: The number of demonstrations. Default: the selector's.
        selector: How demonstrations are chosen. Default, also of ``k``, ``answer_format`` and ``order``: the settings
            that ``ruie tune`` chose for this pool, else ``Selector()``.
        task: The task of inputs without one. Default: the pool's only task.
        labels: The labels of inputs without any. Default: all labels of the task in the pool.
        event: For EAE, the event of inputs without one.
        answer_format: How answers are written: "linear" or "json".
        order: Where the most similar demonstration is shown: "similar-last" or "similar-first".
        hold: The restriction of answers by a grammar, for models that support one: "labels" or "spans".
        max_tokens: The budget of the whole prompt.
        count_tokens: Counts the tokens of a string, for the budget.
        instruction: Your own instruction instead of the task's.
        fuzzy_threshold: The minimum similarity, of 100, of an answer's span and the text.
        mentions: Whether an item of the answer gets the "first" mention of its span in the text, or "all" of them.
        retries: How often to repeat a request after a temporary failure.

    ```python
    chain = create_extraction_chain(load_chat_model("ollama:llama3.1:8b"), store, task="NER", k=8)
    chain.invoke("Ada Lovelace met Charles Babbage.").extraction.entities
    chain.batch([{"text": "Ada slept.", "labels": ["person"]}, query])
    for growing in chain.stream("Ada Lovelace met Charles Babbage."):
        print(growing.extraction.entities)
    ```
    """
    return ExtractionChain(
        Extractor(
            store,
            model,
            k=k,
            selector=selector,
            task=task,
            labels=labels,
            event=event,
            answer_format=answer_format,
            order=order,
            hold=hold,
            max_tokens=max_tokens,
            count_tokens=count_tokens,
            instruction=instruction,
            fuzzy_threshold=fuzzy_threshold,
            mentions=mentions,
            retries=retries,
        )
    )


class ExtractionInput(BaseModel):
    """The arguments of the tool that ``ExtractionChain.as_tool`` makes."""

    text: str = Field(description="The text to extract from.")
    task: Task | None = Field(
        default=None, description="NER: entities, RE: relations, ED: events, EAE: arguments of a given event."
    )
    labels: list[str] | None = Field(default=None, description="The labels to extract. Default: all known ones.")
    event: EventQuery | None = Field(default=None, description="For EAE: the event whose arguments to extract.")


_TOOL = "Extract entities, relations, events or event arguments as spans of a text. Offsets count characters from 0."


class ExtractionChain(Runnable[QueryInput, ExtractionResult]):
    """An ``Extractor`` as a Runnable: invoke, batch, stream and their async twins.

    The input is a ``Query``, a mapping with ``text`` (and perhaps ``task``, ``labels``, ``event``), or a text. The
    chat model's run is a child of the chain's, so that callbacks, tags and tracing reach it. ``stream`` yields results
    that grow by finished items: at first by one, in a long answer by a tenth; the last one is complete and has the
    usage.
    """

    def __init__(self, extractor: Extractor) -> None:
        self.extractor = extractor
        self._model = to_runnable(extractor.model)

    def __repr__(self) -> str:
        return f"ExtractionChain({self.extractor!r})"

    @override
    def invoke(self, input: QueryInput, config: RunnableConfig | None = None, **kwargs: Any) -> ExtractionResult:
        """Extract from one input. ``kwargs`` are passed to the chat model."""
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
    def astream(
        self, input: QueryInput, config: RunnableConfig | None = None, **kwargs: Any
    ) -> ClosableStream[ExtractionResult]:
        """``stream`` without blocking the loop. To end it early, ``break`` or ``aclose()`` it."""

        async def inputs() -> AsyncIterator[QueryInput]:
            yield input

        return self.atransform(inputs(), config, **kwargs)

    @override
    def transform(
        self, input: Iterator[QueryInput], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[ExtractionResult]:
        """``stream`` with an input that arrives in pieces."""
        yield from self._transform_stream_with_config(input, self._transform, config, **kwargs)

    @override
    def atransform(
        self, input: AsyncIterator[QueryInput], config: RunnableConfig | None = None, **kwargs: Any
    ) -> ClosableStream[ExtractionResult]:
        """``transform`` without blocking the loop."""

        async def results() -> AsyncGenerator[ExtractionResult, None]:
            async for result in self._atransform_stream_with_config(input, self._atransform, config, **kwargs):
                yield result

        return ClosableStream(results())

    @override
    def as_tool(
        self,
        args_schema: type[BaseModel] | None = None,
        *,
        name: str | None = None,
        description: str | None = None,
        arg_types: dict[str, type] | None = None,
    ) -> BaseTool:
        """The chain as a tool for an agent's model.

        The model reads the spans and the rejected parts of the answer as JSON; the tool message's ``artifact`` is the
        ``ExtractionResult``.

        Args:
            args_schema: The arguments. Default: ``ExtractionInput``, a text and perhaps its task, labels and event.
            name: Default: "extract".
            description: What the model is told about it.
            arg_types: The arguments by their names, instead of ``args_schema``; among them is ``text``.
        """
        if arg_types is not None:
            fields: dict[str, Any] = {argument: (kind, ...) for argument, kind in arg_types.items()}
            args_schema = create_model("Arguments", **fields)

        def extract(callbacks: Callbacks = None, **arguments: Any) -> tuple[str, ExtractionResult]:
            result = self.invoke(_given(arguments), {"callbacks": callbacks})
            return _for_model(result), result

        async def aextract(callbacks: Callbacks = None, **arguments: Any) -> tuple[str, ExtractionResult]:
            result = await self.ainvoke(_given(arguments), {"callbacks": callbacks})
            return _for_model(result), result

        return StructuredTool.from_function(
            func=extract,
            coroutine=aextract,
            name=name or "extract",
            description=description or _TOOL,
            args_schema=ExtractionInput if args_schema is None else args_schema,
            response_format="content_and_artifact",
        )

    # Inside LangChain's runs.

    def _invoke(
        self, value: QueryInput, run_manager: CallbackManagerForChainRun, config: RunnableConfig, **kwargs: Any
    ) -> ExtractionResult:
        return self._within(run_manager, config, kwargs).extract(value)

    async def _ainvoke(
        self, value: QueryInput, run_manager: AsyncCallbackManagerForChainRun, config: RunnableConfig, **kwargs: Any
    ) -> ExtractionResult:
        return await self._within(run_manager, config, kwargs).aextract(value)

    def _batch(
        self,
        values: list[QueryInput],
        run_manager: list[CallbackManagerForChainRun],
        config: list[RunnableConfig],
        **kwargs: Any,
    ) -> list[Exception | ExtractionResult]:
        def answer(
            prompt: Prompt | Exception, run: CallbackManagerForChainRun, one: RunnableConfig
        ) -> Exception | ExtractionResult:
            if isinstance(prompt, Exception):
                return prompt
            try:
                return self._within(run, one, kwargs).answer(prompt)
            except Exception as error:  # LangChain raises or returns it, as the caller of batch chose
                return error

        with get_executor_for_config(config[0]) as executor:
            return list(executor.map(answer, self._prompts(values), run_manager, config))

    async def _abatch(
        self,
        values: list[QueryInput],
        run_manager: list[AsyncCallbackManagerForChainRun],
        config: list[RunnableConfig],
        **kwargs: Any,
    ) -> list[Exception | ExtractionResult]:
        async def answer(
            prompt: Prompt | Exception, run: AsyncCallbackManagerForChainRun, one: RunnableConfig
        ) -> Exception | ExtractionResult:
            if isinstance(prompt, Exception):
                return prompt
            try:
                return await self._within(run, one, kwargs).aanswer(prompt)
            except Exception as error:  # LangChain raises or returns it, as the caller of abatch chose
                return error

        prompts = await asyncio.to_thread(self._prompts, values)
        runs = map(answer, prompts, run_manager, config)
        return await gather_with_concurrency(config[0].get("max_concurrency"), *runs)

    def _transform(
        self,
        pieces: Iterator[QueryInput],
        run_manager: CallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> Iterator[ExtractionResult]:
        yield from self._within(run_manager, config, kwargs).stream(_whole(list(pieces)))

    async def _atransform(
        self,
        pieces: AsyncIterator[QueryInput],
        run_manager: AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        **kwargs: Any,
    ) -> AsyncIterator[ExtractionResult]:
        value = _whole([piece async for piece in pieces])
        async for result in self._within(run_manager, config, kwargs).astream(value):
            yield result

    def _within(
        self,
        run: CallbackManagerForChainRun | AsyncCallbackManagerForChainRun,
        config: RunnableConfig,
        kwargs: Mapping[str, Any],
    ) -> Extractor:
        """The extractor with the chat model bound to a run of this chain: the model's run becomes its child."""
        model = self._model.bind(**kwargs) if kwargs else self._model
        if isinstance(model, Runnable):
            model = model.with_config(patch_config(config, callbacks=run.get_child()))
        return self.extractor.with_model(model)

    def _prompts(self, values: Sequence[QueryInput]) -> list[Prompt | Exception]:
        """The prompts of many inputs, or the error of a prompt that can't be written."""
        queries = [self._try_to_read(value) for value in values]
        written = iter(self.extractor.prompts([query for query in queries if isinstance(query, Query)]))
        return [next(written) if isinstance(query, Query) else query for query in queries]

    def _try_to_read(self, value: QueryInput) -> Query | Exception:
        try:
            return self.extractor.retriever.query(value)
        except (RuieError, ValueError, TypeError) as error:
            return error


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a tool call without empty ones, which models write for those that they leave out."""
    return {name: value for name, value in arguments.items() if value not in (None, [], {})}


def _for_model(result: ExtractionResult) -> str:
    """What a model that calls the tool reads of a result."""
    spans = [{name: row[name] for name in _SPAN} for row in result.to_rows()]
    rejected = [{"reason": str(part.reason), "answer": part.answer} for part in result.extraction.rejected]
    more = {"rejected": rejected, "truncated": result.usage.truncated}
    return json.dumps({"spans": spans, **{name: value for name, value in more.items() if value}}, ensure_ascii=False)


_SPAN = ("item", "type", "role", "span", "start", "end")


def _whole(pieces: list[Any]) -> Any:
    """Join the streamed pieces of one input."""
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = whole + piece
    return whole
