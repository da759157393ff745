"""Annotated texts cut into segments, and written as HTML or for a terminal. Nested and crossing spans are fine."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from rich.text import Text

from ruie_components.types import Example, Extraction, Task

# Background colours that leave black text readable (contrast of at least 7 : 1), far apart in hue.
PALETTE = (
    "#9fd3f5", "#ffd98a", "#b7e4a8", "#f5b5c8", "#d3c1f0", "#f7c59f",
    "#a6e3dc", "#e6e08f", "#c9d4e2", "#efb8ef", "#c3e88d", "#f4a79d",
)  # fmt: skip


@dataclass(frozen=True)
class Mark:
    """A span to be highlighted, and what it is called."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Segment:
    """A stretch of a text in which the same marks hold."""

    text: str
    marks: tuple[Mark, ...]
    """Outermost first."""
    ending: tuple[Mark, ...]
    """Those that end with this segment: their labels are written behind it."""


def marks_of(annotated: Example | Extraction) -> list[Mark]:
    """The spans of an example or an extraction with their labels; for relations ``type: head`` and ``type: tail``."""
    marks = [Mark(entity.start, entity.end, entity.type) for entity in annotated.entities]
    for relation in annotated.relations:
        marks.append(Mark(*relation.head.offsets, f"{relation.type} \u2192"))
        marks.append(Mark(*relation.tail.offsets, f"\u2192 {relation.type}"))
    for event in annotated.events:
        marks.append(Mark(*event.trigger.offsets, event.type))
        if annotated.task is Task.EAE:
            marks += [Mark(*argument.offsets, argument.role) for argument in event.arguments]
    return list(dict.fromkeys(marks))


def segments(text: str, marks: Iterable[Mark]) -> list[Segment]:
    """Cut a text wherever a mark begins or ends.

    >>> [(s.text, [m.label for m in s.marks]) for s in segments("Ada slept.", [Mark(0, 3, "person")])]
    [('Ada', ['person']), (' slept.', [])]
    """
    ordered = sorted(marks, key=lambda mark: (mark.start, -mark.end))
    edges = sorted({0, len(text), *(edge for mark in ordered for edge in (mark.start, mark.end))})
    found = []
    waiting = deque(ordered)
    active: tuple[Mark, ...] = ()
    for start, end in pairwise(edges):
        begun = []
        while waiting and waiting[0].start <= start:
            begun.append(waiting.popleft())
        active = tuple(mark for mark in (*active, *begun) if mark.end >= end)
        found.append(Segment(text[start:end], active, tuple(mark for mark in reversed(active) if mark.end == end)))
    return found


def colours(labels: Iterable[str]) -> dict[str, str]:
    """A colour for each label, by its place; both ends of a relation share one."""
    names = dict.fromkeys(label.strip("\u2192 ") for label in labels)
    return {name: PALETTE[place % len(PALETTE)] for place, name in enumerate(names)}


def _colour(label: str, palette: dict[str, str]) -> str:
    return palette.get(label.strip("\u2192 "), PALETTE[-1])


def to_html(text: str, marks: Sequence[Mark], palette: dict[str, str] | None = None) -> str:
    """The text as an HTML fragment, each span coloured and its label behind it."""
    palette = palette or colours(mark.label for mark in marks)
    parts = []
    for segment in segments(text, marks):
        part = escape(segment.text)
        if segment.marks:
            shades = ", ".join(
                f"inset 0 -{4 * depth}px {_colour(mark.label, palette)}"
                for depth, mark in enumerate(reversed(segment.marks[:-1]), start=1)
            )  # the outer marks of a nested span show as lines below it
            shadow = f"; box-shadow: {shades}" if shades else ""
            part = f'<mark style="background: {_colour(segment.marks[-1].label, palette)}{shadow}">{part}</mark>'
        part += "".join(
            f'<small style="background: {_colour(mark.label, palette)}">{escape(mark.label)}</small>'
            for mark in segment.ending
        )
        parts.append(part)
    return "".join(parts)


def to_terminal(text: str, marks: Sequence[Mark], palette: dict[str, str] | None = None) -> Text:
    """The text for a terminal (rich), each span coloured and its label behind it in brackets."""
    palette = palette or colours(mark.label for mark in marks)
    line = Text()
    for segment in segments(text, marks):
        style = f"black on {_colour(segment.marks[-1].label, palette)}" if segment.marks else ""
        line.append(segment.text, style=style)
        for mark in segment.ending:
            line.append(f"[{mark.label}]", style=f"bold {_colour(mark.label, palette)}")
    return line
