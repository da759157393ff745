"""A stream that is closed together with the streams inside it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Generic, Self, TypeVar

T = TypeVar("T")

_PATIENCE = 5.0  # seconds to wait for a generator that is being closed, which may wait for its server


class ClosableStream(AsyncIterator[T], Generic[T]):
    """An async generator whose ``aclose`` returns when the generators inside it are closed, too.

    A generator that is closed only drops those that it iterates over. The event loop closes them later, each in a task
    of its own, and a model's server writes until then. This is no generator itself, so that an event loop that ends
    does not close it a second time while it is being closed.

    Args:
        generator: The generator.
    """

    def __init__(self, generator: AsyncGenerator[T, None]) -> None:
        self._generator = generator

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        return await anext(self._generator)

    async def aclose(self) -> None:
        """Close the stream, also in the middle of it."""
        before = asyncio.all_tasks()
        await self._generator.aclose()
        await asyncio.sleep(0)  # in this turn the event loop makes the task for a generator that was dropped
        while tasks := {task for task in asyncio.all_tasks() - before if _closes_generator(task)}:
            if not (await asyncio.wait(tasks, timeout=_PATIENCE))[0]:
                return
            await asyncio.sleep(0)


def _closes_generator(task: asyncio.Task[object]) -> bool:
    return type(task.get_coro()).__name__ == "async_generator_athrow"  # what a generator's aclose() returns
