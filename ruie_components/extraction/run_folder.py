"""The folder of a run over a corpus: its files, lock and settings, its rows and their summary."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from filelock import FileLock, Timeout

from ruie_components.errors import RuieError
from ruie_components.extraction.documents import DocumentResult
from ruie_components.extraction.pool_state import PoolState, distinct
from ruie_components.files import atomic_write, json_object
from ruie_components.types import Task

RESULTS, RUN, SUMMARY = "results.jsonl", "run.json", "summary.json"
"""The files of a run's folder."""

_RETRY = ".retry.jsonl"

POOL = "pool"
"""The key of the states of the pool in the file of settings; they are no settings."""


@dataclass(frozen=True)
class Summary:
    """The totals of a run, resumed parts included.

    Attributes:
        documents: Rows in the results.
        resumed: Rows among them from earlier calls.
        failed: Documents with an error: no answer to the document or to some of its chunks.
        truncated: Documents with an answer that was cut off at the model's token limit.
        unanswered: Documents without an error, and yet with an empty answer to them or to some of their chunks.
        empty: Documents without a text.
        annotations: Entities, relations, events or arguments.
        calls: Requests, with those of a retried document's earlier rows.
        input_tokens: Tokens read, as the model counts them; else estimated. Earlier rows count as for calls.
        output_tokens: Tokens written, likewise.
        shared_tokens: Of the tokens read, those at the beginning of a prompt that the prompt before it began with too,
            in whole messages; estimated. A model that keeps the beginnings of prompts need not read them again.
        cost: By the budget's prices; ``None`` without prices.
        seconds: Duration of this call.
        complete: Whether every document of the corpus has its row.
        stopped: Why it is incomplete.
    """

    documents: int = 0
    resumed: int = 0
    failed: int = 0
    truncated: int = 0
    unanswered: int = 0
    empty: int = 0
    annotations: int = 0
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    shared_tokens: int = 0
    cost: float | None = None
    seconds: float = 0.0
    complete: bool = False
    stopped: str | None = None

    def with_row(self, row: Mapping[str, Any]) -> Self:
        """The totals with one more row of the results."""
        usage, extraction = row["usage"], row["extraction"]
        if extraction["task"] == Task.EAE:
            annotations = sum(len(event.get("arguments", ())) for event in extraction.get("events", ()))
        else:
            annotations = sum(len(extraction.get(name, ())) for name in ("entities", "relations", "events"))
        return replace(
            self,
            documents=self.documents + 1,
            failed=self.failed + ("error" in row),
            truncated=self.truncated + bool(usage["truncated"]),
            unanswered=self.unanswered + ("unanswered" in row),
            empty=self.empty + (not extraction["text"].strip()),
            annotations=self.annotations + annotations,
            calls=self.calls + row["calls"],
            input_tokens=self.input_tokens + (usage["input_tokens"] or 0),
            output_tokens=self.output_tokens + (usage["output_tokens"] or 0),
            shared_tokens=self.shared_tokens + row.get("shared_tokens", 0),
        )


def row_of(result: DocumentResult, calls: int, shared: int = 0) -> dict[str, Any]:
    """The row of a document in the results.

    Args:
        result: Its result.
        calls: The requests that it took.
        shared: Of the tokens read, those that the prompts before began with.
    """
    unanswered = {"unanswered": True} if result.unanswered else {}
    return {**result.to_row(), **unanswered, "calls": calls, "shared_tokens": shared}


def with_earlier_use(row: dict[str, Any], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """The row of a repeated document, with the requests and tokens of its earlier row added to its own."""
    used = ("input_tokens", "output_tokens")
    usage = {name: (row["usage"][name] or 0) + (earlier["usage"][name] or 0) for name in used}
    return {**row, "usage": {**row["usage"], **usage}, "calls": row["calls"] + earlier["calls"]}


def is_finished(row: Mapping[str, Any]) -> bool:
    """Whether nothing is left to ask about a row's document."""
    return not ("error" in row or row["usage"]["truncated"] or "unanswered" in row)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make the folder, and lock it for this process.

    Raises:
        RuieError: Another process has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout as error:
        raise RuieError(f"another process is writing its results to {folder}: wait for it") from error


def check_settings(folder: Path, own: Mapping[str, Any], *, overwrite: bool) -> list[PoolState]:
    """Check that a folder has no run of other settings.

    Args:
        folder: The folder, locked.
        own: The settings; what JSON can hold.
        overwrite: Remove the results of other settings.

    Returns:
        The states of the pool that the folder's rows were made with, as far as they are known.

    Raises:
        RuieError: The folder has results of other settings, or results without settings.
    """
    path = folder / RUN
    states: list[PoolState] = []
    if path.exists():
        known = json_object(str(path), path.read_text("utf-8"))
        states = known.pop(POOL, [])
        if different := sorted(differences(known, own)):
            if not overwrite:
                raise RuieError(
                    f"{folder} holds a run with other settings ({', '.join(different)}): give another folder, or "
                    "--overwrite to start over"
                )
            remove_results(folder)
    elif (folder / RESULTS).exists():
        raise RuieError(f"{folder} has a {RESULTS} that is not of a run, or lost its {RUN}: give another folder")
    has_rows = _has_rows(folder / RESULTS) or _has_rows(folder / _RETRY)
    return states if has_rows and not overwrite else []


def _has_rows(path: Path) -> bool:
    if not path.exists():
        return False
    with path.open("rb") as lines:
        return next(lines, b"").endswith(b"\n")


def keep_settings(folder: Path, own: Mapping[str, Any], states: Sequence[PoolState]) -> None:
    """Keep a run's settings, and the states of the pool that its rows are made with, in its folder."""
    kept = {**own, POOL: distinct(states)}
    atomic_write(folder / RUN, json.dumps(kept, ensure_ascii=False, indent=1))


def remove_results(folder: Path) -> None:
    """Remove the results of a run; the folder is locked."""
    for name in (RESULTS, _RETRY, SUMMARY):
        (folder / name).unlink(missing_ok=True)


def differences(known: Any, own: Any, name: str = "") -> Iterator[str]:
    """The names of the settings in which two runs differ, with their sections: ``extractor.model``."""
    if isinstance(known, dict) and isinstance(own, dict):
        for key in known.keys() | own.keys():
            yield from differences(known.get(key), own.get(key), f"{name}.{key}".strip("."))
    elif known != own:
        yield name


def check_same(path: Path, count: int, row: Mapping[str, Any], own: tuple[Any, Any], location: str) -> None:
    """Check that a row is of a document.

    Args:
        path: The file of the row.
        count: The row's number in the file, from 1.
        row: The row.
        own: The document's id and text.
        location: Where the document is.

    Raises:
        RuieError: It is of another document.
    """
    if (row.get("id"), row["extraction"]["text"]) != own:
        raise changed(path, f"row {count} is of another document than {location}")


def changed(path: Path, what: str) -> RuieError:
    """The error of a corpus that does not fit the rows of a file."""
    return RuieError(
        f"{path}: {what}. The corpus has changed since the run began: give the corpus of the first call, or another "
        f"folder, or delete {path.parent} with its results"
    )


def retry_file(folder: Path, *, retry_failed: bool) -> Path | None:
    """The file in which a retry writes rows beside the results; a killed call may leave it, to be continued."""
    retry = folder / _RETRY
    return retry if retry.exists() or (retry_failed and (folder / RESULTS).exists()) else None


def whole_part(path: Path) -> tuple[int, int]:
    """The number of complete rows of a results file, and their end offset."""
    count = end = 0
    if path.exists():
        with path.open("rb") as lines:
            for line in lines:
                if line.endswith(b"\n"):
                    count, end = count + 1, end + len(line)
    return count, end


def whole_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The complete rows of a results file, each with its end offset; a killed process may leave an unfinished row.

    Raises:
        RowError: A line before the last is not a row.
    """
    end = 0
    if not path.exists():
        return
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.endswith(b"\n"):
                return
            end += len(line)
            yield end, json_object(f"{path}, line {number}", line.decode("utf-8", "surrogatepass"))
