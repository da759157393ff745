"""The names that models give to the parts of an item: keys of JSON objects and headings of tables."""

from __future__ import annotations

import re

LABEL, SPAN, HEAD, TAIL, START, END = "label", "span", "head", "tail", "start", "end"

_NAMES = {
    LABEL: "type label role relation relationship predicate entitytype eventtype relationtype category class tag "
    "extractionclass entitygroup entitylabel kind",
    SPAN: "text span trigger entity name value mention argument word phrase extractiontext entitytext triggertext "
    "triggerword content string surface",
    HEAD: "head subject source from subj headentity arg1 headtext entity1 e1",
    TAIL: "tail object target to obj tailentity arg2 tailtext entity2 e2",
    START: "start startoffset begin beginoffset startpos startchar charstart startindex",
    END: "end endoffset stop endpos endchar charend endindex",
}
_KINDS = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_WRAPPERS = frozenset(
    """entities relations relationships triples events arguments items results result data answer answers output outputs
    extractions extraction annotations spans mentions triggers response predictions ner re ed eae args labels""".split()  # noqa: SIM905
)
_PROSE = frozenset(
    """reasoning thought thoughts thinking explanation analysis rationale justification comment comments note notes
    confidence score id task language sentence input query document status message reason description schema""".split()  # noqa: SIM905
)
_SEPARATORS = re.compile(r"[\s_-]+")


def _plain(key: str) -> str:
    return _SEPARATORS.sub("", key.strip().casefold())


def kind_of_key(key: str) -> str | None:
    """What a key holds of an item, or None.

    >>> kind_of_key("Entity Type"), kind_of_key("extraction_text"), kind_of_key("evidence")
    ('label', 'span', None)
    """
    return _KINDS.get(_plain(key))


def is_wrapper(key: str) -> bool:
    """Whether a key names the list of items."""
    return _plain(key) in _WRAPPERS


def is_prose(key: str) -> bool:
    """Whether a key holds words about the items rather than items."""
    return _plain(key) in _PROSE
