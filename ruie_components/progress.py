"""Progress bars on standard error for work that takes longer than a second; silencing of libraries."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from threading import Lock, Timer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, ProgressColumn, TaskID

PATIENCE = 1.0
"""Seconds of work before a bar appears."""


@contextmanager
def track(
    what: str, *, total: int | None = None, enabled: bool = True, rate: bool = False
) -> Iterator[Callable[[int], None]]:
    """Show a progress bar; call the yielded function with the number of steps done since the last call.

    Args:
        what: The name of the work, such as ``index``.
        total: How many steps there are, if known.
        enabled: Whether to show a bar at all.
        rate: Whether to show the steps per second.

    >>> with track("count", total=3) as advance:
    ...     for _ in range(3):
    ...         advance(1)
    """
    bar = _Bar(what, total, rate=rate) if enabled else None
    try:
        yield bar.advance if bar else lambda _: None
    finally:
        if bar:
            bar.stop()


class _Bar:
    def __init__(self, what: str, total: int | None, *, rate: bool) -> None:
        self._what, self._total, self._rate = what, total, rate
        self._done = 0
        self._begin = time.monotonic()
        self._shown: tuple[Progress, TaskID] | None = None
        self._ended = False
        self._lock = Lock()
        # by the clock, not by the first step: that may be a request of minutes
        self._patience = Timer(PATIENCE, self._show)
        self._patience.daemon = True
        self._patience.start()

    def advance(self, steps: int) -> None:
        with self._lock:
            self._done += steps
            if self._shown:
                self._shown[0].update(self._shown[1], completed=self._done, rate=self._speed())

    def _speed(self) -> str:
        return f"{self._done / max(time.monotonic() - self._begin, 1e-9):,.1f}"

    def stop(self) -> None:
        self._patience.cancel()
        with self._lock:
            self._ended = True
            if self._shown:
                self._shown[0].stop()

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns: list[ProgressColumn] = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()]
        columns += [TextColumn("{task.fields[rate]}/s")] if self._rate else []
        progress = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True))
        with self._lock:
            if self._ended:
                return
            progress.start()
            task = progress.add_task(self._what, total=self._total, completed=self._done, rate=self._speed())
            self._shown = progress, task


_CHATTY = ("bm25s", "sentence_transformers", "httpx", "onnxscript", "onnx_ir", "torch.onnx")


def quiet_libraries() -> None:
    """Turn off the progress bars and notes of libraries for a command that shows its own progress.

    Apart from loggers, it affects only libraries that are already imported: call it after the imports.
    """
    if find_spec("bm25s"):
        import bm25s  # noqa: F401  sets its own level when it is imported
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", category=FutureWarning, module="sentence_transformers")
    if "transformers" in sys.modules:
        from transformers.utils import logging as notes

        notes.set_verbosity_error()
        notes.disable_progress_bar()
    if "datasets" in sys.modules:
        import datasets

        datasets.disable_progress_bars()


@contextmanager
def quiet(*loggers: str) -> Iterator[None]:
    """Within the block, suppress warnings, and let these loggers report errors only."""
    levels = {name: logging.getLogger(name).level for name in loggers}
    for name in loggers:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
