r"""Finds Label Studio's regions in their text, in whichever way their offsets were counted.

Its front end counts characters of the text as it shows it. Depending on the version, emoji are one character or the two
units of UTF-16, and ``\r\n`` is two line breaks or one. The text that a region holds shows which of them applies.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, TypeGuard

_UTF16 = "offsets in UTF-16 units were converted"
_LINES = r"offsets that count \r\n as one character were converted"
_SPACED = "regions whose text differs in white space keep their offsets"
_UNSURE = r"regions without their text, after emoji or \r\n, keep their offsets, which may be shifted: check them"
_ABSENT, _SIMILAR, _SAME = range(3)  # how the text at a region's offsets agrees with the region's own text


class Place(NamedTuple):
    """Where a region is in its text, in code points, and notes where the file gives other offsets or another text."""

    start: int
    end: int
    notes: tuple[str, ...] = ()


def place(text: str, regions: Sequence[Mapping[str, Any]]) -> list[Place | None]:
    r"""Find the regions of one annotation; ``None`` for a region whose own text is not at its offsets.

    All regions are counted in the same way if one way fits all of them; otherwise each in the first way that fits it.

    Args:
        text: The text.
        regions: The values of the regions, with ``start``, ``end`` and mostly ``text``.

    >>> place("Hi!\r\nAda met Bob.", [{"start": 4, "end": 7, "text": "Ada"}])[0][:2]
    (5, 8)
    """
    readings = []
    for counting in _countings(text):
        readings.append(_Reading(counting, text, regions))
        if min(readings[-1].grades, default=_SAME) == _SAME and all(map(has_text, regions)):
            break
    whole = [reading for reading in readings if _ABSENT not in reading.grades]
    most = max((sum(reading.grades) for reading in whole), default=0)
    best = [reading for reading in whole if sum(reading.grades) == most]
    places = []
    for index, region in enumerate(regions):
        chosen = best[0] if best else max(readings, key=lambda reading: reading.grades[index])
        unsure = not has_text(region) and len({reading.spans[index] for reading in best or readings}) > 1
        places.append(chosen.place(index, (_UNSURE,) if unsure else ()))
    return places


def has_text(region: Mapping[str, Any]) -> bool:
    """Whether a region holds its own text."""
    return isinstance(region.get("text"), str)


def is_offset(value: Any) -> TypeGuard[int]:
    """Whether a value is an integer, and no truth value."""
    return isinstance(value, int) and not isinstance(value, bool)


class _Counting(NamedTuple):
    """A way to count: the units before each character and in all, or ``None`` if each character is one unit."""

    units: list[int] | None = None
    notes: tuple[str, ...] = ()

    def character_at(self, units: int) -> int:
        """The index of the character that begins after so many units; beyond the text if there are fewer."""
        return units if self.units is None else bisect_left(self.units, units)


def _countings(text: str) -> Iterator[_Counting]:
    yield _Counting()
    wide = not text.isascii() and max(text) > "\uffff"
    lines = "\r\n" in text
    if wide:
        yield _Counting(_units(text, wide=True, lines=False), (_UTF16,))
    if lines:
        yield _Counting(_units(text, wide=False, lines=True), (_LINES,))
    if wide and lines:
        yield _Counting(_units(text, wide=True, lines=True), (_UTF16, _LINES))


def _units(text: str, *, wide: bool, lines: bool) -> list[int]:
    r"""The units before each character, and in all.

    >>> _units("a\U0001f600\r\nb", wide=True, lines=True)
    [0, 1, 3, 3, 4, 5]
    """
    widths = (
        0 if lines and character == "\r" and following == "\n" else 2 if wide and character > "\uffff" else 1
        for character, following in zip(text, f"{text[1:]} ", strict=True)
    )
    return list(accumulate(widths, initial=0))


class _Reading:
    """The regions read in one way to count."""

    def __init__(self, counting: _Counting, text: str, regions: Sequence[Mapping[str, Any]]) -> None:
        self._counting, self._regions = counting, regions
        self.spans = [self._span(region) for region in regions]
        self.grades = [_grade(text, region, *span) for region, span in zip(regions, self.spans, strict=True)]

    def _span(self, region: Mapping[str, Any]) -> tuple[int, int]:
        start, end = region.get("start"), region.get("end")
        if not is_offset(start) or not is_offset(end) or start < 0:
            return -1, -1
        return self._counting.character_at(start), self._counting.character_at(end)

    def place(self, index: int, notes: tuple[str, ...] = ()) -> Place | None:
        """The place of a region."""
        grade, (start, end), region = self.grades[index], self.spans[index], self._regions[index]
        if grade == _ABSENT:
            return None
        if (start, end) != (region["start"], region["end"]):
            notes += self._counting.notes
        return Place(start, end, notes + ((_SPACED,) if grade == _SIMILAR else ()))


def _grade(text: str, region: Mapping[str, Any], start: int, end: int) -> int:
    if start < 0 or not has_text(region):
        return _SAME if 0 <= start < end <= len(text) else _ABSENT
    found, shown = text[start:end], region["text"]
    if found == shown:
        return _SAME
    return _SIMILAR if _without_space(found) == _without_space(shown) else _ABSENT


def _without_space(text: str) -> str:
    r"""A text without white space and without the escaped line ends of some versions.

    >>> _without_space("Ada\\nLee")
    'AdaLee'
    """
    return "".join(text.replace("\\n", "").replace("\\r", "").split())
