"""Imports examples from files of any format, with a report, and exports them to any format."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path

from ruie_components.errors import RowError
from ruie_components.formats.base import Document, Format, Reading, Schema
from ruie_components.formats.brat import BratFormat
from ruie_components.formats.conll import ConllFormat
from ruie_components.formats.convert import documents_of, examples_of
from ruie_components.formats.jsonl import JsonlFormat, write_examples
from ruie_components.formats.mapping import LabelMapping
from ruie_components.formats.registry import get_format, guess_format
from ruie_components.types import Example, Task

_REPLACED = "rows of {} are replaced by those of {} with the same id and text"


class _Rows:
    """Rows with an id, each with the number of the last file that has it; about 150 bytes a row."""

    def __init__(self) -> None:
        self._files: dict[bytes, tuple[tuple[int, tuple[str, ...]], ...]] = {}
        self._shared: dict[tuple[int, tuple[str, ...]], tuple[int, tuple[str, ...]]] = {}

    def add(self, example: Example, number: int) -> None:
        """Add a row of a file; files come in order."""
        if example.id is None:
            return
        entry = (number, example.labels)
        entry = self._shared.setdefault(entry, entry)
        key = _key(example)
        known = self._files.get(key, ())
        if entry not in known:
            self._files[key] = (*known, entry)

    def file_of(self, example: Example) -> int:
        """The number of the last file with the row, in a schema that has a label of its schema; else -1."""
        if example.id is None:
            return -1
        entries = self._files.get(_key(example), ())
        labels = set(example.labels)
        return max((number for number, own in entries if not labels.isdisjoint(own)), default=-1)


def _key(example: Example) -> bytes:
    """A hash of id, task, text and, for EAE, the event."""
    event = [(each.type, each.trigger.start, each.trigger.end) for each in example.events]
    content = repr((example.id, example.task.value, example.text, event if example.task is Task.EAE else None))
    return blake2b(content.encode(), digest_size=16).digest()


@dataclass
class ImportReport:
    """The report of an import.

    Attributes:
        formats: The format of each file.
        rows: The number of texts read.
        examples: The number of examples by task.
        skipped: The number of rows skipped because of a problem.
        problems: The first hundred problems, each with file, line and field.
        notes: What was changed or left out while reading, and how often.
        labels: The labels by task, under their new names.
    """

    formats: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    examples: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    problems: list[str] = field(default_factory=list)
    notes: dict[str, int] = field(default_factory=dict)
    labels: dict[str, list[str]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """The number of examples of all tasks."""
        return sum(self.examples.values())


class Import:
    r"""The examples of files, read one by one during iteration; ``report`` is complete at the end.

    All labels of the files form the schema of each example, so files are read twice, first for their labels.

    Of rows of several files that have the same ``id``, text and task, and schemas with a label in common, those of the
    last file count: it corrects the others. The report notes how many rows of which file it replaces. Rows without an
    id, and rows of the same file, are all kept.

    Args:
        paths: Files, or folders if the format has them.
        format: A format's name; by default it is guessed for each file.
        mapping: New names of labels.
        tasks: Only these.
        strict: Raise the first problem instead of skipping the row.
        encoding: The encoding of files that are not UTF-8 and have no byte order mark.

    Raises:
        RowError: A file's format is not recognized. While iterating in strict mode: a row can't be read.
        ValueError: There is no format of that name.

    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.conll")
    ...     _ = path.write_text("Ada\tB-PER\nslept\tO\n")
    ...     files = Import([path], mapping=LabelMapping(rename={"PER": "person"}))
    ...     examples = list(files)
    >>> examples[0].text, examples[0].entities[0].type, files.report.rows
    ('Ada slept', 'person', 1)
    """

    def __init__(
        self,
        paths: Iterable[str | Path],
        *,
        format: str | None = None,  # noqa: A002  what it is called on the command line
        mapping: LabelMapping | None = None,
        tasks: Sequence[Task | str] | None = None,
        strict: bool = False,
        encoding: str | None = None,
    ) -> None:
        self._mapping = mapping or LabelMapping()
        self._tasks = None if tasks is None else frozenset(map(Task, tasks))
        self._strict, self._encoding = strict, encoding
        chosen = None if format is None else get_format(format)
        files = [(Path(path), chosen or guess_format(path, encoding=encoding)) for path in paths]
        self._files = list(
            dict.fromkeys((one.source(path) if isinstance(one, BratFormat) else path, one) for path, one in files)
        )
        self.report = ImportReport(formats={str(path): one.name for path, one in self._files})

    def __iter__(self) -> Iterator[Example]:
        formats = self.report.formats
        self.report = ImportReport(formats=formats)
        schema = self._schema()
        later = self._rows_of_later_files(schema)
        for number, (path, one) in enumerate(self._files):
            reading = Reading(strict=self._strict, encoding=self._encoding)
            for example in self._of_file(path, one, reading, schema):
                winner = later.file_of(example) if later else number
                if winner > number:
                    reading.notes[_REPLACED.format(path, self._files[winner][0])] += 1
                    continue
                task = str(example.task)
                self.report.examples[task] = self.report.examples.get(task, 0) + 1
                yield example
            self._add(reading)

    def _rows_of_later_files(self, schema: Schema) -> _Rows | None:
        """The rows of all files but the first; ``None`` if there is one file."""
        if len(self._files) < 2:
            return None
        rows = _Rows()
        for number, (path, one) in enumerate(self._files[1:], start=1):
            # problems are reported when the rows are given
            for example in self._of_file(path, one, Reading(encoding=self._encoding), schema):
                rows.add(example, number)
        self.report.rows = 0
        return rows

    def _schema(self) -> Schema:
        """The labels of all documents, sorted, with their new names."""
        first = Reading(encoding=self._encoding)
        for path, one in self._files:
            if isinstance(one, JsonlFormat):
                continue  # its rows have their own schema
            try:
                if isinstance(one, ConllFormat):
                    first.schema.declare(Task.NER, one.labels(path, self._encoding))
                    continue
                for item in one.read(path, first):
                    if isinstance(item, Document):
                        first.schema.collect(item)
            except RowError:
                pass  # the second reading reports it
        labels = {task: dict.fromkeys(sorted(each)) for task, each in first.schema.labels.items()}
        roles = {event: dict.fromkeys(sorted(each)) for event, each in first.schema.roles.items()}
        schema = self._mapping.renamed(Schema(labels, roles))
        self.report.labels = {str(task): list(each) for task, each in schema.labels.items() if each}
        self._note_unused(first.schema)
        return schema

    def _note_unused(self, schema: Schema) -> None:
        if any(isinstance(one, JsonlFormat) for _, one in self._files):
            return
        known = {label for each in schema.labels.values() for label in each} | set(schema.roles)
        known |= {role for roles in schema.roles.values() for role in roles}
        unused = sorted({*self._mapping.rename, *self._mapping.drop} - known)
        if unused:
            self.report.notes[f"labels of the mapping that occur in no file: {', '.join(unused)}"] = len(unused)

    def _of_file(self, path: Path, one: Format, reading: Reading, schema: Schema) -> Iterator[Example]:
        try:
            for item in one.read(path, reading):
                try:
                    examples = self._examples(item, schema)
                except RowError as error:
                    reading.problem(str(error))
                    continue
                self.report.rows += 1
                yield from examples
        except RowError as error:
            reading.problem(str(error))

    def _examples(self, item: Document | Example, schema: Schema) -> list[Example]:
        if isinstance(item, Document):
            return list(examples_of(self._mapping.document(item), schema, self._tasks))
        if self._tasks is not None and item.task not in self._tasks:
            return []
        mapped = self._mapping.example(item)
        return [] if mapped is None else [mapped]

    def _add(self, reading: Reading) -> None:
        report = self.report
        report.skipped += reading.count
        report.problems += reading.problems[: 100 - len(report.problems)]
        for note, count in reading.notes.items():
            if count:
                report.notes[note] = report.notes.get(note, 0) + count


def export(path: str | Path, examples: Iterable[Example], format: str) -> dict[str, int]:  # noqa: A002
    """Write examples to a file or folder. For formats other than jsonl all are held in memory.

    Args:
        path: A file; for brat, and for Hugging Face without ``.parquet`` or ``.jsonl``, a folder.
        examples: Of any tasks, mixed; those of one text become one document.
        format: A format's name.

    Returns:
        Notes on what the format can't represent, and how often.

    Raises:
        ValueError: There is no format of that name.
        RuieError: A package is missing.
        OSError: The file can't be written.
    """
    path = Path(path)
    one = get_format(format)
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(one, JsonlFormat):
        write_examples(path, examples)
        return {}
    reading = Reading()
    documents = documents_of(examples, reading)
    _note_unheld(documents, reading)
    one.write(path, documents, reading)
    return {note: count for note, count in reading.notes.items() if count}


def _note_unheld(documents: Sequence[Document], reading: Reading) -> None:
    """Note labels of schemas that no text has: they are lost if a format has no list of labels."""
    used = Reading()
    for document in documents:
        used.schema.collect(document)
    for task, labels in reading.schema.labels.items():
        unused = sorted(labels.keys() - used.schema.labels.get(task, {}).keys())
        if unused:
            reading.notes[f"{task} labels without annotations are only in a list of labels"] += len(unused)
