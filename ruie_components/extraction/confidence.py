"""The confidence of annotations, from token probabilities or from the agreement of sampled answers.

It never uses a number that the model writes about itself.

From tokens: an annotation was read from a part of the answer (``Extraction.answer_ranges``). The label's confidence is
the product over its tokens: the model's probability of each token, divided by that of all tokens that continue any
label of the schema. The span's confidence is the joint probability of the tokens after the label. Both use the model's
own distribution, even under a grammar: a forced token has a low probability.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ruie_components.chat.base import TokenProbability
from ruie_components.types import Extraction, Span

_SEPARATORS = " \t\n:\"'`*"


@dataclass(frozen=True)
class Confidence:
    """The confidence of an annotation.

    Attributes:
        value: Of the whole annotation, 0 to 1: ``span`` times ``label``, or the share of samples that have it.
        span: The joint probability of the tokens of its spans; ``None`` for agreement.
        label: The probability of its label among those of the schema; ``None`` for agreement, and if the model gave no
            alternatives to its tokens.
    """

    value: float
    span: float | None = None
    label: float | None = None


def from_tokens(extraction: Extraction, tokens: Sequence[TokenProbability]) -> tuple[Confidence, ...]:
    """The confidence of each of ``extraction.annotations``, in their order.

    Args:
        extraction: Read from the answer.
        tokens: Of the answer.

    Returns:
        One per annotation; empty if there are no tokens or they don't match the answer.
    """
    offset = "".join(token.text for token in tokens).find(extraction.answer)
    if not tokens or offset < 0 or len(extraction.answer_ranges) != len(extraction.annotations):
        return ()
    placed: list[tuple[int, int, TokenProbability]] = []
    start = -offset
    for token in tokens:
        placed.append((start, start + len(token.text), token))
        start += len(token.text)
    confidences = []
    for (label, spans), (begin, end) in zip(extraction.annotations, extraction.answer_ranges, strict=True):
        label_end = _label_end(extraction.answer, label, spans, begin, end)
        inside = [one for one in placed if one[1] > begin and one[0] < end]
        of_label = [one for one in inside if one[0] < label_end]
        of_spans = [one[2].logprob for one in inside if one[0] >= label_end]
        span = math.exp(min(0.0, sum(of_spans)))
        among = _among_labels(extraction.answer, label_end, label, extraction.labels, of_label)
        confidences.append(Confidence(span if among is None else span * among, span, among))
    return tuple(confidences)


def _label_end(answer: str, label: str, spans: Sequence[Span], begin: int, end: int) -> int:
    """The end of an item's label; its beginning if the label is not written there."""
    at = answer.lower().find(label.lower(), begin, end)
    span_at = min((i for span in spans if (i := answer.find(span.text, begin, end)) >= 0), default=end)
    return at + len(label) if at >= 0 and (at <= span_at or at == begin) else begin


def _among_labels(
    answer: str, label_end: int, label: str, labels: Sequence[str], tokens: Sequence[tuple[int, int, TokenProbability]]
) -> float | None:
    """The probability of a label among all labels, token by token; ``None`` without alternatives."""
    if len(labels) == 1:
        return 1.0
    begin = label_end - len(label)
    probability, is_known = 1.0, False
    for start, _, token in tokens:
        if not token.alternatives:
            return None
        is_known = True
        written = answer[begin : max(begin, start)] if start > begin else ""
        own = math.exp(token.logprob)
        others = {text: math.exp(logprob) for text, logprob in token.alternatives if text != token.text}
        prefix = answer[start:begin] if start < begin else ""  # the part of the token before the label, such as a space
        rivals = [p for text, p in others.items() if _goes_on(written, text, prefix, labels)]
        probability *= own / (own + sum(rivals)) if own else 0.0
    return probability if is_known else None


def _goes_on(written: str, token: str, prefix: str, labels: Sequence[str]) -> bool:
    """Whether a token continues the written prefix towards a label, or past its end."""
    text = token.removeprefix(prefix) if prefix else token
    text = text if written else text.lstrip(_SEPARATORS)
    reached = (written + text).lower()
    if len(reached) <= len(written):
        return False
    return any(
        label.startswith(reached) or (reached.startswith(label) and reached[len(label)] in _SEPARATORS)
        for label in map(str.lower, labels)
    )


def agreement(extraction: Extraction, samples: Sequence[Extraction]) -> tuple[Confidence, ...]:
    """The share of sampled extractions that have each annotation, with the same label and offsets.

    A repeated annotation must be repeated in the sample, too.

    Args:
        extraction: The extraction.
        samples: Extractions of the same query from other answers.

    Raises:
        ValueError: There is no sample.
    """
    if not samples:
        raise ValueError("agreement needs at least one sample")
    counts = [Counter(_keys(sample)) for sample in samples]
    seen: Counter[object] = Counter()
    confidences = []
    for key in _keys(extraction):
        seen[key] += 1
        confidences.append(Confidence(sum(count[key] >= seen[key] for count in counts) / len(counts)))
    return tuple(confidences)


def _keys(extraction: Extraction) -> list[object]:
    return [(label, tuple(span.offsets for span in spans)) for label, spans in extraction.annotations]
