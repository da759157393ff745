"""Results that grow by finished items while a model is still writing its answer."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Generic, Protocol, TypeVar

from ruie_components.chat.base import Response

_ITEM_ENDS = frozenset(":\n}")  # a linear item is certainly finished when the next label begins

_GROWTH = 1.1  # by which an answer must grow between readings, so that all readings take linear time

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Reader(Protocol[T_co]):
    """Reads the response so far: with ``partial`` its finished items, ``None`` if there is nothing new."""

    def __call__(self, response: Response, *, partial: bool) -> T_co:
        """Read it."""


class GrowingAnswer(Generic[T]):
    """Collects the pieces of an answer, and reads it again when an item may be finished and it is a tenth longer.

    Args:
        read: Reads the response so far.
        items: The items of a result: a result without items or with the same items as the previous one is not returned.
    """

    def __init__(self, read: Reader[T], items: Callable[[T], tuple[object, ...]]) -> None:
        self._read, self._items = read, items
        self.response = Response("")
        self._next_length = 0.0
        self._last: tuple[object, ...] = ()

    def add(self, piece: Response) -> T | None:
        """Take the next piece; returns a result if there are new items."""
        self.response += piece
        length = len(self.response.text)
        if length < self._next_length or _ITEM_ENDS.isdisjoint(piece.text):
            return None
        self._next_length = _GROWTH * length
        result = self._read(Response(self.response.text), partial=True)
        items = self._items(result)
        if items == self._last or not any(items):
            return None
        self._last = items
        return result

    def end(self) -> T:
        """The result of the complete answer."""
        return self._read(self.response, partial=False)


def stream(pieces: Iterator[Response], answer: GrowingAnswer[T]) -> Iterator[T]:
    """The growing results of an answer's pieces; the last one is complete."""
    for piece in pieces:
        if (result := answer.add(piece)) is not None:
            yield result
    yield answer.end()


async def astream(pieces: AsyncIterator[Response], answer: GrowingAnswer[T]) -> AsyncIterator[T]:
    """``stream`` of pieces that arrive asynchronously."""
    async for piece in pieces:
        if (result := answer.add(piece)) is not None:
            yield result
    yield answer.end()
