"""Atomic writes, appending, and reading text and JSON with file and line in errors."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

from ruie_components.errors import RowError


@contextmanager
def atomic_text(path: str | Path, *, errors: str = "strict") -> Iterator[IO[str]]:
    """Open a UTF-8 text file for writing; it gets its name only when the block ends without an exception.

    Args:
        path: The file; it is compressed if its name ends in ``.gz``.
        errors: What happens to characters that UTF-8 can't hold, as in ``open``.

    Raises:
        OSError: The file can't be written.
    """
    with atomic_path(path) as part, open_text(part, "w", errors=errors) as file:
        yield file


def atomic_write(path: str | Path, content: str | bytes) -> None:
    """Write a file in one step: a reader sees the old content or the new one, never a part.

    Raises:
        OSError: The file can't be written.
    """
    with atomic_path(path) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary name beside ``path``, with the same ending; at the end its file or folder replaces ``path``.

    If the block raises, the temporary file is removed and ``path`` stays unchanged.

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


_BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_PEEK = 1024


def open_text(path: Path, mode: str, *, errors: str = "strict", encoding: str | None = None) -> IO[str]:
    """Open a text file for reading ("r") or writing ("w"), compressed where its name ends in ``.gz``.

    It is written as UTF-8. It is read as UTF-8, or as UTF-16 or UTF-32 where it begins with their byte order mark.

    Args:
        path: The file.
        mode: "r" or "w".
        errors: As in ``open``.
        encoding: Another encoding to read, such as "latin-1".

    Raises:
        RowError: It begins with NUL bytes, so it is binary, or UTF-16 without a byte order mark.
        OSError: It can't be opened.
    """
    if mode != "r":
        if path.suffix == ".gz":
            return io.TextIOWrapper(gzip.GzipFile(path, mode), "utf-8", errors=errors, newline="\n")
        return path.open(mode, encoding="utf-8", errors=errors, newline="\n")
    raw = gzip.GzipFile(path, "r") if path.suffix == ".gz" else path.open("rb")
    try:
        return io.TextIOWrapper(raw, encoding or _encoding_of(path, raw), errors=errors, newline="\n")
    except BaseException:
        raw.close()
        raise


def _encoding_of(path: Path, file: gzip.GzipFile | io.BufferedReader) -> str:
    start = file.peek(_PEEK)[:_PEEK]
    for mark, name in _BYTE_ORDER_MARKS.items():
        if start.startswith(mark):
            return name
    if b"\0" in start:
        raise RowError(
            f"{path}: it begins with NUL bytes, so it is a binary file, or UTF-16 without a byte order "
            f"mark. Save it as UTF-8."
        )
    return "utf-8-sig"  # some editors put a byte order mark at the start


def open_to_append(path: str | Path) -> IO[str]:
    """Open a file of lines for appending; if a killed process left the last line unfinished, start a new one."""
    path = Path(path)
    unfinished = False
    if path.exists() and path.stat().st_size:
        with path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            unfinished = file.read(1) != b"\n"
    opened = path.open("a", encoding="utf-8", errors="surrogatepass")
    opened.write("\n" if unfinished else "")
    return opened


def read_rows(path: str | Path, *, encoding: str | None = None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read the objects of a ``.jsonl`` or ``.jsonl.gz`` file, each with its location: ``FILE, line N``.

    Raises:
        RowError: The file can't be read, or a line is not a JSON object.
    """
    for location, line in read_lines(path, encoding=encoding):
        yield location, json_object(location, line)


def json_object(location: str, line: str) -> dict[str, Any]:
    """The JSON object of a line.

    Raises:
        RowError: The line is not a JSON object; the message begins with the location.
    """
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:  # ValueError for an integer with too many digits, too
        raise RowError(f"{location}: not JSON: {error}") from error
    if not isinstance(row, dict):
        raise RowError(f"{location}: expected a JSON object, got {type(row).__name__}")
    return row


def read_lines(path: str | Path, *, encoding: str | None = None, errors: str = "strict") -> Iterator[tuple[str, str]]:
    """Read the lines of a text file (``.gz`` too) that aren't blank, each with its location: ``FILE, line N``.

    Args:
        path: The file.
        encoding: As for ``open_text``.
        errors: What happens to bytes that are not in that encoding, as in ``open``.

    Raises:
        RowError: The file can't be read, or is not in its encoding.
    """
    path = Path(path)
    for number, line in enumerate(text_lines(path, encoding=encoding, errors=errors), start=1):
        if line.strip():
            yield f"{path}, line {number}", line.rstrip("\r\n")


def text_lines(path: Path, *, encoding: str | None = None, errors: str = "strict") -> Iterator[str]:
    """All lines of a text file (``.gz`` too), with their ends.

    Raises:
        RowError: The file can't be read, or is not in its encoding.
    """
    number = 0
    with _reading(path, lambda: number), open_text(path, "r", encoding=encoding, errors=errors) as lines:
        for number, line in enumerate(lines, start=1):  # noqa: B007
            yield line


def text_blocks(path: Path, *, encoding: str | None = None) -> Iterator[str]:
    """The content of a text file (``.gz`` too) in blocks of whole lines, each of 64 Ki characters or one long line.

    Raises:
        RowError: The file can't be read, or is not in its encoding; the lines before it come first.
    """
    number = 0
    try:
        with open_text(path, "r", encoding=encoding) as file:
            while block := file.read(_BLOCK):
                block += file.readline()
                yield block
                number += block.count("\n")
            return
    except (UnicodeError, LookupError, OSError, EOFError, zlib.error):
        pass  # lines before the error are lost with their block, so they are read again one by one
    yield from islice(text_lines(path, encoding=encoding), number, None)


_BLOCK = 1 << 16
_CHUNK = 1 << 20
_LARGEST_VALUE = 1 << 26
_BETWEEN = re.compile(r"[ \t\n\r]*")


def json_values(path: str | Path, *, encoding: str | None = None) -> Iterator[tuple[str, Any]]:
    """The elements of a JSON array, or else JSON values one after another, each with its location: ``FILE, line N``.

    Elements of an array that begin on the same line have their number, too: ``FILE, line N, item M``. Only one chunk of
    the file and one value are in memory. A single object is one value.

    Raises:
        RowError: The file can't be read, is not JSON, or holds a value of more than 64 Mi characters.
    """
    path = Path(path)
    decoder = json.JSONDecoder()
    line, number, last = 1, 0, 0  # the numbers of the line, the last value, and the line where that value ended
    with _reading(path, lambda: line), open_text(path, "r", encoding=encoding) as file:
        text, at, ended, in_array, comma = "", 0, False, None, False
        while True:
            start = _BETWEEN.match(text, at).end()  # type: ignore[union-attr]  # it matches nothing, too
            line += text.count("\n", at, start)
            at = start
            if at < len(text):
                if in_array is None:
                    in_array = text[at] == "["
                    at += in_array
                    continue
                if in_array and text[at] == "]":
                    if text[at + 1 :].strip() or file.read(_CHUNK).strip():
                        raise RowError(f"{path}, line {line}: unexpected text after the end of the JSON array")
                    return
                if in_array and comma and text[at] == ",":
                    at, comma = at + 1, False
                    continue
                try:
                    if in_array and comma:
                        raise json.JSONDecodeError("expected ',' or ']'", text, at)
                    value, end = decoder.raw_decode(text, at)
                except (ValueError, RecursionError) as error:
                    if ended or isinstance(error, RecursionError) or len(text) - at > _LARGEST_VALUE:
                        reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
                        raise RowError(f"{path}, line {line}: not JSON: {reason}") from error
                else:
                    if end < len(text) or ended:  # a number may continue in the next chunk
                        number += 1
                        yield f"{path}, line {line}{f', item {number}' if in_array and line == last else ''}", value
                        line += text.count("\n", at, end)
                        at, comma, last = end, True, line
                        continue
            elif ended:
                if in_array:
                    raise RowError(f"{path}, line {line}: the JSON array does not end; the file is truncated")
                return
            chunk = file.read(max(_CHUNK, len(text) - at))
            text, at, ended = text[at:] + chunk, 0, not chunk


@contextmanager
def _reading(path: Path, line: Callable[[], int]) -> Iterator[None]:
    try:
        yield
    except UnicodeError as error:
        reason = getattr(error, "reason", str(error))
        encoding = getattr(error, "encoding", "UTF-8").upper()
        raise RowError(
            f"{path}, after line {line()}: not {encoding} ({reason}). Save the file as UTF-8, or name its encoding, "
            f"such as latin-1."
        ) from error
    except LookupError as error:
        raise RowError(f"{path}: {error}; encodings are utf-8, utf-16, latin-1, cp1252 and others") from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise RowError(f"{path}, after line {line()}: the file can't be read ({reason})") from error
