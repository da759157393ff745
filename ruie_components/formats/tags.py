"""Converts tags of tokens to spans and back: BIO, IOB1, IO and BIOES (BILOU, BMES)."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate, pairwise

from ruie_components.formats.base import Document, Mention

TAG = re.compile(r"[BIESLUM]-.+")
OUTSIDE = "O"
_CJK = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


def spans_of_tags(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """The spans of tags in any scheme, as ``(type, first token, last token + 1)``.

    A span begins at B, S and U, and at any other tag that does not continue a span of its type; it ends after E, L, S
    and U, and if the next token does not continue it.

    Raises:
        ValueError: A tag belongs to none of the schemes.

    >>> spans_of_tags(["B-city", "I-city", "O", "I-person", "S-city"])
    [('city', 0, 2), ('person', 3, 4), ('city', 4, 5)]
    """
    spans: list[tuple[str, int, int]] = []
    kind, first, last = "", 0, 0  # of the open span
    for index in [index for index, tag in enumerate(tags) if tag != OUTSIDE]:
        scheme, label = _parts(tags[index])
        if kind and (index > last or label != kind or scheme in "BSU"):
            spans.append((kind, first, last))
            kind = ""
        if not kind:
            kind, first = label, index
        last = index + 1
        if scheme in "ELSU":
            spans.append((kind, first, last))
            kind = ""
    if kind:
        spans.append((kind, first, last))
    return spans


@lru_cache(4096)
def _parts(tag: str) -> tuple[str, str]:
    if not TAG.fullmatch(tag):
        raise ValueError(f"tag {tag!r} is neither O nor one such as B-person")
    return tag[0], tag[2:]


def tagged_document(location: str, tokens: Sequence[str], tags: Sequence[str]) -> Document:
    """The document of tagged tokens, joined by spaces except between Chinese or Japanese characters.

    Raises:
        ValueError: A tag belongs to none of the schemes.
    """
    spans = spans_of_tags(tags)
    text = " ".join(tokens)
    joints = None if text.isascii() or not _CJK.search(text) else _joints(tokens)
    if joints is not None:
        text = "".join(joint + token for joint, token in zip(joints, tokens, strict=True))
    document = Document(location, text)
    if spans:
        ends = list(accumulate(map(len, tokens)))  # without joints
        before = range(len(tokens)) if joints is None else list(accumulate(map(len, joints)))  # joints up to a token
        document.mentions = [
            Mention(kind, ends[first] - len(tokens[first]) + before[first], ends[last - 1] + before[last - 1])
            for kind, first, last in spans
        ]
        document.entities = list(range(len(spans)))
    return document


def _joints(tokens: Sequence[str]) -> list[str]:
    """The separator before each token."""
    joints = [""]
    for last, token in pairwise(tokens):
        joints.append("" if _CJK.match(last[-1:]) and _CJK.match(token[:1]) else " ")
    return joints


def tags_of_document(document: Document) -> tuple[list[tuple[int, int]], list[str], int]:
    """Token offsets and BIO tags of a document, and the number of entities that tags can't represent.

    Tokens are separated by white space, and split where an entity begins or ends; of overlapping entities the first
    counts.
    """
    cuts = sorted({at for index in document.entities for at in document.mentions[index][1:]})
    tokens: list[tuple[int, int]] = []
    for run in re.finditer(r"\S+", document.text):
        inside = cuts[bisect_right(cuts, run.start()) : bisect_left(cuts, run.end())]
        tokens += list(pairwise([run.start(), *inside, run.end()]))
    tags = [OUTSIDE] * len(tokens)
    starts, ends = [start for start, _ in tokens], [end for _, end in tokens]
    lost = 0
    for index in document.entities:
        kind, start, end = document.mentions[index]
        first, last = bisect_right(ends, start), bisect_left(starts, end)
        if first >= last or any(tag != OUTSIDE for tag in tags[first:last]):
            lost += 1
            continue
        tags[first:last] = [f"B-{kind}", *[f"I-{kind}"] * (last - first - 1)]
    return tokens, tags, lost
