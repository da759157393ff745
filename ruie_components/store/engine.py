"""Chroma's client for a store, in this process or of a server, with settings from the caller only.

Chroma takes settings from the environment and from a ``.env`` file of the working folder, shares one engine among all
clients of a process by path, and refuses a second client whose settings differ. Here every setting is explicit, and the
engines are this package's own: one per folder, shared by the stores of this process, and one for each store in memory.

This module imports Chroma, so it is imported only when a store is opened.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import tempfile
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import httpx
from chromadb.api import ServerAPI
from chromadb.api.client import Client
from chromadb.config import DEFAULT_DATABASE, DEFAULT_TENANT, Settings, System
from chromadb.telemetry.product import ProductTelemetryClient
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from ruie_components.errors import StoreError
from ruie_components.hosts import is_loopback
from ruie_components.store.integrity import DATABASE, check_folder, reset_damaged
from ruie_components.store.locks import FolderLock

_TIMEOUT = httpx.Timeout(300, connect=10)  # seconds; Chroma itself would wait forever


class _ExplicitSettings(Settings):
    """Chroma's settings without the environment and without ``.env``."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the names are pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


class _Client(Client):
    """Chroma's client over our own system, outside the registry that all clients of a process share."""

    def __init__(self, system: System) -> None:
        self._server = system.instance(ServerAPI)  # type: ignore[type-abstract] # Chroma chooses the class
        self.tenant, self.database = DEFAULT_TENANT, DEFAULT_DATABASE

    def close(self) -> None:
        """Do nothing: the engine is closed, not its client."""


def _started(**settings: Any) -> System:
    system = System(_ExplicitSettings(anonymized_telemetry=False, **settings))
    system.instance(ProductTelemetryClient)  # type: ignore[type-abstract] # in Chroma's own order
    system.instance(ServerAPI)  # type: ignore[type-abstract]
    system.start()
    return system


class Engine:
    """A Chroma database in this process.

    Args:
        folder: Where it keeps its files, or ``None`` for one in memory.
        lock: This process's right to have the folder open; released with the engine. ``None`` for a read-only folder:
            Chroma writes to its database when it starts, so it gets a private copy of the database and links to the
            rest.
    """

    _remove_mirror: Callable[[], object] | None = None

    def __init__(self, folder: Path | None = None, lock: FolderLock | None = None) -> None:
        _process.start()
        self.folder = folder
        self.lock = lock
        self.damaged_indexes: dict[str, str] = {}
        """The damage to the index files, by collection."""
        self.writes: Counter[str] = Counter()
        """For each pool a number that changes at the beginning and at the end of each write."""
        self.write_lock = threading.RLock()
        """Held by the writing thread: if two threads add the same row, the second must see it."""
        where: dict[str, Any] = {"is_persistent": False}
        if folder is not None:
            files = folder if lock is not None else self._mirror(folder)
            self.damaged_indexes = check_folder(files)
            if self.damaged_indexes and lock is not None:
                with lock.writing():
                    reset_damaged(files)  # Chroma may crash on half-written files
            where = {"is_persistent": True, "persist_directory": str(files)}
        self._system = _started(**where)
        self.client = _Client(self._system)
        _process.engines.add(self)
        self._file = _identity(folder) if folder else None
        self._users = 1

    @classmethod
    def of_folder(cls, folder: Path, make_lock: Callable[[], FolderLock | None]) -> Self:
        """The running engine of a folder, or a new one.

        An engine whose folder was removed and created again stays with the stores that still use it.
        """
        _process.start()
        with _process.guard:
            running = _process.running.get(folder)
            if running is not None and running.problem() is None:
                running._users += 1
                return running  # type: ignore[return-value]
            lock = make_lock()
            try:
                engine = cls(folder, lock)
            except BaseException:
                if lock is not None:
                    lock.release()
                raise
            _process.running[folder] = engine
            return engine

    def _mirror(self, folder: Path) -> Path:
        mirror = Path(tempfile.mkdtemp(prefix="ruie-read-only-"))
        self._remove_mirror = weakref.finalize(self, _remove_of_process, mirror, os.getpid())
        for path in folder.iterdir():
            if path.name.startswith(DATABASE):
                shutil.copyfile(path, mirror / path.name)
            elif path.is_dir():
                (mirror / path.name).symlink_to(path)
        return mirror

    def problem(self) -> str | None:
        """Why it is no longer usable, or ``None``."""
        if _process.forked:
            return _FORKED
        if self.folder is not None and _identity(self.folder) != self._file:
            return (
                f"the folder {self.folder} was removed or replaced while this store had it open, so the store's rows "
                f"are gone: close it, and create it again"
            )
        return None

    def release(self) -> None:
        """Release it for one store; the last one closes it."""
        if _process.forked:  # its threads and locks belong to the parent: stopping it would hang or unlock
            return
        with _process.guard:
            self._users -= 1
            if self._users > 0:
                return
            if self.folder is not None and _process.running.get(self.folder) is self:
                del _process.running[self.folder]
            _process.engines.discard(self)
            self._system.stop()
            if self.lock is not None:
                self.lock.release()
            if self._remove_mirror is not None:
                self._remove_mirror()


class _Process:
    """The engines of this process, and whether it was forked from a process that had engines."""

    def __init__(self) -> None:
        self.guard = threading.RLock()  # reentrant: garbage collection may close a store while this thread holds it
        self.running: dict[Path, Engine] = {}
        self.engines: set[Engine] = set()
        self.started = False
        self.forked = False

    def start(self) -> None:
        """Register the start of an engine.

        Raises:
            StoreError: The process was forked from one that used a store.
        """
        if self.forked:
            raise StoreError(_FORKED)
        self.started = True

    def after_fork(self) -> None:
        """Called in a new forked process."""
        if not self.started:
            return
        self.forked = True
        self.guard = threading.RLock()  # another thread of the parent may have held it
        # never freed here: freeing one would wait for threads that this process does not have
        for engine in self.engines:
            for part in (engine, engine._system, engine.client):
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(part))


_process = _Process()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_process.after_fork)
_FORKED = (
    "this process was forked from one that had used a store, and Chroma's threads do not survive a fork. Start the "
    "process by spawn (multiprocessing.get_context('spawn'), ProcessPoolExecutor(mp_context=...)), or let the "
    "processes share a Chroma server: chroma run --path FOLDER, then path='http://localhost:8000'"
)


def _remove_of_process(folder: Path, process: int) -> None:
    if os.getpid() == process:  # not a forked process that ends earlier
        shutil.rmtree(folder, ignore_errors=True)


def _identity(folder: Path) -> tuple[int, int] | None:
    """The identity of the database file. Chroma keeps it open, so its number is not given to another file."""
    with contextlib.suppress(OSError):
        status = (folder / DATABASE).stat()
        return status.st_dev, status.st_ino
    return None


class ServerConnection:
    """A client of a Chroma server.

    Args:
        host: Its host name or address; requests to this machine use no proxy.
        port: Its port.
        ssl: Whether to use https.
    """

    def __init__(self, host: str, port: int, *, ssl: bool) -> None:
        system = _started(
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host=host,
            chroma_server_http_port=port,
            chroma_server_ssl_enabled=ssl,
        )
        self.client = _Client(system)
        api: Any = self.client._server
        headers, limits = api._session.headers, api.http_limits
        api._session.close()
        api._session = httpx.Client(timeout=_TIMEOUT, limits=limits, headers=headers, trust_env=not is_loopback(host))
        self._session = api._session
        self._system = system
        try:
            api.get_user_identity()
            api.get_database(DEFAULT_DATABASE, DEFAULT_TENANT)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close its connections."""
        self._session.close()
        self._system.stop()
