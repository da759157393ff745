"""Demonstrations that are the same for every input, so that prompts begin alike and a model's prefix cache helps."""

from __future__ import annotations

from collections.abc import Iterable

from ruie_components.types import Example


def covering(examples: Iterable[Example], n: int) -> list[Example]:
    """Examples that show as many labels as ``n`` of them can: each time the one with the most labels not yet shown.

    Once all labels are shown, they count anew. Among equals the shortest text is taken, then the lowest ``content_id``,
    so the order of the examples makes no difference. In memory is one example for each set of labels.

    Args:
        examples: Of one task.
        n: How many. There are fewer where fewer sets of labels occur.

    >>> def example(text, *labels):
    ...     spans = [{"text": text, "type": label, "start": 0, "end": len(text)} for label in labels]
    ...     return Example(task="NER", text=text, labels=["a", "b", "c"], entities=spans)
    >>> pool = [example("one", "a"), example("two!", "a", "b"), example("three", "b", "c"), example("four", "a", "b")]
    >>> [each.text for each in covering(pool, 2)]
    ['four', 'three']
    """
    left: dict[frozenset[str], Example] = {}
    for example in examples:
        labels = frozenset(label for label, _ in example.annotations)
        if labels and (labels not in left or _rank(example) < _rank(left[labels])):
            left[labels] = example
    chosen: list[Example] = []
    shown: set[str] = set()
    while left and len(chosen) < n:
        if not any(labels - shown for labels in left):
            shown = set()
        best = min(left, key=lambda labels: (-len(labels - shown), *_rank(left[labels])))
        shown |= best
        chosen.append(left.pop(best))
    return chosen


def _rank(example: Example) -> tuple[int, str]:
    return len(example.text), example.content_id
