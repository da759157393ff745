"""The annotated spans of an example, wrapped in keyword tags (paper, section on the keyword-enhanced reward model)."""

from __future__ import annotations

from enum import StrEnum

from ruie_components.tokenization import cuts_word
from ruie_components.types import Example, Task

OPEN, CLOSE = "<Keyword>", "</Keyword>"


class KeywordStrategy(StrEnum):
    """Which spans are tagged, and how."""

    NONE = "none"
    """Nothing."""
    PLAIN = "plain"
    """Every annotated span, overlapping spans merged into one: the paper's way."""
    TYPED = "typed"
    """Every annotated span, and its label: ``<Keyword> span | label </Keyword>``."""
    HEADS = "heads"
    """Event triggers and relation heads only; entities as in ``plain``."""


Range = tuple[int, int, list[str]]  # start, end, labels


def mark(example: Example, strategy: KeywordStrategy | str = KeywordStrategy.PLAIN) -> str:
    """Wrap the annotated spans of an example's text.

    Args:
        example: A labelled example.
        strategy: Which spans are tagged, and how.

    Returns:
        The text with tags; overlapping spans share one pair of tags. A span that ends within a word stays untagged, as
        in the reference code, because a tag would split the word.

    >>> from ruie_components.types import Example
    >>> ada = {"text": "Ada", "type": "person", "start": 0, "end": 3}
    >>> mark(Example(task="NER", text="Ada slept.", labels=["person"], entities=[ada]))
    '<Keyword> Ada </Keyword> slept.'
    """
    strategy = KeywordStrategy(strategy)
    pieces: list[str] = []
    end = 0
    whole = [each for each in _ranges(example, strategy) if not cuts_word(example.text, *each[:2])]
    for first, last, labels in _merge(whole):
        label = f" | {', '.join(dict.fromkeys(labels))}" if strategy is KeywordStrategy.TYPED and labels else ""
        pieces += [example.text[end:first], f"{OPEN} {example.text[first:last]}{label} {CLOSE}"]
        end = last
    return "".join([*pieces, example.text[end:]])


def _ranges(example: Example, strategy: KeywordStrategy) -> list[Range]:
    if strategy is KeywordStrategy.NONE:
        return []
    ranges: list[Range] = [(entity.start, entity.end, [entity.type]) for entity in example.entities]
    for relation in example.relations:
        ranges.append((*relation.head.offsets, [relation.type]))
        if strategy is not KeywordStrategy.HEADS:
            ranges.append((*relation.tail.offsets, [relation.type]))
    for event in example.events:
        ranges.append((*event.trigger.offsets, [event.type]))
        if strategy is not KeywordStrategy.HEADS and example.task is Task.EAE:
            ranges += [(*argument.offsets, [argument.role]) for argument in event.arguments]
    return ranges


def _merge(ranges: list[Range]) -> list[Range]:
    merged: list[Range] = []
    for start, end, labels in sorted(ranges, key=lambda each: each[:2]):
        if merged and start < merged[-1][1]:
            first, last, known = merged[-1]
            merged[-1] = (first, max(last, end), known + labels)
        else:
            merged.append((start, end, labels))
    return merged
