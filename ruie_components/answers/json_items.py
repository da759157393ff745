"""Reads the items of an answer in the JSON format, in any of the shapes that models use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import product
from typing import NamedTuple

from ruie_components.answers import loose_json
from ruie_components.answers.items import Item, ParsedAnswer
from ruie_components.answers.json_keys import (
    CALL_BODIES,
    CALL_NAMES,
    ECHO_NAMES,
    HEAD_NAMES,
    LABEL_NAMES,
    LABEL_RANKS,
    OFFSET_NAMES,
    PROSE_NAMES,
    SPAN_NAMES,
    TAIL_NAMES,
    WRAPPERS,
    is_wrapper,
    key_name,
)
from ruie_components.answers.json_values import (
    Answered,
    first_spans,
    groups_of,
    holds_items,
    integer_of,
    is_number,
    offsets_of,
    pair_of,
    spans_of,
    strings_of,
)
from ruie_components.answers.label_matcher import LabelMatcher, says_nothing
from ruie_components.answers.loose_json import OPENING, Array, Object, Text, Value
from ruie_components.types import EventQuery, Query, Task

_MOST_KNOWN, _LONGEST_KNOWN = 10_000, 1_000  # values whose items are kept, and their longest, in characters
_MOST_NESTED_STRINGS = 2  # nesting of JSON within strings, as in the arguments of a tool call


def opening(answer: str, start: int = 0) -> int | None:
    """The offset at which something like JSON begins in an answer, or None."""
    match = OPENING.search(answer, start)
    return match.start() if match else None


class JsonBlock(NamedTuple):
    """One object or list at the top level of an answer.

    ``is_whole`` is false for a single item, which others may follow.
    """

    start: int
    end: int
    items: tuple[Item, ...]
    is_whole: bool


def read_blocks(
    answer: str,
    values: Iterable[Value],
    query: Query,
    matcher: LabelMatcher,
    contains: Callable[[str], bool],
    *,
    partial: bool = False,
) -> list[JsonBlock]:
    """Read the JSON of an answer: an object with a list of items, a bare list, or items one after another.

    Also read are objects whose keys are labels, ``{"person": ["Ada"]}``, or spans, ``{"Ada": "person"}``; triples and
    pairs as lists; the arguments of tool calls; rows of this package; and common other names of keys. A string
    that belongs to no item becomes an item without a label, unless it is prose (``reasoning``) or repeats the query.

    Args:
        answer: The answer.
        values: Its objects and lists, from ``loose_json.read`` or ``records.read``.
        query: The query; its task determines how many spans an item has.
        matcher: Matches the labels of the schema.
        contains: Whether the text has exactly these characters.
        partial: The answer is still being written: items that are not closed are left out. Otherwise such an item is
            read if its strings are complete.

    Returns:
        The objects and lists of the top level in the order of the answer, with their items.
    """
    blocks = []
    known: dict[str, list[Item]] = {}  # the items of short values, at offset 0: a model may repeat them
    reader = _ItemReader(answer, query, matcher, contains, partial=partial)
    for value in values:
        raw = answer[value.start : value.end] if value.end - value.start <= _LONGEST_KNOWN else ""
        if raw in known:
            items = [item.moved(value.start) for item in known[raw]]
        else:
            items = reader.walk([value])
            if raw and len(known) < _MOST_KNOWN and isinstance(value, Object | Array) and value.closed:
                known[raw] = [item.moved(-value.start) for item in items]
        single = len(items) == 1 and items[0].answer_range == (value.start, value.end)
        whole = isinstance(value, Array) or not single
        blocks.append(JsonBlock(value.start, value.end, tuple(items), whole))
    return blocks


def read_items(
    answer: str,
    query: Query,
    matcher: LabelMatcher,
    contains: Callable[[str], bool],
    *,
    start: int = 0,
    partial: bool = False,
) -> ParsedAnswer:
    """The items of all blocks of ``read_blocks``; ``says_nothing`` if there is JSON without content."""
    blocks = read_blocks(answer, loose_json.read(answer, start), query, matcher, contains, partial=partial)
    items = tuple(item for block in blocks for item in block.items)
    return ParsedAnswer(items, says_nothing=bool(blocks) and not items)


class _Todo(NamedTuple):
    """A value to read, with the label and the span of its keys."""

    value: Value
    label: str | None = None
    span: str | None = None


class _ItemReader:
    def __init__(
        self, answer: str, query: Query, matcher: LabelMatcher, contains: Callable[[str], bool], *, partial: bool
    ) -> None:
        self._answer, self._query, self._matcher, self._contains = answer, query, matcher, contains
        self._partial = partial
        self._pairs = query.task is Task.RE
        self._event = query.event if query.task is Task.EAE else None
        self._names = (HEAD_NAMES, TAIL_NAMES) if self._pairs else (SPAN_NAMES,)
        self._todo: list[_Todo] = []
        self._depth = 0
        self._items: list[Item] = []

    def walk(self, values: Sequence[Value]) -> list[Item]:
        """The items of some values, in document order. The stack is a list: values nest deeper than calls may."""
        self._items = []
        self._todo = [_Todo(value) for value in reversed(values)]
        while self._todo:
            todo = self._todo.pop()
            if isinstance(todo.value, Text):
                self._text(todo.value, todo)
            elif isinstance(todo.value, Array):
                if not self._list_item(todo.value, todo):
                    self._todo += [_Todo(value, todo.label, todo.span) for value in reversed(todo.value.values)]
            elif not self._is_other_event(todo.value) and not self._object_items(todo.value, todo):
                self._keys(todo.value, todo)
        return self._items

    # objects

    def _object_items(self, value: Object, todo: _Todo) -> bool:
        """Read an object as an item, or as several if its keys repeat; False if it is not an item."""
        groups = groups_of(value)
        if len(groups) > 1:
            self._todo += [_Todo(group, todo.label, todo.span) for group in reversed(groups)]
            return True
        named: dict[str, Value] = {}
        for key, each in value.pairs:
            named.setdefault(key_name(key), each)
        label_key = self._label_key(named)
        written = named[label_key] if label_key else None
        label = written.text if isinstance(written, Text) else todo.label
        if label is None:
            return False
        keys, spans = zip(*[first_spans(names, named, label_key) for names in self._names], strict=True)
        if keys == (None,):
            only = self._only_string(value, label_key, written is not None and self._matcher.known(label) is not None)
            keys, spans = (only,), (spans_of(named[only]) if only else [],)
        if keys == (None, None) and (pair := pair_of(named)):
            keys, spans = (pair[0], pair[0]), pair[1]
        if not all(spans) and todo.span is not None and sum(not each for each in spans) == 1:
            spans = tuple(each or [Answered(todo.span)] for each in spans)
        if not all(spans):
            if label_key in LABEL_NAMES and not any(not isinstance(each, Text) for _, each in value.pairs):
                self._unreadable(value)  # a label without a span
                return True
            return False
        if not value.closed:
            texts = [text for key in keys if key for text in strings_of(named[key])]
            texts += [written] if isinstance(written, Text) else []
            if self._partial or not all(text.closed for text in texts):
                self._unreadable(value)
                return True
        self._add_rows(label, self._with_offsets(spans, keys, named), value)
        used = {label_key, *keys}
        for key, each in reversed(value.pairs):
            if not isinstance(each, Text) and key_name(key) not in used and holds_items(each):
                self._todo.append(_Todo(each))
        return True

    def _label_key(self, named: dict[str, Value]) -> str | None:
        """The key of an object that holds its label."""
        written = {name: each.text for name, each in named.items() if isinstance(each, Text) and each.text.strip()}
        usual = sorted((name for name in written if name in LABEL_RANKS), key=LABEL_RANKS.__getitem__)
        known = [name for name in (*usual, *written) if self._matcher.known(written[name])]
        if "eventtype" in known and self._query.task is Task.ED:
            return "eventtype"
        return next(iter(known), None) or next(iter(usual), None)

    def _only_string(self, value: Object, label_key: str | None, known: bool) -> str | None:
        """The key of the span if its name is unknown: that of the only other string, or of the only one in the text."""
        if not known:
            return None
        others = [
            (key, each)
            for key, each in value.pairs
            if key and isinstance(each, Text) and each.quoted and key_name(key) != label_key and each.text.strip()
        ]
        held = [(key, each) for key, each in others if self._contains(each.text)]
        chosen = others if len(others) == 1 else held
        return key_name(chosen[0][0]) if len(chosen) == 1 else None

    def _with_offsets(
        self, spans: Sequence[list[Answered]], keys: Sequence[str | None], named: dict[str, Value]
    ) -> Sequence[list[Answered]]:
        """The spans with their offsets from neighbouring keys: ``start`` and ``end``, or ``head_start`` for a side."""
        if any(len(each) != 1 for each in spans):
            return spans
        if len(spans) == 1:
            offsets = offsets_of(named)
            return [[Answered(spans[0][0].text, spans[0][0].offsets or offsets)]]
        sides = []
        for (answered,), key in zip(spans, keys, strict=True):
            start, end = integer_of(named.get(f"{key}start")), integer_of(named.get(f"{key}end"))
            given = None if start is None else (start, end if end is not None else start + len(answered.text))
            sides.append([Answered(answered.text, answered.offsets or given)])
        return sides

    def _add_rows(self, label: str, spans: Sequence[list[Answered]], value: Value) -> None:
        """One item for each span of a list; for relations a head with each of its tails, or the reverse."""
        if len(spans) == 1:
            rows: list[tuple[Answered, ...]] = [(each,) for each in spans[0]]
        elif 1 in (len(spans[0]), len(spans[1])):
            rows = list(product(*spans))
        else:
            self._unreadable(value)  # it is unclear which head belongs to which tail
            return
        for row in rows:
            self._add(label, row, value)

    def _keys(self, value: Object, todo: _Todo) -> None:
        """Read an object that is not an item: its keys are labels, spans, or names of their values."""
        is_call = any(
            key_name(key) in CALL_BODIES and (not isinstance(each, Text) or each.text.lstrip()[:1] in ("{", "["))
            for key, each in value.pairs
        )
        todos = []
        for key, each in value.pairs:
            label = self._matcher.known(key) or (None if isinstance(each, Text) else self._plural(key))
            if label is None and (self._is_echo(key, each) or (is_call and key_name(key) in CALL_NAMES)):
                continue
            if isinstance(each, Text):
                todos += self._string_value(key, each, label, todo, closed=value.closed)
            elif label is not None:
                todos.append(_Todo(each, label, todo.span))
            elif self._is_span(key, each, todo):
                todos.append(_Todo(each, todo.label, key))
            else:
                todos.append(_Todo(each, todo.label, todo.span))
        self._todo += reversed(todos)

    def _plural(self, key: str) -> str | None:
        return None if key_name(key) in ("entities", "relations", "events", "arguments") else self._matcher.plural(key)

    def _is_span(self, key: str, value: Value, todo: _Todo) -> bool:
        """Whether a key that is not a label is a span: a head, or a span whose value is its label."""
        if not key.strip() or todo.span is not None:
            return False
        if self._event is not None and key.strip().casefold() == self._event.type.casefold():
            return False
        if is_wrapper(key_name(key)) and not self._contains(key):
            return False
        if self._pairs:
            return todo.label is not None or isinstance(value, Object)
        return isinstance(value, Object) or (
            isinstance(value, Array)
            and bool(value.values)
            and all(isinstance(each, Text) and self._matcher.known(each.text) for each in value.values)
        )

    def _string_value(self, key: str, value: Text, label: str | None, todo: _Todo, *, closed: bool) -> list[_Todo]:
        """Read a string under a key; ``closed`` tells whether its object is closed."""
        if not value.text.strip() and not key.strip():
            return []
        if label is not None:
            return [_Todo(value, label, todo.span)]
        if not key:
            return [_Todo(value, todo.label, todo.span)] if closed or not self._partial else []
        if value.quoted and value.text.lstrip()[:1] in ("{", "[") and key_name(key) in (*CALL_BODIES, *WRAPPERS):
            return [_Todo(value)]
        if self._partial and not value.closed:
            return []
        if not self._pairs and key_name(key) not in LABEL_NAMES and (named := self._matcher.known(value.text)):
            self._add(named, (Answered(key),), value)
        elif self._pairs and todo.label is not None and todo.span is None:
            self._add(todo.label, (Answered(key), Answered(value.text)), value)
        elif todo.label is not None and key_name(key) in SPAN_NAMES:
            return [_Todo(value, todo.label, todo.span)]
        elif not (self._partial and not closed) and not (
            (says_nothing(value.text) or is_number(value)) and self._is_plain_name(key)
        ):
            self._unreadable(value, f"{key}: ")
        return []

    def _is_plain_name(self, key: str) -> bool:
        """Whether a key without a value names a part of an answer, rather than a span that would be lost."""
        name = key_name(key)
        usual = (*PROSE_NAMES, *ECHO_NAMES, *LABEL_NAMES, *SPAN_NAMES, *HEAD_NAMES, *TAIL_NAMES, *OFFSET_NAMES)
        return name in usual or is_wrapper(name)

    def _is_echo(self, key: str, value: Value) -> bool:
        """Whether a key holds prose, or a field of a query or row other than the annotations."""
        name = key_name(key)
        if name in PROSE_NAMES:
            return isinstance(value, Text) or not holds_items(value)
        if name not in ECHO_NAMES:
            return False
        if name in ("schema", "labels", "candidates"):
            return all(self._matcher.known(text.text) for text in strings_of(value)) and not isinstance(value, Object)
        return isinstance(value, Text) and (
            name not in ("text", "input", "document") or value.text.strip() == self._query.text.strip()
        )

    def _is_other_event(self, value: Object) -> bool:
        """In an EAE answer: read the arguments of an event object, and refuse another trigger's object.

        The arguments are a value of their own, or keys of the object: ``{"trigger": .., "attacker": ..}``.
        """
        if self._event is None:
            return False
        named = {key_name(key): each for key, each in value.pairs}
        arguments = named.get("arguments")
        if arguments is None:
            if named.keys().isdisjoint(("eventtype", "trigger")) or not any(map(self._matcher.known, named)):
                return False
        elif isinstance(arguments, Text) or "name" in named:
            return False
        triggers = [each.text for each in strings_of(named["trigger"])] if "trigger" in named else []
        if triggers and not any(_is_same_trigger(trigger, self._event) for trigger in triggers):
            self._unreadable(value)
            return True
        for key, each in reversed(value.pairs):
            name = key_name(key)
            if name == "arguments" or (role := self._matcher.known(key)):
                self._todo.append(_Todo(each, None if name == "arguments" else role))
            elif not (
                name == "trigger" or name in LABEL_NAMES or self._is_echo(key, each) or self._is_empty(key, each)
            ):
                self._unreadable(each, f"{key}: ")
        return True

    def _is_empty(self, key: str, value: Value) -> bool:
        """Whether a key of an event holds nothing to lose: null, an empty list, or a number such as an offset."""
        if isinstance(value, Text):
            return says_nothing(value.text) or (is_number(value) and self._is_plain_name(key))
        return not (value.pairs if isinstance(value, Object) else value.values)

    # lists and strings

    def _list_item(self, value: Array, todo: _Todo) -> bool:
        """Read a list as one item: a pair under a relation's label, or a triple or pair that holds the label."""
        texts = [each for each in value.values if isinstance(each, Text)]
        if len(texts) != len(value.values) or (self._partial and not value.closed):
            return False
        if all(map(is_number, texts)):
            if todo.label is not None or not texts:
                return False
            self._unreadable(value)
            return True
        if todo.label is None:
            return self._labelled_list(texts, value, todo)
        if not self._pairs or todo.span is not None or len(texts) != 2:
            return False
        sides = [text.text for text in texts]
        if not all(map(self._contains, sides)) and all("," in side or "->" in side for side in sides):
            return False  # two pairs
        self._add(todo.label, (Answered(sides[0]), Answered(sides[1])), value)
        return True

    def _labelled_list(self, texts: list[Text], value: Array, todo: _Todo) -> bool:
        spans = 1 + self._pairs - (todo.span is not None)
        if not 1 + spans <= len(texts) <= 3 + spans:
            return False
        numbers = [text for text in texts if is_number(text)]
        words = [text for text in texts if not is_number(text)] if len(texts) > 1 + spans else texts
        if len(words) != 1 + spans:
            return False
        known = [i for i, text in enumerate(words) if self._matcher.known(text.text)]
        if self._pairs and 1 in known:
            known = [1]
        if len(known) > 1:  # a label that is also a span: ["person", "person"], ["Ada", "person"] is the usual order
            known = [i for i in known if not self._contains(words[i].text)] or [len(words) - 1]
        if len(known) != 1:
            return False
        rest = [word.text for i, word in enumerate(words) if i != known[0]]
        given = [integer_of(number) for number in numbers]
        offsets = (given[0], given[1]) if len(given) == 2 and given[0] is not None and given[1] is not None else None
        answered = [Answered(text, offsets if len(rest) == 1 else None) for text in rest]
        if todo.span is not None:
            answered.insert(0, Answered(todo.span))
        self._add(words[known[0]].text, tuple(answered), value)
        return True

    def _text(self, value: Text, todo: _Todo) -> None:
        if self._partial and not value.closed:
            return
        label = todo.label
        if says_nothing(value.text) or not value.text.strip():
            return
        if value.quoted and value.text.lstrip()[:1] in ("{", "[") and self._nested(value, todo):
            return
        head = self._matcher.at(value.text, 0, len(value.text))
        if head and label is None:
            self._add(head.label, (Answered(value.text[head.body :].strip()),), value)
        elif label is not None and value.closed:
            spans = (Answered(value.text),) if todo.span is None else (Answered(todo.span), Answered(value.text))
            self._add(label, spans, value)
        elif todo.span is not None and not self._pairs and self._matcher.known(value.text):
            self._add(value.text, (Answered(todo.span),), value)
        else:
            self._unreadable(value)

    def _nested(self, value: Text, todo: _Todo) -> bool:
        """Read JSON that is the content of a string, as the arguments of a tool call are."""
        if (
            self._depth >= _MOST_NESTED_STRINGS
            or self._contains(value.text)
            or not (inner := list(loose_json.read(value.text)))
        ):
            return False
        reader = _ItemReader(value.text, self._query, self._matcher, self._contains, partial=self._partial)
        reader._depth = self._depth + 1
        items = reader.walk(inner)
        answer_range = (value.start, value.end)
        self._items += [
            Item(item.label, item.spans, item.raw, item.known, answer_range, item.offsets) for item in items
        ]
        return bool(items) or todo.label is None

    # items

    def _add(self, label: str, spans: tuple[Answered, ...], value: Value) -> None:
        known = self._matcher.known(label)
        self._items.append(
            Item(
                known or label.strip(),
                tuple(span.text for span in spans),
                self._answer[value.start : value.end],
                known is not None,
                (value.start, value.end),
                tuple(span.offsets for span in spans),
            )
        )

    def _unreadable(self, value: Value, prefix: str = "") -> None:
        if value.end <= len(self._answer) and not (self._partial and not value.closed):
            raw = prefix + self._answer[value.start : value.end]
            self._items.append(Item("", (), raw, known=False, answer_range=(value.start, value.end)))


def _is_same_trigger(trigger: str, event: EventQuery) -> bool:
    one, other = trigger.casefold().strip(), event.trigger.casefold().strip()
    return one in other or other in one
