"""Items of answers in the JSON format, in whichever of the usual shapes a model chose.

Nothing of an answer disappears: a value ends as (part of) an item, or as an item that cannot be read, which holds its
text. Only numbers, ``null`` and ``true``, and words about the items (``"reasoning": ...``) are passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ruie_components.answers.grounding import Grounder
from ruie_components.answers.items import Item, Offsets
from ruie_components.answers.keys import END, HEAD, LABEL, SPAN, START, TAIL, is_prose, is_wrapper, kind_of_key
from ruie_components.answers.label_matcher import LabelMatcher
from ruie_components.answers.loose_json import OPENING, Array, Object, Text, Value
from ruie_components.answers.normalization import normalize
from ruie_components.types import Query, Task


def json_start(answer: str) -> int | None:
    """Where something like JSON begins in an answer, or None."""
    match = OPENING.search(answer)
    return match.start() if match else None


@dataclass(frozen=True, slots=True)
class _Said:
    """A span of an item as the model wrote it."""

    text: str
    offsets: Offsets | None = None
    closed: bool = True


@dataclass(frozen=True, slots=True)
class _Context:
    """What the keys around a value say of it: the label, and the side of a relation."""

    label: str | None = None
    head: _Said | None = None


class JSONItemReader:
    """Reads the items of JSON values.

    Args:
        answer: The answer that the values were read from.
        query: The query, whose task says how many spans an item has.
        labels: The labels of the schema.
        grounder: Tells which strings the text holds, where a shape can be read in two ways.
        partial: The answer is still being written: items that are not closed are left out. Otherwise such an item is
            read as far as its strings are whole.
    """

    def __init__(
        self, answer: str, query: Query, labels: LabelMatcher, grounder: Grounder, *, partial: bool = False
    ) -> None:
        self._answer, self._query, self._labels, self._grounder = answer, query, labels, grounder
        self._partial = partial
        self._relations = query.task is Task.RE
        self.items: list[Item] = []

    def read(self, values: Sequence[Value]) -> None:
        """Read items in document order, with a stack of our own: nesting may be as deep as it likes."""
        waiting: list[tuple[Value, _Context]] = [(value, _Context()) for value in reversed(values)]
        while waiting:
            value, context = waiting.pop()
            if isinstance(value, Text):
                self._text(value, context)
            elif isinstance(value, Array):
                if not self._tuple(value, context):
                    waiting += [(inner, context) for inner in reversed(value.values)]
            elif not self._item(value, context):
                waiting += reversed(self._children(value, context))

    # objects

    def _item(self, value: Object, context: _Context) -> bool:
        """Read an object as an item, if it is one."""
        if self._arguments_of(value) is not None:
            return self._is_other_event(value)
        label = self._label_of(value)
        said = label.text if label else context.label
        spans = self._spans_of(value, label, context)
        if said is None or not spans or not all(spans):
            return False
        whole = all(each.closed for side in spans for each in side) and (label is None or label.closed)
        if not value.closed and (self._partial or not whole):
            self._unreadable(value)
        elif len(spans) == 1:
            for each in spans[0]:  # a list of spans: each an item of its own
                self._add(said, (each,), value)
        elif len(spans[0]) > 1 and len(spans[1]) > 1:
            self._unreadable(value)  # which head belongs to which tail?
        else:
            for head in spans[0]:
                for tail in spans[1]:
                    self._add(said, (head, tail), value)
        return True

    def _arguments_of(self, value: Object) -> Value | None:
        """The arguments of an object that is a whole event, for EAE."""
        arguments = _named(value, "arguments") if self._query.task is Task.EAE else None
        return None if isinstance(arguments, Text) else arguments

    def _is_other_event(self, value: Object) -> bool:
        """Whether an event with arguments is another one than the query's; its arguments are rejected then."""
        trigger, event = _named(value, "trigger"), self._query.event
        said = _first_text(trigger) if trigger is not None else None
        if said is None or event is None or normalize(said.text) == normalize(event.trigger):
            return False
        self._unreadable(value)
        return True

    def _label_of(self, value: Object) -> Text | None:
        """The string that names the label: under a label's key, if possible of the schema; else any of the schema."""
        strings = [(key, each) for key, each in value.pairs if isinstance(each, Text) and not each.bare]
        named = [each for key, each in value.pairs if kind_of_key(key) == LABEL and isinstance(each, Text)]
        known = [each for each in named if self._labels.known(each.text)]
        if known or named:
            # {"role": "agent", "label": "person"}: the key of the prompt comes first among those of the schema
            return (known or named)[0]
        if any(self._labels.known(key) for key, _ in value.pairs):
            return None  # {"person": "Ada"}
        values = [each for _, each in strings if self._labels.known(each.text)]
        return values[0] if len(values) == 1 and len(value.pairs) > 1 else None

    def _spans_of(self, value: Object, label: Text | None, context: _Context) -> list[list[_Said]]:
        """For each side of an item its strings."""
        offsets = _offsets_of(value)
        if not self._relations:
            keyed = [each for key, each in value.pairs if kind_of_key(key) == SPAN and each is not label]
            if said := next(filter(None, map(_strings, keyed)), None):
                return [[_Said(one.text, one.offsets or offsets, one.closed) for one in said]]
            return [self._other_strings(value, label)[:1]] if label and len(value.pairs) > 1 else []
        heads = next((_strings(each) for key, each in value.pairs if kind_of_key(key) == HEAD), None)
        tails = next((_strings(each) for key, each in value.pairs if kind_of_key(key) == TAIL), None)
        heads = heads or ([context.head] if context.head else None)
        if heads and tails:
            return [heads, tails]
        if heads is None and tails is None and label:
            others = self._other_strings(value, label)
            return [others[:1], others[1:]] if len(others) == 2 else []
        return []

    def _other_strings(self, value: Object, label: Text | None) -> list[_Said]:
        """Quoted strings that the text holds, under keys that say nothing."""
        strings = [each for key, each in value.pairs if isinstance(each, Text) and not each.bare and not is_prose(key)]
        return [
            _Said(each.text, None, each.closed)
            for each in strings
            if each is not label and self._grounder.grounds(each.text)
        ]

    def _children(self, value: Object, context: _Context) -> list[tuple[Value, _Context]]:
        """What to read of an object that is no item itself; strings that belong to nothing are unreadable."""
        if (arguments := self._arguments_of(value)) is not None:
            return [(arguments, context)]
        containers = any(not isinstance(each, Text) for _, each in value.pairs)
        children: list[tuple[Value, _Context]] = []
        unread = 0
        for key, each in value.pairs:
            label = self._labels.known(key)
            if label:
                children.append((each, _Context(label, context.head)))
            elif isinstance(each, Text):
                if each.bare and not self._labels.known(each.text):
                    continue
                if (inverted := self._inverted(key, each, context)) is not None:
                    self.items.append(inverted)
                elif not (is_prose(key) or (kind_of_key(key) and containers)):
                    unread += 1
            elif self._is_side(key, each, context):
                children.append((each, _Context(context.label, _Said(key))))
            else:
                children.append((each, context))
        if unread:
            self._unreadable(value)
        return children

    def _inverted(self, key: str, value: Text, context: _Context) -> Item | None:
        """``{"Ada": "person"}``, and under a relation's label ``{"Ada": "Rex"}``: the key is a span."""
        raw = self._answer[value.start : value.end]
        raw = f"{key}: {raw}"
        label = self._labels.known(value.text)
        if label and not (self._relations or kind_of_key(key) or context.label) and value.closed:
            return Item(label, (key,), raw)
        if self._relations and context.label and context.head is None and not kind_of_key(key):
            return Item(context.label, (key, value.text), raw) if value.closed else None
        return None

    def _is_side(self, key: str, value: Value, context: _Context) -> bool:
        """Whether a key is the head of the relations in its value: ``{"Ada": {"works for": ["Rex"]}}``."""
        if not self._relations or context.head is not None or is_wrapper(key) or kind_of_key(key) in (HEAD, TAIL):
            return False
        if context.label is not None:
            return isinstance(value, Array)  # {"works for": {"Ada": ["Rex", "Kim"]}}
        return isinstance(value, Object) and any(self._labels.known(inner) for inner, _ in value.pairs)

    # lists and strings

    def _tuple(self, value: Array, context: _Context) -> bool:
        """Read ``[head, tail]`` under a relation's label, ``[head, label, tail]``, ``[span, label]`` and the like."""
        texts = [each for each in value.values if isinstance(each, Text)]
        if len(texts) != len(value.values) or not texts or not all(each.closed for each in texts):
            return False
        if self._partial and not value.closed:
            return False
        if self._relations and context.label and not context.head and len(texts) == 2:
            if not all(self._grounder.grounds(each.text) for each in texts) and any(map(_has_sides, texts)):
                return False  # each string is a pair of its own
            self._add(context.label, tuple(_Said(each.text) for each in texts), value)
            return True
        sides = 2 if self._relations else 1
        if context.label is not None or context.head or len(texts) != sides + 1:
            return False
        for index in (1, 0, 2)[: len(texts)]:
            if self._labels.known(texts[index].text):
                spans = tuple(_Said(each.text) for i, each in enumerate(texts) if i != index)
                self._add(texts[index].text, spans, value)
                return True
        return False

    def _text(self, value: Text, context: _Context) -> None:
        if (value.bare and not value.text.strip("-")) or (self._partial and not value.closed):
            return
        if value.bare and value.text.strip().casefold() in ("null", "none", "true", "false", "nan", "undefined"):
            return
        head = self._labels.at(value.text, 0, len(value.text))
        inverted = None if head or context.label else self._labels.behind(value.text, 0, len(value.text))
        if head and context.label is None:
            self._add(head.label, (_Said(value.text[head.body :].strip()),), value)
        elif inverted:
            self._add(inverted[0], (_Said(inverted[1]),), value)
        elif context.label is not None and value.closed:
            spans = (context.head, _Said(value.text)) if context.head else (_Said(value.text),)
            self._add(context.label, spans, value)
        elif value.bare and value.text.replace(".", "", 1).lstrip("-").isdigit():
            return
        else:
            self._unreadable(value)

    # results

    def _add(self, label: str, spans: tuple[_Said, ...], value: Value) -> None:
        known = self._labels.known(label)
        raw = self._answer[value.start : value.end]
        strings, offsets = tuple(each.text for each in spans), tuple(each.offsets for each in spans)
        self.items.append(Item(known or label, strings, raw, known=known is not None, offsets=offsets))

    def _unreadable(self, value: Value) -> None:
        if value.end <= len(self._answer) and not (self._partial and not value.closed):
            self.items.append(Item("", (), self._answer[value.start : value.end], known=False))


def _has_sides(text: Text) -> bool:
    return any(separator in text.text for separator in (",", "->", "\u2192", "|"))


def _named(value: Object, name: str) -> Value | None:
    return next((each for key, each in value.pairs if key.strip().casefold() == name), None)


def _first_text(value: Value) -> Text | None:
    if isinstance(value, Text):
        return value
    if isinstance(value, Object):
        return next((each for key, each in value.pairs if kind_of_key(key) == SPAN and isinstance(each, Text)), None)
    return None


def _strings(value: Value) -> list[_Said]:
    """The strings that a key of an item holds: one, several of a list, or the text of an object with its offsets."""
    if isinstance(value, Text):
        return [_Said(value.text, None, value.closed)] if value.text.strip() and not _is_null(value) else []
    if isinstance(value, Array):
        return [said for each in value.values if not isinstance(each, Array) for said in _strings(each)]
    text = _first_text(value)
    return [_Said(text.text, _offsets_of(value), text.closed)] if text else []


def _is_null(value: Text) -> bool:
    return value.bare and value.text.strip().casefold() in ("null", "none")


def _offsets_of(value: Object) -> Offsets | None:
    """The offsets that an object gives: ``start`` and ``end``, or a list of two numbers, or both in an object."""
    numbers: dict[str, int] = {}
    for key, each in value.pairs:
        kind = kind_of_key(key)
        if kind in (START, END) and (number := _number(each)) is not None:
            numbers.setdefault(str(kind), number)
        elif len(pair := _interval(key, each)) == 2:
            numbers = {START: pair[0], END: pair[1], **numbers}
    if START not in numbers:
        return None
    return numbers[START], numbers.get(END, numbers[START])


def _interval(key: str, value: Value) -> list[int]:
    """The numbers of ``[start, end]``, or of an object under a key such as ``char_interval``."""
    if isinstance(value, Array) and len(value.values) == 2:
        numbers = list(map(_number, value.values))
    elif isinstance(value, Object) and "interval" in key.casefold():
        numbers = [_number(each) for inner, each in value.pairs if kind_of_key(inner) in (START, END)]
    else:
        return []
    return [number for number in numbers if number is not None]


def _number(value: Value) -> int | None:
    if isinstance(value, Text) and value.text.strip().isdecimal() and len(value.text) < 12:
        return int(value.text)
    return None
