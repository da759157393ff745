"""Caches answers of chat models in SQLite, so that killed runs resume and repeated runs cost nothing.

One table, ``answers(key, model, response, created)``. The key is the SHA-256 of the canonical JSON of
``[model name, model settings, prompt, constraint]``, where the prompt is both its messages and its text, because models
read either. Truncated answers are cached, too: the same request would be truncated again. The duration of the request
is cached with the answer, so that later runs report the model's time, not the cache's.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
import time
import warnings
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ruie_components.chat import ChatModel, Constraint, Response, TokenProbability
from ruie_components.chat.base import ModelInput
from ruie_components.errors import RuieError

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, model TEXT NOT NULL, response TEXT NOT NULL, created REAL)
"""
_COLUMNS = ["key", "model", "response", "created"]
_PATIENCE = 60.0  # seconds to wait for another process that writes


class AnswerCache:
    """Responses by request. Threads and processes may share a file.

    Args:
        path: The SQLite file; its folder is created. ``":memory:"``: no file.

    Raises:
        RuieError: The file is not one of SQLite, belongs to another program, or can't be opened.
    """

    def __init__(self, path: str | Path) -> None:
        if str(path) != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        self._lock = threading.Lock()
        try:
            self._connection = _connect(path)
        except sqlite3.Error as error:
            raise RuieError(f"{path} can't be used as a cache of answers ({error}): give another file") from error

    def __len__(self) -> int:
        with self._lock:
            return int(self._connection.execute("SELECT count(*) FROM answers").fetchone()[0])

    def get(self, key: str) -> Response | None:
        """The response with this key, or None."""
        with self._lock:
            row = self._connection.execute("SELECT response FROM answers WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        values = json.loads(row[0])
        tokens = tuple(_token(*token) for token in values.pop("tokens", ()))
        return Response(**values, tokens=tokens)

    def put(self, key: str, model: str, response: Response) -> None:
        """Store a response.

        Warns:
            UserWarning: It can't be written, as on a full disk: an answer that was paid for is used all the same.
        """
        tokens = [(token.text, token.logprob, token.alternatives) for token in response.tokens]
        values = {**asdict(replace(response, tokens=())), "tokens": tokens}
        row = (key, model, json.dumps(values), time.time())
        try:
            with self._lock:
                self._connection.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", row)
        except sqlite3.OperationalError as error:
            warnings.warn(
                f"answers can't be kept in {self._path} ({error}), so an interrupted run would ask the model again; "
                "free some space, or give another file",
                stacklevel=2,
            )

    def close(self) -> None:
        """Close the file."""
        self._connection.close()


def _connect(path: str | Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_PATIENCE, check_same_thread=False, isolation_level=None)
    try:
        columns = [name for _, name, *_ in connection.execute("PRAGMA table_info(answers)")]
        if columns and columns != _COLUMNS:  # before anything is written to another program's file
            raise sqlite3.DatabaseError(f"its table `answers` has the columns {', '.join(columns)}")
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")  # a killed process loses no answer, a power cut the last ones
        connection.execute(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def _token(text: str, logprob: float, alternatives: Sequence[Sequence[Any]] = ()) -> TokenProbability:
    return TokenProbability(text, logprob, tuple((str(other), float(its)) for other, its in alternatives))


def request_key(model: ChatModel, prompt: ModelInput, constraint: Constraint | None = None) -> str:
    """The key of a request: a hash of everything that determines its answer."""
    held = None if constraint is None else [constraint.json_schema, constraint.grammar]
    request = [model.name, dict(model.settings), prompt.text, prompt.messages, held]
    canonical = json.dumps(request, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


class CachedChatModel:
    """A chat model that answers from a cache if possible.

    Args:
        model: The chat model.
        cache: The cache of its answers.
        sample: The number of the sample, for several sampled answers to one prompt; each is cached.
    """

    def __init__(self, model: ChatModel, cache: AnswerCache, sample: int = 0) -> None:
        self.model, self.cache, self.sample = model, cache, sample

    def resample(self, sample: int) -> CachedChatModel:
        """The same model and cache for another sample."""
        return CachedChatModel(self.model, self.cache, sample)

    @property
    def name(self) -> str:
        """The model's."""
        return self.model.name

    @property
    def settings(self) -> Mapping[str, Any]:
        """The model's, with the number of the sample if there are several."""
        return {**self.model.settings, "sample": self.sample} if self.sample else self.model.settings

    @property
    def constraints(self) -> frozenset[str]:
        """The model's."""
        return self.model.constraints

    def complete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """The cached answer, else the model's, which is then cached."""
        key = request_key(self, prompt, constraint)
        response = self.cache.get(key)
        if response is None:
            start = time.perf_counter()
            response = _timed(self.model.complete(prompt, constraint=constraint), start)
            self.cache.put(key, self.model.name, response)
        return response

    async def acomplete(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Response:
        """``complete`` without blocking the event loop."""
        key = request_key(self, prompt, constraint)
        response = self.cache.get(key)
        if response is None:
            start = time.perf_counter()
            response = _timed(await self.model.acomplete(prompt, constraint=constraint), start)
            self.cache.put(key, self.model.name, response)
        return response

    def stream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> Iterator[Response]:
        """The whole answer as one piece."""
        yield self.complete(prompt, constraint=constraint)

    async def astream(self, prompt: ModelInput, *, constraint: Constraint | None = None) -> AsyncIterator[Response]:
        """The whole answer as one piece."""
        yield await self.acomplete(prompt, constraint=constraint)


def _timed(response: Response, start: float) -> Response:
    return response if response.seconds is not None else replace(response, seconds=time.perf_counter() - start)
