"""The file from which an interrupted extraction resumes, with a JSON line for every finished result."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from filelock import FileLock, Timeout

from ruie_components.errors import RowError, RuieError
from ruie_components.extraction.results import ExtractionResult, Usage, confidence_of
from ruie_components.files import atomic_text, open_to_append
from ruie_components.prompts import Prompt
from ruie_components.types import Demonstration, Example, Extraction, Query

_START = b'{"key": "'  # the beginning of every line
_PARTS = {"chunks", "error"}  # keys of a row that is not the answer to one prompt


class ResumeFile:
    """Finished results in a file, identified by query and settings. A context manager; without a path it is empty.

    A line that a killed process left incomplete is skipped. A query whose result has an error, no answer or a truncated
    one, or was put together from chunks, is repeated. Lines are in the order of arrival until ``arrange`` is called at
    the end of a run. One process at a time may use a file; ``PATH.lock`` ensures it.

    Args:
        path: The file; ``None`` for no file.
        settings: Everything except the query that determines a result.
        get_examples: Reads examples from the store by their ids, without unknown ids.
        write_prompt: Writes the prompt of a query with given demonstrations, best first.

    Raises:
        RuieError: Another process is using the file.
        RowError: The file has other content.
    """

    def __init__(
        self,
        path: Path | str | None,
        *,
        settings: Mapping[str, Any],
        get_examples: Callable[[Iterable[str]], Sequence[Example]],
        write_prompt: Callable[[Query, Sequence[Demonstration]], Prompt],
    ) -> None:
        self._path = Path(path) if path is not None else None
        self._settings = _hash(json.dumps(settings, sort_keys=True))[:8]
        self._get_examples, self._write_prompt = get_examples, write_prompt
        self._known: dict[str, dict[str, Any]] = {}
        self._file: IO[str] | None = None
        self._lock = FileLock(f"{self._path}.lock", timeout=0)

    def __enter__(self) -> Self:
        self.open()
        return self

    def open(self) -> None:
        """Lock and read the file, unless it is already open."""
        if self._path is None or self._file is not None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._acquire()
        try:
            if self._path.exists():
                self._known = {row["key"]: row for row in _read(self._path)}
            self._file = open_to_append(self._path)
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._file:
            self._file.close()
            with suppress(OSError):  # before the release, so that no one locks a file that is about to be deleted
                Path(self._lock.lock_file).unlink()
            self._lock.release()

    def _acquire(self) -> None:
        try:
            self._lock.acquire()
        except Timeout as error:
            raise RuieError(
                f"another process is writing its results to {self._path}: wait for it, or give another file"
            ) from error

    def restore(self, queries: Iterable[Query]) -> Iterator[tuple[Query, ExtractionResult]]:
        """The finished results, except of unknown queries and of results with deleted demonstrations."""
        keys = {query: self._key(query) for query in queries}
        rows = {query: row for query, key in keys.items() if (row := self._known.get(key)) and not _PARTS & row.keys()}
        scores = {query: known for query, row in rows.items() if (known := _scores(row)) is not None}
        wanted = dict.fromkeys(row_id for known in scores.values() for row_id in known)
        examples = {example.content_id: example for example in (self._get_examples(wanted) if wanted else ())}
        for query, known in scores.items():
            row = rows[query]
            try:
                demonstrations = [
                    Demonstration(example=examples[row_id], score=score) for row_id, score in known.items()
                ]
                prompt = self._write_prompt(query, demonstrations)
                extraction = Extraction.model_validate(row["extraction"])
                sure = confidence_of(row)
                result = ExtractionResult(extraction, prompt, Usage(**row["usage"]), confidence=sure, resumed=True)
            except (KeyError, TypeError, ValueError):
                continue  # deleted, edited, or written by another version
            if is_finished(result):
                yield query, result

    def put(self, query: Query, result: ExtractionResult) -> None:
        """Write a result, unless it has an error."""
        if self._file is None or result.error is not None:
            return
        self._file.write(_line({"key": self._key(query), **result.to_row()}))
        self._file.flush()

    def arrange(self, queries: Sequence[Query]) -> None:
        """Order the results of a finished run by its queries, one line each, after those of other runs."""
        if self._path is None or self._file is None:
            return
        self._file.close()
        rows = _read(self._path)
        last = {row["key"]: row for row in rows}
        keys = [(self._key(query), query) for query in queries]
        own = [_of_query(last[key], query) for key, query in keys if key in last]  # equal queries with different ids
        _write(self._path, rows, own)

    def _key(self, query: Query) -> str:
        return _key(self._settings, query)


def write_results(
    path: Path, settings: Mapping[str, Any], queries: Sequence[Query], results: Sequence[ExtractionResult]
) -> None:
    """Write results in place of earlier ones of the same queries, those with errors too, after those of other runs.

    Args:
        path: A new file, or one of finished results.
        settings: Everything except the query that determines a result.
        queries: The queries.
        results: Of each query.

    Raises:
        RowError: The file has other content.
    """
    of_settings = _hash(json.dumps(settings, sort_keys=True))[:8]
    own = [{"key": _key(of_settings, query), **one.to_row()} for query, one in zip(queries, results, strict=True)]
    _write(path, _read(path) if path.exists() else [], own)


def count_others(path: Path | str, settings: Mapping[str, Any]) -> int:
    """The number of results in a file that were made with other settings.

    Raises:
        RowError: The file has other content.
    """
    if not Path(path).exists():
        return 0
    own = _hash(json.dumps(settings, sort_keys=True))[:8]
    return sum(not row["key"].startswith(f"{own}-") for row in _read(Path(path)))


def _key(settings: str, query: Query) -> str:
    return f"{settings}-{_hash(query.to_json())[:24]}"


def _hash(content: str) -> str:
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()


def is_finished(result: ExtractionResult) -> bool:
    """Whether there is a complete answer; a query without one is repeated."""
    return not (result.error is not None or result.usage.truncated or result.unanswered)


def _scores(row: dict[str, Any]) -> dict[str, float] | None:
    """The scores of a result's demonstrations by their ids, best first; ``None`` if the row was edited."""
    try:
        scores = dict(row["demonstrations"])
    except (KeyError, TypeError, ValueError):
        return None
    return scores if all(isinstance(row_id, str) for row_id in scores) else None


def _of_query(row: dict[str, Any], query: Query) -> dict[str, Any]:
    own: dict[str, Any] = {"key": row["key"]}
    own |= {} if query.id is None else {"id": query.id}
    own |= {"metadata": query.metadata} if query.metadata else {}
    return own | {name: value for name, value in row.items() if name not in ("id", "metadata")}


def _line(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _read(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines):
            if number == 0 and not (line.startswith(_START) or _START.startswith(line)):
                raise RowError(
                    f"{path} is not a file of finished results: give a new file as `resume` or --out, or one from an "
                    "earlier run"
                )
            try:
                row = json.loads(line.decode("utf-8", "surrogatepass"))
            except ValueError:
                continue  # incomplete: the process was killed while writing
            if isinstance(row, dict) and isinstance(row.get("key"), str):
                rows.append(row)
    # A query that was repeated has several rows, the last of which counts; rows of equal queries are equal.
    last = {_identity(row): row for row in rows}
    return [row for row in rows if row == last[_identity(row)]]


def _identity(row: Mapping[str, Any]) -> tuple[str, str]:
    """The query of a row: equal queries with different ids or metadata have one key."""
    return row["key"], json.dumps([row.get("id"), row.get("metadata")], sort_keys=True)


def _write(path: Path, rows: Iterable[dict[str, Any]], own: Sequence[dict[str, Any]]) -> None:
    """Write the rows of other runs, then those of this one, which replace rows of equal queries with equal ids."""
    replaced = {_key_and_id(row) for row in own}
    others = (row for row in rows if _key_and_id(row) not in replaced)
    with atomic_text(path, errors="surrogatepass") as file:
        file.writelines(_line(row) for row in [*others, *own])


def _key_and_id(row: Mapping[str, Any]) -> tuple[str, str]:
    return row["key"], json.dumps(row.get("id"))
