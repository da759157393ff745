"""The output parser: from a model's answer to an Extraction, also while it is streamed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Literal, Self, TypeGuard

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import BaseCumulativeTransformOutputParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables import RunnableConfig
from pydantic import ConfigDict
from typing_extensions import override

from ruie_components import answers, prompts
from ruie_components.chat import Response
from ruie_components.chat.reading import StreamedAnswer, is_truncated, read_response
from ruie_components.errors import AnswerError
from ruie_components.extraction.results import warn_truncated
from ruie_components.extraction.streaming import GrowingAnswer
from ruie_components.prompts import AnswerFormat
from ruie_components.types import Demonstration, Extraction, Query, Task


class UIEOutputParser(BaseCumulativeTransformOutputParser[Extraction]):
    """Parses answers in the linear or JSON format, and grounds their spans in the input.

    Grounding needs the query. Pass it in one of two ways:

    ```python
    chain = prompt | model | UIEOutputParser(query=query)  # one query

    chain = RunnableParallel(query=to_query, answer=prompt | model) | UIEOutputParser()  # a different one each time
    ```

    Key init args:
        query: The query whose answers are parsed.
        task: For the format instructions of a parser without a query.
        answer_format: The format that the format instructions describe. Both formats are parsed in any case.
        strict: Whether an answer that can't be read in full raises an ``OutputParserException``, which retry parsers
            send back to the model. Otherwise unreadable parts are in ``Extraction.rejected``.
        demonstrations: The demonstrations of the prompt, so that spans leaked from them are rejected.
        mentions: Whether an item gets the "first" mention of its span in the text, or "all" of them.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    query: Query | None = None
    task: Task | None = None
    answer_format: AnswerFormat = AnswerFormat.LINEAR
    strict: bool = False
    demonstrations: tuple[Demonstration, ...] = ()
    mentions: Literal["first", "all"] = "first"

    def for_query(self, query: Query, demonstrations: tuple[Demonstration, ...] = ()) -> Self:
        """This parser for another query."""
        return self.model_copy(update={"query": query, "demonstrations": demonstrations})

    @override
    def parse(self, text: str) -> Extraction:
        """Read an answer.

        Raises:
            OutputParserException: In strict mode: the answer can't be read in full.
            ValueError: The parser has no query.
        """
        query = self._known_query()
        try:
            return answers.parse(
                text, query, strict=self.strict, demonstrations=self.demonstrations, mentions=self.mentions
            )
        except AnswerError as error:
            hint = f"{error} {self.get_format_instructions()}"
            raise OutputParserException(str(error), observation=hint, llm_output=text, send_to_llm=True) from error

    @override
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Extraction | None:  # type: ignore[override]  # LangChain's own cumulative parsers return None for "nothing yet"
        """Read a model's result; with ``partial`` the items finished so far, ``None`` before the first."""
        if not partial:
            return self._parse_whole(_response(result[0]))
        extraction = self._parse_partial(result[0].text)
        return extraction if extraction.annotation_labels or extraction.rejected else None

    @override
    async def aparse_result(self, result: list[Generation], *, partial: bool = False) -> Extraction | None:  # type: ignore[override]  # as in parse_result
        """``parse_result`` without blocking the loop."""
        return await asyncio.to_thread(self.parse_result, result, partial=partial)

    @override
    def invoke(
        self, input: str | BaseMessage | Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Extraction:
        """Read a message, a text, an answer as an object, or a mapping with ``query`` and ``answer``."""
        if _has_query(input):
            return self._bound(input).invoke(input["answer"], config, **kwargs)
        return super().invoke(_message(input), config, **kwargs)

    @override
    async def ainvoke(
        self, input: str | BaseMessage | Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Extraction:
        """``invoke`` without blocking the loop."""
        if _has_query(input):
            return await self._bound(input).ainvoke(input["answer"], config, **kwargs)
        return await super().ainvoke(_message(input), config, **kwargs)

    @override
    def _transform(self, input: Iterator[str | BaseMessage | Mapping[str, Any]]) -> Iterator[Extraction]:
        growing = _Pieces(self)
        for piece in input:
            yield from growing.add(piece)
        yield growing.end()

    @override
    async def _atransform(
        self, input: AsyncIterator[str | BaseMessage | Mapping[str, Any]]
    ) -> AsyncIterator[Extraction]:
        growing = _Pieces(self)
        async for piece in input:
            for extraction in growing.add(piece):
                yield extraction
        yield growing.end()

    @override
    def get_format_instructions(self) -> str:
        """Instructions for the model about the format of its answer."""
        task = self.query.task if self.query else self.task
        if task is None:
            raise ValueError("the format depends on the task: give UIEOutputParser a query or a task")
        return prompts.default_instruction(task, self.answer_format)

    @property
    def OutputType(self) -> type[Extraction]:  # noqa: N802  # LangChain's name
        """The type of the output."""
        return Extraction

    @property
    def _type(self) -> str:
        return "ruie_uie"

    def _parse_whole(self, response: Response) -> Extraction:
        if not response.truncated:
            return self.parse(response.text)
        if self.strict:
            message = "the model's answer was truncated at its token limit: raise the limit"
            raise OutputParserException(message, llm_output=response.text)
        warn_truncated(response.text)
        return self._parse_partial(response.text)

    def _parse_partial(self, text: str) -> Extraction:
        return answers.parse(
            text, self._known_query(), partial=True, demonstrations=self.demonstrations, mentions=self.mentions
        )

    def _known_query(self) -> Query:
        if self.query is None:
            raise ValueError(
                "this parser has no query, so it can't locate spans: UIEOutputParser(query=...), "
                'or pass it {"query": ..., "answer": ...}'
            )
        return self.query

    def _bound(self, value: Mapping[str, Any]) -> Self:
        if "answer" not in value:
            raise ValueError(f'a mapping for this parser has "query" and "answer"; this one has {sorted(value)}')
        query = value.get("query", self.query)
        if query is None or isinstance(query, Query):
            return self.for_query(query, self.demonstrations) if query else self
        return self.for_query(Query.model_validate(query), self.demonstrations)


class _Pieces:
    """Collects the pieces of an answer, and perhaps the query, and returns new extractions."""

    def __init__(self, parser: UIEOutputParser) -> None:
        self._parser = parser
        self._stream = StreamedAnswer()
        self._answer = GrowingAnswer(self._read, lambda extraction: (extraction.spans, extraction.rejected))

    def add(self, piece: Any) -> Iterator[Extraction]:
        if _has_query(piece):
            if piece.get("query") is not None:
                self._parser = self._parser._bound({"answer": "", **piece})
            piece = piece.get("answer", "")
        for response in self._stream.add(piece):
            if self._parser.query is None:  # the query may arrive after the first pieces of the answer
                self._answer.response += response
            elif (extraction := self._answer.add(response)) is not None:
                yield extraction

    def end(self) -> Extraction:
        for response in self._stream.end():
            self._answer.response += response
        return self._answer.end()

    def _read(self, response: Response, *, partial: bool) -> Extraction:
        return self._parser._parse_partial(response.text) if partial else self._parser._parse_whole(response)


def _has_query(value: Any) -> TypeGuard[Mapping[str, Any]]:
    """Whether it is a mapping for this parser, with a query or an answer, and not the answer itself."""
    return isinstance(value, Mapping) and not value.keys().isdisjoint(("query", "answer"))


def _message(answer: Any) -> str | BaseMessage:
    """An answer as LangChain's parsers take it; an object, such as another parser returns, as JSON."""
    return answer if isinstance(answer, str | BaseMessage) else read_response(answer).text


def _response(generation: Generation) -> Response:
    if isinstance(generation, ChatGeneration):
        return read_response(generation.message)
    return Response(generation.text, truncated=is_truncated(generation.generation_info))
