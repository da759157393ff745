"""The output parser: a model's answer as an Extraction, also while it is being written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Self

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import BaseCumulativeTransformOutputParser
from langchain_core.outputs import Generation
from langchain_core.runnables import RunnableConfig
from pydantic import ConfigDict
from typing_extensions import override

from ruie_components import answers, prompts
from ruie_components.errors import AnswerError
from ruie_components.extraction.calling import Answer, read_answer
from ruie_components.extraction.results import warn_of_cut
from ruie_components.extraction.streaming import Rereading
from ruie_components.prompts import AnswerFormat
from ruie_components.types import Demonstration, Extraction, Query, Task


class UIEOutputParser(BaseCumulativeTransformOutputParser[Extraction]):
    """Reads answers in the linear or the JSON form, and finds their spans in the input.

    What stands where in the input can only be said with the query at hand. Give it in one of two ways:

    .. code-block:: python

        chain = prompt | model | UIEOutputParser(query=query)  # one query

        chain = RunnableParallel(query=to_query, answer=prompt | model) | UIEOutputParser()  # another every time

    Key init args:
        query: The query whose answers are read.
        task: For the format instructions of a parser without a query.
        answer_format: The form that the format instructions describe. Both forms are read whatever it says.
        strict: Whether an answer that can't be read in full raises an ``OutputParserException``, which retry parsers
            send back to the model. Otherwise what can't be read is reported in ``Extraction.rejected``.
        demonstrations: What the prompt showed, to tell spans that leaked from there.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    query: Query | None = None
    task: Task | None = None
    answer_format: AnswerFormat = AnswerFormat.LINEAR
    strict: bool = False
    demonstrations: tuple[Demonstration, ...] = ()

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
            return answers.parse(text, query, strict=self.strict, demonstrations=self.demonstrations)
        except AnswerError as error:
            hint = f"{error} {self.get_format_instructions()}"
            raise OutputParserException(str(error), observation=hint, llm_output=text, send_to_llm=True) from error

    @override
    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Extraction | None:  # type: ignore[override]  # LangChain's own cumulative parsers return None for "nothing yet"
        """Read a model's result; with ``partial`` the items finished so far, ``None`` before the first."""
        if not partial:
            return self._parse_whole(read_answer(getattr(result[0], "message", result[0])))
        found = answers.parse(result[0].text, self._known_query(), partial=True, demonstrations=self.demonstrations)
        return found if found.annotation_labels or found.rejected else None

    @override
    async def aparse_result(self, result: list[Generation], *, partial: bool = False) -> Extraction | None:  # type: ignore[override]  # as in parse_result
        """``parse_result`` without blocking the loop."""
        return await asyncio.to_thread(self.parse_result, result, partial=partial)

    @override
    def invoke(
        self, input: str | BaseMessage | Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Extraction:
        """Read a message, a text, or a mapping with ``query`` and ``answer``."""
        if isinstance(input, Mapping):
            return self._bound(input).invoke(input["answer"], config, **kwargs)
        return super().invoke(input, config, **kwargs)

    @override
    async def ainvoke(
        self, input: str | BaseMessage | Mapping[str, Any], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Extraction:
        """``invoke`` without blocking the loop."""
        if isinstance(input, Mapping):
            return await self._bound(input).ainvoke(input["answer"], config, **kwargs)
        return await super().ainvoke(input, config, **kwargs)

    @override
    def _transform(self, input: Iterator[str | BaseMessage | Mapping[str, Any]]) -> Iterator[Extraction]:
        growing = _Growing(self)
        for piece in input:
            if (extraction := growing.add(piece)) is not None:
                yield extraction
        yield growing.end()

    @override
    async def _atransform(
        self, input: AsyncIterator[str | BaseMessage | Mapping[str, Any]]
    ) -> AsyncIterator[Extraction]:
        growing = _Growing(self)
        async for piece in input:
            if (extraction := growing.add(piece)) is not None:
                yield extraction
        yield growing.end()

    @override
    def get_format_instructions(self) -> str:
        """What to tell the model about the form of its answer."""
        task = self.query.task if self.query else self.task
        if task is None:
            raise ValueError("the format depends on the task: give UIEOutputParser a query or a task")
        return prompts.default_instruction(task, self.answer_format)

    @property
    def OutputType(self) -> type[Extraction]:  # noqa: N802  # LangChain's name
        """What comes out."""
        return Extraction

    @property
    def _type(self) -> str:
        return "ruie_uie"

    def _parse_whole(self, said: Answer) -> Extraction:
        if not said.cut:
            return self.parse(said.text)
        if self.strict:
            message = "the model's answer was cut at its limit of tokens: raise the limit"
            raise OutputParserException(message, llm_output=said.text)
        warn_of_cut(said.text)
        query = self._known_query()
        return answers.parse(said.text, query, partial=True, demonstrations=self.demonstrations)

    def _known_query(self) -> Query:
        if self.query is None:
            raise ValueError(
                "this parser has no query, so it can't say where spans stand: UIEOutputParser(query=...), "
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


class _Growing:
    """Takes the pieces of an answer, and perhaps the query among them, and says when there is a new extraction."""

    def __init__(self, parser: UIEOutputParser) -> None:
        self._parser = parser
        self._text = ""
        self._cut = False
        self._rereading = Rereading()
        self._last: tuple[object, object] | None = None

    def add(self, piece: str | BaseMessage | Mapping[str, Any]) -> Extraction | None:
        if isinstance(piece, Mapping):
            if piece.get("query") is not None:
                self._parser = self._parser._bound({"answer": "", **piece})
            piece = piece.get("answer", "")
        said = read_answer(piece)
        text = said.text
        self._text += text
        self._cut |= said.cut
        if self._parser.query is None or not self._rereading.is_due(text, len(self._text)):
            return None  # the query may come after the first pieces of the answer
        return self._if_new(self._parser.parse_result([Generation(text=self._text)], partial=True))

    def end(self) -> Extraction:
        return self._parser._parse_whole(Answer(self._text, cut=self._cut))

    def _if_new(self, extraction: Extraction | None) -> Extraction | None:
        if extraction is None:
            return None
        if self._last is not None and (extraction.spans, extraction.rejected) == self._last:
            return None
        self._last = (extraction.spans, extraction.rejected)
        return extraction
