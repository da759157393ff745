"""Reads of Chroma in several threads: many searches side by side, and reads while another thread deletes rows."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

Item = TypeVar("Item")
Part = TypeVar("Part")
Result = TypeVar("Result")

THREADS = min(os.cpu_count() or 1, 8)
"""How many threads search at once; each has the answer to a part in memory."""


_ATTEMPTS = 8
_LONGEST_WAIT = 0.5  # seconds


def in_threads(function: Callable[[Part], Result], parts: Sequence[Part]) -> Iterator[Result]:
    """The results for some parts, in their order; a single part needs no thread.

    Chroma releases Python's global lock while it searches. If the caller is interrupted, only parts that have begun
    end.
    """
    if len(parts) < 2:
        yield from map(function, parts)
        return
    threads = ThreadPoolExecutor(THREADS)
    try:
        yield from threads.map(function, parts)
    finally:
        threads.shutdown(cancel_futures=True)


def equal_parts(items: Sequence[Item], *, smallest: int, largest: int) -> list[Sequence[Item]]:
    """Items in parts of about equal size, so that all threads end at about the same time.

    Args:
        items: The items.
        smallest: The number of items for which another thread is not worth it.
        largest: The largest number of items in one part.

    >>> [list(part) for part in equal_parts(range(5), smallest=3, largest=3)]
    [[0, 1, 2], [3, 4]]
    """
    count = THREADS * -(-len(items) // (THREADS * largest))
    size = min(largest, max(smallest, -(-len(items) // max(1, count))))
    return [items[start : start + size] for start in range(0, len(items), size)]


def despite_deletes(read: Callable[..., Any], **arguments: Any) -> Any:
    """What a query, or a read of vectors, returns, though other threads or programs delete rows meanwhile.

    Chroma lists the rows first and then looks each up. If a row was deleted in between, the read fails with an
    ``InternalError`` ("Error finding id"), and succeeds when it is repeated.

    Raises:
        ChromaError: It failed for another reason, or eight times.
    """
    attempts = Retrying(
        retry=retry_if_exception(lambda error: type(error).__name__ == "InternalError"),
        stop=stop_after_attempt(_ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.01, max=_LONGEST_WAIT),
        reraise=True,
    )
    return attempts(read, **arguments)
