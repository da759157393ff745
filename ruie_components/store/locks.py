"""Locks a store's folder for many readers or one writer.

Chroma has no locks: if two processes use one folder, reads go stale and writes can damage the index. Every
process that has the folder open keeps its own file locked (``.ruie/open-PID-TOKEN.lock``). A process that writes
holds ``.ruie/write.lock`` and checks that no other process's file is locked. The system releases the locks of a process
that dies. The process number is for messages; the token distinguishes processes in containers, which may all have
number 1.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from ruie_components.errors import StoreError

_PATIENCE = 2.0  # seconds; opening and closing hold the write lock only briefly


class FolderLock:
    """This process's lock on a folder that it has open.

    Args:
        folder: The store's folder; it must exist.

    Raises:
        StoreError: Another process is writing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._locks = folder / ".ruie"
        self._locks.mkdir(exist_ok=True)
        self._mine = FileLock(self._locks / f"open-{os.getpid()}-{uuid.uuid4().hex[:12]}.lock", thread_local=False)
        with self._write_lock():
            self._mine.acquire(timeout=0)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """A block in which no other process has the folder open.

        Raises:
            StoreError: Another process has it open.
        """
        with self._write_lock():
            for path in self._locks.glob("open-*.lock"):
                if path != Path(self._mine.lock_file) and not _is_free(path):
                    raise self._refusal(f"process {path.stem.split('-')[1]} has it open")
            yield

    def release(self) -> None:
        """Release the lock when the folder is closed."""
        self._mine.release()
        Path(self._mine.lock_file).unlink(missing_ok=True)

    @contextmanager
    def _write_lock(self) -> Iterator[None]:
        # one counting lock object per process: several stores of a process share the folder
        lock = FileLock(self._locks / "write.lock", is_singleton=True, thread_local=False)
        try:
            lock.acquire(timeout=_PATIENCE)
        except Timeout as error:
            raise self._refusal("another process is writing to it") from error
        try:
            yield
        finally:
            lock.release()

    def _refusal(self, why: str) -> StoreError:
        return StoreError(
            f"the store in {self._folder} can't be used now: {why}, and a folder allows many readers or one writer. "
            f"Close the other one, or let several processes share it through a server: "
            f"chroma run --path {self._folder}, then path='http://localhost:8000'"
        )


def _is_free(path: Path) -> bool:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return False
    lock.release()
    path.unlink(missing_ok=True)  # its process is gone
    return True
