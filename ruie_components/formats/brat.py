"""brat's standoff files: a text, and its annotations in ``.ann``, or ``.a1`` and ``.a2``."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from ruie_components.errors import RowError
from ruie_components.files import atomic_write, open_text, text_lines
from ruie_components.formats.base import Document, Frame, Link, Reading, Sample, Schema
from ruie_components.integers import counted
from ruie_components.types import Task

_ENDINGS = (".ann", ".a1", ".a2")
UNTYPED = "Untyped"
"""The type of a span that is part of a relation or event but not an entity; it is read back as such."""
_EQUIVALENCE, _SYMMETRIC = "Equiv", "symmetric-transitive"
_EXPORTED = ".ruie-export"  # the names of the texts that an export wrote, so that the next one can remove them
_LINE = re.compile(r"[^\r\n]+")
_NOT_IN_A_NAME = re.compile(r"[^\w-]+")


class BratFormat:
    """A folder, a ``.txt`` file, or one of its standoff files; each text is a document.

    A discontinuous span is read from its first to its last character. An event as an argument is read as its trigger.
    ``annotation.conf`` defines the labels, if the folder of the text, or a folder between it and the one that is read,
    has it.
    """

    name = "brat"
    title = "brat standoff: .txt with .ann, or .a1 and .a2; a file or a folder"

    def recognizes(self, sample: Sample) -> bool:
        """Whether it is a standoff file, a text with one, or a folder that has some."""
        if sample.path.is_dir():
            return any(_standoff(text) for text in sample.path.rglob("*.txt"))
        return sample.path.suffix in _ENDINGS or (sample.path.suffix == ".txt" and bool(_standoff(sample.path)))

    def source(self, path: Path) -> Path:
        """The folder or text of a file, so that no text is read twice."""
        return path if path.is_dir() else path.with_suffix(".txt")

    def read(self, path: Path, reading: Reading) -> Iterator[Document]:
        """Read one document per text."""
        texts = sorted(path.rglob("*.txt")) if path.is_dir() else [self.source(path)]
        names: dict[Path, dict[str, str]] = {}
        for text in texts:
            if text.parent not in names:
                names[text.parent] = _display_names(_nearest("visual.conf", text, path), reading)
                _declare_labels(_nearest("annotation.conf", text, path), names[text.parent], reading)
            files = _standoff(text)
            if not files and path.is_dir():
                reading.notes["texts without standoff files are left out"] += 1
                continue
            try:
                yield _Standoff(text, files, names[text.parent], reading).document()
            except RowError as error:
                reading.problem(str(error))

    def write(self, path: Path, documents: Iterable[Document], reading: Reading) -> int:
        """Write a folder with ``.txt`` and ``.ann`` for each document, and brat's two configuration files.

        What an earlier export wrote there is removed; other texts in the folder stay, and a note counts them.
        """
        path.mkdir(parents=True, exist_ok=True)
        used: set[str] = set()
        for number, document in enumerate(documents, start=1):
            stem = _stem(document, number, reading)
            if stem in used:
                reading.notes["duplicate ids got a number"] += 1
                stem = f"{stem}-{number}"
            used.add(stem)
            reading.notes["other keys than the id are left out"] += bool(document.metadata)
            atomic_write(path / f"{stem}.txt", document.text)
            atomic_write(path / f"{stem}.ann", "".join(f"{line}\n" for line in _lines(document)))
        atomic_write(path / "annotation.conf", _annotation_conf(reading.schema))
        atomic_write(path / "visual.conf", _visual_conf(reading.schema))
        for stem in _exported(path) - used:
            for ending in (".txt", ".ann"):
                (path / f"{stem}{ending}").unlink(missing_ok=True)
        atomic_write(path / _EXPORTED, "".join(f"{stem}\n" for stem in sorted(used)))
        others = sum(text.stem not in used for text in path.glob("*.txt") if _standoff(text))
        reading.notes["other texts in the folder stay there, and are read back too"] += others
        return len(used)


def _exported(folder: Path) -> set[str]:
    """The names, without endings, of the texts that an earlier export wrote; never a path out of the folder."""
    path = folder / _EXPORTED
    stems = path.read_text("utf-8", errors="replace").splitlines() if path.is_file() else []
    return {stem for stem in stems if stem and Path(stem).name == stem}


def _standoff(text: Path) -> list[Path]:
    return [beside for ending in _ENDINGS if (beside := text.with_suffix(ending)).is_file()]


class _Standoff:
    """The annotations of one text, by their ids."""

    def __init__(self, text: Path, files: list[Path], names: dict[str, str], reading: Reading) -> None:
        self._path, self._files, self._names, self._reading = text, files, names, reading
        self._mentions: dict[str, int] = {}
        self._triggers: dict[str, str] = {}  # from events to the ids of their triggers
        self._types: dict[str, str] = {}

    def document(self) -> Document:
        """The document.

        Raises:
            RowError: An annotation can't be read; the message names file and line.
        """
        if not self._path.is_file():
            raise RowError(f"{self._files[0] if self._files else self._path}: there is no text file beside it")
        if not self._files:
            raise RowError(f"{self._path}: there is no .ann, .a1 or .a2 file beside it")
        try:
            with open_text(self._path, "r", encoding=self._reading.encoding) as file:
                content = file.read()
        except (UnicodeError, OSError) as error:
            raise RowError(f"{self._path}: the text can't be read ({error})") from error
        if not content.strip():
            raise RowError(f"{self._path}: text: the text is empty")
        self._document = Document(str(self._files[0]), content, id=self._path.stem)
        lines = list(self._lines())
        self._before = self._mark(content, [(at, columns) for at, columns in lines if columns[0][0] == "T"])
        for at, columns in lines:
            if columns[0][0] == "T":
                self._add_span(at, columns)
        for at, columns in lines:
            if columns[0][0] == "E":
                kind, _, trigger = columns[1].split(" ")[0].partition(":")
                self._triggers[columns[0]] = trigger
                self._types[columns[0]] = self._names.get(kind, kind)
                self._index(at, trigger)
        triggers = {self._mentions[trigger] for trigger in self._triggers.values()}
        document = self._document
        document.entities = [at for at in document.entities if at not in triggers]
        for at, columns in lines:
            match columns[0][0]:
                case "T":
                    pass
                case "E":
                    self._add_event(at, columns)
                case "R":
                    self._add_relation(at, columns)
                case "#":
                    self._reading.notes["notes (#) are left out"] += 1
                case "*":
                    self._reading.notes["equivalences (*) are left out"] += 1
                case "A" | "M":
                    self._reading.notes["attributes (A, M) are left out"] += 1
                case "N":
                    self._reading.notes["normalizations (N) are left out"] += 1
                case other:
                    raise RowError(f"{at}: unknown kind of annotation {other!r}")
        return document

    def _mark(self, text: str, spans: list[tuple[str, list[str]]]) -> int:
        """The characters before the text that offsets count: 1 if they are right only with a byte order mark."""
        with self._path.open("rb") as file:
            marked = file.read(len(BOM_UTF8)) == BOM_UTF8

        def fit(before: int) -> bool:
            shifted = f"\ufeff{text}" if before else text
            return all(_says(columns, shifted, _pieces(at, columns)) for at, columns in spans)

        return int(marked and not fit(0) and fit(1))

    def _lines(self) -> Iterator[tuple[str, list[str]]]:
        for file in self._files:
            for number, line in enumerate(text_lines(file, encoding=self._reading.encoding), start=1):
                if line.strip():
                    at = f"{file}, line {number}"
                    columns = line.rstrip("\r\n").split("\t")
                    if len(columns) < 2 or not columns[0] or not columns[1].strip():
                        raise RowError(f"{at}: expected an id, a tab and an annotation, got {line.strip()!r:.60}")
                    columns[1] = columns[1].strip()
                    yield at, columns

    def _add_span(self, at: str, columns: list[str]) -> None:
        kind, _, offsets = columns[1].partition(" ")
        pieces = [(first - self._before, last - self._before) for first, last in _pieces(at, columns)]
        text = self._document.text
        if any(not 0 <= first < last <= len(text) for first, last in pieces):
            raise RowError(
                f"{at}: offsets: {offsets} is empty or outside the text, which has {counted(len(text), 'character')}"
            )
        if not _says(columns, text, pieces):
            held = _held(text, pieces)
            raise RowError(f"{at}: text: found {held!r:.60} at {offsets}, but the annotation says {columns[2]!r:.60}")
        pieces.sort()
        start, end = pieces[0][0], max(last for _, last in pieces)
        gaps = "".join(text[last:first] for (_, last), (first, _) in pairwise(pieces))
        if gaps.strip():  # white space only: brat cuts a span at line ends
            self._reading.notes["discontinuous spans are read from their first to their last character"] += 1
        if columns[0] in self._mentions:
            raise RowError(f"{at}: id: there are two annotations {columns[0]!r}")
        if kind == UNTYPED:
            self._mentions[columns[0]] = self._document.add_mention(start, end)
        else:
            self._mentions[columns[0]] = self._document.add_entity(self._names.get(kind, kind), start, end)

    def _index(self, at: str, target: str) -> int:
        target = self._triggers.get(target, target)
        if target not in self._mentions:
            raise RowError(f"{at}: there is no annotation {target!r:.60}")
        return self._mentions[target]

    def _arguments(self, at: str, columns: list[str]) -> list[tuple[str, str]]:
        pairs = []
        for each in columns[1].split(" ")[1:]:
            role, colon, target = each.partition(":")
            if each and not (role and colon and target):
                raise RowError(f"{at}: expected an argument such as Theme:T1, got {each!r:.60}")
            if each:
                pairs.append((role, target))
        return pairs

    def _add_event(self, at: str, columns: list[str]) -> None:
        pairs = self._arguments(at, columns)
        roles = {role for role, _ in pairs}
        frame = Frame(self._types[columns[0]], self._index(at, self._triggers[columns[0]]), id=columns[0])
        for role, target in pairs:
            base = role.rstrip("0123456789")
            own = base if base in roles else role  # Theme2 is a second Theme
            self._reading.notes["events as arguments are read as their triggers"] += target in self._triggers
            frame.arguments.append((self._names.get(own, own), self._index(at, target)))
        self._document.events.append(frame)

    def _add_relation(self, at: str, columns: list[str]) -> None:
        pairs = self._arguments(at, columns)
        if len(pairs) != 2:
            raise RowError(f"{at}: expected a relation of two arguments, got {columns[1]!r:.60}")
        kind = columns[1].split(" ")[0]
        head, tail = (self._index(at, target) for _, target in pairs)
        self._document.relations.append(Link(self._names.get(kind, kind), head, tail))


def _pieces(at: str, columns: list[str]) -> list[tuple[int, int]]:
    """The offsets of the pieces of a span."""
    offsets = columns[1].partition(" ")[2]
    try:
        pieces = [tuple(map(int, piece.split(" "))) for piece in offsets.split(";")]
        return [(first, last) for first, last in pieces]
    except ValueError:
        raise RowError(f"{at}: offsets: expected numbers such as 0 5 or 0 5;8 12, got {offsets!r:.60}") from None


def _held(text: str, pieces: list[tuple[int, int]]) -> str:
    return " ".join(text[first:last] for first, last in pieces)


def _says(columns: list[str], text: str, pieces: list[tuple[int, int]]) -> bool:
    """Whether the text that a span repeats, if it does, is that of its pieces."""
    return len(columns) < 3 or columns[2].split() == _held(text, pieces).split()


def _sections(path: Path, reading: Reading) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    if path.is_file():
        lines = sections.setdefault("", [])
        for line in text_lines(path, encoding=reading.encoding):
            content = line.strip()
            if content.startswith("[") and content.endswith("]"):
                lines = sections.setdefault(content[1:-1].lower(), [])
            elif content and content[0] not in "#<!-":
                lines.append(content)
    return sections


def _nearest(name: str, text: Path, root: Path) -> Path:
    """The file of a name beside a text, or in the nearest folder above it up to ``root``."""
    folders = [folder for folder in text.parents if folder == root or root in folder.parents]
    return next((folder / name for folder in folders if (folder / name).is_file()), text.with_name(name))


def _declare_labels(path: Path, names: dict[str, str], reading: Reading) -> None:
    sections = _sections(path, reading)
    for section, task in (("entities", Task.NER), ("relations", Task.RE), ("events", Task.ED)):
        for line in sections.get(section, []):
            label, _, roles = line.partition("\t") if "\t" in line else line.partition(" ")
            if label == UNTYPED or (task is Task.RE and (label == _EQUIVALENCE or _SYMMETRIC in roles)):
                continue  # equivalences (*) are no relations
            reading.schema.declare(task, [names.get(label, label)])
            if task is Task.ED:
                own = [role.partition(":")[0].strip().rstrip("*+?") for role in roles.split(",")]
                own = [role.partition("{")[0] for role in own if role and not role.startswith("<")]
                reading.schema.declare_roles(names.get(label, label), [names.get(role, role) for role in own])


def _display_names(path: Path, reading: Reading) -> dict[str, str]:
    """Labels whose spaces became underscores, from ``visual.conf``."""
    names = {}
    for line in _sections(path, reading).get("labels", []):
        label, *shown = (part.strip() for part in line.split("|"))
        if shown and safe_name(shown[0]) == label:
            names[label] = shown[0]
    return names


def safe_name(label: str) -> str:
    """A label in brat's syntax: letters, digits, ``_`` and ``-``.

    >>> safe_name("works for")
    'works_for'
    """
    return _NOT_IN_A_NAME.sub("_", label)


def _stem(document: Document, number: int, reading: Reading) -> str:
    if document.id is None:
        return f"text-{number:06}"
    stem = re.sub(r"[^\w.-]+", "_", str(document.id)).strip("._")[:120] or f"text-{number:06}"
    reading.notes["ids are changed to file names"] += stem != document.id
    return stem


def _lines(document: Document) -> Iterator[str]:
    labels = {index: document.mentions[index].type for index in document.entities}
    labels |= {event.trigger: event.type for event in document.events}
    for index, (_, start, end) in enumerate(document.mentions):
        kind = safe_name(labels.get(index, UNTYPED))
        # a span must not cross a line end
        pieces = [match.span() for match in _LINE.finditer(document.text, start, end)] or [(start, end)]
        offsets = ";".join(f"{first} {last}" for first, last in pieces)
        yield f"T{index + 1}\t{kind} {offsets}\t{' '.join(_held(document.text, pieces).splitlines())}"
    for number, each in enumerate(document.relations, start=1):
        yield f"R{number}\t{safe_name(each.type)} Arg1:T{each.head + 1} Arg2:T{each.tail + 1}"
    for number, event in enumerate(document.events, start=1):
        arguments = "".join(f" {safe_name(role)}:T{index + 1}" for role, index in event.arguments)
        yield f"E{number}\t{safe_name(event.type)}:T{event.trigger + 1}{arguments}"


def _annotation_conf(schema: Schema) -> str:
    entities = [safe_name(label) for label in schema.labels.get(Task.NER, ())]
    entities += [UNTYPED] if set(schema.labels) - {Task.NER} or schema.roles else []
    relations = [f"{safe_name(label)}\tArg1:<ENTITY>, Arg2:<ENTITY>" for label in schema.labels.get(Task.RE, ())]
    events = []
    for label in schema.labels.get(Task.ED, ()):
        roles = ", ".join(f"{safe_name(role)}*:<ANY>" for role in schema.roles.get(label, ()))
        events.append(f"{safe_name(label)}\t{roles}" if roles else safe_name(label))
    parts = {"entities": entities, "relations": relations, "events": events, "attributes": []}
    return "\n".join("\n".join([f"[{name}]", *lines, ""]) for name, lines in parts.items())


def _visual_conf(schema: Schema) -> str:
    labels = dict.fromkeys([label for each in schema.labels.values() for label in each])
    labels |= dict.fromkeys(role for roles in schema.roles.values() for role in roles)
    lines = [f"{safe_name(label)} | {label}" for label in labels if safe_name(label) != label]
    return "\n".join(["[labels]", *lines, "", "[drawing]", ""])
