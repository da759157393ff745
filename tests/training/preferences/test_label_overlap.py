"""Label F1 as a teacher and as a measure of teachers."""

import pytest
from ruie_training.data.candidates import Candidates
from ruie_training.preferences import LabelOverlap, label_f1_of_ends

from ruie_components import Example


def example(text, labels):
    spans = [{"text": text[at], "type": label, "start": at, "end": at + 1} for at, label in enumerate(labels)]
    return Example(task="NER", text=text, labels=["P", "L"], entities=spans)


def test_the_best_and_the_worst_candidates_of_a_teacher_are_told_apart():
    query = example("abc", "PP")
    rows = [example("def", "PP"), example("ghi", "P"), example("jkl", "L"), example("mno", "")]
    examples = {row.content_id: row for row in [query, *rows]}
    ids = tuple(row.content_id for row in rows)
    scored = Candidates((query.content_id,), (ids,), ((0.9, 0.1, 0.5, 0.0),))
    mined = Candidates((query.content_id,), (ids,), ((4.0, 3.0, 2.0, 1.0),))
    ends = label_f1_of_ends(scored, examples, top=2, bottom=2, mined=mined)
    assert ends == {
        "label F1 of the 2 best": pytest.approx((1 + 0) / 2),  # "PP" and "L"
        "label F1 of the 2 worst": pytest.approx((2 / 3 + 0) / 2),  # "P" and nothing
        "label F1 of all candidates": pytest.approx((1 + 2 / 3 + 0 + 0) / 4),
        "label F1 of the 2 best by mining": pytest.approx((1 + 2 / 3) / 2),
        "best above all, low": pytest.approx(1 / 2 - 5 / 12),
        "best above all, high": pytest.approx(1 / 2 - 5 / 12),
    }
    assert LabelOverlap().score([(rows[0], query), (rows[2], query)]) == [1.0, 0.0]
    assert label_f1_of_ends(scored, examples) == {}
