"""The rules of the copying baseline: the spans of an input that match the demonstrations' spans.

In order of precedence: exactly a demonstration's span (for a trigger also with another ending); a span of the
same surface shape (capitals, digits) beside the same word; for entities, a run of capitalised words gets the label that
most spans of its shape have.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Self

from ruie_components.tokenization import is_spaced
from ruie_components.types import Query, Span, Task

_TOKEN = re.compile(r"\w+(?:[-'\u2019.]\w+)*|[^\w\s]")
_LONGEST_ANALOGY = 6  # tokens
_TEXT_FOR_ANALOGIES = 20_000  # characters; in a longer text only exact copies are searched for
_SHORTEST_STEM = 4  # characters
_SENTENCE_ENDS = frozenset('.!?:"\u201c')

Match = tuple[int, int, str]  # start, end, label
Shape = tuple[str, ...]


@dataclass(frozen=True)
class Pattern:
    """A span of a demonstration: its label, its text, its surface shape and the words beside it."""

    label: str
    text: str
    shape: Shape
    before: str | None
    after: str | None

    @classmethod
    def of(cls, text: str, label: str, span: Span) -> Self:
        """The pattern of a span in its text."""
        before = _TOKEN.findall(text[max(0, span.start - 50) : span.start])
        after = _TOKEN.search(text, span.end)
        shape = _shape(_TOKEN.findall(span.text))
        return cls(label, span.text, shape, before[-1].lower() if before else None, after[0].lower() if after else None)


def _shape(tokens: Sequence[str]) -> Shape:
    """The shape of a span, such as ``("Aa", "1")`` for "Big Ben 12"; repeats count once."""
    shapes: list[str] = []
    for token in tokens:
        if token.isdigit():
            shape = "1"
        elif token[0].isupper():
            shape = "AA" if token.isupper() and len(token) > 1 else "Aa"
        else:
            shape = "a" if token[0].isalpha() else token
        if not shapes or shapes[-1] != shape:
            shapes.append(shape)
    return tuple(shapes)


def find_spans(query: Query, patterns: Sequence[Pattern]) -> list[tuple[str, Span]]:
    """Spans of the input and their labels, in the order of the text, without overlaps.

    Args:
        query: What to extract from which text.
        patterns: The demonstrations' spans; those of the most similar demonstration come first and take precedence.
    """
    known = [one for one in patterns if one.label in query.labels]
    matches = list(_forms(query.text, known) if query.task is Task.ED else _copies(query.text, known))
    if len(query.text) <= _TEXT_FOR_ANALOGIES:
        matches += _analogies(query.text, known)
        if query.task is Task.NER:  # labels outside the schema count too, so that their spans are not copied
            matches += [match for match in _majority(query.text, patterns) if match[2] in query.labels]
    covered = bytearray(len(query.text))
    taken: list[Match] = []
    for start, end, label in matches:
        if not any(covered[start:end]):
            covered[start:end] = b"\x01" * (end - start)
            taken.append((start, end, label))
    return [(label, Span(text=query.text[start:end], start=start, end=end)) for start, end, label in sorted(taken)]


def _copies(text: str, patterns: Sequence[Pattern]) -> Iterator[Match]:
    """Exact copies of the demonstrations' spans."""
    labels: dict[str, str] = {}
    for one in patterns:
        labels.setdefault(one.text, one.label)
    for match in _matches(text, [_whole(known) for known in sorted(labels, key=len, reverse=True)], 0):
        yield match.start(), match.end(), labels[match[0]]


def _forms(text: str, patterns: Sequence[Pattern]) -> Iterator[Match]:
    """The demonstrations' triggers, also at the start of a sentence or with another ending."""
    labels: dict[str, str] = {}
    expressions: dict[str, str] = {}
    for one in patterns:
        known = one.text.lower()
        if known.isalpha() and len(known) > _SHORTEST_STEM and is_spaced(known[0]):
            known = known[: max(_SHORTEST_STEM, len(known) - 3)]
            expressions[known] = rf"(?<!\w){re.escape(known)}\w{{0,4}}(?!\w)"
        else:
            expressions[known] = _whole(known)
        labels.setdefault(known, one.label)
    longest_first = sorted(labels, key=len, reverse=True)
    for match in _matches(text, [expressions[known] for known in longest_first], re.IGNORECASE):
        word = match[0].lower()
        if (label := next((labels[known] for known in longest_first if word.startswith(known)), None)) is not None:
            yield match.start(), match.end(), label


def _matches(text: str, expressions: Sequence[str], flags: int) -> Iterator[re.Match[str]]:
    return re.finditer("|".join(expressions), text, flags) if expressions else iter(())


def _whole(span: str) -> str:
    """A pattern for a span as whole words, if its script separates words by spaces."""
    before = r"(?<!\w)" if is_spaced(span[0]) else ""
    after = r"(?!\w)" if is_spaced(span[-1]) else ""
    return f"{before}{re.escape(span)}{after}"


def _analogies(text: str, patterns: Sequence[Pattern]) -> Iterator[Match]:
    """Spans of the same shape as a demonstration's span and beside the same word; longer ones first."""
    shaped = [one for one in patterns if any(part[0] in "A1" for part in one.shape)]
    tokens = list(_TOKEN.finditer(text))
    words = [token[0] for token in tokens]
    for length in range(_LONGEST_ANALOGY, 0, -1) if shaped else ():
        for first in range(len(tokens) - length + 1):
            last = first + length - 1
            shape = _shape(words[first : last + 1])
            before = words[first - 1].lower() if first else ""
            after = words[last + 1].lower() if last + 1 < len(words) else ""
            for one in shaped:
                beside = (before and before == one.before) or (after.isalpha() and after == one.after)
                if shape == one.shape and beside:
                    yield tokens[first].start(), tokens[last].end(), one.label
                    break


def _majority(text: str, patterns: Sequence[Pattern]) -> Iterator[Match]:
    """Runs of capitalised words, with the label that most demonstrated spans of their shape have."""
    votes: dict[Shape, Counter[str]] = {}
    for one in patterns:
        votes.setdefault(one.shape, Counter())[one.label] += 1
    for run in _runs(text):
        shape = _shape([token[0] for token in run])
        label, count = votes.get(shape, Counter({"": 0})).most_common(1)[0]
        if count > 1 and 2 * count > votes[shape].total():
            yield run[0].start(), run[-1].end(), label


def _runs(text: str) -> Iterator[list[re.Match[str]]]:
    """Runs of capitalised words, without single words at the start of a sentence."""
    run: list[re.Match[str]] = []
    begins = True
    previous = "."
    for token in _TOKEN.finditer(text):
        if token[0][0].isupper():
            if not run:
                begins = previous in _SENTENCE_ENDS
            run.append(token)
        else:
            if run and not (begins and len(run) == 1):
                yield run
            run = []
        previous = token[0]
    if run and not (begins and len(run) == 1):
        yield run
