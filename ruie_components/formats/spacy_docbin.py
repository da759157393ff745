"""Reads and writes spaCy's DocBin files (``.spacy``). Requires spaCy: ``pip install "ruie-components[formats]"``."""

from __future__ import annotations

import gc
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ruie_components.errors import RowError, RuieError
from ruie_components.files import atomic_path
from ruie_components.formats.base import Document, Reading, Sample
from ruie_components.formats.tags import spans_of_tags, tags_of_document
from ruie_components.types import Task

_LARGEST = 1 << 30  # maximum bytes of an unpacked file
_GROUP = "sc"  # spaCy's name of the span group for its span categorizer
_TAGS = ("ENT_IOB", "ENT_TYPE")
_IOB = {0: "", 1: "I", 2: "O", 3: "B"}
_ID, _META = "ruie_id", "ruie_metadata"


class DocbinFormat:
    """Entities of ``doc.ents``, and the spans of ``doc.spans["sc"]``, which may overlap.

    If no document of a file has entities, its only span group is read, whatever its name.

    The file is msgpack; reading runs no code, and at most 1 GiB is unpacked. Documents are rebuilt from their words
    only, because wrong numbers in other attributes can crash spaCy. Those that were never annotated are left out.
    """

    name = "docbin"
    title = "spaCy DocBin (.spacy)"

    def recognizes(self, sample: Sample) -> bool:
        """Whether its name ends in ``.spacy``."""
        return sample.path.suffix == ".spacy"

    def read(self, path: Path, reading: Reading) -> Iterator[Document]:
        """Read one document per Doc."""
        _import_spacy()
        from spacy.strings import StringStore
        from spacy.vocab import Vocab

        message = _unpack(path)
        try:
            strings = StringStore(message["strings"])
            docs = list(_token_rows(message))
            groups = list(message.get("span_groups") or [b""] * len(docs))
            key = _group_to_read(path, message["attrs"], docs, groups)
            user = list(message.get("user_data") or [None] * len(docs))
        except RowError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RowError(f"{path}: not a DocBin file of spaCy ({type(error).__name__}: {error})") from error
        vocab = Vocab(strings=strings)
        for number, (columns, spaces) in enumerate(docs, start=1):
            location = f"{path}, document {number}"
            try:
                document = _document(location, columns, spaces, strings)
                spans = _groups_of(vocab, columns, spaces, strings, groups[number - 1])
                _add_spans(document, spans, key, reading)
                if key not in spans and not any(columns["ENT_IOB"]):
                    reading.notes["documents without annotations of entities are left out"] += 1
                    continue
                _add_own(document, user[number - 1] if number <= len(user) else None)
            except RowError as error:
                reading.problem(str(error))
            except (KeyError, ValueError, TypeError, IndexError, AttributeError, OverflowError) as error:
                reading.problem(f"{location}: can't be read ({type(error).__name__}: {error})")
            else:
                yield document

    def write(self, path: Path, documents: Iterable[Document], reading: Reading) -> int:
        """Write one Doc per document, with its entities; overlapping ones are in ``doc.spans["sc"]``."""
        _import_spacy()
        from spacy.tokens import Doc, DocBin, Span
        from spacy.vocab import Vocab

        vocab = Vocab()
        out = DocBin(attrs=["ORTH", "SPACY", "ENT_IOB", "ENT_TYPE"], store_user_data=True)
        count = 0
        for document in documents:
            reading.notes["relations and events are left out"] += bool(document.relations or document.events)
            tokens, _, _ = tags_of_document(document)
            words, spaces = _words(document.text, tokens)
            doc = Doc(vocab, words=words, spaces=spaces)
            spans: list[Any] = []
            taken: set[int] = set()
            overlapping: list[Any] = []
            for index in document.entities:
                kind, start, end = document.mentions[index]
                span = doc.char_span(start, end, label=kind)
                if span is None:
                    reading.notes["entities that begin or end in white space are left out"] += 1
                    continue
                inside = set(range(span.start, span.end))
                (overlapping if inside & taken else spans).append(Span(doc, span.start, span.end, label=kind))
                taken |= inside
            doc.set_ents(spans)
            if overlapping:
                doc.spans[_GROUP] = overlapping
            if document.id is not None:
                doc.user_data[_ID] = document.id
            if document.metadata:
                doc.user_data[_META] = document.metadata
            out.add(doc)
            count += 1
        with atomic_path(path) as part:
            part.write_bytes(out.to_bytes())
        return count


def _import_spacy() -> None:
    try:
        import spacy  # noqa: F401
    except ImportError as error:
        raise RuieError('DocBin files need spaCy: pip install "ruie-components[formats]"') from error


def _unpack(path: Path) -> dict[str, Any]:
    try:
        unpacker = zlib.decompressobj()
        raw = unpacker.decompress(path.read_bytes(), _LARGEST)
        if unpacker.unconsumed_tail:
            raise RowError(f"{path}: more than {_LARGEST >> 30} GiB when unpacked; split the file")
        if not unpacker.eof:
            raise RowError(f"{path}: the file is truncated")
        message = _load_msgpack(raw)
    except zlib.error as error:
        raise RowError(f"{path}: not a DocBin file of spaCy ({error})") from error
    except OSError as error:
        raise RowError(f"{path}: the file can't be read ({error.strerror or error})") from error
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError, MemoryError) as error:
        raise RowError(f"{path}: not a DocBin file of spaCy ({type(error).__name__}: {error})") from error
    if not isinstance(message, dict):
        raise RowError(f"{path}: not a DocBin file of spaCy")
    return message


def _load_msgpack(data: bytes) -> Any:
    """Unpack msgpack; keys that are lists, such as those of spaCy's extension attributes, are left out.

    Not by ``srsly.msgpack_loads``: it looks all entry points up at each call, runs their code, and leaves the
    collection of garbage off when it fails.
    """
    from srsly.msgpack import unpackb

    def readable(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
        return {key: value for key, value in pairs if not isinstance(key, list)}

    return unpackb(data, raw=False, object_pairs_hook=readable)


def _token_rows(message: dict[str, Any]) -> Iterator[tuple[dict[str, list[int]], list[bool]]]:
    """The relevant columns of each document by attribute, and its flags of spaces.

    Attributes that the file does not have are 0.

    Raises:
        ValueError: The arrays are inconsistent.
    """
    import numpy as np
    from spacy.attrs import intify_attr

    attributes = list(message["attrs"])
    held = [name for name in _TAGS if intify_attr(name) in attributes]
    wanted = {name: attributes.index(intify_attr(name)) for name in ("ORTH", *held)}
    lengths = np.frombuffer(message["lengths"], "int32")
    tokens = np.frombuffer(message["tokens"], "uint64").reshape(-1, len(attributes))
    spaces = np.frombuffer(message["spaces"], "bool").reshape(-1)
    if lengths.sum() != len(tokens) or len(spaces) != len(tokens) or (lengths < 0).any():
        raise ValueError("its arrays have different lengths")
    ends = np.cumsum(lengths)
    for start, end in zip(ends - lengths, ends, strict=True):
        columns = {name: tokens[start:end, at].tolist() for name, at in wanted.items()}
        absent = {name: [0] * int(end - start) for name in _TAGS if name not in held}
        yield columns | absent, spaces[start:end].tolist()


def _document(location: str, columns: dict[str, list[int]], spaces: list[bool], strings: Any) -> Document:
    words = [strings[value] for value in columns["ORTH"]]
    text = "".join(word + " " * space for word, space in zip(words, spaces, strict=True))
    if not text.strip():
        raise RowError(f"{location}: text: the text is empty")
    document = Document(location, text, tasks=frozenset({Task.NER}))
    tags = []
    for iob, kind in zip(columns["ENT_IOB"], columns["ENT_TYPE"], strict=True):
        tags.append(f"{_IOB[iob]}-{strings[kind]}" if _IOB.get(iob) in ("B", "I") and kind else "O")
    starts = _starts(words, spaces)
    for label, first, last in spans_of_tags(tags):
        document.add_entity(label, starts[first], starts[last - 1] + len(words[last - 1]))
    return document


def _starts(words: list[str], spaces: list[bool]) -> list[int]:
    starts, at = [], 0
    for word, space in zip(words, spaces, strict=True):
        starts.append(at)
        at += len(word) + space
    return starts


def _group_to_read(
    path: Path,
    attributes: Iterable[int],
    docs: Iterable[tuple[dict[str, list[int]], list[bool]]],
    groups: Iterable[Any],
) -> str:
    """The key of the span group that holds entities: the usual one, or the only one of a file without entities.

    Raises:
        RowError: The file has neither entities nor such a group.
    """
    from spacy.attrs import intify_attr

    names = sorted({name for packed in groups for name in _group_names(packed)})
    if _GROUP in names or any(any(columns["ENT_IOB"]) for columns, _ in docs):
        return _GROUP
    if len(names) > 1:
        raise RowError(
            f"{path}: it holds no entities, and several span groups: {', '.join(map(repr, names)):.200}. Save the one "
            f'to read under the name {_GROUP!r}: doc.spans["{_GROUP}"] = doc.spans[{names[0]!r:.40}].'
        )
    if not names and not {intify_attr(name) for name in _TAGS} <= set(attributes):
        raise RowError(
            f"{path}: it holds no entities and no span groups. Write it with the attributes of entities: "
            f'DocBin(attrs=["ENT_IOB", "ENT_TYPE"], docs=docs).'
        )
    return names[0] if names else _GROUP


def _group_names(packed: Any) -> list[str]:
    """The keys of a document's span groups; none if they are damaged, which reading them reports."""
    try:
        groups = _load_msgpack(packed) if packed else []
        if isinstance(groups, dict):
            names = [key for keys in groups.values() for key in keys]
        else:  # files of older versions
            names = [_load_msgpack(group)["name"] for group in groups]
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError, MemoryError):
        return []
    return [name for name in names if isinstance(name, str)]


def _groups_of(
    vocab: Any, columns: dict[str, list[int]], spaces: list[bool], strings: Any, packed: Any
) -> dict[str, list[tuple[str, int, int]]]:
    """The span groups of a document by their keys, each span with its label and offsets."""
    from spacy.tokens import Doc
    from spacy.tokens._dict_proxies import SpanGroups

    if not packed or packed == SpanGroups._EMPTY_BYTES:
        return {}
    doc = Doc(vocab, words=[strings[value] for value in columns["ORTH"]], spaces=spaces)
    collects = gc.isenabled()
    try:
        groups = SpanGroups(doc).from_bytes(packed)
    finally:
        if collects:
            gc.enable()  # srsly turns it off, and leaves it off if the bytes are damaged
    return {name: [(span.label_, span.start_char, span.end_char) for span in group] for name, group in groups.items()}


def _add_spans(
    document: Document, groups: Mapping[str, list[tuple[str, int, int]]], key: str, reading: Reading
) -> None:
    """Add the spans of a group that are not entities yet."""
    known = {document.mentions[index] for index in document.entities}
    for name, spans in groups.items():
        if name != key:
            reading.notes[f"spans of group {name!r:.40} are left out"] += len(spans)
            continue
        reading.notes[f"spans of group {name!r:.40} were read as entities"] += len(spans) * (name != _GROUP)
        for kind, start, end in spans:
            if (kind, start, end) not in known and kind and start < end:
                document.add_entity(kind, start, end)


def _add_own(document: Document, packed: Any) -> None:
    """The id and metadata that ``write`` stored in the user data."""
    if not packed:
        return
    user = _load_msgpack(packed) if isinstance(packed, bytes) else packed
    if isinstance(user, dict):
        own, metadata = user.get(_ID), user.get(_META)
        document.id = own if isinstance(own, str | int) and not isinstance(own, bool) else None
        document.metadata = metadata if isinstance(metadata, dict) else {}


def _words(text: str, tokens: list[tuple[int, int]]) -> tuple[list[str], list[bool]]:
    """A text as spaCy's words, some of which are white space, and whether a space follows each."""
    words: list[str] = []
    spaces: list[bool] = []
    at = 0
    for start, end in [*tokens, (len(text), len(text))]:
        gap = text[at:start]
        if gap.startswith(" ") and spaces and not spaces[-1]:
            spaces[-1] = True
            gap = gap[1:]
        if gap:
            words.append(gap)
            spaces.append(False)
        if start < end:
            words.append(text[start:end])
            spaces.append(False)
        at = end
    return words, spaces
