"""Renders annotated texts as HTML or for a terminal, including nested and crossing spans."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
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
LINE_STYLES = ("solid", "dashed", "dotted")
"""Line styles that distinguish labels of the same colour; ``len(PALETTE)`` labels share a style."""


@dataclass(frozen=True)
class Mark:
    """A span to highlight, its label, and for a relation its side.

    Attributes:
        start: Offset of the first character.
        end: Offset after the last character.
        label: The label, which determines the colour.
        side: For relations ``head`` or ``tail``, else empty.
        number: For relations the number of the relation in the text, from 1; else 0.
    """

    start: int
    end: int
    label: str
    side: str = ""
    number: int = 0

    @property
    def caption(self) -> str:
        """The caption after the span.

        >>> Mark(0, 3, "knows", "head", 1).caption, Mark(8, 11, "knows", "tail", 1).caption
        ('1 knows \u2192', '\u2192 1 knows')
        """
        match self.side:
            case "head":
                return f"{self.number} {self.label} \u2192"
            case "tail":
                return f"\u2192 {self.number} {self.label}"
            case _:
                return self.label


@dataclass(frozen=True)
class Segment:
    """A part of a text with the same marks throughout.

    Attributes:
        text: The characters.
        marks: Its marks, outermost first.
        starting: Marks that start with this segment.
        ending: Marks that end with this segment, innermost first. Their captions follow it.
    """

    text: str
    marks: tuple[Mark, ...]
    starting: frozenset[Mark]
    ending: tuple[Mark, ...]


def marks_of(annotated: Example | Extraction) -> list[Mark]:
    """The spans of an example or an extraction with their labels. A relation has two spans, with its number."""
    marks = [Mark(entity.start, entity.end, entity.type) for entity in annotated.entities]
    for number, relation in enumerate(annotated.relations, start=1):
        marks.append(Mark(*relation.head.offsets, relation.type, "head", number))
        marks.append(Mark(*relation.tail.offsets, relation.type, "tail", number))
    for event in annotated.events:
        marks.append(Mark(*event.trigger.offsets, event.type))
        if annotated.task is Task.EAE:
            marks += [Mark(*argument.offsets, argument.role) for argument in event.arguments]
    return list(dict.fromkeys(marks))


def segments(text: str, marks: Iterable[Mark]) -> list[Segment]:
    """Cut a text wherever a mark starts or ends.

    >>> [(s.text, [m.label for m in s.marks]) for s in segments("Ada slept.", [Mark(0, 3, "person")])]
    [('Ada', ['person']), (' slept.', [])]
    """
    ordered = sorted(marks, key=lambda mark: (mark.start, -mark.end))
    edges = sorted({0, len(text), *(edge for mark in ordered for edge in (mark.start, mark.end))})
    cut = []
    waiting = deque(ordered)
    active: tuple[Mark, ...] = ()
    for start, end in pairwise(edges):
        started = []
        while waiting and waiting[0].start <= start:
            started.append(waiting.popleft())
        active = tuple(mark for mark in (*active, *started) if mark.end >= end)
        ending = tuple(mark for mark in reversed(active) if mark.end == end)
        cut.append(Segment(text[start:end], active, frozenset(started), ending))
    return cut


def label_indices(labels: Iterable[str]) -> dict[str, int]:
    """A number for each label, by first occurrence, which determines colour and line style.

    >>> label_indices(["person", "city", "person"])
    {'person': 0, 'city': 1}
    """
    return {label: index for index, label in enumerate(dict.fromkeys(labels))}


def css_classes(index: int) -> str:
    """The CSS classes of a label: its colour and its line style.

    >>> css_classes(0), css_classes(13)
    ('c0 solid', 'c1 dashed')
    """
    style = LINE_STYLES[index // len(PALETTE) % len(LINE_STYLES)]
    return f"c{index % len(PALETTE)} {style}"


def to_html(text: str, marks: Sequence[Mark], indices: Mapping[str, int] | None = None) -> str:
    """The text as an HTML fragment: each span is coloured and followed by its caption.

    Colours and lines come from the classes of ``css_classes``, not from style attributes, so that a content security
    policy can forbid those. Nested marks are nested elements: the innermost has the background, and each has its own
    line below the text and a bar at its start.

    Args:
        text: The whole text.
        marks: Its spans.
        indices: The numbers of the labels from ``label_indices``; by default those of the marks.
    """
    known = indices if indices is not None else label_indices(mark.label for mark in marks)
    parts = []
    for segment in segments(text, marks):
        part = escape(segment.text)
        for depth, mark in enumerate(reversed(segment.marks)):
            starts = " starts" if mark in segment.starting else ""
            relation = f' data-{mark.side}="{mark.number}"' if mark.side and starts else ""
            element, nesting = ("span", f"under d{min(depth, 4)} ") if depth else ("mark", "")
            part = f'<{element} class="{nesting}{_classes(mark, known)}{starts}"{relation}>{part}</{element}>'
        captions = (f'<small class="{_classes(mark, known)}">{escape(mark.caption)}</small>' for mark in segment.ending)
        parts.append(part + "".join(captions))
    return "".join(parts)


def _classes(mark: Mark, indices: Mapping[str, int]) -> str:
    return css_classes(indices.get(mark.label, 0))


def to_terminal(text: str, marks: Sequence[Mark]) -> Text:
    """The text for a terminal (rich): each span is coloured and followed by its caption in brackets."""
    indices = label_indices(mark.label for mark in marks)
    line = Text()
    for segment in segments(text, marks):
        colours = [PALETTE[indices[mark.label] % len(PALETTE)] for mark in segment.marks]
        line.append(segment.text, style=f"black on {colours[-1]}" if colours else "")
        for mark in segment.ending:
            line.append(f"[{mark.caption}]", style=f"bold {PALETTE[indices[mark.label] % len(PALETTE)]}")
    return line
