"""Connects to a Chroma database: in memory, a folder, a server, or the user's own client."""

from __future__ import annotations

import os
import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from ruie_components.errors import StoreError
from ruie_components.store.integrity import DATABASE
from ruie_components.store.locks import FolderLock

_HOST_AND_PORT = re.compile(r"[\w.-]+:\d{1,5}/?")


@dataclass(frozen=True)
class Connection:
    """A Chroma client with the location of its data, its write lock and how to close it."""

    client: Any
    location: str
    """For messages: where the data is."""
    folder: Path | None = None
    """The folder that holds the data; ``None`` in memory and on a server."""
    in_memory: bool = False
    is_private: bool = False
    """Whether no other process can write meanwhile."""
    writes: Counter[str] = field(default_factory=Counter)
    """For each pool a number that changes at the beginning and at the end of each write by this process."""
    writing: Callable[[], AbstractContextManager[Any]] = field(default_factory=lambda: _turns(RLock()))
    """A block in which no other thread writes and no other process has the folder open."""
    problem: Callable[[], str | None] = lambda: None
    """Why the connection is no longer usable; ``None`` if it is usable."""
    damaged_indexes: Callable[[], dict[str, str]] = dict
    """The damage by collection, for a folder with damaged index files; update it after a rebuild."""
    close: Callable[[], None] = lambda: None


def _turns(lock: AbstractContextManager[Any]) -> Callable[[], AbstractContextManager[Any]]:
    """Blocks that threads enter one after another."""
    return lambda: lock


def connect(path: str | Path | None, client: Any, *, create: bool) -> Connection:
    """Connect to a store's location.

    Args:
        path: ``None``: in memory, separate from every other store. A folder. ``http://host:port``: a Chroma server.
        client: A Chroma client instead of a path, for servers with authentication and for the cloud.
        create: Whether a folder may be new.

    Raises:
        StoreError: It doesn't exist, is damaged, or another process is writing.
    """
    if client is not None:
        if path is not None:
            raise StoreError("give path or client, not both: a client knows its location")
        return Connection(_check_client(client), "the given Chroma client")
    if path is None:
        return _in_memory()
    if not str(path).strip():
        raise StoreError("the store's path is empty: give a folder, or . for the current one")
    if str(path).startswith(("http://", "https://")):
        return _server(str(path))
    if _HOST_AND_PORT.fullmatch(str(path)):
        raise StoreError(
            f"{path} looks like a server: write http://{path}, or the full path of a folder with that name"
        )
    return _folder(Path(path).expanduser().resolve(), create=create)


@contextmanager
def chroma_errors(location: str, doing: str) -> Iterator[None]:
    """Turn Chroma's exceptions into a StoreError that names the location and the operation."""
    import httpx
    from chromadb.errors import ChromaError

    try:
        yield
    except (ChromaError, httpx.HTTPError, sqlite3.Error) as error:
        raise StoreError(_broken(location, doing, error)) from error
    except BaseException as error:
        # a panic in Chroma's Rust code is a BaseException of a type that can't be imported
        if type(error).__name__ != "PanicException":
            raise
        raise StoreError(_broken(location, doing, error)) from error


def _broken(location: str, doing: str, error: BaseException) -> str:
    return (
        f"{doing} failed in {location}: {type(error).__name__}: {error}. Nothing was deleted. If the store is damaged, "
        f"build it again from its examples under another path or pool."
    )


def _check_client(client: Any) -> Any:
    if not hasattr(client, "get_or_create_collection") or type(client).__name__.startswith("Async"):
        raise StoreError(
            f"{type(client).__name__} is not a synchronous Chroma client: give chromadb.HttpClient(...), "
            f"CloudClient(...) or PersistentClient(...)"
        )
    return client


def _engine() -> ModuleType:
    """Import the module that imports Chroma.

    Raises:
        StoreError: Chroma can't be imported: SQLite is too old, or the environment holds invalid settings.
    """
    try:
        from ruie_components.store import engine
    except RuntimeError as error:
        if "sqlite" not in str(error).lower():
            raise
        raise StoreError(
            f"Chroma needs SQLite 3.35 or newer, and this Python has {sqlite3.sqlite_version}: use a newer Python or "
            f"system, or open the store through a Chroma server on another machine"
        ) from error
    except ValueError as error:  # Chroma reads its settings when it is imported
        reason = " ".join(str(error).split())
        raise StoreError(
            f"Chroma can't read the settings in the environment or in the file .env of this folder ({reason}): "
            f"correct them, or start in another folder"
        ) from error
    return engine


def _in_memory() -> Connection:
    engine = _engine().Engine()
    return Connection(
        engine.client,
        "memory",
        in_memory=True,
        is_private=True,
        writes=engine.writes,
        writing=_turns(engine.write_lock),
        problem=engine.problem,
        close=engine.release,
    )


def _server(url: str) -> Connection:
    parts = urlsplit(url)
    if parts.path.strip("/") or parts.query or "@" in parts.netloc:
        server = parts.netloc.rpartition("@")[2]  # without a password
        raise StoreError(
            f"the address of the Chroma server at {server} has more parts than a host and a port, "
            f"and the rest would be ignored: make a chromadb.HttpClient(...) for it, and pass that as client"
        )
    ssl = parts.scheme == "https"
    engine = _engine()
    try:
        server = engine.ServerConnection(parts.hostname or "localhost", parts.port or (443 if ssl else 8000), ssl=ssl)
    except Exception as error:  # any kind of server may answer, and Chroma raises a bare Exception with its answer
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise StoreError(
            f"no Chroma server answers at {url} ({reason}). Start one with: chroma run --path FOLDER --port PORT"
        ) from error
    return Connection(server.client, url, close=server.close)


def _folder(path: Path, *, create: bool) -> Connection:
    if path.exists() and not path.is_dir():
        raise StoreError(f"{path} is a file; a store is a folder")
    if not create and not (path / DATABASE).is_file():
        raise StoreError(f"there is no store in {path}: build one with DemonstrationStore.create or `ruie index`")
    module = _engine()
    try:
        if create:
            path.mkdir(parents=True, exist_ok=True)
        with chroma_errors(str(path), "opening"):
            engine = module.Engine.of_folder(path, lambda: _lock(path))
    except OSError as error:
        raise StoreError(f"{path} can't be used as a store: {error.strerror or error}") from error

    @contextmanager
    def writing() -> Iterator[None]:
        if engine.lock is None:
            raise StoreError(f"the store in {path} is read-only: this process may not write to the folder")
        lock: FolderLock = engine.lock
        with engine.write_lock, lock.writing():
            yield

    return Connection(
        engine.client,
        str(path),
        folder=path,
        is_private=True,
        writes=engine.writes,
        writing=writing,
        problem=engine.problem,
        damaged_indexes=lambda: engine.damaged_indexes,
        close=engine.release,
    )


def _lock(folder: Path) -> FolderLock | None:
    """The lock of a folder; ``None`` if this process may only read it, which needs no lock."""
    return FolderLock(folder) if os.access(folder, os.W_OK) else None
