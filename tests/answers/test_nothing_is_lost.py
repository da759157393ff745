"""The law: every part of an answer is a result, or rejected with its text, or white space, markup or prose.

And every result is an item of the answer, with its label.
"""

import os
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ruie_components import AnswerError, Rejection
from ruie_components.answers import parse

from .answer_generator import Generated, generate

GENERATED = int(os.environ.get("RUIE_ANSWERS", "2000"))
"""How many answers are generated; RUIE_ANSWERS=200000 takes the better part of an hour."""


def check(generated: Generated) -> None:
    extraction = parse(generated.answer, generated.query)
    kept = " ".join(span.text for span in extraction.spans)
    kept += " ".join(f"{part.answer} {' '.join(part.spans)}" for part in extraction.rejected)
    for word in generated.words:
        assert word.lower() in kept.lower(), (word, generated.answer, extraction)
    for span in extraction.spans:
        assert generated.query.text[span.start : span.end] == span.text
    assert len(extraction.answer_ranges) == len(extraction.annotations)
    for (_, spans), (start, end) in zip(extraction.annotations, extraction.answer_ranges, strict=True):
        for span in spans:
            assert span.text.lower() in generated.answer[start:end].lower(), (span, generated.answer[start:end])
    said = {(label, *spans) for label, spans in generated.items}
    for label, spans in extraction.annotations:
        assert (label, *(span.text for span in spans)) in said, (label, spans, generated.answer)
    unreadable = any(part.reason is Rejection.UNREADABLE for part in extraction.rejected)
    try:
        strict = parse(generated.answer, generated.query, strict=True)
    except AnswerError:
        assert extraction.rejected
    else:
        assert not unreadable
        assert strict == extraction


@given(st.integers(0, 2**32))
def test_every_item_is_a_result_or_rejected(seed):
    check(generate(Random(seed)))


@given(st.integers(0, 2**32), st.data())
def test_a_mutilated_answer_is_read(seed, data):
    """Any cut and any swap: no exception, spans of the text, ranges of the answer."""
    generated = generate(Random(seed))
    i, j = sorted(data.draw(st.tuples(*[st.integers(0, len(generated.answer))] * 2)))
    for answer in (generated.answer[:i] + generated.answer[j:], generated.answer[j:] + generated.answer[:i]):
        for partial in (False, True):
            extraction = parse(answer, generated.query, partial=partial)
            for span in extraction.spans:
                assert generated.query.text[span.start : span.end] == span.text
            assert all(0 <= start <= end <= len(answer) for start, end in extraction.answer_ranges)


@pytest.mark.timeout(7200)
def test_many_generated_answers():
    random = Random(7)
    for _ in range(GENERATED):
        check(generate(random))
