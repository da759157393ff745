"""The registry of formats, including those of entry points; guesses the format of a file."""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from zipfile import is_zipfile

from ruie_components.errors import RowError
from ruie_components.formats.base import Format, Sample
from ruie_components.formats.brat import BratFormat
from ruie_components.formats.conll import ConllFormat
from ruie_components.formats.doccano import DoccanoFormat
from ruie_components.formats.gliner import GlinerFormat
from ruie_components.formats.huggingface import HuggingFaceFormat
from ruie_components.formats.ie_instructions import IeInstructionsFormat
from ruie_components.formats.jsonl import JsonlFormat
from ruie_components.formats.label_studio import LabelStudioFormat
from ruie_components.formats.langextract import LangextractFormat
from ruie_components.formats.prodigy import ProdigyFormat
from ruie_components.formats.spacy_docbin import DocbinFormat

ENTRY_POINTS = "ruie.formats"
_BUILT_IN: tuple[Format, ...] = (  # in the order of guessing
    DocbinFormat(),
    BratFormat(),
    HuggingFaceFormat(),
    JsonlFormat(),
    IeInstructionsFormat(),
    LabelStudioFormat(),
    LangextractFormat(),
    GlinerFormat(),
    ProdigyFormat(),
    DoccanoFormat(),
    ConllFormat(),
)


@cache
def formats() -> dict[str, Format]:
    """All formats by name; those of entry points take precedence over built-in ones."""
    named = {}
    for entry in entry_points(group=ENTRY_POINTS):
        loaded = entry.load()
        named[entry.name] = loaded() if isinstance(loaded, type) else loaded
    return named | {each.name: each for each in _BUILT_IN if each.name not in named}


def format_names(*more: str) -> str:
    """The names of all formats, and of ``more``, in alphabetical order, for messages and help; loads no format."""
    names = {each.name for each in _BUILT_IN} | {entry.name for entry in entry_points(group=ENTRY_POINTS)}
    return ", ".join(sorted(names.union(more)))


def get_format(name: str) -> Format:
    """A format by its name.

    Raises:
        ValueError: There is no such format; the message lists them.
    """
    if name not in formats():
        raise ValueError(f"there is no format {name!r}; formats are {format_names()}")
    return formats()[name]


def guess_format(path: str | Path, *, encoding: str | None = None) -> Format:
    """Guess the format of a file or folder by its content.

    Raises:
        RowError: It has no known format, is empty, or can't be read.
    """
    path = Path(path)
    if not path.exists():
        raise RowError(f"{path}: no such file or folder")
    sample = Sample(path, encoding)
    for each in formats().values():
        if each.recognizes(sample):
            return each
    if path.is_dir():
        endings = dict.fromkeys(each.suffix for each in sorted(path.rglob("*")) if each.is_file() and each.suffix)
        held = f" It has files in {', '.join(list(endings)[:5])}." if endings else ""
        raise RowError(
            f"{path}: a folder is read if it is one of brat (.txt with .ann) or a saved Hugging Face data set.{held} "
            f"Name the files in it."
        )
    if not path.stat().st_size:
        raise RowError(f"{path}: the file is empty")
    if is_zipfile(path):
        raise RowError(f"{path}: it is a ZIP file. Unpack it, and name the files or the folder.")
    if sample.rows:
        about = f"Its rows have the keys {', '.join(sorted(sample.rows[0]))}."
    else:
        about = "Texts without annotations are for ruie extract and ruie suggest; tables of annotations can't be read."
    raise RowError(
        f"{path}: its format is not recognized. {about} Name it with --format (format=): {format_names()}. "
        f"A file in another encoding than UTF-8 needs --encoding (encoding=)."
    )
