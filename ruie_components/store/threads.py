"""Calls a function of many searches in threads: Chroma releases Python's global lock while it searches."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Part = TypeVar("Part")
Result = TypeVar("Result")

THREADS = min(os.cpu_count() or 1, 8)
"""How many threads search at once; each has the answer to a part in memory."""


def in_threads(function: Callable[[Part], Result], parts: Iterable[Part]) -> Iterator[Result]:
    """The results for some parts, in their order. If the caller is interrupted, only parts that have begun end."""
    threads = ThreadPoolExecutor(THREADS)
    try:
        yield from threads.map(function, parts)
    finally:
        threads.shutdown(cancel_futures=True)
