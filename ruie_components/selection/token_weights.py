"""Pool statistics: how often a token occurs in an annotation, beside one, or elsewhere, as weights of tokens.

As in DEER (arXiv 2505.23722), which counts entities; here the spans of relations, triggers and arguments count too.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ruie_components.tokenization import locate_tokens
from ruie_components.types import Example

BESIDE = 2
"""A token is beside an annotation if at most one token separates them."""
ELSEWHERE = 0.3
"""The weight of an occurrence that is neither in an annotation nor beside one. Chosen on dev splits."""
SAMPLE = 1000
"""The number of rows of a pool and task that are counted; more change little."""
_RUNS = 4  # of a sample


def sample_slices(rows: int, size: int = SAMPLE) -> list[slice]:
    """Which rows are counted: all of them, or runs from all parts of the pool, ``size`` rows together.

    >>> sample_slices(500), sample_slices(8000)[-1]
    ([slice(0, 500, None)], slice(6000, 6250, None))
    """
    if rows <= size:
        return [slice(0, rows)]
    starts = [run * rows // _RUNS for run in range(_RUNS)]
    return [slice(start, start + size // _RUNS) for start in starts]


def weigh_tokens(examples: Iterable[Example]) -> dict[str, float]:
    """The weight of each token of the examples' texts, from ``ELSEWHERE`` to 1: the mean over its occurrences.

    An occurrence in an annotated span or beside one counts 1.

    >>> span = {"type": "person", "text": "Ada", "start": 0, "end": 3}
    >>> text = "Ada slept in a big bed, and in Rome."
    >>> weigh_tokens([Example(task="NER", text=text, labels=["person"], entities=[span])])["slept"]
    1.0
    """
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for example in examples:
        tokens = locate_tokens(example.text)
        close = np.zeros(len(tokens), bool)
        starts = np.array([start for _, start, _ in tokens])
        ends = np.array([end for _, _, end in tokens])
        for span in example.spans:
            inside = np.flatnonzero((starts < span.end) & (ends > span.start))
            if len(inside):
                close[max(inside[0] - BESIDE, 0) : inside[-1] + BESIDE + 1] = True
        for (token, _, _), is_close in zip(tokens, close.tolist(), strict=True):
            counts[token] = counts.get(token, 0) + 1
            sums[token] = sums.get(token, 0.0) + (1.0 if is_close else ELSEWHERE)
    return {token: total / counts[token] for token, total in sums.items()}
