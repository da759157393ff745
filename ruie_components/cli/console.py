"""The consoles of the command line: results to standard output, everything else to standard error."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from rich.console import Console

from ruie_components.files import atomic_text

console = Console(highlight=False)
errors = Console(stderr=True, highlight=False)


def write_any_character() -> None:
    """Make no character fail a command: one that the terminal or pipe can't encode becomes a question mark.

    Standard error does not need this: Python escapes such characters there.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write a table: separated by commas, or by tabs where the file's name ends in ``.tsv``."""
    with atomic_text(path, errors="surrogatepass") as file:
        delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
        writer = csv.DictWriter(file, columns, delimiter=delimiter, lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list | bool) else value


def write_json(console: Console, value: Any, *, indent: int | None = None) -> None:
    """Write JSON, on one line unless indented; in ASCII, without loss, if the stream can't encode it.

    ``console.print_json`` would wrap lines at the terminal's width.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    try:
        text.encode(console.encoding)
    except UnicodeEncodeError:
        text = json.dumps(value, indent=indent)
    console.file.write(f"{text}\n")
