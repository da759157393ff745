"""CoNLL: one token and its tag per line, blank lines between sentences; BIO, IOB1, IO, BIOES, bare types."""

from __future__ import annotations

import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from ruie_components.files import atomic_text, text_blocks
from ruie_components.formats.base import Document, Reading, Sample
from ruie_components.formats.tags import OUTSIDE, TAG, tagged_document, tags_of_document
from ruie_components.types import Task

_DOCUMENT = "-DOCSTART-"
_SCHEMES = tuple(f"{letter}-" for letter in "BIESLUM")
_AFTER_LAST_TAB = re.compile(r"\t([^\t\n]*+)(?:\n|\Z)")
_BLANK = " \r\n"
_LONGEST = 100_000  # maximum tokens of a sentence; more means that blank lines are missing


class _Layout(NamedTuple):
    """The columns of the token and of its tag, whether more columns of tags follow, and whether tags are bare types."""

    token: int = 0
    tag: int = -1
    more: bool = False
    bare: bool = False

    def tags(self, cells: Iterable[str]) -> list[str]:
        """The tags in a scheme: a bare type is that of a token inside an entity."""
        return [f"I-{cell}" if self.bare and cell not in (OUTSIDE, "") else cell for cell in cells]


_PLAIN = _Layout()


class ConllFormat:
    """Sentences of token lines. The first column is the token, the last one its tag.

    A first column that counts the tokens of each sentence is left out. Of several columns of tags after it the first is
    read, as in GermEval 2014 and Universal NER. Tags may be types without B- and I-, as in Few-NERD.
    """

    name = "conll"
    title = "CoNLL / BIO / IOB1 / BIOES: one token and its tag per line"

    def recognizes(self, sample: Sample) -> bool:
        """Whether nearly all lines have at least two columns and end with a tag."""
        layout = _layout(sample.start)
        lines = [_columns(line) for line in sample.start.split("\n")[:500] if line.strip()]
        lines = lines[:-1] or lines  # the last line of the sample may be incomplete
        lines = [columns for columns in lines if columns[0] != _DOCUMENT and not _is_comment(columns)]
        rows = [columns[layout.tag] for columns in lines if len(columns) > layout.token + 1]
        tagged = sum(map(_is_tag, layout.tags(rows)))
        return bool(lines) and tagged >= 0.9 * len(lines)

    def read(self, path: Path, reading: Reading) -> Iterator[Document]:
        """Read one document per sentence."""
        layout, blocks = _with_layout(path, reading.encoding)
        reading.notes["further columns of tags are left out"] += layout.more
        reading.notes["tags have no B- and I-: neighbours of one type are one entity"] += layout.bare
        texts = _sentences(blocks)
        number = 0
        for text in texts:
            count = text.count("\n")
            if count >= _LONGEST:  # it may be only the beginning of a sentence
                lines = chain.from_iterable(map(_lines, chain([text], texts)))
                yield from _careful(path, lines, number, reading, layout)
                return
            yield from _documents(path, text, number, reading, layout)
            number += count

    def labels(self, path: Path, encoding: str | None) -> set[str]:
        """The types of all tags, read faster than the sentences."""
        layout, blocks = _with_layout(path, encoding)
        tags: set[str] = set()
        for block in blocks:
            if layout != _PLAIN:
                rows = [columns for columns in map(_columns, block.split("\n")) if len(columns) > layout.token + 1]
                tags.update(layout.tags({columns[layout.tag] for columns in rows}))
                continue
            ends = _AFTER_LAST_TAB.findall(block)
            tags.update(ends)
            lines = block.count("\n") + (not block.endswith("\n"))
            if len(ends) + block.count("\n\n") + block.count("\n\r\n") < lines:
                tags.update([_columns(line)[-1] for line in block.split("\n") if "\t" not in line and line.strip()])
        return {tag[2:] for tag in (tag.strip(_BLANK) for tag in tags) if TAG.fullmatch(tag)}

    def write(self, path: Path, documents: Iterable[Document], reading: Reading) -> int:
        """Write a token and its BIO tag per line, separated by a tab."""
        count = 0
        with atomic_text(path) as file:
            for document in documents:
                tokens, tags, lost = tags_of_document(document)
                words = [document.text[start:end] for start, end in tokens]
                reading.notes["nested and crossing entities are left out"] += lost
                reading.notes["relations and events are left out"] += bool(document.relations or document.events)
                reading.notes["ids and other keys are left out"] += document.id is not None or bool(document.metadata)
                reading.notes["white space between tokens becomes one space"] += " ".join(words) != document.text
                if words:
                    file.writelines(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True))
                    file.write("\n")
                    count += 1
        return count


def _columns(line: str) -> list[str]:
    """The columns of a line; only tabs and spaces separate them, as a no-break space is part of a token."""
    line = line.rstrip("\r\n")
    if "\t" in line:
        return [column.strip(_BLANK) for column in line.split("\t")]
    return [column for column in line.split(" ") if column]


def _is_comment(columns: list[str]) -> bool:
    """Whether a line may be a comment, if it comes before a sentence: it is none if it ends with a tag."""
    return columns[0].startswith("#") and not _is_tag(columns[-1])


def _is_tag(column: str) -> bool:
    return column == OUTSIDE or re.fullmatch(TAG, column) is not None


def _with_layout(path: Path, encoding: str | None) -> tuple[_Layout, Iterator[str]]:
    """The layout of a file, and its blocks."""
    blocks = text_blocks(path, encoding=encoding)
    start = next(blocks, "")
    return _layout(start), chain([start], blocks)


def _layout(start: str) -> _Layout:
    """The layout that the beginning of a file shows."""
    rows: list[list[str]] = []
    number = longest = 0  # of the token in its sentence
    lines = start.split("\n")
    lines = lines[:-1] or lines  # the last one may be incomplete
    for line in lines:
        columns = _columns(line)
        if not line.strip() or columns[0] == _DOCUMENT:
            number = 0
        elif number or not _is_comment(columns):
            number += 1
            longest = max(longest, number)
            if columns[0] != str(number) or len(columns) < 3:
                return _Layout(bare=_are_bare(lines))
            rows.append(columns)
    if longest < 2:
        return _Layout(bare=_are_bare(lines))
    if not all(_is_tag(columns[2]) for columns in rows):
        return _Layout(1, -1)
    return _Layout(1, 2, all(len(columns) > 3 and _is_tag(columns[3]) for columns in rows))


def _are_bare(lines: Iterable[str]) -> bool:
    """Whether lines have a token, a tab and a type or O, mostly O: other tags, such as parts of speech, have no O."""
    rows = [line.split("\t") for line in lines if line.strip()]
    if any(len(columns) != 2 for columns in rows):
        return False
    tags = Counter(columns[1].strip(_BLANK) for columns in rows)
    others = [tag for tag in tags if tag != OUTSIDE]
    return bool(others) and not any(map(TAG.fullmatch, others)) and tags[OUTSIDE] == max(tags.values())


def _sentences(blocks: Iterable[str]) -> Iterator[str]:
    """The content of blocks of whole lines, cut after blank lines, and anywhere after ``_LONGEST`` lines without one.

    In a file that has several kinds of line ends a text may have several sentences.
    """
    held: list[str] = []  # the beginning of a sentence, in whole lines
    count = 0
    for block in blocks:
        blank = "\n\r\n" if "\r\n" in block else "\n\n"
        start = 0
        if held and block.startswith(blank[1:]):
            yield "".join(held)
            held, count = [], 0
        while (end := block.find(blank, start) + len(blank)) >= len(blank):
            if held:
                yield "".join([*held, block[start:end]])
                held, count = [], 0
            else:
                yield block[start:end]
            start = end
        if start < len(block):
            held.append(block[start:])
            count += held[-1].count("\n")
            if count >= _LONGEST:
                yield "".join(held)
                held, count = [], 0
    if held:
        yield "".join(held)


def _lines(text: str) -> Iterator[str]:
    return iter(io.StringIO(text, newline="\n"))


def _documents(path: Path, text: str, before: int, reading: Reading, layout: _Layout = _PLAIN) -> Iterator[Document]:
    """The documents of a text, mostly one, the first line of which is number ``before + 1``.

    Lines that all have the same columns, with one tab or one space between them, are read together, which is
    faster; others one after another.
    """
    body = text.strip("\r\n")
    first = body[: body.find("\n")] if "\n" in body else body
    tabs = "\t" in first
    columns = first.count("\t" if tabs else " ") + 1
    plain = columns > layout.token + 1 and not body.startswith("#") and _DOCUMENT not in body
    if not plain or not _plain_lines(columns, tabs).fullmatch(body):
        return _careful(path, _lines(text), before, reading, layout)
    cells = body.replace("\n", "\t").replace("\r\t", "\t").split("\t") if tabs else body.split()
    number = before + 1 + text.count("\n", 0, text.find(body))
    tokens, tags = cells[layout.token :: columns], cells[layout.tag % columns :: columns]
    return _sentence(path, number, tokens, layout.tags(tags) if layout.bare else tags, "", reading)


@lru_cache(64)
def _plain_lines(columns: int, tabs: bool) -> re.Pattern[str]:
    """Lines of as many columns; between tabs there may be single spaces in a column."""
    cell, between = (r"\S++(?: \S++)*+", r"\t") if tabs else (r"\S++", " ")
    line = rf"{cell}(?:{between}{cell}){{{columns - 1}}}+"
    return re.compile(rf"{line}(?:\r?\n{line})*+")


def _careful(
    path: Path, lines: Iterable[str], before: int, reading: Reading, layout: _Layout = _PLAIN
) -> Iterator[Document]:
    """The documents of lines of any columns, line by line."""
    tokens: list[str] = []
    tags: list[str] = []
    first, wrong = 0, ""
    number = before
    for number, line in enumerate(lines, start=before + 1):
        columns = _columns(line)
        if not line.strip() or columns[0] == _DOCUMENT:
            if tokens or wrong:
                yield from _sentence(path, first, tokens, tags, wrong, reading)
                tokens, tags, wrong = [], [], ""
            continue
        if not tokens and _is_comment(columns):
            continue
        whole = len(columns) > layout.token + 1
        word, tag = (columns[layout.token], columns[layout.tag]) if whole else ("", "")
        if not word:
            shown = line.strip()
            wrong = wrong or f"{path}, line {number}: tag: expected a token and its tag, got {shown!r:.60}"
        if not tokens:
            first = number
        tokens.append(word if word.strip() else "")
        tags += layout.tags([tag])
        if len(tokens) >= _LONGEST:
            wrong = wrong or f"{path}, line {first}: a sentence of {_LONGEST:,} tokens is not followed by a blank line"
            tokens, tags = tokens[:1], tags[:1]
    if tokens or wrong:
        yield from _sentence(path, first or number, tokens, tags, wrong, reading)


def _sentence(
    path: Path, first: int, tokens: list[str], tags: list[str], wrong: str, reading: Reading
) -> Iterator[Document]:
    words, own = tokens, tags
    if "" in tokens and not wrong:
        reading.notes["tokens that are white space are left out"] += tokens.count("")
        words = [token for token in tokens if token]
        own = [tag for token, tag in zip(tokens, tags, strict=True) if token]
    if words and not wrong:
        try:
            document = tagged_document(f"{path}, line {first}", words, own)
            document.tasks = _NER
            yield document
        except ValueError:
            at = next(at for at, tag in enumerate(tags) if tag != OUTSIDE and not TAG.fullmatch(tag))
            wrong = f"{path}, line {first + at}: tag: {tags[at]!r:.60} is neither O nor one such as B-person"
    if wrong:
        reading.problem(wrong)


_NER = frozenset({Task.NER})
