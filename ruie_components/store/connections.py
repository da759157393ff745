"""Getting hold of a Chroma database: in memory, a folder, a server, or a client that the user made."""

from __future__ import annotations

import re
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ruie_components.errors import StoreError
from ruie_components.store.integrity import DATABASE, check_folder
from ruie_components.store.locks import FolderLock

_HOST_AND_PORT = re.compile(r"[\w.-]+:\d{1,5}/?")


@dataclass(frozen=True)
class Connection:
    """A Chroma client and how to let go of it."""

    client: Any
    location: str
    """For messages: where the data is."""
    lock: FolderLock | None
    close: Callable[[], None]


def connect(path: str | Path | None, client: Any, *, create: bool) -> Connection:
    """Connect to where a store is or shall be.

    Args:
        path: ``None``: in memory, apart from every other store. A folder. ``http://host:port``: a Chroma server.
        client: A Chroma client instead of a path, for servers with authentication and for the cloud.
        create: Whether a folder may be new.

    Raises:
        StoreError: It isn't there, is broken, or another process is writing.
    """
    if client is not None:
        if path is not None:
            raise StoreError("give path or client, not both: a client knows its location")
        return Connection(_check_client(client), "the given Chroma client", None, lambda: None)
    if path is None:
        return _in_memory()
    if not str(path).strip():
        raise StoreError("the store's path is empty: name a folder, or . for the one you are in")
    if str(path).startswith(("http://", "https://")):
        return _server(str(path))
    if _HOST_AND_PORT.fullmatch(str(path)):
        raise StoreError(f"{path} looks like a server: write http://{path}, or the whole path of a folder of that name")
    return _folder(Path(path).expanduser().resolve(), create=create)


@contextmanager
def chroma_errors(location: str, doing: str) -> Iterator[None]:
    """Chroma's exceptions as a StoreError that says where and what."""
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
            f"{type(client).__name__} is no synchronous Chroma client: give chromadb.HttpClient(...), "
            f"CloudClient(...) or PersistentClient(...)"
        )
    return client


def _in_memory() -> Connection:
    import chromadb
    from chromadb.config import Settings

    # all in-memory clients of a process share their data, so each store has a database to itself
    name = f"ruie-{uuid.uuid4().hex}"
    admin = chromadb.AdminClient(Settings())
    admin.create_database(name)
    client = chromadb.EphemeralClient(database=name)
    return Connection(client, "memory", None, lambda: admin.delete_database(name))


def _server(url: str) -> Connection:
    import chromadb

    parts = urlsplit(url)
    if parts.path.strip("/") or parts.query or "@" in parts.netloc:
        server = parts.netloc.rpartition("@")[2]  # without a password
        raise StoreError(
            f"the address of the Chroma server at {server} says more than a host and a port, which alone would be "
            f"used: make a chromadb.HttpClient(...) for it, and give that as client"
        )
    ssl = parts.scheme == "https"
    try:
        client = chromadb.HttpClient(
            host=parts.hostname or "localhost", port=parts.port or (443 if ssl else 8000), ssl=ssl
        )
    except Exception as error:  # Chroma turns a refused connection into a plain ValueError
        reason = str(error).rstrip(".")
        raise StoreError(
            f"no Chroma server answers at {url} ({reason}). Start one with: chroma run --path FOLDER --port PORT"
        ) from error
    return Connection(client, url, None, _closer(client))


def _folder(path: Path, *, create: bool) -> Connection:
    import chromadb

    if path.exists() and not path.is_dir():
        raise StoreError(f"{path} is a file; a store is a folder")
    if create:
        path.mkdir(parents=True, exist_ok=True)
    elif not (path / DATABASE).is_file():
        raise StoreError(f"there is no store in {path}: build one with DemonstrationStore.create or `ruie index`")
    lock = FolderLock(path)
    try:
        check_folder(path)
        with chroma_errors(str(path), "opening"):
            client = chromadb.PersistentClient(str(path))
    except BaseException:
        lock.release()
        raise

    close_client = _closer(client)

    def close() -> None:
        close_client()
        lock.release()

    return Connection(client, str(path), lock, close)


def _closer(client: Any) -> Callable[[], None]:
    def close() -> None:
        client.close()
        # Chroma forgets to close its own connections to a server, of which the admin client inside has more
        for part in (client, getattr(client, "_admin_client", None)):
            if session := getattr(getattr(part, "_server", None), "_session", None):
                session.close()

    return close
