"""Finds reasoning that a model marks by a heading, such as ``**Thinking:**``, and where it ends."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from ruie_components.answers.items import Item
from ruie_components.answers.label_matcher import LabelMatcher, says_nothing

_HEADING = re.compile(
    r"^(?P<mark>#{1,6}[ \t]{0,3})?(?P<bold>[*_]{0,3})"
    r"(?P<name>(?:(?:my|the|initial|internal|first)[ ])?"
    r"(?:think(?:ing)?|thoughts?|reasoning|chain[ -]of[ -]thought|scratch[ -]?pad)(?:[ ](?:process|steps?))?)"
    r"[*_]{0,3}[ ]?(?P<colon>[:\uff1a])?[*_]{0,3}(?P<rest>[^\n]{0,10000})$",
    re.IGNORECASE | re.MULTILINE,
)
_BREAK = re.compile(r"[ \t\r`~=_*#-]*(?:```\w{0,20}[ \t\r]*)?")  # a blank line, a rule, a code fence
_AROUND = "*_`#>:\uff1a- \t\r"


class Thought(NamedTuple):
    """A heading of reasoning: the offset of the heading and that after it, and the rest of its line."""

    start: int
    end: int
    rest: str


def find(answer: str, matcher: LabelMatcher) -> Thought | None:
    """The first heading of reasoning that is no label of the schema: ``**Thinking:**``, ``## Reasoning``."""
    for heading in _HEADING.finditer(answer):
        is_marked = bool(heading["mark"] or heading["bold"])
        rest = heading["rest"].strip()
        is_heading = heading["colon"] or (is_marked and not rest)
        if is_heading and (is_marked or heading["name"][0].isupper()) and matcher.plural(heading["name"]) is None:
            return Thought(heading.start(), heading.start("rest"), rest)
    return None


def answer_after(answer: str, start: int, items: Sequence[Item], matcher: LabelMatcher) -> int | None:
    """Where the answer begins after reasoning without another end, or ``None`` if all of it is reasoning.

    The answer is the last paragraphs, if they hold nothing but items; the first paragraph is always reasoning.

    Args:
        answer: The answer.
        start: Where the reasoning begins.
        items: What was read from there, at the offsets of ``answer``.
        matcher: Matches the labels of the schema.
    """
    paragraphs = _paragraphs(answer, start)
    known = [item.answer_range[0] for item in items if item.known and item.label]
    prose = [item.answer_range[0] for item in items if not item.label]
    begin, holds_items = None, False
    at_known = at_prose = 0
    for number, (first, last) in enumerate(paragraphs):
        counts = []
        for starts, at in ((known, at_known), (prose, at_prose)):
            end = at
            while end < len(starts) and starts[end] < last:
                end += 1
            counts.append(end - at)
        at_known, at_prose = at_known + counts[0], at_prose + counts[1]
        paragraph = answer[first:last]
        has_items = counts[0] > 0 or says_nothing(paragraph)
        if number == 0 or counts[1] or not (has_items or _is_label(paragraph, matcher)):
            begin, holds_items = None, False
        else:
            begin, holds_items = first if begin is None else begin, holds_items or has_items
    return begin if holds_items else None


def _paragraphs(answer: str, start: int) -> list[tuple[int, int]]:
    """The runs of lines between blank lines, rules and code fences."""
    paragraphs: list[tuple[int, int]] = []
    begin: int | None = None
    while start < len(answer):
        end = answer.find("\n", start)
        end = len(answer) if end < 0 else end
        if _BREAK.fullmatch(answer, start, end):
            if begin is not None:
                paragraphs.append((begin, start))
            begin = None
        elif begin is None:
            begin = start
        start = end + 1
    if begin is not None:
        paragraphs.append((begin, len(answer)))
    return paragraphs


def _is_label(paragraph: str, matcher: LabelMatcher) -> bool:
    """Whether a paragraph is a label over the items of the next one: ``**person**``, ``Type: person``."""
    name = paragraph.strip().strip(_AROUND)
    return bool(matcher.plural(name) or matcher.plural(name.rpartition(":")[2]))
