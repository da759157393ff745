"""Reading an answer while it is being written: results that grow by finished items."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import TYPE_CHECKING, Any

from tenacity import AsyncRetrying, Retrying

from ruie_components.extraction.calling import (
    Answer,
    aask,
    ask,
    in_words,
    read_answer,
    retry_policy,
    text_of,
)
from ruie_components.extraction.results import ExtractionResult
from ruie_components.prompts import Prompt

if TYPE_CHECKING:
    from ruie_components.extraction.extractor import Extractor


_ITEM_ENDS = frozenset(":\n}")  # a linear item is surely over where the label of the next one is


_GROWTH = 1.1  # by which an answer must have grown, so that all readings together take linear time


class Rereading:
    """Says when reading a growing answer anew is worth it: an item may be complete, and there is a tenth more."""

    def __init__(self) -> None:
        self._least = 0.0

    def is_due(self, piece: str, length: int) -> bool:
        """Whether to read the answer, of ``length`` characters with this last piece."""
        if length < self._least or _ITEM_ENDS.isdisjoint(piece):
            return False
        self._least = _GROWTH * length
        return True


class _Growing:
    """Takes the pieces of an answer, and says when there is a new result."""

    def __init__(self, extractor: Extractor, prompt: Prompt) -> None:
        self._extractor, self._prompt = extractor, prompt
        self._start = time.perf_counter()
        self._whole: Any = None
        self._text = ""
        self._rereading = Rereading()
        self._items: object = None

    def add(self, piece: Any) -> ExtractionResult | None:
        self._whole = piece if self._whole is None else self._whole + piece
        text = text_of(piece)
        self._text += text
        if not self._rereading.is_due(text, len(self._text)):
            return None
        result = self._result(Answer(self._text), partial=True)
        items = (result.extraction.spans, result.extraction.rejected)
        if items == self._items or not any(items):
            return None
        self._items = items
        return result

    def end(self) -> ExtractionResult:
        return self._result(read_answer(self._whole if self._whole is not None else ""))

    def _result(self, said: Answer, *, partial: bool = False) -> ExtractionResult:
        return self._extractor.read(self._prompt, said, time.perf_counter() - self._start, partial=partial)


def stream(extractor: Extractor, prompt: Prompt, **options: Any) -> Iterator[ExtractionResult]:
    """See ``Extractor.stream``."""
    growing = _Growing(extractor, prompt)
    for piece in _pieces(extractor, prompt, extractor.options(prompt) | options):
        if (result := growing.add(piece)) is not None:
            yield result
    yield growing.end()


async def astream(extractor: Extractor, prompt: Prompt, **options: Any) -> AsyncIterator[ExtractionResult]:
    """See ``Extractor.astream``."""
    growing = _Growing(extractor, prompt)
    async for piece in _apieces(extractor, prompt, extractor.options(prompt) | options):
        if (result := growing.add(piece)) is not None:
            yield result
    yield growing.end()


_END = object()


def _pieces(extractor: Extractor, prompt: Prompt, options: dict[str, Any]) -> Iterator[Any]:
    model = extractor.model
    if not hasattr(model, "stream"):
        yield ask(model, prompt.messages, retries=extractor.retries, **options)
        return
    try:
        # Only up to the first piece can a request be made again: what was yielded can't be taken back.
        for attempt in Retrying(**retry_policy(extractor.retries)):
            with attempt:
                pieces = iter(model.stream(prompt.messages, **options))
                piece = next(pieces, _END)
        while piece is not _END:
            yield piece
            piece = next(pieces, _END)
    except Exception as error:
        if (said := in_words(error, model, extractor.retries)) is None:
            raise
        raise said from error


async def _apieces(extractor: Extractor, prompt: Prompt, options: dict[str, Any]) -> AsyncIterator[Any]:
    model = extractor.model
    if not hasattr(model, "astream"):
        yield await aask(model, prompt.messages, retries=extractor.retries, **options)
        return
    try:
        async for attempt in AsyncRetrying(**retry_policy(extractor.retries)):
            with attempt:
                pieces = aiter(model.astream(prompt.messages, **options))
                piece = await anext(pieces, _END)
        while piece is not _END:
            yield piece
            piece = await anext(pieces, _END)
    except Exception as error:
        if (said := in_words(error, model, extractor.retries)) is None:
            raise
        raise said from error
