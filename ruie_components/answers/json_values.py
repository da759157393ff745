"""What the keys of an item hold: spans, pairs of spans, offsets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ruie_components.answers.items import Offsets
from ruie_components.answers.json_keys import (
    ANY_START,
    END_NAMES,
    HEAD_NAMES,
    LABEL_NAMES,
    OFFSET_NAMES,
    PAIR_NAMES,
    SPAN_NAMES,
    START_NAMES,
    TAIL_NAMES,
    key_name,
)
from ruie_components.answers.loose_json import Array, Object, Text, Value


def is_number(value: Value) -> bool:
    """Whether a value is a number without quotes."""
    return isinstance(value, Text) and not value.quoted and value.text.lstrip("-").replace(".", "", 1).isdigit()


def integer_of(value: Value | None) -> int | None:
    """The whole number that a value is, quoted or not; ``None`` for any other value."""
    if isinstance(value, Text) and value.text.isascii() and value.text.isdigit() and len(value.text) < 16:
        return int(value.text)
    return None


class Answered(NamedTuple):
    """A span's string, and the offsets that the answer gives for it."""

    text: str
    offsets: Offsets | None = None


def strings_of(value: Value) -> list[Text]:
    """The strings that a key of an item holds: one, several of a list, or the ``text`` of an object."""
    if isinstance(value, Text):
        return [value]
    if isinstance(value, Array):
        return [text for each in value.values for text in ([each] if isinstance(each, Text) else text_of(each))]
    return text_of(value)


def text_of(value: Value) -> list[Text]:
    """The string of an object's span, if it has one."""
    if not isinstance(value, Object):
        return []
    named = {key_name(key): each for key, each in reversed(value.pairs) if isinstance(each, Text)}
    return [named[name] for name in SPAN_NAMES if name in named][:1]


def first_spans(
    names: Sequence[str], named: dict[str, Value], label_key: str | None
) -> tuple[str | None, list[Answered]]:
    """The first of some keys that holds a span, with its spans."""
    for name in names:
        if name in named and name != label_key and (spans := spans_of(named[name])):
            return name, spans
    return None, []


def spans_of(value: Value) -> list[Answered]:
    """The spans that a key of an item holds, with the offsets that an object gives."""
    if isinstance(value, Text):
        return [Answered(value.text)] if value.text.strip() else []
    parts = value.values if isinstance(value, Array) else [value]
    spans = []
    for part in parts:
        if isinstance(part, Text):
            spans += [Answered(part.text)] if part.text.strip() and not is_number(part) else []
            spans += [Answered(part.text)] if is_number(part) and len(parts) == 1 else []
        elif texts := text_of(part):
            named = {key_name(key): each for key, each in part.pairs} if isinstance(part, Object) else {}
            spans.append(Answered(texts[0].text, offsets_of(named)))
    return spans


def pair_of(named: dict[str, Value]) -> tuple[str, tuple[list[Answered], list[Answered]]] | None:
    """Head and tail as a list of two: ``{"type": .., "arguments": ["Ada", "Corvex"]}``; with the list's key."""
    for name in PAIR_NAMES:
        each = named.get(name)
        if isinstance(each, Array) and len(each.values) == 2 and all(isinstance(side, Text) for side in each.values):
            spans = spans_of(each)
            if len(spans) == 2:
                return name, ([spans[0]], [spans[1]])
    return None


def offsets_of(named: dict[str, Value]) -> Offsets | None:
    """Start and end where an object gives them, as two numbers, an object or a list of two."""
    if named.keys().isdisjoint(ANY_START):
        return None
    for name in OFFSET_NAMES:
        if isinstance(inner := named.get(name), Object):
            named = named | {key_name(key): each for key, each in inner.pairs}
        elif isinstance(inner, Array) and len(inner.values) == 2:
            named = named | {"start": inner.values[0], "end": inner.values[1]}
    start = next((number for name in START_NAMES if (number := integer_of(named.get(name))) is not None), None)
    end = next((number for name in END_NAMES if (number := integer_of(named.get(name))) is not None), None)
    length = integer_of(named.get("length"))
    if start is None:
        return None
    return start, end if end is not None else start + (length or 0)


def holds_items(value: Value) -> bool:
    """Whether a value is an object with a label and a span, or contains one up to two levels deep."""
    level: list[Value] = [value]
    for _ in range(3):
        below: list[Value] = []
        for each in level:
            if isinstance(each, Object):
                names = {key_name(key) for key, _ in each.pairs}
                if names & set(LABEL_NAMES) and names & {*SPAN_NAMES, *HEAD_NAMES}:
                    return True
                below += [inner for _, inner in each.pairs]
            elif isinstance(each, Array):
                below += each.values
        level = below
    return False


def groups_of(value: Object) -> list[Object]:
    """An object whose keys repeat, as one object for each repetition: ``{"type": .., "text": .., "type": ..}``."""
    seen: set[str] = set()
    starts = [0]
    for i, (key, _) in enumerate(value.pairs):
        name = key_name(key)
        if name in seen and (name in LABEL_NAMES or name in SPAN_NAMES or name in HEAD_NAMES or name in TAIL_NAMES):
            starts.append(i)
            seen = set()
        seen.add(name)
    if len(starts) == 1:
        return [value]
    ends = [*starts[1:], len(value.pairs)]
    return [Object(value.start, value.end, value.closed, value.pairs[i:j]) for i, j in zip(starts, ends, strict=True)]
