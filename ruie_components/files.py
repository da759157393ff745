"""Files that are whole or not there, and JSON Lines: atomic writes, reading with file and line in errors, appending."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ruie_components.errors import RowError


@contextmanager
def atomic_text(path: str | Path, *, errors: str = "strict") -> Iterator[IO[str]]:
    """A UTF-8 text file to write to. It takes its name only when the block ends without an exception.

    Args:
        path: Where to; a name that ends in ``.gz`` is compressed.
        errors: What happens to characters that UTF-8 can't hold, as in ``open``.

    Raises:
        OSError: The file can't be written.
    """
    with atomic_path(path) as part, open_text(part, "w", errors=errors) as file:
        yield file


def atomic_write(path: str | Path, content: str | bytes) -> None:
    """Write a whole file; a reader sees the old content or the new one, never a part.

    Raises:
        OSError: The file can't be written.
    """
    with atomic_path(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A name beside ``path``, with the same ending, for a file or folder that takes the place of ``path`` at the end.

    When the block raises, what was written is removed, and ``path`` stays as it was.

    Raises:
        OSError: The file or folder can't be moved to ``path``.
    """
    path = Path(path)
    part = path.with_name(f".part-{os.getpid()}-{path.name}")
    _remove(part)
    try:
        yield part
        if part.is_dir() and path.is_dir():
            old = path.with_name(f".old-{os.getpid()}-{path.name}")  # a folder can't be moved onto another one
            path.rename(old)
            part.rename(path)
            _remove(old)
        else:
            part.replace(path)
    finally:
        _remove(part)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def open_text(path: Path, mode: str, *, errors: str = "strict") -> IO[str]:
    """Open a UTF-8 text file for reading ("r") or writing ("w"), compressed where its name ends in ``.gz``."""
    encoding = "utf-8-sig" if mode == "r" else "utf-8"  # some editors put a byte order mark at the start
    if path.suffix == ".gz":
        return io.TextIOWrapper(gzip.GzipFile(path, mode), encoding, errors=errors, newline="\n")
    return path.open(mode, encoding=encoding, errors=errors, newline="\n")


def open_to_append(path: str | Path) -> IO[str]:
    """Open a file of lines to append to, on a new line where a killed process left the last one unfinished."""
    path = Path(path)
    unfinished = False
    if path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            unfinished = file.read(1) != b"\n"
    opened = path.open("a", encoding="utf-8", errors="surrogatepass")
    opened.write("\n" if unfinished else "")
    return opened


def read_rows(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the objects of a ``.jsonl`` or ``.jsonl.gz`` file, each with its location: ``FILE, line N``.

    Raises:
        RowError: The file can't be read, or a line is not a JSON object.
    """
    for location, line in read_lines(path):
        try:
            row = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise RowError(f"{location}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise RowError(f"{location}: expected a JSON object, got {type(row).__name__}")
        yield location, row


def read_lines(path: str | Path, *, errors: str = "strict") -> Iterator[tuple[str, str]]:
    """Read the lines of a text file (``.gz`` too) that aren't blank, each with its location: ``FILE, line N``.

    Args:
        path: The file, in UTF-8.
        errors: What happens to bytes that are not UTF-8, as in ``open``.

    Raises:
        RowError: The file can't be read, or is not UTF-8.
    """
    path = Path(path)
    number = 0
    try:
        with open_text(path, "r", errors=errors) as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield f"{path}, line {number}", line.rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise RowError(f"{path}, after line {number}: not UTF-8 ({error.reason})") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RowError(f"{path}, after line {number}: the file can't be read ({reason})") from error
